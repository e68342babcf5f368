//! Questions to the detectors, and what becomes of their answers.

use super::learnt::Return;
use super::ship::in_parts;
use super::{CHECKPOINT_TICKS, DEPARTED_BYTES_MAX, DEPARTED_MAX, Departed, Pipeline, TOLD_MAX};
use crate::budget::Budget;
use crate::episodes::Turn;
use crate::judge::{Datum, Decision, DecisionKind, DetectorSlot, Judge};
use crate::logs::TOTAL_ROW;
use crate::pipeline::Action;
use crate::pipeline::plan::Wish;
use vedette_protocol::ids::SeriesKey;
use vedette_protocol::series::SeriesMeta;
use vedette_protocol::time::MonoTime;
use vedette_protocol::v1::EpisodeEvent;
use vedette_protocol::worker::{Columns, DetectorInput, SeriesDescriptor, SeriesState, WorkerRequest};

const LOG_INTERVAL_MS: u32 = 1_000;
const DESCRIPTORS_MAX: usize = 512;

impl Pipeline {
    /// The worker runs these detectors now, after a start or a restart. What was learnt of a module's scores holds if
    /// the very same module is back; its states are restored from the last checkpoint. A detector that had failed and is
    /// not among them is waited for: it may be on parole.
    pub fn set_detectors(&mut self, now: MonoTime, slots: Vec<DetectorSlot>) {
        // What waits for an explanation is told while its judge is in place.
        for detector in self.judges.iter().map(Judge::id).collect::<Vec<_>>() {
            self.settle_pending(detector);
            self.suspects.acquit_all(detector);
        }
        let (mut before, mut others) = (std::mem::take(&mut self.judges), Vec::new());
        let mut renumbered = Vec::new();
        for slot in slots {
            let same = before.iter().position(|judge| judge.is_of(&slot));
            let judge = match same {
                Some(at) => {
                    let mut judge = before.swap_remove(at);
                    self.renumber_drift(judge.id(), slot.detector);
                    renumbered.push((slot.detector, judge.id()));
                    judge.reload(slot);
                    judge
                }
                None => {
                    others.push(slot.reference.name.clone());
                    let mut judge = Judge::new(slot, now);
                    self.recall(now, &mut judge);
                    judge
                }
            };
            self.judges.push(judge);
        }
        for judge in before {
            let replaced = others.contains(&judge.slot.reference.name) || self.judge_at(judge.id()).is_some();
            if judge.alive || replaced {
                self.dismiss(now, judge);
            } else {
                renumbered.push((judge.id(), judge.id()));
                self.judges.push(judge);
            }
        }
        self.checkpoints = self.judges.iter().map(|_| Default::default()).collect();
        self.end_checkpoint();
        let voters = self.judges.iter().filter(|judge| judge.input() == DetectorInput::Votes);
        let earlier = |id| renumbered.iter().find(|(now, _)| *now == id).map(|(_, before)| *before);
        self.oddness.set_voters(voters.map(|judge| (judge.id(), earlier(judge.id()))));
        self.quorum.renumber(|id| renumbered.iter().find(|(_, before)| *before == id).map(|(now, _)| *now));
        self.count_voters();
        self.planner.price(&mut self.judges, self.registry.len());
        self.sync(now);
    }

    fn dismiss(&mut self, now: MonoTime, mut judge: Judge) {
        if judge.input() == DetectorInput::Seasonal {
            self.board.hours.forget_all();
        }
        self.end_drift(now, &judge);
        self.end_all(now, &mut judge);
    }

    /// Lets go of detectors that did not come back: nobody else can end what they had open.
    pub(super) fn dismiss_given_up(&mut self, now: MonoTime) {
        while let Some(at) = self.judges.iter().position(|judge| judge.is_given_up(now)) {
            self.checkpoints.remove(at);
            let judge = self.judges.remove(at);
            self.oddness.dismiss(judge.id());
            self.count_voters();
            self.dismiss(now, judge);
            self.rebudget();
        }
    }

    /// The worker is gone: no answers will come before [`Pipeline::set_detectors`]. What was learnt and what is open stays.
    pub fn handle_worker_gone(&mut self, now: MonoTime) {
        for at in 0..self.judges.len() {
            self.expect_nothing(now, at);
        }
        self.end_checkpoint();
    }

    /// A detector was not given a tick, because it has not answered its last one: as if nobody had asked.
    pub fn handle_withheld(&mut self, now: MonoTime, detector: u32, tick: u64) {
        let _ = now;
        let Some(at) = self.judge_at(detector) else { return };
        let Some(slots) = self.judges[at].withdraw(tick) else { return };
        self.suspects.withdraw(detector, tick, slots);
        self.ledger.ticks_unscored += 1;
    }

    /// A detector failed: no answers will come before [`Pipeline::set_detectors`].
    pub fn handle_detector_failed(&mut self, now: MonoTime, detector: u32) {
        let Some(at) = self.judge_at(detector) else { return };
        self.judges[at].blame();
        self.expect_nothing(now, at);
        self.end_checkpoint();
    }

    fn expect_nothing(&mut self, now: MonoTime, at: usize) {
        let detector = self.judges[at].id();
        self.judges[at].fail(now);
        self.checkpoints[at].clear();
        self.suspects.acquit_all(detector);
        self.settle_pending(detector);
    }

    /// Brings what the detectors know of series and templates up to date.
    fn sync(&mut self, now: MonoTime) {
        let generations = (self.series_generation, self.logs.generation());
        let mut judges = std::mem::take(&mut self.judges);
        let mut altered = false;
        for judge in judges.iter_mut().filter(|judge| judge.alive) {
            let generation = match judge.input() {
                DetectorInput::Metrics | DetectorInput::Votes | DetectorInput::Seasonal | DetectorInput::Timeless => {
                    generations.0
                }
                DetectorInput::LogTemplates => generations.1,
            };
            if judge.synced.replace(generation) != Some(generation) {
                self.sync_judge(now, judge);
                altered = true;
            }
        }
        self.judges = judges;
        if altered {
            self.rebudget();
        }
    }

    fn sync_judge(&mut self, now: MonoTime, judge: &mut Judge) {
        let present: Vec<(u32, SeriesKey)> = match judge.input() {
            DetectorInput::Metrics | DetectorInput::Votes | DetectorInput::Seasonal | DetectorInput::Timeless => {
                self.registry.iter().map(|(slot, series)| (slot, series.key)).collect()
            }
            DetectorInput::LogTemplates => self.logs.keys().collect(),
        };
        self.remove_gone(now, judge, &present);
        let (mut descriptors, mut ids, mut states) = (Vec::new(), Vec::new(), Vec::new());
        for (slot, key) in present {
            if descriptors.len() == TOLD_MAX {
                judge.synced = None;
                break;
            }
            if judge.declined.has(slot, key) {
                continue;
            }
            let Some((meta, interval_ms)) = self.describe(judge.input(), slot) else { continue };
            let mut returned = Return::State;
            if judge.track(slot).is_none() {
                judge.add_track(now, slot, key, &meta.metric, interval_ms);
                returned = self.recall_series(now, judge, slot);
                if returned == Return::Unknown {
                    self.welcome_back(judge, slot, key);
                }
            }
            let Some(track) = judge.track_mut(slot) else { continue };
            if std::mem::replace(&mut track.told, true) {
                continue;
            }
            let mut prior = Vec::new();
            match returned {
                _ if track.state.is_empty() => {}
                // What the detector cannot use of it is no refusal: the series starts cold.
                Return::Prior => prior.clone_from(&track.state),
                Return::State | Return::Unknown => {
                    ids.push(slot);
                    states.push(SeriesState { key, state: track.state.clone() });
                }
            }
            descriptors.push(SeriesDescriptor { id: slot, key, meta, interval_ms, prior });
        }
        let (detector, at_once) = (judge.id(), judge.slot.description.series_per_request());
        for series in in_parts(descriptors, DESCRIPTORS_MAX.min(at_once)) {
            self.ask(WorkerRequest::SeriesAdded { detector, series });
        }
        for (ids, states) in in_parts(ids, at_once).zip(in_parts(states, at_once)) {
            self.ask(WorkerRequest::Restore { detector, ids, states });
        }
    }

    /// A detector declined series that it was told of: it is not asked about them again, and has no share of the budget
    /// for them. Those that it was not told of, or that have ended meanwhile, are no matter.
    pub fn handle_declined(&mut self, now: MonoTime, detector: u32, declined: &[(u32, SeriesKey)]) {
        let Some(at) = self.judge_at(detector) else { return };
        let mut judge = self.judges.swap_remove(at);
        for (slot, key) in declined {
            if judge.track(*slot).is_some_and(|track| track.told && track.key == *key) {
                self.retire_track(now, &mut judge, *slot);
                judge.declined.note(*slot, *key);
            }
        }
        self.judges.push(judge);
        let last = self.judges.len() - 1;
        self.judges.swap(at, last);
        if !declined.is_empty() {
            self.rebudget();
        }
    }

    fn remove_gone(&mut self, now: MonoTime, judge: &mut Judge, present: &[(u32, SeriesKey)]) {
        let mut gone = Vec::new();
        let mut kept = present.iter().peekable();
        for slot in (0u32..).take(judge.tracks.len()) {
            while kept.peek().is_some_and(|(other, _)| *other < slot) {
                kept.next();
            }
            let Some(key) = judge.track(slot).map(|track| track.key) else { continue };
            if kept.peek() != Some(&&(slot, key)) {
                gone.push(slot);
            }
        }
        for slot in &gone {
            self.retire_track(now, judge, *slot);
        }
        if !gone.is_empty() {
            self.ask(WorkerRequest::SeriesRemoved { detector: judge.id(), ids: gone });
        }
    }

    /// Ends a series for a detector; its state is kept for its return.
    fn retire_track(&mut self, now: MonoTime, judge: &mut Judge, slot: u32) {
        self.suspects.acquit(judge.id(), slot);
        self.settle_pending_by(judge, slot);
        let Some(mut track) = judge.remove_track(slot) else { return };
        self.end_episode(now, judge, slot, &mut track);
        if !track.state.is_empty() {
            let mut held = self.departed.iter().map(|gone| gone.state.len()).sum::<usize>() + track.state.len();
            while self.departed.len() >= DEPARTED_MAX || held > DEPARTED_BYTES_MAX {
                let Some(oldest) = self.departed.pop_front() else { break };
                held -= oldest.state.len();
            }
            let detector = judge.slot.reference.name.clone();
            self.departed.push_back(Departed { key: track.key, detector, state: track.state });
        }
    }

    fn welcome_back(&mut self, judge: &mut Judge, slot: u32, key: SeriesKey) {
        let name = &judge.slot.reference.name;
        let Some(at) = self.departed.iter().position(|gone| gone.key == key && gone.detector == *name) else { return };
        let state = self.departed.remove(at).map(|gone| gone.state).unwrap_or_default();
        if let Some(track) = judge.track_mut(slot) {
            track.state = state;
        }
    }

    fn describe(&self, input: DetectorInput, slot: u32) -> Option<(SeriesMeta, u32)> {
        match input {
            DetectorInput::Metrics | DetectorInput::Votes | DetectorInput::Seasonal | DetectorInput::Timeless => {
                self.registry.get(slot).map(|series| (series.meta.clone(), series.pace_ms))
            }
            DetectorInput::LogTemplates => Some((self.logs.meta(slot)?, LOG_INTERVAL_MS)),
        }
    }

    /// Takes series that ended out of the registry; the detectors hear of it with the next sync.
    pub(super) fn retire_vanished(&mut self, now: MonoTime) {
        if !self.tick.is_multiple_of(10) {
            return;
        }
        self.forget_not_back(now);
        while let Some((slot, series)) = self.registry.pop_vanished(now) {
            self.ledger.series_vanished += 1;
            self.series_generation += 1;
            self.oddness.forget(slot);
            self.board.hours.forget(slot);
            self.due.retain(|other| *other != slot);
            self.candidates.retain(|other| *other != slot);
            self.ship_last_feature(now, series);
        }
    }

    /// Asks every detector about this tick.
    pub(super) fn observe(&mut self, now: MonoTime) {
        self.sync(now);
        self.repace(now);
        self.choose_looks(now);
        self.line_counts.clear();
        self.line_counts.extend(self.logs.take_tick());
        for at in 0..self.judges.len() {
            let mut columns = self.spare_columns.pop().unwrap_or_default();
            let asked = match self.judges[at].input() {
                DetectorInput::LogTemplates => self.ask_of_logs(now, at, &mut columns),
                _ => self.ask_of_metrics(at, &mut columns),
            };
            self.book_lost(at);
            if !asked {
                self.recycle(columns);
                continue;
            }
            self.book_values(now, at, columns.ids.len());
            let detector = self.judges[at].id();
            if !self.suspects.is_empty() {
                for (row, slot) in columns.ids.iter().enumerate() {
                    let (dt_ms, flags, value) = (columns.dt_ms[row], columns.flags[row], columns.values[row]);
                    self.suspects.observe(detector, self.tick, *slot, dt_ms, flags, value);
                }
            }
            self.actions.push_back(Action::Ask(WorkerRequest::Observe { detector, tick: self.tick, columns }));
        }
        if self.tick.is_multiple_of(CHECKPOINT_TICKS) {
            self.fetch_states();
        }
        for slot in self.due.drain(..) {
            if let Some(series) = self.registry.get_mut(slot) {
                series.due = None;
            }
        }
    }

    fn ask_of_metrics(&mut self, at: usize, columns: &mut Columns) -> bool {
        let mut wish = Wish::of(&self.judges[at]);
        let data = self.looks.iter().filter_map(|look| look.datum(&mut wish));
        self.judges[at].ask(self.tick, data, columns, &mut self.ledger.ticks_unscored)
    }

    fn ask_of_logs(&mut self, now: MonoTime, at: usize, columns: &mut Columns) -> bool {
        let data = (0u32..).zip(&self.line_counts).map(|(slot, lines)| Datum {
            slot,
            at: now,
            flags: 0,
            value: f64::from(*lines),
            off_pace: slot == TOTAL_ROW,
            interval_ms: LOG_INTERVAL_MS,
            is_thinned: false,
        });
        self.judges[at].ask(self.tick, data, columns, &mut self.ledger.ticks_unscored)
    }

    /// A source that policy reads at another interval for good is learnt anew at that; a raised one is not.
    fn repace(&mut self, now: MonoTime) {
        let mut altered = false;
        for at in 0..self.due.len() {
            let Some(series) = self.registry.get_mut(self.due[at]) else { continue };
            if series.read_interval_ms == series.pace_ms {
                continue;
            }
            let base = self.planner.intervals.base_interval_ms(series.source, &self.policy);
            if base.is_none_or(|base| base == series.read_interval_ms) {
                series.pace_ms = series.read_interval_ms;
                altered = true;
                for judge in self.judges.iter_mut().filter(|judge| judge.input().is_of_metrics()) {
                    judge.set_pace(now, self.due[at], series.spec.name, series.read_interval_ms);
                }
            }
        }
        if altered {
            self.rebudget();
        }
    }

    /// Fetches the state of all series of a detector, for its next life.
    pub(super) fn checkpoint(&mut self, at: usize) {
        let judge = &self.judges[at];
        let slots = (0u32..).zip(&judge.tracks).filter(|(_, track)| track.as_ref().is_some_and(|track| track.told));
        let ids: Vec<u32> = slots.map(|(slot, _)| slot).collect();
        let (detector, at_once) = (judge.id(), judge.slot.description.series_per_request());
        for chunk in ids.chunks(at_once) {
            self.checkpoints[at].push_back(self.tick);
            self.ask(WorkerRequest::Snapshot { detector, ids: chunk.to_vec() });
        }
    }

    /// Scores of one detector for one tick, aligned with that tick's columns.
    pub fn handle_scores(&mut self, now: MonoTime, detector: u32, tick: u64, scores: &[f32]) {
        let Some(at) = self.judge_at(detector) else {
            self.ledger.scores_refused += 1;
            return;
        };
        let fits = self.judges[at].scores(now, tick, scores, &mut self.board);
        self.book_lost(at);
        self.ledger.excused += self.judges[at].take_excused();
        if fits {
            self.count_votes(now, at, tick);
            if self.taps.any() {
                self.tap_verdicts(now, at);
            }
            self.ledger.verdicts += scores.iter().filter(|score| !score.is_nan()).count() as u64;
        } else {
            self.ledger.scores_refused += 1;
        }
        let mut decisions = std::mem::take(&mut self.judges[at].decisions);
        let mut snapshots = Vec::new();
        let mut explain = Vec::new();
        for decision in decisions.drain(..) {
            self.apply(now, at, decision, &mut snapshots, &mut explain);
        }
        self.judges[at].decisions = decisions;
        self.raise_suspects(now, at);
        if !explain.is_empty() {
            self.ask(WorkerRequest::Explain { detector, ids: explain });
        }
        for chunk in snapshots.chunks(self.judges[at].slot.description.series_per_request()) {
            self.checkpoints[at].push_back(self.judges[at].last_asked());
            self.ask(WorkerRequest::Snapshot { detector, ids: chunk.to_vec() });
        }
    }

    /// Whether the detector saw what it did not answer is not known, so it cannot be evidence.
    fn book_lost(&mut self, at: usize) {
        let lost = self.judges[at].take_lost();
        if lost > 0 {
            self.ledger.ticks_unscored += lost;
            self.suspects.acquit_all(self.judges[at].id());
        }
    }

    fn apply(
        &mut self,
        now: MonoTime,
        at: usize,
        decision: Decision,
        snapshots: &mut Vec<u32>,
        explain: &mut Vec<u32>,
    ) {
        let (detector, slot) = (self.judges[at].id(), decision.slot);
        let event = match decision.kind {
            DecisionKind::Suspect => {
                // The worker answers in order: the state is that after the last question it was asked.
                if self.suspects.suspect(detector, slot, self.judges[at].last_asked()) {
                    snapshots.push(slot);
                }
                return;
            }
            DecisionKind::Acquit => return self.suspects.acquit(detector, slot),
            DecisionKind::Open => {
                if !self.open_episode(now, at, slot) {
                    return;
                }
                EpisodeEvent::Open
            }
            DecisionKind::Turn(Turn::Reopen) => {
                self.ledger.detected += 1;
                self.ledger.folded += 1;
                EpisodeEvent::Update
            }
            DecisionKind::Turn(Turn::Update) => EpisodeEvent::Update,
            DecisionKind::Turn(Turn::Clear) => return self.clear(at, &decision),
            DecisionKind::Turn(Turn::None | Turn::Forget) => return self.suspects.acquit(detector, slot),
        };
        if self.await_explanation(now, at, event, decision) {
            explain.push(slot);
        }
    }

    /// States that were asked for.
    pub fn handle_snapshots(&mut self, now: MonoTime, detector: u32, states: Vec<SeriesState>) {
        let _ = now;
        let Some(at) = self.judge_at(detector) else { return };
        let Some(tick) = self.checkpoints[at].pop_front() else { return };
        let judge = &mut self.judges[at];
        let state_bytes_max = judge.slot.description.state_bytes_max as usize;
        let (mut held, room) = (judge.states_bytes(), Judge::states_bytes_max(judge.tracks.len()));
        for SeriesState { key, state } in states {
            let known = (0u32..).zip(&mut judge.tracks).find(|(_, track)| track.as_ref().is_some_and(|t| t.key == key));
            let Some((slot, Some(track))) = known else { continue };
            if state.len() <= state_bytes_max {
                self.suspects.set_state(detector, slot, tick, &state);
            }
            let with_it = held - track.state.len() + state.len();
            if state.len() > state_bytes_max || with_it > room {
                self.ledger.states_refused += 1;
                continue;
            }
            (held, track.state) = (with_it, state);
        }
        self.end_checkpoint();
    }

    /// Shares the operator's budget among all verdicts of a day.
    pub(super) fn rebudget(&mut self) {
        // What votes open has a budget of its own.
        let judging = |judge: &&Judge| judge.input() != DetectorInput::Votes;
        let tracks = self.judges.iter().filter(judging).flat_map(|judge| judge.tracks.iter().flatten()).count();
        let budget = Budget::new(self.policy.episodes_per_day, tracks);
        self.board.set_budget(budget.episodes_per_day);
        self.quorum.set_budget(budget.episodes_per_day);
        for judge in self.judges.iter_mut().filter(|judge| judge.input() != DetectorInput::Votes) {
            judge.budget = Some(budget);
            judge
                .tracks
                .iter_mut()
                .flatten()
                .for_each(|track| track.needed = budget.surprise_needed(track.interval_ms));
        }
    }

    pub(super) fn judge_at(&self, detector: u32) -> Option<usize> {
        self.judges.iter().position(|judge| judge.id() == detector)
    }

    fn ask(&mut self, request: WorkerRequest) {
        self.actions.push_back(Action::Ask(request));
    }
}

//! One detector's side of the pipeline: which series it knows, what it was asked, what its scores mean.

mod bout;
mod declined;
mod drift;
mod footprint;
mod pace;
mod recall;
mod record;
mod said;
mod telling;
mod track;
mod ward;

use crate::budget::Budget;
use crate::episodes::{Board, Case, Turn};
use crate::metric::family;
use crate::normalise::is_gap;
use crate::planner::{FOUND, SURPRISED, SUSPECTED, sparing};
use crate::quorum::Heard;
pub(crate) use declined::Declined;
pub(crate) use drift::{Conformity, Drift, WINDOW as DRIFT_WINDOW};
pub(crate) use pace::{Pace, Wander};
use recall::Recalled;
use record::Record;
use std::collections::{HashMap, VecDeque};
use std::time::Duration;
use telling::Telling;
use track::Seen;
pub(crate) use track::Track;
use vedette_protocol::ids::SeriesKey;
use vedette_protocol::time::MonoTime;
use vedette_protocol::v1::DetectorRef;
use vedette_protocol::worker::{Columns, DetectorDescription, DetectorInput, flags};
pub(crate) use ward::Alarmed;
use ward::Ward;

/// Scores are learnt for this long before the first episode may open.
pub(crate) const WARM_UP: Duration = Duration::from_secs(110);
/// Ticks that a detector may lag behind before it is asked no more.
const IN_FLIGHT_MAX: usize = 4;
/// A detector that failed, or whose worker is gone, is waited for so long: longer than any parole, and than an episode
/// holds learning.
const GIVEN_UP: Duration = Duration::from_secs(900);
/// How often the pools' tails are fitted anew.
const REFRESH_TICKS: u64 = 10;
/// Decades asked on top of a detector that knows what is usual by the hour: its verdicts of one hour are one word, and add
/// up as if each were another.
const HOURLY: f32 = 8.0;
/// From this surprise on a single verdict is worth a closer look.
const CURIOUS: f32 = 3.0;
/// From this score on a vote is of a kind that was never seen.
pub(crate) const NEW_KIND: f32 = 1.0;
/// After this long an episode does not hold learning any more: what lasts becomes the new normal.
pub(crate) const HOLD_MS_MAX: u128 = 900_000;

/// A loaded detector.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectorSlot {
    /// Its number in the worker.
    pub detector: u32,
    /// Module.
    pub reference: DetectorRef,
    /// Its own description.
    pub description: DetectorDescription,
}

/// One value for a detector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Datum {
    pub(crate) slot: u32,
    pub(crate) at: MonoTime,
    pub(crate) flags: u8,
    pub(crate) value: f64,
    /// Read at an unusual interval: seen, not learnt from, not judged.
    pub(crate) off_pace: bool,
    /// Nominal time since the detector was given the value before.
    pub(crate) interval_ms: u32,
    /// It was not shown every value in between, as planned: gaps are those of that pace.
    pub(crate) is_thinned: bool,
}

/// What a tick's scores ask the pipeline to do about a series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Decision {
    pub(crate) slot: u32,
    pub(crate) at: MonoTime,
    pub(crate) score: f32,
    pub(crate) surprise: f32,
    pub(crate) kind: DecisionKind,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum DecisionKind {
    Suspect,
    Acquit,
    Open,
    Turn(Turn),
}

#[derive(Debug, Default)]
struct InFlight {
    tick: u64,
    slots: Vec<u32>,
    judged: Vec<bool>,
    intervals_ms: Vec<u32>,
    /// When each series had been seen before.
    seen: Vec<Seen>,
}

/// One detector.
#[derive(Debug)]
pub(crate) struct Judge {
    pub(crate) slot: DetectorSlot,
    pub(crate) alive: bool,
    /// Since when it is not.
    failed_at: MonoTime,
    /// It failed itself, and not its worker.
    guilty: bool,
    pub(crate) tracks: Vec<Option<Track>>,
    /// What it will never have a word on: that holds for the module with its parameters, in any worker.
    pub(crate) declined: Declined,
    /// Generation of the series set that `tracks` reflects.
    pub(crate) synced: Option<u64>,
    pub(crate) conformity: Conformity,
    /// What one value costs, in nanoseconds, and at every how many-th look it is asked where looks are thinned.
    pub(crate) price_ns: f64,
    pub(crate) every: u8,
    pub(crate) telling: Telling,
    record: Record,
    /// Share of the episodes that the operator grants; none for a detector that votes.
    pub(crate) budget: Option<Budget>,
    wards: Vec<Ward>,
    /// One of those of each metric.
    ward_of: HashMap<String, u32>,
    in_flight: VecDeque<InFlight>,
    idle: Vec<InFlight>,
    warm_at: MonoTime,
    /// What outlived the agent's last end and waits for its series.
    recalled: Option<Recalled>,
    refreshed: u64,
    last_asked: u64,
    lost: u64,
    excused: u64,
    odd: Vec<u32>,
    pub(crate) decisions: Vec<Decision>,
}

/// Nominal time between two values that are shown to who looks each `look_ms` at what is read each `interval_ms`.
fn spared_ms(look_ms: u32, interval_ms: u32) -> u32 {
    interval_ms.saturating_mul(u32::from(sparing(look_ms, interval_ms)))
}

impl Judge {
    pub(crate) fn new(slot: DetectorSlot, now: MonoTime) -> Self {
        Self {
            slot,
            alive: true,
            failed_at: now,
            guilty: false,
            tracks: Vec::new(),
            declined: Declined::default(),
            synced: None,
            conformity: Conformity::new(now),
            price_ns: 0.0,
            every: 1,
            telling: Telling::default(),
            record: Record::default(),
            budget: None,
            wards: Vec::new(),
            ward_of: HashMap::new(),
            in_flight: VecDeque::new(),
            idle: Vec::new(),
            warm_at: now + WARM_UP,
            recalled: None,
            refreshed: 0,
            last_asked: 0,
            lost: 0,
            excused: 0,
            odd: Vec::new(),
            decisions: Vec::new(),
        }
    }

    pub(crate) fn id(&self) -> u32 {
        self.slot.detector
    }

    pub(crate) fn input(&self) -> DetectorInput {
        self.slot.description.input
    }

    /// It is shown no value of a series sooner than this after the one before, while nothing happens, though at least one of
    /// sixty; 0 if each. Counts of log lines are all shown: they add up.
    pub(crate) fn look_ms(&self) -> u32 {
        if self.input().is_of_metrics() { self.slot.description.look_ms } else { 0 }
    }

    /// Nominal time between two values of a series that is read each `interval_ms` while nothing happens.
    fn calm_interval_ms(&self, interval_ms: u32) -> u32 {
        spared_ms(self.look_ms(), interval_ms)
    }

    pub(crate) fn warm_in(&self, now: MonoTime) -> Duration {
        self.warm_at.since(now)
    }

    /// The same module in another worker: what was learnt of its scores holds, what it was told does not.
    pub(crate) fn reload(&mut self, slot: DetectorSlot) {
        self.slot = slot;
        (self.alive, self.guilty) = (true, false);
        self.synced = None;
        self.forget_questions();
        self.tracks.iter_mut().flatten().for_each(|track| track.told = false);
    }

    /// Whether `slot` is the same module with the same parameters: what was learnt of its scores holds.
    pub(crate) fn is_of(&self, slot: &DetectorSlot) -> bool {
        fn parameters(slot: &DetectorSlot) -> impl Iterator<Item = (&str, u64)> {
            slot.description.parameters.iter().map(|(name, value)| (name.as_str(), value.to_bits()))
        }
        self.slot.reference == slot.reference && parameters(&self.slot).eq(parameters(slot))
    }

    /// It failed: what it learnt may be why, and does not outlive the agent.
    pub(crate) fn blame(&mut self) {
        self.guilty = true;
    }

    /// No answers will come until it is back.
    pub(crate) fn fail(&mut self, now: MonoTime) {
        if std::mem::replace(&mut self.alive, false) {
            self.failed_at = now;
        }
        self.forget_questions();
    }

    /// Whether it failed so long ago that nobody waits for it any more.
    pub(crate) fn is_given_up(&self, now: MonoTime) -> bool {
        !self.alive && now.since(self.failed_at) >= GIVEN_UP
    }

    fn forget_questions(&mut self) {
        let unanswered = self.in_flight.drain(..);
        self.idle.extend(unanswered);
    }

    /// A series appeared in `slot`: its metric decides with whom it is pooled.
    pub(crate) fn add_track(&mut self, now: MonoTime, slot: u32, key: SeriesKey, metric: &str, interval_ms: u32) {
        let interval_ms = self.calm_interval_ms(interval_ms);
        let ward = self.ward(now, metric, interval_ms);
        let at = slot as usize;
        if self.tracks.len() <= at {
            self.tracks.resize_with(at + 1, || None);
        }
        let logs = self.input() == DetectorInput::LogTemplates;
        self.tracks[at] = Some(Track::new(key, ward, interval_ms, logs));
    }

    /// A series is read at another interval for good.
    pub(crate) fn set_pace(&mut self, now: MonoTime, slot: u32, metric: &str, interval_ms: u32) {
        let interval_ms = self.calm_interval_ms(interval_ms);
        let ward = self.ward(now, metric, interval_ms);
        if let Some(track) = self.track_mut(slot) {
            track.set_pace(interval_ms, ward);
        }
    }

    fn ward(&mut self, now: MonoTime, metric: &str, interval_ms: u32) -> u32 {
        self.ward_at(now, metric, Pace::of(interval_ms))
    }

    fn ward_at(&mut self, now: MonoTime, metric: &str, pace: Pace) -> u32 {
        if let Some(ward) = self.ward_of.get(metric) {
            return ward::find(&mut self.wards, *ward, pace, now);
        }
        let number = u32::try_from(self.wards.len()).expect("fewer metrics than series");
        let known = self.ward_of.iter().find(|(other, _)| family(other) == family(metric));
        let family = known.map_or(number, |(_, ward)| self.wards[*ward as usize].family);
        self.wards.push(Ward::new(number, family, pace, now));
        self.ward_of.insert(metric.to_owned(), number);
        number
    }

    /// Series of the last answer that are worth a closer look, and how much.
    pub(crate) fn suspicions(&self) -> impl Iterator<Item = (u32, f32)> {
        self.odd.iter().filter_map(|slot| {
            let track = self.track(*slot)?;
            match () {
                () if track.is_open() => Some((*slot, FOUND)),
                () if track.odd_since.is_some() => Some((*slot, SUSPECTED)),
                () if track.surprise >= CURIOUS => Some((*slot, SURPRISED)),
                () => None,
            }
        })
    }

    /// The last tick that it was asked about.
    pub(crate) fn last_asked(&self) -> u64 {
        self.last_asked
    }

    pub(crate) fn track(&self, slot: u32) -> Option<&Track> {
        self.tracks.get(slot as usize)?.as_ref()
    }

    pub(crate) fn track_mut(&mut self, slot: u32) -> Option<&mut Track> {
        self.tracks.get_mut(slot as usize)?.as_mut()
    }

    /// Fills `columns` for one tick. `false` if there is nothing to ask or the detector lags too far behind.
    pub(crate) fn ask(
        &mut self,
        tick: u64,
        data: impl Iterator<Item = Datum>,
        columns: &mut Columns,
        unscored: &mut u64,
    ) -> bool {
        while self.in_flight.front().is_some_and(|question| tick > question.tick + IN_FLIGHT_MAX as u64) {
            self.lose_first();
        }
        if !self.alive || self.in_flight.len() >= IN_FLIGHT_MAX {
            *unscored += 1;
            return false;
        }
        let mut question = self.idle.pop().unwrap_or_default();
        question.tick = tick;
        question.slots.clear();
        question.judged.clear();
        question.intervals_ms.clear();
        question.seen.clear();
        let look_ms = self.look_ms();
        for datum in data {
            let track = self.tracks.get_mut(datum.slot as usize).and_then(Option::as_mut);
            // The worker hears of many series a part at a time.
            let Some(track) = track.filter(|track| track.told) else { continue };
            columns.ids.push(datum.slot);
            question.seen.push(track.seen);
            let (elapsed_ms, missed) = track.observe(datum.at);
            columns.dt_ms.push(elapsed_ms);
            // What is open has to be able to end at any pace, and to become the new normal.
            let hold = track.holds_learning(datum.at) || (datum.off_pace && !track.is_open());
            let told = match datum.is_thinned {
                true if is_gap(elapsed_ms, datum.interval_ms) => datum.flags | flags::GAP,
                true => datum.flags & !flags::GAP,
                // Shown at once after it was not: what was missed before came with a value that it was not shown.
                false if look_ms > 0 && is_gap(elapsed_ms, spared_ms(look_ms, datum.interval_ms)) => {
                    datum.flags | flags::GAP
                }
                false => datum.flags | missed,
            };
            columns.flags.push(told | if hold { flags::HOLD_LEARNING } else { 0 });
            columns.values.push(datum.value);
            question.slots.push(datum.slot);
            question.judged.push(!datum.off_pace || track.is_open());
            // The first value after such a pause is as far from the one before as those of the pause were.
            let after_pause = look_ms > 0 && is_gap(elapsed_ms, datum.interval_ms);
            question.intervals_ms.push(datum.interval_ms.max(if after_pause { look_ms.min(elapsed_ms) } else { 0 }));
        }
        if question.slots.is_empty() {
            self.idle.push(question);
            return false;
        }
        self.in_flight.push_back(question);
        self.last_asked = tick;
        true
    }

    fn lose_first(&mut self) {
        if let Some(question) = self.in_flight.pop_front() {
            self.idle.push(question);
            self.lost += 1;
        }
    }

    /// Ticks that it was asked about and will not answer, since the last call.
    pub(crate) fn take_lost(&mut self) -> u64 {
        std::mem::take(&mut self.lost)
    }

    /// Verdicts since the last call that would have opened an episode, but for a word that this is usual at this time.
    pub(crate) fn take_excused(&mut self) -> u64 {
        std::mem::take(&mut self.excused)
    }

    /// Takes back the last question, which never reached the detector: as if it had not been asked. Its series.
    pub(crate) fn withdraw(&mut self, tick: u64) -> Option<&[u32]> {
        self.in_flight.back().filter(|question| question.tick == tick)?;
        let question = self.in_flight.pop_back()?;
        for (slot, seen) in question.slots.iter().zip(&question.seen) {
            if let Some(track) = self.track_mut(*slot) {
                track.seen = *seen;
            }
        }
        self.idle.push(question);
        self.idle.last().map(|question| question.slots.as_slice())
    }

    /// Takes the scores of a tick and leaves what follows from them in `decisions`. `false` if they fit no question.
    pub(crate) fn scores(&mut self, now: MonoTime, tick: u64, scores: &[f32], board: &mut Board) -> bool {
        self.decisions.clear();
        self.odd.clear();
        let Some(at) = self.in_flight.iter().position(|question| question.tick == tick) else { return false };
        // Answers keep their order: those to what was asked before will not come.
        (0..at).for_each(|_| self.lose_first());
        let Some(question) = self.in_flight.pop_front() else { return false };
        let fits = question.slots.len() == scores.len();
        if fits {
            self.weigh(now, &question, scores, board);
            self.decide(now, board);
        }
        self.idle.push(question);
        if tick >= self.refreshed + REFRESH_TICKS {
            self.refreshed = tick;
            self.refresh(now);
        }
        fits
    }

    /// How many series it is asked about.
    pub(crate) fn series(&self) -> usize {
        self.tracks.iter().flatten().count()
    }

    /// What the last answer said: series, score and interval in milliseconds.
    pub(crate) fn scored(&self) -> impl Iterator<Item = (u32, f32, u32)> {
        let slots = self.idle.last().into_iter().flat_map(|question| &question.slots);
        slots.filter_map(|slot| self.track(*slot).map(|track| (*slot, track.score, track.interval_ms)))
    }

    /// First pass: every score to its surprise, the odd ones onto the board.
    fn weigh(&mut self, now: MonoTime, question: &InFlight, scores: &[f32], board: &mut Board) {
        let (input, look_ms) = (self.input(), self.look_ms());
        let votes = input == DetectorInput::Votes;
        let warm = self.warm_in(now).is_zero();
        let (mut answers, mut fresh, mut news) = (0, 0, 0);
        let asked = question.slots.iter().zip(&question.judged).zip(&question.intervals_ms);
        for (((slot, judged), interval_ms), score) in asked.zip(scores) {
            let Some(track) = self.tracks.get_mut(*slot as usize).and_then(Option::as_mut) else { continue };
            if !judged {
                track.rest();
                continue;
            }
            answers += usize::from(!score.is_nan());
            if track.interval_ms != *interval_ms {
                let ward = ward::at_pace(&mut self.wards, track.ward, Pace::of(*interval_ms), now);
                track.turn_pace(*interval_ms, ward, self.budget);
            }
            let ward = &mut self.wards[track.ward as usize];
            if input == DetectorInput::Seasonal {
                board.hours.say(now, *slot, *score, track.interval_ms.max(look_ms));
            }
            if votes {
                track.vote(*score, ward);
                fresh += usize::from(track.is_fresh());
                news += usize::from(track.is_fresh() && track.score >= NEW_KIND);
                continue;
            }
            let noted = track.weigh(now, *score, ward, warm);
            fresh += usize::from(track.is_fresh());
            news += usize::from(track.odd_ticks == 1 && !score.is_nan());
            if warm && !score.is_nan() && !track.is_open() {
                self.conformity.count(track.surprise);
            }
            if !noted {
                continue;
            }
            // A second look at the same values is no company for those whom the first one keeps.
            if let Some(since) = track.odd_since.filter(|_| input != DetectorInput::Seasonal) {
                let until = now + Duration::from_millis(u64::from(track.interval_ms) * 2);
                board.report(now, (self.slot.detector, ward.family), track.key, track.evidence, [since, until]);
            }
            self.odd.push(*slot);
        }
        self.telling.count(answers, fresh, news);
    }

    /// Second pass, when the whole tick is on the board.
    fn decide(&mut self, now: MonoTime, board: &mut Board) {
        let asked = board.surcharge() + self.record.decades(now);
        let hourly = if self.input() == DetectorInput::Seasonal { HOURLY } else { 0.0 };
        let (mut most_company, mut opened, mut odd_ms) = (0.0f32, false, 0);
        for at in 0..self.odd.len() {
            let slot = self.odd[at];
            let Some(track) = self.tracks[slot as usize].as_mut() else { continue };
            let ward = &mut self.wards[track.ward as usize];
            let since = track.odd_since.unwrap_or(now);
            let company = board.company(now, (self.slot.detector, ward.family), track.key, since);
            if track.odd_since.is_some() && !track.is_open() {
                odd_ms = odd_ms.max(track.interval_ms);
                most_company = most_company.max(company);
            }
            let case = Case {
                score: track.bout.score,
                own: track.evidence,
                others: board.corroboration(company),
                ticks: track.odd_ticks,
            };
            // A template that was never seen is news by itself.
            // Within one slow interval, anybody may be odd by chance.
            let alone = (company <= 0.0 || ward.pace != Pace::Seconds) && self.slot.description.input.is_of_metrics();
            let patience = if alone { ward.patience(now) } else { 0.0 } + track.slowness() + hourly;
            let reach = track.odd_since.and_then(|_| case.reach());
            let beyond =
                reach.map(|reach| reach - (track.needed + ward.caution(track.alarmed_of_late(now)) + patience));
            let mut confirmed = beyond.is_some_and(|beyond| beyond >= asked);
            if track.episode.is_none() {
                track.bout.beyond = track.bout.beyond.into_iter().chain(beyond).reduce(f32::max);
            }
            if confirmed && self.slot.description.input == DetectorInput::Metrics {
                let score = track.bout.score;
                // Who knows the hours knows better.
                let is_habit = board.habits.explain(now, track.key, since, score) && !board.hours.denies(now, slot);
                let is_usual = board.hours.excuses(now, slot, since) || board.hours.is_awaited(now, slot, since);
                if (is_habit || is_usual) && !track.is_open() {
                    confirmed = false;
                    self.excused += 1;
                    track.bout.is_habit |= !is_usual;
                }
            }
            let kind = track.turn(now, confirmed, case.total());
            if matches!(kind, Some(DecisionKind::Open)) {
                track.alarms = track.alarms.saturating_add(1);
                if !track.is_first_of_its_kind() {
                    ward.alarm(now, board.alarm_weight());
                    self.record.alarm(now, board.alarm_weight());
                }
                opened = true;
            }
            match track.settle(now, ward) {
                Some((beyond, true)) => board.note_alarm(beyond),
                Some((beyond, false)) => board.note_bout(beyond),
                None => {}
            }
            if let Some(kind) = kind {
                // A tick on which the detector was undecided has no score.
                let score = if track.score.is_nan() { 0.0 } else { track.score };
                let surprise = case.total();
                self.decisions.push(Decision { slot, at: now, score, surprise, kind });
            }
        }
        if odd_ms > 0 {
            board.note(now, odd_ms, most_company, opened);
        }
        board.settle(now);
    }

    /// What the votes of the whole host mean for the series that stands for them. Nothing opens before the series was
    /// watched for a tick.
    pub(crate) fn stand(&mut self, now: MonoTime, slot: u32, heard: Heard) {
        let Some(track) = self.track_mut(slot) else { return };
        let watched = track.is_watched();
        track.odd_since = heard.watch.then(|| track.odd_since.unwrap_or(now));
        track.surprise = heard.surprise;
        let score = if track.score.is_nan() { 0.0 } else { track.score };
        if let Some(kind) = track.turn(now, heard.alarmed && watched, heard.surprise) {
            self.decisions.push(Decision { slot, at: now, score, surprise: heard.surprise, kind });
        }
    }

    fn refresh(&mut self, now: MonoTime) {
        let now_ms = now.ns / 1_000_000;
        for ward in &mut self.wards {
            ward.refresh(now_ms);
        }
    }

    /// Ends what a series had open and forgets it.
    pub(crate) fn remove_track(&mut self, slot: u32) -> Option<Track> {
        self.tracks.get_mut(slot as usize)?.take()
    }
}

//! The agent's thinking, tied together. Call `handle_*`, then [`Pipeline::poll_action`] until `None`, then arm
//! [`Pipeline::poll_timeout`].
//!
//! Once a second: hand in all readings, log lines, cursors and changes that are due, then [`Pipeline::handle_tick`].
//! Answers of the worker go in as they come. Without a detector, or with the worker gone, everything but detection
//! goes on. A tick allocates nothing when no series is new and no window closes, provided that the shell gives the
//! columns of each `Observe` back through [`Pipeline::recycle`].

mod detect;
mod drift;
mod findings;
mod footprint;
mod learnt;
mod plan;
mod quorum;
mod record;
mod ship;
mod taps;

use crate::episodes::Board;
use crate::evidence::{RawBuffer, Suspects};
use crate::judge::Judge;
use crate::ledger::Ledger;
use crate::logs::LogBook;
use crate::mask::Masks;
use crate::metric::MetricSpec;
use crate::normalise::{Clocks, Refusal};
use crate::oddness::Oddness;
use crate::planner::{Budgets, Planner};
use crate::quorum::Quorum;
use crate::recorder::{Recorder, Search, Sent, Sort};
use crate::registry::{Found, Registry};
use crate::tap::Taps;
use std::collections::VecDeque;
use std::time::Duration;
use vedette_protocol::ids::{DirectiveId, HostId, SeriesKey};
use vedette_protocol::policy::{Directive, Policy};
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::{Body, Change, Class, Cursor};
use vedette_protocol::worker::{Columns, WorkerRequest, flags};

pub use crate::judge::DetectorSlot;
pub use crate::planner::DirectiveRefused;
pub use footprint::{Extent, Footprint};
pub use record::SEARCHES_MAX;
pub use taps::OddSeries;

/// Log counts go out this often.
const LOG_WINDOW_MS: u32 = 10_000;
/// Raw samples under a directive go out this often.
const RAW_WINDOW_MS: u32 = 5_000;
/// Detectors' states are fetched this often, to restore them after the worker died.
const CHECKPOINT_TICKS: u64 = 60;
/// States of series that ended, kept for their return.
const DEPARTED_MAX: usize = 256;
const DEPARTED_BYTES_MAX: usize = 1 << 20;
/// Series that one detector is told of in one tick; it hears of the others in the next ones.
const TOLD_MAX: usize = 1_024;

/// What a pipeline is made of.
#[derive(Clone, Debug)]
pub struct PipelineConfig {
    /// This host.
    pub host: HostId,
    /// Policy to begin with.
    pub policy: Policy,
    /// Most series.
    pub series_max: usize,
    /// Most log templates, all sources together.
    pub templates_max: usize,
    /// Sources with the intervals at which they are read by default, in milliseconds.
    pub sources: Vec<(String, u32)>,
}

/// What the shell is to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Ask the detector worker, in this order.
    Ask(WorkerRequest),
    /// Put into the spool.
    Enqueue {
        /// Rank.
        class: Class,
        /// Content.
        body: Body,
        /// Where sources stood once this content was taken from them.
        cursors: Vec<Cursor>,
    },
    /// Read a source at this interval from now on.
    SetInterval {
        /// The source.
        source: String,
        /// The interval.
        interval_ms: u32,
    },
    /// Carry this out where it takes time from nobody, then tell with [`Pipeline::handle_found`].
    Search(Search),
    /// The states of all series were fetched: [`Pipeline::learnt`] is whole.
    Checkpointed,
}

/// How many series there are, for `status`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, serde::Serialize)]
pub struct SeriesCount {
    /// All metric series.
    pub total: usize,
    /// Those that are read each second or more often.
    pub at_1s: usize,
    /// Distinct ones that found no room.
    pub folded: u64,
}

/// State of a series that ended, under the detector that made it.
#[derive(Debug)]
struct Departed {
    key: SeriesKey,
    detector: String,
    state: Vec<u8>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Pipeline {
    host: HostId,
    policy: Policy,
    clocks: Clocks,
    tick: u64,
    started: MonoTime,
    masks: Masks,
    registry: Registry,
    due: Vec<u32>,
    /// Those of `due` that the planner may have looked at in this tick.
    candidates: Vec<u32>,
    looks: Vec<plan::Look>,
    logs: LogBook,
    line_counts: Vec<u32>,
    planner: Planner,
    /// As configured on the host.
    budgets: Budgets,
    raises: Vec<(u32, f32)>,
    /// Suspicions that may still raise relatives in this tick.
    spreads_left: u32,
    recorder: Option<Recorder>,
    /// Searches that were asked for and have not come back.
    searches: usize,
    /// What they found and was sent.
    sent: Sent,
    raw: Vec<(u32, RawBuffer)>,
    raw_generation: (u64, u64),
    series_generation: u64,
    announced: u32,
    judges: Vec<Judge>,
    board: Board,
    suspects: Suspects,
    oddness: Oddness,
    quorum: Quorum,
    drifting: Vec<drift::Drifting>,
    checkpoints: Vec<VecDeque<u64>>,
    /// All states were asked for, and not all are there.
    checkpointing: bool,
    departed: VecDeque<Departed>,
    memory: learnt::Memory,
    pending: Vec<findings::PendingFinding>,
    feature_window: MonoTime,
    log_window: MonoTime,
    raw_window: MonoTime,
    spare_columns: Vec<Columns>,
    ledger: Ledger,
    taps: Taps,
    actions: VecDeque<Action>,
}

impl Pipeline {
    /// Begins at `now`. The sources whose interval the policy alters are told at once.
    pub fn new(config: PipelineConfig, now: MonoTime, wall: WallTime) -> Self {
        let mut pipeline = Self {
            host: config.host,
            clocks: Clocks::new(now, wall),
            tick: 0,
            started: now,
            masks: Masks::default(),
            registry: Registry::new(config.series_max),
            due: Vec::new(),
            candidates: Vec::new(),
            looks: Vec::new(),
            logs: LogBook::new(config.templates_max),
            line_counts: Vec::new(),
            planner: Planner::new(config.host, config.sources),
            budgets: Budgets::default(),
            raises: Vec::new(),
            spreads_left: 0,
            recorder: None,
            searches: 0,
            sent: Sent::default(),
            raw: Vec::new(),
            raw_generation: (0, 0),
            series_generation: 0,
            announced: 0,
            judges: Vec::new(),
            board: Board::default(),
            suspects: Suspects::default(),
            oddness: Oddness::default(),
            quorum: Quorum::new(config.policy.episodes_per_day),
            drifting: Vec::new(),
            checkpoints: Vec::new(),
            checkpointing: false,
            departed: VecDeque::new(),
            memory: learnt::Memory::default(),
            pending: Vec::new(),
            feature_window: now,
            log_window: now,
            raw_window: now,
            spare_columns: Vec::new(),
            ledger: Ledger::default(),
            taps: Taps::default(),
            actions: VecDeque::new(),
            policy: config.policy,
        };
        pipeline.apply_budgets(now);
        pipeline.replan(now);
        pipeline
    }

    /// Masks more than what always is, in every text from now on. Ask for it before anything is handed in.
    pub fn set_masks(&mut self, masks: Masks) {
        self.registry.set_masks(masks.clone());
        self.logs.set_masks(masks.clone());
        self.masks = masks;
    }

    /// What is masked.
    pub fn masks(&self) -> &Masks {
        &self.masks
    }

    /// One reading of a source. Attributes may come in any order. No heap allocation once the series is known.
    pub fn handle_reading(
        &mut self,
        now: MonoTime,
        source: &'static str,
        interval_ms: u32,
        metric: &'static MetricSpec,
        attributes: &[(&str, &str)],
        value: f64,
    ) {
        self.ledger.readings += 1;
        let slot = match self.registry.find(now, source, interval_ms, metric, attributes) {
            Found::Known(slot) => slot,
            Found::New(slot) => {
                self.series_generation += 1;
                self.ledger.labels_cut = self.registry.labels_cut();
                let series = self.registry.get_mut(slot).expect("made just now");
                series.attention.source = self.planner.begin(slot, source, series.meta.resolution);
                series.attention.spread(now, slot, interval_ms);
                slot
            }
            Found::Folded => {
                (self.ledger.series_folded, self.ledger.readings_folded) = self.registry.folded();
                return;
            }
        };
        let series = self.registry.get_mut(slot).expect("found just now");
        self.planner.book_reading(series.attention.source);
        match series.normaliser.accept(now, interval_ms, metric, value) {
            Ok(sample) => {
                self.ledger.gaps += u64::from(sample.flags & flags::GAP != 0);
                series.window.add(sample.value);
                series.read_interval_ms = interval_ms;
                let is_first = series.due.replace(sample).is_none();
                if is_first {
                    self.due.push(slot);
                } else {
                    self.ledger.readings_superseded += 1;
                }
                if self.planner.is_limited() && self.planner.read(slot, &mut series.attention, sample, is_first) {
                    self.candidates.push(slot);
                }
                if let Some(recorder) = &mut self.recorder {
                    let at_ms = self.clocks.wall_at(sample.at).unix_ms();
                    let resolution = metric.series_resolution(interval_ms);
                    let meta = || Some(series.meta.clone());
                    recorder.sample((Sort::Metric, slot), series.key, resolution, (at_ms, sample.value), meta);
                }
                if let Some((_, buffer)) = series.raw.and_then(|at| self.raw.get_mut(at as usize)) {
                    self.ledger.raw_due += 1;
                    self.ledger.raw_dropped += u64::from(!buffer.push(&sample));
                }
                if self.taps.any() {
                    self.tap_sample(slot, &sample);
                }
            }
            Err(Refusal::First) => {}
            Err(Refusal::Reset) => self.ledger.counter_resets += 1,
            Err(Refusal::NotFinite) => self.ledger.readings_not_finite += 1,
            Err(Refusal::OutOfOrder) => self.ledger.readings_out_of_order += 1,
        }
    }

    /// One line of a log, without its line end. It is masked before anything else.
    pub fn handle_log_line(&mut self, now: MonoTime, source: &str, service: &str, line: &[u8]) {
        self.logs.accept(source, service, line, &mut self.ledger);
        if let (Some(recorder), Some((source, text))) = (&mut self.recorder, self.logs.last_line()) {
            recorder.line(self.clocks.wall_at(now).unix_ms(), source, text);
        }
        if self.taps.any() {
            self.tap_line(now);
        }
    }

    /// Where a log stands after its lines handed in so far. Goes out with the counts of those lines.
    pub fn handle_cursor(&mut self, cursor: Cursor) {
        self.logs.set_cursor(cursor);
    }

    /// A change on the host: goes out at once.
    pub fn handle_change(&mut self, now: MonoTime, mut change: Change) {
        let _ = now;
        change.target = self.masks.masked(&change.target);
        change.service = self.masks.masked(&change.service);
        self.enqueue(Class::Finding, Body::Changes(vec![change]), Vec::new());
    }

    /// All that is due this second was handed in.
    pub fn handle_tick(&mut self, now: MonoTime, wall: WallTime) {
        self.tick += 1;
        self.ledger.clock_steps += u64::from(self.clocks.advance(now, wall).is_some());
        self.dismiss_given_up(now);
        self.retire_vanished(now);
        self.announce_series();
        self.handle_timeout(now);
        self.begin_plan(now);
        self.oddness.pass(now);
        self.observe(now);
        self.record_tick(now);
        self.look_for_drift(now);
        self.close_windows(now);
        self.end_plan(now);
        self.replan(now);
    }

    /// Time that no tick marks: findings that wait for an explanation in vain, directives that end.
    pub fn handle_timeout(&mut self, now: MonoTime) {
        self.give_up_waiting(now);
        if self.planner.intervals.next_end().is_some_and(|end| end <= now) {
            self.replan(now);
        }
    }

    /// When to call [`Pipeline::handle_timeout`] at the latest; `None` if only ticks matter.
    pub fn poll_timeout(&self) -> Option<MonoTime> {
        self.pending.iter().map(|pending| pending.deadline).chain(self.planner.intervals.next_end()).min()
    }

    /// The next thing to do, in order.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// Gives the columns of an `Observe` back once they are on their way, so that the next tick need not allocate.
    pub fn recycle(&mut self, mut columns: Columns) {
        if self.spare_columns.len() < 16 {
            columns.ids.clear();
            columns.dt_ms.clear();
            columns.flags.clear();
            columns.values.clear();
            self.spare_columns.push(columns);
        }
    }

    /// Another policy, checked, from now on.
    pub fn handle_policy(&mut self, now: MonoTime, policy: Policy) {
        self.policy = policy;
        self.apply_budgets(now);
        self.rebudget();
        self.replan(now);
    }

    /// These sources, with the intervals at which they are read by default in milliseconds, and at most so many series
    /// from now on.
    pub fn set_sources(&mut self, now: MonoTime, sources: Vec<(String, u32)>, series_max: usize) {
        self.planner.intervals.set_sources(sources);
        for (_, series) in self.registry.iter_mut() {
            series.attention.source = self.planner.place(series.source);
        }
        self.registry.set_series_max(series_max);
        self.replan(now);
    }

    /// A directive whose signature was verified; it ends at `ends` by this host's clock.
    ///
    /// # Errors
    ///
    /// [`DirectiveRefused`] if it asks for more than the policy's ceilings grant; nothing of it is in effect then.
    pub fn handle_directive(
        &mut self,
        now: MonoTime,
        directive: Directive,
        ends: MonoTime,
    ) -> Result<(), DirectiveRefused> {
        self.planner.intervals.add(now, &self.policy, directive.clone(), ends)?;
        self.raise_named(now, &directive, ends);
        self.pull(now, &directive);
        self.replan(now);
        Ok(())
    }

    /// Ships at once what windows hold, with the cursors: the process is about to end.
    pub fn handle_drain(&mut self, now: MonoTime) {
        self.announce_series();
        self.ship_all_features(now);
        self.ship_raw(now);
        self.ship_logs(now);
        if let Some(recorder) = &mut self.recorder {
            recorder.seal();
        }
    }

    /// Series indices below `next` were given earlier in this queue epoch, by a process that has ended: none of them is
    /// given again. Call it before the first reading.
    pub fn handle_series_given(&mut self, next: u32) {
        self.registry.skip_indices(next);
        self.announced = self.registry.next_index();
    }

    /// Series indices from this on were not given yet.
    pub fn series_next(&self) -> u32 {
        self.registry.next_index()
    }

    /// The books.
    pub fn ledger(&self) -> &Ledger {
        &self.ledger
    }

    /// The policy in effect.
    pub fn policy(&self) -> &Policy {
        &self.policy
    }

    /// Directives in effect.
    pub fn directives(&self) -> Vec<DirectiveId> {
        self.planner.intervals.directives().collect()
    }

    /// Time until episodes may open, zero once they may; counted per detector, the longest of them.
    pub fn warm_up_left(&self, now: MonoTime) -> Duration {
        let of_judges = self.judges.iter().map(|judge| judge.warm_in(now));
        let unloaded = (self.started + crate::judge::WARM_UP).since(now);
        of_judges.max().unwrap_or(unloaded)
    }

    /// How many series there are.
    pub fn series_count(&self) -> SeriesCount {
        SeriesCount {
            total: self.registry.len(),
            at_1s: self.registry.iter().filter(|(_, series)| series.pace_ms <= 1_000).count(),
            folded: self.ledger.series_folded,
        }
    }

    /// The source of each metric series.
    pub fn series_sources(&self) -> impl Iterator<Item = &'static str> {
        self.registry.iter().map(|(_, series)| series.source)
    }

    /// Series that a detector has been told of and did not decline.
    pub fn series_of(&self, detector: u32) -> usize {
        let judge = self.judges.iter().find(|judge| judge.id() == detector);
        judge.map_or(0, Judge::series)
    }

    /// What a detector's last score of the series in `slot` means, with those before it: −log10 of the probability that a
    /// healthy series shows such a score, or begins a bout as high as this one by now, whichever is rarer. `None` for a
    /// series that the detector does not know.
    pub fn surprise(&self, detector: u32, slot: u32) -> Option<f32> {
        let judge = self.judges.iter().find(|judge| judge.id() == detector)?;
        judge.track(slot).map(|track| track.surprise.max(track.evidence))
    }

    /// How odd this host is: the excess of what voting detectors say, averaged over some steps, added up over all series.
    /// Unitless; 0 while everything is of a kind that is known for long.
    pub fn oddness(&self) -> f32 {
        self.oddness.state()
    }

    /// The share of one series in [`Pipeline::oddness`].
    pub fn oddness_of(&self, slot: u32) -> f32 {
        self.oddness.state_of(slot)
    }

    /// What is odd as of this tick and was not before; 1 and more is of a kind that was never seen.
    pub fn news(&self) -> f32 {
        self.oddness.news(self.tick)
    }

    /// Number of log templates.
    pub fn template_count(&self) -> usize {
        self.logs.len()
    }

    fn enqueue(&mut self, class: Class, body: Body, cursors: Vec<Cursor>) {
        self.actions.push_back(Action::Enqueue { class, body, cursors });
    }

    fn replan(&mut self, now: MonoTime) {
        let actions = &mut self.actions;
        self.planner.intervals.replan(now, &self.policy, |source, interval_ms| {
            actions.push_back(Action::SetInterval { source: source.to_owned(), interval_ms });
        });
        self.choose_raw(now);
    }
}

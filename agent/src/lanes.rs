//! Which sources are read when, and where: quick ones in the tick, those that can wait for something in a lane of
//! their own under a deadline. A lane that is late is an overrun; its readings go into a later tick, and the tick
//! waits for nobody.

pub mod changes;
pub mod inventories;
pub mod lines;
mod own;
mod readings;

pub use own::Report;
pub use readings::{ATTRIBUTES_MAX, Readings};

use crate::config::SourceConfig;
use crate::cost::thread_cpu_ns;
use crate::source::{DropReason, Lane, Root, Sink, Source, SourceError};
use own::OwnLane;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use vedette_edge::metric::MetricSpec;

/// Positions of files by path: where to go on reading after a restart.
pub type Positions = std::collections::BTreeMap<String, Vec<u8>>;

/// How long a tick waits for the lanes that were asked in it.
pub const LANE_DEADLINE: Duration = Duration::from_millis(300);

/// Every enabled source with its schedule and record.
pub struct Lanes {
    /// An entry keeps its place, by which a lane's report finds it.
    entries: Vec<Entry>,
    waiting: usize,
    reports: mpsc::Sender<Report>,
}

/// Sources that were opened to be read from now on, for [`Lanes::commit`]; dropped, they end.
pub struct Staged(Vec<Entry>);

struct Entry {
    name: &'static str,
    interval_ms: u32,
    runner: Runner,
    record: SourceRecord,
}

enum Runner {
    Shared(Box<dyn Source>),
    Own {
        lane: OwnLane,
        state: LaneState,
    },
    /// Not read any more.
    Closed,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum LaneState {
    Idle,
    /// Asked in this tick.
    Asked,
    /// Asked in an earlier tick.
    Late,
}

/// What a source did since start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct SourceRecord {
    /// Readings begun.
    pub reads: u64,
    /// Readings that failed.
    pub errors: u64,
    /// Ticks in which it was due and not done in time.
    pub overruns: u64,
    /// Things left out of readings, by whatever limit.
    pub dropped: u64,
    /// Time the last reading took.
    pub ns_last: u64,
    /// Time all readings took.
    pub ns_total: u64,
    /// CPU time of all readings, and of taking their values.
    pub cpu_ns: u64,
    /// Why the last reading failed.
    pub last_error: Option<String>,
}

/// A source as `status` shows it.
pub struct SourceView<'a> {
    /// Name.
    pub name: &'static str,
    /// Interval in effect.
    pub interval_ms: u32,
    /// What it did.
    pub record: &'a SourceRecord,
}

/// Takes readings with the source they come from.
pub trait TickSink {
    /// One value of `source`, which is read every `interval_ms`.
    fn reading(
        &mut self,
        source: &'static str,
        interval_ms: u32,
        metric: &'static MetricSpec,
        attributes: &[(&str, &str)],
        value: f64,
    );

    /// Whether a source that is due is to be read: asked once a source and tick.
    fn admits(&mut self, _source: &'static str) -> bool {
        true
    }
}

impl Lanes {
    /// Opens every enabled source under `root` and starts the lanes, which report to the receiver.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a thread.
    pub fn open(sources: &[SourceConfig], root: &Root) -> std::io::Result<(Self, mpsc::Receiver<Report>)> {
        let enabled: Vec<_> = sources.iter().filter(|source| source.enabled).collect();
        let (reports_in, reports) = mpsc::channel(enabled.len().max(1));
        let mut lanes = Self { entries: Vec::with_capacity(enabled.len()), waiting: 0, reports: reports_in };
        let staged = lanes.stage(sources, root)?;
        lanes.commit(sources, staged);
        Ok((lanes, reports))
    }

    /// Opens what is enabled and not read yet, without reading it.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a thread: nothing has changed then.
    pub fn stage(&self, sources: &[SourceConfig], root: &Root) -> std::io::Result<Staged> {
        let mut staged = Vec::new();
        for source in sources.iter().filter(|source| source.enabled && self.find(source.spec.name).is_none()) {
            let opened = (source.spec.open)(root);
            let runner = match source.spec.lane {
                Lane::Shared => Runner::Shared(opened),
                Lane::Own => {
                    let index = self.entries.len() + staged.len();
                    let lane = OwnLane::start(index, source.spec.name, opened, self.reports.clone())?;
                    Runner::Own { lane, state: LaneState::Idle }
                }
            };
            let record = SourceRecord::default();
            staged.push(Entry { name: source.spec.name, interval_ms: source.interval_ms, runner, record });
        }
        Ok(Staged(staged))
    }

    /// Reads what was staged from the next tick on, and what is not enabled no more. Intervals of what was read before
    /// stay as they are: [`Lanes::set_interval`].
    pub fn commit(&mut self, sources: &[SourceConfig], staged: Staged) {
        for entry in &mut self.entries {
            if sources.iter().any(|source| source.spec.name == entry.name && source.enabled) {
                continue;
            }
            let closed = std::mem::replace(&mut entry.runner, Runner::Closed);
            self.waiting -= usize::from(matches!(closed, Runner::Own { state: LaneState::Asked, .. }));
        }
        self.entries.extend(staged.0);
    }

    fn find(&self, name: &str) -> Option<&Entry> {
        self.entries.iter().find(|entry| entry.is_open() && entry.name == name)
    }

    /// Reads what is due at `second` and quick, and asks the lanes that are due. `second` counts ticks of one second.
    pub fn begin_tick(&mut self, second: u64, sink: &mut dyn TickSink) {
        for entry in self.entries.iter_mut().filter(|entry| entry.due(second)) {
            if !sink.admits(entry.name) {
                continue;
            }
            let Runner::Shared(source) = &mut entry.runner else {
                self.waiting += usize::from(entry.ask());
                continue;
            };
            let (begun, cpu_begun_ns) = (Instant::now(), thread_cpu_ns());
            let mut tagged = Tagged { name: entry.name, interval_ms: entry.interval_ms, sink, dropped: 0 };
            let result = source.read(&mut tagged);
            let dropped = tagged.dropped;
            entry.record.reads += 1;
            entry.record.cpu_ns += thread_cpu_ns().saturating_sub(cpu_begun_ns);
            entry.finish(result, begun.elapsed(), dropped);
        }
    }

    /// Lanes that this tick still waits for.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Takes a lane's readings over.
    pub fn handle_report(&mut self, report: Report, sink: &mut dyn TickSink) {
        let entry = &mut self.entries[report.index];
        if !entry.is_open() {
            return;
        }
        let (name, interval_ms) = (entry.name, entry.interval_ms);
        let cpu_begun_ns = thread_cpu_ns();
        report.readings.replay(|metric, attributes, value| sink.reading(name, interval_ms, metric, attributes, value));
        entry.record.cpu_ns += report.cpu_ns + thread_cpu_ns().saturating_sub(cpu_begun_ns);
        let dropped = report.readings.dropped();
        entry.finish(report.result, report.took, dropped);
        if let Runner::Own { lane, state } = &mut entry.runner {
            self.waiting -= usize::from(*state == LaneState::Asked);
            *state = LaneState::Idle;
            lane.put_back(report.readings);
        }
    }

    /// The tick waits no longer: who has not reported is late.
    pub fn handle_deadline(&mut self) {
        for entry in &mut self.entries {
            if let Runner::Own { state: state @ LaneState::Asked, .. } = &mut entry.runner {
                *state = LaneState::Late;
                entry.record.overruns += 1;
            }
        }
        self.waiting = 0;
    }

    /// A source is to be read at another interval from now on, in milliseconds, rounded up to whole ticks.
    pub fn set_interval(&mut self, source: &str, interval_ms: u32) {
        if let Some(entry) = self.entries.iter_mut().find(|entry| entry.is_open() && entry.name == source) {
            entry.interval_ms = interval_ms.max(1).div_ceil(1_000).saturating_mul(1_000);
        }
    }

    /// Every enabled source.
    pub fn views(&self) -> impl Iterator<Item = SourceView<'_>> {
        self.entries.iter().filter(|entry| entry.is_open()).map(|entry| SourceView {
            name: entry.name,
            interval_ms: entry.interval_ms,
            record: &entry.record,
        })
    }
}

impl Entry {
    fn is_open(&self) -> bool {
        !matches!(self.runner, Runner::Closed)
    }

    fn due(&self, second: u64) -> bool {
        self.is_open() && second.is_multiple_of(u64::from(self.interval_ms / 1_000).max(1))
    }

    /// Asks the lane to read. Returns whether this tick has to wait for it.
    fn ask(&mut self) -> bool {
        let Runner::Own { lane, state } = &mut self.runner else { return false };
        if *state == LaneState::Idle && lane.ask() {
            *state = LaneState::Asked;
            self.record.reads += 1;
            return true;
        }
        self.record.overruns += 1;
        false
    }

    fn finish(&mut self, result: Result<(), SourceError>, took: Duration, dropped: u64) {
        let record = &mut self.record;
        record.ns_last = u64::try_from(took.as_nanos()).unwrap_or(u64::MAX);
        record.ns_total = record.ns_total.saturating_add(record.ns_last);
        record.dropped += dropped;
        let Err(error) = result else {
            record.last_error = None;
            return;
        };
        record.errors += 1;
        let text = error.to_string();
        if record.last_error.as_ref() != Some(&text) {
            match error {
                SourceError::Absent(_) => tracing::info!(source.name = self.name, reason = text, "source is absent"),
                _ => tracing::warn!(source.name = self.name, reason = text, "source failed"),
            }
            record.last_error = Some(text);
        }
    }
}

/// Adds to readings where they come from.
struct Tagged<'a> {
    name: &'static str,
    interval_ms: u32,
    sink: &'a mut dyn TickSink,
    dropped: u64,
}

impl Sink for Tagged<'_> {
    fn reading(&mut self, metric: &'static MetricSpec, attributes: &[(&str, &str)], value: f64) {
        self.sink.reading(self.name, self.interval_ms, metric, attributes, value);
    }

    fn dropped(&mut self, _reason: DropReason, count: u64) {
        self.dropped += count;
    }
}

#[cfg(test)]
mod tests;

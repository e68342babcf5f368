//! A simulated host: series with their signals and faults, log files, and the truth about them.

mod typical;

use crate::fault::{Effect, Fault};
use crate::log::{LineTemplate, LogSource};
use crate::rng::Seed;
use crate::signal::{Signal, SignalSpec};
use crate::truth::{Label, Truth};
use std::time::Duration;
use vedette_edge::metric::MetricSpec;

/// Takes what a host's sources read in one tick.
pub trait HostSink {
    /// One value of one series.
    fn reading(
        &mut self,
        source: &'static str,
        interval_ms: u32,
        metric: &'static MetricSpec,
        attributes: &[(&str, &str)],
        value: f64,
    );

    /// One line of a log file.
    fn log_line(&mut self, path: &str, service: &str, line: &[u8]);

    /// Whether a source that is due is to be read: asked once a source and tick.
    fn admits(&mut self, _source: &'static str) -> bool {
        true
    }
}

/// A series of one host.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct SeriesRef(usize);

/// A host in progress. Ticks must come in order of time.
///
/// ```
/// use std::time::Duration;
/// use vedette_sim::{Fault, FaultKind, Host, Seed};
///
/// let mut host = Host::typical(Seed(1));
/// let user = host.series("system.cpu.utilization{cpu.mode=\"user\"}").expect("a typical host has it");
/// host.inject(user, Fault::new(FaultKind::Step { by: 0.5 }, Duration::from_secs(300), Duration::from_secs(360)));
/// assert_eq!(host.truth().labels()[0].shape, "step");
/// ```
#[derive(Debug)]
pub struct Host {
    seed: Seed,
    series: Vec<HostSeries>,
    logs: Vec<LogSource>,
    truth: Truth,
}

#[derive(Debug)]
struct HostSeries {
    source: &'static str,
    interval_ms: u32,
    metric: &'static MetricSpec,
    attributes: Vec<(&'static str, String)>,
    name: String,
    signal: Signal,
    faults: Vec<Fault>,
}

impl Host {
    /// A host without series.
    pub fn new(seed: Seed) -> Self {
        Self { seed, series: Vec::new(), logs: Vec::new(), truth: Truth::default() }
    }

    /// A quiet two-core server with about sixty series, a web service's log, daily shape, bursts and gaps.
    pub fn typical(seed: Seed) -> Self {
        typical::host(seed)
    }

    /// One more series, read each second until [`Host::set_interval`] says otherwise.
    ///
    /// # Panics
    ///
    /// If the host has this series.
    pub fn add(
        &mut self,
        source: &'static str,
        metric: &'static MetricSpec,
        attributes: &[(&'static str, &str)],
        signal: SignalSpec,
    ) -> SeriesRef {
        let attributes: Vec<_> = attributes.iter().map(|&(key, value)| (key, value.to_owned())).collect();
        let name = display_name(metric.name, &attributes);
        assert!(self.series(&name).is_none(), "the host has {name} already");
        let signal = Signal::new(signal, self.seed.rng(&name));
        let interval_ms = 1_000;
        self.series.push(HostSeries { source, interval_ms, metric, attributes, name, signal, faults: Vec::new() });
        SeriesRef(self.series.len() - 1)
    }

    /// The series with this display name: `metric{attribute="value"}`.
    pub fn series(&self, name: &str) -> Option<SeriesRef> {
        self.series.iter().position(|series| series.name == name).map(SeriesRef)
    }

    /// Display name of a series, as a finding gives it.
    pub fn name(&self, series: SeriesRef) -> &str {
        &self.series[series.0].name
    }

    /// Every series.
    pub fn all_series(&self) -> impl Iterator<Item = SeriesRef> + use<> {
        (0..self.series.len()).map(SeriesRef)
    }

    /// Lets something go wrong and notes it in the truth.
    pub fn inject(&mut self, series: SeriesRef, fault: Fault) {
        let HostSeries { name, faults, .. } = &mut self.series[series.0];
        let label = Label { shape: fault.kind.name(), subject: name.clone(), start: fault.start, end: fault.end };
        faults.push(fault);
        self.truth.add(label);
    }

    /// A log file.
    pub fn add_log(&mut self, log: LogSource) {
        self.logs.push(log);
    }

    /// Lets a log get lines that were never seen before, and notes it in the truth under the template's text.
    ///
    /// # Panics
    ///
    /// If the host has no log at `path`.
    pub fn burst(&mut self, path: &str, line: LineTemplate) {
        let log = self.logs.iter_mut().find(|log| log.path() == path).expect("the host has this log");
        let label = Label { shape: "log-burst", subject: line.text.clone(), start: line.from, end: line.until };
        *log = log.clone().with(line);
        self.truth.add(label);
    }

    /// Names of the sources with the intervals at which they are read, in milliseconds.
    pub fn sources(&self) -> Vec<(String, u32)> {
        let mut sources: Vec<(String, u32)> = Vec::new();
        for series in &self.series {
            if !sources.iter().any(|(name, _)| name == series.source) {
                sources.push((series.source.to_owned(), series.interval_ms));
            }
        }
        sources
    }

    /// Log files.
    pub fn logs(&self) -> &[LogSource] {
        &self.logs
    }

    /// What is wrong, and when.
    pub fn truth(&self) -> &Truth {
        &self.truth
    }

    /// Reads a source at another interval from now on: whole seconds, at least one.
    pub fn set_interval(&mut self, source: &str, interval_ms: u32) {
        for series in self.series.iter_mut().filter(|series| series.source == source) {
            series.interval_ms = (interval_ms / 1_000).max(1) * 1_000;
        }
    }

    /// What is due at this second: every reading, every line of the second before it.
    pub fn tick(&mut self, elapsed: Duration, sink: &mut impl HostSink) {
        let mut admitted: Vec<(&str, bool)> = Vec::new();
        for series in &mut self.series {
            if !elapsed.as_millis().is_multiple_of(u128::from(series.interval_ms)) {
                continue;
            }
            let asked = admitted.iter().find(|(source, _)| *source == series.source).map(|(_, answer)| *answer);
            let is_admitted = asked.unwrap_or_else(|| {
                let answer = sink.admits(series.source);
                admitted.push((series.source, answer));
                answer
            });
            if is_admitted {
                series.read(elapsed, sink);
            }
        }
        for log in &mut self.logs {
            for line in log.lines(elapsed, Duration::from_secs(1)) {
                sink.log_line(log.path(), log.service(), line.text.as_bytes());
            }
        }
    }
}

impl HostSeries {
    fn read(&mut self, elapsed: Duration, sink: &mut impl HostSink) {
        let effect = self.faults.iter().map(|fault| fault.effect(elapsed)).fold(Effect::NONE, Effect::and);
        let Some(value) = self.signal.sample(elapsed, effect) else { return };
        let mut attributes = [("", ""); 4];
        for (slot, (key, value)) in attributes.iter_mut().zip(&self.attributes) {
            *slot = (key, value);
        }
        let attributes = &attributes[..self.attributes.len()];
        sink.reading(self.source, self.interval_ms, self.metric, attributes, value);
    }
}

/// As [`vedette_protocol::series::SeriesMeta::display_name`] has it: attributes sorted by name.
fn display_name(metric: &str, attributes: &[(&'static str, String)]) -> String {
    assert!(attributes.len() <= 4, "a simulated series has at most four attributes");
    if attributes.is_empty() {
        return metric.to_owned();
    }
    let mut pairs: Vec<_> = attributes.iter().map(|(key, value)| format!("{key}={value:?}")).collect();
    pairs.sort();
    format!("{metric}{{{}}}", pairs.join(","))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fault::FaultKind;

    /// Counts what arrives.
    #[derive(Default, PartialEq, Debug)]
    struct Tape {
        readings: Vec<(String, f64)>,
        lines: Vec<String>,
    }

    impl HostSink for Tape {
        fn reading(
            &mut self,
            _source: &'static str,
            _interval_ms: u32,
            metric: &'static MetricSpec,
            attributes: &[(&str, &str)],
            value: f64,
        ) {
            self.readings.push((format!("{}{attributes:?}", metric.name), value));
        }

        fn log_line(&mut self, _path: &str, _service: &str, line: &[u8]) {
            self.lines.push(String::from_utf8(line.to_vec()).unwrap());
        }
    }

    fn tape(mut host: Host, seconds: u64) -> Tape {
        let mut tape = Tape::default();
        (1..=seconds).for_each(|second| host.tick(Duration::from_secs(second), &mut tape));
        tape
    }

    #[test]
    fn a_seed_gives_the_same_host_and_values_stay_within_their_bounds() {
        let tape_of = |seed| tape(Host::typical(Seed(seed)), 200);
        assert_eq!(tape_of(1), tape_of(1));
        assert_ne!(tape_of(1), tape_of(2));
        let utilization: Vec<_> =
            tape_of(1).readings.into_iter().filter(|(name, _)| name.contains("utilization")).collect();
        assert!(utilization.len() > 1_000 && utilization.iter().all(|(_, value)| (0.0..=1.0).contains(value)));
    }

    #[test]
    fn an_interval_thins_one_source_only() {
        let mut host = Host::typical(Seed(3));
        host.set_interval("cpu", 5_000);
        let count = |tape: &Tape, metric: &str| tape.readings.iter().filter(|(name, _)| name.contains(metric)).count();
        let (thin, full) = (tape(host, 100), tape(Host::typical(Seed(3)), 100));
        assert_eq!(count(&thin, "system.cpu.utilization") * 5, count(&full, "system.cpu.utilization"));
        assert_eq!(count(&thin, "system.memory"), count(&full, "system.memory"));
    }

    #[test]
    fn a_fault_touches_its_series_in_its_time_and_nothing_else() {
        let mut host = Host::typical(Seed(4));
        let load = host.series("system.linux.cpu.load_1m").unwrap();
        host.inject(load, Fault::new(FaultKind::Step { by: 8.0 }, Duration::from_secs(50), Duration::from_secs(60)));
        let (faulty, healthy) = (tape(host, 100), tape(Host::typical(Seed(4)), 100));
        let differing: Vec<_> = faulty.readings.iter().zip(&healthy.readings).filter(|(a, b)| a != b).collect();
        assert_eq!(differing.len(), 10);
        assert!(differing.iter().all(|((name, value), _)| name.contains("load_1m") && *value > 8.0));
    }
}

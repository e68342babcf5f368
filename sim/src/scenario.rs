//! Stories that a bundle of detectors has to tell from one another: what comes each night at its hour and the same load at
//! another, a stock that leaks and one that is collected; and a host on which one thing after another breaks.

use crate::fault::{Fault, FaultKind};
use crate::host::{Host, SeriesRef};
use crate::rng::Seed;
use crate::signal::{Noise, Shape, SignalSpec};
use std::time::Duration;
use vedette_edge::metric::{MetricKind, MetricSpec};

const MINUTE_S: u64 = 60;
const HOUR_S: u64 = 3_600;
const DAY_S: u64 = 24 * HOUR_S;
const SOURCE: &str = "host";

const fn gauge(name: &'static str, unit: &'static str, resolution: f64, upper: f64) -> MetricSpec {
    MetricSpec { name, unit, kind: MetricKind::Gauge, resolution, lower: 0.0, upper, doc: "" }
}

static CPU: MetricSpec = gauge("system.cpu.utilization", "1", 0.001, 1.0);
static MEMORY: MetricSpec = gauge("system.memory.utilization", "1", 1e-5, 1.0);
static TEMPERATURE: MetricSpec = gauge("hw.temperature", "Cel", 0.1, f64::NAN);
static CONNECTIONS: MetricSpec = gauge("system.network.connection.count", "{connection}", 1.0, f64::NAN);
static LATENCY: MetricSpec = gauge("http.server.request.duration", "ms", 0.01, f64::NAN);

/// A host and what has to be said of it.
#[derive(Debug)]
pub struct Scenario {
    /// What it is called in reports.
    pub name: &'static str,
    /// The host, with what goes wrong on it.
    pub host: Host,
    /// Episodes may open until then: nobody knows yet what is usual.
    pub learnt: Duration,
    /// The end of the story.
    pub end: Duration,
    /// What is wanted after it was learnt what is usual.
    pub wanted: Wanted,
}

/// What a story is about.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Wanted {
    /// One episode for each fault, and no other.
    OnePerFault,
    /// An episode at least so long before a stock is exhausted, and none before it leaks.
    Warning {
        /// When nothing is left.
        exhausted: Duration,
        /// How long before.
        before: Duration,
    },
    /// No episode.
    Nothing,
    /// As many faults found as can be.
    Found,
}

/// Three weeks in which a backup takes the processor to 90 % for 45 minutes each night, read at this interval; then the
/// same load on Tuesday at noon, for an hour. Hours are those since midnight on the first day.
pub fn backup(seed: Seed, interval_ms: u32, start_hour: f64) -> Scenario {
    let mut host = Host::new(seed);
    let length = Duration::from_secs(45 * MINUTE_S);
    let signal = SignalSpec::gauge(0.25, Noise::wander(0.03, Duration::from_secs(60)))
        .shaped(Shape::DailyJob { start_hour, length, factor: 3.6 })
        .within(0.0, 1.0)
        .rounded_to(0.001);
    let cpu = host.add(SOURCE, &CPU, &[("cpu.mode", "user")], signal);
    host.set_interval(SOURCE, interval_ms);
    let noon = (22 * 24 + 12) * HOUR_S;
    let [from, to] = [noon, noon + HOUR_S].map(Duration::from_secs);
    host.inject(cpu, Fault::new(FaultKind::Step { by: 0.65 }, from, to));
    let (learnt, end) = (Duration::from_secs(7 * DAY_S), Duration::from_secs(noon + 6 * HOUR_S));
    Scenario { name: "backup", host, learnt, end, wanted: Wanted::OnePerFault }
}

/// Memory that is filled and collected: a tooth of 3 % of all memory each 7 minutes, and noise.
fn collected(seed: Seed, interval_ms: u32) -> (Host, SeriesRef) {
    let mut host = Host::new(seed);
    let signal = SignalSpec::gauge(0.5, Noise::gaussian(0.002))
        .shaped(Shape::Sawtooth { period: Duration::from_secs(7 * MINUTE_S), amplitude: 0.06 })
        .within(0.0, 1.0)
        .rounded_to(1e-5);
    let used = host.add(SOURCE, &MEMORY, &[("system.memory.state", "used")], signal);
    host.set_interval(SOURCE, interval_ms);
    (host, used)
}

/// Two days of memory that is filled and collected, then a leak of 0.2 % of all memory an hour beneath it, until nothing is
/// left at the mean of the teeth.
pub fn leak(seed: Seed, interval_ms: u32) -> Scenario {
    let (mut host, used) = collected(seed, interval_ms);
    let from = Duration::from_secs(2 * DAY_S);
    // (1 − 0.515) ÷ 0.002 an hour.
    let exhausted = from + Duration::from_secs(485 * HOUR_S / 2);
    host.inject(used, Fault::new(FaultKind::Drift { per_hour: 0.002 }, from, exhausted));
    let wanted = Wanted::Warning { exhausted, before: Duration::from_secs(6 * HOUR_S) };
    Scenario { name: "leak", host, learnt: Duration::ZERO, end: exhausted, wanted }
}

/// A week of memory that is filled and collected and does not leak.
pub fn sawtooth(seed: Seed, interval_ms: u32) -> Scenario {
    let (host, _) = collected(seed, interval_ms);
    let end = Duration::from_secs(7 * DAY_S);
    Scenario { name: "sawtooth", host, learnt: Duration::ZERO, end, wanted: Wanted::Nothing }
}

/// Half a day of twelve series that are read each second; after four hours each of them breaks once, for twenty minutes.
pub fn breaking(seed: Seed) -> Scenario {
    let (mut host, mut rng) = (Host::new(seed), seed.rng("breaking"));
    let mut between = |low: f64, high: f64| low + (high - low) * rng.unit();
    let mut start_s = 4 * HOUR_S;
    for number in 0..12_u32 {
        let memory = Duration::from_secs_f64(between(2.0, 10.0));
        let (metric, level, sigma, noise) = match number % 4 {
            0 => (&CPU, 0.2, 0.03, Noise::wander(0.03, memory)),
            1 => (&TEMPERATURE, 50.0, 1.0, Noise::gaussian(1.0)),
            2 => (&CONNECTIONS, 300.0, 15.0, Noise::wander(15.0, memory)),
            _ => (&LATENCY, 12.0, 1.2, Noise::heavy(0.85, 4)),
        };
        let level = level * between(0.8, 1.2);
        let signal = SignalSpec::gauge(level, noise).at_least(0.0).rounded_to(metric.resolution);
        let series = host.add(SOURCE, metric, &[("n", &number.to_string())], signal);
        let kind = match number / 4 {
            0 => FaultKind::Step { by: 8.0 * sigma },
            1 => FaultKind::Step { by: -6.0 * sigma },
            _ => FaultKind::Spike { by: 15.0 * sigma },
        };
        let [from, to] = [start_s, start_s + 20 * MINUTE_S].map(Duration::from_secs);
        host.inject(series, Fault::new(kind, from, to));
        start_s += 38 * MINUTE_S;
    }
    let end = Duration::from_secs(start_s);
    Scenario { name: "breaking", host, learnt: Duration::ZERO, end, wanted: Wanted::Found }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::host::HostSink;

    struct Values(Vec<f64>);

    impl HostSink for Values {
        fn reading(&mut self, _: &'static str, _: u32, _: &'static MetricSpec, _: &[(&str, &str)], value: f64) {
            self.0.push(value);
        }

        fn log_line(&mut self, _: &str, _: &str, _: &[u8]) {}
    }

    fn value(mut host: Host, at_s: u64) -> f64 {
        let mut values = Values(Vec::new());
        host.tick(Duration::from_secs(at_s), &mut values);
        values.0[0]
    }

    #[test]
    fn the_backup_and_its_load_at_noon_are_at_their_times() {
        let at = |day: u64, minute: u64| value(backup(Seed(1), 60_000, 3.0).host, day * DAY_S + minute * MINUTE_S);
        assert!(at(0, 200) > 0.7 && at(20, 200) > 0.7 && at(22, 12 * 60 + 10) > 0.7);
        assert!(at(0, 12 * 60 + 10) < 0.4 && at(22, 170) < 0.4 && at(22, 240) < 0.4);
    }

    #[test]
    fn the_leak_ends_when_nothing_is_left() {
        let Scenario { host, end, .. } = leak(Seed(1), 60_000);
        assert!((value(host, end.as_secs() - MINUTE_S) - 1.0).abs() < 0.03);
        let Scenario { host, end, .. } = sawtooth(Seed(1), 60_000);
        assert!(value(host, end.as_secs()) < 0.56);
    }

    #[test]
    fn every_series_breaks_once_and_after_another() {
        let Scenario { host, end, .. } = breaking(Seed(1));
        let labels = host.truth().labels();
        assert_eq!(labels.len(), host.all_series().count());
        assert!(labels.windows(2).all(|two| two[0].end + Duration::from_secs(600) < two[1].start));
        assert!(labels.iter().all(|label| label.end <= end));
    }
}

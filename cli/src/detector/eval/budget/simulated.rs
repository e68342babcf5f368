//! A simulated server of some three hundred series of all kinds, on which something goes wrong now and then.
//!
//! After [`CALM`] one thing after another breaks, each for a while, with time to recover in between: on one series, or
//! on a few of one metric at once. Every metric breaks about as often, so that none gets used to it.

use super::subject::{Event, Reading, Subject, Times};
use std::time::Duration;
use vedette_edge::metric::{MetricKind, MetricSpec};
use vedette_sim::{Bursts, Fault, FaultKind, Host, HostSink, Noise, Rng, Seed, SeriesRef, Shape, SignalSpec};

const HOUR: Duration = Duration::from_secs(3_600);
/// Nothing goes wrong before.
const CALM: Duration = Duration::from_secs(5 * 3_600);
/// What is left of a host's day.
const LIFE: Duration = Duration::from_secs(17 * 3_600);
/// From the end of a fault to the begin of the next, at least and at most.
const APART_S: (f64, f64) = (900.0, 1_800.0);
/// Series that break together, where more than one does.
const TOGETHER: usize = 5;
const ROW_MS: u64 = 60_000;

/// Sources: name, interval, and how long a fault lasts on their series.
const PACES: [(&str, u32, u64); 3] =
    [("each-second", 1_000, 600), ("each-10s", 10_000, 1_200), ("each-minute", 60_000, 3_600)];

const fn gauge(name: &'static str, unit: &'static str, resolution: f64, upper: f64) -> MetricSpec {
    MetricSpec { name, unit, kind: MetricKind::Gauge, resolution, lower: 0.0, upper, doc: "" }
}

const fn counter(name: &'static str, unit: &'static str) -> MetricSpec {
    MetricSpec { name, unit, kind: MetricKind::Counter, resolution: 1.0, lower: 0.0, upper: f64::NAN, doc: "" }
}

const NO_BOUND: f64 = f64::NAN;

/// A kind of series.
struct Kind {
    metric: MetricSpec,
    /// Series at each of [`PACES`].
    counts: [usize; 3],
    /// Draws a recipe, at an interval in seconds on a host with this busiest hour, and the size of a usual departure.
    draw: fn(&mut Rng, f64, f64) -> (SignalSpec, f64),
}

static KINDS: [Kind; 12] = [
    Kind {
        metric: gauge("system.cpu.utilization", "1", 0.005, 1.0),
        counts: [24, 0, 0],
        draw: |rng, _, peak| {
            let level = between(rng, 0.1, 0.4);
            let sigma = level * between(rng, 0.15, 0.3);
            let signal = SignalSpec::gauge(level, wander(rng, sigma, 2.0, 20.0)).shaped(Shape::daily(0.2, peak));
            (signal.within(0.0, 1.0).rounded_to(0.005), sigma)
        },
    },
    Kind {
        metric: gauge("container.cpu.utilization", "1", 0.001, NO_BOUND),
        counts: [16, 40, 0],
        draw: |rng, _, _| {
            let level = between(rng, 0.02, 0.5);
            let sigma = level * between(rng, 0.2, 0.4);
            (SignalSpec::gauge(level, wander(rng, sigma, 5.0, 60.0)).at_least(0.0).rounded_to(0.001), sigma)
        },
    },
    Kind {
        metric: gauge("system.memory.utilization", "1", 1e-6, 1.0),
        counts: [8, 16, 0],
        draw: |rng, _, _| {
            let sigma = between(rng, 0.005, 0.015);
            let noise = wander(rng, sigma, 300.0, 1_200.0);
            (SignalSpec::gauge(between(rng, 0.2, 0.6), noise).within(0.0, 1.0).rounded_to(1e-6), sigma)
        },
    },
    Kind {
        metric: counter("system.network.io", "By"),
        counts: [16, 8, 0],
        draw: |rng, _, peak| {
            let rate = between(rng, 1e5, 5e7);
            let sigma = rate * between(rng, 0.08, 0.15);
            let signal = SignalSpec::counter(rate, wander(rng, sigma, 2.0, 10.0));
            (signal.shaped(Shape::daily(between(rng, 0.2, 0.5), peak)), sigma)
        },
    },
    Kind {
        metric: counter("system.disk.io", "By"),
        counts: [16, 8, 0],
        draw: |rng, seconds, _| {
            let rate = between(rng, 1e6, 2e7);
            let sigma = rate * between(rng, 0.1, 0.2);
            let bursts = Bursts {
                every_mean: Duration::from_secs_f64(between(rng, 120.0, 1_200.0)),
                length_mean: Duration::from_secs_f64(between(rng, 2.0, 10.0).max(seconds)),
                height: rate * between(rng, 1.0, 3.0),
            };
            (SignalSpec::counter(rate, Noise::gaussian(sigma)).bursting(bursts), sigma)
        },
    },
    Kind {
        metric: gauge("http.server.request.count", "{request}", 1.0, NO_BOUND),
        counts: [20, 0, 0],
        draw: |rng, seconds, peak| {
            let rate = between(rng, 4.0, 200.0);
            let signal = SignalSpec::count(rate).shaped(Shape::daily(0.2, peak));
            (signal, (rate / seconds).sqrt())
        },
    },
    Kind {
        metric: gauge("http.server.request.duration", "ms", 0.01, NO_BOUND),
        counts: [20, 0, 0],
        draw: |rng, _, _| {
            let scale = between(rng, 0.8, 4.0);
            let (level, noise) = (between(rng, 8.0, 15.0) * scale, Noise::heavy(scale, 4));
            (SignalSpec::gauge(level, noise).at_least(0.0).rounded_to(0.01), scale * std::f64::consts::SQRT_2)
        },
    },
    Kind {
        metric: gauge("system.network.connection.count", "{connection}", 1.0, NO_BOUND),
        counts: [16, 8, 0],
        draw: |rng, _, peak| {
            let level = between(rng, 50.0, 600.0);
            let sigma = level * between(rng, 0.04, 0.08);
            let signal = SignalSpec::gauge(level, wander(rng, sigma, 2.0, 30.0));
            (signal.shaped(Shape::daily(between(rng, 0.1, 0.3), peak)).at_least(0.0).rounded_to(1.0), sigma)
        },
    },
    Kind {
        metric: gauge("system.network.errors", "{error}", 1.0, NO_BOUND),
        counts: [16, 0, 0],
        draw: |rng, _, _| (SignalSpec::count(between(rng, 0.000_5, 0.02)), 0.1),
    },
    Kind {
        metric: gauge("system.filesystem.utilization", "1", 1e-6, 1.0),
        counts: [0, 12, 8],
        draw: |rng, _, _| {
            let signal = SignalSpec::gauge(between(rng, 0.1, 0.7), Noise::None);
            (signal.within(0.0, 1.0).rounded_to(1e-6), 0.02)
        },
    },
    Kind {
        metric: gauge("hw.temperature", "Cel", 0.1, NO_BOUND),
        counts: [0, 12, 8],
        draw: |rng, _, _| {
            let sigma = between(rng, 0.6, 1.5);
            (SignalSpec::gauge(between(rng, 40.0, 60.0), Noise::gaussian(sigma)).rounded_to(0.1), sigma)
        },
    },
    Kind {
        metric: gauge("process.memory.usage", "By", 4_096.0, NO_BOUND),
        counts: [0, 32, 0],
        draw: |rng, _, _| {
            let level = between(rng, 5e6, 1e9);
            let sigma = level * between(rng, 0.002, 0.01);
            (SignalSpec::gauge(level, wander(rng, sigma, 60.0, 600.0)).at_least(0.0).rounded_to(4_096.0), sigma)
        },
    },
];

/// What goes wrong by name; whether on [`TOGETHER`] series or on one; and how, in sizes of a usual departure.
type Way = (&'static str, bool, fn(f64) -> FaultKind);
const WRONG: [Way; 8] = [
    ("step", false, |size| FaultKind::Step { by: 6.0 * size }),
    ("step of several", true, |size| FaultKind::Step { by: 4.0 * size }),
    ("ramp", false, |size| FaultKind::Ramp { by: 12.0 * size }),
    ("ramp of several", true, |size| FaultKind::Ramp { by: 8.0 * size }),
    ("spike", false, |size| FaultKind::Spike { by: 12.0 * size }),
    ("variance", true, |_| FaultKind::Variance { factor: 4.0 }),
    ("dip", true, |_| FaultKind::Dip { share: 0.3 }),
    ("stop", true, |_| FaultKind::Stop),
];

/// See the module's documentation.
pub(super) struct Server {
    host: Host,
    series: usize,
    events: Vec<Event>,
}

/// A series that can break.
struct Member {
    series: SeriesRef,
    kind: usize,
    pace: usize,
    size: f64,
}

impl Server {
    /// Draws a host and what becomes of it.
    pub(super) fn new(seed: Seed) -> Self {
        let (mut host, mut rng) = (Host::new(seed), seed.rng("server"));
        let peak = between(&mut rng, 0.0, 24.0);
        let mut members = Vec::new();
        for (at, kind) in KINDS.iter().enumerate() {
            let places = (0..PACES.len()).flat_map(|pace| std::iter::repeat_n(pace, kind.counts[pace]));
            for (number, pace) in places.enumerate() {
                let (source, interval_ms, _) = PACES[pace];
                let (signal, size) = (kind.draw)(&mut rng, f64::from(interval_ms) / 1_000.0, peak);
                let series = host.add(source, &kind.metric, &[("n", &number.to_string())], signal);
                members.push(Member { series, kind: at, pace, size });
            }
        }
        for (source, interval_ms, _) in PACES {
            host.set_interval(source, interval_ms);
        }
        let events = break_some(&mut host, &members, &mut rng);
        Self { host, series: members.len(), events }
    }
}

/// Breaks series of each kind and pace in turn, in each way in turn.
fn break_some(host: &mut Host, members: &[Member], rng: &mut Rng) -> Vec<Event> {
    let mut groups: Vec<Vec<&Member>> = Vec::new();
    for member in members {
        match groups.iter_mut().find(|group| (group[0].kind, group[0].pace) == (member.kind, member.pace)) {
            Some(group) => group.push(member),
            None => groups.push(vec![member]),
        }
    }
    shuffle(&mut groups, rng);
    let mut ways: Vec<usize> = (0..WRONG.len()).collect();
    let (mut events, mut start) = (Vec::new(), CALM);
    for turn in 0.. {
        if turn % WRONG.len() == 0 {
            shuffle(&mut ways, rng);
        }
        let (what, together, fault) = WRONG[ways[turn % WRONG.len()]];
        let at = turn % groups.len();
        let group = &mut groups[at];
        shuffle(group, rng);
        let (_, interval_ms, length_s) = PACES[group[0].pace];
        let interval_s = u64::from(interval_ms / 1_000);
        let first_s = start.as_secs().next_multiple_of(interval_s);
        let (first, end) = (Duration::from_secs(first_s), Duration::from_secs(first_s + length_s));
        if end + HOUR / 4 > LIFE {
            return events;
        }
        let mut shows_on = Vec::new();
        for member in group.iter().take(if together { TOGETHER } else { 1 }) {
            host.inject(member.series, Fault::new(fault(member.size), first, end));
            shows_on.push(host.name(member.series).to_owned());
        }
        let start_ms = (first_s - interval_s) * 1_000;
        events.push(Event { what, shows_on, start_ms, end_ms: (first_s + length_s) * 1_000 });
        start = end + Duration::from_secs_f64(between(rng, APART_S.0, APART_S.1));
    }
    events
}

impl Subject for Server {
    fn times(&self) -> Times {
        let ms = |duration: Duration| duration.as_secs() * 1_000;
        Times { tick_ms: 1_000, row_ms: ROW_MS, from_ms: ms(CALM - HOUR), until_ms: ms(LIFE) }
    }

    fn sources(&self) -> Vec<(String, u32)> {
        self.host.sources()
    }

    fn series(&self) -> usize {
        self.series
    }

    fn events(&self) -> Vec<Event> {
        self.events.clone()
    }

    fn read(&mut self, elapsed_ms: u64, hear: &mut dyn FnMut(Reading<'_>)) {
        self.host.tick(Duration::from_millis(elapsed_ms), &mut Heard(hear));
    }
}

struct Heard<'a>(&'a mut dyn FnMut(Reading<'_>));

impl HostSink for Heard<'_> {
    fn reading(
        &mut self,
        source: &'static str,
        interval_ms: u32,
        metric: &'static MetricSpec,
        attributes: &[(&str, &str)],
        value: f64,
    ) {
        (self.0)(Reading { source, interval_ms, metric, attributes, value });
    }

    fn log_line(&mut self, _path: &str, _service: &str, _line: &[u8]) {}
}

fn between(rng: &mut Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.unit()
}

/// Noise that forgets within so many seconds.
fn wander(rng: &mut Rng, sigma: f64, least_s: f64, most_s: f64) -> Noise {
    Noise::wander(sigma, Duration::from_secs_f64(between(rng, least_s, most_s)))
}

fn shuffle<T>(items: &mut [T], rng: &mut Rng) {
    for at in (1..items.len()).rev() {
        items.swap(at, usize::try_from(rng.below(at as u64 + 1)).unwrap_or(at));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_server_has_hundreds_of_series_and_breaks_in_every_way() {
        let server = Server::new(Seed(1));
        assert!(server.series() >= 300, "{}", server.series());
        let events = server.events();
        assert!(WRONG.iter().all(|(what, _, _)| events.iter().any(|event| event.what == *what)), "{events:?}");
        let times = server.times();
        assert!(events.iter().all(|event| event.start_ms >= times.from_ms && event.end_ms <= times.until_ms));
        let apart = |two: &[Event]| two[0].end_ms + 600_000 < two[1].start_ms;
        assert!(events.windows(2).all(apart), "{events:?}");
        assert_eq!(events, Server::new(Seed(1)).events(), "a seed gives the same");
        assert_ne!(events, Server::new(Seed(2)).events());
    }

    #[test]
    fn every_series_is_read_at_its_pace() {
        let mut server = Server::new(Seed(3));
        let mut counts = [0; 2];
        for second in 1..=60 {
            server.read(second * 1_000, &mut |reading| counts[usize::from(reading.interval_ms == 1_000)] += 1);
        }
        let of = |pace: usize| KINDS.iter().map(|kind| kind.counts[pace]).sum::<usize>();
        assert_eq!(counts, [6 * of(1) + of(2), 60 * of(0)]);
    }
}

//! Clean hosts: every shape that healthy series have, at realistic resolutions, bounds and intervals.

use std::time::Duration;
use vedette_edge::metric::{MetricKind, MetricSpec};
use vedette_sim::{Bursts, Host, LineTemplate, LogSource, Noise, Rng, Seed, SeriesRef, Shape, SignalSpec};

/// Intervals at which a host's sources are read, and series of each shape at each.
pub(crate) const PACES: [(&str, u32, usize); 3] =
    [("each-second", 1_000, 3), ("each-10s", 10_000, 1), ("each-minute", 60_000, 1)];

const fn gauge(name: &'static str, unit: &'static str, resolution: f64, upper: f64) -> MetricSpec {
    MetricSpec { name, unit, kind: MetricKind::Gauge, resolution, lower: 0.0, upper, doc: "" }
}

const fn counter(name: &'static str, unit: &'static str) -> MetricSpec {
    MetricSpec { name, unit, kind: MetricKind::Counter, resolution: 1.0, lower: 0.0, upper: f64::NAN, doc: "" }
}

/// A shape: its name, its metric, and how one series of it is drawn at an interval in seconds.
pub(crate) struct Kind {
    pub(crate) name: &'static str,
    pub(crate) metric: MetricSpec,
    /// The recipe and its noise's standard deviation at that interval (0: it has none), bursts left out.
    draw: fn(&mut Rng, f64, f64) -> (SignalSpec, f64),
}

/// One series of a host.
pub(crate) struct Member {
    pub(crate) series: SeriesRef,
    pub(crate) shape: &'static str,
    pub(crate) interval_ms: u32,
    /// Standard deviation of its noise, in its unit.
    pub(crate) sigma: f64,
    /// Standard deviation of its values, bursts and all, in its unit.
    pub(crate) sigma_with_bursts: f64,
}

const NO_BOUND: f64 = f64::NAN;

pub(crate) static KINDS: [Kind; 10] = [
    Kind {
        name: "gaussian",
        metric: gauge("hw.temperature", "Cel", 0.1, NO_BOUND),
        draw: |rng, _, _| {
            let sigma = between(rng, 0.6, 1.5);
            (SignalSpec::gauge(between(rng, 40.0, 60.0), Noise::gaussian(sigma)).rounded_to(0.1), sigma)
        },
    },
    Kind {
        name: "heavy tail",
        metric: gauge("rpc.server.duration", "ms", 0.01, NO_BOUND),
        draw: |rng, _, _| {
            let scale = between(rng, 0.8, 4.0);
            let freedom = 3 + rng.below(4);
            let noise = Noise::heavy(scale, u32::try_from(freedom).expect("small"));
            let spread = scale * (freedom as f64 / (freedom as f64 - 2.0)).sqrt();
            (SignalSpec::gauge(between(rng, 8.0, 15.0) * scale, noise).at_least(0.0).rounded_to(0.01), spread)
        },
    },
    Kind {
        name: "autocorrelated",
        metric: gauge("system.cpu.utilization", "1", 0.005, 1.0),
        draw: |rng, _, _| {
            let level = between(rng, 0.1, 0.3);
            let sigma = level * between(rng, 0.2, 0.35);
            let noise = memory(rng, sigma, 2.0, 10.0);
            (SignalSpec::gauge(level, noise).within(0.0, 1.0).rounded_to(0.005), sigma)
        },
    },
    Kind {
        name: "slow wander",
        metric: gauge("system.memory.utilization", "1", 1e-6, 1.0),
        draw: |rng, _, _| {
            let sigma = between(rng, 0.005, 0.015);
            let noise = memory(rng, sigma, 300.0, 1_200.0);
            (SignalSpec::gauge(between(rng, 0.2, 0.6), noise).within(0.0, 1.0).rounded_to(1e-6), sigma)
        },
    },
    Kind {
        name: "counts",
        metric: gauge("http.server.request.count", "{request}", 1.0, NO_BOUND),
        draw: |rng, seconds, _| {
            let rate = between(rng, 4.0, 60.0);
            (SignalSpec::count(rate), (rate * seconds).sqrt())
        },
    },
    Kind {
        name: "diurnal",
        metric: counter("system.network.io", "By"),
        draw: |rng, _, peak| {
            let rate = between(rng, 1e7, 5e7);
            let sigma = rate * between(rng, 0.08, 0.15);
            let noise = memory(rng, sigma, 2.0, 10.0);
            let signal = SignalSpec::counter(rate, noise).shaped(Shape::daily(between(rng, 0.3, 0.7), peak));
            (signal, sigma)
        },
    },
    Kind {
        name: "weekly",
        metric: gauge("system.network.connection.count", "{connection}", 1.0, NO_BOUND),
        draw: |rng, _, peak| {
            let level = between(rng, 150.0, 600.0);
            let sigma = level * between(rng, 0.04, 0.08);
            let noise = memory(rng, sigma, 2.0, 10.0);
            let signal = SignalSpec::gauge(level, noise).shaped(Shape::daily(between(rng, 0.2, 0.5), peak));
            (signal.shaped(Shape::weekend(between(rng, 0.4, 0.8))).at_least(0.0).rounded_to(1.0), sigma)
        },
    },
    Kind {
        name: "bursts",
        metric: counter("system.disk.io", "By"),
        draw: |rng, seconds, _| {
            let rate = between(rng, 4e6, 2e7);
            let sigma = rate * between(rng, 0.1, 0.2);
            let bursts = Bursts {
                every_mean: Duration::from_secs_f64(60.0 * between(rng, 2.0, 20.0)),
                length_mean: Duration::from_secs_f64(between(rng, 2.0, 10.0).max(seconds)),
                height: rate * between(rng, 1.0, 4.0),
            };
            (SignalSpec::counter(rate, Noise::gaussian(sigma)).bursting(bursts), sigma)
        },
    },
    Kind {
        name: "sparse",
        metric: gauge("system.network.errors", "{error}", 1.0, NO_BOUND),
        draw: |rng, _, _| {
            let rate = between(rng, 0.000_5, 0.02);
            (SignalSpec::count(rate), 0.0)
        },
    },
    Kind {
        name: "constant",
        metric: gauge("system.filesystem.utilization", "1", 1e-6, 1.0),
        draw: |rng, _, _| {
            (SignalSpec::gauge(between(rng, 0.1, 0.7), Noise::None).within(0.0, 1.0).rounded_to(1e-6), 0.0)
        },
    },
];

/// The shape that a metric stands for; a log otherwise.
pub(crate) fn shape_of(metric: &str) -> &'static str {
    KINDS.iter().find(|kind| kind.metric.name == metric).map_or("log", |kind| kind.name)
}

/// A clean host of 50 series and one log, and what it is made of.
pub(crate) fn host(seed: Seed) -> (Host, Vec<Member>) {
    let mut host = Host::new(seed);
    let mut rng = seed.rng("mix");
    let peak = between(&mut rng, 0.0, 24.0);
    let mut members = Vec::new();
    for kind in &KINDS {
        let mut number = 0;
        for (source, interval_ms, count) in PACES {
            for _ in 0..count {
                let (signal, sigma) = (kind.draw)(&mut rng, f64::from(interval_ms) / 1_000.0, peak);
                let sigma_with_bursts = sigma.hypot(bursts_sigma(&signal));
                let series = host.add(source, &kind.metric, &[("n", &number.to_string())], signal);
                members.push(Member { series, shape: kind.name, interval_ms, sigma, sigma_with_bursts });
                number += 1;
            }
        }
    }
    for (source, interval_ms, _) in PACES {
        host.set_interval(source, interval_ms);
    }
    host.add_log(
        LogSource::new("/var/log/web/access.log", "web", seed.rng("access.log"))
            .with(LineTemplate::always("{ip} GET /cart/{int} 200 in {ms} ms", 1.0))
            .with(LineTemplate::always("health check by {ip} passed", 0.1))
            .with(LineTemplate::always("session {hex} of {user} expired", 0.01))
            .with(LineTemplate::always("certificate of {user} renewed", 0.000_05)),
    );
    (host, members)
}

/// Standard deviation of what bursts add: they are there for a share of the time, or not.
fn bursts_sigma(signal: &SignalSpec) -> f64 {
    signal.bursts().map_or(0.0, |bursts| {
        let share = bursts.length_mean.as_secs_f64() / (bursts.every_mean + bursts.length_mean).as_secs_f64();
        bursts.height * (share * (1.0 - share)).sqrt()
    })
}

pub(crate) fn between(rng: &mut Rng, low: f64, high: f64) -> f64 {
    low + (high - low) * rng.unit()
}

/// Noise that forgets within so many seconds: a first-order autoregression in time, at whatever interval it is read.
fn memory(rng: &mut Rng, sigma: f64, least_s: f64, most_s: f64) -> Noise {
    Noise::wander(sigma, Duration::from_secs_f64(between(rng, least_s, most_s)))
}

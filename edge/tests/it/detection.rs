//! False episodes per host and day on healthy signals, and how long a fault stays unseen.

use super::host::Host;
use super::signal::{Jobs, Random, SHAPES, Shape, Signal};
use std::collections::BTreeMap;
use vedette_edge::metric::{MetricKind, MetricSpec};
use vedette_protocol::v1::{EpisodeEvent, Finding, Subject};
use vedette_protocol::worker::DetectorInput;

const fn gauge(name: &'static str) -> MetricSpec {
    MetricSpec { name, unit: "1", kind: MetricKind::Gauge, resolution: 0.01, lower: f64::NAN, upper: f64::NAN, doc: "" }
}

/// One metric per shape, two of them in each family.
static METRICS: [MetricSpec; 8] = [
    gauge("system.cpu.gaussian"),
    gauge("system.cpu.heavy"),
    gauge("system.memory.autoregressive"),
    gauge("system.disk.bursts"),
    gauge("system.disk.intermittent"),
    gauge("system.network.counts"),
    gauge("system.memory.diurnal"),
    gauge("system.paging.constant"),
];

/// Series of all shapes; one in three takes part in the host's jobs.
struct Load {
    signals: Vec<(String, Signal, bool)>,
    jobs: Jobs,
}

impl Load {
    fn new(seed: u64, per_shape: usize) -> Self {
        let mut random = Random(seed);
        let signals = SHAPES.iter().flat_map(|shape| (0..per_shape).map(move |n| (n, *shape)));
        let signals = signals
            .map(|(n, shape)| (n.to_string(), Signal::new(shape, random.bits()), n % 3 == 0 && shape != Shape::Constant))
            .collect();
        Self { signals, jobs: Jobs::new(random.bits()) }
    }

    /// One second; `fault` alters values.
    fn second(&mut self, host: &mut Host, fault: impl Fn(Shape, &str) -> f64) {
        let activity = self.jobs.next();
        let begin = host.second + 30_000; // some time in the morning
        for (name, signal, busy) in &mut self.signals {
            let value = signal.next(begin, if *busy { activity } else { 0.0 });
            let spec = &METRICS[SHAPES.iter().position(|shape| *shape == signal.shape).expect("one of them")];
            host.read(spec, name, value + fault(signal.shape, name));
        }
        host.tick();
    }

    fn healthy(&mut self, host: &mut Host, seconds: u64) {
        (0..seconds).for_each(|_| self.second(host, |_, _| 0.0));
    }
}

fn warm_host(seed: u64, per_shape: usize) -> (Host, Load) {
    let mut host = Host::new(u8::try_from(seed % 251).expect("small"));
    let mut load = Load::new(seed, per_shape);
    load.second(&mut host, |_, _| 0.0);
    host.load(DetectorInput::Metrics);
    load.healthy(&mut host, 121);
    assert!(host.pipeline.warm_up_left(host.now()).is_zero());
    (host, load)
}

fn metric_of(finding: &Finding) -> &str {
    match &finding.subject {
        Subject::Series(meta) => &meta.metric,
        Subject::LogTemplate { .. } => "log",
    }
}

/// Seeds, hours and series per shape that fit the profile's speed.
const fn effort() -> (u64, u64, usize) {
    if cfg!(debug_assertions) { (6, 2, 5) } else { (4, 24, 38) }
}

#[test]
fn healthy_host_opens_few_episodes() {
    let (seeds, hours, per_shape) = effort();
    let mut by_metric = BTreeMap::<String, u32>::new();
    let mut by_hour = BTreeMap::<u64, u32>::new();
    let (mut opened, mut occasions, mut after_six_hours) = (0, 0, 0);
    for seed in 0..seeds {
        let (mut host, mut load) = warm_host(1_000 + seed, per_shape);
        load.healthy(&mut host, hours * 3_600);
        opened += host.opened();
        let mut last = 0;
        for (second, finding) in host.events(EpisodeEvent::Open) {
            occasions += u32::from(last == 0 || second - last > 60);
            last = *second;
            after_six_hours += u32::from(*second > 21_600);
            *by_metric.entry(metric_of(finding).to_owned()).or_default() += 1;
            *by_hour.entry(second / 3_600).or_default() += 1;
        }
    }
    let days = (seeds * hours) as f64 / 24.0;
    let series = per_shape * SHAPES.len();
    println!("{opened} false episodes in {days} host-days of {series} series: {:.2} a day", opened as f64 / days);
    println!("on {occasions} occasions; {after_six_hours} of them after six hours");
    println!("by metric {by_metric:?}, by hour {by_hour:?}");
    assert!(opened as f64 <= 2.0 * days.max(1.0), "far over what this was tuned to");
}

/// Seconds from the first altered value to the first episode on a metric that was altered.
fn delay(host: &mut Host, load: &mut Load, seconds: u64, fault: impl Fn(u64, Shape, &str) -> f64) -> Option<u64> {
    let began = host.second;
    let before = host.findings.len();
    for elapsed in 0..seconds {
        load.second(host, |shape, name| fault(elapsed, shape, name));
    }
    let mut opened = host.findings[before..].iter().filter(|(_, finding)| finding.event == EpisodeEvent::Open);
    opened.next().map(|(second, _)| second - began + 1)
}

#[test]
fn obvious_fault_opens_an_episode_within_ten_seconds_of_the_warm_up() {
    for height in [20.0, 50.0, 100.0] {
        let mut delays = Vec::new();
        for seed in 0..8 {
            let (mut host, mut load) = warm_host(2_000 + seed, 5);
            let burn = |elapsed, shape, name: &str| match shape {
                Shape::Gaussian | Shape::Autoregressive if elapsed < 8 && name < "3" => height,
                _ => 0.0,
            };
            delays.push(delay(&mut host, &mut load, 20, burn));
        }
        println!("fault of {height} spreads for 8 s on 6 series right after the warm-up: {delays:?} s");
        assert!(delays.iter().flatten().filter(|delay| **delay <= 10).count() >= if height < 30.0 { 6 } else { 7 });
    }
}

#[test]
fn lasting_fault_of_a_single_series_is_found() {
    let (mut found, mut total) = (Vec::new(), 0);
    for seed in 0..6 {
        let (mut host, mut load) = warm_host(3_000 + seed, 5);
        load.healthy(&mut host, 1_800);
        total += 1;
        let step = |_, shape, name: &str| if shape == Shape::Gaussian && name == "1" { 50.0 } else { 0.0 };
        found.extend(delay(&mut host, &mut load, 30, step));
    }
    println!("step of 50 spreads on one series after half an hour: {} of {total} found, {found:?} s", found.len());
    assert!(found.len() >= 5 && found.iter().all(|delay| *delay <= 12));
}

/// Two hours of life with jobs before the fault: what was learnt from them must not hide it.
#[test]
fn obvious_fault_is_found_on_a_host_that_has_learnt_its_jobs() {
    let mut delays = Vec::new();
    for seed in 0..4 {
        let (mut host, mut load) = warm_host(5_000 + seed, 5);
        load.healthy(&mut host, if cfg!(debug_assertions) { 7_200 } else { 86_400 });
        let burn = |_, shape, name: &str| match shape {
            Shape::Gaussian | Shape::Autoregressive | Shape::Counts if name < "3" => 60.0,
            _ => 0.0,
        };
        delays.push(delay(&mut host, &mut load, 30, burn));
    }
    println!("fault of 60 spreads on 9 series of a host that knows its jobs: {delays:?} s");
    assert!(delays.iter().flatten().filter(|delay| **delay <= 12).count() >= 3);
}

#[test]
fn step_of_six_spreads_is_reported_as_it_is() {
    let (mut found, mut total) = (Vec::new(), 0);
    for seed in 0..6 {
        let (mut host, mut load) = warm_host(4_000 + seed, 5);
        load.healthy(&mut host, if cfg!(debug_assertions) { 1_800 } else { 21_600 });
        total += 1;
        let step = |_, shape, _: &str| if shape == Shape::Gaussian { 6.0 } else { 0.0 };
        found.extend(delay(&mut host, &mut load, 60, step));
    }
    println!("step of 6 spreads on five series of one metric: {} of {total} found, {found:?} s", found.len());
}

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
    /// None on a quiet host.
    jobs: Option<Jobs>,
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Life {
    /// Every series for itself.
    Quiet,
    /// Jobs touch a third of the series at once.
    Busy,
}

impl Load {
    fn new(seed: u64, per_shape: usize, life: Life) -> Self {
        let mut random = Random(seed);
        let signals = SHAPES.iter().flat_map(|shape| (0..per_shape).map(move |n| (n, *shape)));
        let signals = signals
            .map(|(n, shape)| {
                (n.to_string(), Signal::new(shape, random.bits()), n % 3 == 0 && shape != Shape::Constant)
            })
            .collect();
        Self { signals, jobs: (life == Life::Busy).then(|| Jobs::new(random.bits())) }
    }

    /// One second; `fault` alters values.
    fn second(&mut self, host: &mut Host, fault: impl Fn(Shape, &str) -> f64) {
        let activity = self.jobs.as_mut().map_or(0.0, Jobs::next);
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

fn warm_host(seed: u64, per_shape: usize, life: Life) -> (Host, Load) {
    let mut host = Host::new(u8::try_from(seed % 251).expect("small"));
    let mut load = Load::new(seed, per_shape, life);
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
    if cfg!(debug_assertions) { (4, 2, 5) } else { (5, 24, 38) }
}

/// False episodes on healthy hosts.
#[derive(Debug, Default)]
struct Alarms {
    days: f64,
    opened: usize,
    /// Times apart by over a minute.
    occasions: u32,
    occasions_after_six_hours: u32,
    by_metric: BTreeMap<String, u32>,
}

fn alarms(life: Life) -> Alarms {
    let (seeds, hours, per_shape) = effort();
    let mut alarms = Alarms { days: (seeds * hours) as f64 / 24.0, ..Alarms::default() };
    for seed in 0..seeds {
        let (mut host, mut load) = warm_host(1_000 + seed, per_shape, life);
        load.healthy(&mut host, hours * 3_600);
        alarms.opened += host.opened();
        let mut last = None;
        for (second, finding) in host.events(EpisodeEvent::Open) {
            if last.is_none_or(|last| second - last > 60) {
                alarms.occasions += 1;
                alarms.occasions_after_six_hours += u32::from(*second > 21_600);
            }
            last = Some(*second);
            *alarms.by_metric.entry(metric_of(finding).to_owned()).or_default() += 1;
        }
    }
    println!("{life:?} host, {} series, from the end of the warm-up: {alarms:?}", per_shape * SHAPES.len());
    alarms
}

#[test]
fn quiet_host_opens_next_to_no_episodes() {
    let alarms = alarms(Life::Quiet);
    assert!(f64::from(alarms.occasions) <= 1.0 + 0.5 * alarms.days);
    assert!(f64::from(alarms.occasions_after_six_hours) <= 0.3 * alarms.days);
}

/// Until they have recurred a few times, jobs of twelve spreads that last six seconds look like faults.
#[test]
fn busy_host_alarms_early_and_then_seldom() {
    let alarms = alarms(Life::Busy);
    // One occasion on each host until its jobs are known.
    assert!(f64::from(alarms.occasions) <= effort().0 as f64 + 2.0 * alarms.days);
    assert!(f64::from(alarms.occasions_after_six_hours) <= 1.0 * alarms.days);
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
            let (mut host, mut load) = warm_host(2_000 + seed, 5, Life::Busy);
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
        let (mut host, mut load) = warm_host(3_000 + seed, 5, Life::Busy);
        load.healthy(&mut host, 1_800);
        total += 1;
        let step = |_, shape, name: &str| if shape == Shape::Gaussian && name == "1" { 50.0 } else { 0.0 };
        found.extend(delay(&mut host, &mut load, 30, step));
    }
    println!("step of 50 spreads on one series after half an hour: {} of {total} found, {found:?} s", found.len());
    // A lone series has to be patient in the first hours.
    assert!(found.len() >= 5 && found.iter().all(|delay| *delay <= 30));
}

/// Two hours of life with jobs before the fault: what was learnt from them must not hide it.
#[test]
fn obvious_fault_is_found_on_a_host_that_has_learnt_its_jobs() {
    let mut delays = Vec::new();
    for seed in 0..4 {
        let (mut host, mut load) = warm_host(5_000 + seed, 5, Life::Busy);
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

/// A small step of one family is adapted to by the detector before it can be told from noise at this budget.
#[test]
fn lasting_step_is_found_from_twelve_spreads_on() {
    for height in [6.0, 12.0, 25.0] {
        let mut delays = Vec::new();
        for seed in 0..6 {
            let (mut host, mut load) = warm_host(4_000 + seed, 5, Life::Quiet);
            load.healthy(&mut host, if cfg!(debug_assertions) { 900 } else { 21_600 });
            let step = |_, shape, _: &str| if shape == Shape::Gaussian { height } else { 0.0 };
            delays.push(delay(&mut host, &mut load, 60, step));
        }
        println!("step of {height} spreads on five series of one metric, quiet host: {delays:?} s");
        if height >= 25.0 {
            assert!(delays.iter().flatten().filter(|delay| **delay <= 12).count() >= 5);
        }
    }
}

//! What a detector costs around its guest, and what the planner costs, a value, by the difference that one makes to a
//! pipeline of series read each second. Guests are not run: their scores are made up before.
//!
//! An agent wakes once a second, and others had the caches meanwhile. So each tick is measured twice: right after the one
//! before it, and after so much other memory was touched as drives the pipeline out of the caches. The quickest of many
//! short parts counts, which other load was in least.
//!
//! `cargo bench -p vedette-edge --bench judging [-- SERIES…]`
#![expect(clippy::print_stdout, reason = "the table is the result")]

use std::time::Instant;
use vedette_edge::metric::{MetricKind, MetricSpec};
use vedette_edge::pipeline::{Action, DetectorSlot, Pipeline, PipelineConfig};
use vedette_edge::planner::{Budgets, Prices};
use vedette_protocol::ids::{Digest, HostId};
use vedette_protocol::policy::Policy;
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::DetectorRef;
use vedette_protocol::worker::{DetectorDescription, DetectorInput, WorkerRequest};

const SERIES: [usize; 2] = [300, 1_000];
/// Ticks until calibration is warm, and those of a part of the measurement.
const WARM_UP: u64 = 400;
const PART: u64 = 20;
const PARTS: u64 = 12;
/// What others touch in between.
const OTHERS_BYTES: usize = 64 << 20;
/// What a look is said to cost.
const VALUE_NS: f64 = 100.0;
/// The bundled detectors of metrics, and how often they look: `level`, `exhaustion`, `flatline`, `seasonal`, `novelty`,
/// `rarity`.
const BUNDLED: [Bench; 6] = [
    Bench { input: DetectorInput::Metrics, look_ms: 0, declines: false },
    Bench { input: DetectorInput::Timeless, look_ms: 0, declines: true },
    Bench { input: DetectorInput::Timeless, look_ms: 10_000, declines: false },
    Bench { input: DetectorInput::Seasonal, look_ms: 10_000, declines: false },
    Bench { input: DetectorInput::Votes, look_ms: 10_000, declines: false },
    Bench { input: DetectorInput::Votes, look_ms: 10_000, declines: false },
];
/// One series in so many is a stock that can run out.
const STOCKS: u32 = 10;
/// Scores that were made up, of which each tick has others.
const SCORES: usize = 1 << 16;

/// A detector that is made up.
#[derive(Clone, Copy, Debug)]
struct Bench {
    input: DetectorInput,
    look_ms: u32,
    /// All series that are no stocks.
    declines: bool,
}

impl Bench {
    const fn of(input: DetectorInput) -> Self {
        Self { input, look_ms: 0, declines: false }
    }
}

static METRICS: [MetricSpec; 8] = [
    gauge("system.cpu.a"),
    gauge("system.cpu.b"),
    gauge("system.memory.a"),
    gauge("system.memory.b"),
    gauge("system.disk.a"),
    gauge("system.disk.b"),
    gauge("system.network.a"),
    gauge("system.network.b"),
];

const fn gauge(name: &'static str) -> MetricSpec {
    MetricSpec { name, unit: "1", kind: MetricKind::Gauge, resolution: 0.01, lower: f64::NAN, upper: f64::NAN, doc: "" }
}

fn main() {
    // Cargo passes `--bench` to every bench.
    let asked: Vec<usize> = std::env::args().skip(1).filter_map(|argument| argument.parse().ok()).collect();
    let noise = noise();
    for series in if asked.is_empty() { SERIES.to_vec() } else { asked } {
        for (state, others_bytes) in [("warm", 0), ("cold", OTHERS_BYTES)] {
            let spent = |benches: &[Bench], budget| spent_ns(series, benches, budget, &noise, others_bytes);
            println!("{series} series each second, 8 metrics, {state} caches; ns a value");
            let alone = spent(&[], None).0;
            println!("  pipeline without detectors     {alone:6.1}");
            println!("  planner, a budget that suffices{:6.1}", spent(&[], Some(1e15)).0 - alone);
            let level = [Bench::of(DetectorInput::Metrics)];
            let judged = spent(&level, None).0 - alone;
            let (thinned, looks) = spent(&level, Some(0.1 * per(series as u64) * VALUE_NS));
            println!("  planner, {:4.1} % of looks       {:6.1}", 100.0 * looks, thinned - alone - looks * judged);
            for (what, input) in [("judging", DetectorInput::Metrics), ("a vote", DetectorInput::Votes)] {
                let [one, three] = [1, 3].map(|count| spent(&vec![Bench::of(input); count], None).0);
                println!("  {what:8} the first            {:6.1}", one - alone);
                println!("  {what:8} each further one      {:6.1}", (three - one) / 2.0);
            }
            let each = BUNDLED.map(|one| Bench::of(one.input));
            println!("  all six that are bundled       {:6.1}", spent(&BUNDLED, None).0 - alone);
            println!("  all six, shown each value      {:6.1}", spent(&each, None).0 - alone);
        }
    }
}

/// Time of a pipeline per value read, with these detectors and a budget of so many nanoseconds a second; and the share of
/// values that were looked at.
fn spent_ns(series: usize, benches: &[Bench], budget: Option<f64>, noise: &[f32], others_bytes: usize) -> (f64, f64) {
    let names: Vec<String> = (0..series).map(|n| n.to_string()).collect();
    let config = PipelineConfig {
        host: HostId([1; 16]),
        policy: Policy::default(),
        series_max: series + 1,
        templates_max: 1,
        sources: vec![("sim".into(), 1_000)],
    };
    let mut pipeline = Pipeline::new(config, MonoTime::default(), WallTime::default());
    pipeline.set_prices(Prices { value_ns: VALUE_NS, reading_ns: 0.0, ..Prices::default() });
    if let Some(cpu_ns_per_s) = budget {
        let budgets = Budgets { cpu_ns_per_s: Some(cpu_ns_per_s), uplink_bytes_per_hour: None };
        pipeline.set_budgets(MonoTime::default(), budgets);
    }
    let slots = (0..).zip(benches).map(|(number, bench)| slot(number, *bench));
    pipeline.set_detectors(MonoTime::default(), slots.collect());
    let mut others = vec![1u8; others_bytes];
    let mut parts_s = Vec::new();
    for second in 0..WARM_UP + PART * PARTS {
        if second >= WARM_UP {
            others.iter_mut().step_by(64).for_each(|byte| *byte = byte.wrapping_add(1));
            std::hint::black_box(&others);
            if (second - WARM_UP).is_multiple_of(PART) {
                parts_s.push(0.0);
            }
        }
        let from = usize::try_from(second).unwrap_or_default().wrapping_mul(7_919) % (SCORES / 2);
        let begin = Instant::now();
        tick(&mut pipeline, second, (&names, benches), &noise[from..]);
        if let Some(part_s) = parts_s.last_mut() {
            *part_s += begin.elapsed().as_secs_f64();
        }
    }
    let (ledger, ns) = (pipeline.ledger(), 1e9 * parts_s.into_iter().fold(f64::INFINITY, f64::min));
    (ns / per(PART) / per(names.len() as u64), per(ledger.looks_taken) / per(ledger.looks_due).max(1.0))
}

fn tick(pipeline: &mut Pipeline, second: u64, (names, benches): (&[String], &[Bench]), noise: &[f32]) {
    let (now, wall) = (MonoTime::from_ms(second * 1_000), WallTime::from_unix_ms(second.cast_signed() * 1_000));
    for (n, name) in names.iter().enumerate() {
        let value = 50.0 + f64::from(noise[n]);
        pipeline.handle_reading(now, "sim", 1_000, &METRICS[n % METRICS.len()], &[("n", name)], value);
    }
    pipeline.handle_tick(now, wall);
    while let Some(action) = pipeline.poll_action() {
        match action {
            Action::Ask(WorkerRequest::Observe { detector, tick, columns }) => {
                pipeline.handle_scores(now, detector, tick, &noise[..columns.ids.len()]);
                pipeline.recycle(columns);
            }
            Action::Ask(WorkerRequest::SeriesAdded { detector, series }) if benches[detector as usize].declines => {
                let declined = series.iter().filter(|one| one.id % STOCKS != 0).map(|one| (one.id, one.key));
                pipeline.handle_declined(now, detector, &declined.collect::<Vec<_>>());
            }
            _ => {}
        }
    }
}

fn slot(detector: u32, Bench { input, look_ms, .. }: Bench) -> DetectorSlot {
    let (name, version) = (format!("made-up-{detector}"), "1".to_owned());
    DetectorSlot {
        detector,
        reference: DetectorRef { name: name.clone(), version: version.clone(), digest: Digest([7; 32]) },
        description: DetectorDescription {
            name,
            version,
            input,
            warm_up_values: 48,
            state_bytes_max: 512,
            look_ms,
            parameters: Vec::new(),
        },
    }
}

/// Absolute values of about normal noise (Irwin and Hall).
#[expect(clippy::cast_possible_truncation, reason = "scores are f32")]
fn noise() -> Vec<f32> {
    let mut state = 1u64;
    let mut uniform = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        f64::from(u32::try_from(state >> 33).unwrap_or_default()) / f64::from(1u32 << 31)
    };
    (0..SCORES).map(|_| ((0..12).map(|_| uniform()).sum::<f64>() - 6.0).abs() as f32).collect()
}

#[expect(clippy::cast_precision_loss, reason = "a small count")]
fn per(ticks: u64) -> f64 {
    ticks as f64
}

//! A pipeline at all of its limits at once takes no more memory than it says before.

use super::allocation::held;
use super::host::detector;
use vedette_edge::metric::{MetricKind, MetricSpec};
use vedette_edge::pipeline::{Action, DetectorSlot, Extent, Footprint, Pipeline, PipelineConfig};
use vedette_edge::planner::Budgets;
use vedette_edge::recorder::RecorderConfig;
use vedette_protocol::ids::{HostId, SeriesKey};
use vedette_protocol::policy::Policy;
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::worker::{DetectorInput, Explanation, SeriesState, WorkerRequest};

const SERIES: usize = 4_000;
const TEMPLATES: usize = 1_000;
const RECORDER: RecorderConfig = RecorderConfig { memory_bytes: 4 << 20, to_disk: true };
const LOG: (&str, &str) = ("/var/log/app/app.log", "app");
const INPUTS: [DetectorInput; 3] = [DetectorInput::Metrics, DetectorInput::Votes, DetectorInput::LogTemplates];

const fn metric(name: &'static str) -> MetricSpec {
    let (lower, upper, doc) = (f64::NAN, f64::NAN, "");
    MetricSpec { name, unit: "By", kind: MetricKind::Gauge, resolution: 0.01, lower, upper, doc }
}

static METRICS: [MetricSpec; 4] = [
    metric("system.filesystem.usage.of.a.long.name"),
    metric("system.network.io.of.a.long.name"),
    metric("process.memory.usage.of.a.long.name"),
    metric("container.cpu.time.of.a.long.name"),
];

/// Answers as a detector that is dear: states of all that it promised, and everything is rare once it is `alarmed`.
struct Worker {
    keys: [Vec<SeriesKey>; INPUTS.len()],
    alarmed: bool,
    scores: Vec<f32>,
    restored: usize,
}

fn slots(life: u32) -> Vec<DetectorSlot> {
    let slot = |(number, input): (u32, &DetectorInput)| {
        let mut slot = detector(*input);
        slot.detector = number + 3 * life;
        slot.reference.name = format!("{input:?}");
        // More than the mean that it is given room for.
        slot.description.state_bytes_max = 2_048;
        slot
    };
    (0..).zip(&INPUTS).map(slot).collect()
}

impl Worker {
    fn new() -> Self {
        let keys = std::array::from_fn(|_| vec![SeriesKey(0); 2 * SERIES]);
        Self { keys, alarmed: false, scores: Vec::with_capacity(2 * SERIES), restored: 0 }
    }

    fn answer(&mut self, pipeline: &mut Pipeline, now: MonoTime, request: WorkerRequest) {
        match request {
            WorkerRequest::SeriesAdded { detector, series } => {
                let keys = &mut self.keys[detector as usize % INPUTS.len()];
                series.iter().for_each(|one| keys[one.id as usize] = one.key);
            }
            WorkerRequest::Observe { detector, tick, columns } => {
                self.scores.clear();
                let score = |id: &u32| if self.alarmed { 90.0 } else { (id % 7) as f32 * 0.1 };
                self.scores.extend(columns.ids.iter().map(score));
                pipeline.handle_scores(now, detector, tick, &self.scores);
                pipeline.recycle(columns);
            }
            WorkerRequest::Snapshot { detector, ids } => {
                let keys = &self.keys[detector as usize % INPUTS.len()];
                let state = |id: &u32| SeriesState { key: keys[*id as usize], state: vec![7; 1_500] };
                pipeline.handle_snapshots(now, detector, ids.iter().map(state).collect());
            }
            WorkerRequest::Explain { detector, ids } => {
                let explain = |id: &u32| Explanation {
                    id: *id,
                    code: 101,
                    observed: 9.0,
                    expected: 1.0,
                    lower: 0.0,
                    upper: 2.0,
                    onset_ms_ago: 0,
                    onset_uncertainty_ms: 0,
                };
                pipeline.handle_explanations(now, detector, ids.iter().map(explain).collect());
            }
            WorkerRequest::Restore { ids, .. } => self.restored += ids.len(),
            _ => {}
        }
    }
}

/// A line of its own: as many words as fit, no two lines have more than a few in common.
fn line(number: usize) -> String {
    let letters = |mut n: usize| {
        let mut word = String::from("w");
        for _ in 0..4 {
            word.push(char::from(b'a' + u8::try_from(n % 23).expect("under 23")));
            n /= 23;
        }
        word
    };
    let words: Vec<String> = (0..100 + number % 90).map(|at| letters(number * 7_919 + at * 104_729)).collect();
    words.join(" ")
}

#[test]
fn pipeline_at_all_of_its_limits_keeps_within_what_it_says_it_takes() {
    let extent = Extent {
        series_max: SERIES,
        templates_max: TEMPLATES,
        metrics: METRICS.len(),
        detectors: INPUTS.len(),
        log_sources: 1,
        log_name_bytes: LOG.0.len() + LOG.1.len(),
        recorder: Some(RECORDER),
    };
    let bound = Footprint::of(&extent);
    let mut worker = Worker::new();
    // More series than there may be, with labels that use up all of their room.
    let names: Vec<[String; 3]> =
        (0..SERIES + 200).map(|n| std::array::from_fn(|at| format!("{n:06}-{at}{}", "x".repeat(80)))).collect();
    let lines: Vec<String> = (0..TEMPLATES + 600).map(line).collect();
    let config = PipelineConfig {
        host: HostId([1; 16]),
        policy: Policy::default(),
        series_max: SERIES,
        templates_max: TEMPLATES,
        sources: vec![("sim".into(), 1_000)],
    };

    let (before, _) = held();
    let mut pipeline = Pipeline::new(config, MonoTime::from_ms(0), WallTime::default());
    pipeline.set_recorder(RECORDER);
    // Budgets that leave nothing out: their plan takes room all the same.
    let budgets = Budgets { cpu_ns_per_s: Some(1e12), uplink_bytes_per_hour: Some(1e12) };
    pipeline.set_budgets(MonoTime::from_ms(0), budgets);
    pipeline.set_detectors(MonoTime::from_ms(0), slots(0));
    let mut lines = lines.iter();
    for second in 1..150u32 {
        let now = MonoTime::from_ms(u64::from(second) * 1_000);
        for (n, labels) in names.iter().enumerate() {
            let attributes = [("first.name", &*labels[0]), ("second.name", &*labels[1]), ("third.name", &*labels[2])];
            let value = f64::from(second * 7_919 % 1_013) * 1.37 + n as f64;
            pipeline.handle_reading(now, "sim", 1_000, &METRICS[n % METRICS.len()], &attributes, value);
        }
        for line in lines.by_ref().take(40) {
            pipeline.handle_log_line(now, LOG.0, LOG.1, line.as_bytes());
        }
        worker.alarmed = second > 125;
        if second == 135 {
            pipeline.handle_worker_gone(now);
            pipeline.set_detectors(now, slots(1));
        }
        pipeline.handle_tick(now, WallTime::from_unix_ms(i64::from(second) * 1_000));
        while let Some(action) = pipeline.poll_action() {
            if let Action::Ask(request) = action {
                worker.answer(&mut pipeline, now, request);
            }
        }
        while pipeline.poll_recorded().is_some() {}
    }
    let (_, most) = held();
    let taken = usize::try_from(most - before).expect("something was taken");

    let (count, ledger) = (pipeline.series_count(), pipeline.ledger());
    assert!(count.total >= SERIES * 9 / 10 && ledger.series_folded >= 200, "{count:?}");
    assert_eq!(pipeline.template_count(), TEMPLATES, "{ledger:?}");
    assert!(ledger.templates_evicted >= 500 && ledger.states_refused > 0, "{ledger:?}");
    assert!(ledger.shed > 1_000 && ledger.emitted > 30, "{ledger:?}");
    assert!(worker.restored > 4_000, "{} states came back", worker.restored);
    println!("{taken} bytes of at most {}: {bound:?}", bound.total());
    assert!(taken <= bound.total(), "{taken} bytes were taken, at most {bound:?} were told");
    assert!(taken * 5 >= bound.total(), "{taken} bytes were taken of {bound:?}: the bound says too little");
}

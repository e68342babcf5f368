//! Whatever happens in whatever order, the books balance.

use super::host::detector;
use proptest::prelude::*;
use std::collections::HashSet;
use vedette_edge::metric::{MetricKind, MetricSpec};
use vedette_edge::pipeline::{Action, Pipeline, PipelineConfig};
use vedette_protocol::ids::{EpisodeId, HostId};
use vedette_protocol::policy::Policy;
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::{Body, EpisodeEvent};
use vedette_protocol::worker::{DetectorInput, Explanation, WorkerRequest};

static GAUGE: MetricSpec = MetricSpec {
    name: "system.memory.usage",
    unit: "By",
    kind: MetricKind::Gauge,
    resolution: 1.0,
    lower: 0.0,
    upper: f64::NAN,
    doc: "",
};

#[derive(Clone, Debug)]
enum Step {
    /// Seconds in which all scores are this.
    Score(u8, f32),
    Misaligned,
    Fail,
    Load,
    Gone,
    Vanish,
    Line(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1u8..40, prop_oneof![0.0f32..1.0, 5.0f32..60.0, Just(f32::NAN), Just(f32::INFINITY), Just(-3.0)])
            .prop_map(|(seconds, score)| Step::Score(seconds, score)),
        1 => Just(Step::Misaligned),
        1 => Just(Step::Fail),
        2 => Just(Step::Load),
        1 => Just(Step::Gone),
        1 => Just(Step::Vanish),
        2 => proptest::collection::vec(any::<u8>(), 0..40).prop_map(Step::Line),
    ]
}

/// A pipeline of which each series has the same score.
struct Rig {
    pipeline: Pipeline,
    second: u64,
    opened: u64,
    cleared: u64,
    /// Episodes that the collector has heard of.
    told: HashSet<EpisodeId>,
}

impl Rig {
    fn now(&self) -> MonoTime {
        MonoTime::from_ms(self.second * 1_000)
    }

    fn tick(&mut self, score: f32, misaligned: bool) {
        self.second += 1;
        let now = self.now();
        for name in 0..80 {
            self.pipeline.handle_reading(now, "sim", 1_000, &GAUGE, &[("n", name.to_string().as_str())], 1.0);
        }
        self.pipeline
            .handle_tick(now, WallTime::from_unix_ms(i64::try_from(self.second).expect("few seconds") * 1_000));
        while let Some(action) = self.pipeline.poll_action() {
            match action {
                Action::Ask(WorkerRequest::Observe { detector, tick, columns }) => {
                    let rows = columns.ids.len() + usize::from(misaligned);
                    self.pipeline.handle_scores(now, detector, tick, &vec![score; rows]);
                    self.pipeline.handle_scores(now, detector, tick, &[]);
                }
                Action::Ask(WorkerRequest::Explain { detector, ids }) if !self.second.is_multiple_of(3) => {
                    let explain = |id| Explanation {
                        id,
                        code: 1,
                        observed: 1.0,
                        expected: 0.0,
                        lower: 0.0,
                        upper: 0.5,
                        onset_ms_ago: 4_000,
                        onset_uncertainty_ms: 500,
                    };
                    self.pipeline.handle_explanations(now, detector, ids.into_iter().map(explain).collect());
                }
                Action::Enqueue { body: Body::Findings(findings), .. } => {
                    for finding in findings {
                        self.opened += u64::from(finding.event == EpisodeEvent::Open);
                        let first = self.told.insert(finding.episode);
                        assert_eq!(first, finding.event == EpisodeEvent::Open, "an opening comes first: {finding:?}");
                        self.cleared += u64::from(finding.event == EpisodeEvent::Clear);
                    }
                }
                _ => {}
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    #[test]
    fn detected_is_emitted_folded_and_shed(steps in proptest::collection::vec(step(), 1..24)) {
        let config = PipelineConfig {
            host: HostId([0; 16]),
            policy: Policy::default(),
            series_max: 400,
            templates_max: 8,
            sources: vec![("sim".into(), 1_000)],
        };
        let pipeline = Pipeline::new(config, MonoTime::default(), WallTime::default());
        let mut rig = Rig { pipeline, second: 0, opened: 0, cleared: 0, told: HashSet::new() };
        rig.tick(0.0, false);
        rig.pipeline.set_detectors(rig.now(), vec![detector(DetectorInput::Metrics)]);
        (0..125).for_each(|_| rig.tick(0.5, false));
        for step in steps {
            let now = rig.now();
            match step {
                Step::Score(seconds, score) => (0..seconds).for_each(|_| rig.tick(score, false)),
                Step::Misaligned => rig.tick(50.0, true),
                Step::Fail => rig.pipeline.handle_detector_failed(now, 0),
                Step::Load => rig.pipeline.set_detectors(now, vec![detector(DetectorInput::Metrics)]),
                Step::Gone => rig.pipeline.handle_worker_gone(now),
                Step::Vanish => rig.second += 200,
                Step::Line(line) => rig.pipeline.handle_log_line(now, "/log", "", &line),
            }
            let ledger = rig.pipeline.ledger();
            prop_assert!(ledger.balances(), "{ledger:?}");
        }
        (0..3).for_each(|_| rig.tick(0.0, false));
        let ledger = rig.pipeline.ledger();
        prop_assert!(ledger.balances(), "{ledger:?}");
        prop_assert_eq!((rig.opened, rig.cleared), (ledger.emitted, ledger.cleared));
    }
}

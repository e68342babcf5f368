//! A pipeline with its worker, driven second by second.

use super::scorer::Scorer;
use std::collections::VecDeque;
use vedette_edge::metric::{MetricKind, MetricSpec};
use vedette_edge::pipeline::{Action, DetectorSlot, Pipeline, PipelineConfig};
use vedette_edge::recorder::Search;
use vedette_protocol::ids::{Digest, HostId};
use vedette_protocol::policy::Policy;
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::{Body, Class, Cursor, DetectorRef, EpisodeEvent, Finding};
use vedette_protocol::worker::{Columns, DetectorDescription, DetectorInput, WorkerRequest};

pub(crate) const EPOCH_MS: i64 = 1_700_000_000_000;

/// Some gauge.
pub(crate) static METRIC: MetricSpec = MetricSpec {
    name: "system.cpu.utilization",
    unit: "1",
    kind: MetricKind::Gauge,
    resolution: 0.01,
    lower: f64::NAN,
    upper: f64::NAN,
    doc: "",
};

pub(crate) struct Host {
    pub(crate) pipeline: Pipeline,
    pub(crate) scorer: Scorer,
    pub(crate) second: u64,
    pub(crate) findings: Vec<(u64, Finding)>,
    pub(crate) shipped: Vec<(Class, Body, Vec<Cursor>)>,
    pub(crate) intervals: Vec<(u64, String, u32)>,
    /// The worker answers nothing any more.
    pub(crate) dead: bool,
    /// It explains nothing any more.
    pub(crate) mute: bool,
    /// It is given no ticks.
    pub(crate) withheld: bool,
    /// It has no opinion on anything.
    pub(crate) undecided: bool,
    /// What it was asked last.
    pub(crate) asked: Columns,
    /// Times that all states were fetched.
    pub(crate) checkpoints: u64,
    /// Carried out after the next tick.
    pub(crate) searches: VecDeque<Search>,
}

pub(crate) fn detector(input: DetectorInput) -> DetectorSlot {
    DetectorSlot {
        detector: 0,
        reference: DetectorRef { name: "level".into(), version: "1".into(), digest: Digest([7; 32]) },
        description: DetectorDescription {
            name: "level".into(),
            version: "1".into(),
            input,
            warm_up_values: 48,
            state_bytes_max: 512,
            look_ms: 0,
            parameters: vec![("memory-s".into(), 300.0)],
        },
    }
}

impl Host {
    pub(crate) fn new(seed: u8) -> Self {
        let config = PipelineConfig {
            host: HostId([seed; 16]),
            policy: Policy::default(),
            series_max: 4_000,
            templates_max: 100,
            sources: vec![("sim".into(), 1_000), ("slow".into(), 10_000)],
        };
        let pipeline = Pipeline::new(config, MonoTime::from_ms(0), WallTime::from_unix_ms(EPOCH_MS));
        Self {
            pipeline,
            scorer: Scorer::default(),
            second: 0,
            findings: Vec::new(),
            shipped: Vec::new(),
            intervals: Vec::new(),
            dead: false,
            mute: false,
            withheld: false,
            undecided: false,
            asked: Columns::default(),
            checkpoints: 0,
            searches: VecDeque::new(),
        }
    }

    pub(crate) fn now(&self) -> MonoTime {
        MonoTime::from_ms(self.second * 1_000)
    }

    pub(crate) fn load(&mut self, input: DetectorInput) {
        self.scorer.clear();
        self.pipeline.set_detectors(self.now(), vec![detector(input)]);
        self.settle();
    }

    pub(crate) fn read(&mut self, spec: &'static MetricSpec, name: &str, value: f64) {
        self.pipeline.handle_reading(self.now(), "sim", 1_000, spec, &[("n", name)], value);
    }

    /// Ends the second.
    pub(crate) fn tick(&mut self) {
        let wall = WallTime::from_unix_ms(EPOCH_MS + i64::try_from(self.second).expect("short") * 1_000);
        self.pipeline.handle_tick(self.now(), wall);
        self.settle();
        while let Some(search) = self.searches.pop_front() {
            self.pipeline.handle_found(self.now(), &search.run());
            self.settle();
        }
        assert!(self.pipeline.ledger().balances(), "{:?}", self.pipeline.ledger());
        self.second += 1;
    }

    /// The agent is about to end. Whether all states were fetched.
    pub(crate) fn drain(&mut self) -> bool {
        self.pipeline.handle_drain(self.now());
        self.pipeline.fetch_states();
        let before = self.checkpoints;
        self.settle();
        self.checkpoints > before
    }

    fn settle(&mut self) {
        while let Some(action) = self.pipeline.poll_action() {
            match action {
                Action::Ask(request) => self.answer(request),
                Action::SetInterval { source, interval_ms } => self.intervals.push((self.second, source, interval_ms)),
                Action::Enqueue { class, body: Body::Findings(findings), cursors } => {
                    assert!(class == Class::Finding && cursors.is_empty());
                    assert!(findings.iter().all(|one| one.score.is_finite()), "it could not be encoded: {findings:?}");
                    self.findings.extend(findings.into_iter().map(|finding| (self.second, finding)));
                }
                // Long runs would keep days of features.
                Action::Enqueue { class, body, cursors } if self.shipped.len() < 1_000 => {
                    self.shipped.push((class, body, cursors));
                }
                Action::Enqueue { .. } => {}
                Action::Checkpointed => self.checkpoints += 1,
                Action::Search(search) => self.searches.push_back(search),
            }
        }
    }

    fn answer(&mut self, request: WorkerRequest) {
        if self.dead {
            return;
        }
        let now = self.now();
        self.scorer.handle(&request);
        match request {
            WorkerRequest::Observe { detector, tick, columns } if self.withheld => {
                self.pipeline.handle_withheld(now, detector, tick);
                self.pipeline.recycle(columns);
            }
            WorkerRequest::Observe { detector, tick, columns } => {
                self.asked.clone_from(&columns);
                self.scorer.observe(&columns);
                if self.undecided {
                    self.scorer.scores.fill(f32::NAN);
                }
                self.pipeline.handle_scores(now, detector, tick, &self.scorer.scores);
                self.pipeline.recycle(columns);
            }
            WorkerRequest::Explain { detector, ids } if !self.mute => {
                self.pipeline.handle_explanations(now, detector, self.scorer.explain(&ids));
            }
            WorkerRequest::Snapshot { detector, ids } => {
                self.pipeline.handle_snapshots(now, detector, self.scorer.snapshot(&ids));
            }
            _ => {}
        }
    }

    pub(crate) fn events(&self, wanted: EpisodeEvent) -> impl Iterator<Item = &(u64, Finding)> {
        self.findings.iter().filter(move |(_, finding)| finding.event == wanted)
    }

    pub(crate) fn opened(&self) -> usize {
        self.events(EpisodeEvent::Open).count()
    }
}

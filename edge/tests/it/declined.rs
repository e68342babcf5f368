//! What a detector declines it is not asked about again, and is not told of again.

use super::host::{METRIC, detector};
use std::time::Duration;
use vedette_edge::learnt::Away;
use vedette_edge::pipeline::{Action, DetectorSlot, Pipeline, PipelineConfig};
use vedette_protocol::ids::{Digest, HostId, SeriesKey};
use vedette_protocol::policy::Policy;
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::worker::{DetectorInput, SeriesState, WorkerRequest};

/// An agent with one detector that declines the series named `flow`.
struct Host {
    pipeline: Pipeline,
    second: u64,
    names: Vec<&'static str>,
    /// Names of the series that the detector was told of, and ids that it was asked about, for states and scores.
    told: Vec<String>,
    asked: Vec<u32>,
    declined: Vec<(u32, SeriesKey)>,
}

impl Host {
    fn new() -> Self {
        let config = PipelineConfig {
            host: HostId([4; 16]),
            policy: Policy::default(),
            series_max: 100,
            templates_max: 10,
            sources: vec![("sim".into(), 1_000)],
        };
        let pipeline = Pipeline::new(config, MonoTime::from_ms(0), WallTime::from_unix_ms(0));
        let (told, asked, declined) = (Vec::new(), Vec::new(), Vec::new());
        Self { pipeline, second: 0, names: vec!["stock", "flow"], told, asked, declined }
    }

    fn load(&mut self, slot: DetectorSlot) {
        self.pipeline.set_detectors(self.now(), vec![slot]);
        self.settle();
    }

    fn now(&self) -> MonoTime {
        MonoTime::from_ms(self.second * 1_000)
    }

    fn run(&mut self, seconds: u64) {
        self.told.clear();
        self.asked.clear();
        for _ in 0..seconds {
            for name in self.names.clone() {
                let value = f64::from(u32::try_from(self.second % 7).expect("small"));
                self.pipeline.handle_reading(self.now(), "sim", 1_000, &METRIC, &[("n", name)], value);
            }
            let wall = WallTime::from_unix_ms(i64::try_from(self.second).expect("short") * 1_000);
            self.pipeline.handle_tick(self.now(), wall);
            self.settle();
            self.second += 1;
        }
    }

    /// Answers as a worker does: in order, and after everything of a tick was asked.
    fn settle(&mut self) {
        let mut asks = Vec::new();
        while let Some(action) = self.pipeline.poll_action() {
            if let Action::Ask(request) = action {
                asks.push(request);
            }
        }
        for request in asks {
            match request {
                WorkerRequest::SeriesAdded { detector, series } => {
                    let name = |meta: &vedette_protocol::series::SeriesMeta| meta.attributes[0].1.clone();
                    self.told.extend(series.iter().map(|one| name(&one.meta)));
                    let flows = series.iter().filter(|one| name(&one.meta) == "flow");
                    self.declined = flows.map(|one| (one.id, one.key)).collect();
                    self.pipeline.handle_declined(self.now(), detector, &self.declined);
                }
                WorkerRequest::Observe { detector, tick, columns } => {
                    self.asked.extend(&columns.ids);
                    let scores = vec![0.5; columns.ids.len()];
                    self.pipeline.handle_scores(self.now(), detector, tick, &scores);
                }
                WorkerRequest::Snapshot { detector, ids } => {
                    self.asked.extend(&ids);
                    let states = ids.iter().map(|_| SeriesState { key: SeriesKey(0), state: vec![1] }).collect();
                    self.pipeline.handle_snapshots(self.now(), detector, states);
                }
                _ => {}
            }
        }
        assert!(self.pipeline.ledger().balances());
    }
}

#[test]
fn a_declined_series_is_asked_about_no_more_and_nothing_is_kept_of_it() {
    let mut host = Host::new();
    host.load(detector(DetectorInput::Metrics));
    host.run(1);
    assert_eq!((host.told.len(), host.pipeline.series_of(0)), (2, 1));
    let flow = host.declined[0].0;
    host.run(200);
    assert!(host.told.is_empty() && !host.asked.contains(&flow), "{:?}", host.asked);
    assert!(host.asked.len() >= 200 && host.pipeline.surprise(0, flow).is_none());
}

#[test]
fn a_declined_series_stays_so_in_another_worker_and_under_another_version_is_told_anew() {
    let mut host = Host::new();
    host.load(detector(DetectorInput::Metrics));
    host.run(100);
    host.pipeline.handle_worker_gone(host.now());
    host.run(5);
    host.load(detector(DetectorInput::Metrics));
    assert_eq!(host.told, ["stock"]);
    host.run(5);
    assert_eq!((host.told.len(), host.pipeline.series_of(0)), (0, 1));
    let mut newer = detector(DetectorInput::Metrics);
    newer.reference.digest = Digest([8; 32]);
    newer.detector = 1;
    host.load(newer);
    assert_eq!(host.told, ["stock", "flow"]);
    assert_eq!(host.pipeline.series_of(1), 1);
}

#[test]
fn the_next_life_of_the_agent_tells_a_declined_series_anew_for_its_bounds_may_be_others() {
    let mut host = Host::new();
    host.load(detector(DetectorInput::Metrics));
    host.run(100);
    let learnt = host.pipeline.learnt(host.now());
    let mut next = Host::new();
    next.second = host.second;
    next.pipeline.handle_learnt(next.now(), &learnt, Away::Agent(Duration::from_secs(5)));
    next.load(detector(DetectorInput::Metrics));
    next.run(1);
    assert_eq!((next.told.len(), next.pipeline.series_of(0)), (2, 1));
}

#[test]
fn a_detector_that_declines_everything_is_asked_nothing() {
    let mut host = Host::new();
    host.names = vec!["flow"];
    host.load(detector(DetectorInput::Metrics));
    // The first question is on its way when the answer comes.
    host.run(1);
    assert_eq!(host.asked.len(), 1);
    host.run(300);
    assert!(host.asked.is_empty() && host.pipeline.series_of(0) == 0);
    assert_eq!(host.pipeline.ledger().ticks_unscored, 0);
}

#[test]
fn what_was_never_told_cannot_be_declined_nor_by_nobody() {
    let mut host = Host::new();
    host.load(detector(DetectorInput::Metrics));
    host.run(3);
    let (now, key) = (host.now(), host.declined[0].1);
    let stock = 1 - host.declined[0].0;
    for foreign in [(stock, key), (stock, SeriesKey(1)), (77, key), (u32::MAX, key)] {
        host.pipeline.handle_declined(now, 0, &[foreign]);
        host.pipeline.handle_declined(now, 9, &[foreign]);
    }
    host.run(3);
    assert_eq!(host.asked, [stock; 3]);
}

//! Detectors that only vote.

use super::host::{Host, detector};
use vedette_edge::metric::{MetricKind, MetricSpec};
use vedette_protocol::v1::EpisodeEvent;
use vedette_protocol::worker::{DetectorInput, flags};

static METRIC: MetricSpec = MetricSpec {
    name: "system.cpu.utilization",
    unit: "1",
    kind: MetricKind::Gauge,
    resolution: 0.01,
    lower: f64::NAN,
    upper: f64::NAN,
    doc: "",
};

/// Ten minutes as usual and two far away, on four series at once; the highest news of all ticks.
fn departing(input: DetectorInput) -> (Host, f32) {
    let (mut host, mut news) = (Host::new(7), 0.0f32);
    host.load(input);
    for second in 0..720u32 {
        let wobble = f64::from(second * 7_919 % 13) / 10.0;
        let value = wobble + if second < 600 { 0.0 } else { 500.0 };
        ["a", "b", "c", "d"].iter().for_each(|name| host.read(&METRIC, name, value));
        host.tick();
        news = news.max(host.pipeline.news());
    }
    (host, news)
}

#[test]
fn votes_open_no_episode_hold_no_learning_and_make_the_host_odd() {
    let (judged, silent) = departing(DetectorInput::Metrics);
    assert!(judged.opened() > 0, "the same scores open one where they are judged");
    assert_eq!((judged.pipeline.oddness(), silent), (0.0, 0.0));
    let (host, news) = departing(DetectorInput::Votes);
    assert_eq!(host.events(EpisodeEvent::Open).count(), 0);
    assert!(host.asked.flags.iter().all(|flag| flag & flags::HOLD_LEARNING == 0), "{:?}", host.asked.flags);
    assert!(host.pipeline.oddness() > 4.0 && news > 4.0, "{} {news}", host.pipeline.oddness());
    assert!(host.pipeline.ledger().verdicts > 0);
}

#[test]
fn a_series_that_ended_is_odd_no_more() {
    let (mut host, _) = departing(DetectorInput::Votes);
    let all = host.pipeline.oddness();
    assert!((host.pipeline.oddness_of(0) - all / 4.0).abs() < all / 20.0);
    for _ in 0..1_200 {
        host.read(&METRIC, "a", 0.5);
        host.tick();
    }
    assert_eq!((host.pipeline.series_count().total, host.pipeline.oddness_of(1)), (1, 0.0));
}

#[test]
fn a_restart_of_the_worker_makes_no_host_less_odd() {
    let (mut host, _) = departing(DetectorInput::Votes);
    let before = host.pipeline.oddness();
    host.pipeline.handle_worker_gone(host.now());
    host.load(DetectorInput::Votes);
    assert_eq!(host.pipeline.oddness(), before);
    let mut another = detector(DetectorInput::Votes);
    another.reference.version = "2".into();
    host.scorer.clear();
    host.pipeline.set_detectors(host.now(), vec![another]);
    assert_eq!(host.pipeline.oddness(), 0.0, "what another module said is no word of this one");
}

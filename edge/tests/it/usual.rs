//! What is usual at its time opens no episode.

use super::host::{METRIC, detector};
use std::collections::BTreeSet;
use vedette_edge::pipeline::{Action, Pipeline, PipelineConfig};
use vedette_protocol::ids::HostId;
use vedette_protocol::policy::Policy;
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::{Body, EpisodeEvent, Finding, Subject};
use vedette_protocol::worker::{DetectorInput, WorkerRequest};

const DEPARTS_S: u32 = 900;

/// Two series that depart after a quarter of an hour, judged by a detector of this input; another says of the first that
/// this is usual, and of the second that it is not. Detectors and series that opened an episode, and verdicts held back.
///
/// The other one looks each `look_ms`; before, it said that nothing of the first is usual, if `till_then` is so.
fn opened_by(input: DetectorInput, look_ms: u32, till_then: f32) -> (BTreeSet<(String, String)>, u64) {
    let mut pipeline = pipeline(1_000);
    let mut seasonal = detector(DetectorInput::Seasonal);
    (seasonal.detector, seasonal.reference.name) = (1, "seasonal".into());
    seasonal.description.look_ms = look_ms;
    pipeline.set_detectors(MonoTime::from_ms(0), vec![detector(input), seasonal]);
    let mut opened = BTreeSet::new();
    for second in 0..DEPARTS_S + 60 {
        let now = MonoTime::from_ms(u64::from(second) * 1_000);
        for name in ["usual", "unusual"] {
            pipeline.handle_reading(now, "sim", 1_000, &METRIC, &[("n", name)], f64::from(second));
        }
        opened.extend(tick(&mut pipeline, second, |detector, id| score(detector, id, second, till_then)));
    }
    (opened, pipeline.ledger().excused)
}

fn pipeline(interval_ms: u32) -> Pipeline {
    let config = PipelineConfig {
        host: HostId([3; 16]),
        policy: Policy::default(),
        series_max: 100,
        templates_max: 10,
        sources: vec![("sim".into(), interval_ms)],
    };
    Pipeline::new(config, MonoTime::from_ms(0), WallTime::from_unix_ms(0))
}

/// A tick and its answers, by detector and series. Who opened an episode, and on what.
fn tick(pipeline: &mut Pipeline, second: u32, score: impl Fn(u32, u32) -> f32) -> Vec<(String, String)> {
    let (now, mut opened) = (MonoTime::from_ms(u64::from(second) * 1_000), Vec::new());
    pipeline.handle_tick(now, WallTime::from_unix_ms(i64::from(second) * 1_000));
    while let Some(action) = pipeline.poll_action() {
        match action {
            Action::Ask(WorkerRequest::Observe { detector, tick, columns }) => {
                let scores: Vec<f32> = columns.ids.iter().map(|id| score(detector, *id)).collect();
                pipeline.handle_scores(now, detector, tick, &scores);
            }
            Action::Ask(WorkerRequest::Explain { detector, .. }) => {
                pipeline.handle_explanations(now, detector, Vec::new());
            }
            Action::Enqueue { body: Body::Findings(findings), .. } => {
                opened.extend(findings.iter().filter(|one| one.event == EpisodeEvent::Open).map(who_and_what));
            }
            _ => {}
        }
    }
    opened
}

/// Small and different at first, of the second detector by so much higher; then the first detector is surprised by both
/// series, the second by the second.
fn score(detector: u32, id: u32, second: u32, till_then: f32) -> f32 {
    let surprised = second >= DEPARTS_S && (detector == 0 || id == 1);
    let wobble = (second * 7_919 + id * 13) % 17;
    let more = if detector == 1 && second < DEPARTS_S { till_then } else { 0.0 };
    if surprised { 30.0 } else { f32::from(u8::try_from(wobble).expect("small")) / 40.0 + more }
}

fn who_and_what(finding: &Finding) -> (String, String) {
    let Subject::Series(meta) = &finding.subject else { panic!("{finding:?}") };
    (finding.detector.name.clone(), meta.attributes[0].1.clone())
}

#[test]
fn a_departure_that_is_usual_at_its_time_opens_no_episode_and_one_that_is_not_does() {
    for look_ms in [0, 10_000] {
        for till_then in [0.0, 2.0] {
            let (opened, held_back) = opened_by(DetectorInput::Metrics, look_ms, till_then);
            let series: BTreeSet<&str> = opened.iter().map(|(_, series)| series.as_str()).collect();
            assert_eq!(series, BTreeSet::from(["unusual"]), "{opened:?} at {look_ms} ms, {till_then}");
            assert!(held_back > 0);
        }
    }
}

/// Minutes at which episodes opened on a series that departs for three quarters of an hour at nine each night, and farther at noon
/// of the third day, by a detector of this input that nobody tells what is usual.
fn nights(input: DetectorInput) -> (Vec<u32>, u64) {
    let mut pipeline = pipeline(60_000);
    pipeline.set_detectors(MonoTime::from_ms(0), vec![detector(input)]);
    let mut opened = Vec::new();
    for minute in 0..3 * DAY_MIN {
        let now = MonoTime::from_ms(u64::from(minute) * 60_000);
        pipeline.handle_reading(now, "sim", 60_000, &METRIC, &[("n", "job")], f64::from(minute));
        let departs = |from: u32, minute: u32| (from..from + 45).contains(&minute);
        let more = match () {
            () if departs(NOON_MIN, minute) => 80.0,
            () if departs(NINE_MIN, minute % DAY_MIN) => 40.0,
            () => 0.0,
        };
        let told = tick(&mut pipeline, minute * 60, |_, id| more + score(2, id, minute % 700, 0.0));
        opened.extend(told.iter().map(|_| minute));
    }
    (opened, pipeline.ledger().excused)
}

const DAY_MIN: u32 = 1_440;
const NINE_MIN: u32 = 1_260;
const NOON_MIN: u32 = 2 * DAY_MIN + 720;

#[test]
fn what_comes_again_a_day_later_is_told_once_and_at_another_time_again() {
    let (opened, held_back) = nights(DetectorInput::Metrics);
    let [first, noon] = opened[..] else { panic!("{opened:?}") };
    assert!((NINE_MIN..NINE_MIN + 45).contains(&first) && (NOON_MIN..NOON_MIN + 45).contains(&noon), "{opened:?}");
    assert!(held_back > 0);
    assert_eq!(nights(DetectorInput::Timeless).1, 0, "a stock runs out at any time");
}

#[test]
fn what_no_time_excuses_opens_an_episode_at_any() {
    let (opened, held_back) = opened_by(DetectorInput::Timeless, 0, 0.0);
    assert!(opened.contains(&("level".into(), "usual".into())), "{opened:?}");
    assert_eq!(held_back, 0);
}

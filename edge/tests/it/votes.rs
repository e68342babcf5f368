//! Detectors that vote: what they say opens an episode once the whole host is odd by its own measure.

use super::host::{Host, METRIC, detector};
use std::time::Duration;
use vedette_edge::learnt::Away;
use vedette_protocol::ids::Digest;
use vedette_protocol::v1::{EpisodeEvent, Subject};
use vedette_protocol::worker::{DetectorInput, flags};

/// How much series move from second to second: so that even usual scores are votes, and so that none is.
const NOISY: f64 = 0.1;
const QUIET: f64 = 0.0;

/// Four series for so many seconds as usual, then far away, or as usual, `d` farthest; the highest news of all ticks.
fn live(host: &mut Host, seconds: u32, wobble: f64, away: f64) -> f32 {
    let mut news = 0.0f32;
    for second in 0..seconds {
        let wobble = f64::from(second * 7_919 % 13) * wobble;
        for (name, share) in [("a", 1.0), ("b", 1.0), ("c", 1.0), ("d", 1.2)] {
            host.read(&METRIC, name, wobble + away * share);
        }
        host.tick();
        news = news.max(host.pipeline.news());
    }
    news
}

/// A day as usual, read each hundred seconds but for the last ten minutes.
fn learn_a_day(host: &mut Host) {
    for _ in 0..900 {
        host.second += 99;
        live(host, 1, QUIET, 0.0);
    }
    live(host, 600, QUIET, 0.0);
}

/// Ten minutes as usual and two far away.
fn departing(input: DetectorInput) -> (Host, f32) {
    let mut host = Host::new(7);
    host.load(input);
    live(&mut host, 600, NOISY, 0.0);
    let news = live(&mut host, 120, NOISY, 500.0);
    (host, news)
}

#[test]
fn votes_of_a_host_that_is_not_known_yet_open_no_episode_hold_no_learning_and_make_it_odd() {
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
fn votes_of_a_host_that_is_known_open_one_episode_about_the_series_that_departs_most() {
    let mut host = Host::new(7);
    host.load(DetectorInput::Votes);
    learn_a_day(&mut host);
    assert_eq!(host.findings.len(), 0);
    live(&mut host, 120, QUIET, 500.0);
    let opened: Vec<_> = host.events(EpisodeEvent::Open).cloned().collect();
    let [(_, opened)] = opened.as_slice() else { panic!("one cause, one episode: {opened:?}") };
    let Subject::Series(series) = &opened.subject else { panic!("{opened:?}") };
    assert!(series.display_name().contains('d'), "{series:?}");
    assert!(opened.surprise > 4.0 && opened.evidence.is_some(), "{opened:?}");
    live(&mut host, 1_800, QUIET, 0.0);
    assert_eq!((host.events(EpisodeEvent::Open).count(), host.events(EpisodeEvent::Clear).count()), (1, 1));
}

#[test]
fn over_a_restart_votes_of_the_same_module_are_known_and_those_of_another_are_not() {
    let mut before = Host::new(7);
    before.load(DetectorInput::Votes);
    learn_a_day(&mut before);
    assert!(before.drain());
    let opened = |digest: u8| {
        let mut host = Host::new(7);
        host.second = before.second;
        let learnt = before.pipeline.learnt(before.now());
        host.pipeline.handle_learnt(host.now(), &learnt, Away::Agent(Duration::ZERO));
        let mut slot = detector(DetectorInput::Votes);
        slot.reference.digest = Digest([digest; 32]);
        host.pipeline.set_detectors(host.now(), vec![slot]);
        live(&mut host, 600, QUIET, 0.0);
        live(&mut host, 120, QUIET, 500.0);
        host.opened()
    };
    assert_eq!((opened(7), opened(8)), (1, 0), "of a module that is new the first day tells what is usual");
}

#[test]
fn an_episode_of_votes_ends_with_its_detector() {
    let mut host = Host::new(7);
    host.load(DetectorInput::Votes);
    learn_a_day(&mut host);
    live(&mut host, 120, QUIET, 500.0);
    host.pipeline.set_detectors(host.now(), Vec::new());
    live(&mut host, 1, QUIET, 500.0);
    assert_eq!((host.events(EpisodeEvent::Open).count(), host.events(EpisodeEvent::Clear).count()), (1, 1));
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

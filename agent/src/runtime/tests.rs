//! The agent's state without its loop: ticks come when a test says so.

use super::agent::{Agent, Inputs};
use super::drain_ends;
use crate::config::Config;
use crate::identity::tests::certified;
use vedette_link::client::LinkTask;
use vedette_protocol::time::MonoTime;

/// An agent on this host with quick sources only, and no collector.
fn agent(folder: &tempfile::TempDir) -> (Agent, Inputs, LinkTask) {
    let mut config = Config { data_dir: folder.path().join("data"), ..Config::default() };
    config.collector.address = "127.0.0.1:9".to_owned();
    config.detectors.directory = folder.path().join("detectors");
    config.detectors.shadow_directory = folder.path().join("shadows");
    config.sources.iter_mut().for_each(|source| source.enabled = source.spec.name == "load");
    Agent::open(config, certified(200), Vec::new()).expect("an agent")
}

/// Runs ticks without waiting for them and returns how many went all the way.
fn beats(agent: &mut Agent, ticks: u64) -> u64 {
    let (before, done) = (agent.beats(), agent.ticks_done());
    while agent.ticks_done() < done + ticks {
        agent.handle_time(agent.next_wake());
    }
    agent.beats() - before
}

#[tokio::test]
async fn watchdog_starves_when_nobody_takes_batches_and_not_when_the_collector_is_away() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (mut agent, _inputs, link) = agent(&folder);
    assert_eq!(beats(&mut agent, 5), 5, "nobody answers, but the link would");
    drop(link);
    assert_eq!(beats(&mut agent, 5), 0, "ticks alone are not fed");
}

#[test]
fn collector_that_is_away_is_waited_for_briefly_and_one_that_is_there_for_its_word() {
    let at = MonoTime::from_ms;
    assert_eq!(drain_ends(at(60_000), None), at(70_000));
    assert_eq!(drain_ends(at(60_000), Some(at(1_000))), at(61_500), "away for long");
    assert_eq!(drain_ends(at(60_000), Some(at(64_000))), at(65_500), "lost on the way");
    assert_eq!(drain_ends(at(60_000), Some(at(69_900))), at(70_000));
}

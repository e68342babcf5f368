//! The agent's state without its loop: ticks come when a test says so.

use super::agent::{Agent, Inputs};
use super::{Start, drain_ends};
use crate::config::Config;
use crate::identity::tests::certified;
use crate::log::Log;
use crate::spool::log::Begin;
use vedette_link::client::LinkTask;
use vedette_protocol::time::MonoTime;

/// An agent on this host with quick sources only, and no collector.
fn agent(folder: &tempfile::TempDir) -> (Agent, Inputs, LinkTask) {
    let mut config = Config::with_data_dir(folder.path().join("data"));
    config.collector.address = "127.0.0.1:9".to_owned();
    config.detectors.directory = folder.path().join("detectors");
    config.detectors.shadow_directory = folder.path().join("shadows");
    config.sources.iter_mut().for_each(|source| source.enabled = source.spec.name == "load");
    let file = folder.path().join("agent.toml");
    std::fs::write(&file, config.to_toml()).expect("configuration");
    let (identity, begin) = (certified(200), Begin::GoOn);
    let start = Start { config, file, identity, confinement: Vec::new(), log: Log::default(), begin };
    Agent::open(start).expect("an agent")
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

/// Writes another configuration, has it read, and returns once it was taken.
async fn reload(agent: &mut Agent, inputs: &mut Inputs, folder: &tempfile::TempDir, text: &str) {
    std::fs::write(folder.path().join("agent.toml"), text).expect("configuration");
    agent.handle_reload();
    let reread = inputs.reread.recv().await.expect("it is read");
    agent.handle_reread(reread);
}

#[tokio::test]
async fn reload_applies_what_differs_names_what_takes_a_restart_and_refuses_whole() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let (mut agent, mut inputs, _link) = agent(&folder);
    beats(&mut agent, 1);
    let log = folder.path().join("app.log");
    std::fs::write(&log, "").expect("log");
    let before = agent.config.clone();

    let mut wanted = before.clone();
    let source = |wanted: &mut Config, name: &str, interval_ms, enabled| {
        let source = wanted.sources.iter_mut().find(|source| source.spec.name == name).expect("a source");
        (source.interval_ms, source.enabled) = (interval_ms, enabled);
    };
    source(&mut wanted, "load", 5_000, true);
    source(&mut wanted, "memory", 1_000, true);
    source(&mut wanted, "filesystem", 1_000, true);
    wanted.logs = vec![crate::config::LogConfig {
        path: log.clone(),
        service: "app".to_owned(),
        joining: crate::files::tail::Joining::Auto,
    }];
    wanted.limits.series_max = 50;
    wanted.collector.address = "other:1".to_owned();
    reload(&mut agent, &mut inputs, &folder, &wanted.to_toml()).await;
    let status = agent.status();
    let applied = ["limits.series-max", "sources.load", "sources.memory", "sources.filesystem", "logs"];
    assert_eq!((status.reload.refused, status.reload.applied.as_slice()), (false, &applied.map(str::to_owned)[..]));
    assert_eq!(status.reload.restart, ["collector"]);
    assert_eq!(agent.config.collector, before.collector, "what takes a restart is not half there");
    let intervals: Vec<_> = status.sources.iter().map(|one| (one.name.as_str(), one.interval_ms)).collect();
    assert_eq!(intervals, [("load", 5_000), ("memory", 1_000), ("filesystem", 1_000)]);
    assert_eq!(status.logs.len(), 1);
    std::fs::write(&log, "a line\n").expect("log");
    beats(&mut agent, 1);
    agent.handle_lines(inputs.lines.recv().await.expect("the file is followed"));

    let in_effect = agent.config.clone();
    reload(&mut agent, &mut inputs, &folder, "[limits]\nseries-max = 0\n[sources]\nload = { interval = \"9s\" }\n")
        .await;
    let status = agent.status();
    assert!(status.reload.refused && status.reload.problems.len() == 2, "{:?}", status.reload);
    assert!(status.problems.iter().any(|problem| problem.contains("configuration was refused")));
    assert_eq!(agent.config, in_effect, "nothing of a refused file is applied");
    assert_eq!(status.sources[0].interval_ms, 5_000);

    reload(&mut agent, &mut inputs, &folder, &before.to_toml()).await;
    let status = agent.status();
    assert!(!status.reload.refused && status.reload.restart.is_empty() && status.reload.count == 3);
    assert_eq!(status.sources.iter().map(|one| one.name.as_str()).collect::<Vec<_>>(), ["load"]);
    assert_eq!(beats(&mut agent, 3), 3, "who is not read any more keeps no tick waiting");
}

#[tokio::test]
async fn what_was_learnt_is_stored_at_the_end_and_whatever_is_found_the_agent_starts() {
    let folder = tempfile::tempdir().expect("temporary folder");
    let data_dir = folder.path().join("data");
    let ended = |(mut agent, mut inputs, _link): (Agent, Inputs, LinkTask)| {
        agent.handle_shutdown();
        assert_eq!(agent.waits_for_states(), None, "nobody has states");
        agent.close();
        async move { while inputs.policies.recv().await.is_some() {} }
    };
    let (mut first, inputs, link) = agent(&folder);
    beats(&mut first, 2);
    let told = first.status().learnt;
    assert_eq!((told.age_ms, told.refused.as_str(), told.stored.written), (None, "", 0));
    ended((first, inputs, link)).await;
    let whole = std::fs::read(data_dir.join(crate::learnt::FILE)).expect("it was stored");

    let next = agent(&folder);
    assert!(next.0.status().learnt.age_ms.is_some_and(|age_ms| age_ms < 60_000));
    drop(next);
    for (bytes, told) in [(&whole[..whole.len() - 1], "damaged"), (b"not ours".as_slice(), "another file")] {
        std::fs::write(data_dir.join(crate::learnt::FILE), bytes).expect("written");
        let (mut next, inputs, link) = agent(&folder);
        let learnt = next.status().learnt;
        assert!(learnt.age_ms.is_none() && learnt.refused.contains(told), "{learnt:?}");
        beats(&mut next, 1);
        ended((next, inputs, link)).await;
        assert!(agent(&folder).0.status().learnt.age_ms.is_some(), "a good one is there again");
    }
    // Another host's stands in where there is none of use, or nobody had learnt anything.
    assert!(!agent(&folder).0.status().learnt.is_prior);
    std::fs::write(data_dir.join(crate::learnt::PRIOR), &whole).expect("written");
    assert!(!agent(&folder).0.status().learnt.is_prior, "nobody had learnt anything there either");
    std::fs::write(data_dir.join(crate::learnt::FILE), b"not ours").expect("written");
    let learnt = agent(&folder).0.status().learnt;
    assert!(learnt.age_ms.is_some() && learnt.refused.contains("another file"), "{learnt:?}");
}

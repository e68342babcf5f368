//! Hostile guests: what becomes of each, and that nobody else is touched.

use crate::instance::load;
use crate::rig::{Agent, columns, series};
use std::time::{Duration, Instant};
use vedette_detector_host::instance::{Failure, Instance};
use vedette_detector_host::supervise::DetectorState;
use vedette_protocol::worker::{Fault, SeriesState, WorkerReply, WorkerRequest};

/// Loads a guest and lets it live: ten series, a tick, a snapshot, and back again.
fn provoke(name: &str) -> Result<Instance, Failure> {
    let mut instance = load(name, &[])?;
    instance.series_added(&(0..10).map(series).collect::<Vec<_>>())?;
    instance.observe(&columns(10, 1), &mut Vec::new())?;
    let ids: Vec<u32> = (0..10).collect();
    let states = instance.snapshot(&ids)?;
    instance.restore(&ids, &states)?;
    Ok(instance)
}

#[test]
fn every_attack_ends_in_its_own_fault_within_a_second() {
    let expected = [
        ("loops-for-ever", Fault::Timeout, "100 ms"),
        ("loops-in-describe", Fault::Timeout, "100 ms"),
        ("traps", Fault::Trap, "unreachable"),
        ("recurses", Fault::Trap, "stack"),
        ("asks-for-4-gib", Fault::Memory, "4294967296 bytes"),
        ("returns-10-million-values", Fault::Output, "out of bounds"),
        ("returns-too-few-scores", Fault::Output, "9 scores for 10 values"),
        ("returns-negative-scores", Fault::Output, "at least 0"),
        ("returns-infinite-scores", Fault::Output, "finite"),
        ("lies-in-describe", Fault::Output, "more than 64 parameters"),
        ("lies-in-realloc", Fault::Output, "beyond end of memory"),
        ("floods-the-log", Fault::Timeout, "100 ms"),
        ("declines-strangers", Fault::Output, "not told of"),
        ("declines-for-ever", Fault::Output, "not told of"),
        ("grows-in-snapshot", Fault::Output, "a state of 4096 bytes, 8 are promised"),
        ("traps-in-restore", Fault::Trap, "unreachable"),
        ("forbidden-import", Fault::Refused, "open-file"),
    ];
    for (name, fault, said) in expected {
        let began = Instant::now();
        let Err(failure) = provoke(name) else { panic!("{name} got away") };
        assert_eq!(failure.fault, fault, "{name}: {failure}");
        assert!(failure.reason.contains(said), "{name}: {failure}");
        assert!(began.elapsed() < Duration::from_secs(1), "{name} took {:?}", began.elapsed());
    }
}

#[test]
fn a_denial_that_a_guest_lived_with_is_not_blamed_for_what_comes_later() {
    let mut instance = provoke("shrugs-and-traps").unwrap();
    assert_eq!(instance.observe(&columns(10, 2), &mut Vec::new()).unwrap_err().fault, Fault::Trap);
}

#[test]
fn a_poisoned_instance_is_never_called_again() {
    let Ok(mut instance) = load("traps", &[]) else { panic!("it loads") };
    let first = instance.observe(&columns(1, 0), &mut Vec::new()).unwrap_err();
    let began = Instant::now();
    assert_eq!(instance.snapshot(&[0]).unwrap_err(), first);
    assert_eq!(instance.poisoned(), Some(&first));
    assert!(began.elapsed() < Duration::from_millis(100));
}

#[test]
fn aliased_lists_harm_nobody_and_do_not_multiply_in_the_host() {
    let mut instance = load("aliased-lists", &[]).unwrap();
    instance.series_added(&[series(0)]).unwrap();
    let before = resident_bytes();
    let failure = instance.snapshot(&[0]).unwrap_err();
    assert_eq!(failure.fault, Fault::Output);
    assert!(failure.reason.contains("too much data"), "{failure}");
    assert!(resident_bytes().saturating_sub(before) < 64 << 20, "640 MB were announced");

    let mut instance = load("aliased-lists", &[]).unwrap();
    let mut tick = columns(2, 1);
    // Read as f32, the halves of this value are 0 and below it.
    tick.values = vec![-1.0, -1.0];
    let failure = instance.observe(&tick, &mut Vec::new()).unwrap_err();
    assert_eq!((failure.fault, failure.reason.contains("at least 0")), (Fault::Output, true), "{failure}");
}

#[test]
fn a_negative_zero_leaves_the_host_as_the_one_zero() {
    let mut instance = load("aliased-lists", &[]).unwrap();
    instance.series_added(&[series(0)]).unwrap();
    let mut tick = columns(2, 1);
    // Read as f32, both halves of this value are a negative zero.
    tick.values = vec![f64::from_bits(0x8000_0000_8000_0000); 2];
    let mut scores = Vec::new();
    instance.observe(&tick, &mut scores).unwrap();
    assert_eq!(scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>(), [0, 0]);
}

fn resident_bytes() -> usize {
    let statm = std::fs::read_to_string("/proc/self/statm").unwrap();
    statm.split(' ').nth(1).unwrap().parse::<usize>().unwrap() * 4096
}

#[test]
fn a_crafted_artifact_dies_of_sigsys_is_named_guilty_and_the_others_go_on() {
    let mut agent = Agent::new(&["honest", "forbidden-syscall"]);
    agent.until("both run", |agent| agent.running.len() == 2);
    let honest = agent.running["honest"];
    let guilty = agent.running["forbidden-syscall"];
    let tell = |agent: &mut Agent| {
        let series = (0..10).map(series).collect();
        agent.ask(WorkerRequest::SeriesAdded { detector: honest, series });
    };
    tell(&mut agent);
    agent.ask(WorkerRequest::Observe { detector: guilty, tick: 1, columns: columns(10, 1) });
    let called = Instant::now();
    agent.until("the worker is replaced", |agent| agent.running.len() == 1);
    assert!(called.elapsed() < Duration::from_secs(1), "demoted after {:?}", called.elapsed());
    let detectors = agent.supervisor.detectors();
    let culprit = detectors.iter().find(|one| one.detector == guilty).unwrap();
    assert_eq!(culprit.state, DetectorState::Quarantined);
    let (fault, reason) = culprit.failure.as_ref().unwrap();
    assert!(*fault == Fault::Killed && reason.contains("SIGSYS"), "{reason}");
    tell(&mut agent);
    agent.ask(WorkerRequest::Observe { detector: honest, tick: 2, columns: columns(10, 2) });
    agent.until("the honest one scores", |agent| scored(agent, honest, 2));
}

#[test]
fn a_worker_that_exits_quietly_is_blamed_on_whoever_had_its_turn() {
    let mut agent = Agent::new(&["honest", "quiet-exit"]);
    agent.until("both run", |agent| agent.running.len() == 2);
    let guilty = agent.running["quiet-exit"];
    agent.ask(WorkerRequest::Observe { detector: guilty, tick: 1, columns: columns(10, 1) });
    agent.until("the worker is replaced", |agent| agent.running.len() == 1);
    let culprit = agent.supervisor.detectors().into_iter().find(|one| one.detector == guilty).unwrap();
    assert!(matches!(culprit.state, DetectorState::BackingOff { .. }), "{culprit:?}");
    assert!(culprit.demoted_after.unwrap() < Duration::from_secs(1));
    assert!(agent.running.contains_key("honest"));
}

#[test]
fn all_attackers_together_do_not_keep_an_honest_detector_from_its_ticks() {
    let names: Vec<&str> = crate::rig::artifacts().iter().map(|pair| pair.manifest().name.as_str()).collect();
    let mut agent = Agent::new(&names);
    agent.until("those that load run", |agent| agent.running.contains_key("honest"));
    let honest = agent.running["honest"];
    let (mut tick, mut answered) = (0, 0);
    while !all_demoted(&agent) {
        tick += 1;
        assert!(tick < 1_000, "{:?}", agent.supervisor.detectors());
        agent.until("the honest one is back", |agent| agent.running.contains_key("honest"));
        for detector in agent.running.values().copied().collect::<Vec<_>>() {
            agent.ask(WorkerRequest::SeriesAdded { detector, series: (0..10).map(series).collect() });
            agent.ask(WorkerRequest::Observe { detector, tick, columns: columns(10, tick) });
            let states = vec![SeriesState { key: series(0).key, state: vec![0; 8] }];
            agent.ask(WorkerRequest::Snapshot { detector, ids: vec![0] });
            agent.ask(WorkerRequest::Restore { detector, ids: vec![0], states });
        }
        // Who takes the worker down takes this tick's score along, and none of the next.
        agent.until("the tick is over", |agent| !agent.running.contains_key("honest") || scored(agent, honest, tick));
        answered += u64::from(scored(&agent, honest, tick));
    }
    let lost = tick - answered;
    assert!(lost <= agent.supervisor.worker().restarts, "{lost} of {tick} ticks, {:?}", agent.supervisor.worker());
    agent.until("the honest one is back", |agent| agent.running.contains_key("honest"));
    let standing = agent.supervisor.detectors();
    assert_eq!(standing.iter().find(|one| one.name == "honest").unwrap().strikes, 0);
    assert_eq!(standing.iter().find(|one| one.name == "chatty").unwrap().strikes, 0);
}

fn all_demoted(agent: &Agent) -> bool {
    let harmless = ["honest", "chatty", "idle", "declines", "other-states"];
    agent.supervisor.detectors().iter().all(|one| harmless.contains(&one.name.as_str()) || one.strikes > 0)
}

fn scored(agent: &Agent, detector: u32, tick: u64) -> bool {
    agent.replies.iter().any(|reply| {
        matches!(reply, WorkerReply::Scores { detector: by, tick: of, scores, .. }
            if *by == detector && *of == tick && scores.len() == 10)
    })
}

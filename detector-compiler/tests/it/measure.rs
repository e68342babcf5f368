//! What a confined worker gives up and what it weighs.

use crate::rig::{Agent, columns, series};
use vedette_protocol::worker::{WorkerReply, WorkerRequest};

#[test]
fn a_worker_is_confined_small_and_quick() {
    let mut agent = Agent::new(&["honest"]);
    agent.until("it runs", |agent| agent.running.len() == 1);
    let confinement = &agent.supervisor.worker().confinement;
    for measure in ["no-new-privs", "no-dump", "rlimits", "seccomp", "no-new-code"] {
        assert!(confinement.iter().any(|one| one == measure), "{measure} is not in {confinement:?}");
    }
    let detector = agent.running["honest"];
    agent.ask(WorkerRequest::SeriesAdded { detector, series: (0..300).map(series).collect() });
    for tick in 0..200 {
        agent.ask(WorkerRequest::Observe { detector, tick, columns: columns(300, tick) });
        agent.until("it scores", |agent| {
            agent.replies.iter().filter(|reply| matches!(reply, WorkerReply::Scores { .. })).count() as u64 > tick
        });
    }
    let mut guest_ns: Vec<u64> = agent.replies.iter().filter_map(scores_ns).collect();
    guest_ns.sort_unstable();
    let anonymous = status_kib(agent.pid(), "RssAnon:");
    println!("median call {} ns for 300 values; worker {anonymous} KiB anonymous", guest_ns[100]);
    assert!(anonymous <= 4 << 10, "{anonymous} KiB of its own; its code is shared with the agent's");
}

fn scores_ns(reply: &WorkerReply) -> Option<u64> {
    match reply {
        WorkerReply::Scores { guest_ns, .. } => Some(*guest_ns),
        _ => None,
    }
}

fn status_kib(pid: u32, field: &str) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix(field)).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

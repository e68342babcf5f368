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
    let pss = pss_bytes(agent.pid());
    println!("median call {} ns for 300 values; worker {} KiB PSS", guest_ns[100], pss / 1024);
    assert!(pss <= 10 << 20, "{pss} bytes: the promise is 10 MiB");
}

fn scores_ns(reply: &WorkerReply) -> Option<u64> {
    match reply {
        WorkerReply::Scores { guest_ns, .. } => Some(*guest_ns),
        _ => None,
    }
}

/// A worker is not dumpable, so only root can look into it; otherwise its resident memory is the upper bound.
fn pss_bytes(pid: u32) -> usize {
    let read = |file: &str, field: &str| {
        let text = std::fs::read_to_string(format!("/proc/{pid}/{file}")).ok()?;
        let line = text.lines().find_map(|line| line.strip_prefix(field))?.trim().trim_end_matches(" kB").to_owned();
        line.parse::<usize>().ok().map(|kib| kib * 1024)
    };
    read("smaps_rollup", "Pss:").or_else(|| read("status", "VmRSS:")).unwrap()
}

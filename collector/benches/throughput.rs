//! `cargo bench -p vedette-collector`: findings per CPU second through the engine, and how long a commit takes.
//!
//! CPU time, not wall time, for the engine: the machine is shared. A commit waits for the disk, so wall time there.

#![allow(clippy::unwrap_used, reason = "a benchmark stops at the first surprise")]

#[path = "../tests/harness/made.rs"]
mod made;

use made::id;
use rustix::time::{ClockId, clock_gettime};
use std::time::Instant;
use vedette_collector::engine::{Action, Engine, Event, Logged, Setup};
use vedette_collector::store::{BatchWrite, SqliteStore, Store, Write};
use vedette_collector::topology::{Service, Topology};
use vedette_protocol::ids::{HostId, QueueEpoch, Sequence, TenantId};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::{Body, Class, EpisodeEvent, Finding};

const HOSTS: u32 = 10_000;
const HOSTS_PER_SERVICE: u32 = 10;
const METRICS: [&str; 8] = [
    "system.cpu.utilization",
    "system.memory.utilization",
    "system.disk.io_time",
    "system.network.io",
    "system.paging.usage",
    "system.filesystem.utilization",
    "system.linux.pressure.stalled",
    "process.cpu.utilization",
];

fn main() {
    println!("engine, opening and clearing, {HOSTS} hosts in services of {HOSTS_PER_SERVICE}:");
    engine("calm: one episode a host and hour", 100_000, 360);
    engine("busy: a storm over the whole fleet", 100_000, 1);
    for group in [1, 16, 256] {
        commits(group, 200);
    }
}

fn at(ms: u64) -> WallTime {
    WallTime::from_unix_ms(1_795_132_800_000 + i64::try_from(ms).unwrap())
}

fn finding(n: u32, event: EpisodeEvent, now: WallTime) -> Finding {
    Finding {
        expected: 0.1,
        lower: 0.0,
        upper: 0.2,
        ..made::finding(n, event, METRICS[n as usize % METRICS.len()], now)
    }
}

fn topology() -> Topology {
    let service = |n: u32| Service {
        name: format!("s{n}"),
        tier: Some(2),
        hosts: (0..HOSTS_PER_SERVICE).map(|k| format!("h{}", n * HOSTS_PER_SERVICE + k)).collect(),
        depends_on: if n.is_multiple_of(3) { Vec::new() } else { vec![format!("s{}", n - 1)] },
    };
    Topology { services: (0..HOSTS / HOSTS_PER_SERVICE).map(service).collect() }
}

/// Every episode opens on a pseudo-random host, `apart_ms` after the one before, and clears a minute later.
fn engine(name: &str, episodes: u32, apart_ms: u64) {
    let setup = Setup { topology: topology(), ..Setup::default() };
    let mut events = vec![(0, Event::Configured(Box::new(setup)))];
    events.extend((0..HOSTS).map(|n| (0, Event::HostSeen { host: HostId(id(n)), name: format!("h{n}") })));
    let prelude = events.len();
    for n in 0..episodes {
        let host = HostId(id(n.wrapping_mul(2_654_435_761) % HOSTS));
        for (event, after_ms) in [(EpisodeEvent::Open, 0), (EpisodeEvent::Clear, 60_000)] {
            let ms = u64::from(n) * apart_ms + after_ms;
            events.push((ms, Event::Finding { host, offset_ns: 0, finding: Box::new(finding(n, event, at(ms))) }));
        }
    }
    events[prelude..].sort_by_key(|(ms, _)| *ms);
    let mut engine = Engine::new();
    let (mut reports, mut directives, mut position, mut begin) = (0_u64, 0_u64, 0, 0.0);
    for (n, (ms, event)) in events.into_iter().enumerate() {
        if n == prelude {
            begin = cpu_s();
        }
        while let Some(due) = engine.poll_timeout().filter(|due| *due <= at(ms)) {
            position += 1;
            engine.handle_event(Logged { position, at: due, event: Event::Tick });
        }
        position += 1;
        engine.handle_event(Logged { position, at: at(ms), event });
        // As in one commit: actions are asked for after a group of events.
        if n % 64 == 0 {
            while let Some(action) = engine.poll_action() {
                match action {
                    Action::SaveIncident(_) => reports += 1,
                    Action::IssueDirective(_) => directives += 1,
                }
            }
        }
    }
    let seconds = cpu_s() - begin;
    let findings = f64::from(episodes) * 2.0;
    assert!(engine.conservation().holds());
    println!(
        "  {name}: {:.0} findings/s of CPU, {:.1} µs each, {reports} reports, {directives} directives",
        findings / seconds,
        seconds / findings * 1e6
    );
}

fn commits(group: u64, count: u64) {
    let directory = tempfile::tempdir_in(".").unwrap();
    let mut store = SqliteStore::open(&directory.path().join("store.db")).unwrap();
    let mut took: Vec<_> = (0..count)
        .map(|commit| {
            let writes: Vec<_> = (0..group).map(|n| batch(commit * group + n + 1)).collect();
            let began = Instant::now();
            store.commit(&writes).unwrap();
            began.elapsed()
        })
        .collect();
    took.sort();
    let (half, high) = (took[took.len() / 2], took[took.len() * 99 / 100]);
    println!(
        "commit of {group} batch(es): p50 {half:.1?}, p99 {high:.1?}; per batch {:.1?}",
        half / u32::try_from(group).unwrap()
    );
}

fn batch(sequence: u64) -> Write {
    let n = u32::try_from(sequence).unwrap();
    let body = Body::Findings(vec![finding(n, EpisodeEvent::Open, at(sequence))]);
    let batch = made::batch(TenantId(0), QueueEpoch(1), Sequence(sequence), Class::Finding, body, at(sequence));
    Write::Batch(Box::new(BatchWrite {
        host: HostId([1; 16]),
        offset_ns: 0,
        received: at(sequence),
        wire_bytes: 200,
        batch,
    }))
}

fn cpu_s() -> f64 {
    let time = clock_gettime(ClockId::ProcessCPUTime);
    #[expect(clippy::cast_precision_loss, reason = "seconds of one run")]
    let seconds = time.tv_sec as f64 + time.tv_nsec as f64 / 1e9;
    seconds
}

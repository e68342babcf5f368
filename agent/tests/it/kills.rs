//! The agent is killed again and again, and so is its collector: each batch and each line still counts once.

use super::*;
use std::collections::BTreeMap;
use std::fs::OpenOptions;
use std::io::Write as _;
use std::net::SocketAddr;
use std::sync::Mutex;
use tokio::runtime::Runtime;
use vedette_agent::spool::log::LEAP;
use vedette_protocol::session::agent::FIRST_SEQUENCE;
use vedette_protocol::v1::{Body, Outcome};

/// What a collector has committed; outlives it.
#[derive(Default)]
struct Store {
    batches: BTreeMap<(u64, u64), Vec<u8>>,
    lines: u64,
    duplicates: u64,
    /// Two batches that call themselves the same.
    conflicts: u64,
    first_sequences: Vec<u64>,
}

/// A collector that commits to memory; it dies with its runtime.
struct Committing {
    address: SocketAddr,
    _runtime: Runtime,
}

impl Committing {
    fn start(listen_on: SocketAddr, authority: &Arc<Authority>, store: &Arc<Mutex<Store>>) -> Self {
        let runtime = runtime();
        let (authority, store) = (Arc::clone(authority), Arc::clone(store));
        let address = runtime.block_on(async move {
            let config = ServerConfig {
                listen: listen_on,
                names: Vec::new(),
                authority,
                gate: Arc::new(AllBut::default()),
                clock: Arc::new(SystemClock),
                limits: ServerLimits::default(),
            };
            let (handle, mut events, task) = listen(config).expect("a server");
            tokio::spawn(task.run());
            let address = handle.local_address();
            tokio::spawn(async move {
                while let Some(event) = events.recv().await {
                    match event {
                        ServerEvent::Connected { hello, .. } => {
                            let told = hello.resource.iter().find(|(name, _)| name == FIRST_SEQUENCE);
                            let first = told.and_then(|(_, first)| first.parse().ok()).expect("a first sequence");
                            store.lock().expect("lock").first_sequences.push(first);
                        }
                        ServerEvent::Batch { connection, raw, key: Some(key), batch: Ok(batch), .. } => {
                            let outcome =
                                store.lock().expect("lock").commit(key.queue_epoch.0, key.sequence.0, raw, &batch.body);
                            handle.ack(connection, key.queue_epoch, vec![(key.sequence, outcome)]);
                        }
                        _ => {}
                    }
                }
            });
            address
        });
        Self { address, _runtime: runtime }
    }
}

impl Store {
    fn commit(&mut self, epoch: u64, sequence: u64, raw: Vec<u8>, body: &Body) -> Outcome {
        if let Some(known) = self.batches.get(&(epoch, sequence)) {
            self.conflicts += u64::from(*known != raw);
            self.duplicates += 1;
            return Outcome::Duplicate;
        }
        if let Body::Logs(window) = body {
            self.lines += window.counts.iter().map(|(_, count)| count).sum::<u64>();
        }
        self.batches.insert((epoch, sequence), raw);
        Outcome::Committed
    }
}

fn append_lines(log: &Path, lines: u64) {
    let mut file = OpenOptions::new().append(true).open(log).expect("log");
    for line in 0..lines {
        writeln!(file, "request {line} took {} ms", line % 97).expect("write");
    }
}

#[test]
fn killing_agent_and_collector_loses_and_doubles_nothing() {
    let bench = Bench::new();
    let authority = Arc::new(Authority::create(SystemClock.wall()).expect("authority"));
    bench.enrol_with(&authority, Duration::ZERO);
    let store = Arc::new(Mutex::new(Store::default()));
    let mut collector = Some(Committing::start("127.0.0.1:0".parse().expect("an address"), &authority, &store));
    let address = collector.as_ref().expect("started").address;
    let log = bench.path("app.log");
    fs::write(&log, "").expect("log");
    bench.write_config_for(&address.to_string(), &format!("[journald]\nenabled = false\n[[logs]]\npath = {log:?}\n"));
    let mut written = 0;
    for round in 0..6_u64 {
        let mut agent = bench.start();
        bench.status_with(|status| status["ready"] == true);
        append_lines(&log, 500 + round);
        written += 500 + round;
        let ticks = 2 + round % 3;
        bench.status_with(|status| status["ticks"]["run"].as_u64() >= Some(ticks));
        if round % 2 == 1 {
            // The collector dies; two rounds later it is back.
            collector = None;
        } else if collector.is_none() {
            collector = Some(Committing::start(address, &authority, &store));
        }
        // It dies in the middle of whatever it does.
        std::thread::sleep(Duration::from_millis(137 * (round % 4)));
        agent.child.kill().expect("it runs");
        agent.child.wait().expect("it ends");
    }
    let _collector = Some(Committing::start(address, &authority, &store)).filter(|_| collector.is_none());
    let mut agent = bench.start();
    bench.status_with(|status| status["link"]["connected"] == true && status["spool"]["pending"] == 0);
    let begun = Instant::now();
    while store.lock().expect("lock").lines < written {
        assert!(begun.elapsed() < PATIENCE, "{} of {written} lines", store.lock().expect("lock").lines);
        std::thread::sleep(Duration::from_millis(50));
    }
    let status = bench.status_with(|status| status["spool"]["disk"]["state"] == "ok");
    assert_eq!(status["spool"]["shed"], serde_json::json!({ "finding": 0, "feature": 0, "log": 0 }));
    let (code, text) = agent.stop();
    assert_eq!(code, Some(0), "{text}");
    assert!(text.contains("pending=0"), "{text}");

    let store = store.lock().expect("lock");
    assert_eq!((store.lines, store.conflicts), (written, 0), "each line counts once");
    let sequences: Vec<_> = store.batches.keys().copied().collect();
    let epoch = sequences[0].0;
    assert!(sequences.iter().all(|(of, _)| *of == epoch), "one life of the spool");
    // After each kill sequences are left out, of which nobody can know whether they were used.
    let follows = |pair: &[(u64, u64)]| pair[1].1 == pair[0].1 + 1 || pair[1].1 > pair[0].1 + LEAP / 2;
    assert!(sequences[0].1 == 1 && sequences.windows(2).all(follows), "no batch is missing: {sequences:?}");
    let acked = format!("made={0} acked={0} shed=0", sequences.len());
    assert!(text.contains(&acked), "{acked}: {text}");
    assert!(store.first_sequences.is_sorted() && store.first_sequences.len() > 3, "{:?}", store.first_sequences);
    println!("{} batches, {} sent again, {} lines", sequences.len(), store.duplicates, store.lines);
}

#[test]
fn outage_and_restart_without_a_collector_keep_what_was_made() {
    let bench = Bench::new();
    bench.enrol();
    let spool = |status: &Value, field: &str| status["spool"][field].as_u64().expect("a count");
    let mut agent = bench.start();
    let before = bench.status_with(|status| spool(status, "made") > 0);
    let (code, text) = agent.stop();
    assert_eq!(code, Some(0), "{text}");
    let mut agent = bench.start();
    let after = bench.status_with(|status| status["ready"] == true);
    assert_eq!(after["spool"]["queue_epoch"], before["spool"]["queue_epoch"]);
    assert!(spool(&after, "made") >= spool(&before, "made") && spool(&after, "pending") == spool(&after, "made"));
    agent.stop();
}

#[test]
fn spool_of_garbage_or_without_a_disk_does_not_keep_the_agent_from_starting() {
    let bench = Bench::new();
    bench.enrol();
    let folder = bench.path("data/spool");
    fs::create_dir_all(&folder).expect("folder");
    fs::write(folder.join("marks"), "garbage").expect("file");
    fs::write(folder.join("2-0000000000000007-0000000000000001.seg"), [0xa5; 5_000]).expect("file");
    fs::create_dir(folder.join("0-0000000000000007-0000000000000001.seg")).expect("folder");
    let mut agent = bench.start();
    let status = bench.status_with(|status| status["ready"] == true);
    assert_eq!((&status["spool"]["disk"]["state"], &status["healthy"]), (&Value::from("ok"), &Value::from(true)));
    agent.stop();
    fs::remove_dir_all(&folder).expect("remove");
    fs::write(&folder, "a file").expect("file");
    let mut agent = bench.start();
    let status = bench.status_with(|status| status["ready"] == true);
    assert_eq!(status["spool"]["disk"]["state"], "absent");
    assert!(status["problems"][0].as_str().is_some_and(|problem| problem.contains("no spool on disk")), "{status}");
    agent.stop();
}

#[test]
fn buffer_is_verified_beside_a_running_agent_and_repaired_without_one() {
    let bench = Bench::new();
    bench.enrol();
    let buffer = |what: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vedette-agent"));
        command.args(["buffer", what, "--output", "json", "--config"]).arg(bench.path("agent.toml"));
        let output = command.output().expect("the binary runs");
        let told: Value = serde_json::from_slice(&output.stdout).unwrap_or_default();
        (output.status.code(), told, stderr(&output))
    };
    let (code, _, text) = buffer("verify");
    assert!(code == Some(1) && text.contains("there is no spool"), "{text}");
    let other = bench.path("other");
    fs::create_dir(&other).expect("folder");
    fs::set_permissions(&other, fs::Permissions::from_mode(0o755)).expect("permissions");
    for what in ["verify", "repair"] {
        let mut command = Command::new(env!("CARGO_BIN_EXE_vedette-agent"));
        let output = command.args(["buffer", what, "--directory"]).arg(&other).output().expect("the binary runs");
        assert!(stderr(&output).contains("there is no spool"), "{}", stderr(&output));
        let mode = fs::metadata(&other).expect("metadata").permissions().mode() & 0o777;
        assert_eq!((output.status.code(), mode), (Some(1), 0o755), "what is no spool is left alone");
    }
    let mut agent = bench.start();
    bench.status_with(|status| {
        status["spool"]["made"].as_u64() > Some(0) && status["spool"]["disk"]["bytes"].as_u64() > Some(0)
    });
    let (code, told, text) = buffer("verify");
    assert_eq!((code, &told["in_use"]), (Some(0), &Value::from(true)), "{told} {text}");
    let (code, _, text) = buffer("repair");
    assert!(code == Some(1) && text.contains("is in use: stop the agent first"), "{text}");
    agent.child.kill().expect("it runs");
    agent.child.wait().expect("it ends");

    let folder = fs::read_dir(bench.path("data/spool")).expect("folder");
    let mut segments = folder.map(|entry| entry.expect("entry").path()).filter(|path| path.extension().is_some());
    let segment = segments.next().expect("a segment");
    assert_eq!(fs::metadata(&segment).expect("metadata").permissions().mode() & 0o777, 0o600);
    let mut bytes = fs::read(&segment).expect("segment");
    let last = bytes.len() - 10;
    bytes[last] ^= 1;
    fs::write(&segment, &bytes).expect("segment");
    let (code, told, _) = buffer("verify");
    assert!(code == Some(1) && told["problems"].as_array().is_some_and(|list| !list.is_empty()), "{told}");
    let (code, told, text) = buffer("repair");
    assert!(code == Some(0) && told["repaired"].as_array().is_some_and(|list| !list.is_empty()), "{told} {text}");
    assert_eq!(buffer("verify").0, Some(0));
    let mut agent = bench.start();
    let status = bench.status_with(|status| status["ready"] == true);
    assert_eq!(status["spool"]["disk"]["state"], "ok");
    agent.stop();
}

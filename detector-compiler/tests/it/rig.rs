//! Signed pairs, and an agent in small: the supervisor with real worker processes.

use std::collections::BTreeMap;
use std::io::BufReader;
use std::os::unix::process::ExitStatusExt;
use std::process::{Child, ChildStdin, Command, Stdio};
use std::sync::mpsc::{Receiver, Sender, channel};
use std::sync::{Arc, OnceLock};
use std::time::{Duration, Instant};
use vedette_detector_host::artifact::{Artifact, load_dir};
use vedette_detector_host::supervise::{Action, Exit, Supervisor, SupervisorConfig, Wanted, WorkerId};
use vedette_detector_host::wire::{self, REPLY_BYTES_MAX, REQUEST_BYTES_MAX};
use vedette_protocol::ids::SeriesKey;
use vedette_protocol::series::{SeriesKind, SeriesMeta};
use vedette_protocol::signature::SigningKey;
use vedette_protocol::time::MonoTime;
use vedette_protocol::worker::{Columns, SeriesDescriptor, WorkerReply, WorkerRequest};

pub(crate) const HOSTILE: &str = env!("CARGO_BIN_EXE_vedette-hostile");
pub(crate) const COMPILER: &str = env!("CARGO_BIN_EXE_vedette-compiler");

/// All pairs of `vedette-hostile set`, loaded as an agent loads them.
pub(crate) fn artifacts() -> &'static [Artifact] {
    &set().0
}

/// A component of the set, by the name of its guest.
pub(crate) fn component(name: &str) -> Vec<u8> {
    std::fs::read(set().1.path().join("pairs").join(name).with_extension("wasm")).unwrap()
}

fn set() -> &'static (Vec<Artifact>, tempfile::TempDir) {
    static SET: OnceLock<(Vec<Artifact>, tempfile::TempDir)> = OnceLock::new();
    SET.get_or_init(|| {
        let dir = tempfile::tempdir().unwrap();
        let (pairs, key) = (dir.path().join("pairs"), dir.path().join("author.key"));
        let status = Command::new(HOSTILE)
            .args(["set", "--nuisances"])
            .arg("--out")
            .arg(&pairs)
            .arg("--key")
            .arg(&key)
            .output()
            .unwrap();
        assert!(status.status.success(), "{}", String::from_utf8_lossy(&status.stderr));
        let author = SigningKey::from_pkcs8(&std::fs::read(&key).unwrap()).unwrap().public();
        (load_dir(&pairs, &[author]).unwrap().into_iter().map(|pair| pair.unwrap()).collect(), dir)
    })
}

pub(crate) fn artifact(name: &str) -> &'static Artifact {
    artifacts().iter().find(|pair| pair.manifest().name == name).unwrap_or_else(|| panic!("no guest {name}"))
}

pub(crate) fn series(id: u32) -> SeriesDescriptor {
    let meta = SeriesMeta {
        metric: "system.cpu.utilization".into(),
        unit: "1".into(),
        kind: SeriesKind::Gauge,
        attributes: vec![("cpu".into(), id.to_string())],
        resolution: 0.0,
        lower: 0.0,
        upper: 1.0,
    };
    SeriesDescriptor { id, key: SeriesKey(u64::from(id) << 32 | 7), meta, interval_ms: 1_000, prior: Vec::new() }
}

/// A tick of `rows` series; values are a fixed function of series and tick.
pub(crate) fn columns(rows: u32, tick: u64) -> Columns {
    let value = |id: u32| f64::from((id.wrapping_mul(2_654_435_761) >> 8) ^ (tick as u32).wrapping_mul(40_503)) / 1e6;
    Columns {
        ids: (0..rows).collect(),
        dt_ms: vec![if tick == 0 { 0 } else { 1_000 }; rows as usize],
        flags: vec![0; rows as usize],
        values: (0..rows).map(value).collect(),
    }
}

enum Event {
    Reply(WorkerId, WorkerReply),
    Exit(WorkerId),
}

/// Drives a supervisor with real processes in real time.
pub(crate) struct Agent {
    pub(crate) supervisor: Supervisor,
    pub(crate) replies: Vec<WorkerReply>,
    /// Numbers of the detectors that answer.
    pub(crate) running: BTreeMap<String, u32>,
    workers: BTreeMap<WorkerId, (Child, Option<ChildStdin>)>,
    events: Receiver<Event>,
    sender: Sender<Event>,
    began: Instant,
    frame: Vec<u8>,
}

impl Agent {
    pub(crate) fn new(names: &[&str]) -> Self {
        let (sender, events) = channel();
        let mut agent = Self {
            supervisor: Supervisor::new(SupervisorConfig::default()),
            replies: Vec::new(),
            running: BTreeMap::new(),
            workers: BTreeMap::new(),
            events,
            sender,
            began: Instant::now(),
            frame: Vec::new(),
        };
        let wanted = names.iter().map(|name| {
            let artifact = artifact(name);
            Wanted {
                name: (*name).into(),
                version: artifact.manifest().version.clone(),
                digest: artifact.wasm_digest(),
                artifact: Arc::clone(artifact.cwasm()),
                parameters: Vec::new(),
                shadow_of: None,
            }
        });
        agent.supervisor.set_detectors(agent.now(), wanted.collect());
        agent
    }

    /// Another set from now on.
    pub(crate) fn wants(&mut self, wanted: Vec<Wanted>) {
        self.supervisor.set_detectors(self.now(), wanted);
        self.act();
    }

    pub(crate) fn now(&self) -> MonoTime {
        MonoTime { ns: 1 + self.began.elapsed().as_nanos() as u64 }
    }

    pub(crate) fn ask(&mut self, request: WorkerRequest) {
        self.supervisor.handle_request(self.now(), request);
        self.act();
    }

    /// Lets time pass until `done`; fails after ten seconds.
    pub(crate) fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(10);
        self.act();
        while !done(self) {
            assert!(Instant::now() < deadline, "waited too long: {what}; {:?}", self.supervisor.detectors());
            let left = self.supervisor.poll_timeout().map_or(Duration::from_secs(1), |at| at.since(self.now()));
            match self.events.recv_timeout(left.min(Duration::from_secs(1))) {
                Ok(Event::Reply(worker, reply)) => self.supervisor.handle_reply(self.now(), worker, reply),
                Ok(Event::Exit(worker)) => self.handle_exit(worker),
                Err(_) => self.supervisor.handle_timeout(self.now()),
            }
            self.act();
        }
    }

    pub(crate) fn pid(&self) -> u32 {
        self.workers[&self.supervisor.worker().active.unwrap()].0.id()
    }

    fn act(&mut self) {
        while let Some(action) = self.supervisor.poll_action() {
            match action {
                Action::Spawn { worker } => self.spawn(worker),
                Action::Send { worker, request } => self.send(worker, &request),
                Action::Retire { worker } => drop(self.workers.get_mut(&worker).and_then(|(_, stdin)| stdin.take())),
                Action::Kill { worker } => {
                    if let Some((child, _)) = self.workers.get_mut(&worker) {
                        let _ = child.kill();
                    }
                }
                Action::Detectors(running) => {
                    self.running = running.into_iter().map(|one| (one.reference.name, one.detector)).collect();
                }
                Action::WorkerGone => self.running.clear(),
                Action::Failed { .. } | Action::Withheld { .. } => {}
                Action::Reply(reply) => self.replies.push(reply),
            }
        }
    }

    fn spawn(&mut self, worker: WorkerId) {
        let mut child = Command::new(HOSTILE)
            .arg("worker")
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut output = BufReader::new(child.stdout.take().unwrap());
        let sender = self.sender.clone();
        std::thread::spawn(move || {
            let mut body = Vec::new();
            while let Ok(Some(reply)) = wire::read(&mut output, REPLY_BYTES_MAX, &mut body) {
                sender.send(Event::Reply(worker, reply)).unwrap_or_default();
            }
            sender.send(Event::Exit(worker)).unwrap_or_default();
        });
        let stdin = child.stdin.take();
        self.workers.insert(worker, (child, stdin));
    }

    fn send(&mut self, worker: WorkerId, request: &WorkerRequest) {
        if let Some((_, Some(stdin))) = self.workers.get_mut(&worker) {
            // A worker that died meanwhile is told by its exit.
            let _ = wire::write(stdin, request, REQUEST_BYTES_MAX, &mut self.frame);
        }
    }

    fn handle_exit(&mut self, worker: WorkerId) {
        let (mut child, _) = self.workers.remove(&worker).unwrap();
        let status = child.wait().unwrap();
        self.supervisor.handle_exit(self.now(), worker, Exit { signal: status.signal(), code: status.code() });
    }
}

impl Drop for Agent {
    fn drop(&mut self) {
        for (child, stdin) in self.workers.values_mut() {
            drop(stdin.take());
            let _ = child.wait();
        }
    }
}

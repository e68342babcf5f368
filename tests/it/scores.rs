//! Scores of the bundled detectors, bit for bit: through a restart of the agent, and in the interpreter.
//!
//! The agent's pipeline with the worker's loop in this process; between two lives there is nothing but the file that an
//! agent leaves behind.

use crate::guide::programs;
use crate::workspace::root;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;
use std::time::Duration;
use vedette_agent::durable;
use vedette_agent::learnt::{self, Moment};
use vedette_detector_host::artifact::{Artifact, load_dir_for};
use vedette_detector_host::confine::ConfineError;
use vedette_detector_host::engine::{Engine, Execution};
use vedette_detector_host::worker::Worker;
use vedette_edge::metric::{MetricKind, MetricSpec};
use vedette_edge::pipeline::{Action, DetectorSlot, Pipeline, PipelineConfig};
use vedette_protocol::ids::{BootId, Digest, HostId};
use vedette_protocol::policy::Policy;
use vedette_protocol::signature::SigningKey;
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::DetectorRef;
use vedette_protocol::worker::{Columns, WorkerReply, WorkerRequest};

const EPOCH_MS: i64 = 1_800_000_000_000;
const BOOT: BootId = BootId([3; 16]);
/// Detectors whose states outlive the agent; log templates are mined anew.
pub(crate) const OF_METRICS: [&str; 6] = ["exhaustion", "flatline", "level", "novelty", "rarity", "seasonal"];

const SHARE: MetricSpec =
    MetricSpec { name: "", unit: "1", kind: MetricKind::Gauge, resolution: 0.001, lower: 0.0, upper: 1.0, doc: "" };
static LOAD: MetricSpec = MetricSpec { name: "system.cpu.utilization", ..SHARE };
static DISK: MetricSpec = MetricSpec { name: "system.filesystem.utilization", ..SHARE };

/// The bundled modules, compiled for both ways and signed once.
fn artifacts(execution: Execution) -> Vec<Artifact> {
    static PAIRS: OnceLock<tempfile::TempDir> = OnceLock::new();
    let pairs = PAIRS.get_or_init(|| {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let key = folder.path().join("author.key");
        durable::replace(&key, &SigningKey::generate_pkcs8()).expect("a key");
        for name in OF_METRICS.iter().chain(&["log-novelty"]) {
            sign(&module(name), &key, &folder.path().join("pairs"));
        }
        folder
    });
    let key = std::fs::read(pairs.path().join("author.key")).expect("a key");
    let author = SigningKey::from_pkcs8(&key).expect("a key").public();
    let found = load_dir_for(&pairs.path().join("pairs"), &[author], execution).expect("a folder");
    found.into_iter().map(|one| one.expect("signed just now")).collect()
}

/// The component of a bundled detector.
pub(crate) fn module(name: &str) -> PathBuf {
    let module = root().join("target/modules").join(name).with_extension("wasm");
    assert!(module.exists(), "{} is missing: `cargo xtask plugins` makes it", module.display());
    module
}

pub(crate) fn sign(module: &Path, key: &Path, out: &Path) {
    let programs = programs();
    let mut sign = Command::new(programs.join("vedette"));
    sign.args(["detector", "sign"]).arg(module).arg("--key").arg(key).arg("--out").arg(out);
    let output = sign.arg("--compiler").arg(programs.join("vedette-compiler")).output().expect("vedette starts");
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
}

type Seal = fn() -> Result<Vec<String>, ConfineError>;

/// One life of an agent.
struct Life {
    pipeline: Pipeline,
    worker: Worker<Seal>,
    names: BTreeMap<u32, String>,
    /// Bits of all that it was asked and of all scores, by detector.
    talk: BTreeMap<String, Vec<u8>>,
    /// Detectors with series that they declined: the first question about those is on its way by then, and says nothing.
    declined: BTreeSet<(u32, u32)>,
    tick: u64,
    whole: bool,
}

impl Life {
    /// Begins at `tick`, with what an earlier life left behind.
    fn begin(execution: Execution, tick: u64, left: Option<&[u8]>) -> Self {
        let config = PipelineConfig {
            host: HostId([1; 16]),
            policy: Policy::default(),
            series_max: 100,
            templates_max: 100,
            sources: vec![("fast".into(), 1_000), ("slow".into(), 10_000)],
        };
        let engine = Engine::executing(execution).expect("an engine");
        let mut life = Self {
            pipeline: Pipeline::new(config, mono(tick), wall(tick)),
            worker: Worker::new(engine, (|| Ok(Vec::new())) as Seal).patient(50),
            names: BTreeMap::new(),
            talk: BTreeMap::new(),
            declined: BTreeSet::new(),
            tick,
            whole: false,
        };
        if let Some(bytes) = left {
            let (learnt, away) = learnt::decode(bytes, moment(tick), learnt::AGE_MAX).expect("an agent wrote it");
            life.pipeline.handle_learnt(mono(tick), &learnt, away);
        }
        life.load(execution);
        life
    }

    fn load(&mut self, execution: Execution) {
        let load = |(detector, artifact): (u32, &Artifact)| {
            let request = WorkerRequest::Load { detector, artifact: artifact.cwasm().to_vec(), parameters: Vec::new() };
            let WorkerReply::Loaded { description, .. } = self.worker.answer(request) else { panic!("it loads") };
            let reference = DetectorRef {
                name: description.name.clone(),
                version: description.version.clone(),
                digest: artifact.wasm_digest(),
            };
            self.names.insert(detector, description.name.clone());
            DetectorSlot { detector, reference, description }
        };
        let slots = (0u32..).zip(&artifacts(execution)).map(load).collect();
        self.pipeline.set_detectors(mono(self.tick), slots);
        self.settle();
    }

    /// Questions and scores of these ticks, as a digest by detector.
    fn run(&mut self, ticks: u64) -> BTreeMap<String, Digest> {
        self.talk.clear();
        for _ in 0..ticks {
            let (tick, now) = (self.tick, mono(self.tick));
            for name in 0..8 {
                let spec = if name % 2 == 0 { &LOAD } else { &DISK };
                let value = healthy(name, tick);
                self.pipeline.handle_reading(now, "fast", 1_000, spec, &[("n", &name.to_string())], value);
            }
            if tick.is_multiple_of(10) {
                for name in 8..12 {
                    let value = healthy(name, tick / 10);
                    self.pipeline.handle_reading(now, "slow", 10_000, &LOAD, &[("n", &name.to_string())], value);
                }
            }
            let line = format!("request {tick} of user {} served", ["amy", "bob"][(tick % 2) as usize]);
            self.pipeline.handle_log_line(now, "/var/log/app.log", "app", line.as_bytes());
            self.pipeline.handle_tick(now, wall(tick));
            self.settle();
            self.tick += 1;
        }
        self.talk.iter().map(|(name, bits)| (name.clone(), Digest::of(bits))).collect()
    }

    /// What it leaves behind.
    fn end(mut self) -> Vec<u8> {
        self.whole = false;
        self.pipeline.fetch_states();
        self.settle();
        assert!(self.whole, "all states were fetched");
        learnt::encode(&self.pipeline.learnt(mono(self.tick)), moment(self.tick))
    }

    fn settle(&mut self) {
        let mut requests = VecDeque::new();
        loop {
            while let Some(action) = self.pipeline.poll_action() {
                match action {
                    Action::Ask(request) => requests.push_back(request),
                    Action::Checkpointed => self.whole = true,
                    _ => {}
                }
            }
            let Some(request) = requests.pop_front() else { return };
            let asked = match &request {
                WorkerRequest::Observe { columns, .. } => Some(columns.clone()),
                _ => None,
            };
            let reply = self.worker.answer(request);
            if let (Some(asked), WorkerReply::Scores { detector, scores, .. }) = (asked, &reply) {
                self.note(*detector, &asked, scores);
            }
            self.take(reply);
        }
    }

    fn note(&mut self, detector: u32, asked: &Columns, scores: &[f32]) {
        let bits = self.talk.entry(self.names[&detector].clone()).or_default();
        let declined = |at: &usize| self.declined.contains(&(detector, asked.ids[*at]));
        for at in (0..scores.len()).filter(|at| !declined(at)) {
            bits.extend(asked.dt_ms[at].to_le_bytes());
            bits.push(asked.flags[at]);
            bits.extend(asked.values[at].to_bits().to_le_bytes());
            bits.extend(scores[at].to_bits().to_le_bytes());
        }
    }

    fn take(&mut self, reply: WorkerReply) {
        let now = mono(self.tick);
        match reply {
            WorkerReply::Scores { detector, tick, scores, .. } => {
                self.pipeline.handle_scores(now, detector, tick, &scores);
            }
            WorkerReply::Snapshots { detector, states } => self.pipeline.handle_snapshots(now, detector, states),
            WorkerReply::Explanations { detector, explanations } => {
                self.pipeline.handle_explanations(now, detector, explanations);
            }
            WorkerReply::Added { detector, declined } => {
                self.declined.extend(declined.iter().map(|(id, _)| (detector, *id)));
                self.pipeline.handle_declined(now, detector, &declined);
            }
            WorkerReply::Done { .. } => {}
            other => panic!("{other:?}"),
        }
    }
}

fn mono(tick: u64) -> MonoTime {
    MonoTime::from_ms(1_000_000 + tick * 1_000)
}

fn wall(tick: u64) -> WallTime {
    WallTime::from_unix_ms(EPOCH_MS).offset_by(i64::try_from(tick).expect("few ticks") * 1_000_000_000)
}

fn moment(tick: u64) -> Moment {
    Moment { boot: BOOT, mono: mono(tick), wall: wall(tick) }
}

/// A value between 0.2 and 0.5 that, if it is read fast, wanders a little. A slow one that departs would not be learnt for
/// a while, and such a bout does not outlive the agent.
fn healthy(series: u64, tick: u64) -> f64 {
    let noise = (tick * 8 + series).wrapping_mul(0x9e37_79b9_7f4a_7c15) >> 40;
    let noise = noise as f64 / f64::from(1 << 24);
    let wander = if series < 8 { ((tick + series * 50) as f64 / 90.0).sin() } else { 0.0 };
    0.3 + 0.02 * noise + 0.1 * wander
}

/// The digests of detectors whose states outlive the agent.
fn of_metrics(mut digests: BTreeMap<String, Digest>) -> BTreeMap<String, Digest> {
    digests.retain(|name, _| OF_METRICS.contains(&name.as_str()));
    assert_eq!(digests.len(), OF_METRICS.len(), "{digests:?}");
    digests
}

#[test]
fn scores_go_on_through_a_restart_of_the_agent_as_if_it_had_never_ended() {
    let mut ended_at = 0;
    let mut whole = Life::begin(Execution::Native, 0, None);
    let mut left = None;
    for (ticks, more) in [(70, 130), (205, 100)] {
        // One life goes on; another ends at this tick, and the next takes over.
        let mut first = Life::begin(Execution::Native, ended_at, left.as_deref());
        let (one, other) = (whole.run(ticks), first.run(ticks));
        assert_eq!(of_metrics(other), of_metrics(one));
        left = Some(first.end());
        ended_at += ticks;
        let mut branch = Life::begin(Execution::Native, ended_at, left.as_deref());
        let mut interpreted = Life::begin(Execution::Pulley, ended_at, left.as_deref());
        let (one, other, third) = (whole.run(more), branch.run(more), interpreted.run(more));
        let one = of_metrics(one);
        assert_eq!(of_metrics(other), one, "ended at tick {ended_at}");
        assert_eq!(of_metrics(third), one, "the interpreter goes on from native states");
        let counts = branch.pipeline.return_counts();
        assert_eq!((counts.found, counts.returned), (64, 64), "twelve series of five detectors, and four stocks");
        left = Some(branch.end());
        ended_at += more;
    }
    let gone = Life::begin(Execution::Native, ended_at, None).run(60);
    assert_ne!(of_metrics(gone), of_metrics(whole.run(60)), "a cold start is another thing");
}

#[test]
fn the_interpreter_scores_as_native_code_does() {
    let [native, interpreted] = Execution::ALL.map(|execution| Life::begin(execution, 0, None).run(150));
    assert_eq!(native.len(), 7, "{native:?}");
    assert_eq!(interpreted, native);
}

#[test]
fn what_is_found_is_of_use_for_a_day() {
    let mut life = Life::begin(Execution::Native, 0, None);
    life.run(61);
    let left = life.end();
    let day = learnt::AGE_MAX.as_secs();
    let at = |seconds: u64| Moment { mono: mono(61) + Duration::from_secs(seconds), ..moment(61) };
    assert!(learnt::decode(&left, at(day), learnt::AGE_MAX).is_ok());
    assert!(learnt::decode(&left, at(day + 1), learnt::AGE_MAX).is_err());
    assert!(left.len() < 60_000, "{} bytes for twelve series of six detectors", left.len());
}

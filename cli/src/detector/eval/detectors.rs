//! The signed pairs that are evaluated, verified once and loaded anew for every series.

use super::super::inspect;
use super::super::keys::unusable;
use super::super::module::{self, CompilerArgs};
use anyhow::{Context as _, bail, ensure};
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicU64, Ordering};
use vedette_detector_host::artifact::Artifact;
use vedette_detector_host::confine::ConfineError;
use vedette_detector_host::engine::{Engine, Execution};
use vedette_detector_host::worker::Worker;
use vedette_edge::pipeline::DetectorSlot;
use vedette_protocol::signature::PublicKey;
use vedette_protocol::v1::DetectorRef;
use vedette_protocol::worker::{DetectorInput, WorkerReply, WorkerRequest};

/// Times the time that an agent gives a call: a call that waits for the processor shall not cost a file its scores.
const PATIENCE: u32 = 50;

/// A worker without confinement: the code is a trusted author's, or was compiled here.
pub(crate) type OpenWorker = Worker<fn() -> Result<Vec<String>, ConfineError>>;

/// Detectors that look at metrics.
#[derive(Default)]
pub(crate) struct Detectors {
    loaded: Vec<Loaded>,
    /// Whether one of them only votes.
    votes: bool,
    dir: PathBuf,
}

struct Loaded {
    cwasm: Vec<u8>,
    reference: DetectorRef,
    cost: Cost,
}

/// Time inside a guest, all series together.
#[derive(Debug, Default)]
struct Cost {
    guest_ns: AtomicU64,
    values: AtomicU64,
}

impl Detectors {
    /// Loads the pairs of `dir`, or of the first usual place that has some, and keeps those that judge metrics.
    ///
    /// # Errors
    ///
    /// If there are none, or one of them is not what its signature says, or there is no compiler for an unknown author's.
    pub(crate) fn load(dir: Option<&Path>, trust: Option<PublicKey>, compiler: &CompilerArgs) -> anyhow::Result<Self> {
        let places = dir.map_or_else(usual_places, |dir| vec![dir.to_owned()]);
        let Some((dir, names)) = places.iter().map(|dir| (dir, names(dir))).find(|(_, names)| !names.is_empty()) else {
            let looked: Vec<_> = places.iter().map(|dir| dir.display().to_string()).collect();
            let reason = "no signed pairs there; `cargo xtask plugins` builds the bundled detectors, \
                          --detectors names another folder";
            return Err(unusable(Path::new(&looked.join(", ")), &reason).into());
        };
        let mut loaded = Vec::new();
        for name in names {
            let (artifact, cwasm) = verified(&dir.join(name), trust, compiler)?;
            let manifest = artifact.manifest();
            let reference = DetectorRef {
                name: manifest.name.clone(),
                version: manifest.version.clone(),
                digest: artifact.wasm_digest(),
            };
            loaded.push(Loaded { cwasm, reference, cost: Cost::default() });
        }
        let mut detectors = Self { loaded, votes: false, dir: dir.clone() };
        let (_, slots) = detectors.start()?;
        detectors.votes = slots.iter().any(|slot| slot.description.input == DetectorInput::Votes);
        let metrics = |at: &usize| slots[*at].description.input.is_of_metrics();
        let kept: Vec<usize> = (0..slots.len()).filter(metrics).collect();
        ensure!(!kept.is_empty(), unusable(dir, &"none of these detectors looks at metrics"));
        let mut at = 0;
        detectors.loaded.retain(|_| {
            at += 1;
            kept.contains(&(at - 1))
        });
        Ok(detectors)
    }

    /// Fresh instances of all of them, and what the pipeline has to know.
    ///
    /// # Errors
    ///
    /// If one of them cannot be loaded.
    pub(crate) fn start(&self) -> anyhow::Result<(OpenWorker, Vec<DetectorSlot>)> {
        let worker: OpenWorker = Worker::new(Engine::new()?, || Ok(Vec::new()));
        let mut worker = worker.patient(PATIENCE);
        let mut slots = Vec::new();
        for (detector, one) in (0..).zip(&self.loaded) {
            let request = WorkerRequest::Load { detector, artifact: one.cwasm.clone(), parameters: Vec::new() };
            match worker.answer(request) {
                WorkerReply::Loaded { description, .. } => {
                    slots.push(DetectorSlot { detector, reference: one.reference.clone(), description });
                }
                WorkerReply::Failed { reason, .. } => bail!("detector {}: {reason}", one.reference.name),
                _ => bail!("detector {}: an answer to another question", one.reference.name),
            }
        }
        worker.answer(WorkerRequest::Seal);
        Ok((worker, slots))
    }

    /// Whether one of them votes: votes alone score rows then, else the rarest verdict does.
    pub(crate) fn votes(&self) -> bool {
        self.votes
    }

    /// Their names, by their number in the worker.
    pub(crate) fn names(&self) -> impl Iterator<Item = &str> {
        self.loaded.iter().map(|one| one.reference.name.as_str())
    }

    /// Books the cost of a call.
    pub(crate) fn book(&self, detector: u32, guest_ns: u64, values: usize) {
        if let Some(one) = self.loaded.get(detector as usize) {
            one.cost.guest_ns.fetch_add(guest_ns, Ordering::Relaxed);
            one.cost.values.fetch_add(values as u64, Ordering::Relaxed);
        }
    }

    /// Which they are.
    pub(crate) fn to_json(&self) -> Value {
        let one = |one: &Loaded| {
            let reference = &one.reference;
            json!({"name": reference.name, "version": reference.version, "wasm_sha256": reference.digest.to_string()})
        };
        let scored_by = if self.votes { "votes" } else { "rarest-verdict" };
        let modules = self.loaded.iter().map(one).collect::<Vec<_>>();
        json!({"dir": self.dir.display().to_string(), "modules": modules, "rows_scored_by": scored_by})
    }

    /// Nanoseconds inside each guest per value since the last time this was asked, and the values.
    pub(crate) fn take_costs(&self) -> Vec<(String, f64, u64)> {
        let cost = |one: &Loaded| {
            let ns = one.cost.guest_ns.swap(0, Ordering::Relaxed);
            let values = one.cost.values.swap(0, Ordering::Relaxed);
            #[expect(clippy::cast_precision_loss, reason = "a figure for people")]
            let each = ns as f64 / values.max(1) as f64;
            (one.reference.name.clone(), each, values)
        };
        self.loaded.iter().map(cost).collect()
    }
}

/// A pair and the code to run in this process: the pair's own only if its author was named.
fn verified(pair: &Path, trust: Option<PublicKey>, compiler: &CompilerArgs) -> anyhow::Result<(Artifact, Vec<u8>)> {
    let (artifact, _) = inspect::load(pair, trust)?;
    let cwasm = match trust {
        Some(_) => artifact.cwasm().to_vec(),
        None => module::compile_pair(&compiler.program()?, pair, &artifact, Execution::Native)
            .context("the component is compiled anew, since --trust KEY does not name its author")?,
    };
    Ok((artifact, cwasm))
}

/// None of them depends on the folder in which the program was started.
fn usual_places() -> Vec<PathBuf> {
    let mut places = Vec::new();
    if let Some(beside) = std::env::current_exe().ok().and_then(|program| Some(program.parent()?.to_owned())) {
        places.push(beside.join("detectors"));
        places.push(beside.join("../detectors"));
    }
    places.push("/usr/lib/vedette/detectors".into());
    places
}

/// Names of the signed pairs in a folder, sorted.
fn names(dir: &Path) -> Vec<String> {
    let entries = std::fs::read_dir(dir).into_iter().flatten().flatten();
    let signatures = entries.map(|entry| entry.path()).filter(|path| path.extension().is_some_and(|one| one == "sig"));
    let mut names: Vec<String> = signatures.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned())).collect();
    names.sort();
    names
}

/// What [`Detectors::take_costs`] gave, as text and JSON.
pub(crate) fn costs(costs: &[(String, f64, u64)]) -> (String, Value) {
    let told = costs.iter().map(|(name, ns, _)| format!("{name} {ns:.0} ns")).collect::<Vec<_>>().join(", ");
    let json =
        costs.iter().map(|(name, ns, values)| json!({"detector": name, "guest_ns_per_value": ns, "values": values}));
    (format!("cost per value inside the guests: {told}"), Value::Array(json.collect()))
}

#[cfg(test)]
mod tests {
    use super::super::super::module::tests::stand_in;
    use super::*;
    use vedette_detector_host::artifact::{Manifest, SigningKey, write_pair};
    use vedette_detector_host::engine::Identity;

    #[test]
    fn native_code_of_an_author_who_was_not_named_is_compiled_anew() {
        let dir = tempfile::tempdir().unwrap();
        let author = || SigningKey::from_pkcs8(&SigningKey::generate_pkcs8()).unwrap();
        let (key, other) = (author(), author());
        let manifest = Manifest::new("spike", "1", b"component", b"native", Identity::host());
        write_pair(dir.path(), &manifest, b"component", b"native", &key).unwrap();
        let compiler = stand_in(dir.path(), r#"printf 'made of %s' "$(cat "$2")" > "$4""#);
        let code = |trust| verified(&dir.path().join("spike"), trust, &compiler).map(|(_, code)| code);
        assert_eq!(code(None).unwrap(), b"made of component");
        assert_eq!(code(Some(key.public())).unwrap(), b"native");
        assert!(code(Some(other.public())).is_err());

        let nowhere = stand_in(dir.path(), "exit 1");
        let refused = verified(&dir.path().join("spike"), None, &nowhere).err().unwrap();
        assert!(format!("{refused:#}").contains("--trust"), "{refused:#}");
    }

    #[test]
    fn nothing_is_loaded_from_the_folder_one_happens_to_be_in() {
        assert!(usual_places().iter().all(|place| place.is_absolute()), "{:?}", usual_places());
    }

    #[test]
    fn a_folder_without_pairs_is_named_with_the_remedy() {
        let empty = tempfile::tempdir().unwrap();
        let error = Detectors::load(Some(empty.path()), None, &CompilerArgs::default()).err().unwrap().to_string();
        assert!(
            error.contains(&empty.path().display().to_string()) && error.contains("cargo xtask plugins"),
            "{error}"
        );
    }

    #[test]
    fn pairs_are_found_by_their_signatures() {
        let dir = tempfile::tempdir().unwrap();
        for file in ["level.sig", "level.wasm", "exhaustion.sig", "notes.txt"] {
            std::fs::write(dir.path().join(file), "").unwrap();
        }
        assert_eq!(names(dir.path()), ["exhaustion", "level"]);
        assert!(names(&dir.path().join("none")).is_empty());
    }
}

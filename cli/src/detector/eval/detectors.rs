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
use vedette_protocol::worker::{DetectorInput, SeriesState, WorkerReply, WorkerRequest};

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

/// Time inside a guest, and what it remembers, all series together.
#[derive(Debug, Default)]
struct Cost {
    guest_ns: AtomicU64,
    values: AtomicU64,
    states: AtomicU64,
    state_bytes: AtomicU64,
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

    /// Books what a detector remembers of some series.
    pub(crate) fn book_states(&self, detector: u32, states: &[SeriesState]) {
        if let Some(one) = self.loaded.get(detector as usize) {
            let bytes: usize = states.iter().map(|one| one.state.len()).sum();
            one.cost.states.fetch_add(states.len() as u64, Ordering::Relaxed);
            one.cost.state_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
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

    /// What each guest has cost since the last time this was asked, as text and JSON: time per value, and the mean state
    /// of the series that it was asked about, which it had at the end of their files.
    pub(crate) fn take_costs(&self) -> (String, Value) {
        let (mut all_states, mut all_bytes) = (0, 0);
        let (mut times, mut states, mut json) = (Vec::new(), Vec::new(), Vec::new());
        for Loaded { reference, cost, .. } in &self.loaded {
            let name = reference.name.as_str();
            let take = |sum: &AtomicU64| sum.swap(0, Ordering::Relaxed);
            let (values, count, bytes) = (take(&cost.values), take(&cost.states), take(&cost.state_bytes));
            let (ns, each) = (mean(take(&cost.guest_ns), values), mean(bytes, count));
            (all_states, all_bytes) = (all_states + count, all_bytes + bytes);
            times.push(format!("{name} {:.0} ns", ns.unwrap_or(0.0)));
            states.push(each.map_or(format!("{name} none"), |each| format!("{name} {each:.0} B of {count}")));
            json.push(json!({
                "detector": name,
                "guest_ns_per_value": ns,
                "values": values,
                "series": count,
                "state_bytes_mean": each,
            }));
        }
        let all = mean(all_bytes, all_states);
        let text = format!(
            "cost per value inside the guests: {}\nmean state of the series asked about, at their ends: {}; {:.0} B of all {all_states}",
            times.join(", "),
            states.join(", "),
            all.unwrap_or(0.0),
        );
        let json = json!({"detectors": json, "series_and_detectors": all_states, "state_bytes_mean": all});
        (text, json)
    }
}

/// `None` of nothing.
#[expect(clippy::cast_precision_loss, reason = "a figure for people")]
fn mean(sum: u64, count: u64) -> Option<f64> {
    (count > 0).then(|| sum as f64 / count as f64)
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

#[cfg(test)]
mod tests {
    use super::super::super::module::tests::stand_in;
    use super::*;
    use vedette_detector_host::artifact::{Manifest, SigningKey, write_pair};
    use vedette_detector_host::engine::Identity;
    use vedette_protocol::ids::{Digest, SeriesKey};

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
    fn the_mean_state_is_that_of_the_series_asked_about() {
        let loaded = |name: &str| {
            let (name, version, digest) = (name.to_owned(), "1".to_owned(), Digest([1; 32]));
            Loaded { cwasm: Vec::new(), reference: DetectorRef { name, version, digest }, cost: Cost::default() }
        };
        let loaded = ["small", "large", "declines"].map(loaded).into();
        let detectors = Detectors { loaded, ..Detectors::default() };
        let state = |bytes: usize| SeriesState { key: SeriesKey(0), state: vec![0; bytes] };
        detectors.book_states(0, &[state(10), state(20)]);
        detectors.book_states(1, &[state(90)]);
        let (text, json) = detectors.take_costs();
        assert!(text.ends_with("small 15 B of 2, large 90 B of 1, declines none; 40 B of all 3"), "{text}");
        assert_eq!((&json["state_bytes_mean"], &json["detectors"][2]["series"]), (&json!(40.0), &json!(0)));
        assert_eq!(detectors.take_costs().1["series_and_detectors"], 0, "what was told is told once");
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

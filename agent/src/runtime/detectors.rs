//! Detectors from the local directories: verified before anything is handed to the worker.

use crate::config::{ByDetector, DetectorsConfig};
use crate::status::RefusedStatus;
use std::path::Path;
use std::sync::Arc;
use tokio::sync::mpsc;
use vedette_detector_host::artifact::{self, Artifact};
use vedette_detector_host::engine::Execution;
use vedette_detector_host::supervise::Wanted;
use vedette_protocol::signature::PublicKey;

/// Looks whose result the loop has not taken yet.
const LOOKS: usize = 1;

/// What is to run, and what is not and why.
pub(super) struct Found {
    pub(super) wanted: Vec<Wanted>,
    pub(super) refused: Vec<RefusedStatus>,
}

/// The directories, as they are configured.
pub(super) struct Shelf {
    detectors: Arc<DetectorsConfig>,
    author_keys: Arc<[PublicKey]>,
    execution: Execution,
    found: mpsc::Sender<Found>,
}

impl Shelf {
    /// The shelf, and where the results of [`Shelf::look_later`] come out.
    pub(super) fn new(detectors: DetectorsConfig, author_keys: Vec<PublicKey>) -> (Self, mpsc::Receiver<Found>) {
        let (found, looks) = mpsc::channel(LOOKS);
        let execution = detectors.execution.resolve();
        (Self { detectors: Arc::new(detectors), author_keys: author_keys.into(), execution, found }, looks)
    }

    /// How detectors are executed.
    pub(super) fn execution(&self) -> Execution {
        self.execution
    }

    /// Reads and verifies everything, now.
    pub(super) fn look(&self) -> Found {
        look(&self.detectors, &self.author_keys, self.execution)
    }

    /// The same in a thread of its own. A look that comes while another's result waits is that one.
    pub(super) fn look_later(&self) {
        let (detectors, author_keys) = (Arc::clone(&self.detectors), Arc::clone(&self.author_keys));
        let (execution, found) = (self.execution, self.found.clone());
        tokio::task::spawn_blocking(move || {
            if let Ok(place) = found.try_reserve() {
                place.send(look(&detectors, &author_keys, execution));
            }
        });
    }
}

fn look(detectors: &DetectorsConfig, author_keys: &[PublicKey], execution: Execution) -> Found {
    let mut refused = Vec::new();
    let judged = read(&detectors.directory, author_keys, execution, &mut refused);
    let newer = read(&detectors.shadow_directory, author_keys, execution, &mut refused);
    let wanted = judged.iter().map(|artifact| want(artifact, &detectors.parameters, None));
    let shadows = judged.iter().filter_map(|artifact| {
        let name = &artifact.manifest().name;
        let newer = newer.iter().find(|other| other.manifest().name == *name);
        let reconfigured = detectors.shadow_parameters.iter().any(|(detector, _)| detector == name);
        let artifact = newer.or(reconfigured.then_some(artifact))?;
        Some(want(artifact, &detectors.shadow_parameters, Some(name.clone())))
    });
    Found { wanted: wanted.chain(shadows).collect(), refused }
}

fn read(
    directory: &Path,
    author_keys: &[PublicKey],
    execution: Execution,
    refused: &mut Vec<RefusedStatus>,
) -> Vec<Artifact> {
    let found = artifact::load_dir_for(directory, author_keys, execution).unwrap_or_else(|error| {
        let (name, reason) = (directory.display().to_string(), error.to_string());
        tracing::warn!(directory = name, reason, "detectors cannot be read");
        refused.push(RefusedStatus { name, code: "unreadable".to_owned(), reason });
        Vec::new()
    });
    let mut artifacts = Vec::new();
    for one in found {
        match one {
            Ok(artifact) => artifacts.push(artifact),
            Err(why) => {
                tracing::warn!(detector.name = why.name, reason = %why, "detector refused");
                let (code, reason) = (why.refusal.code().to_owned(), why.refusal.to_string());
                refused.push(RefusedStatus { name: why.name, code, reason });
            }
        }
    }
    artifacts
}

fn want(artifact: &Artifact, parameters: &ByDetector, shadow_of: Option<String>) -> Wanted {
    let manifest = artifact.manifest();
    let parameters = parameters.iter().find(|(name, _)| *name == manifest.name);
    Wanted {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        digest: artifact.wasm_digest(),
        artifact: Arc::clone(artifact.cwasm()),
        parameters: parameters.map(|(_, parameters)| parameters.clone()).unwrap_or_default(),
        shadow_of,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ExecutionConfig;
    use vedette_detector_host::artifact::{Manifest, write_pair};
    use vedette_detector_host::engine::Identity;
    use vedette_protocol::signature::SigningKey;

    struct Author {
        key: SigningKey,
        dir: tempfile::TempDir,
    }

    impl Author {
        fn publish(&self, folder: &str, name: &str, wasm: &[u8]) {
            let manifest = Manifest::new(name, "1.0.0", wasm, b"native", Identity::host());
            write_pair(&self.dir.path().join(folder), &manifest, wasm, b"native", &self.key).unwrap();
        }
    }

    #[test]
    fn a_newer_version_or_other_parameters_make_a_shadow() {
        let key = SigningKey::from_pkcs8(&SigningKey::generate_pkcs8()).unwrap();
        let author = Author { key, dir: tempfile::tempdir().unwrap() };
        ["exhaustion", "level", "plain"].iter().for_each(|name| author.publish("judged", name, b"old"));
        author.publish("shadows", "level", b"new");
        author.publish("shadows", "orphan", b"new");
        let config = DetectorsConfig {
            directory: author.dir.path().join("judged"),
            shadow_directory: author.dir.path().join("shadows"),
            execution: ExecutionConfig::Always(Execution::Native),
            parameters: vec![("level".to_owned(), vec![("memory-s".to_owned(), 60.0)])],
            shadow_parameters: vec![("exhaustion".to_owned(), vec![("horizon-s".to_owned(), 10.0)])],
        };
        let (shelf, _looks) = Shelf::new(config, vec![author.key.public()]);
        let found = shelf.look();
        assert!(found.refused.is_empty());
        let told: Vec<_> = found
            .wanted
            .iter()
            .map(|one| (one.name.as_str(), one.shadow_of.as_deref(), one.parameters.len(), one.digest))
            .collect();
        let (old, new) = (found.wanted[0].digest, found.wanted[4].digest);
        assert_ne!(old, new);
        let expected = [
            ("exhaustion", None, 0, old),
            ("level", None, 1, old),
            ("plain", None, 0, old),
            ("exhaustion", Some("exhaustion"), 1, old),
            ("level", Some("level"), 0, new),
        ];
        assert_eq!(told, expected);
    }
}

//! Detectors from the local directories: verified before anything is handed to the worker.

use super::reload::{Reread, reread};
use crate::config::{ByDetector, Config, DetectorsConfig};
use crate::status::RefusedStatus;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::mpsc;
use vedette_detector_host::artifact::{self, Artifact};
use vedette_detector_host::engine::Execution;
use vedette_detector_host::supervise::Wanted;
use vedette_protocol::signature::PublicKey;

/// Looks whose result the loop has not taken yet.
const LOOKS: usize = 1;

/// What is to run, and what is not and why.
pub(crate) struct Found {
    pub(crate) wanted: Vec<Wanted>,
    pub(crate) refused: Vec<RefusedStatus>,
    /// Both directories could be read: what is not wanted is not there.
    pub(crate) whole: bool,
}

/// The directories, as they are configured, and the file that says so.
pub(super) struct Shelf {
    file: PathBuf,
    detectors: DetectorsConfig,
    author_keys: Vec<PublicKey>,
    execution: Execution,
    reread: mpsc::Sender<Reread>,
    /// A look goes on whose result was not taken yet.
    looking: bool,
    /// And somebody has asked since it began.
    again: bool,
}

impl Shelf {
    /// The shelf of a configuration that was read from `file`, and where the results of [`Shelf::look_later`] come out.
    pub(super) fn new(config: &Config, file: PathBuf) -> (Self, mpsc::Receiver<Reread>) {
        let (reread, looks) = mpsc::channel(LOOKS);
        let execution = config.detectors.execution.resolve();
        let (detectors, author_keys) = (config.detectors.clone(), config.trust.author_keys.clone());
        (Self { file, detectors, author_keys, execution, reread, looking: false, again: false }, looks)
    }

    /// Where the configuration was read.
    pub(super) fn file(&self) -> &Path {
        &self.file
    }

    /// How detectors are executed.
    pub(super) fn execution(&self) -> Execution {
        self.execution
    }

    /// Reads and verifies everything, now.
    pub(super) fn look(&self) -> Found {
        look(&self.detectors, &self.author_keys, self.execution)
    }

    /// The same by another configuration, to be executed as before.
    pub(super) fn look_as(config: &Config, execution: Execution) -> Found {
        look(&config.detectors, &config.trust.author_keys, execution)
    }

    /// Another configuration is in effect.
    pub(super) fn name(&mut self, config: &Config) {
        self.detectors.clone_from(&config.detectors);
        self.author_keys.clone_from(&config.trust.author_keys);
    }

    /// Reads the configuration and what it names, in a thread of its own. Asked while another look goes on, which may
    /// have read what was there before, it follows that one.
    pub(super) fn look_later(&mut self) {
        if std::mem::replace(&mut self.looking, true) {
            self.again = true;
            return;
        }
        let (file, execution, results) = (self.file.clone(), self.execution, self.reread.clone());
        tokio::task::spawn_blocking(move || {
            // There is room for the one look that goes on; an agent that ends takes no result.
            let _ = results.try_send(reread(&file, execution));
        });
    }

    /// The result of a look was taken.
    pub(super) fn taken(&mut self) {
        self.looking = false;
        if std::mem::take(&mut self.again) {
            self.look_later();
        }
    }

    /// Whether a look goes on.
    pub(super) fn is_looking(&self) -> bool {
        self.looking
    }
}

/// Reads and verifies everything that a configuration names.
pub(crate) fn look_for(config: &Config) -> Found {
    look(&config.detectors, &config.trust.author_keys, config.detectors.execution.resolve())
}

/// Reads and verifies everything.
pub(crate) fn look(detectors: &DetectorsConfig, author_keys: &[PublicKey], execution: Execution) -> Found {
    let mut refused = Vec::new();
    let judged = read(&detectors.directory, author_keys, execution, &mut refused);
    let newer = read(&detectors.shadow_directory, author_keys, execution, &mut refused);
    let whole = judged.is_some() && newer.is_some();
    let (judged, newer) = (judged.unwrap_or_default(), newer.unwrap_or_default());
    let wanted = judged.iter().map(|artifact| want(artifact, &detectors.parameters, None));
    let shadows = judged.iter().filter_map(|artifact| {
        let name = &artifact.manifest().name;
        let newer = newer.iter().find(|other| other.manifest().name == *name);
        let reconfigured = detectors.shadow_parameters.iter().any(|(detector, _)| detector == name);
        let artifact = newer.or(reconfigured.then_some(artifact))?;
        Some(want(artifact, &detectors.shadow_parameters, Some(name.clone())))
    });
    Found { wanted: wanted.chain(shadows).collect(), refused, whole }
}

/// `None` if nobody knows what is there.
fn read(
    directory: &Path,
    author_keys: &[PublicKey],
    execution: Execution,
    refused: &mut Vec<RefusedStatus>,
) -> Option<Vec<Artifact>> {
    let found = artifact::load_dir_for(directory, author_keys, execution).map_err(|error| {
        let (name, reason) = (directory.display().to_string(), error.to_string());
        tracing::warn!(directory = name, reason, "detectors cannot be read");
        refused.push(RefusedStatus { name, code: "unreadable".to_owned(), reason });
    });
    let found = found.ok()?;
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
    Some(artifacts)
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
        let found = shelf(&file_of(config, author.key.public())).look();
        assert!(found.refused.is_empty() && found.whole);
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

    /// A configuration with these detectors.
    fn file_of(detectors: DetectorsConfig, key: PublicKey) -> Config {
        let mut config = Config { detectors, ..Config::default() };
        config.trust.author_keys = vec![key];
        config
    }

    fn shelf(config: &Config) -> Shelf {
        Shelf::new(config, PathBuf::new()).0
    }

    fn config(directory: std::path::PathBuf) -> DetectorsConfig {
        let shadow_directory = directory.join("none");
        let execution = ExecutionConfig::Always(Execution::Native);
        DetectorsConfig {
            directory,
            shadow_directory,
            execution,
            parameters: Vec::new(),
            shadow_parameters: Vec::new(),
        }
    }

    #[test]
    fn a_directory_that_cannot_be_read_is_not_an_empty_one() {
        let dir = tempfile::tempdir().unwrap();
        let look = |name: &str| {
            let detectors = config(dir.path().join(name));
            shelf(&Config { detectors, ..Config::default() }).look()
        };
        assert!(look("missing").whole, "what is not there holds nothing");
        std::fs::write(dir.path().join("file"), b"").unwrap();
        let found = look("file");
        assert_eq!((found.whole, found.refused.len()), (false, 2), "neither directory can be read");
    }

    #[tokio::test]
    async fn who_asks_during_a_look_gets_another_one_after_it() {
        let key = SigningKey::from_pkcs8(&SigningKey::generate_pkcs8()).unwrap();
        let author = Author { key, dir: tempfile::tempdir().unwrap() };
        let config = file_of(config(author.dir.path().join("judged")), author.key.public());
        let file = author.dir.path().join("agent.toml");
        std::fs::write(&file, config.to_toml()).unwrap();
        let (mut shelf, mut looks) = Shelf::new(&config, file);
        let found = |reread| match reread {
            Reread::Fine { found, .. } => found.wanted.len(),
            Reread::Refused(problems) => panic!("{problems:?}"),
        };
        shelf.look_later();
        while looks.is_empty() {
            tokio::task::yield_now().await;
        }
        author.publish("judged", "level", b"late");
        shelf.look_later();
        shelf.look_later();
        assert_eq!(found(looks.recv().await.unwrap()), 0, "read before it was there");
        shelf.taken();
        assert_eq!(found(looks.recv().await.unwrap()), 1);
        shelf.taken();
        assert!(!shelf.looking && looks.is_empty(), "one look answers all who asked during another");
    }
}

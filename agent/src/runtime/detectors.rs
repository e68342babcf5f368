//! Detectors from the local directory: verified before anything is handed to the worker.

use crate::config::{DetectorsConfig, TrustConfig};
use crate::status::RefusedStatus;
use vedette_detector_host::artifact::{self, Artifact};
use vedette_detector_host::supervise::Wanted;

/// What is to run, and what is not and why.
pub(super) fn load(detectors: &DetectorsConfig, trust: &TrustConfig) -> (Vec<Wanted>, Vec<RefusedStatus>) {
    let mut wanted = Vec::new();
    let mut refused = Vec::new();
    match artifact::load_dir(&detectors.directory, &trust.author_keys) {
        Ok(found) => {
            for one in found {
                match one {
                    Ok(artifact) => wanted.push(want(&artifact, detectors)),
                    Err(why) => {
                        tracing::warn!(detector.name = why.name, reason = %why, "detector refused");
                        let (code, reason) = (why.refusal.code().to_owned(), why.refusal.to_string());
                        refused.push(RefusedStatus { name: why.name, code, reason });
                    }
                }
            }
        }
        Err(error) => {
            let (name, reason) = (detectors.directory.display().to_string(), error.to_string());
            tracing::warn!(directory = name, reason, "detectors cannot be read");
            refused.push(RefusedStatus { name, code: "unreadable".to_owned(), reason });
        }
    }
    (wanted, refused)
}

fn want(artifact: &Artifact, detectors: &DetectorsConfig) -> Wanted {
    let manifest = artifact.manifest();
    let parameters = detectors.parameters.iter().find(|(name, _)| *name == manifest.name);
    Wanted {
        name: manifest.name.clone(),
        version: manifest.version.clone(),
        digest: artifact.wasm_digest(),
        artifact: std::sync::Arc::clone(artifact.cwasm()),
        parameters: parameters.map(|(_, parameters)| parameters.clone()).unwrap_or_default(),
    }
}

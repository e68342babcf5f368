//! Signed pairs on disk: what an author published, compiled for this host, bound by a signature over exact bytes.
//!
//! A detector is four files of one name: `NAME.wasm` (what the author published), `NAME.cwasm` (native code made from
//! it), `NAME.json` (the manifest) and `NAME.sig` (`ed25519:` key in hexadecimal, a blank, the signature over the
//! manifest's exact bytes in hexadecimal). A fifth may follow: `NAME.pulley`, byte code for hosts that allow nobody
//! executable memory. Native code is as trusted as the agent itself, so nothing of a pair is used before all of it was
//! verified, and what is not used is not read.

mod refusal;

pub use refusal::{Refusal, Refused};

use crate::engine::{CONTRACT, Execution, Identity};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use vedette_protocol::signature::{Domain, PublicKey, SignatureError, Signed};

// What a manifest is made from: who writes pairs needs nothing else of `protocol`.
pub use vedette_protocol::ids::Digest;
pub use vedette_protocol::signature::SigningKey;

/// Largest `.wasm`.
pub const WASM_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Largest `.cwasm`.
pub const CWASM_BYTES_MAX: usize = 16 * 1024 * 1024;
/// Largest manifest.
pub const MANIFEST_BYTES_MAX: usize = 16 * 1024;
/// Detectors in one directory.
pub const ARTIFACTS_MAX: usize = 64;
const SIGNATURE_BYTES_MAX: usize = 512;

/// What the author signs. JSON with exactly these fields.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Manifest {
    /// Name: that of the files.
    pub name: String,
    /// Version of the detector.
    pub version: String,
    /// Contract it speaks: [`CONTRACT`].
    pub contract: String,
    /// SHA-256 of the `.wasm`.
    #[serde(with = "hex")]
    pub wasm_sha256: Digest,
    /// SHA-256 of the `.cwasm`.
    #[serde(with = "hex")]
    pub cwasm_sha256: Digest,
    /// Exact wasmtime version that made the `.cwasm`.
    pub wasmtime: String,
    /// Its target triple.
    pub target: String,
    /// Its CPU baseline.
    pub cpu: String,
    /// SHA-256 over the engine's settings.
    #[serde(with = "hex")]
    pub tunables: Digest,
    /// The byte code beside it, if there is one; made by the same version of wasmtime.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pulley: Option<ByteCode>,
}

/// What the author signs of the byte code.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ByteCode {
    /// SHA-256 of the `.pulley`.
    #[serde(with = "hex")]
    pub sha256: Digest,
    /// SHA-256 over the interpreting engine's settings.
    #[serde(with = "hex")]
    pub tunables: Digest,
}

impl Manifest {
    /// The manifest of a pair whose `.cwasm` was compiled for `identity`.
    pub fn new(name: &str, version: &str, wasm: &[u8], cwasm: &[u8], identity: Identity) -> Self {
        Self {
            name: name.into(),
            version: version.into(),
            contract: CONTRACT.into(),
            wasm_sha256: Digest::of(wasm),
            cwasm_sha256: Digest::of(cwasm),
            wasmtime: identity.wasmtime,
            target: identity.target,
            cpu: identity.cpu,
            tunables: identity.tunables,
            pulley: None,
        }
    }

    /// The same with byte code, which was compiled for [`crate::engine::PULLEY_TARGET`].
    #[must_use]
    pub fn with_pulley(self, pulley: &[u8]) -> Self {
        let tunables = Identity::loaded_by(Execution::Pulley).tunables;
        Self { pulley: Some(ByteCode { sha256: Digest::of(pulley), tunables }), ..self }
    }

    /// Extension and digest of the file to execute, or why there is none for `host`.
    fn check(&self, name: &str, host: &Identity) -> Result<(&'static str, Digest), Refusal> {
        // A pair may hold nothing but byte code: then its manifest names the interpreter as its target. Otherwise byte code
        // lies beside native code, whose machine does not matter then.
        let beside = host.execution() == Execution::Pulley && self.target != host.target;
        let (target, cpu) = if beside { (&self.target, &self.cpu) } else { (&host.target, &host.cpu) };
        let demands = [
            (Refusal::WrongName as fn(String, String) -> Refusal, self.name.as_str(), name),
            (Refusal::WrongContract, &self.contract, CONTRACT),
            (Refusal::WrongTarget, &self.target, target),
            (Refusal::WrongCpu, &self.cpu, cpu),
            (Refusal::WrongWasmtime, &self.wasmtime, &host.wasmtime),
        ];
        for (refusal, found, expected) in demands {
            if found != expected {
                return Err(refusal(found.into(), expected.into()));
            }
        }
        let (extension, digest, tunables) = match (beside, self.pulley) {
            (false, _) => ("cwasm", self.cwasm_sha256, self.tunables),
            (true, Some(pulley)) => ("pulley", pulley.sha256, pulley.tunables),
            (true, None) => return Err(Refusal::NoByteCode),
        };
        if tunables == host.tunables { Ok((extension, digest)) } else { Err(Refusal::WrongTunables) }
    }
}

/// A verified pair: signed by a trusted author, unaltered, and made for this host.
#[derive(Clone, Debug)]
pub struct Artifact {
    manifest: Manifest,
    cwasm: Arc<[u8]>,
}

impl Artifact {
    /// The signed manifest.
    pub fn manifest(&self) -> &Manifest {
        &self.manifest
    }

    /// The code: native, unless it was loaded for the interpreter.
    pub fn cwasm(&self) -> &Arc<[u8]> {
        &self.cwasm
    }

    /// SHA-256 of the `.wasm`: the module's identity in evidence and status.
    pub fn wasm_digest(&self) -> Digest {
        self.manifest.wasm_sha256
    }
}

/// Every detector in a directory, verified or refused, in order of names. A missing directory is an empty one.
///
/// # Errors
///
/// If the directory cannot be read.
pub fn load_dir(dir: &Path, trusted: &[PublicKey]) -> io::Result<Vec<Result<Artifact, Refused>>> {
    load_dir_for(dir, trusted, Execution::Native)
}

/// The same for a way to execute them.
///
/// # Errors
///
/// If the directory cannot be read.
pub fn load_dir_for(
    dir: &Path,
    trusted: &[PublicKey],
    execution: Execution,
) -> io::Result<Vec<Result<Artifact, Refused>>> {
    let mut names = names(dir)?;
    let surplus = if names.len() > ARTIFACTS_MAX { names.split_off(ARTIFACTS_MAX) } else { Vec::new() };
    let loaded = names
        .into_iter()
        .map(|name| load_for(dir, &name, trusted, execution).map_err(|refusal| Refused { name, refusal }));
    let surplus = surplus.into_iter().map(|name| Err(Refused { name, refusal: Refusal::TooMany }));
    Ok(loaded.chain(surplus).collect())
}

/// One detector of a directory, to be executed natively.
///
/// # Errors
///
/// The first reason found to refuse it.
pub fn load(dir: &Path, name: &str, trusted: &[PublicKey]) -> Result<Artifact, Refusal> {
    load_for(dir, name, trusted, Execution::Native)
}

/// One detector of a directory, to be executed in this way.
///
/// # Errors
///
/// The first reason found to refuse it.
pub fn load_for(dir: &Path, name: &str, trusted: &[PublicKey], execution: Execution) -> Result<Artifact, Refusal> {
    let read = |extension: &str, max: usize| read_capped(&dir.join(format!("{name}.{extension}")), max);
    let manifest = read("json", MANIFEST_BYTES_MAX)?;
    let signature = read("sig", SIGNATURE_BYTES_MAX)?;
    let signed = parse_signature(&signature, manifest).ok_or(Refusal::MalformedSignature)?;
    let bytes = signed.verify(Domain::Detector, trusted).map_err(|error| match error {
        SignatureError::UntrustedKey(key) => Refusal::UntrustedAuthor(key),
        SignatureError::BadKey | SignatureError::Mismatch => Refusal::Tampered,
    })?;
    let manifest: Manifest =
        serde_json::from_slice(bytes).map_err(|error| Refusal::MalformedManifest(error.to_string()))?;
    let (extension, digest) = manifest.check(name, &Identity::loaded_by(execution))?;
    if Digest::of(&read("wasm", WASM_BYTES_MAX)?) != manifest.wasm_sha256 {
        return Err(Refusal::WrongDigest("wasm"));
    }
    let code = read(extension, CWASM_BYTES_MAX)?;
    if Digest::of(&code) != digest {
        return Err(Refusal::WrongDigest(extension));
    }
    Ok(Artifact { manifest, cwasm: code.into() })
}

/// Writes the four files of a pair, the signature last.
///
/// # Errors
///
/// If a file cannot be written, or the manifest's name would lead out of the folder.
pub fn write_pair(dir: &Path, manifest: &Manifest, wasm: &[u8], cwasm: &[u8], key: &SigningKey) -> io::Result<()> {
    check_file_name(&manifest.name)?;
    let path = |extension: &str| dir.join(format!("{}.{extension}", manifest.name));
    let signed = key.sign(Domain::Detector, serde_json::to_vec_pretty(manifest)?);
    let hex: String = signed.signature.iter().map(|byte| format!("{byte:02x}")).collect();
    fs::create_dir_all(dir)?;
    let signature = format!("{} {hex}\n", signed.key);
    replace(&[
        (path("wasm"), wasm),
        (path("cwasm"), cwasm),
        (path("json"), &signed.bytes),
        (path("sig"), signature.as_bytes()),
    ])
}

/// Writes the byte code of a pair whose manifest was made with [`Manifest::with_pulley`]; before [`write_pair`], so that a
/// signature never stands beside a file that is not there yet.
///
/// # Errors
///
/// If the file cannot be written, or the manifest's name would lead out of the folder.
pub fn write_pulley(dir: &Path, manifest: &Manifest, pulley: &[u8]) -> io::Result<()> {
    check_file_name(&manifest.name)?;
    fs::create_dir_all(dir)?;
    replace(&[(dir.join(format!("{}.pulley", manifest.name)), pulley)])
}

/// Writes files so that who reads them meanwhile finds whole ones: beside their places first, then all are moved there.
fn replace(files: &[(PathBuf, &[u8])]) -> io::Result<()> {
    let beside = |path: &Path| path.with_added_extension("new");
    files.iter().try_for_each(|(path, bytes)| fs::write(beside(path), bytes))?;
    files.iter().try_for_each(|(path, _)| fs::rename(beside(path), path))
}

/// A name may come from the detector itself.
fn check_file_name(name: &str) -> io::Result<()> {
    if name.is_empty() || name.starts_with('.') || name.contains('/') {
        return Err(io::Error::new(io::ErrorKind::InvalidInput, format!("{name:?} is no name for files")));
    }
    Ok(())
}

fn names(dir: &Path) -> io::Result<Vec<String>> {
    let entries = match fs::read_dir(dir) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries?,
    };
    let mut names = BTreeSet::new();
    for entry in entries {
        let path = entry?.path();
        let ours = path
            .extension()
            .is_some_and(|extension| ["wasm", "cwasm", "pulley", "json", "sig"].iter().any(|one| extension == *one));
        if let (true, Some(stem)) = (ours, path.file_stem()) {
            names.insert(stem.to_string_lossy().into_owned());
        }
    }
    Ok(names.into_iter().collect())
}

fn read_capped(path: &Path, max: usize) -> Result<Vec<u8>, Refusal> {
    let name = || path.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let unreadable = |error: io::Error| match error.kind() {
        io::ErrorKind::NotFound => Refusal::Missing(name()),
        _ => Refusal::Unreadable(name(), error.to_string()),
    };
    let mut bytes = Vec::new();
    File::open(path).and_then(|file| file.take(max as u64 + 1).read_to_end(&mut bytes)).map_err(unreadable)?;
    if bytes.len() > max { Err(Refusal::TooLarge(name(), max)) } else { Ok(bytes) }
}

fn parse_signature(text: &[u8], bytes: Vec<u8>) -> Option<Signed> {
    let (key, signature) = std::str::from_utf8(text).ok()?.trim_end().split_once(' ')?;
    let halves: Vec<Digest> =
        [signature.get(..64)?, signature.get(64..)?].iter().map(|half| half.parse().ok()).collect::<Option<_>>()?;
    Some(Signed { bytes, key: key.parse().ok()?, signature: halves.iter().flat_map(|half| half.0).collect() })
}

mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use vedette_protocol::ids::Digest;

    pub(super) fn serialize<S: Serializer>(digest: &Digest, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_str(digest)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<Digest, D::Error> {
        String::deserialize(deserializer)?.parse().map_err(D::Error::custom)
    }
}

#[cfg(test)]
mod tests;

//! What the first start makes in the data directory: certificate authority, online key, API token.

use anyhow::{Context as _, bail};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _};
use std::path::Path;
use vedette_link::authority::Authority;
use vedette_protocol::ids::Digest;
use vedette_protocol::signature::SigningKey;
use vedette_protocol::time::WallTime;

/// Secrets of a collector. The lock is held as long as this lives.
pub(crate) struct Secrets {
    pub(crate) authority: Authority,
    pub(crate) online: SigningKey,
    pub(crate) api_token: String,
    _lock: File,
}

/// Opens the data directory, making what is not there yet.
///
/// # Errors
///
/// If it cannot be read or written, is in use by another collector, or holds a certificate without its key.
pub(crate) fn open(data_dir: &Path, now: WallTime) -> anyhow::Result<Secrets> {
    let shown = data_dir.display();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .with_context(|| format!("cannot make the data directory {shown}"))?;
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(data_dir.join("lock"))?;
    if lock.try_lock().is_err() {
        bail!("the data directory {shown} is in use by another collector");
    }
    let authority = authority(data_dir, now)?;
    let online = kept(&data_dir.join("online.key"), SigningKey::generate_pkcs8)?;
    let online = SigningKey::from_pkcs8(&online).context("online.key is not an Ed25519 key")?;
    let token = kept(&data_dir.join("api-token"), || format!("{}\n", random_token()).into_bytes())?;
    let api_token = String::from_utf8(token).context("api-token is not text")?.trim().to_owned();
    if api_token.len() < 32 {
        bail!("api-token in {shown} is too short to be safe: remove it and start again");
    }
    Ok(Secrets { authority, online, api_token, _lock: lock })
}

/// Makes the database's file readable by the collector only, before the database exists.
pub(crate) fn private(path: &Path) -> std::io::Result<()> {
    OpenOptions::new().append(true).create(true).mode(0o600).open(path).map(drop)
}

/// 256 random bits as hexadecimal digits.
pub(crate) fn random_token() -> String {
    let mut bytes = [0; 32];
    SystemRandom::new().fill(&mut bytes).expect("the operating system has randomness");
    Digest(bytes).to_string()
}

/// The key is written first: a start that was cut short leaves a key without a certificate, never the reverse.
fn authority(data_dir: &Path, now: WallTime) -> anyhow::Result<Authority> {
    let (certificate_file, key_file) = (data_dir.join("ca.pem"), data_dir.join("ca-key.pem"));
    if certificate_file.exists() {
        let certificate = std::fs::read_to_string(&certificate_file).context("ca.pem")?;
        let key = std::fs::read_to_string(&key_file).context("ca-key.pem, without which agents cannot be enrolled")?;
        return Ok(Authority::load(&certificate, &key)?);
    }
    let authority = Authority::create(now)?;
    write_whole(&key_file, authority.key_pem().as_bytes(), 0o600)?;
    write_whole(&certificate_file, authority.certificate_pem().as_bytes(), 0o644)?;
    Ok(authority)
}

fn kept(path: &Path, make: impl FnOnce() -> Vec<u8>) -> anyhow::Result<Vec<u8>> {
    match std::fs::read(path) {
        Ok(bytes) => Ok(bytes),
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => {
            let bytes = make();
            write_whole(path, &bytes, 0o600)?;
            Ok(bytes)
        }
        Err(error) => Err(error).with_context(|| path.display().to_string()),
    }
}

/// Writes beside, syncs, renames: there is never half a file.
fn write_whole(path: &Path, bytes: &[u8], mode: u32) -> anyhow::Result<()> {
    let beside = path.with_extension("new");
    let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(mode).open(&beside)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    std::fs::rename(&beside, path)?;
    if let Some(directory) = path.parent() {
        File::open(directory)?.sync_all()?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::os::unix::fs::PermissionsExt as _;

    fn now() -> WallTime {
        WallTime::from_unix_ms(1_795_132_800_000)
    }

    #[test]
    fn a_second_start_finds_what_the_first_made_and_secrets_are_private() {
        let directory = tempfile::tempdir().unwrap();
        let first = open(directory.path(), now()).unwrap();
        let (fingerprint, token, public) =
            (first.authority.fingerprint(), first.api_token.clone(), first.online.public());
        drop(first);
        let second = open(directory.path(), now()).unwrap();
        assert_eq!(
            (second.authority.fingerprint(), &second.api_token, second.online.public()),
            (fingerprint, &token, public)
        );
        for file in ["ca-key.pem", "online.key", "api-token"] {
            let mode = std::fs::metadata(directory.path().join(file)).unwrap().permissions().mode();
            assert_eq!(mode & 0o777, 0o600, "{file}");
        }
    }

    #[test]
    fn two_collectors_cannot_share_a_data_directory() {
        let directory = tempfile::tempdir().unwrap();
        let _first = open(directory.path(), now()).unwrap();
        assert!(open(directory.path(), now()).is_err());
    }

    #[test]
    fn a_certificate_without_its_key_is_refused_not_replaced() {
        let directory = tempfile::tempdir().unwrap();
        drop(open(directory.path(), now()).unwrap());
        std::fs::remove_file(directory.path().join("ca-key.pem")).unwrap();
        assert!(open(directory.path(), now()).is_err());
    }
}

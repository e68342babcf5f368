//! What the first start makes in the data directory: certificate authority, online key, API token.

use anyhow::{Context as _, bail};
use ring::rand::{SecureRandom as _, SystemRandom};
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{DirBuilderExt as _, OpenOptionsExt as _, PermissionsExt as _};
use std::path::Path;
use vedette_link::authority::Authority;
use vedette_protocol::ids::Digest;
use vedette_protocol::signature::SigningKey;
use vedette_protocol::time::WallTime;

/// The database's name in the data directory.
pub(crate) const DATABASE: &str = "collector.db";

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
/// If it cannot be read or written, is in use by another collector, is open to others, or lacks one half of the
/// certificate authority that it once had.
pub(crate) fn open(data_dir: &Path, now: WallTime) -> anyhow::Result<Secrets> {
    let shown = data_dir.display();
    std::fs::DirBuilder::new()
        .recursive(true)
        .mode(0o700)
        .create(data_dir)
        .with_context(|| format!("cannot make the data directory {shown}"))?;
    let mode = std::fs::metadata(data_dir)?.permissions().mode();
    if mode & 0o022 != 0 {
        bail!("others can write to the data directory {shown}: `chmod go-w {shown}`");
    }
    let lock = OpenOptions::new().write(true).create(true).truncate(false).mode(0o600).open(data_dir.join("lock"))?;
    if lock.try_lock().is_err() {
        bail!("the data directory {shown} is in use by another collector");
    }
    let authority = authority(data_dir, now)?;
    let online = kept(&data_dir.join("online.key"), SigningKey::generate_pkcs8)?;
    let online = SigningKey::from_pkcs8(&online).context("online.key is not an Ed25519 key")?;
    closed(&data_dir.join("online.key"), 0o077)?;
    let token = kept(&data_dir.join("api-token"), || format!("{}\n", random_token()).into_bytes())?;
    // A group of operators may be let in.
    closed(&data_dir.join("api-token"), 0o027)?;
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

/// The key is written first: a start that was cut short leaves a key without a certificate, never the reverse. That is
/// before there is a database; later the certificate was lost, and another would shut out all agents.
fn authority(data_dir: &Path, now: WallTime) -> anyhow::Result<Authority> {
    let (certificate_file, key_file) = (data_dir.join("ca.pem"), data_dir.join("ca-key.pem"));
    if certificate_file.exists() {
        let certificate = std::fs::read_to_string(&certificate_file).context("ca.pem")?;
        let key = std::fs::read_to_string(&key_file).context("ca-key.pem, without which agents cannot be enrolled")?;
        closed(&key_file, 0o077)?;
        return Ok(Authority::load(&certificate, &key)?);
    }
    if data_dir.join(DATABASE).exists() {
        bail!("ca.pem, which agents trust, is missing in {}: restore it from a backup", data_dir.display());
    }
    let authority = Authority::create(now)?;
    write_whole(&key_file, authority.key_pem().as_bytes(), 0o600)?;
    write_whole(&certificate_file, authority.certificate_pem().as_bytes(), 0o644)?;
    Ok(authority)
}

/// Refuses a secret that others can get at.
fn closed(path: &Path, forbidden: u32) -> anyhow::Result<()> {
    if std::fs::metadata(path)?.permissions().mode() & forbidden != 0 {
        let shown = path.display();
        bail!("others can read {shown}: make a new one if they may have, else `chmod 600 {shown}`");
    }
    Ok(())
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
    // Of a start that was cut short; a file that is there already would keep its mode.
    if let Err(error) = std::fs::remove_file(&beside)
        && error.kind() != std::io::ErrorKind::NotFound
    {
        return Err(error.into());
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(mode).open(&beside)?;
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

    #[test]
    fn a_lost_certificate_is_not_replaced_once_there_are_agents() {
        let directory = tempfile::tempdir().unwrap();
        drop(open(directory.path(), now()).unwrap());
        std::fs::remove_file(directory.path().join("ca.pem")).unwrap();
        drop(open(directory.path(), now()).unwrap());
        std::fs::write(directory.path().join(DATABASE), "").unwrap();
        std::fs::remove_file(directory.path().join("ca.pem")).unwrap();
        let key = std::fs::read(directory.path().join("ca-key.pem")).unwrap();
        assert!(open(directory.path(), now()).is_err());
        assert_eq!(std::fs::read(directory.path().join("ca-key.pem")).unwrap(), key);
    }

    #[test]
    fn secrets_that_others_can_read_are_refused() {
        let chmod = |path: &Path, mode| std::fs::set_permissions(path, std::fs::Permissions::from_mode(mode)).unwrap();
        let directory = tempfile::tempdir().unwrap();
        drop(open(directory.path(), now()).unwrap());
        for (file, open_mode, closed_mode) in
            [("ca-key.pem", 0o640, 0o600), ("online.key", 0o604, 0o400), ("api-token", 0o644, 0o640)]
        {
            chmod(&directory.path().join(file), open_mode);
            assert!(open(directory.path(), now()).is_err(), "{file}");
            chmod(&directory.path().join(file), closed_mode);
            assert!(open(directory.path(), now()).is_ok(), "{file}");
        }
        chmod(directory.path(), 0o777);
        assert!(open(directory.path(), now()).is_err());
    }

    #[test]
    fn what_a_start_that_was_cut_short_left_does_not_lend_its_mode() {
        let directory = tempfile::tempdir().unwrap();
        let beside = directory.path().join("online.new");
        std::fs::write(&beside, "half").unwrap();
        std::fs::set_permissions(&beside, std::fs::Permissions::from_mode(0o666)).unwrap();
        drop(open(directory.path(), now()).unwrap());
        let mode = std::fs::metadata(directory.path().join("online.key")).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);
    }
}

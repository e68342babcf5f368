//! A signed policy as a file: two header lines (key, signature), an empty line, then the exact bytes that were signed.

use crate::durable;
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use vedette_protocol::document::DOCUMENT_BYTES_MAX;
use vedette_protocol::signature::Signed;

const HEADER_BYTES_MAX: usize = 1024;

/// The folder `data-dir/policy`: the confirmed policy, the one on trial, and which versions were ever tried.
pub struct PolicyFolder {
    folder: PathBuf,
}

/// What outlives the documents themselves: versions that must not come back.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Versions {
    /// Greatest version that was confirmed: an older one is a roll-back by somebody else.
    pub confirmed: u64,
    /// Greatest version that failed its trial: not tried again.
    pub failed: u64,
}

/// Files in the folder.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// Confirmed by a healthy interval; loaded at start.
    Current,
    /// On trial; discarded at start.
    Trial,
}

impl PolicyFolder {
    /// Opens or makes the folder.
    ///
    /// # Errors
    ///
    /// Of the file system.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join("policy");
        durable::make_private_folder(&folder)?;
        Ok(Self { folder })
    }

    /// The signed document in `slot`; `None` if there is none.
    ///
    /// # Errors
    ///
    /// Of the file system, and [`io::ErrorKind::InvalidData`] if the file was altered beyond recognition.
    pub fn read(&self, slot: Slot) -> io::Result<Option<Signed>> {
        let limit = (DOCUMENT_BYTES_MAX + HEADER_BYTES_MAX) as u64;
        match durable::read_capped(&self.path(slot), limit) {
            Ok(bytes) => parse(&bytes).map(Some).ok_or_else(|| io::ErrorKind::InvalidData.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error),
        }
    }

    /// Puts a document on trial, durably.
    ///
    /// # Errors
    ///
    /// Of the file system.
    pub fn write_trial(&self, signed: &Signed) -> io::Result<()> {
        durable::replace(&self.path(Slot::Trial), &render(signed))
    }

    /// The trial went well: what was on trial is current from here on.
    ///
    /// # Errors
    ///
    /// Of the file system.
    pub fn confirm_trial(&self) -> io::Result<()> {
        std::fs::rename(self.path(Slot::Trial), self.path(Slot::Current))?;
        std::fs::File::open(&self.folder)?.sync_all()
    }

    /// The trial is over without success.
    ///
    /// # Errors
    ///
    /// Of the file system; that there was none is none.
    pub fn discard_trial(&self) -> io::Result<()> {
        match std::fs::remove_file(self.path(Slot::Trial)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => Err(error),
            _ => Ok(()),
        }
    }

    /// What is remembered of versions.
    ///
    /// # Errors
    ///
    /// Of the file system; unreadable content is an error too, so that nobody rolls versions back by breaking it.
    pub fn versions(&self) -> io::Result<Versions> {
        match durable::read_capped(&self.versions_path(), 256) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(Into::into),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Versions::default()),
            Err(error) => Err(error),
        }
    }

    /// Remembers versions durably.
    ///
    /// # Errors
    ///
    /// Of the file system.
    pub fn write_versions(&self, versions: Versions) -> io::Result<()> {
        let bytes = serde_json::to_vec(&versions).expect("two numbers are always JSON");
        durable::replace(&self.versions_path(), &bytes)
    }

    /// Where a slot is, for messages.
    pub fn path(&self, slot: Slot) -> PathBuf {
        self.folder.join(match slot {
            Slot::Current => "current.signed",
            Slot::Trial => "trial.signed",
        })
    }

    fn versions_path(&self) -> PathBuf {
        self.folder.join("versions.json")
    }
}

fn render(signed: &Signed) -> Vec<u8> {
    let signature: String = signed.signature.iter().map(|byte| format!("{byte:02x}")).collect();
    let mut text = format!("key: {}\nsignature: {signature}\n\n", signed.key).into_bytes();
    text.extend_from_slice(&signed.bytes);
    text
}

fn parse(bytes: &[u8]) -> Option<Signed> {
    let end = bytes.windows(2).take(HEADER_BYTES_MAX).position(|pair| pair == b"\n\n")?;
    let header = std::str::from_utf8(&bytes[..end]).ok()?;
    let (key, signature) = header.split_once('\n')?;
    let signature = signature.strip_prefix("signature: ")?.as_bytes();
    let nibble = |digit: u8| char::from(digit).to_digit(16).and_then(|value| u8::try_from(value).ok());
    let byte = |pair: &[u8]| Some((nibble(pair[0])? << 4) | nibble(*pair.get(1)?)?);
    Some(Signed {
        key: key.strip_prefix("key: ")?.parse().ok()?,
        signature: signature.chunks(2).map(byte).collect::<Option<_>>()?,
        bytes: bytes[end + 2..].to_vec(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use vedette_protocol::signature::{Domain, SigningKey};

    fn signed(text: &str) -> Signed {
        let key = SigningKey::from_pkcs8(&SigningKey::generate_pkcs8()).expect("key");
        key.sign(Domain::Policy, text.as_bytes().to_vec())
    }

    #[test]
    fn exact_bytes_come_back() {
        for text in ["version = 1\n\n\nexpires = 2\n", "", "\n\n", "no newline"] {
            let signed = signed(text);
            assert_eq!(parse(&render(&signed)), Some(signed));
        }
    }

    #[test]
    fn trial_becomes_current_only_when_confirmed() {
        let data_dir = tempfile::tempdir().expect("temporary folder");
        let folder = PolicyFolder::open(data_dir.path()).expect("open");
        let (first, second) = (signed("first"), signed("second"));
        folder.write_trial(&first).expect("trial");
        folder.confirm_trial().expect("confirm");
        folder.write_trial(&second).expect("trial");
        assert_eq!(folder.read(Slot::Current).expect("current"), Some(first.clone()));
        folder.discard_trial().expect("discard");
        assert_eq!(folder.read(Slot::Trial).expect("trial"), None);
        assert_eq!(folder.read(Slot::Current).expect("current"), Some(first));
    }

    #[test]
    fn garbage_is_an_error_and_not_an_absence() {
        let data_dir = tempfile::tempdir().expect("temporary folder");
        let folder = PolicyFolder::open(data_dir.path()).expect("open");
        std::fs::write(folder.path(Slot::Current), "key: nonsense").expect("file");
        assert!(folder.read(Slot::Current).is_err());
        std::fs::write(folder.versions_path(), "many").expect("file");
        assert!(folder.versions().is_err());
    }
}

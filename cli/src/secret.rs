//! Files that hold a secret: read only if nobody has them open who should not.

use crate::failure::Failure;
use std::fs::File;
use std::io::{self, Read as _};
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;

/// No key and no token comes near to it.
const BYTES_MAX: u64 = 64 << 10;

/// Who may read a secret beside its owner.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Readers {
    /// Nobody: keys that sign.
    Owner,
    /// A group of operators may be let in: the collector's API token.
    Group,
}

impl Readers {
    const fn forbidden(self) -> u32 {
        match self {
            Self::Owner => 0o077,
            Self::Group => 0o027,
        }
    }
}

/// Why a secret was not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum SecretError {
    /// The operating system says no.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// Others may have read or written it.
    #[error(
        "its mode {mode:04o} lets others at a secret: `chmod 600 {file}`, and make a new one if they may have used it"
    )]
    Open {
        /// Permissions.
        mode: u32,
        /// The file.
        file: String,
    },
}

/// Reads a secret.
pub(crate) fn read(path: &Path, readers: Readers) -> Result<Vec<u8>, SecretError> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    if mode & readers.forbidden() != 0 {
        return Err(SecretError::Open { mode, file: path.display().to_string() });
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(bytes)
}

/// The same as a failure that has its exit code.
pub(crate) fn unusable(path: &Path, error: &SecretError) -> Failure {
    Failure::UnusableFile { path: path.display().to_string(), reason: error.to_string() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::fs::Permissions;

    #[test]
    fn secret_that_others_can_get_at_is_not_read_and_the_remedy_is_told() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("key");
        std::fs::write(&path, "secret").unwrap();
        let check = |mode, readers| {
            std::fs::set_permissions(&path, Permissions::from_mode(mode)).unwrap();
            read(&path, readers)
        };
        for mode in [0o600, 0o400] {
            assert_eq!(check(mode, Readers::Owner).unwrap(), b"secret");
        }
        assert_eq!(check(0o640, Readers::Group).unwrap(), b"secret");
        for (mode, readers) in [
            (0o640, Readers::Owner),
            (0o644, Readers::Owner),
            (0o602, Readers::Owner),
            (0o644, Readers::Group),
            (0o660, Readers::Group),
        ] {
            let told = check(mode, readers).unwrap_err().to_string();
            assert!(told.contains(&format!("{mode:04o}")) && told.contains("`chmod 600 /"), "{told}");
        }
    }
}

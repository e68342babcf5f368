//! Small files that must be either the old or the new one, whatever happens in between.

use std::fs::{self, DirBuilder, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::Path;

/// Replaces `path` with `bytes`, for the owner alone: written beside it, synced, renamed over it, and the folder synced.
///
/// # Errors
///
/// Of the file system; the old file is then still there.
pub fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = path.parent().unwrap_or(Path::new("."));
    let beside = path.with_extension("new");
    let written = write_new(&beside, bytes).and_then(|()| fs::rename(&beside, path));
    if written.is_err() {
        // The rename did not happen, so nothing refers to the half-written file.
        let _ = fs::remove_file(&beside);
    }
    written.and_then(|()| File::open(folder)?.sync_all())
}

/// Makes a folder for the owner alone, with its parents; an existing one is left as it is.
///
/// # Errors
///
/// Of the file system.
pub fn make_private_folder(path: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(path)
}

/// Reads a file of at most `bytes_max` bytes.
///
/// # Errors
///
/// Of the file system, and [`io::ErrorKind::FileTooLarge`].
pub fn read_capped(path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    read_to_end(File::open(path)?, path, bytes_max)
}

fn read_to_end(file: File, path: &Path, bytes_max: u64) -> io::Result<Vec<u8>> {
    let mut bytes = Vec::new();
    file.take(bytes_max + 1).read_to_end(&mut bytes)?;
    if bytes.len() as u64 > bytes_max {
        let why = format!("{} is larger than the {bytes_max} bytes that are read", path.display());
        return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
    }
    Ok(bytes)
}

/// Why a secret was not read.
#[derive(Debug, thiserror::Error)]
pub enum SecretError {
    /// Of the file system.
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

/// Reads a secret of at most `bytes_max` bytes, unless its mode has one of the bits `forbidden`.
///
/// # Errors
///
/// [`SecretError`].
pub fn read_secret(path: &Path, bytes_max: u64, forbidden: u32) -> Result<Vec<u8>, SecretError> {
    let file = File::open(path)?;
    let mode = file.metadata()?.permissions().mode() & 0o7777;
    if mode & forbidden != 0 {
        return Err(SecretError::Open { mode, file: path.display().to_string() });
    }
    Ok(read_to_end(file, path, bytes_max)?)
}

fn write_new(path: &Path, bytes: &[u8]) -> io::Result<()> {
    // A left-over of a crash could have other permissions: never write a key into it.
    match fs::remove_file(path) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn replaced_file_is_whole_and_private() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("key.pem");
        replace(&path, b"old").expect("first");
        replace(&path, b"new").expect("second");
        assert_eq!(fs::read(&path).expect("file"), b"new");
        assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
        assert_eq!(fs::read_dir(folder.path()).expect("folder").count(), 1, "nothing left beside it");
    }

    #[test]
    fn left_over_of_a_crash_lends_its_permissions_to_nobody() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("key.pem");
        let beside = path.with_extension("new");
        fs::write(&beside, b"torn").expect("left-over");
        fs::set_permissions(&beside, fs::Permissions::from_mode(0o666)).expect("permissions");
        replace(&path, b"new").expect("replace");
        assert_eq!(fs::metadata(&path).expect("metadata").permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn secret_that_others_can_get_at_is_not_read_and_the_remedy_is_told() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("key.pem");
        replace(&path, b"secret").expect("file");
        let check = |mode, forbidden| {
            fs::set_permissions(&path, fs::Permissions::from_mode(mode)).expect("permissions");
            read_secret(&path, 10, forbidden)
        };
        assert_eq!(check(0o600, 0o077).expect("closed"), b"secret");
        assert_eq!(check(0o640, 0o027).expect("closed enough"), b"secret");
        for (mode, forbidden) in [(0o640, 0o077), (0o604, 0o077), (0o620, 0o027)] {
            let told = check(mode, forbidden).expect_err("open").to_string();
            assert!(told.contains(&format!("{mode:04o}")) && told.contains("`chmod 600 /"), "{told}");
        }
    }

    #[test]
    fn oversized_file_is_refused_unread() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let path = folder.path().join("large");
        fs::write(&path, [0; 11]).expect("file");
        assert_eq!(read_capped(&path, 10).expect_err("too large").kind(), io::ErrorKind::FileTooLarge);
        assert_eq!(read_capped(&path, 11).expect("fits").len(), 11);
    }
}

//! Files beside a log that carry its name and the marks of rotation: a number, a date, `.old`.

use super::open_regular;
use std::fs::{DirEntry, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Seconds and nanoseconds of the last change of a file's content.
pub(super) type FileTime = (i64, u32);

/// Most files that are looked at in a directory.
const ENTRIES_MAX: usize = 4_096;
/// Ends of names that stand for the rotation before.
const WORDS: [&[u8]; 6] = [b".old", b".bak", b".prev", b".last", b"~", b".0"];
/// Ends of names of files that hold the same content in another form.
const COMPRESSED: [&[u8]; 6] = [b".gz", b".xz", b".zst", b".bz2", b".lz4", b".Z"];

/// The log itself and its rotated forms, longest unchanged first.
pub(super) struct Siblings {
    all: Vec<Sibling>,
    directories: Vec<PathBuf>,
}

/// One of them.
pub(super) struct Sibling {
    path: PathBuf,
    /// Device and inode.
    pub(super) inode: (u64, u64),
    pub(super) changed: FileTime,
    /// It has the log's own name.
    pub(super) is_named: bool,
}

impl Siblings {
    /// The file at `path` and regular files beside it that rotation made of it, compressed ones left out.
    pub(super) fn of(path: &Path) -> Self {
        // What a symbolic link names is rotated where it is.
        let target = std::fs::canonicalize(path).ok().filter(|target| target != path);
        let places = [Some(path.to_owned()), target];
        // It may be in a directory that cannot be listed.
        let mut all: Vec<_> = Sibling::at(path.to_owned(), true).into_iter().collect();
        let mut directories = Vec::<PathBuf>::new();
        for place in places.iter().flatten() {
            let (Some(directory), Some(name)) = (place.parent(), place.file_name()) else { continue };
            for entry in entries(directory) {
                let file_name = entry.file_name();
                let Some(mark) = file_name.as_bytes().strip_prefix(name.as_bytes()) else { continue };
                if !is_mark_of_rotation(mark) {
                    continue;
                }
                let Some(sibling) = Sibling::at(entry.path(), mark.is_empty()) else { continue };
                match all.iter_mut().find(|other| other.inode == sibling.inode) {
                    Some(other) => other.is_named |= sibling.is_named,
                    None => all.push(sibling),
                }
            }
            if !directories.iter().any(|other| other == directory) {
                directories.push(directory.to_owned());
            }
        }
        all.sort_by_key(|sibling| sibling.changed);
        Self { all, directories }
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Sibling> {
        self.all.iter()
    }

    /// The file of that inode, whatever its name is by now.
    pub(super) fn open(&self, inode: (u64, u64)) -> Option<File> {
        let sibling = self.all.iter().find(|sibling| sibling.inode == inode);
        sibling.and_then(|sibling| sibling.open().ok().flatten()).or_else(|| {
            let mut entries = self.directories.iter().flat_map(|directory| entries(directory));
            let entry = entries.find(|entry| entry.ino() == inode.1)?;
            let sibling = Sibling::at(entry.path(), false).filter(|sibling| sibling.inode == inode)?;
            sibling.open().ok().flatten()
        })
    }
}

pub(super) fn inode_of(metadata: &Metadata) -> (u64, u64) {
    (metadata.dev(), metadata.ino())
}

pub(super) fn changed_at(metadata: &Metadata) -> FileTime {
    (metadata.mtime(), u32::try_from(metadata.mtime_nsec()).unwrap_or_default())
}

fn entries(directory: &Path) -> impl Iterator<Item = DirEntry> + use<> {
    std::fs::read_dir(directory).into_iter().flatten().take(ENTRIES_MAX).flatten()
}

/// Whether `rest` is what rotation puts after a name: nothing, or `.1`, `-20260301`, `.2026-03-01.1`, `.old`, `~`. Another
/// log may begin with the same name: `app.log.audit`, `syslog-ng`.
fn is_mark_of_rotation(rest: &[u8]) -> bool {
    let is_dated = || {
        matches!(rest.first(), Some(b'.' | b'-' | b'_'))
            && rest.get(1).is_some_and(u8::is_ascii_digit)
            && !COMPRESSED.iter().any(|ending| rest.ends_with(ending))
    };
    rest.is_empty() || WORDS.contains(&rest) || is_dated()
}

impl Sibling {
    fn at(path: PathBuf, is_named: bool) -> Option<Self> {
        let metadata = std::fs::metadata(&path).ok().filter(Metadata::is_file)?;
        Some(Self { path, inode: inode_of(&metadata), changed: changed_at(&metadata), is_named })
    }

    /// `None` if it was renamed meanwhile.
    pub(super) fn open(&self) -> io::Result<Option<File>> {
        let Some(file) = open_regular(&self.path)? else { return Ok(None) };
        let is_same = inode_of(&file.metadata()?) == self.inode;
        Ok(is_same.then_some(file))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn another_log_whose_name_begins_alike_is_no_rotation() {
        for rotated in ["", ".1", ".12", "-20260301", ".2026-03-01", "_1", ".old", "~", "-20260301.1"] {
            assert!(is_mark_of_rotation(rotated.as_bytes()), "{rotated}");
        }
        for other in [".audit", "-ng", ".1.gz", "2", ".audit.1", "-error.log", ".gz", "."] {
            assert!(!is_mark_of_rotation(other.as_bytes()), "{other}");
        }
    }
}

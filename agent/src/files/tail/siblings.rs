//! Files of a log, and those beside it that carry its name and the marks of rotation: a number, a date, `.old`.

use super::names::{ENTRIES_MAX, Glob, Names};
use super::open_regular;
use std::fs::{DirEntry, File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{DirEntryExt, MetadataExt};
use std::path::{Path, PathBuf};

/// Seconds and nanoseconds of the last change of a file's content.
pub(super) type FileTime = (i64, u32);

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
    /// It has the log's own name, or one that matches.
    pub(super) is_named: bool,
}

impl Siblings {
    /// Files that are named, and regular files beside them that rotation made of them, compressed ones left out.
    pub(super) fn of(names: &Names) -> Self {
        let mut siblings = match names {
            Names::One(path) => Self::of_path(path),
            Names::Many(glob) => Self::of_glob(glob),
        };
        siblings.all.sort_by_key(|sibling| (sibling.inode, !sibling.is_named));
        siblings.all.dedup_by_key(|sibling| sibling.inode);
        siblings.all.sort_by_key(|sibling| sibling.changed);
        siblings
    }

    fn of_path(path: &Path) -> Self {
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
                let mark = file_name.as_bytes().strip_prefix(name.as_bytes()).filter(|mark| is_mark_of_rotation(mark));
                all.extend(mark.and_then(|mark| Sibling::at(entry.path(), mark.is_empty())));
            }
            if !directories.iter().any(|other| other == directory) {
                directories.push(directory.to_owned());
            }
        }
        Self { all, directories }
    }

    fn of_glob(glob: &Glob) -> Self {
        let (mut all, directories) = (Vec::new(), glob.directories());
        for entry in directories.iter().flat_map(|directory| entries(directory)) {
            if all.len() == ENTRIES_MAX {
                break;
            }
            let file_name = entry.file_name();
            let name = file_name.as_bytes();
            let is_packed = COMPRESSED.iter().any(|ending| name.ends_with(ending));
            let is_named = glob.matches(name);
            let is_rotated = || (1..name.len()).any(|at| is_mark_of_rotation(&name[at..]) && glob.matches(&name[..at]));
            if is_packed || !(is_named || is_rotated()) {
                continue;
            }
            let Some((sibling, metadata)) = Sibling::look_at(entry.path(), is_named) else { continue };
            // One that was renamed to a name that matches is new, too.
            let renamed = (metadata.ctime(), u32::try_from(metadata.ctime_nsec()).unwrap_or_default());
            let changed = if is_named { sibling.changed.max(renamed) } else { sibling.changed };
            all.push(Sibling { changed, ..sibling });
        }
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
        Self::look_at(path, is_named).map(|(sibling, _)| sibling)
    }

    fn look_at(path: PathBuf, is_named: bool) -> Option<(Self, Metadata)> {
        let metadata = std::fs::metadata(&path).ok().filter(Metadata::is_file)?;
        Some((Self { path, inode: inode_of(&metadata), changed: changed_at(&metadata), is_named }, metadata))
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

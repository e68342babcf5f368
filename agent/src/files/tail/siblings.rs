//! Files beside a log that carry its name and the marks of rotation: a number, a date, `.old`.

use super::open_regular;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Seconds and nanoseconds of the last change of a file's content.
pub(super) type FileTime = (i64, i64);

/// Most files that are looked at in a directory.
const ENTRIES_MAX: usize = 4_096;
/// Ends of names that stand for the rotation before.
const WORDS: [&[u8]; 6] = [b".old", b".bak", b".prev", b".last", b"~", b".0"];
/// Ends of names of files that hold the same content in another form.
const COMPRESSED: [&[u8]; 6] = [b".gz", b".xz", b".zst", b".bz2", b".lz4", b".Z"];

/// The log itself and its rotated forms, longest unchanged first.
pub(super) struct Siblings(Vec<Sibling>);

/// One of them.
pub(super) struct Sibling {
    path: PathBuf,
    inode: (u64, u64),
    changed: FileTime,
}

impl Siblings {
    /// The file at `path` and regular files beside it that rotation made of it, compressed ones left out.
    pub(super) fn of(path: &Path) -> Self {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Self(Vec::new()) };
        let entries = std::fs::read_dir(directory).into_iter().flatten().take(ENTRIES_MAX).flatten();
        let is_rotated = |bytes: &[u8]| bytes.strip_prefix(name.as_bytes()).is_some_and(is_mark_of_rotation);
        let mut siblings: Vec<_> = entries
            .filter(|entry| is_rotated(entry.file_name().as_bytes()))
            .filter_map(|entry| Sibling::at(entry.path()))
            .collect();
        siblings.sort_by_key(|sibling| sibling.changed);
        Self(siblings)
    }

    pub(super) fn find(&self, inode: (u64, u64)) -> Option<&Sibling> {
        self.0.iter().find(|sibling| sibling.inode == inode)
    }

    /// Those that were changed at `time` or after it, oldest first: many kernels keep times in steps of milliseconds.
    pub(super) fn since(self, time: FileTime) -> impl Iterator<Item = Sibling> {
        self.0.into_iter().filter(move |sibling| sibling.changed >= time)
    }
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
    fn at(path: PathBuf) -> Option<Self> {
        let metadata = std::fs::metadata(&path).ok().filter(std::fs::Metadata::is_file)?;
        let (inode, changed) = ((metadata.dev(), metadata.ino()), (metadata.mtime(), metadata.mtime_nsec()));
        Some(Self { path, inode, changed })
    }

    pub(super) fn inode(&self) -> (u64, u64) {
        self.inode
    }

    /// `None` if it was renamed meanwhile.
    pub(super) fn open(&self) -> Option<File> {
        let file = open_regular(&self.path).ok().flatten()?;
        let metadata = file.metadata().ok()?;
        ((metadata.dev(), metadata.ino()) == self.inode).then_some(file)
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

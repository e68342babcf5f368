//! Files beside a log that carry its name and more: what rotation made of it.

use super::open_regular;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

/// Seconds and nanoseconds of the last change of a file's content.
pub(super) type FileTime = (i64, i64);

/// Most files that are looked at in a directory.
const ENTRIES_MAX: usize = 4_096;
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
    /// Regular files in the directory of `path` whose name begins with its name, compressed ones left out.
    pub(super) fn of(path: &Path) -> Self {
        let (Some(directory), Some(name)) = (path.parent(), path.file_name()) else { return Self(Vec::new()) };
        let entries = std::fs::read_dir(directory).into_iter().flatten().take(ENTRIES_MAX).flatten();
        let is_rotated = |bytes: &[u8]| {
            bytes.starts_with(name.as_bytes()) && !COMPRESSED.iter().any(|ending| bytes.ends_with(ending))
        };
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

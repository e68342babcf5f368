//! Watched files: a change of content is told with the digests before and after, never with the content.
//!
//! A file is looked at each second by its metadata and read only if they differ, or if they are so young that a
//! further edit might not show in them. A file that is gone is believed only at the second look, since editors remove
//! and write again. The state survives restarts, so an edit made meanwhile is told as well.

mod state;

#[cfg(test)]
mod tests;

use crate::config::FileConfig;
use crate::source::Root;
use state::{State, Stored};
use std::fs::{Metadata, OpenOptions};
use std::io::{self, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};
use vedette_protocol::ids::{ChangeId, Digest};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::{Change, ChangeKind};

/// Largest file that is read; a larger one has no digest and its edits are not told.
pub const FILE_BYTES_MAX: u64 = 16 << 20;
/// Metadata younger than this may stay the same over a further edit: kernels keep times in steps.
const SETTLED_AFTER_NS: u64 = 2_000_000_000;
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// What was counted since the watch was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct WatchCounts {
    /// Changes told.
    pub changes: u64,
    /// Looks at a file that could not be looked at or read: no permission, a loop of links, an error of the device.
    pub unreadable: u64,
    /// Looks at a file that was too large or no regular file.
    pub unfit: u64,
}

/// Watched files.
#[derive(Debug)]
pub struct Watch {
    files: Vec<Watched>,
    counts: WatchCounts,
    /// Another file cannot be seen, or for another reason, than when that was last asked for.
    has_news: bool,
}

#[derive(Debug)]
struct Watched {
    file: FileConfig,
    /// Where it is under the movable root.
    path: PathBuf,
    /// What was last told; `None` before the first look at a file that was never watched before.
    known: Option<Stored>,
    seen: Option<Look>,
    was_missing: bool,
    /// Why the last look showed nothing that can be compared.
    unseen: Option<String>,
}

/// Metadata that change when content does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Look {
    device: u64,
    inode: u64,
    bytes: u64,
    modified_ns: i64,
    changed_ns: i64,
    is_settled: bool,
}

/// What one look found.
#[derive(Debug)]
pub(crate) enum Found {
    /// As at the last look.
    Unchanged,
    /// Read.
    Content(Digest, Look),
    /// Nothing there.
    Missing,
    /// Too large, or no regular file.
    Unfit,
    /// Not to be looked at or read.
    Unknown(io::Error),
}

impl Watch {
    /// Watches files of the host under `root`. What is found first is the base of comparison and no change; a file that
    /// is a symbolic link is followed.
    pub fn open(watched: &[FileConfig], root: &Root) -> Self {
        let files = watched.iter().map(|file| Watched {
            file: file.clone(),
            path: root.host(&file.path),
            known: None,
            seen: None,
            was_missing: false,
            unseen: None,
        });
        Self { files: files.collect(), counts: WatchCounts::default(), has_news: true }
    }

    /// Compares with what an earlier run told, its [`Watch::state`], so that what has changed since is told; what it did
    /// not make is ignored.
    #[must_use]
    pub fn resume(mut self, stored: &[u8]) -> Self {
        if let Some(stored) = State::decode(stored) {
            for watched in &mut self.files {
                watched.known = stored.files.get(watched.key()).copied();
            }
        }
        self
    }

    /// The same watch over other files: those that were watched before are compared with what they were.
    #[must_use]
    pub fn over(self, files: &[FileConfig], root: &Root) -> Self {
        let Self { counts, .. } = self;
        Self { counts, ..Self::open(files, root).resume(&self.state()) }
    }

    /// What was counted since the watch was opened.
    pub fn counts(&self) -> WatchCounts {
        self.counts
    }

    /// What was told so far, for [`Watch::resume`] after a restart.
    pub fn state(&self) -> Vec<u8> {
        let file = |file: &Watched| Some((file.key().to_vec(), file.known?));
        State { files: self.files.iter().filter_map(file).collect() }.encode()
    }

    /// Looks at every file and tells what has changed since the last look. `now` is the host's wall clock.
    pub fn poll(&mut self, now: WallTime, sink: &mut dyn FnMut(Change)) {
        for file in &mut self.files {
            let found = look(&file.path, file.seen, now);
            self.has_news |= file.note_unseen(&found);
            if let Some(change) = file.compare(found, now, &mut self.counts) {
                self.counts.changes += 1;
                sink(change);
            }
        }
    }

    /// Files of which the last look showed nothing that can be compared, with the reason; `None` if that is as it was.
    pub fn take_unseen(&mut self) -> Option<Vec<(String, String)>> {
        let unseen = |file: &Watched| Some((file.file.path.display().to_string(), file.unseen.clone()?));
        std::mem::take(&mut self.has_news).then(|| self.files.iter().filter_map(unseen).collect())
    }
}

impl Watched {
    fn key(&self) -> &[u8] {
        self.file.path.as_os_str().as_bytes()
    }

    /// Keeps why a look showed nothing. Whether that is news; said once.
    fn note_unseen(&mut self, found: &Found) -> bool {
        let path = || self.path.display();
        let unseen = match found {
            Found::Unknown(error) if error.kind() == io::ErrorKind::PermissionDenied => {
                Some(format!("no permission to read {}", path()))
            }
            Found::Unknown(error) => Some(format!("reading {}: {error}", path())),
            Found::Unfit => Some(format!("{} is too large, or no regular file", path())),
            Found::Unchanged | Found::Content(..) | Found::Missing => None,
        };
        let is_news = unseen != self.unseen;
        if let Some(reason) = unseen.as_ref().filter(|_| is_news) {
            tracing::warn!(reason, "watched file cannot be compared");
        }
        self.unseen = unseen;
        is_news
    }

    fn compare(&mut self, found: Found, now: WallTime, counts: &mut WatchCounts) -> Option<Change> {
        let after = match found {
            Found::Unchanged => return None,
            Found::Unfit => {
                counts.unfit += 1;
                return None;
            }
            Found::Unknown(_) => {
                counts.unreadable += 1;
                return None;
            }
            Found::Missing if !std::mem::replace(&mut self.was_missing, true) && self.known.is_some() => return None,
            Found::Missing => {
                self.seen = None;
                Stored::Missing
            }
            Found::Content(digest, seen) => {
                self.seen = Some(seen);
                self.was_missing = false;
                Stored::Content(digest)
            }
        };
        let before = self.known.replace(after)?;
        self.change(before, after, now)
    }

    /// The id is made of what makes the change, so that telling it again after a crash is telling the same.
    fn change(&self, before: Stored, after: Stored, now: WallTime) -> Option<Change> {
        let kind = match (before, after) {
            (Stored::Missing, Stored::Content(_)) => ChangeKind::FileCreated,
            (Stored::Content(_), Stored::Missing) => ChangeKind::FileRemoved,
            (Stored::Content(a), Stored::Content(b)) if a != b => ChangeKind::FileEdited,
            _ => return None,
        };
        let modified_ns = self.seen.map_or(0, |look| look.modified_ns).to_le_bytes();
        let (before, after) = (before.digest(), after.digest());
        let bytes = |digest: Option<Digest>| digest.map_or([0; 32], |digest| digest.0);
        Some(Change {
            id: change_id(&[b"file", self.key(), &bytes(before), &bytes(after), &modified_ns]),
            kind,
            target: self.file.path.to_string_lossy().into_owned(),
            service: self.file.service.clone(),
            at: now,
            before,
            after,
        })
    }
}

/// Looks at a file and reads it unless it is as it was `seen`.
pub(crate) fn look(path: &Path, seen: Option<Look>, now: WallTime) -> Found {
    let metadata = match std::fs::metadata(path) {
        Ok(metadata) => metadata,
        Err(error) => return missing_or_unknown(error),
    };
    if !metadata.is_file() || metadata.len() > FILE_BYTES_MAX {
        return Found::Unfit;
    }
    let look = Look::of(&metadata, now);
    if seen.is_some_and(|seen| seen.is_settled && seen.same(&look)) {
        return Found::Unchanged;
    }
    match digest(path) {
        Ok(Some(digest)) => Found::Content(digest, look),
        Ok(None) => Found::Unfit,
        Err(error) => missing_or_unknown(error),
    }
}

fn missing_or_unknown(error: io::Error) -> Found {
    match error.kind() {
        io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Found::Missing,
        _ => Found::Unknown(error),
    }
}

/// When a file's content changed, as it says itself.
pub(crate) fn modified(metadata: &Metadata) -> WallTime {
    WallTime { unix_ns: nanoseconds(metadata.mtime(), metadata.mtime_nsec()) }
}

/// When a file changed, as the filesystem says.
pub(crate) fn changed(metadata: &Metadata) -> WallTime {
    WallTime { unix_ns: nanoseconds(metadata.ctime(), metadata.ctime_nsec()) }
}

fn nanoseconds(s: i64, ns: i64) -> i64 {
    s.saturating_mul(1_000_000_000).saturating_add(ns)
}

/// `None` if it grew too large or became something else meanwhile. Opening a pipe would wait, hence the flag.
fn digest(path: &Path) -> io::Result<Option<Digest>> {
    let file = OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path)?;
    if !file.metadata()?.is_file() {
        return Ok(None);
    }
    let mut content = Vec::new();
    file.take(FILE_BYTES_MAX + 1).read_to_end(&mut content)?;
    Ok((content.len() as u64 <= FILE_BYTES_MAX).then(|| Digest::of(&content)))
}

impl Look {
    fn of(metadata: &Metadata, now: WallTime) -> Self {
        let changed_ns = changed(metadata).unix_ns;
        Self {
            device: metadata.dev(),
            inode: metadata.ino(),
            bytes: metadata.len(),
            modified_ns: modified(metadata).unix_ns,
            changed_ns,
            // A time in the future was given before the clock was set back: an edit from now on has another one.
            is_settled: now.unix_ns.abs_diff(changed_ns) >= SETTLED_AFTER_NS,
        }
    }

    /// When it changed.
    pub(crate) fn changed(&self) -> WallTime {
        WallTime { unix_ns: self.changed_ns }
    }

    /// The same but for their age.
    fn same(&self, other: &Self) -> bool {
        Self { is_settled: true, ..*self } == Self { is_settled: true, ..*other }
    }
}

fn change_id(parts: &[&[u8]]) -> ChangeId {
    let mut bytes = Vec::new();
    for part in parts {
        bytes.extend((part.len() as u64).to_le_bytes());
        bytes.extend_from_slice(part);
    }
    let digest = Digest::of(&bytes).0;
    ChangeId(std::array::from_fn(|index| digest[index]))
}

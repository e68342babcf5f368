//! Following a log file: every full line once, over rotation by renaming, truncation and restarts.
//!
//! A file is known by device, inode and its first bytes, so a reused inode is another file. When the path names another
//! file, the one before is read to its end and for a few polls more, because its writer may hold it a little longer; so
//! are files that came and went between two polls. Truncation is noticed by size and by the first bytes. What a
//! truncation cut off before it was read is lost, as is what was written between the copying and the cutting of
//! `copytruncate`.

mod follower;
mod position;
mod siblings;

#[cfg(test)]
mod tests;

use follower::{Ended, Follower};
use position::{Place, Position};
use siblings::{FileTime, Siblings};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Most bytes that one poll reads; what is left waits for the next.
pub const POLL_BYTES_MAX: u64 = POLL_BYTES as u64;
pub(crate) const POLL_BYTES: usize = 256 << 10;
/// Longest line that is handed over; the rest of a longer one is left out and the line is counted.
pub const LINE_BYTES_MAX: usize = 16 * 1_024;
/// A file that is seen for the first time is read from at most this far before its end.
pub const BACKLOG_BYTES_MAX: u64 = 4 << 20;
/// Most files of one log that are open at once; more rotations within a few polls close the oldest.
pub const FILES_OPEN_MAX: usize = 8;
/// Bytes that one of them holds: what is read at once beside an unfinished line, and its first bytes.
pub(crate) const OPEN_FILE_BYTES_MAX: usize = follower::READ_BYTES + 2 * LINE_BYTES_MAX + 1_024;
/// Polls without a new byte after which a file that was renamed is closed.
pub const QUIET_POLLS_MAX: u32 = 5;
/// Files that are remembered as read to their end.
const FINISHED_MAX: usize = 64;
/// Most of them that a position tells of.
const FINISHED_TOLD_MAX: usize = 8;
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// What was counted since the file was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TailCounts {
    /// Lines handed over.
    pub lines: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Times that the path came to name another file.
    pub rotations: u64,
    /// Times that the file was cut.
    pub truncations: u64,
    /// Lines of which only the first [`LINE_BYTES_MAX`] bytes were handed over.
    pub lines_cut: u64,
    /// Bytes of unfinished lines that a truncation took away.
    pub bytes_lost: u64,
    /// Bytes before the backlog of a file that was seen for the first time.
    pub bytes_skipped: u64,
    /// Files that were closed before they were read to their end: too many were open, or reading failed.
    pub files_abandoned: u64,
}

/// What one poll did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Polled {
    /// Lines handed over.
    pub lines: u64,
    /// Bytes read.
    pub bytes: u64,
    /// More can be read at once.
    pub more: bool,
}

/// A log file that is followed. It need not be there yet.
#[derive(Debug)]
pub struct Tail {
    path: PathBuf,
    /// Oldest first; the last one is the current unless the path names none.
    files: VecDeque<Follower>,
    /// Whether the last of `files` is the one that the path named when it was last looked at.
    has_current: bool,
    /// Files that were read to their end, with the time of their last change, oldest first.
    finished: VecDeque<(Place, FileTime)>,
    /// No file was seen yet: the first one is old, those that follow are new.
    is_first: bool,
    counts: TailCounts,
}

impl Tail {
    /// Follows `path`, from where `resume` (a [`Tail::position`]) ended.
    ///
    /// Without a position, or with one that does not fit any file there, a file that exists is read from at most
    /// [`BACKLOG_BYTES_MAX`] before its end. Files that were rotated since the position was taken are read first.
    pub fn open(path: &Path, resume: Option<&[u8]>) -> Self {
        let mut tail = Self {
            path: path.to_owned(),
            files: VecDeque::new(),
            has_current: false,
            finished: VecDeque::new(),
            is_first: true,
            counts: TailCounts::default(),
        };
        if let Some(position) = resume.and_then(Position::decode) {
            tail.resume(&position);
        }
        tail
    }

    /// The path that is followed.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// What was counted since the file was opened.
    pub fn counts(&self) -> TailCounts {
        self.counts
    }

    /// Where the lines handed over so far end, for [`Tail::open`] after a restart.
    pub fn position(&self) -> Vec<u8> {
        // A finished file that was changed no earlier than the last open one would be taken for an unread one.
        let last = self.files.back().and_then(Follower::changed_at);
        let ambiguous = self.finished.iter().filter(|(_, changed)| last.is_none_or(|last| *changed >= last));
        let skipped = ambiguous.clone().count().saturating_sub(FINISHED_TOLD_MAX);
        let finished = ambiguous.skip(skipped).map(|(place, _)| *place);
        Position { places: finished.chain(self.files.iter().map(Follower::place)).collect() }.encode()
    }

    /// Reads what is new and hands each full line to `sink`, without its end.
    ///
    /// # Errors
    ///
    /// The path or an open file cannot be read; that it is not there is no error. The next poll tries again.
    pub fn poll(&mut self, sink: &mut dyn FnMut(&[u8])) -> io::Result<Polled> {
        let before = self.counts;
        self.look()?;
        let mut left = POLL_BYTES_MAX;
        let count = self.files.len();
        for (index, file) in self.files.iter_mut().enumerate() {
            match file.read(left, &mut self.counts, sink) {
                Ok(bytes) => left -= bytes,
                Err(error) if index + 1 == count => return Err(error),
                Err(_) => {
                    self.counts.files_abandoned += 1;
                    file.give_up();
                }
            }
            if left == 0 {
                break; // A later file must not overtake this one.
            }
        }
        self.retire(sink);
        Ok(Polled { lines: self.counts.lines - before.lines, bytes: self.counts.bytes - before.bytes, more: left == 0 })
    }

    /// Finds out whether the path names the file that it named before.
    fn look(&mut self) -> io::Result<()> {
        let metadata = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.leave_current();
                return Ok(());
            }
            Err(error) => return Err(error),
        };
        let named = (metadata.dev(), metadata.ino());
        if let Some(index) = self.files.iter().position(|file| file.inode() == named) {
            // It may have been renamed back, or the path may have named nothing for a while.
            let file = self.files.remove(index).expect("it was just found there");
            self.files.push_back(file);
            self.has_current = true;
            return Ok(());
        }
        let Some(file) = open_regular(&self.path)? else { return Ok(()) };
        self.switch_to(file)
    }

    /// Takes a file that the path came to name, after those that came and went since the last look.
    fn switch_to(&mut self, file: File) -> io::Result<()> {
        self.leave_current();
        if std::mem::take(&mut self.is_first) {
            let follower = Follower::from_backlog(file, BACKLOG_BYTES_MAX, &mut self.counts)?;
            self.push(follower);
        } else {
            let follower = Follower::from_start(file)?;
            self.counts.rotations += 1;
            self.adopt_missed(follower.inode());
            // A file that was renamed away for long and is back again goes on where it was left.
            let known = self.finished.iter().find(|(place, _)| follower.is(&place.identity)).map(|(place, _)| *place);
            self.push(match known {
                Some(Place { offset, in_cut_line, .. }) => follower.at(offset, in_cut_line),
                None => follower,
            });
        }
        self.has_current = true;
        Ok(())
    }

    /// The path does not name the current file any more: from now on it is waited for its last lines.
    fn leave_current(&mut self) {
        if std::mem::take(&mut self.has_current)
            && let Some(file) = self.files.back_mut()
        {
            file.await_end();
        }
    }

    /// Between two looks the path may have named files that have other names by now: those that were changed after
    /// the last one that is known.
    fn adopt_missed(&mut self, current: (u64, u64)) {
        let Some(last) = self.files.back().and_then(Follower::changed_at) else { return };
        let known: Vec<_> = self.files.iter().map(Follower::inode).chain([current]).collect();
        for found in Siblings::of(&self.path).since(last) {
            let Some(file) = found.open().filter(|_| !known.contains(&found.inode())) else { continue };
            let Ok(follower) = Follower::from_start(file) else { continue };
            if !self.finished.iter().any(|(place, _)| follower.is(&place.identity)) {
                self.push(follower);
            }
        }
    }

    fn push(&mut self, follower: Follower) {
        if self.files.len() == FILES_OPEN_MAX {
            self.files.pop_front();
            self.counts.files_abandoned += 1;
        }
        self.files.push_back(follower);
    }

    /// Closes files that were renamed or removed and have been quiet for long enough. An unfinished last line is a
    /// line then.
    fn retire(&mut self, sink: &mut dyn FnMut(&[u8])) {
        let count = self.files.len();
        let mut index = 0;
        let (counts, finished, has_current) = (&mut self.counts, &mut self.finished, self.has_current);
        self.files.retain_mut(|file| {
            index += 1;
            let is_current = has_current && index == count;
            if is_current || file.ended(QUIET_POLLS_MAX) == Ended::NotYet {
                return true;
            }
            file.finish(counts, sink);
            if finished.len() == FINISHED_MAX {
                finished.pop_front();
            }
            finished.push_back((Place { is_finished: true, ..file.place() }, file.changed_at().unwrap_or_default()));
            false
        });
    }

    /// Finds the files of a position again, under whatever name, and those that were rotated after them.
    fn resume(&mut self, position: &Position) {
        // What else is there came later.
        self.is_first = false;
        let siblings = Siblings::of(&self.path);
        for place @ Place { identity, offset, in_cut_line, is_finished } in &position.places {
            let found = siblings.find(identity.inode()).and_then(|file| file.open());
            let Some(follower) = found.and_then(|file| Follower::from_start(file).ok()) else { continue };
            if !follower.is(identity) {
                continue; // The inode was used again.
            }
            if *is_finished {
                self.finished.push_back((*place, follower.changed_at().unwrap_or_default()));
                continue;
            }
            self.push(follower.at(*offset, *in_cut_line));
        }
        let current = std::fs::metadata(&self.path).ok().map(|metadata| (metadata.dev(), metadata.ino()));
        let last = self.files.back().map(Follower::inode);
        self.has_current = last.is_some() && last == current;
        if let Some(current) = current.filter(|_| last.is_some() && !self.has_current) {
            self.adopt_missed(current);
        }
    }
}

/// `None` for what is no regular file: a pipe or a device is not followed. Opening never waits.
fn open_regular(path: &Path) -> io::Result<Option<File>> {
    let opened = std::fs::OpenOptions::new().read(true).custom_flags(NONBLOCK).open(path);
    let file = match opened {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(error),
    };
    Ok(file.metadata()?.is_file().then_some(file))
}

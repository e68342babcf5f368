//! Following a log file: every full line once, over every usual way of rotation and over restarts.
//!
//! # Which file it is
//!
//! What was read is known by the first bytes of its file, at most 256, and by the last bytes before the place where reading
//! stands, at most 32. A file is the same one if device and inode are the same, and what was read is still in it. So a
//! reused inode is another file, and so are two files with the same first lines. Names only say where to look. A symbolic
//! link is followed at each look, and files are looked for beside the link and beside what it names.
//!
//! | what happens | what is read |
//! |---|---|
//! | renamed, another file under the path | the one before to its end and for a few polls more, since its writer may hold it a little longer; then the new one from its start |
//! | came and went between two polls | if it is beside the path with a mark of rotation (`.1`, `-20260301`, `.old`), all of it; otherwise nobody can know of it |
//! | renamed and compressed | what is open is read to its end, although its name is gone; after a restart it is counted ([`TailCounts::files_gone`]). Compressed files are never read: they hold what was read before |
//! | cut (`copytruncate`) | the rest of its copy, if that is beside the path with a mark of rotation; then the file from its start, counted ([`TailCounts::truncations`]). It is noticed by its length, its first bytes and the bytes before the place where reading stands. Without a copy, what was cut off unread is lost |
//! | copied, and not cut | nothing of the copy |
//! | removed and made anew | as renamed |
//! | away, then back | on from where it was left |
//! | agent down meanwhile | every file of the position under whatever name in these directories, or its copy; then those that were made after them |
//!
//! # What nobody can know
//!
//! - What was written between copying and cutting is in neither file.
//! - What came and went between two polls and is compressed or removed by then was never seen, and is not counted.
//! - A file that is cut and written again with the very bytes that stood at its start and before the place where reading
//!   stands looks as if nothing had happened.
//! - Of two files with the same bytes at the start and where the shorter one ends, one is taken for a copy of the other; or
//!   with the same first line, if one was cut and the other has less than 256 bytes.
//! - A file is taken for new if it was changed since the last look at the others. After the clock was set back, one that
//!   came and went between two polls is not seen until the clock is where it was.
//!
//! # Globs
//!
//! The files that match a glob are one log: each is followed as long as it is there, wherever it is renamed to, and
//! what is said above holds for each. New ones are taken at the next poll, from their start; those that are gone are forgotten
//! once they were quiet. Where more match than are followed, those that were quiet for a while make room; the others wait.
//!
//! Lines that belong together are handed over together. Such an event is whole after a restart too: a position lies
//! before the first line that was not handed over.

mod event;
mod follower;
mod names;
mod position;
mod siblings;
mod survey;

#[cfg(test)]
mod tests;

pub use event::Joining;
use follower::Follower;
use names::Names;
pub use names::{GLOB_DIRECTORIES_MAX, is_glob, is_named_by};
use position::{Place, Position};
use siblings::{FileTime, inode_of};
use std::collections::VecDeque;
use std::fs::File;
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};

/// Most bytes that one poll reads; what is left waits for the next.
pub const POLL_BYTES_MAX: u64 = POLL_BYTES as u64;
pub(crate) const POLL_BYTES: usize = 256 << 10;
/// Longest line that is handed over; the rest of a longer one is left out and the line is counted.
pub const LINE_BYTES_MAX: usize = 16 * 1_024;
/// Longest event of several lines that is handed over; what comes after is left out and the event is counted.
pub const EVENT_BYTES_MAX: usize = 8 * 1_024;
/// Most lines of one event; the next one begins another.
pub const EVENT_LINES_MAX: u32 = 512;
/// Polls after which an event is handed over, whatever it may still wait for.
pub const EVENT_POLLS_MAX: u32 = 5;
/// A file that is seen for the first time is read from at most this far before its end.
pub const BACKLOG_BYTES_MAX: u64 = 4 << 20;
/// Most files of one log that are open at once, and as many copies of those that were cut. More rotations within a few polls
/// close the oldest once it is read to its end; until then the newest wait.
pub const FILES_OPEN_MAX: usize = 8;
/// Bytes that one of them holds: what is read at once beside an unfinished line, its first bytes, an event.
pub(crate) const OPEN_FILE_BYTES_MAX: usize = follower::READ_BYTES + 2 * LINE_BYTES_MAX + 2 * EVENT_BYTES_MAX + 1_024;
/// Polls without a new byte after which a file that was renamed is closed; as many after a rotation look at the files beside
/// the log once more.
pub const QUIET_POLLS_MAX: u32 = 5;
/// Most files of a glob that are followed at once.
pub const GLOB_FILES_MAX: usize = 64;
/// Polls without a new byte after which a file of a glob makes room for another one.
pub const GLOB_QUIET_POLLS: u32 = 60;
/// Most bytes of one file of a glob that one poll reads, so that none of them starves the others.
const GLOB_SHARE_BYTES: u64 = POLL_BYTES_MAX / 2;
/// Most bytes that one poll of a glob hands over: what it reads, and of each file what waited for its end.
pub(crate) const GLOB_POLL_BYTES: usize = POLL_BYTES + GLOB_FILES_MAX * (LINE_BYTES_MAX + EVENT_BYTES_MAX);
/// Longest [`Tail::position`].
pub(crate) const POSITION_BYTES_MAX: usize = position::BYTES_MAX;
/// Files that are remembered as read.
const FINISHED_MAX: usize = 256;
/// Most of them that a position tells of.
const FINISHED_TOLD_MAX: usize = 32;
/// Before every change of a file.
const NEVER: FileTime = (i64::MIN, 0);
/// Bytes that a log's remembered files take, and one look at the files beside it.
pub(crate) const KNOWN_BYTES_MAX: usize = FINISHED_MAX * (size_of::<(Place, FileTime)>() + 16) + (1 << 20);
const NONBLOCK: i32 = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();

/// What was counted since the file was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct TailCounts {
    /// Lines handed over, an event of several lines as one.
    pub lines: u64,
    /// Further lines of those events.
    pub lines_joined: u64,
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
    /// Files of a position that were gone after a restart, or were other ones: what they held beyond it was not read.
    pub files_gone: u64,
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
    names: Names,
    joining: Joining,
    /// Oldest first; what the path names comes last.
    files: VecDeque<Follower>,
    /// Files of a glob that are not read because too many are followed.
    waiting: usize,
    /// File of a glob to begin with.
    turn: usize,
    /// Files that were read to their end or are not to be read, with the time of their last change, oldest first.
    finished: VecDeque<(Place, FileTime)>,
    /// What is beside the path and was changed before this was read, or was there at the first look.
    since: FileTime,
    /// Polls that look at the files beside the log, whatever happens.
    looks: u32,
    /// Where reading began, once it has.
    begun: Option<Vec<u8>>,
    counts: TailCounts,
}

impl Tail {
    /// Follows `path`, or all files that match it, from where `resume` (a [`Tail::position`]) ended.
    ///
    /// Without a position, or with one that does not fit any file there, a file that exists is read from at most
    /// [`BACKLOG_BYTES_MAX`] before its end. Files that were rotated since the position was taken are read first.
    pub fn open(path: &Path, joining: Joining, resume: Option<&[u8]>) -> Self {
        let mut tail = Self {
            path: path.to_owned(),
            names: Names::of(path),
            joining,
            files: VecDeque::new(),
            waiting: 0,
            turn: 0,
            finished: VecDeque::new(),
            since: NEVER,
            looks: 0,
            begun: None,
            counts: TailCounts::default(),
        };
        if let Some(position) = resume.and_then(Position::decode) {
            tail.resume(&position);
        }
        tail
    }

    /// Follows the same file with its lines joined in this way; what is not handed over yet is read once more.
    pub fn joining_as(self, joining: &Joining) -> Self {
        if self.joining == *joining {
            return self;
        }
        let position = self.position();
        Self { counts: self.counts, ..Self::open(&self.path, joining.clone(), Some(&position)) }
    }

    /// Files that the path names and that are followed.
    pub fn followed(&self) -> usize {
        self.files.iter().filter(|file| file.is_named).count()
    }

    /// Files that match, and wait until there is room for one more.
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// What was counted since the file was opened.
    pub fn counts(&self) -> TailCounts {
        self.counts
    }

    /// Where the lines handed over so far end, for [`Tail::open`] after a restart.
    pub fn position(&self) -> Vec<u8> {
        // Those that would be taken for unread ones; of a glob also those that made room for others.
        let is_ambiguous = |changed: FileTime| changed >= self.since || !self.names.is_one();
        let ambiguous = self.finished.iter().filter(|(_, changed)| is_ambiguous(*changed));
        let skipped = ambiguous.clone().count().saturating_sub(FINISHED_TOLD_MAX);
        let finished = ambiguous.skip(skipped).map(|(place, _)| *place);
        // One in which nothing was seen yet is new after a restart, too: its inode alone says nothing.
        let open = self.files.iter().map(Follower::place).filter(|place| !place.content.is_empty());
        Position { since: self.since, places: finished.chain(open).collect() }.encode()
    }

    /// The position before the first line of a log that was not followed before; once.
    pub fn take_begun(&mut self) -> Option<Vec<u8>> {
        self.begun.take()
    }

    /// Reads what is new and hands each full line to `sink`, without its end.
    ///
    /// # Errors
    ///
    /// The path or an open file cannot be read; that it is not there is no error. The next poll tries again.
    pub fn poll(&mut self, sink: &mut dyn FnMut(&[u8])) -> io::Result<Polled> {
        let (before, was_unseen) = (self.counts, self.since == NEVER);
        self.mend_cuts(sink);
        let new = self.look()?;
        let is_unread = self.files.iter().any(|file| file.is_named && file.is_empty());
        let is_first = self.since == NEVER && new.is_none();
        let is_due = (self.looks > 0 || is_unread || new.is_some()) && !is_first;
        let mut known = None;
        if is_due || !self.names.is_one() {
            self.looks = self.looks.saturating_sub(1);
            known = self.survey(new.as_ref(), sink);
            if known.is_none() {
                self.looks = self.looks.max(1);
            }
        }
        let is_taken = match new {
            Some(file) => self.take(file, sink)?,
            None => true,
        };
        if let Some(known) = known.filter(|_| is_taken) {
            self.since = self.since.max(known);
        }
        if was_unseen && self.since != NEVER {
            self.begun = Some(self.position());
        }
        let more = self.read(sink)?;
        self.retire(sink);
        Ok(Polled { lines: self.counts.lines - before.lines, bytes: self.counts.bytes - before.bytes, more })
    }

    /// Reads all files in turn. Returns whether there is more than one poll reads.
    fn read(&mut self, sink: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        let (count, is_one) = (self.files.len(), self.names.is_one());
        let share = if is_one { POLL_BYTES_MAX } else { GLOB_SHARE_BYTES };
        let (mut left, mut more) = (POLL_BYTES_MAX, false);
        let first = if is_one { 0 } else { self.turn };
        for index in (0..count).map(|nth| (first + nth) % count) {
            let bytes_max = left.min(share);
            match self.files[index].read(bytes_max, &mut self.counts, sink) {
                Ok(bytes) => {
                    left -= bytes;
                    more |= bytes == bytes_max;
                }
                Err(error) if is_one && index + 1 == count => return Err(error),
                Err(_) => {
                    self.counts.files_abandoned += 1;
                    self.files[index].give_up();
                }
            }
            if left == 0 {
                self.turn = index + 1;
                break; // A later file must not overtake this one.
            }
        }
        Ok(more)
    }

    /// Finds out whether the path names the file that it named before. Returns another one.
    fn look(&mut self) -> io::Result<Option<Follower>> {
        let Names::One(path) = &self.names else { return Ok(None) };
        let metadata = match std::fs::metadata(path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.files.iter_mut().for_each(Follower::leave);
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let named = inode_of(&metadata);
        if let Some(index) = self.files.iter().position(|file| file.inode() == named) {
            if !self.files[index].is_named {
                self.files.iter_mut().for_each(Follower::leave);
                // It may have been renamed back, or the path may have named nothing for a while.
                let mut file = self.files.remove(index).expect("it was just found there");
                file.is_named = true;
                self.files.push_back(file);
            }
            return Ok(None);
        }
        self.files.iter_mut().for_each(Follower::leave);
        let Some(file) = open_regular(path)? else { return Ok(None) };
        let new = Follower::from_start(file, &self.joining)?;
        // It may have been renamed back since it was looked for.
        Ok(Some(new).filter(|new| !self.is_open(new.inode())))
    }

    /// Takes a file that the path came to name. Returns whether there was room for it.
    fn take(&mut self, new: Follower, sink: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        if !self.make_room(false, sink) {
            return Ok(false);
        }
        let is_first = self.since == NEVER;
        // A file that was renamed away for long and is back again goes on where it was left.
        let known = self.finished.iter().find(|(place, _)| new.is(place)).map(|(place, _)| *place);
        let mut new = match known {
            _ if is_first => new.at_backlog(BACKLOG_BYTES_MAX, &mut self.counts)?,
            Some(Place { offset, in_cut_line, .. }) => new.at(offset, in_cut_line)?,
            None => new,
        };
        self.counts.rotations += u64::from(!is_first);
        new.is_named = true;
        self.files.push_back(new);
        self.looks = QUIET_POLLS_MAX;
        Ok(true)
    }

    /// Closes files that were renamed or removed and have been quiet for long enough.
    fn retire(&mut self, sink: &mut dyn FnMut(&[u8])) {
        for index in (0..self.files.len()).rev() {
            if !self.files[index].is_named && self.files[index].is_quiet(QUIET_POLLS_MAX) {
                self.close(index, sink);
            }
        }
    }

    /// Closes a file. An unfinished last line is a line then, unless the file only makes room.
    fn close(&mut self, index: usize, sink: &mut dyn FnMut(&[u8])) {
        if let Some(mut file) = self.files.remove(index) {
            if !file.is_named {
                file.finish(&mut self.counts, sink);
            }
            self.remember(file.place(), file.changed_at());
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

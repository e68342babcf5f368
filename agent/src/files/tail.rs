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
//! Lines that belong together are handed over together. Such an event is whole after a restart too: a position lies
//! before the first line that was not handed over.

mod event;
mod follower;
mod position;
mod siblings;

#[cfg(test)]
mod tests;

pub use event::Joining;
use follower::Follower;
use position::{Place, Position};
use rustix::time::{ClockId, clock_gettime};
use siblings::{FileTime, Siblings, inode_of};
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
/// Files that are remembered as read.
const FINISHED_MAX: usize = 64;
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
    joining: Joining,
    /// Oldest first; the last one is the current unless the path names none.
    files: VecDeque<Follower>,
    /// Whether the last of `files` is the one that the path named when it was last looked at.
    has_current: bool,
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
    /// Follows `path`, from where `resume` (a [`Tail::position`]) ended.
    ///
    /// Without a position, or with one that does not fit any file there, a file that exists is read from at most
    /// [`BACKLOG_BYTES_MAX`] before its end. Files that were rotated since the position was taken are read first.
    pub fn open(path: &Path, joining: Joining, resume: Option<&[u8]>) -> Self {
        let mut tail = Self {
            path: path.to_owned(),
            joining,
            files: VecDeque::new(),
            has_current: false,
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

    /// What was counted since the file was opened.
    pub fn counts(&self) -> TailCounts {
        self.counts
    }

    /// Where the lines handed over so far end, for [`Tail::open`] after a restart.
    pub fn position(&self) -> Vec<u8> {
        // Those that would be taken for unread ones.
        let ambiguous = self.finished.iter().filter(|(_, changed)| *changed >= self.since);
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
        let is_unread = self.has_current && self.files.back().is_some_and(Follower::is_empty);
        let is_first = self.since == NEVER && new.is_none();
        let mut known = None;
        if (self.looks > 0 || is_unread || new.is_some()) && !is_first {
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
        Ok(left == 0)
    }

    /// A file that was cut goes on where it stood in the copy of what it held, if there is one; then from its start.
    fn mend_cuts(&mut self, sink: &mut dyn FnMut(&[u8])) {
        let mut index = 0;
        while index < self.files.len() {
            if self.files[index].is_cut().unwrap_or(false) {
                self.looks = QUIET_POLLS_MAX;
                self.counts.truncations += 1;
                let place = self.files[index].place();
                match self.copy_of(&place, &Siblings::of(&self.path)) {
                    Some(copy) if self.files.len() < 2 * FILES_OPEN_MAX => {
                        self.files.insert(index, copy);
                        index += 1;
                    }
                    copy => {
                        self.counts.files_abandoned += u64::from(copy.is_some());
                        self.files[index].lose(&mut self.counts, sink);
                    }
                }
                if !self.has_current || index + 1 < self.files.len() {
                    // What is in it now may be anything: it is looked at with the others beside the path.
                    self.files.remove(index);
                    continue;
                }
                self.files[index].restart();
            }
            index += 1;
        }
    }

    /// The longest of the other files that hold what was read at `place`, at that place. The others have nothing new, nor has
    /// one that was made before the last of it was read.
    fn copy_of(&mut self, place: &Place, siblings: &Siblings) -> Option<Follower> {
        let mut longest: Option<Follower> = None;
        for sibling in siblings.iter().filter(|sibling| sibling.inode != place.inode) {
            if sibling.changed < self.since || self.is_open(sibling.inode) {
                continue;
            }
            let Some(found) = self.opened(sibling.open()) else { continue };
            let other = match &longest {
                _ if found.is_before_end_of(&place.content) => Some(found),
                _ if !found.holds(&place.content) => None,
                Some(known) if known.length() >= found.length() => Some(found),
                _ => longest.replace(found),
            };
            if let Some(other) = other {
                self.forgo(other);
            }
        }
        longest?.at(place.offset, place.in_cut_line).ok()
    }

    /// Finds out whether the path names the file that it named before. Returns another one.
    fn look(&mut self) -> io::Result<Option<Follower>> {
        let metadata = match std::fs::metadata(&self.path) {
            Ok(metadata) => metadata,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                self.leave_current();
                return Ok(None);
            }
            Err(error) => return Err(error),
        };
        let named = inode_of(&metadata);
        if let Some(index) = self.files.iter().position(|file| file.inode() == named) {
            if !self.has_current || index + 1 < self.files.len() {
                self.leave_current();
                // It may have been renamed back, or the path may have named nothing for a while.
                let file = self.files.remove(index).expect("it was just found there");
                self.files.push_back(file);
                self.has_current = true;
            }
            return Ok(None);
        }
        self.leave_current();
        let Some(file) = open_regular(&self.path)? else { return Ok(None) };
        let new = Follower::from_start(file, &self.joining)?;
        // It may have been renamed back since it was looked for.
        Ok(Some(new).filter(|new| !self.is_open(new.inode())))
    }

    /// The path does not name the current file any more: from now on it is waited for its last lines.
    fn leave_current(&mut self) {
        if std::mem::take(&mut self.has_current)
            && let Some(file) = self.files.back_mut()
        {
            file.await_end();
        }
    }

    /// Takes a file that the path came to name. Returns whether there was room for it.
    fn take(&mut self, new: Follower, sink: &mut dyn FnMut(&[u8])) -> io::Result<bool> {
        if !self.make_room(sink) {
            return Ok(false);
        }
        let is_first = self.since == NEVER;
        // A file that was renamed away for long and is back again goes on where it was left.
        let known = self.finished.iter().find(|(place, _)| new.is(place)).map(|(place, _)| *place);
        let new = match known {
            _ if is_first => new.at_backlog(BACKLOG_BYTES_MAX, &mut self.counts)?,
            Some(Place { offset, in_cut_line, .. }) => new.at(offset, in_cut_line)?,
            None => new,
        };
        self.counts.rotations += u64::from(!is_first);
        self.files.push_back(new);
        (self.has_current, self.looks) = (true, QUIET_POLLS_MAX);
        Ok(true)
    }

    /// Takes the files beside the path that were changed since the last look, unless they are known. Returns until when all
    /// are, with the file that the path came to name: `None` if some have to wait.
    fn survey(&mut self, new: Option<&Follower>, sink: &mut dyn FnMut(&[u8])) -> Option<FileTime> {
        let siblings = Siblings::of(&self.path);
        let newest = siblings.iter().map(|sibling| sibling.changed).max()?.min(now());
        let is_first = self.since == NEVER;
        let since = if is_first { newest } else { self.since };
        let (mut unknown, mut all_known) = (VecDeque::new(), true);
        for sibling in siblings.iter().filter(|sibling| sibling.changed >= since) {
            if new.is_some_and(|new| new.inode() == sibling.inode) || self.is_open(sibling.inode) {
                continue;
            }
            let opened = sibling.open();
            // The path has come to name it since it was looked at, or it was renamed since.
            if sibling.is_named || matches!(opened, Ok(None)) {
                all_known = false;
                continue;
            }
            self.counts.files_abandoned += u64::from(opened.is_err());
            let Some(found) = self.opened(opened) else { continue };
            // What comes into an empty one changes it.
            if !found.is_empty() && !self.knows(&found, sibling.changed) {
                unknown.push_back(found);
            }
        }
        while let Some(found) = unknown.pop_front() {
            let mut others = self.files.iter().chain(new).chain(&unknown);
            if is_first || others.any(|file| found.is_copy_of(file)) {
                self.forgo(found);
            } else if self.make_room(sink) {
                self.files.insert(self.files.len() - usize::from(self.has_current), found);
            } else {
                all_known = false;
                break;
            }
        }
        (all_known || is_first).then_some(newest)
    }

    /// Whether a file was read before, or holds what was read of another one and nothing else.
    fn knows(&mut self, found: &Follower, changed: FileTime) -> bool {
        if let Some((_, last)) = self.finished.iter_mut().find(|(place, _)| found.is(place)) {
            *last = changed.max(*last);
            return true;
        }
        let copied = self.finished.iter().find(|(place, _)| found.is_all_of(&place.content)).map(|(place, _)| *place);
        if let Some(place) = copied {
            self.remember(Place { inode: found.inode(), ..place }, changed);
        }
        copied.is_some()
    }

    /// A file is not to be read as it is now.
    fn forgo(&mut self, found: Follower) {
        if let Ok(found) = found.at_end() {
            self.remember(Place { is_finished: true, ..found.place() }, found.changed_at());
        }
    }

    fn remember(&mut self, place: Place, changed: FileTime) {
        if place.content.is_empty() {
            return; // Any other file is the same so far.
        }
        self.finished.retain(|(other, _)| other.inode != place.inode);
        if self.finished.len() == FINISHED_MAX {
            self.finished.pop_front();
        }
        self.finished.push_back((Place { is_finished: true, ..place }, changed));
    }

    fn is_open(&self, inode: (u64, u64)) -> bool {
        self.files.iter().any(|file| file.inode() == inode)
    }

    fn opened(&self, file: io::Result<Option<File>>) -> Option<Follower> {
        Follower::from_start(file.ok().flatten()?, &self.joining).ok()
    }

    /// Sees to it that one more file can be open: closes the oldest that is read to its end, if there have to be fewer.
    fn make_room(&mut self, sink: &mut dyn FnMut(&[u8])) -> bool {
        if self.files.len() < FILES_OPEN_MAX {
            return true;
        }
        let others = self.files.len() - usize::from(self.has_current);
        let oldest = self.files.iter().take(others).position(Follower::is_at_end);
        if let Some(index) = oldest {
            self.close(index, sink);
        }
        oldest.is_some()
    }

    /// Closes files that were renamed or removed and have been quiet for long enough.
    fn retire(&mut self, sink: &mut dyn FnMut(&[u8])) {
        for index in (0..self.files.len() - usize::from(self.has_current)).rev() {
            if self.files[index].is_quiet(QUIET_POLLS_MAX) {
                self.close(index, sink);
            }
        }
    }

    /// Closes a file. An unfinished last line is a line then.
    fn close(&mut self, index: usize, sink: &mut dyn FnMut(&[u8])) {
        if let Some(mut file) = self.files.remove(index) {
            file.finish(&mut self.counts, sink);
            self.remember(file.place(), file.changed_at());
        }
    }

    /// Finds the files of a position again, under whatever name, or copies of those that were cut.
    fn resume(&mut self, position: &Position) {
        (self.since, self.looks) = (position.since, QUIET_POLLS_MAX);
        let siblings = Siblings::of(&self.path);
        for place in &position.places {
            let own = self.opened(Ok(siblings.open(place.inode)));
            let own = own.filter(|file| file.is(place));
            if place.is_finished {
                if let Some(file) = own {
                    self.remember(*place, file.changed_at());
                }
                continue;
            }
            let is_there = own.is_some();
            let found = match own {
                Some(file) => file.at(place.offset, place.in_cut_line).ok(),
                None => self.copy_of(place, &siblings),
            };
            self.counts.truncations += u64::from(!is_there && found.is_some());
            self.counts.files_gone += u64::from(found.is_none());
            self.files.extend(found);
        }
    }
}

/// The clock that local file systems take their times from.
fn now() -> FileTime {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    (now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or_default())
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

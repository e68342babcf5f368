//! Which files are to be read: those that are open and were cut, those that came and went, those that were there before a
//! restart.

use super::follower::Follower;
use super::position::{Place, Position};
use super::siblings::{FileTime, Siblings};
use super::{
    BACKLOG_BYTES_MAX, FILES_OPEN_MAX, FINISHED_MAX, GLOB_FILES_MAX, GLOB_QUIET_POLLS, NEVER, QUIET_POLLS_MAX, Tail,
};
use rustix::time::{ClockId, clock_gettime};
use std::collections::VecDeque;
use std::fs::File;
use std::io;

impl Tail {
    /// A file that was cut goes on where it stood in the copy of what it held, if there is one; then from its start.
    pub(super) fn mend_cuts(&mut self, sink: &mut dyn FnMut(&[u8])) {
        let mut index = 0;
        while index < self.files.len() {
            if self.files[index].is_cut().unwrap_or(false) {
                self.looks = QUIET_POLLS_MAX;
                self.counts.truncations += 1;
                let place = self.files[index].place();
                match self.copy_of(&place, &Siblings::of(&self.names)) {
                    Some(copy) if self.others() < 2 * FILES_OPEN_MAX => {
                        self.files.insert(index, copy);
                        index += 1;
                    }
                    copy => {
                        self.counts.files_abandoned += u64::from(copy.is_some());
                        self.files[index].lose(&mut self.counts, sink);
                    }
                }
                if !self.files[index].is_named {
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

    /// Finds the files of a position again, under whatever name, or copies of those that were cut.
    pub(super) fn resume(&mut self, position: &Position) {
        (self.since, self.looks) = (position.since, QUIET_POLLS_MAX);
        let siblings = Siblings::of(&self.names);
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

    /// Takes the files that were changed since the last look, unless they are known. Returns until when all are, with the
    /// file that the path came to name: `None` if some have to wait.
    pub(super) fn survey(&mut self, new: Option<&Follower>, sink: &mut dyn FnMut(&[u8])) -> Option<FileTime> {
        let siblings = Siblings::of(&self.names);
        let is_one = self.names.is_one();
        if !is_one {
            self.mark_named(&siblings);
        }
        let newest = siblings.iter().map(|sibling| sibling.changed).max()?.min(now());
        let is_first = self.since == NEVER;
        let since = if is_first { newest } else { self.since };
        let (mut unknown, mut all_known) = (VecDeque::new(), true);
        let named = siblings.iter().filter(|sibling| sibling.is_named).count();
        let mut surplus = named.saturating_sub(GLOB_FILES_MAX);
        self.waiting = 0;
        for sibling in siblings.iter() {
            // At the first look a glob's files are read, and the others are history.
            let is_backlog = is_first && sibling.is_named && !is_one;
            let is_due = sibling.changed >= since || is_backlog;
            let is_taken = new.is_some_and(|new| new.inode() == sibling.inode) || self.is_open(sibling.inode);
            if !is_due || is_taken {
                continue;
            }
            let opened = sibling.open();
            // The path has come to name it since it was looked at, or it was renamed since.
            if (sibling.is_named && is_one) || matches!(opened, Ok(None)) {
                all_known = false;
                continue;
            }
            self.counts.files_abandoned += u64::from(opened.is_err());
            let Some(mut found) = self.opened(opened) else { continue };
            found.is_named = sibling.is_named;
            // What comes into an empty one changes it; it is followed if it is named.
            if (found.is_empty() && (is_one || !found.is_named)) || self.knows(&found, sibling.changed) {
                continue;
            }
            if is_first && (!found.is_named || surplus > 0) {
                // History, or older than those that are followed.
                surplus -= usize::from(found.is_named);
                self.forgo(found);
            } else if unknown.len() < GLOB_FILES_MAX {
                unknown.push_back(found);
            } else {
                self.waiting += usize::from(found.is_named);
                all_known = false;
            }
        }
        while let Some(found) = unknown.pop_front() {
            let mut others = self.files.iter().chain(new).chain(&unknown);
            if others.any(|file| found.is_copy_of(file)) {
                self.forgo(found);
            } else if self.make_room(found.is_named, sink) {
                self.add(found, is_first);
            } else {
                self.waiting += usize::from(found.is_named);
                all_known = false;
            }
        }
        (all_known || is_first).then_some(newest)
    }

    /// Finds out which of the open files match a glob by now.
    fn mark_named(&mut self, siblings: &Siblings) {
        for file in &mut self.files {
            let is_named = siblings.iter().any(|sibling| sibling.is_named && sibling.inode == file.inode());
            if is_named {
                file.is_named = true;
            } else {
                file.leave();
            }
        }
    }

    /// Follows a file that nobody knew.
    fn add(&mut self, found: Follower, is_first: bool) {
        let is_named = found.is_named;
        let known = self.finished.iter().find(|(place, _)| found.is(place)).map(|(place, _)| *place);
        let added = match known {
            Some(place) => found.at(place.offset, place.in_cut_line),
            None if is_first => found.at_backlog(BACKLOG_BYTES_MAX, &mut self.counts),
            None => Ok(found),
        };
        let Ok(file) = added else {
            self.counts.files_abandoned += 1;
            return;
        };
        let before = self.files.iter().position(|file| file.is_named).filter(|_| !is_named);
        self.files.insert(before.unwrap_or(self.files.len()), file);
    }

    /// Whether a file was read before, or holds what was read of another one and nothing else.
    fn knows(&mut self, found: &Follower, changed: FileTime) -> bool {
        if let Some((place, last)) = self.finished.iter_mut().find(|(place, _)| found.is(place)) {
            *last = changed.max(*last);
            // Left because others needed its place.
            return !(found.is_named && found.length() > place.content.read);
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

    pub(super) fn remember(&mut self, place: Place, changed: FileTime) {
        if place.content.is_empty() {
            return; // Any other file is the same so far.
        }
        self.finished.retain(|(other, _)| other.inode != place.inode);
        if self.finished.len() == FINISHED_MAX {
            self.finished.pop_front();
        }
        self.finished.push_back((Place { is_finished: true, ..place }, changed));
    }

    pub(super) fn is_open(&self, inode: (u64, u64)) -> bool {
        self.files.iter().any(|file| file.inode() == inode)
    }

    fn opened(&self, file: io::Result<Option<File>>) -> Option<Follower> {
        Follower::from_start(file.ok().flatten()?, &self.joining).ok()
    }

    /// Open files that the path does not name.
    fn others(&self) -> usize {
        self.files.len() - self.followed()
    }

    /// Sees to it that one more file can be open: closes the oldest that is read to its end, if there have to be fewer. Files of
    /// a glob make room for each other once they were quiet for longer.
    pub(super) fn make_room(&mut self, is_of_glob: bool, sink: &mut dyn FnMut(&[u8])) -> bool {
        let is_room = if is_of_glob {
            self.followed() < GLOB_FILES_MAX
        } else {
            self.others() + usize::from(self.names.is_one()) * self.followed() < FILES_OPEN_MAX
        };
        if is_room {
            return true;
        }
        let is_left = |file: &Follower| match is_of_glob {
            true => file.is_named && file.is_at_end() && file.is_quiet(GLOB_QUIET_POLLS),
            false => !file.is_named && file.is_at_end(),
        };
        let oldest = self.files.iter().position(is_left);
        if let Some(index) = oldest {
            self.close(index, sink);
        }
        oldest.is_some()
    }
}

/// The clock that local file systems take their times from.
fn now() -> FileTime {
    let now = clock_gettime(ClockId::RealtimeCoarse);
    (now.tv_sec, u32::try_from(now.tv_nsec).unwrap_or_default())
}

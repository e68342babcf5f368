//! Following systemd's journal without its library: every entry once, over rotation, vacuuming, boots and restarts.
//!
//! journald numbers entries in one run over all files of a host and writes each entry before it numbers the next. So the
//! position is one number per run: first the highest number is looked up, then which files there are, then everything
//! up to that number is read, in order. What comes later waits for the next poll. The order matters: an entry with
//! a lower number is in a file that is there by the second look.
//!
//! What is left out is counted, each with its reason: numbers that are nowhere (vacuumed before they were read, or
//! of a file that is damaged), entries without a message, entries of this agent itself, payloads in a compression that
//! is not read.

mod compression;
mod entry;
mod file;
mod format;
mod position;

#[cfg(test)]
mod tests;

use entry::Entry;
use file::JournalFile;
use format::Id;
use position::{Position, RUNS_MAX};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::fs::File;
use std::io;
use std::os::unix::fs::{DirEntryExt, MetadataExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

/// Name under which the whole journal is a source of lines; its services are `journald/NAME`.
pub const SOURCE: &str = "journald";
/// Most bytes of lines that one poll hands over, but for the last line.
pub const POLL_BYTES_MAX: usize = crate::files::tail::POLL_BYTES;
/// Most entries that one poll reads.
const POLL_ENTRIES_MAX: u32 = 16_384;
/// Entries before the end of a journal that is seen for the first time, from which it is read.
pub const BACKLOG_ENTRIES_MAX: u64 = 1_000;
/// Most journal files that are open at once.
pub const FILES_OPEN_MAX: usize = 128;
/// Most services that are told apart; the lines of further ones are of `journald/other`.
pub const SERVICES_MAX: usize = 48;
/// Longest name of a source, the journal's own included, with the name of its service.
pub(crate) const NAME_BYTES_MAX: usize = SOURCE.len() + 1 + 2 * entry::NAME_BYTES_MAX;
/// Bytes that reading it takes at most: its open files, and one text that is unpacked.
pub(crate) const BYTES_MAX: usize = FILES_OPEN_MAX * file::BYTES_MAX + compression::BYTES_MAX;
/// Files that are looked at in a directory.
const ENTRIES_MAX: usize = 4_096;
/// What this agent writes would make it write more.
const OWN: &str = "vedette-agent";
const OTHER: &str = "other";

/// What was counted since the journal was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct JournalCounts {
    /// Entries handed over as lines.
    pub lines: u64,
    /// Bytes of those lines.
    pub bytes: u64,
    /// Files opened.
    pub files: u64,
    /// Messages of which only the begin was handed over.
    pub messages_cut: u64,
    /// Numbers that no entry has: vacuumed before they were read, or damaged.
    pub entries_missed: u64,
    /// Entries whose object is damaged; they are missed, too.
    pub entries_damaged: u64,
    /// Entries without a message that can be read.
    pub entries_silent: u64,
    /// Entries that this agent wrote.
    pub entries_own: u64,
    /// Entries before the backlog of a journal that was seen for the first time.
    pub entries_skipped: u64,
    /// Fields that are damaged, in a compression that is not read, or too many for one entry.
    pub fields_skipped: u64,
    /// Files that are no journal, of a newer format, damaged, or too many.
    pub files_refused: u64,
}

/// A line and the service that wrote it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournalLine<'a> {
    /// `journald/NAME`.
    pub source: &'a str,
    /// Name of the service; empty for those that are not told apart.
    pub service: &'a str,
    /// Severity, program and message; line ends are within a message of several lines.
    pub text: &'a [u8],
}

/// The journal of this host. It need not be there yet.
pub struct Journal {
    directories: Vec<Directory>,
    files: Vec<OpenFile>,
    /// Files that are not opened again: read to their end, or refused.
    closed: BTreeMap<(u64, OsString), Closed>,
    position: Position,
    /// No journal was seen yet: what is there is old.
    is_first: bool,
    /// The first look after a restart is still to come.
    is_resumed: bool,
    /// Services that were read further than the whole, before a restart.
    ahead: BTreeMap<String, Position>,
    /// Names of sources that are told apart.
    sources: Vec<String>,
    entry: Entry,
    line: Vec<u8>,
    counts: JournalCounts,
}

struct Directory {
    path: PathBuf,
    kind: Kind,
}

/// Where a journal is kept.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Kind {
    Persistent,
    /// Until the disk can be written to; then journald copies it there.
    Volatile,
}

struct OpenFile {
    inode: u64,
    path: PathBuf,
    kind: Kind,
    file: JournalFile<File>,
}

/// Why a file is not read any more.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Closed {
    /// It gets no more entries, and all of them were read.
    Finished,
    /// It is looked at again when it has changed since this time.
    Refused((i64, i64)),
}

impl Journal {
    /// Follows the journal below `host`, the root of the watched host, from the positions that [`Journal::position`] gave
    /// for the whole and for its services, by the names of their sources.
    ///
    /// Without a position it is read from [`BACKLOG_ENTRIES_MAX`] entries before its end.
    pub fn open<'a>(host: &Path, positions: impl Iterator<Item = (&'a str, &'a [u8])>) -> Self {
        let directory = |(path, kind)| Directory { path: host.join(path), kind };
        let machine = machine_id(host);
        let below = |parent: &str| machine.as_ref().map(|id| format!("{parent}/{id}"));
        let places = [(below("run/log/journal"), Kind::Volatile), (below("var/log/journal"), Kind::Persistent)];
        let places = places.into_iter().filter_map(|(path, kind)| Some((path?, kind)));
        let mut journal = Self {
            directories: places.map(directory).collect(),
            files: Vec::new(),
            closed: BTreeMap::new(),
            position: Position::default(),
            is_first: true,
            is_resumed: false,
            ahead: BTreeMap::new(),
            sources: Vec::new(),
            entry: Entry::default(),
            line: Vec::new(),
            counts: JournalCounts::default(),
        };
        for (source, bytes) in positions {
            let Some(position) = Position::decode(bytes) else { continue };
            if source == SOURCE {
                (journal.position, journal.is_first, journal.is_resumed) = (position, false, true);
            } else if journal.sources.len() < SERVICES_MAX {
                journal.sources.push(source.to_owned());
                journal.ahead.insert(source.to_owned(), position);
            }
        }
        journal.forget_caught_up();
        journal
    }

    /// What was counted since the journal was opened.
    pub fn counts(&self) -> JournalCounts {
        self.counts
    }

    /// Where the lines handed over so far end; `None` as long as no journal was seen.
    pub fn position(&self) -> Option<Vec<u8>> {
        (!self.is_first).then(|| self.position.encode())
    }

    /// Hands the lines of new entries to `sink`. Returns whether there are more.
    ///
    /// # Errors
    ///
    /// A directory cannot be read; that it is not there is no error. The next poll tries again.
    pub fn poll(&mut self, sink: &mut dyn FnMut(JournalLine<'_>)) -> io::Result<bool> {
        self.refresh();
        let mut known = self.highest();
        if self.look()? > 0 {
            self.refresh();
            known = self.highest();
            self.look()?;
        }
        self.refresh();
        // A run that came with the last look is read from the next poll on: its highest number is known by then.
        self.begin(&known);
        let more = self.read(&known, sink);
        self.close_finished();
        Ok(more)
    }

    /// Sees what was appended to the open files.
    fn refresh(&mut self) {
        let counts = &mut self.counts;
        self.files.retain_mut(|open| {
            let is_fine = open.file.refresh().is_ok();
            counts.files_refused += u64::from(!is_fine);
            is_fine
        });
    }

    /// The highest number of each run, with its time.
    fn highest(&self) -> BTreeMap<Id, (u64, u64)> {
        let mut highest = BTreeMap::new();
        for header in self.files.iter().map(|open| open.file.header()).filter(|header| header.entries > 0) {
            let last: &mut (u64, u64) = highest.entry(header.seqnum_id).or_default();
            *last = (*last).max((header.tail_seqnum, header.tail_realtime_us));
        }
        highest
    }

    /// Opens files that are new. Returns how many were.
    fn look(&mut self) -> io::Result<usize> {
        let mut opened = 0;
        for at in 0..self.directories.len() {
            let Directory { path, kind } = &self.directories[at];
            let kind = *kind;
            for (path, inode) in journal_files(path)? {
                opened += usize::from(self.open_file(path, inode, kind));
            }
        }
        Ok(opened)
    }

    fn open_file(&mut self, path: PathBuf, inode: u64, kind: Kind) -> bool {
        let same = |open: &&mut OpenFile| open.inode == inode && open.path.parent() == path.parent();
        if let Some(open) = self.files.iter_mut().find(same) {
            open.path = path; // Archiving renames it.
            return false;
        }
        let is_closed = match self.closed.get(&key(&path, inode)) {
            Some(Closed::Refused(changed)) => changed_at(&path) == *changed,
            closed => closed.is_some(),
        };
        if is_closed {
            return false;
        }
        let opened = if self.files.len() < FILES_OPEN_MAX { open_regular(&path) } else { None };
        let found = opened.and_then(|file| JournalFile::open(file).ok()).and_then(|mut file| {
            let read = self.position.of(&file.header().seqnum_id);
            read.is_none_or(|seqnum| file.seek_after(seqnum).is_ok()).then_some(file)
        });
        let Some(file) = found else {
            self.counts.files_refused += 1;
            self.close(&path, inode, Closed::Refused(changed_at(&path)));
            return false;
        };
        self.counts.files += 1;
        self.files.push(OpenFile { inode, path, kind, file });
        true
    }

    /// Gives every run a position: the end of old ones, but for the newest's backlog; the begin of those that came later.
    fn begin(&mut self, known: &BTreeMap<Id, (u64, u64)>) {
        if known.is_empty() {
            return;
        }
        let newest = known.iter().max_by_key(|(_, (_, realtime_us))| *realtime_us).map(|(run, _)| *run);
        let mut by_time: Vec<_> = known.iter().collect();
        by_time.sort_by_key(|(_, (_, realtime_us))| *realtime_us);
        let surplus = by_time.len().saturating_sub(RUNS_MAX);
        for (run, (seqnum, _)) in by_time.into_iter().skip(surplus) {
            match self.position.of(run) {
                // After a loss of power journald gives numbers again that never reached the disk. Later on the highest
                // number may be in a file that is closed.
                Some(read) if read > *seqnum && self.is_resumed => self.position.set(*run, *seqnum),
                Some(_) => {}
                None if self.is_first => {
                    let kept = if Some(*run) == newest { BACKLOG_ENTRIES_MAX } else { 0 };
                    let begin = seqnum.saturating_sub(kept);
                    self.counts.entries_skipped += begin;
                    self.position.set(*run, begin);
                    for open in self.files.iter_mut().filter(|open| open.file.header().seqnum_id == *run) {
                        // A file that cannot be searched is found damaged when it is read.
                        let _ = open.file.seek_after(begin);
                    }
                }
                None => self.position.set(*run, 0),
            }
        }
        (self.is_first, self.is_resumed) = (false, false);
    }

    /// Hands over entries in the order of their numbers, up to the highest that is known of each run.
    fn read(&mut self, known: &BTreeMap<Id, (u64, u64)>, sink: &mut dyn FnMut(JournalLine<'_>)) -> bool {
        let begin = self.counts.bytes;
        let mut entries = 0;
        while let Some(index) = self.next_file(known) {
            if self.counts.bytes - begin >= POLL_BYTES_MAX as u64 || entries == POLL_ENTRIES_MAX {
                return true;
            }
            entries += 1;
            let open = &mut self.files[index];
            let (run, kind) = (open.file.header().seqnum_id, open.kind);
            open.file.take(&mut self.entry, &mut self.counts);
            let read = self.position.of(&run).unwrap_or(0);
            if self.entry.seqnum <= read {
                continue; // A copy of what was read, as a repaired file may hold.
            }
            if read > 0 {
                self.counts.entries_missed += self.entry.seqnum - read - 1;
            }
            self.position.set(run, self.entry.seqnum);
            if kind == Kind::Volatile {
                self.position.copied_to = Some((self.entry.boot, self.entry.monotonic_us));
            } else if self.position.has_copied(&self.entry) {
                continue;
            }
            self.hand_over(&run, sink);
        }
        self.forget_caught_up();
        false
    }

    /// The file with the entry that comes next: by number within a run, by time between runs.
    fn next_file(&mut self, known: &BTreeMap<Id, (u64, u64)>) -> Option<usize> {
        let mut best: Option<(usize, Id, u64, u64)> = None;
        let mut damaged = Vec::new();
        for (index, open) in self.files.iter_mut().enumerate() {
            let run = open.file.header().seqnum_id;
            // Of too many runs the oldest have no position.
            let Some((highest, _)) = known.get(&run).filter(|_| self.position.of(&run).is_some()) else { continue };
            let head = match open.file.peek(&mut self.counts) {
                Ok(Some(head)) if head.seqnum <= *highest => *head,
                Ok(_) => continue,
                Err(_) => {
                    damaged.push(index);
                    continue;
                }
            };
            let is_before = |(_, other, seqnum, realtime_us): &(usize, Id, u64, u64)| {
                if *other == run { head.seqnum < *seqnum } else { head.realtime_us < *realtime_us }
            };
            if best.as_ref().is_none_or(is_before) {
                best = Some((index, run, head.seqnum, head.realtime_us));
            }
        }
        let best = best.map(|(index, ..)| index);
        // What is left of a damaged file is nowhere else: its numbers are missed once the next one is read.
        for index in damaged.into_iter().rev() {
            let OpenFile { path, inode, .. } = self.files.remove(index);
            self.counts.files_refused += 1;
            self.close(&path, inode, Closed::Refused(changed_at(&path)));
            if best.is_some_and(|best| best > index) {
                return self.next_file(known);
            }
        }
        best
    }

    fn hand_over(&mut self, run: &Id, sink: &mut dyn FnMut(JournalLine<'_>)) {
        if !self.entry.has_message() {
            self.counts.entries_silent += 1;
            return;
        }
        let origin = self.entry.origin();
        if origin == OWN {
            self.counts.entries_own += 1;
            return;
        }
        let find = |name: &str| self.sources.iter().position(|source| service_of(source) == name);
        let is_room = self.sources.len() < SERVICES_MAX;
        let name = if is_room || find(origin).is_some() { origin } else { OTHER };
        let at = find(name).unwrap_or(self.sources.len());
        if at == self.sources.len() {
            self.sources.push(format!("{SOURCE}/{name}"));
        }
        let source = self.sources[at].as_str();
        if self.ahead.get(source).is_some_and(|position| position.covers(run, &self.entry)) {
            return;
        }
        self.entry.line(&mut self.line);
        (self.counts.lines, self.counts.bytes) = (self.counts.lines + 1, self.counts.bytes + self.line.len() as u64);
        let service = Some(service_of(source)).filter(|name| *name != OTHER).unwrap_or_default();
        sink(JournalLine { source, service, text: &self.line });
    }

    /// What was read further than the whole is of no interest once the whole is as far.
    fn forget_caught_up(&mut self) {
        let position = &self.position;
        self.ahead.retain(|_, ahead| !position.includes(ahead));
    }

    /// An archived file gets no more entries.
    fn close_finished(&mut self) {
        for index in (0..self.files.len()).rev() {
            let file = &self.files[index].file;
            let is_settled = self.position.of(&file.header().seqnum_id).is_some();
            if file.header().is_archived && file.left() == 0 && is_settled {
                let OpenFile { path, inode, .. } = self.files.remove(index);
                // Under its old name another file may come with this inode.
                if path.to_string_lossy().contains('@') {
                    self.close(&path, inode, Closed::Finished);
                }
            }
        }
    }

    fn close(&mut self, path: &Path, inode: u64, why: Closed) {
        self.closed.insert(key(path, inode), why);
        // Files that are gone leave a few bytes each; journald keeps a hundred at most by default.
        while self.closed.len() > ENTRIES_MAX {
            self.closed.pop_first();
        }
    }
}

/// What tells a closed file from another one: journald gives each archived file a name of its own.
fn key(path: &Path, inode: u64) -> (u64, OsString) {
    (inode, path.file_name().unwrap_or_default().to_owned())
}

/// Whether the name of a source of lines is that of a service in the journal.
pub fn is_service(source: &str) -> bool {
    source.strip_prefix(SOURCE).is_some_and(|rest| rest.starts_with('/'))
}

fn service_of(source: &str) -> &str {
    source.split_once('/').map_or("", |(_, service)| service)
}

/// `/etc/machine-id`: the name of the journal's directory. Without one there is no journal.
fn machine_id(host: &Path) -> Option<String> {
    let text = std::fs::read_to_string(host.join("etc/machine-id")).ok()?;
    let id = text.trim();
    (id.len() == 32 && id.bytes().all(|byte| byte.is_ascii_hexdigit())).then(|| id.to_owned())
}

fn changed_at(path: &Path) -> (i64, i64) {
    std::fs::metadata(path).map(|metadata| (metadata.mtime(), metadata.mtime_nsec())).unwrap_or_default()
}

/// Files with their inodes, archived and damaged ones included.
fn journal_files(directory: &Path) -> io::Result<Vec<(PathBuf, u64)>> {
    let entries = match std::fs::read_dir(directory) {
        Ok(entries) => entries,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(error),
    };
    let is_journal = |path: &Path| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.ends_with(".journal") || name.ends_with(".journal~")
    };
    let found = entries.take(ENTRIES_MAX).flatten().map(|entry| (entry.path(), entry.ino()));
    Ok(found.filter(|(path, _)| is_journal(path)).collect())
}

fn open_regular(path: &Path) -> Option<File> {
    let nonblock = rustix::fs::OFlags::NONBLOCK.bits().cast_signed();
    let file = std::fs::OpenOptions::new().read(true).custom_flags(nonblock).open(path).ok()?;
    file.metadata().ok()?.is_file().then_some(file)
}

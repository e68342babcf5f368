//! The log: for each class a row of segments, appended to at one end and removed at the other.
//!
//! Sans-IO over [`Files`]. Whatever a call has returned for survives the death of the process; whatever was there at the
//! last [`Log::sync`] survives a power cut, and of what came later a part without holes in each class. Each segment begins
//! with a checkpoint of all sources, is synced before the next one begins, and is removed when the next one stands: so the
//! last segments alone tell where every source stood. Memory: some 64 bytes a segment, and 16 a frame in those segments
//! that are being written or settled.

mod claim;
mod recover;
mod segments;

#[cfg(test)]
mod crash_tests;
#[cfg(test)]
mod tests;

pub use claim::{Begin, Claim};
pub(crate) use recover::stand;
pub use recover::{Damage, Recovered};
use segments::segment_name;
pub(crate) use segments::{Listed, listed, scan};

use super::books::{Books, Reason};
use super::files::Files;
use super::marks::{Given, Marks, PLACE_BYTES};
use super::segment::{HEADER_BYTES, Header, Kind, RECORD_BYTES, encode_cursors, encode_record};
use segments::{Index, Lane, Segment};
use std::collections::{BTreeMap, VecDeque};
use std::io;
use std::sync::Arc;
use vedette_protocol::ids::{QueueEpoch, Sequence};
use vedette_protocol::v1::{Class, Cursor};

/// Name of the file of marks.
pub const MARKS: &str = "marks";

/// Sequences that are left out where nobody can know which of them were sent: more than are made in half a year.
pub const LEAP: u64 = 1 << 24;

/// What is known of a segment, and of the frames of those that are being written or settled, two of each class.
pub(super) const SEGMENT_ENTRY_BYTES: usize = 128;
pub(super) const INDEX_BYTES_MAX: usize = 3 << 20;

/// Of the series indices that are left, this part is left out for the same reason: at first 2¹⁶, and they never run out.
pub const SERIES_LEAP_PART: u32 = 1 << 16;

/// How large things may become.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// A segment of this size is followed by the next; a single frame may make it larger.
    pub segment_bytes: u64,
    /// All segments together, in bytes. A checkpoint's bytes may come on top while room is made.
    pub bytes_max: u64,
}

/// A frame on its way into the log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Rank.
    pub class: Class,
    /// Position in the queue epoch; higher than that of every entry before.
    pub sequence: Sequence,
    /// Series indices from this on were not given yet.
    pub series_next: u32,
    /// Where its sources stood.
    pub cursors: Vec<Cursor>,
    /// The batch as it crosses the network.
    pub frame: Arc<[u8]>,
}

/// Why an entry is not in the log.
#[derive(Debug, thiserror::Error)]
pub enum AppendError {
    /// There is no room but for what is more important.
    #[error("the spool is full of what is more important")]
    NoRoom,
    /// The file system refused. The same entry can be tried again.
    #[error("{0}")]
    Io(#[from] io::Error),
}

/// Frames that are gone without having been settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Gone {
    /// They had to make room: all of the class up to a sequence.
    Shed {
        /// Class.
        class: Class,
        /// The last that may have been among them.
        through: Sequence,
        /// How many.
        frames: u64,
    },
    /// They cannot be read any more.
    Damaged {
        /// Class.
        class: Class,
        /// How many.
        frames: u64,
    },
}

/// Consecutive frames of one class.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// Oldest first; settled ones are left out.
    pub frames: Vec<(Sequence, Arc<[u8]>)>,
    /// Where the next page begins; `None` if there is none.
    pub next: Option<Sequence>,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Log<F> {
    files: F,
    config: LogConfig,
    epoch: QueueEpoch,
    lanes: [Lane; 3],
    /// The last known position of each source.
    standings: BTreeMap<String, (Sequence, Vec<u8>)>,
    series_next: u32,
    last: Sequence,
    marks: Marks,
    bytes: u64,
    gone: VecDeque<Gone>,
}

impl<F: Files> Log<F> {
    /// Appends a frame, after making room for it: the oldest segments of the least important class go first.
    ///
    /// # Errors
    ///
    /// See [`AppendError`]; the entry is then not in the log, and everything else is as it was or counted as gone.
    /// One that is there already, because it could not be synced, stays as it is.
    pub fn append(&mut self, entry: &Entry) -> Result<(), AppendError> {
        let Entry { class, sequence, series_next, cursors, frame } = entry;
        if *sequence <= self.last && self.has(*class, *sequence)? {
            return Ok(());
        }
        let encoded = encode_cursors(cursors.iter().map(|cursor| (*sequence, cursor)));
        let record = encode_record(Kind::Frame, *sequence, *series_next, &encoded, frame);
        self.make_room(*class, record.len() as u64)?;
        self.series_next = self.series_next.max(*series_next);
        self.write(*class, *sequence, &record)?;
        let segment = self.lanes[class_index(*class)].segments.back_mut().expect("it was written to");
        segment.frames += 1;
        segment.frames_ever += 1;
        segment.index.get_or_insert_default().push(*sequence);
        self.last = self.last.max(*sequence);
        self.stand(cursors.iter().map(|cursor| (*sequence, cursor)));
        Ok(())
    }

    /// Takes down where sources stand, without a frame.
    ///
    /// # Errors
    ///
    /// See [`AppendError`].
    pub fn note(&mut self, standings: &[(Sequence, Cursor)]) -> Result<(), AppendError> {
        let pairs = || standings.iter().map(|(sequence, cursor)| (*sequence, cursor));
        let record = encode_record(Kind::Checkpoint, self.last, self.series_next, &encode_cursors(pairs()), &[]);
        self.make_room(Class::Finding, record.len() as u64)?;
        self.write(Class::Log, Sequence(self.last.0 + 1), &record)?;
        self.stand(pairs());
        Ok(())
    }

    /// These frames need not be sent again. Which of them never got here.
    ///
    /// # Errors
    ///
    /// Of the file system; what was not settled is sent again after a restart.
    pub fn settle(&mut self, sequences: &[(Class, Sequence)]) -> io::Result<Vec<Sequence>> {
        let mut missing = Vec::new();
        for &(class, sequence) in sequences {
            let lane = &self.lanes[class_index(class)];
            let is_here = match lane.segment_of(sequence) {
                // What lies below the mark was here, and is gone.
                None => sequence <= lane.through,
                Some(at) => {
                    self.need_index(class, at)?;
                    let lane = &mut self.lanes[class_index(class)];
                    lane.segments[at].index.as_mut().expect("made just now").settle(sequence)
                }
            };
            missing.extend((!is_here).then_some(sequence));
        }
        super::CLASSES.into_iter().try_for_each(|class| self.reclaim(class))?;
        Ok(missing)
    }

    /// Frames of `class` from a sequence on, up to about `bytes_max` bytes, but one at least.
    ///
    /// # Errors
    ///
    /// Of the file system.
    pub fn load(&mut self, class: Class, from: Sequence, bytes_max: usize) -> io::Result<Page> {
        let mut page = Page::default();
        let mut bytes = 0;
        let mut at = self.lanes[class_index(class)].segment_of(from).unwrap_or(0);
        while at < self.lanes[class_index(class)].segments.len() {
            self.need_index(class, at)?;
            let segment = &mut self.lanes[class_index(class)].segments[at];
            let Some(content) = readable(segment.read(&self.files, self.epoch, class))? else {
                let frames = segment.lose(from);
                if frames > 0 {
                    self.gone.push_back(Gone::Damaged { class, frames });
                }
                at += 1;
                continue;
            };
            let index = segment.index.as_ref().expect("made just now");
            for (sequence, frame) in scan(&content, segment.first).frames() {
                // What was counted as lost stays lost, even if it can be read again.
                if sequence < from || !index.is_open(sequence) {
                    continue;
                }
                if bytes > 0 && bytes + frame.len() > bytes_max {
                    page.next = Some(sequence);
                    return Ok(page);
                }
                bytes += frame.len().max(1);
                page.frames.push((sequence, frame.into()));
            }
            at += 1;
        }
        Ok(page)
    }

    /// From now on a power cut costs nothing of what was appended before.
    ///
    /// # Errors
    ///
    /// Of the file system.
    pub fn sync(&mut self) -> io::Result<()> {
        super::CLASSES.into_iter().try_for_each(|class| self.sync_last(class))
    }

    fn sync_last(&mut self, class: Class) -> io::Result<()> {
        let lane = &mut self.lanes[class_index(class)];
        let Some(segment) = lane.segments.back_mut().filter(|segment| segment.dirty) else { return Ok(()) };
        let name = segment_name(self.epoch, class, segment.first);
        if segment.is_doubtful {
            // The kernel takes what it could not write for written: only writing it again makes it sync it again.
            let content = segment.read(&self.files, self.epoch, class)?;
            self.files.write(&name, 0, &content)?;
        }
        let synced = self.files.sync(&name);
        segment.is_doubtful = synced.is_err();
        segment.dirty = synced.is_err();
        // Nothing is put behind what may never get there.
        lane.is_torn |= synced.is_err();
        synced
    }

    /// Writes the marks down. `given` tells what was given out, here or not; `clean` says that nothing follows.
    ///
    /// # Errors
    ///
    /// Of the file system.
    pub fn mark(&mut self, books: [Books; 3], given: Given, clean: bool) -> io::Result<()> {
        let through = std::array::from_fn(|at| self.lanes[at].through);
        let mut books = books;
        for (books, lane) in books.iter_mut().zip(&self.lanes) {
            // Damage that is still there is found again by whoever reads it.
            books.shed[Reason::Damaged as usize] = lane.damaged_before;
        }
        let turn = self.marks.turn + 1;
        // Not to be taken for the log's own: what is given out may still come to be appended.
        let known = self.marks.given;
        let given = Given {
            last: self.last.max(known.last).max(given.last),
            series_next: self.series_next.max(known.series_next).max(given.series_next),
        };
        let marks = Marks { turn, clean, given, through, books, ..self.marks };
        self.files.write(MARKS, marks.offset(), &marks.encode())?;
        self.files.sync(MARKS)?;
        self.marks = marks;
        Ok(())
    }

    /// Forgets where other sources stood: nobody reads them any more.
    pub fn retain_sources(&mut self, is_read: impl Fn(&str) -> bool) {
        self.standings.retain(|source, _| is_read(source));
    }

    /// What is gone since the last call.
    pub fn poll_gone(&mut self) -> Option<Gone> {
        self.gone.pop_front()
    }

    /// Bytes of all segments.
    pub fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Number of segments.
    pub fn segments(&self) -> u64 {
        self.lanes.iter().map(|lane| lane.segments.len() as u64).sum()
    }

    /// Writes a record to the end of the class' row.
    fn write(&mut self, class: Class, sequence: Sequence, record: &[u8]) -> io::Result<()> {
        if self.lanes[class_index(class)].needs_next(self.config.segment_bytes, record.len(), sequence) {
            self.begin_segment(class, sequence)?;
        }
        let lane = &mut self.lanes[class_index(class)];
        let segment = lane.segments.back_mut().expect("begun if there was none");
        let name = segment_name(self.epoch, class, segment.first);
        if let Err(error) = self.files.write(&name, segment.bytes, record) {
            // Whatever got there must not stand before a later record.
            if self.files.truncate(&name, segment.bytes).is_err() {
                lane.is_torn = true;
            }
            return Err(error);
        }
        segment.bytes += record.len() as u64;
        segment.dirty = true;
        self.bytes += record.len() as u64;
        Ok(())
    }

    /// Begins the next segment of a class; it stands, power cut or not, when this returns.
    fn begin_segment(&mut self, class: Class, first: Sequence) -> io::Result<()> {
        let lane = &mut self.lanes[class_index(class)];
        // One that is torn before its first frame makes way for another of its name.
        if let Some(empty) = lane.segments.pop_back_if(|last| last.first >= first) {
            self.bytes -= empty.bytes;
        }
        let (mut ordinal, mut previous) = (0, Sequence(0));
        // Its checkpoint tells where all sources stand: what they were read for must not be behind it.
        self.sync()?;
        let lane = &mut self.lanes[class_index(class)];
        if let Some(last) = lane.segments.back_mut() {
            (ordinal, previous) = (last.ordinal + last.frames_ever, last.first);
            // What is partly settled has to remember it; the rest is read again when its turn comes.
            if last.index.as_ref().is_some_and(Index::is_untouched) {
                last.index = None;
            }
        }
        let name = segment_name(self.epoch, class, first);
        let mut content = Header { epoch: self.epoch, class, first, ordinal, previous }.encode().to_vec();
        let standings: Vec<_> = self
            .standings
            .iter()
            .map(|(source, (sequence, position))| {
                (*sequence, Cursor { source: source.clone(), position: position.clone() })
            })
            .collect();
        let cursors = encode_cursors(standings.iter().map(|(sequence, cursor)| (*sequence, cursor)));
        content.extend(encode_record(Kind::Checkpoint, self.last, self.series_next, &cursors, &[]));
        let files = &mut self.files;
        let made = make_new(files, &name)
            .and_then(|()| files.write(&name, 0, &content))
            .and_then(|()| files.sync(&name))
            .and_then(|()| files.sync_folder());
        if made.is_err() {
            // A half-made segment holds nothing; the next try makes it anew.
            let _ = files.remove(&name);
        }
        made?;
        self.bytes += content.len() as u64;
        let lane = &mut self.lanes[class_index(class)];
        lane.is_torn = false;
        lane.segments.push_back(Segment {
            bytes: content.len() as u64,
            index: Some(Index::default()),
            ..Segment::new(first, ordinal)
        });
        self.reclaim(class)
    }

    /// Sheds until `more` bytes fit, nothing of it more important than `class`.
    fn make_room(&mut self, class: Class, more: u64) -> Result<(), AppendError> {
        if more > self.config.bytes_max / 4 {
            return Err(AppendError::NoRoom);
        }
        let positions = |(source, (_, position)): (&String, &(Sequence, Vec<u8>))| 14 + source.len() + position.len();
        let checkpoint = RECORD_BYTES + 6 + self.standings.iter().map(positions).sum::<usize>();
        let more = more + (HEADER_BYTES + checkpoint) as u64;
        while self.bytes + more > self.config.bytes_max {
            let victims = super::CLASSES[class_index(class)..].iter().rev();
            let victim = victims.copied().find(|class| self.lanes[class_index(*class)].can_shed());
            let Some(victim) = victim else { return Err(AppendError::NoRoom) };
            if self.lanes[class_index(victim)].segments.len() == 1 {
                self.begin_segment(victim, Sequence(self.last.0 + 1))?;
            }
            // Beginning the next one may have removed it as settled.
            if self.lanes[class_index(victim)].segments.len() > 1 {
                self.shed_oldest(victim)?;
            }
        }
        Ok(())
    }

    fn shed_oldest(&mut self, class: Class) -> io::Result<()> {
        let lane = &mut self.lanes[class_index(class)];
        let through = Sequence(lane.segments[1].first.0 - 1);
        let frames = lane.segments[0].open();
        self.remove_oldest(class)?;
        self.lanes[class_index(class)].through = through;
        if frames > 0 {
            self.gone.push_back(Gone::Shed { class, through, frames });
        }
        Ok(())
    }

    /// Removes what is wholly settled at the begin, but never the last segment, and moves the mark.
    fn reclaim(&mut self, class: Class) -> io::Result<()> {
        // In order: what earlier segments hold is told by where later ones begin.
        let is_settled = |lane: &Lane| lane.segments.len() > 1 && lane.segments[0].open() == 0;
        while is_settled(&self.lanes[class_index(class)]) {
            self.remove_oldest(class)?;
        }
        self.lanes[class_index(class)].move_mark(self.last);
        Ok(())
    }

    fn remove_oldest(&mut self, class: Class) -> io::Result<()> {
        let lane = &mut self.lanes[class_index(class)];
        match self.files.remove(&segment_name(self.epoch, class, lane.segments[0].first)) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        if let Some(segment) = lane.segments.pop_front() {
            self.bytes -= segment.bytes;
            lane.damaged_before += segment.damaged();
        }
        Ok(())
    }

    fn has(&mut self, class: Class, sequence: Sequence) -> io::Result<bool> {
        let Some(at) = self.lanes[class_index(class)].segment_of(sequence) else { return Ok(false) };
        self.need_index(class, at)?;
        Ok(self.lanes[class_index(class)].segments[at].index.as_ref().is_some_and(|index| index.has(sequence)))
    }

    /// Reads which frames a segment has, unless that is known; what is missing is damaged.
    fn need_index(&mut self, class: Class, at: usize) -> io::Result<()> {
        let lane = &mut self.lanes[class_index(class)];
        let segment = &mut lane.segments[at];
        if segment.index.is_some() {
            return Ok(());
        }
        let content = readable(segment.read(&self.files, self.epoch, class))?.unwrap_or_default();
        let mut index = Index::default();
        scan(&content, segment.first).frames().for_each(|(sequence, _)| index.push(sequence));
        let damaged = segment.frames.saturating_sub(index.len());
        segment.frames = index.len();
        index.settle_through(lane.through);
        segment.index = Some(index);
        if damaged > 0 {
            self.gone.push_back(Gone::Damaged { class, frames: damaged });
        }
        Ok(())
    }

    fn stand<'a>(&mut self, standings: impl Iterator<Item = (Sequence, &'a Cursor)>) {
        for (sequence, Cursor { source, position }) in standings {
            recover::stand(&mut self.standings, sequence, source, position);
        }
    }
}

/// What was read; `None` if it never will be, by this agent: then it is as good as damaged.
fn readable<T>(read: io::Result<T>) -> io::Result<Option<T>> {
    match read {
        Ok(content) => Ok(Some(content)),
        Err(error) if is_lost(&error) => {
            tracing::warn!(%error, "a file of the spool cannot be read: it counts as damaged");
            Ok(None)
        }
        Err(error) => Err(error),
    }
}

fn is_lost(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::PermissionDenied)
        || error.raw_os_error() == Some(rustix::io::Errno::IO.raw_os_error())
}

/// Makes a file; one of that name is the rest of an earlier try.
fn make_new(files: &mut impl Files, name: &str) -> io::Result<()> {
    match files.create(name) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => {
            files.remove(name)?;
            files.create(name)
        }
        made => made,
    }
}

/// The file of marks, of full size from the start: later it is only written over.
pub(crate) fn make_marks(files: &mut impl Files) -> io::Result<()> {
    make_new(files, MARKS)?;
    files.write(MARKS, 0, &[0; 2 * PLACE_BYTES])
}

pub(crate) fn class_index(class: Class) -> usize {
    usize::from(super::segment::class_number(class))
}

//! Segments as the log knows them: where they begin, how many frames they hold, which of these are settled.

use super::super::CLASSES;
use super::super::files::Files;
use super::super::marks::Marks;
use super::super::segment::{
    HEADER_BYTES, Header, Kind, PAYLOAD_BYTES_MAX, RECORD_BYTES, Record, Stretch, class_number, stretches,
};
use std::collections::VecDeque;
use std::io;
use vedette_protocol::ids::{QueueEpoch, Sequence};
use vedette_protocol::v1::Class;

/// Nothing that was written can be longer: a segment that is full but for a byte, and the largest record.
const SEGMENT_BYTES_MAX: usize = 2 * PAYLOAD_BYTES_MAX;

/// No spool lives long enough for more; nothing above can be added to without care.
const SEQUENCE_MAX: Sequence = Sequence(1 << 60);

/// The segments of one class, oldest first.
#[derive(Debug)]
pub(super) struct Lane {
    pub(super) segments: VecDeque<Segment>,
    /// Every frame up to this one is settled.
    pub(super) through: Sequence,
    /// The last segment may end in half a record: nothing can be appended to it.
    pub(super) is_torn: bool,
    /// Frames that were found damaged in segments that are gone.
    pub(super) damaged_before: u64,
}

#[derive(Debug)]
pub(super) struct Segment {
    pub(super) first: Sequence,
    /// Frames of the class before it, ever.
    pub(super) ordinal: u64,
    /// Frames that can be read, as far as is known.
    pub(super) frames: u64,
    /// Frames that were written.
    pub(super) frames_ever: u64,
    pub(super) bytes: u64,
    /// Not synced since the last write.
    pub(super) dirty: bool,
    /// It could not be synced.
    pub(super) is_doubtful: bool,
    /// Its frames; only while they are being written, sent or settled.
    pub(super) index: Option<Index>,
}

/// The frames of one segment in order, and which of them are settled.
#[derive(Debug, Default)]
pub(super) struct Index {
    frames: Vec<(Sequence, bool)>,
    open: u64,
}

/// A segment taken apart.
#[derive(Debug)]
pub(crate) struct Found<'a> {
    /// Its header, if that is whole.
    pub(crate) header: Option<Header>,
    /// Good records in order; frames that do not follow their predecessor count as bad.
    pub(crate) records: Vec<Record<'a>>,
    /// Stretches of bytes that are no record, `(from, to)`.
    pub(crate) bad: Vec<(usize, usize)>,
}

impl Lane {
    /// No segments; all up to `through` is settled.
    pub(super) fn new(through: Sequence) -> Self {
        Self { segments: VecDeque::new(), through, is_torn: false, damaged_before: 0 }
    }

    /// The segment that would hold a sequence.
    pub(super) fn segment_of(&self, sequence: Sequence) -> Option<usize> {
        self.segments.partition_point(|segment| segment.first <= sequence).checked_sub(1)
    }

    /// Whether a record goes into a segment that begins at `next`. One without frames is followed by another, too, once the
    /// other classes have moved on, so that its name is free.
    pub(super) fn needs_next(&self, segment_bytes: u64, more: usize, next: Sequence) -> bool {
        let can_follow = |last: &Segment| last.frames_ever > 0 || last.first < next;
        let is_full = |last: &Segment| can_follow(last) && last.bytes + more as u64 > segment_bytes;
        self.is_torn || self.segments.back().is_none_or(is_full)
    }

    /// Whether removing the oldest segment would make room.
    pub(super) fn can_shed(&self) -> bool {
        self.segments.len() > 1 || self.segments.front().is_some_and(|segment| segment.frames_ever > 0)
    }

    /// Moves the mark over what is settled. `last` is the last sequence of all classes.
    pub(super) fn move_mark(&mut self, last: Sequence) {
        let Some(front) = self.segments.front() else { return };
        let before = Sequence(front.first.0.saturating_sub(1));
        let settled = match &front.index {
            None => before,
            Some(index) if index.open == 0 && self.segments.len() == 1 => last,
            Some(index) => index.settled_through().unwrap_or(before),
        };
        self.through = self.through.max(settled);
    }

    /// Frames that wait.
    pub(super) fn open(&self) -> u64 {
        self.segments.iter().map(Segment::open).sum()
    }

    /// Frames that were found damaged in segments that are still there.
    pub(super) fn damaged(&self) -> u64 {
        self.segments.iter().map(Segment::damaged).sum()
    }
}

impl Segment {
    pub(super) fn new(first: Sequence, ordinal: u64) -> Self {
        Self { first, ordinal, frames: 0, frames_ever: 0, bytes: 0, dirty: false, is_doubtful: false, index: None }
    }

    /// Its frames from a sequence on cannot be read any more. How many of them waited.
    pub(super) fn lose(&mut self, from: Sequence) -> u64 {
        let lost = self.index.as_mut().map_or(0, |index| index.settle_from(from));
        self.frames = self.frames.saturating_sub(lost);
        lost
    }

    /// Frames that wait.
    pub(super) fn open(&self) -> u64 {
        self.index.as_ref().map_or(self.frames, |index| index.open)
    }

    /// Frames that were found damaged.
    pub(super) fn damaged(&self) -> u64 {
        self.index.as_ref().map_or(0, |_| self.frames_ever.saturating_sub(self.frames))
    }

    pub(super) fn read(&self, files: &impl Files, epoch: QueueEpoch, class: Class) -> io::Result<Vec<u8>> {
        let bytes = usize::try_from(self.bytes).unwrap_or(usize::MAX).min(SEGMENT_BYTES_MAX);
        files.read(&segment_name(epoch, class, self.first), 0, bytes)
    }
}

impl Index {
    pub(super) fn push(&mut self, sequence: Sequence) {
        self.frames.push((sequence, false));
        self.open += 1;
    }

    pub(super) fn len(&self) -> u64 {
        self.frames.len() as u64
    }

    /// Whether it is there.
    pub(super) fn settle(&mut self, sequence: Sequence) -> bool {
        let found = self.frames.binary_search_by_key(&sequence, |(sequence, _)| *sequence);
        if let Ok(at) = found {
            self.open -= u64::from(!std::mem::replace(&mut self.frames[at].1, true));
        }
        found.is_ok()
    }

    pub(super) fn settle_through(&mut self, through: Sequence) {
        for (_, settled) in self.frames.iter_mut().take_while(|(sequence, _)| *sequence <= through) {
            self.open -= u64::from(!std::mem::replace(settled, true));
        }
    }

    /// How many that was news for.
    fn settle_from(&mut self, from: Sequence) -> u64 {
        let before = self.open;
        for (_, settled) in self.frames.iter_mut().filter(|(sequence, _)| *sequence >= from) {
            self.open -= u64::from(!std::mem::replace(settled, true));
        }
        before - self.open
    }

    pub(super) fn has(&self, sequence: Sequence) -> bool {
        self.frames.binary_search_by_key(&sequence, |(sequence, _)| *sequence).is_ok()
    }

    /// Whether the frame is there and waits.
    pub(super) fn is_open(&self, sequence: Sequence) -> bool {
        let found = self.frames.binary_search_by_key(&sequence, |(sequence, _)| *sequence);
        found.is_ok_and(|at| !self.frames[at].1)
    }

    /// Whether nothing of it is settled; one that has nothing, because nothing can be read, is to stay so.
    pub(super) fn is_untouched(&self) -> bool {
        self.open == self.len() && !self.frames.is_empty()
    }

    /// The last of the settled frames that it begins with.
    fn settled_through(&self) -> Option<Sequence> {
        self.frames.iter().take_while(|(_, settled)| *settled).last().map(|(sequence, _)| *sequence)
    }

    /// The first frame that waits.
    pub(super) fn first_open(&self) -> Option<Sequence> {
        self.frames.iter().find(|(_, settled)| !settled).map(|(sequence, _)| *sequence)
    }
}

/// Takes a segment apart whose frames begin at `first`.
pub(crate) fn scan(content: &[u8], first: Sequence) -> Found<'_> {
    let mut found = Found { header: Header::decode(content), records: Vec::new(), bad: Vec::new() };
    let mut next = first;
    let mut at = HEADER_BYTES;
    for stretch in stretches(content) {
        match stretch {
            Stretch::Record(record) => {
                let is_frame = record.kind == Kind::Frame;
                if is_frame && (record.sequence < next || record.sequence > SEQUENCE_MAX) {
                    found.bad.push((at, record.end));
                } else {
                    if is_frame {
                        next = Sequence(record.sequence.0.saturating_add(1));
                    }
                    found.records.push(record);
                }
                at = record.end;
            }
            Stretch::Bad { from, to } => {
                found.bad.push((from, to));
                at = to;
            }
        }
    }
    found
}

impl<'a> Found<'a> {
    /// Good frames.
    pub(crate) fn frames(&self) -> impl Iterator<Item = (Sequence, &'a [u8])> {
        self.records.iter().filter(|record| record.kind == Kind::Frame).map(|record| (record.sequence, record.frame))
    }

    /// Whether it begins with the checkpoint of all sources.
    pub(crate) fn has_checkpoint(&self) -> bool {
        self.records.first().is_some_and(|record| {
            record.kind == Kind::Checkpoint && record.end == HEADER_BYTES + RECORD_BYTES + 4 + record.cursors.len()
        })
    }
}

pub(crate) fn segment_name(epoch: QueueEpoch, class: Class, first: Sequence) -> String {
    format!("{}-{:016x}-{:016x}.seg", class_number(class), epoch.0, first.0)
}

/// What [`segment_name`] was told; `None` for other names.
fn parse_name(name: &str) -> Option<(QueueEpoch, Class, Sequence)> {
    let (class, rest) = name.strip_suffix(".seg")?.split_once('-')?;
    let (epoch, first) = rest.split_once('-')?;
    let hex = |text: &str| u64::from_str_radix(text, 16).ok();
    let class = CLASSES.into_iter().find(|known| class == class_number(*known).to_string())?;
    let (epoch, first) = (QueueEpoch(hex(epoch)?), Sequence(hex(first)?));
    let is_ours = segment_name(epoch, class, first) == name && first <= SEQUENCE_MAX;
    is_ours.then_some((epoch, class, first))
}

/// A segment that a folder has.
#[derive(Clone, Debug)]
pub(crate) struct Listed {
    pub(crate) name: String,
    pub(crate) epoch: QueueEpoch,
    pub(crate) class: Class,
    pub(crate) first: Sequence,
    pub(crate) bytes: u64,
}

/// The segments among files, in order, and which life of the spool goes on: the one that the marks name, unless there are
/// segments and none is of it; then the latest.
pub(crate) fn listed(files: &[(String, u64)], marks: Option<Marks>) -> (Option<QueueEpoch>, Vec<Listed>) {
    let segment = |(name, bytes): &(String, u64)| {
        let (epoch, class, first) = parse_name(name)?;
        Some(Listed { name: name.clone(), epoch, class, first, bytes: *bytes })
    };
    let mut segments: Vec<_> = files.iter().filter_map(segment).collect();
    segments.sort_unstable_by_key(|segment| (segment.epoch, segment.class, segment.first));
    let marked = marks.map(|marks| marks.epoch);
    let is_there = |epoch: &QueueEpoch| segments.iter().any(|one| one.epoch == *epoch);
    (marked.filter(is_there).or(segments.last().map(|latest| latest.epoch)).or(marked), segments)
}

impl Listed {
    /// Its header, if that is whole and its own.
    pub(crate) fn read_header(&self, files: &impl Files) -> io::Result<Option<Header>> {
        let header = Header::decode(&files.read(&self.name, 0, HEADER_BYTES)?);
        Ok(header.filter(|header| (header.class, header.first) == (self.class, self.first)))
    }

    /// All of it that can be meant.
    pub(crate) fn read(&self, files: &impl Files) -> io::Result<Vec<u8>> {
        files.read(&self.name, 0, SEGMENT_BYTES_MAX)
    }
}

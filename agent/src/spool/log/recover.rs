//! Opening a log: whatever the folder holds, the log begins.
//!
//! Reads the marks, the header of every segment, and of each class the first and the last segment whole. A last segment is
//! cut at its first bad record if the power may have been cut: what stands behind it was not synced before it. After a mere
//! end of the process, only half a record at the very end can be missing; anything else bad is damage, left out and
//! counted, and the next frame goes into a new segment.

use super::super::books::Reason;
use super::super::files::Files;
use super::super::marks::{Given, Marks, PLACE_BYTES};
use super::super::segment::decode_cursors;
use super::segments::{Found, Index, Lane, Listed, Segment, listed, scan, segment_name};
use super::{LEAP, Log, LogConfig, MARKS, SERIES_LEAP_PART, class_index, make_marks, readable};
use crate::spool::CLASSES;
use crate::spool::books::Books;
use std::collections::{BTreeMap, VecDeque};
use std::io;
use vedette_protocol::ids::{BootId, QueueEpoch, Sequence};
use vedette_protocol::v1::{Class, Cursor};

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Recovered {
    /// Life of the spool: the one that was there, or the new one.
    pub epoch: u64,
    /// The first sequence of this life of the agent.
    pub next: u64,
    /// Series indices from this on were not given yet.
    pub series_next: u32,
    /// Where each source stands.
    pub positions: BTreeMap<String, Vec<u8>>,
    /// Frames that have to be sent, by class.
    pub pending: [u64; 3],
    /// Where they begin.
    pub from: [Sequence; 3],
    /// Frames that were ever made, by class.
    pub made: [u64; 3],
    /// What became of those that are not pending.
    pub books: [Books; 3],
    /// What could not be used.
    pub damage: Damage,
}

/// What could not be used when the log was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damage {
    /// Bytes at the end of the log that the process or the power had left half-done.
    pub torn_bytes: u64,
    /// Stretches of bytes that are no record although they should be.
    pub bad_stretches: u64,
    /// Segments that belong to another life.
    pub strangers: u64,
    /// Nobody can know which sequences were used last: some were left out.
    pub leapt: bool,
}

impl<F: Files> Log<F> {
    /// Opens the log in `files`. `fresh` is the queue epoch to begin with if there is none to go on with.
    ///
    /// # Errors
    ///
    /// Of the file system only; content can be anything.
    pub fn open(files: F, config: LogConfig, boot: BootId, fresh: QueueEpoch) -> io::Result<(Self, Recovered)> {
        let all = files.list()?;
        let marks = match all.iter().find(|(name, _)| name == MARKS) {
            Some(_) => readable(files.read(MARKS, 0, 2 * PLACE_BYTES))?,
            None => None,
        };
        let is_whole = marks.as_ref().is_some_and(|file| file.len() == 2 * PLACE_BYTES);
        let marks = marks.and_then(|file| Marks::decode(&file));
        let (found, segments) = listed(&all, marks);
        let epoch = found.unwrap_or(fresh);
        let known = marks.filter(|marks| Some(marks.epoch) == found);
        let blank = Marks {
            turn: marks.map_or(0, |marks| marks.turn),
            epoch,
            boot,
            clean: false,
            given: Given::NOTHING,
            host: None,
            through: [Sequence(0); 3],
            books: [Books::default(); 3],
        };
        let mut log = Self {
            files,
            config,
            epoch,
            lanes: std::array::from_fn(|_| Lane::new(Sequence(0))),
            standings: BTreeMap::new(),
            series_next: 0,
            last: Sequence(0),
            marks: Marks { boot, ..known.unwrap_or(blank) },
            bytes: 0,
            gone: VecDeque::new(),
        };
        let mut damage = Damage::default();
        for stranger in segments.iter().filter(|segment| segment.epoch != epoch) {
            // One that cannot be removed costs its room and nothing else.
            let _ = log.files.remove(&stranger.name);
            damage.strangers += 1;
        }
        // A clean end leaves nothing to the power; nor does the end of a process within one boot.
        let was_cut = !known.is_some_and(|marks| marks.clean || marks.boot == boot);
        for class in CLASSES {
            let of_class = segments.iter().filter(|segment| (segment.epoch, segment.class) == (epoch, class));
            let of_class: Vec<_> = of_class.collect();
            log.open_lane(class, &of_class, was_cut, &mut damage)?;
        }
        let through = log.marks.through.into_iter().max().unwrap_or(Sequence(0));
        log.last = log.last.max(through).max(log.marks.given.last);
        log.series_next = log.series_next.max(log.marks.given.series_next);
        if !is_whole {
            make_marks(&mut log.files)?;
        }
        // While the disk fails or stalls frames are sent that are not here, and it may not even take a mark that says so.
        if found.is_some() && !known.is_some_and(|marks| marks.clean) {
            log.last = Sequence(log.last.0.saturating_add(LEAP));
            log.series_next += (u32::MAX - log.series_next) / SERIES_LEAP_PART;
            damage.leapt = true;
        }
        log.mark(log.marks.books, Given::NOTHING, false)?;
        log.files.sync_folder()?;
        let recovered = log.recovered(damage);
        Ok((log, recovered))
    }

    fn recovered(&self, damage: Damage) -> Recovered {
        let mut books = self.marks.books;
        for (books, lane) in books.iter_mut().zip(&self.lanes) {
            books.shed[Reason::Damaged as usize] += lane.damaged();
        }
        let lane = |at: usize| &self.lanes[at];
        let written = |at: usize| lane(at).segments.back().map_or(0, |last| last.ordinal + last.frames_ever);
        let from = |at: usize| {
            let front = lane(at).segments.front();
            let first = front.map(|front| front.index.as_ref().and_then(Index::first_open).unwrap_or(front.first));
            first.unwrap_or(Sequence(0))
        };
        Recovered {
            epoch: self.epoch.0,
            next: self.last.0.saturating_add(1),
            series_next: self.series_next,
            positions: self
                .standings
                .iter()
                .map(|(source, (_, position))| (source.clone(), position.clone()))
                .collect(),
            pending: std::array::from_fn(|at| lane(at).open()),
            from: std::array::from_fn(from),
            made: std::array::from_fn(|at| written(at) + books[at].unlogged),
            books,
            damage,
        }
    }

    fn open_lane(&mut self, class: Class, listed: &[&Listed], was_cut: bool, damage: &mut Damage) -> io::Result<()> {
        let headers = listed.iter().map(|segment| readable(segment.read_header(&self.files)).map(Option::flatten));
        let headers = headers.collect::<io::Result<Vec<_>>>()?;
        let through = self.marks.through[class_index(class)];
        let damaged_before = self.marks.books[class_index(class)].shed[Reason::Damaged as usize];
        let mut lane = Lane { damaged_before, ..Lane::new(through) };
        for at in 0..headers.len() {
            let (&Listed { first, bytes, .. }, header) = (listed[at], headers[at]);
            let is_last = at + 1 == headers.len();
            let ordinal = lane.segments.back().map_or(0, |before| before.ordinal + before.frames_ever);
            let mut segment = Segment { bytes, ..Segment::new(first, header.map_or(ordinal, |header| header.ordinal)) };
            let counted = headers.get(at + 1).copied().flatten().and_then(|next| {
                let frames = next.ordinal.checked_sub(segment.ordinal)?;
                ((header.is_some() || at > 0) && next.previous == first).then_some(frames)
            });
            segment.frames = counted.unwrap_or(0);
            segment.frames_ever = segment.frames;
            if is_last || counted.is_none() || lane.segments.is_empty() {
                self.look_into(class, &mut segment, is_last.then_some(was_cut), counted, &mut lane, damage)?;
            }
            lane.segments.push_back(segment);
        }
        // Where the last checkpoint was lost, an earlier one and what follows it say the same.
        let mut at = lane.segments.len();
        while at > 0 {
            at -= 1;
            let segment = &lane.segments[at];
            let content = readable(segment.read(&self.files, self.epoch, class))?.unwrap_or_default();
            let found = scan(&content, segment.first);
            self.take_standings(&found);
            if found.has_checkpoint() {
                break;
            }
        }
        self.bytes += lane.segments.iter().map(|segment| segment.bytes).sum::<u64>();
        self.lanes[class_index(class)] = lane;
        self.reclaim_settled(class)
    }

    /// Reads a segment whole. `cut_of_last` is for the last one alone: whether the power may have cut it; then what was
    /// left half-done is cut off.
    fn look_into(
        &mut self,
        class: Class,
        segment: &mut Segment,
        cut_of_last: Option<bool>,
        counted: Option<u64>,
        lane: &mut Lane,
        damage: &mut Damage,
    ) -> io::Result<()> {
        let name = segment_name(self.epoch, class, segment.first);
        let content = readable(segment.read(&self.files, self.epoch, class))?;
        damage.bad_stretches += u64::from(content.is_none());
        let content = content.unwrap_or_default();
        let mut found = scan(&content, segment.first);
        let mut end = content.len();
        match (cut_of_last, found.bad.first().copied()) {
            (Some(was_cut), Some((from, to))) if was_cut || to == content.len() => end = from,
            _ => {}
        }
        if end < content.len() {
            found.records.retain(|record| record.end <= end);
            found.bad.clear();
            damage.torn_bytes += (content.len() - end) as u64;
            // What cannot be cut off is not read, and nothing is put behind it.
            lane.is_torn |= self.files.truncate(&name, end as u64).is_err();
            segment.bytes = end as u64;
        }
        let mut index = Index::default();
        found.frames().for_each(|(sequence, _)| index.push(sequence));
        segment.frames = index.len();
        let lost = match counted {
            Some(frames) => frames.saturating_sub(index.len()),
            None => found.bad.len() as u64,
        };
        segment.frames_ever = index.len() + lost;
        damage.bad_stretches += found.bad.len() as u64;
        lane.is_torn |=
            cut_of_last.is_some() && (!found.bad.is_empty() || found.header.is_none() || !found.has_checkpoint());
        index.settle_through(lane.through);
        segment.index = Some(index);
        Ok(())
    }

    fn take_standings(&mut self, found: &Found<'_>) {
        for record in &found.records {
            self.last = self.last.max(record.sequence);
            self.series_next = self.series_next.max(record.series_next);
            for standing in decode_cursors(record.cursors).unwrap_or_default() {
                let Cursor { source, position } = &standing.cursor;
                stand(&mut self.standings, standing.sequence, source, position);
            }
        }
    }

    /// What the marks say is settled need not be kept; nor need its index.
    fn reclaim_settled(&mut self, class: Class) -> io::Result<()> {
        let lane = &mut self.lanes[class_index(class)];
        let starts: Vec<_> = lane.segments.iter().skip(1).map(|segment| segment.first).collect();
        for (segment, next) in lane.segments.iter_mut().zip(starts) {
            let is_settled = next.0.saturating_sub(1) <= lane.through.0;
            if is_settled && segment.index.is_none() {
                segment.frames = 0;
            }
        }
        self.reclaim(class)?;
        let lane = &self.lanes[class_index(class)];
        if lane.segments.front().is_some_and(|front| front.index.is_none() && front.first <= lane.through) {
            self.need_index(class, 0)?;
            // What it found damaged is in the books from the start.
            self.gone.clear();
        }
        Ok(())
    }
}

/// Keeps the later one of two positions of a source.
pub(crate) fn stand(
    standings: &mut BTreeMap<String, (Sequence, Vec<u8>)>,
    sequence: Sequence,
    source: &str,
    position: &[u8],
) {
    match standings.get_mut(source) {
        Some(known) if known.0 > sequence => {}
        Some(known) => *known = (sequence, position.to_vec()),
        None => {
            standings.insert(source.to_owned(), (sequence, position.to_vec()));
        }
    }
}

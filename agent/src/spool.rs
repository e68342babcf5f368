//! The spool: every batch waits here until the collector has committed it. It is the agent's only checkpoint.
//!
//! Sans-IO. A batch gets its sequence when it comes in and leaves when it is acknowledged or, if room is short, shed: the
//! oldest of the least important class goes first. Always true: `made = acked + shed + pending`, per class.
//!
//! This is the half in memory: what is not in the [`log`] yet, and a window of what is to be sent next. The other half
//! does the input and output in a thread of its own ([`keeper`]); the two talk in [`Request`] and [`Reply`]. A batch is
//! handed to the connection once the log has it, so a sequence never means two batches. While the disk fails or does not
//! answer, batches are sent all the same, and as many wait as fit into memory; so whoever opens a log that was not closed
//! leaves out the sequences that may have been used. What was read of log files waits for a disk that is merely slow, up
//! to half of memory's share: sent past it and then read again after a crash, it would count twice.

pub mod books;
mod dialogue;
pub mod files;
pub mod inspect;
pub mod keeper;
mod lane;
pub mod log;
pub mod marks;
pub mod segment;

use books::Reason;
use keeper::Standings;
pub use lane::Counts;
use lane::{Lane, State, Waiting};
use log::{Gone, Page, Recovered, class_index, stand};
use std::collections::BTreeMap;
use std::sync::Arc;
use vedette_protocol::ids::{QueueEpoch, Sequence};
use vedette_protocol::session::agent::EncodedBatch;
use vedette_protocol::time::MonoTime;
use vedette_protocol::v1::{Class, Cursor, Outcome};

/// Classes from the most to the least important.
pub const CLASSES: [Class; 3] = [Class::Finding, Class::Feature, Class::Log];

/// Memory that one waiting batch costs beyond its bytes: map node, reference counts, bookkeeping.
const ENTRY_OVERHEAD_BYTES: usize = 256;

/// The same of a position beside its bytes: three blocks.
const CURSOR_OVERHEAD_BYTES: usize = 96;

/// Batches shed after they were sent, whose acknowledgement would still prove them stored.
const SHED_IN_FLIGHT_MAX: usize = 1024;

/// Batches that the log has are kept in memory, too, as long as all take no more than this.
const WINDOW_BYTES: usize = 1 << 20;

/// Bytes that the spool takes beside what waits in memory by its limit: what the disk is being given, what is read from it,
/// the largest frame twice, and what is known of `disk_bytes_max` bytes of segments.
pub(crate) fn overhead_bytes_max(disk_bytes_max: u64) -> usize {
    let segments = usize::try_from(disk_bytes_max / keeper::SEGMENT_BYTES).unwrap_or(usize::MAX) + 2 * CLASSES.len();
    let pages = CLASSES.len() * dialogue::PAGE_BYTES;
    WINDOW_BYTES
        + dialogue::HANDED_BYTES_MAX
        + pages
        + 2 * vedette_protocol::envelope::PAYLOAD_BYTES_MAX
        + log::INDEX_BYTES_MAX
        + segments.saturating_mul(log::SEGMENT_ENTRY_BYTES)
}

/// How the disk is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Disk {
    /// There is none: the spool lives as long as the process. For people: why.
    Absent(String),
    /// It takes what it is given.
    Well,
    /// It does not, for this reason. It is tried again and again.
    Failing(String),
}

/// What the disk has done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Reply {
    /// These batches are in the log, for good if they carry cursors.
    Written(Vec<Sequence>),
    /// It takes batches again.
    Resumed,
    /// There is no room in the log for this batch.
    NoRoom(Sequence),
    /// The disk fails; these batches are not in the log, and nothing will be until [`Request::Resume`].
    Failed {
        /// Batches.
        unwritten: Vec<Sequence>,
        /// Why.
        reason: String,
    },
    /// It was told that these need not be sent again.
    Settled {
        /// Batches.
        sequences: Vec<(Class, Sequence)>,
        /// Those of them that never got into the log.
        missing: Vec<Sequence>,
    },
    /// Positions were taken down; or not, and why.
    Noted(Result<(), (Standings, String)>),
    /// Batches from the log; `None` if they cannot be read now.
    Page(Class, Option<Page>),
    /// Batches are gone.
    Gone(Gone),
    /// The marks were written, or not.
    Marked(Result<(), String>),
    /// What the log takes up: bytes and segments.
    Size(u64, u64),
}

/// A batch that the log is to be told of.
struct Settling {
    class: Class,
    is_told: bool,
    /// The log was asked to take it and did not say that it has.
    is_doubtful: bool,
}

/// Batches that wait for the collector's word.
pub struct Spool {
    epoch: QueueEpoch,
    next: Sequence,
    series_next: u32,
    bytes: usize,
    bytes_max: usize,
    lanes: [Lane; 3],
    shed_in_flight: BTreeMap<Sequence, (usize, Reason)>,
    acks_unknown: u64,
    disk: Disk,
    /// What the log does not have yet and was not asked to take, in order.
    unwritten: BTreeMap<Sequence, Class>,
    /// Where sources stand after batches that were settled without having been in the log.
    unnoted: Standings,
    /// After which batch sources stand for good, and where, unless that was told.
    safe: BTreeMap<String, (Sequence, Option<Vec<u8>>)>,
    /// Settled, and the log has not confirmed it.
    settling: BTreeMap<Sequence, Settling>,
    requests: usize,
    handed_bytes: usize,
    /// Since when the disk owes an answer.
    asked: Option<MonoTime>,
    stalled: bool,
    /// What the disk refused; it is asked again at this time.
    retry: Option<MonoTime>,
    resuming: bool,
    /// One batch is given to a disk that has failed, to see how it is.
    is_trial: bool,
    marked: MonoTime,
    mark_due: bool,
    is_marked: bool,
    log_bytes: u64,
    log_segments: u64,
}

impl Spool {
    /// An empty spool without a disk, for the reason given, that holds at most `bytes_max` bytes. `epoch` must never have
    /// been used on this host before.
    pub fn in_memory(epoch: QueueEpoch, bytes_max: usize, reason: impl Into<String>) -> Self {
        Self {
            epoch,
            next: Sequence(1),
            series_next: 0,
            bytes: 0,
            bytes_max,
            lanes: [Lane::default(), Lane::default(), Lane::default()],
            shed_in_flight: BTreeMap::new(),
            acks_unknown: 0,
            disk: Disk::Absent(reason.into()),
            unwritten: BTreeMap::new(),
            unnoted: Standings::new(),
            safe: BTreeMap::new(),
            settling: BTreeMap::new(),
            requests: 0,
            handed_bytes: 0,
            asked: None,
            stalled: false,
            retry: None,
            resuming: false,
            is_trial: false,
            marked: MonoTime::default(),
            mark_due: false,
            is_marked: true,
            log_bytes: 0,
            log_segments: 0,
        }
    }

    /// Goes on with what a log holds; at most `bytes_max` bytes wait in memory if the disk fails.
    pub fn recovered(recovered: &Recovered, bytes_max: usize) -> Self {
        let mut spool = Self::in_memory(QueueEpoch(recovered.epoch), bytes_max, "");
        spool.disk = Disk::Well;
        spool.next = Sequence(recovered.next);
        spool.series_next = recovered.series_next;
        for (at, lane) in spool.lanes.iter_mut().enumerate() {
            let pending = recovered.pending[at];
            let (made, books) = (recovered.made[at], recovered.books[at]);
            let acked = made.saturating_sub(books.shed_total() + pending);
            *lane = Lane { books, ..Lane::default() };
            (lane.made, lane.acked, lane.pending) = (acked + books.shed_total() + pending, acked, pending);
            lane.hole = (pending > 0).then_some(recovered.from[at]);
        }
        spool
    }

    /// Series indices from this on were not given yet; it is kept with every batch.
    pub fn set_series_next(&mut self, series_next: u32) {
        self.series_next = self.series_next.max(series_next);
    }

    /// Takes a batch in. `encode` is told its sequence and gives the encoded frame, or nothing if no frame can hold it;
    /// `cursors` say where its sources stood. Sheds until the rest fits, which may be this very batch.
    pub fn push(
        &mut self,
        class: Class,
        cursors: &[Cursor],
        encode: impl FnOnce(Sequence) -> Option<Vec<u8>>,
    ) -> Sequence {
        let sequence = self.next;
        self.next = Sequence(sequence.0 + 1);
        let lane = self.lane_mut(class);
        lane.made += 1;
        lane.pending += 1;
        match encode(sequence) {
            Some(frame) if cost(&frame, cursors) <= self.bytes_max => {
                let waiting = Waiting::new(frame.into(), cursors);
                self.bytes += waiting.cost_bytes();
                self.lane_mut(class).frames.insert(sequence, waiting);
                self.unwritten.insert(sequence, class);
                self.make_room();
            }
            unfit => {
                let reason = if unfit.is_some() { Reason::MemoryRoom } else { Reason::Unsendable };
                self.note(sequence, cursors.to_vec());
                self.count_shed(class, sequence, reason, true);
            }
        }
        sequence
    }

    /// Another limit from now on; what is beyond it is shed.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.make_room();
    }

    /// Where a source stands, without a batch that says so.
    pub fn handle_cursor(&mut self, cursor: Cursor) {
        self.note(Sequence(self.next.0 - 1), vec![cursor]);
    }

    /// The next batch of `class` to hand to the connection, oldest first. Ask for the important classes first.
    pub fn poll_send(&mut self, class: Class) -> Option<EncodedBatch> {
        let without_log = self.is_without_log() && !(class == Class::Log && self.can_wait());
        let lane = self.lane_mut(class);
        let next = lane.frames.range(lane.unsent..).next();
        let is_behind_hole = |sequence| lane.hole.is_some_and(|hole| hole <= sequence);
        if !without_log && lane.hole.is_some() && next.is_none_or(|(&sequence, _)| is_behind_hole(sequence)) {
            lane.is_wanted = true;
            return None;
        }
        let (&sequence, waiting) = next.filter(|(_, waiting)| without_log || waiting.state == State::Written)?;
        let bytes = Arc::clone(&waiting.frame);
        lane.unsent = Sequence(sequence.0 + 1);
        lane.new = lane.new.max(lane.unsent);
        Some(EncodedBatch { sequence, class, bytes })
    }

    /// The connection had no room for the batch that was polled last of its class: it is polled again.
    pub fn handle_no_room(&mut self, batch: &EncodedBatch) {
        self.lane_mut(batch.class).unsent = batch.sequence;
    }

    /// A batch cannot be sent at all: it is shed.
    pub fn handle_unsendable(&mut self, sequence: Sequence) {
        if let Some(class) = self.class_of(sequence) {
            let unlogged = self.leave(class, sequence);
            self.count_shed(class, sequence, Reason::Unsendable, unlogged);
        }
    }

    /// The collector has settled a batch. Whatever the outcome, sending it again would not help.
    pub fn handle_ack(&mut self, sequence: Sequence, outcome: Outcome) {
        let Some(class) = self.class_of(sequence) else { return self.handle_late_ack(sequence) };
        let unlogged = self.leave(class, sequence);
        let lane = self.lane_mut(class);
        lane.books.unlogged += u64::from(unlogged);
        lane.pending = lane.pending.saturating_sub(1);
        lane.acked += 1;
        match outcome {
            Outcome::Committed => {}
            Outcome::Duplicate => lane.duplicates += 1,
            Outcome::Quarantined => lane.quarantined += 1,
        }
    }

    /// The connection is new or gone: everything that is not acknowledged has to be sent again.
    pub fn handle_reconnect(&mut self) {
        for lane in &mut self.lanes {
            lane.unsent = Sequence(0);
        }
    }

    /// Sources of which the log has more, or more was settled or shed, since the last call, with where they stand.
    pub fn take_safe_cursors(&mut self) -> Vec<Cursor> {
        let told = |(source, (_, position)): (&String, &mut (Sequence, Option<Vec<u8>>))| {
            position.take().map(|position| Cursor { source: source.clone(), position })
        };
        self.safe.iter_mut().filter_map(told).collect()
    }

    /// Life of this spool.
    pub fn epoch(&self) -> QueueEpoch {
        self.epoch
    }

    /// The sequence that the next batch gets.
    pub fn next_sequence(&self) -> Sequence {
        self.next
    }

    /// How the disk is.
    pub fn disk(&self) -> Disk {
        match &self.disk {
            Disk::Well if self.stalled => Disk::Failing("it does not answer".to_owned()),
            disk => disk.clone(),
        }
    }

    /// Whether all that waits would survive the end of the process.
    pub fn is_safe(&self) -> bool {
        self.disk() == Disk::Well && self.unwritten.is_empty() && self.requests == 0
    }

    /// What became of the batches of `class`.
    pub fn counts(&self, class: Class) -> Counts {
        self.lanes[class_index(class)].counts()
    }

    /// What became of all batches.
    pub fn totals(&self) -> Counts {
        self.lanes.iter().map(Lane::counts).fold(Counts::default(), Counts::plus)
    }

    /// Batches shed, by [`Reason`].
    pub fn shed_by_reason(&self) -> [u64; books::REASONS] {
        let sum = |reason: usize| self.lanes.iter().map(|lane| lane.books.shed[reason]).sum();
        std::array::from_fn(sum)
    }

    /// Memory in use, an estimate that includes bookkeeping; above the limit only by what the disk is
    /// being given, and what is on its way to the collector.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Bytes and segments of the log.
    pub fn log_size(&self) -> (u64, u64) {
        (self.log_bytes, self.log_segments)
    }

    /// Acknowledgements of batches that were not waiting: sent twice and answered twice, or shed meanwhile.
    pub fn acks_unknown(&self) -> u64 {
        self.acks_unknown
    }

    /// A batch that was shed while it was on its way has arrived after all: it is not lost and not counted so.
    fn handle_late_ack(&mut self, sequence: Sequence) {
        let Some((at, reason)) = self.shed_in_flight.remove(&sequence) else {
            self.acks_unknown += 1;
            return;
        };
        self.lanes[at].books.shed[reason as usize] -= 1;
        self.lanes[at].acked += 1;
    }

    /// Keeps memory within its bounds: what the log has can go; of the rest the oldest of the lowest class is shed.
    fn make_room(&mut self) {
        let window = if self.is_without_log() { self.bytes_max } else { self.bytes_max.min(WINDOW_BYTES) };
        while self.bytes > window {
            let evicted = self.lanes.iter_mut().rev().find_map(Lane::evict);
            match evicted {
                Some(cost_bytes) => self.bytes -= cost_bytes,
                None => break,
            }
        }
        while self.bytes > self.bytes_max {
            // What is on its way to the collector is not kept waiting for, nor shed for: the disk takes what comes.
            if !self.is_without_log() && self.unwritten_bytes() <= self.bytes_max {
                return;
            }
            let Some((class, sequence)) = self.least_important() else { return };
            let unlogged = self.leave(class, sequence);
            self.count_shed(class, sequence, Reason::MemoryRoom, unlogged);
        }
    }

    fn unwritten_bytes(&self) -> usize {
        let waiting = self.unwritten.iter().filter_map(|(at, class)| self.lanes[class_index(*class)].frames.get(at));
        waiting.map(Waiting::cost_bytes).sum()
    }

    /// The oldest of the lowest class that only memory has.
    fn least_important(&self) -> Option<(Class, Sequence)> {
        CLASSES.into_iter().rev().find_map(|class| {
            let mut frames = self.lanes[class_index(class)].frames.iter();
            frames.find(|(_, waiting)| waiting.state == State::Unwritten).map(|(sequence, _)| (class, *sequence))
        })
    }

    /// A batch leaves memory for good. Whether the log never heard of it; of what it was asked to take, it will say so.
    fn leave(&mut self, class: Class, sequence: Sequence) -> bool {
        let Some(waiting) = self.lane_mut(class).frames.remove(&sequence) else { return false };
        self.bytes -= waiting.cost_bytes();
        let unlogged = self.unwritten.remove(&sequence).is_some();
        if !unlogged || waiting.was_handed {
            let is_doubtful = waiting.state != State::Written;
            self.settling.insert(sequence, Settling { class, is_told: false, is_doubtful });
        }
        if unlogged {
            self.note(sequence, waiting.cursors);
        } else {
            self.keep_safe(sequence, waiting.cursors);
        }
        unlogged && !waiting.was_handed
    }

    fn count_shed(&mut self, class: Class, sequence: Sequence, reason: Reason, unlogged: bool) {
        let lane = self.lane_mut(class);
        lane.pending = lane.pending.saturating_sub(1);
        lane.books.shed[reason as usize] += 1;
        lane.books.unlogged += u64::from(unlogged);
        self.is_marked = false;
        self.remember_shed(class, sequence, reason);
    }

    fn remember_shed(&mut self, class: Class, sequence: Sequence, reason: Reason) {
        if sequence < self.lane_mut(class).new {
            self.shed_in_flight.insert(sequence, (class_index(class), reason));
        }
        if self.shed_in_flight.len() > SHED_IN_FLIGHT_MAX {
            self.shed_in_flight.pop_first();
        }
    }

    fn note(&mut self, sequence: Sequence, cursors: Vec<Cursor>) {
        if !matches!(self.disk, Disk::Absent(_)) {
            for Cursor { source, position } in &cursors {
                stand(&mut self.unnoted, sequence, source, position);
            }
        }
        self.keep_safe(sequence, cursors);
    }

    /// Batches can be settled out of order; a source does not go back.
    fn keep_safe(&mut self, sequence: Sequence, cursors: Vec<Cursor>) {
        for Cursor { source, position } in cursors {
            let known = self.safe.entry(source).or_insert((sequence, None));
            if known.0 <= sequence {
                *known = (sequence, Some(position));
            }
        }
    }

    /// Batches are sent although the log does not have them.
    fn is_without_log(&self) -> bool {
        self.stalled || self.disk != Disk::Well
    }

    /// The disk is merely slow, and there is room for what waits for it.
    fn can_wait(&self) -> bool {
        self.disk == Disk::Well && self.bytes <= self.bytes_max / 2
    }

    fn class_of(&self, sequence: Sequence) -> Option<Class> {
        CLASSES.into_iter().find(|class| self.lanes[class_index(*class)].frames.contains_key(&sequence))
    }

    fn lane_mut(&mut self, class: Class) -> &mut Lane {
        &mut self.lanes[class_index(class)]
    }
}

/// Positions wait beside the frame, and can be long.
fn cost(frame: &[u8], cursors: &[Cursor]) -> usize {
    let position = |cursor: &Cursor| cursor.source.len() + cursor.position.len() + CURSOR_OVERHEAD_BYTES;
    let positions: usize = cursors.iter().map(position).sum();
    frame.len() + positions + ENTRY_OVERHEAD_BYTES
}

#[cfg(test)]
mod disk_tests;
#[cfg(test)]
mod tests;

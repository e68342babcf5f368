//! The spool: every batch waits here until the collector has committed it. It is the agent's only checkpoint.
//!
//! Sans-IO and in memory: it lives as long as the process, so each start is a new queue epoch. A batch gets its
//! sequence when it comes in and leaves when it is acknowledged or, if room is short, shed: the oldest batch of the
//! least important class goes first. Always true: `made = acked + shed + pending`, per class and in bytes.

mod cursors;

use cursors::Cursors;
use std::collections::BTreeMap;
use std::sync::Arc;
use vedette_protocol::ids::{QueueEpoch, Sequence};
use vedette_protocol::session::agent::EncodedBatch;
use vedette_protocol::v1::{Class, Cursor, Outcome};

/// Classes from the most to the least important.
pub const CLASSES: [Class; 3] = [Class::Finding, Class::Feature, Class::Log];

/// Memory that one waiting batch costs beyond its bytes: map node, reference counts, cursor bookkeeping.
const ENTRY_OVERHEAD_BYTES: usize = 160;

/// Batches shed after they were sent, whose acknowledgement would still prove them stored.
const SHED_IN_FLIGHT_MAX: usize = 1024;

/// What became of the batches of one class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Given a sequence.
    pub made: u64,
    /// Settled by the collector, quarantined ones included.
    pub acked: u64,
    /// Dropped here for want of room.
    pub shed: u64,
    /// Waiting.
    pub pending: u64,
    /// Part of `acked` that the collector had before.
    pub duplicates: u64,
    /// Part of `acked` that the collector put aside unread.
    pub quarantined: u64,
}

/// Batches that wait for the collector's word.
pub struct Spool {
    epoch: QueueEpoch,
    next: Sequence,
    bytes: usize,
    bytes_max: usize,
    lanes: [Lane; 3],
    cursors: Cursors,
    shed_in_flight: BTreeMap<Sequence, usize>,
    acks_unknown: u64,
}

/// Waiting batches of one class; those from `unsent` on were not handed to the present connection, those from `new` on
/// to none.
struct Lane {
    frames: BTreeMap<Sequence, Waiting>,
    unsent: Sequence,
    new: Sequence,
    counts: Counts,
}

/// A batch that waits, with the memory that it costs.
struct Waiting {
    frame: Arc<[u8]>,
    cost_bytes: usize,
}

impl Spool {
    /// An empty spool that holds at most `bytes_max` bytes. `epoch` must never have been used on this host before.
    pub fn new(epoch: QueueEpoch, bytes_max: usize) -> Self {
        let lane =
            || Lane { frames: BTreeMap::new(), unsent: Sequence(0), new: Sequence(0), counts: Counts::default() };
        Self {
            epoch,
            next: Sequence(1),
            bytes: 0,
            bytes_max,
            lanes: [lane(), lane(), lane()],
            cursors: Cursors::default(),
            shed_in_flight: BTreeMap::new(),
            acks_unknown: 0,
        }
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
        let counts = &mut self.lanes[index(class)].counts;
        counts.made += 1;
        counts.pending += 1;
        self.cursors.add(sequence, cursors);
        let waiting = encode(sequence).map(|frame| Waiting { cost_bytes: cost(&frame, cursors), frame: frame.into() });
        match waiting.filter(|waiting| waiting.cost_bytes <= self.bytes_max) {
            Some(waiting) => {
                self.bytes += waiting.cost_bytes;
                self.lane_mut(class).frames.insert(sequence, waiting);
                self.shed_surplus();
            }
            None => self.shed_one(index(class), sequence),
        }
        sequence
    }

    /// Another limit from now on; what is beyond it is shed.
    pub fn set_bytes_max(&mut self, bytes_max: usize) {
        self.bytes_max = bytes_max;
        self.shed_surplus();
    }

    /// The next batch of `class` to hand to the connection, oldest first. Ask for the important classes first.
    pub fn poll_send(&mut self, class: Class) -> Option<EncodedBatch> {
        let lane = self.lane_mut(class);
        let (&sequence, waiting) = lane.frames.range(lane.unsent..).next()?;
        lane.unsent = Sequence(sequence.0 + 1);
        lane.new = lane.new.max(lane.unsent);
        Some(EncodedBatch { sequence, class, bytes: Arc::clone(&waiting.frame) })
    }

    /// The connection had no room for the batch that was polled last of its class: it is polled again.
    pub fn handle_no_room(&mut self, batch: &EncodedBatch) {
        self.lane_mut(batch.class).unsent = batch.sequence;
    }

    /// A batch cannot be sent at all: it is shed.
    pub fn handle_unsendable(&mut self, sequence: Sequence) {
        if let Some(lane) = (0..self.lanes.len()).find(|lane| self.lanes[*lane].frames.contains_key(&sequence)) {
            self.shed_one(lane, sequence);
        }
    }

    /// The collector has settled a batch. Whatever the outcome, sending it again would not help.
    pub fn handle_ack(&mut self, sequence: Sequence, outcome: Outcome) {
        let Some((lane, waiting)) =
            self.lanes.iter_mut().find_map(|lane| lane.frames.remove(&sequence).map(|waiting| (lane, waiting)))
        else {
            return self.handle_late_ack(sequence);
        };
        lane.counts.pending -= 1;
        lane.counts.acked += 1;
        match outcome {
            Outcome::Committed => {}
            Outcome::Duplicate => lane.counts.duplicates += 1,
            Outcome::Quarantined => lane.counts.quarantined += 1,
        }
        self.bytes -= waiting.cost_bytes;
        self.cursors.settle(sequence);
    }

    /// The connection is new or gone: everything that is not acknowledged has to be sent again.
    pub fn handle_reconnect(&mut self) {
        for lane in &mut self.lanes {
            lane.unsent = Sequence(0);
        }
    }

    /// Sources whose settled position moved since the last call, with that position.
    pub fn take_settled_cursors(&mut self) -> Vec<Cursor> {
        self.cursors.take_moved()
    }

    /// Life of this spool.
    pub fn epoch(&self) -> QueueEpoch {
        self.epoch
    }

    /// What became of the batches of `class`.
    pub fn counts(&self, class: Class) -> Counts {
        self.lanes[index(class)].counts
    }

    /// What became of all batches.
    pub fn totals(&self) -> Counts {
        self.lanes.iter().fold(Counts::default(), |sum, lane| Counts {
            made: sum.made + lane.counts.made,
            acked: sum.acked + lane.counts.acked,
            shed: sum.shed + lane.counts.shed,
            pending: sum.pending + lane.counts.pending,
            duplicates: sum.duplicates + lane.counts.duplicates,
            quarantined: sum.quarantined + lane.counts.quarantined,
        })
    }

    /// Memory in use, an estimate that includes bookkeeping; never above the limit.
    pub fn bytes(&self) -> usize {
        self.bytes
    }

    /// Acknowledgements of batches that were not waiting: sent twice and answered twice, or shed meanwhile.
    pub fn acks_unknown(&self) -> u64 {
        self.acks_unknown
    }

    /// A batch that was shed while it was on its way has arrived after all: it is not lost and not counted so.
    fn handle_late_ack(&mut self, sequence: Sequence) {
        let Some(lane) = self.shed_in_flight.remove(&sequence) else {
            self.acks_unknown += 1;
            return;
        };
        self.lanes[lane].counts.shed -= 1;
        self.lanes[lane].counts.acked += 1;
    }

    fn shed_surplus(&mut self) {
        while self.bytes > self.bytes_max {
            let Some((lane, oldest)) = self.least_important() else { return };
            self.shed_one(lane, oldest);
        }
    }

    fn least_important(&self) -> Option<(usize, Sequence)> {
        (0..self.lanes.len()).rev().find_map(|lane| Some((lane, *self.lanes[lane].frames.first_key_value()?.0)))
    }

    fn shed_one(&mut self, lane: usize, sequence: Sequence) {
        let Lane { frames, new, counts, .. } = &mut self.lanes[lane];
        counts.pending -= 1;
        counts.shed += 1;
        if let Some(waiting) = frames.remove(&sequence) {
            self.bytes -= waiting.cost_bytes;
        }
        if sequence < *new {
            self.shed_in_flight.insert(sequence, lane);
        }
        if self.shed_in_flight.len() > SHED_IN_FLIGHT_MAX {
            self.shed_in_flight.pop_first();
        }
        self.cursors.settle(sequence);
    }

    fn lane_mut(&mut self, class: Class) -> &mut Lane {
        &mut self.lanes[index(class)]
    }
}

fn index(class: Class) -> usize {
    match class {
        Class::Finding => 0,
        Class::Feature => 1,
        Class::Log => 2,
    }
}

/// Positions are kept apart from the frame until the batch is settled, and can be long.
fn cost(frame: &[u8], cursors: &[Cursor]) -> usize {
    let positions: usize = cursors.iter().map(|cursor| cursor.source.len() + cursor.position.len()).sum();
    frame.len() + positions + ENTRY_OVERHEAD_BYTES
}

#[cfg(test)]
mod tests;

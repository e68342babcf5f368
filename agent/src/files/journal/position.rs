//! Where reading stands, as bytes.
//!
//! Version 1, integers little-endian: version `u8`, flags `u8` (1: a volatile journal was read), boot (16 bytes) and
//! monotonic time in µs (`u64`) of the last entry of a volatile journal, then for each run of sequence numbers its id (16 bytes)
//! and the last number read (`u64`).

use super::entry::Entry;
use super::format::Id;

/// Runs of sequence numbers that are told apart: journald begins another one when it has lost the last.
pub(super) const RUNS_MAX: usize = 32;
const VERSION: u8 = 1;
const RUN_BYTES: usize = 16 + 8;
const VOLATILE: u8 = 1;

/// How far every run was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Position {
    /// Oldest first.
    pub(super) runs: Vec<(Id, u64)>,
    /// Boot and monotonic time of the last entry that was read from a volatile journal. What journald copies from there
    /// to the disk has other numbers, but the same times.
    pub(super) copied_to: Option<(Id, u64)>,
}

impl Position {
    /// Last number read of a run; `None` if nothing is known of it.
    pub(super) fn of(&self, run: &Id) -> Option<u64> {
        self.runs.iter().find(|(id, _)| id == run).map(|(_, seqnum)| *seqnum)
    }

    /// A run was read up to `seqnum`. Of too many runs the oldest is forgotten.
    pub(super) fn set(&mut self, run: Id, seqnum: u64) {
        if let Some((_, last)) = self.runs.iter_mut().find(|(id, _)| *id == run) {
            *last = seqnum;
            return;
        }
        if self.runs.len() == RUNS_MAX {
            self.runs.remove(0);
        }
        self.runs.push((run, seqnum));
    }

    /// Whether an entry of a run was read before this position was taken.
    pub(super) fn covers(&self, run: &Id, entry: &Entry) -> bool {
        self.of(run).is_some_and(|seqnum| entry.seqnum <= seqnum)
    }

    /// Whether an entry on disk was read when it was in a volatile journal.
    pub(super) fn has_copied(&self, entry: &Entry) -> bool {
        self.copied_to.is_some_and(|(boot, until_us)| boot == entry.boot && entry.monotonic_us <= until_us)
    }

    /// Whether everything that `other` covers is covered.
    pub(super) fn includes(&self, other: &Self) -> bool {
        other.runs.iter().all(|(run, seqnum)| self.of(run).is_some_and(|own| own >= *seqnum))
    }

    pub(super) fn encode(&self) -> Vec<u8> {
        let (boot, until_us) = self.copied_to.unwrap_or_default();
        let mut bytes = vec![VERSION, if self.copied_to.is_some() { VOLATILE } else { 0 }];
        bytes.extend(boot);
        bytes.extend(until_us.to_le_bytes());
        for (run, seqnum) in &self.runs {
            bytes.extend(run);
            bytes.extend(seqnum.to_le_bytes());
        }
        bytes
    }

    /// `None` for what [`Position::encode`] did not make.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let [VERSION, flags @ (0 | VOLATILE), rest @ ..] = bytes else { return None };
        let (copied, runs) = rest.split_first_chunk::<RUN_BYTES>()?;
        let runs = runs.chunks(RUN_BYTES).map(|run| run.first_chunk().map(split)).collect::<Option<Vec<_>>>()?;
        let copied = split(copied);
        let is_made = runs.len() <= RUNS_MAX && (*flags == VOLATILE || copied == Default::default());
        is_made.then_some(Self { runs, copied_to: (*flags == VOLATILE).then_some(copied) })
    }
}

fn split(bytes: &[u8; RUN_BYTES]) -> (Id, u64) {
    let (mut id, mut number) = (Id::default(), [0; 8]);
    id.copy_from_slice(&bytes[..16]);
    number.copy_from_slice(&bytes[16..]);
    (id, u64::from_le_bytes(number))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn bytes_are_those_of_version_1() {
        let position = Position { runs: vec![([7; 16], 0x0102)], copied_to: Some(([5; 16], 3)) };
        let expected = [&[1, 1][..], &[5; 16], &[3, 0, 0, 0, 0, 0, 0, 0], &[7; 16], &[2, 1, 0, 0, 0, 0, 0, 0]].concat();
        assert_eq!((position.encode(), Position::decode(&expected)), (expected, Some(position)));
    }

    #[test]
    fn of_too_many_runs_the_oldest_is_forgotten() {
        let mut position = Position::default();
        (0..=RUNS_MAX as u64).for_each(|run| position.set(Id::from(u128::from(run).to_le_bytes()), 1));
        assert_eq!((position.runs.len(), position.of(&[0; 16])), (RUNS_MAX, None));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..120)) {
            if let Some(position) = Position::decode(&bytes) {
                prop_assert_eq!(position.encode(), bytes);
            }
        }
    }
}

//! Waiting batches of one class, as far as they are in memory, and the account of all of them.

use super::books::Books;
use std::collections::BTreeMap;
use std::sync::Arc;
use vedette_protocol::ids::Sequence;
use vedette_protocol::time::MonoTime;
use vedette_protocol::v1::Cursor;

/// What became of the batches of one class, over the whole queue epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Given a sequence.
    pub made: u64,
    /// Settled by the collector, quarantined ones included.
    pub acked: u64,
    /// Dropped here, for whatever reason.
    pub shed: u64,
    /// Waiting.
    pub pending: u64,
    /// Part of `acked` that the collector had before, since the agent started.
    pub duplicates: u64,
    /// Part of `acked` that the collector put aside unread, since the agent started.
    pub quarantined: u64,
}

impl Counts {
    pub(super) fn plus(self, other: Self) -> Self {
        Self {
            made: self.made + other.made,
            acked: self.acked + other.acked,
            shed: self.shed + other.shed,
            pending: self.pending + other.pending,
            duplicates: self.duplicates + other.duplicates,
            quarantined: self.quarantined + other.quarantined,
        }
    }
}

/// Those from `unsent` on were not handed to the present connection, those from `new` on to none.
pub(super) struct Lane {
    pub(super) frames: BTreeMap<Sequence, Waiting>,
    pub(super) unsent: Sequence,
    pub(super) new: Sequence,
    /// From here on batches wait that only the log has.
    pub(super) hole: Option<Sequence>,
    /// They are asked for.
    pub(super) is_wanted: bool,
    /// They are being read, from here on.
    pub(super) loading: Option<Sequence>,
    /// They could not be read; they are asked for again then.
    pub(super) unreadable_until: Option<MonoTime>,
    pub(super) made: u64,
    pub(super) acked: u64,
    pub(super) pending: u64,
    pub(super) duplicates: u64,
    pub(super) quarantined: u64,
    pub(super) books: Books,
}

/// A batch in memory.
pub(super) struct Waiting {
    pub(super) frame: Arc<[u8]>,
    /// Until the log has them.
    pub(super) cursors: Vec<Cursor>,
    pub(super) state: State,
    /// The log was asked to take it and failed: it may have it all the same.
    pub(super) was_handed: bool,
}

/// What the log has of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Unwritten,
    /// It was asked to take it.
    Handed,
    Written,
}

impl Default for Lane {
    fn default() -> Self {
        Self {
            frames: BTreeMap::new(),
            unsent: Sequence(0),
            new: Sequence(0),
            hole: None,
            is_wanted: false,
            loading: None,
            unreadable_until: None,
            made: 0,
            acked: 0,
            pending: 0,
            duplicates: 0,
            quarantined: 0,
            books: Books::default(),
        }
    }
}

impl Lane {
    pub(super) fn counts(&self) -> Counts {
        let Self { made, acked, pending, duplicates, quarantined, .. } = *self;
        Counts { made, acked, shed: self.books.shed_total(), pending, duplicates, quarantined }
    }

    pub(super) fn can_load(&self) -> bool {
        self.is_wanted && self.loading.is_none() && self.unreadable_until.is_none() && self.hole.is_some()
    }

    /// Forgets the newest batch that the log has and the present connection was not given. What it cost.
    pub(super) fn evict(&mut self) -> Option<usize> {
        let unsent = self.frames.range(self.unsent..).rev();
        let newest =
            unsent.filter(|(_, waiting)| waiting.state == State::Written).map(|(sequence, _)| *sequence).next()?;
        self.hole = Some(self.hole.map_or(newest, |hole| hole.min(newest)));
        self.frames.remove(&newest).map(|waiting| waiting.cost_bytes())
    }
}

impl Waiting {
    pub(super) fn new(frame: Arc<[u8]>, cursors: &[Cursor]) -> Self {
        Self { frame, cursors: cursors.to_vec(), state: State::Unwritten, was_handed: false }
    }

    pub(super) fn cost_bytes(&self) -> usize {
        super::cost(&self.frame, &self.cursors)
    }
}

//! Sealed blocks that the disk does not have yet.
//!
//! The newest are held; of the older ones only those that the recorder's memory still has: waiting for a disk costs no
//! memory of its own. What memory forgets first is lost, counted, and leaves what its numbers mean to the next block.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::{Arc, Weak};
use vedette_edge::recorder::{Recorded, Sealed};
use vedette_protocol::series::SeriesMeta;

/// Blocks that are held whether memory still has them or not. There is one a minute, or a few in a storm.
pub const HELD: usize = 8;
/// Texts of the series that waiting blocks define, beyond which the oldest are given up.
pub const NAMES_BYTES: usize = 1 << 20;

/// Meanings of series' numbers without the block that they came with. As many as there are series.
#[derive(Debug, Default)]
struct Owed {
    defined: BTreeMap<u32, SeriesMeta>,
    ended: BTreeSet<u32>,
}

impl Owed {
    fn take(&mut self, defined: Vec<(u32, SeriesMeta)>, ended: Vec<u32>) {
        self.defined.extend(defined);
        for id in ended {
            // Nobody was ever told of it: nobody needs to hear of its end.
            if self.defined.remove(&id).is_none() {
                self.ended.insert(id);
            }
        }
    }

    /// Says first what was owed.
    fn pay(&mut self, recorded: &mut Recorded) {
        recorded.defined.splice(0..0, std::mem::take(&mut self.defined));
        recorded.ended.splice(0..0, std::mem::take(&mut self.ended));
    }
}

#[derive(Debug)]
enum Block {
    Held(Arc<Sealed>),
    /// As long as memory has it.
    Known(Weak<Sealed>),
}

#[derive(Debug)]
struct Waiting {
    block: Block,
    begin_ms: i64,
    end_ms: i64,
    defined: Vec<(u32, SeriesMeta)>,
    ended: Vec<u32>,
}

impl Waiting {
    fn new(Recorded { sealed, defined, ended }: Recorded) -> Self {
        let (begin_ms, end_ms) = (sealed.begin_ms, sealed.end_ms);
        Self { block: Block::Held(sealed), begin_ms, end_ms, defined, ended }
    }

    fn is_gone(&self) -> bool {
        matches!(&self.block, Block::Known(block) if block.strong_count() == 0)
    }

    fn release(&mut self) {
        if let Block::Held(block) = &self.block {
            self.block = Block::Known(Arc::downgrade(block));
        }
    }

    fn names_bytes(&self) -> usize {
        let texts = |(_, meta): &(u32, SeriesMeta)| {
            let attributes = meta.attributes.iter().map(|(key, value)| key.len() + value.len()).sum::<usize>();
            size_of::<(u32, SeriesMeta)>() + meta.metric.len() + meta.unit.len() + attributes
        };
        self.defined.iter().map(texts).sum()
    }
}

/// See the module's documentation. Blocks wait in the order in which they were sealed; one of them may be in hand.
#[derive(Debug, Default)]
pub struct Backlog {
    waiting: VecDeque<Waiting>,
    names_bytes: usize,
    owed: Owed,
    in_hand_from_ms: Option<i64>,
    counts: Counts,
    forgotten_ms: Option<(i64, i64)>,
    /// A block was written since one was forgotten.
    written_since: bool,
}

/// What became of blocks: those that were put are these and those that wait.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// On disk.
    pub written: u64,
    /// Lost because memory forgot them before the disk took them.
    pub forgotten: u64,
    /// Lost because no record has room for them.
    pub too_large: u64,
}

impl Backlog {
    /// A block waits from now on.
    pub fn put(&mut self, recorded: Recorded) {
        let waiting = Waiting::new(recorded);
        self.names_bytes += waiting.names_bytes();
        self.waiting.push_back(waiting);
        if let Some(older) = self.waiting.len().checked_sub(HELD + 1) {
            self.waiting[older].release();
        }
        self.forget();
    }

    /// The oldest block for the disk. It is in hand until it is [settled](Self::settle), [refused](Self::refuse), or
    /// [given back](Self::give_back).
    pub fn take(&mut self) -> Option<Recorded> {
        self.forget();
        let oldest = self.pop()?;
        let begin_ms = oldest.begin_ms;
        let sealed = match &oldest.block {
            Block::Held(sealed) => Arc::clone(sealed),
            Block::Known(sealed) => match sealed.upgrade() {
                Some(sealed) => sealed,
                // Forgotten since the line before.
                None => {
                    self.lose(oldest);
                    return self.take();
                }
            },
        };
        let mut recorded = Recorded { sealed, defined: oldest.defined, ended: oldest.ended };
        self.owed.pay(&mut recorded);
        self.in_hand_from_ms = Some(begin_ms);
        Some(recorded)
    }

    /// The block in hand is on disk.
    pub fn settle(&mut self) {
        self.in_hand_from_ms = None;
        self.counts.written += 1;
        self.written_since = true;
    }

    /// The block in hand has no room in any record; the next one says what its numbers mean.
    pub fn refuse(&mut self, recorded: Recorded) {
        self.in_hand_from_ms = None;
        self.counts.too_large += 1;
        self.owed.take(recorded.defined, recorded.ended);
    }

    /// The disk refused the block in hand: it waits before all others.
    pub fn give_back(&mut self, recorded: Recorded) {
        self.in_hand_from_ms = None;
        let mut waiting = Waiting::new(recorded);
        if self.waiting.len() >= HELD {
            waiting.release();
        }
        self.names_bytes += waiting.names_bytes();
        self.waiting.push_front(waiting);
        self.forget();
    }

    /// Blocks that wait, the one in hand included.
    pub fn waiting(&self) -> u64 {
        self.waiting.len() as u64 + u64::from(self.in_hand_from_ms.is_some())
    }

    /// What became of the others.
    pub fn counts(&self) -> Counts {
        self.counts
    }

    /// First and last moment of the last blocks that were forgotten, with no written one between them.
    pub fn forgotten_ms(&self) -> Option<(i64, i64)> {
        self.forgotten_ms
    }

    /// From when on blocks are in memory only, milliseconds since the Unix epoch; [`i64::MAX`] if the disk has them all.
    pub fn from_ms(&self) -> i64 {
        let waiting = self.waiting.iter().filter(|one| !one.is_gone()).map(|one| one.begin_ms);
        // A clock may have been set back.
        waiting.chain(self.in_hand_from_ms).min().unwrap_or(i64::MAX)
    }

    /// The oldest go first, from memory as from here.
    fn forget(&mut self) {
        while self.waiting.front().is_some_and(|oldest| {
            oldest.is_gone() || (self.names_bytes > NAMES_BYTES && matches!(oldest.block, Block::Known(_)))
        }) {
            if let Some(oldest) = self.pop() {
                self.lose(oldest);
            }
        }
    }

    fn pop(&mut self) -> Option<Waiting> {
        let oldest = self.waiting.pop_front()?;
        self.names_bytes = self.names_bytes.saturating_sub(oldest.names_bytes());
        Some(oldest)
    }

    fn lose(&mut self, Waiting { begin_ms, end_ms, defined, ended, .. }: Waiting) {
        self.counts.forgotten += 1;
        let row = self.forgotten_ms.filter(|_| !std::mem::take(&mut self.written_since));
        self.forgotten_ms =
            Some(row.map_or((begin_ms, end_ms), |(first, last)| (first.min(begin_ms), last.max(end_ms))));
        self.owed.take(defined, ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vedette_protocol::series::SeriesKind;

    fn recorded(begin_ms: i64, defined: &[u32], ended: &[u32]) -> Recorded {
        let meta = |id: &u32| SeriesMeta {
            metric: format!("series {id}"),
            unit: "1".to_owned(),
            kind: SeriesKind::Gauge,
            attributes: Vec::new(),
            resolution: 1.0,
            lower: 0.0,
            upper: 1.0,
        };
        let defined = defined.iter().map(|id| (*id, meta(id))).collect();
        let sealed = Sealed { begin_ms, end_ms: begin_ms, ..Sealed::default() };
        Recorded { sealed: Arc::new(sealed), defined, ended: ended.to_vec() }
    }

    fn names(recorded: &Recorded) -> (Vec<u32>, Vec<u32>) {
        (recorded.defined.iter().map(|(id, _)| *id).collect(), recorded.ended.clone())
    }

    #[test]
    fn a_block_that_memory_forgot_takes_no_name_with_it() {
        let mut backlog = Backlog::default();
        let lost = [recorded(0, &[1, 2], &[]), recorded(1, &[3], &[2, 9])];
        lost.into_iter().for_each(|one| backlog.put(one));
        (2..2 + HELD as i64).for_each(|n| backlog.put(recorded(n, &[], &[])));
        assert_eq!((backlog.counts().forgotten, backlog.waiting(), backlog.from_ms()), (2, HELD as u64, 2));
        let next = backlog.take().expect("the oldest that is left");
        assert_eq!(names(&next), (vec![1, 3], vec![9]), "2 came and went unseen");
        backlog.settle();
        assert_eq!(names(&backlog.take().expect("another")), (vec![], vec![]), "all is told");
    }

    #[test]
    fn of_what_was_forgotten_the_last_row_is_told() {
        let mut backlog = Backlog::default();
        let held = HELD as i64;
        assert_eq!(backlog.forgotten_ms(), None);
        (0..held + 3).for_each(|n| backlog.put(recorded(n, &[], &[])));
        assert_eq!(backlog.forgotten_ms(), Some((0, 2)));
        let refused = backlog.take().expect("the oldest that is left");
        backlog.give_back(refused);
        backlog.put(recorded(held + 3, &[], &[]));
        assert_eq!(backlog.forgotten_ms(), Some((0, 3)), "it goes on");
        backlog.take().expect("the oldest that is left");
        backlog.settle();
        (0..2).for_each(|n| backlog.put(recorded(held + 4 + n, &[], &[])));
        assert_eq!((backlog.forgotten_ms(), backlog.counts().forgotten), (Some((5, 5)), 5));
    }

    #[test]
    fn what_memory_still_has_waits_beyond_what_is_held() {
        let mut backlog = Backlog::default();
        let ring: Vec<_> = (0..30).map(|n| recorded(n, &[], &[])).collect();
        ring.iter().for_each(|one| backlog.put(one.clone()));
        assert_eq!((backlog.counts().forgotten, backlog.waiting(), backlog.from_ms()), (0, 30, 0));
        let refused = backlog.take().expect("the oldest");
        assert_eq!((backlog.waiting(), backlog.from_ms()), (30, 0), "in hand it is not on disk");
        backlog.give_back(refused);
        drop(ring);
        let left = backlog.take().expect("the oldest that is held");
        assert_eq!((left.sealed.begin_ms, backlog.counts().forgotten, backlog.waiting()), (22, 22, HELD as u64));
    }

    #[test]
    fn names_of_waiting_blocks_have_a_bound() {
        let mut backlog = Backlog::default();
        let many: Vec<u32> = (0..2_000).collect();
        let ring: Vec<_> = (0..30).map(|n| recorded(n, &many, &[])).collect();
        ring.iter().for_each(|one| backlog.put(one.clone()));
        assert!(backlog.counts().forgotten > 0 && backlog.waiting() >= HELD as u64);
        assert_eq!(backlog.counts().forgotten + backlog.waiting(), 30);
        let held = ring.iter().rev().take(HELD).map(|one| one.defined.len()).sum::<usize>();
        let waiting: usize = backlog.waiting.iter().map(|one| one.defined.len()).sum();
        assert_eq!(waiting, held, "no more than what is held, which alone is over the bound here");
    }
}

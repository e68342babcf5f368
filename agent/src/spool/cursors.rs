//! How far each source is settled: the position up to which every batch was acknowledged or counted as shed.
//!
//! Acknowledgements come in any order; a source's position moves only over a prefix without holes, so reading again
//! from it loses nothing.

use std::collections::{BTreeMap, VecDeque};
use vedette_protocol::ids::Sequence;
use vedette_protocol::v1::Cursor;

#[derive(Default)]
pub(super) struct Cursors {
    sources: BTreeMap<String, Progress>,
}

#[derive(Default)]
struct Progress {
    /// Batches with content of this source, oldest first, from the first unsettled one on.
    open: VecDeque<Step>,
    settled: Option<Vec<u8>>,
    moved: bool,
}

struct Step {
    sequence: Sequence,
    position: Vec<u8>,
    settled: bool,
}

impl Cursors {
    pub(super) fn add(&mut self, sequence: Sequence, cursors: &[Cursor]) {
        for cursor in cursors {
            let step = Step { sequence, position: cursor.position.clone(), settled: false };
            self.sources.entry(cursor.source.clone()).or_default().open.push_back(step);
        }
    }

    pub(super) fn settle(&mut self, sequence: Sequence) {
        self.sources.values_mut().for_each(|progress| progress.settle(sequence));
    }

    pub(super) fn take_moved(&mut self) -> Vec<Cursor> {
        let take = |(source, progress): (&String, &mut Progress)| {
            let moved = std::mem::take(&mut progress.moved);
            let position = progress.settled.clone().filter(|_| moved)?;
            Some(Cursor { source: source.clone(), position })
        };
        self.sources.iter_mut().filter_map(take).collect()
    }
}

impl Progress {
    fn settle(&mut self, sequence: Sequence) {
        let Ok(at) = self.open.binary_search_by_key(&sequence, |step| step.sequence) else { return };
        self.open[at].settled = true;
        while let Some(step) = self.open.pop_front_if(|step| step.settled) {
            self.settled = Some(step.position);
            self.moved = true;
        }
    }
}

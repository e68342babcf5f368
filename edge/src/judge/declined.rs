//! Series that a detector declined: it is not told of them again while the agent runs, and nothing is kept of them but that. The
//! next life of the agent tells it anew: bounds may be others then, and what a key says of a series leaves them out.

use crate::room;
use vedette_protocol::ids::SeriesKey;

/// Keys by slot.
#[derive(Debug, Default)]
pub(crate) struct Declined {
    keys: Vec<Option<SeriesKey>>,
}

impl Declined {
    /// Bytes of the heap for so many rows at most.
    pub(super) fn bytes_max(rows: usize) -> usize {
        room::list::<Option<SeriesKey>>(rows)
    }

    pub(crate) fn note(&mut self, slot: u32, key: SeriesKey) {
        let at = slot as usize;
        if self.keys.len() <= at {
            self.keys.resize(at + 1, None);
        }
        self.keys[at] = Some(key);
    }

    /// Whether the series in a slot is one of them. Another one that has the slot now is not.
    pub(crate) fn has(&self, slot: u32, key: SeriesKey) -> bool {
        self.keys.get(slot as usize) == Some(&Some(key))
    }
}

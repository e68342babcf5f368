//! Which incidents wait to be stored, and since when. Readers are told from the engine's state, so the stored form of an
//! open incident may be a little old; a storm must not write one incident again for every finding.

use super::group::GroupId;
use super::promote::later;
use std::collections::{BTreeSet, HashMap};
use vedette_protocol::time::WallTime;

/// Between two saves of one open incident.
const INTERVAL_MS: u64 = 30_000;

/// Incidents that wait to be saved.
#[derive(Debug, Default)]
pub(crate) struct Saves {
    urgent: BTreeSet<GroupId>,
    waiting: BTreeSet<(WallTime, GroupId)>,
    due: HashMap<GroupId, WallTime>,
    saved: HashMap<GroupId, WallTime>,
}

impl Saves {
    /// An incident has changed.
    pub(crate) fn want(&mut self, id: GroupId, urgent: bool, now: WallTime) {
        if urgent {
            self.urgent.insert(id);
        } else if !self.urgent.contains(&id) && !self.due.contains_key(&id) {
            let due = self.saved.get(&id).map_or(now, |saved| later(*saved, INTERVAL_MS));
            self.due.insert(id, due);
            self.waiting.insert((due, id));
        }
    }

    /// The next to save.
    pub(crate) fn next(&mut self, now: WallTime) -> Option<GroupId> {
        let waiting = || self.waiting.first().filter(|(due, _)| *due <= now).map(|(_, id)| *id);
        let id = self.urgent.first().copied().or_else(waiting)?;
        self.urgent.remove(&id);
        if let Some(due) = self.due.remove(&id) {
            self.waiting.remove(&(due, id));
        }
        self.saved.insert(id, now);
        Some(id)
    }

    /// When one is due.
    pub(crate) fn due(&self) -> Option<WallTime> {
        if self.urgent.is_empty() { self.waiting.first().map(|(due, _)| *due) } else { Some(WallTime::default()) }
    }

    /// All are due.
    pub(crate) fn hurry(&mut self) {
        self.urgent.extend(self.due.keys());
    }

    /// An incident goes out of memory. Whether it waited.
    pub(crate) fn forget(&mut self, id: GroupId) -> bool {
        self.saved.remove(&id);
        let due = self.due.remove(&id);
        due.into_iter().for_each(|due| _ = self.waiting.remove(&(due, id)));
        self.urgent.remove(&id) || due.is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_urgent_is_saved_at_once_and_the_rest_twice_a_minute() {
        let (mut saves, id, at) = (Saves::default(), GroupId(1), WallTime::from_unix_ms);
        saves.want(id, true, at(1_000));
        assert_eq!((saves.next(at(1_000)), saves.next(at(1_000))), (Some(id), None));
        saves.want(id, false, at(1_001));
        saves.want(id, false, at(1_002));
        assert_eq!((saves.next(at(30_999)), saves.due()), (None, Some(at(31_000))));
        assert_eq!((saves.next(at(31_000)), saves.next(at(90_000))), (Some(id), None));
        saves.want(id, false, at(31_001));
        saves.want(id, true, at(31_002));
        assert_eq!((saves.next(at(31_002)), saves.next(at(99_000))), (Some(id), None));
    }

    #[test]
    fn a_flush_saves_all_that_waits_and_what_is_forgotten_no_longer_waits() {
        let (mut saves, at) = (Saves::default(), WallTime::from_unix_ms);
        for id in [GroupId(1), GroupId(2), GroupId(3)] {
            saves.want(id, true, at(0));
            saves.next(at(0));
            saves.want(id, false, at(1));
        }
        assert_eq!([saves.forget(GroupId(3)), saves.forget(GroupId(3))], [true, false]);
        saves.hurry();
        assert_eq!(
            [saves.next(at(1)), saves.next(at(1)), saves.next(at(1))],
            [Some(GroupId(1)), Some(GroupId(2)), None]
        );
    }
}

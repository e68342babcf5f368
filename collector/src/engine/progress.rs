//! What time does to a group: silence, resolution, expiry, and when to look again.

use super::group::{Group, GroupId};
use super::lifecycle::Resolution;
use super::promote::later;
use super::state::State;
use vedette_protocol::time::WallTime;

impl Group {
    /// Further findings can change it.
    pub(crate) fn is_live(&self) -> bool {
        self.incident.as_ref().is_none_or(|incident| incident.lifecycle.state.is_open())
    }
}

impl State {
    /// Open episodes of which nothing was heard for too long end, and are known to have ended that way.
    pub(crate) fn expire_silent(&mut self, id: GroupId) {
        let (now, ttl) = (self.now, self.setup.correlate.episode_ttl_ms);
        let Some(group) = self.groups.get(&id).filter(|group| group.is_live()) else { return };
        for member in &group.members {
            if let Some(episode) = self.episodes.get_mut(&member.episode)
                && episode.cleared.is_none()
                && later(episode.heard, ttl) <= now
            {
                episode.cleared = Some(now);
                episode.silent = true;
            }
        }
    }

    /// Moves an incident's life on.
    pub(crate) fn advance(&mut self, id: GroupId) {
        let now = self.now;
        let clear_since = self.clear_since(id);
        let silent = self.members(id).any(|episode| episode.silent);
        let hold = self.setup.correlate.resolve_hold_ms;
        let Some(life) = self.groups.get_mut(&id).and_then(|group| group.incident.as_mut()).map(|i| &mut i.lifecycle)
        else {
            return;
        };
        if !life.state.is_open() {
            return;
        }
        let Some(since) = clear_since else {
            life.relapse(now);
            return;
        };
        life.all_clear(now, since);
        if later(since, hold) <= now {
            life.resolve(now, if silent { Resolution::Expired } else { Resolution::Cleared });
            self.close(id);
        }
    }

    /// A resolved incident no longer takes part in correlation, but is remembered.
    fn close(&mut self, id: GroupId) {
        self.unindex(id);
        self.resolved.push_back(id);
        let Some(incident) = self.groups.get(&id).and_then(|group| group.incident.as_ref()) else { return };
        let (name, now) = (incident.id.clone(), self.now);
        let subjects: Vec<u64> = self.members(id).map(|episode| episode.subject_key).collect();
        self.resolved_subjects.extend(subjects.into_iter().map(|subject| (subject, (now, name.clone()))));
    }

    /// A candidate whose episodes are over and whose window has passed.
    pub(crate) fn came_to_nothing(&self, id: GroupId) -> bool {
        self.expiry(id).is_some_and(|at| at <= self.now)
    }

    fn expiry(&self, id: GroupId) -> Option<WallTime> {
        let since = self.clear_since(id)?;
        let group = self.groups.get(&id)?;
        let settled = later(since, self.setup.correlate.resolve_hold_ms);
        Some(later(group.onset_last, self.setup.correlate.window_ms).max(settled))
    }

    /// When the last word that a member cleared was heard; `None` while one goes on. Not when it cleared: after an
    /// outage old words come in at once and in any order, and what belongs together may still be under way.
    fn clear_since(&self, id: GroupId) -> Option<WallTime> {
        let mut since = None;
        for episode in self.members(id) {
            since = since.max(Some(episode.heard.max(episode.cleared?)));
        }
        since
    }

    /// When the group has to be looked at again, if nothing happens before.
    pub(crate) fn deadline(&self, id: GroupId) -> Option<WallTime> {
        let group = self.groups.get(&id)?;
        if !group.is_live() {
            return None;
        }
        let ongoing = || self.members(id).filter(|episode| episode.cleared.is_none());
        let silence = ongoing().map(|episode| later(episode.heard, self.setup.correlate.episode_ttl_ms)).min();
        if group.incident.is_some() {
            let hold = self.clear_since(id).map(|since| later(since, self.setup.correlate.resolve_hold_ms));
            return [silence, hold, self.next_directive(id)].into_iter().flatten().min();
        }
        let extreme = ongoing().filter_map(|episode| self.extreme_since(episode)).min();
        [silence, extreme, self.expiry(id)].into_iter().flatten().min()
    }
}

//! What time does to a group: silence, resolution, expiry, and when to look again.

use super::group::{Group, GroupId};
use super::lifecycle::Resolution;
use super::promote::later;
use super::state::State;
use vedette_protocol::time::WallTime;

/// How the members of a group are, from one walk over them.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Pulse {
    /// When the last word that a member cleared was heard; `None` while one goes on. Not when it cleared: after an
    /// outage old words come in at once and in any order, and what belongs together may still be under way.
    clear_since: Option<WallTime>,
    /// Somebody fell silent.
    silent: bool,
    /// When the first of those that go on will have been silent for too long.
    silence: Option<WallTime>,
    /// When the first extreme one will have persisted long enough.
    extreme: Option<WallTime>,
}

impl Group {
    /// Further findings can change it.
    pub(crate) fn is_live(&self) -> bool {
        self.incident.as_ref().is_none_or(|incident| incident.lifecycle.state.is_open())
    }
}

impl State {
    /// Feels a live group's pulse. Open episodes of which nothing was heard for too long end, and are known to have
    /// ended that way.
    pub(crate) fn pulse(&mut self, id: GroupId) -> Option<Pulse> {
        let (now, ttl) = (self.now, self.setup.correlate.episode_ttl_ms);
        let group = self.groups.get(&id).filter(|group| group.is_live())?;
        let mut pulse = Pulse::default();
        let (mut ongoing, mut clear) = (false, None);
        for member in &group.members {
            let Some(episode) = self.episodes.get_mut(&member.episode) else { continue };
            if episode.cleared.is_none() && later(episode.heard, ttl) <= now {
                episode.cleared = Some(now);
                episode.silent = true;
            }
            pulse.silent |= episode.silent;
            if let Some(cleared) = episode.cleared {
                clear = clear.max(Some(episode.heard.max(cleared)));
                continue;
            }
            ongoing = true;
            let silence = later(episode.heard, ttl);
            pulse.silence = Some(pulse.silence.map_or(silence, |first| first.min(silence)));
            if let Some(extreme) = episode.extreme_since(&self.setup.correlate) {
                pulse.extreme = Some(pulse.extreme.map_or(extreme, |first| first.min(extreme)));
            }
        }
        pulse.clear_since = clear.filter(|_| !ongoing);
        Some(pulse)
    }

    /// Moves an open incident's life on.
    pub(crate) fn advance(&mut self, id: GroupId, pulse: &Pulse) {
        let now = self.now;
        let hold = self.setup.correlate.resolve_hold_ms;
        let Some(life) = self.groups.get_mut(&id).and_then(|group| group.incident.as_mut()).map(|i| &mut i.lifecycle)
        else {
            return;
        };
        let Some(since) = pulse.clear_since else {
            life.relapse(now);
            return;
        };
        life.all_clear(now, since);
        if later(since, hold) <= now {
            life.resolve(now, if pulse.silent { Resolution::Expired } else { Resolution::Cleared });
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

    /// When a candidate whose episodes are over will have come to nothing.
    pub(crate) fn expiry(&self, id: GroupId, pulse: &Pulse) -> Option<WallTime> {
        let settled = later(pulse.clear_since?, self.setup.correlate.resolve_hold_ms);
        let group = self.groups.get(&id)?;
        Some(later(group.onset_last, self.setup.correlate.window_ms).max(settled))
    }

    /// When the group has to be looked at again, if nothing happens before.
    pub(crate) fn deadline(&self, id: GroupId, pulse: &Pulse, directive: Option<WallTime>) -> Option<WallTime> {
        let group = self.groups.get(&id)?;
        if !group.is_live() {
            return None;
        }
        if group.incident.is_some() {
            let hold = pulse.clear_since.map(|since| later(since, self.setup.correlate.resolve_hold_ms));
            return [pulse.silence, hold, directive].into_iter().flatten().min();
        }
        [pulse.silence, pulse.extreme, self.expiry(id, pulse)].into_iter().flatten().min()
    }
}

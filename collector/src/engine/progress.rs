//! What time does to a group: silence, resolution, expiry, and when to look again.

use super::episode::{End, Ended, Episode};
use super::group::GroupId;
use super::lifecycle::Resolution;
use super::promote::later;
use super::setup::limits;
use super::state::State;
use super::tally::Tally;
use std::collections::HashMap;
use vedette_protocol::ids::{EpisodeId, HostId};
use vedette_protocol::time::WallTime;

impl State {
    /// Ends the open episodes of a live group of which nothing was heard for too long, if any can be due.
    pub(crate) fn end_silent(&mut self, id: GroupId) {
        let (now, ttl) = (self.now, self.setup.correlate.episode_ttl_ms);
        if self.groups.get(&id).and_then(|group| group.tally.silence).is_some_and(|at| at <= now) {
            self.end_members(id, End::Silent, |episode| later(episode.heard, ttl) <= now);
        }
    }

    /// Ends the open episodes of a host whose agent lost what it knew. Returns the groups that changed.
    pub(crate) fn agent_restarted(&mut self, host: HostId) -> Vec<GroupId> {
        let around: Vec<GroupId> = self.by_host.get(&host).into_iter().flatten().copied().collect();
        let (now, name) = (self.now, self.host_name(host));
        let mut changed = Vec::new();
        for id in around {
            let ended = self.end_members(id, End::AgentRestarted, |episode| episode.host == host);
            if ended == 0 {
                continue;
            }
            changed.push(id);
            if let Some(incident) = self.groups.get_mut(&id).and_then(|group| group.incident.as_mut()) {
                let plural = if ended == 1 { "" } else { "s" };
                incident.lifecycle.note(now, format!("{ended} finding{plural} of {name} unknown: agent restarted"));
            }
        }
        changed
    }

    /// The newest group around a fresh episode with a member that its agent had told of before it restarted, and that one.
    pub(crate) fn known_before(&self, episode: &Episode) -> Option<(GroupId, EpisodeId)> {
        if episode.ended.is_some() {
            return None;
        }
        let groups = self.by_host.get(&episode.host)?.iter().rev().take(limits::GROUPS_COMPARED);
        groups
            .filter_map(|id| self.groups.get(id))
            .filter(|group| group.tally.awaited > 0 && group.members.len() < limits::MEMBERS)
            .find_map(|group| {
                let known = self.members(group.id).find(|one| one.is_awaited_as(episode, self.now))?;
                Some((group.id, known.id))
            })
    }

    /// The members of an episode's group that its agent had told of before it restarted are told of again: by it.
    pub(crate) fn tell_again(&mut self, id: EpisodeId) {
        let Some(episode) = self.episodes.get(&id).cloned() else { return };
        let (now, name) = (self.now, self.host_name(episode.host));
        let Some(group) = self.groups.get_mut(&episode.group) else { return };
        for member in &group.members {
            let Some(known) = self.episodes.get_mut(&member.episode).filter(|one| one.is_awaited_as(&episode, now))
            else {
                continue;
            };
            group.tally.leave(known);
            known.ended = known.ended.map(|ended| Ended { how: End::ToldAgain, ..ended });
            group.tally.enter(known, &self.setup.correlate);
        }
        if let Some(incident) = group.incident.as_mut() {
            incident.lifecycle.note(now, format!("a finding of {name} goes on: its restarted agent tells of it again"));
        }
    }

    /// Episodes in live groups that their restarted agents did not tell of again in time. They are summed up when somebody
    /// asks, and counted once their group is closed.
    pub(crate) fn given_up(&self) -> u64 {
        let groups = self.groups.values().filter(|group| group.is_live() && group.tally.awaited > 0);
        let members = groups.flat_map(|group| self.members(group.id));
        members.filter(|episode| episode.is_given_up(self.now)).count() as u64
    }

    /// Ends those members that go on and that `ends` names, and counts the group anew. Returns how many. Whoever may be told
    /// of again has not expired yet.
    fn end_members(&mut self, id: GroupId, how: End, ends: impl Fn(&Episode) -> bool) -> usize {
        let (now, Some(group)) = (self.now, self.groups.get_mut(&id)) else { return 0 };
        let mut ended = 0;
        for member in &group.members {
            let Some(episode) = self.episodes.get_mut(&member.episode) else { continue };
            if episode.ended.is_none() && ends(episode) {
                episode.end(now, how);
                ended += 1;
            }
        }
        let members = group.members.iter().filter_map(|member| self.episodes.get(&member.episode));
        group.tally = Tally::of(members, &self.setup.correlate);
        if how == End::Silent {
            self.closed.count_end(how, ended);
        }
        ended
    }

    /// Counts a live group anew, as after a change of the configuration.
    pub(crate) fn count_anew(&mut self, id: GroupId) {
        self.end_members(id, End::Silent, |_| false);
    }

    /// Moves an open incident's life on.
    pub(crate) fn advance(&mut self, id: GroupId) {
        let now = self.now;
        let hold = self.setup.correlate.resolve_hold_ms;
        let Some(group) = self.groups.get_mut(&id) else { return };
        let known = group.tally.unknown_until().is_none_or(|until| until <= now);
        let (clear_since, unknown) = (group.tally.clear_since().filter(|_| known), group.tally.unknown > 0);
        let Some(incident) = group.incident.as_mut() else { return };
        let Some(since) = clear_since else {
            if incident.lifecycle.relapse(now) {
                incident.look_soon(now);
            }
            return;
        };
        let why = if unknown { "no member is known to go on" } else { "all members are clear" };
        incident.lifecycle.all_clear(now, since, why);
        if later(since, hold) <= now {
            incident.lifecycle.resolve(now, if unknown { Resolution::Expired } else { Resolution::Cleared });
            self.close(id);
        }
    }

    /// A resolved incident no longer takes part in correlation, but is remembered.
    fn close(&mut self, id: GroupId) {
        self.unindex(id);
        let Some(group) = self.groups.get(&id) else { return };
        self.closed.count_end(End::AgentRestarted, group.tally.awaited);
        for member in &group.members {
            let Some(episode) = self.episodes.get(&member.episode) else { continue };
            leave(&mut self.episodes_of_host, episode.host);
            self.resolved_subjects.insert(episode.subject_key, (self.now, id));
        }
        self.resolved_episodes += group.members.len();
        self.resolved.push_back(id);
    }

    /// When a candidate whose episodes are over will have come to nothing.
    pub(crate) fn expiry(&self, id: GroupId) -> Option<WallTime> {
        let group = self.groups.get(&id)?;
        let settled = group.tally.settled(self.setup.correlate.resolve_hold_ms)?;
        Some(later(group.onset_last, self.setup.correlate.window_ms).max(settled))
    }

    /// When the group has to be looked at again, if nothing happens before.
    pub(crate) fn deadline(&self, id: GroupId) -> Option<WallTime> {
        let group = self.groups.get(&id).filter(|group| group.is_live())?;
        let silence = group.tally.silence.filter(|_| group.tally.ongoing > 0);
        let due = match &group.incident {
            Some(incident) => {
                let settled = group.tally.settled(self.setup.correlate.resolve_hold_ms);
                [silence, settled, incident.direct_due]
            }
            None => [silence, group.tally.extreme, self.expiry(id)],
        };
        due.into_iter().flatten().min()
    }
}

/// One live episode of a host fewer.
pub(crate) fn leave(episodes_of_host: &mut HashMap<HostId, usize>, host: HostId) {
    if let Some(count) = episodes_of_host.get_mut(&host) {
        *count -= 1;
        if *count == 0 {
            episodes_of_host.remove(&host);
        }
    }
}

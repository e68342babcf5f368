//! Which group an episode belongs to. Groups are the connected components of episodes whose join score suffices, so the
//! order of arrival does not matter; group-wide bounds (span, size) keep one incident from growing for ever.

use super::changes::SeenChange;
use super::episode::{Episode, Suppression};
use super::group::{Group, GroupId, NearMiss, WhyNot};
use super::intake::Enriched;
use super::setup::{limits, weights};
use super::state::State;
use super::terms::{Why, compare};
use std::collections::BTreeSet;
use vedette_protocol::ids::{EpisodeId, HostId};
use vedette_protocol::time::WallTime;

/// In groups larger than this the first sufficient member counts, not the best.
const MEMBERS_COMPARED_ALL: usize = 64;

/// A group that an episode has something in common with.
struct Nearby {
    group: GroupId,
    why: Why,
}

impl State {
    /// De-duplicates; a fresh episode is correlated. Returns the groups that changed.
    pub(crate) fn take_in(&mut self, word: Enriched, position: u64) -> BTreeSet<GroupId> {
        let id = word.finding.episode;
        let Some(episode) = self.episodes.get_mut(&id) else {
            return self.take_in_fresh(word, position);
        };
        if episode.host != word.host {
            self.suppress(Suppression::Foreign);
            return BTreeSet::new();
        }
        let group = episode.group;
        let repeated = word.finding.event == vedette_protocol::v1::EpisodeEvent::Open && episode.opened;
        let live = self.groups.get(&group).is_some_and(Group::is_live);
        if !live || repeated {
            self.suppress(if live { Suppression::Duplicate } else { Suppression::Closed });
            return BTreeSet::new();
        }
        let onset = episode.onset;
        episode.hear(word);
        if episode.onset == onset { BTreeSet::from([group]) } else { self.rejoin(id) }
    }

    fn take_in_fresh(&mut self, word: Enriched, position: u64) -> BTreeSet<GroupId> {
        if self.tombstones.contains(&word.finding.episode) {
            self.suppress(Suppression::Closed);
            return BTreeSet::new();
        }
        if !self.has_room(word.host) {
            self.suppress(Suppression::Limit);
            return BTreeSet::new();
        }
        let own = GroupId(position);
        let episode = Episode::begin(word, own);
        let mut group = Group::begin(own, episode.onset);
        group.add(&episode, Why::default(), self.now);
        self.index(own, episode.host, &episode.services);
        self.groups.insert(own, group);
        let id = episode.id;
        *self.episodes_of_host.entry(episode.host).or_default() += 1;
        self.episodes.insert(id, episode);
        self.rejoin(id)
    }

    /// Unites an episode's group with every group that it belongs to. Returns the groups that changed.
    pub(crate) fn rejoin(&mut self, id: EpisodeId) -> BTreeSet<GroupId> {
        let Some(episode) = self.episodes.get(&id) else { return BTreeSet::new() };
        let mut target = episode.group;
        let onset = episode.onset;
        let (joins, misses) = self.nearby(episode);
        if let Some(group) = self.groups.get_mut(&target) {
            group.cover(onset);
        }
        for miss in misses {
            self.note_near_miss(miss.group, id, miss.why, WhyNot::BelowThreshold);
        }
        let mut changed = BTreeSet::from([target]);
        for join in joins {
            changed.insert(join.group);
            match self.obstacle(target, join.group) {
                Some(reason) => self.note_near_miss(join.group, id, join.why, reason),
                None => target = self.unite(target, join.group, id, &join.why),
            }
        }
        changed
    }

    /// Groups near an episode, oldest first: those it belongs to, and those it nearly does.
    fn nearby(&self, episode: &Episode) -> (Vec<Nearby>, Vec<Nearby>) {
        let mut found = (Vec::new(), Vec::new());
        for id in self.groups_around(episode).into_iter().filter(|id| *id != episode.group) {
            let Some(why) = self.groups.get(&id).and_then(|group| self.best_match(episode, group)) else { continue };
            if why.score >= weights::JOIN {
                found.0.push(Nearby { group: id, why });
            } else if why.score >= weights::NEAR_MISS {
                found.1.push(Nearby { group: id, why });
            }
        }
        found
    }

    fn groups_around(&self, episode: &Episode) -> BTreeSet<GroupId> {
        let mut around: BTreeSet<GroupId> = self.by_host.get(&episode.host).cloned().unwrap_or_default();
        for service in &episode.services {
            for near in std::iter::once(service.as_str()).chain(self.graph.near(service)) {
                around.extend(self.by_service.get(near).into_iter().flatten());
            }
        }
        around
    }

    /// The member with which `episode` has most in common.
    fn best_match(&self, episode: &Episode, group: &Group) -> Option<Why> {
        let stop_early = group.members.len() > MEMBERS_COMPARED_ALL;
        let mut best: Option<Why> = None;
        for member in &group.members {
            let Some(other) = self.episodes.get(&member.episode).filter(|other| other.id != episode.id) else {
                continue;
            };
            let window_ms = self.setup.correlate.window_ms;
            let shares_change = || self.share_change(episode, other);
            let Some(terms) = compare(episode, other, &self.graph, window_ms, shares_change) else { continue };
            let score = terms.score();
            if best.as_ref().is_none_or(|best| score > best.score) {
                best = Some(Why { terms, score, with: Some(other.id) });
                if stop_early && score >= weights::JOIN {
                    break;
                }
            }
        }
        best
    }

    fn obstacle(&self, one: GroupId, other: GroupId) -> Option<WhyNot> {
        let (one, other) = (self.groups.get(&one)?, self.groups.get(&other)?);
        let span_max = i64::try_from(self.setup.correlate.window_max_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        if one.span_with(other.onset_first, other.onset_last) > span_max {
            return Some(WhyNot::SpanTooLong);
        }
        (one.members.len() + other.members.len() > limits::MEMBERS).then_some(WhyNot::Full)
    }

    /// Moves all members of the younger group into the older; an incident always takes candidates in. `episode` of
    /// `one` is what links the two. Returns the group that remains.
    fn unite(&mut self, one: GroupId, other: GroupId, episode: EpisodeId, why: &Why) -> GroupId {
        let rank = |state: &Self, id: GroupId| (state.groups.get(&id).is_none_or(|group| group.incident.is_none()), id);
        let (to, from) = if rank(self, one) <= rank(self, other) { (one, other) } else { (other, one) };
        self.unindex(from);
        self.schedule(from, None);
        let moved = self.groups.get_mut(&from).map(|group| std::mem::take(&mut group.members)).unwrap_or_default();
        for mut member in moved {
            if member.episode == episode {
                member.why = why.clone();
            } else if member.why.with.is_none() {
                member.why = self.why_of(member.episode, to).unwrap_or(Why { with: Some(episode), ..why.clone() });
            }
            let Some(moving) = self.episodes.get_mut(&member.episode) else { continue };
            moving.group = to;
            let (host, services, onset) = (moving.host, moving.services.clone(), moving.onset);
            self.index(to, host, &services);
            let Some(target) = self.groups.get_mut(&to) else { continue };
            member.late = target.incident.is_some();
            target.cover(onset);
            target.members.push(member);
        }
        self.retire_merged(from, to);
        to
    }

    fn why_of(&self, episode: EpisodeId, group: GroupId) -> Option<Why> {
        self.best_match(self.episodes.get(&episode)?, self.groups.get(&group)?)
    }

    /// What was a candidate is gone; what was an incident stays, resolved, and names its heir.
    fn retire_merged(&mut self, from: GroupId, to: GroupId) {
        let heir = self.groups.get(&to).and_then(|group| group.incident.as_ref()).map(|incident| incident.id.clone());
        let now = self.now;
        match (self.groups.get_mut(&from).and_then(|group| group.incident.as_mut()), heir) {
            (Some(incident), Some(heir)) => {
                incident.lifecycle.merged(now, &heir);
                incident.merged_into = Some(heir);
                self.resolved.push_back(from);
            }
            _ => _ = self.groups.remove(&from),
        }
    }

    fn note_near_miss(&mut self, group: GroupId, episode: EpisodeId, why: Why, reason: WhyNot) {
        if let Some(group) = self.groups.get_mut(&group) {
            group.note_near_miss(NearMiss { episode, why, reason });
        }
    }

    /// A change may be what episodes around it share: looks again at those. Returns the groups that changed.
    pub(crate) fn take_in_change(&mut self, host: HostId, seen: SeenChange) -> BTreeSet<GroupId> {
        let at = seen.at;
        let service = seen.change.service.clone();
        if !self.remember_change(seen) {
            return BTreeSet::new();
        }
        let mut around = self.by_host.get(&host).cloned().unwrap_or_default();
        around.extend(self.by_service.get(&service).into_iter().flatten());
        let affected: Vec<EpisodeId> = around
            .iter()
            .flat_map(|id| self.members(*id))
            .filter(|episode| self.may_follow(episode, at))
            .map(|e| e.id)
            .collect();
        let mut changed = around;
        for id in affected {
            changed.extend(self.rejoin(id));
        }
        changed
    }

    fn may_follow(&self, episode: &Episode, change: WallTime) -> bool {
        let window_ns =
            i64::try_from(self.setup.correlate.cause_window_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        episode.onset.unix_ns.abs_diff(change.unix_ns) <= window_ns.unsigned_abs()
    }
}

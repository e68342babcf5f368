//! Which group an episode belongs to. Groups are the connected components of episodes whose join score suffices, so the
//! order of arrival does not matter; group-wide bounds (span, size) keep one incident from growing for ever.
//!
//! What one word costs is bounded: an episode is compared with the newest groups around it, and in a large group with
//! its newest members, the first sufficient of which counts.

use super::changes::SeenChange;
use super::episode::{End, Episode, Suppression};
use super::group::{Group, GroupId, NearMiss, WhyNot};
use super::intake::Normalised;
use super::setup::{limits, weights};
use super::state::State;
use super::terms::{Terms, Why, compare};
use std::collections::BTreeSet;
use vedette_protocol::ids::{EpisodeId, HostId};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::EpisodeEvent;

/// A group that an episode has something in common with.
struct Nearby {
    group: GroupId,
    why: Why,
}

impl State {
    /// De-duplicates; a fresh episode is correlated. Returns the groups that changed.
    pub(crate) fn take_in(&mut self, word: Normalised, position: u64) -> Vec<GroupId> {
        let id = word.finding.episode;
        let Some(episode) = self.episodes.get_mut(&id) else { return self.take_in_fresh(word, position) };
        if episode.host != word.host {
            self.suppress(Suppression::Foreign);
            return Vec::new();
        }
        let repeated = word.finding.event == EpisodeEvent::Open && episode.opened;
        let Some(group) = self.groups.get_mut(&episode.group).filter(|group| group.is_live() && !repeated) else {
            let live = self.groups.get(&episode.group).is_some_and(|group| group.is_live());
            self.suppress(if live { Suppression::Duplicate } else { Suppression::Closed });
            return Vec::new();
        };
        let (onset, ended, given_up) = (episode.onset, episode.ended, episode.is_given_up(self.now));
        group.tally.leave(episode);
        episode.hear(word);
        if given_up && episode.ended != ended {
            // It had expired, whatever is known of it now.
            self.closed.count_end(End::AgentRestarted, 1);
        }
        group.tally.findings += 1;
        group.tally.enter(episode, &self.setup.correlate);
        if episode.onset == onset { vec![group.id] } else { self.rejoin(id) }
    }

    fn take_in_fresh(&mut self, word: Normalised, position: u64) -> Vec<GroupId> {
        if self.tombstones.contains(&word.finding.episode) {
            self.suppress(Suppression::Closed);
            return Vec::new();
        }
        if !self.has_room(word.host) {
            self.suppress(Suppression::Limit);
            return Vec::new();
        }
        let own = GroupId(position);
        let mut episode = Episode::begin(word.enrich(self), own);
        let (mut joins, misses) = self.nearby(&episode);
        let known = self.known_before(&episode);
        if let Some((group, with)) = known {
            joins.retain(|join| join.group != group);
            let terms = Terms { host: 1.0, text: 1.0, ..Terms::default() };
            joins.insert(0, Nearby { group, why: Why { terms, score: terms.score(), with: Some(with) } });
        }
        // What was known before stays where it was, however long ago its incident began.
        let has_place =
            |join: &Nearby| known.is_some_and(|(group, _)| group == join.group) || self.has_place(join.group, &episode);
        let home = joins.iter().position(has_place);
        let why = home.map_or_else(Why::default, |home| joins[home].why.clone());
        let mut target = home.map_or(own, |home| joins[home].group);
        episode.group = target;
        let now = self.now;
        let group = self.groups.entry(target).or_insert_with(|| Box::new(Group::begin(own, episode.onset)));
        group.add(&episode, why, now, &self.setup.correlate);
        let id = episode.id;
        self.remember(episode);
        if known.is_some() {
            self.tell_again(id);
        }
        self.note_misses(id, misses);
        let mut changed = vec![target];
        for (_, join) in joins.into_iter().enumerate().filter(|(place, _)| Some(*place) != home) {
            self.join(id, &mut target, join, &mut changed);
        }
        changed
    }

    /// Whether a group can take one more episode.
    fn has_place(&self, group: GroupId, episode: &Episode) -> bool {
        self.groups.get(&group).is_some_and(|group| self.obstacle(group, 1, episode.onset, episode.onset).is_none())
    }

    /// Unites an episode's group with every group that it belongs to. Returns the groups that changed.
    pub(crate) fn rejoin(&mut self, id: EpisodeId) -> Vec<GroupId> {
        let Some(episode) = self.episodes.get(&id) else { return Vec::new() };
        let (mut target, onset) = (episode.group, episode.onset);
        let (joins, misses) = self.nearby(episode);
        if let Some(group) = self.groups.get_mut(&target) {
            group.cover(onset);
        }
        self.note_misses(id, misses);
        let mut changed = vec![target];
        joins.into_iter().for_each(|join| self.join(id, &mut target, join, &mut changed));
        changed
    }

    /// Unites `target`, the group of `episode`, with one that the episode belongs to as well, unless that is too much.
    fn join(&mut self, episode: EpisodeId, target: &mut GroupId, join: Nearby, changed: &mut Vec<GroupId>) {
        changed.push(join.group);
        let (Some(one), Some(other)) = (self.groups.get(target), self.groups.get(&join.group)) else { return };
        match self.obstacle(one, other.members.len(), other.onset_first, other.onset_last) {
            Some(reason) => self.note_near_miss(join.group, episode, join.why, reason),
            None => *target = self.unite(*target, join.group, episode, &join.why),
        }
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

    /// The newest live groups with members on the episode's host, in its services or near these, oldest first.
    fn groups_around(&self, episode: &Episode) -> Vec<GroupId> {
        let mut around = Vec::new();
        let mut look = |groups: Option<&BTreeSet<GroupId>>| {
            around.extend(groups.into_iter().flat_map(|groups| groups.iter().rev().take(limits::GROUPS_COMPARED)));
        };
        look(self.by_host.get(&episode.host));
        for service in &episode.services {
            look(self.by_service.get(service));
            self.graph.near(service).for_each(|near| look(self.by_service.get(near)));
        }
        around.sort_unstable();
        around.dedup();
        around.drain(..around.len().saturating_sub(limits::GROUPS_COMPARED));
        around
    }

    /// The member with which `episode` has most in common; in a large group the newest with which it has enough.
    fn best_match(&self, episode: &Episode, group: &Group) -> Option<Why> {
        let stop_early = group.members.len() > limits::MEMBERS_COMPARED;
        let window_ms = self.setup.correlate.window_ms;
        let mut best: Option<Why> = None;
        for member in group.members.iter().rev().take(limits::MEMBERS_COMPARED) {
            let Some(other) = self.episodes.get(&member.episode).filter(|other| other.id != episode.id) else {
                continue;
            };
            let shares_change = || self.share_change(episode, other);
            let Some(terms) = compare(episode, other, &self.graph, window_ms, shares_change) else { continue };
            let score = terms.score();
            // Of equals the oldest counts.
            if best.as_ref().is_none_or(|best| score >= best.score) {
                best = Some(Why { terms, score, with: Some(other.id) });
                if stop_early && score >= weights::JOIN {
                    break;
                }
            }
        }
        best
    }

    /// What keeps a group from taking in so many episodes with onsets in `[first, last]`.
    fn obstacle(&self, group: &Group, members: usize, first: WallTime, last: WallTime) -> Option<WhyNot> {
        let span_max = i64::try_from(self.setup.correlate.window_max_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        if group.span_with(first, last) > span_max {
            return Some(WhyNot::SpanTooLong);
        }
        (group.members.len() + members > limits::MEMBERS).then_some(WhyNot::Full)
    }

    /// Moves all members of the younger group into the older; an incident always takes candidates in. `episode` of
    /// `one` is what links the two. Returns the group that remains.
    fn unite(&mut self, one: GroupId, other: GroupId, episode: EpisodeId, why: &Why) -> GroupId {
        let rank = |state: &Self, id: GroupId| (state.groups.get(&id).is_none_or(|group| group.incident.is_none()), id);
        let (to, from) = if rank(self, one) <= rank(self, other) { (one, other) } else { (other, one) };
        self.unindex(from);
        self.schedule(from, None);
        let (now, Some(source)) = (self.now, self.groups.get_mut(&from)) else { return to };
        let (moved, tally) = (std::mem::take(&mut source.members), std::mem::take(&mut source.tally));
        let (first, last) = (source.onset_first, source.onset_last);
        for mut member in moved {
            if member.episode == episode {
                member.why = why.clone();
            } else if member.why.with.is_none() {
                member.why = self.why_of(member.episode, to).unwrap_or(Why { with: Some(episode), ..why.clone() });
            }
            let Some(moving) = self.episodes.get_mut(&member.episode) else { continue };
            moving.group = to;
            let (host, services) = (moving.host, moving.services.clone());
            self.index(to, host, &services);
            let Some(target) = self.groups.get_mut(&to) else { continue };
            member.late = target.incident.is_some();
            target.members.push(member);
        }
        if let Some(target) = self.groups.get_mut(&to) {
            target.cover(first);
            target.cover(last);
            target.tally.absorb(&tally);
            target.incident.iter_mut().for_each(|incident| incident.look_soon(now));
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
                incident.direct_due = None;
                self.resolved.push_back(from);
            }
            _ => _ = self.groups.remove(&from),
        }
    }

    fn note_misses(&mut self, episode: EpisodeId, misses: Vec<Nearby>) {
        misses.into_iter().for_each(|miss| self.note_near_miss(miss.group, episode, miss.why, WhyNot::BelowThreshold));
    }

    fn note_near_miss(&mut self, group: GroupId, episode: EpisodeId, why: Why, reason: WhyNot) {
        if let Some(group) = self.groups.get_mut(&group) {
            group.note_near_miss(NearMiss { episode, why, reason });
        }
    }

    /// A change may be what episodes around it share: looks again at the newest of those. Returns the groups around it,
    /// and those that changed.
    pub(crate) fn take_in_change(&mut self, host: HostId, seen: SeenChange) -> BTreeSet<GroupId> {
        let at = seen.at;
        let service = seen.change.service.clone();
        if !self.remember_change(seen) {
            return BTreeSet::new();
        }
        let places = [self.by_host.get(&host), self.by_service.get(&service)];
        let newest = places.into_iter().flatten().flat_map(|groups| groups.iter().rev().take(limits::GROUPS_COMPARED));
        let mut changed: BTreeSet<GroupId> = newest.copied().collect();
        let affected: Vec<EpisodeId> = changed
            .iter()
            .rev()
            .filter_map(|id| self.groups.get(id))
            .flat_map(|group| group.members.iter().rev())
            .filter_map(|member| self.episodes.get(&member.episode))
            .filter(|episode| self.may_follow(episode, at))
            .take(limits::FOLLOWERS)
            .map(|episode| episode.id)
            .collect();
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

//! Everything that the engine knows; a fold over the event log, kept in snapshots so that a restart reads only the tail.

use super::changes::SeenChange;
use super::episode::{End, Episode, Suppression};
use super::graph::Graph;
use super::group::{Group, GroupId};
use super::intake::bound_text;
use super::lifecycle::IncidentState;
use super::progress::leave;
use super::setup::{Setup, limits};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet, HashMap, HashSet, VecDeque};
use std::hash::Hash;
use vedette_protocol::ids::{DirectiveId, EpisodeId, HostId};
use vedette_protocol::time::WallTime;

/// The engine's state.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) setup: Setup,
    #[serde(skip)]
    pub(crate) graph: Graph,
    /// Latest time of any event; never goes back.
    pub(crate) now: WallTime,
    /// Position of the last event taken in.
    pub(crate) position: u64,
    pub(crate) hosts: HashMap<HostId, String>,
    pub(crate) hosts_by_name: HashMap<String, BTreeSet<HostId>>,
    pub(crate) episodes: HashMap<EpisodeId, Episode>,
    /// Episodes in live groups by host.
    pub(crate) episodes_of_host: HashMap<HostId, usize>,
    pub(crate) groups: HashMap<GroupId, Box<Group>>,
    /// Live groups by the hosts and services of their members; resolved ones are not here, so nothing joins them.
    pub(crate) by_host: HashMap<HostId, BTreeSet<GroupId>>,
    pub(crate) by_service: HashMap<String, BTreeSet<GroupId>>,
    pub(crate) changes: HashMap<HostId, VecDeque<SeenChange>>,
    pub(crate) incidents: BTreeMap<String, GroupId>,
    /// Incidents by the directives that they remember.
    pub(crate) directives: HashMap<DirectiveId, GroupId>,
    /// Resolved incidents still remembered, oldest first.
    pub(crate) resolved: VecDeque<GroupId>,
    /// Episodes in them.
    pub(crate) resolved_episodes: usize,
    /// Subjects of resolved incidents: when and which.
    pub(crate) resolved_subjects: HashMap<u64, (WallTime, GroupId)>,
    pub(crate) tombstones: HashSet<EpisodeId>,
    pub(crate) tombstones_by_age: VecDeque<EpisodeId>,
    pub(crate) deadlines: BTreeSet<(WallTime, GroupId)>,
    pub(crate) closed: Closed,
}

/// Counts of findings that are no longer in memory or never entered it.
#[derive(Debug, Default, Clone, PartialEq, Serialize, Deserialize)]
pub(crate) struct Closed {
    pub(crate) accepted: u64,
    pub(crate) incident: u64,
    pub(crate) expired: u64,
    pub(crate) suppressed: [u64; Suppression::ALL.len()],
    pub(crate) changes: u64,
    pub(crate) hosts_unnamed: u64,
    /// Episodes that were ended by us, by how; those of restarted agents, once nothing can be told of them any more.
    pub(crate) ends: [u64; End::ALL.len()],
}

impl Closed {
    pub(crate) fn count_end(&mut self, how: End, episodes: usize) {
        let index = End::ALL.iter().position(|known| *known == how).expect("ALL holds every way");
        self.ends[index] += episodes as u64;
    }
}

impl State {
    pub(crate) fn configure(&mut self, setup: Setup) {
        self.graph = Graph::new(&setup.topology);
        self.setup = setup;
    }

    pub(crate) fn name_host(&mut self, host: HostId, mut name: String) {
        bound_text(&mut name);
        if self.hosts.len() >= limits::HOSTS && !self.hosts.contains_key(&host) {
            self.closed.hosts_unnamed += 1;
            return;
        }
        self.hosts_by_name.entry(name.clone()).or_default().insert(host);
        if let Some(old) = self.hosts.insert(host, name.clone()).filter(|old| *old != name)
            && let Some(namesakes) = self.hosts_by_name.get_mut(&old)
        {
            namesakes.remove(&host);
            if namesakes.is_empty() {
                self.hosts_by_name.remove(&old);
            }
        }
    }

    /// `host.name`, or the id where no name is known.
    pub(crate) fn host_name(&self, host: HostId) -> String {
        self.hosts.get(&host).cloned().unwrap_or_else(|| host.to_string())
    }

    pub(crate) fn services_of(&self, host: HostId) -> Vec<String> {
        self.hosts.get(&host).map_or_else(Vec::new, |name| self.graph.services_of_host(name).to_vec())
    }

    pub(crate) fn suppress(&mut self, reason: Suppression) {
        let index = Suppression::ALL.iter().position(|known| *known == reason).expect("ALL holds every reason");
        self.closed.suppressed[index] += 1;
    }

    /// Enters a group under the places of one of its episodes.
    pub(crate) fn index(&mut self, group: GroupId, host: HostId, services: &[String]) {
        self.by_host.entry(host).or_default().insert(group);
        for service in services {
            match self.by_service.get_mut(service) {
                Some(groups) => _ = groups.insert(group),
                None => _ = self.by_service.insert(service.clone(), BTreeSet::from([group])),
            }
        }
    }

    /// Takes an episode of its own or of another group in.
    pub(crate) fn remember(&mut self, episode: Episode) {
        self.index(episode.group, episode.host, &episode.services);
        *self.episodes_of_host.entry(episode.host).or_default() += 1;
        self.episodes.insert(episode.id, episode);
    }

    /// Removes a group from the places of its members, so that nothing finds it any more.
    pub(crate) fn unindex(&mut self, id: GroupId) {
        let members = self.groups.get(&id).map_or(&[][..], |group| &group.members);
        for episode in members.iter().filter_map(|member| self.episodes.get(&member.episode)) {
            remove_from(&mut self.by_host, &episode.host, id);
            for service in &episode.services {
                remove_from(&mut self.by_service, service, id);
            }
        }
    }

    pub(crate) fn schedule(&mut self, id: GroupId, deadline: Option<WallTime>) {
        let Some(group) = self.groups.get_mut(&id) else { return };
        if group.deadline == deadline {
            return;
        }
        if let Some(old) = std::mem::replace(&mut group.deadline, deadline) {
            self.deadlines.remove(&(old, id));
        }
        if let Some(new) = deadline {
            self.deadlines.insert((new, id));
        }
    }

    pub(crate) fn incident_state(&self, id: GroupId) -> Option<IncidentState> {
        Some(self.groups.get(&id)?.incident.as_ref()?.lifecycle.state)
    }

    /// Forgets a group and its episodes; late words about these are recognised for a while.
    pub(crate) fn forget(&mut self, id: GroupId) -> u64 {
        self.unindex(id);
        self.schedule(id, None);
        let Some(group) = self.groups.remove(&id) else { return 0 };
        let live = group.is_live();
        if live {
            self.closed.count_end(End::AgentRestarted, group.tally.awaited);
        }
        for member in &group.members {
            if let Some(episode) = self.episodes.remove(&member.episode) {
                if live {
                    leave(&mut self.episodes_of_host, episode.host);
                }
                if self.resolved_subjects.get(&episode.subject_key).is_some_and(|(_, known)| *known == id) {
                    self.resolved_subjects.remove(&episode.subject_key);
                }
            }
            self.bury(member.episode);
        }
        if !live {
            self.resolved_episodes -= group.members.len();
        }
        if let Some(incident) = group.incident {
            self.incidents.remove(&incident.id);
            incident.directives.iter().for_each(|directive| _ = self.directives.remove(&directive.id));
        }
        group.tally.findings
    }

    /// Whether there is room for one more episode of a host.
    pub(crate) fn has_room(&self, host: HostId) -> bool {
        let of_host = self.episodes_of_host.get(&host).copied().unwrap_or(0);
        self.episodes.len() - self.resolved_episodes < limits::EPISODES && of_host < limits::EPISODES_PER_HOST
    }

    fn bury(&mut self, episode: EpisodeId) {
        if self.tombstones.insert(episode) {
            self.tombstones_by_age.push_back(episode);
        }
        while self.tombstones_by_age.len() > limits::TOMBSTONES {
            if let Some(oldest) = self.tombstones_by_age.pop_front() {
                self.tombstones.remove(&oldest);
            }
        }
    }

    /// Groups that `wanted` names, oldest first.
    pub(crate) fn groups_in_order(&self, wanted: impl Fn(&Group) -> bool) -> Vec<&Group> {
        let mut groups: Vec<&Group> =
            self.groups.values().map(|group| &**group).filter(|group| wanted(group)).collect();
        groups.sort_unstable_by_key(|group| group.id);
        groups
    }

    pub(crate) fn members(&self, id: GroupId) -> impl Iterator<Item = &Episode> {
        let members = self.groups.get(&id).map_or(&[][..], |group| &group.members);
        members.iter().filter_map(|member| self.episodes.get(&member.episode))
    }
}

fn remove_from<K: Eq + Hash>(index: &mut HashMap<K, BTreeSet<GroupId>>, key: &K, id: GroupId) {
    if let Some(groups) = index.get_mut(key) {
        groups.remove(&id);
        if groups.is_empty() {
            index.remove(key);
        }
    }
}

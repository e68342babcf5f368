//! Directives: while an incident is open, its suspects are looked at more closely.

use super::episode::Episode;
use super::group::{GroupId, Incident};
use super::lifecycle::IncidentState;
use super::promote::{Touch, later};
use super::setup::limits;
use super::state::State;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use vedette_protocol::ids::{Digest, DirectiveId, HostId};
use vedette_protocol::policy::Directive;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::Subject;

/// Interval asked for around suspects; the agent's policy has the last word.
const INTERVAL_MS: u32 = 1_000;
/// Sooner than this a directive is not replaced because there is more to ask.
const REPLACE_MS_MIN: u64 = 5_000;
/// Between two looks at all suspects of one incident.
const LOOK_MS_MIN: u64 = 1_000;
/// A host that reports nothing in effect and says nothing is asked more and more rarely, at most this many doublings:
/// it may be gone. If it comes back it finds the next directive, or brings it about by its next word.
const DOUBLINGS_MAX: u32 = 4;
/// Hosts that one incident may direct.
const HOSTS_MAX: usize = 32;
/// Metrics that one directive asks raw.
const METRICS_MAX: usize = 16;
/// How long before the first onset on a host its samples are asked for, out of the flight recorder.
const BEFORE_ONSET_MS: i64 = 300_000;
/// Farthest that is looked back for them in all.
const LOOK_BACK_MS: i64 = 1_800_000;
/// Longest life that agents accept.
const LIFE_MS_MAX: u64 = 900_000;

/// Metric namespace and the agent's source that reads it. A namespace that is not here raises nothing.
const SOURCES: &[(&str, &str)] = &[
    ("system.cpu.load_average", "load"),
    ("system.cpu", "cpu"),
    ("system.memory", "memory"),
    ("system.paging", "paging"),
    ("system.linux.pressure", "pressure"),
    ("system.pressure", "pressure"),
    ("system.disk", "disk"),
    ("system.filesystem", "filesystem"),
    ("system.network.connection", "socket"),
    ("system.network", "network"),
    ("system.process", "cpu"),
    ("system.linux.cpu", "cpu"),
    ("system.linux.process", "cpu"),
    ("system.linux.thread", "load"),
    ("process", "process"),
    ("container", "cgroup"),
    ("cgroup", "cgroup"),
];

/// A directive issued for an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct DirectiveState {
    /// Id.
    pub(crate) id: DirectiveId,
    /// Host.
    pub(crate) host: HostId,
    /// When it was issued.
    pub(crate) issued: WallTime,
    /// When it ends.
    pub(crate) expires: WallTime,
    /// Sources raised.
    pub(crate) sources: Vec<String>,
    /// Metrics asked raw.
    pub(crate) metrics: Vec<String>,
    /// When the agent first reported it in effect.
    pub(crate) in_effect: Option<WallTime>,
    /// Directives to this host before it that were not reported in effect, without one that was in between.
    pub(crate) unanswered: u32,
}

impl DirectiveState {
    /// From its issue to the agent's first report that it is in effect.
    pub(crate) fn delay_ms(&self) -> Option<i64> {
        Some(self.in_effect?.unix_ms().saturating_sub(self.issued.unix_ms()))
    }
}

/// What a host is to be asked.
#[derive(Debug, Default)]
struct Wanted<'a> {
    metrics: BTreeSet<&'a str>,
    /// When a suspect there was last heard of.
    heard: WallTime,
}

impl State {
    /// Issues what is due for an open incident.
    pub(crate) fn direct(&mut self, id: GroupId, by: Touch) -> Vec<Directive> {
        let now = self.now;
        self.note_more_to_ask(id, by);
        if self.incident(id).and_then(|incident| incident.direct_due).is_none_or(|due| due > now) {
            return Vec::new();
        }
        let (mut due, mut next) = (Vec::new(), None::<WallTime>);
        for (host, wanted) in self.wanted(id) {
            let at = self.due_at(id, host, &wanted);
            if at <= now {
                due.push((host, wanted.metrics.into_iter().map(str::to_owned).collect::<BTreeSet<_>>()));
            }
            let at = if at <= now { later(now, self.renewal_ms()) } else { at };
            next = Some(next.map_or(at, |next| next.min(at)));
        }
        if let Some(incident) = self.groups.get_mut(&id).and_then(|group| group.incident.as_mut()) {
            incident.directed = Some(now);
            incident.direct_due = next;
        }
        due.into_iter().filter_map(|(host, wanted)| self.issue(id, host, wanted)).collect()
    }

    /// A word about an episode that no directive covers asks for a look at all, soon.
    fn note_more_to_ask(&mut self, id: GroupId, by: Touch) {
        let Touch::Word(episode) = by else { return };
        let Some(incident) = self.incident(id) else { return };
        let Some(episode) = self.episodes.get(&episode).filter(|episode| episode.ended.is_none()) else { return };
        if incident.lifecycle.state >= IncidentState::Monitoring || incident.covers(episode, self.now) {
            return;
        }
        let now = self.now;
        if let Some(incident) = self.groups.get_mut(&id).and_then(|group| group.incident.as_mut()) {
            incident.look_soon(now);
        }
    }

    fn incident(&self, id: GroupId) -> Option<&Incident> {
        self.groups.get(&id)?.incident.as_deref()
    }

    /// A directive that ended or is about to is renewed; one that asks too little is replaced a little later; one that
    /// nobody answers is renewed ever more rarely.
    fn due_at(&self, id: GroupId, host: HostId, wanted: &Wanted<'_>) -> WallTime {
        let Some(last) = self.incident(id).and_then(|incident| incident.last_directive(host)) else {
            return WallTime::default();
        };
        let covers = wanted.metrics.iter().all(|metric| last.metrics.iter().any(|known| known == metric));
        let renewal_ms = self.renewal_ms();
        if !covers {
            return later(last.issued, REPLACE_MS_MIN.min(renewal_ms));
        }
        let heard = last.in_effect.is_some() || wanted.heard > last.issued;
        let doublings = if heard { 0 } else { last.unanswered.min(DOUBLINGS_MAX) };
        later(last.issued, renewal_ms << doublings)
    }

    fn renewal_ms(&self) -> u64 {
        self.life_ms() / 3 * 2
    }

    fn life_ms(&self) -> u64 {
        self.setup.correlate.directive_life_ms.clamp(1_000, LIFE_MS_MAX)
    }

    /// Metrics of the members that go on, by host; nothing while the incident is only watched.
    fn wanted(&self, id: GroupId) -> BTreeMap<HostId, Wanted<'_>> {
        let mut hosts: BTreeMap<HostId, Wanted<'_>> = BTreeMap::new();
        if self.incident(id).is_none_or(|incident| incident.lifecycle.state >= IncidentState::Monitoring) {
            return hosts;
        }
        for episode in self.members(id).filter(|episode| episode.ended.is_none()) {
            if hosts.len() >= HOSTS_MAX && !hosts.contains_key(&episode.host) {
                continue;
            }
            let wanted = hosts.entry(episode.host).or_default();
            wanted.heard = wanted.heard.max(episode.heard);
            if let Subject::Series(meta) = &episode.finding.subject
                && wanted.metrics.len() < METRICS_MAX
            {
                wanted.metrics.insert(&meta.metric);
            }
        }
        hosts
    }

    fn issue(&mut self, id: GroupId, host: HostId, wanted: BTreeSet<String>) -> Option<Directive> {
        let (issued, expires) = (self.now, later(self.now, self.life_ms()));
        let look_back_ms = self.look_back_ms(id, host, &wanted);
        let incident = self.groups.get_mut(&id)?.incident.as_mut()?;
        let mut seed = incident.id.clone().into_bytes();
        seed.extend(host.0);
        seed.extend(issued.unix_ns.to_le_bytes());
        let digest = Digest::of(&seed).0;
        let directive = Directive {
            id: DirectiveId(std::array::from_fn(|i| digest[i])),
            host,
            issued,
            expires,
            incident: incident.id.clone(),
            sources: sources(&wanted).into_iter().map(|source| (source.to_owned(), INTERVAL_MS)).collect(),
            raw_metrics: wanted.iter().cloned().collect(),
            look_back_ms,
        };
        let unanswered = incident
            .last_directive(host)
            .map_or(0, |last| if last.in_effect.is_some() { 0 } else { last.unanswered.saturating_add(1) });
        if let Some(old) = incident.drop_directive() {
            self.directives.remove(&old);
        }
        incident.directives.push(DirectiveState {
            id: directive.id,
            host,
            issued,
            expires,
            sources: directive.sources.iter().map(|(source, _)| source.clone()).collect(),
            metrics: directive.raw_metrics.clone(),
            in_effect: None,
            unanswered,
        });
        self.directives.insert(directive.id, id);
        Some(directive)
    }

    /// From now to some minutes before the first onset on a host; 0 if these metrics were asked for before: what the
    /// recorder held of them is here, and they go on raw.
    fn look_back_ms(&self, id: GroupId, host: HostId, wanted: &BTreeSet<String>) -> u32 {
        let asked = self.incident(id).and_then(|incident| incident.last_directive(host));
        if asked.is_some_and(|last| last.in_effect.is_some() && wanted.iter().all(|one| last.metrics.contains(one))) {
            return 0;
        }
        let onsets = self.members(id).filter(|episode| episode.host == host).map(|episode| episode.onset.unix_ms());
        let since_ms = onsets.min().map_or(0, |onset| self.now.unix_ms().saturating_sub(onset).max(0));
        u32::try_from((since_ms + BEFORE_ONSET_MS).min(LOOK_BACK_MS)).unwrap_or(0)
    }

    /// Notes the first report that a directive is in effect. Returns its group.
    pub(crate) fn directive_in_effect(&mut self, directive: DirectiveId) -> Option<GroupId> {
        let (id, now) = (*self.directives.get(&directive)?, self.now);
        let incident = self.groups.get_mut(&id)?.incident.as_mut()?;
        let known = incident.directives.iter_mut().find(|known| known.id == directive)?;
        known.in_effect.get_or_insert(now);
        // When it is renewed depends on whether it was answered.
        incident.direct_due = incident.direct_due.map(|due| due.min(now));
        Some(id)
    }
}

impl Incident {
    /// Has the suspects looked at at once, or a little after the last look.
    pub(crate) fn look_soon(&mut self, now: WallTime) {
        let soon = self.directed.map_or(now, |directed| later(directed, LOOK_MS_MIN));
        self.direct_due = Some(self.direct_due.map_or(soon, |due| due.min(soon)));
    }

    fn last_directive(&self, host: HostId) -> Option<&DirectiveState> {
        self.directives.iter().rev().find(|directive| directive.host == host)
    }

    /// Whether what is known of this episode is being asked for, as far as one directive can.
    fn covers(&self, episode: &Episode, now: WallTime) -> bool {
        let Some(last) = self.last_directive(episode.host).filter(|last| last.expires > now) else { return false };
        match &episode.finding.subject {
            Subject::Series(meta) => last.metrics.len() >= METRICS_MAX || last.metrics.contains(&meta.metric),
            Subject::LogTemplate { .. } => true,
        }
    }

    /// Makes room for one more: the oldest that another replaced goes first.
    fn drop_directive(&mut self) -> Option<DirectiveId> {
        if self.directives.len() < limits::DIRECTIVES {
            return None;
        }
        let replaced = |(place, old): &(usize, &DirectiveState)| {
            self.directives[place + 1..].iter().any(|newer| newer.host == old.host)
        };
        let place = self.directives.iter().enumerate().find(replaced).map_or(0, |(place, _)| place);
        Some(self.directives.remove(place).id)
    }
}

/// Sources of the metrics, and always the processes: they answer who does it.
fn sources(metrics: &BTreeSet<String>) -> BTreeSet<&'static str> {
    let mut sources: BTreeSet<_> = metrics.iter().filter_map(|metric| source_of(metric)).collect();
    sources.insert("process");
    sources
}

fn source_of(metric: &str) -> Option<&'static str> {
    let within =
        |namespace: &str| metric.strip_prefix(namespace).is_some_and(|rest| rest.is_empty() || rest.starts_with('.'));
    SOURCES.iter().find(|(namespace, _)| within(namespace)).map(|(_, source)| *source)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_metric_raises_its_own_source_and_an_unknown_one_none() {
        assert_eq!(source_of("system.cpu.utilization"), Some("cpu"));
        assert_eq!(source_of("system.cpu.load_average.1m"), Some("load"));
        assert_eq!(source_of("process.cpu.time"), Some("process"));
        assert_eq!(source_of("systematic"), None);
        assert_eq!(sources(&BTreeSet::new()), BTreeSet::from(["process"]));
    }
}

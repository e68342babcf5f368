//! Directives: while an incident is open, its suspects are looked at more closely.

use super::group::GroupId;
use super::lifecycle::IncidentState;
use super::promote::later;
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
/// Hosts that one incident may direct.
const HOSTS_MAX: usize = 32;
/// Metrics that one directive asks raw.
const METRICS_MAX: usize = 16;
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
}

impl State {
    /// Issues what is due for an open incident. Tells when the next one will be.
    pub(crate) fn direct(&mut self, id: GroupId) -> (Vec<Directive>, Option<WallTime>) {
        let (now, mut next) = (self.now, None::<WallTime>);
        let mut due = Vec::new();
        for (host, wanted) in self.wanted(id) {
            let at = self.due_at(id, host, &wanted);
            if at <= now {
                due.push((host, wanted.into_iter().map(str::to_owned).collect::<BTreeSet<_>>()));
            }
            let at = if at <= now { later(now, self.renewal_ms()) } else { at };
            next = Some(next.map_or(at, |next| next.min(at)));
        }
        (due.into_iter().filter_map(|(host, wanted)| self.issue(id, host, wanted)).collect(), next)
    }

    /// A directive that ended or is about to is renewed; one that asks too little is replaced a little later.
    fn due_at(&self, id: GroupId, host: HostId, wanted: &BTreeSet<&str>) -> WallTime {
        let incident = self.groups.get(&id).and_then(|group| group.incident.as_ref());
        let last =
            incident.and_then(|incident| incident.directives.iter().rev().find(|directive| directive.host == host));
        let Some(last) = last else { return WallTime::default() };
        let covers = wanted.iter().all(|metric| last.metrics.iter().any(|known| known == metric));
        let renewal_ms = self.renewal_ms();
        later(last.issued, if covers { renewal_ms } else { REPLACE_MS_MIN.min(renewal_ms) })
    }

    fn renewal_ms(&self) -> u64 {
        self.life_ms() / 3 * 2
    }

    fn life_ms(&self) -> u64 {
        self.setup.correlate.directive_life_ms.clamp(1_000, LIFE_MS_MAX)
    }

    /// Metrics of the members that go on, by host; nothing while the incident is only watched.
    fn wanted(&self, id: GroupId) -> BTreeMap<HostId, BTreeSet<&str>> {
        let mut wanted: BTreeMap<HostId, BTreeSet<&str>> = BTreeMap::new();
        let incident = self.groups.get(&id).and_then(|group| group.incident.as_ref());
        if incident.is_none_or(|incident| incident.lifecycle.state >= IncidentState::Monitoring) {
            return wanted;
        }
        for episode in self.members(id).filter(|episode| episode.cleared.is_none()) {
            if wanted.len() >= HOSTS_MAX && !wanted.contains_key(&episode.host) {
                continue;
            }
            let metrics = wanted.entry(episode.host).or_default();
            if let Subject::Series(meta) = &episode.finding.subject
                && metrics.len() < METRICS_MAX
            {
                metrics.insert(&meta.metric);
            }
        }
        wanted
    }

    fn issue(&mut self, id: GroupId, host: HostId, wanted: BTreeSet<String>) -> Option<Directive> {
        let (issued, expires) = (self.now, later(self.now, self.life_ms()));
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
        };
        if incident.directives.len() >= limits::DIRECTIVES {
            incident.directives.remove(0);
        }
        incident.directives.push(DirectiveState {
            id: directive.id,
            host,
            issued,
            expires,
            sources: directive.sources.iter().map(|(source, _)| source.clone()).collect(),
            metrics: directive.raw_metrics.clone(),
            in_effect: None,
        });
        Some(directive)
    }

    /// Notes the first report that a directive is in effect. Returns its group.
    pub(crate) fn directive_in_effect(&mut self, directive: DirectiveId) -> Option<GroupId> {
        let now = self.now;
        for (id, group) in &mut self.groups {
            let Some(incident) = &mut group.incident else { continue };
            let Some(known) = incident.directives.iter_mut().find(|known| known.id == directive) else { continue };
            known.in_effect.get_or_insert(now);
            return Some(*id);
        }
        None
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

//! Candidate causes: changes before the onset, scored by named terms. A symptom is never named; "inconclusive" is an answer.

use super::changes::SeenChange;
use super::episode::Episode;
use super::group::Group;
use super::setup::limits;
use super::state::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use vedette_protocol::ids::HostId;
use vedette_protocol::v1::ChangeKind;

const WEIGHT_DELTA: f64 = 0.45;
const WEIGHT_PLACE: f64 = 0.40;
const WEIGHT_KIND: f64 = 0.15;
/// Time before the onset at which the time term has fallen to 1/e, ns.
const DELTA_SCALE_NS: f64 = 600e9;
/// Score from which a change is worth being called a candidate.
const CANDIDATE: f64 = 0.6;

/// A change that may have caused an incident.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cause {
    pub(crate) seen: SeenChange,
    pub(crate) terms: CauseTerms,
    /// From 0 to 1; not a probability.
    pub(crate) score: f64,
    /// From the change to the first onset that it could have caused.
    pub(crate) delta_ms: i64,
    pub(crate) evidence: Vec<String>,
}

/// What speaks for a change as the cause; each from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CauseTerms {
    /// Shortly before the onset.
    pub delta: f64,
    /// On a host of the incident 1, in a service of it 0.9, near by dependencies less.
    pub place: f64,
    /// How often this sort of change does harm.
    pub kind: f64,
}

impl State {
    /// Changes before the group's onset in its surroundings, best first.
    pub(crate) fn causes(&self, group: &Group) -> Vec<Cause> {
        if self.changes.is_empty() {
            return Vec::new();
        }
        let members: Vec<&Episode> =
            group.members.iter().filter_map(|member| self.episodes.get(&member.episode)).collect();
        let mut causes: Vec<Cause> = self
            .hosts_around(&members)
            .into_iter()
            .flat_map(|host| self.changes_on(host))
            .filter_map(|seen| self.cause(seen, &members))
            .collect();
        causes.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.seen.change.id.cmp(&b.seen.change.id)));
        causes.truncate(limits::CAUSES);
        causes
    }

    /// Hosts of the members and of the services near theirs.
    fn hosts_around(&self, members: &[&Episode]) -> BTreeSet<HostId> {
        let mut hosts: BTreeSet<HostId> = members.iter().map(|episode| episode.host).collect();
        let services: BTreeSet<&str> =
            members.iter().flat_map(|episode| &episode.services).map(String::as_str).collect();
        let near: BTreeSet<&str> = services.iter().flat_map(|service| self.graph.near(service)).collect();
        for name in services.union(&near).flat_map(|service| self.graph.hosts_of_service(service)) {
            hosts.extend(self.hosts_by_name.get(name).into_iter().flatten());
        }
        hosts
    }

    fn cause(&self, seen: &SeenChange, members: &[&Episode]) -> Option<Cause> {
        if members.iter().any(|episode| seen.is_symptom_of(episode)) {
            return None;
        }
        let first = members.iter().min_by_key(|episode| episode.onset)?;
        let delta_ns = seen.precedes_by_ns(first.onset, first.finding.onset_uncertainty_ms)?;
        let delta_ms = delta_ns / 1_000_000;
        if delta_ms.unsigned_abs() > self.setup.correlate.cause_window_ms {
            return None;
        }
        let (place, where_it_was) = self.place(seen, members)?;
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds within an hour")]
        let delta = (-(delta_ns as f64) / DELTA_SCALE_NS).exp();
        let terms = CauseTerms { delta, place, kind: kind_prior(seen.change.kind) };
        let score = WEIGHT_DELTA * terms.delta + WEIGHT_PLACE * terms.place + WEIGHT_KIND * terms.kind;
        let evidence = vec![when(delta_ms), where_it_was, content(seen)];
        Some(Cause { seen: seen.clone(), terms, score, delta_ms, evidence })
    }

    fn place(&self, seen: &SeenChange, members: &[&Episode]) -> Option<(f64, String)> {
        if members.iter().any(|episode| episode.host == seen.host) {
            return Some((1.0, format!("on {}, where findings are", self.host_name(seen.host))));
        }
        let mut changed = self.services_of(seen.host);
        changed.push(seen.change.service.clone());
        let mut best: Option<(f64, String)> = None;
        for (service, member) in
            changed.iter().flat_map(|s| members.iter().flat_map(move |m| m.services.iter().map(move |o| (s, o))))
        {
            let nearness = self.graph.nearness(service, member) * 0.9;
            if nearness > best.as_ref().map_or(0.0, |(best, _)| *best) {
                let relation = if service == member {
                    format!("in {service}, where findings are")
                } else if self.graph.depends_on(member, service) {
                    format!("in {service}, on which {member} depends")
                } else {
                    format!("in {service}, near {member} by declared dependencies")
                };
                best = Some((nearness, relation));
            }
        }
        best
    }
}

/// What can be concluded from the causes, for people.
pub(crate) fn verdict(causes: &[Cause]) -> (&'static str, String) {
    match causes {
        [] => ("inconclusive", "no change was seen in these surroundings before the onset".to_owned()),
        [best, ..] if best.score < CANDIDATE => {
            ("inconclusive", "changes were seen, none near enough in time and place".to_owned())
        }
        [best, ..] => ("candidate", format!("{} changed {}", best.seen.change.target, best.evidence[0])),
    }
}

/// Order of how often such changes do harm, from experience in the field; to be replaced by what labels teach.
const fn kind_prior(kind: ChangeKind) -> f64 {
    match kind {
        ChangeKind::FileEdited => 1.0,
        ChangeKind::FileRemoved => 0.9,
        ChangeKind::FileCreated => 0.7,
        ChangeKind::Booted => 0.8,
    }
}

fn when(delta_ms: i64) -> String {
    match delta_ms {
        0 => "at the onset, within its uncertainty".to_owned(),
        1..10_000 => format!("{}.{} s before the first onset", delta_ms / 1_000, delta_ms % 1_000 / 100),
        10_000..120_000 => format!("{} s before the first onset", delta_ms / 1_000),
        _ => format!("{} min before the first onset", delta_ms / 60_000),
    }
}

fn content(seen: &SeenChange) -> String {
    let short = |digest: Option<vedette_protocol::ids::Digest>| {
        digest.map_or_else(|| "nothing".to_owned(), |digest| digest.to_string()[..12].to_owned())
    };
    format!("content {} → {} (SHA-256)", short(seen.change.before), short(seen.change.after))
}

//! Candidate causes: changes before findings, scored by named terms. A symptom is never named; "inconclusive" is an answer.
//!
//! A finding may have joined that began earlier and for another reason, so each member's onset counts, not the first
//! alone: a change explains the members after it, the more of them the better.

use super::changes::SeenChange;
use super::episode::Episode;
use super::group::Group;
use super::promote::later;
use super::setup::limits;
use super::state::State;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use vedette_protocol::ids::HostId;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::ChangeKind;

const WEIGHT_DELTA: f64 = 0.45;
const WEIGHT_PLACE: f64 = 0.40;
const WEIGHT_KIND: f64 = 0.15;
/// Time before the onset at which the time term has fallen to 1/e, ns.
const DELTA_SCALE_NS: f64 = 600e9;
/// What is left of the score of a change that explains next to nothing; the rest goes with the share that it explains.
/// So with half of the findings a change can be a candidate, with less than a third it cannot.
const SHARE_FLOOR: f64 = 0.4;
/// Score from which a change is worth being called a candidate.
const CANDIDATE: f64 = 0.6;

/// A change that may have caused an incident.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Cause {
    pub(crate) seen: SeenChange,
    pub(crate) terms: CauseTerms,
    /// From 0 to 1; not a probability.
    pub(crate) score: f64,
    /// From the change to the first onset that it can explain.
    pub(crate) delta_ms: i64,
    pub(crate) evidence: Vec<String>,
}

/// What speaks for a change as the cause; each from 0 to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct CauseTerms {
    /// Shortly before the first onset that it can explain.
    pub delta: f64,
    /// On a host of the incident 1, in a service of it 0.9, near by dependencies less.
    pub place: f64,
    /// How often this sort of change does harm.
    pub kind: f64,
    /// Of all findings those that began after it.
    pub share: f64,
}

impl State {
    /// Changes before onsets of the group in its surroundings, best first.
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
        let window_ns = later(WallTime::default(), self.setup.correlate.cause_window_ms).unix_ns;
        let follows = |episode: &&&Episode| {
            seen.precedes_by_ns(episode.onset, episode.finding.onset_uncertainty_ms)
                .is_some_and(|delta_ns| delta_ns <= window_ns)
        };
        let explained: Vec<&Episode> = members.iter().filter(follows).copied().collect();
        let first = explained.iter().map(|episode| episode.onset).min()?;
        let delta_ns = first.unix_ns.saturating_sub(seen.at.unix_ns).max(0);
        let delta_ms = delta_ns / 1_000_000;
        let (place, where_it_was) = self.place(seen, &explained)?;
        #[expect(clippy::cast_precision_loss, reason = "at most a thousand members")]
        let share = explained.len() as f64 / members.len() as f64;
        #[expect(clippy::cast_precision_loss, reason = "nanoseconds within an hour")]
        let delta = (-(delta_ns as f64) / DELTA_SCALE_NS).exp();
        let terms = CauseTerms { delta, place, kind: kind_prior(seen.change.kind), share };
        let sum = WEIGHT_DELTA * terms.delta + WEIGHT_PLACE * terms.place + WEIGHT_KIND * terms.kind;
        let score = sum * (SHARE_FLOOR + (1.0 - SHARE_FLOOR) * share);
        let mut evidence = vec![when(delta_ms, explained.len() == members.len()), where_it_was];
        evidence.extend(content(seen));
        evidence.extend(explains(seen, explained.len(), members));
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
        [] => ("inconclusive", "no change was seen in these surroundings before any finding began".to_owned()),
        [best, ..] if best.score < CANDIDATE => (
            "inconclusive",
            "changes were seen, none near enough in time and place to enough of the findings".to_owned(),
        ),
        [best, ..] => ("candidate", format!("{} changed {}", best.seen.change.target, best.evidence[0])),
    }
}

/// Order of how often such changes do harm, from experience in the field; to be replaced by what labels teach.
pub(super) const fn kind_prior(kind: ChangeKind) -> f64 {
    match kind {
        ChangeKind::FileEdited | ChangeKind::ImageChanged => 1.0,
        ChangeKind::FileRemoved
        | ChangeKind::PackageUpgraded
        | ChangeKind::BinaryReplaced
        | ChangeKind::SysctlChanged
        | ChangeKind::KernelChanged => 0.9,
        ChangeKind::Booted | ChangeKind::PackageRemoved => 0.8,
        ChangeKind::FileCreated | ChangeKind::PackageInstalled => 0.7,
        // As often what came of the trouble as what made it.
        ChangeKind::UnitStarted
        | ChangeKind::UnitStopped
        | ChangeKind::ContainerStarted
        | ChangeKind::ContainerStopped => 0.5,
    }
}

/// Of the first onset, or of the first that the change can explain.
fn when(delta_ms: i64, all: bool) -> String {
    let what = if all { "first onset" } else { "first finding that it can explain" };
    match delta_ms {
        0 if all => "at the onset, within its uncertainty".to_owned(),
        0 => format!("at the onset of the {what}, within its uncertainty"),
        1..1_000 => format!("{delta_ms} ms before the {what}"),
        1_000..10_000 => format!("{}.{} s before the {what}", delta_ms / 1_000, delta_ms % 1_000 / 100),
        10_000..120_000 => format!("{} s before the {what}", delta_ms / 1_000),
        _ => format!("{} min before the {what}", delta_ms / 60_000),
    }
}

/// How many findings a change explains, where that is not all of them.
fn explains(seen: &SeenChange, explained: usize, members: &[&Episode]) -> Option<String> {
    let rest = members.len() - explained;
    let before =
        |episode: &&&Episode| seen.precedes_by_ns(episode.onset, episode.finding.onset_uncertainty_ms).is_none();
    let before = members.iter().filter(before).count();
    let late = rest - before;
    let rest = match (before, late) {
        (0, 0) => return None,
        (_, 0) => format!("{before} began before it"),
        (0, _) => format!("{late} began too long after it"),
        _ => format!("{before} began before it, {late} too long after it"),
    };
    Some(format!("explains {explained} of {} findings; {rest}", members.len()))
}

/// Digests of what was altered; not every change has content.
fn content(seen: &SeenChange) -> Option<String> {
    if seen.change.before.is_none() && seen.change.after.is_none() {
        return None;
    }
    let short = |digest: Option<vedette_protocol::ids::Digest>| {
        digest.map_or_else(|| "nothing".to_owned(), |digest| digest.to_string()[..12].to_owned())
    };
    Some(format!("content {} → {} (SHA-256)", short(seen.change.before), short(seen.change.after)))
}

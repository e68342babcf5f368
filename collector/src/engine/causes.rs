//! Candidate causes: changes before findings, scored by named terms. A symptom is never named; "inconclusive" is an answer.
//!
//! The score of a change is
//!
//! ```text
//! (0.40 delta + 0.15 place + 0.15 kind + 0.30 touch) × (0.4 + 0.6 share) × (0.7 + 0.3 rarity)
//! ```
//!
//! with each term from 0 to 1, see [`CauseTerms`]. So a change that touches what is affected is a candidate up to half an
//! hour before, one of which only the host is the same up to two minutes, and where something changes every few minutes
//! that is none: it would have been near by chance.
//!
//! A finding may have joined that began earlier and for another reason, so each member's onset counts, not the first
//! alone: a change explains the members after it, the more of them the better.

use super::changes::SeenChange;
use super::episode::Episode;
use super::group::Group;
use super::promote::later;
use super::setup::limits;
use super::state::State;
use super::touch::touch;
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use vedette_protocol::ids::HostId;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::ChangeKind;

const WEIGHT_DELTA: f64 = 0.40;
const WEIGHT_PLACE: f64 = 0.15;
const WEIGHT_KIND: f64 = 0.15;
const WEIGHT_TOUCH: f64 = 0.30;
/// Time before the onset at which the time term has fallen to 1/e, ns.
const DELTA_SCALE_NS: f64 = 600e9;
/// What is left of the score of a change that explains next to nothing; the rest goes with the share that it explains.
/// So with half of the findings a change can be a candidate, with less than a third it cannot.
const SHARE_FLOOR: f64 = 0.4;
/// What is left of the score of a change that is one of very many.
const RARITY_FLOOR: f64 = 0.7;
/// Other minutes of the hour before with changes on the host at which rarity is a half.
const BUSY_MINUTES: f64 = 12.0;
const HOUR_MINUTES: i64 = 60;
/// Findings that a change is compared with, by what they name.
const TOUCHED_MAX: usize = 64;
/// Score from which a change is worth being called a candidate.
const CANDIDATE: f64 = 0.62;

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
    /// Shortly before the first onset that it can explain: e to the minus time by ten minutes.
    pub delta: f64,
    /// On a host of the incident 1, in a service of it 0.9, near by dependencies less.
    pub place: f64,
    /// How often this sort of change does harm.
    pub kind: f64,
    /// It is of the service of a finding, or the finding names it: 1; they have a name in common: 0.8.
    pub touch: f64,
    /// Of all findings those that began after it.
    pub share: f64,
    /// Few changes on its host in the hour before: 1 / (1 + n / 12), with n other minutes in which something changed.
    pub rarity: f64,
}

impl CauseTerms {
    /// The formula of the module's documentation.
    fn score(&self) -> f64 {
        let sum =
            WEIGHT_DELTA * self.delta + WEIGHT_PLACE * self.place + WEIGHT_KIND * self.kind + WEIGHT_TOUCH * self.touch;
        let worth = |floor: f64, term: f64| floor + (1.0 - floor) * term;
        sum * worth(SHARE_FLOOR, self.share) * worth(RARITY_FLOOR, self.rarity)
    }
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
            .flat_map(|host| {
                let busy = self.busy_minutes(host);
                self.changes_on(host).filter_map(|seen| self.cause(seen, &members, &busy)).collect::<Vec<_>>()
            })
            .collect();
        causes.sort_by(|a, b| b.score.total_cmp(&a.score).then(a.seen.change.id.cmp(&b.seen.change.id)));
        causes.truncate(limits::CAUSES);
        causes
    }

    /// Minutes in which something changed on a host, each once, in order. What is installed at once counts once.
    fn busy_minutes(&self, host: HostId) -> Vec<i64> {
        let mut minutes: Vec<i64> = self.changes_on(host).map(minute).collect();
        minutes.dedup();
        minutes
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

    fn cause(&self, seen: &SeenChange, members: &[&Episode], busy_minutes: &[i64]) -> Option<Cause> {
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
        let touches = explained.iter().take(TOUCHED_MAX).map(|episode| touch(seen, episode));
        let (touch, by) = touches.max_by(|one, other| one.0.total_cmp(&other.0))?;
        let others = others(busy_minutes, minute(seen), first);
        let rarity = 1.0 / (1.0 + f64::from(others) / BUSY_MINUTES);
        let terms = CauseTerms { delta, place, kind: kind_prior(seen.change.kind), touch, share, rarity };
        let mut evidence = vec![when(delta_ms, explained.len() == members.len()), where_it_was];
        evidence.extend((touch > 0.0).then(|| format!("touches {by}, which a finding is about")));
        evidence.extend((others > 0).then(|| format!("one of {} minutes with changes in that hour", others + 1)));
        evidence.extend(content(seen));
        evidence.extend(explains(seen, explained.len(), members));
        Some(Cause { seen: seen.clone(), terms, score: terms.score(), delta_ms, evidence })
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

fn minute(seen: &SeenChange) -> i64 {
    seen.at.unix_ms().div_euclid(60_000)
}

/// Other minutes with changes in the hour until the onset.
fn others(busy_minutes: &[i64], own: i64, onset: WallTime) -> u32 {
    let last = onset.unix_ms().div_euclid(60_000).max(own);
    let before = busy_minutes.partition_point(|minute| *minute <= last - HOUR_MINUTES);
    let until = busy_minutes.partition_point(|minute| *minute <= last);
    let own = busy_minutes[before..until].binary_search(&own).is_ok();
    u32::try_from(until - before).unwrap_or(u32::MAX) - u32::from(own)
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

//! An incident as the API tells it: facts, reasons, evidence. Pure form; numbers that have no meaning are null.

mod form;

pub use form::*;

use super::causes::verdict;
use super::episode::Episode;
use super::group::{Group, NearMiss};
use super::lifecycle::TimelineEntry;
use super::narrate::{class, latest, phrase, phrase_now};
use super::state::State;
use super::terms::Why;
use std::collections::{BTreeMap, BTreeSet};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::{ChangeKind, Subject};

impl State {
    pub(crate) fn report(&self, group: &Group) -> Option<IncidentReport> {
        let incident = group.incident.as_ref()?;
        let members = self.member_episodes(group);
        let severity = self.severity(&members);
        let causes = self.causes(group);
        let (verdict, why) = verdict(&causes);
        let life = &incident.lifecycle;
        Some(IncidentReport {
            id: incident.id.clone(),
            title: incident
                .merged_into
                .as_ref()
                .map_or_else(|| self.title(&members), |heir| format!("merged into {heir}")),
            class: class(&members),
            severity: SeverityReport { value: severity.value, why: severity.why },
            state: life.state,
            resolution: life.resolution,
            promotion: incident.promotion.clone(),
            times: times(&[
                ("onset", Some(group.onset_first)),
                ("detected", members.iter().map(|episode| episode.detected).min()),
                ("opened", Some(life.opened)),
                ("acked", life.acked),
                ("mitigated", life.mitigated),
                ("resolved", life.resolved),
            ]),
            members: self.member_reports(group),
            entities: self.entities(&members),
            templates: members.iter().filter_map(|episode| template(episode)).collect(),
            causes: causes.into_iter().map(|cause| self.cause_report(cause)).collect(),
            cause_verdict: CauseVerdict { value: verdict, why },
            why_not: group.near_misses.iter().map(|miss| self.near_miss(miss)).collect(),
            directives: incident.directives.iter().map(directive).collect(),
            follows: incident.follows.clone(),
            merged_into: incident.merged_into.clone(),
            timeline: life.timeline.iter().map(timeline).collect(),
            labels: Vec::new(),
            opened: life.opened,
        })
    }

    pub(crate) fn candidate_report(&self, group: &Group) -> CandidateReport {
        CandidateReport {
            id: group.id.0,
            title: self.title(&self.member_episodes(group)),
            onset: group.onset_first.to_string(),
            members: self.member_reports(group),
        }
    }

    fn member_episodes(&self, group: &Group) -> Vec<&Episode> {
        group.members.iter().filter_map(|member| self.episodes.get(&member.episode)).collect()
    }

    fn member_reports(&self, group: &Group) -> Vec<MemberReport> {
        let report = |member: &super::group::Member| {
            let episode = self.episodes.get(&member.episode)?;
            Some(MemberReport { finding: self.finding_report(episode), why: why(&member.why, member.late) })
        };
        group.members.iter().filter_map(report).collect()
    }

    fn finding_report(&self, episode: &Episode) -> FindingReport {
        let (finding, peak) = (&episode.finding, &episode.peak);
        FindingReport {
            episode: hex(&episode.id.0),
            host: hex(&episode.host.0),
            host_name: self.host_name(episode.host),
            services: episode.services.clone(),
            subject: subject(&finding.subject),
            text: phrase_now(episode),
            detector: DetectorReport {
                name: finding.detector.name.clone(),
                version: finding.detector.version.clone(),
                digest: hex(&finding.detector.digest.0),
            },
            code: peak.code,
            score: peak.score,
            surprise: peak.surprise,
            observed: peak.observed,
            expected: peak.expected,
            lower: peak.lower,
            upper: peak.upper,
            latest: latest(episode),
            onset: episode.onset.to_string(),
            onset_unix_ms: episode.onset.unix_ms(),
            onset_uncertainty_ms: finding.onset_uncertainty_ms,
            cleared: episode.ended.map(|ended| ended.at.to_string()),
            ended: episode.ended.map(|ended| ended.how.name()),
            open: episode.ended.is_none(),
            occurrences: finding.occurrences,
        }
    }

    fn entities(&self, members: &[&Episode]) -> Vec<Entity> {
        let hosts: BTreeSet<_> = members.iter().map(|episode| episode.host).collect();
        let services: BTreeSet<&String> = members.iter().flat_map(|episode| &episode.services).collect();
        let hosts = hosts.into_iter().map(|id| Entity { kind: "host", name: self.host_name(id), id: id.to_string() });
        let services =
            services.into_iter().map(|name| Entity { kind: "service", name: name.clone(), id: name.clone() });
        let mut entities: Vec<Entity> = hosts.chain(services).collect();
        entities.sort();
        entities
    }

    fn cause_report(&self, cause: super::causes::Cause) -> CauseReport {
        let seen = &cause.seen;
        CauseReport {
            kind: "change",
            change: ChangeReport {
                id: seen.change.id.to_string(),
                path: seen.change.target.clone(),
                kind: change_kind(seen.change.kind),
                host: seen.host.to_string(),
                host_name: self.host_name(seen.host),
                service: seen.change.service.clone(),
                at: seen.at.to_string(),
                at_unix_ms: seen.at.unix_ms(),
            },
            terms: cause.terms,
            score: cause.score,
            delta_ms: cause.delta_ms,
            evidence: cause.evidence,
        }
    }

    fn near_miss(&self, miss: &NearMiss) -> NearMissReport {
        NearMissReport {
            episode: miss.episode.to_string(),
            text: self.episodes.get(&miss.episode).map(phrase),
            why: why(&miss.why, false),
            reason: miss.reason,
        }
    }
}

/// Name of a sort of change in the API.
pub fn change_kind(kind: ChangeKind) -> &'static str {
    match kind {
        ChangeKind::FileCreated => "file-created",
        ChangeKind::FileEdited => "file-edited",
        ChangeKind::FileRemoved => "file-removed",
        ChangeKind::Booted => "booted",
        ChangeKind::KernelChanged => "kernel-changed",
        ChangeKind::PackageInstalled => "package-installed",
        ChangeKind::PackageUpgraded => "package-upgraded",
        ChangeKind::PackageRemoved => "package-removed",
        ChangeKind::UnitStarted => "unit-started",
        ChangeKind::UnitStopped => "unit-stopped",
        ChangeKind::BinaryReplaced => "binary-replaced",
        ChangeKind::ContainerStarted => "container-started",
        ChangeKind::ContainerStopped => "container-stopped",
        ChangeKind::ImageChanged => "image-changed",
        ChangeKind::SysctlChanged => "sysctl-changed",
    }
}

/// A subject's form in the API.
pub fn subject(subject: &Subject) -> SubjectReport {
    match subject {
        Subject::Series(meta) => SubjectReport::Series {
            metric: meta.metric.clone(),
            unit: meta.unit.clone(),
            attributes: meta.attributes.iter().cloned().collect(),
        },
        Subject::LogTemplate { source, service, id, text, exemplar } => SubjectReport::LogTemplate {
            source: source.clone(),
            service: service.clone(),
            id: format!("{:016x}", id.0),
            text: text.clone(),
            exemplar: exemplar.clone(),
        },
    }
}

fn times(moments: &[(&str, Option<WallTime>)]) -> BTreeMap<String, serde_json::Value> {
    let mut times = BTreeMap::new();
    for (name, moment) in moments {
        times.insert((*name).to_owned(), moment.map(|at| at.to_string()).into());
        times.insert(format!("{name}_unix_ms"), moment.map(WallTime::unix_ms).into());
    }
    times
}

fn why(why: &Why, late: bool) -> WhyReport {
    WhyReport { terms: why.terms, score: why.score, with: why.with.map(|episode| hex(&episode.0)), late }
}

fn template(episode: &Episode) -> Option<TemplateReport> {
    match &episode.finding.subject {
        Subject::LogTemplate { id, text, exemplar, source, .. } => Some(TemplateReport {
            id: format!("{:016x}", id.0),
            text: text.clone(),
            exemplar: exemplar.clone(),
            count: episode.peak.observed,
            source: source.clone(),
        }),
        Subject::Series(_) => None,
    }
}

fn directive(directive: &super::directives::DirectiveState) -> DirectiveReport {
    DirectiveReport {
        id: directive.id.to_string(),
        host: directive.host.to_string(),
        sources: directive.sources.clone(),
        raw_metrics: directive.metrics.clone(),
        issued: directive.issued.to_string(),
        expires: directive.expires.to_string(),
        in_effect_after_ms: directive.delay_ms(),
    }
}

/// An identity as [`std::fmt::Display`] writes it; a report of a storm holds thousands.
fn hex(bytes: &[u8]) -> String {
    const DIGITS: &[u8; 16] = b"0123456789abcdef";
    let digits = bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]);
    digits.map(|digit| char::from(DIGITS[usize::from(digit)])).collect()
}

fn timeline(entry: &TimelineEntry) -> TimelineReport {
    TimelineReport { at: entry.at.to_string(), text: entry.text.clone() }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vedette_protocol::ids::HostId;

    #[test]
    fn identities_look_the_same_everywhere() {
        let host = HostId(std::array::from_fn(|i| u8::try_from(i * 17).unwrap()));
        assert_eq!(hex(&host.0), host.to_string());
    }
}

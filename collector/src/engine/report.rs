//! An incident as the API tells it: facts, reasons, evidence. Pure form; numbers that have no meaning are null.

use super::causes::{CauseTerms, verdict};
use super::episode::Episode;
use super::group::{Group, NearMiss};
use super::lifecycle::{IncidentState, Resolution, TimelineEntry};
use super::narrate::{class, phrase};
use super::promote::Promotion;
use super::state::State;
use super::terms::{Terms, Why};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::{ChangeKind, Subject};

/// One incident.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct IncidentReport {
    /// Public id.
    pub id: String,
    /// One sentence.
    pub title: String,
    /// Aspects that departed.
    pub class: String,
    /// How bad, and why.
    pub severity: SeverityReport,
    /// Where it stands.
    pub state: IncidentState,
    /// How it ended.
    pub resolution: Option<Resolution>,
    /// Why it is an incident.
    pub promotion: Promotion,
    /// `onset`, `detected`, `opened`, `acked`, `mitigated`, `resolved`, each with its `_unix_ms`.
    pub times: BTreeMap<String, serde_json::Value>,
    /// Findings with the reason why each is here.
    pub members: Vec<MemberReport>,
    /// Hosts and services affected.
    pub entities: Vec<Entity>,
    /// Log templates among the members.
    pub templates: Vec<TemplateReport>,
    /// Changes that may have caused it, best first.
    pub causes: Vec<CauseReport>,
    /// Whether the first of them can be called a candidate.
    pub cause_verdict: CauseVerdict,
    /// What came near and stayed out.
    pub why_not: Vec<NearMissReport>,
    /// Directives issued for it.
    pub directives: Vec<DirectiveReport>,
    /// The incident on the same subject that it follows.
    pub follows: Option<String>,
    /// The incident that took its members over.
    pub merged_into: Option<String>,
    /// History.
    pub timeline: Vec<TimelineReport>,
    /// Labels given by people.
    pub labels: Vec<String>,
    /// When it was opened, for the store.
    #[serde(skip)]
    pub opened: WallTime,
}

/// Severity.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct SeverityReport {
    /// `low`, `medium`, `high` or `critical`.
    pub value: &'static str,
    /// Reasons.
    pub why: Vec<String>,
}

/// One member.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct MemberReport {
    /// What was found.
    pub finding: FindingReport,
    /// Why it is here.
    pub why: WhyReport,
}

/// Join terms and their sum.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct WhyReport {
    /// Named terms.
    pub terms: Terms,
    /// Weighted sum.
    pub score: f64,
    /// The member it was compared with; null for the first.
    pub with: Option<String>,
    /// It joined after the incident had been opened.
    pub late: bool,
}

/// An episode as its last word has it.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct FindingReport {
    /// Episode.
    pub episode: String,
    /// Host id.
    pub host: String,
    /// `host.name`.
    pub host_name: String,
    /// Services it concerns.
    pub services: Vec<String>,
    /// What it is about.
    pub subject: SubjectReport,
    /// One phrase for people.
    pub text: String,
    /// Detector name, version and digest.
    pub detector: DetectorReport,
    /// The detector's reason code.
    pub code: u32,
    /// Raw score.
    pub score: f32,
    /// −log10 of its probability.
    pub surprise: f32,
    /// Seen.
    pub observed: f64,
    /// Expected; null if that has no meaning.
    pub expected: f64,
    /// Lower end of the expected band.
    pub lower: f64,
    /// Upper end of the expected band.
    pub upper: f64,
    /// Begin, RFC 3339, the collector's time.
    pub onset: String,
    /// Begin.
    pub onset_unix_ms: i64,
    /// Half-width of the onset's uncertainty.
    pub onset_uncertainty_ms: u32,
    /// When it was cleared.
    pub cleared: Option<String>,
    /// It goes on.
    pub open: bool,
    /// Openings folded into it.
    pub occurrences: u32,
}

/// A detector.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DetectorReport {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SHA-256 of the module.
    pub digest: String,
}

/// What a finding is about.
#[derive(Clone, Debug, PartialEq, Serialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum SubjectReport {
    /// A metric series.
    Series {
        /// Metric.
        metric: String,
        /// Unit.
        unit: String,
        /// Attributes.
        attributes: BTreeMap<String, String>,
    },
    /// A log template.
    LogTemplate {
        /// File.
        source: String,
        /// Declared service.
        service: String,
        /// Template id, hexadecimal.
        id: String,
        /// Masked skeleton.
        text: String,
        /// One masked line.
        exemplar: String,
    },
}

/// Something that is affected.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct Entity {
    /// `host` or `service`.
    pub kind: &'static str,
    /// Name.
    pub name: String,
    /// Id; for a service its name.
    pub id: String,
}

/// A log template among the members.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TemplateReport {
    /// Id, hexadecimal.
    pub id: String,
    /// Masked skeleton.
    pub text: String,
    /// One masked line.
    pub exemplar: String,
    /// Lines in the last window that was judged.
    pub count: f64,
    /// File.
    pub source: String,
}

/// A change that may have caused the incident.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CauseReport {
    /// `change`.
    pub kind: &'static str,
    /// The change.
    pub change: ChangeReport,
    /// Named terms.
    pub terms: CauseTerms,
    /// Their weighted sum; not a probability.
    pub score: f64,
    /// From the change to the first onset.
    pub delta_ms: i64,
    /// What it rests on.
    pub evidence: Vec<String>,
}

/// A change.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct ChangeReport {
    /// Id.
    pub id: String,
    /// What was altered.
    pub path: String,
    /// What sort.
    pub kind: &'static str,
    /// Host id.
    pub host: String,
    /// `host.name`.
    pub host_name: String,
    /// Declared service.
    pub service: String,
    /// When, RFC 3339, the collector's time.
    pub at: String,
    /// When.
    pub at_unix_ms: i64,
}

/// What can be concluded.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CauseVerdict {
    /// `candidate` or `inconclusive`.
    pub value: &'static str,
    /// Why.
    pub why: String,
}

/// What came near.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct NearMissReport {
    /// Episode that stayed out.
    pub episode: String,
    /// What it is, if it is still known.
    pub text: Option<String>,
    /// Score.
    pub why: WhyReport,
    /// What spoke against.
    pub reason: super::group::WhyNot,
}

/// A directive.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct DirectiveReport {
    /// Id.
    pub id: String,
    /// Host id.
    pub host: String,
    /// Sources raised.
    pub sources: Vec<String>,
    /// Metrics asked raw.
    pub raw_metrics: Vec<String>,
    /// When it was issued.
    pub issued: String,
    /// When it ends.
    pub expires: String,
    /// From issue to the agent's first report that it is in effect, by the collector's clock.
    pub in_effect_after_ms: Option<i64>,
}

/// One line of history.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct TimelineReport {
    /// When.
    pub at: String,
    /// What.
    pub text: String,
}

/// A group that is not an incident.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct CandidateReport {
    /// Number.
    pub id: u64,
    /// One sentence.
    pub title: String,
    /// Earliest onset.
    pub onset: String,
    /// Findings with the reason why each is here.
    pub members: Vec<MemberReport>,
}

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
        let finding = &episode.finding;
        FindingReport {
            episode: episode.id.to_string(),
            host: episode.host.to_string(),
            host_name: self.host_name(episode.host),
            services: episode.services.clone(),
            subject: subject(&finding.subject),
            text: phrase(episode),
            detector: DetectorReport {
                name: finding.detector.name.clone(),
                version: finding.detector.version.clone(),
                digest: finding.detector.digest.to_string(),
            },
            code: finding.code,
            score: finding.score,
            surprise: episode.surprise_max,
            observed: finding.observed,
            expected: finding.expected,
            lower: finding.lower,
            upper: finding.upper,
            onset: episode.onset.to_string(),
            onset_unix_ms: episode.onset.unix_ms(),
            onset_uncertainty_ms: finding.onset_uncertainty_ms,
            cleared: episode.cleared.map(|at| at.to_string()),
            open: episode.cleared.is_none(),
            occurrences: finding.occurrences,
        }
    }

    fn entities(&self, members: &[&Episode]) -> Vec<Entity> {
        let hosts = members.iter().map(|episode| Entity {
            kind: "host",
            name: self.host_name(episode.host),
            id: episode.host.to_string(),
        });
        let services = members.iter().flat_map(|episode| &episode.services).map(|name| Entity {
            kind: "service",
            name: name.clone(),
            id: name.clone(),
        });
        hosts.chain(services).collect::<BTreeSet<_>>().into_iter().collect()
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
    WhyReport { terms: why.terms, score: why.score, with: why.with.map(|episode| episode.to_string()), late }
}

fn template(episode: &Episode) -> Option<TemplateReport> {
    match &episode.finding.subject {
        Subject::LogTemplate { id, text, exemplar, source, .. } => Some(TemplateReport {
            id: format!("{:016x}", id.0),
            text: text.clone(),
            exemplar: exemplar.clone(),
            count: episode.finding.observed,
            source: source.clone(),
        }),
        Subject::Series(_) => None,
    }
}

fn directive(directive: &super::directives::DirectiveState) -> DirectiveReport {
    let delay = |at: WallTime| at.unix_ms().saturating_sub(directive.issued.unix_ms());
    DirectiveReport {
        id: directive.id.to_string(),
        host: directive.host.to_string(),
        sources: directive.sources.clone(),
        raw_metrics: directive.metrics.clone(),
        issued: directive.issued.to_string(),
        expires: directive.expires.to_string(),
        in_effect_after_ms: directive.in_effect.map(delay),
    }
}

fn timeline(entry: &TimelineEntry) -> TimelineReport {
    TimelineReport { at: entry.at.to_string(), text: entry.text.clone() }
}

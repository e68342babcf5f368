//! The JSON of incidents and candidates, field by field.

use crate::engine::causes::CauseTerms;
use crate::engine::group::WhyNot;
use crate::engine::lifecycle::{IncidentState, Resolution};
use crate::engine::promote::Promotion;
use crate::engine::terms::Terms;
use serde::Serialize;
use std::collections::BTreeMap;
use vedette_protocol::time::WallTime;

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

/// An episode: its numbers are those of its most surprising word, all of the same one.
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
    /// Seen last; null if it is over or reads the same as `observed`.
    pub latest: Option<f64>,
    /// Begin, RFC 3339, the collector's time.
    pub onset: String,
    /// Begin.
    pub onset_unix_ms: i64,
    /// Half-width of the onset's uncertainty.
    pub onset_uncertainty_ms: u32,
    /// When it ended.
    pub cleared: Option<String>,
    /// How: `cleared`, `expired: silent`, `unknown: agent restarted` or `told again: agent restarted`.
    pub ended: Option<&'static str>,
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
    /// Lines in the most surprising window.
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
    /// Their weighted sum, less where findings began before it or much is changed on the host; not a probability.
    pub score: f64,
    /// From the change to the first onset that it can explain.
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
    pub reason: WhyNot,
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

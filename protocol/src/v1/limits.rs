//! Limits on what messages hold, checked by the sender before encoding and by the receiver after decoding.

use super::*;
use crate::series::SeriesMeta;
use crate::signature::Signed;

/// Names: metrics, units, detectors, attribute names, software versions.
pub const NAME_BYTES_MAX: usize = 256;
/// Texts: attribute values, paths, templates, exemplars, reasons.
pub const TEXT_BYTES_MAX: usize = 8 << 10;
/// Attributes of one series or resource.
pub const ATTRIBUTES_MAX: usize = 64;
/// Elements of a batch's body, and values of one element.
pub const ELEMENTS_MAX: usize = 1 << 16;
/// Cursors of a batch.
pub const CURSORS_MAX: usize = 4_096;
/// Opaque bytes of one cursor.
pub const POSITION_BYTES_MAX: usize = 4 << 10;
/// Bytes of one encoded block of samples.
pub const BLOCK_BYTES_MAX: usize = 512 << 10;
/// Opaque bytes of one state in evidence.
pub const STATE_BYTES_MAX: usize = 256 << 10;
/// A signed policy or directive.
pub const DOCUMENT_BYTES_MAX: usize = 128 << 10;
/// Outcomes in one acknowledgement.
pub const OUTCOMES_MAX: usize = 1_024;
/// Directives and detectors in effect.
pub const IN_EFFECT_MAX: usize = 256;
/// Problems that an agent tells of itself.
pub const PROBLEMS_MAX: usize = 16;
/// One of them.
pub const PROBLEM_BYTES_MAX: usize = 1 << 10;
/// One DER certificate or request.
pub const DER_BYTES_MAX: usize = 8 << 10;
/// Certificates in one list.
pub const CERTIFICATES_MAX: usize = 4;

/// A message that breaks a limit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// A text or list that is too long.
    #[error("{field} has length {length}, at most {most} is allowed")]
    TooLong {
        /// Which.
        field: &'static str,
        /// Its length.
        length: usize,
        /// Its bound.
        most: usize,
    },
    /// A number that is not finite or that is out of its range.
    #[error("{field} is no number within its range")]
    Number {
        /// Which.
        field: &'static str,
    },
    /// Attributes that are not sorted by name, or not unique.
    #[error("attributes are not sorted by name or not unique")]
    Attributes,
}

/// A type with limits.
pub trait Validate {
    /// # Errors
    ///
    /// The first limit that is broken.
    fn validate(&self) -> Result<(), Invalid>;
}

type Checked = Result<(), Invalid>;

fn length(field: &'static str, length: usize, most: usize) -> Checked {
    if length <= most { Ok(()) } else { Err(Invalid::TooLong { field, length, most }) }
}

fn name(field: &'static str, text: &str) -> Checked {
    length(field, text.len(), NAME_BYTES_MAX)
}

fn text(field: &'static str, text: &str) -> Checked {
    length(field, text.len(), TEXT_BYTES_MAX)
}

fn number(field: &'static str, holds: bool) -> Checked {
    if holds { Ok(()) } else { Err(Invalid::Number { field }) }
}

fn all<T>(field: &'static str, items: &[T], most: usize, check: impl Fn(&T) -> Checked) -> Checked {
    length(field, items.len(), most)?;
    items.iter().try_for_each(check)
}

fn pairs(field: &'static str, pairs: &[(String, String)]) -> Checked {
    all(field, pairs, ATTRIBUTES_MAX, |(key, value)| name(field, key).and_then(|()| text(field, value)))
}

impl Validate for Batch {
    fn validate(&self) -> Checked {
        number("sequence", self.sequence.0 >= 1)?;
        all("cursors", &self.cursors, CURSORS_MAX, |cursor| {
            text("cursor.source", &cursor.source)?;
            length("cursor.position", cursor.position.len(), POSITION_BYTES_MAX)
        })?;
        match &self.body {
            Body::Series(series) => all("series", series, ELEMENTS_MAX, |definition| definition.meta.validate()),
            Body::Features(features) => all("features", features, ELEMENTS_MAX, Validate::validate),
            Body::Samples(samples) => all("samples", samples, ELEMENTS_MAX, |raw| {
                all("samples", &raw.samples, ELEMENTS_MAX, |(_, value)| number("sample", value.is_finite()))
            }),
            Body::Block(block) => {
                length("block", block.bytes.len(), BLOCK_BYTES_MAX)?;
                number("block.begin", block.begin <= block.end)
            }
            Body::Logs(window) => window.validate(),
            Body::Findings(findings) => all("findings", findings, ELEMENTS_MAX, Validate::validate),
            Body::Changes(changes) => all("changes", changes, ELEMENTS_MAX, |change| {
                text("change.target", &change.target)?;
                name("change.service", &change.service)
            }),
        }
    }
}

impl Validate for SeriesMeta {
    fn validate(&self) -> Checked {
        name("metric", &self.metric)?;
        name("unit", &self.unit)?;
        pairs("attributes", &self.attributes)?;
        if !self.attributes.is_sorted_by(|(left, _), (right, _)| left < right) {
            return Err(Invalid::Attributes);
        }
        number("resolution", self.resolution.is_finite() && self.resolution >= 0.0)
    }
}

impl Validate for Feature {
    fn validate(&self) -> Checked {
        number("feature.count", self.count >= 1)?;
        number("feature", [self.min, self.max, self.mean, self.last].iter().all(|value| value.is_finite()))?;
        number("feature.min", self.min <= self.max)
    }
}

impl Validate for LogWindow {
    fn validate(&self) -> Checked {
        text("log.source", &self.source)?;
        length("log.counts", self.counts.len(), ELEMENTS_MAX)?;
        all("log.templates", &self.templates, ELEMENTS_MAX, |template| {
            text("template.text", &template.text)?;
            text("template.exemplar", &template.exemplar)
        })
    }
}

impl Validate for Finding {
    fn validate(&self) -> Checked {
        self.subject.validate()?;
        name("detector.name", &self.detector.name)?;
        name("detector.version", &self.detector.version)?;
        number("score", self.score.is_finite())?;
        number("surprise", self.surprise.is_finite())?;
        let shown = [self.observed, self.expected, self.lower, self.upper];
        number("finding", shown.iter().all(|value| !value.is_infinite()))?;
        self.evidence.as_ref().map_or(Ok(()), Validate::validate)
    }
}

impl Validate for Subject {
    fn validate(&self) -> Checked {
        match self {
            Self::Series(meta) => meta.validate(),
            Self::LogTemplate { source, service, id: _, text: skeleton, exemplar } => {
                text("subject.source", source)?;
                name("subject.service", service)?;
                text("subject.text", skeleton)?;
                text("subject.exemplar", exemplar)
            }
        }
    }
}

impl Validate for Evidence {
    fn validate(&self) -> Checked {
        all("evidence.parameters", &self.parameters, ATTRIBUTES_MAX, |(key, _)| name("evidence.parameters", key))?;
        length("evidence.state", self.state.len(), STATE_BYTES_MAX)?;
        length("evidence.calibration", self.calibration.len(), STATE_BYTES_MAX)?;
        length("evidence.samples", self.samples.len(), ELEMENTS_MAX)
    }
}

impl Validate for FromAgent {
    fn validate(&self) -> Checked {
        match self {
            Self::Hello(hello) => {
                name("software", &hello.software)?;
                name("host_name", &hello.host_name)?;
                pairs("resource", &hello.resource)
            }
            Self::InEffect(in_effect) => in_effect.validate(),
            Self::Heartbeat(_) => Ok(()),
        }
    }
}

impl Validate for InEffect {
    fn validate(&self) -> Checked {
        length("directives", self.directives.len(), IN_EFFECT_MAX)?;
        text("policy_refused", self.policy_refused.as_ref().map_or("", |(_, reason)| reason))?;
        text("directive_refused", self.directive_refused.as_ref().map_or("", |(_, reason)| reason))?;
        all("detectors", &self.detectors, IN_EFFECT_MAX, |(detector, _, state)| {
            name("detectors", detector).and_then(|()| name("detectors", state))
        })
    }
}

impl Validate for FromCollector {
    fn validate(&self) -> Checked {
        match self {
            Self::Ack { outcomes, .. } => length("outcomes", outcomes.len(), OUTCOMES_MAX),
            Self::Policy(signed) | Self::Directive(signed) => signed.validate(),
            Self::Welcome { .. } | Self::TimeProbe { .. } | Self::RetryAfter { .. } => Ok(()),
        }
    }
}

impl Validate for Signed {
    fn validate(&self) -> Checked {
        length("document", self.bytes.len(), DOCUMENT_BYTES_MAX)?;
        number("signature", self.signature.len() == 64)
    }
}

impl Validate for EnrollRequest {
    fn validate(&self) -> Checked {
        name("token", &self.token)?;
        length("csr", self.csr_der.len(), DER_BYTES_MAX)?;
        name("host_name", &self.host_name)
    }
}

impl Validate for EnrollReply {
    fn validate(&self) -> Checked {
        match self {
            Self::Issued { chain_der, authorities_der, online_key: _ } => issued(chain_der, authorities_der),
            Self::Refused { reason } => text("reason", reason),
        }
    }
}

impl Validate for RenewRequest {
    fn validate(&self) -> Checked {
        length("csr", self.csr_der.len(), DER_BYTES_MAX)
    }
}

impl Validate for RenewReply {
    fn validate(&self) -> Checked {
        match self {
            Self::Issued { chain_der, authorities_der } => issued(chain_der, authorities_der),
            Self::Refused { reason } => text("reason", reason),
        }
    }
}

impl Validate for BeginAnew {
    fn validate(&self) -> Checked {
        Ok(())
    }
}

impl Validate for Health {
    fn validate(&self) -> Checked {
        all("problems", &self.problems, PROBLEMS_MAX, |one| length("problem", one.len(), PROBLEM_BYTES_MAX))
    }
}

fn issued(chain_der: &[Vec<u8>], authorities_der: &[Vec<u8>]) -> Checked {
    let der = |der: &Vec<u8>| length("certificate", der.len(), DER_BYTES_MAX);
    all("chain", chain_der, CERTIFICATES_MAX, der)?;
    all("authorities", authorities_der, CERTIFICATES_MAX, der)
}

//! The order of intake, as types: a finding is [`Received`], then [`Normalised`]; that enters de-duplication, and what
//! is fresh there becomes [`Enriched`]; only that is correlated.

use super::state::State;
use vedette_protocol::ids::{Digest, HostId};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::{Finding, Subject};

/// A host's clock may be this far off after correction before its word on "now" is not taken.
const FUTURE_MS_MAX: i64 = 60_000;
/// Longest text kept of a subject, in characters.
const TEXT_CHARS_MAX: usize = 512;
/// Attributes kept of a series.
const ATTRIBUTES_MAX: usize = 16;
/// Words compared per subject.
const WORDS_MAX: usize = 64;
/// An onset less certain than this says nothing about what came together, ms.
const UNCERTAINTY_MS_MAX: u32 = 600_000;

/// Which life of the agent a word comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Life {
    /// The one that is on.
    Current,
    /// One that ended: it was on its way when the agent had already lost what it knew. It says what happened, but
    /// nobody will ever say that it is over, so its episode does not go on.
    Earlier,
}

/// A finding as it was accepted.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) host: HostId,
    pub(crate) offset_ns: i64,
    /// The collector's clock.
    pub(crate) at: WallTime,
    pub(crate) life: Life,
    pub(crate) finding: Finding,
}

/// A finding in the collector's time, with sane numbers and bounded texts.
#[derive(Debug)]
pub(crate) struct Normalised {
    pub(crate) host: HostId,
    pub(crate) received: WallTime,
    /// When it was decided, the collector's time.
    pub(crate) decided: WallTime,
    pub(crate) onset: WallTime,
    pub(crate) life: Life,
    pub(crate) finding: Finding,
}

/// A finding that knows its place.
#[derive(Debug)]
pub(crate) struct Enriched {
    pub(crate) word: Normalised,
    pub(crate) services: Vec<String>,
    /// Sorted hashes of the subject's words.
    pub(crate) words: Vec<u32>,
    /// The same for the same subject under the same detector on the same host.
    pub(crate) subject_key: u64,
}

impl Received {
    /// Corrects times by the measured offset and bounds what is stored. A decision "in the future" is pulled back to
    /// the time of receipt together with its onset: their distance is right even where the clock is not.
    pub(crate) fn normalise(mut self) -> Normalised {
        let mut decided = self.finding.at.offset_by(self.offset_ns);
        let mut onset = self.finding.onset.offset_by(self.offset_ns);
        let ahead_ns = decided.unix_ns.saturating_sub(self.at.unix_ns);
        if ahead_ns > FUTURE_MS_MAX * 1_000_000 {
            decided = decided.offset_by(-ahead_ns);
            onset = onset.offset_by(-ahead_ns);
        }
        onset = onset.min(decided);
        let finding = &mut self.finding;
        finding.evidence = None;
        finding.surprise = if finding.surprise.is_finite() { finding.surprise.clamp(0.0, 300.0) } else { 0.0 };
        finding.onset_uncertainty_ms = finding.onset_uncertainty_ms.min(UNCERTAINTY_MS_MAX);
        bound_texts(&mut finding.subject);
        Normalised { host: self.host, received: self.at, decided, onset, life: self.life, finding: self.finding }
    }
}

impl Normalised {
    /// Maps the finding to services: the log source's declared service, else those that the topology puts on the host.
    pub(crate) fn enrich(self, state: &State) -> Enriched {
        let declared = match &self.finding.subject {
            Subject::LogTemplate { service, .. } if !service.is_empty() => Some(service.clone()),
            _ => None,
        };
        let services = declared.map_or_else(|| state.services_of(self.host), |service| vec![service]);
        Enriched {
            services,
            words: words(&self.finding.subject),
            subject_key: subject_key(self.host, &self.finding),
            word: self,
        }
    }
}

fn bound_texts(subject: &mut Subject) {
    match subject {
        Subject::LogTemplate { text, exemplar, source, service, .. } => {
            [text, exemplar, source, service].into_iter().for_each(bound_text);
        }
        Subject::Series(meta) => {
            meta.attributes.truncate(ATTRIBUTES_MAX);
            let attributes = meta.attributes.iter_mut().flat_map(|(name, value)| [name, value]);
            [&mut meta.metric, &mut meta.unit].into_iter().chain(attributes).for_each(bound_text);
        }
    }
}

/// Bounds a text that came from outside; what could steer the terminal of who reads it goes.
pub(crate) fn bound_text(text: &mut String) {
    if text.chars().any(char::is_control) {
        *text = text.replace(char::is_control, " ");
    }
    if let Some((end, _)) = text.char_indices().nth(TEXT_CHARS_MAX) {
        text.truncate(end);
    }
}

fn subject_key(host: HostId, finding: &Finding) -> u64 {
    let mut bytes = host.0.to_vec();
    match &finding.subject {
        Subject::Series(meta) => {
            let attributes = meta.attributes.iter().flat_map(|(name, value)| [name, value]);
            for text in [&meta.metric, &meta.unit].into_iter().chain(attributes) {
                bytes.extend(text.as_bytes());
                bytes.push(0);
            }
        }
        Subject::LogTemplate { id, .. } => bytes.extend(id.0.to_le_bytes()),
    }
    bytes.extend(finding.detector.name.as_bytes());
    let digest = Digest::of(&bytes).0;
    u64::from_le_bytes(std::array::from_fn(|i| digest[i]))
}

fn words(subject: &Subject) -> Vec<u32> {
    let text = match subject {
        Subject::Series(meta) => meta.metric.as_str(),
        Subject::LogTemplate { text, .. } => text.as_str(),
    };
    let words = text.split(|c: char| !c.is_alphanumeric()).filter(|word| word.len() > 1 && *word != "system");
    let mut hashes: Vec<u32> = words.take(WORDS_MAX).map(fnv1a).collect();
    hashes.sort_unstable();
    hashes.dedup();
    hashes
}

/// FNV-1a of the word in lower case: any stable hash of short words does.
fn fnv1a(word: &str) -> u32 {
    let step = |hash: u32, byte: u8| (hash ^ u32::from(byte)).wrapping_mul(0x0100_0193);
    if word.is_ascii() {
        return word.bytes().map(|byte| byte.to_ascii_lowercase()).fold(0x811c_9dc5, step);
    }
    word.to_lowercase().bytes().fold(0x811c_9dc5, step)
}

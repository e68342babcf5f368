//! Episodes, and de-duplication: all words about one episode are one thing.

use super::group::GroupId;
use super::intake::Enriched;
use super::promote::later;
use super::setup::Correlate;
use serde::{Deserialize, Serialize};
use vedette_protocol::ids::{EpisodeId, HostId, TemplateId};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::{EpisodeEvent, Finding, Subject};

/// An episode that is not closed, with the last word about it.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Episode {
    /// Id.
    pub id: EpisodeId,
    /// Host.
    pub host: HostId,
    /// Services it concerns.
    pub services: Vec<String>,
    /// Begin, the collector's time.
    pub onset: WallTime,
    /// When the first word about it was decided, the collector's time.
    pub detected: WallTime,
    /// When the last word about it was received.
    pub heard: WallTime,
    /// When it was cleared, the collector's time; `None` while it goes on.
    pub cleared: Option<WallTime>,
    /// Findings about it that were accepted and not suppressed.
    pub findings: u64,
    /// Largest surprise so far.
    pub surprise_max: f32,
    /// Finding with the latest decision.
    pub finding: Finding,
    /// It ended because nothing was heard of it any more.
    pub silent: bool,
    pub(crate) group: GroupId,
    pub(crate) decided: WallTime,
    pub(crate) opened: bool,
    pub(crate) words: Vec<u32>,
    pub(crate) subject_key: u64,
}

/// What an episode is about, coarsely: two series of one metric are one aspect.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Aspect<'a> {
    Metric(&'a str),
    Template(TemplateId),
}

/// Why a finding was set aside. Closed: these are metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Suppression {
    /// The episode had already been opened.
    Duplicate,
    /// The episode is closed; closed episodes do not change.
    Closed,
    /// The episode is another host's.
    Foreign,
    /// No room.
    Limit,
}

impl Suppression {
    /// All reasons.
    pub const ALL: [Self; 4] = [Self::Duplicate, Self::Closed, Self::Foreign, Self::Limit];

    /// Its name in metrics and in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Duplicate => "duplicate",
            Self::Closed => "closed",
            Self::Foreign => "foreign",
            Self::Limit => "limit",
        }
    }
}

impl Episode {
    /// The episode that a first word about it makes. Words arrive in any order, so the first may be its end.
    pub(crate) fn begin(word: Enriched, group: GroupId) -> Self {
        let cleared = (word.finding.event == EpisodeEvent::Clear).then_some(word.decided);
        Self {
            id: word.finding.episode,
            host: word.host,
            services: word.services,
            onset: word.onset,
            detected: word.decided,
            heard: word.received,
            cleared,
            findings: 1,
            surprise_max: word.finding.surprise,
            silent: false,
            group,
            decided: word.decided,
            opened: word.finding.event == EpisodeEvent::Open,
            words: word.words,
            subject_key: word.subject_key,
            finding: word.finding,
        }
    }

    /// Takes a further word in: the latest decision counts, whatever the order of arrival.
    pub(crate) fn hear(&mut self, word: Enriched) {
        self.findings += 1;
        self.heard = self.heard.max(word.received);
        self.silent = false;
        self.onset = self.onset.min(word.onset);
        self.detected = self.detected.min(word.decided);
        self.surprise_max = self.surprise_max.max(word.finding.surprise);
        self.opened |= word.finding.event == EpisodeEvent::Open;
        if word.decided >= self.decided {
            self.decided = word.decided;
            self.cleared = (word.finding.event == EpisodeEvent::Clear).then_some(word.decided);
            self.finding = word.finding;
        }
    }

    pub(crate) fn aspect(&self) -> Aspect<'_> {
        match &self.finding.subject {
            Subject::Series(meta) => Aspect::Metric(&meta.metric),
            Subject::LogTemplate { id, .. } => Aspect::Template(*id),
        }
    }

    /// When it will have persisted long enough to count alone; `None` if it is not extreme or over.
    pub(crate) fn extreme_since(&self, correlate: &Correlate) -> Option<WallTime> {
        let extreme = f64::from(self.surprise_max) >= correlate.surprise_alone && self.cleared.is_none();
        extreme.then(|| later(self.detected, correlate.persist_alone_ms))
    }

    pub(crate) fn is_log(&self) -> bool {
        matches!(self.finding.subject, Subject::LogTemplate { .. })
    }
}

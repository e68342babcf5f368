//! Episodes, and de-duplication: all words about one episode are one thing.

use super::group::GroupId;
use super::intake::{Enriched, Life, Normalised};
use super::observation::Observation;
use super::promote::later;
use super::setup::{Correlate, RESTART_HOLD_MS};
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
    /// When and how it ended, the collector's time; `None` while it goes on.
    pub ended: Option<Ended>,
    /// Findings about it that were accepted and not suppressed.
    pub findings: u64,
    /// Largest surprise so far.
    pub surprise_max: f32,
    /// The last word in its agent's order.
    pub finding: Finding,
    /// What it is told by.
    pub(crate) peak: Observation,
    pub(crate) group: GroupId,
    pub(crate) decided: WallTime,
    pub(crate) opened: bool,
    pub(crate) words: Vec<u32>,
    pub(crate) subject_key: u64,
}

/// An episode's end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// When.
    pub at: WallTime,
    /// How.
    pub how: End,
}

/// How an episode ended. Closed: these are metric labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum End {
    /// Its agent said that it is over.
    Cleared,
    /// Nothing was heard of it for too long.
    Silent,
    /// Its agent restarted and lost what it knew: nobody will ever say that it is over. Whether it goes on is unknown
    /// until the agent tells of its subject again.
    AgentRestarted,
    /// Its agent restarted, and tells of its subject under another episode.
    ToldAgain,
}

impl End {
    /// All ways.
    pub const ALL: [Self; 4] = [Self::Cleared, Self::Silent, Self::AgentRestarted, Self::ToldAgain];

    /// Its name in the API.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Cleared => "cleared",
            Self::Silent => "expired: silent",
            Self::AgentRestarted => "unknown: agent restarted",
            Self::ToldAgain => "told again: agent restarted",
        }
    }

    /// Its name in metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Cleared => "cleared",
            Self::Silent => "silent",
            Self::AgentRestarted => "agent-restarted",
            Self::ToldAgain => "told-again",
        }
    }

    /// Nobody said that it is over, which is not the same as well.
    pub const fn is_unknown(self) -> bool {
        matches!(self, Self::Silent | Self::AgentRestarted)
    }
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
    pub(crate) fn begin(enriched: Enriched, group: GroupId) -> Self {
        let Enriched { word, services, words, subject_key } = enriched;
        let mut episode = Self {
            id: word.finding.episode,
            host: word.host,
            services,
            onset: word.onset,
            detected: word.decided,
            heard: word.received,
            ended: end_of(&word),
            findings: 1,
            surprise_max: word.finding.surprise,
            peak: Observation::of(&word.finding, word.decided),
            group,
            decided: word.decided,
            opened: word.finding.event == EpisodeEvent::Open,
            words,
            subject_key,
            finding: word.finding,
        };
        episode.end_if_nobody_will(word.life, word.received);
        episode
    }

    /// Takes a further word in: the last in its agent's order counts, whatever the order of arrival. A cleared episode
    /// goes on only with a further occurrence: other words about it were decided before, or explained too late.
    pub(crate) fn hear(&mut self, word: Normalised) {
        self.findings += 1;
        self.heard = self.heard.max(word.received);
        self.onset = self.onset.min(word.onset);
        self.detected = self.detected.min(word.decided);
        self.surprise_max = self.surprise_max.max(word.finding.surprise);
        self.opened |= word.finding.event == EpisodeEvent::Open;
        self.peak.keep_best(Observation::of(&word.finding, word.decided));
        let (life, received) = (word.life, word.received);
        if place(&word.finding, word.decided) >= place(&self.finding, self.decided) {
            self.decided = word.decided;
            self.ended = end_of(&word);
            self.finding = word.finding;
        } else if self.ended.is_some_and(|ended| ended.how == End::Silent) {
            self.ended = None;
        }
        self.end_if_nobody_will(life, received);
    }

    /// Ends an episode that goes on.
    pub(crate) fn end(&mut self, at: WallTime, how: End) {
        self.ended.get_or_insert(Ended { at, how });
    }

    fn end_if_nobody_will(&mut self, life: Life, at: WallTime) {
        if life == Life::Earlier {
            self.end(at, End::AgentRestarted);
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
        let extreme = f64::from(self.surprise_max) >= correlate.surprise_alone && self.ended.is_none();
        extreme.then(|| later(self.detected, correlate.persist_alone_ms))
    }

    /// Whether it is what `other` tells of, as its agent knew it before it restarted, no longer ago than it is waited for.
    pub(crate) fn is_awaited_as(&self, other: &Self, now: WallTime) -> bool {
        let is_lost = self.ended.is_some_and(|ended| ended.how == End::AgentRestarted) && !self.is_given_up(now);
        is_lost && self.id != other.id && self.subject_key == other.subject_key
    }

    /// Whether its agent restarted so long ago that what it tells now is not waited for any more.
    pub(crate) fn is_given_up(&self, now: WallTime) -> bool {
        let long_ago = |ended: Ended| later(ended.at, RESTART_HOLD_MS) <= now;
        self.ended.is_some_and(|ended| ended.how == End::AgentRestarted && long_ago(ended))
    }

    pub(crate) fn is_log(&self) -> bool {
        matches!(self.finding.subject, Subject::LogTemplate { .. })
    }
}

/// Where a word stands among those about its episode: each occurrence ends with its clear.
fn place(finding: &Finding, decided: WallTime) -> (u32, bool, WallTime) {
    (finding.occurrences, finding.event == EpisodeEvent::Clear, decided)
}

fn end_of(word: &Normalised) -> Option<Ended> {
    (word.finding.event == EpisodeEvent::Clear).then_some(Ended { at: word.decided, how: End::Cleared })
}

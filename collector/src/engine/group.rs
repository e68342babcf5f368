//! Groups of episodes: a candidate until it deserves to be an incident.

use super::directives::DirectiveState;
use super::episode::Episode;
use super::lifecycle::Lifecycle;
use super::promote::Promotion;
use super::setup::Correlate;
use super::tally::Tally;
use super::terms::Why;
use serde::{Deserialize, Serialize};
use vedette_protocol::ids::EpisodeId;
use vedette_protocol::time::WallTime;

/// Number of a group: the log position of its first episode, so smaller is older.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct GroupId(pub u64);

/// Episodes that belong together.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Group {
    /// Number.
    pub(crate) id: GroupId,
    /// Episodes with the reason why each is here.
    pub(crate) members: Vec<Member>,
    /// Earliest onset.
    pub(crate) onset_first: WallTime,
    /// Latest onset.
    pub(crate) onset_last: WallTime,
    /// Sums over the members.
    pub(crate) tally: Tally,
    /// What came near and did not join.
    pub(crate) near_misses: Vec<NearMiss>,
    /// Set once it is an incident.
    pub(crate) incident: Option<Box<Incident>>,
    pub(crate) deadline: Option<WallTime>,
}

/// One episode's membership.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Member {
    /// Episode.
    pub(crate) episode: EpisodeId,
    /// Why it is here.
    pub(crate) why: Why,
    /// When it joined.
    pub(crate) joined: WallTime,
    /// It joined after the group had become an incident.
    pub(crate) late: bool,
}

/// An episode that almost joined.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct NearMiss {
    /// Episode that stayed out.
    pub(crate) episode: EpisodeId,
    /// Score against its nearest member.
    pub(crate) why: Why,
    /// What spoke against.
    pub(crate) reason: WhyNot,
}

/// Why an episode did not join.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum WhyNot {
    /// Too little in common.
    BelowThreshold,
    /// The group already spans as much time as one incident may.
    SpanTooLong,
    /// The group has as many members as one may have.
    Full,
}

/// What makes a group an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Incident {
    /// Public id.
    pub(crate) id: String,
    /// Why it was opened.
    pub(crate) promotion: Promotion,
    /// Where it stands.
    pub(crate) lifecycle: Lifecycle,
    /// Directives issued for it.
    pub(crate) directives: Vec<DirectiveState>,
    /// When its suspects are to be looked at again, whether there is more to ask; `None` while it is only watched.
    pub(crate) direct_due: Option<WallTime>,
    /// When they were looked at last.
    pub(crate) directed: Option<WallTime>,
    /// Id of the incident that this one follows on the same subject.
    pub(crate) follows: Option<String>,
    /// Id of the incident that took this one's members over.
    pub(crate) merged_into: Option<String>,
}

impl Group {
    pub(crate) fn begin(id: GroupId, onset: WallTime) -> Self {
        Self {
            id,
            members: Vec::new(),
            onset_first: onset,
            onset_last: onset,
            tally: Tally::default(),
            near_misses: Vec::new(),
            incident: None,
            deadline: None,
        }
    }

    pub(crate) fn add(&mut self, episode: &Episode, why: Why, now: WallTime, correlate: &Correlate) {
        self.cover(episode.onset);
        self.tally.add(episode, correlate);
        self.members.push(Member { episode: episode.id, why, joined: now, late: self.incident.is_some() });
    }

    pub(crate) fn cover(&mut self, onset: WallTime) {
        self.onset_first = self.onset_first.min(onset);
        self.onset_last = self.onset_last.max(onset);
    }

    /// Further findings can change it.
    pub(crate) fn is_live(&self) -> bool {
        self.incident.as_ref().is_none_or(|incident| incident.lifecycle.state.is_open())
    }

    /// Span from the first to the last onset if those of `[first, last]` were added, ns.
    pub(crate) fn span_with(&self, first: WallTime, last: WallTime) -> i64 {
        self.onset_last.max(last).unix_ns.saturating_sub(self.onset_first.min(first).unix_ns)
    }

    pub(crate) fn note_near_miss(&mut self, miss: NearMiss) {
        let known = self.near_misses.iter().any(|known| known.episode == miss.episode);
        if !known && self.near_misses.len() < super::setup::limits::NEAR_MISSES {
            self.near_misses.push(miss);
        }
    }
}

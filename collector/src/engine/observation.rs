//! The observation that an episode is told by: value, expectation and surprise of one word, never mixed from several.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::{EpisodeEvent, Finding};

/// The numbers of one word about an episode.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Observation {
    pub(crate) code: u32,
    pub(crate) score: f32,
    pub(crate) surprise: f32,
    pub(crate) observed: f64,
    pub(crate) expected: f64,
    pub(crate) lower: f64,
    pub(crate) upper: f64,
    /// When it was decided, the collector's time.
    decided: WallTime,
    /// Told with the end: the value is back by then.
    closing: bool,
}

impl Observation {
    pub(crate) const fn of(finding: &Finding, decided: WallTime) -> Self {
        Self {
            code: finding.code,
            score: finding.score,
            surprise: finding.surprise,
            observed: finding.observed,
            expected: finding.expected,
            lower: finding.lower,
            upper: finding.upper,
            decided,
            closing: matches!(finding.event, EpisodeEvent::Clear),
        }
    }

    /// Keeps what tells more, whatever the order of arrival.
    pub(crate) fn keep_best(&mut self, other: Self) {
        if other.tells_more(self) == Ordering::Greater {
            *self = other;
        }
    }

    /// A value outside its own band before one inside: surprise adds up over a bout, so the last word of one may carry
    /// more of it with a value that is back. Then the more surprising, then the earlier.
    fn tells_more(&self, other: &Self) -> Ordering {
        let rank = |one: &Self| (!one.closing, one.observed.is_finite(), one.departs());
        rank(self)
            .cmp(&rank(other))
            .then(self.surprise.total_cmp(&other.surprise))
            .then(other.decided.cmp(&self.decided))
            .then(self.observed.total_cmp(&other.observed))
    }

    /// Outside its band; without one there is nothing to be inside of.
    fn departs(&self) -> bool {
        let unbounded = self.lower.is_nan() && self.upper.is_nan();
        unbounded || self.observed < self.lower || self.observed > self.upper
    }
}

//! Changes on hosts, as far back as they can matter.

use super::causes::kind_prior;
use super::episode::Episode;
use super::intake::bound_text;
use super::setup::limits;
use super::state::State;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use vedette_protocol::ids::HostId;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::Change;

/// A watched file is looked at once a second, so its change may be seen this much after its effect, ns.
const SEEN_LATE_NS: i64 = 2_000_000_000;

/// A change in the collector's time.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct SeenChange {
    /// Host.
    pub(crate) host: HostId,
    /// When, the collector's time.
    pub(crate) at: WallTime,
    /// What.
    pub(crate) change: Change,
}

impl SeenChange {
    /// Nanoseconds from the change to the onset, if it came before it: a symptom or a repair comes after.
    pub(crate) fn precedes_by_ns(&self, onset: WallTime, uncertainty_ms: u32) -> Option<i64> {
        let delta = onset.unix_ns.saturating_sub(self.at.unix_ns);
        let slack = SEEN_LATE_NS + i64::from(uncertainty_ms) * 1_000_000;
        (delta >= -slack).then_some(delta.max(0))
    }
}

/// Which of a host's changes to forget: the oldest if it lies too far before the newest to have caused what is found now;
/// else the oldest of those that are causes least often, so that a flood of these does not drive out the one that counts.
fn least_wanted(kept: &VecDeque<SeenChange>, reach_ms: u64) -> usize {
    let reach_ns = i64::try_from(reach_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
    let is_past =
        |(oldest, newest): (&SeenChange, &SeenChange)| newest.at.unix_ns.saturating_sub(oldest.at.unix_ns) > reach_ns;
    if kept.front().zip(kept.back()).is_some_and(is_past) {
        return 0;
    }
    let prior = |at: &usize| kind_prior(kept[*at].change.kind);
    (0..kept.len()).min_by(|one, other| prior(one).total_cmp(&prior(other))).unwrap_or(0)
}

impl State {
    /// Remembers a change once, whatever is re-sent. Returns whether it is new.
    pub(crate) fn remember_change(&mut self, mut seen: SeenChange) -> bool {
        bound_text(&mut seen.change.target);
        bound_text(&mut seen.change.service);
        let kept = self.changes.entry(seen.host).or_default();
        if kept.iter().any(|known| known.change.id == seen.change.id) {
            return false;
        }
        let place = kept.partition_point(|known| known.at <= seen.at);
        kept.insert(place, seen);
        if kept.len() > limits::CHANGES_PER_HOST {
            let correlate = &self.setup.correlate;
            kept.remove(least_wanted(kept, correlate.cause_window_ms.saturating_add(correlate.window_max_ms)));
        }
        self.closed.changes += 1;
        true
    }

    pub(crate) fn changes_on(&self, host: HostId) -> impl DoubleEndedIterator<Item = &SeenChange> {
        self.changes.get(&host).into_iter().flatten()
    }

    /// Whether a change shortly before both episodes touched the place of both.
    pub(crate) fn share_change(&self, one: &Episode, other: &Episode) -> bool {
        if self.changes.is_empty() {
            return false;
        }
        let precedes_both = |seen: &SeenChange| self.preceded(one, seen) && self.preceded(other, seen);
        self.changes_on(one.host).rev().any(precedes_both)
            || (one.host != other.host && self.changes_on(other.host).rev().any(precedes_both))
    }

    /// The latest change shortly before an episode on its host or service.
    pub(crate) fn change_before(&self, episode: &Episode) -> Option<&SeenChange> {
        self.changes_on(episode.host).rev().find(|seen| self.preceded(episode, seen))
    }

    fn preceded(&self, episode: &Episode, seen: &SeenChange) -> bool {
        let here = seen.host == episode.host || episode.services.contains(&seen.change.service);
        let window_ns =
            i64::try_from(self.setup.correlate.change_window_ms).unwrap_or(i64::MAX).saturating_mul(1_000_000);
        here && !seen.is_symptom_of(episode)
            && seen
                .precedes_by_ns(episode.onset, episode.finding.onset_uncertainty_ms)
                .is_some_and(|delta| delta <= window_ns)
    }
}

impl SeenChange {
    /// A log file that changes because lines are written to it is what is seen, not why.
    pub(crate) fn is_symptom_of(&self, episode: &Episode) -> bool {
        match &episode.finding.subject {
            vedette_protocol::v1::Subject::LogTemplate { source, .. } => *source == self.change.target,
            vedette_protocol::v1::Subject::Series(_) => false,
        }
    }
}

//! What a walk over a group's members would tell, kept up to date word by word: a group may have a thousand members,
//! and a storm brings words about all of them.

use super::episode::{Aspect, End, Episode};
use super::promote::later;
use super::setup::{Correlate, RESTART_HOLD_MS};
use serde::{Deserialize, Serialize};
use vedette_protocol::time::WallTime;

/// Sums over the members of one group.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Tally {
    /// Findings about them.
    pub(crate) findings: u64,
    /// Members that go on.
    pub(crate) ongoing: usize,
    /// Members of which nobody said that they are over.
    pub(crate) unknown: usize,
    /// Those of them whose agent restarted: it may tell of them again.
    pub(crate) awaited: usize,
    /// When the last such restart was.
    pub(crate) restarted_last: Option<WallTime>,
    /// When the last word about an end was heard. Not when it ended: after an outage old words come in at once and in
    /// any order, and what belongs together may still be under way.
    pub(crate) ended_last: Option<WallTime>,
    /// Before this no member that goes on has been silent for too long; a walk at that time finds the true one.
    pub(crate) silence: Option<WallTime>,
    /// Before this no extreme member has persisted long enough; a walk at that time finds the true one.
    pub(crate) extreme: Option<WallTime>,
    /// What the first member is about, and where.
    pub(crate) aspect: Option<u64>,
    /// Some other member is about something else, or elsewhere.
    pub(crate) mixed: bool,
}

impl Tally {
    /// A fresh count.
    pub(crate) fn of<'a>(episodes: impl Iterator<Item = &'a Episode>, correlate: &Correlate) -> Self {
        let mut tally = Self::default();
        episodes.for_each(|episode| tally.add(episode, correlate));
        tally
    }

    /// A member joins.
    pub(crate) fn add(&mut self, episode: &Episode, correlate: &Correlate) {
        self.findings += episode.findings;
        self.see_aspect(aspect_key(episode));
        self.enter(episode, correlate);
    }

    /// A member is about to change; [`Tally::enter`] has to follow.
    pub(crate) fn leave(&mut self, episode: &Episode) {
        match episode.ended {
            None => self.ongoing -= 1,
            Some(ended) => {
                self.unknown -= usize::from(ended.how.is_unknown());
                self.awaited -= usize::from(ended.how == End::AgentRestarted);
            }
        }
    }

    /// A member has changed.
    pub(crate) fn enter(&mut self, episode: &Episode, correlate: &Correlate) {
        match episode.ended {
            None => {
                self.ongoing += 1;
                self.silence = earliest(self.silence, Some(later(episode.heard, correlate.episode_ttl_ms)));
                self.extreme = earliest(self.extreme, episode.extreme_since(correlate));
            }
            Some(ended) => {
                self.unknown += usize::from(ended.how.is_unknown());
                if ended.how == End::AgentRestarted {
                    self.awaited += 1;
                    self.restarted_last = self.restarted_last.max(Some(ended.at));
                }
                self.ended_last = self.ended_last.max(Some(episode.heard.max(ended.at)));
            }
        }
    }

    /// The members of another group join.
    pub(crate) fn absorb(&mut self, other: &Self) {
        self.findings += other.findings;
        self.ongoing += other.ongoing;
        self.unknown += other.unknown;
        self.awaited += other.awaited;
        self.restarted_last = self.restarted_last.max(other.restarted_last);
        self.ended_last = self.ended_last.max(other.ended_last);
        self.silence = earliest(self.silence, other.silence);
        self.extreme = earliest(self.extreme, other.extreme);
        other.aspect.into_iter().for_each(|aspect| self.see_aspect(aspect));
        self.mixed |= other.mixed;
    }

    /// Since when all members are over; `None` while one goes on.
    pub(crate) fn clear_since(&self) -> Option<WallTime> {
        self.ended_last.filter(|_| self.ongoing == 0)
    }

    /// Until when it is unknown whether members go on whose agent restarted; `None` if there are none.
    pub(crate) fn unknown_until(&self) -> Option<WallTime> {
        let last = self.restarted_last.filter(|_| self.awaited > 0)?;
        Some(later(last, RESTART_HOLD_MS))
    }

    /// When all members will have been over for so long, as far as one can know; `None` while one goes on.
    pub(crate) fn settled(&self, hold_ms: u64) -> Option<WallTime> {
        Some(later(self.clear_since()?, hold_ms)).max(self.unknown_until())
    }

    fn see_aspect(&mut self, aspect: u64) {
        self.mixed |= *self.aspect.get_or_insert(aspect) != aspect;
    }
}

/// The same for the same aspect on the same host: FNV-1a, 64 bits. Who makes two that agree hides only from himself.
fn aspect_key(episode: &Episode) -> u64 {
    let step = |hash: u64, byte: &u8| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = episode.host.0.iter().fold(0xcbf2_9ce4_8422_2325, step);
    match episode.aspect() {
        Aspect::Metric(metric) => metric.as_bytes().iter().fold(hash, step),
        Aspect::Template(id) => id.0.to_le_bytes().iter().chain(&[0]).fold(hash, step),
    }
}

fn earliest(one: Option<WallTime>, other: Option<WallTime>) -> Option<WallTime> {
    [one, other].into_iter().flatten().min()
}

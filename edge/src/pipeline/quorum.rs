//! The votes of a tick, and the episode that they open together.

use super::Pipeline;
use crate::judge::Judge;
use crate::quorum::{Heard, SHARE};
use vedette_protocol::time::MonoTime;
use vedette_protocol::worker::DetectorInput;

impl Pipeline {
    /// Adds up what a detector that only votes has said at a tick. What follows is decided of the series that contributes
    /// most, or did when the alarm began.
    pub(super) fn count_votes(&mut self, now: MonoTime, at: usize, tick: u64) {
        let judge = &self.judges[at];
        if judge.input() != DetectorInput::Votes {
            return;
        }
        for (slot, score, interval_ms) in judge.scored() {
            self.oddness.vote(tick, judge.id(), slot, score, interval_ms);
        }
        let heard = self.quorum.hear(now, self.oddness.state());
        let before = self.quorum.speaker.filter(|speaker| self.is_known(*speaker));
        let goes_on = heard.alarmed && !heard.opens;
        let keeps = before.filter(|speaker| goes_on || self.has_episode(*speaker));
        let speaker = keeps.or_else(|| self.oddness.leader().filter(|_| heard.watch));
        self.quorum.speaker = speaker;
        let judge = &mut self.judges[at];
        let mut stand = |who: Option<(u32, u32)>, heard| match who {
            Some((detector, slot)) if detector == judge.id() => judge.stand(now, slot, heard),
            _ => {}
        };
        stand(before.filter(|before| Some(*before) != speaker), Heard::CALM);
        stand(speaker, heard);
    }

    fn is_known(&self, (detector, slot): (u32, u32)) -> bool {
        let judge = self.judges.iter().find(|judge| judge.id() == detector);
        judge.is_some_and(|judge| judge.track(slot).is_some())
    }

    /// Whether an episode of the votes is about this series, or was until a moment ago.
    fn has_episode(&self, (detector, slot): (u32, u32)) -> bool {
        let judge = self.judges.iter().find(|judge| judge.id() == detector);
        judge.and_then(|judge| judge.track(slot)).is_some_and(|track| track.episode.is_some())
    }

    /// What the operator grants to detectors that judge single series: votes have a share of their own, if anybody votes.
    pub(super) fn budget_of_judges(&self) -> f64 {
        let all = self.policy.episodes_per_day;
        let votes = |judge: &Judge| judge.input() == DetectorInput::Votes;
        if self.judges.iter().any(votes) { all * (1.0 - SHARE) } else { all }
    }
}

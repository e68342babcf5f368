//! The votes of a tick, and the episode that they open together.

use super::Pipeline;
use crate::quorum::Heard;
use vedette_protocol::time::MonoTime;
use vedette_protocol::worker::DetectorInput;

impl Pipeline {
    /// Adds up what a detector that votes has said at a tick. What follows is decided of the series that contributes
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
        // Who spoke and is gone has no successor: one alarm, one episode.
        let speaker = keeps.or_else(|| self.oddness.leader().filter(|_| heard.watch && !goes_on));
        self.quorum.speaker = speaker;
        let judge = &mut self.judges[at];
        let mut stand = |who: Option<(u32, u32)>, heard| match who {
            Some((detector, slot)) if detector == judge.id() => judge.stand(now, slot, heard),
            _ => {}
        };
        stand(before.filter(|before| Some(*before) != speaker), Heard::CALM);
        stand(speaker, heard);
    }

    /// The series that an open episode of this detector's votes is about.
    pub(super) fn spoken_of(&self, detector: u32) -> Option<u32> {
        let (speaker, slot) = self.quorum.speaker.filter(|(speaker, _)| *speaker == detector)?;
        let judge = self.judges.iter().find(|judge| judge.id() == speaker)?;
        judge.track(slot).filter(|track| track.is_open()).map(|_| slot)
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
}

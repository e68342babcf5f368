//! What outlives the agent: told as of a checkpoint, and handed to the judges of the next life.

use super::{Action, DEPARTED_MAX, Departed, Pipeline};
use crate::judge::Judge;
use crate::learnt::{AWAITED, Away, LEARNT_BYTES_MAX, Learnt, LearntDetector, ReturnCounts, millis};
use std::time::Duration;
use vedette_protocol::time::MonoTime;
use vedette_protocol::worker::DetectorInput;

/// What waits for its detector.
#[derive(Debug, Default)]
pub(super) struct Memory {
    /// Ages count from here.
    at: MonoTime,
    detectors: Vec<LearntDetector<'static>>,
    /// They are of another host.
    is_prior: bool,
    counts: ReturnCounts,
}

/// What there is of a series that has come.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Return {
    Unknown,
    /// What was learnt of it here.
    State,
    /// What was learnt of its like.
    Prior,
}

impl Pipeline {
    /// What detectors and their calibration have learnt, as of the last checkpoint: whole and fresh right after an
    /// [`Action::Checkpointed`].
    pub fn learnt(&self, now: MonoTime) -> Learnt<'_> {
        let judges = self.judges.iter();
        let learnt = judges.filter_map(|judge| judge.learnt(now, |slot| self.oddness.learnt(judge.id(), slot)));
        let mut detectors: Vec<_> = learnt.collect();
        let later = now.since(self.memory.at);
        // What is of another host never becomes this one's own unseen.
        let awaited = self.memory.detectors.iter().filter(|_| !self.memory.is_prior);
        detectors.extend(awaited.map(|one| one.later(later)));
        let (mut room, mut left_out) = (LEARNT_BYTES_MAX, 0);
        detectors.iter_mut().for_each(|detector| left_out += detector.shrink(&mut room));
        Learnt { detectors, company: self.board.learnt(now), votes: self.quorum.learnt(), left_out }
    }

    /// What an earlier life of the agent had learnt, and for how long nobody watched since. Call it before the first
    /// [`Pipeline::set_detectors`].
    pub fn handle_learnt(&mut self, now: MonoTime, learnt: &Learnt<'_>, away: Away) {
        let memory = &mut self.memory;
        memory.at = now;
        for detector in &learnt.detectors {
            let mut detector = detector.later(away.time()).into_sound(&mut memory.counts);
            detector.warm_in_ms = millis(away.warm_up(Duration::from_millis(detector.warm_in_ms)));
            memory.detectors.push(detector);
        }
        if learnt.company.is_sound() {
            self.board.recall(now, &learnt.company, away.time());
        }
        if learnt.votes.thinning.is_sound() {
            self.quorum.recall(&learnt.votes);
        }
    }

    /// What was learnt on another host so long ago: who knows what is usual at which time starts from it, and learns whether
    /// that holds here. Where values lie and how rare a score is, each host learns for itself. Instead of
    /// [`Pipeline::handle_learnt`], before the first [`Pipeline::set_detectors`].
    pub fn handle_prior(&mut self, now: MonoTime, learnt: &Learnt<'_>, age: Duration) {
        let memory = &mut self.memory;
        (memory.at, memory.is_prior) = (now, true);
        let sound = learnt.detectors.iter().map(|one| one.later(age).into_prior(&mut memory.counts));
        memory.detectors = sound.collect();
    }

    /// What became of it.
    pub fn return_counts(&self) -> ReturnCounts {
        self.memory.counts
    }

    /// Gives a detector what its very module learnt; what another one of its name learnt is of no use to it.
    pub(super) fn recall(&mut self, now: MonoTime, judge: &mut Judge) {
        let memory = &mut self.memory;
        while let Some(at) = memory.detectors.iter().position(|one| one.reference.name == judge.slot.reference.name) {
            let mut learnt = memory.detectors.swap_remove(at);
            if memory.is_prior && judge.input() != DetectorInput::Seasonal {
                memory.counts.found -= learnt.series.len() as u64;
            } else if judge.has_learnt(&learnt) {
                let (found, most) = (learnt.series.len(), judge.slot.description.state_bytes_max as usize);
                learnt.series.retain(|series| series.state.len() <= most);
                memory.counts.unsound += (found - learnt.series.len()) as u64;
                judge.recall(now, learnt, memory.at);
            } else {
                memory.counts.other_module += learnt.series.len() as u64;
            }
        }
    }

    /// A series has come: it gets what its detector learnt of it in an earlier life, or of its like on another host.
    pub(super) fn recall_series(&mut self, now: MonoTime, judge: &mut Judge, slot: u32) -> Return {
        let Some(leaning) = judge.welcome_back(now, slot) else { return Return::Unknown };
        self.memory.counts.returned += 1;
        self.oddness.recall(judge.id(), slot, leaning);
        if self.memory.is_prior { Return::Prior } else { Return::State }
    }

    /// Waits no longer for what did not come back; as many states as there is room for are kept with those of series that
    /// ended.
    pub(super) fn forget_not_back(&mut self, now: MonoTime) {
        for judge in &mut self.judges {
            for series in judge.take_not_back(now) {
                self.memory.counts.not_back += 1;
                // The clock of a prior's states does not stand still while its series are away.
                if self.departed.len() < DEPARTED_MAX && !self.memory.is_prior {
                    let (key, detector) = (series.key, judge.slot.reference.name.clone());
                    self.departed.push_back(Departed { key, detector, state: series.state.into_owned() });
                }
            }
        }
        if now.since(self.memory.at) >= AWAITED {
            for detector in self.memory.detectors.drain(..) {
                self.memory.counts.not_back += detector.series.len() as u64;
            }
        }
    }

    /// Fetches the states of all series now; [`Action::Checkpointed`] says when they are there.
    pub fn fetch_states(&mut self) {
        for at in 0..self.judges.len() {
            if self.judges[at].alive {
                self.checkpoint(at);
            }
        }
        self.checkpointing = true;
        self.end_checkpoint();
    }

    pub(super) fn end_checkpoint(&mut self) {
        if self.checkpointing && self.checkpoints.iter().all(|asked| asked.is_empty()) {
            self.checkpointing = false;
            self.actions.push_back(Action::Checkpointed);
        }
    }
}

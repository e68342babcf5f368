//! What a judge says of one of its series when somebody asks, as evidence beside a finding does.

use super::{Judge, Track};
use crate::evidence::{Calibration, Vote};
use vedette_protocol::worker::DetectorInput;

impl Judge {
    /// Calibration of a series' verdicts, for evidence, with the votes on it.
    pub(crate) fn calibration(&self, slot: u32, votes: Vec<Vote>) -> Vec<u8> {
        let Some(track) = self.track(slot) else { return Vec::new() };
        let ward = &self.wards[track.ward as usize];
        let (scores, bouts) = (ward.scores.parameters(), ward.bouts.parameters());
        Calibration { scores, bouts, scale: track.scale, needed: track.needed, votes }.encode()
    }

    /// What this detector says of a series.
    pub(crate) fn vote(&self, slot: u32) -> Option<Vote> {
        let track = self.track(slot).filter(|track| !track.score.is_nan())?;
        let detector = self.slot.reference.name.clone();
        let [surprise, evidence] = self.said(track);
        Some(Vote { detector, surprise, evidence })
    }

    /// Surprise and evidence of the last score of one of its series.
    pub(crate) fn said(&self, track: &Track) -> [f32; 2] {
        track.said(&self.wards[track.ward as usize], self.input() == DetectorInput::Votes)
    }
}

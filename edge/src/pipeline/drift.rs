//! Drift of a detector's calibration, told as a finding about the detector itself.

use super::Pipeline;
use crate::episodes::episode_id;
use crate::judge::Drift;
use vedette_protocol::ids::EpisodeId;
use vedette_protocol::series::{SeriesKind, SeriesMeta};
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::{Body, Class, EpisodeEvent, Finding, Subject};

/// Reason codes (registry: wit/README.md).
const MORE_OFTEN: u32 = 401;
const LESS_OFTEN: u32 = 402;
/// It was seen in this many hours before it is told.
const SEEN_MS: u32 = 3 * 3_600_000;

/// A drift that goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drifting {
    detector: u32,
    id: EpisodeId,
    onset: WallTime,
    code: u32,
}

impl Pipeline {
    /// Looks whether the calibrations hold: each hour, and not part of the budget of episodes.
    pub(super) fn look_for_drift(&mut self, now: MonoTime) {
        for at in 0..self.judges.len() {
            if let Some(drift) = self.judges[at].conformity.look(now) {
                self.tell_drift(now, at, drift);
            }
        }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a score needs no more digits than f32 has")]
    fn tell_drift(&mut self, now: MonoTime, at: usize, drift: Drift) {
        let judge = &self.judges[at];
        let (detector, reference) = (judge.id(), judge.slot.reference.clone());
        let attributes = vec![("vedette.detector".to_owned(), reference.name.clone())];
        let meta = SeriesMeta {
            metric: "vedette.detector.rare_scores".to_owned(),
            unit: "1".to_owned(),
            kind: SeriesKind::Gauge,
            attributes,
            resolution: 0.0,
            lower: 0.0,
            upper: 1.0,
        };
        let (event, share, usual) = match drift {
            Drift::Begins { share, usual } => (EpisodeEvent::Open, share, usual),
            Drift::Ends { share, usual } => (EpisodeEvent::Clear, share, usual),
        };
        let said = self.drifting.iter().position(|drifting| drifting.detector == detector);
        let drifting = match (event, said) {
            (EpisodeEvent::Clear, Some(said)) => self.drifting.swap_remove(said),
            (EpisodeEvent::Clear, None) => return,
            _ => {
                let onset = self.clocks.wall_at(now).offset_by(-i64::from(SEEN_MS) * 1_000_000);
                let id = episode_id(self.host, meta.key(), &reference.name, onset);
                let code = if share > usual { MORE_OFTEN } else { LESS_OFTEN };
                let drifting = Drifting { detector, id, onset, code };
                self.drifting.push(drifting);
                self.ledger.drifts += 1;
                drifting
            }
        };
        let ratio = share / usual;
        let finding = Finding {
            episode: drifting.id,
            event,
            subject: Subject::Series(meta),
            detector: reference,
            at: self.clocks.wall_at(now),
            onset: drifting.onset,
            onset_uncertainty_ms: SEEN_MS / 3,
            code: drifting.code,
            score: ratio as f32,
            surprise: ratio.log10().abs() as f32,
            observed: share,
            expected: usual,
            lower: usual / 5.0,
            upper: usual * 5.0,
            occurrences: 1,
            evidence: None,
        };
        self.enqueue(Class::Finding, Body::Findings(vec![finding]), Vec::new());
    }
}

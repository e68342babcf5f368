//! Drift of a detector's calibration, told as a finding about the detector itself.

use super::Pipeline;
use crate::episodes::episode_id;
use crate::judge::{DRIFT_WINDOW, Drift, Judge};
use crate::learnt::millis;
use vedette_protocol::ids::EpisodeId;
use vedette_protocol::series::{SeriesKind, SeriesMeta};
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::{Body, Class, DetectorRef, EpisodeEvent, Finding, Subject};

/// Reason codes (registry: wit/README.md).
const MORE_OFTEN: u32 = 401;
const LESS_OFTEN: u32 = 402;

/// A drift that goes on.
#[derive(Clone, Copy, Debug)]
pub(super) struct Drifting {
    detector: u32,
    id: EpisodeId,
    onset: WallTime,
    code: u32,
}

impl Pipeline {
    /// Looks whether the calibrations hold: a few times a day, and not part of the budget of episodes.
    pub(super) fn look_for_drift(&mut self, now: MonoTime) {
        for at in 0..self.judges.len() {
            if let Some(drift) = self.judges[at].conformity.look(now) {
                let judge = &self.judges[at];
                self.tell_drift(now, judge.id(), judge.slot.reference.clone(), drift);
            }
        }
    }

    /// A detector goes: what it was said to drift ends with it.
    pub(super) fn end_drift(&mut self, now: MonoTime, judge: &Judge) {
        let usual = judge.conformity.usual();
        self.tell_drift(now, judge.id(), judge.slot.reference.clone(), Drift::Ends { share: usual, usual });
    }

    /// A detector goes on under another number.
    pub(super) fn renumber_drift(&mut self, before: u32, detector: u32) {
        let told = self.drifting.iter_mut().filter(|drifting| drifting.detector == before);
        told.for_each(|drifting| drifting.detector = detector);
    }

    #[expect(clippy::cast_possible_truncation, reason = "a score needs no more digits than f32 has")]
    fn tell_drift(&mut self, now: MonoTime, detector: u32, reference: DetectorRef, drift: Drift) {
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
        let (event, share, usual, since) = match drift {
            Drift::Begins { share, usual, since } => (EpisodeEvent::Open, share, usual, since),
            Drift::Ends { share, usual } => (EpisodeEvent::Clear, share, usual, now),
        };
        let said = self.drifting.iter().position(|drifting| drifting.detector == detector);
        let drifting = match (event, said) {
            (EpisodeEvent::Clear, Some(said)) => self.drifting.swap_remove(said),
            (EpisodeEvent::Clear, None) => return,
            _ => {
                let onset = self.clocks.wall_at(since);
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
            onset_uncertainty_ms: u32::try_from(millis(DRIFT_WINDOW)).unwrap_or(u32::MAX),
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::pipeline::{Action, DetectorSlot, PipelineConfig};
    use vedette_protocol::ids::{Digest, HostId};
    use vedette_protocol::policy::Policy;
    use vedette_protocol::worker::{DetectorDescription, DetectorInput};

    fn slot(detector: u32) -> DetectorSlot {
        DetectorSlot {
            detector,
            reference: DetectorRef { name: "level".into(), version: "1".into(), digest: Digest([7; 32]) },
            description: DetectorDescription {
                name: "level".into(),
                version: "1".into(),
                input: DetectorInput::Metrics,
                warm_up_values: 1,
                state_bytes_max: 8,
                look_ms: 0,
                parameters: Vec::new(),
            },
        }
    }

    fn drifting() -> Pipeline {
        let config = PipelineConfig {
            host: HostId([0; 16]),
            policy: Policy::default(),
            series_max: 4,
            templates_max: 4,
            sources: Vec::new(),
        };
        let mut pipeline = Pipeline::new(config, MonoTime::default(), WallTime::default());
        pipeline.set_detectors(MonoTime::default(), vec![slot(0)]);
        let begins = Drift::Begins { share: 0.1, usual: 0.01, since: MonoTime::default() };
        pipeline.tell_drift(MonoTime::default(), 0, slot(0).reference, begins);
        pipeline
    }

    fn told(pipeline: &mut Pipeline) -> Vec<(EpisodeId, EpisodeEvent)> {
        let mut told = Vec::new();
        while let Some(action) = pipeline.poll_action() {
            if let Action::Enqueue { body: Body::Findings(findings), .. } = action {
                told.extend(findings.iter().map(|finding| (finding.episode, finding.event)));
            }
        }
        told
    }

    fn is_open_and_clear(told: &[(EpisodeId, EpisodeEvent)]) -> bool {
        matches!(told, [(one, EpisodeEvent::Open), (other, EpisodeEvent::Clear)] if one == other)
    }

    #[test]
    fn drift_ends_with_its_detector() {
        let mut pipeline = drifting();
        pipeline.set_detectors(MonoTime::default(), Vec::new());
        assert!(pipeline.drifting.is_empty());
        let told = told(&mut pipeline);
        assert!(is_open_and_clear(&told), "{told:?}");
    }

    #[test]
    fn drift_follows_its_detector_to_another_number() {
        let mut pipeline = drifting();
        pipeline.set_detectors(MonoTime::default(), vec![slot(5)]);
        let ends = Drift::Ends { share: 0.01, usual: 0.01 };
        pipeline.tell_drift(MonoTime::default(), 5, slot(5).reference, ends);
        let told = told(&mut pipeline);
        assert!(is_open_and_clear(&told), "{told:?}");
    }
}

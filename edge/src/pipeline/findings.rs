//! Episodes to findings: explained by the detector, with evidence, told from open to clear.

use super::Pipeline;
use crate::episodes::Episode;
use crate::judge::{Decision, DecisionKind, Judge, Track};
use std::time::Duration;
use vedette_protocol::time::MonoTime;
use vedette_protocol::v1::{Body, Class, EpisodeEvent, Evidence, Finding, Subject};
use vedette_protocol::worker::{DetectorInput, Explanation};

/// A finding waits so long for the detector's explanation.
const EXPLANATION_MS: u64 = 1_500;
/// Episodes that may be open at one time; what opens beyond them is shed.
pub(super) const OPEN_MAX: usize = 64;

/// A finding that waits for its explanation.
#[derive(Debug)]
pub(super) struct PendingFinding {
    detector: u32,
    slot: u32,
    event: EpisodeEvent,
    decision: Decision,
    evidence: Option<Evidence>,
    pub(super) deadline: MonoTime,
}

impl Pipeline {
    /// Keeps a decision until the detector has explained it. Whether it is to be asked.
    pub(super) fn await_explanation(
        &mut self,
        now: MonoTime,
        at: usize,
        event: EpisodeEvent,
        decision: Decision,
    ) -> bool {
        let (detector, slot) = (self.judges[at].id(), decision.slot);
        let silent = self.judges[at].track(slot).and_then(|track| track.episode.as_ref()).is_none_or(|e| e.is_silent());
        let waiting = self.pending.iter().any(|pending| (pending.detector, pending.slot) == (detector, slot));
        if silent || waiting {
            return false;
        }
        let evidence = (event == EpisodeEvent::Open).then(|| self.evidence(at, slot)).flatten();
        let deadline = now + Duration::from_millis(EXPLANATION_MS);
        self.pending.push(PendingFinding { detector, slot, event, decision, evidence, deadline });
        true
    }

    /// Whether there was room for another one.
    pub(super) fn open_episode(&mut self, now: MonoTime, at: usize, slot: u32) -> bool {
        let silent = self.open_episodes() >= OPEN_MAX;
        let Some(subject) = self.subject(self.judges[at].input(), slot) else { return false };
        let Some(track) = self.judges[at].track_mut(slot) else { return false };
        track.episode = Some(Box::new(Episode::open(now, (!silent).then_some(subject))));
        if silent {
            self.ledger.detected += 1;
            self.ledger.shed += 1;
        } else {
            self.planner.intervals.episode_opened(now);
            if self.judges[at].input().is_of_metrics() {
                self.raise_found(now, slot);
            }
        }
        !silent
    }

    fn evidence(&mut self, at: usize, slot: u32) -> Option<Evidence> {
        let judge = &self.judges[at];
        let evidence = self.suspects.evidence(judge.id(), slot);
        self.ledger.evidence_missing += u64::from(evidence.is_none());
        let (state, samples) = evidence?;
        let parameters = judge.slot.description.parameters.clone();
        let of_metrics = judge.input().is_of_metrics();
        let alike = self.judges.iter().filter(|judge| judge.alive && judge.input().is_of_metrics() == of_metrics);
        let calibration = judge.calibration(slot, alike.filter_map(|judge| judge.vote(slot)).collect());
        Some(Evidence { parameters, state, calibration, samples })
    }

    fn open_episodes(&self) -> usize {
        let tracks = self.judges.iter().flat_map(|judge| judge.tracks.iter().flatten());
        tracks.filter(|track| track.is_open()).count()
    }

    /// The detector's reasons for its last scores.
    pub fn handle_explanations(&mut self, now: MonoTime, detector: u32, explanations: Vec<Explanation>) {
        let _ = now;
        for explanation in explanations {
            let wanted = |pending: &PendingFinding| (pending.detector, pending.slot) == (detector, explanation.id);
            if let Some(at) = self.pending.iter().position(wanted) {
                let pending = self.pending.swap_remove(at);
                self.emit(pending, Some(explanation));
            }
        }
    }

    /// Findings that have waited long enough go out unexplained.
    pub(super) fn give_up_waiting(&mut self, now: MonoTime) {
        while let Some(at) = self.pending.iter().position(|pending| pending.deadline <= now) {
            let pending = self.pending.swap_remove(at);
            self.emit(pending, None);
        }
    }

    pub(super) fn settle_pending(&mut self, detector: u32) {
        while let Some(at) = self.pending.iter().position(|pending| pending.detector == detector) {
            let pending = self.pending.swap_remove(at);
            self.emit(pending, None);
        }
    }

    pub(super) fn settle_pending_of(&mut self, detector: u32, slot: u32) {
        let wanted = |pending: &PendingFinding| (pending.detector, pending.slot) == (detector, slot);
        while let Some(at) = self.pending.iter().position(wanted) {
            let pending = self.pending.swap_remove(at);
            self.emit(pending, None);
        }
    }

    /// As [`Pipeline::settle_pending_of`], for a judge that is not in its place.
    pub(super) fn settle_pending_by(&mut self, judge: &mut Judge, slot: u32) {
        let wanted = |pending: &PendingFinding| (pending.detector, pending.slot) == (judge.id(), slot);
        if let Some(at) = self.pending.iter().position(wanted) {
            let pending = self.pending.swap_remove(at);
            self.emit_by(Some(judge), pending, None);
        }
    }

    fn emit(&mut self, pending: PendingFinding, explanation: Option<Explanation>) {
        let mut judges = std::mem::take(&mut self.judges);
        let judge = judges.iter_mut().find(|judge| judge.id() == pending.detector);
        self.emit_by(judge, pending, explanation);
        self.judges = judges;
    }

    fn emit_by(&mut self, judge: Option<&mut Judge>, pending: PendingFinding, explanation: Option<Explanation>) {
        let PendingFinding { slot, event, decision, evidence, .. } = pending;
        let told = judge.is_some_and(|judge| self.emit_for(judge, slot, event, &decision, evidence, explanation));
        if event == EpisodeEvent::Open {
            self.ledger.detected += 1;
            *(if told { &mut self.ledger.emitted } else { &mut self.ledger.shed }) += 1;
        }
    }

    fn emit_for(
        &mut self,
        judge: &mut Judge,
        slot: u32,
        event: EpisodeEvent,
        decision: &Decision,
        evidence: Option<Evidence>,
        explanation: Option<Explanation>,
    ) -> bool {
        self.ledger.explanations_missing += u64::from(explanation.is_none());
        let Some(mut track) = judge.remove_track(slot) else { return false };
        let told = track.episode.as_mut().map(|episode| {
            let (ago_ms, uncertainty_ms) = onset(explanation.as_ref(), track.interval_ms);
            let began = self.clocks.wall_at(decision.at).offset_by(-i64::from(ago_ms) * 1_000_000);
            episode.found(self.host, track.key, &judge.slot.reference.name, began, uncertainty_ms);
            episode.explanation = explanation.or(episode.explanation);
            self.tell(judge, decision, event, episode, evidence);
        });
        judge.tracks[slot as usize] = Some(track);
        told.is_some()
    }

    fn tell(
        &mut self,
        judge: &Judge,
        decision: &Decision,
        event: EpisodeEvent,
        episode: &mut Episode,
        evidence: Option<Evidence>,
    ) {
        let (Some(id), Some(subject)) = (episode.id, episode.subject.clone()) else { return };
        if event != EpisodeEvent::Clear {
            episode.told = (decision.score, decision.surprise);
        }
        let why = episode.explanation.as_ref();
        let number = |of: fn(&Explanation) -> f64| why.map_or(f64::NAN, of);
        let finding = Finding {
            episode: id,
            event,
            subject,
            detector: judge.slot.reference.clone(),
            at: self.clocks.wall_at(decision.at),
            onset: episode.onset,
            onset_uncertainty_ms: episode.onset_uncertainty_ms,
            code: why.map_or(0, |why| why.code),
            score: decision.score,
            surprise: decision.surprise,
            observed: number(|why| why.observed),
            expected: number(|why| why.expected),
            lower: number(|why| why.lower),
            upper: number(|why| why.upper),
            occurrences: episode.occurrences,
            evidence,
        };
        self.enqueue(Class::Finding, Body::Findings(vec![finding]), Vec::new());
    }

    pub(super) fn clear(&mut self, at: usize, decision: &Decision) {
        let slot = decision.slot;
        self.settle_pending_of(self.judges[at].id(), slot);
        self.suspects.acquit(self.judges[at].id(), slot);
        let mut judges = std::mem::take(&mut self.judges);
        let judge = &mut judges[at];
        if let Some(mut track) = judge.remove_track(slot) {
            if let Some(episode) = track.episode.as_mut().filter(|episode| !episode.is_silent() && episode.id.is_some())
            {
                self.tell(judge, decision, EpisodeEvent::Clear, episode, None);
                self.ledger.cleared += 1;
            }
            judge.tracks[slot as usize] = Some(track);
        }
        self.judges = judges;
    }

    pub(super) fn end_all(&mut self, now: MonoTime, judge: &mut Judge) {
        for slot in (0u32..).take(judge.tracks.len()) {
            if let Some(mut track) = judge.remove_track(slot) {
                self.end_episode(now, judge, slot, &mut track);
            }
        }
    }

    pub(super) fn end_episode(&mut self, now: MonoTime, judge: &Judge, slot: u32, track: &mut Track) {
        let told = |episode: &&mut Episode| episode.is_open() && !episode.is_silent() && episode.id.is_some();
        let Some(episode) = track.episode.as_deref_mut().filter(told) else {
            return;
        };
        episode.end(now);
        let decision = Decision { slot, at: now, score: 0.0, surprise: 0.0, kind: DecisionKind::Acquit };
        self.tell(judge, &decision, EpisodeEvent::Clear, episode, None);
        self.ledger.cleared += 1;
    }

    fn subject(&self, input: DetectorInput, slot: u32) -> Option<Subject> {
        Some(match input {
            DetectorInput::Metrics | DetectorInput::Votes | DetectorInput::Seasonal | DetectorInput::Timeless => {
                Subject::Series(self.registry.get(slot)?.meta.clone())
            }
            DetectorInput::LogTemplates => {
                let (source, service, template) = self.logs.template(slot)?;
                Subject::LogTemplate {
                    source: source.to_owned(),
                    service: service.to_owned(),
                    id: template.id,
                    text: template.text,
                    exemplar: template.exemplar,
                }
            }
        })
    }
}

/// Milliseconds before the verdict at which the departure began, and the half-width of their uncertainty.
fn onset(explanation: Option<&Explanation>, interval_ms: u32) -> (u32, u32) {
    match explanation {
        Some(why) => (why.onset_ms_ago, why.onset_uncertainty_ms.max(interval_ms / 2)),
        // All scores of the run were high: it began at least that long ago.
        None => (interval_ms.saturating_mul(4), interval_ms.saturating_mul(4)),
    }
}

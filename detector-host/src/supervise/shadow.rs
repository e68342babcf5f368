//! Shadows: another version or configuration of a detector that gets the same columns and is never judged by.
//!
//! The pipeline does not know them. What it tells a detector is told to that detector's shadows, too; what they answer
//! ends in their record, beside the same record of the detector itself, so that a person can compare before a switch.

use super::Supervisor;
use super::worker::addressee;
use vedette_protocol::time::MonoTime;
use vedette_protocol::worker::WorkerRequest;

/// Scores fall into buckets by their upper bits: sign, exponent, and this many bits of the fraction, so that a bucket is at
/// most a quarter wider than its lower end.
const FRACTION_BITS: u32 = 2;
const SHIFT: u32 = 23 - FRACTION_BITS;
/// All positive, finite numbers.
const BUCKETS: usize = (f32::MAX.to_bits() >> SHIFT) as usize + 1;

/// How often a detector gave which scores: four kilobytes, whatever comes.
#[derive(Clone, Debug)]
pub(super) struct ScoreRecord {
    judged: u64,
    undecided: u64,
    highest: f32,
    buckets: Vec<u32>,
}

/// A summary of scores since a record began.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct ScoreSummary {
    /// Values that it had an opinion on.
    pub judged: u64,
    /// Values that it had none on.
    pub undecided: u64,
    /// Half of the scores are at most this; up to a quarter too high, as the next.
    pub median: f32,
    /// 99 of 100 scores are at most this.
    pub p99: f32,
    /// The highest.
    pub highest: f32,
}

impl ScoreRecord {
    pub(super) fn new() -> Self {
        Self { judged: 0, undecided: 0, highest: 0.0, buckets: vec![0; BUCKETS] }
    }

    /// Counts scores as they leave the host: NaN, or finite and at least 0.
    pub(super) fn count(&mut self, scores: &[f32]) {
        for score in scores {
            let Some(bucket) = self.buckets.get_mut((score.abs().to_bits() >> SHIFT) as usize) else {
                self.undecided += 1;
                continue;
            };
            *bucket = bucket.saturating_add(1);
            self.judged += 1;
            self.highest = self.highest.max(*score);
        }
    }

    pub(super) fn summary(&self) -> ScoreSummary {
        ScoreSummary {
            judged: self.judged,
            undecided: self.undecided,
            median: self.quantile(50),
            p99: self.quantile(99),
            highest: self.highest,
        }
    }

    /// Upper end of the bucket that holds the score of this rank, in hundredths.
    fn quantile(&self, hundredths: u64) -> f32 {
        let mut left = (self.judged * hundredths).div_ceil(100);
        for (bucket, count) in (0u32..).zip(&self.buckets) {
            let count = u64::from(*count);
            if left <= count {
                let end = if bucket == 0 { 0.0 } else { f32::from_bits((bucket + 1) << SHIFT) };
                return end.min(self.highest);
            }
            left -= count;
        }
        self.highest
    }
}

impl Supervisor {
    /// Tells shadows what their detector is told. Restores are not among it: their states are not its own.
    pub(super) fn mirror(&mut self, now: MonoTime, request: &WorkerRequest) {
        let mirrored = matches!(
            request,
            WorkerRequest::SeriesAdded { .. } | WorkerRequest::SeriesRemoved { .. } | WorkerRequest::Observe { .. }
        );
        let Some(number) = addressee(request).filter(|_| mirrored && self.has_shadows) else { return };
        let (Some(worker), Some(detector)) = (self.active.as_mut(), self.detectors.get(&number)) else { return };
        let name = detector.wanted.name.clone();
        for (shadow, record) in self.detectors.iter_mut().filter(|(_, one)| one.wanted.shadows(&name)) {
            if !worker.serves(*shadow) {
                continue;
            }
            if matches!(request, WorkerRequest::Observe { .. }) && worker.awaits_scores(*shadow) {
                self.status.ticks_withheld += 1;
                continue;
            }
            let request = addressed_to(*shadow, request);
            record.note_request(&request);
            let handed_over = match &request {
                WorkerRequest::SeriesAdded { series, .. } => record.restore(*shadow, series),
                _ => Vec::new(),
            };
            for request in std::iter::once(request).chain(handed_over) {
                worker.send_own(now, request, &mut self.actions);
            }
        }
    }

    /// Shadows and whom they follow keep a record of their scores.
    pub(super) fn keep_records(&mut self) {
        let followed: Vec<String> = self
            .detectors
            .values()
            .filter(|one| !one.dismissed)
            .filter_map(|one| one.wanted.shadow_of.clone())
            .collect();
        self.has_shadows = !followed.is_empty();
        for detector in self.detectors.values_mut() {
            let wanted = &detector.wanted;
            detector.keep_record(wanted.shadow_of.is_some() || followed.contains(&wanted.name));
        }
    }
}

fn addressed_to(detector: u32, request: &WorkerRequest) -> WorkerRequest {
    let mut request = request.clone();
    match &mut request {
        WorkerRequest::SeriesAdded { detector: addressee, .. }
        | WorkerRequest::SeriesRemoved { detector: addressee, .. }
        | WorkerRequest::Observe { detector: addressee, .. } => *addressee = detector,
        _ => {}
    }
    request
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_tells_the_shape_of_scores_within_a_quarter() {
        let mut record = ScoreRecord::new();
        assert_eq!(record.summary(), ScoreSummary::default());
        let scores: Vec<f32> = (1..=1_000_u16).map(|score| f32::from(score) / 10.0).collect();
        record.count(&scores);
        record.count(&[f32::NAN, 0.0, -0.0]);
        let ScoreSummary { judged, undecided, median, p99, highest } = record.summary();
        assert_eq!((judged, undecided, highest), (1_002, 1, 100.0));
        assert!((50.0..62.5).contains(&median), "{median}");
        assert!((99.0..=100.0).contains(&p99), "{p99}");
    }

    #[test]
    fn extremes_have_a_place() {
        let mut record = ScoreRecord::new();
        record.count(&[f32::MAX, f32::MIN_POSITIVE / 4.0, 0.0]);
        assert_eq!((record.summary().judged, record.summary().highest), (3, f32::MAX));
        record.count(&[0.0; 97]);
        assert_eq!(record.summary().median, 0.0);
    }
}

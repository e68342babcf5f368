//! What detectors and their calibration have learnt, in the form in which it outlives the agent.
//!
//! Of metrics only: log templates are mined anew after a start, and a state without its template would take old lines for
//! news. Episodes and bouts that are on are left out, too: the collector ends them when it sees that the agent began anew.
//! Times are ages at the moment of writing, because the next boot has another monotonic clock.

use crate::calibration::LearntPool;
use crate::judge::{Alarmed, Conformity, Pace, WARM_UP, Wander};
use crate::thinning::LearntThinning;
use serde::{Deserialize, Serialize};
use std::borrow::Cow;
use std::time::Duration;
use vedette_protocol::ids::{Digest, SeriesKey};
use vedette_protocol::time::MonoTime;
use vedette_protocol::v1::DetectorRef;

/// States and their calibration written at most, in bytes of memory; what is beyond is left out and counted.
pub const LEARNT_BYTES_MAX: usize = 8 << 20;
/// What is waited for in vain so long is forgotten.
pub(crate) const AWAITED: Duration = Duration::from_secs(900);

/// Everything that was learnt. Opaque but for its encoding.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Learnt<'a> {
    #[serde(borrow)]
    pub(crate) detectors: Vec<LearntDetector<'a>>,
    pub(crate) company: LearntCompany,
    /// How odd the host becomes: see [`crate::quorum`].
    pub(crate) votes: LearntVotes,
    /// States beyond [`LEARNT_BYTES_MAX`].
    #[serde(skip)]
    pub(crate) left_out: u64,
}

/// One detector with these parameters.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LearntDetector<'a> {
    pub(crate) reference: DetectorRef,
    pub(crate) parameters: Vec<(String, f64)>,
    pub(crate) warm_in_ms: u64,
    pub(crate) record: LearntRecord,
    pub(crate) conformity: LearntConformity,
    pub(crate) wards: Vec<LearntWard>,
    #[serde(borrow)]
    pub(crate) series: Vec<LearntSeries<'a>>,
}

/// Days on which a detector opened anything, faded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LearntRecord {
    pub(crate) days: f64,
    /// How long ago the alarm was that the last one is counted for.
    pub(crate) counted_ms_ago: Option<u64>,
}

/// Which share of a detector's scores is rare, and for how long nothing more is told of that.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LearntConformity {
    pub(crate) usual: f64,
    pub(crate) looks: u32,
    pub(crate) silent_ms: u64,
}

/// Like series of a detector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LearntWard {
    pub(crate) metric: String,
    pub(crate) pace: Pace,
    pub(crate) known_ms: u64,
    pub(crate) scores: LearntPool,
    pub(crate) bouts: LearntPool,
    pub(crate) verdicts: u32,
    pub(crate) alarms: f32,
    pub(crate) alarmed_ms_ago: Option<u64>,
}

/// One series of a detector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct LearntSeries<'a> {
    pub(crate) key: SeriesKey,
    pub(crate) interval_ms: u32,
    pub(crate) scale: f32,
    pub(crate) wander: Wander,
    pub(crate) scores: u32,
    /// How long ago the detector was given its last value.
    pub(crate) seen_ms_ago: Option<u32>,
    pub(crate) alarmed: Alarmed,
    /// Of a voting detector: see [`crate::oddness`].
    pub(crate) leaning: [f32; 2],
    #[serde(borrow)]
    pub(crate) state: Cow<'a, [u8]>,
}

/// What company is usual: see [`crate::episodes::Board`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LearntCompany {
    pub(crate) usual: LearntPool,
    pub(crate) alarms: f32,
    pub(crate) thinning: LearntThinning,
}

/// How odd the host becomes by the votes of these: see [`crate::quorum`].
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LearntVotes {
    /// `None` if nobody has voted yet.
    pub(crate) voters: Option<Digest>,
    pub(crate) thinning: LearntThinning,
}

/// For how long nobody watched this host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Away {
    /// The agent alone ended.
    Agent(Duration),
    /// The host began anew meanwhile.
    Host(Duration),
}

/// What became of states that outlived an agent: `found = returned + other_module + unsound + not_back`, and the rest is
/// waited for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReturnCounts {
    /// States of series that were found, one for each detector.
    pub found: u64,
    /// Handed to the detector that made them. What it refuses then is among the worker's refused restores.
    pub returned: u64,
    /// Of another module, or made under other parameters, than what runs now.
    pub other_module: u64,
    /// No numbers that a calibration can have learnt.
    pub unsound: u64,
    /// Their series, or their detector, did not come within a quarter of an hour.
    pub not_back: u64,
}

impl ReturnCounts {
    /// States that are waited for.
    pub fn waiting(&self) -> u64 {
        self.found.saturating_sub(self.returned + self.other_module + self.unsound + self.not_back)
    }
}

impl Away {
    /// How long.
    pub fn time(self) -> Duration {
        match self {
            Self::Agent(time) | Self::Host(time) => time,
        }
    }
}

impl Learnt<'_> {
    /// States in it.
    pub fn states(&self) -> usize {
        self.detectors.iter().map(|one| one.series.len()).sum()
    }

    /// States that found no room in it.
    pub fn left_out(&self) -> u64 {
        self.left_out
    }
}

impl LearntSeries<'_> {
    /// Bytes in memory.
    pub(crate) fn bytes(&self) -> usize {
        size_of::<Self>() + self.state.len()
    }

    /// Whether a calibration can have learnt it.
    pub(crate) fn is_sound(&self) -> bool {
        let numbers = [self.scale].into_iter().chain(self.leaning).chain(self.wander.numbers());
        self.alarmed.is_sound() && numbers.into_iter().all(|number| number.is_finite() && number >= 0.0)
    }

    pub(crate) fn into_owned(self) -> LearntSeries<'static> {
        let Self { key, interval_ms, scale, wander, scores, seen_ms_ago, alarmed, leaning, state } = self;
        let state = Cow::Owned(state.into_owned());
        LearntSeries { key, interval_ms, scale, wander, scores, seen_ms_ago, alarmed, leaning, state }
    }

    /// The same, `later` after it was written.
    pub(crate) fn later(&self, later: Duration) -> LearntSeries<'_> {
        let Self { key, interval_ms, scale, wander, scores, seen_ms_ago, alarmed, leaning, ref state } = *self;
        let later_ms = u32::try_from(later.as_millis()).unwrap_or(u32::MAX);
        let seen_ms_ago = seen_ms_ago.map(|ago_ms: u32| ago_ms.saturating_add(later_ms));
        LearntSeries {
            key,
            interval_ms,
            scale,
            wander,
            scores,
            seen_ms_ago,
            alarmed,
            leaning: crate::oddness::later(leaning, later, interval_ms),
            state: Cow::Borrowed(state),
        }
    }
}

impl LearntDetector<'_> {
    /// The same, `later` after it was written.
    pub(crate) fn later(&self, later: Duration) -> LearntDetector<'_> {
        LearntDetector {
            reference: self.reference.clone(),
            parameters: self.parameters.clone(),
            warm_in_ms: self.warm_in_ms,
            record: self.record.later(later),
            conformity: self.conformity.later(later),
            wards: self.wards.iter().map(|ward| ward.later(later)).collect(),
            series: self.series.iter().map(|series| series.later(later)).collect(),
        }
    }

    /// Leaves out what takes more than `room` bytes in memory, which is less from then on. How many states.
    pub(crate) fn shrink(&mut self, room: &mut usize) -> u64 {
        let found = self.series.len() as u64;
        let wards: usize = self.wards.iter().map(LearntWard::bytes).sum();
        match room.checked_sub(wards) {
            Some(left) => *room = left,
            None => {
                self.wards.clear();
                self.series.clear();
            }
        }
        self.series.retain(|series| match room.checked_sub(series.bytes()) {
            Some(left) => {
                *room = left;
                true
            }
            None => false,
        });
        found - self.series.len() as u64
    }

    /// What is true of another host, too: states alone. How rare a score is each host learns for itself.
    pub(crate) fn into_prior(self, counts: &mut ReturnCounts) -> LearntDetector<'static> {
        let state_alone = |series: LearntSeries<'_>| LearntSeries {
            scale: 1.0,
            wander: Wander::default(),
            scores: 0,
            alarmed: Alarmed::default(),
            leaning: [0.0; 2],
            ..series.into_owned()
        };
        let prior = LearntDetector {
            warm_in_ms: millis(WARM_UP),
            record: LearntRecord::default(),
            conformity: LearntConformity::default(),
            wards: Vec::new(),
            series: self.series.into_iter().map(state_alone).collect(),
            reference: self.reference,
            parameters: self.parameters,
        };
        prior.into_sound(counts)
    }

    /// Keeps what is sound and counts the rest.
    pub(crate) fn into_sound(self, counts: &mut ReturnCounts) -> LearntDetector<'static> {
        let found = self.series.len() as u64;
        counts.found += found;
        let wards_sound = self.wards.iter().all(LearntWard::is_sound);
        let sound = |series: &LearntSeries<'_>| wards_sound && series.is_sound();
        let series: Vec<_> = self.series.into_iter().filter(sound).map(LearntSeries::into_owned).collect();
        counts.unsound += found - series.len() as u64;
        let wards = if wards_sound { self.wards } else { Vec::new() };
        let record = if self.record.is_sound() { self.record } else { LearntRecord::default() };
        let conformity = if self.conformity.is_sound() { self.conformity } else { LearntConformity::default() };
        let Self { reference, parameters, warm_in_ms, .. } = self;
        LearntDetector { reference, parameters, warm_in_ms, record, conformity, wards, series }
    }
}

impl LearntRecord {
    fn later(self, later: Duration) -> Self {
        Self { counted_ms_ago: self.counted_ms_ago.map(|ago_ms| ago_ms.saturating_add(millis(later))), ..self }
    }

    fn is_sound(&self) -> bool {
        self.days.is_finite() && self.days >= 0.0
    }
}

impl Default for LearntConformity {
    fn default() -> Self {
        Conformity::new(MonoTime::default()).learnt(MonoTime::default())
    }
}

impl LearntConformity {
    fn later(self, later: Duration) -> Self {
        Self { silent_ms: self.silent_ms.saturating_sub(millis(later)), ..self }
    }

    fn is_sound(self) -> bool {
        self.usual > 0.0 && self.usual <= 1.0
    }
}

impl LearntWard {
    fn later(&self, later: Duration) -> Self {
        let ms = millis(later);
        let (scores, bouts) = (self.scores.later(ms), self.bouts.later(ms));
        let alarmed_ms_ago = self.alarmed_ms_ago.map(|ago_ms| ago_ms.saturating_add(ms));
        Self { metric: self.metric.clone(), scores, bouts, alarmed_ms_ago, ..*self }
    }

    fn bytes(&self) -> usize {
        size_of::<Self>() + self.metric.len() + self.scores.bytes() + self.bouts.bytes()
    }

    fn is_sound(&self) -> bool {
        self.scores.is_sound() && self.bouts.is_sound() && self.alarms.is_finite() && self.alarms >= 0.0
    }
}

impl LearntCompany {
    pub(crate) fn is_sound(&self) -> bool {
        self.usual.is_sound() && self.thinning.is_sound() && self.alarms.is_finite() && self.alarms >= 0.0
    }
}

pub(crate) fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn series(key: u64) -> LearntSeries<'static> {
        LearntSeries {
            key: SeriesKey(key),
            interval_ms: 1_000,
            scale: 1.5,
            wander: Wander::default(),
            scores: 40,
            seen_ms_ago: Some(1_000),
            alarmed: Alarmed::default(),
            leaning: [0.0; 2],
            state: Cow::Owned(vec![7; 100]),
        }
    }

    fn detector() -> LearntDetector<'static> {
        let pool = LearntPool::default();
        let ward = LearntWard {
            metric: "load".to_owned(),
            pace: Pace::Seconds,
            known_ms: 1,
            scores: pool.clone(),
            bouts: pool,
            verdicts: 0,
            alarms: 0.0,
            alarmed_ms_ago: None,
        };
        LearntDetector {
            reference: DetectorRef { name: "level".to_owned(), version: "1".to_owned(), digest: Digest([7; 32]) },
            parameters: Vec::new(),
            warm_in_ms: 0,
            record: LearntRecord::default(),
            conformity: LearntConformity::default(),
            wards: vec![ward],
            series: (0..10).map(series).collect(),
        }
    }

    #[test]
    fn what_takes_too_much_room_is_left_out_and_counted() {
        let each = series(0).bytes();
        let wards = detector().wards[0].bytes();
        let kept = |mut room: usize| {
            let mut detector = detector();
            let left_out = detector.shrink(&mut room);
            (detector.series.len(), detector.wards.len(), left_out)
        };
        assert_eq!(kept(LEARNT_BYTES_MAX), (10, 1, 0));
        assert_eq!(kept(wards + 3 * each + 1), (3, 1, 7));
        assert_eq!(kept(wards - 1), (0, 0, 10), "without its calibration a score says little");
    }

    #[test]
    fn numbers_that_nobody_can_have_learnt_are_not_taken_over() {
        let odd = [
            LearntSeries { scale: f32::NAN, ..series(1) },
            LearntSeries { scale: f32::INFINITY, ..series(2) },
            LearntSeries { leaning: [0.0, -1.0], ..series(3) },
        ];
        let mut counts = ReturnCounts::default();
        let whole = LearntDetector { series: odd.into_iter().chain([series(4)]).collect(), ..detector() };
        assert_eq!(whole.into_sound(&mut counts).series, [series(4)]);
        assert_eq!((counts.found, counts.unsound, counts.waiting()), (4, 3, 1));
        let mut broken = detector();
        broken.wards[0].alarms = f32::NAN;
        let none = broken.into_sound(&mut counts);
        assert_eq!((none.series.len(), none.wards.len(), counts.unsound), (0, 0, 13));
    }
}

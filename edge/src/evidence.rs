//! From what a verdict can be recomputed: a series' state when it first looked odd, and its samples since.

use crate::normalise::Sample;
use crate::room;
use std::collections::VecDeque;
use vedette_protocol::time::MonoTime;

/// Series and detectors of which evidence is kept at one time.
const SUSPECTS_MAX: usize = 256;
/// Bytes of all their snapshots; what is beyond is no evidence.
pub(crate) const SNAPSHOTS_BYTES_MAX: usize = 1 << 20;
/// Samples kept of each since its snapshot; an episode opens well within them.
pub const SAMPLES_MAX: usize = 120;

/// Milliseconds since the previous value, flags, value: as a detector was given it.
pub type Observed = (u32, u8, f64);

/// First byte of an encoded calibration.
const CALIBRATION_VERSION: u8 = 2;
const VOTES_MAX: usize = 64;

/// What one detector said of the series when an episode opened.
#[derive(Clone, Debug, PartialEq)]
pub struct Vote {
    /// The detector's name.
    pub detector: String,
    /// −log10 of the probability of its last score.
    pub surprise: f32,
    /// −log10 of the probability that a verdict begins a bout as high as the one that is on; 0 for none.
    pub evidence: f32,
}

/// What an opening was judged with: the opaque bytes of a finding's evidence.
#[derive(Clone, Debug, PartialEq)]
pub struct Calibration {
    /// Of single scores: see [`crate::calibration::Pool::parameters`].
    pub scores: [f64; 5],
    /// Of bouts.
    pub bouts: [f64; 5],
    /// What the series' scores are divided by.
    pub scale: f32,
    /// Evidence that the budget asked of a lone series.
    pub needed: f32,
    /// Every detector's word on the series, the one that opened among them.
    pub votes: Vec<Vote>,
}

impl Calibration {
    /// Little-endian numbers, then the votes: length of the name, name, two numbers.
    pub fn encode(&self) -> Vec<u8> {
        let mut bytes = vec![CALIBRATION_VERSION];
        bytes.extend(self.scores.iter().chain(&self.bouts).flat_map(|number| number.to_le_bytes()));
        bytes.extend([self.scale, self.needed].iter().flat_map(|number| number.to_le_bytes()));
        for vote in self.votes.iter().take(VOTES_MAX) {
            let name = crate::mask::cut(&vote.detector, usize::from(u8::MAX));
            bytes.push(u8::try_from(name.len()).unwrap_or(u8::MAX));
            bytes.extend_from_slice(name.as_bytes());
            bytes.extend([vote.surprise, vote.evidence].iter().flat_map(|number| number.to_le_bytes()));
        }
        bytes
    }

    /// Reads what [`Calibration::encode`] wrote; `None` for anything else.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes.strip_prefix(&[CALIBRATION_VERSION])?;
        let mut numbers = [0.0; 10];
        for number in &mut numbers {
            *number = f64::from_le_bytes(take(&mut rest)?);
        }
        let (scale, needed) = (f32::from_le_bytes(take(&mut rest)?), f32::from_le_bytes(take(&mut rest)?));
        let mut votes = Vec::new();
        while !rest.is_empty() {
            let [length] = take(&mut rest)?;
            let (name, after) = rest.split_at_checked(usize::from(length))?;
            rest = after;
            let detector = std::str::from_utf8(name).ok()?.to_owned();
            let surprise = f32::from_le_bytes(take(&mut rest)?);
            let evidence = f32::from_le_bytes(take(&mut rest)?);
            if votes.len() == VOTES_MAX {
                return None;
            }
            votes.push(Vote { detector, surprise, evidence });
        }
        let (scores, bouts) = numbers.split_at(5);
        Some(Self { scores: scores.try_into().ok()?, bouts: bouts.try_into().ok()?, scale, needed, votes })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (head, tail) = rest.split_first_chunk::<N>()?;
    *rest = tail;
    Some(*head)
}

/// One series under suspicion by one detector.
#[derive(Debug)]
pub struct Suspect {
    detector: u32,
    slot: u32,
    /// The tick after which the snapshot was asked for.
    tick: u64,
    state: Option<Vec<u8>>,
    samples: VecDeque<Observed>,
    overrun: bool,
}

/// The suspects of a host, few at a time.
#[derive(Debug, Default)]
pub struct Suspects {
    suspects: Vec<Suspect>,
}

impl Suspects {
    /// Bytes of the heap that they take at most.
    pub(crate) fn bytes_max() -> usize {
        SNAPSHOTS_BYTES_MAX + room::list::<Suspect>(SUSPECTS_MAX) + SUSPECTS_MAX * room::list::<Observed>(SAMPLES_MAX)
    }

    /// Puts a series under suspicion from `tick` on. Whether its snapshot should be asked for now.
    pub fn suspect(&mut self, detector: u32, slot: u32, tick: u64) -> bool {
        if self.find(detector, slot).is_some() || self.suspects.len() >= SUSPECTS_MAX {
            return false;
        }
        self.suspects.push(Suspect { detector, slot, tick, state: None, samples: VecDeque::new(), overrun: false });
        true
    }

    /// Ends the suspicion.
    pub fn acquit(&mut self, detector: u32, slot: u32) {
        self.suspects.retain(|suspect| (suspect.detector, suspect.slot) != (detector, slot));
    }

    /// Ends all suspicions of a detector.
    pub fn acquit_all(&mut self, detector: u32) {
        self.suspects.retain(|suspect| suspect.detector != detector);
    }

    /// A value that the detector was given at `tick`.
    pub fn observe(&mut self, detector: u32, tick: u64, slot: u32, dt_ms: u32, flags: u8, value: f64) {
        let Some(at) = self.find(detector, slot) else { return };
        let suspect = &mut self.suspects[at];
        if tick <= suspect.tick {
            return;
        }
        suspect.overrun |= suspect.samples.len() >= SAMPLES_MAX;
        if !suspect.overrun {
            suspect.samples.push_back((dt_ms, flags, value));
        }
    }

    /// The detector was not given `tick` after all.
    pub fn withdraw(&mut self, detector: u32, tick: u64, slots: &[u32]) {
        for suspect in self.suspects.iter_mut().filter(|suspect| suspect.detector == detector && suspect.tick < tick) {
            if !suspect.overrun && slots.contains(&suspect.slot) {
                suspect.samples.pop_back();
            }
        }
    }

    /// The snapshot that was asked for after `tick`.
    pub fn set_state(&mut self, detector: u32, slot: u32, tick: u64, state: &[u8]) {
        let held: usize = self.suspects.iter().filter_map(|suspect| suspect.state.as_ref()).map(Vec::len).sum();
        if held + state.len() > SNAPSHOTS_BYTES_MAX {
            return;
        }
        if let Some(at) = self.find(detector, slot) {
            let suspect = &mut self.suspects[at];
            if suspect.tick == tick && suspect.state.is_none() {
                suspect.state = Some(state.to_vec());
            }
        }
    }

    /// State and samples since, if both are whole.
    pub fn evidence(&self, detector: u32, slot: u32) -> Option<(Vec<u8>, Vec<Observed>)> {
        let suspect = &self.suspects[self.find(detector, slot)?];
        let state = suspect.state.clone().filter(|_| !suspect.overrun)?;
        Some((state, suspect.samples.iter().copied().collect()))
    }

    /// Whether nobody is under suspicion.
    pub fn is_empty(&self) -> bool {
        self.suspects.is_empty()
    }

    fn find(&self, detector: u32, slot: u32) -> Option<usize> {
        self.suspects.iter().position(|suspect| (suspect.detector, suspect.slot) == (detector, slot))
    }
}

/// One series' samples under a directive until they are shipped, a bounded number.
#[derive(Debug, Default)]
pub struct RawBuffer {
    times: Vec<MonoTime>,
    values: Vec<f64>,
}

impl RawBuffer {
    /// Adds one sample. `false` if the buffer is full and it was dropped.
    pub fn push(&mut self, sample: &Sample) -> bool {
        if self.values.len() >= SAMPLES_MAX {
            return false;
        }
        self.times.push(sample.at);
        self.values.push(sample.value);
        true
    }

    /// Takes what was collected: times and a value for each. `None` if there is nothing.
    pub fn take(&mut self) -> Option<(Vec<MonoTime>, Vec<f64>)> {
        let (times, values) = (std::mem::take(&mut self.times), std::mem::take(&mut self.values));
        (!values.is_empty()).then_some((times, values))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calibration_names_who_voted_and_survives_its_encoding() {
        let vote = |detector: &str, evidence| Vote { detector: detector.into(), surprise: 3.5, evidence };
        let votes = vec![vote("level", 8.25), vote("exhaustion", 0.0)];
        let whole = Calibration { scores: [1.0; 5], bouts: [2.0; 5], scale: 1.5, needed: 7.5, votes };
        let bytes = whole.encode();
        assert_eq!(Calibration::decode(&bytes), Some(whole));
        for cut in [0, 1, 40, bytes.len() - 1] {
            assert_eq!(Calibration::decode(&bytes[..cut]), None, "{cut}");
        }
    }

    #[test]
    fn evidence_is_state_and_the_samples_after_it() {
        let mut suspects = Suspects::default();
        assert!(suspects.suspect(0, 3, 10));
        assert!(!suspects.suspect(0, 3, 11), "asked once");
        suspects.observe(0, 10, 3, 1_000, 0, 1.0);
        suspects.observe(0, 11, 3, 1_000, 0, 2.0);
        assert!(suspects.evidence(0, 3).is_none(), "no state yet");
        suspects.set_state(0, 3, 9, b"older");
        suspects.set_state(0, 3, 10, b"state");
        assert_eq!(suspects.evidence(0, 3), Some((b"state".to_vec(), vec![(1_000, 0, 2.0)])));
        suspects.observe(0, 12, 3, 1_000, 0, 9.0);
        suspects.withdraw(0, 12, &[3]);
        suspects.observe(0, 13, 3, 2_000, 0, 3.0);
        let samples = vec![(1_000, 0, 2.0), (2_000, 0, 3.0)];
        assert_eq!(suspects.evidence(0, 3), Some((b"state".to_vec(), samples)), "what it never saw is none");
        suspects.acquit(0, 3);
        assert!(suspects.is_empty());
    }

    #[test]
    fn suspects_and_their_snapshots_have_a_limit() {
        let mut suspects = Suspects::default();
        let slots = || 0..u32::try_from(SUSPECTS_MAX).unwrap();
        assert!(slots().all(|slot| suspects.suspect(0, slot, 0)));
        assert!(!suspects.suspect(1, 0, 0), "one too many");
        slots().for_each(|slot| suspects.set_state(0, slot, 0, &vec![0; 64 << 10]));
        let kept = slots().filter(|slot| suspects.evidence(0, *slot).is_some()).count();
        assert_eq!(kept, SNAPSHOTS_BYTES_MAX / (64 << 10), "the others are without, which is counted when they open");
    }

    #[test]
    fn evidence_that_outgrew_its_ring_is_none_rather_than_wrong() {
        let mut suspects = Suspects::default();
        suspects.suspect(0, 0, 0);
        suspects.set_state(0, 0, 0, b"s");
        (1..=SAMPLES_MAX as u64 + 1).for_each(|tick| suspects.observe(0, tick, 0, 1, 0, 0.0));
        assert!(suspects.evidence(0, 0).is_none());
    }

    #[test]
    fn raw_buffer_is_bounded_and_empty_once_taken() {
        let mut raw = RawBuffer::default();
        let sample = |ms| Sample { at: MonoTime::from_ms(ms), dt_ms: 7, flags: 0, value: 1.0 };
        assert!([500, 1_500].into_iter().all(|ms| raw.push(&sample(ms))));
        assert_eq!(raw.take(), Some((vec![MonoTime::from_ms(500), MonoTime::from_ms(1_500)], vec![1.0, 1.0])));
        assert_eq!(raw.take(), None);
        (0..SAMPLES_MAX as u64).for_each(|ms| assert!(raw.push(&sample(ms))));
        assert!(!raw.push(&sample(9_999)), "full");
    }
}

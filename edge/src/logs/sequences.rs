//! How unusual a sequence of log events is: the templates of one request, block or instance, in the order of their lines.
//!
//! Learns from sequences of which few or none are wrong, and keeps only how often each event occurred in each. The score
//! multiplies two things that a broken sequence has at once and a merely rare one seldom has. *Distance*: how unlike its
//! counts are to those of the most similar sequence learnt, where an event weighs the more the rarer it is (count
//! vectors, after Landauer et al., FSE 2024, whose simple detectors match deep ones). *Surprise*: in how many events,
//! missing ones included, and how far its counts are in the tail of what was learnt.

use std::collections::{BTreeMap, HashMap};

/// Different events that are told apart; further ones count as never seen.
pub const EVENTS_MAX: usize = 4_096;
/// Different profiles that are kept; of further ones only the counts are learnt.
pub const PROFILES_MAX: usize = 4_096;
/// Counts up to this are exact; beyond, eight steps to a doubling.
const COUNT_EXACT: u32 = 32;
/// An event as common as can be still weighs this much.
const WEIGHT_MIN: f64 = 0.05;
/// Tails more probable than one in ten surprise nobody.
const SURPRISE_FROM: f64 = 1.0;

/// Whether a sequence that is scored was also learnt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Learnt {
    /// It was not.
    No,
    /// Once: it is scored as if it had not been.
    Once,
}

/// What usual sequences are like. Bounded by [`EVENTS_MAX`] and [`PROFILES_MAX`].
#[derive(Debug, Default)]
pub struct Baseline {
    sequences: u32,
    events: HashMap<u64, u32>,
    /// Per event, how many sequences had it so often; those without it are not listed.
    counts: Vec<BTreeMap<u32, u32>>,
    /// Per event, how many sequences had it.
    present: Vec<u32>,
    /// Counts of events by number, sorted; and how many sequences had just these.
    profiles: Vec<(Profile, u32)>,
    by_profile: HashMap<Profile, usize>,
}

/// Events by number, and how often each occurred; unknown ones have numbers beyond the known.
type Profile = Box<[(u32, u32)]>;

impl Baseline {
    /// Learns a sequence.
    pub fn learn(&mut self, events: &[u64]) {
        for event in events {
            let known = u32::try_from(self.events.len()).unwrap_or(u32::MAX);
            if self.events.len() < EVENTS_MAX && !self.events.contains_key(event) {
                self.events.insert(*event, known);
                self.counts.push(BTreeMap::new());
                self.present.push(0);
            }
        }
        let profile = self.profile(events);
        self.sequences = self.sequences.saturating_add(1);
        for (event, count) in &profile {
            if let (Some(counts), Some(present)) =
                (self.counts.get_mut(*event as usize), self.present.get_mut(*event as usize))
            {
                *counts.entry(*count).or_default() += 1;
                *present += 1;
            }
        }
        match self.by_profile.get(&profile) {
            Some(at) => self.profiles[*at].1 += 1,
            None if self.profiles.len() < PROFILES_MAX => {
                self.by_profile.insert(profile.clone(), self.profiles.len());
                self.profiles.push((profile, 1));
            }
            None => {}
        }
    }

    /// Number of sequences learnt.
    pub fn len(&self) -> u32 {
        self.sequences
    }

    /// Whether none was learnt.
    pub fn is_empty(&self) -> bool {
        self.sequences == 0
    }

    /// How unusual a sequence is: 0 if one with the same counts was learnt, or if nothing was; unitless, no upper bound.
    pub fn score(&self, events: &[u64], learnt: Learnt) -> f64 {
        let own = u32::from(learnt == Learnt::Once);
        if self.sequences <= own {
            return 0.0;
        }
        let profile = self.profile(events);
        let distance = self.distance(&profile, own);
        if distance == 0.0 { 0.0 } else { distance * self.surprise(&profile, own) }
    }

    fn profile(&self, events: &[u64]) -> Profile {
        let (mut counts, mut unknown) = (BTreeMap::<u32, u32>::new(), HashMap::<u64, u32>::new());
        for event in events {
            let number = self.events.get(event).copied().unwrap_or_else(|| {
                let next = self.events.len() + unknown.len();
                *unknown.entry(*event).or_insert(u32::try_from(next).unwrap_or(u32::MAX))
            });
            *counts.entry(number).or_default() += 1;
        }
        counts.into_iter().map(|(event, count)| (event, stepped(count))).collect()
    }

    /// −log10 of the share of sequences, without the one that is scored, of which there are `seen`.
    fn rarity(&self, seen: u32, own: u32) -> f64 {
        -((f64::from(seen) + 0.5) / (f64::from(self.sequences - own) + 1.0)).log10()
    }

    /// The rarer an event is, the more it weighs.
    fn weight(&self, event: u32, in_scored: bool, own: u32) -> f64 {
        let own_share = if in_scored { own } else { 0 };
        let present = self.present.get(event as usize).map_or(0, |present| present.saturating_sub(own_share));
        self.rarity(present, own).max(0.0) + WEIGHT_MIN
    }

    /// From 0, the same counts, to 1, nothing in common with any sequence learnt.
    fn distance(&self, profile: &Profile, own: u32) -> f64 {
        if self.by_profile.get(profile).is_some_and(|at| self.profiles[*at].1 > own) {
            return 0.0;
        }
        let others = self.profiles.iter().filter(|(other, times)| *times > own || other != profile);
        others.map(|(other, _)| self.apart(profile, other, own)).fold(1.0, f64::min)
    }

    /// Weighted share of the counts in which two profiles differ.
    fn apart(&self, one: &Profile, other: &Profile, own: u32) -> f64 {
        let (mut apart, mut all) = (0.0, 0.0);
        let (mut left, mut right) = (one.iter().peekable(), other.iter().peekable());
        loop {
            let event = match (left.peek(), right.peek()) {
                (Some((a, _)), Some((b, _))) => *a.min(b),
                (Some((event, _)), None) | (None, Some((event, _))) => *event,
                (None, None) => break,
            };
            let a = left.next_if(|(other, _)| *other == event).map_or(0, |(_, count)| *count);
            let b = right.next_if(|(other, _)| *other == event).map_or(0, |(_, count)| *count);
            let weight = self.weight(event, a > 0, own);
            apart += weight * f64::from(a.abs_diff(b));
            all += weight * f64::from(a.max(b));
        }
        if all > 0.0 { apart / all } else { 0.0 }
    }

    /// Sum over all events, missing ones too, of how far out in its tail a count is.
    fn surprise(&self, profile: &Profile, own: u32) -> f64 {
        let mut counts = profile.iter().copied().peekable();
        let known = u32::try_from(self.counts.len()).unwrap_or(u32::MAX);
        let of_known = (0..known).map(|event| {
            let count = counts.next_if(|(other, _)| *other == event).map_or(0, |(_, count)| count);
            self.tail(event, count, own)
        });
        let of_known: f64 = of_known.sum();
        of_known + counts.map(|_| (self.rarity(0, own) - SURPRISE_FROM).max(0.0)).sum::<f64>()
    }

    fn tail(&self, event: u32, count: u32, own: u32) -> f64 {
        let counts = &self.counts[event as usize];
        let absent = self.sequences - self.present[event as usize];
        let above: u32 =
            counts.range(count..).map(|(_, times)| times).sum::<u32>() + if count == 0 { absent } else { 0 };
        let below: u32 = counts.range(..=count).map(|(_, times)| times).sum::<u32>() + absent;
        (self.rarity(above.min(below).saturating_sub(own), own) - SURPRISE_FROM).max(0.0)
    }
}

/// Large counts in steps of an eighth of a doubling.
fn stepped(count: u32) -> u32 {
    if count <= COUNT_EXACT {
        return count;
    }
    let step = 1 << (count.ilog2() - 3);
    count / step * step
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use std::collections::BTreeSet;

    fn learnt(sequences: &[&[u64]]) -> Baseline {
        let mut baseline = Baseline::default();
        sequences.iter().for_each(|events| baseline.learn(events));
        baseline
    }

    #[test]
    fn what_was_learnt_twice_is_usual_and_order_does_not_matter() {
        let baseline = learnt(&[&[1, 2, 3], &[3, 2, 1], &[1, 2, 2, 3]]);
        assert_eq!(baseline.score(&[2, 1, 3], Learnt::Once), 0.0);
        assert_eq!(baseline.score(&[1, 2, 2, 3], Learnt::No), 0.0);
    }

    #[test]
    fn what_was_learnt_once_among_many_is_unusual_as_its_own_and_usual_as_anothers() {
        let mut baseline = learnt(&[&[1, 2, 3][..]; 50]);
        baseline.learn(&[1, 2, 2, 3]);
        assert_eq!(baseline.score(&[1, 2, 2, 3], Learnt::No), 0.0);
        assert!(baseline.score(&[1, 2, 2, 3], Learnt::Once) > 0.1);
    }

    #[test]
    fn missing_new_and_too_many_events_are_unusual() {
        let mut baseline = Baseline::default();
        (0..1_000_u64).for_each(|n| baseline.learn(&[1, 2, 3, 3 + n % 2]));
        for broken in [&[1, 2][..], &[1, 2, 3, 9], &[1, 2, 3, 3, 3, 3, 3], &[]] {
            assert!(baseline.score(broken, Learnt::No) > 0.5, "{broken:?}");
        }
        let rare_twist = baseline.score(&[1, 2, 3, 3, 4], Learnt::No);
        assert!(rare_twist < baseline.score(&[1, 9, 9], Learnt::No));
    }

    #[test]
    fn scored_as_if_it_had_not_been_learnt() {
        let usual: Vec<&[u64]> = vec![&[1, 2, 3]; 50];
        let without = learnt(&usual);
        let mut with = learnt(&usual);
        with.learn(&[1, 7]);
        let (one, other) = (without.score(&[1, 7], Learnt::No), with.score(&[1, 7], Learnt::Once));
        assert!(one > 0.0 && (one - other).abs() < 0.2 * one, "{one} {other}");
    }

    #[test]
    fn nothing_learnt_says_nothing() {
        assert_eq!(Baseline::default().score(&[1], Learnt::No), 0.0);
        assert_eq!(learnt(&[&[1]]).score(&[1], Learnt::Once), 0.0);
        assert!(learnt(&[&[1]]).score(&[2], Learnt::No).is_finite());
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(48))]

        #[test]
        fn any_sequence_has_a_finite_score_and_like_ones_share_a_profile(
            sequences in proptest::collection::vec(proptest::collection::vec(0u64..12, 0..90), 1..40)
        ) {
            let mut baseline = Baseline::default();
            sequences.iter().for_each(|events| baseline.learn(events));
            let counts = |events: &Vec<u64>| {
                let mut counts = BTreeMap::<u64, u32>::new();
                events.iter().for_each(|event| *counts.entry(*event).or_default() += 1);
                counts.into_iter().map(|(event, count)| (event, stepped(count))).collect::<Vec<_>>()
            };
            let different: BTreeSet<_> = sequences.iter().map(counts).collect();
            prop_assert_eq!(baseline.profiles.len(), different.len());
            for events in &sequences {
                let (once, no) = (baseline.score(events, Learnt::Once), baseline.score(events, Learnt::No));
                prop_assert!(once.is_finite() && once >= 0.0);
                prop_assert_eq!(no, 0.0, "its own counts were learnt");
            }
            let foreign = baseline.score(&[99, 99], Learnt::No);
            prop_assert!(foreign >= 0.0 && foreign.is_finite());
        }
    }

    #[test]
    fn too_many_events_and_profiles_are_not_kept() {
        let mut baseline = Baseline::default();
        (0..EVENTS_MAX as u64 + 500).for_each(|event| baseline.learn(&[event]));
        assert_eq!((baseline.events.len(), baseline.profiles.len()), (EVENTS_MAX, PROFILES_MAX));
        assert!(baseline.score(&[u64::MAX], Learnt::No) > 0.0);
    }
}

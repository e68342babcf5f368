//! The cheapest look at a series: does this value stand out? Each value that is read passes it, whoever else looks.
//!
//! Mean and mean absolute deviation with exponential weights, winsorised; a value stands out by its own distance or by
//! that of a short mean, which sees a small step that stays. How far is far is learnt for each series: about one value in a
//! hundred is as far as that, whatever the series does, so that distances of different series can be compared. It judges
//! nothing: it tells where to look first.

use super::attention::{STOOD_OUT, SURPRISED};
use crate::room;

/// Series that are reckoned with at once: two of the smallest machine's registers.
const LANES: usize = 8;
const LANES_U32: u32 = 8;
/// Values that are remembered by mean and deviation, and by the short mean.
const MEMORY: f32 = 64.0;
const SHORT: f32 = 8.0;
/// One over the part of their spread over which the short mean of independent values spreads.
const SHORT_SCALE: f32 = 1.0 / 0.26;
/// Distances count as so many deviations at most when they are learnt.
const WINSOR: f32 = 4.0;
/// Values before anything stands out.
const WARM_UP: f32 = 24.0;
/// Deviations that are far: where it begins, its bounds, and how it grows with each value that is farther and shrinks with
/// each that is not: in balance at one in a hundred (multiplicative, as DUMIQE: Yazidi and Hammer 2017).
const FAR: f32 = 5.0;
const FAR_BOUNDS: [f32; 2] = [0.5, 1e6];
const GROWS: f32 = 1.25;
const SHRINKS: f32 = 0.997_748;
/// The same of what is startling, once in 1,800 values.
const STARTLING: f32 = 8.0;
const SHRINKS_SLOWLY: f32 = 0.999_876;
/// Least deviation as a share of the mean, and at all.
const RELATIVE: f32 = 1e-3;
const LEAST: f32 = 1e-12;
/// What is left of a series' interest after a value.
const INTEREST_KEPT: f32 = 0.999;
/// Values and distances beyond are taken as this, so that everything stays finite.
const VALUE_MAX: f64 = 1e100;
const DISTANCE_MAX: f32 = 1e30;
/// What has faded to less is nothing: numbers that are nearly 0 are reckoned with slowly.
const FADED: f32 = 1e-20;

type Lanes = [f32; LANES];

/// What is remembered of eight series, by number: so that the compiler has one instruction see to four of them. Where values
/// lie is an `f64`; how far from each other, no more than an `f32` says.
#[derive(Clone, Copy, Debug)]
#[repr(align(64))]
struct Block {
    mean: [f64; LANES],
    /// By how much the short mean is beyond the mean.
    lead: Lanes,
    deviation: Lanes,
    /// One over what is far: a division less for each value.
    nearness: Lanes,
    startling: Lanes,
    /// Share of values that were not the mean exactly: 0 for a series that stands still.
    activity: Lanes,
    interest: Lanes,
    /// How far out the last value was; negative if it was startling.
    out: Lanes,
    /// Values, as far as they matter.
    seen: Lanes,
    /// Grid of the values, or the least deviation at all.
    resolution: Lanes,
    /// All of them have seen as many values as matter.
    is_settled: bool,
}

impl Default for Block {
    fn default() -> Self {
        Self {
            mean: [0.0; LANES],
            lead: [0.0; LANES],
            deviation: [0.0; LANES],
            nearness: [1.0 / FAR; LANES],
            startling: [STARTLING; LANES],
            activity: [0.0; LANES],
            interest: [0.0; LANES],
            out: [0.0; LANES],
            seen: [0.0; LANES],
            resolution: [LEAST; LANES],
            is_settled: false,
        }
    }
}

impl Block {
    /// A lane as it is in another block.
    fn set(&mut self, lane: usize, from: &Self) {
        (self.mean[lane], self.lead[lane], self.deviation[lane]) =
            (from.mean[lane], from.lead[lane], from.deviation[lane]);
        (self.activity[lane], self.interest[lane]) = (from.activity[lane], from.interest[lane]);
        (self.out[lane], self.seen[lane]) = (from.out[lane], from.seen[lane]);
        self.resolution[lane] = from.resolution[lane];
        self.set_far(lane, from);
    }

    fn set_far(&mut self, lane: usize, from: &Self) {
        (self.nearness[lane], self.startling[lane]) = (from.nearness[lane], from.startling[lane]);
    }

    /// Takes the values of those lanes that were read. What is watched closely already does not teach what is far.
    fn pass(&mut self, values: &[f64; LANES], marks: Marks) {
        let before = if marks.read != u8::MAX || marks.watched != 0 { Some(*self) } else { None };
        if self.is_settled {
            self.reckon::<true>(values);
        } else {
            for lane in (0..LANES).filter(|lane| self.seen[*lane] == 0.0) {
                self.mean[lane] = values[lane].clamp(-VALUE_MAX, VALUE_MAX);
            }
            self.reckon::<false>(values);
        }
        if let Some(before) = before {
            for lane in 0..LANES {
                if marks.read & (1 << lane) == 0 {
                    self.set(lane, &before);
                } else if marks.watched & (1 << lane) != 0 {
                    self.set_far(lane, &before);
                }
            }
        }
        self.is_settled = self.is_settled || self.seen.iter().all(|seen| *seen >= MEMORY);
    }

    /// The same for all lanes. Nothing in it depends on a branch, so that lanes need not be alike.
    #[inline]
    fn reckon<const SETTLED: bool>(&mut self, values: &[f64; LANES]) {
        let (mut distances, mut levels, mut moved) = ([0.0; LANES], [0.0; LANES], [0.0; LANES]);
        for lane in 0..LANES {
            #[expect(clippy::cast_possible_truncation, reason = "a distance needs no more digits than f32 has")]
            {
                distances[lane] = (values[lane] - self.mean[lane]) as f32;
                levels[lane] = self.mean[lane].abs() as f32;
            }
        }
        for lane in 0..LANES {
            let distance = limited(distances[lane], DISTANCE_MAX);
            let lead = self.lead[lane] + (distance - self.lead[lane]) / SHORT;
            let farther = most(distance.abs(), lead.abs() * SHORT_SCALE);
            let scale = most(most(self.deviation[lane], self.resolution[lane]), RELATIVE * levels[lane]);
            let seen = if SETTLED { MEMORY } else { least(self.seen[lane] + 1.0, MEMORY) };
            let (share, is_warm) = (1.0 / seen, SETTLED || seen >= WARM_UP);
            let limited = limited(distance, if is_warm { WINSOR * scale } else { DISTANCE_MAX });
            let deviations = if is_warm { farther / scale } else { 0.0 };
            let (out, startles) = (deviations * self.nearness[lane], deviations >= self.startling[lane]);
            let news = if distance == 0.0 { 0.0 } else { 1.0 };
            moved[lane] = share * limited;
            self.lead[lane] = if farther < FADED { 0.0 } else { lead - moved[lane] };
            self.deviation[lane] = faded(self.deviation[lane] + share * (limited.abs() - self.deviation[lane]));
            self.activity[lane] = faded(self.activity[lane] + (news - self.activity[lane]) / MEMORY);
            self.interest[lane] = most(self.interest[lane] * INTEREST_KEPT, most(least(out, STOOD_OUT), FADED));
            self.seen[lane] = seen;
            // What startles is far.
            self.out[lane] = if startles { -most(out, 1.0) } else { out };
            let factor = if out >= 1.0 { 1.0 / GROWS } else { 1.0 / SHRINKS };
            let nearness = least(most(self.nearness[lane] * factor, 1.0 / FAR_BOUNDS[1]), 1.0 / FAR_BOUNDS[0]);
            let startling = self.startling[lane] * if startles { GROWS } else { SHRINKS_SLOWLY };
            // It is never nearer than what is far.
            let is_nearer = startling * nearness < 1.0;
            let startling =
                if is_nearer { most(self.startling[lane], startling) } else { least(startling, FAR_BOUNDS[1]) };
            self.nearness[lane] = if is_warm { nearness } else { self.nearness[lane] };
            self.startling[lane] = if is_warm { startling } else { self.startling[lane] };
        }
        for (mean, moved) in self.mean.iter_mut().zip(moved) {
            *mean += f64::from(moved);
        }
    }

    /// How far out the farthest of the last values was.
    fn farthest(&self) -> f32 {
        let mut halves = [0.0; LANES / 2];
        for (lane, half) in halves.iter_mut().enumerate() {
            *half = most(self.out[lane].abs(), self.out[lane + LANES / 2].abs());
        }
        halves.into_iter().fold(0.0, most)
    }
}

/// A bit for each lane: a value is there that was not seen to, and the series is watched closely already.
#[derive(Clone, Copy, Debug, Default)]
struct Marks {
    read: u8,
    watched: u8,
}

/// What is remembered of all series, by slot. What is kept of a value until the tick lies close together, for it is written
/// while others have the caches.
#[derive(Debug, Default)]
pub(crate) struct Screens {
    values: Vec<[f64; LANES]>,
    marks: Vec<Marks>,
    blocks: Vec<Block>,
}

impl Screens {
    /// Bytes of the heap that it takes at most for so many slots.
    pub(crate) fn bytes_max(slots: usize) -> usize {
        let blocks = slots.div_ceil(LANES);
        room::list::<[f64; LANES]>(blocks) + room::list::<Marks>(blocks) + room::list::<Block>(blocks)
    }

    /// Another series is in a slot, with values on a grid of `resolution`, 0 for none.
    pub(crate) fn begin(&mut self, slot: u32, resolution: f64) {
        let (at, lane) = place(slot);
        if self.blocks.len() <= at {
            self.values.resize(at + 1, [0.0; LANES]);
            self.marks.resize(at + 1, Marks::default());
            self.blocks.resize(at + 1, Block::default());
        }
        let (block, marks) = (&mut self.blocks[at], &mut self.marks[at]);
        block.set(lane, &Block::default());
        #[expect(clippy::cast_possible_truncation, reason = "a distance needs no more digits than f32 has")]
        let resolution = resolution as f32;
        block.resolution[lane] = most(resolution, LEAST);
        block.is_settled = false;
        marks.read &= !(1 << lane);
        marks.watched &= !(1 << lane);
    }

    /// A value was read; of two before [`Screens::pass`] the second one counts.
    #[inline]
    pub(crate) fn put(&mut self, slot: u32, value: f64, is_watched: bool) {
        let (at, lane) = place(slot);
        let (Some(values), Some(marks)) = (self.values.get_mut(at), self.marks.get_mut(at)) else { return };
        values[lane] = value;
        marks.read |= 1 << lane;
        marks.watched |= u8::from(is_watched) << lane;
    }

    /// Sees to what was read. Tells slot and distance of what is at least `bar` out, and whether it is startling; the
    /// distance is in units of what is far for the series.
    pub(crate) fn pass(&mut self, bar: f32, mut tell: impl FnMut(u32, f32, bool)) {
        let read = (0u32..).zip(&mut self.blocks).zip(&self.values).zip(&mut self.marks);
        for (((at, block), values), marks) in read {
            let marks = std::mem::take(marks);
            if marks.read == 0 {
                continue;
            }
            block.pass(values, marks);
            if block.farthest() < bar {
                continue;
            }
            for (lane, out) in (0u32..).zip(block.out) {
                if marks.read & (1 << lane) == 0 || out.abs() < bar {
                    continue;
                }
                if out < 0.0 {
                    block.interest[lane as usize] = most(block.interest[lane as usize], SURPRISED);
                }
                tell(at * LANES_U32 + lane, out.abs(), out < 0.0);
            }
        }
    }

    /// How far out the last value was.
    pub(crate) fn out(&self, slot: u32) -> f32 {
        let (at, lane) = place(slot);
        self.blocks.get(at).map_or(0.0, |block| block.out[lane].abs())
    }

    /// A series is of as much interest from now on, which fades.
    pub(crate) fn note(&mut self, slot: u32, interest: f32) {
        let (at, lane) = place(slot);
        if let Some(block) = self.blocks.get_mut(at) {
            block.interest[lane] = most(block.interest[lane], interest);
        }
    }

    /// What a look is worth for what a series does and did: unitless.
    #[inline]
    pub(crate) fn worth(&self, slot: u32) -> f32 {
        let (at, lane) = place(slot);
        self.blocks.get(at).map_or(0.0, |block| block.activity[lane] + block.interest[lane] * block.interest[lane])
    }
}

fn place(slot: u32) -> (usize, usize) {
    (slot as usize / LANES, slot as usize % LANES)
}

/// Of two numbers the greater one; quicker than `f32::max`, which sees to what is not a number.
#[inline]
fn most(a: f32, b: f32) -> f32 {
    if a > b { a } else { b }
}

#[inline]
fn least(a: f32, b: f32) -> f32 {
    if a < b { a } else { b }
}

#[inline]
fn limited(distance: f32, limit: f32) -> f32 {
    least(most(distance, -limit), limit)
}

/// An amount that fades, or 0 once it has.
#[inline]
fn faded(amount: f32) -> f32 {
    if amount < FADED { 0.0 } else { amount }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SLOT: u32 = 13;

    /// One series, with others in its block that are read as well or not.
    struct Screen {
        screens: Screens,
        others: bool,
    }

    impl Screen {
        fn new(others: bool) -> Self {
            let mut screens = Screens::default();
            (8..16).for_each(|slot| screens.begin(slot, 0.0));
            Self { screens, others }
        }

        fn look(&mut self, value: f64) -> (f32, bool) {
            if self.others {
                (8..16).filter(|slot| *slot != SLOT).for_each(|slot| self.screens.put(slot, 1.0, false));
            }
            self.screens.put(SLOT, value, false);
            let mut startled = false;
            self.screens.pass(1e-3, |slot, _, startles| startled |= slot == SLOT && startles);
            (self.screens.out(SLOT), startled)
        }

        fn activity(&self) -> f32 {
            self.screens.blocks[1].activity[5]
        }
    }

    struct Noise(u64);

    impl Noise {
        /// About normal, by a sum of uniform numbers (Irwin and Hall).
        fn next(&mut self) -> f64 {
            let uniform = |state: &mut u64| {
                *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                f64::from(u32::try_from(*state >> 33).expect("31 bits")) / f64::from(1u32 << 31)
            };
            (0..12).map(|_| uniform(&mut self.0)).sum::<f64>() - 6.0
        }
    }

    #[test]
    fn one_healthy_value_in_a_hundred_is_far_whatever_the_noise_and_a_step_is_farther_at_once() {
        for (seed, scale) in [(1, 1.0), (2, 1e6), (3, 1e-3)] {
            let (mut screen, mut noise) = (Screen::new(seed % 2 == 0), Noise(seed));
            let mut next = |by: f64| screen.look(scale * (50.0 + noise.next() + by)).0;
            let out = (0..40_000).filter(|_| next(0.0) >= 1.0).count();
            assert!((200..=800).contains(&out), "{out} of 40,000 healthy values");
            let delay = (1..10).find(|_| next(8.0) >= 2.0);
            assert!(delay.is_some_and(|values| values <= 2), "{delay:?}");
        }
    }

    #[test]
    fn a_small_step_that_stays_is_far_within_a_dozen_values() {
        let mut found = 0;
        for seed in 0..20 {
            let (mut screen, mut noise) = (Screen::new(seed % 2 == 0), Noise(seed));
            let mut next = |by: f64| screen.look(noise.next() + by).0;
            (0..5_000).for_each(|_| _ = next(0.0));
            found += u32::from((0..12).any(|_| next(3.5) >= 1.2));
        }
        assert!(found >= 17, "{found} of 20");
    }

    #[test]
    fn what_recurs_is_far_less_and_less() {
        let mut screen = Screen::new(true);
        let mut out = |n: u32| screen.look(if n % 50 < 2 { 9.0 } else { 1.0 }).0;
        let highest = (0..20_000).map(&mut out).skip(10_000).fold(0.0, f32::max);
        assert!(highest < 1.6, "{highest}");
    }

    #[test]
    fn a_series_that_stands_still_is_of_no_interest_and_hostile_values_do_no_harm() {
        let mut still = Screen::new(false);
        assert!((0..100).all(|_| still.look(7.0).0 < 0.01));
        assert_eq!(still.activity(), 0.0);
        let mut screen = Screen::new(true);
        for n in 0..200 {
            let (out, _) = screen.look(if n % 2 == 0 { f64::MAX } else { -f64::MAX });
            let block = &screen.screens.blocks[1];
            assert!(!out.is_nan() && block.deviation[5].is_finite() && block.mean[5].is_finite(), "{block:?}");
        }
        assert!(screen.activity() > 0.9);
    }
    #[test]
    fn what_is_not_read_stays_as_it_was_and_what_is_watched_does_not_teach_what_is_far() {
        let (mut screen, mut noise) = (Screen::new(true), Noise(5));
        (0..500).for_each(|_| _ = screen.look(noise.next()));
        let before = screen.screens.blocks[1];
        screen.screens.put(8, 1e9, false);
        screen.screens.put(9, 1e9, true);
        let mut far = Vec::new();
        screen.screens.pass(1.0, |slot, _, startles| far.push((slot, startles)));
        assert_eq!(far, [(8, true), (9, true)]);
        let after = &screen.screens.blocks[1];
        let taught: Vec<usize> = (0..LANES).filter(|lane| after.nearness[*lane] != before.nearness[*lane]).collect();
        let moved: Vec<usize> = (0..LANES).filter(|lane| after.mean[*lane] != before.mean[*lane]).collect();
        assert_eq!((taught, moved), (vec![0], vec![0, 1]));
    }

    #[test]
    fn interest_fades_and_a_slot_that_is_given_again_begins_anew() {
        let mut screen = Screen::new(false);
        (0..100).for_each(|n| _ = screen.look(f64::from(n % 13)));
        screen.screens.note(SLOT, 4.0);
        let noted = screen.screens.worth(SLOT);
        (0..1_000).for_each(|n| _ = screen.look(f64::from(n % 13)));
        let later = screen.screens.worth(SLOT);
        assert!(noted > 16.0 && later < 5.0 && later > 0.9, "{noted} {later}");
        screen.screens.begin(SLOT, 0.0);
        assert_eq!((screen.screens.worth(SLOT), screen.screens.out(SLOT)), (0.0, 0.0));
        assert_eq!(screen.look(77.0), (0.0, false));
    }
}

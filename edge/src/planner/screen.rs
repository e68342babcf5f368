//! The cheapest look at a series: does this value stand out? Each value that is read passes it, whoever else looks.
//!
//! Mean and mean absolute deviation with exponential weights, winsorised; a value stands out by its own distance or by
//! that of a short mean, which sees a small step that stays. How far is far is learnt for each series: about one value in a
//! hundred is as far as that, whatever the series does, so that distances of different series can be compared. It judges
//! nothing: it tells where to look first.

/// Values that are remembered by mean and deviation, and by the short mean.
const MEMORY: f64 = 64.0;
const SHORT: f64 = 8.0;
/// One over the part of their spread over which the short mean of independent values spreads.
const SHORT_SCALE: f64 = 1.0 / 0.26;
/// Distances count as so many deviations at most when they are learnt.
const WINSOR: f64 = 4.0;
/// Values before anything stands out.
const WARM_UP: u16 = 24;
/// After so many values the memory is as long as it gets.
const SETTLED: u16 = 64;
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
const RELATIVE: f64 = 1e-3;
const LEAST: f64 = 1e-12;
/// Values beyond are taken as this, so that everything stays finite.
const VALUE_MAX: f64 = 1e100;

/// What is remembered of one series.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Screen {
    mean: f64,
    short: f64,
    deviation: f64,
    /// One over what is far: a division less for each value.
    nearness: f32,
    startling: f32,
    seen: u16,
    /// Share of values that were not the mean exactly: 0 for a series that stands still.
    activity: f32,
}

impl Default for Screen {
    fn default() -> Self {
        Self {
            mean: 0.0,
            short: 0.0,
            deviation: 0.0,
            nearness: 1.0 / FAR,
            startling: STARTLING,
            seen: 0,
            activity: 0.0,
        }
    }
}

impl Screen {
    /// Takes a value on a grid of `resolution`, 0 for none. How far out it is, in units of what is far for this series.
    /// What is watched closely already does not teach what is far. And whether it is startling.
    #[inline]
    pub(crate) fn look(&mut self, value: f64, resolution: f64, watched: bool) -> (f32, bool) {
        let value = value.clamp(-VALUE_MAX, VALUE_MAX);
        if self.seen == 0 {
            (self.mean, self.short) = (value, value);
        }
        let distance = value - self.mean;
        self.short += (value - self.short) / SHORT;
        let least = resolution.max(RELATIVE * self.mean.abs()).max(LEAST);
        let scale = self.deviation.max(least);
        let farther = distance.abs().max((self.short - self.mean).abs() * SHORT_SCALE);
        if self.seen < SETTLED {
            self.seen += 1;
            self.learn(distance, if self.seen < WARM_UP { f64::INFINITY } else { scale }, 1.0 / f64::from(self.seen));
            if self.seen < WARM_UP {
                return (0.0, false);
            }
        } else {
            self.learn(distance, scale, 1.0 / MEMORY);
        }
        #[expect(clippy::cast_possible_truncation, reason = "a distance needs no more digits than f32 has")]
        let deviations = (farther / scale) as f32;
        let (out, startles) = (deviations * self.nearness, deviations >= self.startling);
        if !watched {
            let factor = if out >= 1.0 { 1.0 / GROWS } else { 1.0 / SHRINKS };
            self.nearness = (self.nearness * factor).clamp(1.0 / FAR_BOUNDS[1], 1.0 / FAR_BOUNDS[0]);
            let factor = if startles { GROWS } else { SHRINKS_SLOWLY };
            let startling = self.startling * factor;
            // It is never nearer than what is far.
            let nearer = startling * self.nearness < 1.0;
            self.startling = if nearer { self.startling.max(startling) } else { startling.min(FAR_BOUNDS[1]) };
        }
        (out, startles)
    }

    #[inline]
    fn learn(&mut self, distance: f64, scale: f64, share: f64) {
        let limit = WINSOR * scale;
        let limited = distance.max(-limit).min(limit);
        self.mean += share * limited;
        self.deviation += share * (limited.abs() - self.deviation);
        let moved = f32::from(u8::from(distance != 0.0));
        self.activity += (moved - self.activity) / 64.0;
    }

    /// Share of values that were news.
    pub(crate) fn activity(&self) -> f32 {
        self.activity
    }
}

#[cfg(test)]
mod tests {
    use super::*;

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
            let (mut screen, mut noise) = (Screen::default(), Noise(seed));
            let mut next = |by: f64| screen.look(scale * (50.0 + noise.next() + by), 0.0, false).0;
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
            let (mut screen, mut noise) = (Screen::default(), Noise(seed));
            let mut next = |by: f64| screen.look(noise.next() + by, 0.0, false).0;
            (0..5_000).for_each(|_| _ = next(0.0));
            found += u32::from((0..12).any(|_| next(3.5) >= 1.2));
        }
        assert!(found >= 17, "{found} of 20");
    }

    #[test]
    fn what_recurs_is_far_less_and_less() {
        let mut screen = Screen::default();
        let mut out = |n: u32| screen.look(if n % 50 < 2 { 9.0 } else { 1.0 }, 0.0, false).0;
        let highest = (0..20_000).map(&mut out).skip(10_000).fold(0.0, f32::max);
        assert!(highest < 1.6, "{highest}");
    }

    #[test]
    fn a_series_that_stands_still_is_of_no_interest_and_hostile_values_do_no_harm() {
        let mut still = Screen::default();
        assert!((0..100).all(|_| still.look(7.0, 0.0, false).0 < 0.01));
        assert_eq!(still.activity(), 0.0);
        let mut screen = Screen::default();
        for n in 0..200 {
            let (out, _) = screen.look(if n % 2 == 0 { f64::MAX } else { -f64::MAX }, 0.0, false);
            assert!(!out.is_nan() && screen.deviation.is_finite(), "{screen:?}");
        }
        assert!(screen.activity() > 0.9);
    }
}

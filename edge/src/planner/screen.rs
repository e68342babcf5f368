//! The cheapest look at a series: does this value stand out? Each value that is read passes it, whoever else looks.
//!
//! Mean and mean absolute deviation with exponential weights, winsorised; a value stands out by its own distance or by
//! that of a short mean, which sees a small step that stays. How far is far is learnt for each series, so that a healthy
//! one stands out about once in 1,800 values whatever its noise. It judges nothing: it tells where to look.

/// Values that are remembered by mean and deviation, and by the short mean.
const MEMORY: f64 = 64.0;
const SHORT: f64 = 8.0;
/// The short mean of independent values spreads over this part of theirs.
const SHORT_SPREAD: f64 = 0.26;
/// Distances count as so many deviations at most when they are learnt.
const WINSOR: f64 = 4.0;
/// Values before anything stands out.
const WARM_UP: u16 = 24;
/// Deviations from which on a value stands out: where it begins, its bounds, and how it grows with each value that does
/// and shrinks with each that does not.
const THRESHOLD: [f32; 2] = [5.0, 1e6];
const GROWS: f32 = 1.25;
const SHRINKS: f32 = 1.0 - 1.0 / 8_000.0;
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
    threshold: f32,
    seen: u16,
    /// Share of values that were not the mean exactly: 0 for a series that stands still.
    activity: f32,
}

impl Default for Screen {
    fn default() -> Self {
        Self { mean: 0.0, short: 0.0, deviation: 0.0, threshold: THRESHOLD[0], seen: 0, activity: 0.0 }
    }
}

impl Screen {
    /// Takes a value on a grid of `resolution`, 0 for none. How far it is out, in units of what stands out: 1 and more
    /// does. What is watched closely already teaches no threshold.
    #[inline]
    pub(crate) fn look(&mut self, value: f64, resolution: f64, watched: bool) -> f32 {
        let value = value.clamp(-VALUE_MAX, VALUE_MAX);
        if self.seen == 0 {
            (self.mean, self.short) = (value, value);
        }
        self.seen = self.seen.saturating_add(1);
        let distance = value - self.mean;
        self.short += (value - self.short) / SHORT;
        let least = resolution.max(RELATIVE * self.mean.abs()).max(LEAST);
        let scale = self.deviation.max(least);
        let far = distance.abs().max((self.short - self.mean).abs() / SHORT_SPREAD) / scale;
        self.learn(distance, scale);
        if self.seen < WARM_UP {
            return 0.0;
        }
        #[expect(clippy::cast_possible_truncation, reason = "a distance needs no more digits than f32 has")]
        let out = far as f32 / self.threshold;
        if !watched {
            let factor = if out >= 1.0 { GROWS } else { SHRINKS };
            self.threshold = (self.threshold * factor).clamp(THRESHOLD[0], THRESHOLD[1]);
        }
        out
    }

    #[inline]
    fn learn(&mut self, distance: f64, scale: f64) {
        let share = (1.0 / f64::from(self.seen)).max(1.0 / MEMORY);
        let limit = if self.seen < WARM_UP { f64::INFINITY } else { WINSOR * scale };
        let limited = distance.clamp(-limit, limit);
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
    fn healthy_noise_seldom_stands_out_and_a_step_does_at_once() {
        for (seed, scale) in [(1, 1.0), (2, 1e6), (3, 1e-3)] {
            let (mut screen, mut noise) = (Screen::default(), Noise(seed));
            let mut next = |by: f64| screen.look(scale * (50.0 + noise.next() + by), 0.0, false);
            let out = (0..40_000).filter(|_| next(0.0) >= 1.0).count();
            assert!(out <= 40, "{out} of 40,000 healthy values stood out");
            let delay = (1..10).find(|_| next(8.0) >= 1.0);
            assert!(delay.is_some_and(|values| values <= 2), "{delay:?}");
        }
    }

    #[test]
    fn a_small_step_that_stays_stands_out_within_a_dozen_values() {
        let mut found = 0;
        for seed in 0..20 {
            let (mut screen, mut noise) = (Screen::default(), Noise(seed));
            let mut next = |by: f64| screen.look(noise.next() + by, 0.0, false);
            (0..5_000).for_each(|_| _ = next(0.0));
            found += u32::from((0..12).any(|_| next(3.5) >= 1.0));
        }
        assert!(found >= 17, "{found} of 20");
    }

    #[test]
    fn what_recurs_stands_out_less_and_less() {
        let mut screen = Screen::default();
        let bursts = (0..20_000u32).filter(|n| screen.look(if n % 50 < 2 { 9.0 } else { 1.0 }, 0.0, false) >= 1.0);
        assert!(bursts.count() < 200, "{screen:?}");
    }

    #[test]
    fn a_series_that_stands_still_is_of_no_interest_and_hostile_values_do_no_harm() {
        let mut still = Screen::default();
        assert!((0..100).all(|_| still.look(7.0, 0.0, false) < 1.0));
        assert_eq!(still.activity(), 0.0);
        let mut screen = Screen::default();
        for n in 0..200 {
            let out = screen.look(if n % 2 == 0 { f64::MAX } else { -f64::MAX }, 0.0, false);
            assert!(!out.is_nan() && screen.deviation.is_finite(), "{screen:?}");
        }
        assert!(screen.activity() > 0.9);
    }
}

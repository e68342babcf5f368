//! What a jump amounts to in a series that wanders.
//!
//! Values of a slow wander follow one another: that it is far from where it usually is says little, for it goes there by
//! itself and stays for long. What it does not do is jump. So a value of such a series is measured by the last one, in
//! units of the usual stride; and as a jump into the midst of the usual is none, only as far as it led away from there.
//! A jump counts for as long as it is not undone: the last place is followed with the weights of a Student t (as the
//! location of the score-driven models of Harvey and Luati 2014), an ordinary stride at once, one of ten within a dozen
//! values.

use crate::baseline::{TO_DEVIATION, WINSOR};
use alloc::vec::Vec;
use vedette_sdk::math::Limit as _;
use vedette_sdk::robust::median_and_scale;
use vedette_sdk::state::{Damaged, Reader, Writer};

/// Strides over spread from which on values follow one another so little that the last one tells nothing, and below which
/// it tells all. The ratio is √2 where values are independent, and √(2 − 2φ) in an autoregression of the first order.
const RESTLESS: f64 = 0.8;
const STEADY: f64 = 0.6;
/// A stride is never taken for less than this part of the scale.
const STRIDE_MIN: f64 = 1.0 / 32.0;
/// Up to this distance from the location a series is where it usually is, and up to so many strides it goes as usual.
const USUAL: f64 = 2.0;
/// Each unit of distance beyond makes a jump worth up to so much: more than the distance itself from 4 on.
const STEEPNESS: f64 = 2.0;
/// How far a wander goes by itself, at most and as a multiple of spread over stride: the slower it is, the more is its
/// spread only that around a location which follows it.
const GOES_MAX: f64 = 8.0;
const GOES: f64 = 1.5;
/// Part of its distance by which a far jump is followed at least: a level that stays is the last place before long.
const FOLLOW_MIN: f64 = 0.02;

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Walk {
    /// Where the series was last, as far as that was to be believed.
    pub(crate) at: f64,
    /// Standard deviation of the steps from one value to the next.
    pub(crate) stride: f64,
}

impl Walk {
    pub(crate) const NONE: Self = Self { at: 0.0, stride: 0.0 };

    /// Starts from the first values, two or more.
    pub(crate) fn start(first: &[f64]) -> Self {
        let mut steps: Vec<f64> = first.windows(2).map(|two| two[1] - two[0]).collect();
        let (_, stride) = median_and_scale(&mut steps);
        Self { at: first[first.len() - 1], stride }
    }

    /// Whether the last value tells anything of the next one, in a series of this spread.
    #[inline]
    pub(crate) fn tells(&self, spread: f64) -> bool {
        self.stride < RESTLESS * spread
    }

    /// How much it tells, from 0 to 1.
    fn share(&self, spread: f64) -> f64 {
        ((RESTLESS * spread - self.stride) / ((RESTLESS - STEADY) * spread)).at_least(0.0).at_most(1.0)
    }

    /// What `value`, at this distance from the location, is worth as a jump and as a mere distance. `scale` is what a step
    /// is measured by.
    pub(crate) fn weigh(&self, value: f64, distance: f64, scale: f64, spread: f64) -> [f64; 2] {
        let share = self.share(spread);
        let strides = (value - self.at).abs() / scale;
        let away = distance > USUAL && strides > USUAL;
        let jump = if away { strides.at_most(STEEPNESS * (distance - USUAL)) } else { 0.0 };
        let goes = (GOES * spread / self.stride.at_least(f64::MIN_POSITIVE)).at_most(GOES_MAX);
        [share * jump, distance - share * goes]
    }

    /// Takes the next value, which is where the series usually is or not. `core` is the scale, `share` its weight.
    #[inline]
    pub(crate) fn learn(&mut self, value: f64, usual: bool, core: f64, share: f64) {
        let step = value - self.at;
        let least = self.stride.at_least(STRIDE_MIN * core);
        self.stride += share * (TO_DEVIATION * step.abs().at_most(WINSOR * least) - self.stride);
        // The distance of two huge values is no number to go by.
        if usual || !step.is_finite() {
            self.at = value;
        } else {
            self.follow(step, least);
        }
    }

    /// Takes a value that is not to be learnt from: an ordinary stride is followed all the same, or the walk would be far
    /// from the last place when learning goes on.
    pub(crate) fn hold(&mut self, value: f64, usual: bool, core: f64) {
        let least = self.stride.at_least(STRIDE_MIN * core);
        if usual || (value - self.at).abs() <= WINSOR * least {
            self.at = value;
        }
    }

    #[cold]
    fn follow(&mut self, step: f64, stride: f64) {
        let strides = step.abs() / stride;
        let part = (WINSOR * WINSOR / (strides * strides)).at_least(FOLLOW_MIN).at_most(1.0);
        self.at += part * step;
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        out.f64s(&[self.at, self.stride]);
    }

    pub(crate) fn load(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let [at, stride] = input.f64s()?;
        Ok(Self { at, stride })
    }
}

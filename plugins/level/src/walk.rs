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
pub(crate) const USUAL: f64 = 2.0;
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

    /// How far from the location a wander goes by itself, as far as the last value tells: 0 where it tells nothing, NaN
    /// without any spread.
    ///
    /// Has no jump: which limit is met is as good as random from series to series. `zero` is 0, and not a constant, of which
    /// a jump is made.
    #[inline]
    pub(crate) fn reach(&self, spread: f64, zero: f64) -> f64 {
        self.share(spread, zero) * self.goes(spread)
    }

    /// How much the last value tells, from 0 to 1; NaN without any spread.
    #[inline]
    fn share(&self, spread: f64, zero: f64) -> f64 {
        let whole = (RESTLESS - STEADY) * spread;
        (RESTLESS * spread - self.stride).at_least(zero).at_most(whole) / whole
    }

    #[inline]
    fn goes(&self, spread: f64) -> f64 {
        let stride = self.stride.at_least(f64::MIN_POSITIVE);
        (GOES * spread).at_most(GOES_MAX * stride) / stride
    }

    /// What `value`, at this distance from the location, is worth as a jump and as a mere distance, in a series in which the
    /// last value tells something. `scale` is what a step is measured by.
    pub(crate) fn weigh(&self, value: f64, distance: f64, scale: f64, spread: f64) -> [f64; 2] {
        let share = self.share(spread, 0.0);
        let strides = (value - self.at).abs() / scale;
        let jump = if strides > USUAL { strides.at_most(STEEPNESS * (distance - USUAL)) } else { 0.0 };
        [share * jump, distance - share * self.goes(spread)]
    }

    /// Learns the stride from the next value. `core` is the scale, `share` its weight.
    #[inline]
    pub(crate) fn learn(&mut self, value: f64, core: f64, share: f64) {
        let step = (value - self.at).abs();
        self.stride += share * (TO_DEVIATION * step.at_most(WINSOR * self.least(core)) - self.stride);
    }

    /// Takes a value that is not to be learnt from: an ordinary stride is followed all the same, or the walk would be far
    /// from the last place when learning goes on.
    #[inline]
    pub(crate) fn hold(&mut self, value: f64, usual: bool, core: f64) {
        if usual || (value - self.at).abs() <= WINSOR * self.least(core) {
            self.at = value;
        }
    }

    /// How far the last place goes with a value that is not where the series usually is.
    pub(crate) fn towards(&self, value: f64, core: f64) -> f64 {
        let (step, least) = (value - self.at, self.least(core));
        // The distance of two huge values is no number to go by.
        if !step.is_finite() {
            return value;
        }
        if step.abs() <= WINSOR * least {
            return self.at + step;
        }
        let strides = step.abs() / least;
        let part = (WINSOR * WINSOR / (strides * strides)).at_least(FOLLOW_MIN);
        self.at + part * step
    }

    #[inline]
    fn least(&self, core: f64) -> f64 {
        self.stride.at_least(STRIDE_MIN * core)
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        out.f64s(&[self.at, self.stride]);
    }

    pub(crate) fn load(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let [at, stride] = input.f64s()?;
        Ok(Self { at, stride })
    }
}

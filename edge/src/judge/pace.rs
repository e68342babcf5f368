//! The pace of a series: which are alike, and how much news one score is after the last one.

use serde::{Deserialize, Serialize};

/// Weight of a new score in the long run.
const RATE: f32 = 1e-3;
/// Half the mean square step over the variance, that is 1 − φ of a first-order autoregression, from which on scores count
/// as news each. Scores that are medians of three have 0.4 where values are independent.
const FRESH: f32 = 0.05;
const FRESHNESS_MIN: f32 = 0.02;
/// What a score beyond all that was seen is worth at least.
const EXTREME_MIN: f32 = 0.6;
/// Variance below this says nothing of how scores follow one another.
const VARIANCE_MIN: f32 = 1e-3;
/// Departures beyond this many scales count as that.
const RELATIVE_MAX: f32 = 3.0;

/// Intervals that are calibrated together: scores of means over a minute are not those of seconds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(crate) enum Pace {
    Seconds,
    TensOfSeconds,
    Minutes,
}

impl Pace {
    /// How many there are.
    pub(crate) const COUNT: usize = 3;

    pub(crate) fn of(interval_ms: u32) -> Self {
        match interval_ms {
            0..4_000 => Self::Seconds,
            4_000..25_000 => Self::TensOfSeconds,
            25_000.. => Self::Minutes,
        }
    }

    /// Decades that a verdict must be worth to count for a bout; a healthy one is worth 0.43 on average. Values that follow
    /// one another fast depend on each other, so that a modest one which stays says less.
    pub(crate) fn drift(self) -> f32 {
        match self {
            Self::Seconds => 2.0,
            Self::TensOfSeconds | Self::Minutes => 1.4,
        }
    }
}

/// Running moments of a series' relative scores and of their steps.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Wander {
    mean: f32,
    variance: f32,
    step: f32,
    last: f32,
    rate: f32,
}

impl Wander {
    /// All that was learnt: none of it is negative.
    pub(crate) fn numbers(self) -> [f32; 5] {
        [self.mean, self.variance, self.step, self.last, self.rate]
    }

    #[inline]
    pub(crate) fn learn(&mut self, relative: f32) {
        let relative = relative.min(RELATIVE_MAX);
        // 1, 1/2, 1/3, … until the long run.
        self.rate = if self.rate <= 0.0 { 1.0 } else { (self.rate / (1.0 + self.rate)).max(RATE) };
        let deviation = relative - self.mean;
        self.mean += self.rate * deviation;
        self.variance += self.rate * (deviation * deviation - self.variance);
        let step = relative - self.last;
        self.step += self.rate * (step * step - self.step);
        self.last = relative;
    }

    /// What the next score is worth, which may repeat the last one bit by bit: a detector that looks once a minute says
    /// the same in between, which is no news. Where scores hardly ever move, a repetition is what there is.
    pub(crate) fn news(&self, repeated: bool) -> News {
        match () {
            () if self.variance < VARIANCE_MIN => News { usually: 1.0, if_extreme: 1.0 },
            () if repeated => News { usually: 0.0, if_extreme: FRESHNESS_MIN },
            () => {
                let usually = self.freshness();
                News { usually, if_extreme: usually.max(EXTREME_MIN) }
            }
        }
    }

    /// 1 for independent scores, about one in 20 lifetimes of a slow wander.
    fn freshness(&self) -> f32 {
        (self.step / (2.0 * self.variance) / FRESH).clamp(FRESHNESS_MIN, 1.0)
    }
}

/// The share of a score that counts as evidence.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct News {
    pub(crate) usually: f32,
    /// For a score that is beyond all that was seen.
    pub(crate) if_extreme: f32,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn independent_scores_are_news_and_a_slow_wander_hardly_is() {
        let mut noise = 1u32;
        let mut next = || {
            noise = noise.wrapping_mul(1_664_525).wrapping_add(1_013_904_223);
            f32::from(u16::try_from(noise >> 16).expect("16 bits")) / 65_536.0
        };
        let (mut fresh, mut slow, mut still, mut level) =
            (Wander::default(), Wander::default(), Wander::default(), 1.0);
        for _ in 0..20_000 {
            fresh.learn(next());
            level += 0.003 * (1.0 - level) + 0.08 * (next() - 0.5);
            slow.learn(level);
            still.learn(0.5);
        }
        assert_eq!((fresh.news(false).usually, still.news(true).usually), (1.0, 1.0));
        assert_eq!(fresh.news(true), News { usually: 0.0, if_extreme: FRESHNESS_MIN });
        assert!(slow.freshness() < 0.2, "{slow:?}");
    }
}

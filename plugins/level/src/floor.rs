//! The least scale that a series is judged with.

use vedette_sdk::math::Limit as _;
use vedette_sdk::robust::Youth;
use vedette_sdk::{Kind, Series};

/// One per cent: what readings of a steady quantity differ by anyway.
const RELATIVE: f64 = 0.01;
/// Time after which a prior is worth half, and the values that it takes at least and at most.
const PRIOR_MS: f64 = 3_600_000.0;
const PRIOR_VALUES: [f64; 2] = [120.0, 3_600.0];

/// Parts of the scale's floor that come from what the series is, told once.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Floor {
    resolution: f64,
    prior: f64,
    /// Values after which the prior is worth half.
    prior_values: f64,
    lower: f64,
    upper: f64,
}

impl Floor {
    pub(crate) fn of(series: &Series) -> Self {
        let resolution = if series.resolution.is_finite() { series.resolution.at_least(0.0) } else { 0.0 };
        let [least, most] = PRIOR_VALUES;
        let prior_values = (PRIOR_MS / f64::from(series.interval_ms.max(1))).at_least(least).at_most(most);
        Self { resolution, prior: prior(series), prior_values, lower: series.lower, upper: series.upper }
    }

    /// The part that a series' youth decides, once so many values were learnt.
    pub(crate) fn after(&self, youth: &Youth) -> f64 {
        let prior = self.prior * self.prior_values / (self.prior_values + f64::from(youth.counted()));
        self.resolution.at_least(prior).at_least(f64::MIN_POSITIVE)
    }

    /// The part that a location or a value decides.
    #[inline]
    pub(crate) fn relative(value: f64) -> f64 {
        RELATIVE * value.abs()
    }

    /// `bound` within the natural bounds of the series.
    pub(crate) fn clamp(&self, bound: f64) -> f64 {
        bound.at_least(self.lower).at_most(self.upper)
    }
}

/// Spread of a series of this unit on a host that does nothing in particular: what a file written, a shell opened or a
/// job of the system's own timers amounts to. It stands in for the hours of history that a new series lacks, and its
/// weight fades as they come.
fn prior(series: &Series) -> f64 {
    let range = series.upper - series.lower;
    if range.is_finite() && range > 0.0 {
        return 0.02 * range;
    }
    match (series.unit.as_str(), series.kind) {
        ("1", _) => 0.02,
        ("By/s", _) | ("By", Kind::Rate) => 1_048_576.0,
        ("By", _) => 33_554_432.0,
        ("s", _) => 0.01,
        ("ms", _) => 10.0,
        ("{fault}/s" | "{switch}/s" | "{interrupt}/s", _) => 1_000.0,
        ("{packet}/s" | "{operation}/s", _) => 200.0,
        (unit, _) if unit.ends_with("}/s") => 10.0,
        (unit, _) if unit.starts_with('{') => 2.0,
        _ => 0.0,
    }
}

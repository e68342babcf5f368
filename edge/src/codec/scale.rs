//! The grid that a series' values stand on, found from the values themselves or from what its source said.

use crate::normalise::place;

/// Finest decimal grid that is looked for: 10⁻¹⁵.
const DECIMALS_MAX: u8 = 15;
/// Coarsest binary grid that is looked for: 2⁴⁰.
const POWER_MAX: u8 = 40;
/// Beyond this a step is no longer the nearest number.
const STEPS_MAX: f64 = 9_007_199_254_740_992.0;

/// How values become whole steps and back, bit for bit.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Scale {
    /// Steps of 10⁻ⁿ.
    Decimal(u8),
    /// Steps of 2ⁿ, 1 and above.
    Power(u8),
    /// Steps of a resolution as [`crate::normalise::quantise`] places them.
    Grid(f64),
    /// No grid: bits.
    Bits,
}

impl Scale {
    /// Number of [`Scale::code`]s that stand for a scale alone.
    const PLAIN: usize = DECIMALS_MAX as usize + 1 + POWER_MAX as usize;
    /// Code of [`Scale::Grid`]; the resolution has to be told beside it.
    pub(super) const GRID_CODE: usize = Self::PLAIN;

    /// Below 64.
    pub(super) fn code(self) -> usize {
        match self {
            Self::Decimal(digits) => usize::from(digits),
            Self::Power(power) => usize::from(DECIMALS_MAX + power),
            Self::Grid(_) => Self::GRID_CODE,
            Self::Bits => Self::GRID_CODE + 1,
        }
    }

    /// The scale of a code; unknown ones are [`Scale::Bits`]. A grid's resolution is `resolution`.
    pub(super) fn of_code(code: usize, resolution: f64) -> Self {
        let small = u8::try_from(code).unwrap_or(u8::MAX);
        match code {
            Self::GRID_CODE => Self::Grid(resolution),
            _ if small <= DECIMALS_MAX => Self::Decimal(small),
            _ if code < Self::PLAIN => Self::Power(small - DECIMALS_MAX),
            _ => Self::Bits,
        }
    }

    /// The coarsest scale on which all `values` stand, with their steps; no steps for [`Scale::Bits`].
    pub(super) fn find(values: &[f64], resolution: f64, steps: &mut Vec<i64>) -> Self {
        let hinted = (resolution > 0.0).then_some(Self::Grid(resolution));
        let decimal = (0..=DECIMALS_MAX).map(Self::Decimal).find(|scale| scale.takes(values, steps));
        match decimal {
            Some(Self::Decimal(0)) => return whole(steps),
            // A grid of 1/300 has a decimal one below it, 13 digits finer.
            Some(Self::Decimal(digits)) if digits <= 6 => return Self::Decimal(digits),
            _ => {}
        }
        if let Some(scale) = hinted.filter(|scale| scale.takes(values, steps)) {
            return scale;
        }
        match decimal.filter(|scale| scale.takes(values, steps)) {
            Some(scale) => scale,
            None => {
                steps.clear();
                Self::Bits
            }
        }
    }

    /// Whether all of `values` come back from their steps bit for bit; leaves the steps.
    fn takes(self, values: &[f64], steps: &mut Vec<i64>) -> bool {
        steps.clear();
        values.iter().all(|value| {
            let step = self.steps(*value);
            steps.push(step);
            self.value(step).to_bits() == value.to_bits()
        })
    }

    fn steps(self, value: f64) -> i64 {
        let steps = match self {
            Self::Decimal(digits) => value * power_of_ten(digits),
            Self::Power(power) => value / power_of_two(power),
            Self::Grid(resolution) => value / resolution,
            Self::Bits => 0.0,
        };
        #[expect(clippy::cast_possible_truncation, reason = "what does not fit does not come back either")]
        let whole = if steps.abs() <= STEPS_MAX { steps.round() as i64 } else { 0 };
        whole
    }

    /// The value that is `steps` from 0.
    #[expect(
        clippy::cast_precision_loss,
        reason = "steps of what was found stay below 2^53; hostile ones may lose digits"
    )]
    pub(super) fn value(self, steps: i64) -> f64 {
        let steps = steps as f64;
        match self {
            Self::Decimal(digits) => steps / power_of_ten(digits),
            Self::Power(power) => steps * power_of_two(power),
            Self::Grid(resolution) => place(steps, resolution),
            Self::Bits => 0.0,
        }
    }
}

/// Whole numbers that are all multiples of a power of two: pages, sectors, kibibytes.
fn whole(steps: &mut [i64]) -> Scale {
    let zeros = steps.iter().fold(0, |all, step| all | step).trailing_zeros();
    let power = u8::try_from(zeros).unwrap_or(u8::MAX);
    if power == 0 || power > POWER_MAX {
        return Scale::Decimal(0);
    }
    steps.iter_mut().for_each(|step| *step >>= power);
    Scale::Power(power)
}

fn power_of_ten(digits: u8) -> f64 {
    const POWERS: [f64; 16] = [1e0, 1e1, 1e2, 1e3, 1e4, 1e5, 1e6, 1e7, 1e8, 1e9, 1e10, 1e11, 1e12, 1e13, 1e14, 1e15];
    POWERS.get(usize::from(digits)).copied().unwrap_or(1.0)
}

#[expect(clippy::cast_precision_loss, reason = "powers of two are exact")]
fn power_of_two(power: u8) -> f64 {
    (1_u64 << power.min(63)) as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::normalise::quantise;

    fn find(values: &[f64], resolution: f64) -> Scale {
        let mut steps = Vec::new();
        let scale = Scale::find(values, resolution, &mut steps);
        assert_eq!(Scale::of_code(scale.code(), resolution), scale);
        for (value, step) in values.iter().zip(&steps) {
            assert_eq!(scale.value(*step).to_bits(), value.to_bits());
        }
        assert_eq!(steps.len(), if scale == Scale::Bits { 0 } else { values.len() });
        scale
    }

    #[test]
    fn grid_is_found_from_the_values() {
        assert_eq!(find(&[0.1, 0.25, 7.0], 0.0), Scale::Decimal(2));
        assert_eq!(find(&[3.0, 5.0], 0.0), Scale::Decimal(0));
        assert_eq!(find(&[4_096.0, 12_288.0], 0.0), Scale::Power(12));
        assert_eq!(find(&[0.0, 0.0], 1_024.0), Scale::Decimal(0));
        let thirds: Vec<_> = [1.0, 2.0, 5.0].iter().map(|n| quantise(n / 300.0, 1.0 / 300.0)).collect();
        assert_eq!(find(&thirds, 1.0 / 300.0), Scale::Grid(1.0 / 300.0));
    }

    #[test]
    fn what_stands_on_no_grid_is_told_as_bits() {
        for value in [f64::NAN, f64::INFINITY, -0.0, 1e300, 0.1 + 0.2, f64::MIN_POSITIVE] {
            assert_eq!(find(&[1.0, value], 0.0), Scale::Bits, "{value}");
            assert_eq!(find(&[1.0, value], 0.01), Scale::Bits, "{value}");
        }
    }
}

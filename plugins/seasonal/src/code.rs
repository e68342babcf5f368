//! A number in one byte: its distance from an origin, exact to an eighth, rounded outwards.

use vedette_sdk::math::Limit as _;

/// No number.
pub(crate) const NONE: u8 = 0xff;
/// Magnitude that stands for everything beyond the others.
const FAR: u8 = 0x7f;
const BELOW: u8 = 0x80;
/// Codes of magnitudes below one unit; so many to each doubling above.
const STEPS: u8 = 8;

/// Which way a number is rounded.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    Down,
    Up,
}

/// Where codes count from, and how long their unit is.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Scale {
    pub(crate) origin: f64,
    /// Greater than 0.
    pub(crate) unit: f64,
}

impl Scale {
    /// Furthest distance that has a code, in units: 1.75 × 2¹⁴.
    pub(crate) const UNITS_MAX: f64 = 28_672.0;

    /// The code next to `value` on that side; [`FAR`] if there is none.
    pub(crate) fn encode(&self, value: f64, side: Side) -> u8 {
        let units = (value - self.origin) / self.unit;
        let below = units < 0.0;
        let sign = if below { BELOW } else { 0 };
        let magnitude = magnitude(units.abs(), below == (side == Side::Down));
        // The least number has no code: it would be that of no number.
        sign | if below { magnitude.min(FAR - 1) } else { magnitude }
    }

    /// The number of a code other than [`NONE`]; infinite beyond all others.
    pub(crate) fn decode(&self, code: u8) -> f64 {
        let magnitude = code & FAR;
        if magnitude == FAR {
            return f64::INFINITY;
        }
        let (doublings, part) = (magnitude / STEPS, f64::from(magnitude % STEPS) / f64::from(STEPS));
        let units = if doublings == 0 { part } else { (1.0 + part) * f64::from(1_u32 << (doublings - 1)) };
        let distance = units * self.unit;
        self.origin + if code & BELOW == 0 { distance } else { -distance }
    }
}

/// The code of a distance of 0 or more, not above it or not below it.
fn magnitude(units: f64, outwards: bool) -> u8 {
    let mut doublings = 0;
    let mut rest = units.at_most(Scale::UNITS_MAX * 2.0);
    while rest >= 2.0 {
        rest *= 0.5;
        doublings += 1;
    }
    let (base, eighths) =
        if units < 1.0 { (0, rest * f64::from(STEPS)) } else { (doublings + 1, (rest - 1.0) * f64::from(STEPS)) };
    // Below eight, and 15 doublings at most.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "between 0 and 8")]
    let whole = eighths as u8;
    let more = outwards && f64::from(whole) < eighths;
    (base * STEPS + whole + u8::from(more)).min(FAR)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn codes_enclose_what_they_stand_for_within_an_eighth() {
        let scale = Scale { origin: 40.0, unit: 0.5 };
        for step in -4_000..4_000_i32 {
            let distance = f64::from(step) * f64::from(step.abs()) * 3e-4;
            let value = scale.origin + distance;
            let [low, high] = [Side::Down, Side::Up].map(|side| scale.decode(scale.encode(value, side)));
            assert!(low <= value && value <= high, "{low} {value} {high}");
            let slack = (distance.abs() / 8.0).at_least(scale.unit / 8.0) * 1.001;
            assert!(value - low <= slack && high - value <= slack, "{low} {value} {high}");
        }
    }

    #[test]
    fn what_is_too_far_is_beyond_everything_above_and_the_least_number_below() {
        let scale = Scale { origin: 0.0, unit: 1.0 };
        assert_eq!(scale.decode(scale.encode(1e9, Side::Up)), f64::INFINITY);
        assert_eq!(scale.decode(scale.encode(-1e9, Side::Down)), -Scale::UNITS_MAX);
        assert_ne!(scale.encode(-1e300, Side::Down), NONE);
    }

    #[test]
    fn every_code_is_its_own() {
        let scale = Scale { origin: 1.0, unit: 2.0 };
        for code in (0..=u8::MAX).filter(|code| *code != NONE && *code != BELOW && code & FAR != FAR) {
            assert_eq!(scale.encode(scale.decode(code), Side::Up), code);
            assert_eq!(scale.encode(scale.decode(code), Side::Down), code);
        }
    }
}

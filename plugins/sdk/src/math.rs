//! The only transcendental functions a detector may use: `libm`, pinned, the same code natively and in WebAssembly.
//!
//! The standard library takes these from the platform: glibc and libm differ in 5 % of `ln` and 10 % of `exp`.

pub use libm::{exp, expm1, floor, lgamma, log as ln, log1p as ln_1p, log10, pow, sqrt};

/// A score as it leaves the detector: narrowed, never below 0, and every NaN made the one canonical NaN, since payload
/// and sign of a NaN are not defined across builds.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a score needs no more precision; beyond the range it is infinite")]
pub fn canonical(score: f64) -> f32 {
    if score.is_nan() { f32::from_bits(0x7fc0_0000) } else { score.max(0.0) as f32 }
}

//! The only transcendental functions a detector may use: `libm`, pinned, the same code natively and in WebAssembly.
//!
//! The standard library takes these from the platform: glibc and libm differ in 5 % of `ln` and 10 % of `exp`.

pub use libm::{exp, expm1, floor, lgamma, log as ln, log1p as ln_1p, log10, pow};

/// Square root; correctly rounded, so the same everywhere.
#[cfg(not(target_arch = "wasm32"))]
#[inline]
pub fn sqrt(number: f64) -> f64 {
    number.sqrt()
}

/// Square root; correctly rounded, so the same everywhere. One instruction: `core` gives access to that of SIMD only, and
/// libm's takes some 100.
#[cfg(target_arch = "wasm32")]
#[inline]
pub fn sqrt(number: f64) -> f64 {
    use core::arch::wasm32::{f64x2_extract_lane, f64x2_splat, f64x2_sqrt};

    #[target_feature(enable = "simd128")]
    fn instruction(number: f64) -> f64 {
        f64x2_extract_lane::<0>(f64x2_sqrt(f64x2_splat(number)))
    }
    instruction(number)
}

/// Limits of numbers with every bit defined: of zeros of different sign the standard library's `max` and `min` may
/// return either, and builds differ in which.
pub trait Limit: Copy {
    /// `self`, or `bound` where that is greater; `self` beside a NaN.
    #[must_use]
    fn at_least(self, bound: Self) -> Self;
    /// `self`, or `bound` where that is smaller; `self` beside a NaN.
    #[must_use]
    fn at_most(self, bound: Self) -> Self;
}

/// Written with "less than" throughout: of that Cranelift makes one instruction, of "greater than" a jump that is
/// mispredicted on noise. LLVM turns "less than" around where a constant stands on its left, as in `at_most(0.0)`: on
/// noise, such a limit is better read from somewhere.
macro_rules! limit {
    ($number:ty) => {
        impl Limit for $number {
            #[inline]
            fn at_least(self, bound: Self) -> Self {
                if self < bound { bound } else { self }
            }

            #[inline]
            fn at_most(self, bound: Self) -> Self {
                if bound < self { bound } else { self }
            }
        }
    };
}

limit!(f32);
limit!(f64);

/// A score as it leaves the detector: narrowed, never below 0, never infinite, and every NaN made the one canonical NaN,
/// since payload and sign of a NaN are not defined across builds.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "a score needs no more precision; what is out of range is cut")]
pub fn canonical(score: f64) -> f32 {
    if score.is_nan() {
        return f32::from_bits(0x7fc0_0000);
    }
    let narrow = score as f32;
    // One comparison for both limits: as bits, infinity and what is below 0 are beyond the greatest number.
    let fits = narrow.to_bits() <= f32::MAX.to_bits();
    if fits { narrow } else { score.at_least(0.0).at_most(f64::from(f32::MAX)) as f32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn limits_keep_the_sign_of_a_zero_and_ignore_a_nan() {
        for (number, bound) in [(-0.0, 0.0), (0.0, -0.0), (1.0, f64::NAN)] {
            assert_eq!(f64::to_bits(number), number.at_least(bound).to_bits());
            assert_eq!(f64::to_bits(number), number.at_most(bound).to_bits());
        }
        assert_eq!((1.0.at_least(2.0), 1.0.at_most(0.5)), (2.0, 0.5));
    }

    #[test]
    fn scores_leave_canonical() {
        let negative_nan = f64::from_bits(0xfff8_0000_0000_0001);
        assert_eq!([negative_nan, f64::NAN].map(|score| canonical(score).to_bits()), [0x7fc0_0000; 2]);
        assert_eq!((canonical(-1.0), canonical(2.5)), (0.0, 2.5));
        assert_eq!([f64::INFINITY, 1e300].map(canonical), [f32::MAX; 2]);
        assert_eq!([-1e-300, f64::NEG_INFINITY].map(|score| canonical(score).to_bits()), [0; 2]);
    }
}

//! How often which size came.

use vedette_sdk::math::{Limit as _, log10};
use vedette_sdk::state::{Damaged, Reader, Writer};

/// Half doublings that are told apart, and what is smaller than all of them.
const BINS: usize = 33;
/// Exponent of the smallest size that is told apart.
const EXPONENT_MIN: i32 = -8;
/// Counts are halved once there are so many: what came long ago counts for less.
const FULL: u16 = 20_000;

/// Counts of sizes, in steps of half a doubling.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Sizes {
    counts: [u16; BINS],
    /// Sum of the counts.
    total: u16,
}

impl Default for Sizes {
    fn default() -> Self {
        Self { counts: [0; BINS], total: 0 }
    }
}

impl Sizes {
    /// How seldom a size came that is as large: −log10 of their share, 0 for the smallest. Of few sizes none is seldom.
    /// `None` before the first.
    pub(crate) fn decades(&self, size: f64) -> Option<f64> {
        let bin = bin(size);
        if self.total == 0 {
            return None;
        }
        if bin == 0 {
            return Some(0.0);
        }
        let (own, beyond) = self.counts.get(bin..)?.split_first()?;
        // Half of those that are told from it by nothing.
        let as_large = u32::from(own - own / 2) + beyond.iter().copied().map(u32::from).sum::<u32>();
        let share = (f64::from(as_large) + 0.5) / (f64::from(self.total) + 1.0);
        Some((-log10(share)).at_least(0.0))
    }

    pub(crate) fn learn(&mut self, size: f64) {
        if self.total >= FULL {
            self.counts.iter_mut().for_each(|count| *count /= 2);
            self.total = self.counts.iter().sum();
        }
        if let Some(count) = self.counts.get_mut(bin(size)) {
            *count += 1;
            self.total += 1;
        }
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        self.counts.iter().flat_map(|count| count.to_le_bytes()).for_each(|byte| out.u8(byte));
    }

    pub(crate) fn load(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut counts = [0; BINS];
        for count in &mut counts {
            *count = u16::from_le_bytes([input.u8()?, input.u8()?]);
        }
        let total: u32 = counts.iter().copied().map(u32::from).sum();
        match u16::try_from(total) {
            Ok(total) if total <= FULL => Ok(Self { counts, total }),
            _ => Err(Damaged),
        }
    }
}

/// The logarithm, read off the bits of the number: the same everywhere.
fn bin(size: f64) -> usize {
    const MANTISSA_BITS: u32 = 52;
    const BIAS: i32 = 1_023;
    /// Mantissa of the square root of two.
    const HALF_DOUBLING: u64 = 0x6_a09e_667f_3bcd;
    let bits = size.abs().to_bits();
    let exponent = i32::try_from(bits >> MANTISSA_BITS).unwrap_or(i32::MAX) - BIAS;
    let is_upper = bits & ((1 << MANTISSA_BITS) - 1) >= HALF_DOUBLING;
    let halves = 2 * (exponent - EXPONENT_MIN) + i32::from(is_upper) + 1;
    usize::try_from(halves).unwrap_or(0).min(BINS - 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bins_are_half_doublings_from_a_256th_to_256() {
        let bins = [0.0, 0.003, 1.0 / 256.0, 0.0055, 0.5, 0.7, 0.71, 1.0, 200.0, 1e300, f64::INFINITY].map(bin);
        assert_eq!(bins, [0, 0, 1, 1, 15, 15, 16, 17, 32, 32, 32]);
    }

    #[test]
    fn a_size_is_as_rare_as_those_that_are_as_large() {
        let mut sizes = Sizes::default();
        assert_eq!(sizes.decades(4.0), None);
        (0..9).for_each(|_| sizes.learn(1.0));
        assert!(sizes.decades(4.0).unwrap() < 1.31, "of nine none is seldom");
        (0..990).for_each(|_| sizes.learn(1.0));
        sizes.learn(4.0);
        let decades = [0.0, 1.0, 4.0, 16.0].map(|size| sizes.decades(size).unwrap());
        assert!(decades[0] == 0.0 && decades[1] < 0.31 && (2.8..2.9).contains(&decades[2]), "{decades:?}");
        assert!((3.2..3.4).contains(&decades[3]), "{decades:?}");
    }

    #[test]
    fn counts_are_halved_when_full() {
        let mut sizes = Sizes::default();
        (0..20_000).for_each(|_| sizes.learn(1.0));
        let before = sizes.decades(64.0);
        (0..10_000).for_each(|_| sizes.learn(8.0));
        assert_eq!(sizes.total, 20_000);
        assert!(sizes.decades(64.0) == before && sizes.decades(8.0).unwrap() < 0.7);
        sizes.learn(8.0);
        assert_eq!(sizes.total, 10_001);
    }
}

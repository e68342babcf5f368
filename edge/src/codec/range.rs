//! Binary range coder with probabilities that learn. The decoder takes any bytes: it ends where the caller's counts say.

/// Half of all: a bit of which nothing is known.
const EVEN: u16 = 1 << 15;
/// Observations after which a probability moves no slower: what was usual in a block may change within it.
const SETTLED: u8 = 60;
/// No probability comes nearer to 0 or 1: 0.001 bits for what always was so, 11 bits for the surprise.
const MARGIN: i32 = 32;

/// The probability that a bit is 1, learnt from those before it.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bit {
    ones: u16,
    seen: u8,
}

impl Default for Bit {
    fn default() -> Self {
        Self::NEW
    }
}

impl Bit {
    /// Knows nothing.
    pub(super) const NEW: Self = Self { ones: EVEN, seen: 0 };

    fn learn(&mut self, bit: bool) {
        // The first observations weigh as much as a good estimator lets them, 1/(n + 1.5).
        let rate = (2 << 16) / (2 * i32::from(self.seen) + 3);
        let ones = i32::from(self.ones);
        let target = if bit { 65_535 } else { 0 };
        // |target − ones| < 2¹⁶ and rate < 2¹⁶: halved, so that the product fits.
        let moved = ones + (((target - ones) * (rate >> 1)) >> 15);
        self.ones = u16::try_from(moved.clamp(MARGIN, 65_535 - MARGIN)).unwrap_or(EVEN);
        self.seen = (self.seen + 1).min(SETTLED);
    }
}

/// Either end of the coder: the model above is written once and cannot differ between them.
pub(super) trait Coder {
    /// Codes one bit. An encoder takes `bit` and returns it; a decoder ignores it and returns what was encoded.
    fn bit(&mut self, model: &mut Bit, bit: bool) -> bool;

    /// The same for a bit that nothing can be learnt about.
    fn even_bit(&mut self, bit: bool) -> bool;

    /// `count` such bits, at most 64, the highest first.
    fn even_bits(&mut self, value: u64, count: u32) -> u64 {
        (0..count).rev().fold(0, |read, at| read << 1 | u64::from(self.even_bit(value >> at & 1 == 1)))
    }

    /// A number below 2^`bits`, the highest bit first, through a tree of `1 << bits` models.
    fn tree(&mut self, models: &mut [Bit], bits: u32, value: usize) -> usize {
        let node = (0..bits)
            .rev()
            .fold(1, |node, at| node << 1 | usize::from(self.bit(&mut models[node], value >> at & 1 == 1)));
        node - (1 << bits)
    }
}

/// Bits to bytes.
#[derive(Debug)]
pub(super) struct Encoder<'a> {
    low: u32,
    high: u32,
    out: &'a mut Vec<u8>,
}

impl<'a> Encoder<'a> {
    /// Appends to `out`.
    pub(super) fn new(out: &'a mut Vec<u8>) -> Self {
        Self { low: 0, high: u32::MAX, out }
    }

    fn code(&mut self, ones: u16, bit: bool) {
        let middle = split(self.low, self.high, ones);
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while (self.low ^ self.high) >> 24 == 0 {
            self.out.push(self.high.to_be_bytes()[0]);
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
        }
    }

    /// Ends with as few bytes as tell the last bits apart; the decoder reads zeros after them.
    pub(super) fn finish(self) {
        for bytes in 0..=4 {
            let rest = u32::MAX.checked_shr(8 * bytes).unwrap_or(0);
            let Some(word) = self.low.checked_add(rest).map(|word| word & !rest) else { continue };
            if word <= self.high {
                self.out.extend(word.to_be_bytes().iter().take(bytes as usize));
                return;
            }
        }
    }
}

impl Coder for Encoder<'_> {
    fn bit(&mut self, model: &mut Bit, bit: bool) -> bool {
        self.code(model.ones, bit);
        model.learn(bit);
        bit
    }

    fn even_bit(&mut self, bit: bool) -> bool {
        self.code(EVEN, bit);
        bit
    }
}

/// Bytes to bits.
#[derive(Debug)]
pub(super) struct Decoder<'a> {
    low: u32,
    high: u32,
    word: u32,
    rest: &'a [u8],
}

impl<'a> Decoder<'a> {
    pub(super) fn new(mut bytes: &'a [u8]) -> Self {
        let word = (0..4).fold(0, |word, _| word << 8 | u32::from(next(&mut bytes)));
        Self { low: 0, high: u32::MAX, word, rest: bytes }
    }

    /// Whether all bytes were read: some left over were not written by the encoder.
    pub(super) fn is_at_end(&self) -> bool {
        self.rest.is_empty()
    }

    fn decode(&mut self, ones: u16) -> bool {
        let middle = split(self.low, self.high, ones);
        let bit = self.word <= middle;
        if bit {
            self.high = middle;
        } else {
            self.low = middle + 1;
        }
        while (self.low ^ self.high) >> 24 == 0 {
            self.low <<= 8;
            self.high = self.high << 8 | 0xff;
            self.word = self.word << 8 | u32::from(next(&mut self.rest));
        }
        bit
    }
}

impl Coder for Decoder<'_> {
    fn bit(&mut self, model: &mut Bit, _: bool) -> bool {
        let bit = self.decode(model.ones);
        model.learn(bit);
        bit
    }

    fn even_bit(&mut self, _: bool) -> bool {
        self.decode(EVEN)
    }
}

/// Where an interval is split: at its lower end or above, and below its upper end.
fn split(low: u32, high: u32, ones: u16) -> u32 {
    let share = (u64::from(high - low) * u64::from(ones)) >> 16;
    low + u32::try_from(share).unwrap_or(u32::MAX)
}

fn next(bytes: &mut &[u8]) -> u8 {
    let Some((first, rest)) = bytes.split_first() else { return 0 };
    *bytes = rest;
    *first
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn encoded(bits: &[bool]) -> Vec<u8> {
        let (mut bytes, mut model) = (Vec::new(), Bit::default());
        let mut encoder = Encoder::new(&mut bytes);
        for bit in bits {
            encoder.bit(&mut model, *bit);
        }
        encoder.finish();
        bytes
    }

    #[test]
    fn what_is_always_so_costs_next_to_nothing() {
        assert!(encoded(&[false; 10_000]).len() <= 6);
        assert!(encoded(&[true; 10_000]).len() <= 6);
        assert_eq!(encoded(&[]).len(), 0);
    }

    proptest! {
        #[test]
        fn bits_come_back(bits in proptest::collection::vec(any::<bool>(), 0..2_000), word: u64) {
            let (mut bytes, mut model) = (Vec::new(), Bit::default());
            let mut encoder = Encoder::new(&mut bytes);
            for bit in &bits {
                encoder.bit(&mut model, *bit);
                encoder.even_bits(word, 3);
            }
            encoder.even_bits(word, 64);
            encoder.finish();
            let (mut decoder, mut model) = (Decoder::new(&bytes), Bit::default());
            for bit in &bits {
                prop_assert_eq!(decoder.bit(&mut model, false), *bit);
                prop_assert_eq!(decoder.even_bits(0, 3), word & 7);
            }
            prop_assert_eq!(decoder.even_bits(0, 64), word);
            prop_assert!(decoder.is_at_end());
        }
    }
}

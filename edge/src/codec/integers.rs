//! Sequences of integers: predicted, then what is left is coded by its size, its sign and its digits.

use super::range::{Bit, Coder};

/// Sizes of what is left of the last two values that are told apart.
const CONTEXTS: usize = 24;
/// A residual's number of bits, 1 to 64, less 1.
const SIZE_BITS: u32 = 6;
/// Highest digits below the leading one that are worth a model.
const DIGITS: u32 = 2;

/// How the next value is guessed from those before it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Predictor {
    /// As the last one.
    Last,
    /// As far from the last one as that from the one before it.
    Line,
    /// The mean of the last few.
    Mean,
    /// As far from the last one as values were apart on average.
    Drift,
}

impl Predictor {
    pub(super) const ALL: [Self; 4] = [Self::Last, Self::Line, Self::Mean, Self::Drift];
    const BITS: u32 = 2;
}

/// What a predictor remembers; means are kept in sixteenths. Wraps rather than overflows: hostile bytes may say anything.
#[derive(Clone, Copy, Debug)]
struct Past {
    last: i64,
    step: i64,
    mean: i64,
    drift: i64,
    seen: bool,
}

impl Past {
    fn new(first: i64) -> Self {
        Self { last: first, step: 0, mean: first.wrapping_mul(16), drift: 0, seen: false }
    }

    fn guess(&self, predictor: Predictor) -> i64 {
        match predictor {
            Predictor::Last => self.last,
            Predictor::Line => self.last.wrapping_add(self.step),
            Predictor::Mean => self.mean.wrapping_add(8) >> 4,
            Predictor::Drift => self.last.wrapping_add(self.drift.wrapping_add(8) >> 4),
        }
    }

    fn learn(&mut self, value: i64) {
        self.step = value.wrapping_sub(self.last);
        self.last = value;
        self.mean = self.mean.wrapping_add(value.wrapping_mul(16).wrapping_sub(self.mean) >> 2);
        let step = self.step.wrapping_mul(16);
        self.drift = if self.seen { self.drift.wrapping_add(step.wrapping_sub(self.drift) >> 2) } else { step };
        self.seen = true;
    }
}

/// The predictor that leaves least, by the number of digits that are left.
pub(super) fn best(values: &[i64]) -> Predictor {
    let Some((first, rest)) = values.split_first() else { return Predictor::Last };
    let (mut past, mut costs) = (Past::new(*first), [0_u64; Predictor::ALL.len()]);
    for value in rest {
        for (cost, predictor) in costs.iter_mut().zip(Predictor::ALL) {
            *cost += u64::from(size(value.wrapping_sub(past.guess(predictor))));
        }
        past.learn(*value);
    }
    let least = costs.iter().zip(Predictor::ALL).min_by_key(|(cost, _)| **cost);
    least.map_or(Predictor::Last, |(_, predictor)| predictor)
}

/// Digits of a residual, its sign among them; 0 for none.
fn size(residual: i64) -> u32 {
    64 - residual.unsigned_abs().leading_zeros() + u32::from(residual != 0)
}

/// What was learnt of one sort of numbers.
#[derive(Clone, Debug)]
pub(super) struct Numbers {
    zero: [[Bit; 16]; CONTEXTS],
    size: [[Bit; 1 << SIZE_BITS]; CONTEXTS],
    sign: [[Bit; 3]; 2],
    digits: [[Bit; 1 << DIGITS]; 65],
}

impl Numbers {
    /// Knows nothing. A constant is copied whole; each bit set by itself would be thousands of stores in each caller.
    const NEW: Self = Self {
        zero: [[Bit::NEW; 16]; CONTEXTS],
        size: [[Bit::NEW; 1 << SIZE_BITS]; CONTEXTS],
        sign: [[Bit::NEW; 3]; 2],
        digits: [[Bit::NEW; 1 << DIGITS]; 65],
    };
}

impl Default for Numbers {
    fn default() -> Self {
        Self::NEW
    }
}

/// The numbers before in one sequence, as far as they say how large the next one is.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Recent {
    /// Sizes of the last two.
    sizes: [usize; 2],
    /// Whether each of the last four was 0, a bit each.
    zeros: usize,
    /// Sign of the last one: 0 for none, 1 positive, 2 negative.
    sign: usize,
}

impl Recent {
    fn context(&self) -> usize {
        // The mean in halves: small sizes are told apart finely, large ones are alike.
        let sum = self.sizes[0] + self.sizes[1];
        if sum < 16 { sum } else { (16 + (sum - 16) / 8).min(CONTEXTS - 1) }
    }

    fn note(&mut self, value: i64, bits: usize) {
        self.sizes = [bits, self.sizes[0]];
        self.zeros = (self.zeros << 1 | usize::from(value == 0)) & 15;
        self.sign = if value == 0 { 0 } else { 1 + usize::from(value < 0) };
    }
}

impl Numbers {
    /// One number of any size.
    pub(super) fn number(&mut self, coder: &mut impl Coder, recent: &mut Recent, value: i64) -> i64 {
        let context = recent.context();
        if coder.bit(&mut self.zero[context][recent.zeros], value == 0) {
            recent.note(0, 0);
            return 0;
        }
        let magnitude = value.unsigned_abs();
        let below_leading = 63_u32.saturating_sub(magnitude.leading_zeros());
        let below_leading = coder.tree(&mut self.size[context], SIZE_BITS, below_leading as usize);
        let was_small = usize::from(below_leading < 3);
        let is_negative = coder.bit(&mut self.sign[was_small][recent.sign], value < 0);
        let shift = u32::try_from(below_leading).unwrap_or(63);
        let modelled = shift.min(DIGITS);
        let plain = shift - modelled;
        let digits = usize::try_from(magnitude >> plain & ((1 << modelled) - 1)).unwrap_or(0);
        let digits = coder.tree(&mut self.digits[below_leading][..1 << modelled], modelled, digits);
        let rest = coder.even_bits(magnitude, plain);
        let magnitude = ((1 << modelled | digits as u64) << plain) | rest;
        let read = if is_negative { magnitude.wrapping_neg() } else { magnitude }.cast_signed();
        recent.note(read, below_leading + 1);
        read
    }

    /// All of `values` after the first, which both ends know. A decoder fills them in.
    pub(super) fn sequence(&mut self, coder: &mut impl Coder, predictor: Predictor, first: i64, values: &mut [i64]) {
        let (mut past, mut recent) = (Past::new(first), Recent::default());
        for value in values {
            let guess = past.guess(predictor);
            *value = guess.wrapping_add(self.number(coder, &mut recent, value.wrapping_sub(guess)));
            past.learn(*value);
        }
    }
}

/// The choice of a predictor.
pub(super) fn predictor(coder: &mut impl Coder, models: &mut [Bit; 4], chosen: Predictor) -> Predictor {
    let at = Predictor::ALL.iter().position(|one| *one == chosen).unwrap_or(0);
    Predictor::ALL[coder.tree(models, Predictor::BITS, at)]
}

#[cfg(test)]
mod tests {
    use super::super::range::{Decoder, Encoder};
    use super::*;
    use proptest::prelude::*;

    fn bytes_of(values: &[i64]) -> usize {
        let mut bytes = Vec::new();
        let mut encoder = Encoder::new(&mut bytes);
        Numbers::default().sequence(&mut encoder, best(values), values[0], &mut values[1..].to_vec());
        encoder.finish();
        bytes.len()
    }

    #[test]
    fn each_shape_finds_its_predictor() {
        assert_eq!(best(&[7; 60]), Predictor::Last);
        assert_eq!(best(&(0..60).map(|n| n * 1_000).collect::<Vec<_>>()), Predictor::Line);
        let alternating: Vec<_> = (0..60).map(|n| 1_000 + n % 2 * 100).collect();
        assert_eq!(best(&alternating), Predictor::Mean);
        let counter: Vec<_> = (0..60).map(|n| n * 1_000 + n % 2 * 100).collect();
        assert_eq!(best(&counter), Predictor::Drift);
        assert!(bytes_of(&[5; 600]) < 6);
        assert!(bytes_of(&(0..600).map(|n| n * 977).collect::<Vec<_>>()) < 10);
    }

    proptest! {
        #[test]
        fn numbers_of_any_size_come_back(
            values in proptest::collection::vec(prop_oneof![any::<i64>(), -9..9_i64, Just(i64::MIN), Just(i64::MAX)], 1..200),
            at in 0..4_usize,
        ) {
            let mut bytes = Vec::new();
            let mut encoder = Encoder::new(&mut bytes);
            Numbers::default().sequence(&mut encoder, Predictor::ALL[at], 3, &mut values.clone());
            encoder.finish();
            let mut read = vec![0; values.len()];
            Numbers::default().sequence(&mut Decoder::new(&bytes), Predictor::ALL[at], 3, &mut read);
            prop_assert_eq!(read, values);
        }
    }
}

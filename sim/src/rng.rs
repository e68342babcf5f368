//! Seeds and the generator behind everything random.

/// Where a simulation starts from. The same seed gives the same run, bit for bit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Seed(pub u64);

/// A seed that is printed if the test that holds it fails.
#[derive(Debug)]
pub struct AnnouncedSeed {
    seed: Seed,
    what: &'static str,
}

/// xoshiro256++ 1.0: 256 bits of state, period 2²⁵⁶ − 1. Not for secrets.
///
/// Source: Blackman and Vigna, "Scrambled linear pseudorandom number generators", ACM TOMS 47, 2021. Seeded through
/// SplitMix64 (Steele, Lea, Flood, OOPSLA 2014) as its authors advise.
#[derive(Clone, Debug)]
pub struct Rng {
    state: [u64; 4],
}

impl Seed {
    /// A generator for one purpose. Purposes do not disturb each other: adding one leaves the others' numbers as they
    /// were, in whatever order they are made.
    pub fn rng(self, purpose: &str) -> Rng {
        Rng::from_seed(self.0 ^ fnv1a(purpose))
    }

    /// A seed for one of many like things, such as one host of a fleet.
    #[must_use]
    pub fn child(self, index: u64) -> Self {
        let mut state = self.0 ^ index.wrapping_mul(0xa076_1d64_78bd_642f);
        Self(splitmix64(&mut state))
    }

    /// Holds the seed so that it is printed when the thread panics while it is held; `what` names the run.
    pub fn announce(self, what: &'static str) -> AnnouncedSeed {
        AnnouncedSeed { seed: self, what }
    }
}

impl std::ops::Deref for AnnouncedSeed {
    type Target = Seed;

    fn deref(&self) -> &Seed {
        &self.seed
    }
}

impl Drop for AnnouncedSeed {
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("simulation `{}` failed with Seed({})", self.what, self.seed.0);
        }
    }
}

impl Rng {
    /// A generator from 64 bits.
    pub fn from_seed(seed: u64) -> Self {
        let mut state = seed;
        Self { state: std::array::from_fn(|_| splitmix64(&mut state)) }
    }

    /// 64 uniform bits.
    pub fn bits(&mut self) -> u64 {
        let [s0, s1, s2, s3] = &mut self.state;
        let result = s0.wrapping_add(*s3).rotate_left(23).wrapping_add(*s0);
        let shifted = *s1 << 17;
        *s2 ^= *s0;
        *s3 ^= *s1;
        *s1 ^= *s2;
        *s0 ^= *s3;
        *s2 ^= shifted;
        *s3 = s3.rotate_left(45);
        result
    }

    /// Uniform in `[0, 1)`, 53 bits.
    pub fn unit(&mut self) -> f64 {
        (self.bits() >> 11) as f64 * (1.0 / (1_u64 << 53) as f64)
    }

    /// Uniform in `0..bound`; `bound` must not be 0. Lemire's multiplication; the bias is below `bound` / 2⁶⁴.
    pub fn below(&mut self, bound: u64) -> u64 {
        assert!(bound > 0, "an empty range has no number");
        let product = u128::from(self.bits()) * u128::from(bound);
        u64::try_from(product >> 64).expect("the high half of a 128-bit product has 64 bits")
    }

    /// True with this probability.
    pub fn chance(&mut self, probability: f64) -> bool {
        self.unit() < probability
    }

    /// One of `choices`, which must not be empty.
    pub fn pick<'a, T>(&mut self, choices: &'a [T]) -> &'a T {
        let index = self.below(choices.len() as u64);
        &choices[usize::try_from(index).expect("an index into a slice fits usize")]
    }

    /// Standard normal. Marsaglia's polar method, second value thrown away to keep the state small.
    pub fn normal(&mut self) -> f64 {
        loop {
            let (x, y) = (2.0 * self.unit() - 1.0, 2.0 * self.unit() - 1.0);
            let square = x * x + y * y;
            if square > 0.0 && square < 1.0 {
                return x * (-2.0 * libm::log(square) / square).sqrt();
            }
        }
    }

    /// Student's t with `freedom` ≥ 1 degrees: heavy tails, infinite variance up to 2 degrees.
    pub fn student_t(&mut self, freedom: u32) -> f64 {
        assert!(freedom > 0, "Student's t needs a degree of freedom");
        let chi_square: f64 = (0..freedom).map(|_| self.normal()).map(|normal| normal * normal).sum();
        self.normal() / (chi_square.max(f64::MIN_POSITIVE) / f64::from(freedom)).sqrt()
    }

    /// Exponential with this mean.
    pub fn exponential(&mut self, mean: f64) -> f64 {
        -mean * libm::log1p(-self.unit())
    }

    /// Poisson with this mean: Knuth's product below 30, a rounded normal above (error under 1 % of a standard
    /// deviation there, and no loop that grows with the mean).
    pub fn poisson(&mut self, mean: f64) -> u64 {
        if mean.is_nan() || mean <= 0.0 {
            return 0;
        }
        if mean >= 30.0 {
            return whole(mean + mean.sqrt() * self.normal());
        }
        let limit = libm::exp(-mean);
        let mut product = self.unit();
        let mut count = 0;
        while product > limit {
            product *= self.unit();
            count += 1;
        }
        count
    }
}

/// The nearest whole number that `u64` can hold; 0 for NaN.
#[expect(clippy::cast_possible_truncation, reason = "a float cast saturates, which is what is wanted")]
pub(crate) fn whole(value: f64) -> u64 {
    value.round() as u64
}

fn splitmix64(state: &mut u64) -> u64 {
    *state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
    let mut mixed = *state;
    mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    mixed ^ (mixed >> 31)
}

/// FNV-1a, 64 bits: spreads purposes' names over seeds.
fn fnv1a(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn generators_give_the_published_numbers() {
        let mut state = 1_234_567;
        let split: Vec<_> = (0..3).map(|_| splitmix64(&mut state)).collect();
        assert_eq!(split, [6_457_827_717_110_365_317, 3_203_168_211_198_807_973, 9_817_491_932_198_370_423]);

        let mut rng = Rng { state: [1, 2, 3, 4] };
        let bits: Vec<_> = (0..5).map(|_| rng.bits()).collect();
        assert_eq!(
            bits,
            [41_943_041, 58_720_359, 3_588_806_011_781_223, 3_591_011_842_654_386, 9_228_616_714_210_784_205]
        );
    }

    #[test]
    fn purposes_and_children_differ_and_repeat() {
        let seed = Seed(7);
        assert_eq!(seed.rng("a").bits(), seed.rng("a").bits());
        assert_ne!(seed.rng("a").bits(), seed.rng("b").bits());
        assert_ne!(seed.child(0), seed.child(1));
        assert_ne!(seed.child(0), Seed(8).child(0));
    }

    /// Mean and variance of `draws` values.
    fn moments(draws: u32, mut draw: impl FnMut() -> f64) -> (f64, f64) {
        let values: Vec<f64> = (0..draws).map(|_| draw()).collect();
        let mean = values.iter().sum::<f64>() / f64::from(draws);
        let variance = values.iter().map(|value| (value - mean) * (value - mean)).sum::<f64>() / f64::from(draws);
        (mean, variance)
    }

    #[test]
    fn distributions_have_their_moments() {
        let mut rng = Rng::from_seed(1);
        let close = |(mean, variance): (f64, f64), wanted_mean: f64, wanted_variance: f64| {
            assert!((mean - wanted_mean).abs() < 0.03 * wanted_mean.max(1.0), "mean {mean}, wanted {wanted_mean}");
            let off = (variance - wanted_variance).abs() / wanted_variance;
            assert!(off < 0.06, "variance {variance}, wanted {wanted_variance}");
        };
        close(moments(100_000, || rng.unit()), 0.5, 1.0 / 12.0);
        close(moments(100_000, || rng.normal()), 0.0, 1.0);
        close(moments(100_000, || rng.exponential(3.0)), 3.0, 9.0);
        close(moments(100_000, || rng.poisson(4.0) as f64), 4.0, 4.0);
        close(moments(100_000, || rng.poisson(80.0) as f64), 80.0, 80.0);
        close(moments(100_000, || rng.student_t(10)), 0.0, 10.0 / 8.0);
    }

    #[test]
    fn below_reaches_every_number_and_no_other() {
        let mut rng = Rng::from_seed(3);
        let mut seen = [0_u32; 6];
        for _ in 0..6_000 {
            seen[usize::try_from(rng.below(6)).unwrap()] += 1;
        }
        assert!(seen.iter().all(|&count| (850..1_150).contains(&count)), "{seen:?}");
    }
}

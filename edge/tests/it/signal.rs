//! Seeded signals such as a healthy host has, and the random numbers they are made of.

/// SplitMix64 (Steele, Lea, Flood 2014).
#[derive(Clone, Debug)]
pub(crate) struct Random(pub(crate) u64);

impl Random {
    pub(crate) fn bits(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// In (0, 1).
    pub(crate) fn unit(&mut self) -> f64 {
        ((self.bits() >> 11) as f64 + 0.5) / 9_007_199_254_740_992.0
    }

    /// Box and Muller.
    pub(crate) fn normal(&mut self) -> f64 {
        (-2.0 * self.unit().ln()).sqrt() * (std::f64::consts::TAU * self.unit()).cos()
    }

    pub(crate) fn exponential(&mut self, mean: f64) -> f64 {
        -self.unit().ln() * mean
    }

    pub(crate) fn chance(&mut self, p: f64) -> bool {
        self.unit() < p
    }

    /// Student's t with 3 degrees of freedom.
    pub(crate) fn heavy(&mut self) -> f64 {
        let chi: f64 = (0..3).map(|_| self.normal().powi(2)).sum();
        self.normal() / (chi / 3.0).sqrt()
    }
}

/// Shapes of a healthy host's series; spread is about 1 around a level of 50.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(crate) enum Shape {
    Gaussian,
    HeavyTail,
    Autoregressive,
    Bursts,
    Intermittent,
    Counts,
    Diurnal,
    Constant,
}

pub(crate) const SHAPES: [Shape; 8] = [
    Shape::Gaussian,
    Shape::HeavyTail,
    Shape::Autoregressive,
    Shape::Bursts,
    Shape::Intermittent,
    Shape::Counts,
    Shape::Diurnal,
    Shape::Constant,
];

/// One series' generator.
#[derive(Clone, Debug)]
pub(crate) struct Signal {
    pub(crate) shape: Shape,
    random: Random,
    state: f64,
    burst_left: f64,
    burst_height: f64,
}

impl Signal {
    pub(crate) fn new(shape: Shape, seed: u64) -> Self {
        Self { shape, random: Random(seed), state: 0.0, burst_left: 0.0, burst_height: 0.0 }
    }

    /// The value at this second of the day; `activity` is what the whole host is busy with, usually 0.
    pub(crate) fn next(&mut self, second: u64, activity: f64) -> f64 {
        let noise = self.random.normal();
        let quiet = match self.shape {
            Shape::Gaussian => noise,
            Shape::HeavyTail => self.random.heavy(),
            Shape::Autoregressive => {
                self.state = 0.95 * self.state + 0.312 * noise;
                self.state
            }
            Shape::Bursts => noise + self.burst(1.0 / 400.0, 4.0, 10.0),
            Shape::Intermittent => return (self.burst(1.0 / 120.0, 1.5, 3.0) + activity).max(0.0),
            Shape::Counts => return self.poisson(3.0 + activity.max(0.0)),
            Shape::Diurnal => noise + 10.0 * (second as f64 / 86_400.0 * std::f64::consts::TAU).sin(),
            Shape::Constant => 0.0,
        };
        50.0 + quiet + activity
    }

    /// Bursts that begin with probability `rate` a second, of exponential length and height.
    fn burst(&mut self, rate: f64, seconds: f64, height: f64) -> f64 {
        if self.burst_left <= 0.0 {
            if !self.random.chance(rate) {
                return 0.0;
            }
            self.burst_left = self.random.exponential(seconds);
            self.burst_height = self.random.exponential(height);
        }
        self.burst_left -= 1.0;
        self.burst_height * (0.8 + 0.4 * self.random.unit())
    }

    /// Knuth's product method.
    fn poisson(&mut self, mean: f64) -> f64 {
        let limit = (-mean.min(500.0)).exp();
        let (mut count, mut product) = (0.0, self.random.unit());
        while product > limit {
            count += 1.0;
            product *= self.random.unit();
        }
        count
    }
}

/// What a whole host does now and then: habitual jobs that touch series of many families at once.
#[derive(Clone, Debug)]
pub(crate) struct Jobs {
    random: Random,
    left: u32,
    height: f64,
}

/// Mean seconds between two runs, seconds that one lasts, height in spreads; each run differs by a fifth.
const JOBS: [(f64, f64, f64); 3] = [(600.0, 2.0, 8.0), (1_800.0, 4.0, 5.0), (3_600.0, 6.0, 12.0)];

impl Jobs {
    pub(crate) fn new(seed: u64) -> Self {
        Self { random: Random(seed), left: 0, height: 0.0 }
    }

    #[expect(clippy::cast_possible_truncation, reason = "a few seconds")]
    pub(crate) fn next(&mut self) -> f64 {
        if self.left > 0 {
            self.left -= 1;
            return self.height;
        }
        for (apart, seconds, height) in JOBS {
            if self.random.chance(1.0 / apart) {
                self.left = (seconds * (0.8 + 0.4 * self.random.unit())).round() as u32;
                self.height = height * (0.8 + 0.4 * self.random.unit());
            }
        }
        0.0
    }
}

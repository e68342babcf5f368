//! How often a template appears: the last seconds, and what is usual.

use crate::tail::Prediction;
use vedette_sdk::Sample;
use vedette_sdk::math::Limit as _;
use vedette_sdk::state::{Damaged, Reader, Writer};

/// Seconds that are judged together, so that lines of one occasion count once.
pub(crate) const WINDOW_S: usize = 5;
/// A template that was never seen counts as one line in the time watched before it, within these bounds.
const PRIOR_S_MIN: f64 = 10.0;
const PRIOR_S_MAX: f64 = 100.0;
/// Windows beyond this many deviations are learnt as if they were there.
const WINSOR: f64 = 3.0;

/// Counts of the last seconds and exponentially weighted mean and variance of such windows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    seconds: [u32; WINDOW_S],
    /// Part of a second that has passed since the newest of `seconds` began.
    into_ms: u32,
    mean: f64,
    variance: f64,
    learnt_s: f64,
    /// Time without a line that is not yet in mean and variance.
    silent_s: f64,
}

impl Rate {
    pub(crate) fn new() -> Self {
        Self { seconds: [0; WINDOW_S], into_ms: 0, mean: 0.0, variance: 0.0, learnt_s: 0.0, silent_s: 0.0 }
    }

    /// Lines within the window.
    #[inline]
    pub(crate) fn window(&self) -> f64 {
        self.seconds.iter().map(|count| f64::from(*count)).sum()
    }

    /// Moves the window by the sample's time and adds its lines.
    #[inline]
    pub(crate) fn count(&mut self, sample: Sample) {
        self.into_ms = self.into_ms.saturating_add(sample.dt_ms);
        let passed = (self.into_ms / 1_000) as usize;
        self.into_ms %= 1_000;
        let kept = WINDOW_S.saturating_sub(passed);
        self.seconds.copy_within(WINDOW_S - kept.., 0);
        self.seconds[kept..].fill(0);
        let newest = &mut self.seconds[WINDOW_S - 1];
        *newest = newest.saturating_add(whole(sample.value));
    }

    /// What the next window is expected to hold, for a template that was born after `birth_s` of watching.
    pub(crate) fn predict(&self, birth_s: f64) -> Prediction {
        let prior_s = birth_s.at_least(PRIOR_S_MIN).at_most(PRIOR_S_MAX);
        let prior_mean = WINDOW_S as f64 / prior_s;
        let prior_variance = prior_mean + prior_mean * prior_mean;
        let (mean, variance, learnt_s) = self.settled();
        let share = prior_s / (prior_s + learnt_s);
        let mixed = |prior: f64, learnt: f64| prior * share + learnt * (1.0 - share);
        let between = share * (1.0 - share) * (prior_mean - mean) * (prior_mean - mean);
        let mean = mixed(prior_mean, mean);
        Prediction { mean, variance: (mixed(prior_variance, variance) + between).at_least(mean) }
    }

    /// Mean, variance and learnt time with the silence counted in.
    fn settled(&self) -> (f64, f64, f64) {
        if self.silent_s == 0.0 {
            return (self.mean, self.variance, self.learnt_s);
        }
        let learnt_s = self.learnt_s + self.silent_s;
        let kept = self.learnt_s / learnt_s;
        (kept * self.mean, kept * (self.variance + (1.0 - kept) * self.mean * self.mean), learnt_s)
    }

    /// Learns the present window; silence is only added up.
    #[inline]
    pub(crate) fn learn(&mut self, sample: Sample, birth_s: f64, memory_s: f64) {
        if sample.gap() {
            return;
        }
        let dt_s = f64::from(sample.dt_ms) * 0.001;
        let window = self.window();
        if window == 0.0 {
            self.silent_s += dt_s;
            return;
        }
        let predicted = self.predict(birth_s);
        let bounded = window.at_most(predicted.mean + WINSOR * predicted.deviation() + 1.0);
        (self.mean, self.variance, self.learnt_s) = self.settled();
        self.silent_s = 0.0;
        self.learnt_s = self.learnt_s.at_most(memory_s);
        let share = dt_s / (self.learnt_s + dt_s).at_least(f64::MIN_POSITIVE);
        let deviation = bounded - self.mean;
        self.mean += share * deviation;
        self.variance = (1.0 - share) * (self.variance + share * deviation * deviation);
        self.learnt_s += dt_s;
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        self.seconds.iter().for_each(|count| out.u32(*count));
        out.u32(self.into_ms);
        out.f64s(&[self.mean, self.variance, self.learnt_s, self.silent_s]);
    }

    pub(crate) fn load(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut seconds = [0; WINDOW_S];
        seconds.iter_mut().try_for_each(|count| input.u32().map(|read| *count = read))?;
        let into_ms = input.u32()?;
        let [mean, variance, learnt_s, silent_s] = input.f64s()?;
        Ok(Self { seconds, into_ms, mean, variance, learnt_s, silent_s })
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a count of lines, checked before")]
fn whole(count: f64) -> u32 {
    count as u32
}

//! How often a template appears: the last seconds, and what is usual.

use crate::tail::Prediction;
use vedette_sdk::Sample;
use vedette_sdk::math::Limit as _;
use vedette_sdk::state::{Damaged, Reader, Writer};

/// Seconds that are judged together, so that lines of one occasion count once.
const WINDOW_S: u32 = 5;
pub(crate) const WINDOW_MS: u64 = WINDOW_S as u64 * 1_000;
/// Room for the seconds of a window: a power of two.
const RING: u32 = 8;
/// A template that was never seen counts as one line in the time watched before it, within these bounds.
const PRIOR_S_MIN: f64 = 10.0;
const PRIOR_S_MAX: f64 = 100.0;
/// Windows beyond this many deviations are learnt as if they were there.
const WINSOR: f64 = 3.0;

/// Lines of the last seconds of a template's life.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(crate) struct Window {
    /// Their sum: a whole number.
    lines: f64,
    /// Lines of each second, in a ring of which those older than the window are 0.
    seconds: [u32; RING as usize],
    /// The second of its life that the window ends with; of no meaning while it is empty.
    newest: u32,
}

impl Window {
    /// Lines within the window.
    #[inline]
    pub(crate) fn lines(&self) -> f64 {
        self.lines
    }

    #[inline]
    pub(crate) fn is_empty(&self) -> bool {
        self.lines == 0.0
    }

    /// Moves the window to this age of the template and adds lines.
    #[inline]
    pub(crate) fn count(&mut self, age_ms: u64, lines: u32) {
        let second = second(age_ms);
        let passed = if self.is_empty() { 0 } else { second.wrapping_sub(self.newest) };
        for back in 0..passed.min(WINDOW_S) {
            let oldest = second.wrapping_sub(WINDOW_S).wrapping_sub(back);
            self.lines -= f64::from(core::mem::take(&mut self.seconds[(oldest % RING) as usize]));
        }
        self.newest = second;
        let newest = &mut self.seconds[(second % RING) as usize];
        let added = lines.min(u32::MAX - *newest);
        *newest += added;
        self.lines += f64::from(added);
    }

    /// Seconds are written oldest first, wherever the ring stands.
    fn save(&self, out: &mut Writer) {
        for back in (0..WINDOW_S).rev() {
            let at = self.newest.wrapping_sub(back) % RING;
            out.u32(if self.is_empty() { 0 } else { self.seconds[at as usize] });
        }
    }

    fn load(age_ms: u64, input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let mut window = Self { newest: second(age_ms), ..Self::default() };
        for back in (0..WINDOW_S).rev() {
            let lines = input.u32()?;
            window.seconds[(window.newest.wrapping_sub(back) % RING) as usize] = lines;
            window.lines += f64::from(lines);
        }
        Ok(window)
    }
}

/// The second of an age; it wraps around after 136 years.
#[inline]
#[expect(clippy::cast_possible_truncation, reason = "wraps around, as does what it is compared with")]
fn second(age_ms: u64) -> u32 {
    (age_ms / 1_000) as u32
}

/// Exponentially weighted mean and variance of such windows.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Rate {
    mean: f64,
    variance: f64,
    learnt_s: f64,
    /// What stands in for history: time watched before the template appeared, and one line in it.
    prior_s: f64,
    prior_mean: f64,
}

impl Rate {
    /// The rate of a template that appeared after so much time.
    pub(crate) fn born(birth_ms: u64) -> Self {
        let prior_s = (birth_ms as f64 * 0.001).at_least(PRIOR_S_MIN).at_most(PRIOR_S_MAX);
        let prior_mean = f64::from(WINDOW_S) / prior_s;
        Self { mean: 0.0, variance: 0.0, learnt_s: 0.0, prior_s, prior_mean }
    }

    /// What the next window is expected to hold.
    #[inline]
    pub(crate) fn predict(&self) -> Prediction {
        let share = self.prior_s / (self.prior_s + self.learnt_s);
        let mixed = |prior: f64, learnt: f64| prior * share + learnt * (1.0 - share);
        let apart = self.prior_mean - self.mean;
        let mean = mixed(self.prior_mean, self.mean);
        let variance = mixed(self.prior_mean + self.prior_mean * self.prior_mean, self.variance);
        Prediction { mean, variance: (variance + share * (1.0 - share) * (apart * apart)).at_least(mean) }
    }

    /// Counts time without a line into mean and variance.
    #[inline]
    pub(crate) fn settle(&mut self, silent_ms: u64) {
        if silent_ms > 0 {
            self.settle_silence(silent_ms);
        }
    }

    #[cold]
    fn settle_silence(&mut self, silent_ms: u64) {
        let learnt_s = self.learnt_s + silent_ms as f64 * 0.001;
        let kept = self.learnt_s / learnt_s;
        self.variance = kept * (self.variance + (1.0 - kept) * self.mean * self.mean);
        self.mean *= kept;
        self.learnt_s = learnt_s;
    }

    /// Learns a window with lines in it, of which `predicted` was expected.
    #[inline]
    pub(crate) fn learn(&mut self, sample: Sample, lines: f64, predicted: &Prediction, memory_s: f64) {
        if sample.gap() {
            return;
        }
        let bounded = if predicted.is_beyond(lines - 1.0, WINSOR) {
            predicted.mean + WINSOR * predicted.deviation() + 1.0
        } else {
            lines
        };
        let dt_s = f64::from(sample.dt_ms) * 0.001;
        let learnt_s = self.learnt_s.at_most(memory_s);
        self.learnt_s = learnt_s + dt_s;
        let share = dt_s / self.learnt_s.at_least(f64::MIN_POSITIVE);
        let deviation = bounded - self.mean;
        self.mean += share * deviation;
        self.variance = (1.0 - share) * (self.variance + share * deviation * deviation);
    }
}

/// A template's window and rate as one state.
pub(crate) fn save(window: &Window, rate: &Rate, out: &mut Writer) {
    window.save(out);
    out.f64s(&[rate.mean, rate.variance, rate.learnt_s]);
}

/// Takes what [`save`] wrote of a template that was born then and is of this age; the prior follows from the birth.
pub(crate) fn load(birth_ms: u64, age_ms: u64, input: &mut Reader<'_>) -> Result<(Window, Rate), Damaged> {
    let window = Window::load(age_ms, input)?;
    let [mean, variance, learnt_s] = input.f64s()?;
    Ok((window, Rate { mean, variance, learnt_s, ..Rate::born(birth_ms) }))
}

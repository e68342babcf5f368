//! The trend over one span of time, against the history of trends over such spans.

use vedette_sdk::Sample;
use vedette_sdk::math::{Limit as _, sqrt};
use vedette_sdk::robust::{Envelope, median3, prior_share};
use vedette_sdk::state::{Damaged, Reader, Writer};

/// Values of a window: three groups of three.
pub(crate) const VALUES: u32 = 9;
const SLOTS: usize = VALUES as usize;
/// Windows that are learnt before one is judged.
pub(crate) const WARM_UP_MOVES: u32 = 12;
/// What a stock moves by within seconds when nothing in particular happens: a log rotated, a process started. Stands in
/// for history as in the `level` detector, and grows with the square root of the step as a random walk does.
const PRIOR_MOVE: f64 = 2e-4;
const PRIOR_WEIGHT: f64 = 3_600.0;
/// Ordinary moves reach this many scales.
const REACH: f64 = 3.0;
/// Steps between the middles of the first and the last group.
const MOVE_STEPS: f64 = 6.0;

/// A trend towards exhaustion.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Trend {
    /// Significance times nearness, before compression.
    pub(crate) score: f64,
    /// Share of the stock per second.
    pub(crate) slope_per_s: f64,
    /// Time between the values it was seen in.
    pub(crate) step_ms: u32,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Horizon {
    least_step_ms: u32,
    /// Oldest first from `next` on, once `filled`.
    window: [f32; SLOTS],
    next: usize,
    filled: usize,
    step_ms: u32,
    since_ms: u32,
    moves: Envelope,
    learnt: u32,
    latest: f64,
    before: f64,
    slope_per_s: f64,
}

impl Horizon {
    pub(crate) fn new(least_step_ms: u32) -> Self {
        Self {
            least_step_ms,
            window: [0.0; SLOTS],
            next: 0,
            filled: 0,
            step_ms: 0,
            since_ms: 0,
            moves: Envelope::of(0.0),
            learnt: 0,
            latest: 0.0,
            before: 0.0,
            slope_per_s: 0.0,
        }
    }

    pub(crate) fn is_warm(&self) -> bool {
        self.learnt >= WARM_UP_MOVES
    }

    /// The trend in the last two windows.
    #[inline]
    pub(crate) fn trend(&self) -> Option<Trend> {
        let score = self.latest.at_most(self.before);
        (score > 0.0).then_some(Trend { score, slope_per_s: self.slope_per_s, step_ms: self.step_ms })
    }

    #[inline]
    pub(crate) fn observe(&mut self, share: f64, resolution: f64, outlook: f64, sample: Sample) {
        self.since_ms = self.since_ms.saturating_add(sample.dt_ms);
        if self.filled > 0 && u64::from(self.since_ms) * 20 < u64::from(self.least_step_ms) * 19 {
            return;
        }
        let step_ms = core::mem::take(&mut self.since_ms);
        let (step, usual) = (u64::from(step_ms), u64::from(self.step_ms));
        if sample.gap() || step * 2 > usual * 3 || step * 3 < usual * 2 {
            self.restart(step_ms);
        }
        self.window[self.next] = narrowed(share);
        self.next = (self.next + 1) % SLOTS;
        self.filled = (self.filled + 1).min(SLOTS);
        if self.filled == SLOTS {
            self.judge(share, resolution, outlook, sample.hold());
        }
    }

    /// Values of another pace or from before a gap cannot be in one window with those to come.
    fn restart(&mut self, step_ms: u32) {
        self.step_ms = step_ms.max(self.least_step_ms);
        self.filled = 0;
        self.next = 0;
        (self.latest, self.before) = (0.0, 0.0);
    }

    fn judge(&mut self, share: f64, resolution: f64, outlook: f64, hold: bool) {
        let moved = self.moved();
        let prior = PRIOR_MOVE * sqrt(f64::from(self.least_step_ms) * 0.001) * prior_share(self.learnt, PRIOR_WEIGHT);
        let floor = prior.at_least(resolution).at_least(f64::MIN_POSITIVE);
        self.before = self.latest;
        self.latest = 0.0;
        if moved > 0.0 && self.is_warm() {
            let span_s = MOVE_STEPS * f64::from(self.step_ms) * 0.001;
            self.slope_per_s = moved / span_s;
            let exhausted_in_s = (1.0 - share).at_least(0.0) / self.slope_per_s;
            let believed_s = outlook * span_s;
            let nearness = believed_s / (believed_s + exhausted_in_s);
            self.latest = moved / floor.at_least(self.moves.height() / REACH) * nearness;
        }
        if !hold {
            self.learn(moved.abs(), floor);
        }
    }

    fn learn(&mut self, distance: f64, floor: f64) {
        if self.is_warm() {
            // Windows overlap: one trend shall not count as many.
            let share = f64::from(self.step_ms) / f64::from(self.least_step_ms) / MOVE_STEPS;
            self.moves.learn(distance, REACH * floor, share, self.learnt);
        } else if distance > self.moves.height() {
            self.moves = Envelope::of(distance);
        }
        self.learnt = self.learnt.saturating_add(1);
    }

    /// Twice the smaller move between the medians of neighbouring groups; 0 unless both go the same way.
    #[inline]
    fn moved(&self) -> f64 {
        let at = |offset: usize| f64::from(self.window[(self.next + offset) % SLOTS]);
        let group = |first: usize| median3(at(first), at(first + 1), at(first + 2));
        let (first, second) = (group(3) - group(0), group(6) - group(3));
        match () {
            () if first > 0.0 && second > 0.0 => 2.0 * first.at_most(second),
            () if first < 0.0 && second < 0.0 => 2.0 * first.at_least(second),
            () => 0.0,
        }
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        out.f32s(&self.window);
        [self.next, self.filled].iter().for_each(|slot| out.u8(u8::try_from(*slot).expect("at most SLOTS")));
        [self.learnt, self.step_ms, self.since_ms].iter().for_each(|count| out.u32(*count));
        out.f64s(&[self.moves.height(), self.latest, self.before, self.slope_per_s]);
    }

    pub(crate) fn load(&mut self, input: &mut Reader<'_>) -> Result<(), Damaged> {
        self.window = input.f32s()?;
        (self.next, self.filled) = (input.u8()?.into(), input.u8()?.into());
        if self.next >= SLOTS || self.filled > SLOTS {
            return Err(Damaged);
        }
        (self.learnt, self.step_ms, self.since_ms) = (input.u32()?, input.u32()?, input.u32()?);
        let [moves, latest, before, slope_per_s] = input.f64s()?;
        *self = Self { moves: Envelope::of(moves), latest, before, slope_per_s, ..*self };
        Ok(())
    }
}

#[expect(clippy::cast_possible_truncation, reason = "a share of a stock; seven digits are beyond what sources express")]
fn narrowed(share: f64) -> f32 {
    share as f32
}

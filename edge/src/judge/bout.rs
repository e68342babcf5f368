//! Evidence that adds up while a series departs: a CUSUM of calibrated surprises (Page 1954).
//!
//! Each verdict adds its surprise, at most [`Bout::observe`]'s ceiling, less [`Pace::drift`]; a healthy series loses more than
//! it gains, so the sum stays at zero but for bouts. A bout's height says how much and for how long together: a spike
//! gives a low one, a modest departure that stays a high one. The heights of bouts are calibrated in turn.

use super::pace::{News, Pace};

/// A verdict below this speaks against the bout: its height halves.
const CALM: f32 = 1.0;
/// From this surprise on a verdict begins a bout.
const BEGIN: f32 = 2.0;
/// Scores of a bout that are kept until it is known what it was.
const KEPT: usize = 12;

/// One bout, or none.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Bout {
    /// Sum of the evidence, 0 for no bout.
    pub(crate) height: f32,
    /// The most that it was.
    pub(crate) peak: f32,
    /// Its height when an episode opened on it.
    pub(crate) alarmed: f32,
    /// Decades by which the strongest case so far met or missed what was asked, if there was one.
    pub(crate) beyond: Option<f32>,
    /// It came to nothing only because the series did the same a day or a week before.
    pub(crate) is_habit: bool,
    /// The highest raw score in it.
    pub(crate) score: f32,
    pub(crate) ticks: u16,
    kept: [f32; KEPT],
    len: u8,
    stride: u16,
}

impl Bout {
    /// Takes a verdict: its relative score and its surprise, which counts as `ceiling` at most. Of a series whose scores
    /// follow one another, each is `news` for a share only, unless it is beyond all that was seen.
    pub(crate) fn observe(&mut self, score: f32, relative: f32, surprise: f32, ceiling: f32, pace: Pace, news: News) {
        let share = if surprise >= ceiling { news.if_extreme } else { news.usually };
        let gain = share * (surprise.min(ceiling) - pace.drift());
        self.height = if surprise < CALM { self.height / 2.0 - pace.drift() } else { self.height + gain };
        self.height = self.height.max(0.0);
        self.peak = self.peak.max(self.height);
        self.score = self.score.max(score);
        self.keep(relative);
        self.ticks = self.ticks.saturating_add(1);
    }

    pub(crate) fn is_on(&self) -> bool {
        self.height > 0.0
    }

    /// Whether a verdict of this surprise begins one.
    pub(crate) fn begins(surprise: f32) -> bool {
        surprise > BEGIN
    }

    /// Keeps a regular sample of the scores in bounded room.
    fn keep(&mut self, relative: f32) {
        self.stride = self.stride.max(1);
        if !self.ticks.is_multiple_of(self.stride) {
            return;
        }
        if usize::from(self.len) == KEPT {
            (0..KEPT / 2).for_each(|at| self.kept[at] = self.kept[2 * at]);
            self.len /= 2;
            self.stride = self.stride.saturating_mul(2);
            if !self.ticks.is_multiple_of(self.stride) {
                return;
            }
        }
        self.kept[usize::from(self.len)] = relative;
        self.len += 1;
    }

    /// The scores that were kept, and how many each stands for.
    pub(crate) fn scores(&self) -> (&[f32], f32) {
        (&self.kept[..usize::from(self.len)], f32::from(self.stride.max(1)))
    }
}

//! A stay of a series on one side of its baseline: a burst, a ramp, or a new level.
//!
//! Bursts are usual and have to be learnt, what lasts is a departure and must not be learnt away while it is news, and a
//! level that was kept for the length of the memory is the new baseline. Which of them it is shows late: so the reach of
//! bursts is learnt beside, and takes effect once the series is back.

use crate::baseline::{BURST, Step};
use vedette_sdk::math::Limit as _;
use vedette_sdk::robust::{Envelope, Youth};
use vedette_sdk::state::{Damaged, Reader, Writer};

/// Location and spread learn from an excursion of up to this time as from anything else.
const BURST_S: f64 = 20.0;
/// After that values pull with this part of their weight.
const SUSTAINED: f64 = 0.25;
/// Values back inside end an excursion of up to this time in as much time as it lasted, and longer ones faster.
const BACK_S: f64 = 20.0;
/// The first value of an excursion counts as no more than this, so that slow series learn their bursts too.
const FIRST_S: f64 = 1.0;
/// Memory of the mean by which a level is followed.
const RECENT_S: f64 = 20.0;
/// A level is kept while its recent mean stays within this part of its distance from the baseline. A steady ramp leaves
/// that until it has lasted for four times the memory.
const KEPT_WITHIN: f64 = 0.25;
/// After so many times the memory any level is adopted, however restless.
const MEMORIES_MAX: f64 = 12.0;

/// How a value may move the baseline.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Pull {
    /// As any other value.
    Whole,
    /// With this part of its weight.
    Part(f64),
    /// The level it is at is usual now.
    Adopt,
}

/// A value that is beyond the limit, or that comes during an excursion.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Beside<'a> {
    pub(crate) value: f64,
    /// Values were missed before it.
    pub(crate) gap: bool,
    pub(crate) deviation: f64,
    /// Scale of the baseline, and the deviation beyond which a value is outside.
    pub(crate) core: f64,
    pub(crate) limit: f64,
    pub(crate) step: &'a Step,
    pub(crate) youth: &'a Youth,
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Excursion {
    /// Time outside on one side less time back inside since; 0 while there is no excursion.
    aside_s: f64,
    /// 0 above, 1 below.
    side: usize,
    /// The reach that this side would have if this is a burst, in scales.
    reach: Envelope,
    recent: f64,
    /// The level that is being kept, and for how long it was.
    anchor: f64,
    kept_s: f64,
}

impl Excursion {
    pub(crate) const NONE: Self =
        Self { aside_s: 0.0, side: 0, reach: Envelope::of(0.0), recent: 0.0, anchor: 0.0, kept_s: 0.0 };

    #[inline]
    pub(crate) fn is_on(&self) -> bool {
        self.aside_s > 0.0
    }

    /// Follows a value that is beyond the limit or comes during an excursion. `reach` is that of ordinary bursts above
    /// and below, in scales: a burst that is over is counted in.
    #[cold]
    pub(crate) fn follow(&mut self, beside: &Beside<'_>, reach: &mut [Envelope; 2]) -> Pull {
        let outside = beside.deviation.abs() > beside.limit;
        let side = usize::from(beside.deviation < 0.0);
        if beside.gap {
            *self = Self::NONE;
        }
        if self.is_on() && outside && side != self.side {
            self.end(reach);
        }
        match (self.is_on(), outside) {
            (false, false) => Pull::Whole,
            (false, true) => {
                self.begin(beside, side, reach[side]);
                Pull::Whole
            }
            (true, true) => self.stay(beside),
            (true, false) => self.come_back(beside, reach),
        }
    }

    fn begin(&mut self, beside: &Beside<'_>, side: usize, reach: Envelope) {
        let (value, dt_s) = (beside.value, beside.step.dt_s);
        *self = Self { aside_s: dt_s.at_most(FIRST_S), side, reach, recent: value, anchor: value, kept_s: 0.0 };
        self.learn_reach(beside);
    }

    fn stay(&mut self, beside: &Beside<'_>) -> Pull {
        self.aside_s += beside.step.dt_s;
        self.learn_reach(beside);
        self.keep(beside);
        if self.is_kept(beside.step) { Pull::Adopt } else { self.pull() }
    }

    fn come_back(&mut self, beside: &Beside<'_>, reach: &mut [Envelope; 2]) -> Pull {
        self.aside_s -= beside.step.dt_s * (self.aside_s / BACK_S).at_least(1.0);
        self.keep(beside);
        if self.is_kept(beside.step) {
            // The level was adopted: what brought the series here was no burst.
            *self = Self::NONE;
        } else if self.aside_s <= 0.0 {
            self.end(reach);
        }
        self.pull()
    }

    /// It was a burst.
    fn end(&mut self, reach: &mut [Envelope; 2]) {
        let reach = &mut reach[self.side];
        *reach = Envelope::of(reach.height().at_least(self.reach.height()));
        *self = Self::NONE;
    }

    fn pull(&self) -> Pull {
        if self.aside_s > BURST_S { Pull::Part(SUSTAINED) } else { Pull::Whole }
    }

    fn is_kept(&self, step: &Step) -> bool {
        self.kept_s > step.memory_s || self.aside_s > MEMORIES_MAX * step.memory_s
    }

    fn learn_reach(&mut self, beside: &Beside<'_>) {
        self.reach.learn(beside.deviation.abs() / BURST, beside.core, beside.step.reach_s, beside.youth);
    }

    /// Follows the level and how long it was kept.
    fn keep(&mut self, beside: &Beside<'_>) {
        let (dt_s, value) = (beside.step.dt_s, beside.value);
        let location = value - beside.deviation;
        self.recent += (value - self.recent) * (dt_s / (RECENT_S + dt_s));
        let room = (KEPT_WITHIN * (self.anchor - location).abs()).at_least(beside.limit);
        if (self.recent - self.anchor).abs() > room {
            self.anchor = self.recent;
            self.kept_s = 0.0;
        } else {
            self.kept_s += dt_s;
        }
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        out.f64s(&[self.aside_s, self.reach.height(), self.recent, self.anchor, self.kept_s]);
        out.u8(u8::from(self.side == 1));
    }

    pub(crate) fn load(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let [aside_s, reach, recent, anchor, kept_s] = input.f64s()?;
        let side = usize::from(input.u8()? == 1);
        Ok(Self { aside_s, side, reach: Envelope::of(reach), recent, anchor, kept_s })
    }
}

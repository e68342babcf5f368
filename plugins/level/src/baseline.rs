//! What is usual for one series.

use crate::floor::Floor;
use alloc::vec::Vec;
use vedette_sdk::Sample;
use vedette_sdk::math::{Limit as _, sqrt};
use vedette_sdk::robust::{Envelope, median_and_scale, median3, sort_few};
use vedette_sdk::state::{Damaged, Reader, Writer};

/// Values kept before the first judgement, at most; fewer if they span [`WARM_UP_MS`].
pub(crate) const WARM_UP_VALUES: u32 = 48;
const WARM_UP_VALUES_MIN: u32 = 12;
const WARM_UP_MS: u32 = 60_000;
/// Winsorising and biweight constants of Gelper, Fried and Croux 2010: `RHO_SCALE` makes the spread unbiased on normal
/// values.
const WINSOR: f64 = 2.0;
const RHO_SCALE: f64 = 2.52;
/// Bursts count from this many spreads on, and reach this many scales.
const BURST: f64 = 3.0;
/// Once a new level was kept for the length of the memory, the location walks there with this memory.
const ADOPT_S: f64 = 10.0;

/// Location and scales that a value is judged with.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Side {
    pub(crate) location: f64,
    pub(crate) above: f64,
    pub(crate) below: f64,
}

#[derive(Clone, Debug)]
pub(crate) enum Baseline {
    Learning { first: Vec<f64>, span_ms: u32 },
    Known(Known),
}

#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Known {
    location: f64,
    spread: f64,
    above: Envelope,
    below: Envelope,
    learnt: u32,
    /// How long values were on one side without a break: above positive, below negative.
    aside_s: f64,
}

impl Baseline {
    pub(crate) fn new() -> Self {
        Self::Learning { first: Vec::new(), span_ms: 0 }
    }

    pub(crate) fn learnt(&self) -> u32 {
        match self {
            Self::Learning { .. } => 0,
            Self::Known(known) => known.learnt,
        }
    }

    /// What `value` is to be judged with; none while learning.
    #[inline]
    pub(crate) fn side(&self, value: f64) -> Option<Side> {
        let Self::Known(known) = self else { return None };
        debug_assert!(value.is_finite());
        Some(Side {
            location: known.location,
            above: known.spread.at_least(known.above.height() / BURST),
            below: known.spread.at_least(known.below.height() / BURST),
        })
    }

    #[inline]
    pub(crate) fn learn(&mut self, sample: Sample, floor: &Floor, memory_s: f64) {
        match self {
            Self::Known(known) => known.learn(sample, floor, memory_s),
            Self::Learning { first, span_ms } => {
                first.push(sample.value);
                *span_ms = span_ms.saturating_add(sample.dt_ms);
                let count = u32::try_from(first.len()).unwrap_or(u32::MAX);
                if count >= WARM_UP_VALUES || (count >= WARM_UP_VALUES_MIN && *span_ms >= WARM_UP_MS) {
                    *self = Self::Known(Known::from_first(first));
                }
            }
        }
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        match self {
            Self::Learning { first, span_ms } => {
                out.u8(u8::try_from(first.len()).expect("fewer than WARM_UP_VALUES"));
                out.u32(*span_ms);
                out.f64s(first);
            }
            Self::Known(known) => {
                out.u8(u8::MAX);
                out.f64s(&[known.location, known.spread, known.above.height(), known.below.height(), known.aside_s]);
                out.u32(known.learnt);
            }
        }
    }

    pub(crate) fn load(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let count = input.u8()?;
        if count != u8::MAX {
            if u32::from(count) >= WARM_UP_VALUES {
                return Err(Damaged);
            }
            let span_ms = input.u32()?;
            let first = (0..count).map(|_| input.f64()).collect::<Result<_, _>>()?;
            return Ok(Self::Learning { first, span_ms });
        }
        let [location, spread, above, below, aside_s] = input.f64s()?;
        let learnt = input.u32()?;
        let (above, below) = (Envelope::of(above), Envelope::of(below));
        Ok(Self::Known(Known { location, spread, above, below, learnt, aside_s }))
    }
}

impl Known {
    fn from_first(first: &[f64]) -> Self {
        let mut sorted = first.to_vec();
        let (location, spread) = median_and_scale(&mut sorted);
        let mut calm: Vec<_> = first.windows(3).map(|three| median3(three[0], three[1], three[2]) - location).collect();
        sort_few(&mut calm);
        // The second on each side: one transient of the start-up itself shall not set the reach of bursts.
        let above = Envelope::of(calm[calm.len() - 2].at_least(0.0));
        let below = Envelope::of((-calm[1]).at_least(0.0));
        Self { location, spread, above, below, learnt: u32::try_from(first.len()).unwrap_or(u32::MAX), aside_s: 0.0 }
    }

    #[inline]
    fn learn(&mut self, sample: Sample, floor: &Floor, memory_s: f64) {
        let dt_s = f64::from(sample.dt_ms) * 0.001;
        let deviation = sample.value - self.location;
        let core = self.spread.at_least(floor.at(self.location, self.location, self.learnt));
        let share = (1.0 / (f64::from(self.learnt) + 1.0)).at_least(dt_s / (memory_s + dt_s));
        let burst = BURST * core;
        self.above.learn(deviation, burst, dt_s, self.learnt);
        self.below.learn(-deviation, burst, dt_s, self.learnt);
        self.learn_spread(deviation / core, core, share);
        self.learn_location(deviation, core, share, dt_s, memory_s, sample.gap());
        self.learnt = self.learnt.saturating_add(1);
    }

    #[inline]
    fn learn_spread(&mut self, relative: f64, core: f64, share: f64) {
        let within = 1.0 - (relative / WINSOR) * (relative / WINSOR);
        let rho = if within <= 0.0 { RHO_SCALE } else { RHO_SCALE * (1.0 - within * within * within) };
        self.spread = sqrt(share * rho * core * core + (1.0 - share) * self.spread * self.spread);
    }

    #[inline]
    fn learn_location(&mut self, deviation: f64, core: f64, share: f64, dt_s: f64, memory_s: f64, gap: bool) {
        let limit = WINSOR * core;
        self.aside_s = match () {
            () if deviation > limit => self.aside_s.at_least(0.0) + dt_s,
            () if deviation < -limit => self.aside_s.at_most(0.0) - dt_s,
            () => 0.0,
        };
        if gap {
            self.aside_s = 0.0;
        }
        self.location += if self.aside_s.abs() > memory_s {
            deviation * (dt_s / (ADOPT_S + dt_s))
        } else {
            share * deviation.at_least(-limit).at_most(limit)
        };
    }
}

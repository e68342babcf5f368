//! What is usual for one series.

use crate::excursion::{Beside, Excursion, Pull};
use crate::floor::Floor;
use crate::walk::Walk;
use vedette_sdk::Sample;
use vedette_sdk::math::Limit as _;
use vedette_sdk::robust::{Envelope, Youth, median_and_scale, median3, sort_few};
use vedette_sdk::state::{Damaged, Reader, Writer};

/// Winsorising constant of Gelper, Fried and Croux 2010: deviations count as at most this many scales.
pub(crate) const WINSOR: f64 = 2.0;
/// 1 ÷ E[min(|Z|, 2)] of a standard normal Z: makes the mean of winsorised deviations its standard deviation. Four in ten
/// values may be arbitrary before the spread runs away.
pub(crate) const TO_DEVIATION: f64 = 1.280_573;
/// Bursts count from this many scales on; their reach is kept in scales, that is divided by it.
pub(crate) const BURST: f64 = 3.0;
/// The spread has so many times the memory of the location: what the location cannot follow shall stand out for a while
/// before it counts as spread.
const SPREAD_MEMORIES: f64 = 4.0;
/// The memory holds this many values at least: a series that is read seldom lives in a slower time of its own.
const VALUES_MIN: f64 = 30.0;
/// Once a new level was kept for the length of the memory, the location walks there with this memory.
const ADOPT_S: f64 = 10.0;

/// What a time step amounts to. Nearly all series of a host share one, so the divisions are done once for many values.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Step {
    dt_ms: u32,
    pub(crate) dt_s: f64,
    /// What it amounts to for the reach of bursts.
    pub(crate) reach_s: f64,
    pub(crate) memory_s: f64,
    /// Weights of a value of this step against the memory of location and of spread.
    location_share: f64,
    spread_share: f64,
}

impl Step {
    pub(crate) fn new(dt_ms: u32, memory_s: f64) -> Self {
        let dt_s = (f64::from(dt_ms) * 0.001).at_most(memory_s / VALUES_MIN);
        let share = |memory_s: f64| dt_s / (memory_s + dt_s);
        let (location_share, spread_share) = (share(memory_s), share(SPREAD_MEMORIES * memory_s));
        let reach_s = dt_s.at_most(Envelope::STEP_S_MAX);
        Self { dt_ms, dt_s, reach_s, memory_s, location_share, spread_share }
    }

    /// Makes this the step of so many milliseconds.
    #[inline]
    pub(crate) fn turn(&mut self, dt_ms: u32) {
        if self.dt_ms != dt_ms {
            *self = Self::new(dt_ms, self.memory_s);
        }
    }
}

/// Location and scales of a series that was warmed up.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Baseline {
    pub(crate) location: f64,
    spread: f64,
    /// Reach of ordinary bursts above and below, in scales.
    reach: [Envelope; 2],
    /// The part of the floor that changes with [`Youth`] only.
    floor: f64,
    youth: Youth,
    excursion: Excursion,
    walk: Walk,
}

/// What a value was judged with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Judged {
    pub(crate) location: f64,
    /// The greater of spread and floor.
    pub(crate) core: f64,
    /// Reach of ordinary bursts above and below, in scales.
    pub(crate) reach: [Envelope; 2],
}

impl Judged {
    pub(crate) const NONE: Self =
        Self { location: f64::NAN, core: f64::NAN, reach: [Envelope::of(f64::NAN), Envelope::of(f64::NAN)] };

    /// Scale above (0) or below (1) the location.
    #[inline]
    pub(crate) fn scale(&self, side: usize) -> f64 {
        self.core.at_least(self.reach[side].height())
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        out.f64s(&[self.location, self.core, self.reach[0].height(), self.reach[1].height()]);
    }

    pub(crate) fn load(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let [location, core, above, below] = input.f64s()?;
        Ok(Self { location, core, reach: [above, below].map(Envelope::of) })
    }
}

impl Baseline {
    /// A series of which nothing is known; not to be judged before [`Baseline::start`].
    pub(crate) fn unknown() -> Self {
        let (reach, youth) = ([Envelope::default(); 2], Youth::after(0));
        Self { location: 0.0, spread: 0.0, reach, floor: 0.0, youth, excursion: Excursion::NONE, walk: Walk::NONE }
    }

    /// Starts from the first values, three or more.
    pub(crate) fn start(first: &[f64], floor: &Floor) -> Self {
        let mut sorted = first.to_vec();
        let (location, spread) = median_and_scale(&mut sorted);
        sorted.clear();
        sorted.extend(first.windows(3).map(|three| median3(three[0], three[1], three[2]) - location));
        sort_few(&mut sorted);
        // The second on each side: one transient of the start-up itself shall not set the reach of bursts.
        let reach = |deviation: f64| Envelope::of(deviation.at_least(0.0) / BURST);
        let reach = [reach(sorted[sorted.len() - 2]), reach(-sorted[1])];
        let youth = Youth::after(u32::try_from(first.len()).unwrap_or(u32::MAX));
        let (floor, walk) = (floor.after(&youth), Walk::start(first));
        Self { location, spread, reach, floor, youth, excursion: Excursion::NONE, walk }
    }

    /// How far `value` is from where it is expected, and what that was judged with.
    #[inline]
    pub(crate) fn judge(&self, value: f64) -> (f64, Judged) {
        let core = self.core().at_least(Floor::relative(value));
        let judged = Judged { location: self.location, core, reach: self.reach };
        let deviation = value - self.location;
        let distance = deviation.abs() / judged.scale(usize::from(deviation < 0.0));
        if self.walk.tells(self.spread) { self.judge_wander(value, distance, judged) } else { (distance, judged) }
    }

    /// The same where the last value tells more than the location.
    #[cold]
    fn judge_wander(&self, value: f64, distance: f64, judged: Judged) -> (f64, Judged) {
        let Walk { at, stride } = self.walk;
        let scale = stride.at_least(self.floor).at_least(Floor::relative(value)).at_least(Floor::relative(at));
        let [jump, distance] = self.walk.weigh(value, distance, scale, self.spread);
        if jump < distance {
            return (distance, judged);
        }
        (jump, Judged { location: at, core: scale, reach: [Envelope::default(); 2] })
    }

    #[inline]
    fn core(&self) -> f64 {
        self.spread.at_least(self.floor).at_least(Floor::relative(self.location))
    }

    #[inline]
    pub(crate) fn learn(&mut self, sample: Sample, step: &Step, floor: &Floor) {
        let core = self.core();
        let deviation = sample.value - self.location;
        let limit = WINSOR * core;
        let mut part = 1.0;
        self.reach.iter_mut().for_each(|reach| reach.fade(step.reach_s, &self.youth));
        if deviation.abs() > limit || self.excursion.is_on() {
            let beside = Beside { sample, deviation, core, limit, step, youth: &self.youth };
            match self.excursion.follow(&beside, &mut self.reach) {
                Pull::Whole => {}
                Pull::Part(pulled) => part = pulled,
                Pull::Adopt => self.location += deviation * (step.dt_s / (ADOPT_S + step.dt_s)),
            }
        }
        let spread_share = part * step.spread_share.at_least(self.youth.share());
        let location_share = part * step.location_share.at_least(self.youth.share());
        self.spread += spread_share * (TO_DEVIATION * deviation.abs().at_most(limit) - self.spread);
        self.location += location_share * deviation.at_least(-limit).at_most(limit);
        // After a gap a wander may be anywhere.
        let usual = deviation.abs() <= limit || sample.gap();
        self.walk.learn(sample.value, usual, core, spread_share);
        if self.youth.pass() {
            self.floor = floor.after(&self.youth);
        }
    }

    /// Takes a value that is not to be learnt from.
    pub(crate) fn hold(&mut self, value: f64) {
        let core = self.core();
        let usual = (value - self.location).abs() <= WINSOR * core;
        self.walk.hold(value, usual, core);
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        out.f64s(&[self.location, self.spread, self.reach[0].height(), self.reach[1].height()]);
        out.u32(self.youth.learnt());
        self.excursion.save(out);
        self.walk.save(out);
    }

    pub(crate) fn load(input: &mut Reader<'_>, floor: &Floor) -> Result<Self, Damaged> {
        let [location, spread, above, below] = input.f64s()?;
        let youth = Youth::after(input.u32()?);
        let (excursion, walk) = (Excursion::load(input)?, Walk::load(input)?);
        let reach = [above, below].map(Envelope::of);
        Ok(Self { location, spread, reach, floor: floor.after(&youth), youth, excursion, walk })
    }
}

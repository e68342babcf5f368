//! What is usual for one series.

use crate::excursion::{Beside, Excursion, Pull};
use crate::floor::Floor;
use crate::walk::{USUAL, Walk};
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
    pub(crate) dt_ms: u32,
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

/// A value beside the baseline.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Seen {
    pub(crate) value: f64,
    pub(crate) deviation: f64,
    /// The greater of spread and floor, without the floor that the value itself makes.
    pub(crate) core: f64,
}

impl Seen {
    /// The deviation beyond which it is outside.
    #[inline]
    fn limit(&self) -> f64 {
        WINSOR * self.core
    }
}

/// What a value was judged with.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Judged {
    pub(crate) location: f64,
    /// The greater of spread and floor.
    core: f64,
    /// Reach of ordinary bursts above and below, in scales.
    reach: [Envelope; 2],
    /// The last place and what a step from there was measured by, less the parts that follow from value and place.
    walk: Walk,
    by: By,
}

/// By what a value was judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum By {
    Baseline,
    /// By the walk if it was worth nothing, by the baseline else: left to [`Judged::settled`], as it is the usual case.
    Wander,
    Walk,
}

impl Judged {
    pub(crate) const NONE: Self = Self {
        location: f64::NAN,
        core: f64::NAN,
        reach: [Envelope::of(f64::NAN), Envelope::of(f64::NAN)],
        walk: Walk::NONE,
        by: By::Baseline,
    };

    /// Scale above (0) or below (1) the location.
    pub(crate) fn scale(&self, side: usize) -> f64 {
        self.core.at_least(self.reach[side].height())
    }

    /// With the walk's place and scale as location and scale if `value`, of this worth, was judged with them.
    pub(crate) fn settled(self, value: f64, worth: f64) -> Self {
        if self.by == By::Baseline || (self.by == By::Wander && worth > 0.0) {
            return self;
        }
        let Walk { at, stride } = self.walk;
        let core = stride.at_least(Floor::relative(value)).at_least(Floor::relative(at));
        Self { location: at, core, reach: [Envelope::default(); 2], ..Self::NONE }
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        out.f64s(&[self.location, self.core, self.reach[0].height(), self.reach[1].height()]);
    }

    pub(crate) fn load(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let [location, core, above, below] = input.f64s()?;
        Ok(Self { location, core, reach: [above, below].map(Envelope::of), ..Self::NONE })
    }
}

impl Baseline {
    /// A series of which nothing is known; not to be judged before [`Baseline::start`].
    pub(crate) fn unknown() -> Self {
        let (reach, youth) = ([Envelope::default(); 2], Youth::after(0));
        Self { location: f64::NAN, spread: 0.0, reach, floor: 0.0, youth, excursion: Excursion::NONE, walk: Walk::NONE }
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

    /// `value` beside this baseline.
    #[inline]
    pub(crate) fn see(&self, value: f64) -> Seen {
        let core = self.spread.at_least(self.floor).at_least(Floor::relative(self.location));
        Seen { value, deviation: value - self.location, core }
    }

    /// Whether a value is where the series usually is, and no excursion goes on; not so for what is no number, and of a
    /// series of which nothing is known.
    #[inline]
    pub(crate) fn is_usual(&self, seen: &Seen) -> bool {
        seen.deviation.abs() <= seen.limit() && !self.excursion.is_on()
    }

    /// How far a value is from the location. `judged` becomes what it is judged with: in place, a copy costs more.
    #[inline]
    pub(crate) fn judge(&self, seen: &Seen, judged: &mut Judged) -> f64 {
        judged.location = self.location;
        judged.core = seen.core.at_least(Floor::relative(seen.value));
        judged.reach = self.reach;
        judged.walk = Walk { at: self.walk.at, stride: self.walk.stride.at_least(self.floor) };
        judged.by = if self.walk.tells(self.spread) { By::Wander } else { By::Baseline };
        let reach = self.reach[usize::from(seen.deviation.is_sign_negative())].height();
        seen.deviation.abs() / judged.core.at_least(reach)
    }

    /// What a distance is worth: of one up to [`USUAL`], what a wander does not reach by itself.
    #[inline]
    pub(crate) fn worth_usual(&self, seen: &Seen, distance: f64) -> f64 {
        // Of a constant the optimiser makes jumps, which on noise cost a third of a value's time.
        #[expect(clippy::eq_op, reason = "0 of any number, but unknown to the optimiser")]
        let zero = seen.value - seen.value;
        (distance - zero.at_least(self.walk.reach(self.spread, zero))).at_least(zero)
    }

    /// The same of any distance: a far one may be that of a jump.
    pub(crate) fn worth(&self, seen: &Seen, distance: f64, judged: &mut Judged) -> f64 {
        if distance <= USUAL {
            return self.worth_usual(seen, distance);
        }
        if !self.walk.tells(self.spread) {
            return distance;
        }
        let Walk { at, stride } = judged.walk;
        let scale = stride.at_least(Floor::relative(seen.value)).at_least(Floor::relative(at));
        let [jump, rest] = self.walk.weigh(seen.value, distance, scale, self.spread);
        let (by, worth) = if jump < rest { (By::Baseline, rest) } else { (By::Walk, jump) };
        judged.by = by;
        worth
    }

    /// Learns from a value that is usual.
    #[inline]
    pub(crate) fn learn_usual(&mut self, seen: &Seen, step: &Step, floor: &Floor) {
        self.reach.iter_mut().for_each(|reach| reach.fade(step.reach_s, &self.youth));
        self.learn_from(seen, 1.0, step, floor);
        self.walk.at = seen.value;
    }

    /// Learns from any value, which comes after a gap or not.
    pub(crate) fn learn(&mut self, seen: &Seen, gap: bool, step: &Step, floor: &Floor) {
        let Seen { value, deviation, core } = *seen;
        let (mut part, mut at) = (1.0, value);
        self.reach.iter_mut().for_each(|reach| reach.fade(step.reach_s, &self.youth));
        if !self.is_usual(seen) {
            let beside = Beside { value, gap, deviation, core, limit: seen.limit(), step, youth: &self.youth };
            match self.excursion.follow(&beside, &mut self.reach) {
                Pull::Whole => {}
                Pull::Part(pulled) => part = pulled,
                Pull::Adopt => self.location += deviation * (step.dt_s / (ADOPT_S + step.dt_s)),
            }
            // After a gap a wander may be anywhere.
            if deviation.abs() > seen.limit() && !gap {
                at = self.walk.towards(value, core);
            }
        }
        let limited = deviation.at_least(-seen.limit()).at_most(seen.limit());
        self.learn_from(&Seen { deviation: limited, ..*seen }, part, step, floor);
        self.walk.at = at;
    }

    /// Learns from a value whose deviation is within the limit, or was brought there, with this part of its weight.
    #[inline]
    fn learn_from(&mut self, seen: &Seen, part: f64, step: &Step, floor: &Floor) {
        let spread_share = part * step.spread_share.at_least(self.youth.share());
        let location_share = part * step.location_share.at_least(self.youth.share());
        self.spread += spread_share * (TO_DEVIATION * seen.deviation.abs() - self.spread);
        self.location += location_share * seen.deviation;
        self.walk.learn(seen.value, seen.core, spread_share);
        if self.youth.pass() {
            self.floor = floor.after(&self.youth);
        }
    }

    /// Takes a value that is not to be learnt from.
    pub(crate) fn hold(&mut self, seen: &Seen) {
        self.walk.hold(seen.value, seen.deviation.abs() <= seen.limit(), seen.core);
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

//! `seasonal`: is this usual at this hour of the week?
//!
//! For each hour of the week the lowest and the highest value of its last two visits are kept, and of each hour of the day
//! those of the last three days: usual is what at least two of them reached (a median of visits that one incident does not
//! move), within a quarter of an hour around the hour. The score is the distance from that range in units of a third of how far
//! the series went beyond it in other hours of late, as other detectors count a third of the reach of ordinary bursts. A
//! value and the one before it have to agree. What the last two hours both reached is no news, and scores 1 at most: what
//! lasts, and what wanders slowly, is for others.
//!
//! A score below 1 says that this is usual now, and holds back the episodes of detectors that judge present values of the
//! series. Before an hour of the week was seen twice, the days before stand in for it and nothing opens by it.
//!
//! The clock is the sum of the times between values, which the host counts over restarts as well: a detector has no other.
//! So hours begin when the series did, and after a change of daylight saving local jobs are learnt anew.

#![cfg_attr(target_arch = "wasm32", no_std)]

extern crate alloc;

mod code;
mod profile;

use profile::{Profile, Range, WEEK};
use vedette_sdk::math::Limit as _;
use vedette_sdk::robust::compress;
use vedette_sdk::state::{Damaged, Reader, Writer};
use vedette_sdk::{ConfigError, Description, Detector, Explanation, Input, Parameters, Sample, Series};

vedette_sdk::export!(Seasonal);

/// Reason codes of this detector (registry: `wit/README.md`).
pub mod code_of {
    /// Above what is usual at this hour.
    pub const ABOVE: u32 = 701;
    /// Below what is usual at this hour.
    pub const BELOW: u32 = 702;
}

/// Changes with whatever changes a score or a state.
const VERSION: &str = "0.2.0";
/// What it keeps are extremes of an hour, of which single values tell nearly as much.
const LOOK_MS: u32 = 10_000;
const HOUR_MS: u32 = 3_600_000;
const QUARTER_MS: u32 = HOUR_MS / 4;
#[expect(clippy::cast_possible_truncation, reason = "168 hours")]
const WEEK_MS: u32 = WEEK as u32 * HOUR_MS;
/// Time for which an hour has to be seen to count.
const SEEN_MS: u32 = HOUR_MS / 2;
/// Excesses reach this many scales.
const REACH: f64 = 3.0;
/// Kept of the reach each hour: half in four days.
const KEPT: f64 = 0.993;
/// The score that says neither that this is usual nor that it is not: below it is a word that it is.
const NEITHER: f64 = 1.0;
/// Score before an hour of the week was seen twice, at most: less than an episode takes.
const YOUNG_MAX: f64 = 3.0;
/// Parts of the scale's floor: of the usual range, of the values in it, and of the natural bounds.
const OF_RANGE: f64 = 0.125;
const OF_VALUE: f64 = 0.02;
const OF_BOUNDS: f64 = 0.01;
/// Values beyond are taken as this, so that differences stay finite.
const VALUE_MAX: f64 = 1e100;

/// The detector; it has no parameters.
#[derive(Clone, Copy, Debug)]
pub struct Seasonal;

/// What is remembered of one series.
#[derive(Clone, Debug)]
pub struct State {
    /// Time of the series' own week, and when the bounds have to be made anew.
    phase_ms: u32,
    turn_ms: u32,
    /// What is usual at this time; not a number if that is unknown.
    season: Range,
    /// The same with what the last hours did, which is no news, and the scale.
    bounds: Range,
    per_scale: f64,
    score_max: f64,
    last: f64,
    /// What this hour reached, how far beyond its bounds, and for how long it was seen.
    hour: Range,
    excess: f64,
    seen_ms: u32,
    /// What the last two hours reached, newest first.
    recent: [Range; 2],
    reach: f64,
    away_ms: u32,
    profile: Profile,
    least: f64,
}

const UNKNOWN: Range = Range { low: f64::NAN, high: f64::NAN };
const NOTHING: Range = Range { low: f64::INFINITY, high: f64::NEG_INFINITY };

impl Detector for Seasonal {
    type State = State;

    fn describe() -> Description {
        Description {
            name: "seasonal",
            version: VERSION,
            input: Input::Seasonal,
            // From then on it says that it does not know, for two days.
            warm_up_values: 1,
            state_bytes_max: 1_024,
            look_ms: LOOK_MS,
            parameters: &[],
        }
    }

    fn configure(_: &Parameters) -> Result<Self, ConfigError> {
        Ok(Self)
    }

    fn added(&mut self, series: &Series) -> Option<State> {
        let resolution = if series.resolution.is_finite() { series.resolution.at_least(0.0) } else { 0.0 };
        let range = series.upper - series.lower;
        let bounded = if range.is_finite() { OF_BOUNDS * range.at_least(0.0) } else { 0.0 };
        Some(State {
            phase_ms: 0,
            turn_ms: 0,
            season: UNKNOWN,
            bounds: UNKNOWN,
            per_scale: 0.0,
            score_max: 0.0,
            last: f64::NAN,
            hour: NOTHING,
            excess: 0.0,
            seen_ms: 0,
            recent: [NOTHING; 2],
            reach: 0.0,
            away_ms: 0,
            profile: Profile::default(),
            least: resolution.at_least(bounded).at_least(f64::MIN_POSITIVE),
        })
    }

    #[inline]
    fn observe(&mut self, state: &mut State, sample: Sample) -> f64 {
        let passed_ms = state.phase_ms.saturating_add(sample.dt_ms);
        if passed_ms >= state.turn_ms {
            state.turn(passed_ms);
        } else {
            state.phase_ms = passed_ms;
        }
        if !sample.value.is_finite() || sample.flags & Sample::RESET != 0 {
            return f64::NAN;
        }
        let value = sample.value.at_least(-VALUE_MAX).at_most(VALUE_MAX);
        // Beside the NaN before the first value it is its own witness.
        let (high, low) = (value.at_most(state.last), value.at_least(state.last));
        state.last = value;
        let excess = (high - state.bounds.high).at_least(state.bounds.low - low);
        let off_season = (high - state.season.high).at_least(state.season.low - low) * state.per_scale;
        if !sample.hold() {
            state.hour = Range { low: state.hour.low.at_most(low), high: state.hour.high.at_least(high) };
            state.excess = state.excess.at_least(excess);
            state.seen_ms = state.seen_ms.saturating_add(if sample.gap() { 0 } else { sample.dt_ms });
        }
        if excess.is_nan() {
            return NEITHER;
        }
        // What only the last hours did is neither news nor usual.
        let score = (excess.at_least(0.0) * state.per_scale).at_least(off_season.at_least(0.0).at_most(NEITHER));
        let score = compress(score.at_most(VALUE_MAX)).at_most(state.score_max);
        state.away_ms = if score > NEITHER { state.away_ms.saturating_add(sample.dt_ms) } else { 0 };
        score
    }

    fn explain(&self, state: &State) -> Explanation {
        let Range { low, high } = state.bounds;
        Explanation {
            code: match state.last {
                value if value > high => code_of::ABOVE,
                value if value < low => code_of::BELOW,
                _ => 0,
            },
            observed: state.last,
            expected: finite(low + 0.5 * (high - low)),
            lower: finite(low),
            upper: finite(high),
            onset_ms_ago: state.away_ms,
            onset_uncertainty_ms: 0,
        }
    }

    fn save(&self, state: &State, out: &mut Writer) {
        [state.phase_ms, state.turn_ms, state.seen_ms, state.away_ms].iter().for_each(|ms| out.u32(*ms));
        for range in [state.season, state.bounds, state.hour, state.recent[0], state.recent[1]] {
            out.f64s(&[range.low, range.high]);
        }
        out.f64s(&[state.per_scale, state.score_max, state.last, state.excess, state.reach]);
        state.profile.save(out);
    }

    fn load(&mut self, state: &mut State, input: &mut Reader<'_>) -> Result<(), Damaged> {
        for ms in [&mut state.phase_ms, &mut state.turn_ms, &mut state.seen_ms, &mut state.away_ms] {
            *ms = input.u32()?;
        }
        if state.phase_ms >= WEEK_MS || state.turn_ms > WEEK_MS {
            return Err(Damaged);
        }
        let mut range = || input.f64s().map(|[low, high]| Range { low, high });
        (state.season, state.bounds) = (range()?, range()?);
        (state.hour, state.recent) = (range()?, [range()?, range()?]);
        [state.per_scale, state.score_max, state.last, state.excess, state.reach] = input.f64s()?;
        state.profile = Profile::load(input)?;
        Ok(())
    }
}

impl State {
    /// A quarter of an hour is over, or more.
    #[cold]
    fn turn(&mut self, passed_ms: u32) {
        let (hour, now) = (hour_of(self.phase_ms), hour_of(passed_ms % WEEK_MS));
        if now != hour || passed_ms - self.phase_ms >= HOUR_MS {
            self.close(hour);
        }
        if passed_ms - self.phase_ms >= 2 * HOUR_MS {
            self.recent = [NOTHING; 2];
        }
        self.phase_ms = passed_ms % WEEK_MS;
        let quarter = self.phase_ms / QUARTER_MS;
        self.turn_ms = (quarter + 1) * QUARTER_MS;
        self.bound(now, quarter % 4);
    }

    /// Learns what an hour reached, if enough of it was seen.
    fn close(&mut self, hour: usize) {
        let reached = core::mem::replace(&mut self.hour, NOTHING);
        let excess = core::mem::replace(&mut self.excess, 0.0);
        let seen_ms = core::mem::replace(&mut self.seen_ms, 0);
        if seen_ms < SEEN_MS || reached.low > reached.high {
            return;
        }
        self.reach = (KEPT * self.reach).at_least(excess);
        self.recent = [reached, self.recent[0]];
        let floor = self.least.at_least(OF_VALUE * reached.high.abs().at_least(reached.low.abs()));
        self.profile.learn(hour, reached, floor);
    }

    /// Makes the bounds of a quarter of an hour.
    fn bound(&mut self, hour: usize, quarter: u32) {
        let Some(usual) = self.profile.usual(hour) else {
            (self.season, self.bounds, self.per_scale) = (UNKNOWN, UNKNOWN, 0.0);
            return;
        };
        let beside = match quarter {
            0 => self.profile.usual((hour + WEEK - 1) % WEEK),
            3 => self.profile.usual((hour + 1) % WEEK),
            _ => None,
        };
        let [last, before] = self.recent;
        let lately = Range { low: last.low.at_least(before.low), high: last.high.at_most(before.high) };
        self.season = beside.map_or(usual.range, |beside| usual.range.and(beside.range));
        let range = self.season.and(lately);
        let width = if range.high < f64::INFINITY { range.high - range.low } else { 0.0 };
        let value = self.last.abs().at_most(range.high.abs().at_least(range.low.abs()));
        let floor = self.least.at_least(OF_RANGE * width).at_least(OF_VALUE * value);
        (self.bounds, self.per_scale) = (range, 1.0 / (self.reach / REACH).at_least(floor));
        self.score_max = if usual.weekly { f64::MAX } else { YOUNG_MAX };
    }
}

/// A bound that is beyond all codes has no number.
fn finite(number: f64) -> f64 {
    if number.is_finite() { number } else { f64::NAN }
}

fn hour_of(phase_ms: u32) -> usize {
    (phase_ms / HOUR_MS) as usize
}

#[cfg(test)]
mod tests;

//! What a series reaches at which hour of the week.

use crate::code::{NONE, Scale, Side};
use alloc::vec::Vec;
use vedette_sdk::math::Limit as _;
use vedette_sdk::state::{Damaged, Reader, Writer};

pub(crate) const DAY: usize = 24;
pub(crate) const WEEK: usize = 7 * DAY;
/// Visits that are kept of an hour of the day, and of an hour of the week.
const DAYS: usize = 3;
const WEEKS: usize = 2;
/// The narrowest first hour gives a unit of this part of its width.
const UNIT: f64 = 0.125;

/// From the lowest to the highest value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Range {
    pub(crate) low: f64,
    pub(crate) high: f64,
}

impl Range {
    pub(crate) fn and(self, other: Self) -> Self {
        Self { low: self.low.at_most(other.low), high: self.high.at_least(other.high) }
    }
}

/// What is usual at an hour.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Usual {
    pub(crate) range: Range,
    /// The hour of the week was seen often enough, and not only that of the day.
    pub(crate) weekly: bool,
}

/// Codes of the lowest and the highest value of a visit.
type Visit = [u8; 2];
const NEVER: Visit = [NONE; 2];

/// The last visits of each hour, newest first. Rows are added as hours come, so a short life takes little.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Profile {
    scale: Scale,
    days: Vec<[Visit; DAYS]>,
    weeks: Vec<[Visit; WEEKS]>,
}

impl Default for Profile {
    fn default() -> Self {
        Self { scale: Scale { origin: 0.0, unit: 0.0 }, days: Vec::new(), weeks: Vec::new() }
    }
}

impl Profile {
    /// What at least two visits of the hour reached, of the last two weeks' and the last three days' at this hour of the
    /// day; of the very hour of the week one at least where two were seen, and what a single one reached.
    pub(crate) fn usual(&self, hour: usize) -> Option<Usual> {
        let weeks = self.weeks.get(hour).copied().unwrap_or([NEVER; WEEKS]);
        let days = self.days.get(hour % DAY).copied().unwrap_or([NEVER; DAYS]);
        let known = |visit: &&Visit| **visit != NEVER;
        let (mut lows, mut highs) = ([f64::INFINITY; 2], [f64::NEG_INFINITY; 2]);
        for visit in weeks.iter().chain(&days).filter(known) {
            let Range { low, high } = self.range(*visit);
            if low < lows[1] {
                lows = [lows[0].at_most(low), lows[0].at_least(low)];
            }
            if high > highs[1] {
                highs = [highs[0].at_least(high), highs[0].at_most(high)];
            }
        }
        let twice = Range { low: lows[1], high: highs[1] };
        let mut own = weeks.iter().filter(known).map(|visit| self.range(*visit));
        let range = match (own.next(), own.next()) {
            (Some(last), Some(before)) => {
                let ever = last.and(before);
                Range { low: twice.low.at_least(ever.low), high: twice.high.at_most(ever.high) }
            }
            (Some(last), None) if twice.low.is_finite() => last.and(twice),
            _ => twice,
        };
        let weekly = weeks[WEEKS - 1] != NEVER;
        (lows[1] < f64::INFINITY && highs[1] > f64::NEG_INFINITY).then_some(Usual { range, weekly })
    }

    fn range(&self, [low, high]: Visit) -> Range {
        Range { low: self.scale.decode(low), high: self.scale.decode(high) }
    }

    /// Takes what an hour of the week reached; nothing under `floor` is told apart.
    pub(crate) fn learn(&mut self, hour: usize, range: Range, floor: f64) {
        self.reach(range, floor);
        let visit = [self.scale.encode(range.low, Side::Down), self.scale.encode(range.high, Side::Up)];
        push(&mut self.days, hour % DAY, visit);
        push(&mut self.weeks, hour, visit);
    }

    /// Has a scale that reaches as far as `range`: codes are written anew, outwards, where it has to be longer.
    fn reach(&mut self, range: Range, floor: f64) {
        if self.scale.unit == 0.0 {
            let unit = (UNIT * (range.high - range.low)).at_least(UNIT * floor).at_least(f64::MIN_POSITIVE);
            self.scale = Scale { origin: range.low + 0.5 * (range.high - range.low), unit };
        }
        let away = (range.high - self.scale.origin).abs().at_least((range.low - self.scale.origin).abs());
        let mut longer = self.scale;
        while away > longer.unit * Scale::UNITS_MAX && longer.unit < f64::MAX / 1e9 {
            longer.unit *= 16.0;
        }
        if longer == self.scale {
            return;
        }
        let before = core::mem::replace(&mut self.scale, longer);
        let days = self.days.iter_mut().flatten();
        for visit in days.chain(self.weeks.iter_mut().flatten()).filter(|visit| **visit != NEVER) {
            let [low, high] = *visit;
            *visit = [longer.encode(before.decode(low), Side::Down), longer.encode(before.decode(high), Side::Up)];
        }
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        out.f64s(&[self.scale.origin, self.scale.unit]);
        write(&self.days, out);
        write(&self.weeks, out);
    }

    pub(crate) fn load(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let [origin, unit] = input.f64s()?;
        if !(origin.is_finite() && unit.is_finite() && unit >= 0.0) {
            return Err(Damaged);
        }
        let scale = Scale { origin, unit };
        Ok(Self { scale, days: read(input, DAY)?, weeks: read(input, WEEK)? })
    }
}

fn push<const N: usize>(rows: &mut Vec<[Visit; N]>, at: usize, visit: Visit) {
    if rows.len() <= at {
        rows.resize(at + 1, [NEVER; N]);
    }
    rows[at].rotate_right(1);
    rows[at][0] = visit;
}

fn write<const N: usize>(rows: &[[Visit; N]], out: &mut Writer) {
    out.u8(u8::try_from(rows.len()).unwrap_or(u8::MAX));
    rows.iter().flatten().flatten().for_each(|code| out.u8(*code));
}

fn read<const N: usize>(input: &mut Reader<'_>, rows_max: usize) -> Result<Vec<[Visit; N]>, Damaged> {
    let rows = usize::from(input.u8()?);
    if rows > rows_max {
        return Err(Damaged);
    }
    let bytes = input.bytes(rows * N * 2)?;
    let visit = |row: usize, nth: usize| [0, 1].map(|side| bytes[(row * N + nth) * 2 + side]);
    Ok((0..rows).map(|row| core::array::from_fn(|nth| visit(row, nth))).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUIET: Range = Range { low: 0.2, high: 0.3 };
    const BUSY: Range = Range { low: 0.2, high: 0.9 };

    /// Weeks of hours: quiet, but for those that `busy` names by day and hour.
    fn weeks(count: usize, busy: impl Fn(usize, usize) -> bool) -> Profile {
        let mut profile = Profile::default();
        for hour in 0..count * WEEK {
            profile.learn(hour % WEEK, if busy(hour / DAY, hour % DAY) { BUSY } else { QUIET }, 0.01);
        }
        profile
    }

    fn high(profile: &Profile, day: usize, hour: usize) -> f64 {
        profile.usual(day % 7 * DAY + hour).unwrap().range.high
    }

    #[test]
    fn what_comes_each_day_is_usual_from_the_third_on_and_at_no_other_hour() {
        let mut profile = Profile::default();
        for hour in 0..2 * DAY {
            assert_eq!(profile.usual(hour), None, "one visit is none");
            if hour >= DAY {
                break;
            }
            profile.learn(hour, if hour == 3 { BUSY } else { QUIET }, 0.01);
        }
        (DAY..2 * DAY).for_each(|hour| profile.learn(hour, if hour % DAY == 3 { BUSY } else { QUIET }, 0.01));
        let usual = profile.usual(2 * DAY + 3).unwrap();
        assert!(usual.range.high >= 0.9 && !usual.weekly, "{usual:?}");
        assert!(high(&profile, 2, 12) < 0.35);
    }

    #[test]
    fn workdays_and_weekends_have_their_own_noon_after_two_weeks() {
        let profile = weeks(2, |day, hour| day % 7 < 5 && hour == 12);
        assert!(high(&profile, 0, 12) >= 0.9 && high(&profile, 6, 12) < 0.35 && high(&profile, 0, 13) < 0.35);
    }

    #[test]
    fn one_busy_hour_two_weeks_ago_makes_none_usual_and_one_skipped_job_does_not_either() {
        let once = weeks(2, |day, hour| day == 1 && hour == 12);
        assert!(high(&once, 1, 12) < 0.35);
        let skipped = weeks(3, |day, hour| hour == 3 && day != 15);
        assert!(high(&skipped, 1, 3) >= 0.9);
    }

    #[test]
    fn numbers_far_beyond_the_first_hours_are_kept_with_the_others() {
        let mut profile = Profile::default();
        profile.learn(0, QUIET, 0.01);
        profile.learn(DAY, Range { low: 0.1, high: 1e9 }, 0.01);
        profile.learn(2 * DAY, Range { low: -1e12, high: 1e9 }, 0.01);
        let Range { low, high } = profile.usual(3 * DAY).unwrap().range;
        assert!((1e9..1.2e9).contains(&high) && (-1e9..=0.1).contains(&low), "{low} {high}");
    }
}

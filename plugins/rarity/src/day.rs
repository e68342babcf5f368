//! What a series usually has at which hour of the day.

use vedette_sdk::math::Limit as _;
use vedette_sdk::state::{Damaged, Reader, Writer};

const HOURS: usize = 24;
const HOUR_MS: u32 = 3_600_000;
#[expect(clippy::cast_possible_truncation, reason = "24 hours")]
pub(crate) const DAY_MS: u32 = HOURS as u32 * HOUR_MS;
/// Of what an hour usually has so much is that of the last one at least: about a working week.
const SHARE_MIN: f64 = 0.2;
/// Days that an hour was seen are told apart up to here.
const VISITS_MAX: u8 = 100;
/// Beyond, four bytes hold no difference.
const DIFFERENCE_MAX: f64 = 1e30;

/// Means of the hours, relative to the series' origin; those that were never seen are not a number.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Day {
    means: [f32; HOURS],
    visits: [u8; HOURS],
    /// The hour that is on, the sum of its values and their number.
    hour: u8,
    sum: f64,
    count: u32,
}

impl Default for Day {
    fn default() -> Self {
        Self { means: [f32::NAN; HOURS], visits: [0; HOURS], hour: 0, sum: 0.0, count: 0 }
    }
}

impl Day {
    /// What is usual at this time, between the middles of two hours; `None` while one of them was never seen.
    pub(crate) fn usual(&self, phase_ms: u32) -> Option<f64> {
        let hour = usize::from(hour_of(phase_ms));
        let beyond_middle = f64::from(phase_ms % HOUR_MS) / f64::from(HOUR_MS) - 0.5;
        let beside = (hour + if beyond_middle > 0.0 { 1 } else { HOURS - 1 }) % HOURS;
        let [here, there] = [hour, beside].map(|at| self.means.get(at).copied().map_or(f64::NAN, f64::from));
        let usual = here + beyond_middle.abs() * (there - here);
        usual.is_finite().then_some(usual)
    }

    pub(crate) fn learn(&mut self, phase_ms: u32, difference: f64) {
        let hour = hour_of(phase_ms);
        if hour != self.hour {
            self.close();
            self.hour = hour;
        }
        self.sum += difference.at_least(-DIFFERENCE_MAX).at_most(DIFFERENCE_MAX);
        self.count = self.count.saturating_add(1);
    }

    /// The hour is over.
    fn close(&mut self) {
        let (sum, count) = (core::mem::take(&mut self.sum), core::mem::take(&mut self.count));
        let at = usize::from(self.hour);
        let (Some(mean), Some(visits)) = (self.means.get_mut(at), self.visits.get_mut(at)) else { return };
        if count == 0 {
            return;
        }
        *visits = visits.saturating_add(1).min(VISITS_MAX);
        let (before, here) = (f64::from(*mean), sum / f64::from(count));
        let share = (1.0 / f64::from(*visits)).at_least(SHARE_MIN);
        #[expect(clippy::cast_possible_truncation, reason = "limited before")]
        let after = if before.is_nan() { here } else { before + share * (here - before) } as f32;
        *mean = after;
    }

    pub(crate) fn save(&self, out: &mut Writer) {
        out.f32s(&self.means);
        self.visits.iter().for_each(|visits| out.u8(*visits));
        out.u8(self.hour);
        out.f64(self.sum);
        out.u32(self.count);
    }

    pub(crate) fn load(input: &mut Reader<'_>) -> Result<Self, Damaged> {
        let means = input.f32s()?;
        let mut visits = [0; HOURS];
        visits.copy_from_slice(input.bytes(HOURS)?);
        let hour = input.u8()?;
        if usize::from(hour) >= HOURS {
            return Err(Damaged);
        }
        Ok(Self { means, visits, hour, sum: input.f64()?, count: input.u32()? })
    }
}

fn hour_of(phase_ms: u32) -> u8 {
    u8::try_from(phase_ms % DAY_MS / HOUR_MS).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;

    const QUARTER_MS: u32 = HOUR_MS / 4;

    #[test]
    fn an_hour_is_known_once_it_and_its_neighbour_were_seen() {
        let mut day = Day::default();
        assert_eq!(day.usual(0), None);
        for quarter in 0..12 {
            day.learn(quarter * QUARTER_MS, f64::from(quarter / 4));
        }
        let middle = |hour: u32| hour * HOUR_MS + 2 * QUARTER_MS;
        // The third hour is not over.
        assert_eq!([day.usual(middle(0)), day.usual(middle(1)), day.usual(middle(2))], [None, Some(1.0), None]);
        assert_eq!(day.usual(middle(0) + QUARTER_MS), Some(0.25));
    }

    #[test]
    fn one_odd_day_moves_an_hour_by_a_fifth_of_it() {
        let mut day = Day::default();
        for phase in (0..20 * 96).chain(0..96) {
            day.learn(phase % 96 * QUARTER_MS, 0.0);
        }
        (0..96).for_each(|quarter| day.learn(quarter * QUARTER_MS, 10.0));
        day.learn(0, 0.0);
        assert!((day.usual(12 * HOUR_MS).unwrap() - 2.0).abs() < 0.3, "{:?}", day.usual(12 * HOUR_MS));
    }
}

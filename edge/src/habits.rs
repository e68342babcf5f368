//! What departed at this time yesterday, or a week ago: who does something once a day is told of once.
//!
//! A detector that knows the time needs two visits of an hour before it calls anything usual. Until it has a word, a departure
//! is a habit if the very series departed in a way that opened an episode, or would have, a day or a week before: it begins no
//! earlier, lasts no longer and reaches no farther than that did, a quarter of an hour and two thirds more or less. What was
//! told is the measure, and not what was held back since: who grows from night to night is told again. A fault that comes to
//! a series just then is told late: one in fifty of those that follow a departure of three quarters of an hour.
//!
//! What departs again within a quarter of an hour goes on. There is room for [`DEPARTURES_MAX`] of all series; the oldest makes
//! room. An agent that is started again has forgotten them: the night after is told once more.

use std::collections::VecDeque;
use std::time::Duration;
use vedette_protocol::ids::SeriesKey;
use vedette_protocol::time::MonoTime;

const DEPARTURES_MAX: usize = 512;
const DAY: Duration = Duration::from_secs(86_400);
const PERIODS: [Duration; 2] = [DAY, Duration::from_secs(7 * 86_400)];
/// By how much begin and end may differ from one time to the next, the end by a half of the length more.
const SLACK: Duration = Duration::from_secs(900);
/// How much higher a raw score may be. Those of `level` grow by four with each doubling of a distance: two thirds farther.
const HIGHER: f32 = 3.0;

#[derive(Clone, Copy, Debug, PartialEq)]
struct Departure {
    series: SeriesKey,
    began: MonoTime,
    /// When it was last worth an episode.
    until: MonoTime,
    /// Highest raw score.
    score: f32,
}

impl Departure {
    /// The same again after such a time.
    fn again(self, after: Duration) -> Self {
        Self { began: self.began + after, until: self.until + after, ..self }
    }

    /// Whether this is what a departure is that began at `since` and goes on.
    fn is(&self, now: MonoTime, series: SeriesKey, since: MonoTime, score: f32) -> bool {
        let latest = self.until + SLACK + self.until.since(self.began) / 2;
        self.series == series && since + SLACK >= self.began && now <= latest && score <= self.score + HIGHER
    }
}

/// See the module's documentation.
#[derive(Debug, Default)]
pub(crate) struct Habits {
    departures: VecDeque<Departure>,
}

impl Habits {
    /// Bytes of the heap that it takes at most.
    pub(crate) fn bytes_max() -> usize {
        crate::room::list::<Departure>(DEPARTURES_MAX)
    }

    /// A departure that began at `since` is worth an episode now. Whether it is what this series did a day or a week before:
    /// then that is remembered of today, and else what it is.
    pub(crate) fn explain(&mut self, now: MonoTime, series: SeriesKey, since: MonoTime, score: f32) -> bool {
        let again = |one: &Departure| {
            PERIODS.iter().map(|period| one.again(*period)).find(|again| again.is(now, series, since, score))
        };
        if let Some(again) = self.departures.iter().find_map(again) {
            if !self.departures.contains(&again) {
                self.keep(again);
            }
            return true;
        }
        let goes_on = |one: &&mut Departure| one.series == series && one.began <= since && since <= one.until + SLACK;
        match self.departures.iter_mut().rev().find(goes_on) {
            Some(departure) => {
                (departure.until, departure.score) = (departure.until.max(now), departure.score.max(score))
            }
            None => self.keep(Departure { series, began: since, until: now, score }),
        }
        false
    }

    fn keep(&mut self, departure: Departure) {
        if self.departures.len() == DEPARTURES_MAX {
            self.departures.pop_front();
        }
        self.departures.push_back(departure);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: SeriesKey = SeriesKey(1);
    const FIRST: f64 = 3.0;

    fn at(hours: f64) -> MonoTime {
        MonoTime::default() + Duration::from_secs_f64(hours * 3_600.0)
    }

    /// What a series does for so many minutes from that hour on: in which of them it is no habit.
    fn departs(habits: &mut Habits, from: f64, minutes: u32, score: f32) -> Vec<u32> {
        let told = |minute: &u32| !habits.explain(at(from + f64::from(*minute) / 60.0), JOB, at(from), score);
        (0..=minutes).filter(told).collect()
    }

    /// A job from three o'clock for three quarters of an hour on the first day, which is told.
    fn habits() -> Habits {
        let mut habits = Habits::default();
        assert_eq!(departs(&mut habits, FIRST, 45, 20.0).len(), 46, "it does not explain itself");
        habits
    }

    #[test]
    fn what_comes_a_day_or_a_week_later_at_its_time_is_a_habit_and_at_another_time_is_not() {
        let explains = |begins: f64| departs(&mut habits(), begins, 6, 20.0).is_empty();
        assert!([27.0, 27.2, 26.8, 27.7, 171.0].into_iter().all(explains));
        assert!(![4.5, 12.0, 26.5, 28.5, 51.0, 195.0].into_iter().any(explains));
        assert!(!habits().explain(at(27.1), SeriesKey(2), at(27.0), 20.0), "another series");
    }

    #[test]
    fn what_lasts_longer_or_reaches_farther_is_none() {
        let [begin, end] = [27.0, 27.0 + (45.0 + 15.0 + 22.5) / 60.0];
        assert!(habits().explain(at(end - 0.01), JOB, at(begin), 22.9));
        assert!(!habits().explain(at(end + 0.01), JOB, at(begin), 20.0), "it was over by then");
        assert!(!habits().explain(at(27.1), JOB, at(begin), 23.1), "it was not that much");
    }

    #[test]
    fn what_grows_from_night_to_night_is_measured_by_the_night_that_was_told() {
        let mut habits = habits();
        assert!(departs(&mut habits, 27.0, 80, 22.0).is_empty());
        assert!(departs(&mut habits, 51.0, 80, 22.0).is_empty());
        assert!(!departs(&mut habits, 75.0, 120, 22.0).is_empty() && !departs(&mut habits, 99.0, 45, 26.0).is_empty());
    }

    #[test]
    fn bouts_of_one_job_are_one_and_room_is_bounded() {
        let mut habits = habits();
        assert!(!departs(&mut habits, FIRST + 0.9, 10, 12.0).is_empty(), "it goes on");
        assert_eq!(habits.departures.len(), 1);
        (0..DEPARTURES_MAX as u64).for_each(|key| _ = habits.explain(at(5.0), SeriesKey(100 + key), at(5.0), 9.0));
        assert!(habits.departures.len() == DEPARTURES_MAX && !habits.explain(at(27.1), JOB, at(27.0), 20.0));
    }
}

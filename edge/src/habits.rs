//! What departed at this time yesterday, or a week ago: who does something once a day is told of once.
//!
//! A detector that knows the time needs two visits of an hour before it calls anything usual. Until then a departure is a
//! habit if one on the very series, which would have opened an episode or did, began a day or a week before, a quarter of an
//! hour more or less; for as long as it lasts no longer and reaches no higher than that one did, by half at most. A fault that
//! meets that by chance (one in fifty that come twice to a series) waits until it outlasts or outgrows it.
//!
//! Departures of all series together have room for [`DEPARTURES_MAX`]; the oldest makes room. An agent that is started again
//! has forgotten them: the night after is told once more.

use std::collections::VecDeque;
use std::time::Duration;
use vedette_protocol::ids::SeriesKey;
use vedette_protocol::time::MonoTime;

const DEPARTURES_MAX: usize = 128;
const DAY: Duration = Duration::from_secs(86_400);
const PERIODS: [Duration; 2] = [DAY, Duration::from_secs(7 * 86_400)];
/// By how much begin and length may differ from one time to the next.
const SLACK: Duration = Duration::from_secs(900);
/// What comes again may be so many times as high, and as long beside the slack.
const ALIKE: f32 = 1.5;

#[derive(Clone, Copy, Debug)]
struct Departure {
    series: SeriesKey,
    began: MonoTime,
    /// When it was last worth an episode.
    until: MonoTime,
    /// Highest raw score.
    score: f32,
}

impl Departure {
    /// Whether this one again explains a departure that began at `since` and goes on.
    fn explains(&self, now: MonoTime, since: MonoTime, score: f32) -> bool {
        let apart = |period| {
            let then = self.began + period;
            then.since(since).max(since.since(then))
        };
        let longest = self.until.since(self.began).mul_f32(ALIKE) + SLACK;
        PERIODS.iter().any(|period| apart(*period) <= SLACK)
            && now.since(since) <= longest
            && score <= ALIKE * self.score
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

    /// A departure that began at `since` is worth an episode now, told or not.
    pub(crate) fn note(&mut self, now: MonoTime, series: SeriesKey, since: MonoTime, score: f32) {
        let same = |one: &&mut Departure| one.series == series && one.began == since;
        if let Some(departure) = self.departures.iter_mut().rev().find(same) {
            (departure.until, departure.score) = (now, departure.score.max(score));
            return;
        }
        if self.departures.len() == DEPARTURES_MAX {
            self.departures.pop_front();
        }
        self.departures.push_back(Departure { series, began: since, until: now, score });
    }

    /// Whether a departure that began at `since` is what this series did a day or a week before.
    pub(crate) fn explain(&self, now: MonoTime, series: SeriesKey, since: MonoTime, score: f32) -> bool {
        self.departures.iter().any(|one| one.series == series && one.explains(now, since, score))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const JOB: SeriesKey = SeriesKey(1);

    fn at(hours: f64) -> MonoTime {
        MonoTime::default() + Duration::from_secs_f64(hours * 3_600.0)
    }

    /// A job from three o'clock for three quarters of an hour on the first day.
    fn habits() -> Habits {
        let mut habits = Habits::default();
        (0..=45).for_each(|minute| habits.note(at(3.0 + f64::from(minute) / 60.0), JOB, at(3.0), 20.0));
        habits
    }

    #[test]
    fn what_comes_a_day_or_a_week_later_at_its_time_is_a_habit_and_at_another_time_is_not() {
        let habits = habits();
        let explains = |begins: f64| habits.explain(at(begins + 0.1), JOB, at(begins), 20.0);
        assert!(explains(27.0) && explains(27.2) && explains(26.8) && explains(171.0));
        assert!(![3.5, 12.0, 26.5, 27.5, 51.0, 195.0].into_iter().any(explains));
        assert!(!habits.explain(at(27.1), SeriesKey(2), at(27.0), 20.0), "another series");
        assert!(!habits.explain(at(3.5), JOB, at(3.0), 20.0), "it does not explain itself");
    }

    #[test]
    fn what_lasts_longer_or_reaches_higher_is_none() {
        let habits = habits();
        assert!(habits.explain(at(28.3), JOB, at(27.0), 29.0));
        assert!(!habits.explain(at(28.4), JOB, at(27.0), 20.0), "it was over by then");
        assert!(!habits.explain(at(27.1), JOB, at(27.0), 31.0), "it was not that much");
    }

    #[test]
    fn room_is_bounded_and_the_oldest_is_forgotten() {
        let mut habits = habits();
        (0..DEPARTURES_MAX as u64).for_each(|key| habits.note(at(5.0), SeriesKey(100 + key), at(5.0), 9.0));
        assert!(habits.departures.len() == DEPARTURES_MAX && !habits.explain(at(27.1), JOB, at(27.0), 20.0));
        assert!(habits.explain(at(29.1), SeriesKey(100), at(29.0), 9.0));
    }
}

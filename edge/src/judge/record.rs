//! What a detector's record of many days on this host asks of its next alarm.
//!
//! What surprises say of how rare a verdict is was extrapolated from days to years, and on some hosts it is wrong for
//! series after series. A day on which a detector opened anything asks it for more from then on, and that fades: the
//! bar follows the share of days with an alarm, whatever the surprises claim (as the miscoverage of adaptive conformal
//! inference does: Gibbs and Candès 2021). Days and not alarms are counted, so that a day on which much breaks is one.

use crate::learnt::{LearntRecord, millis};
use std::time::Duration;
use vedette_protocol::time::MonoTime;

/// An alarm that comes so long after the one that was counted is of another day.
const DAY: Duration = Duration::from_secs(86_400);
/// Days of which nothing follows, and the most that are counted on top: a decade is asked for each.
const BELIEVED: f64 = 1.0;
const DECADES_MAX: f64 = 3.0;
/// They count half after this long.
const HALVES: Duration = Duration::from_secs(14 * 86_400);

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Record {
    /// Days with an alarm, as far as they are left. What fades in a second is beyond the digits of f32.
    days: f64,
    faded_at: Option<MonoTime>,
    /// The alarm that the last one was counted for.
    counted_at: Option<MonoTime>,
}

impl Record {
    /// An episode opened. `weight` is what a day counts for: less where more episodes are wanted.
    pub(super) fn alarm(&mut self, now: MonoTime, weight: f32) {
        if self.counted_at.is_none_or(|last| now.since(last) >= DAY) {
            self.counted_at = Some(now);
            self.days = (self.days + f64::from(weight)).min(BELIEVED + DECADES_MAX);
        }
    }

    /// Decades on top, now.
    #[expect(clippy::cast_possible_truncation, reason = "decades need no more digits than f32 has")]
    pub(super) fn decades(&mut self, now: MonoTime) -> f32 {
        let passed = self.faded_at.replace(now).map_or(Duration::ZERO, |last| now.since(last));
        self.days *= (-passed.as_secs_f64() / HALVES.as_secs_f64()).exp2();
        (self.days - BELIEVED).max(0.0) as f32
    }

    /// What outlives a restart.
    pub(super) fn learnt(&self, now: MonoTime) -> LearntRecord {
        LearntRecord { days: self.days, counted_ms_ago: self.counted_at.map(|at| millis(now.since(at))) }
    }

    /// Takes over what was learnt, which is sound. While nobody watches nothing fades.
    pub(super) fn recall(&mut self, now: MonoTime, learnt: LearntRecord, away: Duration) {
        let ago_ms = learnt.counted_ms_ago.map(|ago_ms| ago_ms.saturating_add(millis(away)));
        self.days = learnt.days.min(BELIEVED + DECADES_MAX);
        self.faded_at = Some(now);
        // An alarm of before this boot is of another day than any that comes.
        self.counted_at = ago_ms.and_then(|ago_ms| (now.ns / 1_000_000).checked_sub(ago_ms)).map(MonoTime::from_ms);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decades after days of which each `every`-th has alarms for so many hours, under an agent that is started again
    /// each `life` hours.
    fn after(days: u64, every: u64, alarms: u64, life: u64) -> f32 {
        let (mut record, mut decades) = (Record::default(), 0.0);
        for hour in 0..=days * 24 {
            let now = MonoTime::from_ms((100 + hour) * 3_600_000);
            if hour % life == 0 {
                let learnt = record.learnt(now);
                record = Record::default();
                record.recall(now, learnt, Duration::ZERO);
            }
            decades = record.decades(now);
            if hour % (24 * every) < alarms {
                record.alarm(now, 1.0);
            }
        }
        decades
    }

    #[test]
    fn a_day_on_which_everything_breaks_is_believed_and_a_detector_that_opens_each_day_is_not() {
        for life in [20, 1_000] {
            assert_eq!(after(1, 100, 20, life), 0.0);
            assert_eq!(after(60, 40, 1, life), 0.0, "now and then is what it is there for");
            let (daily, weekly) = (after(30, 1, 1, life), after(60, 7, 1, life));
            assert!((2.0..=DECADES_MAX).contains(&f64::from(daily)), "{daily}");
            assert!(weekly > 0.5 && weekly < daily, "{weekly}");
        }
    }

    #[test]
    fn what_is_asked_on_top_fades_by_half_in_two_weeks_however_often_it_is_asked() {
        for step_s in [1, 60, 86_400] {
            let mut record = Record::default();
            record.recall(MonoTime::default(), LearntRecord { days: f64::MAX, counted_ms_ago: None }, Duration::ZERO);
            assert_eq!(f64::from(record.decades(MonoTime::default())), DECADES_MAX);
            for step in 1..=HALVES.as_secs() / step_s {
                record.decades(MonoTime::from_ms(step * step_s * 1_000));
            }
            assert!((record.days - (BELIEVED + DECADES_MAX) / 2.0).abs() < 1e-6, "{record:?} asked each {step_s} s");
        }
    }
}

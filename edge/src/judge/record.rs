//! What a detector's record of many days on this host asks of its next alarm.
//!
//! What surprises say of how rare a verdict is was extrapolated from days to years, and on some hosts it is wrong for
//! series after series. A day on which a detector opened anything asks it for more from then on, and that fades: the
//! bar follows the share of days with an alarm, whatever the surprises claim (as the miscoverage of adaptive conformal
//! inference does: Gibbs and Candès 2021). Days and not alarms are counted, so that a day on which much breaks is one.

use std::time::Duration;
use vedette_protocol::time::MonoTime;

const DAY: Duration = Duration::from_secs(86_400);
/// Decades on top for each day with an alarm, of which the first one is believed; never more than this.
const DECADES_A_DAY: f32 = 1.0;
const BELIEVED: f32 = 1.0;
const DECADES_MAX: f32 = 3.0;
/// Of what is asked for on top, half is left after so many days.
const HALVE_DAYS: f32 = 14.0;

/// See the module's documentation.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Record {
    days: f32,
    began: Option<MonoTime>,
    alarmed: bool,
}

impl Record {
    /// An episode opened.
    pub(super) fn alarm(&mut self) {
        self.alarmed = true;
    }

    /// Time passes. `weight` is what a day counts for: less where more episodes are wanted.
    pub(super) fn pass(&mut self, now: MonoTime, weight: f32) {
        let began = *self.began.get_or_insert(now);
        if now.since(began) < DAY {
            return;
        }
        self.began = Some(now);
        let kept = (-1.0 / HALVE_DAYS).exp2();
        let alarmed = f32::from(u8::from(std::mem::take(&mut self.alarmed)));
        self.days = (self.days * kept + weight * alarmed).min(BELIEVED + DECADES_MAX / DECADES_A_DAY);
    }

    /// Decades on top.
    pub(super) fn decades(&self) -> f32 {
        (DECADES_A_DAY * (self.days - BELIEVED)).max(0.0)
    }

    /// Days with an alarm, as they are left: what outlives a restart.
    pub(super) fn learnt(&self) -> f32 {
        self.days
    }

    /// Takes over what was learnt.
    pub(super) fn recall(&mut self, days: f32) {
        self.days = days.min(BELIEVED + DECADES_MAX / DECADES_A_DAY);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Decades after days of which each `every`-th has so many alarms.
    fn after(days: u64, every: u64, alarms: u64) -> f32 {
        let mut record = Record::default();
        for hour in 0..=days * 24 {
            record.pass(MonoTime::from_ms(hour * 3_600_000), 1.0);
            if hour % (24 * every) < alarms {
                record.alarm();
            }
        }
        record.decades()
    }

    #[test]
    fn a_day_on_which_everything_breaks_is_believed_and_a_detector_that_opens_each_day_is_not() {
        assert_eq!(after(1, 100, 24), 0.0);
        assert_eq!(after(60, 40, 1), 0.0, "now and then is what it is there for");
        let daily = after(30, 1, 1);
        assert!((2.0..=DECADES_MAX).contains(&daily), "{daily}");
        let weekly = after(60, 7, 1);
        assert!(weekly > 0.5 && weekly < daily, "{weekly}");
    }

    #[test]
    fn what_is_asked_on_top_fades() {
        let mut record = Record::default();
        record.recall(f32::MAX);
        assert_eq!(record.decades(), DECADES_MAX);
        (0..60).for_each(|day| record.pass(MonoTime::from_ms(day * 86_400_000), 1.0));
        assert_eq!(record.decades(), 0.0);
    }
}

//! Whether a detector's calibration still holds: scores that should come once in a hundred come far more often, or never.

use std::time::Duration;
use vedette_protocol::time::MonoTime;

/// One look at the share takes so long and so many verdicts.
const WINDOW_MS: u64 = 3_600_000;
const VERDICTS_MIN: u32 = 2_000;
/// A share counts as off from this factor on, in either direction, and as back within its square root.
const FACTOR: f64 = 5.0;
/// Looks in a row that must be off, all in one direction.
const LOOKS: i8 = 3;
/// Shares below this are taken as this: of few events a factor says nothing.
const SHARE_MIN: f64 = 0.002;
/// Weight of a look in what is usual: what drifted for days is usual in turn.
const RATE: f64 = 1.0 / 48.0;
/// Looks before anything is said.
const LOOKS_MIN: u32 = 6;
/// A detector's drift is told at most this often.
const TOLD_APART_MS: u64 = 86_400_000;

/// What a look at the share says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Drift {
    /// It is off: the share now and the one that was usual.
    Begins { share: f64, usual: f64 },
    /// It is back, or has become usual.
    Ends { share: f64, usual: f64 },
}

/// Counts the verdicts beyond the calibrated 99 % quantile.
#[derive(Debug)]
pub(crate) struct Conformity {
    since: MonoTime,
    verdicts: u32,
    beyond: u32,
    usual: f64,
    looks: u32,
    /// Looks in a row that were off, negative below.
    off: i8,
    drifting: bool,
    told_at: Option<MonoTime>,
}

impl Conformity {
    pub(crate) fn new(now: MonoTime) -> Self {
        // By construction one verdict in a hundred is beyond the 99 % quantile.
        let usual = 0.01;
        Self { since: now, verdicts: 0, beyond: 0, usual, looks: 0, off: 0, drifting: false, told_at: None }
    }

    /// The share that was usual of late.
    pub(crate) fn usual(&self) -> f64 {
        self.usual
    }

    /// A verdict of a series that is in no episode.
    #[inline]
    pub(crate) fn count(&mut self, surprise: f32) {
        self.verdicts += 1;
        self.beyond += u32::from(surprise >= 2.0);
    }

    /// Looks, once a window is full.
    pub(crate) fn look(&mut self, now: MonoTime) -> Option<Drift> {
        if now.since(self.since) < Duration::from_millis(WINDOW_MS) || self.verdicts < VERDICTS_MIN {
            return None;
        }
        self.since = now;
        let (verdicts, beyond) = (std::mem::take(&mut self.verdicts), std::mem::take(&mut self.beyond));
        let share = (f64::from(beyond) / f64::from(verdicts)).max(SHARE_MIN);
        let ratio = share / self.usual;
        self.off = match () {
            () if ratio >= FACTOR => self.off.clamp(0, LOOKS) + 1,
            () if ratio <= 1.0 / FACTOR => self.off.clamp(-LOOKS, 0) - 1,
            () => 0,
        };
        self.looks = self.looks.saturating_add(1);
        let usual = self.usual;
        // Faster while little is known, so that a detector's own share is usual soon.
        self.usual += RATE.max(1.0 / f64::from(self.looks.saturating_add(1))) * (share - self.usual);
        let back = ratio.log10().abs() < FACTOR.log10() / 2.0;
        if self.drifting && back {
            self.drifting = false;
            return Some(Drift::Ends { share, usual });
        }
        let apart = |last: MonoTime| now.since(last) >= Duration::from_millis(TOLD_APART_MS);
        if !self.drifting && self.off.abs() >= LOOKS && self.looks >= LOOKS_MIN && self.told_at.is_none_or(apart) {
            self.drifting = true;
            self.told_at = Some(now);
            return Some(Drift::Begins { share, usual });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hours of one verdict in `one_in` beyond the quantile; what was said.
    fn hours(conformity: &mut Conformity, hours: std::ops::Range<u64>, one_in: u32) -> Vec<(u64, Drift)> {
        let mut said = Vec::new();
        for hour in hours {
            (0..10_000).for_each(|verdict| conformity.count(if verdict % one_in == 0 { 2.5 } else { 0.3 }));
            let drift = conformity.look(MonoTime::from_ms((hour + 1) * WINDOW_MS));
            said.extend(drift.map(|drift| (hour, drift)));
        }
        said
    }

    #[test]
    fn share_that_stays_far_off_is_told_once_and_ends() {
        let mut conformity = Conformity::new(MonoTime::default());
        assert_eq!(hours(&mut conformity, 0..48, 100), []);
        let said = hours(&mut conformity, 48..60, 10);
        assert!(matches!(said[..], [(50, Drift::Begins { .. }), ..]), "{said:?}");
        assert_eq!(said.iter().filter(|(_, drift)| matches!(drift, Drift::Begins { .. })).count(), 1);
        let said = hours(&mut conformity, 60..70, 90);
        assert!(said.iter().all(|(_, drift)| matches!(drift, Drift::Ends { .. })), "{said:?}");
    }

    #[test]
    fn an_hour_of_trouble_is_no_drift_and_a_detector_that_falls_silent_is() {
        let mut conformity = Conformity::new(MonoTime::default());
        hours(&mut conformity, 0..30, 50);
        assert_eq!(hours(&mut conformity, 30..32, 5), []);
        assert_eq!(hours(&mut conformity, 32..40, 50), []);
        let said = hours(&mut conformity, 40..50, 10_001);
        assert!(matches!(said[..], [(_, Drift::Begins { share, usual }), ..] if share < usual), "{said:?}");
    }
}

//! Whether a detector's calibration still holds: scores that should come once in a hundred come far more often, or never.
//!
//! Pools follow what lasts: what they have seen counts half after a day. So what is off for hours is a busy host and not a
//! calibration that fails, and after a busy time rare scores are too rare for some days. What is told is what ought to be
//! over by then: more of them for a day on end, whatever the hour, or fewer for a week.

use crate::learnt::{LearntConformity, millis};
use std::time::Duration;
use vedette_protocol::time::MonoTime;

/// One look at the share takes so long and so many verdicts.
pub(crate) const WINDOW: Duration = Duration::from_secs(6 * 3_600);
const VERDICTS_MIN: u32 = 2_000;
/// A share counts as off from this factor on, in either direction, and as back within its square root.
const FACTOR: f64 = 5.0;
/// Looks in a row that must be off: above, and below.
const LOOKS_ABOVE: i8 = 4;
const LOOKS_BELOW: i8 = 28;
/// Shares below this are taken as this: of few events a factor says nothing.
const SHARE_MIN: f64 = 0.002;
/// Weight of a look in what is usual. What is off is not usual before it was told.
const RATE: f64 = 1.0 / 28.0;
/// Looks by which it is known what is usual.
const LOOKS_MIN: u32 = 8;
/// A detector's drift is told at most this often.
const TOLD_APART: Duration = Duration::from_secs(7 * 86_400);

/// What a look at the share says.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) enum Drift {
    /// It is off since then: the share now and the one that was usual.
    Begins { share: f64, usual: f64, since: MonoTime },
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
    /// Looks in a row that were off, negative below, and when the first of them began.
    off: i8,
    off_since: MonoTime,
    drifting: bool,
    /// For how long nothing is told from a moment on.
    silent: Option<(MonoTime, Duration)>,
}

impl Conformity {
    pub(crate) fn new(now: MonoTime) -> Self {
        // By construction one verdict in a hundred is beyond the 99 % quantile.
        let usual = 0.01;
        let (since, off_since) = (now, now);
        Self { since, verdicts: 0, beyond: 0, usual, looks: 0, off: 0, off_since, drifting: false, silent: None }
    }

    /// The share that was usual of late.
    pub(crate) fn usual(&self) -> f64 {
        self.usual
    }

    /// What outlives a restart.
    pub(crate) fn learnt(&self, now: MonoTime) -> LearntConformity {
        let silent_ms = self.silent.map_or(0, |(since, left)| millis(left.saturating_sub(now.since(since))));
        LearntConformity { usual: self.usual, looks: self.looks, silent_ms }
    }

    /// Takes over what was learnt, which is sound, so long ago.
    pub(crate) fn recall(&mut self, now: MonoTime, learnt: LearntConformity, away: Duration) {
        (self.usual, self.looks) = (learnt.usual, learnt.looks);
        self.silent = Some((now, Duration::from_millis(learnt.silent_ms).min(TOLD_APART).saturating_sub(away)));
    }

    /// A verdict of a series that is in no episode.
    #[inline]
    pub(crate) fn count(&mut self, surprise: f32) {
        self.verdicts += 1;
        self.beyond += u32::from(surprise >= 2.0);
    }

    /// Looks, once a window is full.
    pub(crate) fn look(&mut self, now: MonoTime) -> Option<Drift> {
        if now.since(self.since) < WINDOW || self.verdicts < VERDICTS_MIN {
            return None;
        }
        let began = std::mem::replace(&mut self.since, now);
        let (verdicts, beyond) = (std::mem::take(&mut self.verdicts), std::mem::take(&mut self.beyond));
        let share = (f64::from(beyond) / f64::from(verdicts)).max(SHARE_MIN);
        let (usual, ratio) = (self.usual, share / self.usual);
        let before = self.off;
        self.off = match () {
            () if ratio >= FACTOR => before.max(0).saturating_add(1),
            () if ratio <= 1.0 / FACTOR => before.min(0).saturating_sub(1),
            () => 0,
        };
        if self.off.abs() == 1 {
            self.off_since = began;
        }
        self.looks = self.looks.saturating_add(1);
        let is_told = self.off >= LOOKS_ABOVE || self.off <= -LOOKS_BELOW;
        if self.off == 0 || is_told || self.looks <= LOOKS_MIN {
            // Faster while little is known, so that a detector's own share is usual soon.
            self.usual += RATE.max(1.0 / f64::from(self.looks.saturating_add(1))) * (share - usual);
        }
        let back = ratio.log10().abs() < FACTOR.log10() / 2.0;
        if self.drifting && back {
            self.drifting = false;
            return Some(Drift::Ends { share, usual });
        }
        let may_tell = self.silent.is_none_or(|(since, left)| now.since(since) >= left);
        if !self.drifting && is_told && self.looks > LOOKS_MIN && may_tell {
            self.drifting = true;
            self.silent = Some((now, TOLD_APART));
            return Some(Drift::Begins { share, usual, since: self.off_since });
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Looks of one verdict in `one_in` beyond the quantile; what was said.
    fn looks(conformity: &mut Conformity, looks: std::ops::Range<u64>, one_in: u32) -> Vec<(u64, Drift)> {
        let mut said = Vec::new();
        for look in looks {
            (0..10_000).for_each(|verdict| conformity.count(if verdict % one_in == 0 { 2.5 } else { 0.3 }));
            let drift = conformity.look(at(look + 1));
            said.extend(drift.map(|drift| (look, drift)));
        }
        said
    }

    fn at(look: u64) -> MonoTime {
        MonoTime::default() + WINDOW * u32::try_from(look).unwrap()
    }

    #[test]
    fn share_that_is_far_off_for_a_day_is_told_once_and_ends() {
        let mut conformity = Conformity::new(at(0));
        assert_eq!(looks(&mut conformity, 0..48, 100), []);
        let said = looks(&mut conformity, 48..60, 10);
        assert!(matches!(said[..], [(51, Drift::Begins { since, .. })] if since == at(48)), "{said:?}");
        let said = looks(&mut conformity, 60..90, 90);
        assert!(matches!(said[..], [(_, Drift::Ends { .. })]), "{said:?}");
    }

    #[test]
    fn busy_hours_are_no_drift_and_a_detector_that_falls_silent_for_a_week_is() {
        let mut conformity = Conformity::new(at(0));
        looks(&mut conformity, 0..30, 50);
        for day in 0..20 {
            assert_eq!(looks(&mut conformity, 30 + 4 * day..33 + 4 * day, 5), []);
            assert_eq!(looks(&mut conformity, 33 + 4 * day..34 + 4 * day, 50), []);
        }
        assert_eq!(looks(&mut conformity, 110..130, 10_001), []);
        let said = looks(&mut conformity, 130..140, 10_001);
        assert!(matches!(said[..], [(137, Drift::Begins { share, usual, .. })] if share < usual), "{said:?}");
    }

    #[test]
    fn a_detector_that_hardly_ever_speaks_or_often_does_is_usual_from_the_start() {
        for one_in in [5, 10_001] {
            assert_eq!(looks(&mut Conformity::new(at(0)), 0..100, one_in), [], "one in {one_in}");
        }
    }

    #[test]
    fn drift_is_told_once_a_week_over_restarts_too() {
        let mut conformity = Conformity::new(at(0));
        looks(&mut conformity, 0..20, 100);
        assert_eq!(looks(&mut conformity, 20..24, 10).len(), 1);
        let (learnt, usual) = (conformity.learnt(at(24)), conformity.usual());
        let mut after = Conformity::new(at(24));
        after.recall(at(24), learnt, WINDOW);
        assert_eq!(after.usual(), usual);
        assert_eq!(looks(&mut after, 24..30, 100), []);
        assert_eq!(looks(&mut after, 30..45, 10), [], "within the week");
        looks(&mut after, 45..200, 100);
        assert_eq!(looks(&mut after, 200..204, 10).len(), 1);
    }
}

//! Like series of one detector: one metric at one pace. They are calibrated together.

use super::pace::Pace;
use crate::calibration::{BOUTS, Pool, SCORES, Tail};
use crate::learnt::{LearntWard, millis};
use serde::{Deserialize, Serialize};
use std::time::Duration;
use vedette_protocol::time::MonoTime;

/// One alarm per ward and this time counts as an alarm of its own.
const ALARM_APART_MS: u64 = 600_000;
/// Alarms that are kept out of calibration; what recurs more often is usual here.
const ALARMS_BELIEVED: f32 = 2.5;
/// They count half after this long.
const HALVE_DAYS: f32 = 4.0;
/// Alarms of one series do so after this long.
const ALARMED_HALVE_DAYS: f32 = 14.0;
const DAY_MS: f32 = 86_400_000.0;
/// Decades asked of a lone series at first, and seconds over which they fade.
const PATIENCE: f32 = 3.0;
const PATIENCE_S: f32 = 21_600.0;
/// Decades that are always asked of it on top: values that follow one another are less independent than their scores look,
/// so the extrapolation is bold. Measured (docs/calibration.md), not derived.
const LONE: f32 = 1.0;
/// Decades for each doubling of the scale of bouts beyond that of light tails.
const HEAVINESS: f32 = 1.2;
const REACH: f32 = 2.0;
/// Decades of caution for each tenfold of alarms.
const CAUTION: f32 = 4.0;
/// A ward of fewer scores is hardly known.
const GREEN: f64 = 1_000.0;
/// A single verdict is worth no more than the data can tell: so many decades beyond one in all that were seen, and never
/// more than [`CEILING_MAX`].
const BEYOND_SEEN: f32 = 2.0;
const CEILING_MAX: f32 = 6.0;

/// At which height of its bout a series alarmed, and how often, faded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct Alarmed {
    pub(crate) height: f32,
    pub(crate) times: f32,
}

impl Alarmed {
    /// Less often than this is not at all.
    const FORGOTTEN: f32 = 0.05;

    /// So long after it was right; `None` if nothing is left of it.
    pub(crate) fn after(self, passed: Duration) -> Option<Self> {
        let times = self.times * (-passed.as_secs_f32() / (ALARMED_HALVE_DAYS * 86_400.0)).exp2();
        (times > Self::FORGOTTEN).then_some(Self { times, ..self })
    }

    /// Once more.
    pub(crate) fn and(self, height: f32) -> Self {
        Self { height: self.height.max(height), times: self.times + 1.0 }
    }

    pub(crate) fn is_sound(self) -> bool {
        self.height.is_finite() && self.times.is_finite() && self.height >= 0.0 && self.times >= 0.0
    }
}

#[derive(Debug)]
pub(crate) struct Ward {
    /// Scores, relative to their series' scale.
    pub(crate) scores: Pool,
    /// Heights of bouts, one in so many verdicts.
    pub(crate) bouts: Pool,
    pub(crate) family: u32,
    pub(crate) pace: Pace,
    /// Those of the same metric by pace, itself among them.
    kin: [Option<u32>; Pace::COUNT],
    since: MonoTime,
    /// For how long its like was known before that.
    known: Duration,
    /// Decades for bouts that reach far: the farther, the less is known of how far.
    heaviness: f32,
    /// Most that one verdict counts for.
    pub(crate) ceiling: f32,
    verdicts: u32,
    refreshed_ms: u64,
    /// Alarms of late, and the time of the last one.
    alarms: f32,
    alarmed_at: Option<MonoTime>,
}

impl Ward {
    /// The first one of its metric, which is to have that number.
    pub(crate) fn new(number: u32, family: u32, pace: Pace, now: MonoTime) -> Self {
        let mut kin = [None; Pace::COUNT];
        kin[pace as usize] = Some(number);
        Self {
            scores: Pool::new(SCORES),
            bouts: Pool::new(BOUTS),
            family,
            pace,
            kin,
            since: now,
            known: Duration::ZERO,
            heaviness: 0.0,
            ceiling: BEYOND_SEEN,
            verdicts: 0,
            refreshed_ms: now.ns / 1_000_000,
            alarms: 0.0,
            alarmed_at: None,
        }
    }

    #[inline]
    pub(crate) fn count_verdict(&mut self) {
        self.verdicts += 1;
    }

    /// An episode opened, which counts for `weight` alarms.
    pub(crate) fn alarm(&mut self, now: MonoTime, weight: f32) {
        let apart = |last: MonoTime| now.since(last) >= Duration::from_millis(ALARM_APART_MS);
        if self.alarmed_at.is_none_or(apart) {
            self.alarms += weight;
            self.alarmed_at = Some(now);
        }
    }

    /// Numbers of the wards of its metric, itself among them.
    pub(crate) fn kin(&self) -> impl Iterator<Item = u32> + use<> {
        self.kin.into_iter().flatten()
    }

    /// Decades on top of the budget: where bouts reach far or alarms came too often, the calibration is bolder than elsewhere.
    pub(crate) fn caution(&self, alarmed: Option<Alarmed>) -> f32 {
        let heaviness = alarmed.map_or(self.heaviness, |alarmed| heaviness(&self.tail_of(alarmed)));
        CAUTION * self.alarms.ln_1p() * std::f32::consts::LOG10_E + heaviness
    }

    /// −log10 of the probability that a verdict begins a bout so high in one of its series, which alarmed or did not.
    #[expect(clippy::cast_possible_truncation, reason = "a surprise needs no more digits than f32 has")]
    pub(crate) fn evidence(&self, height: f32, alarmed: Option<Alarmed>) -> f32 {
        let usual = self.bouts.surprise(height);
        alarmed.map_or(usual, |alarmed| usual.min(self.tail_of(alarmed).surprise(f64::from(height)) as f32))
    }

    /// Bouts of a series that alarmed reach as high as that did, whatever its like do: a fault is of one series, and so is
    /// what comes again. How high it was is not taught to its like before alarms are usual here: where bouts are few, one
    /// fault would hide the next on another series.
    fn tail_of(&self, alarmed: Alarmed) -> Tail {
        self.bouts.tail_with(alarmed.height, alarmed.times)
    }

    /// Decades on top for a series that is alone with its departure while its like is hardly known: what the host does
    /// each hour was not seen yet.
    pub(crate) fn patience(&self, now: MonoTime) -> f32 {
        PATIENCE * (1.0 - self.known_for(now).as_secs_f32() / PATIENCE_S).max(0.0) + LONE
    }

    fn known_for(&self, now: MonoTime) -> Duration {
        self.known.saturating_add(now.since(self.since))
    }

    /// Whether alarms are so usual here that they teach as anything else does.
    pub(crate) fn alarms_teach(&self) -> bool {
        self.alarms >= ALARMS_BELIEVED
    }

    /// What outlives a restart.
    pub(crate) fn learnt(&self, now: MonoTime, metric: &str) -> LearntWard {
        let now_ms = now.ns / 1_000_000;
        LearntWard {
            metric: metric.to_owned(),
            pace: self.pace,
            known_ms: millis(self.known_for(now)),
            scores: self.scores.learnt(now_ms),
            bouts: self.bouts.learnt(now_ms),
            verdicts: self.verdicts,
            alarms: self.alarms,
            alarmed_ms_ago: self.alarmed_at.map(|at| millis(now.since(at))),
        }
    }

    /// Takes over what was learnt so long ago.
    pub(crate) fn recall(&mut self, now: MonoTime, learnt: &LearntWard, away: Duration) {
        let (now_ms, away_ms) = (now.ns / 1_000_000, millis(away));
        self.known = Duration::from_millis(learnt.known_ms);
        (self.since, self.refreshed_ms) = (now, now_ms);
        self.scores.recall(&learnt.scores, now_ms, away_ms);
        self.bouts.recall(&learnt.bouts, now_ms, away_ms);
        self.verdicts = learnt.verdicts;
        self.alarms = learnt.alarms;
        // An alarm of before this boot is apart from any that comes.
        let alarmed_ms = learnt.alarmed_ms_ago.and_then(|ago_ms| now_ms.checked_sub(ago_ms.saturating_add(away_ms)));
        self.alarmed_at = alarmed_ms.map(MonoTime::from_ms);
        self.look();
    }

    #[expect(clippy::cast_precision_loss, reason = "a share of a day needs no more digits")]
    pub(crate) fn refresh(&mut self, now_ms: u64) {
        let days = now_ms.saturating_sub(std::mem::replace(&mut self.refreshed_ms, now_ms)) as f32 / DAY_MS;
        self.alarms *= (-days / HALVE_DAYS).exp2();
        // What was learnt an hour ago is not worth fitting anew each second: one more in fifty changes nothing.
        if f64::from(self.verdicts) * 50.0 < self.bouts.total() {
            return;
        }
        self.bouts.record_zeros(std::mem::take(&mut self.verdicts));
        self.scores.refresh(now_ms);
        self.bouts.refresh(now_ms);
        self.look();
    }

    /// Derives what depends on the pools.
    #[expect(clippy::cast_possible_truncation, reason = "a surprise needs no more digits than f32 has")]
    fn look(&mut self) {
        self.heaviness = heaviness(&self.bouts.tail());
        self.ceiling = (self.scores.total().max(1.0).log10() as f32 + BEYOND_SEEN).min(CEILING_MAX);
    }
}

#[expect(clippy::cast_possible_truncation, reason = "decades need no more digits than f32 has")]
fn heaviness(bouts: &Tail) -> f32 {
    HEAVINESS * (bouts.scale as f32 / REACH).log2().max(0.0)
}

/// The ward of the same metric as `ward` at another pace; it is made if there is none yet. What is hardly known at a
/// faster pace is taken from the slower one: single values spread wider than those that are judged by their neighbours,
/// so it errs on the safe side, and a series that was always thinned can be judged when it is raised.
pub(crate) fn at_pace(wards: &mut Vec<Ward>, ward: u32, pace: Pace, now: MonoTime) -> u32 {
    let number = find(wards, ward, pace, now);
    let (here, there) = (&wards[ward as usize], &wards[number as usize]);
    let green = there.scores.total() < GREEN && here.scores.total() > there.scores.total();
    if green && (pace as usize) < here.pace as usize {
        let lent = (here.scores.clone(), here.bouts.clone(), here.since.min(there.since), here.known.max(there.known));
        let (heaviness, ceiling) = (here.heaviness, here.ceiling);
        let there = &mut wards[number as usize];
        (there.scores, there.bouts, there.since, there.known) = lent;
        (there.heaviness, there.ceiling) = (heaviness, ceiling);
    }
    number
}

/// The same; nothing is taken over.
pub(crate) fn find(wards: &mut Vec<Ward>, ward: u32, pace: Pace, now: MonoTime) -> u32 {
    let Ward { family, kin, .. } = &wards[ward as usize];
    if let Some(known) = kin[pace as usize] {
        return known;
    }
    let number = u32::try_from(wards.len()).expect("three paces of fewer metrics than series");
    let (family, mut kin) = (*family, *kin);
    kin[pace as usize] = Some(number);
    wards.push(Ward::new(number, family, pace, now));
    kin.iter().flatten().for_each(|one| wards[*one as usize].kin = kin);
    number
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_alarm_asks_more_of_its_series_and_hides_nothing_on_its_like() {
        let mut ward = Ward::new(0, 0, Pace::of(10_000), MonoTime::default());
        ward.verdicts = 5_000;
        ward.bouts.record(2.0);
        ward.refresh(0);
        let of_like = |ward: &Ward, height| ward.evidence(height, None) - ward.caution(None);
        let before = of_like(&ward, 20.0);
        let alarmed = Alarmed::default().and(20.0);
        let again = |height| ward.evidence(height, Some(alarmed)) - ward.caution(Some(alarmed));
        assert!(again(20.0) + 3.0 < before && again(25.0) > again(20.0), "{before} {}", again(20.0));
        assert_eq!(of_like(&ward, 20.0), before);
        let days = |days: u64| alarmed.after(Duration::from_secs(days * 86_400));
        assert!((days(14).unwrap().times - 0.5).abs() < 1e-6 && days(80).is_none());
    }
}

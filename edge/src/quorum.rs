//! When the votes of a whole host become an episode.
//!
//! A detector that votes says of a series how unlike itself it is, and no single vote opens anything. Together
//! ([`crate::oddness`]) they tell what no series tells alone. How odd a healthy host becomes differs by a factor of ten
//! from host to host, so the bar is where this host's own bouts of oddness meet its share of the operator's budget
//! ([`crate::thinning`]; peaks over threshold, as DSPOT: Siffer and others 2017).
//!
//! What is open is about the series that contributes most, stays with it, and ends when the host is a third as odd as it was.

use crate::learnt::LearntVotes;
use crate::thinning::Thinning;
use std::time::Duration;
use vedette_protocol::ids::Digest;
use vedette_protocol::time::MonoTime;

/// Budget of the votes, as a share of the operator's, beside as much for those who judge series one by one: on healthy
/// hosts both open far fewer than their fits allow (docs/calibration.md).
pub(crate) const SHARE: f64 = 1.0;
/// Peaks of oddness fall off as a power on healthy hosts: SHARPNESS · ln(oddness / ODD) falls off exponentially, at about
/// the rate and the slope that a [`Thinning`] takes as usual.
const SHARPNESS: f64 = 2.1;
const ODD: f64 = 0.6;
/// From here below the bar on the series that contributes most is watched, to have evidence of how it began.
const WATCH_WITHIN: f64 = 1.0;
/// A bout is over at this share of its peak, an alarm at this share of its own.
const OVER: f32 = 0.5;
const CALMED: f32 = 0.3;
/// What lasts longer is another bout.
const BOUT_MAX: Duration = Duration::from_secs(3_600);
/// What is rarer is as rare as this.
const SURPRISE_MAX: f64 = 300.0;
/// Nothing opens before the host was watched for a day, as far as it is remembered: by day and by night it does what it
/// never did before.
const KNOWN_DAYS: f64 = 0.9;
/// Looks at a host a day, one each minute: votes tell of minutes.
const LOOKS_A_DAY: f64 = 1_440.0;

/// What the votes say now.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Heard {
    /// Worth the evidence of a series.
    pub(crate) watch: bool,
    /// An alarm is on.
    pub(crate) alarmed: bool,
    /// It begins now.
    pub(crate) opens: bool,
    /// −log10 of the probability that a healthy minute of this host is as odd; 0 without an alarm.
    pub(crate) surprise: f32,
}

impl Heard {
    /// Nothing.
    pub(crate) const CALM: Self = Self { watch: false, alarmed: false, opens: false, surprise: 0.0 };
}

/// How odd the host is by its own measure.
#[derive(Debug)]
pub(crate) struct Quorum {
    thinning: Thinning,
    /// Whose votes it learnt from.
    voters: Option<Digest>,
    /// Highest oddness of the bout that is on.
    peak: f32,
    since: MonoTime,
    /// It is an alarm.
    alarmed: bool,
    /// The host was less odd than an alarm takes since it is known, and since the last one: what has lasted for as long as
    /// it is known is usual, and what fades is no other alarm.
    armed: bool,
    /// Detector and series that are watched, or that an episode is about.
    pub(crate) speaker: Option<(u32, u32)>,
}

impl Quorum {
    /// So many episodes a host and day are granted to all detectors together.
    pub(crate) fn new(episodes_per_day: f64) -> Self {
        Self {
            thinning: Thinning::new(SHARE * episodes_per_day),
            voters: None,
            peak: 0.0,
            since: MonoTime::default(),
            alarmed: false,
            armed: false,
            speaker: None,
        }
    }

    pub(crate) fn set_budget(&mut self, episodes_per_day: f64) {
        self.thinning.set_budget(SHARE * episodes_per_day);
    }

    /// These vote from now on. How odd a host becomes is measured in votes, so what was learnt of others' is forgotten;
    /// while nobody votes it waits.
    pub(crate) fn set_voters(&mut self, voters: Option<Digest>) {
        let Some(voters) = voters else { return };
        if self.voters.replace(voters).is_some_and(|before| before != voters) {
            self.thinning = self.thinning.fresh();
            (self.peak, self.alarmed, self.armed) = (0.0, false, false);
        }
    }

    /// The host is this odd.
    pub(crate) fn hear(&mut self, now: MonoTime, oddness: f32) -> Heard {
        self.thinning.pass(now);
        let reach = reach(oddness);
        let known = self.thinning.days() >= KNOWN_DAYS;
        let high = known && reach >= self.thinning.bar();
        let opens = high && self.armed && !self.alarmed;
        self.armed |= known && !high;
        self.alarmed |= opens;
        let lasts = !self.alarmed && now.since(self.since) >= BOUT_MAX;
        if lasts || oddness < self.peak * if self.alarmed { CALMED } else { OVER } {
            self.end_bout(now);
        }
        self.peak = self.peak.max(oddness);
        Heard {
            watch: self.alarmed || reach >= self.thinning.bar() - WATCH_WITHIN,
            alarmed: self.alarmed,
            opens: opens && self.alarmed,
            surprise: if self.alarmed { self.surprise(reach) } else { 0.0 },
        }
    }

    fn end_bout(&mut self, now: MonoTime) {
        let reach = reach(self.peak);
        match std::mem::take(&mut self.alarmed) {
            true => {
                self.thinning.note_alarm_reach(reach);
                self.armed = false;
            }
            false => self.thinning.note_reach(reach),
        }
        (self.peak, self.since) = (0.0, now);
    }

    #[expect(clippy::cast_possible_truncation, reason = "decades need no more digits than f32 has")]
    fn surprise(&self, reach: f64) -> f32 {
        (-(self.thinning.rate_beyond(reach) / LOOKS_A_DAY).log10()).clamp(0.0, SURPRISE_MAX) as f32
    }

    /// Detectors have other numbers from now on; those that have none are gone.
    pub(crate) fn renumber(&mut self, now: impl Fn(u32) -> Option<u32>) {
        self.speaker = self.speaker.and_then(|(detector, slot)| Some((now(detector)?, slot)));
    }

    /// What outlives a restart.
    pub(crate) fn learnt(&self) -> LearntVotes {
        LearntVotes { voters: self.voters, thinning: self.thinning.learnt() }
    }

    /// Takes over what was learnt, which is sound. Before anybody votes: who it is of shows once somebody does.
    pub(crate) fn recall(&mut self, learnt: &LearntVotes) {
        self.voters = learnt.voters;
        self.thinning.recall(&learnt.thinning);
    }
}

/// On the scale of a [`Thinning`]; −∞ for a host that is not odd at all.
fn reach(oddness: f32) -> f64 {
    SHARPNESS * (f64::from(oddness) / ODD).ln()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE_MS: u64 = 60_000;

    /// A host whose bouts of half an hour come six times a day, `usual` odd at their peak and now and then more so.
    fn live(quorum: &mut Quorum, minute: &mut u64, days: u64, usual: f32) -> u32 {
        let (mut state, mut peak, mut opened) = (11u64 + *minute, 0.0f32, 0);
        for _ in 0..days * 1_440 {
            *minute += 1;
            let phase = *minute % 240;
            if phase == 0 {
                state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
                let unit = f32::from(u16::try_from(state >> 48).expect("16 bits")) / 65_536.0;
                peak = usual * (1.0 - unit).powf(-0.4);
            }
            let oddness = if phase < 30 { peak } else { 0.01 };
            opened += u32::from(quorum.hear(MonoTime::from_ms(*minute * MINUTE_MS), oddness).opens);
        }
        opened
    }

    #[test]
    fn bar_follows_what_is_usual_for_this_host() {
        let granted = 50;
        for (usual, least) in [(0.02, 0), (0.2, granted / 5), (2.0, granted / 5)] {
            let (mut quorum, mut minute) = (Quorum::new(0.5 / SHARE), 0);
            live(&mut quorum, &mut minute, 20, usual);
            let opened = live(&mut quorum, &mut minute, 100, usual);
            assert!((least..=granted * 3 / 2).contains(&opened), "{opened} in 100 days, usual {usual}");
        }
    }

    #[test]
    fn an_alarm_is_one_until_the_host_is_calm_and_its_surprise_fits_the_budget() {
        let (mut quorum, mut minute) = (Quorum::new(0.1), 0);
        live(&mut quorum, &mut minute, 10, 0.05);
        let mut hear = |oddness| {
            minute += 1;
            quorum.hear(MonoTime::from_ms(minute * MINUTE_MS), oddness)
        };
        let alarm = hear(20.0);
        assert!(alarm.opens && alarm.watch);
        let granted = (SHARE * 0.1 / LOOKS_A_DAY).log10().abs();
        assert!(f64::from(alarm.surprise) > granted, "{} of {granted}", alarm.surprise);
        assert!(!hear(30.0).opens && hear(12.0).surprise > 0.0, "it goes on");
        let over = hear(5.0);
        assert!(!over.alarmed && over.surprise == 0.0);
        assert!(!hear(20.0).opens, "what fades is no other alarm");
        assert!(!hear(0.01).alarmed && hear(20.0).opens, "it came to nothing and begins anew");
    }

    #[test]
    fn first_day_opens_nothing_and_what_is_learnt_outlives_a_restart() {
        let (mut quorum, mut minute) = (Quorum::new(0.1), 0);
        assert!((1..1_440).all(|minute| !quorum.hear(MonoTime::from_ms(minute * MINUTE_MS), 50.0).opens));
        let mut quorum = Quorum::new(0.1);
        live(&mut quorum, &mut minute, 20, 1.0);
        let mut again = Quorum::new(0.1);
        let fresh = again.thinning.bar();
        again.recall(&quorum.learnt());
        assert!((again.thinning.bar() - quorum.thinning.bar()).abs() < 0.2 && again.thinning.bar() > fresh + 0.5);
    }

    #[test]
    fn the_bar_of_some_votes_is_no_bar_for_those_of_others() {
        let [one, other] = [1, 2].map(|byte| Some(Digest([byte; 32])));
        let (mut quorum, mut minute) = (Quorum::new(0.1), 0);
        let fresh = quorum.thinning.bar();
        quorum.set_voters(one);
        live(&mut quorum, &mut minute, 20, 1.0);
        let known = quorum.thinning.bar();
        assert!(known > fresh + 0.5, "{known} {fresh}");
        quorum.set_voters(None);
        quorum.set_voters(one);
        assert_eq!(quorum.thinning.bar(), known, "who comes back is known");
        let mut next = Quorum::new(0.1);
        next.recall(&quorum.learnt());
        next.set_voters(one);
        assert!((next.thinning.bar() - known).abs() < 0.2 && next.thinning.days() > KNOWN_DAYS);
        for mut quorum in [quorum, next] {
            quorum.set_voters(other);
            assert_eq!((quorum.thinning.bar(), quorum.learnt().voters), (fresh, other));
            assert!(quorum.thinning.days() < 0.0 && !quorum.hear(MonoTime::from_ms(minute * MINUTE_MS), 50.0).alarmed);
        }
    }

    #[test]
    fn a_host_that_is_not_odd_at_all_is_calm() {
        let mut quorum = Quorum::new(0.1);
        for minute in 1..2_000 {
            let heard = quorum.hear(MonoTime::from_ms(minute * MINUTE_MS), 0.0);
            assert_eq!(heard, Heard::CALM);
        }
        assert!(quorum.thinning.bar().is_finite());
    }
}

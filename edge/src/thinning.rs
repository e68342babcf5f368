//! How far a host's own bouts reach, and from that the bar that keeps the operator's budget.
//!
//! A bout *reaches* so many decades beyond what would be asked of it if calibrated evidence were a probability. It is not:
//! tails are extrapolated, and what adds up is not independent. So a decade less that is asked is not ten times the
//! episodes; on healthy hosts it is about three times. How many it is here, the bouts that came to nothing tell: their rate
//! falls off exponentially with their reach (peaks over threshold: Coles 2001, chapter 4), its slope and level are fitted
//! to those within a window below the bar, and the bar is where that line meets the budget.
//!
//! What reaches the bar is not learnt, be it a fault or not: the fit knows that it is cut off there. Unless alarms come far
//! more often than was asked for: then they are what this host does.

use serde::{Deserialize, Serialize};
use std::time::Duration;
use vedette_protocol::time::MonoTime;

/// Reaches are told apart from here on, in decades, by bins so wide. What stays below is not kept.
const LOWEST: f64 = -8.0;
const BIN: f64 = 0.25;
const BINS: usize = 80;
/// What is fitted are the bouts that reach so far that as many come a day, or this often what the budget allows, whichever
/// is more: lower they are the body of the distribution, which says nothing of its tail. At least so many decades.
const FITTED_A_DAY: f64 = 3.0;
const FITTED_PER_BUDGET: f64 = 3.0;
const WINDOW_MIN: f64 = 1.0;
/// Bouts that are fitted at least, with those that are taken as seen before: one or two say nothing.
const FITTED_MIN: f64 = 10.0;
/// Before anything was seen: would-be episodes a day that reach 0, and by which power of e fewer reach a decade farther.
/// Measured over many healthy hosts (docs/calibration.md).
const RATE_PRIOR: f64 = 0.4;
const SLOPE_PRIOR: f64 = 1.2;
/// What that is worth, in days for the rate and in bouts for the slope.
const RATE_PRIOR_DAYS: f64 = 0.5;
const SLOPE_PRIOR_BOUTS: f64 = 30.0;
const SLOPE_MIN: f64 = 0.6;
const SLOPE_MAX: f64 = 2.5;
/// Share of the budget that is aimed at: it is a promise of at most so many, and the rate is known to a factor.
const AIM: f64 = 0.8;
/// Calibration that is younger is bolder than it will be: what it says of reaches is not kept.
const SETTLING_DAYS: f64 = 1.0 / 24.0;
/// What was seen counts half after this long.
const HALVE_DAYS: f64 = 4.0;
/// Alarms beyond the budget from which on they are what this host does; what comes within this time is the same one.
const ALARMS_BELIEVED: f64 = 10.0;
const OCCASION: Duration = Duration::from_secs(600);
/// Fits until a bar stays where it is.
const ROUNDS: usize = 8;
/// How often the bar is set anew.
const LOOK: Duration = Duration::from_secs(60);
/// The most that one look adds to what was seen: of a longer time, nobody may have looked.
const LOOK_MAX: Duration = Duration::from_secs(600);
const DAY_S: f64 = 86_400.0;

/// The reaches of a host's bouts, and the bar that follows from them. Both are relative to what one episode a host and
/// day would ask for by itself.
#[derive(Clone, Debug)]
pub(crate) struct Thinning {
    /// Episodes a host and day.
    budget: f64,
    bins: [f32; BINS],
    /// Days over which they were seen, faded as they are; below 0 while calibration settles.
    days: f64,
    looked: Option<MonoTime>,
    /// The farthest reach since: what one cause does to many series at once is one occasion.
    farthest: f64,
    /// The same of alarms; when the last of them was, and how many there were, faded as bouts are.
    alarmed: f64,
    alarmed_at: Option<MonoTime>,
    alarms: f64,
    /// Reach that an episode takes, and by which power of e fewer reach a decade farther.
    bar: f64,
    slope: f64,
}

/// A [`Thinning`] on its way over a restart.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub(crate) struct LearntThinning {
    bins: Vec<f32>,
    days: f64,
    alarms: f64,
}

impl Thinning {
    /// Knows no more than what is usual.
    pub(crate) fn new(budget: f64) -> Self {
        Self {
            budget,
            bins: [0.0; BINS],
            days: -SETTLING_DAYS,
            looked: None,
            farthest: f64::NEG_INFINITY,
            alarmed: f64::NEG_INFINITY,
            alarmed_at: None,
            alarms: 0.0,
            bar: usual_bar(budget),
            slope: SLOPE_PRIOR,
        }
    }

    /// One of the same budget that knows no more than what is usual.
    pub(crate) fn fresh(&self) -> Self {
        Self::new(self.budget)
    }

    /// Another budget, in episodes a host and day.
    pub(crate) fn set_budget(&mut self, budget: f64) {
        if budget != self.budget {
            self.budget = budget;
            self.begin_anew();
        }
    }

    /// Decades on top of what the budget asks for by itself; fewer, if negative.
    #[expect(clippy::cast_possible_truncation, reason = "decades need no more digits than f32 has")]
    pub(crate) fn surcharge(&self) -> f32 {
        (self.bar + self.budget.log10()) as f32
    }

    /// How far a bout reached that came to nothing: `beyond` is what it had in excess of what the budget asks for.
    pub(crate) fn note(&mut self, beyond: f32) {
        self.note_reach(f64::from(beyond) - self.budget.log10());
    }

    /// How far a bout reached that came to nothing.
    pub(crate) fn note_reach(&mut self, reach: f64) {
        self.farthest = self.farthest.max(reach);
    }

    /// How far an alarm reached that is over: `beyond` as for [`Thinning::note`].
    pub(crate) fn note_alarm(&mut self, beyond: f32) {
        self.note_alarm_reach(f64::from(beyond) - self.budget.log10());
    }

    /// How far an alarm reached that is over.
    pub(crate) fn note_alarm_reach(&mut self, reach: f64) {
        self.alarmed = self.alarmed.max(reach);
    }

    fn alarms_teach(&self) -> bool {
        self.alarms > ALARMS_BELIEVED + self.budget * self.days.max(0.0)
    }

    /// Reach that an episode takes.
    pub(crate) fn bar(&self) -> f64 {
        self.bar
    }

    /// Bouts a day that reach so far, by the fit.
    pub(crate) fn rate_beyond(&self, reach: f64) -> f64 {
        AIM * self.budget * (-self.slope * (reach - self.bar)).exp()
    }

    /// Days over which bouts were seen, faded as they are; below 0 while calibration settles.
    pub(crate) fn days(&self) -> f64 {
        self.days
    }

    /// Time passes, and verdicts come.
    pub(crate) fn pass(&mut self, now: MonoTime) {
        let last = *self.looked.get_or_insert(now);
        let elapsed = now.since(last);
        if elapsed < LOOK {
            return;
        }
        self.looked = Some(now);
        let days = elapsed.min(LOOK_MAX).as_secs_f64() / DAY_S;
        let mut farthest = std::mem::replace(&mut self.farthest, f64::NEG_INFINITY);
        let alarmed = std::mem::replace(&mut self.alarmed, f64::NEG_INFINITY);
        if self.days < 0.0 {
            self.days += days;
            return;
        }
        let kept = (-days / HALVE_DAYS).exp2();
        self.days = self.days * kept + days;
        self.alarms *= kept;
        #[expect(clippy::cast_possible_truncation, reason = "a weight needs no more digits than f32 has")]
        self.bins.iter_mut().for_each(|bin| *bin *= kept as f32);
        if alarmed > f64::NEG_INFINITY {
            let is_another = self.alarmed_at.is_none_or(|last| now.since(last) >= OCCASION);
            self.alarms += f64::from(u8::from(is_another));
            self.alarmed_at = Some(now);
            if is_another && self.alarms_teach() {
                farthest = farthest.max(alarmed);
            }
        }
        if let Some(bin) = bin_of(farthest).and_then(|bin| self.bins.get_mut(bin)) {
            *bin += 1.0;
        }
        self.fit();
    }

    /// What outlives a restart.
    pub(crate) fn learnt(&self) -> LearntThinning {
        LearntThinning { bins: self.bins.to_vec(), days: self.days, alarms: self.alarms }
    }

    /// Takes over what was learnt, which is sound.
    pub(crate) fn recall(&mut self, learnt: &LearntThinning) {
        self.bins.iter_mut().zip(&learnt.bins).for_each(|(bin, learnt)| *bin = *learnt);
        (self.days, self.alarms) = (learnt.days, learnt.alarms);
        self.begin_anew();
    }

    /// Finds the bar from where it usually is. What is fitted depends on where the bar is, so that takes a few rounds.
    fn begin_anew(&mut self) {
        (self.bar, self.slope) = (usual_bar(self.budget), SLOPE_PRIOR);
        (0..ROUNDS).for_each(|_| self.fit());
    }

    /// Sets the bar where the fitted line meets the budget.
    fn fit(&mut self) {
        // The bin that the bar is in is not whole.
        let cut_off = bin_of(self.bar).filter(|_| !self.alarms_teach());
        let end = cut_off.unwrap_or(BINS).clamp(bins(WINDOW_MIN), BINS);
        let days = self.days.max(0.0) + RATE_PRIOR_DAYS;
        let enough = (FITTED_A_DAY.max(FITTED_PER_BUDGET * self.budget) * days).max(FITTED_MIN);
        let usual = |reach: f64| RATE_PRIOR_DAYS * RATE_PRIOR * (-SLOPE_PRIOR * reach).exp();
        let (mut begin, mut count, mut sum) = (end, 0.0, 0.0);
        // Summed from where it begins, which moves down by a bin.
        while begin > 0 && (end - begin < bins(WINDOW_MIN) || count + usual(LOWEST + decades(begin)) < enough) {
            begin -= 1;
            let weight = f64::from(self.bins[begin]);
            sum += count * BIN + weight * BIN / 2.0;
            count += weight;
        }
        let (lowest, width) = (LOWEST + decades(begin), decades(end - begin));
        let slope = slope(count, sum, width);
        let within = 1.0 - (-slope * width).exp();
        let rate = (count / within + usual(lowest)) / days;
        (self.bar, self.slope) = (bar(lowest, rate, slope, self.budget), slope);
    }
}

fn usual_bar(budget: f64) -> f64 {
    bar(0.0, RATE_PRIOR, SLOPE_PRIOR, budget)
}

/// Where an exponential that is reached so often a day at `lowest` meets the budget.
fn bar(lowest: f64, rate: f64, slope: f64, budget: f64) -> f64 {
    (lowest + (rate / (AIM * budget)).ln() / slope).clamp(LOWEST + WINDOW_MIN, LOWEST + decades(BINS))
}

impl LearntThinning {
    /// Whether a host can have learnt it.
    pub(crate) fn is_sound(&self) -> bool {
        let bins = self.bins.iter().all(|bin| bin.is_finite() && *bin >= 0.0);
        let times =
            self.days.is_finite() && self.days >= -SETTLING_DAYS && self.alarms.is_finite() && self.alarms >= 0.0;
        bins && times && self.bins.len() <= BINS
    }
}

/// By which power of e fewer reach a decade farther: the most likely slope of an exponential that is cut off after `width`
/// decades, with what was usual as bouts seen before. Its derivative falls as the slope grows, so halving finds it.
fn slope(count: f64, sum: f64, width: f64) -> f64 {
    let rises = |slope: f64| {
        let cut = width / (slope * width).exp_m1();
        count * (1.0 / slope - cut) - sum + SLOPE_PRIOR_BOUTS * (1.0 / slope - 1.0 / SLOPE_PRIOR) > 0.0
    };
    let (mut low, mut high) = (SLOPE_MIN, SLOPE_MAX);
    for _ in 0..24 {
        let middle = (low + high) / 2.0;
        if rises(middle) { low = middle } else { high = middle }
    }
    low
}

/// The bin of a reach; `None` below all.
#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "not negative, and saturates")]
fn bin_of(reach: f64) -> Option<usize> {
    let bin = (reach - LOWEST) / BIN;
    (bin >= 0.0).then_some(bin as usize)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a few decades, not negative")]
const fn bins(decades: f64) -> usize {
    (decades / BIN) as usize
}

#[expect(clippy::cast_precision_loss, reason = "few bins")]
const fn decades(bins: usize) -> f64 {
    bins as f64 * BIN
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP_MS: u64 = 120_000;

    /// A host whose bouts reach 0 so often a day and fall off by this slope, for so many days from `now_ms` on: those that
    /// stay under the bar are noted, the others open. How many opened.
    fn live(thinning: &mut Thinning, now_ms: &mut u64, days: f64, rate: f64, steepness: f64) -> u32 {
        let mut state = 7u64 + *now_ms;
        let mut unit = || {
            state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            f64::from(u32::try_from(state >> 32).expect("32 bits")) / 4_294_967_296.0
        };
        let lowest = -6.0;
        let each_step = rate * (-steepness * lowest).exp() / 720.0;
        let (mut due, mut opened) = (0.0, 0);
        for _ in 0..bins(days * 180.0) {
            *now_ms += STEP_MS;
            due += each_step;
            while due > unit() {
                due -= 1.0;
                let reach = lowest - (1.0 - unit()).ln() / steepness;
                #[expect(clippy::cast_possible_truncation, reason = "a test's reach")]
                let beyond = (reach + thinning.budget.log10()) as f32;
                if beyond >= thinning.surcharge() { opened += 1 } else { thinning.note(beyond) }
            }
            thinning.pass(MonoTime::from_ms(*now_ms));
        }
        opened
    }

    #[test]
    fn knob_gives_what_was_asked_for_on_hosts_unlike_the_usual() {
        for (rate, slope) in [(2.0, 1.2), (0.05, 1.2), (0.4, 1.0)] {
            for (budget, days) in [(0.1, 300.0), (1.0, 50.0), (10.0, 10.0)] {
                let (mut thinning, mut now_ms) = (Thinning::new(budget), 0);
                live(&mut thinning, &mut now_ms, 10.0, rate, slope);
                let opened = f64::from(live(&mut thinning, &mut now_ms, days, rate, slope)) / days;
                let share = opened / budget;
                assert!((0.3..1.5).contains(&share), "rate {rate} slope {slope} budget {budget}: {opened} a day");
            }
        }
    }

    #[test]
    fn more_budget_never_asks_for_more_and_a_fault_that_opens_teaches_nothing() {
        let mut thinning = Thinning::new(0.1);
        let mut now_ms = 0;
        live(&mut thinning, &mut now_ms, 5.0, 0.2, 1.15);
        let (learnt, before) = (thinning.learnt(), thinning.bar);
        let bars = [0.001, 0.01, 0.1, 1.0, 10.0, 100.0, 1e6].map(|budget| {
            let mut other = Thinning::new(budget);
            other.recall(&learnt);
            other.bar
        });
        assert!(bars.is_sorted_by(|few, many| few > many), "{bars:?}");
        for _ in 0..50 {
            now_ms += STEP_MS;
            thinning.note(thinning.surcharge() + 1.0);
            thinning.pass(MonoTime::from_ms(now_ms));
        }
        assert!((thinning.bar - before).abs() < 0.1, "{before} to {}", thinning.bar);
    }

    #[test]
    fn before_anything_was_seen_the_bar_is_the_usual_one() {
        let usual = Thinning::new(0.1).surcharge();
        assert!((0.2..0.5).contains(&usual), "{usual}");
        let tenfold = Thinning::new(0.1).bar - Thinning::new(1.0).bar;
        assert!((tenfold - 1.92).abs() < 0.02, "{tenfold}");
        assert!(Thinning::new(1e-6).surcharge().is_finite() && Thinning::new(1e6).surcharge().is_finite());
    }

    #[test]
    fn it_goes_on_over_a_restart_and_takes_nothing_over_that_nobody_can_have_learnt() {
        let (mut thinning, mut now_ms) = (Thinning::new(1.0), 0);
        live(&mut thinning, &mut now_ms, 3.0, 1.0, 1.0);
        let mut again = Thinning::new(1.0);
        again.recall(&thinning.learnt());
        assert!((again.bar - thinning.bar).abs() < 0.1, "{} and {}", again.bar, thinning.bar);
        assert!(thinning.learnt().is_sound());
        assert!(!LearntThinning { bins: vec![0.0; BINS + 1], days: 1.0, alarms: 0.0 }.is_sound());
        assert!(!LearntThinning { bins: vec![-1.0], days: 1.0, alarms: 0.0 }.is_sound());
        assert!(!LearntThinning { bins: Vec::new(), days: f64::NAN, alarms: 0.0 }.is_sound());
        assert!(!LearntThinning { alarms: -1.0, ..LearntThinning::default() }.is_sound());
    }
}

//! How odd a host is, and what is new about it: the votes of detectors that judge no series by itself, added up.
//!
//! A vote is a detector's score of one series, in units of what that series itself does: one and more is of a kind that
//! was never seen. What a series contributes is the excess of its votes, averaged over some steps, those without a vote
//! among them: what nobody was asked about, as under a budget, was usual. Contributions add up, since a fault shows in many
//! metrics. News is the part of a vote that no vote of late explains: a departure is news
//! when it begins or grows, and not for as long as it lasts.
//!
//! Both are unitless, at least 0, and the same for whatever unit a series has. Twenty-four bytes a series and detector.

use crate::judge::NEW_KIND;
use crate::normalise::elapsed_ms;
use std::time::Duration;
use vedette_protocol::time::MonoTime;

/// Votes up to this say nothing: what is usual differs from itself.
const USUAL: f32 = 0.05;
/// Shortest step: votes that come faster are repetitions, or nearly so.
const STEP_MS_MIN: u32 = 60_000;
/// Steps over which a contribution is averaged, and in which a peak fades to a third once votes are below half of it.
const STATE_STEPS: f32 = 6.0;
const PEAK_STEPS: f32 = 115.0;
/// What was never seen is news again once it is half as much again: it is told once while it swells.
const GROWN: f32 = 1.5;
/// Contributions below are none: numbers that are nearly 0 are reckoned with slowly. Far smaller ones than matter to an alarm
/// still tell which series was odd last.
const STATE_MIN: f32 = 1e-20;

/// One series under one detector.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Leaning {
    state: f32,
    peak: f32,
    /// A step of the series, in milliseconds; 0 for the shortest.
    step_ms: u32,
    voted_at: Option<MonoTime>,
}

impl Leaning {
    /// Takes a vote that stands for so many steps, one at most; its news.
    fn vote(&mut self, score: f32, steps: f32) -> f32 {
        self.state += steps / STATE_STEPS * (score - USUAL).max(0.0);
        // What lasts is not forgotten, so it does not become news again.
        if score < self.peak / 2.0 {
            self.peak *= 1.0 - steps / PEAK_STEPS;
        }
        if score <= self.peak * if self.peak < NEW_KIND { 1.0 } else { GROWN } {
            return 0.0;
        }
        self.peak = score;
        score
    }
}

/// What outlives a restart, so long after it was right, of a series that is read each `interval_ms`.
pub(crate) fn later([state, peak]: [f32; 2], later: Duration, interval_ms: u32) -> [f32; 2] {
    [state * left(later, interval_ms), peak]
}

/// What is left of a contribution after so long.
#[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
fn left(elapsed: Duration, step_ms: u32) -> f32 {
    let steps = elapsed.as_secs_f32() * 1_000.0 / step_ms.max(STEP_MS_MIN) as f32;
    let of_one = 1.0 - steps.min(1.0) / STATE_STEPS;
    if steps > 1.0 { of_one.powf(steps) } else { of_one }
}

#[derive(Debug)]
struct Voter {
    detector: u32,
    leanings: Vec<Leaning>,
}

impl Voter {
    fn leaning(&mut self, slot: u32) -> &mut Leaning {
        let at = slot as usize;
        if self.leanings.len() <= at {
            self.leanings.resize(at + 1, Leaning::default());
        }
        &mut self.leanings[at]
    }
}

/// The votes of a host.
#[derive(Debug, Default)]
pub(crate) struct Oddness {
    voters: Vec<Voter>,
    /// The tick that `news` is of.
    tick: u64,
    news: f32,
    passed: MonoTime,
}

impl Oddness {
    /// Bytes of the heap that a voter on so many series takes at most.
    pub(crate) fn bytes_max(series: usize) -> usize {
        crate::room::list::<Leaning>(series)
    }

    /// These detectors vote from now on, each with the number it had before if it is the same; what others said is
    /// forgotten.
    pub(crate) fn set_voters(&mut self, voters: impl Iterator<Item = (u32, Option<u32>)>) {
        let mut before = std::mem::take(&mut self.voters);
        let voter = |(detector, earlier)| {
            let same = before.iter().position(|voter| Some(voter.detector) == earlier);
            Voter { detector, leanings: same.map(|at| before.swap_remove(at).leanings).unwrap_or_default() }
        };
        self.voters = voters.map(voter).collect();
    }

    /// A detector will not come back.
    pub(crate) fn dismiss(&mut self, detector: u32) {
        self.voters.retain(|voter| voter.detector != detector);
    }

    /// Time passes: what is not voted for again fades.
    pub(crate) fn pass(&mut self, now: MonoTime) {
        let elapsed = now.since(std::mem::replace(&mut self.passed, now));
        let mut last = (0, left(elapsed, 0));
        for leaning in self.voters.iter_mut().flat_map(|voter| &mut voter.leanings) {
            if leaning.state < STATE_MIN {
                leaning.state = 0.0;
                continue;
            }
            if leaning.step_ms != last.0 {
                last = (leaning.step_ms, left(elapsed, leaning.step_ms));
            }
            leaning.state *= last.1;
        }
    }

    /// Takes a detector's score of a series that is read each `interval_ms`, the first one in `waited_ms` by what was
    /// planned. NaN is no vote. It stands for the time since the one before, for a step at most: nobody knows more.
    #[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
    pub(crate) fn vote(
        &mut self,
        tick: u64,
        (detector, slot): (u32, u32),
        score: f32,
        interval_ms: u32,
        waited_ms: u32,
    ) {
        let Some(voter) = self.voters.iter_mut().find(|voter| voter.detector == detector) else { return };
        if score.is_nan() {
            return;
        }
        if self.tick != tick {
            (self.tick, self.news) = (tick, 0.0);
        }
        let leaning = voter.leaning(slot);
        leaning.step_ms = interval_ms.max(STEP_MS_MIN);
        let since = leaning.voted_at.replace(self.passed).map(|last| elapsed_ms(self.passed, last));
        let waited_ms = since.map_or(waited_ms, |since| since.min(waited_ms));
        let steps = waited_ms.min(leaning.step_ms) as f32 / leaning.step_ms as f32;
        self.news += leaning.vote(score, steps);
    }

    /// A series ended; its number may be given to another.
    pub(crate) fn forget(&mut self, slot: u32) {
        let leanings = self.voters.iter_mut().filter_map(|voter| voter.leanings.get_mut(slot as usize));
        leanings.for_each(|leaning| *leaning = Leaning::default());
    }

    /// What outlives a restart: state and peak of a series under a detector.
    pub(crate) fn learnt(&self, detector: u32, slot: u32) -> [f32; 2] {
        let voter = self.voters.iter().find(|voter| voter.detector == detector);
        let leaning = voter.and_then(|voter| voter.leanings.get(slot as usize)).copied().unwrap_or_default();
        [leaning.state, leaning.peak]
    }

    /// Takes over what outlived a restart.
    pub(crate) fn recall(&mut self, detector: u32, slot: u32, [state, peak]: [f32; 2]) {
        if let Some(voter) = self.voters.iter_mut().find(|voter| voter.detector == detector) {
            let leaning = voter.leaning(slot);
            (leaning.state, leaning.peak) = (state, peak);
        }
    }

    /// Of all series together.
    pub(crate) fn state(&self) -> f32 {
        self.voters.iter().flat_map(|voter| &voter.leanings).map(|leaning| leaning.state).sum()
    }

    /// Detector and series that contribute most; none if nothing is odd.
    pub(crate) fn leader(&self) -> Option<(u32, u32)> {
        let of_all = self.voters.iter().flat_map(|voter| {
            (0u32..).zip(&voter.leanings).map(|(slot, leaning)| (leaning.state, voter.detector, slot))
        });
        let most = of_all.max_by(|a, b| a.0.total_cmp(&b.0));
        most.filter(|(state, ..)| *state > 0.0).map(|(_, detector, slot)| (detector, slot))
    }

    /// Of one series.
    pub(crate) fn state_of(&self, slot: u32) -> f32 {
        self.voters.iter().filter_map(|voter| voter.leanings.get(slot as usize)).map(|leaning| leaning.state).sum()
    }

    /// Of all series together at a tick.
    pub(crate) fn news(&self, tick: u64) -> f32 {
        if self.tick == tick { self.news } else { 0.0 }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STEP_MS: u32 = 300_000;

    fn oddness() -> Oddness {
        let mut oddness = Oddness::default();
        oddness.set_voters([(3, None)].into_iter());
        oddness
    }

    /// The next step of series that are read each `STEP_MS`, all of which are voted on.
    fn step(oddness: &mut Oddness, tick: u64, votes: &[f32]) -> f32 {
        oddness.pass(MonoTime::from_ms(tick * u64::from(STEP_MS)));
        for (slot, vote) in (0..).zip(votes) {
            oddness.vote(tick, (3, slot), *vote, STEP_MS, STEP_MS);
        }
        oddness.news(tick)
    }

    #[test]
    fn a_departure_is_news_once_and_odd_for_as_long_as_it_lasts() {
        let mut oddness = oddness();
        let mut told = Vec::new();
        for tick in 1..60u16 {
            // No two readings are the same.
            let score = if tick < 20 { 0.01 } else { 2.0 } - f32::from(tick) * 1e-4;
            told.push((step(&mut oddness, u64::from(tick), &[score]), oddness.state()));
        }
        let news: Vec<usize> = (0..told.len()).filter(|at| told[*at].0 >= 1.0).collect();
        assert_eq!(news, [19]);
        assert_eq!(told[18].1, 0.0, "what is usual adds nothing");
        assert!(told[58].1 > 1.5, "{told:?}");
        assert_eq!(oddness.news(60), 0.0, "nobody voted in this tick");
    }

    #[test]
    fn what_grows_and_what_comes_again_much_later_is_news() {
        let mut oddness = oddness();
        let mut news = |tick, score| step(&mut oddness, tick, &[score]);
        assert_eq!([news(1, 0.5), news(2, 0.6), news(3, 0.6)], [0.5, 0.6, 0.0]);
        assert_eq!([news(4, 2.0), news(5, 1.9), news(6, 2.9), news(7, 3.1), news(8, 4.5)], [2.0, 0.0, 0.0, 3.1, 0.0]);
        (9..250).for_each(|tick| assert_eq!(news(tick, 0.0), 0.0));
        assert_eq!(news(250, 1.5), 1.5);
    }

    #[test]
    fn series_add_up_and_leave_nothing_behind() {
        let mut oddness = oddness();
        for tick in 1..30 {
            step(&mut oddness, tick, &[0.45, 0.45, 0.45, 0.45, f32::NAN]);
            oddness.vote(tick, (9, 0), 5.0, STEP_MS, STEP_MS);
        }
        assert!((oddness.state() - 4.0 * 0.4).abs() < 0.02, "{}", oddness.state());
        assert!((oddness.state_of(2) - 0.4).abs() < 0.01 && oddness.state_of(4) == 0.0);
        (0..4).for_each(|slot| oddness.forget(slot));
        assert_eq!(oddness.state(), 0.0);
    }

    #[test]
    fn who_comes_back_under_another_number_keeps_what_it_said() {
        let mut oddness = Oddness::default();
        oddness.set_voters([(3, None), (4, None)].into_iter());
        for tick in 1..30 {
            oddness.pass(MonoTime::from_ms(tick * u64::from(STEP_MS)));
            oddness.vote(tick, (3, 0), 1.05, STEP_MS, STEP_MS);
            oddness.vote(tick, (4, 1), 2.05, STEP_MS, STEP_MS);
        }
        let said = [oddness.state_of(0), oddness.state_of(1)];
        oddness.set_voters([(4, Some(3)), (3, Some(4))].into_iter());
        assert_eq!([oddness.state_of(0), oddness.state_of(1)], said);
        oddness.vote(31, (4, 0), 1.0, STEP_MS, STEP_MS);
        assert_eq!(oddness.news(31), 0.0, "its peak is known, too");
        oddness.dismiss(3);
        assert_eq!(oddness.state_of(1), 0.0);
        oddness.set_voters([(4, None)].into_iter());
        assert_eq!(oddness.state(), 0.0, "another module of that number");
    }

    #[test]
    fn a_score_that_is_repeated_counts_as_the_step_that_it_is_of_however_often_it_is_told() {
        let score = |step: u16| 2.0 - f32::from(step) * 0.01;
        let told = [1, 10, 60].map(|each| {
            let (mut oddness, mut news) = (oddness(), 0.0);
            for second in 1..=8 * 60u16 {
                let tick = u64::from(second);
                oddness.pass(MonoTime::from_ms(tick * 1_000));
                if second % each == 0 {
                    oddness.vote(tick, (3, 0), score((second - 1) / 60), 1_000, u32::from(each) * 1_000);
                    news += oddness.news(tick);
                }
            }
            assert_eq!(news, 2.0);
            oddness.state()
        });
        assert!(told.iter().all(|state| (state - told[2]).abs() < 0.15), "{told:?}");
    }

    #[test]
    fn who_is_picked_each_second_is_no_odder_than_its_votes() {
        let mut oddness = oddness();
        for second in 1..=3_600 {
            oddness.pass(MonoTime::from_ms(second * 1_000));
            // As if it were a look for a whole minute.
            oddness.vote(second, (3, 0), 1.05, 1_000, 60_000);
            assert!(oddness.state() < 1.2, "{second} s: {}", oddness.state());
        }
        assert!(oddness.state() > 0.9);
    }

    #[test]
    fn what_nobody_is_asked_about_any_more_counts_as_usual() {
        let (mut asked, mut forgotten) = (oddness(), oddness());
        for tick in 1..40 {
            step(&mut asked, tick, &[if tick < 20 { 1.05 } else { 0.0 }, 0.0]);
            step(&mut forgotten, tick, if tick < 20 { &[1.05, 0.0] } else { &[] });
            assert_eq!(asked.state(), forgotten.state());
        }
        assert!(forgotten.state() < 0.05, "{}", forgotten.state());
        // What was away for hours is long over.
        step(&mut forgotten, 40, &[1.05]);
        forgotten.pass(MonoTime::from_ms(140 * u64::from(STEP_MS)));
        assert!(forgotten.state() < 1e-6);
        let [state, peak] = later([1.0, 2.0], Duration::from_secs(3_600), 1_000);
        assert!(state < 1e-4 && peak == 2.0, "nor does it outlive a restart for longer: {state}");
    }
}

//! How odd a host is, and what is new about it: the votes of detectors that judge no series by itself, added up.
//!
//! A vote is a detector's score of one series, in units of what that series itself does: one and more is of a kind that
//! was never seen. What a series contributes is the excess of its votes, averaged over some steps; contributions add up,
//! since a fault shows in many metrics. News is the part of a vote that no vote of late explains: a departure is news
//! when it begins or grows, and not for as long as it lasts.
//!
//! Both are unitless, at least 0, and the same for whatever unit a series has. Eight bytes a series and detector.

/// Votes up to this say nothing: what is usual differs from itself.
const USUAL: f32 = 0.05;
/// Shortest step: votes that come faster are repetitions, or nearly so.
const STEP_MS_MIN: u32 = 60_000;
/// Steps over which a contribution is averaged, and in which a peak fades to a third once votes are below half of it.
const STATE_STEPS: f32 = 6.0;
const PEAK_STEPS: f32 = 115.0;

/// One series under one detector.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Leaning {
    state: f32,
    peak: f32,
}

impl Leaning {
    /// Takes a vote; its news.
    fn vote(&mut self, score: f32, interval_ms: u32) -> f32 {
        // A reading is one step, or a part of it.
        let share = steps(interval_ms);
        self.state += share / STATE_STEPS * ((score - USUAL).max(0.0) - self.state);
        // What lasts is not forgotten, so it does not become news again.
        if score < self.peak / 2.0 {
            self.peak *= 1.0 - share / PEAK_STEPS;
        }
        if score <= self.peak {
            return 0.0;
        }
        self.peak = score;
        score
    }
}

#[expect(clippy::cast_precision_loss, reason = "a share needs no more digits")]
fn steps(interval_ms: u32) -> f32 {
    interval_ms.min(STEP_MS_MIN) as f32 / STEP_MS_MIN as f32
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

    /// Takes a detector's score of a series that is read each `interval_ms`. NaN is no vote.
    pub(crate) fn vote(&mut self, tick: u64, detector: u32, slot: u32, score: f32, interval_ms: u32) {
        let Some(voter) = self.voters.iter_mut().find(|voter| voter.detector == detector) else { return };
        if score.is_nan() {
            return;
        }
        if self.tick != tick {
            (self.tick, self.news) = (tick, 0.0);
        }
        self.news += voter.leaning(slot).vote(score, interval_ms);
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
            *voter.leaning(slot) = Leaning { state, peak };
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

    #[test]
    fn a_departure_is_news_once_and_odd_for_as_long_as_it_lasts() {
        let mut oddness = oddness();
        let mut told = Vec::new();
        for tick in 1..60u16 {
            // No two readings are the same.
            let score = if tick < 20 { 0.01 } else { 2.0 } - f32::from(tick) * 1e-4;
            oddness.vote(u64::from(tick), 3, 0, score, STEP_MS);
            told.push((oddness.news(u64::from(tick)), oddness.state()));
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
        let mut news = |tick, score| {
            oddness.vote(tick, 3, 0, score, STEP_MS);
            oddness.news(tick)
        };
        assert_eq!([news(1, 2.0), news(2, 1.9), news(3, 3.0)], [2.0, 0.0, 3.0]);
        (4..200).for_each(|tick| assert_eq!(news(tick, 0.0), 0.0));
        assert_eq!(news(200, 1.5), 1.5);
    }

    #[test]
    fn series_add_up_and_leave_nothing_behind() {
        let mut oddness = oddness();
        for tick in 0..30 {
            (0..4).for_each(|slot| oddness.vote(tick, 3, slot, 0.45, STEP_MS));
            oddness.vote(tick, 3, 4, f32::NAN, STEP_MS);
            oddness.vote(tick, 9, 0, 5.0, STEP_MS);
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
        for tick in 0..30 {
            oddness.vote(tick, 3, 0, 1.05, STEP_MS);
            oddness.vote(tick, 4, 1, 2.05, STEP_MS);
        }
        let said = [oddness.state_of(0), oddness.state_of(1)];
        oddness.set_voters([(4, Some(3)), (3, Some(4))].into_iter());
        assert_eq!([oddness.state_of(0), oddness.state_of(1)], said);
        oddness.vote(31, 4, 0, 1.0, STEP_MS);
        assert_eq!(oddness.news(31), 0.0, "its peak is known, too");
        oddness.dismiss(3);
        assert_eq!(oddness.state_of(1), 0.0);
        oddness.set_voters([(4, None)].into_iter());
        assert_eq!(oddness.state(), 0.0, "another module of that number");
    }

    #[test]
    fn a_score_that_is_repeated_each_second_counts_as_the_step_that_it_is_of() {
        let (mut slow, mut fast) = (oddness(), oddness());
        let (mut slow_news, mut fast_news) = (0.0, 0.0);
        for step in 0..8u16 {
            let score = 2.0 - f32::from(step) * 0.01;
            slow.vote(u64::from(step), 3, 0, score, 60_000);
            slow_news += slow.news(u64::from(step));
            for second in 0..60 {
                let tick = u64::from(step) * 60 + second;
                fast.vote(tick, 3, 0, score, 1_000);
                fast_news += fast.news(tick);
            }
        }
        assert_eq!((slow_news, fast_news), (2.0, 2.0));
        assert!((slow.state() - fast.state()).abs() < 0.15, "{} {}", slow.state(), fast.state());
    }
}

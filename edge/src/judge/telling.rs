//! How much a detector's answers tell, which says how often it is worth asking where looks are thinned.

use crate::planner::{SLOWEST_RUNG, stride};

/// A detector that was never asked is taken to tell something once in so many answers; of more than so many the older ones
/// count less.
const BELIEVED: f64 = 1_000.0;
const REMEMBERED: f64 = 1e6;
/// After so many answers it is seen how many were not the one before again: with less than the first share it is asked less
/// often, with more than the second more often.
const JUDGED_AFTER: usize = 256;
const FRESH: [usize; 2] = [JUDGED_AFTER / 4, JUDGED_AFTER / 2];

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Telling {
    answers: f64,
    news: f64,
    /// Answers since it was last seen, and those that were not the one before again.
    lately: [usize; 2],
    rung: u8,
}

impl Default for Telling {
    fn default() -> Self {
        Self { answers: BELIEVED, news: 1.0, lately: [0; 2], rung: 0 }
    }
}

impl Telling {
    /// Takes so many answers, of which some were not the one before again, and some told of something odd.
    pub(crate) fn count(&mut self, answers: usize, fresh: usize, news: usize) {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 answers")]
        let more = [answers as f64, news as f64];
        (self.answers, self.news) = (self.answers + more[0], self.news + more[1]);
        if self.answers > REMEMBERED {
            (self.answers, self.news) = (self.answers / 2.0, self.news / 2.0);
        }
        self.lately = [self.lately[0] + answers, self.lately[1] + fresh];
        let [seen, fresh] = self.lately;
        if seen < JUDGED_AFTER {
            return;
        }
        let share = fresh * JUDGED_AFTER / seen;
        self.rung = match share {
            _ if share < FRESH[0] => (self.rung + 1).min(SLOWEST_RUNG),
            _ if share > FRESH[1] => self.rung.saturating_sub(1),
            _ => self.rung,
        };
        self.lately = [0; 2];
    }

    /// Answers for each that told something.
    pub(crate) fn answers_each(&self) -> f64 {
        self.answers / self.news
    }

    /// At every how many-th look its answer is mostly a new one.
    pub(crate) fn every(&self) -> u8 {
        stride(self.rung)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_repeats_itself_is_asked_less_often_until_it_does_not() {
        let mut telling = Telling::default();
        let asked = |telling: &mut Telling, changes_each: usize| {
            let every = usize::from(telling.every());
            telling.count(300, 300 * every.min(changes_each) / changes_each, 0);
        };
        (0..20).for_each(|_| asked(&mut telling, 60));
        assert!((15..=30).contains(&telling.every()), "{telling:?}");
        (0..20).for_each(|_| asked(&mut telling, 1));
        assert_eq!(telling.every(), 1);
    }

    #[test]
    fn who_tells_more_costs_less_for_each_news() {
        let [mut some, mut more] = [Telling::default(); 2];
        some.count(10_000, 10_000, 10);
        more.count(10_000, 10_000, 100);
        assert!(more.answers_each() * 5.0 < some.answers_each() && some.answers_each() <= 1_001.0);
    }
}

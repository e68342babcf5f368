//! What a detector that knows the time says is usual now, and since when it has said so.
//!
//! A departure is excused if that was said of its series at every value since the departure began: what comes each night
//! at its hour is one to a detector without a clock. As soon as one value is not usual for its time, nothing of what goes on
//! is. Words of several such detectors have to agree.
//!
//! They may be asked more seldom than who departs. When a word that this is usual comes after one that it was not, nobody
//! knows what was between: it counts from the word before. And what began after a word that it is not usual waits for the
//! next one, for as long as that word holds: who is suspected is asked about at once. Twenty-four bytes a series.

use std::time::Duration;
use vedette_protocol::time::MonoTime;

/// Scores below say that a value is usual.
const USUAL: f32 = 1.0;
/// A word holds for so many intervals.
const HOLDS_INTERVALS: u32 = 2;

/// The last word on one series.
#[derive(Clone, Copy, Debug)]
struct Word {
    said: Said,
    /// For one that it is usual since when that was said of all, else when it was said.
    since: MonoTime,
    until: MonoTime,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Said {
    Usual,
    /// Neither usual nor not: nobody knows the time of the week, or it only goes on as it did.
    Neither,
    Unusual,
}

/// Words by a series' number in the registry.
#[derive(Debug, Default)]
pub(crate) struct Usual {
    words: Vec<Option<Word>>,
}

impl Usual {
    /// Bytes of the heap that words on so many series take at most.
    pub(crate) fn bytes_max(series: usize) -> usize {
        crate::room::list::<Option<Word>>(series)
    }

    /// Takes a score of a series that the detector is shown each `interval_ms` while nothing happens. NaN says nothing.
    pub(crate) fn say(&mut self, now: MonoTime, slot: u32, score: f32, interval_ms: u32) {
        let at = slot as usize;
        if self.words.len() <= at {
            self.words.resize(at + 1, None);
        }
        let until = now + Duration::from_millis(u64::from(interval_ms.saturating_mul(HOLDS_INTERVALS)));
        let before = self.words[at].filter(|word| word.until >= now);
        let said = match score {
            _ if score < USUAL => Said::Usual,
            _ if score > USUAL => Said::Unusual,
            _ => Said::Neither,
        };
        let since = match before {
            Some(word) if said == Said::Usual && word.said == Said::Usual => word.since,
            Some(word) if said == Said::Usual => word.since + Duration::from_nanos(1),
            _ => now,
        };
        self.words[at] = (!score.is_nan()).then_some(Word { said, since, until });
    }

    /// Whether all that a series did since `since` was usual for its time.
    pub(crate) fn excuses(&self, now: MonoTime, slot: u32, since: MonoTime) -> bool {
        let word = self.words.get(slot as usize).copied().flatten();
        word.is_some_and(|word| word.until >= now && word.said == Said::Usual && word.since <= since)
    }

    /// Whether the last word is that what the series does is not usual now.
    pub(crate) fn denies(&self, now: MonoTime, slot: u32) -> bool {
        let word = self.words.get(slot as usize).copied().flatten();
        word.is_some_and(|word| word.until >= now && word.said == Said::Unusual)
    }

    /// Whether a departure that began at `since` has to wait for a word: the last one was that it is not usual, and came
    /// before.
    pub(crate) fn is_awaited(&self, now: MonoTime, slot: u32, since: MonoTime) -> bool {
        let word = self.words.get(slot as usize).copied().flatten();
        word.is_some_and(|word| word.until >= now && word.said == Said::Unusual && word.since < since)
    }

    /// Nobody is there any more to say anything.
    pub(crate) fn forget_all(&mut self) {
        self.words.clear();
    }

    /// A series ended; its number may be given to another.
    pub(crate) fn forget(&mut self, slot: u32) {
        if let Some(word) = self.words.get_mut(slot as usize) {
            *word = None;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(s: u64) -> MonoTime {
        MonoTime::from_ms(s * 1_000)
    }

    #[test]
    fn a_departure_is_excused_if_all_of_it_was_usual() {
        let mut usual = Usual::default();
        (0..10).for_each(|s| usual.say(at(s), 3, 0.5, 1_000));
        assert!(usual.excuses(at(10), 3, at(4)) && !usual.excuses(at(10), 2, at(4)));
        usual.say(at(10), 3, 1.0, 1_000);
        assert!(!usual.excuses(at(10), 3, at(4)), "not usual any more");
        (11..20).for_each(|s| usual.say(at(s), 3, 0.0, 1_000));
        assert!(!usual.excuses(at(19), 3, at(4)), "it was not");
        assert!(usual.excuses(at(19), 3, at(12)), "another departure");
    }

    #[test]
    fn a_departure_between_two_words_belongs_to_the_later_one_and_waits_for_it() {
        let mut usual = Usual::default();
        usual.say(at(0), 0, 5.0, 10_000);
        assert!(
            usual.denies(at(7), 0) && usual.is_awaited(at(7), 0, at(7)) && !usual.is_awaited(at(7), 0, at(0)),
            "that word was on it"
        );
        usual.say(at(8), 0, 0.5, 10_000);
        assert!(!usual.denies(at(9), 0) && usual.excuses(at(9), 0, at(7)) && !usual.excuses(at(9), 0, at(0)));
        assert!(!usual.is_awaited(at(9), 0, at(9)), "it is known to be usual");
        usual.say(at(18), 0, 5.0, 10_000);
        assert!(!usual.excuses(at(18), 0, at(17)) && !usual.is_awaited(at(18), 0, at(17)), "told, and not usual");
        assert!(!usual.is_awaited(at(39), 0, at(39)), "nobody waits for who says nothing any more");
        usual.say(at(40), 0, USUAL, 10_000);
        assert!(!usual.is_awaited(at(41), 0, at(41)), "who does not know is not waited for");
    }

    #[test]
    fn a_word_fades_and_nothing_is_said_by_who_does_not_know() {
        let mut usual = Usual::default();
        usual.say(at(0), 0, 0.0, 1_000);
        assert!(usual.excuses(at(2), 0, at(0)) && !usual.excuses(at(3), 0, at(0)));
        usual.say(at(9), 0, 0.0, 1_000);
        assert!(!usual.excuses(at(9), 0, at(1)), "nobody knows what was meanwhile");
        usual.say(at(10), 0, f32::NAN, 1_000);
        assert!(!usual.excuses(at(10), 0, at(10)));
        usual.say(at(11), 0, 0.0, 1_000);
        usual.forget(0);
        assert!(!usual.excuses(at(11), 0, at(11)));
    }
}

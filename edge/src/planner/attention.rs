//! What the planner knows of one series, and what it decided on it.

use super::thinning::{LADDER, SLOWEST, SLOWEST_RUNG, stride};
use std::time::Duration;
use vedette_protocol::time::MonoTime;
use vedette_protocol::worker::flags;

/// A raise lasts for this long and for so many values at least: of what merely was far out, and of what was suspected.
const GLANCE: (u64, u64) = (10_000, 6);
const RAISE: (u64, u64) = (30_000, 15);
/// After it the series goes down the ladder by one step each so often.
const DECAY_MS: u64 = 10_000;
/// A value counts as so many times as far out where the one before stood out a moment ago, or a relative is suspected.
const BOOST: f32 = 2.0;
/// Interest of what stands out, of a detector's surprise, of its suspicion and of an episode.
pub(crate) const STOOD_OUT: f32 = 1.0;
pub(crate) const SURPRISED: f32 = 1.5;
pub(crate) const SUSPECTED: f32 = 2.0;
pub(crate) const FOUND: f32 = 4.0;
/// Looks until a series is known.
const KNOWN_LOOKS: u8 = 100;
/// What every series is worth, and what one that is not known yet is worth more.
const WORTH_MIN: f32 = 0.05;
const WORTH_UNKNOWN: f32 = 1.0;
/// Window features in a row that may be put together.
const WINDOWS_MAX: u8 = LADDER[SLOWEST];
/// Weight of the last window in the share of windows that say something new.
const NEWS_SHARE: f32 = 0.125;

/// Who comes first when the budget does not suffice for all that is due.
pub(crate) type Class = u8;
/// What is due however little is left: nobody looked for the longest time that there may be.
pub(crate) const OVERDUE: Class = 0;
const RAISED: Class = 1;
/// Then each step of the ladder: what is usual has to be known.
const PLANNED: Class = 2;
/// What votes found odd a moment ago or stands out in the screen four times as far as the bar, twice as far, and above it.
const STANDING: [Class; 3] = [PLANNED + 8, PLANNED + 9, PLANNED + 10];
const _: () = assert!(LADDER.len() == 8);
pub(crate) const CLASSES: usize = STANDING[2] as usize + 1;

/// The step of the ladder of a class; who is raised or overdue is seen by all detectors.
pub(crate) fn rung_of(class: Class) -> u8 {
    if is_standing(class) { 1 } else { class.saturating_sub(PLANNED) }
}

/// Whether it is a class of what all detectors look at: it is raised, or nobody looked for long.
pub(crate) fn is_close(class: Class) -> bool {
    class < PLANNED
}

/// Whether it is a class of what stands out.
pub(crate) fn is_standing(class: Class) -> bool {
    STANDING.contains(&class)
}

/// A look, for who is asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Looked {
    /// Values since the last look that was not picked, this one included; of what is picked, as many as there would be.
    pub(crate) values: u16,
    /// Its number among the regular ones or among the picked ones, from 0 again after each sixty.
    pub(crate) number: u8,
    /// What was missed before it.
    pub(crate) flags: u8,
}

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attention {
    /// Place of the source in the planner's list.
    pub(crate) source: u8,
    /// Step of the ladder that is planned, without a raise.
    rung: u8,
    /// Until when it is raised, 0 for who never was, and whether for another's sake.
    raised_until: MonoTime,
    is_relative: bool,
    /// The strongest reason of the raise.
    raised_for: f32,
    /// Values since the last look that was not picked, this one included, those of one tick once; and after how many the
    /// next one is due: at first fewer than the step's stride, so that not everybody's is in one tick.
    waited: u8,
    wait: u8,
    /// The tick has to see whether it is looked at.
    is_candidate: bool,
    /// Looks, as far as they matter, and the numbers of the last regular one and of the last picked one.
    looks: u8,
    number: u8,
    picks: u8,
    /// Of values since the last look that was not picked.
    flags: u8,
    /// Share of windows that said something new, and how many the present one shall be put together of.
    news: f32,
    windows: u8,
    folded: u8,
}

impl Default for Attention {
    fn default() -> Self {
        Self {
            source: u8::MAX,
            rung: 0,
            raised_until: MonoTime::default(),
            is_relative: false,
            raised_for: 0.0,
            waited: 0,
            wait: 1,
            is_candidate: false,
            looks: 0,
            number: 0,
            picks: 0,
            flags: 0,
            news: 1.0,
            windows: 1,
            folded: 0,
        }
    }
}

impl Attention {
    /// Counts a value as one of those between looks. Where it is the series' turn or may be, the tick has to see about it:
    /// whether it does and did not know.
    #[inline]
    pub(crate) fn count(&mut self, flags: u8, is_first: bool) -> bool {
        self.waited = self.waited.saturating_add(u8::from(is_first));
        self.flags |= flags & flags::GAP;
        (self.waited >= self.wait || self.was_raised()) && self.nominate()
    }

    /// Whether it is watched closely: what is far for it is not learnt from that.
    #[inline]
    pub(crate) fn is_watched(&self) -> bool {
        self.was_raised() && self.raised_for > STOOD_OUT
    }

    /// Puts the looks of different series into different ticks, which an agent that is started again finds again.
    pub(crate) fn spread(&mut self, now: MonoTime, slot: u32, interval_ms: u32) {
        let readings = now.ns / 1_000_000 / u64::from(interval_ms.max(1));
        let number = (readings + u64::from(slot)) % u64::from(LADDER[SLOWEST]);
        self.number = u8::try_from(number).unwrap_or(0);
    }

    /// Without a budget of CPU time each value is looked at. Its class and its number, from 0 again after each sixty.
    #[inline]
    pub(crate) fn pass(&mut self, now: MonoTime) -> (Class, u8) {
        self.number = (self.number + 1) % LADDER[SLOWEST];
        (if self.was_raised() && self.is_suspect(now) { RAISED } else { PLANNED }, self.number)
    }

    /// The tick has to see whether it is looked at. Whether it did not know.
    pub(crate) fn nominate(&mut self) -> bool {
        !std::mem::replace(&mut self.is_candidate, true)
    }

    /// It was raised, and was not found to be calm again since.
    fn was_raised(&self) -> bool {
        self.raised_until != MonoTime::default()
    }

    /// Has it looked at each time for a while. Whether it was not already for its own sake and as much reason.
    pub(crate) fn raise(&mut self, now: MonoTime, interval_ms: u32, interest: f32) -> bool {
        let is_raised = self.is_raised(now) && !self.is_relative;
        let is_news = !is_raised || interest > self.raised_for;
        self.raised_for = if is_raised { self.raised_for.max(interest) } else { interest };
        let lasts = if interest > SURPRISED { RAISE } else { GLANCE };
        if interest > STOOD_OUT {
            self.windows = 1;
        }
        self.raise_until(now + for_as_long(lasts, interval_ms), interest);
        is_news
    }

    /// The same until a moment.
    pub(crate) fn raise_until(&mut self, until: MonoTime, interest: f32) {
        self.is_relative = false;
        self.raised_for = self.raised_for.max(interest);
        self.raised_until = self.raised_until.max(until);
    }

    /// The same for the sake of another series.
    pub(crate) fn raise_for_relative(&mut self, now: MonoTime, interval_ms: u32) {
        self.is_relative |= !self.is_raised(now);
        self.raised_until = self.raised_until.max(now + for_as_long(RAISE, interval_ms));
    }

    pub(crate) fn is_raised(&self, now: MonoTime) -> bool {
        now < self.raised_until
    }

    /// Whether it is raised for more than a value that was far out, and for its own sake: then it is looked at each time.
    fn is_suspect(&self, now: MonoTime) -> bool {
        self.raised_for > STOOD_OUT && !self.is_relative && self.is_raised(now)
    }

    /// Whether it is raised, and only for the sake of another series.
    pub(crate) fn is_relative(&self, now: MonoTime) -> bool {
        self.is_relative && self.is_raised(now)
    }

    /// Until when it is or was raised.
    pub(crate) fn raised_until(&self) -> MonoTime {
        self.raised_until
    }

    /// Without a budget nothing is planned.
    pub(crate) fn forget_plan(&mut self) {
        (self.windows, self.raised_until) = (1, MonoTime::default());
        self.forget_looks();
    }

    /// Without a budget of CPU time it is looked at each time.
    pub(crate) fn forget_looks(&mut self) {
        (self.rung, self.wait, self.waited, self.flags, self.is_candidate) = (0, 1, 0, 0, false);
    }

    /// What a look each second is worth, of a series of usual importance, beside what it does and did: unitless.
    pub(crate) fn worth(&self) -> f32 {
        WORTH_MIN + if self.looks < KNOWN_LOOKS { WORTH_UNKNOWN } else { 0.0 }
    }

    /// The step of the ladder at which it is looked at.
    pub(crate) fn rung(&self, now: MonoTime) -> u8 {
        self.rung.min(self.slowest(now))
    }

    /// The slowest step that a suspicion, or what is left of it, allows.
    pub(crate) fn slowest(&self, now: MonoTime) -> u8 {
        if !self.was_raised() || self.raised_for <= STOOD_OUT || self.is_relative {
            return SLOWEST_RUNG;
        }
        let until = self.raised_until;
        let steps = if now < until { 0 } else { 1 + now.since(until).as_millis() / u128::from(DECAY_MS) };
        u8::try_from(steps).unwrap_or(SLOWEST_RUNG).min(SLOWEST_RUNG)
    }

    /// Plans a step of the ladder. `spread` puts looks of different series into different ticks.
    #[inline]
    pub(crate) fn plan(&mut self, now: MonoTime, rung: u8, spread: u32) {
        if self.was_raised() && self.slowest(now) == SLOWEST_RUNG && !self.is_raised(now) {
            (self.raised_until, self.raised_for, self.is_relative) = (MonoTime::default(), 0.0, false);
        }
        let before = std::mem::replace(&mut self.rung, rung);
        if before == rung {
            return;
        }
        let is_first_early = self.wait < stride(before);
        self.wait = match () {
            () if before == 0 => u8::try_from(1 + spread % u32::from(stride(rung))).unwrap_or(u8::MAX),
            () if is_first_early => self.wait.min(stride(rung)),
            () => stride(rung),
        };
    }

    /// A value is there, counted, and so far `out`. The class of the look that is due, if one is. Who is as far out as the bar
    /// of the host stands out; who is `followed`, because votes found it odd a moment ago, however far out it is.
    #[inline]
    pub(crate) fn due(&mut self, now: MonoTime, out: f32, bar: f32, followed: bool) -> Option<Class> {
        self.is_candidate = false;
        if self.waited >= LADDER[SLOWEST] {
            return Some(OVERDUE);
        }
        // Hardly anybody is raised.
        let (mut rung, mut wait, mut out) = (self.rung, self.wait, out);
        if self.was_raised() {
            if self.is_suspect(now) {
                return Some(RAISED);
            }
            rung = self.rung(now);
            wait = wait.min(stride(rung));
            out *= if self.is_raised(now) { BOOST } else { 1.0 };
        }
        if self.waited >= wait {
            return Some(PLANNED + rung);
        }
        match () {
            () if followed || out >= 4.0 * bar => Some(STANDING[0]),
            () if out >= bar => Some(STANDING[usize::from(out < 2.0 * bar) + 1]),
            () => None,
        }
    }

    /// It is looked at now. What is picked takes nothing from the regular looks: it is a value alone, which some detectors
    /// do not see, so that they are told of pace and gaps as if it had not been.
    #[inline]
    pub(crate) fn look(&mut self, class: Class) -> Looked {
        self.looks = self.looks.saturating_add(1);
        if is_standing(class) {
            self.picks = (self.picks + 1) % LADDER[SLOWEST];
            return Looked { values: u16::from(stride(self.rung)), number: self.picks, flags: self.flags };
        }
        self.number = (self.number + 1) % LADDER[SLOWEST];
        self.wait = stride(self.rung);
        let values = u16::from(std::mem::take(&mut self.waited).max(1));
        Looked { values, number: self.number, flags: std::mem::take(&mut self.flags) }
    }

    pub(crate) fn plan_windows(&mut self, windows: u8) {
        self.windows = windows.clamp(1, WINDOWS_MAX);
    }

    /// Windows that one feature is put together of.
    pub(crate) fn windows(&self) -> u8 {
        self.windows
    }

    /// A window is over that may be put together of `most` at most. Whether it goes on into the next one.
    pub(crate) fn folds(&mut self, most: u8) -> bool {
        let wanted = if self.windows > most { WINDOWS_MAX } else { self.windows };
        self.folded += 1;
        if self.folded >= wanted {
            self.folded = 0;
        }
        self.folded > 0
    }

    /// Whether the plan has the window end now.
    pub(crate) fn ends_window(&self) -> bool {
        self.folded + 1 >= self.windows
    }

    /// Whether the window that was closed said something new.
    pub(crate) fn told(&mut self, is_new: bool) {
        self.folded = 0;
        self.news += (f32::from(u8::from(is_new)) - self.news) * NEWS_SHARE;
    }

    pub(crate) fn news(&self) -> f32 {
        self.news
    }
}

fn for_as_long((ms, values): (u64, u64), interval_ms: u32) -> Duration {
    Duration::from_millis(ms.max(u64::from(interval_ms) * values))
}

#[cfg(test)]
mod tests {
    use super::*;

    const BAR: f32 = 1.0;

    fn at(second: u64) -> MonoTime {
        MonoTime::from_ms(second * 1_000)
    }

    /// A value that was screened is counted, and the tick sees about it if it has to.
    fn due(attention: &mut Attention, now: MonoTime, out: f32) -> Option<Class> {
        let is_candidate = attention.count(0, true) || out >= BAR;
        is_candidate.then(|| attention.due(now, out, BAR, false)).flatten()
    }

    #[test]
    fn a_raise_is_felt_at_once_and_goes_down_the_ladder_later() {
        let mut attention = Attention::default();
        attention.plan(at(0), SLOWEST_RUNG, 3);
        assert_eq!(due(&mut attention, at(1), 0.0), None);
        assert!(attention.raise(at(1), 1_000, SUSPECTED), "it is news");
        assert!(!attention.raise(at(2), 1_000, SUSPECTED), "and is not twice");
        assert!(attention.raise(at(2), 1_000, FOUND), "but a better reason is");
        assert_eq!(due(&mut attention, at(2), 0.0), Some(1));
        let rungs: Vec<u8> = (0..13).map(|step| attention.rung(at(2 + step * 10))).collect();
        assert_eq!(rungs, [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 7]);
        attention.plan(at(600), SLOWEST_RUNG, 3);
        assert!(!attention.was_raised());
    }

    #[test]
    fn a_relative_is_looked_at_if_it_is_half_as_far_out_and_each_time_once_it_is_suspected_itself() {
        let mut attention = Attention::default();
        attention.plan(at(0), SLOWEST_RUNG, 59);
        assert_eq!(due(&mut attention, at(0), 0.6), None);
        attention.raise_for_relative(at(1), 1_000);
        assert_eq!(due(&mut attention, at(1), 0.6), Some(STANDING[2]));
        assert_eq!(due(&mut attention, at(1), 0.1), None);
        assert!(attention.raise(at(2), 1_000, FOUND));
        attention.raise_for_relative(at(3), 1_000);
        assert_eq!(due(&mut attention, at(3), 0.1), Some(RAISED));
    }

    #[test]
    fn who_is_farther_out_comes_first() {
        let class = |out| {
            let mut attention = Attention::default();
            attention.plan(at(0), SLOWEST_RUNG, 59);
            due(&mut attention, at(0), out)
        };
        assert_eq!([4.0, 2.0, 1.0].map(class), STANDING.map(Some));
        assert_eq!(class(0.9), None);
    }

    #[test]
    fn who_is_followed_is_looked_at_whatever_the_screen_says_and_no_longer() {
        let mut attention = Attention::default();
        attention.plan(at(0), SLOWEST_RUNG, 59);
        assert!(attention.nominate());
        assert_eq!(attention.due(at(0), 0.0, BAR, true), Some(STANDING[0]));
        assert!(attention.nominate());
        assert_eq!(attention.due(at(1), 0.0, BAR, false), None);
    }

    #[test]
    fn what_is_picked_takes_nothing_from_the_regular_looks() {
        let mut attention = Attention::default();
        attention.plan(at(0), 4, 9);
        let mut regular = 0;
        for second in 0..100 {
            let out = if second % 3 == 0 { 2.0 } else { 0.0 };
            if let Some(class) = due(&mut attention, at(second), out) {
                attention.look(class);
                regular += u32::from(!is_standing(class));
            }
        }
        assert_eq!(regular, 10);
    }

    #[test]
    fn regular_looks_tell_their_true_pace_and_gaps_whatever_is_picked_in_between() {
        let mut attention = Attention::default();
        attention.plan(at(0), 4, 9);
        let (mut last, mut numbers, mut missed) = (None, Vec::new(), false);
        for second in 0..200 {
            let out = if second % 3 == 0 { 2.0 } else { 0.0 };
            let flags = if second % 17 == 0 { flags::GAP } else { 0 };
            missed |= flags != 0;
            attention.count(flags, true);
            let Some(class) = attention.due(at(second), out, BAR, false) else { continue };
            let look = attention.look(class);
            assert_eq!(look.flags != 0, missed);
            if is_standing(class) {
                assert_eq!(look.values, 10);
                continue;
            }
            if let Some(last) = last.replace(second) {
                assert_eq!(u64::from(look.values), second - last);
            }
            numbers.push(look.number);
            missed = false;
        }
        assert!(numbers.len() == 20 && numbers.windows(2).all(|pair| pair[1] == pair[0] + 1), "{numbers:?}");
    }

    #[test]
    fn who_is_picked_all_the_time_is_looked_at_regularly_within_sixty_values() {
        let mut attention = Attention::default();
        attention.plan(at(0), SLOWEST_RUNG, 59);
        let mut since = 0;
        for second in 0..500 {
            since += 1;
            if let Some(class) = due(&mut attention, at(second), 2.0) {
                attention.look(class);
                since = if is_standing(class) { since } else { 0 };
            }
            assert!(since < 60, "{since}");
        }
    }

    #[test]
    fn no_series_is_left_for_longer_than_the_bound() {
        let mut attention = Attention::default();
        attention.plan(at(0), SLOWEST_RUNG, 59);
        let mut since = 0;
        for second in 0..500 {
            since += 1;
            if let Some(class) = due(&mut attention, at(second), 0.0) {
                assert_eq!(class, OVERDUE);
                assert_eq!(attention.look(class).values, since);
                since = 0;
            }
            assert!(since < 60);
        }
    }
}

//! What the planner knows of one series, and what it decided on it.

use super::VOTES_MAX;
use super::screen::Screen;
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
/// Interest of what stands out, of a detector's surprise, of its suspicion and of an episode, and what is left of it after
/// a value.
pub(crate) const STOOD_OUT: f32 = 1.0;
pub(crate) const SURPRISED: f32 = 1.5;
pub(crate) const SUSPECTED: f32 = 2.0;
pub(crate) const FOUND: f32 = 4.0;
const INTEREST_KEPT: f32 = 0.999;
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
/// What stands out in the screen: four times as far as the bar, twice, and above it.
const STANDING: [Class; 3] = [PLANNED + 8, PLANNED + 9, PLANNED + 10];
const _: () = assert!(LADDER.len() == 8);
pub(crate) const CLASSES: usize = STANDING[2] as usize + 1;

/// The step of the ladder of a class; who is raised or overdue is seen by all detectors.
pub(crate) fn rung_of(class: Class) -> u8 {
    if is_standing(class) { 1 } else { class.saturating_sub(PLANNED) }
}

/// Whether it is a class of what stands out.
pub(crate) fn is_standing(class: Class) -> bool {
    STANDING.contains(&class)
}

/// See the module's documentation.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Attention {
    screen: Screen,
    /// How far out the last value was.
    out: f32,
    interest: f32,
    /// Place of the source in the planner's list.
    pub(crate) source: u8,
    /// Step of the ladder that is planned, without a raise.
    rung: u8,
    /// Whose sake it is raised for, and until when.
    raised_until: Option<MonoTime>,
    is_relative: bool,
    /// The strongest reason of the raise.
    raised_for: f32,
    /// Values since the last look, this one included; ticks of reading count once.
    unlooked: u16,
    /// The same since the last look that was not picked.
    waited: u8,
    /// The next look is due after so many already, so that not everybody's is in one tick.
    early: u8,
    /// Looks, as far as they matter, and the number of the last one, from 0 again after each sixty.
    looks: u8,
    number: u8,
    /// Of values since the last look.
    flags: u8,
    /// Share of windows that said something new, and how many the present one shall be put together of.
    news: f32,
    windows: u8,
    folded: u8,
}

impl Default for Attention {
    fn default() -> Self {
        Self {
            screen: Screen::default(),
            out: 0.0,
            interest: 0.0,
            source: u8::MAX,
            rung: 0,
            raised_until: None,
            is_relative: false,
            raised_for: 0.0,
            unlooked: 0,
            waited: 0,
            early: u8::MAX,
            looks: 0,
            number: 0,
            flags: 0,
            news: 1.0,
            windows: 1,
            folded: 0,
        }
    }
}

impl Attention {
    /// Takes a value that was read. What interest it is of, if it is far out.
    #[inline]
    pub(crate) fn screen(&mut self, value: f64, resolution: f64) -> Option<f32> {
        let startles;
        (self.out, startles) =
            self.screen.look(value, resolution, self.raised_until.is_some() && self.raised_for > STOOD_OUT);
        self.interest = (self.interest * INTEREST_KEPT).max(self.out.min(STOOD_OUT));
        match () {
            () if startles => Some(SURPRISED),
            () if self.out >= 1.0 => Some(STOOD_OUT),
            () => None,
        }
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
        self.raised_until = self.raised_until.max(Some(until));
        self.interest = self.interest.max(interest);
    }

    /// The same for the sake of another series.
    pub(crate) fn raise_for_relative(&mut self, now: MonoTime, interval_ms: u32) {
        self.is_relative |= !self.is_raised(now);
        self.raised_until = self.raised_until.max(Some(now + for_as_long(RAISE, interval_ms)));
    }

    pub(crate) fn is_raised(&self, now: MonoTime) -> bool {
        self.raised_until.is_some_and(|until| now < until)
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
        self.raised_until.unwrap_or_default()
    }

    /// Without a budget nothing is planned.
    pub(crate) fn forget_plan(&mut self) {
        (self.rung, self.windows, self.unlooked, self.raised_until) = (0, 1, 0, None);
    }

    /// What a look each second is worth, of a series of usual importance: unitless.
    pub(crate) fn worth(&self) -> f32 {
        let unknown = if self.looks < KNOWN_LOOKS { WORTH_UNKNOWN } else { 0.0 };
        WORTH_MIN + self.screen.activity() + self.interest * self.interest + unknown
    }

    /// The step of the ladder at which it is looked at.
    pub(crate) fn rung(&self, now: MonoTime) -> u8 {
        self.rung.min(self.slowest(now))
    }

    /// The slowest step that a suspicion, or what is left of it, allows.
    pub(crate) fn slowest(&self, now: MonoTime) -> u8 {
        let suspected = self.raised_until.filter(|_| self.raised_for > STOOD_OUT && !self.is_relative);
        let Some(until) = suspected else { return SLOWEST_RUNG };
        let steps = if now < until { 0 } else { 1 + now.since(until).as_millis() / u128::from(DECAY_MS) };
        u8::try_from(steps).unwrap_or(SLOWEST_RUNG).min(SLOWEST_RUNG)
    }

    /// Plans a step of the ladder. `spread` puts looks of different series into different ticks.
    pub(crate) fn plan(&mut self, now: MonoTime, rung: u8, spread: u32) {
        if self.slowest(now) == SLOWEST_RUNG && !self.is_raised(now) {
            (self.raised_until, self.is_relative) = (None, false);
        }
        if std::mem::replace(&mut self.rung, rung) == 0 && rung > 0 {
            self.early = u8::try_from(1 + spread % u32::from(stride(rung))).unwrap_or(u8::MAX);
        }
    }

    /// A value is there. The class of the look that is due, if one is; a value that nobody looks at counts as well. Who is
    /// as far out as the bar of the host stands out; what votes made odd so many times sooner as `sooner` says.
    #[inline]
    pub(crate) fn due(&mut self, now: MonoTime, flags: u8, bar: f32, sooner: impl FnOnce() -> f32) -> Option<Class> {
        self.unlooked = self.unlooked.saturating_add(1);
        self.waited = self.waited.saturating_add(1);
        self.flags |= flags & flags::GAP;
        if self.unlooked >= u16::from(LADDER[SLOWEST]) {
            return Some(OVERDUE);
        }
        // Hardly anybody is raised, and hardly anybody's value is anywhere near the bar.
        let rung = if self.raised_until.is_some() { self.rung(now) } else { self.rung };
        if self.raised_until.is_some() && self.is_suspect(now) {
            return Some(RAISED);
        }
        if self.waited >= stride(rung).min(self.early) {
            return Some(PLANNED + rung);
        }
        if BOOST * (1.0 + VOTES_MAX) * self.out < bar {
            return None;
        }
        let out = if self.is_raised(now) { BOOST * self.out } else { self.out } * (1.0 + sooner());
        match () {
            () if out >= bar => Some(STANDING[if out >= 4.0 * bar { 0 } else { usize::from(out < 2.0 * bar) + 1 }]),
            () => None,
        }
    }

    /// It is looked at now. The number of the look, and values since the last one, this one included; what was picked
    /// counts among the regular looks, for like them it is a value alone, and no neighbour of the one before.
    #[inline]
    pub(crate) fn look(&mut self, class: Class) -> (u16, u8) {
        self.looks = self.looks.saturating_add(1);
        self.number = (self.number + 1) % LADDER[SLOWEST];
        let values = std::mem::take(&mut self.unlooked).max(1);
        if is_standing(class) {
            return (u16::from(stride(self.rung)), self.number);
        }
        (self.early, self.waited) = (u8::MAX, 0);
        (values, self.number)
    }

    /// What was missed before the value that is looked at is missed before it.
    pub(crate) fn take_flags(&mut self) -> u8 {
        std::mem::take(&mut self.flags)
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

    fn at(second: u64) -> MonoTime {
        MonoTime::from_ms(second * 1_000)
    }

    #[test]
    fn a_raise_is_felt_at_once_and_goes_down_the_ladder_later() {
        let mut attention = Attention::default();
        attention.plan(at(0), SLOWEST_RUNG, 3);
        assert_eq!(attention.due(at(1), 0, 1.0, || 0.0), None);
        assert!(attention.raise(at(1), 1_000, SUSPECTED), "it is news");
        assert!(!attention.raise(at(2), 1_000, SUSPECTED), "and is not twice");
        assert!(attention.raise(at(2), 1_000, FOUND), "but a better reason is");
        assert_eq!(attention.due(at(2), 0, 1.0, || 0.0), Some(1));
        let rungs: Vec<u8> = (0..13).map(|step| attention.rung(at(2 + step * 10))).collect();
        assert_eq!(rungs, [0, 0, 0, 1, 2, 3, 4, 5, 6, 7, 7, 7, 7]);
        attention.plan(at(600), SLOWEST_RUNG, 3);
        assert!(attention.raised_until.is_none());
    }

    #[test]
    fn a_relative_is_looked_at_if_it_is_half_as_far_out_and_each_time_once_it_is_suspected_itself() {
        let mut attention = Attention::default();
        attention.plan(at(0), SLOWEST_RUNG, 59);
        attention.out = 0.6;
        assert_eq!(attention.due(at(0), 0, 1.0, || 0.0), None);
        attention.raise_for_relative(at(1), 1_000);
        assert_eq!(attention.due(at(1), 0, 1.0, || 0.0), Some(STANDING[2]));
        attention.out = 0.1;
        assert_eq!(attention.due(at(1), 0, 1.0, || 0.0), None);
        assert!(attention.raise(at(2), 1_000, FOUND));
        attention.raise_for_relative(at(3), 1_000);
        assert_eq!(attention.due(at(3), 0, 1.0, || 0.0), Some(RAISED));
    }

    #[test]
    fn who_is_farther_out_comes_first() {
        let class = |out| {
            let mut attention = Attention { out, ..Attention::default() };
            attention.plan(at(0), SLOWEST_RUNG, 59);
            attention.due(at(0), 0, 0.5, || 0.0)
        };
        assert_eq!([2.0, 1.0, 0.5].map(class), STANDING.map(Some));
        assert_eq!(class(0.4), None);
    }

    #[test]
    fn what_is_picked_takes_nothing_from_the_regular_looks() {
        let mut attention = Attention::default();
        attention.plan(at(0), 4, 9);
        let mut regular = 0;
        for second in 0..100 {
            attention.out = if second % 3 == 0 { 2.0 } else { 0.0 };
            if let Some(class) = attention.due(at(second), 0, 1.0, || 0.0) {
                attention.look(class);
                regular += u32::from(!is_standing(class));
            }
        }
        assert_eq!(regular, 10);
    }

    #[test]
    fn no_series_is_left_for_longer_than_the_bound() {
        let mut attention = Attention::default();
        attention.plan(at(0), SLOWEST_RUNG, 59);
        let mut since = 0;
        for second in 0..500 {
            since += 1;
            if let Some(class) = attention.due(at(second), 0, 1.0, || 0.0) {
                assert_eq!(class, OVERDUE);
                assert_eq!(attention.look(class).0, since);
                since = 0;
            }
            assert!(since < 60);
        }
    }

    #[test]
    fn worth_follows_what_a_series_does() {
        let (mut still, mut busy) = (Attention::default(), Attention::default());
        for n in 0..400u32 {
            still.screen(5.0, 0.0);
            busy.screen(f64::from(n % 13), 0.0);
            still.look(PLANNED);
            busy.look(PLANNED);
        }
        assert!(busy.worth() > 5.0 * still.worth(), "{} {}", busy.worth(), still.worth());
        let before = still.worth();
        still.raise(at(1), 1_000, FOUND);
        assert!(still.worth() > before + 10.0);
    }
}

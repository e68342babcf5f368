//! What was spent of one budget, and what may still be.
//!
//! Work is booked by its price when it is done; once the shell measures, each measurement replaces what was booked since
//! the last one. A budget holds over every stretch of its window: what was spent within it and what is about to be may
//! not be more than the window allows.

use vedette_protocol::time::MonoTime;

const SLOTS: usize = 60;
const NS_PER_S: f64 = 1e9;
/// The part of a budget that is planned with: the rest is for what comes unplanned.
pub(crate) const PLANNED: f64 = 0.92;
/// How fast the ratio of measured to booked forgets, each measurement.
const RATIO_KEPT: f64 = 0.98;
const RATIO: std::ops::RangeInclusive<f64> = 0.25..=16.0;

/// A sum over the last sixty slots of time.
#[derive(Clone, Debug)]
struct Sliding {
    slot_ns: u64,
    slots: [f64; SLOTS],
    newest: u64,
}

impl Sliding {
    fn new(slot_ns: u64) -> Self {
        Self { slot_ns, slots: [0.0; SLOTS], newest: 0 }
    }

    fn turn(&mut self, now: MonoTime) {
        let newest = now.ns / self.slot_ns;
        let passed = newest.saturating_sub(self.newest).min(SLOTS as u64);
        for slot in (0..passed).map(|back| newest - back) {
            self.slots[at(slot)] = 0.0;
        }
        self.newest = self.newest.max(newest);
    }

    fn add(&mut self, now: MonoTime, amount: f64) {
        self.turn(now);
        self.slots[at(self.newest)] += amount;
    }

    fn sum(&mut self, now: MonoTime) -> f64 {
        self.turn(now);
        self.slots.iter().sum()
    }

    /// The same without forgetting what is over, for a reader.
    fn peek(&self, now: MonoTime) -> f64 {
        self.clone().sum(now)
    }

    fn length_s(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "a window has far less than 2^52 ns")]
        let ns = (self.slot_ns * SLOTS as u64) as f64;
        ns / NS_PER_S
    }
}

#[expect(clippy::cast_possible_truncation, reason = "below SLOTS")]
fn at(slot: u64) -> usize {
    (slot % SLOTS as u64) as usize
}

/// The window of an hourly budget.
pub(crate) const HOUR_MS: u64 = 3_600_000;

/// The window of a budget per second: a minute, or sixty readings of the source that is read most often if that is
/// longer, since what is read seldom is paid seldom.
pub(crate) fn window_ms(shortest_interval_ms: u32) -> u64 {
    (u64::from(shortest_interval_ms) * SLOTS as u64).max(60_000)
}

fn slot_ns(window_ms: u64) -> u64 {
    (window_ms * 1_000_000 / SLOTS as u64).max(1)
}

/// See the module's documentation. Amounts are nanoseconds or bytes.
#[derive(Clone, Debug)]
pub(crate) struct Spending {
    per_s: Option<f64>,
    total: f64,
    window: Sliding,
    minute: Sliding,
    hour: Sliding,
    /// Since the last measurement, as booked.
    booked: f64,
    measured: Option<u64>,
    /// Measured and booked of late: their ratio tells how far prices are off.
    of_late: [f64; 2],
}

impl Spending {
    pub(crate) fn new(window_ms: u64) -> Self {
        Self {
            per_s: None,
            total: 0.0,
            window: Sliding::new(slot_ns(window_ms)),
            minute: Sliding::new(1_000_000_000),
            hour: Sliding::new(60_000_000_000),
            booked: 0.0,
            measured: None,
            of_late: [0.0; 2],
        }
    }

    /// The budget a second from now on. The first one finds a window that is as full as the plan will keep it, so that
    /// nobody spends a whole window at once.
    pub(crate) fn set_budget(&mut self, now: MonoTime, per_s: Option<f64>) {
        let per_s = per_s.map(super::prices::sane);
        if self.total == 0.0 && self.per_s.is_none() {
            self.window.turn(now);
            let each = per_s.unwrap_or(0.0) * PLANNED * self.window.length_s() / SLOTS as f64;
            self.window.slots = [each; SLOTS];
        }
        self.per_s = per_s;
    }

    pub(crate) fn set_window(&mut self, now: MonoTime, window_ms: u64) {
        if self.window.slot_ns != slot_ns(window_ms) {
            let per_slot = self.window.sum(now) / self.window.length_s();
            self.window = Sliding::new(slot_ns(window_ms));
            self.window.turn(now);
            let each = per_slot * self.window.length_s() / SLOTS as f64;
            self.window.slots = [each; SLOTS];
        }
    }

    pub(crate) fn is_limited(&self) -> bool {
        self.per_s.is_some()
    }

    /// Work of this price is being done.
    pub(crate) fn book(&mut self, now: MonoTime, price: f64) {
        let amount = price * self.ratio();
        self.booked += amount;
        self.of_late[1] += price;
        self.add(now, amount);
    }

    /// So much was spent since start.
    pub(crate) fn measure(&mut self, now: MonoTime, cumulative: u64) {
        let Some(before) = self.measured.replace(cumulative) else {
            // What was spent before the first measurement was booked.
            (self.booked, self.of_late) = (0.0, [0.0; 2]);
            return;
        };
        #[expect(clippy::cast_precision_loss, reason = "what is spent between two ticks is far below 2^52")]
        let spent = cumulative.saturating_sub(before) as f64;
        let booked = std::mem::take(&mut self.booked);
        self.of_late[0] += spent;
        self.of_late = self.of_late.map(|amount| amount * RATIO_KEPT);
        self.add(now, spent - booked);
    }

    fn add(&mut self, now: MonoTime, amount: f64) {
        self.total += amount;
        for sliding in [&mut self.window, &mut self.minute, &mut self.hour] {
            sliding.add(now, amount);
        }
    }

    /// How much more work is than its price.
    pub(crate) fn ratio(&self) -> f64 {
        let [measured, booked] = self.of_late;
        if self.measured.is_none() || booked <= 0.0 || measured <= 0.0 {
            return 1.0;
        }
        (measured / booked).clamp(*RATIO.start(), *RATIO.end())
    }

    /// The price of the work that may still be done now; without a limit there is no end of it.
    pub(crate) fn room(&mut self, now: MonoTime) -> f64 {
        let Some(per_s) = self.per_s else { return f64::INFINITY };
        let left = per_s * self.window.length_s() - self.window.sum(now);
        left.max(0.0) / self.ratio()
    }

    /// The time over which the budget holds, in seconds.
    pub(crate) fn window_s(&self) -> f64 {
        self.window.length_s()
    }

    /// What a whole window allows.
    pub(crate) fn allowance(&self) -> f64 {
        self.per_s.unwrap_or(0.0) * self.window.length_s()
    }

    /// What a plan may use a second, in prices.
    pub(crate) fn plannable_per_s(&self) -> f64 {
        self.per_s.map_or(f64::INFINITY, |per_s| per_s * PLANNED / self.ratio())
    }

    pub(crate) fn bill(&self, now: MonoTime) -> Bill {
        Bill {
            budget_per_s: self.per_s,
            total: self.total,
            minute: self.minute.peek(now),
            hour: self.hour.peek(now),
            holds_over_s: self.window.length_s(),
        }
    }
}

/// What was spent of one budget: nanoseconds of CPU time, or bytes.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Bill {
    /// What may be spent a second; `None` for no limit.
    pub budget_per_s: Option<f64>,
    /// Spent since start.
    pub total: f64,
    /// Spent in the last minute.
    pub minute: f64,
    /// Spent in the last hour.
    pub hour: f64,
    /// The time over which the budget holds, in seconds.
    pub holds_over_s: f64,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: u64) -> MonoTime {
        MonoTime::from_ms(second * 1_000)
    }

    fn limited(per_s: f64) -> Spending {
        let mut spending = Spending::new(window_ms(1_000));
        spending.set_budget(at(0), Some(per_s));
        spending
    }

    #[test]
    fn a_window_is_never_spent_at_once_nor_more_than_it_allows() {
        let mut spending = limited(100.0);
        let unplanned = 6_000.0 * (1.0 - PLANNED);
        assert!((spending.room(at(0)) - unplanned).abs() < 1e-6, "what is not planned with: {}", spending.room(at(0)));
        let mut spent = Vec::new();
        for second in 0..300 {
            let amount = spending.room(at(second)).min(if second % 7 == 0 { 1e9 } else { 50.0 });
            spending.book(at(second), amount);
            spent.push(amount);
        }
        let minutes = spent.windows(60).map(|minute| minute.iter().sum::<f64>());
        assert!(minutes.clone().all(|minute| minute <= 6_000.0 + 1e-6), "{:?}", minutes.collect::<Vec<_>>());
        assert!(spent.iter().sum::<f64>() > 0.9 * 100.0 * 300.0, "and what is allowed can be used");
    }

    #[test]
    fn what_is_measured_replaces_what_was_booked() {
        let mut spending = limited(100.0);
        spending.measure(at(0), 0);
        for second in 1..=120 {
            spending.book(at(second), 10.0);
            spending.measure(at(second + 1), 30 * second);
        }
        assert!((spending.bill(at(121)).total - 3_600.0).abs() < 1.0, "{:?}", spending.bill(at(121)));
        assert!((spending.ratio() - 3.0).abs() < 0.2, "{}", spending.ratio());
    }

    #[test]
    fn minute_and_hour_forget_what_is_over() {
        let mut spending = Spending::new(HOUR_MS);
        spending.book(at(10), 5.0);
        assert_eq!((spending.bill(at(60)).minute, spending.bill(at(75)).minute), (5.0, 0.0));
        assert_eq!((spending.bill(at(3_500)).hour, spending.bill(at(9_000)).hour), (5.0, 0.0));
        assert_eq!(spending.room(at(10)), f64::INFINITY);
    }
}

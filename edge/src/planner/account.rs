//! What the planner tells of itself.

use super::spending::Bill;
use std::fmt;

/// Budgets, what was spent against them, and the plan.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Account {
    /// CPU time, in nanoseconds.
    pub cpu: Bill,
    /// Bytes for the collector.
    pub uplink: Bill,
    /// The plan in effect.
    pub plan: PlanView,
}

/// The plan in effect; its `Display` is for people.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct PlanView {
    /// Series, and those of them that detectors see each time that they would without a budget.
    pub series: usize,
    /// See there.
    pub full: usize,
    /// Those that are raised, and so many of them for a relative's sake.
    pub raised: usize,
    /// See there.
    pub relatives: usize,
    /// The others: milliseconds between two looks, and how many series; the fastest first.
    pub thinned: Vec<(u32, usize)>,
    /// Sources that are read less often: name, interval without a budget, interval; both in milliseconds.
    pub sources: Vec<(String, u32, u32)>,
    /// Series of which several windows make one feature.
    pub longer_windows: usize,
}

impl fmt::Display for PlanView {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.full == self.series {
            write!(f, "all {} series at full rate", Grouped(self.series))?;
        } else {
            write!(f, "{} of {} series at full rate", Grouped(self.full), Grouped(self.series))?;
        }
        for (ms, series) in &self.thinned {
            write!(f, ", {} each {}", Grouped(*series), Interval(*ms))?;
        }
        for (name, base_ms, told_ms) in &self.sources {
            write!(f, "; `{name}` read each {} instead of {}", Interval(*told_ms), Interval(*base_ms))?;
        }
        if self.longer_windows > 0 {
            write!(f, "; features of {} series in longer windows", Grouped(self.longer_windows))?;
        }
        Ok(())
    }
}

/// With commas between thousands.
struct Grouped(usize);

impl fmt::Display for Grouped {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let digits = self.0.to_string();
        for (place, digit) in digits.chars().enumerate() {
            if place > 0 && (digits.len() - place).is_multiple_of(3) {
                f.write_str(",")?;
            }
            write!(f, "{digit}")?;
        }
        Ok(())
    }
}

struct Interval(u32);

impl fmt::Display for Interval {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.0 {
            ms if ms.is_multiple_of(3_600_000) => write!(f, "{} h", ms / 3_600_000),
            ms if ms >= 120_000 && ms.is_multiple_of(60_000) => write!(f, "{} min", ms / 60_000),
            ms if ms.is_multiple_of(1_000) => write!(f, "{} s", ms / 1_000),
            ms => write!(f, "{ms} ms"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_plan_is_told_in_words() {
        let all = PlanView { series: 1_081, full: 1_081, ..PlanView::default() };
        assert_eq!(all.to_string(), "all 1,081 series at full rate");
        let some = PlanView {
            series: 2_000,
            full: 312,
            thinned: vec![(6_000, 1_588), (600_000, 100)],
            sources: vec![("disk".to_owned(), 1_000, 3_000)],
            longer_windows: 12,
            ..PlanView::default()
        };
        assert_eq!(
            some.to_string(),
            "312 of 2,000 series at full rate, 1,588 each 6 s, 100 each 10 min; `disk` read each 3 s instead of 1 s; \
             features of 12 series in longer windows"
        );
    }
}

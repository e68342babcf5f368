//! What may be spent, what work costs, and what was spent.

/// What may be spent; `None` is without a limit.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Budgets {
    /// CPU time, all processes of the agent together, in nanoseconds a second.
    pub cpu_ns_per_s: Option<f64>,
    /// Bytes for the collector.
    pub uplink_bytes_per_hour: Option<f64>,
}

impl Budgets {
    /// So many percent of one core, and the uplink without a limit.
    pub fn of_cpu_percent(percent: f64) -> Self {
        Self { cpu_ns_per_s: Some(percent * 1e7), uplink_bytes_per_hour: None }
    }

    /// Of each budget the smaller one.
    #[must_use]
    pub fn stricter(self, other: Self) -> Self {
        let least = |a: Option<f64>, b: Option<f64>| [a, b].into_iter().flatten().reduce(f64::min);
        Self {
            cpu_ns_per_s: least(self.cpu_ns_per_s, other.cpu_ns_per_s),
            uplink_bytes_per_hour: least(self.uplink_bytes_per_hour, other.uplink_bytes_per_hour),
        }
    }

    /// Bytes a second.
    pub(crate) fn uplink_bytes_per_s(&self) -> Option<f64> {
        self.uplink_bytes_per_hour.map(|bytes| bytes / 3_600.0)
    }
}

/// What work costs, as measured or assumed. Numbers that are negative or not finite count as 0.
#[derive(Clone, Debug, PartialEq)]
pub struct Prices {
    /// CPU time that is spent whatever is planned, in nanoseconds a second.
    pub fixed_ns_per_s: f64,
    /// Bytes that are sent whatever is planned, a second.
    pub fixed_bytes_per_s: f64,
    /// Reading one value of a source that is not listed in `sources`, in nanoseconds.
    pub reading_ns: f64,
    /// One reading of a whole source with all its values, by name, in nanoseconds.
    pub sources: Vec<(String, f64)>,
    /// One value judged by a detector that is not listed in `detectors`, in nanoseconds.
    pub value_ns: f64,
    /// One value judged, by the detector's name, in nanoseconds: its scoring, and what follows from the score.
    pub detectors: Vec<(String, f64)>,
    /// One window of one series, in bytes.
    pub feature_bytes: f64,
}

/// Rounded from docs/budgets.md, until something was measured.
impl Default for Prices {
    fn default() -> Self {
        Self {
            fixed_ns_per_s: 0.0,
            fixed_bytes_per_s: 0.0,
            reading_ns: 500.0,
            sources: Vec::new(),
            value_ns: 120.0,
            detectors: Vec::new(),
            feature_bytes: 40.0,
        }
    }
}

impl Prices {
    /// One value of a detector, in nanoseconds.
    pub(crate) fn of_detector(&self, name: &str) -> f64 {
        sane(find(&self.detectors, name).unwrap_or(self.value_ns))
    }

    /// One reading of a source that has so many series, in nanoseconds.
    pub(crate) fn of_source(&self, name: &str, series: usize) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 series")]
        let of_values = self.reading_ns * series as f64;
        sane(find(&self.sources, name).unwrap_or(of_values))
    }
}

fn find(prices: &[(String, f64)], name: &str) -> Option<f64> {
    prices.iter().find(|(other, _)| other == name).map(|(_, price)| *price)
}

/// A price that can be reckoned with.
pub(crate) fn sane(price: f64) -> f64 {
    if price.is_finite() { price.max(0.0) } else { 0.0 }
}

/// What was spent since start, as measured.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Spent {
    /// CPU time of all processes.
    pub cpu_ns: u64,
    /// Bytes for the collector.
    pub uplink_bytes: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn of_two_budgets_the_stricter_one_holds_and_none_is_no_limit() {
        let local = Budgets { cpu_ns_per_s: Some(5.0), uplink_bytes_per_hour: None };
        let policy = Budgets { cpu_ns_per_s: Some(7.0), uplink_bytes_per_hour: Some(9.0) };
        let both = local.stricter(policy);
        assert_eq!(both, Budgets { cpu_ns_per_s: Some(5.0), uplink_bytes_per_hour: Some(9.0) });
        assert_eq!(Budgets::default().stricter(Budgets::default()), Budgets::default());
        assert_eq!(Budgets::of_cpu_percent(0.2).cpu_ns_per_s, Some(2e6));
    }

    #[test]
    fn hostile_prices_count_as_nothing() {
        let prices = Prices { reading_ns: f64::NAN, value_ns: -1.0, ..Prices::default() };
        assert_eq!((prices.of_source("cpu", 5), prices.of_detector("level")), (0.0, 0.0));
    }
}

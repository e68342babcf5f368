//! Short ways to state a metric.

use vedette_edge::metric::{MetricKind, MetricSpec};

/// A level that is never negative.
pub(super) const fn level(name: &'static str, unit: &'static str, resolution: f64, doc: &'static str) -> MetricSpec {
    MetricSpec { name, unit, kind: MetricKind::Gauge, resolution, lower: 0.0, upper: f64::NAN, doc }
}

/// A share between 0 and 1.
pub(super) const fn ratio(name: &'static str, resolution: f64, doc: &'static str) -> MetricSpec {
    MetricSpec { upper: 1.0, ..level(name, "1", resolution, doc) }
}

/// A count that only grows.
pub(super) const fn counter(name: &'static str, unit: &'static str, resolution: f64, doc: &'static str) -> MetricSpec {
    MetricSpec { kind: MetricKind::Counter, ..level(name, unit, resolution, doc) }
}

/// Seconds spent in a condition that either holds or not: at most one a second.
pub(super) const fn time_spent(name: &'static str, resolution: f64, doc: &'static str) -> MetricSpec {
    MetricSpec { upper: 1.0, ..counter(name, "s", resolution, doc) }
}

//! Which series can run out, and in which direction.

use vedette_sdk::math::Limit as _;
use vedette_sdk::{Kind, Series};

/// Utilisations of something that is not stored up: full use of it is not exhaustion.
const FLOWS: &[&str] = &["system.cpu.", "process.cpu.", "container.cpu."];
/// Words in a metric's name that say what is left of a stock instead of what is taken.
const REMAINDERS: &[&str] = &["free", "available", "remaining"];

/// A stock: its use as a share from 0 (empty use) to 1 (exhausted).
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Stock {
    /// The value at which nothing is used, and what one unit of value adds to the share.
    empty: f64,
    per_unit: f64,
    /// Smallest difference of shares that the source can express; 0 unknown.
    share_resolution: f64,
    lower: f64,
    upper: f64,
    falls: bool,
}

impl Stock {
    /// The stock behind a series; none without finite bounds, for rates, flows, and parts of a stock that others can
    /// have on demand (caches, buffers, reserves), which fill up on a healthy host.
    pub(crate) fn of(series: &Series) -> Option<Self> {
        let range = series.upper - series.lower;
        let bounded = range.is_finite() && range > 0.0;
        let flow = FLOWS.iter().any(|prefix| series.metric.starts_with(prefix));
        let mut states = series.attributes.iter().filter(|(name, _)| name == "state" || name.ends_with(".state"));
        let taken = states.all(|(_, state)| state == "used");
        let resolution = if series.resolution.is_finite() { series.resolution.at_least(0.0) } else { 0.0 };
        let falls = REMAINDERS.iter().any(|word| series.metric.contains(word));
        (bounded && !flow && taken && series.kind == Kind::Gauge).then_some(Self {
            empty: if falls { series.upper } else { series.lower },
            per_unit: if falls { -1.0 / range } else { 1.0 / range },
            share_resolution: resolution / range,
            lower: series.lower,
            upper: series.upper,
            falls,
        })
    }

    pub(crate) fn falls(&self) -> bool {
        self.falls
    }

    pub(crate) fn lower(&self) -> f64 {
        self.lower
    }

    pub(crate) fn upper(&self) -> f64 {
        self.upper
    }

    /// How much of the stock is used at `value`.
    #[inline]
    pub(crate) fn share(&self, value: f64) -> f64 {
        (value - self.empty) * self.per_unit
    }

    /// The value at which that much is used.
    pub(crate) fn value(&self, share: f64) -> f64 {
        self.empty + share / self.per_unit
    }

    #[inline]
    pub(crate) fn share_resolution(&self) -> f64 {
        self.share_resolution
    }
}

//! What a value costs inside a detector and around it, in nanoseconds: the figures of `docs/budgets.md`, so that the same
//! run costs the same on every machine. And what a budget is a share of.

use super::super::detectors::Detectors;
use super::tally::Cost;
use vedette_edge::planner::{Budgets, Prices};

/// By detector: what it takes inside the guest at 1,000 series a call.
const GUEST_NS: [(&str, f64); 6] =
    [("level", 16.0), ("exhaustion", 12.0), ("flatline", 10.0), ("seasonal", 9.0), ("novelty", 9.0), ("rarity", 10.0)];
/// Around any guest: the question, calibration, persistence, confirmation; and the pipe to the worker and its call. A vote
/// is no cheaper: what it is spared is little beside the question.
const JUDGING_NS: f64 = 29.0 + 33.0;

/// A step of `novelty` or `rarity`, which take one for each minute of a series that they are shown.
const STEP_NS: f64 = 120.0;
const STEP_MS: f64 = 60_000.0;

/// Nanoseconds a value that comes so long after the one before.
pub(super) fn value_ns(detector: &str, elapsed_ms: u32) -> f64 {
    let guest = GUEST_NS.iter().find(|(name, _)| *name == detector);
    let steps = if matches!(detector, "novelty" | "rarity") { (f64::from(elapsed_ms) / STEP_MS).min(1.0) } else { 0.0 };
    JUDGING_NS + guest.map_or(GUEST_NS[0].1, |(_, ns)| *ns) + STEP_NS * steps
}

/// Nanoseconds that the planner itself takes for a reading: the screen, whose turn it is, and its part of the next plan; with
/// warm caches, as above (22 with cold ones).
pub(super) const SCREEN_NS: f64 = 17.0;

/// What everything costs at full rate.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Rate {
    cpu_ns_per_s: f64,
    bytes_per_s: f64,
    /// Bytes that are no features.
    told_bytes_per_s: f64,
    feature_bytes: f64,
}

impl Rate {
    /// What full rate cost, over so many seconds.
    pub(super) fn new(full: &Cost, seconds: f64) -> Self {
        Self {
            cpu_ns_per_s: full.cpu_ns / seconds,
            bytes_per_s: full.bytes / seconds,
            told_bytes_per_s: full.told_bytes / seconds,
            feature_bytes: (full.bytes - full.told_bytes) / full.features.max(1.0),
        }
    }

    /// A share of it.
    pub(super) fn budgets(self, share: f64) -> Budgets {
        Budgets {
            cpu_ns_per_s: Some(share * self.cpu_ns_per_s),
            uplink_bytes_per_hour: Some(share * self.bytes_per_s * 3_600.0),
        }
    }
}

/// The same prices for the planner.
pub(super) fn of(detectors: &Detectors, rate: Rate, interval_ms: u32) -> Prices {
    Prices {
        fixed_bytes_per_s: rate.told_bytes_per_s,
        reading_ns: SCREEN_NS,
        detectors: detectors.names().map(|name| (name.to_owned(), value_ns(name, interval_ms))).collect(),
        feature_bytes: rate.feature_bytes,
        ..Prices::default()
    }
}

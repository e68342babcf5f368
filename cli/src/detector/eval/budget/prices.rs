//! What a value costs inside a detector and around it, in nanoseconds: the figures of `docs/budgets.md`, so that the same
//! run costs the same on every machine.

/// By detector: what it takes inside the guest at 1,000 series a call.
const GUEST_NS: [(&str, f64); 3] = [("level", 15.0), ("exhaustion", 14.0), ("novelty", 8.0)];
/// Around any detector: calibration, persistence, confirmation, half of the pipeline under two of them.
const JUDGING_NS: f64 = 127.0;

/// Nanoseconds a value.
pub(super) fn value_ns(detector: &str) -> f64 {
    let guest = GUEST_NS.iter().find(|(name, _)| *name == detector);
    JUDGING_NS + guest.map_or(GUEST_NS[0].1, |(_, ns)| *ns)
}

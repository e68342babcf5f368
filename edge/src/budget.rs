//! The operator's one knob: how many false episodes a host may have per day.

/// How rare a verdict must be, in −log10 of its probability on a healthy host.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    episodes_per_day: f64,
    verdicts_per_day: f64,
}

impl Budget {
    /// Shares `episodes_per_day` among all verdicts of a host's day.
    ///
    /// Values outside of 10⁻⁶ to 10⁶ are brought to that range.
    pub fn new(episodes_per_day: f64, verdicts_per_day: f64) -> Self {
        let episodes_per_day = if episodes_per_day.is_finite() { episodes_per_day.clamp(1e-6, 1e6) } else { 0.1 };
        Self { episodes_per_day, verdicts_per_day: verdicts_per_day.max(86_400.0) }
    }

    /// The surprise that a verdict needs. Overlapping windows make false alarms come in clusters, so this is on the
    /// safe side (union bound).
    #[expect(clippy::cast_possible_truncation, reason = "a surprise needs no more digits than f32 has")]
    pub fn surprise_needed(&self) -> f32 {
        (self.verdicts_per_day / self.episodes_per_day).log10() as f32
    }
}

/// Verdicts that a series gives per day at this interval.
pub fn verdicts_per_day(interval_ms: u32) -> f64 {
    86_400_000.0 / f64::from(interval_ms.max(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn needed_surprise_follows_the_knob_and_the_number_of_series() {
        let usual = Budget::new(0.1, 300.0 * verdicts_per_day(1_000));
        assert!((usual.surprise_needed() - 8.414).abs() < 1e-3);
        let generous = Budget::new(10.0, 300.0 * verdicts_per_day(1_000));
        assert!((usual.surprise_needed() - generous.surprise_needed() - 2.0).abs() < 1e-3);
        assert!(Budget::new(f64::NAN, 0.0).surprise_needed().is_finite());
    }
}

//! The operator's one knob: how many false episodes a host may have per day.

/// How rare a bout must be for an episode, shared out evenly among the series: a series that is read once a minute may
/// cost as many false episodes as one that is read each second, so each of its verdicts may cost more.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Budget {
    /// Episodes that a host may have a day.
    pub(crate) episodes_per_day: f64,
    tracks: f64,
}

impl Budget {
    /// Shares `episodes_per_day` among `tracks`, that is series times detectors.
    ///
    /// Values outside of 10⁻⁶ to 10⁶ are brought to that range.
    pub fn new(episodes_per_day: f64, tracks: usize) -> Self {
        let episodes_per_day = if episodes_per_day.is_finite() { episodes_per_day.clamp(1e-6, 1e6) } else { 0.1 };
        #[expect(clippy::cast_precision_loss, reason = "far below 2^52 series")]
        let tracks = tracks.max(1) as f64;
        Self { episodes_per_day, tracks }
    }

    /// The surprise that a bout needs on a series that is read at this interval, if surprises are what they say they are.
    /// On the safe side (union bound).
    #[expect(clippy::cast_possible_truncation, reason = "a surprise needs no more digits than f32 has")]
    pub fn surprise_needed(&self, interval_ms: u32) -> f32 {
        (verdicts_per_day(interval_ms) * self.tracks / self.episodes_per_day).log10() as f32
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
    fn needed_surprise_follows_the_knob_the_number_of_series_and_their_pace() {
        let usual = Budget::new(0.1, 300);
        assert!((usual.surprise_needed(1_000) - 8.414).abs() < 1e-3);
        let generous = Budget::new(10.0, 300);
        assert!((usual.surprise_needed(1_000) - generous.surprise_needed(1_000) - 2.0).abs() < 1e-3);
        assert!((usual.surprise_needed(1_000) - usual.surprise_needed(10_000) - 1.0).abs() < 1e-3);
        assert!(Budget::new(f64::NAN, 0).surprise_needed(1).is_finite());
    }
}

//! What the time of day and the day of the week do to a level.

use std::time::Duration;

const DAY_SECONDS: f64 = 86_400.0;

/// A factor on a signal's level that repeats. Simulations start on a Monday at midnight.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Shape {
    /// A cosine over the day: `1 + amplitude` at the peak, `1 − amplitude` twelve hours from it.
    Daily {
        /// Share of the level, usually below 1.
        amplitude: f64,
        /// Hour of the peak, 0 to 24.
        peak_hour: f64,
    },
    /// Another level on Saturday and Sunday, approached over four hours on Friday and left over four on Sunday.
    Weekend {
        /// Factor on those two days.
        factor: f64,
    },
    /// A raised hour, the same every day: a backup, a report.
    DailyJob {
        /// Hour at which it starts, 0 to 24.
        start_hour: f64,
        /// How long it takes.
        length: Duration,
        /// Factor meanwhile.
        factor: f64,
    },
    /// A rise from `1` to `1 + amplitude` within a period, and a fall at its end: a heap between collections.
    Sawtooth {
        /// From one fall to the next.
        period: Duration,
        /// Share of the level.
        amplitude: f64,
    },
}

impl Shape {
    /// A cosine over the day.
    pub const fn daily(amplitude: f64, peak_hour: f64) -> Self {
        Self::Daily { amplitude, peak_hour }
    }

    /// Another level on weekends.
    pub const fn weekend(factor: f64) -> Self {
        Self::Weekend { factor }
    }

    /// The factor at `elapsed` since Monday, midnight.
    pub fn factor(&self, elapsed: Duration) -> f64 {
        let seconds = elapsed.as_secs_f64();
        let second_of_day = seconds % DAY_SECONDS;
        match *self {
            Self::Daily { amplitude, peak_hour } => {
                let turn = (second_of_day / 3_600.0 - peak_hour) / 24.0;
                1.0 + amplitude * libm::cos(turn * std::f64::consts::TAU)
            }
            Self::Weekend { factor } => {
                let hour = seconds % (7.0 * DAY_SECONDS) / 3_600.0;
                let share = eased((hour - 116.0) / 4.0) - eased((hour - 164.0) / 4.0);
                1.0 + share * (factor - 1.0)
            }
            Self::DailyJob { start_hour, length, factor } => {
                let since_start = (second_of_day - start_hour * 3_600.0).rem_euclid(DAY_SECONDS);
                if since_start < length.as_secs_f64() { factor } else { 1.0 }
            }
            Self::Sawtooth { period, amplitude } => {
                let period_s = period.as_secs_f64();
                1.0 + amplitude * (seconds % period_s) / period_s
            }
        }
    }
}

/// 0 before 0, 1 after 1, and half a cosine between: people go home one by one.
fn eased(progress: f64) -> f64 {
    (1.0 - libm::cos(progress.clamp(0.0, 1.0) * std::f64::consts::PI)) / 2.0
}

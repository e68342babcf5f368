//! The two documents that go down: policy (people's, signed by the targets role) and directive (automatic, short-lived).

mod read;
mod sources;

pub use sources::SOURCES;

use crate::ids::{DirectiveId, HostId};
use crate::time::WallTime;
use serde::{Deserialize, Serialize};

/// Longest life that any policy may grant a directive: 15 minutes.
pub const DIRECTIVE_MS_MAX: u32 = 900_000;

/// Farthest that a directive may look back: an hour.
pub const LOOK_BACK_MS_MAX: u32 = 3_600_000;

/// A policy as meant: the checked form of the TOML document that was signed.
#[derive(Clone, Debug, PartialEq)]
pub struct Policy {
    /// Strictly monotonic; 0 is the built-in default.
    pub version: u64,
    /// After this the agent says stale and runs on; `None` never expires (built-in default only).
    pub expires: Option<WallTime>,
    /// Wanted false alarms: episodes per host and day. Greater than 0.
    pub episodes_per_day: f64,
    /// Interval of a source of [`SOURCES`], in milliseconds, where it differs from the source's default; in that order.
    pub source_interval_ms: Vec<(String, u32)>,
    /// Length of a feature window.
    pub feature_window_ms: u32,
    /// What the agent may spend at most, if that is less than what its own configuration says.
    pub budgets: BudgetCeilings,
    /// What directives may do at most.
    pub ceilings: Ceilings,
}

/// What the agent may spend at most; `None` leaves it to its own configuration.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct BudgetCeilings {
    /// CPU time of all its processes, in percent of one core: [`CPU_PERCENT_MIN`] to [`CPU_PERCENT_MAX`].
    pub cpu_percent: Option<f64>,
    /// Bytes for the collector: [`UPLINK_BYTES_PER_HOUR_MIN`] to [`UPLINK_BYTES_PER_HOUR_MAX`].
    pub uplink_bytes_per_hour: Option<u64>,
}

/// Less would not pay for the agent's being there.
pub const CPU_PERCENT_MIN: f64 = 0.01;
/// A hundred cores.
pub const CPU_PERCENT_MAX: f64 = 10_000.0;
/// Less would not pay for keeping the connection.
pub const UPLINK_BYTES_PER_HOUR_MIN: u64 = 64 << 10;
/// A tebibyte.
pub const UPLINK_BYTES_PER_HOUR_MAX: u64 = 1 << 40;

/// What directives may do at most.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Ceilings {
    /// Smallest source interval a directive may ask for.
    pub interval_ms_min: u32,
    /// Longest life of a directive; never over 15 minutes.
    pub directive_ms_max: u32,
    /// Most series that may ship raw at one time.
    pub raw_series_max: u32,
}

impl Default for Policy {
    fn default() -> Self {
        Self {
            version: 0,
            expires: None,
            episodes_per_day: 0.1,
            source_interval_ms: Vec::new(),
            feature_window_ms: 60_000,
            budgets: BudgetCeilings::default(),
            ceilings: Ceilings { interval_ms_min: 1_000, directive_ms_max: DIRECTIVE_MS_MAX, raw_series_max: 64 },
        }
    }
}

/// A directive: may only raise sampling or ask for raw samples, within the policy's ceilings.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Directive {
    /// Id.
    pub id: DirectiveId,
    /// The one host it is for.
    pub host: HostId,
    /// When it was issued, by the collector's clock.
    pub issued: WallTime,
    /// When it ends, by the collector's clock.
    pub expires: WallTime,
    /// Incident that it serves.
    pub incident: String,
    /// Sources to read at this interval or faster.
    pub sources: Vec<(String, u32)>,
    /// Metrics whose series ship raw.
    pub raw_metrics: Vec<String>,
    /// How far back their samples are asked out of the flight recorder, in milliseconds before the directive arrives; 0
    /// for not at all.
    pub look_back_ms: u32,
}

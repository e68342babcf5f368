//! Two clocks: monotonic time orders what one boot of a host did, wall time relates hosts to each other.

mod rfc3339;

use serde::{Deserialize, Serialize};
use std::time::Duration;

pub use rfc3339::ParseTimeError;

/// Nanoseconds since the host's boot, suspended time included.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct MonoTime {
    /// Nanoseconds since boot.
    pub ns: u64,
}

/// Nanoseconds since 1970-01-01 UTC, as the host believed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct WallTime {
    /// Nanoseconds since the Unix epoch; negative before it.
    pub unix_ns: i64,
}

impl MonoTime {
    /// `ms` milliseconds after boot.
    pub const fn from_ms(ms: u64) -> Self {
        Self { ns: ms * 1_000_000 }
    }

    /// Time from `earlier` to `self`, zero if `earlier` is later.
    pub const fn since(self, earlier: Self) -> Duration {
        Duration::from_nanos(self.ns.saturating_sub(earlier.ns))
    }
}

impl std::ops::Add<Duration> for MonoTime {
    type Output = Self;

    fn add(self, duration: Duration) -> Self {
        let ns = u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX);
        Self { ns: self.ns.saturating_add(ns) }
    }
}

impl WallTime {
    /// Milliseconds since the Unix epoch, rounded down.
    pub const fn unix_ms(self) -> i64 {
        self.unix_ns.div_euclid(1_000_000)
    }

    /// From milliseconds since the Unix epoch.
    pub const fn from_unix_ms(ms: i64) -> Self {
        Self { unix_ns: ms.saturating_mul(1_000_000) }
    }

    /// Moved by `offset_ns`.
    #[must_use]
    pub const fn offset_by(self, offset_ns: i64) -> Self {
        Self { unix_ns: self.unix_ns.saturating_add(offset_ns) }
    }
}

//! The clocks that the shells read, replaceable in tests.

use rustix::time::{ClockId, Timespec, clock_gettime};
use rustls::pki_types::UnixTime;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;
use vedette_protocol::time::{MonoTime, WallTime};

/// A source of both times.
pub trait Clock: Debug + Send + Sync {
    /// Time since boot.
    fn mono(&self) -> MonoTime;
    /// What the host believes.
    fn wall(&self) -> WallTime;
}

/// The operating system's clocks.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemClock;

impl Clock for SystemClock {
    fn mono(&self) -> MonoTime {
        let ns = nanoseconds(clock_gettime(ClockId::Boottime));
        MonoTime { ns: ns.unsigned_abs() }
    }

    fn wall(&self) -> WallTime {
        WallTime { unix_ns: nanoseconds(clock_gettime(ClockId::Realtime)) }
    }
}

fn nanoseconds(time: Timespec) -> i64 {
    time.tv_sec.saturating_mul(1_000_000_000).saturating_add(time.tv_nsec)
}

/// Lets rustls judge validity by our clock.
#[derive(Debug)]
pub(crate) struct TlsTime(pub(crate) Arc<dyn Clock>);

impl rustls::time_provider::TimeProvider for TlsTime {
    fn current_time(&self) -> Option<UnixTime> {
        Some(unix_time(self.0.wall()))
    }
}

pub(crate) fn unix_time(wall: WallTime) -> UnixTime {
    let since_epoch = u64::try_from(wall.unix_ns).unwrap_or(0);
    UnixTime::since_unix_epoch(Duration::from_nanos(since_epoch))
}

//! The two halves of a connection, sans-IO: bytes and `now` in, bytes and events out.
//!
//! Call a `handle_*`, then `poll_transmit` and `poll_event` until `None`, then arm `poll_timeout`. The transport below
//! is reliable within one connection (QUIC): one control stream in both directions and one stream per batch.
//!
//! Delivery is at least once: a batch is sent on a connection, and again on the next one until it is acknowledged; the
//! collector acknowledges only what it has committed, and counts each key once.

pub mod agent;
pub mod backoff;
pub mod collector;

mod offset;

use std::time::Duration;

/// Receive window of one stream at the collector.
pub const STREAM_WINDOW_BYTES: usize = 64 << 10;

/// Receive window of one connection at the collector.
pub const CONNECTION_WINDOW_BYTES: usize = 256 << 10;

/// Share of [`CONNECTION_WINDOW_BYTES`] that batches which are no findings may take: the rest is always free for
/// findings and for the control stream, whatever is in flight.
pub const BULK_BYTES_IN_FLIGHT_MAX: usize = CONNECTION_WINDOW_BYTES - STREAM_WINDOW_BYTES;

/// Batches that are no findings and not acknowledged yet.
pub const BULK_IN_FLIGHT_MAX: usize = 8;

/// Findings that are not acknowledged yet.
pub const URGENT_IN_FLIGHT_MAX: usize = 8;

/// Streams for batches that the collector lets an agent open; twice what is used, because credit returns late.
pub const BATCH_STREAMS_MAX: u32 = 32;

/// Time for hello and welcome.
pub const GREETING_TIMEOUT: Duration = Duration::from_secs(10);

/// An unacknowledged batch of this age means that the collector is gone or stuck: the agent connects anew. What is on
/// the way may take a second more for each [`ACK_BYTES_PER_S`], so that a slow line is not taken for a dead one.
pub const ACK_TIMEOUT: Duration = Duration::from_secs(15);

/// The slowest line over which batches still arrive.
pub const ACK_BYTES_PER_S: usize = 8 << 10;

/// Time that the collector gives one batch to arrive whole: the largest one over the slowest line.
pub const BATCH_TIMEOUT: Duration =
    ACK_TIMEOUT.saturating_add(Duration::from_secs((crate::envelope::PAYLOAD_BYTES_MAX / ACK_BYTES_PER_S) as u64));

/// Bounds of the time between heartbeats, which also keep the connection alive.
pub const HEARTBEAT_MS: std::ops::RangeInclusive<u64> = 25_000..=45_000;

/// Either end gives a connection up after this much silence: three lost heartbeats.
pub const IDLE_TIMEOUT: Duration = Duration::from_secs(120);

/// Why a connection is closed, as told to the other end. Numbers are never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u32)]
pub enum CloseCode {
    /// All is settled.
    Done = 0x00,
    /// This end goes down.
    Shutdown = 0x01,
    /// No client certificate.
    NoCertificate = 0x10,
    /// A certificate of another authority.
    Untrusted = 0x11,
    /// An expired certificate: enrol anew.
    Expired = 0x12,
    /// A certificate that names no host.
    BadName = 0x13,
    /// Revoked.
    Denied = 0x14,
    /// Too many connections.
    Limit = 0x15,
    /// The same host has opened a newer connection.
    Replaced = 0x16,
    /// Bytes that are no message, or a message out of place.
    Protocol = 0x20,
    /// Another protocol version.
    Version = 0x21,
    /// The other end did not take what it was sent.
    Slow = 0x22,
    /// No hello, welcome or acknowledgement in time.
    Timeout = 0x23,
}

impl CloseCode {
    const ALL: [Self; 13] = [
        Self::Done,
        Self::Shutdown,
        Self::NoCertificate,
        Self::Untrusted,
        Self::Expired,
        Self::BadName,
        Self::Denied,
        Self::Limit,
        Self::Replaced,
        Self::Protocol,
        Self::Version,
        Self::Slow,
        Self::Timeout,
    ];

    /// The number on the wire.
    pub const fn code(self) -> u32 {
        self as u32
    }

    /// The code of a number; `None` for one of another version.
    pub fn from_code(code: u64) -> Option<Self> {
        Self::ALL.into_iter().find(|known| u64::from(known.code()) == code)
    }

    /// For people and as a counter's label.
    pub const fn reason(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Shutdown => "shutdown",
            Self::NoCertificate => "no-certificate",
            Self::Untrusted => "untrusted-certificate",
            Self::Expired => "expired-certificate",
            Self::BadName => "certificate-names-no-host",
            Self::Denied => "denied",
            Self::Limit => "too-many-connections",
            Self::Replaced => "replaced",
            Self::Protocol => "protocol-error",
            Self::Version => "protocol-version",
            Self::Slow => "slow-peer",
            Self::Timeout => "timeout",
        }
    }
}

/// The close code for bytes that were refused.
fn close_code(error: &crate::v1::DecodeError) -> CloseCode {
    use crate::{envelope::EnvelopeError, v1::DecodeError};
    match error {
        DecodeError::Envelope(EnvelopeError::Version { .. }) => CloseCode::Version,
        _ => CloseCode::Protocol,
    }
}

//! What the collector keeps. One writer commits groups of writes, each group in one transaction; readers run beside it.
//!
//! Delivery counts once because the key of a batch is looked up and recorded in the same transaction as its content.
//! What a batch says to the engine is appended to the event log in that transaction too.

#[cfg(test)]
mod contract;
mod sqlite;
mod write;

pub use sqlite::SqliteStore;
pub use write::{AgentWrite, BatchWrite, QUARANTINE_RAW_BYTES_MAX, QuarantineWrite, TokenWrite, Write, Written};

use crate::engine::Logged;
use serde::Serialize;
use std::collections::BTreeSet;
use vedette_protocol::ids::{HostId, SeriesKey};
use vedette_protocol::signature::Signed;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::{Change, Finding, InEffect};

/// The store failed: disk full, file damaged, not ours. Nothing of the group was kept; it may be tried again.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// The database said no.
    #[error("the database failed: {0}")]
    Database(#[from] rusqlite::Error),
    /// It was written by a later version of this software.
    #[error(
        "the database has schema {found}, this software knows up to {known}: upgrade it or use another data directory"
    )]
    TooNew {
        /// Schema found.
        found: u32,
        /// Schema known.
        known: u32,
    },
    /// A stored value cannot be read back.
    #[error("a stored {what} cannot be read: {reason}")]
    Corrupt {
        /// Which sort of value.
        what: &'static str,
        /// Why.
        reason: String,
    },
}

/// The writing half; there is one per process.
pub trait Store: Send {
    /// Does all of `writes` in one transaction, durable when this returns.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing was done.
    fn commit(&mut self, writes: &[Write]) -> Result<Committed, StoreError>;

    /// Deletes what is older than `retention` allows, a bounded amount per call; call it now and then.
    ///
    /// # Errors
    ///
    /// [`StoreError`]: nothing was deleted.
    fn prune(&mut self, now: WallTime, retention: &Retention) -> Result<u64, StoreError>;

    /// A reader of committed state.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if it cannot be opened.
    fn reader(&self) -> Result<Box<dyn Reader>, StoreError>;
}

/// The reading half. All lists are bounded by `max`.
pub trait Reader: Send {
    /// Events after `position`, in order.
    fn events_after(&self, position: u64, max: usize) -> Result<Vec<Logged>, StoreError>;
    /// The latest engine snapshot: format and bytes.
    fn snapshot(&self) -> Result<Option<(u32, Vec<u8>)>, StoreError>;
    /// Incidents that were stored as open, or as resolved, newest first; those that go beyond `bytes_max` together come
    /// with empty JSON.
    fn incidents(&self, open: bool, max: usize, bytes_max: usize) -> Result<Vec<IncidentRow>, StoreError>;
    /// Ids of all incidents that were stored as open.
    fn open_incidents(&self) -> Result<Vec<String>, StoreError>;
    /// One incident.
    fn incident(&self, id: &str) -> Result<Option<IncidentRow>, StoreError>;
    /// Findings, newest first.
    fn findings(&self, max: usize) -> Result<Vec<Stored<Finding>>, StoreError>;
    /// Changes, newest first.
    fn changes(&self, max: usize) -> Result<Vec<Stored<Change>>, StoreError>;
    /// All agents ever enrolled or seen.
    fn agents(&self, max: usize) -> Result<Vec<AgentRow>, StoreError>;
    /// Whether a host was ever enrolled or seen.
    fn knows(&self, host: HostId) -> Result<bool, StoreError>;
    /// Hosts that may not come in.
    fn denied(&self) -> Result<Vec<HostId>, StoreError>;
    /// The policy with the highest version.
    fn policy(&self) -> Result<Option<PolicyRow>, StoreError>;
    /// Directives for a host that have not ended at `now`, oldest first.
    fn directives(&self, host: HostId, now: WallTime) -> Result<Vec<Signed>, StoreError>;
    /// Raw samples of some series of a host from begin to end by the collector's clock; those that came first if
    /// there are more than about `samples_max`.
    fn samples(
        &self,
        host: HostId,
        keys: &BTreeSet<SeriesKey>,
        window: (WallTime, WallTime),
        samples_max: usize,
    ) -> Result<Samples, StoreError>;
    /// What was stored per host and queue epoch, counted over what is there.
    fn ledger(&self) -> Result<Vec<LedgerRow>, StoreError>;
    /// Rows per table, for metrics.
    fn rows(&self) -> Result<Vec<(&'static str, u64)>, StoreError>;
}

/// An incident as it was stored last. While it is open the engine may know more.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct IncidentRow {
    /// Public id.
    pub id: String,
    /// Whether it was open.
    pub open: bool,
    /// When it was opened.
    pub opened: WallTime,
    /// The whole incident, as the API tells it.
    pub json: String,
}

/// A stored item with where it came from.
#[derive(Clone, Debug, PartialEq)]
pub struct Stored<T> {
    /// Host.
    pub host: HostId,
    /// When it was received.
    pub received: WallTime,
    /// Collector's clock minus the host's clock.
    pub offset_ns: i64,
    /// Content.
    pub item: T,
}

/// Raw samples out of the store.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Samples {
    /// Series of which there are any.
    pub series: Vec<SampledSeries>,
    /// There are more than were asked for.
    pub is_cut: bool,
    /// Blocks that could not be read.
    pub unreadable: u64,
}

/// Samples of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct SampledSeries {
    /// Which.
    pub key: SeriesKey,
    /// Milliseconds since the Unix epoch by the collector's clock, ascending, and value.
    pub points: Vec<(i64, f64)>,
}

/// An agent as last heard of.
#[derive(Clone, Debug, PartialEq)]
pub struct AgentRow {
    /// Host.
    pub host: HostId,
    /// `host.name`.
    pub host_name: String,
    /// Version of its software.
    pub software: String,
    /// When it enrolled; `None` if by other means.
    pub enrolled: Option<WallTime>,
    /// When it was last heard of.
    pub last_seen: Option<WallTime>,
    /// Host's clock minus the collector's clock.
    pub skew_ns: i64,
    /// What is in effect.
    pub in_effect: InEffect,
    /// When it was shut out.
    pub revoked: Option<WallTime>,
}

/// A stored policy.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyRow {
    /// Version.
    pub version: u64,
    /// Document with its signature.
    pub signed: Signed,
    /// When it was stored.
    pub stored: WallTime,
}

/// What is stored of one queue epoch of one host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LedgerRow {
    /// Host.
    pub host: String,
    /// Queue epoch, as text: it may exceed what JSON readers take as a number.
    pub queue_epoch: String,
    /// Batches stored.
    pub committed: u64,
    /// Batches whose key, items or content stand more than once in the store.
    pub doubled: u64,
    /// Batches whose key stands more than once.
    pub doubled_keys: u64,
    /// Batches of which a data row stands more than once.
    pub doubled_items: u64,
    /// Batches whose content is also stored under another key of the same host.
    pub doubled_content: u64,
    /// Deliveries that were recognised as repeated and not stored.
    pub duplicates_refused: u64,
    /// Batches kept aside unread, or because their sequence was another's.
    pub quarantined: u64,
    /// The latter: the agent's spool went back in time.
    pub reused: u64,
    /// Smallest sequence.
    pub first_sequence: u64,
    /// Largest sequence.
    pub last_sequence: u64,
    /// Ranges of sequences that are missing in between, at most 100.
    pub gaps: Vec<(u64, u64)>,
    /// Batches that the agent says it ever made.
    pub made: u64,
    /// Batches that the agent says it shed, by class.
    pub shed: [u64; 3],
}

/// How long things are kept. Batch keys outlive everything that an agent could still send again.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Retention {
    /// Features, raw samples, log windows, ms.
    pub blocks_ms: u64,
    /// Findings, changes, ms.
    pub findings_ms: u64,
    /// Batch keys, ms.
    pub batches_ms: u64,
    /// Events that a snapshot covers, ms.
    pub events_ms: u64,
    /// Quarantined frames, rows.
    pub quarantine_rows: u64,
}

impl Default for Retention {
    fn default() -> Self {
        const DAY: u64 = 86_400_000;
        Self {
            blocks_ms: 7 * DAY,
            findings_ms: 90 * DAY,
            batches_ms: 90 * DAY,
            events_ms: 7 * DAY,
            quarantine_rows: 1_000,
        }
    }
}

/// What a commit did.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Committed {
    /// One per write, in the same order.
    pub written: Vec<Written>,
    /// Events appended, in the order of their positions.
    pub logged: Vec<Logged>,
}

//! Lives of agents. A queue epoch that was never seen of a host begins one: the agent has lost its spool, and with it
//! what it knew of its open episodes.
//!
//! Which life is on follows from the order in which they were first seen, not from their numbers: a host's clock may go
//! back. What comes of an earlier life was late on its way, and does not bring that life back.

use super::write::append;
use crate::engine::{Event, Logged};
use crate::store::StoreError;
use rusqlite::{OptionalExtension as _, Transaction, params};
use vedette_protocol::ids::{HostId, QueueEpoch};
use vedette_protocol::time::WallTime;

/// Takes notice of a queue epoch of a host. Whether it is the life that is on.
pub(super) fn is_current(
    transaction: &Transaction<'_>,
    host: HostId,
    epoch: QueueEpoch,
    at: WallTime,
    logged: &mut Vec<Logged>,
) -> Result<bool, StoreError> {
    let epoch = epoch.0.cast_signed();
    let current: Option<i64> = transaction
        .prepare_cached("SELECT queue_epoch FROM agent WHERE host = ?1")?
        .query_row([host.0], |row| row.get(0))
        .optional()?
        .flatten();
    if current == Some(epoch) {
        return Ok(true);
    }
    let begins = transaction
        .prepare_cached("INSERT INTO stream (host, queue_epoch, begun) VALUES (?1, ?2, ?3) ON CONFLICT DO NOTHING")?
        .execute(params![host.0, epoch, at.unix_ns])?;
    if current.is_some() && begins == 0 {
        return Ok(false);
    }
    transaction
        .prepare_cached(
            "INSERT INTO agent (host, queue_epoch) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET queue_epoch = excluded.queue_epoch",
        )?
        .execute(params![host.0, epoch])?;
    if current.is_some() {
        logged.push(append(transaction, at, Event::AgentRestarted { host })?);
    }
    Ok(true)
}

//! Lives of agents. One begins with a queue epoch that was never seen of a host, because the agent has lost its spool, or
//! with a hello whose first sequence is higher than that of the life that is on, because its process has restarted. Either
//! way it has lost what it knew of its open episodes.
//!
//! Which life is on follows from the order in which they were first seen, not from the numbers of epochs: a host's clock
//! may go back. What comes of an earlier life was late on its way, and does not bring that life back.

use super::write::append;
use crate::engine::{Event, Logged};
use crate::store::StoreError;
use rusqlite::{OptionalExtension as _, Transaction, params};
use vedette_protocol::ids::{HostId, QueueEpoch, Sequence};
use vedette_protocol::time::WallTime;

/// Takes notice of a hello.
pub(super) fn hello(
    transaction: &Transaction<'_>,
    host: HostId,
    epoch: QueueEpoch,
    first: Sequence,
    at: WallTime,
    logged: &mut Vec<Logged>,
) -> Result<(), StoreError> {
    let known = current(transaction, host)?;
    if !is_current(transaction, host, epoch, first, at, logged)? {
        return Ok(());
    }
    let (epoch, first) = (epoch.0.cast_signed(), first.0.cast_signed());
    let restarted = known.is_some_and(|(current, before)| current == epoch && before < first);
    if restarted {
        logged.push(append(transaction, at, Event::AgentRestarted { host })?);
    }
    if restarted || known.is_none_or(|(current, _)| current != epoch) {
        transaction
            .prepare_cached("UPDATE agent SET first_sequence = ?2 WHERE host = ?1")?
            .execute(params![host.0, first])?;
    }
    Ok(())
}

/// Takes notice of a queue epoch of a host. Whether a batch of this sequence belongs to the life that is on.
pub(super) fn is_current(
    transaction: &Transaction<'_>,
    host: HostId,
    epoch: QueueEpoch,
    sequence: Sequence,
    at: WallTime,
    logged: &mut Vec<Logged>,
) -> Result<bool, StoreError> {
    let epoch = epoch.0.cast_signed();
    let current = current(transaction, host)?;
    if let Some((_, first)) = current.filter(|(current, _)| *current == epoch) {
        return Ok(first <= sequence.0.cast_signed());
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
             ON CONFLICT DO UPDATE SET queue_epoch = excluded.queue_epoch, first_sequence = 0",
        )?
        .execute(params![host.0, epoch])?;
    if current.is_some() {
        logged.push(append(transaction, at, Event::AgentRestarted { host })?);
    }
    Ok(true)
}

/// The life that is on: its queue epoch, and its first sequence.
fn current(transaction: &Transaction<'_>, host: HostId) -> Result<Option<(i64, i64)>, StoreError> {
    let row = transaction
        .prepare_cached("SELECT queue_epoch, first_sequence FROM agent WHERE host = ?1")?
        .query_row([host.0], |row| Ok((row.get::<_, Option<i64>>(0)?, row.get(1)?)))
        .optional()?;
    Ok(row.and_then(|(epoch, first)| Some((epoch?, first))))
}

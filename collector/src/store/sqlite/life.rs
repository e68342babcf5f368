//! Lives of agents. One begins with a queue epoch that was never seen of a host, because the agent has lost its spool, or
//! with a hello whose first sequence is higher than any heard of its epoch, because its process has restarted. Either
//! way it has lost what it knew of its open episodes. An epoch can come back after another: an agent whose disk was not
//! there for a while had a spool in memory.
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
    let current = current(transaction, host)?;
    let heard = heard(transaction, host, epoch)?;
    if current.is_some() && heard.is_some_and(|heard| first.0.cast_signed() <= heard) {
        return Ok(());
    }
    begin(transaction, host, epoch, first, at)?;
    if current.is_some() {
        logged.push(append(transaction, at, Event::AgentRestarted { host })?);
    }
    Ok(())
}

/// Takes notice of a batch. Whether it belongs to the life that is on.
pub(super) fn is_current(
    transaction: &Transaction<'_>,
    host: HostId,
    epoch: QueueEpoch,
    sequence: Sequence,
    at: WallTime,
    logged: &mut Vec<Logged>,
) -> Result<bool, StoreError> {
    let current = current(transaction, host)?;
    match (current, heard(transaction, host, epoch)?) {
        (Some(current), Some(first)) => Ok(current == epoch.0.cast_signed() && first <= sequence.0.cast_signed()),
        _ => {
            begin(transaction, host, epoch, Sequence(0), at)?;
            if current.is_some() {
                logged.push(append(transaction, at, Event::AgentRestarted { host })?);
            }
            Ok(true)
        }
    }
}

fn begin(
    transaction: &Transaction<'_>,
    host: HostId,
    epoch: QueueEpoch,
    first: Sequence,
    at: WallTime,
) -> Result<(), StoreError> {
    let (epoch, first) = (epoch.0.cast_signed(), first.0.cast_signed());
    transaction
        .prepare_cached(
            "INSERT INTO stream (host, queue_epoch, begun, first_sequence) VALUES (?1, ?2, ?3, ?4)
             ON CONFLICT DO UPDATE SET begun = excluded.begun,
             first_sequence = max(first_sequence, excluded.first_sequence)",
        )?
        .execute(params![host.0, epoch, at.unix_ns, first])?;
    transaction
        .prepare_cached(
            "INSERT INTO agent (host, queue_epoch) VALUES (?1, ?2)
             ON CONFLICT DO UPDATE SET queue_epoch = excluded.queue_epoch",
        )?
        .execute(params![host.0, epoch])?;
    Ok(())
}

/// Queue epoch of the life that is on.
fn current(transaction: &Transaction<'_>, host: HostId) -> Result<Option<i64>, StoreError> {
    let epoch = transaction
        .prepare_cached("SELECT queue_epoch FROM agent WHERE host = ?1")?
        .query_row([host.0], |row| row.get::<_, Option<i64>>(0))
        .optional()?;
    Ok(epoch.flatten())
}

/// The highest first sequence heard of a queue epoch; zero if it was seen without any.
fn heard(transaction: &Transaction<'_>, host: HostId, epoch: QueueEpoch) -> Result<Option<i64>, StoreError> {
    Ok(transaction
        .prepare_cached("SELECT first_sequence FROM stream WHERE host = ?1 AND queue_epoch = ?2")?
        .query_row(params![host.0, epoch.0.cast_signed()], |row| row.get(0))
        .optional()?)
}

//! Writes as statements.

use super::data::Keyed;
use super::row::encode;
use super::{data, life};
use crate::engine::{Event, Logged};
use crate::store::StoreError;
use crate::store::write::{AgentWrite, BatchWrite, QUARANTINE_RAW_BYTES_MAX, QuarantineWrite, Write, Written};
use rusqlite::{OptionalExtension as _, Transaction, params};
use vedette_protocol::ids::{DirectiveId, HostId};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::Outcome;

/// Reason of a frame whose sequence another batch was stored under.
const SEQUENCE_REUSED: &str = "sequence-reused";

/// Does one write; events that it appends go to `logged` as well.
pub(super) fn apply(
    transaction: &Transaction<'_>,
    write: &Write,
    logged: &mut Vec<Logged>,
) -> Result<Written, StoreError> {
    match write {
        Write::Batch(batch) => match data::apply(transaction, batch)? {
            Keyed::Stored => {
                let (epoch, sequence) = (batch.batch.queue_epoch, batch.batch.sequence);
                let current = life::is_current(transaction, batch.host, epoch, sequence, batch.received, logged)?;
                for event in batch.events(current) {
                    logged.push(append(transaction, batch.received, event)?);
                }
                Ok(Written::Outcome(Outcome::Committed))
            }
            Keyed::Repeated => Ok(Written::Outcome(Outcome::Duplicate)),
            Keyed::Taken => reused(transaction, batch),
        },
        Write::Quarantine(frame) => {
            quarantine(transaction, frame)?;
            Ok(Written::Outcome(Outcome::Quarantined))
        }
        Write::Event { at, event } => {
            logged.push(append(transaction, *at, event.clone())?);
            Ok(Written::Done)
        }
        Write::Incident { id, open, opened, json } => {
            transaction
                .prepare_cached(
                    "INSERT INTO incident (id, open, opened, body) VALUES (?1, ?2, ?3, ?4)
                     ON CONFLICT DO UPDATE SET open = excluded.open, body = excluded.body",
                )?
                .execute(params![id, open, opened.unix_ns, json])?;
            Ok(Written::Done)
        }
        Write::Directive { directive, signed } => {
            transaction
                .prepare_cached(
                    "INSERT INTO directive (id, host, incident, issued, expires, body) VALUES (?1, ?2, ?3, ?4, ?5, ?6)
                     ON CONFLICT DO NOTHING",
                )?
                .execute(params![
                    directive.id.0,
                    directive.host.0,
                    directive.incident,
                    directive.issued.unix_ns,
                    directive.expires.unix_ns,
                    encode(signed)?
                ])?;
            Ok(Written::Done)
        }
        Write::DirectiveInEffect { at, directive, host } => {
            if first_in_effect(transaction, *at, *directive, *host)? {
                logged.push(append(transaction, *at, Event::DirectiveInEffect { directive: *directive })?);
            }
            Ok(Written::Done)
        }
        Write::Policy { at, version, signed } => {
            let stored: Option<i64> = transaction.query_row("SELECT max(version) FROM policy", [], |row| row.get(0))?;
            let stored = stored.unwrap_or(0).cast_unsigned();
            if *version <= stored {
                return Ok(Written::NotNewer { stored });
            }
            transaction.execute(
                "INSERT INTO policy (version, stored, body) VALUES (?1, ?2, ?3)",
                params![version.cast_signed(), at.unix_ns, encode(signed)?],
            )?;
            Ok(Written::Done)
        }
        Write::Token(token) => {
            transaction.execute(
                "INSERT INTO token (hash, created, expires, uses_left) VALUES (?1, ?2, ?3, ?4)",
                params![token.hash, token.created.unix_ns, token.expires.unix_ns, token.uses],
            )?;
            Ok(Written::Done)
        }
        Write::SpendToken { hash, at } => {
            let spent = transaction.execute(
                "UPDATE token SET uses_left = uses_left - 1 WHERE hash = ?1 AND expires > ?2 AND uses_left > 0",
                params![hash, at.unix_ns],
            )?;
            Ok(if spent == 1 { Written::Done } else { Written::BadToken })
        }
        Write::Agent { host, at, write } => agent(transaction, *host, *at, write, logged),
        Write::Snapshot { position, version, bytes } => {
            transaction.execute(
                "INSERT OR REPLACE INTO snapshot (one, position, version, body) VALUES (1, ?1, ?2, ?3)",
                params![position.cast_signed(), version, bytes],
            )?;
            Ok(Written::Done)
        }
    }
}

pub(super) fn append(transaction: &Transaction<'_>, at: WallTime, event: Event) -> Result<Logged, StoreError> {
    transaction
        .prepare_cached("INSERT INTO event (at, body) VALUES (?1, ?2)")?
        .execute(params![at.unix_ns, encode(&event)?])?;
    let position = transaction.last_insert_rowid().cast_unsigned();
    Ok(Logged { position, at, event })
}

/// A sequence came back with other content: both are facts, and only one of them can be counted.
fn reused(transaction: &Transaction<'_>, write: &BatchWrite) -> Result<Written, StoreError> {
    let BatchWrite { host, received, wire_bytes, batch, .. } = write;
    let frame = QuarantineWrite {
        host: *host,
        key: Some((batch.queue_epoch, batch.sequence)),
        received: *received,
        reason: SEQUENCE_REUSED.to_owned(),
        wire_bytes: *wire_bytes,
        raw: vedette_protocol::v1::encode(batch).unwrap_or_default(),
    };
    if quarantine(transaction, &frame)? {
        transaction
            .prepare_cached("UPDATE stream SET reused = reused + 1 WHERE host = ?1 AND queue_epoch = ?2")?
            .execute(params![host.0, batch.queue_epoch.0.cast_signed()])?;
    }
    Ok(Written::Reused { host: *host })
}

/// A frame that was kept aside under its key is not kept aside again. Whether it is new.
fn quarantine(transaction: &Transaction<'_>, frame: &QuarantineWrite) -> Result<bool, StoreError> {
    let key = frame.key.map(|(epoch, sequence)| (epoch.0.cast_signed(), sequence.0.cast_signed()));
    let kept = &frame.raw[..frame.raw.len().min(QUARANTINE_RAW_BYTES_MAX)];
    if let Some((epoch, sequence)) = key {
        let known = transaction
            .prepare_cached(
                "SELECT 1 FROM quarantine WHERE host = ?1 AND queue_epoch = ?2 AND sequence = ?3 AND raw = ?4",
            )?
            .exists(params![frame.host.0, epoch, sequence, kept])?;
        if known {
            return Ok(false);
        }
        transaction
            .prepare_cached(
                "INSERT INTO stream (host, queue_epoch, quarantined) VALUES (?1, ?2, 1)
                 ON CONFLICT DO UPDATE SET quarantined = quarantined + 1",
            )?
            .execute(params![frame.host.0, epoch])?;
    }
    transaction
        .prepare_cached(
            "INSERT INTO quarantine (host, queue_epoch, sequence, received, reason, wire_bytes, raw)
             VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![
            frame.host.0,
            key.map(|(epoch, _)| epoch),
            key.map(|(_, sequence)| sequence),
            frame.received.unix_ns,
            frame.reason,
            frame.wire_bytes,
            kept
        ])?;
    Ok(true)
}

/// Only the host that a directive is for can put it in effect, and only the first report counts.
fn first_in_effect(
    transaction: &Transaction<'_>,
    at: WallTime,
    directive: DirectiveId,
    host: HostId,
) -> Result<bool, StoreError> {
    let changed = transaction
        .prepare_cached("UPDATE directive SET in_effect = ?1 WHERE id = ?2 AND host = ?3 AND in_effect IS NULL")?
        .execute(params![at.unix_ns, directive.0, host.0])?;
    Ok(changed == 1)
}

fn agent(
    transaction: &Transaction<'_>,
    host: HostId,
    at: WallTime,
    write: &AgentWrite,
    logged: &mut Vec<Logged>,
) -> Result<Written, StoreError> {
    transaction.prepare_cached("INSERT INTO agent (host) VALUES (?1) ON CONFLICT DO NOTHING")?.execute([host.0])?;
    let set = |columns: &str, values: &[&dyn rusqlite::ToSql]| -> Result<(), StoreError> {
        transaction.prepare_cached(&format!("UPDATE agent SET {columns} WHERE host = ?1"))?.execute(values)?;
        Ok(())
    };
    match write {
        AgentWrite::Enrolled { host_name } => {
            set("host_name = ?2, enrolled = ?3", params![host.0, host_name, at.unix_ns])?;
            logged.push(append(transaction, at, Event::HostSeen { host, name: host_name.clone() })?);
        }
        AgentWrite::Hello { host_name, software, queue_epoch, first_sequence, skew_ns } => {
            life::hello(transaction, host, *queue_epoch, *first_sequence, at, logged)?;
            let known: Option<String> = transaction
                .prepare_cached("SELECT host_name FROM agent WHERE host = ?1")?
                .query_row([host.0], |row| row.get(0))
                .optional()?;
            if known.as_ref() != Some(host_name) {
                logged.push(append(transaction, at, Event::HostSeen { host, name: host_name.clone() })?);
            }
            set(
                "host_name = ?2, software = ?3, skew = ?4, last_seen = ?5",
                params![host.0, host_name, software, skew_ns, at.unix_ns],
            )?;
        }
        AgentWrite::Clock { skew_ns } => {
            set("skew = ?2, last_seen = ?3", params![host.0, skew_ns, at.unix_ns])?;
        }
        AgentWrite::InEffect(in_effect) => {
            set("in_effect = ?2, last_seen = ?3", params![host.0, encode(in_effect)?, at.unix_ns])?;
        }
        AgentWrite::Heartbeat { queue_epoch, made, shed } => {
            let [finding, feature, log] = shed.map(u64::cast_signed);
            transaction
                .prepare_cached(
                    "INSERT INTO stream (host, queue_epoch, made, shed_finding, shed_feature, shed_log)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6) ON CONFLICT DO UPDATE SET made = excluded.made,
                     shed_finding = excluded.shed_finding, shed_feature = excluded.shed_feature,
                     shed_log = excluded.shed_log",
                )?
                .execute(params![host.0, queue_epoch.0.cast_signed(), made.cast_signed(), finding, feature, log])?;
            set("last_seen = ?2", params![host.0, at.unix_ns])?;
        }
        AgentWrite::Revoked => set("revoked = coalesce(revoked, ?2)", params![host.0, at.unix_ns])?,
    }
    Ok(Written::Done)
}

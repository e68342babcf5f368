//! Content of batches as rows.

use crate::store::StoreError;
use crate::store::write::BatchWrite;
use rusqlite::{Transaction, params};
use serde::Serialize;
use serde::de::DeserializeOwned;
use vedette_protocol::ids::Digest;
use vedette_protocol::v1::{Body, Class, LogWindow, Outcome};

/// Stores a batch unless its key is known.
pub(super) fn apply(transaction: &Transaction<'_>, write: &BatchWrite) -> Result<Outcome, StoreError> {
    let batch = &write.batch;
    let key = params![batch.tenant.0, write.host.0, batch.queue_epoch.0.cast_signed(), batch.sequence.0.cast_signed()];
    let known = transaction
        .prepare_cached(
            "SELECT 1 FROM batch WHERE tenant = ?1 AND host = ?2 AND queue_epoch = ?3 AND sequence = ?4 LIMIT 1",
        )?
        .exists(key)?;
    if known {
        transaction
            .prepare_cached(
                "INSERT INTO stream (host, queue_epoch, duplicates) VALUES (?1, ?2, 1)
                 ON CONFLICT DO UPDATE SET duplicates = duplicates + 1",
            )?
            .execute(params![write.host.0, batch.queue_epoch.0.cast_signed()])?;
        return Ok(Outcome::Duplicate);
    }
    insert(transaction, write)?;
    Ok(Outcome::Committed)
}

/// Stores a batch without a look at what is there.
pub(super) fn insert(transaction: &Transaction<'_>, write: &BatchWrite) -> Result<(), StoreError> {
    let body = encode(&write.batch.body)?;
    insert_key(transaction, write, &Digest::of(&body))?;
    match &write.batch.body {
        Body::Findings(findings) => {
            for (ordinal, finding) in findings.iter().enumerate() {
                let [host, epoch, sequence] = place(write);
                transaction
                    .prepare_cached(
                        "INSERT INTO finding (host, queue_epoch, sequence, ordinal, episode, received, offset, body)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
                    )?
                    .execute(params![
                        host,
                        epoch,
                        sequence,
                        number(ordinal),
                        finding.episode.0,
                        write.received.unix_ns,
                        write.offset_ns,
                        encode(finding)?
                    ])?;
            }
        }
        Body::Changes(changes) => {
            for (ordinal, change) in changes.iter().enumerate() {
                let [host, epoch, sequence] = place(write);
                transaction
                    .prepare_cached(
                        "INSERT INTO change (host, queue_epoch, sequence, ordinal, received, offset, body)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    )?
                    .execute(params![
                        host,
                        epoch,
                        sequence,
                        number(ordinal),
                        write.received.unix_ns,
                        write.offset_ns,
                        encode(change)?
                    ])?;
            }
        }
        Body::Series(series) => {
            for (ordinal, definition) in series.iter().enumerate() {
                let [host, epoch, sequence] = place(write);
                transaction
                    .prepare_cached(
                        "INSERT INTO series (host, queue_epoch, sequence, ordinal, series, key, body)
                         VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)",
                    )?
                    .execute(params![
                        host,
                        epoch,
                        sequence,
                        number(ordinal),
                        definition.index.0,
                        definition.meta.key().0.cast_signed(),
                        encode(&definition.meta)?
                    ])?;
            }
        }
        Body::Logs(window) => {
            insert_templates(transaction, write, window)?;
            insert_block(transaction, write, "logs", &body)?;
        }
        Body::Features(_) => insert_block(transaction, write, "features", &body)?,
        Body::Samples(_) => insert_block(transaction, write, "samples", &body)?,
    }
    Ok(())
}

fn insert_key(transaction: &Transaction<'_>, write: &BatchWrite, content: &Digest) -> Result<(), StoreError> {
    let batch = &write.batch;
    let (kind, items) = match &batch.body {
        Body::Series(items) => ("series", items.len()),
        Body::Features(items) => ("features", items.len()),
        Body::Samples(items) => ("samples", items.len()),
        Body::Logs(window) => ("logs", window.counts.len()),
        Body::Findings(items) => ("findings", items.len()),
        Body::Changes(items) => ("changes", items.len()),
    };
    let class = match batch.class {
        Class::Finding => 0,
        Class::Feature => 1,
        Class::Log => 2,
    };
    let [host, epoch, sequence] = place(write);
    transaction
        .prepare_cached(
            "INSERT INTO batch (tenant, host, queue_epoch, sequence, class, kind, items, wire_bytes, boot, mono, wall,
             offset, received, content) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            batch.tenant.0,
            host,
            epoch,
            sequence,
            class,
            kind,
            number(items),
            write.wire_bytes,
            batch.boot.0,
            batch.mono.ns.cast_signed(),
            batch.wall.unix_ns,
            write.offset_ns,
            write.received.unix_ns,
            &content.0[..16]
        ])?;
    Ok(())
}

fn insert_templates(transaction: &Transaction<'_>, write: &BatchWrite, window: &LogWindow) -> Result<(), StoreError> {
    for (ordinal, template) in window.templates.iter().enumerate() {
        let [host, epoch, sequence] = place(write);
        transaction
            .prepare_cached(
                "INSERT INTO template (host, queue_epoch, sequence, ordinal, template, source, text, exemplar)
                 VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)",
            )?
            .execute(params![
                host,
                epoch,
                sequence,
                number(ordinal),
                template.id.0.cast_signed(),
                window.source,
                template.text,
                template.exemplar
            ])?;
    }
    Ok(())
}

fn insert_block(transaction: &Transaction<'_>, write: &BatchWrite, kind: &str, body: &[u8]) -> Result<(), StoreError> {
    let [host, epoch, sequence] = place(write);
    transaction
        .prepare_cached(
            "INSERT INTO block (host, queue_epoch, sequence, ordinal, kind, received, offset, body)
             VALUES (?1, ?2, ?3, 0, ?4, ?5, ?6, ?7)",
        )?
        .execute(params![host, epoch, sequence, kind, write.received.unix_ns, write.offset_ns, body])?;
    Ok(())
}

fn place(write: &BatchWrite) -> [rusqlite::types::Value; 3] {
    [
        write.host.0.to_vec().into(),
        write.batch.queue_epoch.0.cast_signed().into(),
        write.batch.sequence.0.cast_signed().into(),
    ]
}

fn number(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// postcard bytes of a stored value.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    postcard::to_stdvec(value).map_err(|error| StoreError::Corrupt { what: "value", reason: error.to_string() })
}

/// The stored value behind postcard bytes.
pub(super) fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, StoreError> {
    postcard::from_bytes(bytes).map_err(|error| StoreError::Corrupt { what, reason: error.to_string() })
}

//! Content of batches as rows.

use super::row::{encode, size};
use crate::store::StoreError;
use crate::store::write::BatchWrite;
use rusqlite::{ToSql, Transaction, params};
use vedette_protocol::ids::Digest;
use vedette_protocol::v1::{Body, Class};

/// Tables of items: the first four columns are an item's place, see [`Rows::insert`].
const FINDING: &str = "INSERT INTO finding (host, queue_epoch, sequence, ordinal, episode, received, offset, body)
                       VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const CHANGE: &str = "INSERT INTO change (host, queue_epoch, sequence, ordinal, received, offset, body)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const SERIES: &str = "INSERT INTO series (host, queue_epoch, sequence, ordinal, series, key, body)
                      VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7)";
const TEMPLATE: &str = "INSERT INTO template (host, queue_epoch, sequence, ordinal, template, source, text, exemplar)
                        VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";
const BLOCK: &str = "INSERT INTO block (host, queue_epoch, sequence, ordinal, kind, received, offset, body)
                     VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8)";

/// Kind of a block of raw samples.
pub(super) const SAMPLE_BLOCK: &str = "sample-block";

/// What the table of keys says of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Keyed {
    /// It was not known, and is stored now.
    Stored,
    /// It was stored before.
    Repeated,
    /// Another batch was stored under its key.
    Taken,
}

/// Bytes of a content's digest that are kept.
const CONTENT_BYTES: usize = 16;

/// Stores a batch unless its key is known.
pub(super) fn apply(transaction: &Transaction<'_>, write: &BatchWrite) -> Result<Keyed, StoreError> {
    let batch = &write.batch;
    let body = encode(&batch.body)?;
    let content = &Digest::of(&body).0[..CONTENT_BYTES];
    let known: Option<bool> = transaction
        .prepare_cached(
            "SELECT max(content = ?5) FROM batch
             WHERE tenant = ?1 AND host = ?2 AND queue_epoch = ?3 AND sequence = ?4",
        )?
        .query_row(
            params![
                batch.tenant.0,
                write.host.0,
                batch.queue_epoch.0.cast_signed(),
                batch.sequence.0.cast_signed(),
                content
            ],
            |row| row.get(0),
        )?;
    match known {
        None => {
            insert(transaction, write, &body, content)?;
            Ok(Keyed::Stored)
        }
        Some(false) => Ok(Keyed::Taken),
        Some(true) => {
            transaction
                .prepare_cached(
                    "INSERT INTO stream (host, queue_epoch, duplicates) VALUES (?1, ?2, 1)
                     ON CONFLICT DO UPDATE SET duplicates = duplicates + 1",
                )?
                .execute(params![write.host.0, batch.queue_epoch.0.cast_signed()])?;
            Ok(Keyed::Repeated)
        }
    }
}

/// Stores a batch without a look at what is there.
fn insert(transaction: &Transaction<'_>, write: &BatchWrite, body: &[u8], content: &[u8]) -> Result<(), StoreError> {
    insert_key(transaction, write, content)?;
    let rows = Rows { transaction, write };
    let (received, offset) = (&write.received.unix_ns, &write.offset_ns);
    match &write.batch.body {
        Body::Findings(findings) => findings.iter().enumerate().try_for_each(|(nth, finding)| {
            rows.insert(FINDING, nth, &[&finding.episode.0, received, offset, &encode(finding)?])
        }),
        Body::Changes(changes) => changes
            .iter()
            .enumerate()
            .try_for_each(|(nth, change)| rows.insert(CHANGE, nth, &[received, offset, &encode(change)?])),
        Body::Series(series) => series.iter().enumerate().try_for_each(|(nth, definition)| {
            let key = definition.meta.key().0.cast_signed();
            rows.insert(SERIES, nth, &[&definition.index.0, &key, &encode(&definition.meta)?])
        }),
        Body::Logs(window) => {
            window.templates.iter().enumerate().try_for_each(|(nth, template)| {
                let id = template.id.0.cast_signed();
                rows.insert(TEMPLATE, nth, &[&id, &window.source, &template.text, &template.exemplar])
            })?;
            rows.insert(BLOCK, 0, &[&"logs", received, offset, &body])
        }
        Body::Features(_) => rows.insert(BLOCK, 0, &[&"features", received, offset, &body]),
        Body::Samples(_) => rows.insert(BLOCK, 0, &[&"samples", received, offset, &body]),
        Body::Block(_) => rows.insert(BLOCK, 0, &[&SAMPLE_BLOCK, received, offset, &body]),
    }
}

/// Items of one batch.
struct Rows<'a> {
    transaction: &'a Transaction<'a>,
    write: &'a BatchWrite,
}

impl Rows<'_> {
    /// Adds an item: its place (host, queue epoch, sequence, `nth` of its batch), then its own columns.
    fn insert(&self, sql: &str, nth: usize, columns: &[&dyn ToSql]) -> Result<(), StoreError> {
        let batch = &self.write.batch;
        let (epoch, sequence) = (batch.queue_epoch.0.cast_signed(), batch.sequence.0.cast_signed());
        let place: [&dyn ToSql; 4] = [&self.write.host.0, &epoch, &sequence, &size(nth)];
        let mut statement = self.transaction.prepare_cached(sql)?;
        for (index, value) in (1..).zip(place.iter().chain(columns)) {
            statement.raw_bind_parameter(index, value)?;
        }
        statement.raw_execute()?;
        Ok(())
    }
}

fn insert_key(transaction: &Transaction<'_>, write: &BatchWrite, content: &[u8]) -> Result<(), StoreError> {
    let batch = &write.batch;
    let (kind, items) = match &batch.body {
        Body::Series(items) => ("series", items.len()),
        Body::Features(items) => ("features", items.len()),
        Body::Samples(items) => ("samples", items.len()),
        Body::Block(block) => (SAMPLE_BLOCK, usize::try_from(block.samples).unwrap_or(usize::MAX)),
        Body::Logs(window) => ("logs", window.counts.len()),
        Body::Findings(items) => ("findings", items.len()),
        Body::Changes(items) => ("changes", items.len()),
    };
    let class = match batch.class {
        Class::Finding => 0,
        Class::Feature => 1,
        Class::Log => 2,
    };
    transaction
        .prepare_cached(
            "INSERT INTO batch (tenant, host, queue_epoch, sequence, class, kind, items, wire_bytes, boot, mono, wall,
             offset, received, content) VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9, ?10, ?11, ?12, ?13, ?14)",
        )?
        .execute(params![
            batch.tenant.0,
            write.host.0,
            batch.queue_epoch.0.cast_signed(),
            batch.sequence.0.cast_signed(),
            class,
            kind,
            size(items),
            write.wire_bytes,
            batch.boot.0,
            batch.mono.ns.cast_signed(),
            batch.wall.unix_ns,
            write.offset_ns,
            write.received.unix_ns,
            content
        ])?;
    Ok(())
}

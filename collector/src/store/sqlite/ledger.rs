//! What is stored per host and queue epoch, and whether anything counts twice: always by looking at the rows that are
//! there, never by the word of the code that put them there.

use super::row;
use crate::store::{LedgerRow, StoreError};
use rusqlite::Connection;
use std::collections::{BTreeMap, BTreeSet};
use vedette_protocol::ids::HostId;

const GAPS_MAX: usize = 100;

type Key = ([u8; 16], i64);

/// Keys that stand more than once in the table of batches.
const DOUBLED_KEYS: &str =
    "SELECT host, queue_epoch, sequence FROM batch GROUP BY host, queue_epoch, sequence HAVING count(*) > 1";

/// Batches of which a data row stands more than once.
const DOUBLED_ITEMS: &str = "
SELECT host, queue_epoch, sequence FROM (
    SELECT host, queue_epoch, sequence FROM finding GROUP BY host, queue_epoch, sequence, ordinal HAVING count(*) > 1
    UNION SELECT host, queue_epoch, sequence FROM change GROUP BY host, queue_epoch, sequence, ordinal HAVING count(*) > 1
    UNION SELECT host, queue_epoch, sequence FROM series GROUP BY host, queue_epoch, sequence, ordinal HAVING count(*) > 1
    UNION SELECT host, queue_epoch, sequence FROM template GROUP BY host, queue_epoch, sequence, ordinal HAVING count(*) > 1
    UNION SELECT host, queue_epoch, sequence FROM block GROUP BY host, queue_epoch, sequence, ordinal HAVING count(*) > 1
)";

/// Batches whose content was stored before under another key. Series definitions are told again in each queue epoch.
const DOUBLED_CONTENT: &str = "
SELECT host, queue_epoch, sequence FROM (
    SELECT host, queue_epoch, sequence, row_number() OVER (PARTITION BY host, content ORDER BY rowid) AS nth,
           min(queue_epoch || '/' || sequence) OVER (PARTITION BY host, content) AS low,
           max(queue_epoch || '/' || sequence) OVER (PARTITION BY host, content) AS high
    FROM batch WHERE kind <> 'series' AND items > 0
) WHERE nth > 1 AND low <> high";

/// Consecutive sequences that are not next to each other.
const GAPS: &str = "
SELECT host, queue_epoch, sequence, following FROM (
    SELECT host, queue_epoch, sequence,
           lead(sequence) OVER (PARTITION BY host, queue_epoch ORDER BY sequence) AS following
    FROM batch
) WHERE following > sequence + 1";

pub(super) fn ledger(connection: &Connection) -> Result<Vec<LedgerRow>, StoreError> {
    let transaction = connection.unchecked_transaction()?;
    let mut ledger: BTreeMap<Key, LedgerRow> = BTreeMap::new();
    totals(&transaction, &mut ledger)?;
    streams(&transaction, &mut ledger)?;
    let keys = batches(&transaction, DOUBLED_KEYS)?;
    let items = batches(&transaction, DOUBLED_ITEMS)?;
    let content = batches(&transaction, DOUBLED_CONTENT)?;
    for batch in keys.iter().chain(&items).chain(&content).collect::<BTreeSet<_>>() {
        entry(&mut ledger, batch.0).doubled += 1;
    }
    for batch in &keys {
        entry(&mut ledger, batch.0).doubled_keys += 1;
    }
    for batch in &items {
        entry(&mut ledger, batch.0).doubled_items += 1;
    }
    for batch in &content {
        entry(&mut ledger, batch.0).doubled_content += 1;
    }
    gaps(&transaction, &mut ledger)?;
    Ok(ledger.into_values().collect())
}

fn entry(ledger: &mut BTreeMap<Key, LedgerRow>, key: Key) -> &mut LedgerRow {
    ledger.entry(key).or_insert_with(|| LedgerRow {
        host: HostId(key.0).to_string(),
        queue_epoch: key.1.cast_unsigned().to_string(),
        ..LedgerRow::default()
    })
}

fn totals(connection: &Connection, ledger: &mut BTreeMap<Key, LedgerRow>) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT host, queue_epoch, count(*), min(sequence), max(sequence) FROM batch GROUP BY host, queue_epoch",
    )?;
    let mut rows = statement.query([])?;
    while let Some(found) = rows.next()? {
        let entry = entry(ledger, (found.get(0)?, found.get(1)?));
        entry.committed = row::number(found, 2)?;
        entry.first_sequence = row::number(found, 3)?;
        entry.last_sequence = row::number(found, 4)?;
    }
    Ok(())
}

fn streams(connection: &Connection, ledger: &mut BTreeMap<Key, LedgerRow>) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(
        "SELECT host, queue_epoch, duplicates, quarantined, made, shed_finding, shed_feature, shed_log, reused
         FROM stream",
    )?;
    let mut rows = statement.query([])?;
    while let Some(found) = rows.next()? {
        let entry = entry(ledger, (found.get(0)?, found.get(1)?));
        entry.duplicates_refused = row::number(found, 2)?;
        entry.quarantined = row::number(found, 3)?;
        entry.reused = row::number(found, 8)?;
        entry.made = row::number(found, 4)?;
        entry.shed = [row::number(found, 5)?, row::number(found, 6)?, row::number(found, 7)?];
    }
    Ok(())
}

fn batches(connection: &Connection, sql: &str) -> Result<BTreeSet<(Key, i64)>, StoreError> {
    let mut statement = connection.prepare_cached(sql)?;
    let rows = statement.query_map([], |row| Ok(((row.get(0)?, row.get(1)?), row.get(2)?)))?;
    Ok(rows.collect::<Result<_, _>>()?)
}

fn gaps(connection: &Connection, ledger: &mut BTreeMap<Key, LedgerRow>) -> Result<(), StoreError> {
    let mut statement = connection.prepare_cached(GAPS)?;
    let mut rows = statement.query([])?;
    while let Some(found) = rows.next()? {
        let entry = entry(ledger, (found.get(0)?, found.get(1)?));
        if entry.gaps.len() < GAPS_MAX {
            entry.gaps.push((row::number(found, 2)?.wrapping_add(1), row::number(found, 3)?.wrapping_sub(1)));
        }
    }
    Ok(())
}

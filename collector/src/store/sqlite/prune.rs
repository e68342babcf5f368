//! Retention: what is older goes, a bounded number of rows at a time so that no commit waits long.

use crate::store::{Retention, StoreError};
use rusqlite::{Transaction, params};
use vedette_protocol::time::WallTime;

/// Rows deleted per table and call.
const ROWS_MAX: i64 = 5_000;

pub(super) fn prune(transaction: &Transaction<'_>, now: WallTime, retention: &Retention) -> Result<u64, StoreError> {
    let before = |ms: u64| now.unix_ns.saturating_sub(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000));
    let mut deleted = 0;
    // What gives later rows their meaning goes with its batch, but not while the agent's life that told it is on.
    for table in ["series", "template"] {
        let sql = format!(
            "DELETE FROM {table} WHERE rowid IN (
                 SELECT item.rowid FROM (SELECT host, queue_epoch, sequence FROM batch WHERE received < ?1
                                         ORDER BY received, rowid LIMIT ?2) AS old
                 JOIN {table} AS item USING (host, queue_epoch, sequence)
                 WHERE NOT EXISTS (SELECT 1 FROM agent WHERE host = old.host AND queue_epoch = old.queue_epoch))"
        );
        deleted += transaction.prepare_cached(&sql)?.execute(params![before(retention.batches_ms), ROWS_MAX])?;
    }
    for (table, ms) in [
        ("block", retention.blocks_ms),
        ("finding", retention.findings_ms),
        ("change", retention.findings_ms),
        ("batch", retention.batches_ms),
    ] {
        let sql = format!(
            "DELETE FROM {table} WHERE rowid IN (SELECT rowid FROM {table} WHERE received < ?1 ORDER BY received, rowid LIMIT ?2)"
        );
        deleted += transaction.prepare_cached(&sql)?.execute(params![before(ms), ROWS_MAX])?;
    }
    deleted += transaction.execute(
        "DELETE FROM event WHERE position IN (SELECT position FROM event WHERE at < ?1
         AND position <= (SELECT coalesce(max(position), 0) FROM snapshot) LIMIT ?2)",
        params![before(retention.events_ms), ROWS_MAX],
    )?;
    deleted += transaction.execute(
        "DELETE FROM quarantine WHERE rowid <= (SELECT max(rowid) FROM quarantine) - ?1",
        params![i64::try_from(retention.quarantine_rows).unwrap_or(i64::MAX)],
    )?;
    deleted += transaction.execute(
        "DELETE FROM incident WHERE id IN (SELECT id FROM incident WHERE open = 0 AND opened < ?1 LIMIT ?2)",
        params![before(retention.findings_ms), ROWS_MAX],
    )?;
    // A life that ended this long ago has nothing left on the way.
    deleted += transaction.execute(
        "DELETE FROM stream WHERE begun < ?1
         AND NOT EXISTS (SELECT 1 FROM agent WHERE host = stream.host AND queue_epoch = stream.queue_epoch)",
        params![before(retention.batches_ms)],
    )?;
    deleted += transaction.execute("DELETE FROM token WHERE expires < ?1", params![now.unix_ns])?;
    deleted +=
        transaction.execute("DELETE FROM directive WHERE expires < ?1", params![before(retention.findings_ms)])?;
    Ok(deleted as u64)
}

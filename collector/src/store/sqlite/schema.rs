//! Tables, and the steps from each version to the next. A step that was released is never altered.
//!
//! Times are nanoseconds since the Unix epoch, identities are blobs, bodies are postcard. Data rows carry
//! `(host, queue_epoch, sequence, ordinal)` without a unique constraint: if a batch were ever applied twice the rows
//! would stand twice, and the ledger would show it. For the same reason the key of a batch is looked up in the
//! transaction, by an index that does not enforce it.

use crate::store::StoreError;
use rusqlite::Connection;

const MIGRATIONS: &[&str] = &[V1, V2, V3, V4, V5, V6];

const V1: &str = "
CREATE TABLE batch (
    tenant INTEGER NOT NULL, host BLOB NOT NULL, queue_epoch INTEGER NOT NULL, sequence INTEGER NOT NULL,
    class INTEGER NOT NULL, kind TEXT NOT NULL, items INTEGER NOT NULL, wire_bytes INTEGER NOT NULL,
    boot BLOB NOT NULL, mono INTEGER NOT NULL, wall INTEGER NOT NULL, offset INTEGER NOT NULL,
    received INTEGER NOT NULL, content BLOB NOT NULL
) STRICT;
CREATE INDEX batch_key ON batch (tenant, host, queue_epoch, sequence);
CREATE INDEX batch_received ON batch (received);

CREATE TABLE stream (
    host BLOB NOT NULL, queue_epoch INTEGER NOT NULL,
    duplicates INTEGER NOT NULL DEFAULT 0, quarantined INTEGER NOT NULL DEFAULT 0, made INTEGER NOT NULL DEFAULT 0,
    shed_finding INTEGER NOT NULL DEFAULT 0, shed_feature INTEGER NOT NULL DEFAULT 0, shed_log INTEGER NOT NULL DEFAULT 0,
    PRIMARY KEY (host, queue_epoch)
) STRICT, WITHOUT ROWID;

CREATE TABLE finding (
    host BLOB NOT NULL, queue_epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    episode BLOB NOT NULL, received INTEGER NOT NULL, offset INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE INDEX finding_key ON finding (host, queue_epoch, sequence, ordinal);
CREATE INDEX finding_episode ON finding (episode);
CREATE INDEX finding_received ON finding (received);

CREATE TABLE change (
    host BLOB NOT NULL, queue_epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    received INTEGER NOT NULL, offset INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE INDEX change_key ON change (host, queue_epoch, sequence, ordinal);
CREATE INDEX change_received ON change (received);

CREATE TABLE series (
    host BLOB NOT NULL, queue_epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    series INTEGER NOT NULL, key INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE INDEX series_key ON series (host, queue_epoch, sequence, ordinal);

CREATE TABLE template (
    host BLOB NOT NULL, queue_epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    template INTEGER NOT NULL, source TEXT NOT NULL, text TEXT NOT NULL, exemplar TEXT NOT NULL
) STRICT;
CREATE INDEX template_key ON template (host, queue_epoch, sequence, ordinal);

CREATE TABLE block (
    host BLOB NOT NULL, queue_epoch INTEGER NOT NULL, sequence INTEGER NOT NULL, ordinal INTEGER NOT NULL,
    kind TEXT NOT NULL, received INTEGER NOT NULL, offset INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;
CREATE INDEX block_key ON block (host, queue_epoch, sequence, ordinal);
CREATE INDEX block_received ON block (received);

CREATE TABLE quarantine (
    host BLOB NOT NULL, queue_epoch INTEGER, sequence INTEGER, received INTEGER NOT NULL, reason TEXT NOT NULL,
    wire_bytes INTEGER NOT NULL, raw BLOB NOT NULL
) STRICT;

CREATE TABLE event (position INTEGER PRIMARY KEY AUTOINCREMENT, at INTEGER NOT NULL, body BLOB NOT NULL) STRICT;

CREATE TABLE snapshot (
    one INTEGER PRIMARY KEY CHECK (one = 1), position INTEGER NOT NULL, version INTEGER NOT NULL, body BLOB NOT NULL
) STRICT;

CREATE TABLE incident (
    id TEXT PRIMARY KEY, open INTEGER NOT NULL, opened INTEGER NOT NULL, body TEXT NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX incident_opened ON incident (open, opened);

CREATE TABLE directive (
    id BLOB PRIMARY KEY, host BLOB NOT NULL, incident TEXT NOT NULL, issued INTEGER NOT NULL, expires INTEGER NOT NULL,
    in_effect INTEGER, body BLOB NOT NULL
) STRICT, WITHOUT ROWID;
CREATE INDEX directive_host ON directive (host, expires);

CREATE TABLE policy (version INTEGER PRIMARY KEY, stored INTEGER NOT NULL, body BLOB NOT NULL) STRICT;

CREATE TABLE token (
    hash BLOB PRIMARY KEY, created INTEGER NOT NULL, expires INTEGER NOT NULL, uses_left INTEGER NOT NULL
) STRICT, WITHOUT ROWID;

CREATE TABLE agent (
    host BLOB PRIMARY KEY, host_name TEXT NOT NULL DEFAULT '', software TEXT NOT NULL DEFAULT '', enrolled INTEGER,
    last_seen INTEGER, skew INTEGER NOT NULL DEFAULT 0, in_effect BLOB, revoked INTEGER
) STRICT, WITHOUT ROWID;
";

/// Lives of agents: which queue epoch of a host is on, and when each was first seen. What was there before counts as
/// first seen now; the life that is on is that of the last batch.
const V2: &str = "
ALTER TABLE agent ADD COLUMN queue_epoch INTEGER;
ALTER TABLE stream ADD COLUMN begun INTEGER NOT NULL DEFAULT 0;
INSERT OR IGNORE INTO stream (host, queue_epoch) SELECT DISTINCT host, queue_epoch FROM batch;
UPDATE stream SET begun = unixepoch() * 1000000000;
UPDATE agent SET queue_epoch = latest.queue_epoch
    FROM (SELECT host, queue_epoch, max(rowid) FROM batch GROUP BY host) AS latest WHERE latest.host = agent.host;
CREATE INDEX stream_begun ON stream (begun);
";

/// Lives within a queue epoch, which outlives restarts of its agent: the first sequence of the one that is on.
const V3: &str = "
ALTER TABLE agent ADD COLUMN first_sequence INTEGER NOT NULL DEFAULT 0;
";

/// Samples of an incident are looked for by host and time.
const V4: &str = "
CREATE INDEX block_host ON block (host, kind, received);
";

/// A queue epoch can come back after another, so the highest first sequence is known of each.
const V5: &str = "
ALTER TABLE stream ADD COLUMN first_sequence INTEGER NOT NULL DEFAULT 0;
UPDATE stream SET first_sequence = agent.first_sequence
    FROM agent WHERE agent.host = stream.host AND agent.queue_epoch = stream.queue_epoch;
ALTER TABLE agent DROP COLUMN first_sequence;
";

/// Batches that came under a sequence that another one had.
const V6: &str = "
ALTER TABLE stream ADD COLUMN reused INTEGER NOT NULL DEFAULT 0;
";

/// Brings the schema to the latest version, each step in a transaction of its own.
pub(super) fn migrate(connection: &mut Connection) -> Result<(), StoreError> {
    let found: u32 = connection.pragma_query_value(None, "user_version", |row| row.get(0))?;
    let known = u32::try_from(MIGRATIONS.len()).expect("few migrations");
    if found > known {
        return Err(StoreError::TooNew { found, known });
    }
    for (version, step) in (1..).zip(MIGRATIONS).skip(found as usize) {
        let transaction = connection.transaction()?;
        transaction.execute_batch(step)?;
        transaction.pragma_update(None, "user_version", version)?;
        transaction.commit()?;
    }
    Ok(())
}

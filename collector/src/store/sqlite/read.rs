//! Queries.

use super::{ledger, row, samples};
use crate::engine::Logged;
use crate::store::{AgentRow, IncidentRow, LedgerRow, PolicyRow, Reader, Samples, StoreError, Stored};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::de::DeserializeOwned;
use std::collections::BTreeSet;
use vedette_protocol::ids::{HostId, SeriesKey};
use vedette_protocol::signature::Signed;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::{Change, Finding};

/// A reader with its own connection.
pub(super) struct SqliteReader {
    pub(super) connection: Connection,
}

const TABLES: [&str; 10] =
    ["batch", "finding", "change", "series", "template", "block", "quarantine", "event", "incident", "agent"];

impl Reader for SqliteReader {
    fn events_after(&self, position: u64, max: usize) -> Result<Vec<Logged>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT position, at, body FROM event WHERE position > ?1 ORDER BY position LIMIT ?2")?;
        let mut rows = statement.query(params![position.cast_signed(), row::size(max)])?;
        let mut events = Vec::new();
        while let Some(found) = rows.next()? {
            let (position, at) = (row::number(found, 0)?, row::time(found, 1)?);
            events.push(Logged { position, at, event: row::body(found, 2, "event")? });
        }
        Ok(events)
    }

    fn snapshot(&self) -> Result<Option<(u32, Vec<u8>)>, StoreError> {
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        Ok(self.connection.query_row("SELECT version, body FROM snapshot", [], row).optional()?)
    }

    fn incidents(&self, open: bool, max: usize, bytes_max: usize) -> Result<Vec<IncidentRow>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT id, open, opened, body FROM incident WHERE open = ?1 ORDER BY opened DESC, id LIMIT ?2",
        )?;
        let mut room = bytes_max;
        let rows = statement.query_map(params![open, row::size(max)], |found| {
            let bytes = found.get_ref(3)?.as_bytes().map_or(0, <[u8]>::len);
            let fits = bytes <= room;
            room = if fits { room - bytes } else { 0 };
            incident(found, fits)
        })?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn open_incidents(&self) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT id FROM incident WHERE open ORDER BY opened")?;
        let rows = statement.query_map([], |found| found.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn incident(&self, id: &str) -> Result<Option<IncidentRow>, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT id, open, opened, body FROM incident WHERE id = ?1")?;
        Ok(statement.query_row([id], |found| incident(found, true)).optional()?)
    }

    fn findings(&self, max: usize) -> Result<Vec<Stored<Finding>>, StoreError> {
        self.stored(
            "finding",
            "SELECT host, received, offset, body FROM finding ORDER BY received DESC, rowid DESC LIMIT ?1",
            max,
        )
    }

    fn changes(&self, max: usize) -> Result<Vec<Stored<Change>>, StoreError> {
        self.stored(
            "change",
            "SELECT host, received, offset, body FROM change ORDER BY received DESC, rowid DESC LIMIT ?1",
            max,
        )
    }

    fn agents(&self, max: usize) -> Result<Vec<AgentRow>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT host, host_name, software, enrolled, last_seen, skew, in_effect, revoked FROM agent
             ORDER BY host_name, host LIMIT ?1",
        )?;
        let mut rows = statement.query([row::size(max)])?;
        let mut agents = Vec::new();
        while let Some(found) = rows.next()? {
            agents.push(AgentRow {
                host: row::host(found, 0)?,
                host_name: found.get(1)?,
                software: found.get(2)?,
                enrolled: row::time_if_any(found, 3)?,
                last_seen: row::time_if_any(found, 4)?,
                skew_ns: found.get(5)?,
                in_effect: row::body_if_any(found, 6, "in-effect report")?.unwrap_or_default(),
                revoked: row::time_if_any(found, 7)?,
            });
        }
        Ok(agents)
    }

    fn knows(&self, host: HostId) -> Result<bool, StoreError> {
        Ok(self.connection.prepare_cached("SELECT 1 FROM agent WHERE host = ?1")?.exists([host.0])?)
    }

    fn denied(&self) -> Result<Vec<HostId>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT host FROM agent WHERE revoked IS NOT NULL")?;
        let rows = statement.query_map([], |found| row::host(found, 0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn policy(&self) -> Result<Option<PolicyRow>, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT version, stored, body FROM policy ORDER BY version DESC LIMIT 1")?;
        let mut rows = statement.query([])?;
        let Some(found) = rows.next()? else { return Ok(None) };
        Ok(Some(PolicyRow {
            version: row::number(found, 0)?,
            stored: row::time(found, 1)?,
            signed: row::body(found, 2, "policy")?,
        }))
    }

    fn directives(&self, host: HostId, now: WallTime) -> Result<Vec<Signed>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT body FROM directive WHERE host = ?1 AND expires > ?2 ORDER BY issued LIMIT 64")?;
        let mut rows = statement.query(params![host.0, now.unix_ns])?;
        let mut directives = Vec::new();
        while let Some(found) = rows.next()? {
            directives.push(row::body(found, 0, "directive")?);
        }
        Ok(directives)
    }

    fn samples(
        &self,
        host: HostId,
        keys: &BTreeSet<SeriesKey>,
        window: (WallTime, WallTime),
        samples_max: usize,
    ) -> Result<Samples, StoreError> {
        samples::samples(&self.connection, host, keys, window, samples_max)
    }

    fn ledger(&self) -> Result<Vec<LedgerRow>, StoreError> {
        ledger::ledger(&self.connection)
    }

    fn rows(&self) -> Result<Vec<(&'static str, u64)>, StoreError> {
        let count = |table: &'static str| {
            let sql = format!("SELECT coalesce(max(rowid), 0) - coalesce(min(rowid), 1) + 1 FROM {table}");
            let exact = format!("SELECT count(*) FROM {table}");
            let sql = if matches!(table, "incident" | "agent") { exact } else { sql };
            let rows: i64 = self.connection.prepare_cached(&sql)?.query_row([], |row| row.get(0))?;
            Ok((table, rows.max(0).cast_unsigned()))
        };
        TABLES.into_iter().map(count).collect()
    }
}

impl SqliteReader {
    fn stored<T: DeserializeOwned>(
        &self,
        what: &'static str,
        sql: &str,
        max: usize,
    ) -> Result<Vec<Stored<T>>, StoreError> {
        let mut statement = self.connection.prepare_cached(sql)?;
        let mut rows = statement.query([row::size(max)])?;
        let mut items = Vec::new();
        while let Some(found) = rows.next()? {
            items.push(Stored {
                host: row::host(found, 0)?,
                received: row::time(found, 1)?,
                offset_ns: found.get(2)?,
                item: row::body(found, 3, what)?,
            });
        }
        Ok(items)
    }
}

/// With its JSON or without.
fn incident(found: &Row<'_>, whole: bool) -> Result<IncidentRow, rusqlite::Error> {
    let json = if whole { found.get(3)? } else { String::new() };
    Ok(IncidentRow { id: found.get(0)?, open: found.get(1)?, opened: row::time(found, 2)?, json })
}

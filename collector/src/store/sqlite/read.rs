//! Queries.

use super::data::decode;
use super::ledger;
use crate::engine::Logged;
use crate::store::{AgentRow, LedgerRow, PolicyRow, Reader, StoreError, Stored};
use rusqlite::{Connection, OptionalExtension as _, Row, params};
use serde::de::DeserializeOwned;
use vedette_protocol::ids::HostId;
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
        let mut rows = statement.query(params![position.cast_signed(), limit(max)])?;
        let mut events = Vec::new();
        while let Some(row) = rows.next()? {
            let position = row.get::<_, i64>(0)?.cast_unsigned();
            let event = decode("event", row.get_ref(2)?.as_blob().map_err(rusqlite::Error::from)?)?;
            events.push(Logged { position, at: time(row.get(1)?), event });
        }
        Ok(events)
    }

    fn snapshot(&self) -> Result<Option<(u32, Vec<u8>)>, StoreError> {
        let row = |row: &Row<'_>| Ok((row.get(0)?, row.get(1)?));
        Ok(self.connection.query_row("SELECT version, body FROM snapshot", [], row).optional()?)
    }

    fn incidents(&self, open: Option<bool>, max: usize) -> Result<Vec<String>, StoreError> {
        let mut statement = self.connection.prepare_cached(
            "SELECT body FROM incident WHERE ?1 IS NULL OR open = ?1 ORDER BY opened DESC, id LIMIT ?2",
        )?;
        let rows = statement.query_map(params![open, limit(max)], |row| row.get(0))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn incident(&self, id: &str) -> Result<Option<String>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT body FROM incident WHERE id = ?1")?;
        Ok(statement.query_row([id], |row| row.get(0)).optional()?)
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
        let mut rows = statement.query([limit(max)])?;
        let mut agents = Vec::new();
        while let Some(row) = rows.next()? {
            let in_effect: Option<Vec<u8>> = row.get(6)?;
            agents.push(AgentRow {
                host: HostId(row.get(0)?),
                host_name: row.get(1)?,
                software: row.get(2)?,
                enrolled: row.get::<_, Option<i64>>(3)?.map(time),
                last_seen: row.get::<_, Option<i64>>(4)?.map(time),
                skew_ns: row.get(5)?,
                in_effect: in_effect.map(|bytes| decode("in-effect report", &bytes)).transpose()?.unwrap_or_default(),
                revoked: row.get::<_, Option<i64>>(7)?.map(time),
            });
        }
        Ok(agents)
    }

    fn denied(&self) -> Result<Vec<HostId>, StoreError> {
        let mut statement = self.connection.prepare_cached("SELECT host FROM agent WHERE revoked IS NOT NULL")?;
        let rows = statement.query_map([], |row| row.get(0).map(HostId))?;
        Ok(rows.collect::<Result<_, _>>()?)
    }

    fn policy(&self) -> Result<Option<PolicyRow>, StoreError> {
        let mut statement =
            self.connection.prepare_cached("SELECT version, stored, body FROM policy ORDER BY version DESC LIMIT 1")?;
        let mut rows = statement.query([])?;
        let Some(row) = rows.next()? else { return Ok(None) };
        let body: Vec<u8> = row.get(2)?;
        Ok(Some(PolicyRow {
            version: row.get::<_, i64>(0)?.cast_unsigned(),
            stored: time(row.get(1)?),
            signed: decode("policy", &body)?,
        }))
    }

    fn directives(&self, host: HostId, now: WallTime) -> Result<Vec<Signed>, StoreError> {
        let mut statement = self
            .connection
            .prepare_cached("SELECT body FROM directive WHERE host = ?1 AND expires > ?2 ORDER BY issued LIMIT 64")?;
        let mut rows = statement.query(params![host.0, now.unix_ns])?;
        let mut directives = Vec::new();
        while let Some(row) = rows.next()? {
            let body: Vec<u8> = row.get(0)?;
            directives.push(decode("directive", &body)?);
        }
        Ok(directives)
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
        let mut rows = statement.query([limit(max)])?;
        let mut items = Vec::new();
        while let Some(row) = rows.next()? {
            let body: Vec<u8> = row.get(3)?;
            items.push(Stored {
                host: HostId(row.get(0)?),
                received: time(row.get(1)?),
                offset_ns: row.get(2)?,
                item: decode(what, &body)?,
            });
        }
        Ok(items)
    }
}

fn limit(max: usize) -> i64 {
    i64::try_from(max).unwrap_or(i64::MAX)
}

fn time(unix_ns: i64) -> WallTime {
    WallTime { unix_ns }
}

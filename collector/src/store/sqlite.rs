//! SQLite: one file, write-ahead log, every commit on disk before it counts.

mod data;
mod ledger;
mod life;
mod prune;
mod read;
mod row;
mod samples;
mod schema;
mod write;

use super::{Committed, Reader, Retention, Store, StoreError, Write};
use rusqlite::{Connection, OpenFlags};
use std::path::{Path, PathBuf};
use vedette_protocol::time::WallTime;

/// Wait for a lock at most this long; there is one writer, so only backups and tools can hold one.
const BUSY_TIMEOUT: std::time::Duration = std::time::Duration::from_secs(5);
const STATEMENTS_CACHED: usize = 64;

/// The store in one SQLite file.
#[derive(Debug)]
pub struct SqliteStore {
    connection: Connection,
    path: PathBuf,
}

impl SqliteStore {
    /// Opens or creates the file and brings its schema up to date.
    ///
    /// # Errors
    ///
    /// [`StoreError::TooNew`] for a file of later software, [`StoreError::Database`] for one that cannot be used.
    pub fn open(path: &Path) -> Result<Self, StoreError> {
        let mut connection = Connection::open(path)?;
        prepare(&connection)?;
        connection.pragma_update(None, "journal_mode", "WAL")?;
        connection.pragma_update(None, "synchronous", "FULL")?;
        connection.pragma_update(None, "journal_size_limit", 64 << 20)?;
        schema::migrate(&mut connection)?;
        Ok(Self { connection, path: path.to_owned() })
    }
}

fn prepare(connection: &Connection) -> Result<(), rusqlite::Error> {
    connection.busy_timeout(BUSY_TIMEOUT)?;
    connection.set_prepared_statement_cache_capacity(STATEMENTS_CACHED);
    connection.pragma_update(None, "foreign_keys", true)?;
    connection.pragma_update(None, "temp_store", "MEMORY")
}

impl Store for SqliteStore {
    fn commit(&mut self, writes: &[Write]) -> Result<Committed, StoreError> {
        let transaction = self.connection.transaction_with_behavior(rusqlite::TransactionBehavior::Immediate)?;
        let mut committed = Committed::default();
        for write in writes {
            let written = write::apply(&transaction, write, &mut committed.logged)?;
            committed.written.push(written);
        }
        transaction.commit()?;
        Ok(committed)
    }

    fn prune(&mut self, now: WallTime, retention: &Retention) -> Result<u64, StoreError> {
        let transaction = self.connection.transaction()?;
        let deleted = prune::prune(&transaction, now, retention)?;
        transaction.commit()?;
        Ok(deleted)
    }

    fn reader(&self) -> Result<Box<dyn Reader>, StoreError> {
        let flags = OpenFlags::SQLITE_OPEN_READ_ONLY | OpenFlags::SQLITE_OPEN_NO_MUTEX;
        let connection = Connection::open_with_flags(&self.path, flags)?;
        prepare(&connection)?;
        Ok(Box::new(read::SqliteReader { connection }))
    }
}

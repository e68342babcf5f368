//! Values in columns and back: times are nanoseconds, identities blobs, unsigned numbers the signed ones of the same
//! bits, everything else postcard.

use crate::store::StoreError;
use rusqlite::Row;
use serde::Serialize;
use serde::de::DeserializeOwned;
use vedette_protocol::ids::HostId;
use vedette_protocol::time::WallTime;

/// A count, epoch, sequence or position.
pub(super) fn number(row: &Row<'_>, column: usize) -> Result<u64, rusqlite::Error> {
    row.get::<_, i64>(column).map(i64::cast_unsigned)
}

pub(super) fn time(row: &Row<'_>, column: usize) -> Result<WallTime, rusqlite::Error> {
    row.get(column).map(|unix_ns| WallTime { unix_ns })
}

pub(super) fn time_if_any(row: &Row<'_>, column: usize) -> Result<Option<WallTime>, rusqlite::Error> {
    Ok(row.get::<_, Option<i64>>(column)?.map(|unix_ns| WallTime { unix_ns }))
}

pub(super) fn host(row: &Row<'_>, column: usize) -> Result<HostId, rusqlite::Error> {
    row.get(column).map(HostId)
}

/// A postcard value; `what` it is, for people.
pub(super) fn body<T: DeserializeOwned>(row: &Row<'_>, column: usize, what: &'static str) -> Result<T, StoreError> {
    decode(what, row.get_ref(column)?.as_blob().map_err(rusqlite::Error::from)?)
}

/// The same where there may be none.
pub(super) fn body_if_any<T: DeserializeOwned>(
    row: &Row<'_>,
    column: usize,
    what: &'static str,
) -> Result<Option<T>, StoreError> {
    let bytes = row.get_ref(column)?.as_blob_or_null().map_err(rusqlite::Error::from)?;
    bytes.map(|bytes| decode(what, bytes)).transpose()
}

/// A size as a column takes it.
pub(super) fn size(count: usize) -> i64 {
    i64::try_from(count).unwrap_or(i64::MAX)
}

/// postcard bytes of a value.
pub(super) fn encode<T: Serialize>(value: &T) -> Result<Vec<u8>, StoreError> {
    postcard::to_stdvec(value).map_err(|error| StoreError::Corrupt { what: "value", reason: error.to_string() })
}

fn decode<T: DeserializeOwned>(what: &'static str, bytes: &[u8]) -> Result<T, StoreError> {
    postcard::from_bytes(bytes).map_err(|error| StoreError::Corrupt { what, reason: error.to_string() })
}

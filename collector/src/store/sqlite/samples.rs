//! Raw samples of some series of one host, out of the blocks in which they came.

use super::data::SAMPLE_BLOCK;
use super::row;
use crate::store::{SampledSeries, Samples, StoreError};
use rusqlite::{Connection, params};
use std::collections::{BTreeMap, BTreeSet};
use vedette_edge::codec;
use vedette_protocol::ids::{HostId, SeriesKey};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::Body;

/// Blocks that one question looks into, the first to come first: an hour of one host under a directive. So the onset is
/// there, however long ago it was.
const BLOCKS_MAX: usize = 1_000;
/// A block is received after its samples were taken, or hours later if the collector was away.
const BLOCKS: &str = "SELECT queue_epoch, offset, body FROM block WHERE host = ?1 AND kind = ?2 AND received >= ?3
     ORDER BY received LIMIT ?4";

/// Which series an index stands for, by life of the host's spool.
type Indices = BTreeMap<(u64, u32), SeriesKey>;

pub(super) fn samples(
    connection: &Connection,
    host: HostId,
    keys: &BTreeSet<SeriesKey>,
    (begin, end): (WallTime, WallTime),
    samples_max: usize,
) -> Result<Samples, StoreError> {
    let indices = indices(connection, host, keys)?;
    let mut found = BTreeMap::new();
    let mut statement = connection.prepare_cached(BLOCKS)?;
    let mut rows = statement.query(params![host.0, SAMPLE_BLOCK, begin.unix_ns, row::size(BLOCKS_MAX + 1)])?;
    let mut samples = Samples::default();
    let (mut blocks, mut points) = (0, 0);
    while let Some(found_row) = rows.next()? {
        blocks += 1;
        if blocks > BLOCKS_MAX || points >= samples_max {
            samples.is_cut = true;
            break;
        }
        let (epoch, offset_ns) = (row::number(found_row, 0)?, found_row.get::<_, i64>(1)?);
        let Body::Block(block) = row::body(found_row, 2, "block of samples")? else { continue };
        if block.end.offset_by(offset_ns) < begin || block.begin.offset_by(offset_ns) > end {
            continue;
        }
        match codec::decode(&block.bytes) {
            Ok(decoded) => points += collect(&decoded, epoch, offset_ns, (begin, end), &indices, &mut found),
            // An agent of this version made no such block: there is nothing to show of it.
            Err(_) => samples.unreadable += 1,
        }
    }
    samples.series = found.into_iter().map(|(key, points)| SampledSeries { key, points: in_order(points) }).collect();
    Ok(samples)
}

fn indices(connection: &Connection, host: HostId, keys: &BTreeSet<SeriesKey>) -> Result<Indices, StoreError> {
    let mut statement = connection.prepare_cached("SELECT queue_epoch, series, key FROM series WHERE host = ?1")?;
    let mut rows = statement.query([host.0])?;
    let mut indices = Indices::new();
    while let Some(found) = rows.next()? {
        let key = SeriesKey(row::number(found, 2)?);
        if keys.contains(&key) {
            indices.insert((row::number(found, 0)?, found.get(1)?), key);
        }
    }
    Ok(indices)
}

/// Adds the points of wanted series within the time, by the collector's clock; their number.
fn collect(
    block: &codec::Block,
    epoch: u64,
    offset_ns: i64,
    (begin, end): (WallTime, WallTime),
    indices: &Indices,
    found: &mut BTreeMap<SeriesKey, Vec<(i64, f64)>>,
) -> usize {
    let mut count = 0;
    for (index, times_ms, values) in block.iter() {
        let Some(key) = indices.get(&(epoch, index)) else { continue };
        let points = found.entry(*key).or_default();
        let before = points.len();
        let corrected = |at_ms: i64| WallTime::from_unix_ms(at_ms).offset_by(offset_ns);
        let within = times_ms.iter().map(|at_ms| corrected(*at_ms)).zip(values);
        let within = within.filter(|(at, _)| (begin..=end).contains(at));
        points.extend(within.map(|(at, value)| (at.unix_ms(), *value)));
        count += points.len() - before;
    }
    count
}

/// What came twice, out of the recorder and raw, is there once.
fn in_order(mut points: Vec<(i64, f64)>) -> Vec<(i64, f64)> {
    points.sort_by_key(|(at_ms, _)| *at_ms);
    points.dedup_by_key(|(at_ms, _)| *at_ms);
    points
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_of_a_host_are_found_and_ordered_by_an_index() {
        let mut connection = Connection::open_in_memory().unwrap();
        super::super::schema::migrate(&mut connection).unwrap();
        let mut plan = connection.prepare(&format!("EXPLAIN QUERY PLAN {BLOCKS}")).unwrap();
        let steps = plan.query_map(params![[0u8; 16], SAMPLE_BLOCK, 0, 1], |row| row.get::<_, String>(3)).unwrap();
        let steps: Vec<_> = steps.map(Result::unwrap).collect();
        assert!(steps.len() == 1 && steps[0].contains("block_host"), "{steps:?}");
    }
}

//! The engine's state after a restart: the latest snapshot, then the log from there.

use crate::engine::{Engine, SNAPSHOT_VERSION};
use crate::store::{Reader, StoreError};

const EVENTS_PER_READ: usize = 10_000;

/// The engine where the log ends, and the position of the snapshot it began with. Without a readable snapshot the whole
/// log that is kept is replayed.
///
/// # Errors
///
/// [`StoreError`] if the log cannot be read.
pub(crate) fn restore(reader: &dyn Reader) -> Result<(Engine, u64), StoreError> {
    let mut engine = match reader.snapshot()? {
        Some((SNAPSHOT_VERSION, bytes)) => Engine::from_snapshot(&bytes).unwrap_or_else(|| {
            tracing::warn!("the engine's snapshot cannot be read; replaying the whole log");
            Engine::new()
        }),
        Some((version, _)) => {
            tracing::info!(version, "the engine's snapshot is of another version; replaying the whole log");
            Engine::new()
        }
        None => Engine::new(),
    };
    let from = engine.position();
    let mut events = 0_usize;
    loop {
        let chunk = reader.events_after(engine.position(), EVENTS_PER_READ)?;
        if chunk.is_empty() {
            break;
        }
        events += chunk.len();
        chunk.into_iter().for_each(|event| engine.handle_event(event));
    }
    tracing::info!(snapshot.position = from, events, "engine restored");
    Ok((engine, from))
}

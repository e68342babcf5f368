//! Brings waiting blocks to disk, in order, as far as the disk takes them.

use super::backlog::Backlog;
use super::store::{Door, Refusal, Store};
use super::{DiskView, Refused, lock};
use std::sync::{Arc, Mutex};
use vedette_edge::recorder::Recorded;

/// The recorder's disk without its thread.
pub(super) struct Writer<D: Door> {
    backlog: Arc<Mutex<Backlog>>,
    store: Store<D>,
    last_error: Option<String>,
    refused: Option<Refused>,
}

impl<D: Door> Writer<D> {
    /// Looks at the disk, and writes nothing.
    pub(super) fn new(backlog: Arc<Mutex<Backlog>>, mut store: Store<D>) -> Self {
        let last_error = store.look().err().map(|error| error.to_string());
        Self { backlog, store, last_error, refused: None }
    }

    /// Writes all that waits, or as much as the disk takes.
    pub(super) fn write_waiting(&mut self) {
        while let Some(recorded) = self.next() {
            let written = self.store.append(&recorded);
            self.last_error = written.as_ref().err().map(ToString::to_string);
            self.note(&written, recorded.sealed.begin_ms);
            let mut backlog = lock(&self.backlog);
            match written {
                Ok(()) => backlog.settle(),
                Err(Refusal::TooLarge) => backlog.refuse(recorded),
                Err(Refusal::Failed(_)) => {
                    backlog.give_back(recorded);
                    return;
                }
            }
        }
    }

    fn note(&mut self, written: &Result<(), Refusal>, begin_ms: i64) {
        match (written, &mut self.refused) {
            (Ok(()), Some(refused)) => refused.goes_on = false,
            (Err(Refusal::Failed(error)), refused) => {
                let since_ms =
                    refused.as_ref().filter(|before| before.goes_on).map_or(begin_ms, |before| before.since_ms);
                *refused = Some(Refused { since_ms, goes_on: true, why: error.to_string() });
            }
            (Ok(()), None) | (Err(Refusal::TooLarge), _) => {}
        }
    }

    /// The loop must never wait for the disk: the lock is not held meanwhile.
    fn next(&self) -> Option<Recorded> {
        lock(&self.backlog).take()
    }

    /// Has the operating system write what it holds.
    pub(super) fn close(self) {
        self.store.close();
    }

    /// What there is, but for what became of blocks.
    pub(super) fn view(&self) -> DiskView {
        DiskView {
            last_error: self.last_error.clone().or_else(|| self.store.trouble().map(str::to_owned)),
            refused: self.refused.clone(),
            ..self.store.view().clone()
        }
    }
}

#[cfg(test)]
mod tests;

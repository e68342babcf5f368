//! The flight recorder's disk: a thread that appends sealed blocks to segments, and readers of what is there.
//!
//! Nothing here decides what is recorded (`edge::recorder` does), and nothing here keeps the agent from starting: a disk
//! that refuses is said, and the recorder goes on in memory.

pub mod read;
pub mod segment;
pub mod store;

use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;
use store::Store;
use vedette_edge::recorder::Recorded;
use vedette_protocol::series::SeriesMeta;

/// Sealed blocks on their way to the disk. There is one a minute, or a few in a storm.
pub(crate) const QUEUE: usize = 8;
/// Longest wait for the last write.
const LAST_WRITE_MAX: Duration = Duration::from_secs(2);
/// Folder under the agent's data directory.
pub const FOLDER: &str = "recorder";

/// What is on disk, for `status`. Counts are since start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskView {
    /// Bytes of all segments.
    pub bytes: u64,
    /// Segments.
    pub segments: u64,
    /// Blocks written.
    pub blocks_written: u64,
    /// Blocks that could not be written, or came faster than the disk took them.
    pub blocks_lost: u64,
    /// Bytes cut off at start because the last write before it was not whole.
    pub torn_bytes: u64,
    /// Segments at start that are none, left alone.
    pub segments_damaged: u64,
    /// Segments deleted to stay within the bound.
    pub segments_deleted: u64,
    /// Why the last write, or the start, failed.
    pub last_error: Option<String>,
}

/// Meanings of series' numbers without the block that they came with. As many as there are series.
#[derive(Debug, Default)]
struct Owed {
    defined: BTreeMap<u32, SeriesMeta>,
    ended: BTreeSet<u32>,
}

impl Owed {
    fn take(&mut self, recorded: Recorded) {
        self.defined.extend(recorded.defined);
        for id in recorded.ended {
            // Nobody was ever told of it: nobody needs to hear of its end.
            if self.defined.remove(&id).is_none() {
                self.ended.insert(id);
            }
        }
    }

    /// Says first what was owed.
    fn pay(&mut self, recorded: &mut Recorded) {
        recorded.defined.splice(0..0, std::mem::take(&mut self.defined));
        recorded.ended.splice(0..0, std::mem::take(&mut self.ended));
    }
}

/// The loop's end of the thread.
#[derive(Debug)]
pub struct RecorderDisk {
    queue: Option<mpsc::SyncSender<Recorded>>,
    /// What the blocks that found no room have said of series' numbers: the next one says it.
    owed: Owed,
    /// Breaks when the thread has ended.
    ended: Option<mpsc::Receiver<()>>,
    view: Arc<Mutex<DiskView>>,
}

impl RecorderDisk {
    /// Opens `data_dir/recorder` and starts the thread; what fails is in [`RecorderDisk::view`].
    pub fn open(data_dir: &Path, bytes_max: u64) -> Self {
        let view = Arc::new(Mutex::new(DiskView::default()));
        let opened = Store::open(&data_dir.join(FOLDER), bytes_max).and_then(|store| Self::start(store, &view));
        match opened {
            Ok((queue, ended)) => Self { queue: Some(queue), owed: Owed::default(), ended: Some(ended), view },
            Err(error) => {
                tracing::warn!(%error, "the flight recorder has no disk: it goes on in memory");
                lock(&view).last_error = Some(error.to_string());
                Self { queue: None, owed: Owed::default(), ended: None, view }
            }
        }
    }

    fn start(
        mut store: Store,
        view: &Arc<Mutex<DiskView>>,
    ) -> std::io::Result<(mpsc::SyncSender<Recorded>, mpsc::Receiver<()>)> {
        lock(view).clone_from(store.view());
        let (queue, recorded) = mpsc::sync_channel::<Recorded>(QUEUE);
        let (ending, ended) = mpsc::channel();
        let view = Arc::clone(view);
        thread::Builder::new().name("recorder".to_owned()).stack_size(256 << 10).spawn(move || {
            for one in recorded {
                let failed_before = store.view().last_error.is_some();
                store.append(&one);
                if let Some(error) = store.view().last_error.as_ref().filter(|_| !failed_before) {
                    tracing::warn!(error, "the flight recorder cannot write: blocks are lost until it can");
                }
                // Blocks that never came here are counted by the loop.
                let refused = lock(&view).blocks_lost.saturating_sub(store.view().blocks_lost);
                let mut told = store.view().clone();
                told.blocks_lost += refused;
                *lock(&view) = told;
            }
            store.close();
            drop(ending);
        })?;
        Ok((queue, ended))
    }

    /// Whether blocks that are handed over get anywhere.
    pub fn is_open(&self) -> bool {
        self.queue.is_some()
    }

    /// Hands a block over; never waits. Of one that finds no room the samples are lost, not what its numbers mean.
    pub fn put(&mut self, mut recorded: Recorded) {
        let Some(queue) = &self.queue else { return };
        self.owed.pay(&mut recorded);
        if let Err(mpsc::TrySendError::Full(recorded) | mpsc::TrySendError::Disconnected(recorded)) =
            queue.try_send(recorded)
        {
            lock(&self.view).blocks_lost += 1;
            self.owed.take(recorded);
        }
    }

    /// What is on disk.
    pub fn view(&self) -> DiskView {
        lock(&self.view).clone()
    }
}

impl Drop for RecorderDisk {
    /// Waits for what was handed over; a disk that hangs is left behind.
    fn drop(&mut self) {
        drop(self.queue.take());
        if let Some(ended) = self.ended.take() {
            // Nothing is ever sent: it breaks, or time is up.
            let _ = ended.recv_timeout(LAST_WRITE_MAX);
        }
    }
}

fn lock(view: &Mutex<DiskView>) -> MutexGuard<'_, DiskView> {
    // Plain numbers: whole whatever happened to who held it.
    view.lock().unwrap_or_else(PoisonError::into_inner)
}

#[cfg(test)]
mod tests {
    use super::*;
    use vedette_edge::recorder::Sealed;
    use vedette_protocol::series::SeriesKind;

    fn recorded(defined: &[u32], ended: &[u32]) -> Recorded {
        let meta = |id: &u32| SeriesMeta {
            metric: format!("series {id}"),
            unit: "1".to_owned(),
            kind: SeriesKind::Gauge,
            attributes: Vec::new(),
            resolution: 1.0,
            lower: 0.0,
            upper: 1.0,
        };
        let defined = defined.iter().map(|id| (*id, meta(id))).collect();
        Recorded { sealed: Arc::new(Sealed::default()), defined, ended: ended.to_vec() }
    }

    #[test]
    fn a_block_that_finds_no_room_takes_no_name_with_it() {
        let (queue, taken) = mpsc::sync_channel(1);
        let mut disk = RecorderDisk { queue: Some(queue), owed: Owed::default(), ended: None, view: Arc::default() };
        disk.put(recorded(&[1], &[]));
        disk.put(recorded(&[2], &[1]));
        disk.put(recorded(&[3, 4], &[2]));
        assert_eq!(disk.view().blocks_lost, 2);
        let names = |recorded: Recorded| (recorded.defined.iter().map(|(id, _)| *id).collect(), recorded.ended);
        assert_eq!(names(taken.try_recv().expect("the first")), (vec![1], vec![]));
        disk.put(recorded(&[5], &[4]));
        let told: (Vec<_>, Vec<_>) = names(taken.try_recv().expect("the next that fits"));
        assert_eq!(told, (vec![3, 4, 5], vec![1, 4]), "2 came and went unseen");
        disk.put(recorded(&[], &[]));
        assert_eq!(names(taken.try_recv().expect("all is told")), (vec![], vec![]));
    }
}

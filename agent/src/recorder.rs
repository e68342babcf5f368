//! The flight recorder's disk: a thread that appends sealed blocks to segments, and readers of what is there.
//!
//! Nothing here decides what is recorded (`edge::recorder` does), and nothing here keeps the agent from starting: a disk
//! that refuses is said, blocks wait as long as memory has them, and each new one is a reason to try again.

pub mod backlog;
pub mod read;
pub mod segment;
pub mod store;
mod writer;

use backlog::Backlog;
use serde::{Deserialize, Serialize};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc};
use std::thread;
use std::time::Duration;
use store::Store;
use vedette_edge::recorder::Recorded;
use writer::Writer;

/// Longest wait for the last write.
const LAST_WRITE_MAX: Duration = Duration::from_secs(2);
/// Folder under the agent's data directory.
pub const FOLDER: &str = "recorder";

/// What is on disk, for `status`. Counts are since start; of the blocks that were sealed each is written, waits, was
/// forgotten, or was too large.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(default)]
pub struct DiskView {
    /// Bytes of all segments.
    pub bytes: u64,
    /// Segments.
    pub segments: u64,
    /// Blocks written.
    pub blocks_written: u64,
    /// Blocks that the disk does not have yet.
    pub blocks_waiting: u64,
    /// Blocks that are lost because memory forgot them before the disk took them.
    pub blocks_forgotten: u64,
    /// Blocks that are lost because no record has room for them.
    pub blocks_too_large: u64,
    /// Bytes cut off at start, or when the folder came back, because the last write before it was not whole.
    pub torn_bytes: u64,
    /// Last segments then that are none, left alone.
    pub segments_damaged: u64,
    /// Segments deleted to stay within the bound.
    pub segments_deleted: u64,
    /// When blocks were refused last.
    pub refused: Option<Refused>,
    /// First and last moment of the blocks that were forgotten with no written one between them, the last ones;
    /// milliseconds since the Unix epoch by the host's wall clock.
    pub forgotten_ms: Option<(i64, i64)>,
    /// The same of what was written to segments that are not there any more though nobody here deleted them: to a folder
    /// that was exchanged for another.
    pub gone_ms: Option<(i64, i64)>,
    /// Why the last write, or the start, failed.
    pub last_error: Option<String>,
}

/// Why the disk took no blocks, for a while or still.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Refused {
    /// Begin of the first of them, milliseconds since the Unix epoch by the host's wall clock.
    pub since_ms: i64,
    /// Whether it has taken none since.
    pub goes_on: bool,
    /// What it said last.
    pub why: String,
}

impl DiskView {
    /// Blocks that will never be on disk.
    pub fn blocks_lost(&self) -> u64 {
        self.blocks_forgotten + self.blocks_too_large
    }
}

/// The loop's end of the thread.
#[derive(Debug)]
pub struct RecorderDisk {
    backlog: Arc<Mutex<Backlog>>,
    /// Something waits.
    wake: Option<mpsc::SyncSender<()>>,
    /// Breaks when the thread has ended.
    ended: Option<mpsc::Receiver<()>>,
    view: Arc<Mutex<DiskView>>,
}

impl RecorderDisk {
    /// Opens `data_dir/recorder` and starts the thread; what fails is in [`RecorderDisk::view`].
    pub fn open(data_dir: &Path, bytes_max: u64) -> Self {
        let backlog = Arc::default();
        let writer = Writer::new(Arc::clone(&backlog), Store::new(data_dir.join(FOLDER), bytes_max));
        let view = Arc::new(Mutex::new(writer.view()));
        if let Some(error) = &lock(&view).last_error {
            tracing::warn!(error, "the flight recorder has no disk yet: it goes on in memory");
        }
        match start(writer, &view) {
            Ok((wake, ended)) => Self { backlog, wake: Some(wake), ended: Some(ended), view },
            Err(error) => {
                tracing::warn!(%error, "the flight recorder has no thread for its disk: it goes on in memory");
                lock(&view).last_error = Some(error.to_string());
                Self { backlog, wake: None, ended: None, view }
            }
        }
    }

    /// Hands a block over; never waits.
    pub fn put(&mut self, recorded: Recorded) {
        lock(&self.backlog).put(recorded);
        if let Some(wake) = &self.wake {
            // Full: the thread is to wake up already. Broken: it has ended, and the block waits in vain, which is told.
            let _ = wake.try_send(());
        }
    }

    /// What is on disk and what waits for it.
    pub fn view(&self) -> DiskView {
        let view = lock(&self.view).clone();
        let backlog = lock(&self.backlog);
        let counts = backlog.counts();
        DiskView {
            blocks_written: counts.written,
            blocks_waiting: backlog.waiting(),
            blocks_forgotten: counts.forgotten,
            blocks_too_large: counts.too_large,
            forgotten_ms: backlog.forgotten_ms(),
            ..view
        }
    }

    /// From when on the disk lacks blocks, milliseconds since the Unix epoch; [`i64::MAX`] if it has them all.
    pub fn lacking_from_ms(&self) -> i64 {
        lock(&self.backlog).from_ms()
    }
}

fn start(
    mut writer: Writer<PathBuf>,
    view: &Arc<Mutex<DiskView>>,
) -> std::io::Result<(mpsc::SyncSender<()>, mpsc::Receiver<()>)> {
    let (wake, woken) = mpsc::sync_channel::<()>(1);
    let (ending, ended) = mpsc::channel();
    let view = Arc::clone(view);
    thread::Builder::new().name("recorder".to_owned()).stack_size(256 << 10).spawn(move || {
        for () in woken {
            writer.write_waiting();
            let told = writer.view();
            let failed_before = std::mem::replace(&mut *lock(&view), told.clone()).last_error.is_some();
            if let Some(error) = told.last_error.filter(|_| !failed_before) {
                tracing::warn!(error, "the flight recorder cannot write: blocks wait as long as memory has them");
            }
        }
        writer.close();
        drop(ending);
    })?;
    Ok((wake, ended))
}

impl Drop for RecorderDisk {
    /// Waits for what was handed over; a disk that hangs is left behind.
    fn drop(&mut self) {
        drop(self.wake.take());
        if let Some(ended) = self.ended.take() {
            // Nothing is ever sent: it breaks, or time is up.
            let _ = ended.recv_timeout(LAST_WRITE_MAX);
        }
        let waiting = lock(&self.backlog).waiting();
        if waiting > 0 {
            tracing::warn!(blocks = waiting, "the flight recorder's disk did not take the last blocks: they are lost");
        }
    }
}

fn lock<T>(held: &Mutex<T>) -> MutexGuard<'_, T> {
    // Whole after each call whatever happened to who held it.
    held.lock().unwrap_or_else(PoisonError::into_inner)
}

//! The flight recorder: everything that was collected, at the rate at which it was collected, so that shipping less
//! loses nothing.
//!
//! Samples, counts per log template and masked log lines fill a block; once a minute, or sooner if there are many, it is
//! sealed ([`crate::codec`]), kept in a ring of bounded bytes, and handed to the shell for the disk. The ring forgets the
//! oldest block first. A template has a sample only for ticks in which it had lines; the row of all lines has one for
//! every tick, zeros included, so silence and absence differ.

mod search;
mod sent;

pub use search::{Search, Window};
pub(crate) use sent::Sent;

use crate::codec::{self, Column};
use crate::room;
use serde::{Deserialize, Serialize};
use std::collections::VecDeque;
use std::sync::Arc;
use vedette_protocol::ids::SeriesKey;
use vedette_protocol::series::SeriesMeta;

/// A block is sealed when it is this old.
pub const BLOCK_MS: i64 = 60_000;
/// Samples of a block at which it is sealed before its time, at most: half a megabyte while they wait.
const BLOCK_SAMPLES: usize = 32_768;
/// The same with very little memory.
const BLOCK_SAMPLES_MIN: usize = 2_048;
/// Bytes of log lines in one block; more are left out and counted.
const LINE_BYTES: usize = 64 << 10;
/// What a waiting sample takes.
const SAMPLE_BYTES: usize = 16;
/// Blocks that wait for the shell; it takes them after every tick.
const OUTBOX_MAX: usize = 16;
/// Samples of one series in a block, read each second.
const SERIES_SAMPLES: usize = 64;
/// What a sample comes to in a block if nothing can be predicted, and what a series does beside its samples.
const CODED_SAMPLE_BYTES: usize = 10;
const CODED_SERIES_BYTES: usize = 32;

/// How much is kept, and whether there is a disk for more.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecorderConfig {
    /// Bytes of sealed blocks and of samples that wait for their block; 0 keeps the blocks that fill only.
    pub memory_bytes: usize,
    /// Whether the shell takes sealed blocks.
    pub to_disk: bool,
}

/// A sealed block.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Sealed {
    /// Time of the first sample or line, milliseconds since the Unix epoch by the host's wall clock.
    pub begin_ms: i64,
    /// Time of the last one.
    pub end_ms: i64,
    /// Samples.
    pub samples: u32,
    /// Their block, see [`codec::decode`]; series go by the recorder's numbers.
    pub block: Vec<u8>,
    /// Masked log lines.
    pub lines: Vec<Line>,
}

/// A masked log line.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct Line {
    /// When it was read, milliseconds since the Unix epoch by the host's wall clock.
    pub at_ms: i64,
    /// Masked path of its log.
    pub source: String,
    /// Its text.
    pub text: String,
}

/// A sealed block on its way to disk, with what its numbers mean.
#[derive(Clone, Debug, PartialEq)]
pub struct Recorded {
    /// The block.
    pub sealed: Arc<Sealed>,
    /// Series that got their number since the last block.
    pub defined: Vec<(u32, SeriesMeta)>,
    /// Numbers that no later block will use.
    pub ended: Vec<u32>,
}

/// What was recorded, and what was left out, since start.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecorderCounts {
    /// Samples recorded.
    pub samples: u64,
    /// Blocks sealed.
    pub blocks: u64,
    /// Bytes of the samples' blocks.
    pub block_bytes: u64,
    /// Log lines recorded.
    pub lines: u64,
    /// Log lines left out because their block had no room for more.
    pub lines_left_out: u64,
    /// Sealed blocks that nobody took to disk in time.
    pub blocks_not_taken: u64,
}

/// What the ring holds now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RecorderExtent {
    /// Bytes, waiting samples included.
    pub bytes: usize,
    /// Time of the oldest sample in memory; `None` if there is none.
    pub begin_ms: Option<i64>,
}

/// A series of the recorder, and its samples that wait.
#[derive(Debug, Default)]
struct Track {
    id: u32,
    key: Option<SeriesKey>,
    resolution: f64,
    times_ms: Vec<i64>,
    values: Vec<f64>,
}

/// The two sorts of series, each with small numbers of its own that are used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sort {
    /// Series of metrics, by their slot.
    Metric,
    /// Log templates, by their row.
    Template,
}

/// See the module's documentation.
#[derive(Debug)]
pub struct Recorder {
    config: RecorderConfig,
    next_id: u32,
    tracks: [Vec<Track>; 2],
    /// Tracks whose place was taken by another series while they had samples.
    left: Vec<Track>,
    defined: Vec<(u32, SeriesMeta)>,
    ended: Vec<u32>,
    waiting: usize,
    begun_ms: Option<i64>,
    lines: Vec<Line>,
    line_bytes: usize,
    ring: VecDeque<Arc<Sealed>>,
    ring_bytes: usize,
    outbox: VecDeque<Recorded>,
    counts: RecorderCounts,
}

impl Recorder {
    /// An empty one.
    pub fn new(config: RecorderConfig) -> Self {
        Self {
            config,
            next_id: 0,
            tracks: [Vec::new(), Vec::new()],
            left: Vec::new(),
            defined: Vec::new(),
            ended: Vec::new(),
            waiting: 0,
            begun_ms: None,
            lines: Vec::new(),
            line_bytes: 0,
            ring: VecDeque::new(),
            ring_bytes: 0,
            outbox: VecDeque::new(),
            counts: RecorderCounts::default(),
        }
    }

    /// Bytes of the heap that a recorder of so many series takes at most, whose meanings are of `names_bytes` together.
    pub(crate) fn bytes_max(config: &RecorderConfig, series: usize, names_bytes: usize) -> usize {
        let waiting = 2 * (SERIES_SAMPLES * size_of::<i64>() + room::BLOCK);
        let block = Self::block_bytes_max(series);
        let to_disk = room::list::<(u32, SeriesMeta)>(series) + names_bytes + OUTBOX_MAX * block;
        config.memory_bytes
            + 2 * room::list::<Track>(series)
            + series * waiting
            + room::list::<Column<'_>>(series)
            + 2 * block
            + if config.to_disk { to_disk } else { 0 }
    }

    /// Bytes of the largest block that is sealed.
    pub fn block_bytes_max(series: usize) -> usize {
        (BLOCK_SAMPLES + series) * CODED_SAMPLE_BYTES + series * CODED_SERIES_BYTES + LINE_BYTES
    }

    /// One sample of the series at `place`. Allocates nothing once the series is known and has seen a block.
    pub fn sample(
        &mut self,
        (sort, place): (Sort, u32),
        key: SeriesKey,
        resolution: f64,
        (at_ms, value): (i64, f64),
        meta: impl FnOnce() -> Option<SeriesMeta>,
    ) {
        let (sort, place) = (sort as usize, place as usize);
        if self.tracks[sort].len() <= place {
            self.tracks[sort].resize_with(place + 1, Track::default);
        }
        if self.tracks[sort][place].key != Some(key) {
            let Some(meta) = meta() else { return };
            self.replace(sort, place, key, meta);
        }
        let track = &mut self.tracks[sort][place];
        track.resolution = resolution;
        track.times_ms.push(at_ms);
        track.values.push(value);
        self.waiting += 1;
        self.counts.samples += 1;
        self.begun_ms.get_or_insert(at_ms);
    }

    /// Another series is at this place from now on.
    fn replace(&mut self, sort: usize, place: usize, key: SeriesKey, meta: SeriesMeta) {
        let new = Track { id: self.next_id, key: Some(key), ..Track::default() };
        self.next_id = self.next_id.wrapping_add(1);
        let old = std::mem::replace(&mut self.tracks[sort][place], new);
        if old.key.is_some() && self.config.to_disk {
            self.ended.push(old.id);
        }
        if !old.values.is_empty() {
            self.left.push(old);
        }
        if self.config.to_disk {
            self.defined.push((self.tracks[sort][place].id, meta));
        }
    }

    /// One masked log line, as long as its block has room.
    pub fn line(&mut self, at_ms: i64, source: &str, text: &str) {
        let bytes = source.len() + text.len() + size_of::<Line>();
        if self.line_bytes + bytes > LINE_BYTES.min(self.line_bytes_max()) {
            self.counts.lines_left_out += 1;
            return;
        }
        self.line_bytes += bytes;
        self.lines.push(Line { at_ms, source: source.to_owned(), text: text.to_owned() });
        self.counts.lines += 1;
        self.begun_ms.get_or_insert(at_ms);
    }

    /// A sixteenth of the memory, so that a flood of lines leaves the samples their minutes.
    fn line_bytes_max(&self) -> usize {
        if self.config.to_disk { LINE_BYTES } else { self.config.memory_bytes / 16 }
    }

    /// A tick is over: seals the block if it is full, or old enough by `now_ms`. A clock that was set back seals it, too.
    pub fn tick(&mut self, now_ms: i64) {
        let Some(begun_ms) = self.begun_ms else { return };
        let most = (self.config.memory_bytes / 4 / SAMPLE_BYTES).clamp(BLOCK_SAMPLES_MIN, BLOCK_SAMPLES);
        if self.waiting >= most || !(0..BLOCK_MS).contains(&now_ms.saturating_sub(begun_ms)) {
            self.seal();
        }
    }

    /// Ends the block that fills.
    pub fn seal(&mut self) {
        let left = std::mem::take(&mut self.left);
        let filled = self.tracks.iter().flatten().chain(&left).filter(|track| !track.values.is_empty());
        let columns: Vec<_> = filled.map(Track::column).collect();
        let (mut sealed, mut lines) = (Vec::new(), std::mem::take(&mut self.lines));
        for part in parts(&columns) {
            sealed.extend(seal(part, std::mem::take(&mut lines)));
        }
        if !lines.is_empty() {
            sealed.extend(seal(&[], lines));
        }
        for track in self.tracks.iter_mut().flatten() {
            track.times_ms.clear();
            track.values.clear();
        }
        (self.waiting, self.line_bytes, self.begun_ms) = (0, 0, None);
        sealed.into_iter().for_each(|sealed| self.keep(sealed));
    }

    fn keep(&mut self, sealed: Sealed) {
        let sealed = Arc::new(sealed);
        self.counts.blocks += 1;
        self.counts.block_bytes += sealed.block.len() as u64;
        if self.config.to_disk {
            if self.outbox.len() >= OUTBOX_MAX {
                // What its numbers mean is still needed.
                if let Some(lost) = self.outbox.pop_front() {
                    self.counts.blocks_not_taken += 1;
                    self.defined.splice(0..0, lost.defined);
                    self.ended.splice(0..0, lost.ended);
                }
            }
            let (defined, ended) = (std::mem::take(&mut self.defined), std::mem::take(&mut self.ended));
            self.outbox.push_back(Recorded { sealed: Arc::clone(&sealed), defined, ended });
        }
        self.ring_bytes += sealed.bytes();
        self.ring.push_back(sealed);
        while self.ring_bytes > self.config.memory_bytes.saturating_sub(self.waiting * SAMPLE_BYTES) {
            let Some(oldest) = self.ring.pop_front() else { break };
            self.ring_bytes -= oldest.bytes();
        }
    }

    /// The next sealed block for the disk.
    pub fn poll_recorded(&mut self) -> Option<Recorded> {
        self.outbox.pop_front()
    }

    /// From when on samples are in no sealed block that was handed out: in memory only, whatever the disk does.
    pub fn unwritten_from_ms(&self) -> i64 {
        if self.config.to_disk { self.begun_ms.unwrap_or(i64::MAX) } else { i64::MIN }
    }

    /// What was recorded and left out.
    pub fn counts(&self) -> RecorderCounts {
        self.counts
    }

    /// What is in memory.
    pub fn extent(&self) -> RecorderExtent {
        RecorderExtent {
            bytes: self.ring_bytes + self.waiting * SAMPLE_BYTES + self.line_bytes,
            begin_ms: self.ring.front().map(|sealed| sealed.begin_ms).or(self.begun_ms),
        }
    }
}

impl Track {
    fn column(&self) -> Column<'_> {
        Column { id: self.id, resolution: self.resolution, times_ms: &self.times_ms, values: &self.values }
    }
}

impl Sealed {
    /// What it takes in memory.
    fn bytes(&self) -> usize {
        let lines = self.lines.iter().map(|line| line.source.len() + line.text.len() + size_of::<Line>());
        size_of::<Self>() + self.block.len() + lines.sum::<usize>()
    }
}

/// Columns in parts that fit a block each.
fn parts<'a, 'b>(mut columns: &'a [Column<'b>]) -> impl Iterator<Item = &'a [Column<'b>]> {
    std::iter::from_fn(move || {
        let mut samples = 0;
        let fits = columns.iter().take(codec::SERIES_MAX).take_while(|column| {
            samples += column.values.len();
            samples <= codec::SAMPLES_MAX
        });
        // A track is sealed long before it alone fills a block.
        let count = fits.count().max(1).min(columns.len());
        let (part, rest) = columns.split_at(count);
        columns = rest;
        (!part.is_empty()).then_some(part)
    })
}

fn seal(columns: &[Column<'_>], lines: Vec<Line>) -> Option<Sealed> {
    let times =
        || columns.iter().flat_map(|column| column.times_ms).copied().chain(lines.iter().map(|line| line.at_ms));
    let (begin_ms, end_ms) = (times().min()?, times().max()?);
    let mut block = Vec::new();
    codec::encode(columns, &mut block).ok()?;
    let samples = columns.iter().map(|column| column.values.len()).sum::<usize>();
    Some(Sealed { begin_ms, end_ms, samples: u32::try_from(samples).unwrap_or(u32::MAX), block, lines })
}

#[cfg(test)]
mod tests;

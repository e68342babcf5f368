//! The segments on disk: appended to, bounded in bytes, oldest deleted first.
//!
//! Each start begins a new segment, so damage of an earlier one is never written to. What the operating system had not
//! written when the power failed is lost with the block it belonged to; everything before it can be read.

use super::DiskView;
use super::segment::{Entry, MAGIC, Records, append};
use crate::spool::files::{Files, Folder};
use std::collections::{BTreeMap, VecDeque};
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use vedette_edge::recorder::Recorded;
use vedette_protocol::series::SeriesMeta;

/// A sixteenth of the bound, within these: deleting one segment frees little enough, and defining the series anew at its
/// begin costs little enough.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=4 << 20;
/// Segments at most, however small restarts made them.
const SEGMENTS_MAX: usize = 1_024;
/// Largest segment that is read: one that had just room for the largest record.
pub const SEGMENT_READ_MAX: u64 = 32 << 20;
const EXTENSION: &str = ".seg";
/// Segments that went away of which it is known what they hold.
const GONE_MAX: usize = 64;

/// Where the folder is found, again after each failure and when it is another one: what was mounted there may have gone
/// and come back.
pub trait Door {
    /// What the folder is then reached through.
    type Files: Files;

    /// Opens it.
    ///
    /// # Errors
    ///
    /// Of the file system.
    fn open(&self) -> io::Result<Self::Files>;

    /// Whether these are still the files that it opens.
    fn leads_to(&self, files: &Self::Files) -> bool;
}

/// A folder of its own (0700), made if it is not there.
impl Door for PathBuf {
    type Files = Folder;

    fn open(&self) -> io::Result<Folder> {
        Folder::open(self, Duration::ZERO)
    }

    fn leads_to(&self, files: &Folder) -> bool {
        files.is_at(self)
    }
}

/// Why a block was not written.
#[derive(Debug, thiserror::Error)]
pub enum Refusal {
    /// It never will be.
    #[error("a block is larger than a record may be")]
    TooLarge,
    /// It may be later; nothing of it is left on disk that a reader takes for whole.
    #[error(transparent)]
    Failed(#[from] io::Error),
}

/// Appends blocks and keeps within a bound.
#[derive(Debug)]
pub struct Store<D: Door> {
    door: D,
    files: Option<D::Files>,
    bytes_max: u64,
    segments: VecDeque<Segment>,
    /// Those that this one has written and did not delete, and that are not there.
    gone: VecDeque<Segment>,
    /// Whether the last of them is written to.
    is_open: bool,
    /// The next segment's number; `None` until the folder was looked into.
    next: Option<u64>,
    /// What the numbers of series that have not ended mean.
    names: BTreeMap<u32, SeriesMeta>,
    trouble: Option<String>,
    view: DiskView,
}

#[derive(Clone, Debug)]
struct Segment {
    name: String,
    bytes: u64,
    /// First and last moment of what this one wrote to it, milliseconds since the Unix epoch.
    span_ms: Option<(i64, i64)>,
}

/// Segments of a folder with their bytes, oldest first. Other files are left alone.
///
/// # Errors
///
/// Of the file system.
pub fn segments(folder: &Path) -> io::Result<Vec<(u64, PathBuf, u64)>> {
    let mut found = Vec::new();
    for entry in fs::read_dir(folder)? {
        let entry = entry?;
        let Some(number) = entry.file_name().to_str().and_then(number_of) else { continue };
        found.push((number, entry.path(), entry.metadata()?.len()));
    }
    found.sort_unstable();
    Ok(found)
}

/// From the begin of the earlier to the end of the later.
fn union(one: (i64, i64), other: (i64, i64)) -> (i64, i64) {
    (one.0.min(other.0), one.1.max(other.1))
}

fn number_of(name: &str) -> Option<u64> {
    name.strip_suffix(EXTENSION)?.parse().ok()
}

impl<D: Door> Store<D> {
    /// Nothing is looked at before [`Store::look`] or the first block.
    pub fn new(door: D, bytes_max: u64) -> Self {
        Self {
            door,
            files: None,
            bytes_max,
            segments: VecDeque::new(),
            gone: VecDeque::new(),
            is_open: false,
            next: None,
            names: BTreeMap::new(),
            trouble: None,
            view: DiskView::default(),
        }
    }

    /// Opens the folder, unless it is open and where it was, and takes in what it holds, which may be another's than before:
    /// cuts a torn last segment at its last whole record, deletes what is beyond the bound. A segment that cannot be read
    /// stays until its turn to be deleted comes.
    ///
    /// # Errors
    ///
    /// Of the file system: the folder cannot be made or listed.
    pub fn look(&mut self) -> io::Result<()> {
        if self.files.as_ref().is_some_and(|files| self.door.leads_to(files)) {
            return Ok(());
        }
        // The lock of the one that is open must not stand in the way.
        self.files = None;
        let mut files = self.door.open()?;
        let found = files.list()?.into_iter().filter_map(|(name, bytes)| Some((number_of(&name)?, name, bytes)));
        let mut found: Vec<_> = found.collect();
        found.sort_unstable();
        let next = found.last().map_or(1, |(number, _, _)| number.saturating_add(1));
        // A number is used once, in whichever folder.
        self.next = self.next.max(Some(next));
        let is_writing = self.segments.back().map(|last| (last.name.clone(), last.bytes)).filter(|_| self.is_open);
        let last = found.last().map(|(_, name, bytes)| (name.clone(), *bytes));
        let is_known = self.segments.iter().any(|one| last.as_ref() == Some(&(one.name.clone(), one.bytes)));
        self.is_open = is_writing.is_some() && is_writing == last;
        self.take_in(found.into_iter().map(|(_, name, bytes)| Segment { name, bytes, span_ms: None }));
        if !is_known {
            self.mend(&mut files);
        }
        self.files = Some(files);
        self.shrink();
        self.count();
        Ok(())
    }

    /// These are there now, the oldest first; what is known of those that were there before, and are, stays known.
    fn take_in(&mut self, found: impl Iterator<Item = Segment>) {
        let mut known: BTreeMap<String, Segment> =
            self.gone.drain(..).chain(self.segments.drain(..)).map(|one| (one.name.clone(), one)).collect();
        let with_span = |mut one: Segment| {
            one.span_ms = known.remove(&one.name).and_then(|before| before.span_ms);
            one
        };
        self.segments = found.map(with_span).collect();
        self.gone = known.into_values().filter(|one| one.span_ms.is_some()).collect();
        self.gone.drain(..self.gone.len().saturating_sub(GONE_MAX));
        self.view.gone_ms = self.gone.iter().filter_map(|one| one.span_ms).reduce(union);
    }

    /// A segment to which nothing was written is none.
    fn mend(&mut self, files: &mut D::Files) {
        while self.segments.back().is_some_and(|last| last.bytes == 0 && files.remove(&last.name).is_ok()) {
            self.segments.pop_back();
        }
        if let Some(last) = self.segments.back_mut()
            && let Err(error) = last.mend(files, &mut self.view)
        {
            tracing::warn!(%error, file = last.name, "the recorder's last segment is left as it is");
            self.view.segments_damaged += 1;
        }
    }

    /// What there is, but for what became of blocks.
    pub fn view(&self) -> &DiskView {
        &self.view
    }

    /// Why something failed that costs no block.
    pub fn trouble(&self) -> Option<&str> {
        self.trouble.as_deref()
    }

    /// Writes a block.
    ///
    /// # Errors
    ///
    /// If it is not on disk. What its numbers mean has to be said again.
    pub fn append(&mut self, recorded: &Recorded) -> Result<(), Refusal> {
        let mut block = Vec::new();
        if !append(&Entry::Sealed((*recorded.sealed).clone()), &mut block) {
            return Err(Refusal::TooLarge);
        }
        self.names.extend(recorded.defined.iter().cloned());
        let written = self.write(&recorded.defined, &block);
        if let (Ok(()), Some(last)) = (&written, self.segments.back_mut()) {
            let span_ms = (recorded.sealed.begin_ms, recorded.sealed.end_ms);
            last.span_ms = Some(last.span_ms.map_or(span_ms, |before| union(before, span_ms)));
        }
        match &written {
            Ok(()) => recorded.ended.iter().for_each(|id| drop(self.names.remove(id))),
            Err(_) => self.undo(),
        }
        self.shrink();
        self.count();
        Ok(written?)
    }

    /// Has the operating system write what it holds.
    pub fn close(mut self) {
        if let (Some(files), Some(last), true) = (&mut self.files, self.segments.back(), self.is_open) {
            // Whoever reads stops at what is not whole.
            let _ = files.sync(&last.name);
        }
    }

    fn write(&mut self, defined: &[(u32, SeriesMeta)], block: &[u8]) -> io::Result<()> {
        self.look()?;
        let is_full = self.segments.back().is_none_or(|last| last.bytes >= self.segment_bytes());
        let mut bytes = Vec::new();
        if !self.is_open || is_full {
            self.begin()?;
            bytes.extend(MAGIC);
            let all = self.names.iter().map(|(id, meta)| (*id, meta.clone())).collect();
            append(&Entry::Defined(all), &mut bytes);
        } else if !defined.is_empty() {
            append(&Entry::Defined(defined.to_vec()), &mut bytes);
        }
        bytes.extend(block);
        let (Some(files), Some(last)) = (&mut self.files, self.segments.back_mut()) else {
            return Err(io::Error::other("no segment is open"));
        };
        files.write(&last.name, last.bytes, &bytes)?;
        last.bytes += bytes.len() as u64;
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        let (Some(files), Some(next)) = (&mut self.files, &mut self.next) else {
            return Err(io::Error::other("the folder is not open"));
        };
        if let Some(full) = self.segments.back().filter(|_| std::mem::take(&mut self.is_open)) {
            files.sync(&full.name)?;
        }
        let name = format!("{next:012}{EXTENSION}");
        // A number is used once, whatever a failure leaves behind under it.
        *next = next.saturating_add(1);
        files.create(&name)?;
        self.segments.push_back(Segment { name, bytes: 0, span_ms: None });
        self.is_open = true;
        Ok(())
    }

    /// Removes what a failed write has left: a segment that holds nothing must not take the place of one that does. The
    /// folder is opened anew for the next block.
    fn undo(&mut self) {
        let Some(mut files) = self.files.take() else { return };
        let Some(last) = self.segments.back().filter(|_| self.is_open) else { return };
        if last.bytes > 0 && files.truncate(&last.name, last.bytes).is_ok() {
            return;
        }
        self.is_open = false;
        if last.bytes == 0 && files.remove(&last.name).is_ok() {
            self.segments.pop_back();
        }
    }

    fn segment_bytes(&self) -> u64 {
        (self.bytes_max / 16).clamp(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end())
    }

    /// Deletes the oldest until the rest is within the bound; what cannot be deleted is tried again with the next block.
    fn shrink(&mut self) {
        let Some(mut files) = self.files.take() else { return };
        self.trouble = None;
        let writing = usize::from(self.is_open);
        while self.segments.len() > writing && (self.bytes() > self.bytes_max || self.segments.len() > SEGMENTS_MAX) {
            let Some(oldest) = self.segments.pop_front() else { break };
            match files.remove(&oldest.name) {
                Ok(()) => self.view.segments_deleted += 1,
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) => {
                    self.trouble = Some(format!("{}: {error}", oldest.name));
                    self.segments.push_front(oldest);
                    break;
                }
            }
        }
        self.files = Some(files);
    }

    fn bytes(&self) -> u64 {
        self.segments.iter().map(|segment| segment.bytes).sum()
    }

    fn count(&mut self) {
        (self.view.bytes, self.view.segments) = (self.bytes(), self.segments.len() as u64);
    }
}

impl Segment {
    /// Cuts what follows the last whole record.
    fn mend(&mut self, files: &mut impl Files, view: &mut DiskView) -> io::Result<()> {
        if self.bytes > SEGMENT_READ_MAX {
            return Err(io::ErrorKind::FileTooLarge.into());
        }
        let bytes = files.read(&self.name, 0, usize::try_from(self.bytes).unwrap_or(usize::MAX))?;
        let Some(mut records) = Records::new(&bytes) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not begin as a segment"));
        };
        records.by_ref().for_each(drop);
        let good = records.good_bytes() as u64;
        if good < self.bytes {
            files.truncate(&self.name, good)?;
            view.torn_bytes += self.bytes - good;
            self.bytes = good;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

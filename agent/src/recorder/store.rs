//! The segments on disk: appended to, bounded in bytes, oldest deleted first.
//!
//! Each start begins a new segment, so damage of an earlier one is never written to. What the operating system had not
//! written when the power failed is lost with the block it belonged to; everything before it can be read.

use super::DiskView;
use super::segment::{Entry, MAGIC, Records, append};
use crate::durable;
use std::collections::{BTreeMap, VecDeque};
use std::fs::{self, File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use vedette_edge::recorder::Recorded;
use vedette_protocol::series::SeriesMeta;

/// A sixteenth of the bound, within these: deleting one segment frees little enough, and defining the series anew at its
/// begin costs little enough.
const SEGMENT_BYTES: std::ops::RangeInclusive<u64> = 64 << 10..=4 << 20;
/// Segments at most, however small restarts made them.
const SEGMENTS_MAX: usize = 1_024;
/// Largest segment that is read: one that had just room for the largest record.
pub const SEGMENT_READ_MAX: u64 = 32 << 20;
const EXTENSION: &str = "seg";

/// Appends blocks and keeps within a bound.
#[derive(Debug)]
pub struct Store {
    folder: PathBuf,
    bytes_max: u64,
    segments: VecDeque<Segment>,
    open: Option<File>,
    next: u64,
    /// What the numbers of series that have not ended mean.
    names: BTreeMap<u32, SeriesMeta>,
    view: DiskView,
}

#[derive(Clone, Debug, PartialEq, Eq)]
struct Segment {
    path: PathBuf,
    bytes: u64,
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
        let path = entry.path();
        let number = path.file_stem().and_then(|stem| stem.to_str()?.parse::<u64>().ok());
        let Some(number) = number.filter(|_| path.extension().is_some_and(|extension| extension == EXTENSION)) else {
            continue;
        };
        found.push((number, path, entry.metadata()?.len()));
    }
    found.sort_unstable();
    Ok(found)
}

impl Store {
    /// Opens or makes the folder (0700), cuts a torn last segment at its last whole record, deletes what is beyond the
    /// bound. A segment that cannot be read stays until its turn to be deleted comes.
    ///
    /// # Errors
    ///
    /// Of the file system: the folder cannot be made or listed.
    pub fn open(folder: &Path, bytes_max: u64) -> io::Result<Self> {
        durable::make_private_folder(folder)?;
        let found = segments(folder)?;
        let next = found.last().map_or(1, |(number, _, _)| number.saturating_add(1));
        let mut store = Self {
            folder: folder.to_owned(),
            bytes_max,
            segments: found.into_iter().map(|(_, path, bytes)| Segment { path, bytes }).collect(),
            open: None,
            next,
            names: BTreeMap::new(),
            view: DiskView::default(),
        };
        if let Some(last) = store.segments.back_mut()
            && let Err(error) = last.mend(&mut store.view)
        {
            tracing::warn!(%error, file = %last.path.display(), "the recorder's last segment is left as it is");
            store.view.segments_damaged += 1;
        }
        store.shrink();
        store.count();
        Ok(store)
    }

    /// What there is.
    pub fn view(&self) -> &DiskView {
        &self.view
    }

    /// Writes a block. What fails is in the view; the next block is tried all the same.
    pub fn append(&mut self, recorded: &Recorded) {
        self.names.extend(recorded.defined.iter().cloned());
        match self.write(recorded) {
            Ok(()) => {
                self.view.blocks_written += 1;
                self.view.last_error = None;
            }
            Err(error) => {
                self.view.blocks_lost += 1;
                self.view.last_error = Some(error.to_string());
                self.undo();
            }
        }
        recorded.ended.iter().for_each(|id| drop(self.names.remove(id)));
        self.shrink();
        self.count();
    }

    /// Has the operating system write what it holds.
    pub fn close(mut self) {
        if let Some(file) = self.open.take() {
            // Whoever reads stops at what is not whole.
            let _ = file.sync_data();
        }
    }

    fn write(&mut self, recorded: &Recorded) -> io::Result<()> {
        let is_full = self.segments.back().is_none_or(|last| last.bytes >= self.segment_bytes());
        let mut bytes = Vec::new();
        if self.open.is_none() || is_full {
            self.begin()?;
            bytes.extend(MAGIC);
            let all = self.names.iter().map(|(id, meta)| (*id, meta.clone())).collect();
            append(&Entry::Defined(all), &mut bytes);
        } else if !recorded.defined.is_empty() {
            append(&Entry::Defined(recorded.defined.clone()), &mut bytes);
        }
        if !append(&Entry::Sealed((*recorded.sealed).clone()), &mut bytes) {
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, "a block is larger than a record may be"));
        }
        let (Some(file), Some(last)) = (&mut self.open, self.segments.back_mut()) else {
            return Err(io::Error::other("no segment is open"));
        };
        file.write_all(&bytes)?;
        last.bytes += bytes.len() as u64;
        Ok(())
    }

    fn begin(&mut self) -> io::Result<()> {
        if let Some(full) = self.open.take() {
            full.sync_data()?;
        }
        let path = self.folder.join(format!("{:012}.{EXTENSION}", self.next));
        self.open = Some(OpenOptions::new().append(true).create_new(true).mode(0o600).open(&path)?);
        self.next = self.next.saturating_add(1);
        self.segments.push_back(Segment { path, bytes: 0 });
        Ok(())
    }

    /// Removes what a failed write has left: a segment that holds nothing must not take the place of one that does.
    fn undo(&mut self) {
        let (Some(file), Some(last)) = (&self.open, self.segments.back()) else { return };
        if last.bytes > 0 && file.set_len(last.bytes).is_ok() {
            return;
        }
        self.open = None;
        if last.bytes == 0 && fs::remove_file(&last.path).is_ok() {
            self.segments.pop_back();
        }
    }

    fn segment_bytes(&self) -> u64 {
        (self.bytes_max / 16).clamp(*SEGMENT_BYTES.start(), *SEGMENT_BYTES.end())
    }

    /// Deletes the oldest until the rest is within the bound; what cannot be deleted is no longer counted on.
    fn shrink(&mut self) {
        let writing = usize::from(self.open.is_some());
        while self.segments.len() > writing && (self.bytes() > self.bytes_max || self.segments.len() > SEGMENTS_MAX) {
            let Some(oldest) = self.segments.pop_front() else { return };
            match fs::remove_file(&oldest.path) {
                Ok(()) => self.view.segments_deleted += 1,
                Err(error) => self.view.last_error = Some(format!("{}: {error}", oldest.path.display())),
            }
        }
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
    fn mend(&mut self, view: &mut DiskView) -> io::Result<()> {
        let bytes = durable::read_capped(&self.path, SEGMENT_READ_MAX)?;
        let Some(mut records) = Records::new(&bytes) else {
            return Err(io::Error::new(io::ErrorKind::InvalidData, "it does not begin as a segment"));
        };
        records.by_ref().for_each(drop);
        let good = records.good_bytes() as u64;
        if good < self.bytes {
            OpenOptions::new().write(true).open(&self.path)?.set_len(good)?;
            view.torn_bytes += self.bytes - good;
            self.bytes = good;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests;

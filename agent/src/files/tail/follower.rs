//! One open file of a log: reads on from where it stands and cuts lines.

use super::position::{HEAD_BYTES_MAX, Identity, Place};
use super::siblings::FileTime;
use super::{LINE_BYTES_MAX, TailCounts};
use std::fs::File;
use std::io;
use std::os::unix::fs::{FileExt, MetadataExt};
use vedette_protocol::ids::Digest;

/// Bytes that are read at once, beside an unfinished line.
pub(super) const READ_BYTES: usize = 32 * 1_024;
/// Polls without a new byte after which the buffer is given back.
const IDLE_POLLS_MAX: u32 = 60;

/// An open file.
#[derive(Debug)]
pub(super) struct Follower {
    file: File,
    inode: (u64, u64),
    /// The first bytes, as many as there were when they were last looked at.
    head: Vec<u8>,
    /// Where the next read begins.
    offset: u64,
    /// What was read of an unfinished line is at the start of it.
    buffer: Vec<u8>,
    unfinished: usize,
    /// The rest of the line that is being read is left out.
    in_cut_line: bool,
    quiet_polls: u32,
}

/// Whether a file that the path does not name any more can be closed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was written to lately.
    NotYet,
    /// It was quiet for long enough.
    Quiet,
}

impl Follower {
    /// From its first byte.
    pub(super) fn from_start(file: File) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let mut follower = Self {
            file,
            inode: (metadata.dev(), metadata.ino()),
            head: Vec::new(),
            offset: 0,
            buffer: Vec::new(),
            unfinished: 0,
            in_cut_line: false,
            quiet_polls: 0,
        };
        follower.grow_head()?;
        Ok(follower)
    }

    /// From the first line that begins within the last `bytes_max` bytes.
    pub(super) fn from_backlog(file: File, bytes_max: u64, counts: &mut TailCounts) -> io::Result<Self> {
        let skipped = file.metadata()?.len().saturating_sub(bytes_max);
        counts.bytes_skipped += skipped;
        // The line in which reading begins is left out as the rest of a cut one, unless it begins right there.
        let mut before = [b'\n'];
        if skipped > 0 {
            file.read_at(&mut before, skipped - 1)?;
        }
        Ok(Self::from_start(file)?.at(skipped, before != *b"\n"))
    }

    /// From a place of an earlier run.
    pub(super) fn at(mut self, offset: u64, in_cut_line: bool) -> Self {
        (self.offset, self.in_cut_line) = (offset, in_cut_line);
        self
    }

    pub(super) fn inode(&self) -> (u64, u64) {
        self.inode
    }

    pub(super) fn identity(&self) -> Identity {
        let head_bytes = u16::try_from(self.head.len()).expect("a head is short");
        Identity { device: self.inode.0, inode: self.inode.1, head_bytes, head: Digest::of(&self.head) }
    }

    /// Whether it is the file of that identity: it may have grown since.
    pub(super) fn is(&self, identity: &Identity) -> bool {
        let head = self.head.get(..usize::from(identity.head_bytes));
        self.inode == identity.inode() && head.is_some_and(|head| Digest::of(head) == identity.head)
    }

    /// Where the lines handed over so far end.
    pub(super) fn place(&self) -> Place {
        let offset = self.offset - self.unfinished as u64;
        Place { identity: self.identity(), offset, in_cut_line: self.in_cut_line, is_finished: false }
    }

    /// When its content was last changed.
    pub(super) fn changed_at(&self) -> Option<FileTime> {
        self.file.metadata().ok().map(|metadata| (metadata.mtime(), metadata.mtime_nsec()))
    }

    /// Reads at most `bytes_max` bytes that are new and hands over the lines that they end. Returns how many bytes.
    pub(super) fn read(
        &mut self,
        bytes_max: u64,
        counts: &mut TailCounts,
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<u64> {
        let length = self.file.metadata()?.len();
        if length < self.offset || (length > 0 && !self.has_same_head()?) {
            self.restart(counts);
        }
        if length == self.offset {
            self.quiet_polls = self.quiet_polls.saturating_add(1);
            if self.quiet_polls == IDLE_POLLS_MAX && self.unfinished == 0 {
                self.buffer = Vec::new();
            }
            return Ok(0);
        }
        self.grow_head()?;
        let mut left = bytes_max;
        while left > 0 {
            let count = self.read_once(left)?;
            if count == 0 {
                break;
            }
            self.quiet_polls = 0;
            left -= count as u64;
            counts.bytes += count as u64;
            self.cut_lines(count, counts, sink);
        }
        Ok(bytes_max - left)
    }

    pub(super) fn ended(&self, quiet_polls_max: u32) -> Ended {
        if self.quiet_polls >= quiet_polls_max { Ended::Quiet } else { Ended::NotYet }
    }

    /// Polls without a new byte count from now on.
    pub(super) fn await_end(&mut self) {
        self.quiet_polls = 0;
    }

    /// It cannot be read any more.
    pub(super) fn give_up(&mut self) {
        self.quiet_polls = u32::MAX;
    }

    /// Hands over a last line that has no end.
    pub(super) fn finish(&mut self, counts: &mut TailCounts, sink: &mut dyn FnMut(&[u8])) {
        if self.unfinished > 0 && !self.in_cut_line {
            hand_over(&self.buffer[..self.unfinished], counts, sink);
        }
        self.unfinished = 0;
    }

    /// Other first bytes mean that it was cut and written again.
    fn has_same_head(&self) -> io::Result<bool> {
        let mut now = [0; HEAD_BYTES_MAX];
        let count = read_full(&self.file, &mut now[..self.head.len()])?;
        Ok(now[..count] == self.head)
    }

    fn grow_head(&mut self) -> io::Result<()> {
        if self.head.len() < HEAD_BYTES_MAX {
            let mut now = [0; HEAD_BYTES_MAX];
            let count = read_full(&self.file, &mut now)?;
            self.head.clear();
            self.head.extend_from_slice(&now[..count]);
        }
        Ok(())
    }

    fn restart(&mut self, counts: &mut TailCounts) {
        counts.truncations += 1;
        counts.bytes_lost += self.unfinished as u64;
        (self.offset, self.unfinished, self.in_cut_line) = (0, 0, false);
        self.head.clear();
    }

    fn read_once(&mut self, bytes_max: u64) -> io::Result<usize> {
        if self.buffer.is_empty() {
            self.buffer.resize(LINE_BYTES_MAX + READ_BYTES, 0);
        }
        let end =
            self.buffer.len().min(self.unfinished.saturating_add(usize::try_from(bytes_max).unwrap_or(usize::MAX)));
        loop {
            match self.file.read_at(&mut self.buffer[self.unfinished..end], self.offset) {
                Ok(count) => {
                    self.offset += count as u64;
                    return Ok(count);
                }
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
    }

    /// Hands over the lines that end in the `count` bytes that were just read.
    fn cut_lines(&mut self, count: usize, counts: &mut TailCounts, sink: &mut dyn FnMut(&[u8])) {
        let filled = self.unfinished + count;
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &self.buffer[self.unfinished..filled]) {
            let end = self.unfinished + end;
            if std::mem::take(&mut self.in_cut_line) {
                start = end + 1;
                continue;
            }
            hand_over(&self.buffer[start..end], counts, sink);
            start = end + 1;
        }
        self.unfinished = filled - start;
        if !self.in_cut_line && self.unfinished > LINE_BYTES_MAX {
            hand_over(&self.buffer[start..filled], counts, sink);
            self.in_cut_line = true;
        }
        if self.in_cut_line {
            self.unfinished = 0;
        }
        self.buffer.copy_within(filled - self.unfinished..filled, 0);
    }
}

/// Cuts a line that is too long, and takes the carriage return off.
fn hand_over(line: &[u8], counts: &mut TailCounts, sink: &mut dyn FnMut(&[u8])) {
    counts.lines += 1;
    if line.len() > LINE_BYTES_MAX {
        counts.lines_cut += 1;
        sink(&line[..LINE_BYTES_MAX]);
    } else {
        sink(line.strip_suffix(b"\r").unwrap_or(line));
    }
}

fn read_full(file: &File, buffer: &mut [u8]) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

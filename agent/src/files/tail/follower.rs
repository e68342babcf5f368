//! One open file of a log: reads on from where it stands and cuts lines.

use super::event::{Event, Joining};
use super::position::{Content, HEAD_BYTES_MAX, LAST_BYTES_MAX, Place, ShortDigest, short_digest};
use super::siblings::{FileTime, changed_at, inode_of};
use super::{LINE_BYTES_MAX, TailCounts};
use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt;
use vedette_edge::multiline::Part;

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
    /// The last bytes that were read.
    last: Vec<u8>,
    /// Where the next read begins.
    offset: u64,
    /// Its length when it was last looked at.
    length: u64,
    /// What was read of an unfinished line is at the start of it.
    buffer: Vec<u8>,
    unfinished: usize,
    /// The rest of the line that is being read is left out.
    in_cut_line: bool,
    event: Event,
    quiet_polls: u32,
    /// The path names it, or matches its name.
    pub(super) is_named: bool,
}

impl Follower {
    /// From its first byte.
    pub(super) fn from_start(file: File, joining: &Joining) -> io::Result<Self> {
        let metadata = file.metadata()?;
        let mut follower = Self {
            file,
            inode: inode_of(&metadata),
            head: Vec::new(),
            last: Vec::new(),
            offset: 0,
            length: metadata.len(),
            buffer: Vec::new(),
            unfinished: 0,
            in_cut_line: false,
            event: Event::new(joining.clone()),
            quiet_polls: 0,
            is_named: false,
        };
        follower.grow_head()?;
        Ok(follower)
    }

    /// From the first line that begins within the last `bytes_max` bytes.
    pub(super) fn at_backlog(self, bytes_max: u64, counts: &mut TailCounts) -> io::Result<Self> {
        let skipped = self.length.saturating_sub(bytes_max);
        counts.bytes_skipped += skipped;
        // The line in which reading begins is left out as the rest of a cut one, unless it begins right there.
        let mut before = [b'\n'];
        if skipped > 0 {
            self.file.read_at(&mut before, skipped - 1)?;
        }
        self.at(skipped, before != *b"\n")
    }

    /// From a place of an earlier run, or of the file that this one is a copy of.
    pub(super) fn at(mut self, offset: u64, in_cut_line: bool) -> io::Result<Self> {
        (self.offset, self.in_cut_line) = (offset, in_cut_line);
        let mut last = [0; LAST_BYTES_MAX];
        let bytes = LAST_BYTES_MAX.min(usize::try_from(offset).unwrap_or(LAST_BYTES_MAX));
        let count = read_full_at(&self.file, &mut last[..bytes], offset - bytes as u64)?;
        self.last = last[..count].to_vec();
        Ok(self)
    }

    /// Everything that is in it by now was read elsewhere, or is of no interest.
    pub(super) fn at_end(self) -> io::Result<Self> {
        let length = self.length;
        self.at(length, false)
    }

    pub(super) fn inode(&self) -> (u64, u64) {
        self.inode
    }

    /// Its length when it was last looked at.
    pub(super) fn length(&self) -> u64 {
        self.length
    }

    /// When its content was last changed.
    pub(super) fn changed_at(&self) -> FileTime {
        self.file.metadata().map(|metadata| changed_at(&metadata)).unwrap_or_default()
    }

    /// Whether nothing was in it when it was last looked at.
    pub(super) fn is_empty(&self) -> bool {
        self.head.is_empty()
    }

    /// What was read of it.
    pub(super) fn content(&self) -> Content {
        // As long as nothing was read, all of the head says what there is to be read.
        let read = usize::try_from(self.offset).ok().filter(|read| *read > 0);
        let head = &self.head[..read.map_or(self.head.len(), |read| read.min(self.head.len()))];
        let line = memchr::memchr(b'\n', head).map_or(head, |end| &head[..=end]);
        Content {
            line_bytes: u16::try_from(line.len()).expect("a head is short"),
            line: short_digest(line),
            head_bytes: u16::try_from(head.len()).expect("a head is short"),
            head: short_digest(head),
            last_bytes: u8::try_from(self.last.len()).expect("an end is short"),
            last: short_digest(&self.last),
            read: self.offset,
        }
    }

    fn begins_with(&self, bytes: u16, digest: ShortDigest) -> bool {
        self.head.get(..usize::from(bytes)).is_some_and(|head| short_digest(head) == digest)
    }

    /// Whether that content is in it, and perhaps more after it.
    pub(super) fn holds(&self, content: &Content) -> bool {
        let mut last = [0; LAST_BYTES_MAX];
        let bytes = usize::from(content.last_bytes);
        let read = |last: &mut [u8]| read_full_at(&self.file, last, content.read - bytes as u64).unwrap_or(0);
        self.begins_with(content.head_bytes, content.head)
            && self.length >= content.read
            && read(&mut last[..bytes]) == bytes
            && short_digest(&last[..bytes]) == content.last
    }

    /// Whether it ends where that content goes on, and begins alike.
    pub(super) fn is_before_end_of(&self, content: &Content) -> bool {
        let is_short = self.head.len() < usize::from(content.head_bytes);
        let (bytes, digest) =
            if is_short { (content.line_bytes, content.line) } else { (content.head_bytes, content.head) };
        self.length < content.read && self.begins_with(bytes, digest)
    }

    /// Whether it is the file of that place: it may have grown since.
    pub(super) fn is(&self, place: &Place) -> bool {
        self.inode == place.inode && self.holds(&place.content)
    }

    /// Whether that content is all that is in it.
    pub(super) fn is_all_of(&self, content: &Content) -> bool {
        self.length == content.read && self.holds(content)
    }

    /// Whether it is a copy of another file as that is, or of what was read of that one before it was cut just now.
    pub(super) fn is_copy_of(&self, other: &Self) -> bool {
        let content = other.content();
        let was_copied = || !content.is_empty() && (self.holds(&content) || self.is_before_end_of(&content));
        self.is_start_of(other).unwrap_or(false) || (was_copied() && other.is_cut_by_now())
    }

    fn is_cut_by_now(&self) -> bool {
        self.file.metadata().and_then(|metadata| self.is_cut_to(metadata.len())).unwrap_or(false)
    }

    /// Whether the other one is the same at the start, and where this one ends.
    fn is_start_of(&self, other: &Self) -> io::Result<bool> {
        let length = self.length;
        if !other.head.starts_with(&self.head) && !self.head.starts_with(&other.head) {
            return Ok(false); // The other one's may be from when it was shorter.
        }
        let is_same = |from: u64, bytes: usize| {
            let (mut one, mut two) = ([0; HEAD_BYTES_MAX], [0; HEAD_BYTES_MAX]);
            let (one, two) = (&mut one[..bytes], &mut two[..bytes]);
            let counts = (read_full_at(&self.file, one, from)?, read_full_at(&other.file, two, from)?);
            Ok::<_, io::Error>(counts == (bytes, bytes) && one == two)
        };
        let bytes = |bytes_max: usize| usize::try_from(length).map_or(bytes_max, |length| length.min(bytes_max));
        let (head, last) = (bytes(HEAD_BYTES_MAX), bytes(LAST_BYTES_MAX));
        Ok(length > 0 && is_same(0, head)? && is_same(length - last as u64, last)?)
    }

    /// Where the lines handed over so far end.
    pub(super) fn place(&self) -> Place {
        let (offset, in_cut_line) = match self.event.begin() {
            Some(begin) => (begin, false),
            None => (self.offset - self.unfinished as u64, self.in_cut_line),
        };
        Place { inode: self.inode, content: self.content(), offset, in_cut_line, is_finished: false }
    }

    /// Looks at it, and whether what was read is not there any more: it was cut, and perhaps written again.
    pub(super) fn is_cut(&mut self) -> io::Result<bool> {
        self.length = self.file.metadata()?.len();
        self.is_cut_to(self.length)
    }

    fn is_cut_to(&self, length: u64) -> io::Result<bool> {
        Ok(length < self.offset
            || (length > 0 && !self.has_same_head()?)
            // Grown beyond its old length since it was cut, with the same first lines.
            || (length > self.offset && !self.has_same_last()?))
    }

    /// Reads at most `bytes_max` bytes that are new and hands over the lines that they end. Returns how many bytes.
    pub(super) fn read(
        &mut self,
        bytes_max: u64,
        counts: &mut TailCounts,
        sink: &mut dyn FnMut(&[u8]),
    ) -> io::Result<u64> {
        if self.length <= self.offset {
            self.event.end(counts, sink);
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
                if !self.event.waits() {
                    self.event.end(counts, sink);
                }
                break;
            }
            self.quiet_polls = 0;
            left -= count as u64;
            counts.bytes += count as u64;
            self.cut_lines(count, counts, sink);
        }
        Ok(bytes_max - left)
    }

    /// Whether all that was there when it was last looked at is read.
    pub(super) fn is_at_end(&self) -> bool {
        self.length <= self.offset
    }

    /// Whether it was quiet for so many polls, or cannot be read any more.
    pub(super) fn is_quiet(&self, polls: u32) -> bool {
        self.quiet_polls >= polls
    }

    /// The path does not name it any more: from now on polls without a new byte count.
    pub(super) fn leave(&mut self) {
        if std::mem::take(&mut self.is_named) {
            self.quiet_polls = 0;
        }
    }

    /// It cannot be read any more.
    pub(super) fn give_up(&mut self) {
        (self.is_named, self.quiet_polls) = (false, u32::MAX);
    }

    /// Hands over a last line that has no end.
    pub(super) fn finish(&mut self, counts: &mut TailCounts, sink: &mut dyn FnMut(&[u8])) {
        self.event.end(counts, sink);
        if self.unfinished > 0 && !self.in_cut_line {
            hand_over(&self.buffer[..self.unfinished], counts, sink);
        }
        self.unfinished = 0;
    }

    /// It was cut, and what it held is nowhere else.
    pub(super) fn lose(&mut self, counts: &mut TailCounts, sink: &mut dyn FnMut(&[u8])) {
        self.event.end(counts, sink);
        counts.bytes_lost += self.unfinished as u64;
    }

    /// It was cut and is read from its start.
    pub(super) fn restart(&mut self) {
        self.event.forget();
        (self.offset, self.unfinished, self.in_cut_line) = (0, 0, false);
        self.head.clear();
        self.last.clear();
    }

    /// Other first bytes mean that it was cut and written again.
    fn has_same_head(&self) -> io::Result<bool> {
        let mut now = [0; HEAD_BYTES_MAX];
        let count = read_full_at(&self.file, &mut now[..self.head.len()], 0)?;
        Ok(now[..count] == self.head)
    }

    fn has_same_last(&self) -> io::Result<bool> {
        let mut now = [0; LAST_BYTES_MAX];
        let now = &mut now[..self.last.len()];
        let count = read_full_at(&self.file, now, self.offset - self.last.len() as u64)?;
        Ok(now[..count] == self.last)
    }

    fn grow_head(&mut self) -> io::Result<()> {
        if self.head.len() < HEAD_BYTES_MAX {
            let mut now = [0; HEAD_BYTES_MAX];
            let count = read_full_at(&self.file, &mut now, 0)?;
            // Of a file that was cut just now the old head is known until that is seen.
            if now[..count].starts_with(&self.head) {
                self.head.clear();
                self.head.extend_from_slice(&now[..count]);
            }
        }
        Ok(())
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
        let origin = self.offset - filled as u64;
        self.last.extend_from_slice(&self.buffer[filled - count.min(LAST_BYTES_MAX)..filled]);
        self.last.drain(..self.last.len().saturating_sub(LAST_BYTES_MAX));
        let buffer = std::mem::take(&mut self.buffer);
        let mut lines = Lines { text: &buffer, origin, held: None, event: &mut self.event, counts, sink };
        let mut start = 0;
        for end in memchr::memchr_iter(b'\n', &buffer[self.unfinished..filled]) {
            let end = self.unfinished + end;
            if !std::mem::take(&mut self.in_cut_line) {
                lines.take(start..end);
            }
            start = end + 1;
        }
        self.unfinished = filled - start;
        if !self.in_cut_line && self.unfinished > LINE_BYTES_MAX {
            lines.take(start..filled);
            self.in_cut_line = true;
        }
        lines.keep_held();
        self.buffer = buffer;
        if self.in_cut_line {
            self.unfinished = 0;
        }
        self.buffer.copy_within(filled - self.unfinished..filled, 0);
    }
}

/// The lines of what was just read.
struct Lines<'a> {
    text: &'a [u8],
    /// Where in the file the text begins.
    origin: u64,
    /// The line before, if it is not handed over yet and no event is open.
    held: Option<Range<usize>>,
    event: &'a mut Event,
    counts: &'a mut TailCounts,
    sink: &'a mut dyn FnMut(&[u8]),
}

impl Lines<'_> {
    /// Takes the next line. What nothing goes on with is handed over from where it was read.
    fn take(&mut self, range: Range<usize>) {
        let line = &self.text[range.clone()];
        if self.event.part_of(line) == Part::Begins {
            match self.held.replace(range) {
                Some(held) => hand_over(&self.text[held], self.counts, self.sink),
                None => self.event.end(self.counts, self.sink),
            }
            return;
        }
        self.keep_held();
        if self.event.begin().is_none() {
            // The rest of an event whose begin was handed over before, or is not in this file.
            self.held = Some(range);
        } else if self.event.add(one_line(line, self.counts), self.counts) {
            self.event.end(self.counts, self.sink);
        }
    }

    /// What is held may have more lines.
    fn keep_held(&mut self) {
        if let Some(held) = self.held.take() {
            let begin = self.origin + held.start as u64;
            self.event.open(one_line(&self.text[held], self.counts), begin);
        }
    }
}

fn hand_over(line: &[u8], counts: &mut TailCounts, sink: &mut dyn FnMut(&[u8])) {
    counts.lines += 1;
    sink(one_line(line, counts));
}

/// Cuts a line that is too long, and takes the carriage return off.
fn one_line<'a>(line: &'a [u8], counts: &mut TailCounts) -> &'a [u8] {
    if line.len() > LINE_BYTES_MAX {
        counts.lines_cut += 1;
        return &line[..LINE_BYTES_MAX];
    }
    line.strip_suffix(b"\r").unwrap_or(line)
}

fn read_full_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    let mut length = 0;
    while length < buffer.len() {
        match file.read_at(&mut buffer[length..], offset + length as u64) {
            Ok(0) => break,
            Ok(count) => length += count,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
    Ok(length)
}

//! Segments of the spool's log as bytes. All numbers are little-endian.
//!
//! A segment is a header and records to its end:
//!
//! | bytes | header | bytes | record |
//! |---|---|---|---|
//! | 8 | magic `VDTSEG1\n`; the digit is the version | 4 | magic `VREC` |
//! | 8 | queue epoch | 4 | length of the payload |
//! | 8 | sequence below which it holds nothing | 8 | sequence |
//! | 8 | frames that its class had before | 4 | the next series index |
//! | 8 | where the segment before it began | 1 | kind |
//! | 1 | class | 3 | zero |
//! | 3 | zero | 4 | CRC32C of the payload |
//! | 4 | CRC32C of the 44 bytes before | 4 | CRC32C of the 28 bytes before |
//! | | | n | payload |
//!
//! The payload of a frame is its cursors, as [`encode_cursors`] writes them, and the batch as it crosses the network; that
//! of a checkpoint is cursors alone. A record's length can be trusted without its payload, so damage to a payload costs
//! that record; damage to a record's head costs what stands before the next head that holds.

use vedette_protocol::ids::{QueueEpoch, Sequence};
use vedette_protocol::v1::{Class, Cursor};

/// Bytes of a segment's header.
pub const HEADER_BYTES: usize = 44 + 4;
/// Bytes of a record before its payload.
pub const RECORD_BYTES: usize = 28 + 4;
/// Longest payload: the largest batch and every position that a source can have.
pub const PAYLOAD_BYTES_MAX: usize = 24 << 20;

const MAGIC: [u8; 8] = *b"VDTSEG1\n";
const RECORD_MAGIC: [u8; 4] = *b"VREC";
const CHECKPOINT: u8 = 255;

/// What a segment begins with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// Life of the spool.
    pub epoch: QueueEpoch,
    /// Of all its frames.
    pub class: Class,
    /// All its frames have this sequence or a higher one.
    pub first: Sequence,
    /// Frames that earlier segments of the class held, ever.
    pub ordinal: u64,
    /// The `first` of the segment before it; zero if there was none.
    pub previous: Sequence,
}

/// What a record holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A batch of the segment's class.
    Frame,
    /// Where sources stood, without a batch.
    Checkpoint,
}

/// A record whose checksums hold.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Record<'a> {
    /// What it holds.
    pub kind: Kind,
    /// Of its frame; of a checkpoint, that of the last frame before it.
    pub sequence: Sequence,
    /// Series indices from this on were not given yet.
    pub series_next: u32,
    /// Its cursors, encoded.
    pub cursors: &'a [u8],
    /// The batch as it crosses the network; empty for a checkpoint.
    pub frame: &'a [u8],
    /// Where the record ends within the segment, in bytes.
    pub end: usize,
}

/// One stretch of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stretch<'a> {
    /// A good record.
    Record(Record<'a>),
    /// Bytes that are no record.
    Bad {
        /// Where they begin within the segment.
        from: usize,
        /// Where the next good record begins, or the segment ends.
        to: usize,
    },
}

/// Where a source stood after the frame of this sequence.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Standing {
    /// Frame.
    pub sequence: Sequence,
    /// Source and position.
    pub cursor: Cursor,
}

impl Header {
    /// Its bytes.
    pub fn encode(&self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..16].copy_from_slice(&self.epoch.0.to_le_bytes());
        bytes[16..24].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[24..32].copy_from_slice(&self.ordinal.to_le_bytes());
        bytes[32..40].copy_from_slice(&self.previous.0.to_le_bytes());
        bytes[40] = class_number(self.class);
        let checksum = crc32c::crc32c(&bytes[..44]);
        bytes[44..].copy_from_slice(&checksum.to_le_bytes());
        bytes
    }

    /// `None` for what [`Header::encode`] did not make.
    pub fn decode(bytes: &[u8]) -> Option<Self> {
        let bytes: &[u8; HEADER_BYTES] = bytes.first_chunk()?;
        let holds =
            bytes[..8] == MAGIC && bytes[41..44] == [0; 3] && word(&bytes[44..]) == crc32c::crc32c(&bytes[..44]);
        // Counted by frames: what is above was never written.
        (holds && long(&bytes[24..]) < 1 << 60).then_some(())?;
        Some(Self {
            epoch: QueueEpoch(long(&bytes[8..])),
            class: class_of(bytes[40])?,
            first: Sequence(long(&bytes[16..])),
            ordinal: long(&bytes[24..]),
            previous: Sequence(long(&bytes[32..])),
        })
    }
}

/// A record's bytes. `frame` is empty for a checkpoint only.
pub fn encode_record(kind: Kind, sequence: Sequence, series_next: u32, cursors: &[u8], frame: &[u8]) -> Vec<u8> {
    let payload_bytes = 4 + cursors.len() + frame.len();
    let mut bytes = Vec::with_capacity(RECORD_BYTES + payload_bytes);
    bytes.extend_from_slice(&[0; RECORD_BYTES]);
    bytes.extend_from_slice(&length(cursors.len()).to_le_bytes());
    bytes.extend_from_slice(cursors);
    bytes.extend_from_slice(frame);
    let payload_checksum = crc32c::crc32c(&bytes[RECORD_BYTES..]);
    let head = &mut bytes[..RECORD_BYTES];
    head[..4].copy_from_slice(&RECORD_MAGIC);
    head[4..8].copy_from_slice(&length(payload_bytes).to_le_bytes());
    head[8..16].copy_from_slice(&sequence.0.to_le_bytes());
    head[16..20].copy_from_slice(&series_next.to_le_bytes());
    head[20] = if kind == Kind::Checkpoint { CHECKPOINT } else { 0 };
    head[24..28].copy_from_slice(&payload_checksum.to_le_bytes());
    let checksum = crc32c::crc32c(&head[..28]);
    head[28..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// The stretches of a whole segment, its header left out. Takes time in proportion to `segment`, whatever it holds.
pub fn stretches(segment: &[u8]) -> Stretches<'_> {
    Stretches { segment, at: HEADER_BYTES.min(segment.len()) }
}

/// See [`stretches`].
#[derive(Debug)]
pub struct Stretches<'a> {
    segment: &'a [u8],
    at: usize,
}

impl<'a> Iterator for Stretches<'a> {
    type Item = Stretch<'a>;

    fn next(&mut self) -> Option<Stretch<'a>> {
        let from = self.at;
        loop {
            if self.at >= self.segment.len() {
                return (from < self.at).then_some(Stretch::Bad { from, to: self.at });
            }
            match record_at(self.segment, self.at) {
                Ok(record) if self.at == from => {
                    self.at = record.end;
                    return Some(Stretch::Record(record));
                }
                Ok(_) => return Some(Stretch::Bad { from, to: self.at }),
                Err(resume) => self.at = resume,
            }
        }
    }
}

/// The record at `at`, or where to look for the next one.
fn record_at(segment: &[u8], at: usize) -> Result<Record<'_>, usize> {
    let rest = &segment[at..];
    let after_this_head = || {
        let next = memchr::memmem::find(&rest[1..], &RECORD_MAGIC).map(|offset| at + 1 + offset);
        next.unwrap_or(segment.len())
    };
    let Some(head) = rest.first_chunk::<RECORD_BYTES>() else { return Err(segment.len()) };
    let holds = head[..4] == RECORD_MAGIC && word(&head[28..]) == crc32c::crc32c(&head[..28]);
    if !holds {
        return Err(after_this_head());
    }
    // From here on the length is what was written.
    let payload_bytes = usize::try_from(word(&head[4..])).unwrap_or(usize::MAX);
    if payload_bytes > PAYLOAD_BYTES_MAX {
        return Err(after_this_head());
    }
    let end = at + RECORD_BYTES + payload_bytes;
    let Some(payload) = segment.get(at + RECORD_BYTES..end) else { return Err(segment.len()) };
    let record = || {
        let (cursors_bytes, payload) = payload.split_first_chunk()?;
        let (cursors, frame) = payload.split_at_checked(u32::from_le_bytes(*cursors_bytes) as usize)?;
        let kind = match (head[20], &head[21..24]) {
            (0, [0, 0, 0]) => Kind::Frame,
            (CHECKPOINT, [0, 0, 0]) => Kind::Checkpoint,
            _ => return None,
        };
        let sequence = Sequence(long(&head[8..]));
        Some(Record { kind, sequence, series_next: word(&head[16..]), cursors, frame, end })
    };
    if word(&head[24..]) != crc32c::crc32c(payload) {
        return Err(end);
    }
    record().ok_or(end)
}

/// Cursors as bytes: number `u16`, then for each the sequence of its frame `u64`, length of the source `u16`, source,
/// length of the position `u32`, position.
pub fn encode_cursors<'a>(standings: impl IntoIterator<Item = (Sequence, &'a Cursor)>) -> Vec<u8> {
    let mut bytes = vec![0; 2];
    let mut count = 0_u16;
    for (sequence, Cursor { source, position }) in standings {
        let Ok(source_bytes) = u16::try_from(source.len()) else { continue };
        let Some(next) = count.checked_add(1) else { break };
        count = next;
        bytes.extend_from_slice(&sequence.0.to_le_bytes());
        bytes.extend_from_slice(&source_bytes.to_le_bytes());
        bytes.extend_from_slice(source.as_bytes());
        bytes.extend_from_slice(&length(position.len()).to_le_bytes());
        bytes.extend_from_slice(position);
    }
    bytes[..2].copy_from_slice(&count.to_le_bytes());
    bytes
}

/// What [`encode_cursors`] wrote; `None` for anything else.
pub fn decode_cursors(bytes: &[u8]) -> Option<Vec<Standing>> {
    let (count, mut rest) = bytes.split_first_chunk()?;
    let mut standings = Vec::new();
    for _ in 0..u16::from_le_bytes(*count) {
        let sequence = Sequence(u64::from_le_bytes(*take(&mut rest)?));
        let source_bytes = u16::from_le_bytes(*take(&mut rest)?);
        let source = std::str::from_utf8(take_slice(&mut rest, usize::from(source_bytes))?).ok()?.to_owned();
        let position_bytes = u32::from_le_bytes(*take(&mut rest)?);
        let position = take_slice(&mut rest, position_bytes as usize)?.to_vec();
        standings.push(Standing { sequence, cursor: Cursor { source, position } });
    }
    rest.is_empty().then_some(standings)
}

/// Number of a class in headers and names.
pub fn class_number(class: Class) -> u8 {
    match class {
        Class::Finding => 0,
        Class::Feature => 1,
        Class::Log => 2,
    }
}

fn class_of(number: u8) -> Option<Class> {
    super::CLASSES.into_iter().find(|class| class_number(*class) == number)
}

fn length(bytes: usize) -> u32 {
    u32::try_from(bytes).expect("limits of batches and positions are far below 4 GiB")
}

fn word(bytes: &[u8]) -> u32 {
    u32::from_le_bytes(*bytes.first_chunk().expect("fixed layouts are cut from arrays of fixed length"))
}

fn long(bytes: &[u8]) -> u64 {
    u64::from_le_bytes(*bytes.first_chunk().expect("fixed layouts are cut from arrays of fixed length"))
}

fn take<'a, const N: usize>(rest: &mut &'a [u8]) -> Option<&'a [u8; N]> {
    let (first, tail) = rest.split_first_chunk()?;
    *rest = tail;
    Some(first)
}

fn take_slice<'a>(rest: &mut &'a [u8], bytes: usize) -> Option<&'a [u8]> {
    let (first, tail) = rest.split_at_checked(bytes)?;
    *rest = tail;
    Some(first)
}

#[cfg(test)]
mod tests;

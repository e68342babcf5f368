//! Segments of the recorder as bytes: a header, then records to the end. All numbers are little-endian.
//!
//! | bytes | header | bytes | record |
//! |---|---|---|---|
//! | 8 | magic `VDTREC1\n`; the digit is the version | 4 | length of the payload |
//! | | | 4 | CRC32C of the payload |
//! | | | n | payload: an [`Entry`] as postcard |
//!
//! A segment stands alone: it defines every number of a series before a block uses it.

use serde::{Deserialize, Serialize};
use vedette_edge::recorder::Sealed;
use vedette_protocol::series::SeriesMeta;

/// What every segment begins with.
pub const MAGIC: [u8; 8] = *b"VDTREC1\n";
/// Bytes of a record before its payload.
const HEAD_BYTES: usize = 8;
/// Longest payload: the largest block with its lines, and some room.
pub const PAYLOAD_BYTES_MAX: usize = 8 << 20;

/// What a record holds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Entry {
    /// What numbers mean from here on.
    Defined(Vec<(u32, SeriesMeta)>),
    /// A sealed block.
    Sealed(Sealed),
}

/// Appends a record. Returns whether it fits one; otherwise `out` is as before.
pub fn append(entry: &Entry, out: &mut Vec<u8>) -> bool {
    let Ok(payload) = postcard::to_stdvec(entry) else { return false };
    let Some(length) = u32::try_from(payload.len()).ok().filter(|_| payload.len() <= PAYLOAD_BYTES_MAX) else {
        return false;
    };
    out.extend(length.to_le_bytes());
    out.extend(crc32c::crc32c(&payload).to_le_bytes());
    out.extend(payload);
    true
}

/// The records of a segment's bytes, in order, up to the first that is not whole.
#[derive(Clone, Debug)]
pub struct Records<'a> {
    bytes: &'a [u8],
    good: usize,
}

impl<'a> Records<'a> {
    /// `None` if the bytes do not begin as a segment.
    pub fn new(bytes: &'a [u8]) -> Option<Self> {
        bytes.starts_with(&MAGIC).then_some(Self { bytes, good: MAGIC.len() })
    }

    /// Bytes that were found good so far. After the last record: where the segment was torn, or its length.
    pub fn good_bytes(&self) -> usize {
        self.good
    }

    fn payload(&self) -> Option<&'a [u8]> {
        let (head, rest) = self.bytes.get(self.good..)?.split_at_checked(HEAD_BYTES)?;
        let [length, crc] = [0, 4].map(|at| u32::from_le_bytes([head[at], head[at + 1], head[at + 2], head[at + 3]]));
        let length = usize::try_from(length).ok().filter(|length| *length <= PAYLOAD_BYTES_MAX)?;
        rest.get(..length).filter(|payload| crc32c::crc32c(payload) == crc)
    }
}

impl Iterator for Records<'_> {
    type Item = Entry;

    fn next(&mut self) -> Option<Entry> {
        let payload = self.payload()?;
        let (entry, rest) = postcard::take_from_bytes(payload).ok()?;
        if !rest.is_empty() {
            return None;
        }
        self.good += HEAD_BYTES + payload.len();
        Some(entry)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn sealed(begin_ms: i64) -> Entry {
        Entry::Sealed(Sealed { begin_ms, end_ms: begin_ms, samples: 1, block: vec![1, 2, 3], lines: Vec::new() })
    }

    fn segment() -> Vec<u8> {
        let mut bytes = MAGIC.to_vec();
        assert!((0..5).all(|n| append(&sealed(n), &mut bytes)));
        bytes
    }

    #[test]
    fn records_come_back_and_something_else_is_no_segment() {
        let bytes = segment();
        let mut records = Records::new(&bytes).expect("a segment");
        assert_eq!(records.by_ref().collect::<Vec<_>>(), (0..5).map(sealed).collect::<Vec<_>>());
        assert_eq!(records.good_bytes(), bytes.len());
        assert!(Records::new(b"VDTREC2\nmore").is_none());
        assert!(Records::new(b"").is_none());
    }

    proptest! {
        #[test]
        fn torn_or_flipped_segment_gives_what_is_before_the_damage(at: prop::sample::Index, bit in 0..8_u32, torn: bool) {
            let (mut bytes, whole) = (segment(), segment());
            let at = at.index(bytes.len());
            if torn {
                bytes.truncate(at);
            } else {
                bytes[at] ^= 1 << bit;
            }
            let Some(mut records) = Records::new(&bytes) else { return Ok(()) };
            let read: Vec<_> = records.by_ref().collect();
            prop_assert!(read.len() < 5);
            prop_assert_eq!(&read[..], &(0..5).map(sealed).collect::<Vec<_>>()[..read.len()]);
            prop_assert!(records.good_bytes() <= at);
            prop_assert_eq!(&bytes[..records.good_bytes()], &whole[..records.good_bytes()]);
        }
    }
}

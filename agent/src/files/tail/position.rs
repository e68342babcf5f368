//! Where reading stands, as bytes.
//!
//! Version 2, integers little-endian: version `u8`, the time since which files beside the log can be unread (seconds `i64`,
//! nanoseconds `u32`), number of places `u8`, then for each place, oldest first: flags `u8` (1: within the rest of a line
//! that was cut, 2: read to its end and closed), lengths of the first line `u16`, of the head `u16` and of the end `u8`, the
//! first 16 bytes of SHA-256 of each, device `u64`, inode `u64`, bytes read `u64`, offset `u64`.

use super::siblings::FileTime;
use super::{FILES_OPEN_MAX, FINISHED_TOLD_MAX, GLOB_FILES_MAX};
use vedette_protocol::ids::Digest;

/// Bytes from the start of a file that tell it from another one.
pub(super) const HEAD_BYTES_MAX: usize = 256;
/// Bytes before the place up to which it was read that do the same.
pub(super) const LAST_BYTES_MAX: usize = 32;
/// Of a cut file its copy is open, too.
pub(super) const PLACES_MAX: usize = GLOB_FILES_MAX + 2 * FILES_OPEN_MAX + FINISHED_TOLD_MAX;

const VERSION: u8 = 2;
const PLACE_BYTES: usize = 1 + 2 + 2 + 1 + 3 * 16 + 4 * 8;
/// Longest position.
pub(super) const BYTES_MAX: usize = 1 + 8 + 4 + 1 + PLACES_MAX * PLACE_BYTES;
const IN_CUT_LINE: u8 = 1;
const FINISHED: u8 = 2;

/// A digest that is long enough to tell texts apart that nobody made alike.
pub(super) type ShortDigest = [u8; 16];

/// What was read of a file: by this its content is known again, wherever it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Content {
    /// Bytes of the first line, or of the head if that is shorter.
    pub(super) line_bytes: u16,
    pub(super) line: ShortDigest,
    /// First bytes that are in `head`.
    pub(super) head_bytes: u16,
    pub(super) head: ShortDigest,
    /// Bytes before `read` that are in `last`.
    pub(super) last_bytes: u8,
    pub(super) last: ShortDigest,
    /// Bytes from the start that were read.
    pub(super) read: u64,
}

/// How far a file was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    /// Device and inode.
    pub(super) inode: (u64, u64),
    pub(super) content: Content,
    /// What comes before it was handed over.
    pub(super) offset: u64,
    pub(super) in_cut_line: bool,
    /// It was read to its end and closed.
    pub(super) is_finished: bool,
}

/// All files that are open, oldest first, after those finished ones that could be taken for unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    /// What was last changed before this was read, or is older than the log's first look.
    pub(super) since: FileTime,
    pub(super) places: Vec<Place>,
}

pub(super) fn short_digest(bytes: &[u8]) -> ShortDigest {
    *Digest::of(bytes).0.first_chunk().expect("a digest is longer")
}

impl Content {
    /// Nothing is known of it.
    pub(super) fn is_empty(&self) -> bool {
        self.head_bytes == 0
    }
}

impl Position {
    pub(super) fn encode(&self) -> Vec<u8> {
        let count = u8::try_from(self.places.len()).expect("few files are open at once");
        let mut bytes = vec![VERSION];
        bytes.extend(self.since.0.to_le_bytes());
        bytes.extend(self.since.1.to_le_bytes());
        bytes.push(count);
        for Place { inode, content, offset, in_cut_line, is_finished } in &self.places {
            let cut = if *in_cut_line { IN_CUT_LINE } else { 0 };
            bytes.push(cut | if *is_finished { FINISHED } else { 0 });
            bytes.extend(content.line_bytes.to_le_bytes());
            bytes.extend(content.head_bytes.to_le_bytes());
            bytes.push(content.last_bytes);
            bytes.extend(content.line);
            bytes.extend(content.head);
            bytes.extend(content.last);
            for number in [inode.0, inode.1, content.read, *offset] {
                bytes.extend(number.to_le_bytes());
            }
        }
        bytes
    }

    /// `None` for what [`Position::encode`] did not make.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let [VERSION] = take(&mut bytes)? else { return None };
        let since = (i64::from_le_bytes(take(&mut bytes)?), u32::from_le_bytes(take(&mut bytes)?));
        let [count] = take(&mut bytes)?;
        let count = usize::from(count);
        if count > PLACES_MAX || bytes.len() != count * PLACE_BYTES {
            return None;
        }
        let places = bytes.chunks_exact(PLACE_BYTES).map(decode_place).collect::<Option<_>>()?;
        Some(Self { since, places })
    }
}

fn decode_place(mut bytes: &[u8]) -> Option<Place> {
    let [flags] = take(&mut bytes)?;
    let line_bytes = u16::from_le_bytes(take(&mut bytes)?);
    let head_bytes = u16::from_le_bytes(take(&mut bytes)?);
    let [last_bytes] = take(&mut bytes)?;
    let (line, head, last) = (take(&mut bytes)?, take(&mut bytes)?, take(&mut bytes)?);
    let mut number = || take(&mut bytes).map(u64::from_le_bytes);
    let inode = (number()?, number()?);
    let (read, offset) = (number()?, number()?);
    let is_known = flags & !(IN_CUT_LINE | FINISHED) == 0
        && line_bytes > 0
        && line_bytes <= head_bytes
        && usize::from(head_bytes) <= HEAD_BYTES_MAX
        && usize::from(last_bytes) <= LAST_BYTES_MAX
        && u64::from(last_bytes) <= read
        && offset <= read;
    is_known.then_some(Place {
        inode,
        content: Content { line_bytes, line, head_bytes, head, last_bytes, last, read },
        offset,
        in_cut_line: flags & IN_CUT_LINE != 0,
        is_finished: flags & FINISHED != 0,
    })
}

fn take<const N: usize>(bytes: &mut &[u8]) -> Option<[u8; N]> {
    let (first, rest) = bytes.split_first_chunk()?;
    *bytes = rest;
    Some(*first)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn place() -> Place {
        let read = 0x0102_0305;
        let (line, head, last) = ([4; 16], [5; 16], [7; 16]);
        let content = Content { line_bytes: 3, line, head_bytes: 4, head, last_bytes: 6, last, read };
        Place { inode: (2, 3), content, offset: 0x0102_0304, in_cut_line: true, is_finished: false }
    }

    #[test]
    fn bytes_are_those_of_version_2() {
        let mut expected = vec![2, 8, 0, 0, 0, 0, 0, 0, 0, 9, 0, 0, 0, 1, 1, 3, 0, 4, 0, 6];
        expected.extend([[4; 16], [5; 16], [7; 16]].concat());
        expected.extend([2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0]);
        expected.extend([5, 3, 2, 1, 0, 0, 0, 0, 4, 3, 2, 1, 0, 0, 0, 0]);
        assert_eq!(Position { since: (8, 9), places: vec![place()] }.encode(), expected);
    }

    #[test]
    fn other_bytes_are_refused() {
        let position = Position { since: (-1, 2), places: vec![place(); 2] };
        let bytes = position.encode();
        assert_eq!(Position::decode(&bytes), Some(position));
        assert!((0..bytes.len()).all(|length| Position::decode(&bytes[..length]).is_none()));
        // Version, number of places, flags, no first line, a long one, length of the head, length of the end, offset beyond what was read.
        for (index, value) in [(0, 1), (13, 200), (14, 4), (15, 0), (15, 5), (18, 2), (19, 33), (14 + 54 + 24, 9)] {
            let mut bad = bytes.clone();
            bad[index] = value;
            assert_eq!(Position::decode(&bad), None, "{index}");
        }
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            if let Some(position) = Position::decode(&bytes) {
                prop_assert_eq!(position.encode(), bytes);
            }
        }
    }
}

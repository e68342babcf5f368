//! Where reading stands, as bytes.
//!
//! Version 1, integers little-endian: version `u8`, number of places `u8`, then for each place, oldest first: flags `u8`
//! (1: within the rest of a line that was cut, 2: read to its end and closed), length of the head `u16`, SHA-256 of the head (32 bytes), device `u64`,
//! inode `u64`, offset `u64`.

use super::{FILES_OPEN_MAX, FINISHED_TOLD_MAX};
use vedette_protocol::ids::Digest;

/// Bytes from the start of a file that tell it from another one of the same inode.
pub(super) const HEAD_BYTES_MAX: usize = 256;

const VERSION: u8 = 1;
const PLACE_BYTES: usize = 1 + 2 + 32 + 8 + 8 + 8;
const IN_CUT_LINE: u8 = 1;
const FINISHED: u8 = 2;

/// Which file it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Identity {
    pub(super) device: u64,
    pub(super) inode: u64,
    pub(super) head_bytes: u16,
    pub(super) head: Digest,
}

/// How far a file was read.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Place {
    pub(super) identity: Identity,
    pub(super) offset: u64,
    pub(super) in_cut_line: bool,
    /// It was read to its end and closed.
    pub(super) is_finished: bool,
}

/// All files that are open, oldest first, after those finished ones that could be taken for unread.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Position {
    pub(super) places: Vec<Place>,
}

impl Identity {
    pub(super) fn inode(&self) -> (u64, u64) {
        (self.device, self.inode)
    }
}

impl Position {
    pub(super) fn encode(&self) -> Vec<u8> {
        let count = u8::try_from(self.places.len()).expect("few files are open at once");
        let mut bytes = vec![VERSION, count];
        for Place { identity, offset, in_cut_line, is_finished } in &self.places {
            let cut = if *in_cut_line { IN_CUT_LINE } else { 0 };
            bytes.push(cut | if *is_finished { FINISHED } else { 0 });
            bytes.extend(identity.head_bytes.to_le_bytes());
            bytes.extend(identity.head.0);
            for number in [identity.device, identity.inode, *offset] {
                bytes.extend(number.to_le_bytes());
            }
        }
        bytes
    }

    /// `None` for what [`Position::encode`] did not make.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let [VERSION, count, rest @ ..] = bytes else { return None };
        let count = usize::from(*count);
        if count > FILES_OPEN_MAX + FINISHED_TOLD_MAX || rest.len() != count * PLACE_BYTES {
            return None;
        }
        rest.chunks_exact(PLACE_BYTES).map(decode_place).collect::<Option<_>>().map(|places| Self { places })
    }
}

fn decode_place(mut bytes: &[u8]) -> Option<Place> {
    let [flags] = take(&mut bytes)?;
    let head_bytes = u16::from_le_bytes(take(&mut bytes)?);
    let head = Digest(take(&mut bytes)?);
    let device = u64::from_le_bytes(take(&mut bytes)?);
    let inode = u64::from_le_bytes(take(&mut bytes)?);
    let offset = u64::from_le_bytes(take(&mut bytes)?);
    let is_known = flags & !(IN_CUT_LINE | FINISHED) == 0 && usize::from(head_bytes) <= HEAD_BYTES_MAX;
    is_known.then_some(Place {
        identity: Identity { device, inode, head_bytes, head },
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
        let identity = Identity { device: 2, inode: 3, head_bytes: 4, head: Digest([5; 32]) };
        Place { identity, offset: 0x0102_0304, in_cut_line: true, is_finished: false }
    }

    #[test]
    fn bytes_are_those_of_version_1() {
        let mut expected = vec![1, 1, 1, 4, 0];
        expected.extend([5; 32]);
        expected.extend([2, 0, 0, 0, 0, 0, 0, 0, 3, 0, 0, 0, 0, 0, 0, 0, 4, 3, 2, 1, 0, 0, 0, 0]);
        assert_eq!(Position { places: vec![place()] }.encode(), expected);
    }

    #[test]
    fn other_bytes_are_refused() {
        let bytes = Position { places: vec![place(); 2] }.encode();
        assert_eq!(Position::decode(&bytes), Some(Position { places: vec![place(); 2] }));
        assert!((0..bytes.len()).all(|length| Position::decode(&bytes[..length]).is_none()));
        for (index, value) in [(0, 2), (1, 200), (2, 4), (4, 2)] {
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

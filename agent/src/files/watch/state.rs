//! What was told of watched files, as bytes.
//!
//! Version 2, integers little-endian: version `u8`, number of files `u16`, then for each: length of
//! the path `u16`, path, 0 (missing) or 1 and SHA-256 (32 bytes).

use std::collections::BTreeMap;
use vedette_protocol::ids::Digest;

/// Version 1 held the boot as well.
const VERSION: u8 = 2;
const MISSING: u8 = 0;
const CONTENT: u8 = 1;

/// What was last told of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Stored {
    Missing,
    Content(Digest),
}

/// All that is kept over a restart; files by path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct State {
    pub(super) files: BTreeMap<Vec<u8>, Stored>,
}

impl Stored {
    pub(super) fn digest(self) -> Option<Digest> {
        match self {
            Self::Missing => None,
            Self::Content(digest) => Some(digest),
        }
    }
}

impl State {
    pub(super) fn encode(&self) -> Vec<u8> {
        let length = |length: usize| u16::try_from(length).expect("the configuration bounds files and paths");
        let mut bytes = vec![VERSION];
        bytes.extend(length(self.files.len()).to_le_bytes());
        for (path, stored) in &self.files {
            bytes.extend(length(path.len()).to_le_bytes());
            bytes.extend(path);
            match stored {
                Stored::Missing => bytes.push(MISSING),
                Stored::Content(digest) => {
                    bytes.push(CONTENT);
                    bytes.extend(digest.0);
                }
            }
        }
        bytes
    }

    /// `None` for what [`State::encode`] did not make.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let [VERSION] = take(&mut bytes)? else { return None };
        let mut files = BTreeMap::new();
        for _ in 0..u16::from_le_bytes(take(&mut bytes)?) {
            let length = usize::from(u16::from_le_bytes(take(&mut bytes)?));
            let (path, rest) = bytes.split_at_checked(length)?;
            bytes = rest;
            let stored = match take(&mut bytes)? {
                [MISSING] => Stored::Missing,
                [CONTENT] => Stored::Content(Digest(take(&mut bytes)?)),
                _ => return None,
            };
            files.insert(path.to_vec(), stored);
        }
        bytes.is_empty().then_some(Self { files })
    }
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

    fn state() -> State {
        let files = [(b"/a".to_vec(), Stored::Missing), (b"/b".to_vec(), Stored::Content(Digest([7; 32])))];
        State { files: files.into() }
    }

    #[test]
    fn bytes_are_those_of_version_2() {
        let mut expected = vec![2, 2, 0, 2, 0, b'/', b'a', 0, 2, 0, b'/', b'b', 1];
        expected.extend([7; 32]);
        assert_eq!(state().encode(), expected);
        assert_eq!(State::decode(&expected), Some(state()));
        assert!((0..expected.len()).all(|length| State::decode(&expected[..length]).is_none()));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = State::decode(&bytes);
            let _ = State::decode(&[vec![VERSION], bytes].concat());
        }
    }
}

//! What an inventory compares with, and its form on disk.
//!
//! Version 2, integers little-endian: version `u8`, boot (16 bytes), looks that told changes `u64`, number of things `u32`,
//! then for each: length of the name `u16`, name, state `u8`, instance `u64`, digest (32 bytes), 1 if the digest is of
//! content else 0. Version 1 had no boot; it is read as well.

use super::items::{ITEMS_MAX, Item, KEY_BYTES_MAX};
use std::collections::BTreeMap;
use vedette_protocol::ids::{BootId, Digest};

const VERSION: u8 = 2;
const VERSION_1: u8 = 1;
const FIXED_BYTES: usize = 2 + 1 + 8 + 32 + 1;
/// No base that was stored here is larger.
pub(super) const BYTES_MAX: u64 = (29 + ITEMS_MAX * (KEY_BYTES_MAX + FIXED_BYTES)) as u64;

/// What was last known of a thing.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Known {
    /// As in [`Item`].
    pub state: u8,
    /// As in [`Item`].
    pub instance: u64,
    /// As in [`Item`].
    pub digest: Digest,
    /// As in [`Item`].
    pub is_content: bool,
}

/// What the next look is compared with.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Base {
    /// Boot of the host in which it was made, if that was kept.
    pub(super) boot: Option<BootId>,
    /// Looks that told changes: a change that comes back later is another one.
    pub(super) generation: u64,
    pub(super) items: BTreeMap<String, Known>,
}

impl Known {
    pub(super) fn content(&self) -> Option<Digest> {
        Some(self.digest).filter(|_| self.is_content)
    }
}

impl From<&Item> for Known {
    fn from(item: &Item) -> Self {
        let Item { state, instance, digest, is_content, .. } = *item;
        Self { state, instance, digest, is_content }
    }
}

impl Base {
    pub(super) fn encode(&self) -> Vec<u8> {
        let count = u32::try_from(self.items.len()).expect("items have a limit");
        let mut bytes = match &self.boot {
            Some(boot) => [&[VERSION], boot.0.as_slice()].concat(),
            None => vec![VERSION_1],
        };
        bytes.extend(self.generation.to_le_bytes());
        bytes.extend(count.to_le_bytes());
        for (name, known) in &self.items {
            bytes.extend(u16::try_from(name.len()).expect("names have a limit").to_le_bytes());
            bytes.extend(name.as_bytes());
            bytes.push(known.state);
            bytes.extend(known.instance.to_le_bytes());
            bytes.extend(known.digest.0);
            bytes.push(known.is_content.into());
        }
        bytes
    }

    /// `None` for what [`Base::encode`] did not make.
    pub(super) fn decode(mut bytes: &[u8]) -> Option<Self> {
        let bytes = &mut bytes;
        let boot = match take(bytes)? {
            [VERSION] => Some(BootId(take(bytes)?)),
            [VERSION_1] => None,
            _ => return None,
        };
        let generation = u64::from_le_bytes(take(bytes)?);
        let count = u32::from_le_bytes(take(bytes)?);
        let mut items = BTreeMap::new();
        for _ in 0..count {
            let length = usize::from(u16::from_le_bytes(take(bytes)?));
            let (name, rest) = bytes.split_at_checked(length)?;
            *bytes = rest;
            let name = std::str::from_utf8(name).ok()?.to_owned();
            let [state] = take(bytes)?;
            let instance = u64::from_le_bytes(take(bytes)?);
            let digest = Digest(take(bytes)?);
            let is_content = match take(bytes)? {
                [0] => false,
                [1] => true,
                _ => return None,
            };
            items.insert(name, Known { state, instance, digest, is_content });
        }
        bytes.is_empty().then_some(Self { boot, generation, items })
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

    #[test]
    fn bytes_are_those_of_versions_1_and_2() {
        let known = Known { state: 3, instance: 0x0102, digest: Digest([7; 32]), is_content: true };
        let mut base = Base { boot: None, generation: 5, items: [("ab".to_owned(), known)].into() };
        let mut expected = vec![1, 5, 0, 0, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2, 0, b'a', b'b', 3, 2, 1, 0, 0, 0, 0, 0, 0];
        expected.extend([7; 32]);
        expected.push(1);
        assert_eq!(base.encode(), expected);
        assert_eq!(Base::decode(&expected), Some(base.clone()));
        base.boot = Some(BootId([9; 16]));
        let expected = [&[2], [9; 16].as_slice(), &expected[1..]].concat();
        assert_eq!((base.encode(), Base::decode(&expected)), (expected.clone(), Some(base)));
        assert!((0..expected.len()).all(|length| Base::decode(&expected[..length]).is_none()));
    }

    proptest! {
        #[test]
        fn any_bytes_decode_without_a_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
            let _ = Base::decode(&bytes);
            let _ = Base::decode(&[vec![VERSION], bytes].concat());
        }
    }
}

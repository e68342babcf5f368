//! Identities. All are part of keys on the wire and in stores from the first version on.

use serde::{Deserialize, Serialize};
use std::fmt;

/// Defines a 16-byte or 32-byte identity that prints as lower-case hexadecimal.
macro_rules! byte_id {
    ($(#[$meta:meta])* $name:ident, $len:literal) => {
        $(#[$meta])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; $len]);

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                self.0.iter().try_for_each(|byte| write!(f, "{byte:02x}"))
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                fmt::Display::fmt(self, f)
            }
        }

        impl std::str::FromStr for $name {
            type Err = ParseIdError;

            fn from_str(text: &str) -> Result<Self, ParseIdError> {
                parse_hex(text).map(Self).ok_or(ParseIdError { hex_digits: $len * 2 })
            }
        }
    };
}

byte_id!(
    /// A host, given by the collector at enrolment; a cloned host gets another.
    HostId, 16
);
byte_id!(
    /// One boot of a host's kernel.
    BootId, 16
);
byte_id!(
    /// An episode of one series or log template under one detector; stable from open to clear.
    EpisodeId, 16
);
byte_id!(
    /// A change on a host.
    ChangeId, 16
);
byte_id!(
    /// A directive of the collector.
    DirectiveId, 16
);
byte_id!(
    /// SHA-256 of exact bytes: a module, a document, a file.
    Digest, 32
);

/// An identity's text was not the expected number of hexadecimal digits.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
#[error("expected {hex_digits} hexadecimal digits")]
pub struct ParseIdError {
    hex_digits: usize,
}

/// The owner of a fleet; constant for now.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TenantId(pub u32);

/// One life of an agent's spool: changes only when the spool is lost.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct QueueEpoch(pub u64);

/// Position of a batch within its queue epoch; the first is 1.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Sequence(pub u64);

/// A series within one queue epoch: given in order of appearance, never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesIndex(pub u32);

/// A series' stable key: the first 8 bytes (little-endian) of SHA-256 over its name and sorted attributes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct SeriesKey(pub u64);

/// A log template: the first 8 bytes (little-endian) of SHA-256 over its masked first-seen skeleton.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct TemplateId(pub u64);

impl Digest {
    /// SHA-256 of `bytes`.
    pub fn of(bytes: &[u8]) -> Self {
        use sha2::Digest as _;
        Self(sha2::Sha256::digest(bytes).into())
    }
}

impl TemplateId {
    /// The id of a masked skeleton.
    pub fn of(skeleton: &str) -> Self {
        let digest = Digest::of(skeleton.as_bytes()).0;
        Self(u64::from_le_bytes(std::array::from_fn(|i| digest[i])))
    }
}

fn parse_hex<const N: usize>(text: &str) -> Option<[u8; N]> {
    let digits = text.as_bytes();
    if digits.len() != N * 2 {
        return None;
    }
    let mut bytes = [0; N];
    for (byte, pair) in bytes.iter_mut().zip(digits.chunks_exact(2)) {
        let high = char::from(pair[0]).to_digit(16)?;
        let low = char::from(pair[1]).to_digit(16)?;
        *byte = u8::try_from(high * 16 + low).ok()?;
    }
    Some(bytes)
}

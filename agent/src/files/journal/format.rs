//! The parts of a journal file that are read, as documented at <https://systemd.io/JOURNAL_FILE_FORMAT>. Pure: bytes in,
//! what they say out. All integers are little-endian.

/// Bytes of the header that are read: its shortest form.
pub(super) const HEADER_BYTES: usize = 208;
/// Bytes before the items of an entry.
pub(super) const ENTRY_BYTES: usize = 64;
/// Bytes before the items of an array of entries.
pub(super) const ARRAY_BYTES: usize = 24;
const OBJECT_BYTES: usize = 16;
const SIGNATURE: &[u8; 8] = b"LPKSHHRH";

const COMPRESSED_XZ: u32 = 1;
const COMPRESSED_LZ4: u32 = 1 << 1;
const KEYED_HASH: u32 = 1 << 2;
const COMPRESSED_ZSTD: u32 = 1 << 3;
const COMPACT: u32 = 1 << 4;
const STATE_ARCHIVED: u8 = 2;

/// 128 bits that name a file, a boot or a run of sequence numbers.
pub(super) type Id = [u8; 16];

/// Why a file is not read.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum Refusal {
    /// It begins with something else.
    #[error("it is no journal file")]
    Foreign,
    /// It has features that came after this program.
    #[error("its format is newer than this program")]
    Newer,
    /// What it says of itself cannot be.
    #[error("it is damaged")]
    Damaged,
}

/// What a file says of itself.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) form: Form,
    pub(super) is_archived: bool,
    pub(super) file_id: Id,
    pub(super) seqnum_id: Id,
    pub(super) header_bytes: u64,
    pub(super) entries: u64,
    pub(super) tail_seqnum: u64,
    pub(super) entry_array: u64,
    pub(super) tail_realtime_us: u64,
}

/// How wide references are.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// 64 bits.
    Regular,
    /// 32 bits, since systemd 252.
    Compact,
}

/// How a payload is stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Compression {
    None,
    Xz,
    Lz4,
    Zstd,
}

/// An entry but for its items.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct EntryHead {
    pub(super) bytes: u64,
    pub(super) seqnum: u64,
    pub(super) realtime_us: u64,
    pub(super) monotonic_us: u64,
    pub(super) boot: Id,
}

/// The payload of a data object.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct DataHead {
    pub(super) compression: Compression,
    pub(super) payload_bytes: u64,
    /// Entries that have it.
    pub(super) entries: u64,
}

impl Header {
    pub(super) fn parse(bytes: &[u8; HEADER_BYTES]) -> Result<Self, Refusal> {
        if !bytes.starts_with(SIGNATURE) {
            return Err(Refusal::Foreign);
        }
        let incompatible = u32_at(bytes, 12);
        if incompatible & !(COMPRESSED_XZ | COMPRESSED_LZ4 | KEYED_HASH | COMPRESSED_ZSTD | COMPACT) != 0 {
            return Err(Refusal::Newer);
        }
        let header = Self {
            form: if incompatible & COMPACT == 0 { Form::Regular } else { Form::Compact },
            is_archived: bytes[16] == STATE_ARCHIVED,
            file_id: id_at(bytes, 24),
            seqnum_id: id_at(bytes, 72),
            header_bytes: u64_at(bytes, 88),
            entries: u64_at(bytes, 152),
            tail_seqnum: u64_at(bytes, 160),
            entry_array: u64_at(bytes, 176),
            tail_realtime_us: u64_at(bytes, 192),
        };
        let fits = header.header_bytes >= HEADER_BYTES as u64 && (header.entries == 0 || header.tail_seqnum > 0);
        if fits { Ok(header) } else { Err(Refusal::Damaged) }
    }
}

impl Form {
    /// Bytes of a reference in an array of entries.
    pub(super) const fn reference_bytes(self) -> u64 {
        match self {
            Self::Regular => 8,
            Self::Compact => 4,
        }
    }

    /// Bytes of an item of an entry: a reference, and a hash in the regular form.
    pub(super) const fn item_bytes(self) -> usize {
        match self {
            Self::Regular => 16,
            Self::Compact => 4,
        }
    }

    /// Bytes before the payload of a data object.
    pub(super) const fn data_bytes(self) -> usize {
        match self {
            Self::Regular => 64,
            Self::Compact => 72,
        }
    }

    /// The reference with which `bytes` begin; they hold one.
    pub(super) fn reference(self, bytes: &[u8]) -> u64 {
        match self {
            Self::Regular => u64_at(bytes, 0),
            Self::Compact => u64::from(u32_at(bytes, 0)),
        }
    }
}

/// Next array and capacity of an array of entries.
pub(super) fn entry_array(bytes: &[u8; ARRAY_BYTES], form: Form) -> Option<(u64, u64)> {
    let items = object(bytes, Object::EntryArray)?.checked_sub(ARRAY_BYTES as u64)?;
    Some((u64_at(bytes, 16), items / form.reference_bytes()))
}

pub(super) fn entry(bytes: &[u8; ENTRY_BYTES]) -> Option<EntryHead> {
    let length = object(bytes, Object::Entry).filter(|length| *length >= ENTRY_BYTES as u64)?;
    Some(EntryHead {
        bytes: length,
        seqnum: u64_at(bytes, 16),
        realtime_us: u64_at(bytes, 24),
        monotonic_us: u64_at(bytes, 32),
        boot: id_at(bytes, 40),
    })
}

/// `bytes` are at least [`Form::data_bytes`].
pub(super) fn data(bytes: &[u8], form: Form) -> Option<DataHead> {
    let payload_bytes = object(bytes, Object::Data)?.checked_sub(form.data_bytes() as u64)?;
    let compression = match bytes[1] & 7 {
        0 => Compression::None,
        1 => Compression::Xz,
        2 => Compression::Lz4,
        4 => Compression::Zstd,
        _ => return None,
    };
    Some(DataHead { compression, payload_bytes, entries: u64_at(bytes, 56) })
}

#[derive(Clone, Copy)]
enum Object {
    Data = 1,
    Entry = 3,
    EntryArray = 6,
}

/// Length of the object at the start of `bytes`, if it is of that type.
fn object(bytes: &[u8], wanted: Object) -> Option<u64> {
    let length = u64_at(bytes, 8);
    (bytes[0] == wanted as u8 && length >= OBJECT_BYTES as u64).then_some(length)
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(*bytes[at..].first_chunk().expect("the caller has read so many bytes"))
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(*bytes[at..].first_chunk().expect("the caller has read so many bytes"))
}

fn id_at(bytes: &[u8], at: usize) -> Id {
    *bytes[at..].first_chunk().expect("the caller has read so many bytes")
}

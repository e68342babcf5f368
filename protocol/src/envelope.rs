//! The frame around every message, on streams, in the spool and in quarantine.
//!
//! | bytes | field | value |
//! |---|---|---|
//! | 4 | magic | `VDTE` |
//! | 1 | version | [`VERSION`]; another one is refused by name |
//! | 1 | kind | [`Kind`]; an unknown one can be skipped |
//! | 2 | reserved | zero |
//! | 4 | length | of the payload, little-endian |
//! | n | payload | postcard |
//! | 4 | checksum | CRC32C over all that stands before, little-endian |

/// What every frame begins with.
pub const MAGIC: [u8; 4] = *b"VDTE";

/// The protocol version of this software.
pub const VERSION: u8 = 1;

/// Bytes before the payload.
pub const HEADER_BYTES: usize = 12;

/// Bytes that the envelope adds to a payload.
pub const OVERHEAD_BYTES: usize = HEADER_BYTES + 4;

/// Largest payload of any kind, known or not.
pub const PAYLOAD_BYTES_MAX: usize = 1 << 20;

/// What a payload is. Numbers are never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(u8)]
pub enum Kind {
    /// [`crate::v1::Batch`].
    Batch = 1,
    /// [`crate::v1::FromAgent`].
    FromAgent = 2,
    /// [`crate::v1::FromCollector`].
    FromCollector = 3,
    /// [`crate::v1::EnrollRequest`].
    EnrollRequest = 4,
    /// [`crate::v1::EnrollReply`].
    EnrollReply = 5,
    /// [`crate::v1::RenewRequest`].
    RenewRequest = 6,
    /// [`crate::v1::RenewReply`].
    RenewReply = 7,
    /// [`crate::v1::BeginAnew`].
    BeginAnew = 8,
    /// [`crate::v1::Health`].
    Health = 9,
}

impl Kind {
    /// All kinds.
    pub const ALL: [Self; 9] = [
        Self::Batch,
        Self::FromAgent,
        Self::FromCollector,
        Self::EnrollRequest,
        Self::EnrollReply,
        Self::RenewRequest,
        Self::RenewReply,
        Self::BeginAnew,
        Self::Health,
    ];

    /// Largest payload of this kind, in bytes.
    pub const fn payload_bytes_max(self) -> usize {
        match self {
            Self::Batch => PAYLOAD_BYTES_MAX,
            Self::FromAgent | Self::EnrollReply | Self::RenewReply => 64 << 10,
            Self::FromCollector => 256 << 10,
            Self::EnrollRequest | Self::RenewRequest => 16 << 10,
            Self::BeginAnew => 1 << 10,
            Self::Health => 32 << 10,
        }
    }

    fn from_byte(byte: u8) -> Option<Self> {
        Self::ALL.into_iter().find(|kind| *kind as u8 == byte)
    }
}

/// A checked frame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Frame {
    /// What it is.
    pub kind: Kind,
    /// Not decoded yet.
    pub payload: Vec<u8>,
}

/// Why bytes are not a frame. Nothing after such bytes can be trusted: close the stream.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EnvelopeError {
    /// It does not begin with [`MAGIC`].
    #[error("not a Vedette frame")]
    Magic,
    /// Made by software of another generation.
    #[error("protocol version {found}, this software speaks {VERSION}: upgrade the older side")]
    Version {
        /// Version in the frame.
        found: u8,
    },
    /// The reserved bytes are not zero.
    #[error("reserved bytes are in use")]
    Reserved,
    /// The payload would be longer than its kind may be.
    #[error("payload of {length} bytes, at most {most} are allowed")]
    TooLarge {
        /// Length that the frame claims.
        length: usize,
        /// Bound of its kind.
        most: usize,
    },
    /// The checksum does not fit.
    #[error("damaged: the checksum does not fit")]
    Checksum,
    /// The bytes end within a frame, or go on after the one that was expected.
    #[error("truncated, or followed by other bytes")]
    Length,
}

impl EnvelopeError {
    /// A short name for counters.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Magic => "magic",
            Self::Version { .. } => "version",
            Self::Reserved => "reserved",
            Self::TooLarge { .. } => "too-large",
            Self::Checksum => "checksum",
            Self::Length => "length",
        }
    }
}

/// Puts `payload` into a frame.
///
/// # Errors
///
/// [`EnvelopeError::TooLarge`] if it is longer than its kind may be.
pub fn seal(kind: Kind, payload: &[u8]) -> Result<Vec<u8>, EnvelopeError> {
    let most = kind.payload_bytes_max();
    if payload.len() > most {
        return Err(EnvelopeError::TooLarge { length: payload.len(), most });
    }
    let length = u32::try_from(payload.len()).expect("every bound is below 2^32");
    let mut frame = Vec::with_capacity(payload.len() + OVERHEAD_BYTES);
    frame.extend_from_slice(&MAGIC);
    frame.extend_from_slice(&[VERSION, kind as u8, 0, 0]);
    frame.extend_from_slice(&length.to_le_bytes());
    frame.extend_from_slice(payload);
    let checksum = crc32c::crc32c(&frame);
    frame.extend_from_slice(&checksum.to_le_bytes());
    Ok(frame)
}

/// The payload of exactly one frame of one kind.
///
/// # Errors
///
/// Any [`EnvelopeError`]; another kind than `expected` counts as [`EnvelopeError::Magic`].
pub fn open(expected: Kind, bytes: &[u8]) -> Result<&[u8], EnvelopeError> {
    let header = bytes.first_chunk().ok_or(EnvelopeError::Length)?;
    let Header { kind, payload_bytes } = Header::read(header)?;
    if bytes.len() != payload_bytes + OVERHEAD_BYTES {
        return Err(EnvelopeError::Length);
    }
    check_sum(bytes)?;
    if kind == Some(expected) {
        Ok(&bytes[HEADER_BYTES..HEADER_BYTES + payload_bytes])
    } else {
        Err(EnvelopeError::Magic)
    }
}

struct Header {
    kind: Option<Kind>,
    payload_bytes: usize,
}

impl Header {
    fn read(bytes: &[u8; HEADER_BYTES]) -> Result<Self, EnvelopeError> {
        let [m0, m1, m2, m3, version, kind, r0, r1, l0, l1, l2, l3] = *bytes;
        if [m0, m1, m2, m3] != MAGIC {
            return Err(EnvelopeError::Magic);
        }
        if version != VERSION {
            return Err(EnvelopeError::Version { found: version });
        }
        if [r0, r1] != [0, 0] {
            return Err(EnvelopeError::Reserved);
        }
        let kind = Kind::from_byte(kind);
        let length = usize::try_from(u32::from_le_bytes([l0, l1, l2, l3])).unwrap_or(usize::MAX);
        let most = kind.map_or(PAYLOAD_BYTES_MAX, Kind::payload_bytes_max);
        if length > most {
            return Err(EnvelopeError::TooLarge { length, most });
        }
        Ok(Self { kind, payload_bytes: length })
    }
}

/// `frame` is a whole frame; its last four bytes are the checksum of the rest.
fn check_sum(frame: &[u8]) -> Result<(), EnvelopeError> {
    let (content, checksum) = frame.split_last_chunk().ok_or(EnvelopeError::Length)?;
    if crc32c::crc32c(content) == u32::from_le_bytes(*checksum) { Ok(()) } else { Err(EnvelopeError::Checksum) }
}

/// Takes frames out of a byte stream as they become whole.
///
/// Holds at most one frame and the bytes pushed after it: call [`Decoder::next_frame`] until `None` before the next push.
#[derive(Debug, Default)]
pub struct Decoder {
    buffer: Vec<u8>,
    skipped: u64,
    failed: Option<EnvelopeError>,
}

impl Decoder {
    /// Takes bytes as they arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        if self.failed.is_none() {
            self.buffer.extend_from_slice(bytes);
        }
    }

    /// The next whole frame of a known kind; unknown kinds are skipped and counted.
    ///
    /// # Errors
    ///
    /// The [`EnvelopeError`] of the first bad frame, from then on always: a stream cannot be read past it.
    pub fn next_frame(&mut self) -> Result<Option<Frame>, EnvelopeError> {
        if let Some(error) = self.failed {
            return Err(error);
        }
        let next = self.take_frame();
        if let Err(error) = next {
            self.failed = Some(error);
            self.buffer = Vec::new();
        }
        next
    }

    /// Frames of unknown kinds so far.
    pub const fn skipped(&self) -> u64 {
        self.skipped
    }

    /// Bytes of a frame that is not whole yet.
    pub const fn pending_bytes(&self) -> usize {
        self.buffer.len()
    }

    fn take_frame(&mut self) -> Result<Option<Frame>, EnvelopeError> {
        loop {
            let Some(header) = self.buffer.first_chunk() else { return Ok(None) };
            let Header { kind, payload_bytes } = Header::read(header)?;
            let frame_bytes = payload_bytes + OVERHEAD_BYTES;
            let Some(frame) = self.buffer.get(..frame_bytes) else { return Ok(None) };
            check_sum(frame)?;
            let payload = frame[HEADER_BYTES..HEADER_BYTES + payload_bytes].to_vec();
            self.buffer.drain(..frame_bytes);
            match kind {
                Some(kind) => return Ok(Some(Frame { kind, payload })),
                None => self.skipped += 1,
            }
        }
    }
}

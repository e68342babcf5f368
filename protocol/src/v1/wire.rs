//! Messages of version 1 to bytes and back.

use super::limits::{Invalid, Validate};
use super::{Batch, BeginAnew, EnrollReply, EnrollRequest, FromAgent, FromCollector, Health, RenewReply, RenewRequest};
use crate::envelope::{self, EnvelopeError, Frame, Kind};
use crate::ids::{BootId, QueueEpoch, Sequence, TenantId};
use serde::{Deserialize, Serialize, de::DeserializeOwned};

/// A message that has a frame of its own.
pub trait Message: Serialize + DeserializeOwned + Validate {
    /// Kind of its frame.
    const KIND: Kind;
}

impl Message for Batch {
    const KIND: Kind = Kind::Batch;
}
impl Message for FromAgent {
    const KIND: Kind = Kind::FromAgent;
}
impl Message for FromCollector {
    const KIND: Kind = Kind::FromCollector;
}
impl Message for EnrollRequest {
    const KIND: Kind = Kind::EnrollRequest;
}
impl Message for EnrollReply {
    const KIND: Kind = Kind::EnrollReply;
}
impl Message for RenewRequest {
    const KIND: Kind = Kind::RenewRequest;
}
impl Message for RenewReply {
    const KIND: Kind = Kind::RenewReply;
}
impl Message for BeginAnew {
    const KIND: Kind = Kind::BeginAnew;
}
impl Message for Health {
    const KIND: Kind = Kind::Health;
}

/// Why a message was not encoded. The sender made it wrong: drop it and count.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum EncodeError {
    /// Larger than a receiver takes: split it.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// A receiver would refuse it.
    #[error(transparent)]
    Invalid(#[from] Invalid),
    /// Not representable.
    #[error("cannot be written: {0}")]
    Postcard(postcard::Error),
}

/// Why bytes were not taken as a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum DecodeError {
    /// Not a frame, damaged, of another version, or too large.
    #[error(transparent)]
    Envelope(#[from] EnvelopeError),
    /// A sound frame of another kind.
    #[error("a frame of kind {found:?} where {expected:?} belongs")]
    Kind {
        /// Kind of the frame.
        found: Kind,
        /// Kind that belongs here.
        expected: Kind,
    },
    /// A sound frame whose payload is not such a message.
    #[error("the payload is no such message")]
    Payload,
    /// A message that breaks a limit.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl DecodeError {
    /// A short name for counters.
    pub const fn reason(&self) -> &'static str {
        match self {
            Self::Envelope(error) => error.reason(),
            Self::Kind { .. } => "kind",
            Self::Payload => "payload",
            Self::Invalid(_) => "invalid",
        }
    }
}

/// The frame of a message.
///
/// # Errors
///
/// What a receiver would refuse is not encoded, see [`EncodeError`].
pub fn encode<M: Message>(message: &M) -> Result<Vec<u8>, EncodeError> {
    message.validate()?;
    let payload = postcard::to_stdvec(message).map_err(EncodeError::Postcard)?;
    Ok(envelope::seal(M::KIND, &payload)?)
}

/// The message of exactly one frame.
///
/// # Errors
///
/// Any [`DecodeError`].
pub fn decode<M: Message>(bytes: &[u8]) -> Result<M, DecodeError> {
    decode_payload(envelope::open(M::KIND, bytes)?)
}

/// The message of a frame that a [`envelope::Decoder`] gave out.
///
/// # Errors
///
/// [`DecodeError::Kind`], [`DecodeError::Payload`] or [`DecodeError::Invalid`].
pub fn decode_frame<M: Message>(frame: &Frame) -> Result<M, DecodeError> {
    if frame.kind != M::KIND {
        return Err(DecodeError::Kind { found: frame.kind, expected: M::KIND });
    }
    decode_payload(&frame.payload)
}

fn decode_payload<M: Message>(payload: &[u8]) -> Result<M, DecodeError> {
    let (message, rest) = postcard::take_from_bytes::<M>(payload).map_err(|_| DecodeError::Payload)?;
    if !rest.is_empty() {
        return Err(DecodeError::Payload);
    }
    message.validate()?;
    Ok(message)
}

/// The first fields of a [`Batch`]: enough to say which one it was when the rest cannot be used.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchKey {
    /// Owner.
    pub tenant: TenantId,
    /// Boot of the host in which it was made.
    pub boot: BootId,
    /// Life of the spool.
    pub queue_epoch: QueueEpoch,
    /// Position in it.
    pub sequence: Sequence,
}

/// The key of a batch whose frame is whole, though its content may be refused; `None` if the frame is damaged.
pub fn batch_key(bytes: &[u8]) -> Option<BatchKey> {
    let payload = envelope::open(Kind::Batch, bytes).ok()?;
    postcard::take_from_bytes(payload).ok().map(|(key, _)| key)
}

//! Frames on the worker's pipe: a `u32` little-endian length, then a body of that many bytes.
//!
//! What is said each second, [`WorkerRequest::Observe`] and [`WorkerReply::Scores`], travels as raw little-endian columns
//! behind a tag, so that both ends copy columns instead of walking over values; everything else is postcard, whose
//! first byte, a variant's index, stays below the tags. Both ends are one program: there are no versions.
//!
//! The halves without I/O ([`encode`], [`append`], [`decode`], [`body_len`]) serve an asynchronous shell, [`read`] and
//! [`write`] a blocking one. [`Spare`] takes buffers of earlier messages, so that the steady state allocates nothing.

use crate::instance::ROWS_MAX;
use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read, Write};
use vedette_protocol::worker::{Columns, WorkerReply, WorkerRequest};

/// Bytes of the length prefix.
pub const PREFIX_BYTES: usize = 4;
/// Largest request: an artifact and its frame.
pub const REQUEST_BYTES_MAX: usize = crate::artifact::CWASM_BYTES_MAX + 64 * 1024;
/// Largest reply: twice what may be lifted from a guest in one call.
pub const REPLY_BYTES_MAX: usize = 2 * 1024 * 1024;

const TAG_OBSERVE: u8 = 0x80;
const TAG_SCORES: u8 = 0x81;
/// Tag, three zeros, detector.
const HEAD_BYTES: usize = 8;
/// Bytes of a row of four columns.
const ROW_BYTES: usize = 8 + 4 + 4 + 1;

/// Why a frame was refused. After any of these the pipe is out of step: close it.
#[derive(Debug, thiserror::Error)]
pub enum WireError {
    /// Longer than the cap.
    #[error("a frame of {len} bytes is over the limit of {max}")]
    TooLong {
        /// Announced length.
        len: usize,
        /// Cap.
        max: usize,
    },
    /// The bytes are no such message, or go on after it.
    #[error("not a message: {0}")]
    Malformed(String),
    /// The pipe failed; [`io::ErrorKind::UnexpectedEof`] in the middle of a frame.
    #[error(transparent)]
    Io(#[from] io::Error),
}

/// Buffers that the next decoded message may use.
#[derive(Debug, Default)]
pub struct Spare {
    /// For [`WorkerRequest::Observe`].
    pub columns: Columns,
    /// For [`WorkerReply::Scores`].
    pub scores: Vec<f32>,
}

/// What travels on the pipe: requests one way, replies the other.
pub trait Message: Sized {
    /// Appends the body.
    ///
    /// # Errors
    ///
    /// [`WireError::Malformed`] if it cannot be said: columns of different lengths. `frame` may hold a part of it then.
    fn encode(&self, frame: &mut Vec<u8>) -> Result<(), WireError>;

    /// Reads a body, into `spare` where the message has room for it.
    ///
    /// # Errors
    ///
    /// [`WireError::Malformed`] if it is another message, or longer.
    fn decode(body: &[u8], spare: &mut Spare) -> Result<Self, WireError>;
}

impl Message for WorkerRequest {
    fn encode(&self, frame: &mut Vec<u8>) -> Result<(), WireError> {
        let Self::Observe { detector, tick, columns } = self else { return encode_rare(self, frame) };
        let Columns { ids, dt_ms, flags, values } = columns;
        let rows = ids.len();
        if [dt_ms.len(), flags.len(), values.len()] != [rows; 3] {
            return Err(WireError::Malformed(format!("columns of {rows} rows are not of one length")));
        }
        frame.reserve(HEAD_BYTES + 8 + rows * ROW_BYTES);
        put_head(frame, TAG_OBSERVE, *detector);
        frame.extend_from_slice(&tick.to_le_bytes());
        put(frame, values, f64::to_le_bytes);
        put(frame, ids, u32::to_le_bytes);
        put(frame, dt_ms, u32::to_le_bytes);
        frame.extend_from_slice(flags);
        Ok(())
    }

    fn decode(body: &[u8], spare: &mut Spare) -> Result<Self, WireError> {
        let Some((detector, rest)) = take_head(body, TAG_OBSERVE) else { return decode_rare(body) };
        let (tick, rest) = take_u64(rest)?;
        let rows = rest.len() / ROW_BYTES;
        if rows * ROW_BYTES != rest.len() || rows > ROWS_MAX {
            return Err(WireError::Malformed(format!("{} bytes are no rows", rest.len())));
        }
        let mut columns = std::mem::take(&mut spare.columns);
        let (values, rest) = rest.split_at(rows * 8);
        let (ids, rest) = rest.split_at(rows * 4);
        let (dt_ms, flags) = rest.split_at(rows * 4);
        fill(&mut columns.values, values, f64::from_le_bytes);
        fill(&mut columns.ids, ids, u32::from_le_bytes);
        fill(&mut columns.dt_ms, dt_ms, u32::from_le_bytes);
        columns.flags.clear();
        columns.flags.extend_from_slice(flags);
        Ok(Self::Observe { detector, tick, columns })
    }
}

impl Message for WorkerReply {
    fn encode(&self, frame: &mut Vec<u8>) -> Result<(), WireError> {
        let Self::Scores { detector, tick, scores, guest_ns, memory_bytes } = self else {
            return encode_rare(self, frame);
        };
        frame.reserve(HEAD_BYTES + 24 + scores.len() * 4);
        put_head(frame, TAG_SCORES, *detector);
        for number in [tick, guest_ns, memory_bytes] {
            frame.extend_from_slice(&number.to_le_bytes());
        }
        put(frame, scores, f32::to_le_bytes);
        Ok(())
    }

    fn decode(body: &[u8], spare: &mut Spare) -> Result<Self, WireError> {
        let Some((detector, rest)) = take_head(body, TAG_SCORES) else { return decode_rare(body) };
        let (tick, rest) = take_u64(rest)?;
        let (guest_ns, rest) = take_u64(rest)?;
        let (memory_bytes, rest) = take_u64(rest)?;
        if !rest.len().is_multiple_of(4) || rest.len() / 4 > ROWS_MAX {
            return Err(WireError::Malformed(format!("{} bytes are no scores", rest.len())));
        }
        let mut scores = std::mem::take(&mut spare.scores);
        fill(&mut scores, rest, f32::from_le_bytes);
        Ok(Self::Scores { detector, tick, scores, guest_ns, memory_bytes })
    }
}

fn put_head(frame: &mut Vec<u8>, tag: u8, detector: u32) {
    frame.extend_from_slice(&[tag, 0, 0, 0]);
    frame.extend_from_slice(&detector.to_le_bytes());
}

/// The detector and what follows the head, if the body carries this tag.
fn take_head(body: &[u8], tag: u8) -> Option<(u32, &[u8])> {
    let (head, rest) = body.split_first_chunk::<HEAD_BYTES>()?;
    let [first, _, _, _, a, b, c, d] = *head;
    (first == tag).then_some((u32::from_le_bytes([a, b, c, d]), rest))
}

fn take_u64(body: &[u8]) -> Result<(u64, &[u8]), WireError> {
    let (number, rest) = body.split_first_chunk().ok_or_else(|| WireError::Malformed("a number is cut".into()))?;
    Ok((u64::from_le_bytes(*number), rest))
}

/// Appends a column; the loop becomes one copy.
fn put<T: Copy, const N: usize>(frame: &mut Vec<u8>, column: &[T], bytes: fn(T) -> [u8; N]) {
    let at = frame.len();
    frame.resize(at + N * column.len(), 0);
    let (places, _) = frame[at..].as_chunks_mut();
    places.iter_mut().zip(column).for_each(|(place, item)| *place = bytes(*item));
}

/// Replaces a column's content.
fn fill<T, const N: usize>(column: &mut Vec<T>, bytes: &[u8], item: fn([u8; N]) -> T) {
    column.clear();
    let (items, _) = bytes.as_chunks();
    column.extend(items.iter().map(|bytes| item(*bytes)));
}

fn encode_rare<T: Serialize>(message: &T, frame: &mut Vec<u8>) -> Result<(), WireError> {
    let body = postcard::to_allocvec(message).map_err(|error| WireError::Malformed(error.to_string()))?;
    frame.extend_from_slice(&body);
    Ok(())
}

fn decode_rare<T: DeserializeOwned>(body: &[u8]) -> Result<T, WireError> {
    if body.first().is_some_and(|tag| *tag >= TAG_OBSERVE) {
        return Err(WireError::Malformed("a tag that is not known here, or without its head".into()));
    }
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(WireError::Malformed(format!("{} bytes too many", rest.len()))),
        Err(error) => Err(WireError::Malformed(error.to_string())),
    }
}

/// Replaces the content of `frame` by prefix and message.
///
/// # Errors
///
/// [`WireError::TooLong`] if the message is over `max` bytes, [`WireError::Malformed`] if it cannot be said.
pub fn encode(message: &impl Message, max: usize, frame: &mut Vec<u8>) -> Result<(), WireError> {
    frame.clear();
    append(message, max, frame)
}

/// Appends prefix and message to `frames`; on an error they are as before.
///
/// # Errors
///
/// [`WireError::TooLong`] if the message is over `max` bytes, [`WireError::Malformed`] if it cannot be said.
pub fn append(message: &impl Message, max: usize, frames: &mut Vec<u8>) -> Result<(), WireError> {
    let at = frames.len();
    frames.extend_from_slice(&[0; PREFIX_BYTES]);
    let body = at + PREFIX_BYTES;
    let appended = message.encode(frames).and_then(|()| {
        let len = frames.len() - body;
        u32::try_from(len).ok().filter(|_| len <= max).ok_or(WireError::TooLong { len, max })
    });
    match appended {
        Ok(prefix) => frames[at..body].copy_from_slice(&prefix.to_le_bytes()),
        Err(error) => {
            frames.truncate(at);
            return Err(error);
        }
    }
    Ok(())
}

/// Length of the message that follows this prefix.
///
/// # Errors
///
/// [`WireError::TooLong`] if it is over `max` bytes: nothing may be allocated for it.
pub fn body_len(prefix: [u8; PREFIX_BYTES], max: usize) -> Result<usize, WireError> {
    let len = u32::from_le_bytes(prefix) as usize;
    if len > max { Err(WireError::TooLong { len, max }) } else { Ok(len) }
}

/// The message in `body`, which it fills; its columns or scores lie in the buffers of `spare`.
///
/// # Errors
///
/// [`WireError::Malformed`] if it is another message, or longer.
pub fn decode<T: Message>(body: &[u8], spare: &mut Spare) -> Result<T, WireError> {
    T::decode(body, spare)
}

/// Reads one message through `body`, a reusable buffer; `None` when the pipe was closed between two frames.
///
/// # Errors
///
/// Any [`WireError`].
pub fn read<T: Message>(input: &mut impl Read, max: usize, body: &mut Vec<u8>) -> Result<Option<T>, WireError> {
    read_into(input, max, body, &mut Spare::default())
}

/// The same, into the buffers of `spare`.
///
/// # Errors
///
/// Any [`WireError`].
pub fn read_into<T: Message>(
    input: &mut impl Read,
    max: usize,
    body: &mut Vec<u8>,
    spare: &mut Spare,
) -> Result<Option<T>, WireError> {
    let mut prefix = [0; PREFIX_BYTES];
    if !read_first(input, &mut prefix)? {
        return Ok(None);
    }
    body.resize(body_len(prefix, max)?, 0);
    input.read_exact(body)?;
    decode(body, spare).map(Some)
}

/// Writes one message through `frame`, a reusable buffer.
///
/// # Errors
///
/// Any [`WireError`]; after [`WireError::TooLong`] nothing was written.
pub fn write(
    output: &mut impl Write,
    message: &impl Message,
    max: usize,
    frame: &mut Vec<u8>,
) -> Result<(), WireError> {
    encode(message, max, frame)?;
    output.write_all(frame)?;
    Ok(output.flush()?)
}

/// Fills `buffer`; false if the input ended before its first byte.
fn read_first(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
    let first = loop {
        match input.read(buffer) {
            Ok(len) => break len,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    };
    if first == 0 {
        return Ok(false);
    }
    input.read_exact(&mut buffer[first..]).map(|()| true)
}

#[cfg(test)]
mod tests;

//! Length-prefixed postcard on the worker's pipe: a `u32` little-endian length, then that many bytes.
//!
//! The halves without I/O ([`encode`], [`decode`], [`body_len`]) serve an asynchronous shell, [`read`] and [`write`] a
//! blocking one.

use serde::Serialize;
use serde::de::DeserializeOwned;
use std::io::{self, Read, Write};

/// Bytes of the length prefix.
pub const PREFIX_BYTES: usize = 4;
/// Largest request: an artifact and its frame.
pub const REQUEST_BYTES_MAX: usize = crate::artifact::CWASM_BYTES_MAX + 64 * 1024;
/// Largest reply: twice what may be lifted from a guest in one call.
pub const REPLY_BYTES_MAX: usize = 2 * 1024 * 1024;

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

/// Replaces the content of `frame` by prefix and message.
///
/// # Errors
///
/// [`WireError::TooLong`] if the message is over `max` bytes.
pub fn encode<T: Serialize>(message: &T, max: usize, frame: &mut Vec<u8>) -> Result<(), WireError> {
    frame.clear();
    frame.extend_from_slice(&[0; PREFIX_BYTES]);
    *frame =
        postcard::to_extend(message, std::mem::take(frame)).map_err(|error| WireError::Malformed(error.to_string()))?;
    let len = frame.len() - PREFIX_BYTES;
    let prefix = u32::try_from(len).ok().filter(|_| len <= max).ok_or(WireError::TooLong { len, max })?;
    frame[..PREFIX_BYTES].copy_from_slice(&prefix.to_le_bytes());
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

/// The message in `body`, which it fills.
///
/// # Errors
///
/// [`WireError::Malformed`] if it is another message, or longer.
pub fn decode<T: DeserializeOwned>(body: &[u8]) -> Result<T, WireError> {
    match postcard::take_from_bytes(body) {
        Ok((message, [])) => Ok(message),
        Ok((_, rest)) => Err(WireError::Malformed(format!("{} bytes too many", rest.len()))),
        Err(error) => Err(WireError::Malformed(error.to_string())),
    }
}

/// Reads one message through `body`, a reusable buffer; `None` when the pipe was closed between two frames.
///
/// # Errors
///
/// Any [`WireError`].
pub fn read<T: DeserializeOwned>(
    input: &mut impl Read,
    max: usize,
    body: &mut Vec<u8>,
) -> Result<Option<T>, WireError> {
    let mut prefix = [0; PREFIX_BYTES];
    if !fill(input, &mut prefix)? {
        return Ok(None);
    }
    body.resize(body_len(prefix, max)?, 0);
    input.read_exact(body)?;
    decode(body).map(Some)
}

/// Writes one message through `frame`, a reusable buffer.
///
/// # Errors
///
/// Any [`WireError`]; after [`WireError::TooLong`] nothing was written.
pub fn write<T: Serialize>(
    output: &mut impl Write,
    message: &T,
    max: usize,
    frame: &mut Vec<u8>,
) -> Result<(), WireError> {
    encode(message, max, frame)?;
    output.write_all(frame)?;
    Ok(output.flush()?)
}

/// Fills `buffer`; false if the input ended before its first byte.
fn fill(input: &mut impl Read, buffer: &mut [u8]) -> io::Result<bool> {
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
mod tests {
    use super::*;
    use vedette_protocol::worker::{WorkerReply, WorkerRequest};

    #[test]
    fn messages_survive_and_the_end_is_seen() {
        let request = WorkerRequest::Explain { detector: 3, ids: vec![1, 2, 300] };
        let (mut pipe, mut buffer) = (Vec::new(), Vec::new());
        write(&mut pipe, &request, 1_000, &mut buffer).unwrap();
        write(&mut pipe, &WorkerRequest::Seal, 1_000, &mut buffer).unwrap();
        let mut input = pipe.as_slice();
        assert_eq!(read::<WorkerRequest>(&mut input, 1_000, &mut buffer).unwrap(), Some(request));
        assert_eq!(read::<WorkerRequest>(&mut input, 1_000, &mut buffer).unwrap(), Some(WorkerRequest::Seal));
        assert!(read::<WorkerRequest>(&mut input, 1_000, &mut buffer).unwrap().is_none());
    }

    #[test]
    fn an_announced_giant_is_refused_before_it_is_allocated() {
        let mut buffer = Vec::new();
        let refused = read::<WorkerReply>(&mut &u32::MAX.to_le_bytes()[..], 1_000, &mut buffer);
        assert!(matches!(refused, Err(WireError::TooLong { max: 1_000, .. })));
        assert_eq!(buffer.capacity(), 0);
    }

    #[test]
    fn a_torn_frame_and_a_tail_are_errors() {
        let mut buffer = Vec::new();
        assert!(matches!(read::<WorkerReply>(&mut &[5, 0, 0, 0, 1][..], 10, &mut buffer), Err(WireError::Io(_))));
        let mut frame = Vec::new();
        encode(&WorkerRequest::Seal, 10, &mut frame).unwrap();
        frame.push(0);
        assert!(matches!(decode::<WorkerRequest>(&frame[PREFIX_BYTES..]), Err(WireError::Malformed(_))));
        assert!(matches!(encode(&vec![0_u8; 11], 10, &mut frame), Err(WireError::TooLong { len: 12, max: 10 })));
    }
}

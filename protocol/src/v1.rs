//! Wire version 1. Frozen once released: a field is never added, removed or moved; a new need is a new version.

pub mod batch;
pub mod control;
pub mod finding;
pub mod limits;
pub mod wire;

pub use batch::*;
pub use control::*;
pub use finding::*;
pub use limits::{Invalid, Validate};
pub use wire::{BatchKey, DecodeError, EncodeError, Message, batch_key, decode, decode_frame, encode};

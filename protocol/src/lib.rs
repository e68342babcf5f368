//! Everything that crosses a process boundary: identities, times, wire frames, the worker's pipe, signed documents.
//!
//! Sans-IO: this crate knows no clock, file, socket or async runtime.

pub mod document;
pub mod envelope;
pub mod ids;
pub mod policy;
pub mod series;
pub mod session;
pub mod signature;
pub mod time;
pub mod v1;
pub mod worker;

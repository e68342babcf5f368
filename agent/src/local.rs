//! The local interface: a Unix socket on which one line asks and the agent answers. It can only be read.
//!
//! A question is `v1 <name>`; the answer is one line of JSON, or a page of text, and the end of the connection. Who may
//! open the socket may ask: the agent's own user and its group (0660).

mod client;
mod places;
mod question;
mod server;

pub use client::ask;
pub(crate) use places::Places;
pub use question::Question;
pub use server::{Answer, Asked, Socket};

/// Longest question, its line end included.
pub const QUESTION_BYTES_MAX: u64 = 512;
/// Questions that are answered at one time; the next ones wait for a place.
pub const CONNECTIONS_MAX: usize = 8;
/// Longest answer that a client takes in.
pub const ANSWER_BYTES_MAX: u64 = 4 << 20;

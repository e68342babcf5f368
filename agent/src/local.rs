//! The local interface: a Unix socket on which one line asks and the agent answers. It can only be read.
//!
//! A question is `v1 <name>`; the answer is one line of JSON, or a page of text, and the end of the connection. `v1 tap` with
//! a list of patterns is answered by lines of JSON for as long as who asked reads them. Who may open the socket may ask: the
//! agent's own user and its group (0660).

mod client;
mod places;
mod question;
mod server;
mod tap;

pub use client::{Followed, ask, follow};
pub(crate) use places::Places;
pub use question::{Line, Question};
pub use server::{Answer, Asked, Socket};
pub use tap::OpenTap;

/// Longest question, its line end included.
pub const QUESTION_BYTES_MAX: u64 = 6 << 10;
/// Questions that are answered at one time; the next ones wait for a place.
pub const CONNECTIONS_MAX: usize = 4;
/// Readers that follow at one time; the next one is refused.
pub const TAPS_MAX: usize = 4;
/// Portions of lines that wait for one of them.
pub const PORTIONS_MAX: usize = 2;
/// Longest answer that a client takes in.
pub const ANSWER_BYTES_MAX: u64 = 4 << 20;

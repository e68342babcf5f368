//! Files on the host: logs that are followed, and files whose edits are changes.

pub mod tail;
pub mod watch;

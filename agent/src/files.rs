//! Files on the host: logs and the journal that are followed, and files whose edits are changes.

pub mod journal;
pub mod tail;
pub mod watch;

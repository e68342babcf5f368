//! What became of the frames of one class, as far as the log does not tell.

/// Number of [`Reason`]s.
pub const REASONS: usize = 5;

/// Why a frame was dropped here.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// The disk's share was full.
    DiskRoom = 0,
    /// Memory's share was full, and the disk did not take it.
    MemoryRoom = 1,
    /// It was damaged on disk.
    Damaged = 2,
    /// No collector would take it.
    Unsendable = 3,
    /// It was of a life of the spool that was left: made as another host, or under sequences that were used before.
    Left = 4,
}

/// Counts over the whole queue epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Books {
    /// Frames that were settled or dropped without ever having been in the log.
    pub unlogged: u64,
    /// Frames dropped, by [`Reason`].
    pub shed: [u64; REASONS],
}

impl Books {
    /// Frames dropped for any reason.
    pub fn shed_total(&self) -> u64 {
        self.shed.iter().sum()
    }
}

//! How much memory a judge takes at most.

use super::track::Seen;
use super::ward::Ward;
use super::{Decision, Declined, IN_FLIGHT_MAX, Judge, Pace, Track};
use crate::calibration::Pool;
use crate::episodes::Episode;
use crate::room;

/// States that are kept of a detector: so many bytes a row on average.
const STATE_BYTES_MEAN: usize = 1_024;
/// The same on a host with few rows, all together.
const STATES_BYTES_MIN: usize = 1 << 20;
/// A metric's name, in a block.
const NAME_BYTES: usize = 128;

impl Judge {
    /// Bytes of the heap that a judge of so many rows takes at most, whose series are of so many metrics.
    pub(crate) fn bytes_max(rows: usize, metrics: usize) -> usize {
        let wards = metrics * Pace::COUNT;
        let ward = 2 * Pool::HEAP_BYTES + NAME_BYTES;
        let question = 2 * room::list::<u32>(rows) + room::list::<bool>(rows) + room::list::<Seen>(rows);
        let episode = size_of::<Episode>() + room::BLOCK;
        room::list::<Option<Track>>(rows)
            + Self::states_bytes_max(rows)
            + rows * (room::BLOCK + episode + Track::HEAP_BYTES)
            + (IN_FLIGHT_MAX + 1) * question
            + room::list::<u32>(rows)
            + Declined::bytes_max(rows)
            + room::list::<Decision>(rows)
            + room::list::<Ward>(wards)
            + room::map::<String, u32>(metrics)
            + wards * ward
    }

    /// Bytes of states that are kept of a detector with so many rows.
    pub(crate) fn states_bytes_max(rows: usize) -> usize {
        (rows * STATE_BYTES_MEAN).max(STATES_BYTES_MIN)
    }

    /// Bytes of the states that are kept.
    pub(crate) fn states_bytes(&self) -> usize {
        self.tracks.iter().flatten().map(|track| track.state.len()).sum()
    }
}

//! The pipe between the agent and its detector worker: length-prefixed postcard, one request at a time per detector.
//!
//! The worker answers requests in the order in which it got them, so the first unanswered one names the guilty detector
//! when the worker dies.

use crate::ids::SeriesKey;
use crate::series::SeriesMeta;
use serde::{Deserialize, Serialize};

/// Bits of [`Columns::flags`].
pub mod flags {
    /// Values were missed before this one.
    pub const GAP: u8 = 1;
    /// The counter behind this rate was reset.
    pub const RESET: u8 = 2;
    /// Do not learn from this value: maintenance, open episode, deploy.
    pub const HOLD_LEARNING: u8 = 4;
}

/// Bytes of all states in one request: half of what the host lifts from a guest in one call.
const STATES_BYTES: usize = 512 << 10;
/// States in one request.
const STATES_MAX: usize = 256;
/// So many states always fit: a state of more than 64 KiB is taken from nobody, whatever was promised.
const STATES_MIN: usize = 8;

/// What the agent asks of the worker.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum WorkerRequest {
    /// Load a verified artifact. Only before [`WorkerRequest::Seal`].
    Load {
        /// Number of the detector in this worker, from 0.
        detector: u32,
        /// Bytes of the `.cwasm`.
        artifact: Vec<u8>,
        /// Parameters; the rest keep their defaults.
        parameters: Vec<(String, f64)>,
    },
    /// No more code: from here on no page can become executable.
    Seal,
    /// New series for one detector.
    SeriesAdded {
        /// Detector.
        detector: u32,
        /// Series.
        series: Vec<SeriesDescriptor>,
    },
    /// Series that ended.
    SeriesRemoved {
        /// Detector.
        detector: u32,
        /// Column ids.
        ids: Vec<u32>,
    },
    /// One tick of metric values or template counts.
    Observe {
        /// Detector.
        detector: u32,
        /// Tick number, echoed.
        tick: u64,
        /// Values; for a log detector, counts.
        columns: Columns,
    },
    /// Why the last scores.
    Explain {
        /// Detector.
        detector: u32,
        /// Column ids.
        ids: Vec<u32>,
    },
    /// State of series.
    Snapshot {
        /// Detector.
        detector: u32,
        /// Column ids.
        ids: Vec<u32>,
    },
    /// Take state over.
    Restore {
        /// Detector.
        detector: u32,
        /// Column ids, aligned with `states`.
        ids: Vec<u32>,
        /// States.
        states: Vec<SeriesState>,
    },
}

/// What the worker answers. Every request gets exactly one.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum WorkerReply {
    /// Loaded and configured.
    Loaded {
        /// Detector.
        detector: u32,
        /// Its own description.
        description: DetectorDescription,
    },
    /// Sealed: what the worker has given up, for `status`.
    Sealed {
        /// Confinement in force: names such as `no-new-privs`, `landlock`, `seccomp`, `no-new-code`.
        confinement: Vec<String>,
    },
    /// Answer to `SeriesAdded`.
    Added {
        /// Detector.
        detector: u32,
        /// Series that it declines, by column id and key: it knows nothing of them, and will never have a word on them.
        declined: Vec<(u32, SeriesKey)>,
    },
    /// Done, nothing to say.
    Done {
        /// Detector.
        detector: u32,
    },
    /// Scores of a tick.
    Scores {
        /// Detector.
        detector: u32,
        /// Tick number of the request.
        tick: u64,
        /// Aligned with the request's columns; NaN while learning.
        scores: Vec<f32>,
        /// Time inside the guest.
        guest_ns: u64,
        /// Linear memory that the guest holds after the call.
        memory_bytes: u64,
    },
    /// Answer to `Explain`.
    Explanations {
        /// Detector.
        detector: u32,
        /// Explanations.
        explanations: Vec<Explanation>,
    },
    /// Answer to `Snapshot`.
    Snapshots {
        /// Detector.
        detector: u32,
        /// States.
        states: Vec<SeriesState>,
    },
    /// The request failed; the instance is poisoned and will be restored or quarantined.
    Failed {
        /// Detector.
        detector: u32,
        /// Class of the failure.
        fault: Fault,
        /// For people.
        reason: String,
    },
}

/// Classes of detector failures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum Fault {
    /// The artifact was refused.
    Refused,
    /// The parameters were refused.
    Misconfigured,
    /// It ran longer than allowed.
    Timeout,
    /// It asked for more memory than allowed.
    Memory,
    /// It returned more than allowed or something misaligned.
    Output,
    /// It trapped.
    Trap,
    /// It took the worker down (forbidden system call or memory fault).
    Killed,
}

/// One tick as columns of one length; each id stands at most once.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Columns {
    /// Column ids.
    pub ids: Vec<u32>,
    /// Milliseconds since that series' previous value, 0 for its first.
    pub dt_ms: Vec<u32>,
    /// Bits of [`flags`].
    pub flags: Vec<u8>,
    /// Values in the series' unit.
    pub values: Vec<f64>,
}

/// A series told to a detector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesDescriptor {
    /// Column id in this worker.
    pub id: u32,
    /// Stable key.
    pub key: SeriesKey,
    /// Meaning.
    pub meta: SeriesMeta,
    /// Nominal time between values.
    pub interval_ms: u32,
    /// Snapshot of a peer to start from; empty for a cold start.
    pub prior: Vec<u8>,
}

/// State of one series.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesState {
    /// Stable key.
    pub key: SeriesKey,
    /// The detector's own encoding.
    pub state: Vec<u8>,
}

/// Why a series got its last score; numbers in the series' unit, NaN where they have no meaning.
#[derive(Clone, Copy, Debug, PartialEq, Serialize, Deserialize)]
pub struct Explanation {
    /// Column id.
    pub id: u32,
    /// Reason code (registry: wit/README.md).
    pub code: u32,
    /// Value seen.
    pub observed: f64,
    /// Value expected.
    pub expected: f64,
    /// Lower end of the expected band.
    pub lower: f64,
    /// Upper end of the expected band.
    pub upper: f64,
    /// Time before the last value at which the departure began.
    pub onset_ms_ago: u32,
    /// Half-width of its uncertainty.
    pub onset_uncertainty_ms: u32,
}

/// A detector's description of itself.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct DetectorDescription {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// What it takes.
    pub input: DetectorInput,
    /// Values learnt before scores mean anything.
    pub warm_up_values: u32,
    /// Upper bound of one series' snapshot.
    pub state_bytes_max: u32,
    /// A value that comes sooner than this after the one before hardly tells it anything; 0 if each one counts.
    pub look_ms: u32,
    /// Parameters in effect: name and value.
    pub parameters: Vec<(String, f64)>,
}

impl DetectorDescription {
    /// Most series in one request for states or with them: what a detector may answer at once has a limit in bytes.
    pub fn series_per_request(&self) -> usize {
        let state_bytes = usize::try_from(self.state_bytes_max).unwrap_or(usize::MAX).max(1);
        (STATES_BYTES / state_bytes).clamp(STATES_MIN, STATES_MAX)
    }
}

/// What a detector takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum DetectorInput {
    /// Metric values.
    Metrics,
    /// Template counts.
    LogTemplates,
    /// Metric values; the scores are votes, which count together.
    Votes,
    /// Metric values; a score below 1 says that the value is usual at this time, which holds back others' episodes.
    Seasonal,
    /// Metric values; no usual time excuses what the scores tell.
    Timeless,
}

impl DetectorInput {
    /// Whether it takes values of metrics.
    pub fn is_of_metrics(self) -> bool {
        self != Self::LogTemplates
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn states_of_one_request_stay_under_what_is_lifted_at_once() {
        let at_once = |state_bytes_max| {
            let (name, version, input) = (String::new(), String::new(), DetectorInput::Metrics);
            let (warm_up_values, look_ms, parameters) = (0, 0, Vec::new());
            DetectorDescription { name, version, input, warm_up_values, state_bytes_max, look_ms, parameters }
                .series_per_request()
        };
        assert_eq!([0, 8, 2 << 10, 3 << 10, 64 << 10, u32::MAX].map(at_once), [256, 256, 256, 170, 8, 8]);
    }
}

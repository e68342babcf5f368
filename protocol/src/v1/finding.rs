//! Findings and changes.

use crate::ids::{ChangeId, Digest, EpisodeId, TemplateId};
use crate::series::SeriesMeta;
use crate::time::WallTime;
use serde::{Deserialize, Serialize};

/// A calibrated verdict that opened or altered an episode. Self-contained: names its series in full.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Finding {
    /// Episode; the same from open to clear.
    pub episode: EpisodeId,
    /// What happened to the episode.
    pub event: EpisodeEvent,
    /// What it is about.
    pub subject: Subject,
    /// Who judged.
    pub detector: DetectorRef,
    /// When this was decided, by the host's wall clock.
    pub at: WallTime,
    /// Estimated begin of the departure, by the host's wall clock.
    pub onset: WallTime,
    /// Half-width of the onset's uncertainty.
    pub onset_uncertainty_ms: u32,
    /// The detector's reason code (registry: wit/README.md).
    pub code: u32,
    /// Raw score.
    pub score: f32,
    /// −log10 of the calibrated probability of such a score on a healthy host; larger is rarer.
    pub surprise: f32,
    /// Value seen, in the series' unit.
    pub observed: f64,
    /// Value expected; NaN if it has no meaning.
    pub expected: f64,
    /// Lower end of the expected band; NaN if none.
    pub lower: f64,
    /// Upper end of the expected band; NaN if none.
    pub upper: f64,
    /// Openings folded into this episode (flapping); 1 for none.
    pub occurrences: u32,
    /// From which the verdict can be recomputed; only on open.
    pub evidence: Option<Evidence>,
}

/// Life of an episode.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum EpisodeEvent {
    /// It began.
    Open,
    /// It goes on and its numbers changed.
    Update,
    /// It ended.
    Clear,
}

/// What an episode is about.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Subject {
    /// A metric series.
    Series(SeriesMeta),
    /// A log template.
    LogTemplate {
        /// Log source: the file's path.
        source: String,
        /// Declared service of that source; empty if none.
        service: String,
        /// Template.
        id: TemplateId,
        /// Masked skeleton.
        text: String,
        /// One masked line.
        exemplar: String,
    },
}

/// A detector module.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetectorRef {
    /// Name by its own description.
    pub name: String,
    /// Version by its own description.
    pub version: String,
    /// SHA-256 of the `.wasm`.
    pub digest: Digest,
}

/// The window, state and parameters from which a verdict can be recomputed.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Evidence {
    /// Parameters in effect.
    pub parameters: Vec<(String, f64)>,
    /// The series' snapshot at the last checkpoint.
    pub state: Vec<u8>,
    /// Calibration state at the verdict, in `edge`'s encoding.
    pub calibration: Vec<u8>,
    /// Since that checkpoint: milliseconds since the previous value, flags, value.
    pub samples: Vec<(u32, u8, f64)>,
}

/// Something that was altered on a host.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Change {
    /// Id, stable over re-sends.
    pub id: ChangeId,
    /// What sort.
    pub kind: ChangeKind,
    /// What was altered: a file's path, a package with its version, a unit, a container with its image.
    pub target: String,
    /// Declared service it belongs to; empty if none.
    pub service: String,
    /// When it happened if that is known, else when it was seen, by the host's wall clock.
    pub at: WallTime,
    /// SHA-256 of content, version or image before, never the content.
    pub before: Option<Digest>,
    /// SHA-256 after.
    pub after: Option<Digest>,
}

/// Sorts of changes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum ChangeKind {
    /// A watched file appeared.
    FileCreated,
    /// A watched file's content changed.
    FileEdited,
    /// A watched file disappeared.
    FileRemoved,
    /// The kernel was booted.
    Booted,
    /// Another kernel runs than before the boot.
    KernelChanged,
    /// A package appeared.
    PackageInstalled,
    /// A package has another version.
    PackageUpgraded,
    /// A package disappeared.
    PackageRemoved,
    /// A service began to run, or runs anew.
    UnitStarted,
    /// A service stopped or failed.
    UnitStopped,
    /// The program of a running service was replaced.
    BinaryReplaced,
    /// A container began to run, or runs anew.
    ContainerStarted,
    /// A container is gone.
    ContainerStopped,
    /// A container runs another image than before.
    ImageChanged,
    /// A setting of the kernel has another value.
    SysctlChanged,
}

//! The batch: unit of delivery, of priority and of checkpoint.

use super::finding::{Change, Finding};
use crate::ids::{BootId, QueueEpoch, Sequence, SeriesIndex, TemplateId, TenantId};
use crate::series::SeriesMeta;
use crate::time::{MonoTime, WallTime};
use serde::{Deserialize, Serialize};

/// What outranks what when room or bandwidth is short; the first is the most important.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub enum Class {
    /// Findings, changes, series definitions: never shed before anything else.
    Finding,
    /// Features and raw samples under a directive.
    Feature,
    /// Log template counts and exemplars.
    Log,
}

/// One batch. `(tenant, host, queue_epoch, sequence)` is its identity; the host comes from the certificate.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Batch {
    /// Owner.
    pub tenant: TenantId,
    /// Boot of the host in which it was made.
    pub boot: BootId,
    /// Life of the spool.
    pub queue_epoch: QueueEpoch,
    /// Position in it.
    pub sequence: Sequence,
    /// Rank.
    pub class: Class,
    /// When it was made, monotonic.
    pub mono: MonoTime,
    /// When it was made, by the host's wall clock, uncorrected.
    pub wall: WallTime,
    /// Where each source stood once this batch's content was taken from it.
    pub cursors: Vec<Cursor>,
    /// Content.
    pub body: Body,
}

/// How far a source had been read. Restarting from all cursors of the last acknowledged batches repeats nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Cursor {
    /// Source name, for a file its path.
    pub source: String,
    /// The source's own encoding of its position.
    pub position: Vec<u8>,
}

/// Content of a batch.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Body {
    /// Series that later batches of this queue epoch name by index.
    Series(Vec<SeriesDefinition>),
    /// Windows of series that changed.
    Features(Vec<Feature>),
    /// Raw samples of series under a directive, each by itself. Agents send [`Body::Block`].
    Samples(Vec<RawSamples>),
    /// Counts of log templates.
    Logs(LogWindow),
    /// Episodes opened, updated, cleared.
    Findings(Vec<Finding>),
    /// What was altered on the host.
    Changes(Vec<Change>),
    /// Raw samples of series under a directive: those of now, or those that the flight recorder held.
    Block(SampleBlock),
}

/// A series' index and meaning.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesDefinition {
    /// Index within the queue epoch.
    pub index: SeriesIndex,
    /// Meaning.
    pub meta: SeriesMeta,
}

/// One series over one window; values in the series' unit.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Feature {
    /// Series.
    pub series: SeriesIndex,
    /// End of the window, by the host's wall clock.
    pub end: WallTime,
    /// Length of the window.
    pub window_ms: u32,
    /// Values in it.
    pub count: u32,
    /// Smallest.
    pub min: f64,
    /// Largest.
    pub max: f64,
    /// Arithmetic mean.
    pub mean: f64,
    /// Last.
    pub last: f64,
}

/// Consecutive samples of one series.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct RawSamples {
    /// Series.
    pub series: SeriesIndex,
    /// Time of the first sample, by the host's wall clock.
    pub start: WallTime,
    /// Milliseconds since the previous sample and value; the first has 0.
    pub samples: Vec<(u32, f64)>,
}

/// Samples of many series, encoded together.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct SampleBlock {
    /// Time of the first sample, by the host's wall clock.
    pub begin: WallTime,
    /// Time of the last one.
    pub end: WallTime,
    /// Samples, of all series.
    pub samples: u32,
    /// A block of `edge::codec`: series by their index within the queue epoch, times in milliseconds since the Unix epoch
    /// by the host's wall clock.
    pub bytes: Vec<u8>,
}

/// Template counts of one log source over one window.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct LogWindow {
    /// Source: the file's path.
    pub source: String,
    /// End of the window, by the host's wall clock.
    pub end: WallTime,
    /// Length of the window.
    pub window_ms: u32,
    /// Lines per template; their sum is the number of lines read in the window.
    pub counts: Vec<(TemplateId, u64)>,
    /// Templates seen for the first time in this queue epoch.
    pub templates: Vec<Template>,
}

/// A log template.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Template {
    /// Id.
    pub id: TemplateId,
    /// Masked skeleton with `<*>` at the variable places.
    pub text: String,
    /// One masked line.
    pub exemplar: String,
}

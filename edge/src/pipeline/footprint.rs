//! How much memory a pipeline takes at most, told from its limits before it is made. Each part is counted where its
//! structures are; what only lives for a moment, on its way to worker or collector, is part of who makes it.

use super::{DEPARTED_BYTES_MAX, DEPARTED_MAX, Departed, TOLD_MAX};
use crate::evidence::{SNAPSHOTS_BYTES_MAX, Suspects};
use crate::habits::Habits;
use crate::judge::Judge;
use crate::learnt::LEARNT_BYTES_MAX;
use crate::logs::LogBook;
use crate::oddness::Oddness;
use crate::pipeline::plan::Look;
use crate::pipeline::record::{PULL_SAMPLES_MAX, SEARCHES_MAX};
use crate::planner::Planner;
use crate::recorder::{Recorder, RecorderConfig, Sent};
use crate::registry::Registry;
use crate::room;
use crate::usual::Usual;
use vedette_protocol::ids::SeriesKey;
use vedette_protocol::v1::{Feature, SeriesDefinition};
use vedette_protocol::worker::{SeriesDescriptor, SeriesState};

/// Bytes of one value in an `Observe` and of its score.
const ROW_BYTES: usize = 8 + 4 + 4 + 1 + 4;
/// A raw sample's buffers until the next window, a few each, and what they are shipped in.
const RAW_BYTES: usize = 768;
/// Texts of an open episode and of a finding about it.
const FINDING_BYTES: usize = 16 << 10;
/// What a text or a list costs in a message beside its bytes.
const SENT_OVERHEAD_BYTES: usize = 64;

/// What a pipeline is to be, as far as its memory goes.
#[derive(Clone, Copy, Debug)]
pub struct Extent {
    /// Most series.
    pub series_max: usize,
    /// Most log templates.
    pub templates_max: usize,
    /// Metrics that the sources know.
    pub metrics: usize,
    /// Detectors, shadows included.
    pub detectors: usize,
    /// Logs.
    pub log_sources: usize,
    /// Bytes of the longest path of a log with its service.
    pub log_name_bytes: usize,
    /// The flight recorder.
    pub recorder: Option<RecorderConfig>,
}

/// Bytes of the heap that it takes at most, by what for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Footprint {
    /// Series, their windows, and what is shipped of them.
    pub series: usize,
    /// Calibration, states and questions of all detectors, and evidence.
    pub detectors: usize,
    /// Log templates and counts on their way out.
    pub templates: usize,
    /// The flight recorder.
    pub recorder: usize,
}

impl Footprint {
    /// Of a pipeline.
    pub fn of(extent: &Extent) -> Self {
        let rows = extent.rows();
        // What waits for its detector after a restart, and what is being written.
        let learnt = if extent.detectors > 0 { 2 * LEARNT_BYTES_MAX } else { 0 };
        let templates = LogBook::bytes_max(extent.templates_max, extent.log_sources, extent.log_name_bytes);
        Self {
            series: series(extent.series_max),
            detectors: extent.detectors * detector(extent, rows) + evidence() + learnt,
            templates: templates + room::list::<u32>(extent.templates_max),
            recorder: extent.recorder.map_or(0, |config| {
                let series = extent.series_max + extent.templates_max + 1;
                let names = extent.templates_max * LogBook::name_bytes_max(extent.log_name_bytes);
                Recorder::bytes_max(&config, series, Registry::names_bytes_max(extent.series_max) + names)
            }),
        }
    }

    /// All of it.
    pub fn total(&self) -> usize {
        self.series + self.detectors + self.templates + self.recorder
    }
}

impl Extent {
    /// Series or templates that one detector judges.
    fn rows(&self) -> usize {
        self.series_max.max(self.templates_max) + 32
    }

    /// Bytes of all that one tick tells one detector of series, on its way to the worker.
    pub fn told_bytes_max(&self) -> usize {
        let told = self.rows().min(TOLD_MAX);
        let metrics = (told * Registry::name_bytes_max()).min(Registry::names_bytes_max(self.series_max));
        let templates = told * LogBook::name_bytes_max(self.log_name_bytes);
        let states = Judge::states_bytes_max(self.rows());
        metrics.max(templates) + states + told * 2 * SENT_OVERHEAD_BYTES
    }
}

fn series(series_max: usize) -> usize {
    let definitions = room::list::<SeriesDefinition>(series_max) + Registry::names_bytes_max(series_max);
    // Twice as many samples as are asked for wait while the blocks are gone through, in lists that have doubled.
    let pulled = SEARCHES_MAX * 4 * PULL_SAMPLES_MAX * size_of::<(i64, f64)>();
    // What may be looked at in a tick, what is, and whom an answer raises.
    let looks = room::list::<u32>(series_max) + room::list::<Look>(series_max);
    let plan = Planner::bytes_max(series_max) + looks + room::list::<(u32, f32)>(series_max);
    Registry::bytes_max(series_max)
        + room::list::<u32>(series_max)
        + plan
        + definitions
        + 2 * room::list::<Feature>(series_max)
        + series_max * RAW_BYTES
        + pulled
        + Sent::BYTES_MAX
}

fn detector(extent: &Extent, rows: usize) -> usize {
    let told = rows.min(TOLD_MAX);
    let lists = room::list::<SeriesDescriptor>(told) + room::list::<SeriesState>(told);
    Judge::bytes_max(rows, extent.metrics)
        + Oddness::bytes_max(rows)
        + Usual::bytes_max(rows)
        + Habits::bytes_max()
        + 2 * room::list::<[u8; ROW_BYTES]>(rows)
        + room::list::<(u32, SeriesKey)>(rows)
        + 2 * lists
        + extent.told_bytes_max()
}

fn evidence() -> usize {
    // A finding waits with its evidence, and is then on its way with it.
    let findings = super::findings::OPEN_MAX * 2 * FINDING_BYTES + 2 * SNAPSHOTS_BYTES_MAX;
    let departed = DEPARTED_BYTES_MAX + room::list::<Departed>(DEPARTED_MAX) + DEPARTED_MAX * room::text(64);
    Suspects::bytes_max() + findings + departed
}

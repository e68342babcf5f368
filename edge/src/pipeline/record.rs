//! What goes into the flight recorder, and what a directive pulls out of it.

use super::Pipeline;
use crate::codec::{self, Column};
use crate::logs::TOTAL_ROW;
use crate::recorder::{Recorded, Recorder, RecorderConfig, Sort, Window};
use vedette_protocol::policy::Directive;
use vedette_protocol::series::SeriesMeta;
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::{Body, Class, SampleBlock};

/// Samples that one directive pulls, all series together.
const PULL_SAMPLES_MAX: usize = 1 << 16;
/// Samples of one batch, which at eight bytes each is far below a frame's limit.
const BATCH_SAMPLES: usize = 1 << 14;

impl Pipeline {
    /// Records from now on.
    pub fn set_recorder(&mut self, config: RecorderConfig) {
        self.recorder = Some(Recorder::new(config));
    }

    /// The recorder, if there is one.
    pub fn recorder(&self) -> Option<&Recorder> {
        self.recorder.as_ref()
    }

    /// The next sealed block of the recorder for the disk; ask after every tick.
    pub fn poll_recorded(&mut self) -> Option<Recorded> {
        self.recorder.as_mut()?.poll_recorded()
    }

    /// Samples of metrics in memory that the disk does not have yet, the newest ones if they are more than `samples_max`:
    /// those of the block that fills, or all if nothing goes to disk.
    pub fn recorded_in_memory(&self, samples_max: usize) -> Vec<(SeriesMeta, Window)> {
        let Some(recorder) = &self.recorder else { return Vec::new() };
        let slots: Vec<u32> = self.registry.iter().map(|(slot, _)| slot).collect();
        let windows = recorder.window(Sort::Metric, &slots, recorder.unwritten_from_ms(), samples_max);
        let named = windows.into_iter().filter_map(|window| {
            let meta = self.registry.get(window.place)?.meta.clone();
            Some((meta, window))
        });
        named.collect()
    }

    /// Template counts of this tick; then the block is sealed if it is due.
    pub(super) fn record_tick(&mut self, now: MonoTime) {
        let Some(recorder) = &mut self.recorder else { return };
        let at_ms = self.clocks.wall_at(now).unix_ms();
        for (row, lines) in (0u32..).zip(&self.line_counts).filter(|(row, lines)| *row == TOTAL_ROW || **lines > 0) {
            let Some(key) = self.logs.key(row) else { continue };
            let logs = &self.logs;
            recorder.sample((Sort::Template, row), key, 1.0, (at_ms, f64::from(*lines)), || logs.meta(row));
        }
        recorder.tick(at_ms);
    }

    /// What the recorder holds of the metrics that a directive names, as far back as it asks, goes out at once, after
    /// everything else that waits.
    pub(super) fn pull(&mut self, now: MonoTime, directive: &Directive) {
        let Some(recorder) = self.recorder.as_ref().filter(|_| directive.look_back_ms > 0) else { return };
        let wanted = self.registry.iter().filter(|(_, series)| directive.raw_metrics.contains(&series.meta.metric));
        let slots: Vec<u32> = wanted.map(|(slot, _)| slot).take(self.policy.ceilings.raw_series_max as usize).collect();
        let begin_ms = self.clocks.wall_at(now).unix_ms() - i64::from(directive.look_back_ms);
        let windows = recorder.window(Sort::Metric, &slots, begin_ms, PULL_SAMPLES_MAX);
        self.ledger.recorded_sent += windows.iter().map(|window| window.values.len() as u64).sum::<u64>();
        self.announce_series();
        self.ship_blocks(Class::Log, &windows);
    }

    /// Samples of series by slot, in batches that fit a frame.
    pub(super) fn ship_blocks(&mut self, class: Class, windows: &[Window]) {
        let mut columns = Vec::new();
        for window in windows {
            let Some(series) = self.registry.get(window.place) else { continue };
            for (times_ms, values) in window.times_ms.chunks(BATCH_SAMPLES).zip(window.values.chunks(BATCH_SAMPLES)) {
                columns.push(Column { id: series.index.0, resolution: window.resolution, times_ms, values });
            }
        }
        let (mut part, mut bodies) = (Vec::new(), Vec::new());
        for column in columns {
            let samples: usize = part.iter().map(|column: &Column<'_>| column.values.len()).sum();
            if samples + column.values.len() > BATCH_SAMPLES {
                bodies.extend(block(&part));
                part.clear();
            }
            part.push(column);
        }
        bodies.extend(block(&part));
        bodies.into_iter().for_each(|body| self.enqueue(class, body, Vec::new()));
    }
}

fn block(columns: &[Column<'_>]) -> Option<Body> {
    let times = || columns.iter().flat_map(|column| column.times_ms).copied();
    let (begin, end) = (WallTime::from_unix_ms(times().min()?), WallTime::from_unix_ms(times().max()?));
    let mut bytes = Vec::new();
    codec::encode(columns, &mut bytes).ok()?;
    let samples = u32::try_from(times().count()).unwrap_or(u32::MAX);
    Some(Body::Block(SampleBlock { begin, end, samples, bytes }))
}

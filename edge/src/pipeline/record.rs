//! What goes into the flight recorder, and what a directive pulls out of it.

use super::{Action, Pipeline};
use crate::codec::{self, Column};
use crate::logs::TOTAL_ROW;
use crate::planner::SAMPLE_BYTES;
use crate::recorder::{Line, Recorded, Recorder, RecorderConfig, Search, Sort, Window};
use vedette_protocol::policy::Directive;
use vedette_protocol::series::SeriesMeta;
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::{Body, Class, SampleBlock};

/// Samples that one directive pulls, all series together.
pub(super) const PULL_SAMPLES_MAX: usize = 1 << 16;
/// Searches that the shell carries out at one time: a few for the directives of one incident, each of bounded memory.
pub const SEARCHES_MAX: usize = 4;
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

    /// A search for samples of metrics in memory that the disk does not have yet, of the span and the series that are
    /// wanted, the newest ones if they are more than `samples_max`: those since `lacking_from_ms`, from when on the disk
    /// lacks sealed blocks, those of the block that fills, or all if nothing goes to disk. Labels are places among the
    /// series that are told.
    pub fn search_unwritten(
        &self,
        lacking_from_ms: i64,
        (begin_ms, end_ms): (i64, i64),
        is_wanted: impl Fn(&SeriesMeta) -> bool,
        samples_max: usize,
    ) -> (Vec<SeriesMeta>, Search) {
        let Some(recorder) = &self.recorder else { return (Vec::new(), Search::default()) };
        let series: Vec<_> = self.registry.iter().filter(|(_, series)| is_wanted(&series.meta)).collect();
        let wanted = (0u32..).zip(&series).map(|(label, (slot, _))| (label, *slot));
        let begin_ms = recorder.unwritten_from_ms().min(lacking_from_ms).max(begin_ms);
        let search = recorder.search(Sort::Metric, wanted, begin_ms, samples_max).until(end_ms);
        (series.into_iter().map(|(_, series)| series.meta.clone()).collect(), search)
    }

    /// The same of log lines: the newest of `bytes_max`, and how many are left out.
    pub fn lines_unwritten(
        &self,
        lacking_from_ms: i64,
        (begin_ms, end_ms): (i64, i64),
        bytes_max: usize,
    ) -> (Vec<Line>, u64) {
        let Some(recorder) = &self.recorder else { return (Vec::new(), 0) };
        recorder.lines((recorder.unwritten_from_ms().min(lacking_from_ms).max(begin_ms), end_ms), bytes_max)
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

    /// What the recorder holds of the metrics that a directive names, as far back as it asks, is searched for elsewhere
    /// and goes out when it was found, after everything else that waits.
    pub(super) fn pull(&mut self, now: MonoTime, directive: &Directive) {
        let Some(recorder) = self.recorder.as_ref().filter(|_| directive.look_back_ms > 0) else { return };
        if self.searches >= SEARCHES_MAX {
            self.ledger.searches_refused += 1;
            return;
        }
        self.searches += 1;
        let wanted = self.registry.iter().filter(|(_, series)| directive.raw_metrics.contains(&series.meta.metric));
        let wanted = wanted.map(|(slot, series)| (series.index.0, slot));
        let begin_ms = self.clocks.wall_at(now).unix_ms() - i64::from(directive.look_back_ms);
        let wanted = wanted.take(self.policy.ceilings.raw_series_max as usize);
        let samples_max = self.planner.samples_affordable(now).min(PULL_SAMPLES_MAX);
        let search = recorder.search(Sort::Metric, wanted, begin_ms, samples_max);
        // Whatever becomes of a series meanwhile: the collector knows it before its samples come.
        self.announce_series();
        self.actions.push_back(Action::Search(search));
    }

    /// What an [`Action::Search`] has found goes out, but for what went out for another directive just before.
    pub fn handle_found(&mut self, now: MonoTime, found: &[Window]) {
        self.searches = self.searches.saturating_sub(1);
        let news: Vec<Window> = found.iter().filter_map(|window| self.sent.news(now, window)).collect();
        let samples: usize = news.iter().map(|window| window.values.len()).sum();
        self.ledger.recorded_sent += samples as u64;
        self.book_bytes(now, samples, SAMPLE_BYTES);
        self.ship_blocks(Class::Log, &news);
    }

    /// Samples of series by index, in batches that fit a frame.
    pub(super) fn ship_blocks(&mut self, class: Class, windows: &[Window]) {
        let mut columns = Vec::new();
        for window in windows {
            for (times_ms, values) in window.times_ms.chunks(BATCH_SAMPLES).zip(window.values.chunks(BATCH_SAMPLES)) {
                columns.push(Column { id: window.label, resolution: window.resolution, times_ms, values });
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

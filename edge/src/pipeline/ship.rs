//! What leaves the host besides findings: series definitions, features, raw samples, log counts.

use super::{LOG_WINDOW_MS, Pipeline, RAW_WINDOW_MS};
use crate::evidence::RawBuffer;
use crate::features::Closed;
use crate::normalise::elapsed_ms;
use crate::planner::SAMPLE_BYTES;
use crate::recorder::Window;
use crate::registry::Series;
use vedette_protocol::time::MonoTime;
use vedette_protocol::v1::{Body, Class, LogWindow, SeriesDefinition};

/// Rows per batch: keeps a batch well under the frame's limit.
const ROWS_MAX: usize = 512;
/// Bytes of templates per batch, and of counts that go with the last of them: texts are of any length.
const LOG_BYTES: usize = 256 << 10;
/// Most counts per batch: 640 KiB, where a frame takes 1 MiB.
const COUNTS_MAX: usize = 1 << 15;
/// Bytes of a template's id with its count, or with the lengths of its texts, at most.
const ID_BYTES: usize = 20;

impl Pipeline {
    /// Defines new series before any batch can name them.
    pub(super) fn announce_series(&mut self) {
        if u64::from(self.announced) == u64::from(self.registry.next_index()) {
            return;
        }
        let announced = std::mem::replace(&mut self.announced, self.registry.next_index());
        let new = self.registry.iter().filter(|(_, series)| series.index.0 >= announced);
        let mut new: Vec<_> =
            new.map(|(_, series)| SeriesDefinition { index: series.index, meta: series.meta.clone() }).collect();
        new.sort_by_key(|definition| definition.index);
        for part in in_parts(new, ROWS_MAX) {
            self.enqueue(Class::Finding, Body::Series(part), Vec::new());
        }
    }

    pub(super) fn close_windows(&mut self, now: MonoTime) {
        if is_over(now, self.feature_window, self.policy.feature_window_ms) {
            self.ship_features(now);
        }
        if is_over(now, self.raw_window, RAW_WINDOW_MS) {
            self.raw_window = now;
            self.ship_raw(now);
        }
        if is_over(now, self.log_window, LOG_WINDOW_MS) {
            self.ship_logs(now);
        }
    }

    /// Ends the window of features. The windows of some series go on into the next one, as the plan says, or because the
    /// budget has no room for all: then those that the plan puts most together.
    pub(super) fn ship_features(&mut self, now: MonoTime) {
        let most = self.windows_affordable(now);
        self.end_features(now, most);
    }

    /// The same; nothing goes on, for nobody will be there to end it.
    pub(super) fn ship_all_features(&mut self, now: MonoTime) {
        self.registry.iter_mut().for_each(|(_, series)| series.attention.plan_windows(1));
        self.end_features(now, u8::MAX);
    }

    fn end_features(&mut self, now: MonoTime, most: u8) {
        let window_ms = elapsed_ms(now, self.feature_window);
        self.feature_window = now;
        let end = self.clocks.wall_at(now);
        let mut features = Vec::new();
        for (_, series) in self.registry.iter_mut().filter(|(_, series)| !series.window.is_empty()) {
            self.ledger.features_due += 1;
            if series.attention.folds(most) {
                series.window.go_on(window_ms);
                self.ledger.features_folded += 1;
                continue;
            }
            let closed = series.window.close(series.index, end, window_ms);
            series.attention.told(matches!(closed, Closed::Changed(_)));
            match closed {
                Closed::Changed(feature) => features.push(feature),
                Closed::Unchanged => self.ledger.features_unchanged += 1,
                Closed::Empty => {}
            }
        }
        self.ledger.features_sent += features.len() as u64;
        self.book_bytes(now, features.len(), self.planner.prices().feature_bytes);
        for part in in_parts(features, ROWS_MAX) {
            self.enqueue(Class::Feature, Body::Features(part), Vec::new());
        }
    }

    /// What a series that ended has told since the last window was closed.
    pub(super) fn ship_last_feature(&mut self, now: MonoTime, mut series: Series) {
        let window_ms = elapsed_ms(now, self.feature_window);
        let closed = series.window.close(series.index, self.clocks.wall_at(now), window_ms);
        self.ledger.features_due += u64::from(closed != Closed::Empty);
        match closed {
            Closed::Changed(feature) => {
                self.ledger.features_sent += 1;
                self.book_bytes(now, 1, self.planner.prices().feature_bytes);
                self.enqueue(Class::Feature, Body::Features(vec![feature]), Vec::new());
            }
            Closed::Unchanged => self.ledger.features_unchanged += 1,
            Closed::Empty => {}
        }
    }

    /// Raw samples go out as far as the budget has room; the flight recorder has them all.
    pub(super) fn ship_raw(&mut self, now: MonoTime) {
        if self.raw.is_empty() {
            return;
        }
        let (mut shipped, mut samples) = (Vec::new(), 0);
        let room = self.planner.samples_affordable(now);
        for (slot, buffer) in &mut self.raw {
            let Some((times, values)) = buffer.take() else { continue };
            let Some(series) = self.registry.get(*slot).filter(|_| samples + values.len() <= room) else {
                self.ledger.raw_shed += values.len() as u64;
                continue;
            };
            samples += values.len();
            self.ledger.raw_sent += values.len() as u64;
            let resolution = series.spec.series_resolution(series.read_interval_ms);
            let times_ms = times.into_iter().map(|at| self.clocks.wall_at(at).unix_ms()).collect();
            shipped.push(Window { label: series.index.0, resolution, times_ms, values });
        }
        self.book_bytes(now, samples, SAMPLE_BYTES);
        self.ship_blocks(Class::Feature, &shipped);
    }

    pub(super) fn ship_logs(&mut self, now: MonoTime) {
        let window_ms = elapsed_ms(now, self.log_window);
        self.log_window = now;
        for (window, cursors) in self.logs.take_windows(self.clocks.wall_at(now), window_ms) {
            let mut parts = parts(window);
            // The cursor covers all lines: it goes with their counts. Without these a template may be told twice.
            let last = parts.pop();
            for part in parts {
                self.enqueue(Class::Log, Body::Logs(part), Vec::new());
            }
            if let Some(last) = last {
                self.enqueue(Class::Log, Body::Logs(last), cursors);
            }
        }
    }

    /// Gives raw buffers to the series that directives name, up to the policy's ceiling. What a buffer holds is
    /// shipped before it goes.
    pub(super) fn choose_raw(&mut self, now: MonoTime) {
        let generation = (self.planner.intervals.generation(), self.series_generation);
        if generation == self.raw_generation {
            return;
        }
        self.raw_generation = generation;
        self.announce_series();
        self.ship_raw(now);
        self.raw.clear();
        let room = self.policy.ceilings.raw_series_max as usize;
        for (slot, series) in self.registry.iter_mut() {
            series.raw = None;
            if !self.planner.intervals.wants_raw(&series.meta.metric) {
                continue;
            }
            if self.raw.len() >= room {
                self.ledger.raw_series_refused += 1;
                continue;
            }
            series.raw = u32::try_from(self.raw.len()).ok();
            self.raw.push((slot, RawBuffer::default()));
        }
    }
}

/// The same elements in lists of at most `size`, none of them copied.
pub(super) fn in_parts<T>(all: Vec<T>, size: usize) -> impl Iterator<Item = Vec<T>> {
    let mut all = all.into_iter();
    std::iter::from_fn(move || Some(all.by_ref().take(size).collect::<Vec<_>>()).filter(|part| !part.is_empty()))
}

/// A window in parts that fit a batch each, texts before the counts that name them; one part at least. Up to [`COUNTS_MAX`]
/// counts are all in the last part: whatever ends between two parts, no line is counted without the cursor that covers it.
fn parts(window: LogWindow) -> Vec<LogWindow> {
    let LogWindow { source, end, window_ms, counts, templates } = window;
    let empty = || LogWindow { source: source.clone(), end, window_ms, counts: Vec::new(), templates: Vec::new() };
    let (mut parts, mut part, mut bytes) = (Vec::new(), empty(), 0);
    for template in templates {
        let more = ID_BYTES + template.text.len() + template.exemplar.len();
        if bytes + more > LOG_BYTES {
            parts.push(std::mem::replace(&mut part, empty()));
            bytes = 0;
        }
        bytes += more;
        part.templates.push(template);
    }
    if bytes > 0 && bytes + counts.len() * ID_BYTES > LOG_BYTES {
        parts.push(std::mem::replace(&mut part, empty()));
    }
    let mut counts = in_parts(counts, COUNTS_MAX);
    part.counts = counts.next().unwrap_or_default();
    parts.push(part);
    parts.extend(counts.map(|counts| LogWindow { counts, ..empty() }));
    parts
}

fn is_over(now: MonoTime, begin: MonoTime, window_ms: u32) -> bool {
    // Half a tick of jitter does not put a window off by a whole one.
    elapsed_ms(now, begin).saturating_add(100) >= window_ms
}

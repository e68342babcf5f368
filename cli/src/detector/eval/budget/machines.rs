//! A server machine of ASD or SMD as a host: the train rows to learn from, the test rows to be judged.

use super::super::asd_smd::{self, Arrays, Machine, SMD_COLUMNS};
use super::super::events::{self, Span};
use super::super::host::{SOURCE, spec};
use super::subject::{Event, Reading, Set, Subject, Times};

/// See the module's documentation.
pub(super) struct MachineSubject {
    arrays: Arrays,
    /// Rows of the test part with the metrics on which something shows, counted from 1.
    segments: Vec<(Span, Vec<u16>)>,
}

impl MachineSubject {
    /// # Errors
    ///
    /// `UnusableFile` if its arrays are malformed.
    pub(super) fn read(machine: &Machine) -> anyhow::Result<Self> {
        Ok(Self { arrays: asd_smd::read(machine)?, segments: asd_smd::segments(machine)? })
    }

    pub(super) fn set(&self) -> Set {
        if self.arrays.test.columns == SMD_COLUMNS { Set::Smd } else { Set::Asd }
    }

    fn interval_ms(&self) -> u64 {
        u64::from(self.arrays.interval_ms)
    }

    /// Names of the metrics of all segments that share a row with a labelled span.
    fn culprits(&self, span: Span) -> Vec<String> {
        let of_span = self.segments.iter().filter(|(rows, _)| rows.first <= span.last && span.first <= rows.last);
        let mut metrics: Vec<u16> = of_span.flat_map(|(_, metrics)| metrics).copied().collect();
        metrics.sort_unstable();
        metrics.dedup();
        let columns = metrics.into_iter().filter_map(|metric| usize::from(metric).checked_sub(1));
        columns.filter(|column| *column < self.arrays.test.columns).map(|column| spec(column).name.to_owned()).collect()
    }

    fn train_rows(&self) -> usize {
        self.arrays.train.as_ref().map_or(0, |train| train.rows)
    }
}

impl Subject for MachineSubject {
    fn times(&self) -> Times {
        let row_ms = self.interval_ms();
        let from_ms = self.train_rows() as u64 * row_ms;
        // Nothing is read between two rows, so there is nothing to tick for.
        Times { tick_ms: row_ms, row_ms, from_ms, until_ms: from_ms + self.arrays.test.rows as u64 * row_ms }
    }

    fn sources(&self) -> Vec<(String, u32)> {
        vec![(SOURCE.to_owned(), self.arrays.interval_ms)]
    }

    fn series(&self) -> usize {
        self.arrays.test.columns
    }

    fn events(&self) -> Vec<Event> {
        let Times { row_ms, from_ms, .. } = self.times();
        let spans = events::spans(self.arrays.flags.as_deref().unwrap_or_default());
        // The first test row is read one interval after the last train row.
        let event = |span: Span| Event {
            what: "labelled",
            shows_on: self.culprits(span),
            start_ms: from_ms + span.first as u64 * row_ms,
            end_ms: from_ms + (span.last as u64 + 1) * row_ms,
        };
        spans.into_iter().map(event).collect()
    }

    fn read(&mut self, elapsed_ms: u64, hear: &mut dyn FnMut(Reading<'_>)) {
        let interval_ms = self.interval_ms();
        if !elapsed_ms.is_multiple_of(interval_ms) {
            return;
        }
        let Some(row) = usize::try_from(elapsed_ms / interval_ms).ok().and_then(|rows| rows.checked_sub(1)) else {
            return;
        };
        let train_rows = self.train_rows();
        let values = match &self.arrays.train {
            Some(train) if row < train_rows => train.row(row),
            _ => self.arrays.test.row(row - train_rows),
        };
        for (column, value) in values.iter().enumerate() {
            let (metric, interval_ms) = (spec(column), self.arrays.interval_ms);
            hear(Reading { source: SOURCE, interval_ms, metric, attributes: &[], value: *value });
        }
    }
}

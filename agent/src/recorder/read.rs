//! Reading what the recorder wrote: by whoever may read the agent's data directory, whether the agent runs or not.

use super::DiskView;
use super::segment::{Entry, Records};
use super::store::{SEGMENT_READ_MAX, segments};
use crate::durable;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, HashMap};
use std::io;
use std::path::Path;
use vedette_edge::codec;
use vedette_edge::glob::matches;
use vedette_edge::recorder::{Line, Sealed, Search};
use vedette_protocol::ids::SeriesKey;
use vedette_protocol::series::SeriesMeta;

/// Samples that one reading takes into memory: 16 bytes each.
pub const SAMPLES_MAX: usize = 10_000_000;
/// Log lines that one reading takes into memory.
pub const LINES_MAX: usize = 1_000_000;

/// Samples that a running agent tells at once: they fit the local interface's answer.
pub const IN_MEMORY_MAX: usize = 100_000;

/// Texts and sources of log lines that it tells beside them, in bytes.
pub const IN_MEMORY_LINE_BYTES: usize = 256 << 10;

/// A series as a running agent tells it over the local interface. `lower` and `upper` of its meta are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct InMemory {
    /// What it is.
    #[serde(with = "named")]
    pub meta: SeriesMeta,
    /// Milliseconds since the Unix epoch by the host's wall clock, and value.
    pub points: Vec<(i64, f64)>,
}

/// What a running agent has in memory alone, not taken out of its blocks yet.
#[derive(Debug)]
pub struct Unwritten {
    /// Series by the labels of `search`.
    pub series: Vec<SeriesMeta>,
    /// What to take out.
    pub search: Search,
    /// Log lines, if they were wanted, and how many were left out.
    pub lines: Option<(Vec<Line>, u64)>,
    /// What the disk did not take; `None` if nothing shall be on it.
    pub disk: Option<DiskView>,
}

/// The same, as a running agent tells it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Told {
    /// What was wanted of it.
    pub series: Vec<InMemory>,
    /// Samples that were wanted and found no room in the answer, the oldest.
    pub left_out: u64,
    /// Log lines that were wanted; `None` if none were, or from an agent that does not tell them.
    #[serde(default)]
    pub lines: Option<Vec<Line>>,
    /// Log lines that were wanted and found no room in the answer, the oldest.
    #[serde(default)]
    pub lines_left_out: u64,
    /// What is on disk, and what it did not take; `None` if nothing shall be, or from an agent that does not tell.
    #[serde(default)]
    pub disk: Option<DiskView>,
}

impl Unwritten {
    /// Takes the samples out: some milliseconds for each block.
    pub fn take_out(mut self) -> Told {
        let mut series: Vec<_> = self.series.drain(..).map(Some).collect();
        let (windows, left_out) = self.search.run_counted();
        let named = windows.into_iter().filter_map(|window| {
            let meta = series.get_mut(window.label as usize)?.take()?;
            Some(InMemory { meta, points: window.points() })
        });
        let (lines, lines_left_out) = self.lines.unzip();
        let lines_left_out = lines_left_out.unwrap_or(0);
        Told { series: named.collect(), left_out, lines, lines_left_out, disk: self.disk }
    }
}

/// A series in JSON, which has no NaN: bounds are not told.
mod named {
    use serde::{Deserialize, Deserializer, Serialize, Serializer};
    use vedette_protocol::series::{SeriesKind, SeriesMeta};

    type Told = (String, String, SeriesKind, Vec<(String, String)>, f64);

    pub(super) fn serialize<S: Serializer>(meta: &SeriesMeta, serializer: S) -> Result<S::Ok, S::Error> {
        (&meta.metric, &meta.unit, meta.kind, &meta.attributes, meta.resolution).serialize(serializer)
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(deserializer: D) -> Result<SeriesMeta, D::Error> {
        let (metric, unit, kind, attributes, resolution) = Told::deserialize(deserializer)?;
        Ok(SeriesMeta { metric, unit, kind, attributes, resolution, lower: f64::NAN, upper: f64::NAN })
    }
}

/// What is wanted of a recording.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Wanted {
    /// From when on, milliseconds since the Unix epoch.
    pub begin_ms: i64,
    /// Until when, that moment included.
    pub end_ms: i64,
    /// Pattern over series' names as people see them, `*` for any text and `?` for any character; `None` for all.
    pub series: Option<String>,
    /// Whether log lines are wanted, too.
    #[serde(default)]
    pub lines: bool,
}

impl Wanted {
    /// Everything.
    pub const ALL: Self = Self { begin_ms: i64::MIN, end_ms: i64::MAX, series: None, lines: true };

    /// Whether a series of this name is wanted.
    pub fn names(&self, name: &str) -> bool {
        self.series.as_ref().is_none_or(|pattern| matches(pattern, name))
    }
}

impl Default for Wanted {
    fn default() -> Self {
        Self::ALL
    }
}

/// What was found.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Recording {
    /// Series by name, each with its samples in the order of their times.
    pub series: Vec<RecordedSeries>,
    /// Masked log lines in the order of their times.
    pub lines: Vec<Line>,
    /// Segments of which a part could not be read.
    pub damaged: u64,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Times of the first and the last sample or line of all blocks, wanted or not.
    pub span_ms: Option<(i64, i64)>,
}

/// Samples of one series.
#[derive(Clone, Debug, PartialEq)]
pub struct RecordedSeries {
    /// What it is.
    pub meta: SeriesMeta,
    /// Milliseconds since the Unix epoch by the host's wall clock, and value.
    pub points: Vec<(i64, f64)>,
}

/// Reads a folder of segments. What is damaged is skipped and counted; the segment that is being written is read as far
/// as it is whole.
///
/// # Errors
///
/// Of the file system, and [`io::ErrorKind::FileTooLarge`] if more is wanted than memory should hold.
pub fn read(folder: &Path, wanted: &Wanted) -> io::Result<Recording> {
    let mut reader = Reader::new(wanted);
    for (_, path, bytes) in segments(folder)? {
        reader.recording.bytes += bytes;
        match durable::read_capped(&path, SEGMENT_READ_MAX) {
            Ok(bytes) => reader.segment(&bytes)?,
            // Deleted meanwhile: its turn had come.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) if error.kind() == io::ErrorKind::FileTooLarge => reader.recording.damaged += 1,
            Err(error) => return Err(error),
        }
    }
    Ok(reader.end())
}

/// Puts segments together, the oldest first.
pub(super) struct Reader<'a> {
    wanted: &'a Wanted,
    recording: Recording,
    series: BTreeMap<SeriesKey, RecordedSeries>,
    samples: usize,
}

impl<'a> Reader<'a> {
    pub(super) fn new(wanted: &'a Wanted) -> Self {
        Self { wanted, recording: Recording::default(), series: BTreeMap::new(), samples: 0 }
    }

    pub(super) fn end(self) -> Recording {
        let mut recording = self.recording;
        recording.series = self.series.into_values().collect();
        recording.series.sort_by_cached_key(|one| one.meta.display_name());
        // Blocks follow each other, but a clock may have been set back.
        recording.series.iter_mut().for_each(|one| one.points.sort_by_key(|(at_ms, _)| *at_ms));
        recording.lines.sort_by_key(|line| line.at_ms);
        recording
    }

    pub(super) fn segment(&mut self, bytes: &[u8]) -> io::Result<()> {
        let Some(mut records) = Records::new(bytes) else {
            self.recording.damaged += 1;
            return Ok(());
        };
        let mut names = BTreeMap::new();
        let mut sound = true;
        for entry in records.by_ref() {
            match entry {
                Entry::Defined(defined) => names.extend(defined),
                Entry::Sealed(sealed) => sound &= self.sealed(sealed, &names)?,
            }
        }
        self.recording.damaged += u64::from(!sound || records.good_bytes() < bytes.len());
        Ok(())
    }

    /// Whether the block could be read.
    fn sealed(&mut self, sealed: Sealed, names: &BTreeMap<u32, SeriesMeta>) -> io::Result<bool> {
        let (begin_ms, end_ms) = (sealed.begin_ms, sealed.end_ms);
        let span = self.recording.span_ms.get_or_insert((begin_ms, end_ms));
        *span = (span.0.min(begin_ms), span.1.max(end_ms));
        if end_ms < self.wanted.begin_ms || begin_ms > self.wanted.end_ms {
            return Ok(true);
        }
        let (Wanted { begin_ms, end_ms, .. }, room) = (self.wanted, LINES_MAX - self.recording.lines.len());
        let is_within = |at_ms: i64| (*begin_ms..=*end_ms).contains(&at_ms);
        let lines = sealed.lines.into_iter().filter(|line| self.wanted.lines && is_within(line.at_ms));
        self.recording.lines.extend(lines.take(room));
        let Ok(block) = codec::decode(&sealed.block) else { return Ok(false) };
        for (id, times_ms, values) in block.iter() {
            let Some(meta) = names.get(&id) else { return Ok(false) };
            if !self.wanted.names(&meta.display_name()) {
                continue;
            }
            let one = self
                .series
                .entry(meta.key())
                .or_insert_with(|| RecordedSeries { meta: meta.clone(), points: Vec::new() });
            let before = one.points.len();
            let points = times_ms.iter().copied().zip(values.iter().copied());
            one.points.extend(points.filter(|(at_ms, _)| is_within(*at_ms)));
            self.samples += one.points.len() - before;
        }
        if self.samples > SAMPLES_MAX {
            let why = format!("more than {SAMPLES_MAX} samples: ask for fewer series or a shorter time");
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        Ok(true)
    }
}

impl Recording {
    /// Adds log lines that a running agent has in memory. What came to disk between the two questions is in both.
    pub fn add_lines(&mut self, in_memory: Vec<Line>) {
        let begin_ms = in_memory.iter().map(|line| line.at_ms).min().unwrap_or(i64::MAX);
        let mut known: HashMap<Line, u64> = HashMap::new();
        for line in self.lines.iter().filter(|line| line.at_ms >= begin_ms) {
            *known.entry(line.clone()).or_default() += 1;
        }
        let is_new = |line: &Line| match known.get_mut(line) {
            Some(left) if *left > 0 => {
                *left -= 1;
                false
            }
            _ => true,
        };
        self.lines.extend(in_memory.into_iter().filter(is_new));
        self.lines.sort_by_key(|line| line.at_ms);
    }

    /// Adds what a running agent has in memory.
    pub fn add(&mut self, in_memory: Vec<InMemory>, wanted: &Wanted) {
        for InMemory { meta, mut points } in in_memory {
            let times = points.iter().map(|(at_ms, _)| *at_ms);
            if let (Some(begin_ms), Some(end_ms)) = (times.clone().min(), times.max()) {
                let span = self.span_ms.get_or_insert((begin_ms, end_ms));
                *span = (span.0.min(begin_ms), span.1.max(end_ms));
            }
            points.retain(|(at_ms, _)| (wanted.begin_ms..=wanted.end_ms).contains(at_ms));
            if points.is_empty() || !wanted.names(&meta.display_name()) {
                continue;
            }
            let key = meta.key();
            let at = self.series.iter().position(|one| one.meta.key() == key).unwrap_or_else(|| {
                self.series.push(RecordedSeries { meta, points: Vec::new() });
                self.series.len() - 1
            });
            let one = &mut self.series[at].points;
            one.extend(points);
            one.sort_by_key(|(at_ms, _)| *at_ms);
            // A block may have come to disk between the two questions.
            one.dedup_by_key(|(at_ms, _)| *at_ms);
        }
        self.series.sort_by_cached_key(|one| one.meta.display_name());
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_running_agent_tells_is_added_once() {
        let meta = SeriesMeta {
            metric: "load".to_owned(),
            unit: "1".to_owned(),
            kind: vedette_protocol::series::SeriesKind::Gauge,
            attributes: vec![("a".to_owned(), "b".to_owned())],
            resolution: 0.01,
            lower: f64::NAN,
            upper: 1.0,
        };
        let told =
            serde_json::to_string(&[InMemory { meta: meta.clone(), points: vec![(2, 2.0), (3, 3.0)] }]).expect("JSON");
        let told: Vec<InMemory> = serde_json::from_str(&told).expect("as it was written");
        assert_eq!(told[0].meta.key(), meta.key());
        let mut recording = Recording {
            series: vec![RecordedSeries { meta, points: vec![(1, 1.0), (2, 2.0)] }],
            span_ms: Some((1, 2)),
            ..Recording::default()
        };
        recording.add(told.clone(), &Wanted::default());
        assert_eq!(recording.series[0].points, [(1, 1.0), (2, 2.0), (3, 3.0)]);
        assert_eq!(recording.span_ms, Some((1, 3)));
        let line = |at_ms: i64, text: &str| Line { at_ms, source: "/log".to_owned(), text: text.to_owned() };
        recording.lines = vec![line(1, "a"), line(5, "b"), line(5, "b")];
        recording.add_lines(vec![line(4, "d"), line(5, "b"), line(5, "b"), line(5, "b"), line(6, "c")]);
        let texts: String = recording.lines.iter().map(|line| line.text.as_str()).collect();
        assert_eq!(texts, "adbbbc", "each as often as it was read");
        let mut none = Recording::default();
        none.add(told, &Wanted { series: Some("other*".to_owned()), ..Wanted::default() });
        assert!(none.series.is_empty());
    }
}

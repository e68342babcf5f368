//! A minute of one host: from a file, or from the agent's own sources.

use std::collections::BTreeMap;
use std::time::Duration;
use vedette_agent::source::{ALL, Root, Sink};
use vedette_edge::metric::{MetricKind, MetricSpec};
use vedette_edge::normalise::Normaliser;
use vedette_protocol::series::{SeriesKind, SeriesMeta};
use vedette_protocol::time::MonoTime;

/// Ticks that are sampled, and series that are kept of them.
const TICKS: u64 = 60;
const SERIES_MAX: usize = 200;

/// Series that have a value at every tick.
pub(crate) struct Minute {
    pub(crate) times_ms: Vec<i64>,
    pub(crate) series: Vec<Series>,
}

#[derive(Clone)]
pub(crate) struct Series {
    pub(crate) name: String,
    pub(crate) labels: Vec<(String, String)>,
    pub(crate) is_counter: bool,
    pub(crate) is_integer: bool,
    pub(crate) resolution: f64,
    pub(crate) values: Vec<f64>,
}

impl Series {
    /// As the `nth` series of a larger host.
    pub(crate) fn meta(&self, nth: usize) -> SeriesMeta {
        SeriesMeta {
            metric: format!("{}.{nth}", self.name),
            unit: "1".to_owned(),
            kind: SeriesKind::Gauge,
            attributes: Vec::new(),
            resolution: self.resolution,
            lower: f64::NAN,
            upper: f64::NAN,
        }
    }
}

/// One element of a file: milliseconds since the Unix epoch; name, labels, `c` or `g`, value, whether it is whole.
type Tick = (i64, Vec<(String, Vec<(String, String)>, String, f64, bool)>);

impl Minute {
    /// Reads a JSON list of ticks that all have the same series in the same order.
    pub(crate) fn read(file: &str) -> Result<Self, String> {
        let text = std::fs::read_to_string(file).map_err(|error| format!("{file}: {error}"))?;
        let ticks: Vec<Tick> = serde_json::from_str(&text).map_err(|error| format!("{file}: {error}"))?;
        let (_, first) = ticks.first().ok_or_else(|| format!("{file}: no tick"))?;
        let series = first.iter().enumerate().map(|(at, (name, labels, kind, _, is_integer))| Series {
            name: name.clone(),
            labels: labels.clone(),
            is_counter: kind == "c",
            is_integer: *is_integer,
            resolution: 0.0,
            values: ticks.iter().filter_map(|(_, readings)| readings.get(at).map(|reading| reading.3)).collect(),
        });
        let minute = Self { times_ms: ticks.iter().map(|(ms, _)| *ms).collect(), series: series.collect() };
        let even = minute.series.iter().all(|series| series.values.len() == minute.times_ms.len());
        if even { Ok(minute) } else { Err(format!("{file}: a tick lacks a series")) }
    }

    /// Samples as the pipeline makes them of what the agent's sources read here, once a second for a minute.
    pub(crate) fn of_this_host() -> Self {
        eprintln!("sampling this host for {TICKS} s");
        let root = Root::system();
        let mut sources: Vec<_> = ALL.iter().map(|spec| (spec.open)(&root)).collect();
        let (mut sampled, mut times_ms) = (Sampled::default(), Vec::new());
        for tick in 0..=TICKS {
            sampled.now = MonoTime::from_ms(1_000 * (tick + 1));
            // What this host lacks has no series here.
            sources.iter_mut().for_each(|source| drop(source.read(&mut sampled)));
            if tick > 0 {
                times_ms.push(1_790_000_000_000 + i64::try_from(tick).unwrap_or(0) * 1_000);
            }
            std::thread::sleep(Duration::from_secs(1));
        }
        let series = sampled.series.into_values().map(|(_, mut series)| {
            // A counter has one sample less: every series begins with the second reading.
            series.values.drain(..series.values.len().saturating_sub(times_ms.len()));
            series
        });
        let ticks = times_ms.len();
        let series = series.filter(|series| series.values.len() == ticks).take(SERIES_MAX).collect();
        Self { times_ms, series }
    }

    /// Parts of `ticks` ticks each.
    pub(crate) fn windows(&self, ticks: usize) -> impl Iterator<Item = Self> {
        (0..self.times_ms.len() / ticks).map(move |nth| {
            let range = nth * ticks..(nth + 1) * ticks;
            let part = |series: &Series| Series { values: series.values[range.clone()].to_vec(), ..series.clone() };
            Self { times_ms: self.times_ms[range.clone()].to_vec(), series: self.series.iter().map(part).collect() }
        })
    }

    pub(crate) fn samples(&self) -> f64 {
        (self.series.len() * self.times_ms.len()) as f64
    }

    /// Share of the values that are as the one before.
    pub(crate) fn repeated(&self) -> f64 {
        let pairs = || self.series.iter().flat_map(|series| series.values.windows(2));
        pairs().filter(|pair| pair[0] == pair[1]).count() as f64 / pairs().count().max(1) as f64
    }
}

/// Readings made samples, by name and attributes.
#[derive(Default)]
struct Sampled {
    now: MonoTime,
    series: BTreeMap<String, (Normaliser, Series)>,
}

impl Sink for Sampled {
    fn reading(&mut self, metric: &'static MetricSpec, attributes: &[(&str, &str)], value: f64) {
        let (normaliser, series) = self.series.entry(format!("{}{attributes:?}", metric.name)).or_insert_with(|| {
            let labels = attributes.iter().map(|(key, value)| ((*key).to_owned(), (*value).to_owned())).collect();
            let series = Series {
                name: metric.name.to_owned(),
                labels,
                is_counter: metric.kind == MetricKind::Counter,
                is_integer: false,
                resolution: metric.series_resolution(1_000),
                values: Vec::new(),
            };
            (Normaliser::default(), series)
        });
        if let Ok(sample) = normaliser.accept(self.now, 1_000, metric, value) {
            series.values.push(sample.value);
        }
    }
}

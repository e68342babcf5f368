//! What a source reports: one [`MetricSpec`] per metric, declared beside the source that reads it.

use vedette_protocol::series::{SeriesKind, SeriesMeta};

/// How the values of a reading behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// A level that can go up and down; passes as it is.
    Gauge,
    /// A cumulative count since some start; becomes a rate per second.
    Counter,
}

/// One metric of a source, named by OpenTelemetry's semantic conventions.
#[derive(Clone, Copy, Debug)]
pub struct MetricSpec {
    /// OpenTelemetry metric name.
    pub name: &'static str,
    /// UCUM unit of a reading, `1` for a ratio. A counter's series has this unit per second.
    pub unit: &'static str,
    /// How readings behave.
    pub kind: MetricKind,
    /// Smallest difference between two readings that the source can express, in `unit`; 0 unknown.
    pub resolution: f64,
    /// Natural lower bound of the series (of the rate, for a counter); NaN for none.
    pub lower: f64,
    /// Natural upper bound of the series (of the rate, for a counter); NaN for none.
    pub upper: f64,
    /// What it means, for people.
    pub doc: &'static str,
}

impl MetricSpec {
    /// Kind of the series that its readings make.
    pub const fn series_kind(&self) -> SeriesKind {
        match self.kind {
            MetricKind::Gauge => SeriesKind::Gauge,
            MetricKind::Counter => SeriesKind::Rate,
        }
    }

    /// Unit of the series that its readings make: seconds per second are a ratio.
    pub fn series_unit(&self) -> String {
        match (self.kind, self.unit) {
            (MetricKind::Gauge, unit) => unit.to_owned(),
            (MetricKind::Counter, "s") => "1".to_owned(),
            (MetricKind::Counter, unit) => format!("{unit}/s"),
        }
    }

    /// Grid of the series' values when it is read each `interval_ms`; 0 for none.
    ///
    /// A counter that moves by `resolution` within one interval moves its rate by `resolution / interval`.
    pub fn series_resolution(&self, interval_ms: u32) -> f64 {
        match self.kind {
            MetricKind::Gauge => self.resolution,
            MetricKind::Counter => self.resolution * 1_000.0 / f64::from(interval_ms.max(1)),
        }
    }

    /// The series that readings with these attributes make.
    pub fn series_meta(&self, mut attributes: Vec<(String, String)>, interval_ms: u32) -> SeriesMeta {
        attributes.sort();
        attributes.dedup_by(|later, earlier| later.0 == earlier.0);
        SeriesMeta {
            metric: self.name.to_owned(),
            unit: self.series_unit(),
            kind: self.series_kind(),
            attributes,
            resolution: self.series_resolution(interval_ms),
            lower: self.lower,
            upper: self.upper,
        }
    }
}

/// First two segments of a metric's name: series of one family see one thing, so they confirm each other less.
pub fn family(metric: &str) -> &str {
    let mut dots = metric.match_indices('.');
    match dots.nth(1) {
        Some((at, _)) => &metric[..at],
        None => metric,
    }
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    pub(crate) static GAUGE: MetricSpec = MetricSpec {
        name: "system.memory.usage",
        unit: "By",
        kind: MetricKind::Gauge,
        resolution: 1_024.0,
        lower: 0.0,
        upper: f64::NAN,
        doc: "memory in use",
    };
    pub(crate) static COUNTER: MetricSpec = MetricSpec {
        name: "system.cpu.time",
        unit: "s",
        kind: MetricKind::Counter,
        resolution: 0.01,
        lower: 0.0,
        upper: 1.0,
        doc: "time spent per state",
    };

    #[test]
    fn counter_of_seconds_becomes_a_ratio_on_its_own_grid() {
        let meta = COUNTER.series_meta(vec![("b".into(), "2".into()), ("a".into(), "1".into())], 10_000);
        assert_eq!((meta.unit.as_str(), meta.kind, meta.resolution), ("1", SeriesKind::Rate, 0.001));
        assert_eq!(meta.attributes[0].0, "a", "attributes are sorted");
        assert_eq!(GAUGE.series_meta(Vec::new(), 1_000).unit, "By");
    }

    #[test]
    fn family_is_the_first_two_segments() {
        assert_eq!(family("system.cpu.time"), "system.cpu");
        assert_eq!(family("system.uptime"), "system.uptime");
        assert_eq!(family("load"), "load");
    }
}

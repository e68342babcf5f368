//! What a series is: name, unit, kind and attributes after OpenTelemetry's semantic conventions.

use crate::ids::{Digest, SeriesKey};
use serde::{Deserialize, Serialize};

/// How the values of a series behave. The discriminants are those of the detector contract.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub enum SeriesKind {
    /// A level that can go up and down.
    Gauge,
    /// Per-second rate made from a cumulative counter.
    Rate,
    /// Events since the previous tick.
    Count,
}

/// A series as it is told once to detectors, recorder and collector.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct SeriesMeta {
    /// OpenTelemetry metric name.
    pub metric: String,
    /// UCUM unit, `1` for a ratio.
    pub unit: String,
    /// How values behave.
    pub kind: SeriesKind,
    /// Attributes sorted by name, names unique.
    pub attributes: Vec<(String, String)>,
    /// Smallest difference that the source can express, in `unit`; 0 unknown.
    pub resolution: f64,
    /// Natural lower bound, NaN for none.
    pub lower: f64,
    /// Natural upper bound, NaN for none.
    pub upper: f64,
}

impl SeriesMeta {
    /// The stable key: over name and attributes only, so a change of unit text or bounds keeps it.
    pub fn key(&self) -> SeriesKey {
        let mut canonical = self.metric.clone();
        for (name, value) in &self.attributes {
            canonical.push('\0');
            canonical.push_str(name);
            canonical.push('\x01');
            canonical.push_str(value);
        }
        let digest = Digest::of(canonical.as_bytes()).0;
        SeriesKey(u64::from_le_bytes(std::array::from_fn(|i| digest[i])))
    }

    /// `name{attribute="value",…}` for people.
    pub fn display_name(&self) -> String {
        if self.attributes.is_empty() {
            return self.metric.clone();
        }
        let attributes: Vec<_> = self.attributes.iter().map(|(name, value)| format!("{name}={value:?}")).collect();
        format!("{}{{{}}}", self.metric, attributes.join(","))
    }
}

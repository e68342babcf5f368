//! What a source says of a metric, once and statically: name, unit, kind and natural bounds.

/// A metric that a source reads. Names and units follow OpenTelemetry's semantic conventions where they exist.
#[derive(Debug)]
pub struct MetricSpec {
    /// OpenTelemetry name.
    pub name: &'static str,
    /// UCUM unit, `1` for a ratio.
    pub unit: &'static str,
    /// How the values that the source hands over behave.
    pub kind: MetricKind,
    /// Smallest difference between two values that the source can express, in `unit`; 0 unknown.
    pub resolution: f64,
    /// Natural lower bound of the series (for a counter: of its rate), NaN for none.
    pub lower: f64,
    /// Natural upper bound of the series (for a counter: of its rate), NaN for none.
    pub upper: f64,
    /// One line for people.
    pub doc: &'static str,
}

/// How the values that a source hands over behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MetricKind {
    /// A level.
    Gauge,
    /// A cumulative count that only grows until it is reset; the pipeline makes a rate per second of it.
    Counter,
}

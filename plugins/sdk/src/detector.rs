//! What a detector's author implements.

use crate::state::{Damaged, Reader, Writer};
use alloc::string::String;
use alloc::vec::Vec;

/// A detector: shared settings in `Self`, one [`Detector::State`] per series.
///
/// It must be a pure function of what it is given: no clock, no randomness, transcendental functions from
/// [`crate::math`] only. What `Self` learns beyond its parameters has to be recoverable from restored states,
/// since states are all that survives a restart.
pub trait Detector: Sized {
    /// Everything that is remembered of one series. States are loaded into a clone, which a refused one never replaces.
    type State: Clone;

    /// What the detector is, takes and can be told.
    fn describe() -> Description;

    /// Makes a detector with checked parameters: names are known and values within their declared bounds.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] naming the parameter, where values do not fit together.
    fn configure(parameters: &Parameters) -> Result<Self, ConfigError>;

    /// Starts a series that nothing is known of. A prior or a snapshot is given to [`Detector::load`] afterwards.
    ///
    /// `None` declines it: the detector will never have a word on it, and hears nothing more of it. That may depend on
    /// `series` and on parameters alone, so that each instance says the same.
    fn added(&mut self, series: &Series) -> Option<Self::State>;

    /// Judges one value against what was learnt before it, then learns from it (unless [`Sample::hold`]).
    ///
    /// Returns the surprise: at least 0, unitless, growing; NaN while learning or where it has no opinion.
    fn observe(&mut self, state: &mut Self::State, sample: Sample) -> f64;

    /// Explains the last score.
    fn explain(&self, state: &Self::State) -> Explanation;

    /// Writes the state, exactly.
    fn save(&self, state: &Self::State, out: &mut Writer);

    /// Takes over what [`Detector::save`] wrote.
    ///
    /// # Errors
    ///
    /// [`Damaged`] if the bytes are not a state of this version.
    fn load(&mut self, state: &mut Self::State, input: &mut Reader<'_>) -> Result<(), Damaged>;
}

/// What a detector takes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Input {
    /// Values of metrics.
    Metrics,
    /// Counts of log templates, whole numbers.
    LogTemplates,
    /// Values of metrics; the scores are votes, which count together.
    Votes,
    /// Values of metrics; no usual time excuses what the scores tell.
    Timeless,
    /// Values of metrics; a score below 1 says that the value is usual at this time.
    Seasonal,
}

/// What a detector says of itself.
#[derive(Clone, Debug)]
pub struct Description {
    /// Name: lower case, digits and hyphens.
    pub name: &'static str,
    /// Version of code and state encoding together.
    pub version: &'static str,
    /// What it takes.
    pub input: Input,
    /// Values of a series that are learnt before its scores mean anything.
    pub warm_up_values: u32,
    /// Upper bound of one series' snapshot.
    pub state_bytes_max: u32,
    /// A value that comes sooner than this after the one before hardly tells the detector anything: it is asked no more
    /// often, unless the series is suspected. Milliseconds; 0 if each value counts.
    pub look_ms: u32,
    /// Parameters it can be told.
    pub parameters: &'static [ParameterSpec],
}

/// A parameter's declaration; bounds are inclusive.
#[derive(Clone, Copy, Debug)]
pub struct ParameterSpec {
    /// Name: lower case, digits and hyphens, the unit last.
    pub name: &'static str,
    /// Value if nothing is said.
    pub default: f64,
    /// Smallest value.
    pub minimum: f64,
    /// Greatest value.
    pub maximum: f64,
    /// One line for people.
    pub documentation: &'static str,
}

/// Codes of [`ConfigError`].
pub mod config_code {
    /// No parameter of this name.
    pub const UNKNOWN: u32 = 1;
    /// Not a number, or out of its declared bounds.
    pub const OUT_OF_RANGE: u32 = 2;
    /// Given twice.
    pub const TWICE: u32 = 3;
    /// A state was not written by this detector and version.
    pub const BAD_STATE: u32 = 4;
    /// A column id was not added.
    pub const UNKNOWN_SERIES: u32 = 5;
}

/// A refusal, naming the field.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConfigError {
    /// Parameter or column.
    pub field: String,
    /// One of [`config_code`], or the author's own from 1000.
    pub code: u32,
    /// For people.
    pub message: String,
}

/// Parameters in effect.
#[derive(Clone, Debug)]
pub struct Parameters {
    values: Vec<(&'static str, f64)>,
}

impl Parameters {
    /// Defaults overridden by `given`.
    ///
    /// # Errors
    ///
    /// [`ConfigError`] for an unknown name, a value out of bounds or a name given twice.
    pub fn check(specs: &'static [ParameterSpec], given: &[(String, f64)]) -> Result<Self, ConfigError> {
        let refuse =
            |name: &str, code, message: &str| Err(ConfigError { field: name.into(), code, message: message.into() });
        let mut values: Vec<_> = specs.iter().map(|spec| (spec.name, spec.default)).collect();
        for (position, (name, value)) in given.iter().enumerate() {
            let Some(index) = specs.iter().position(|spec| spec.name == name) else {
                return refuse(name, config_code::UNKNOWN, "no parameter has this name");
            };
            if given[..position].iter().any(|(earlier, _)| earlier == name) {
                return refuse(name, config_code::TWICE, "given twice");
            }
            if !(specs[index].minimum..=specs[index].maximum).contains(value) {
                return refuse(name, config_code::OUT_OF_RANGE, "out of its declared bounds");
            }
            values[index].1 = *value;
        }
        Ok(Self { values })
    }

    /// The value of a declared parameter.
    ///
    /// # Panics
    ///
    /// If the description declares no such parameter: the author's mistake.
    pub fn get(&self, name: &str) -> f64 {
        self.values.iter().find(|(declared, _)| *declared == name).expect("a declared parameter").1
    }
}

/// How values behave.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// A level that can go up and down.
    Gauge,
    /// Per-second rate made from a counter.
    Rate,
    /// Events since the previous value.
    Count,
}

/// A series as it is told once.
#[derive(Clone, Debug)]
pub struct Series {
    /// Stable key.
    pub key: u64,
    /// OpenTelemetry name.
    pub metric: String,
    /// UCUM unit, `1` for a ratio.
    pub unit: String,
    /// How values behave.
    pub kind: Kind,
    /// Attributes, sorted by name.
    pub attributes: Vec<(String, String)>,
    /// Nominal time between two values.
    pub interval_ms: u32,
    /// Smallest difference that the source can express; 0 unknown.
    pub resolution: f64,
    /// Natural lower bound, NaN for none.
    pub lower: f64,
    /// Natural upper bound, NaN for none.
    pub upper: f64,
}

/// One value of one series.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// Time since the previous value; 0 for the first.
    pub dt_ms: u32,
    /// Bits: 1 gap before this value, 2 counter reset, 4 hold learning.
    pub flags: u8,
    /// The value; for log templates a whole count.
    pub value: f64,
}

impl Sample {
    /// Values were missed before this one.
    pub const GAP: u8 = 1;
    /// The counter behind this rate was reset.
    pub const RESET: u8 = 2;
    /// Do not learn from this value.
    pub const HOLD: u8 = 4;

    /// Values were missed before this one.
    pub fn gap(&self) -> bool {
        self.flags & Self::GAP != 0
    }

    /// Do not learn from this value: maintenance, open episode, deploy.
    pub fn hold(&self) -> bool {
        self.flags & Self::HOLD != 0
    }
}

/// Why a series got its last score; NaN where a number has no meaning.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Explanation {
    /// Reason, from the registry in `wit/README.md`; 0 nothing to say.
    pub code: u32,
    /// Value seen.
    pub observed: f64,
    /// Value expected.
    pub expected: f64,
    /// Lower end of the expected band.
    pub lower: f64,
    /// Upper end of the expected band.
    pub upper: f64,
    /// Time before the last value at which the departure began.
    pub onset_ms_ago: u32,
    /// Half-width of its uncertainty.
    pub onset_uncertainty_ms: u32,
}

impl Explanation {
    /// Nothing to say.
    pub const NONE: Self = Self {
        code: 0,
        observed: f64::NAN,
        expected: f64::NAN,
        lower: f64::NAN,
        upper: f64::NAN,
        onset_ms_ago: 0,
        onset_uncertainty_ms: 0,
    };
}

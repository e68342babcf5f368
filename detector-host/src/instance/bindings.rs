//! The contract's types and their neighbours in `protocol`.

use vedette_protocol::series::SeriesKind;
use vedette_protocol::worker::{DetectorDescription, DetectorInput, Explanation, SeriesDescriptor};

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from wit/detector")]
mod generated {
    wasmtime::component::bindgen!({ path: "../wit/detector", world: "detector" });
}

pub(super) use generated::{Detector, DetectorImports, DetectorPre, LinkOptions, vedette};
use vedette::detector::types as wit;

/// A description that was checked.
pub(super) struct Described {
    name: String,
    version: String,
    pub(super) input: DetectorInput,
    warm_up_values: u32,
    pub(super) state_bytes_max: usize,
    /// Specifications; after configuration, `default` holds the value in effect.
    pub(super) parameters: Vec<wit::ParameterSpec>,
}

impl Described {
    pub(super) fn check(description: wit::Description, name_bytes: usize, parameters: usize) -> Result<Self, String> {
        for text in [&description.name, &description.version] {
            let printable = text.bytes().all(|byte| byte.is_ascii_graphic());
            if text.is_empty() || text.len() > name_bytes || !printable {
                return Err(format!("a name or version must be 1 to {name_bytes} printable ASCII characters"));
            }
        }
        if description.parameters.len() > parameters {
            return Err(format!("more than {parameters} parameters"));
        }
        let input = match description.input {
            0 => DetectorInput::Metrics,
            1 => DetectorInput::LogTemplates,
            other => return Err(format!("input {other} is not known to this host")),
        };
        Ok(Self {
            name: description.name,
            version: description.version,
            input,
            warm_up_values: description.warm_up_values,
            state_bytes_max: description.state_bytes_max as usize,
            parameters: description.parameters,
        })
    }

    pub(super) fn into_protocol(self) -> DetectorDescription {
        DetectorDescription {
            name: self.name,
            version: self.version,
            input: self.input,
            warm_up_values: self.warm_up_values,
            state_bytes_max: u32::try_from(self.state_bytes_max).unwrap_or(u32::MAX),
            parameters: self.parameters.into_iter().map(|one| (one.name, one.default)).collect(),
        }
    }
}

impl wit::ConfigError {
    pub(super) fn text(&self) -> String {
        format!("{}: {} (code {})", self.field, self.message, self.code)
    }
}

/// All parameters with the values in effect.
pub(super) fn parameters(specs: &[wit::ParameterSpec], given: &[(String, f64)]) -> Result<Vec<wit::Parameter>, String> {
    if let Some((name, _)) = given.iter().find(|(name, _)| !specs.iter().any(|spec| spec.name == *name)) {
        let known: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
        return Err(format!("no parameter {name:?}; it has: {}", known.join(", ")));
    }
    let chosen = specs.iter().map(|spec| {
        let value = given.iter().rev().find(|(name, _)| *name == spec.name).map_or(spec.default, |(_, value)| *value);
        if (spec.minimum..=spec.maximum).contains(&value) {
            Ok(wit::Parameter { name: spec.name.clone(), value })
        } else {
            Err(format!("{} is {value}, allowed are {} to {}", spec.name, spec.minimum, spec.maximum))
        }
    });
    chosen.collect()
}

pub(super) fn with_values(mut specs: Vec<wit::ParameterSpec>, values: &[wit::Parameter]) -> Vec<wit::ParameterSpec> {
    specs.iter_mut().zip(values).for_each(|(spec, parameter)| spec.default = parameter.value);
    specs
}

pub(super) fn series(one: &SeriesDescriptor) -> wit::Series {
    wit::Series {
        id: one.id,
        key: one.key.0,
        metric: one.meta.metric.clone(),
        unit: one.meta.unit.clone(),
        kind: match one.meta.kind {
            SeriesKind::Gauge => 0,
            SeriesKind::Rate => 1,
            SeriesKind::Count => 2,
        },
        attributes: one.meta.attributes.clone(),
        interval_ms: one.interval_ms,
        resolution: one.meta.resolution,
        lower: one.meta.lower,
        upper: one.meta.upper,
        prior: one.prior.clone(),
    }
}

/// Every NaN becomes the one canonical NaN: an explanation is replayed bit for bit, too.
pub(super) fn explanation(one: wit::Explanation) -> Explanation {
    let canonical = |number: f64| if number.is_nan() { f64::NAN } else { number };
    Explanation {
        id: one.id,
        code: one.code,
        observed: canonical(one.observed),
        expected: canonical(one.expected),
        lower: canonical(one.lower),
        upper: canonical(one.upper),
        onset_ms_ago: one.onset_ms_ago,
        onset_uncertainty_ms: one.onset_uncertainty_ms,
    }
}

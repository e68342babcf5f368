//! The contract's types and their neighbours in `protocol`.

use vedette_protocol::series::SeriesKind;
use vedette_protocol::worker::{DetectorDescription, DetectorInput, Explanation, SeriesDescriptor};

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from wit/detector")]
mod generated {
    wasmtime::component::bindgen!({ path: "../wit/detector", world: "detector" });
}

pub(super) use generated::{Detector, DetectorImports, DetectorPre, LinkOptions, vedette};
use vedette::detector::types as wit;

/// A detector that wants to look less often is asked this often.
const LOOK_MS_MAX: u32 = 3_600_000;

/// A description that was checked.
pub(super) struct Described {
    name: String,
    version: String,
    pub(super) input: DetectorInput,
    warm_up_values: u32,
    pub(super) state_bytes_max: usize,
    look_ms: u32,
    /// Specifications; after configuration, `default` holds the value in effect.
    pub(super) parameters: Vec<wit::ParameterSpec>,
}

impl Described {
    pub(super) fn check(description: wit::Description, name_bytes: usize, parameters: usize) -> Result<Self, String> {
        if !is_name(&description.name, name_bytes) {
            return Err(format!(
                "a name must be 1 to {name_bytes} lower-case letters, digits and hyphens, beginning with a letter"
            ));
        }
        let version = &description.version;
        let printable = version.bytes().all(|byte| byte.is_ascii_graphic());
        if version.is_empty() || version.len() > name_bytes || !printable {
            return Err(format!("a version must be 1 to {name_bytes} printable ASCII characters"));
        }
        if description.parameters.len() > parameters {
            return Err(format!("more than {parameters} parameters"));
        }
        for parameter in &description.parameters {
            let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
            if parameter.name.is_empty() || parameter.name.len() > name_bytes || !parameter.name.bytes().all(allowed) {
                return Err(format!("a parameter's name must be 1 to {name_bytes} characters of a-z, 0-9, - and _"));
            }
            if !parameter.default.is_finite() {
                return Err(format!("{}: a default must be a finite number", parameter.name));
            }
        }
        let input = match description.input {
            0 => DetectorInput::Metrics,
            1 => DetectorInput::LogTemplates,
            2 => DetectorInput::Votes,
            3 => DetectorInput::Seasonal,
            4 => DetectorInput::Timeless,
            other => return Err(format!("input {other} is not known to this host")),
        };
        Ok(Self {
            name: description.name,
            version: description.version,
            input,
            warm_up_values: description.warm_up_values,
            state_bytes_max: description.state_bytes_max as usize,
            look_ms: description.look_ms.min(LOOK_MS_MAX),
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
            look_ms: self.look_ms,
            parameters: self.parameters.into_iter().map(|one| (one.name, one.default)).collect(),
        }
    }
}

/// Whether a text can stand in file names, tables and logs.
fn is_name(text: &str, bytes_max: usize) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.len() <= bytes_max
        && text.bytes().all(legal)
        && !text.ends_with('-')
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

/// Every NaN becomes the one canonical NaN: an explanation is replayed bit for bit, too. What is infinite has no meaning
/// and would keep the finding from being sent: it becomes that NaN, too.
pub(super) fn explanation(one: wit::Explanation) -> Explanation {
    let canonical = |number: f64| if number.is_finite() { number } else { f64::NAN };
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

#[cfg(test)]
mod tests {
    use super::*;

    fn described(parameter: &str, default: f64) -> wit::Description {
        let (minimum, maximum) = (f64::NEG_INFINITY, f64::INFINITY);
        wit::Description {
            name: "probe".into(),
            version: "1.0.0".into(),
            input: 0,
            warm_up_values: 1,
            state_bytes_max: 8,
            look_ms: u32::MAX,
            parameters: vec![wit::ParameterSpec {
                name: parameter.into(),
                default,
                minimum,
                maximum,
                documentation: String::new(),
            }],
        }
    }

    #[test]
    fn parameters_that_no_finding_could_carry_are_refused() {
        let verdict = |name: &str, default| Described::check(described(name, default), 64, 64).err();
        assert_eq!((verdict("memory-s", 300.0), verdict("alpha_2", -1.0)), (None, None));
        for name in ["", "a\x1b[31mb", "a\nb", "\u{e9}", "A", "a b", &"a".repeat(65)] {
            assert!(verdict(name, 1.0).is_some_and(|why| why.contains("name")), "{name:?}");
        }
        for default in [f64::NAN, f64::INFINITY, f64::NEG_INFINITY] {
            assert_eq!(verdict("alpha", default).as_deref(), Some("alpha: a default must be a finite number"));
        }
    }

    #[test]
    fn a_detector_cannot_ask_to_look_less_than_once_an_hour() {
        let Ok(described) = Described::check(described("alpha", 1.0), 64, 64) else { panic!("it is in order") };
        assert_eq!(described.into_protocol().look_ms, LOOK_MS_MAX);
    }

    #[test]
    fn a_detectors_name_is_one_that_files_can_have() {
        let verdict = |name: &str, version: &str| {
            let (name, version) = (name.to_owned(), version.to_owned());
            Described::check(wit::Description { name, version, ..described("memory-s", 1.0) }, 64, 64).err()
        };
        for good in ["level", "log-novelty", "spike-2", &"a".repeat(64)] {
            assert_eq!(verdict(good, "1.0.0-rc.1+x"), None, "{good:?}");
        }
        for bad in ["", "../../x/settings", "/etc/x", ".x", "a.b", "Level", "a_b", "-a", "a-", "2a", &"a".repeat(65)] {
            assert!(verdict(bad, "1").is_some_and(|why| why.contains("name")), "{bad:?}");
        }
        for bad in ["", "1 2", "1\u{1b}"] {
            assert!(verdict("level", bad).is_some_and(|why| why.contains("version")), "{bad:?}");
        }
    }

    #[test]
    fn infinite_numbers_of_an_explanation_have_no_meaning() {
        let told = explanation(wit::Explanation {
            id: 1,
            code: 2,
            observed: f64::INFINITY,
            expected: 3.5,
            lower: f64::NEG_INFINITY,
            upper: f64::from_bits(0xfff8_0000_0000_0001),
            onset_ms_ago: 4,
            onset_uncertainty_ms: 5,
        });
        assert_eq!([told.observed, told.lower, told.upper].map(f64::to_bits), [f64::NAN.to_bits(); 3]);
        assert_eq!((told.id, told.code, told.expected, told.onset_ms_ago), (1, 2, 3.5, 4));
    }
}

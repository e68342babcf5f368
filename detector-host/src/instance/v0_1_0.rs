//! The adapter of `vedette:detector@0.1.0`: what binds the host to this version of the contract, and nothing else does.
//!
//! The contract is frozen, so this file changes only with the host's side of it. Guests of another version get a file
//! beside this one, and an arm in [`super::Instance::load`].

use super::host::Host;
use super::{Failure, Limits, classify};
use crate::engine::{CONTRACT, Engine};
use vedette_protocol::ids::SeriesKey;
use vedette_protocol::series::SeriesKind;
use vedette_protocol::worker::{
    Columns, DetectorDescription, DetectorInput, Explanation, Fault, SeriesDescriptor, SeriesState,
};
use wasmtime::Store;
use wasmtime::component::types::ComponentItem;
use wasmtime::component::{Component, HasSelf, Linker};

#[allow(missing_docs, unreachable_pub, clippy::all, reason = "generated from the contract")]
mod generated {
    wasmtime::component::bindgen!({ path: "../wit/detector/0.1.0", world: "detector" });
}

use generated::vedette::detector::types as wit;

const NAME_BYTES_MAX: usize = 64;
const PARAMETERS_MAX: usize = 64;
/// A detector that wants to look less often is asked this often.
const LOOK_MS_MAX: u32 = 3_600_000;

/// A guest that speaks this version.
pub(super) struct Guest(generated::Detector);

impl Guest {
    /// Links a component that imports nothing but `log`, and instantiates it.
    pub(super) fn instantiate(
        engine: &Engine,
        store: &mut Store<Host>,
        component: &Component,
        limits: &Limits,
    ) -> Result<Self, Failure> {
        check_imports(engine, component)?;
        let refused =
            |error: wasmtime::Error| Failure::new(Fault::Refused, format!("does not speak {CONTRACT}: {error:#}"));
        let mut linker = Linker::new(engine.wasmtime());
        generated::Detector::add_to_linker::<_, HasSelf<_>>(&mut linker, |host: &mut Host| host).map_err(refused)?;
        let linked = linker.instantiate_pre(component).map_err(refused)?;
        let linked = generated::DetectorPre::new(linked).map_err(refused)?;
        store.set_epoch_deadline(1);
        let turn = engine.turn(limits.call);
        let guest = linked.instantiate(&mut *store);
        drop(turn);
        guest.map(Self).map_err(|error| classify(&error, store.data(), limits))
    }

    /// What it says of itself, or what is wrong with that.
    pub(super) fn describe(&self, store: &mut Store<Host>) -> wasmtime::Result<Result<Described, String>> {
        self.0.call_describe(store).map(Described::check)
    }

    /// Or its refusal.
    pub(super) fn configure(
        &self,
        store: &mut Store<Host>,
        parameters: &[(String, f64)],
    ) -> wasmtime::Result<Result<(), String>> {
        let lower = |(name, value): &(String, f64)| wit::Parameter { name: name.clone(), value: *value };
        let lowered: Vec<_> = parameters.iter().map(lower).collect();
        self.0.call_configure(store, &lowered).map(|answer| answer.map_err(text))
    }

    pub(super) fn series_added(
        &self,
        store: &mut Store<Host>,
        told: &[SeriesDescriptor],
    ) -> wasmtime::Result<Vec<u32>> {
        let lowered: Vec<_> = told.iter().map(series).collect();
        self.0.call_series_added(store, &lowered)
    }

    pub(super) fn series_removed(&self, store: &mut Store<Host>, ids: &[u32]) -> wasmtime::Result<()> {
        self.0.call_series_removed(store, ids)
    }

    pub(super) fn observe(&self, store: &mut Store<Host>, columns: &Columns) -> wasmtime::Result<Vec<f32>> {
        let Columns { ids, dt_ms, flags, values } = columns;
        self.0.call_observe(store, ids, dt_ms, flags, values)
    }

    /// The same for log templates, with `counts` in place of the values.
    pub(super) fn observe_logs(
        &self,
        store: &mut Store<Host>,
        columns: &Columns,
        counts: &[u32],
    ) -> wasmtime::Result<Vec<f32>> {
        self.0.call_observe_logs(store, &columns.ids, &columns.dt_ms, &columns.flags, counts)
    }

    pub(super) fn explain(&self, store: &mut Store<Host>, ids: &[u32]) -> wasmtime::Result<Vec<Explanation>> {
        Ok(self.0.call_explain(store, ids)?.into_iter().map(explanation).collect())
    }

    pub(super) fn snapshot(&self, store: &mut Store<Host>, ids: &[u32]) -> wasmtime::Result<Vec<SeriesState>> {
        let lift = |one: wit::SeriesState| SeriesState { key: SeriesKey(one.key), state: one.state };
        Ok(self.0.call_snapshot(store, ids)?.into_iter().map(lift).collect())
    }

    /// Or its refusal of a state.
    pub(super) fn restore(
        &self,
        store: &mut Store<Host>,
        ids: &[u32],
        states: &[&SeriesState],
    ) -> wasmtime::Result<Result<(), String>> {
        let lower = |one: &&SeriesState| wit::SeriesState { key: one.key.0, state: one.state.clone() };
        let lowered: Vec<_> = states.iter().map(lower).collect();
        self.0.call_restore(store, ids, &lowered).map(|answer| answer.map_err(text))
    }
}

/// A detector may import `log` and the contract's types, which hold no functions.
fn check_imports(engine: &Engine, component: &Component) -> Result<(), Failure> {
    for (name, item) in component.component_type().imports(engine.wasmtime()) {
        let allowed = match &item.ty {
            ComponentItem::ComponentFunc(_) => name == "log",
            ComponentItem::ComponentInstance(instance) => {
                let mut exports = instance.exports(engine.wasmtime());
                super::named_contract(name).as_deref() == Some(CONTRACT)
                    && exports.all(|(_, item)| matches!(item.ty, ComponentItem::Type(_)))
            }
            ComponentItem::Type(_) => true,
            _ => false,
        };
        if !allowed {
            let reason = format!("imports {name:?}: a detector may import nothing but `log`");
            return Err(Failure::new(Fault::Refused, reason));
        }
    }
    Ok(())
}

impl wit::Host for Host {}

impl generated::DetectorImports for Host {
    fn log(&mut self, level: u8, message: String) {
        self.keep(level, &message);
    }
}

/// A description that was checked.
pub(super) struct Described {
    name: String,
    version: String,
    pub(super) input: DetectorInput,
    warm_up_values: u32,
    pub(super) state_bytes_max: usize,
    look_ms: u32,
    parameters: Vec<wit::ParameterSpec>,
}

impl Described {
    fn check(description: wit::Description) -> Result<Self, String> {
        if !is_name(&description.name) {
            return Err(format!(
                "a name must be 1 to {NAME_BYTES_MAX} lower-case letters, digits and hyphens, beginning with a letter"
            ));
        }
        let version = &description.version;
        let printable = version.bytes().all(|byte| byte.is_ascii_graphic());
        if version.is_empty() || version.len() > NAME_BYTES_MAX || !printable {
            return Err(format!("a version must be 1 to {NAME_BYTES_MAX} printable ASCII characters"));
        }
        if description.parameters.len() > PARAMETERS_MAX {
            return Err(format!("more than {PARAMETERS_MAX} parameters"));
        }
        for parameter in &description.parameters {
            let allowed = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'_');
            let name = &parameter.name;
            if name.is_empty() || name.len() > NAME_BYTES_MAX || !name.bytes().all(allowed) {
                return Err(format!(
                    "a parameter's name must be 1 to {NAME_BYTES_MAX} characters of a-z, 0-9, - and _"
                ));
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

    /// All parameters with the values in effect, or why they cannot be had.
    pub(super) fn parameters(&self, given: &[(String, f64)]) -> Result<Vec<(String, f64)>, String> {
        let specs = &self.parameters;
        if let Some((name, _)) = given.iter().find(|(name, _)| !specs.iter().any(|spec| spec.name == *name)) {
            let known: Vec<_> = specs.iter().map(|spec| spec.name.as_str()).collect();
            return Err(format!("no parameter {name:?}; it has: {}", known.join(", ")));
        }
        let chosen = specs.iter().map(|spec| {
            let given = given.iter().rev().find(|(name, _)| *name == spec.name);
            let value = given.map_or(spec.default, |(_, value)| *value);
            if (spec.minimum..=spec.maximum).contains(&value) {
                Ok((spec.name.clone(), value))
            } else {
                Err(format!("{} is {value}, allowed are {} to {}", spec.name, spec.minimum, spec.maximum))
            }
        });
        chosen.collect()
    }

    /// The description with these parameters in effect.
    pub(super) fn into_protocol(self, parameters: Vec<(String, f64)>) -> DetectorDescription {
        DetectorDescription {
            name: self.name,
            version: self.version,
            input: self.input,
            warm_up_values: self.warm_up_values,
            state_bytes_max: u32::try_from(self.state_bytes_max).unwrap_or(u32::MAX),
            look_ms: self.look_ms,
            parameters,
        }
    }
}

/// Whether a text can stand in file names, tables and logs.
fn is_name(text: &str) -> bool {
    let legal = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-';
    text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.len() <= NAME_BYTES_MAX
        && text.bytes().all(legal)
        && !text.ends_with('-')
}

fn text(refused: wit::ConfigError) -> String {
    let wit::ConfigError { field, code, message } = refused;
    format!("{field}: {message} (code {code})")
}

fn series(one: &SeriesDescriptor) -> wit::Series {
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
fn explanation(one: wit::Explanation) -> Explanation {
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
    fn it_is_bound_to_the_contract_that_this_host_names() {
        let contract = include_str!("../../../wit/detector/0.1.0/detector.wit");
        assert!(contract.contains(&format!("\npackage {CONTRACT};\n")), "{CONTRACT}");
        assert_eq!(super::super::named_contract("vedette:detector/types@0.1.0").as_deref(), Some(CONTRACT));
        assert_eq!(super::super::named_contract("wasi:clocks/types@0.1.0"), None);
    }

    #[test]
    fn parameters_that_no_finding_could_carry_are_refused() {
        let verdict = |name: &str, default| Described::check(described(name, default)).err();
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
        let Ok(described) = Described::check(described("alpha", 1.0)) else { panic!("it is in order") };
        assert_eq!(described.into_protocol(Vec::new()).look_ms, LOOK_MS_MAX);
    }

    #[test]
    fn a_detectors_name_is_one_that_files_can_have() {
        let verdict = |name: &str, version: &str| {
            let (name, version) = (name.to_owned(), version.to_owned());
            Described::check(wit::Description { name, version, ..described("memory-s", 1.0) }).err()
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

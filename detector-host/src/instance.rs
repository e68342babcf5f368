//! One running detector: a component instance with one configuration.
//!
//! Everything that comes out of the guest is bounded before it is copied and checked before it is used. The first
//! failure poisons the instance for good: its memory may be in any state.

mod host;
mod v0_1_0;

use crate::artifact::{Artifact, Refusal};
use crate::engine::{Allowance, CONTRACT, Engine, Execution};
use host::Host;
pub use host::LogLine;
use std::collections::HashMap;
use std::time::{Duration, Instant};
use v0_1_0::{Described, Guest};
use vedette_protocol::ids::SeriesKey;
use vedette_protocol::worker::{
    Columns, DetectorDescription, DetectorInput, Explanation, Fault, SeriesDescriptor, SeriesState,
};
use wasmtime::component::Component;
use wasmtime::{Store, Trap};

/// Most values of one tick.
pub const ROWS_MAX: usize = 65_536;
const REASON_BYTES_MAX: usize = 400;

/// What one detector may use.
#[derive(Clone, Copy, Debug)]
pub struct Limits {
    /// Linear memory of the instance, all its memories together.
    pub memory_bytes: usize,
    /// Elements of a table.
    pub table_elements: usize,
    /// Time for one call, instantiation included.
    pub call: Allowance,
    /// Bytes that the host copies out of the guest in one call.
    pub lifted_bytes: usize,
    /// One series' snapshot, if the detector does not promise less.
    pub state_bytes: usize,
    /// Log lines kept between two [`Instance::take_log`]; more are counted.
    pub log_lines: usize,
}

impl Limits {
    /// The limits of guests that are executed in this way: an interpreted one has more time for a call.
    pub fn of(execution: Execution) -> Self {
        let call = match execution {
            Execution::Native => Allowance { cpu: Duration::from_millis(100), wall: Duration::from_millis(600) },
            Execution::Pulley => Allowance { cpu: Duration::from_millis(600), wall: Duration::from_millis(800) },
        };
        Self { call, ..Self::default() }
    }
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory_bytes: 16 << 20,
            table_elements: 10_000,
            call: Allowance { cpu: Duration::from_millis(100), wall: Duration::from_millis(600) },
            lifted_bytes: 1 << 20,
            state_bytes: 64 << 10,
            log_lines: 8,
        }
    }
}

/// Why a call failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason}")]
pub struct Failure {
    /// Class.
    pub fault: Fault,
    /// For people.
    pub reason: String,
}

impl Failure {
    fn new(fault: Fault, reason: impl Into<String>) -> Self {
        let reason = reason.into();
        let end = reason.floor_char_boundary(REASON_BYTES_MAX);
        // It may quote the guest, and ends in terminals and logs.
        let reason = reason[..end].chars().map(|c| if c.is_control() { ' ' } else { c }).collect();
        Self { fault, reason }
    }
}

/// Native code that may be run.
#[derive(Clone, Copy, Debug)]
pub struct Code<'a>(&'a [u8]);

impl<'a> Code<'a> {
    /// The code of a verified pair.
    pub fn verified(artifact: &'a Artifact) -> Self {
        Self(artifact.cwasm())
    }

    /// Code that somebody else has verified or that was compiled here a moment ago.
    ///
    /// # Safety
    ///
    /// The bytes will be executed: they must be the unaltered output of this release's compiler, or come from someone
    /// who is trusted like the author of this program.
    #[allow(unsafe_code, reason = "hands the duty to the caller")]
    pub unsafe fn assume(cwasm: &'a [u8]) -> Self {
        Self(cwasm)
    }
}

/// A running detector.
pub struct Instance {
    engine: Engine,
    store: Store<Host>,
    guest: Guest,
    limits: Limits,
    input: DetectorInput,
    state_bytes_max: usize,
    told: HashMap<u32, SeriesKey>,
    counts: Vec<u32>,
    poisoned: Option<Failure>,
    guest_ns: u64,
}

impl Instance {
    /// Instantiates `code`, asks it to describe itself and configures it. Parameters that are not named keep their
    /// defaults; the description returned carries those in effect.
    ///
    /// # Errors
    ///
    /// - [`Fault::Refused`]: not native code for this host, another version of the contract, or it imports something other
    ///   than `log`.
    /// - [`Fault::Misconfigured`]: a parameter that it does not have, out of bounds, or refused by it.
    /// - any other fault: it failed before it could do anything.
    pub fn load(
        engine: &Engine,
        code: Code<'_>,
        parameters: &[(String, f64)],
        limits: Limits,
    ) -> Result<(Self, DetectorDescription), Failure> {
        let component = component(engine, code)?;
        let mut store = Store::new(engine.wasmtime(), Host::new(&limits));
        store.limiter(|host| host);
        store.set_hostcall_fuel(limits.lifted_bytes);
        let guest = match contract(engine, &component).as_deref() {
            // Who names none speaks the first, or is refused for what it lacks.
            Some(CONTRACT) | None => Guest::instantiate(engine, &mut store, &component, &limits)?,
            Some(other) => {
                let refusal = Refusal::WrongContract(other.into(), CONTRACT.into());
                return Err(Failure::new(Fault::Refused, refusal.told()));
            }
        };
        let mut instance = Self {
            engine: engine.clone(),
            store,
            guest,
            limits,
            input: DetectorInput::Metrics,
            state_bytes_max: 0,
            told: HashMap::new(),
            counts: Vec::new(),
            poisoned: None,
            guest_ns: 0,
        };
        let described = instance.describe()?;
        let description = instance.configure(described, parameters)?;
        Ok((instance, description))
    }

    /// Scores one tick into `scores`, aligned with `columns`.
    ///
    /// # Errors
    ///
    /// Any fault; [`Fault::Output`] if there are not as many scores as values, or one is negative or infinite.
    pub fn observe(&mut self, columns: &Columns, scores: &mut Vec<f32>) -> Result<(), Failure> {
        let rows = columns.ids.len();
        let aligned = [columns.dt_ms.len(), columns.flags.len(), columns.values.len()].iter().all(|len| *len == rows);
        if !aligned || rows > ROWS_MAX {
            return Err(Failure::new(
                Fault::Refused,
                format!("columns of {rows} rows are too long or not of one length"),
            ));
        }
        *scores = match self.input {
            DetectorInput::Metrics | DetectorInput::Votes | DetectorInput::Seasonal | DetectorInput::Timeless => {
                self.call(|guest, store| guest.observe(store, columns))
            }
            DetectorInput::LogTemplates => {
                let mut counts = std::mem::take(&mut self.counts);
                counts.clear();
                counts.extend(columns.values.iter().map(|value| to_count(*value)));
                let scores = self.call(|guest, store| guest.observe_logs(store, columns, &counts));
                self.counts = counts;
                scores
            }
        }?;
        if scores.len() != rows {
            return Err(self.poison(Fault::Output, format!("{} scores for {rows} values", scores.len())));
        }
        for score in scores.iter_mut() {
            if score.is_nan() {
                // The bits of a NaN are the machine's; from here on there is one NaN.
                *score = f32::NAN;
            } else if *score < 0.0 || score.is_infinite() {
                let reason = format!("a score of {score}: scores are at least 0 and finite");
                return Err(self.poison(Fault::Output, reason));
            }
            // There is one zero, too.
            *score += 0.0;
        }
        Ok(())
    }

    /// Tells new series. Those that it declines, each once, by column id and key.
    ///
    /// # Errors
    ///
    /// Any fault; [`Fault::Output`] if it declines what it was not told of.
    pub fn series_added(&mut self, series: &[SeriesDescriptor]) -> Result<Vec<(u32, SeriesKey)>, Failure> {
        let declined = self.call(|guest, store| guest.series_added(store, series))?;
        let mut told: HashMap<u32, SeriesKey> = series.iter().map(|one| (one.id, one.key)).collect();
        if declined.len() > series.len() || declined.iter().any(|id| !told.contains_key(id)) {
            return Err(self.poison(Fault::Output, "it declines series that it was not told of"));
        }
        let declined: Vec<_> = declined.into_iter().filter_map(|id| told.remove_entry(&id)).collect();
        declined.iter().for_each(|(id, _)| _ = self.told.remove(id));
        self.told.extend(told);
        Ok(declined)
    }

    /// Tells the end of series.
    ///
    /// # Errors
    ///
    /// Any fault.
    pub fn series_removed(&mut self, ids: &[u32]) -> Result<(), Failure> {
        self.call(|guest, store| guest.series_removed(store, ids))?;
        self.told.retain(|id, _| !ids.contains(id));
        Ok(())
    }

    /// Why the last scores of these series.
    ///
    /// # Errors
    ///
    /// Any fault; [`Fault::Output`] if it explains what it was not asked for.
    pub fn explain(&mut self, ids: &[u32]) -> Result<Vec<Explanation>, Failure> {
        let explanations = self.call(|guest, store| guest.explain(store, ids))?;
        if explanations.len() > ids.len() || explanations.iter().any(|one| !ids.contains(&one.id)) {
            return Err(self.poison(Fault::Output, "explanations of series that were not asked for"));
        }
        Ok(explanations)
    }

    /// State of these series under their stable keys.
    ///
    /// # Errors
    ///
    /// Any fault; [`Fault::Output`] if a state is larger than promised or of a series that was not asked for.
    pub fn snapshot(&mut self, ids: &[u32]) -> Result<Vec<SeriesState>, Failure> {
        let states = self.call(|guest, store| guest.snapshot(store, ids))?;
        let asked: std::collections::HashSet<u64> =
            ids.iter().filter_map(|id| self.told.get(id)).map(|key| key.0).collect();
        if states.len() > ids.len() || states.iter().any(|state| !asked.contains(&state.key.0)) {
            return Err(self.poison(Fault::Output, "a snapshot of series that were not asked for"));
        }
        if let Some(state) = states.iter().find(|state| state.state.len() > self.state_bytes_max) {
            let reason = format!("a state of {} bytes, {} are promised", state.state.len(), self.state_bytes_max);
            return Err(self.poison(Fault::Output, reason));
        }
        Ok(states)
    }

    /// Takes over what `snapshot` gave; `ids` and `states` are aligned and the series were added before. What is left of
    /// those that it declined is not given to it.
    ///
    /// # Errors
    ///
    /// Any fault; [`Fault::Misconfigured`] if the detector refuses a state: it goes on without it.
    pub fn restore(&mut self, ids: &[u32], states: &[SeriesState]) -> Result<(), Failure> {
        let known = ids.iter().zip(states).filter(|(id, _)| self.told.contains_key(id));
        let (ids, states): (Vec<u32>, Vec<&SeriesState>) = known.unzip();
        let restored = self.call(|guest, store| guest.restore(store, &ids, &states))?;
        restored.map_err(|refused| Failure::new(Fault::Misconfigured, refused))
    }

    /// What the detector takes.
    pub fn input(&self) -> DetectorInput {
        self.input
    }

    /// Time inside the guest during the last call.
    pub fn guest_ns(&self) -> u64 {
        self.guest_ns
    }

    /// Linear memory that the guest holds, all its memories together.
    pub fn memory_bytes(&self) -> u64 {
        self.store.data().memory_bytes() as u64
    }

    /// The failure that poisoned this instance.
    pub fn poisoned(&self) -> Option<&Failure> {
        self.poisoned.as_ref()
    }

    /// Log lines since the last time, and how many more were dropped.
    pub fn take_log(&mut self) -> (Vec<LogLine>, u64) {
        self.store.data_mut().take_log()
    }

    fn describe(&mut self) -> Result<Described, Failure> {
        let described = self.call(Guest::describe)?;
        let described = described.map_err(|reason| self.poison(Fault::Output, reason))?;
        self.input = described.input;
        self.state_bytes_max = described.state_bytes_max.min(self.limits.state_bytes);
        Ok(described)
    }

    fn configure(&mut self, described: Described, given: &[(String, f64)]) -> Result<DetectorDescription, Failure> {
        let in_effect = described.parameters(given);
        let in_effect = in_effect.map_err(|reason| self.poison(Fault::Misconfigured, reason))?;
        match self.call(|guest, store| guest.configure(store, &in_effect))? {
            Ok(()) => Ok(described.into_protocol(in_effect)),
            Err(refused) => Err(self.poison(Fault::Misconfigured, refused)),
        }
    }

    /// Runs the guest within its allowance.
    fn call<T>(&mut self, run: impl FnOnce(&Guest, &mut Store<Host>) -> wasmtime::Result<T>) -> Result<T, Failure> {
        if let Some(failure) = &self.poisoned {
            return Err(failure.clone());
        }
        self.store.data_mut().begin_call();
        self.store.set_epoch_deadline(1);
        let turn = self.engine.turn(self.limits.call);
        let began = Instant::now();
        let result = run(&self.guest, &mut self.store);
        self.guest_ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
        drop(turn);
        result.map_err(|error| {
            let failure = classify(&error, self.store.data(), &self.limits);
            self.poison(failure.fault, failure.reason)
        })
    }

    fn poison(&mut self, fault: Fault, reason: impl Into<String>) -> Failure {
        let failure = Failure::new(fault, reason);
        self.poisoned = Some(failure.clone());
        failure
    }
}

#[allow(unsafe_code, reason = "native code is loaded here and nowhere else")]
fn component(engine: &Engine, code: Code<'_>) -> Result<Component, Failure> {
    // SAFETY: a `Code` is only made from a verified pair or by someone who vouches for it.
    let component = unsafe { Component::deserialize(engine.wasmtime(), code.0) };
    component.map_err(|error| Failure::new(Fault::Refused, format!("not native code for this host: {error:#}")))
}

/// The contract whose types a component imports: read before anything of it runs.
fn contract(engine: &Engine, component: &Component) -> Option<String> {
    component.component_type().imports(engine.wasmtime()).find_map(|(name, _)| named_contract(name))
}

/// The package and version in `vedette:detector/types@VERSION`.
fn named_contract(import: &str) -> Option<String> {
    let version = import.strip_prefix("vedette:detector/types@")?;
    Some(format!("vedette:detector@{version}"))
}

/// Names the limit that was hit: wasmtime says only what stopped.
fn classify(error: &wasmtime::Error, host: &Host, limits: &Limits) -> Failure {
    if let Some(denied) = host.memory_denied() {
        return Failure::new(
            Fault::Memory,
            format!("asked for {denied} bytes of memory, {} are allowed", limits.memory_bytes),
        );
    }
    match error.downcast_ref::<Trap>() {
        Some(Trap::Interrupt) => {
            let Allowance { cpu, wall } = limits.call;
            let reason = format!("a call took more than {} ms of CPU or {} ms", cpu.as_millis(), wall.as_millis());
            Failure::new(Fault::Timeout, reason)
        }
        Some(trap) => Failure::new(Fault::Trap, trap.to_string()),
        // Only lifting fails otherwise: lists out of bounds, text that is not UTF-8, more than the host accepts.
        None => Failure::new(Fault::Output, format!("what a call returned was refused: {}", error.root_cause())),
    }
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped; a NaN becomes 0")]
fn to_count(value: f64) -> u32 {
    value.clamp(0.0, f64::from(u32::MAX)) as u32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reason_is_one_short_line_without_control_characters() {
        let failure = Failure::new(Fault::Misconfigured, "alpha\u{1b}[31m: no\n\u{9b}better\0");
        assert_eq!(failure.reason, "alpha [31m: no  better ");
        assert_eq!(Failure::new(Fault::Output, "é".repeat(400)).reason.len(), REASON_BYTES_MAX);
    }
}

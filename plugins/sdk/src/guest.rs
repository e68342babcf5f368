//! The WebAssembly side: bindings of the contract, allocator and panic handler, and the glue to [`Instance`].

use crate::detector::{ConfigError, Detector, Input, Kind, Series};
use crate::instance::{Columns, Instance};
use alloc::string::ToString;
use alloc::vec::Vec;
use core::cell::UnsafeCell;

/// Generated from the contract.
#[allow(clippy::all, missing_docs, unsafe_code, reason = "generated code")]
pub mod bindings {
    wit_bindgen::generate!({
        path: "../../wit/detector/0.1.0",
        world: "detector",
        pub_export_macro: true,
        export_macro_name: "export_world",
        default_bindings_module: "vedette_sdk::guest::bindings",
        runtime_path: "wit_bindgen::rt",
    });
}

use bindings::vedette::detector::types;

#[global_allocator]
static ALLOCATOR: dlmalloc::GlobalDlmalloc = dlmalloc::GlobalDlmalloc;

/// A panic is a trap: the host restores or quarantines the instance.
#[panic_handler]
fn panic(_: &core::panic::PanicInfo<'_>) -> ! {
    core::arch::wasm32::unreachable()
}

/// The module's one instance.
pub struct Cell<D: Detector>(UnsafeCell<Option<Instance<D>>>);

// SAFETY: wasm32-unknown-unknown without the atomics feature has one thread.
#[expect(unsafe_code, reason = "a module is single-threaded")]
unsafe impl<D: Detector> Sync for Cell<D> {}

impl<D: Detector> Cell<D> {
    /// Not configured yet.
    pub const fn new() -> Self {
        Self(UnsafeCell::new(None))
    }

    /// The instance; one with defaults if `configure` was not called.
    #[expect(unsafe_code, reason = "a module is single-threaded")]
    fn with<R>(&self, act: impl FnOnce(&mut Instance<D>) -> R) -> R {
        // SAFETY: one thread, and the contract's exports never call one another, so no other reference is alive.
        let instance = unsafe { &mut *self.0.get() };
        act(instance.get_or_insert_with(|| Instance::new(&[]).unwrap_or_else(|_| core::arch::wasm32::unreachable())))
    }

    /// `configure`.
    ///
    /// # Errors
    ///
    /// The detector's refusal.
    pub fn configure(&self, parameters: Vec<types::Parameter>) -> Result<(), types::ConfigError> {
        let parameters: Vec<_> = parameters.into_iter().map(|given| (given.name, given.value)).collect();
        let configured = Instance::new(&parameters).map_err(config_error)?;
        self.with(|instance| *instance = configured);
        Ok(())
    }

    /// `series-added`: the ids of those that are declined.
    pub fn series_added(&self, series: Vec<types::Series>) -> Vec<u32> {
        self.with(|instance| {
            let mut declined = Vec::new();
            for told in series {
                let (id, prior) = (told.id, told.prior);
                let kind = match told.kind {
                    0 => Kind::Gauge,
                    1 => Kind::Rate,
                    _ => Kind::Count,
                };
                let series = Series {
                    key: told.key,
                    metric: told.metric,
                    unit: told.unit,
                    kind,
                    attributes: told.attributes,
                    interval_ms: told.interval_ms,
                    resolution: told.resolution,
                    lower: told.lower,
                    upper: told.upper,
                };
                if !instance.add(id, &series, &prior) {
                    declined.push(id);
                }
            }
            declined
        })
    }

    /// `series-removed`.
    pub fn series_removed(&self, ids: &[u32]) {
        self.with(|instance| instance.remove(ids));
    }

    /// `observe` and `observe-logs`: NaN throughout if the detector takes the other input.
    pub fn observe<V: Copy + Into<f64>>(&self, input: Input, columns: Columns<'_, V>) -> Vec<f32> {
        if (D::describe().input == Input::LogTemplates) != (input == Input::LogTemplates) {
            return columns.ids.iter().map(|_| crate::math::canonical(f64::NAN)).collect();
        }
        self.with(|instance| instance.observe(columns))
    }

    /// `explain`.
    pub fn explain(&self, ids: &[u32]) -> Vec<types::Explanation> {
        let told = |(id, given): (u32, crate::detector::Explanation)| types::Explanation {
            id,
            code: given.code,
            observed: given.observed,
            expected: given.expected,
            lower: given.lower,
            upper: given.upper,
            onset_ms_ago: given.onset_ms_ago,
            onset_uncertainty_ms: given.onset_uncertainty_ms,
        };
        self.with(|instance| instance.explain(ids)).into_iter().map(told).collect()
    }

    /// `snapshot`.
    pub fn snapshot(&self, ids: &[u32]) -> Vec<types::SeriesState> {
        let states = self.with(|instance| instance.snapshot(ids));
        states.into_iter().map(|(key, state)| types::SeriesState { key, state }).collect()
    }

    /// `restore`.
    ///
    /// # Errors
    ///
    /// The first state that was refused.
    pub fn restore(&self, ids: &[u32], states: &[types::SeriesState]) -> Result<(), types::ConfigError> {
        let pairs = ids.iter().zip(states).map(|(id, state)| (*id, state.state.as_slice()));
        self.with(|instance| instance.restore(pairs)).map_err(config_error)
    }
}

/// `describe`.
pub fn describe<D: Detector>() -> types::Description {
    let given = D::describe();
    let parameters = given.parameters.iter().map(|spec| types::ParameterSpec {
        name: spec.name.to_string(),
        default: spec.default,
        minimum: spec.minimum,
        maximum: spec.maximum,
        documentation: spec.documentation.to_string(),
    });
    types::Description {
        name: given.name.to_string(),
        version: given.version.to_string(),
        input: match given.input {
            Input::Metrics => 0,
            Input::LogTemplates => 1,
            Input::Votes => 2,
            Input::Seasonal => 3,
            Input::Timeless => 4,
        },
        warm_up_values: given.warm_up_values,
        state_bytes_max: given.state_bytes_max,
        look_ms: given.look_ms,
        parameters: parameters.collect(),
    }
}

fn config_error(refusal: ConfigError) -> types::ConfigError {
    types::ConfigError { field: refusal.field, code: refusal.code, message: refusal.message }
}

/// The body of [`crate::export!`] in a WebAssembly build.
#[doc(hidden)]
#[macro_export]
macro_rules! export_guest {
    ($detector:ty) => {
        #[allow(unsafe_code, reason = "generated exports")]
        const _: () = {
            use $crate::guest::bindings::export_world;
            use $crate::guest::bindings::vedette::detector::types;

            static INSTANCE: $crate::guest::Cell<$detector> = $crate::guest::Cell::new();

            struct Guest;

            impl $crate::guest::bindings::Guest for Guest {
                fn describe() -> types::Description {
                    $crate::guest::describe::<$detector>()
                }
                fn configure(parameters: $crate::Vec<types::Parameter>) -> Result<(), types::ConfigError> {
                    INSTANCE.configure(parameters)
                }
                fn series_added(series: $crate::Vec<types::Series>) -> $crate::Vec<u32> {
                    INSTANCE.series_added(series)
                }
                fn series_removed(ids: $crate::Vec<u32>) {
                    INSTANCE.series_removed(&ids);
                }
                fn observe(
                    ids: $crate::Vec<u32>,
                    dt_ms: $crate::Vec<u32>,
                    flags: $crate::Vec<u8>,
                    values: $crate::Vec<f64>,
                ) -> $crate::Vec<f32> {
                    let columns = $crate::Columns { ids: &ids, dt_ms: &dt_ms, flags: &flags, values: &values };
                    INSTANCE.observe($crate::Input::Metrics, columns)
                }
                fn observe_logs(
                    ids: $crate::Vec<u32>,
                    dt_ms: $crate::Vec<u32>,
                    flags: $crate::Vec<u8>,
                    counts: $crate::Vec<u32>,
                ) -> $crate::Vec<f32> {
                    let columns = $crate::Columns { ids: &ids, dt_ms: &dt_ms, flags: &flags, values: &counts };
                    INSTANCE.observe($crate::Input::LogTemplates, columns)
                }
                fn explain(ids: $crate::Vec<u32>) -> $crate::Vec<types::Explanation> {
                    INSTANCE.explain(&ids)
                }
                fn snapshot(ids: $crate::Vec<u32>) -> $crate::Vec<types::SeriesState> {
                    INSTANCE.snapshot(&ids)
                }
                fn restore(
                    ids: $crate::Vec<u32>,
                    states: $crate::Vec<types::SeriesState>,
                ) -> Result<(), types::ConfigError> {
                    INSTANCE.restore(&ids, &states)
                }
            }

    export_world!(Guest with_types_in $crate::guest::bindings);
        };
    };
}

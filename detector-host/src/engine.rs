//! One place for wasmtime's configuration, used by the host and, with Cranelift added, by the compiler.
//!
//! | choice | why |
//! |---|---|
//! | epochs, no fuel | about 10 % either way; an epoch is bumped only when a call is overdue |
//! | no relaxed SIMD, no threads | a verdict is replayed bit for bit on another machine |
//! | NaNs made canonical where they leave the guest, not after each operation | Cranelift's check doubled the cost of a value |
//! | signal-based traps, 4 GiB reservations with guards | no bounds checks; reservations are not counted by `RLIMIT_DATA` |
//! | `memory_init_cow` off | it wants `memfd_create`, which a confined worker does not have |
//! | native code, not Pulley | 3 against 205 ns a value; the worker gives up executable memory after loading instead. Pulley, wasmtime's interpreter, is there for hosts that allow nobody executable memory |
//! | no unwind tables, address maps, symbols | smaller artifacts; nobody unwinds through a detector |
//!
//! wasmtime itself checks only its major version when it loads native code, so our [`Identity`] is part of every
//! artifact: exact version, target, CPU baseline, and a digest over all settings here.

mod watchdog;

pub use watchdog::Allowance;

use std::sync::Arc;
use vedette_protocol::ids::Digest;
use wasmtime::{Config, ModuleVersionStrategy, WasmFeatures};
use watchdog::{Turn, Watchdog};

/// Exact version of wasmtime on both sides; a test holds it to `Cargo.lock`.
pub const WASMTIME_VERSION: &str = "48.0.8";

/// The detector contract that this host speaks: package and version of the frozen folder in `wit/detector`.
pub const CONTRACT: &str = "vedette:detector@0.1.0";

/// Whether the compiler makes every NaN canonical that an operation may have made. A compiler setting, listed here as part
/// of the identity.
///
/// Off: sign and payload of a NaN are the one thing in which machines differ, and they cannot reach a number without an
/// operation on its bits. So it suffices to look at what leaves a guest: the host makes scores and explanations
/// canonical, the SDK the states that it writes; `wit/README.md` says what other authors owe. With it on, a comparison
/// and a select follow each addition, which made `level` 2.6 times as slow.
pub const NAN_CANONICAL: bool = false;

/// WebAssembly proposals that detectors may not use: nondeterministic, concurrent, or without a use for them.
const FORBIDDEN_FEATURES: WasmFeatures = WasmFeatures::RELAXED_SIMD
    .union(WasmFeatures::THREADS)
    .union(WasmFeatures::SHARED_EVERYTHING_THREADS)
    .union(WasmFeatures::GC_TYPES)
    .union(WasmFeatures::EXCEPTIONS)
    .union(WasmFeatures::MEMORY64)
    .union(WasmFeatures::STACK_SWITCHING)
    .union(WasmFeatures::CM_ASYNC);

/// Calls wasmtime's setters and keeps their names and arguments as text for the identity.
macro_rules! settings {
    ($apply:ident, $text:ident, $($name:ident($($value:expr),*);)*) => {
        fn $apply(config: &mut Config) {
            $(config.$name($($value),*);)*
        }
        const $text: &str = concat!($(stringify!($name), " ", $(stringify!($value), " ",)* "\n",)*);
    };
}

settings! {
    apply, SETTINGS,
    epoch_interruption(true);
    consume_fuel(false);
    memory_reservation(4 << 30);
    memory_may_move(false);
    memory_init_cow(false);
    guard_before_linear_memory(true);
    table_lazy_init(true);
    relaxed_simd_deterministic(true);
    concurrency_support(false);
    shared_memory(false);
    max_wasm_stack(256 << 10);
    native_unwind_info(false);
    generate_address_map(false);
    debug_symbols(false);
    wasm_features(FORBIDDEN_FEATURES, false);
}

settings! {
    apply_native, NATIVE_SETTINGS,
    memory_guard_size(32 << 20);
    signals_based_traps(true);
}

// The interpreter checks bounds itself: a fault inside it would be a fault of the worker.
settings! {
    apply_pulley, PULLEY_SETTINGS,
    memory_guard_size(0);
    signals_based_traps(false);
}

/// How compiled detectors are executed.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Execution {
    /// Native code of this machine.
    #[default]
    Native,
    /// Byte code of Pulley, wasmtime's interpreter: the same scores, many times slower, and no executable memory.
    Pulley,
}

impl Execution {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Native, Self::Pulley];

    /// `native` or `pulley`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Native => "native",
            Self::Pulley => "pulley",
        }
    }

    /// The execution of this name.
    pub fn named(name: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|one| one.name() == name)
    }
}

/// What code was made for; equal identities mean that it may be loaded.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Identity {
    /// Exact wasmtime version.
    pub wasmtime: String,
    /// Target triple. Code does not depend on the C library, so `-gnu` stands for `-musl` too.
    pub target: String,
    /// Least CPU: never what the compiling host happens to have.
    pub cpu: String,
    /// SHA-256 over every setting.
    pub tunables: Digest,
}

/// The target of [`Execution::Pulley`], on little-endian machines of 64 bits.
pub const PULLEY_TARGET: &str = "pulley64";

/// Targets for which detectors can be compiled: triple and CPU baseline.
pub const TARGETS: &[(&str, &str)] = &[
    ("x86_64-unknown-linux-gnu", "x86-64"),
    ("aarch64-unknown-linux-gnu", "armv8-a"),
    (PULLEY_TARGET, "any-64-bit-little-endian"),
];

impl Identity {
    /// The identity for a target triple, `None` if there is no such target in [`TARGETS`].
    pub fn of(target: &str) -> Option<Self> {
        let (target, cpu) = TARGETS.iter().find(|(triple, _)| *triple == target)?;
        let own = if *target == PULLEY_TARGET { PULLEY_SETTINGS } else { NATIVE_SETTINGS };
        let forbidden = FORBIDDEN_FEATURES.bits();
        let settings = format!("{SETTINGS}{own}nan_canonical {NAN_CANONICAL}\nforbidden {forbidden}\n");
        Some(Self {
            wasmtime: WASMTIME_VERSION.into(),
            target: (*target).into(),
            cpu: (*cpu).into(),
            tunables: Digest::of(settings.as_bytes()),
        })
    }

    /// The identity of native code that this host loads.
    pub fn host() -> Self {
        Self::loaded_by(Execution::Native)
    }

    /// The identity of what this host executes in this way.
    pub fn loaded_by(execution: Execution) -> Self {
        let native = if cfg!(target_arch = "aarch64") { TARGETS[1].0 } else { TARGETS[0].0 };
        let target = match execution {
            Execution::Native => native,
            Execution::Pulley => PULLEY_TARGET,
        };
        Self::of(target).expect("taken from TARGETS")
    }

    /// How code of this identity is executed.
    pub fn execution(&self) -> Execution {
        if self.target == PULLEY_TARGET { Execution::Pulley } else { Execution::Native }
    }
}

/// wasmtime's configuration for one identity; the compiler adds Cranelift's settings and, for another machine, a target.
pub fn config(identity: &Identity) -> Config {
    let mut config = Config::new();
    apply(&mut config);
    match identity.execution() {
        Execution::Native => apply_native(&mut config),
        Execution::Pulley => {
            apply_pulley(&mut config);
            config.target(PULLEY_TARGET).expect("a triple that wasmtime knows");
        }
    }
    let version = format!("{}+{}+{}", identity.wasmtime, identity.cpu, identity.tunables);
    config.module_version(ModuleVersionStrategy::Custom(version)).expect("shorter than 256 bytes");
    config
}

/// Why no engine could be made.
#[derive(Debug, thiserror::Error)]
#[error("no WebAssembly engine: {0}")]
pub struct EngineError(String);

/// A wasmtime engine and the watchdog over the calls of its guests. One guest runs at a time.
#[derive(Clone)]
pub struct Engine(Arc<Inner>);

struct Inner {
    execution: Execution,
    wasmtime: wasmtime::Engine,
    watchdog: Watchdog,
}

impl Engine {
    /// An engine for native code, with its watchdog thread.
    ///
    /// # Errors
    ///
    /// If the platform has no signals or memory protection as wasmtime needs them, or no thread could be made.
    pub fn new() -> Result<Self, EngineError> {
        Self::executing(Execution::Native)
    }

    /// An engine that executes in this way, with its watchdog thread.
    ///
    /// # Errors
    ///
    /// As [`Engine::new`].
    pub fn executing(execution: Execution) -> Result<Self, EngineError> {
        let refuse = |error: &dyn std::fmt::Display| EngineError(error.to_string());
        let identity = Identity::loaded_by(execution);
        let wasmtime = wasmtime::Engine::new(&config(&identity)).map_err(|error| refuse(&error))?;
        let bump = wasmtime.clone();
        let watchdog = Watchdog::start(move || bump.increment_epoch()).map_err(|error| refuse(&error))?;
        Ok(Self(Arc::new(Inner { execution, wasmtime, watchdog })))
    }

    /// How it executes.
    pub fn execution(&self) -> Execution {
        self.0.execution
    }

    /// Makes this thread's signal stack now, so that no memory has to be mapped for it later.
    pub fn prepare_thread() {
        wasmtime::Engine::tls_eager_initialize();
    }

    pub(crate) fn wasmtime(&self) -> &wasmtime::Engine {
        &self.0.wasmtime
    }

    /// The calling thread's right to run a guest until the allowance is used up.
    pub(crate) fn turn(&self, allowance: Allowance) -> Turn<'_> {
        self.0.watchdog.turn(allowance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_the_one_in_the_lock_file() {
        let lock = include_str!("../../Cargo.lock");
        let package = lock.split("[[package]]").find(|package| package.contains("\nname = \"wasmtime\"\n")).unwrap();
        assert!(package.contains(&format!("version = \"{WASMTIME_VERSION}\"")), "bump WASMTIME_VERSION:{package}");
    }

    #[test]
    fn every_target_has_an_identity_of_its_own() {
        let identities: Vec<_> = TARGETS.iter().map(|(target, _)| Identity::of(target).unwrap()).collect();
        for (at, one) in identities.iter().enumerate() {
            assert!(!identities[..at].contains(one), "{one:?}");
        }
        assert_ne!(identities[0].tunables, identities[2].tunables, "the interpreter has settings of its own");
        assert_eq!(Identity::of("riscv64gc-unknown-linux-gnu"), None);
        assert!(SETTINGS.contains("memory_init_cow false"));
    }
}

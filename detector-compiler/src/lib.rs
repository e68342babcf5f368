//! Makes native code from detectors. Cranelift lives only here, never in the agent.
//!
//! A module is somebody else's input, so [`confined`] compiles it in a child of its own that has given up files,
//! network and processes first; [`compile`] is what that child does.

pub mod confined;

use vedette_detector_host::artifact::{CWASM_BYTES_MAX, WASM_BYTES_MAX};
use vedette_detector_host::engine::{self, Identity, NAN_CANONICAL, TARGETS};
use wasmtime::{Engine, OptLevel};

/// Why a module was not compiled.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CompileError {
    /// No such target.
    #[error("no target {0:?}; there are: {known}", known = target_names())]
    UnknownTarget(String),
    /// Over the limit before or after compiling; names which.
    #[error("the .{0} is over the limit of {1} bytes")]
    TooLarge(&'static str, usize),
    /// Not a component that this engine accepts.
    #[error("not a valid component: {0}")]
    Invalid(String),
    /// What the compiling child said.
    #[error("{0}")]
    Refused(String),
    /// The confined child ended without an answer.
    #[error("the compiling child failed: {0}")]
    Child(String),
}

/// Code of a component for a target of [`TARGETS`], for its CPU baseline and never for the CPU at hand; for `pulley64` it
/// is the interpreter's byte code.
///
/// # Errors
///
/// [`CompileError::UnknownTarget`], [`CompileError::TooLarge`] or [`CompileError::Invalid`].
pub fn compile(wasm: &[u8], target: &str) -> Result<Vec<u8>, CompileError> {
    let identity = Identity::of(target).ok_or_else(|| CompileError::UnknownTarget(target.into()))?;
    if wasm.len() > WASM_BYTES_MAX {
        return Err(CompileError::TooLarge("wasm", WASM_BYTES_MAX));
    }
    let cwasm = precompile(wasm, &identity).map_err(|error| CompileError::Invalid(format!("{error:#}")))?;
    if cwasm.len() > CWASM_BYTES_MAX {
        return Err(CompileError::TooLarge("cwasm", CWASM_BYTES_MAX));
    }
    Ok(cwasm)
}

fn precompile(wasm: &[u8], identity: &Identity) -> wasmtime::Result<Vec<u8>> {
    let mut config = engine::config(identity);
    config.target(&identity.target)?;
    config.cranelift_opt_level(OptLevel::Speed);
    config.cranelift_nan_canonicalization(NAN_CANONICAL);
    Engine::new(&config)?.precompile_component(wasm)
}

fn target_names() -> String {
    TARGETS.iter().map(|(target, _)| *target).collect::<Vec<_>>().join(", ")
}

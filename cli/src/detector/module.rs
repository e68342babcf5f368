//! A detector as commands are given it: a component that is compiled now, or a signed pair.

use super::inspect;
use super::keys::unusable;
use anyhow::Context as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use vedette_detector_host::artifact::WASM_BYTES_MAX;
use vedette_detector_host::engine::{Execution, Identity};
use vedette_protocol::ids::Digest;

/// Which detector, and what compiles it.
#[derive(clap::Args)]
pub(crate) struct ModuleArgs {
    /// A component, FILE.wasm, or a signed pair, DIR/NAME.
    #[arg(value_name = "MODULE")]
    module: PathBuf,
    #[command(flatten)]
    compiler: CompilerArgs,
}

/// Where the compiler is.
#[derive(clap::Args)]
pub(crate) struct CompilerArgs {
    /// The compiler; by default `vedette-compiler` beside this program, then on the path.
    #[arg(long, value_name = "FILE")]
    compiler: Option<PathBuf>,
}

/// Context of an error that is the component's fault, not of a file or program that is missing.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("no host takes this component")]
pub(crate) struct Unfit;

/// A detector ready to run.
pub(crate) struct Module {
    path: PathBuf,
    compiler: PathBuf,
    /// SHA-256 of the component.
    pub(crate) wasm_digest: Digest,
    /// Size of the component.
    pub(crate) wasm_bytes: usize,
    /// Native code for this machine.
    pub(crate) cwasm: Vec<u8>,
}

impl Module {
    /// Compiles or loads it. A pair is verified with the key beside its signature: whom to trust is the agent's question.
    pub(crate) fn load(args: &ModuleArgs) -> anyhow::Result<Self> {
        let compiler = args.compiler.program()?;
        let is_component = args.module.extension().is_some_and(|extension| extension == "wasm");
        let path = if is_component { args.module.clone() } else { component_of(&args.module) };
        let size = std::fs::metadata(&path).map_err(|error| unusable(&path, &error))?.len();
        if size > WASM_BYTES_MAX as u64 {
            let reason = format!("{size} bytes, {WASM_BYTES_MAX} are allowed");
            return Err(anyhow::Error::from(unusable(&path, &reason)).context(Unfit));
        }
        let wasm = std::fs::read(&path).map_err(|error| unusable(&path, &error))?;
        let cwasm = match is_component {
            true => compile(&compiler, &path, Execution::Native)?,
            false => inspect::load(&args.module, None)?.0.cwasm().to_vec(),
        };
        Ok(Self { path, compiler, wasm_digest: Digest::of(&wasm), wasm_bytes: wasm.len(), cwasm })
    }

    /// The same component for the interpreter.
    pub(crate) fn for_interpreter(&self) -> anyhow::Result<Vec<u8>> {
        compile(&self.compiler, &self.path, Execution::Pulley)
    }
}

impl CompilerArgs {
    /// The program to start.
    pub(crate) fn program(&self) -> anyhow::Result<PathBuf> {
        if let Some(given) = &self.compiler {
            return Ok(given.clone());
        }
        let beside = std::env::current_exe()?.with_file_name("vedette-compiler");
        Ok(if beside.exists() { beside } else { "vedette-compiler".into() })
    }
}

/// The component of a pair.
pub(crate) fn component_of(pair: &Path) -> PathBuf {
    let mut path = pair.as_os_str().to_owned();
    path.push(".wasm");
    path.into()
}

/// Code of a component, from the confined compiler.
///
/// # Errors
///
/// What the compiler says of the component, or that there is no compiler.
pub(crate) fn compile(compiler: &Path, component: &Path, execution: Execution) -> anyhow::Result<Vec<u8>> {
    let folder = std::env::temp_dir().join(format!("vedette-compile-{}", std::process::id()));
    std::fs::create_dir_all(&folder).with_context(|| format!("{} could not be made", folder.display()))?;
    let out = folder.join(execution.name());
    let mut command = Command::new(compiler);
    command
        .arg("compile")
        .arg(component)
        .arg("--out")
        .arg(&out)
        .args(["--target", &Identity::loaded_by(execution).target]);
    let told = command.stdin(Stdio::null()).output().with_context(|| {
        format!("{} could not be started; --compiler says where vedette-compiler is", compiler.display())
    });
    let cwasm = std::fs::read(&out);
    let _ = std::fs::remove_dir_all(&folder);
    let told = told?;
    if !told.status.success() {
        let reason = String::from_utf8_lossy(&told.stderr).trim().to_owned();
        return Err(anyhow::Error::from(unusable(component, &reason)).context(Unfit));
    }
    cwasm.context("the compiler left no code")
}

//! A detector as commands are given it: a component that is compiled now, or a signed pair.

use super::inspect;
use super::keys::unusable;
use anyhow::{Context as _, ensure};
use std::hash::{BuildHasher as _, Hasher as _, RandomState};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use vedette_detector_host::artifact::{Artifact, WASM_BYTES_MAX};
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
#[derive(Default, clap::Args)]
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
    wasm: Vec<u8>,
    /// SHA-256 of the component.
    pub(crate) wasm_digest: Digest,
    /// Native code for this machine.
    pub(crate) cwasm: Vec<u8>,
}

impl Module {
    /// Compiles or loads it. A pair is verified with the key beside its signature: whom to trust is the agent's question.
    pub(crate) fn load(args: &ModuleArgs) -> anyhow::Result<Self> {
        let compiler = args.compiler.program()?;
        let is_component = args.module.extension().is_some_and(|extension| extension == "wasm");
        let path = if is_component { args.module.clone() } else { component_of(&args.module) };
        let wasm = read(&path)?;
        let cwasm = match is_component {
            true => compile(&compiler, &path, &wasm, Execution::Native)?,
            false => {
                let (artifact, _) = inspect::load(&args.module, None)?;
                verified(&path, &wasm, &artifact)?;
                artifact.cwasm().to_vec()
            }
        };
        Ok(Self { path, compiler, wasm_digest: Digest::of(&wasm), wasm, cwasm })
    }

    /// Size of the component.
    pub(crate) fn wasm_bytes(&self) -> usize {
        self.wasm.len()
    }

    /// The same component for the interpreter.
    pub(crate) fn for_interpreter(&self) -> anyhow::Result<Vec<u8>> {
        compile(&self.compiler, &self.path, &self.wasm, Execution::Pulley)
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

/// A component's bytes. They are read once: what is compiled, signed and named by a digest is the same.
///
/// # Errors
///
/// If the file cannot be read or is larger than hosts allow.
pub(crate) fn read(path: &Path) -> anyhow::Result<Vec<u8>> {
    let size = std::fs::metadata(path).map_err(|error| unusable(path, &error))?.len();
    if size > WASM_BYTES_MAX as u64 {
        let reason = format!("{size} bytes, {WASM_BYTES_MAX} are allowed");
        return Err(anyhow::Error::from(unusable(path, &reason)).context(Unfit));
    }
    Ok(std::fs::read(path).map_err(|error| unusable(path, &error))?)
}

/// Code that is compiled anew from the component of a pair: nothing that its signer made is executed natively.
///
/// # Errors
///
/// As [`compile`], or if the component is not the one that was signed.
pub(crate) fn compile_pair(
    compiler: &Path,
    pair: &Path,
    artifact: &Artifact,
    execution: Execution,
) -> anyhow::Result<Vec<u8>> {
    let path = component_of(pair);
    let wasm = read(&path)?;
    verified(&path, &wasm, artifact)?;
    compile(compiler, &path, &wasm, execution)
}

fn component_of(pair: &Path) -> PathBuf {
    let mut path = pair.as_os_str().to_owned();
    path.push(".wasm");
    path.into()
}

fn verified(path: &Path, wasm: &[u8], artifact: &Artifact) -> anyhow::Result<()> {
    let same = Digest::of(wasm) == artifact.wasm_digest();
    ensure!(same, unusable(path, &"was changed while it was read"));
    Ok(())
}

/// A folder that nobody else can enter; it goes with all that is in it.
struct Scratch(PathBuf);

impl Scratch {
    /// Fails if the folder is there: whoever made it could exchange what is put into it.
    fn new() -> anyhow::Result<Self> {
        let random = RandomState::new().build_hasher().finish();
        let path = std::env::temp_dir().join(format!("vedette-compile-{random:016x}"));
        let made = std::fs::DirBuilder::new().mode(0o700).create(&path);
        made.with_context(|| format!("{} could not be made", path.display()))?;
        Ok(Self(path))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// Code of a component that was read from `path`, from the confined compiler.
///
/// # Errors
///
/// What the compiler says of the component, or that there is no compiler.
pub(crate) fn compile(compiler: &Path, path: &Path, wasm: &[u8], execution: Execution) -> anyhow::Result<Vec<u8>> {
    let scratch = Scratch::new()?;
    let (component, out) = (scratch.0.join("component.wasm"), scratch.0.join(execution.name()));
    std::fs::write(&component, wasm).with_context(|| format!("{} could not be written", component.display()))?;
    let mut command = Command::new(compiler);
    command
        .arg("compile")
        .arg(&component)
        .arg("--out")
        .arg(&out)
        .args(["--target", &Identity::loaded_by(execution).target]);
    let told = command.stdin(Stdio::null()).output().with_context(|| {
        format!("{} could not be started; --compiler says where vedette-compiler is", compiler.display())
    });
    let told = told?;
    if !told.status.success() {
        let reason = String::from_utf8_lossy(&told.stderr).trim().to_owned();
        return Err(anyhow::Error::from(unusable(path, &reason)).context(Unfit));
    }
    std::fs::read(&out).context("the compiler left no code")
}

#[cfg(test)]
pub(crate) mod tests {
    use super::*;

    /// A compiler that runs these commands of a shell; `$2` is the component and `$4` the file for the code.
    pub(crate) fn stand_in(dir: &Path, commands: &str) -> CompilerArgs {
        let program = dir.join("compiler");
        // Written by another process: none that is started meanwhile can hold it open for writing.
        let write = r#"printf '#!/bin/sh\n%s\n' "$1" > "$0" && chmod 755 "$0""#;
        let written = Command::new("/bin/sh").args(["-c", write]).arg(&program).arg(commands).status();
        assert!(written.unwrap().success());
        CompilerArgs { compiler: Some(program) }
    }

    #[test]
    fn bytes_once_read_are_compiled_in_a_folder_of_ones_own() {
        let dir = tempfile::tempdir().unwrap();
        let report = r#"folder=$(dirname "$4"); echo "$folder" $(stat -c %a "$folder") $(cat "$2") > "$4""#;
        let compiler = stand_in(dir.path(), report).program().unwrap();
        let compiled = || {
            let gone = dir.path().join("gone.wasm");
            let told = compile(&compiler, &gone, b"as-it-was-read", Execution::Native).unwrap();
            String::from_utf8(told).unwrap().split_whitespace().map(str::to_owned).collect::<Vec<_>>()
        };
        let (one, other) = (compiled(), compiled());
        assert_eq!(one[1..], ["700", "as-it-was-read"]);
        assert!(one[0] != other[0] && !Path::new(&one[0]).exists(), "{one:?} {other:?}");
    }

    #[test]
    fn refusals_name_the_file_that_was_given() {
        let dir = tempfile::tempdir().unwrap();
        let compiler = stand_in(dir.path(), "echo 'not a component' >&2; exit 1").program().unwrap();
        let error = compile(&compiler, Path::new("spike.wasm"), b"", Execution::Native).unwrap_err();
        assert!(error.is::<Unfit>() && format!("{error:#}").contains("spike.wasm: not a component"), "{error:#}");
    }
}

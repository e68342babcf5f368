//! From a component to a signed pair that an agent loads.

use super::keys::{self, unusable};
use super::runner;
use crate::output::{Output, text};
use anyhow::{Context as _, ensure};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use vedette_detector_host::artifact::{self, Manifest};
use vedette_detector_host::engine::Identity;

/// Arguments of `detector sign`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// The component, made by `detector build`.
    component: PathBuf,
    /// Private key made by `detector keygen`.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Folder for the four files of the pair.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// The compiler; by default `vedette-compiler` beside this program, then on the path.
    #[arg(long, value_name = "FILE")]
    compiler: Option<PathBuf>,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<ExitCode> {
    let key = keys::read(&args.key)?;
    let wasm = std::fs::read(&args.component).map_err(|error| unusable(&args.component, &error))?;
    let cwasm = compile(&compiler(args.compiler.as_deref())?, &args.component, &args.out)?;
    let described = runner::describe(&cwasm, &[])?;
    let manifest = Manifest::new(&described.name, &described.version, &wasm, &cwasm, Identity::host());
    artifact::write_pair(&args.out, &manifest, &wasm, &cwasm, &key).map_err(|error| unusable(&args.out, &error))?;
    // What an agent would say of it.
    artifact::load(&args.out, &manifest.name, &[key.public()]).context("the pair just written does not verify")?;
    let answer = json!({
        "pair": args.out.join(&manifest.name).display().to_string(),
        "manifest": manifest,
        "public_key": key.public().to_string(),
        "wasm_bytes": wasm.len(),
        "cwasm_bytes": cwasm.len(),
    });
    output.print(&answer, |answer| {
        let field = |pointer| text(answer, pointer);
        format!(
            "{} {} signed by {}\n{} bytes of WebAssembly, {} of native code for {}",
            field("/pair"),
            field("/manifest/version"),
            field("/public_key"),
            field("/wasm_bytes"),
            field("/cwasm_bytes"),
            field("/manifest/target")
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

fn compiler(given: Option<&Path>) -> anyhow::Result<PathBuf> {
    if let Some(given) = given {
        return Ok(given.to_owned());
    }
    let beside = std::env::current_exe()?.with_file_name("vedette-compiler");
    Ok(if beside.exists() { beside } else { "vedette-compiler".into() })
}

fn compile(compiler: &Path, component: &Path, out: &Path) -> anyhow::Result<Vec<u8>> {
    std::fs::create_dir_all(out).map_err(|error| unusable(out, &error))?;
    // Beside the pair and hidden: never picked up as half of one.
    let unsigned = out.join(format!(".unsigned-{}", std::process::id()));
    let mut command = Command::new(compiler);
    command.arg("compile").arg(component).arg("--out").arg(&unsigned).stdin(Stdio::null()).stdout(Stdio::null());
    let status = command.status().with_context(|| {
        format!("{} could not be started; --compiler says where vedette-compiler is", compiler.display())
    })?;
    let cwasm = std::fs::read(&unsigned);
    let _ = std::fs::remove_file(&unsigned);
    ensure!(status.success(), "{} did not compile {}", compiler.display(), component.display());
    cwasm.context("the compiler left no native code")
}

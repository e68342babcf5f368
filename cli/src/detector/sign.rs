//! From a component to a signed pair that an agent loads.

use super::keys::{self, unusable};
use super::module::{self, CompilerArgs};
use super::runner;
use crate::output::{Output, text};
use anyhow::Context as _;
use serde_json::json;
use std::path::PathBuf;
use std::process::ExitCode;
use vedette_detector_host::artifact::{self, Manifest};
use vedette_detector_host::engine::{Execution, Identity};

const EXAMPLES: &str = "Examples:
  vedette detector keygen --out author.key
  vedette detector sign spike.wasm --key author.key --out pairs";

/// Arguments of `detector sign`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The component, made by `detector build`.
    component: PathBuf,
    /// Private key made by `detector keygen`.
    #[arg(long, value_name = "FILE")]
    key: PathBuf,
    /// Folder for the files of the pair: module, native code, byte code for the interpreter, manifest, signature.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    compiler: CompilerArgs,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<ExitCode> {
    let key = keys::read(&args.key)?;
    let wasm = module::read(&args.component)?;
    let compiler = args.compiler.program()?;
    let cwasm = module::compile(&compiler, &args.component, &wasm, Execution::Native)?;
    let pulley = module::compile(&compiler, &args.component, &wasm, Execution::Pulley)?;
    let described = runner::describe(&cwasm, &[])?;
    let manifest = Manifest::new(&described.name, &described.version, &wasm, &cwasm, Identity::host());
    let manifest = manifest.with_pulley(&pulley);
    artifact::write_pulley(&args.out, &manifest, &pulley).map_err(|error| unusable(&args.out, &error))?;
    artifact::write_pair(&args.out, &manifest, &wasm, &cwasm, &key).map_err(|error| unusable(&args.out, &error))?;
    // What an agent would say of it, however it executes it.
    for execution in Execution::ALL {
        artifact::load_for(&args.out, &manifest.name, &[key.public()], execution)
            .context("the pair just written does not verify")?;
    }
    let answer = json!({
        "pair": args.out.join(&manifest.name).display().to_string(),
        "manifest": manifest,
        "public_key": key.public().to_string(),
        "wasm_bytes": wasm.len(),
        "cwasm_bytes": cwasm.len(),
        "pulley_bytes": pulley.len(),
    });
    output.print(&answer, |answer| {
        let field = |pointer| text(answer, pointer);
        format!(
            "{} {} signed by {}\n{} bytes of WebAssembly, {} of native code for {}, {} of byte code",
            field("/pair"),
            field("/manifest/version"),
            field("/public_key"),
            field("/wasm_bytes"),
            field("/cwasm_bytes"),
            field("/manifest/target"),
            field("/pulley_bytes")
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

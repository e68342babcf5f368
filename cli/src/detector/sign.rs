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
    /// Folder for the four files of the pair.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    #[command(flatten)]
    compiler: CompilerArgs,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<ExitCode> {
    let key = keys::read(&args.key)?;
    let wasm = std::fs::read(&args.component).map_err(|error| unusable(&args.component, &error))?;
    let cwasm = module::compile(&args.compiler.program()?, &args.component, Execution::Native)?;
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

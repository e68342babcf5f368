//! `vedette-compiler`: a component in, native code for an explicit target out.

use anyhow::Context;
use clap::{Parser, Subcommand, ValueEnum};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vedette_detector_compiler::{CompileError, confined};
use vedette_detector_host::artifact::{Digest, WASM_BYTES_MAX};
use vedette_detector_host::engine::{CONTRACT, Identity};

/// Compiles detectors ahead of time, in a confined child, never for the CPU at hand.
#[derive(Parser)]
#[command(name = "vedette-compiler", version)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Compile a component (.wasm) to native code (.cwasm) and print what belongs into its manifest.
    Compile {
        /// The component.
        input: PathBuf,
        /// Where the native code goes.
        #[arg(long)]
        out: PathBuf,
        /// Target triple; by default that of this program.
        #[arg(long)]
        target: Option<String>,
        /// Form of what is printed.
        #[arg(long, value_enum, default_value_t = Output::Human)]
        output: Output,
    },
    /// Print the identity that hosts of this release load.
    Identity {
        /// Target triple; by default that of this program.
        #[arg(long)]
        target: Option<String>,
        /// Form of what is printed.
        #[arg(long, value_enum, default_value_t = Output::Human)]
        output: Output,
    },
    /// Compile standard input to standard output in this process, confined.
    #[command(name = confined::CHILD_COMMAND, hide = true)]
    ConfinedChild {
        /// Target triple.
        target: String,
    },
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Output {
    Human,
    Json,
}

fn main() -> ExitCode {
    let done = match Arguments::parse().command {
        Command::ConfinedChild { target } => return confined::child(&target),
        Command::Compile { input, out, target, output } => compile(&input, &out, target, output),
        Command::Identity { target, output } => {
            identity(target).map(|identity| print(output, &describe(&identity))).map_err(Into::into)
        }
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vedette-compiler: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn compile(input: &Path, out: &Path, target: Option<String>, output: Output) -> anyhow::Result<()> {
    let identity = identity(target)?;
    let size = std::fs::metadata(input).with_context(|| format!("cannot read {}", input.display()))?.len();
    anyhow::ensure!(size <= WASM_BYTES_MAX as u64, CompileError::TooLarge("wasm", WASM_BYTES_MAX));
    let wasm = std::fs::read(input).with_context(|| format!("cannot read {}", input.display()))?;
    let cwasm = confined::run(&std::env::current_exe()?, &wasm, &identity.target)?;
    std::fs::write(out, &cwasm).with_context(|| format!("cannot write {}", out.display()))?;
    let mut fields = describe(&identity);
    fields["wasm_sha256"] = json!(Digest::of(&wasm).to_string());
    fields["cwasm_sha256"] = json!(Digest::of(&cwasm).to_string());
    fields["cwasm_bytes"] = json!(cwasm.len());
    print(output, &fields);
    Ok(())
}

fn identity(target: Option<String>) -> Result<Identity, CompileError> {
    match target {
        None => Ok(Identity::host()),
        Some(target) => Identity::of(&target).ok_or(CompileError::UnknownTarget(target)),
    }
}

/// The manifest's fields, under its names.
fn describe(identity: &Identity) -> serde_json::Value {
    json!({
        "contract": CONTRACT,
        "wasmtime": identity.wasmtime,
        "target": identity.target,
        "cpu": identity.cpu,
        "tunables": identity.tunables.to_string(),
    })
}

fn print(output: Output, fields: &serde_json::Value) {
    match (output, fields.as_object()) {
        (Output::Human, Some(fields)) => {
            for (name, value) in fields {
                println!("{name:13} {}", value.as_str().map_or_else(|| value.to_string(), str::to_owned));
            }
        }
        _ => println!("{fields}"),
    }
}

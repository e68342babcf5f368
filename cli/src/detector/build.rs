//! From an author's folder to a component.

mod c;
mod rust;

use super::keys::unusable;
use super::toolchain::Toolchain;
use crate::output::{Output, text};
use anyhow::{Context as _, ensure};
use serde_json::json;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vedette_detector_host::engine::CONTRACT;
use vedette_protocol::ids::Digest;

const EXAMPLES: &str = "Examples:
  vedette detector build spike --out spike.wasm
  vedette detector build plugins/level --out level.wasm --toolchain debian

A folder with a Cargo.toml is built as Rust, one with .c files as C. Needs, in Rust, the target wasm32-unknown-unknown
(rustup, or Debian's rustc-web, cargo-web and rust-web-src); in C, clang and lld.";

/// Arguments of `detector build`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// Folder of the detector: a crate whose cdylib says `vedette_sdk::export!`, or C with vedette_detector.h.
    dir: PathBuf,
    /// File for the component.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
    /// What to build Rust with.
    #[arg(long, value_enum, default_value_t = Toolchain::Auto)]
    toolchain: Toolchain,
}

/// A core module and how it came about.
struct Built {
    module: Vec<u8>,
    project: String,
    toolchain: String,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<ExitCode> {
    let built = if args.dir.join("Cargo.toml").exists() {
        rust::build(&args.dir, args.toolchain)?
    } else {
        let sources = c::sources(&args.dir).map_err(|error| unusable(&args.dir, &error))?;
        ensure!(
            !sources.is_empty(),
            unusable(&args.dir, &"has neither a Cargo.toml nor a .c file: `vedette detector new NAME` makes a project")
        );
        c::build(&args.dir, &sources)?
    };
    let component = component(&built.module)?;
    std::fs::write(&args.out, &component).map_err(|error| unusable(&args.out, &error))?;
    let answer = json!({
        "file": args.out.display().to_string(),
        "package": built.project,
        "toolchain": built.toolchain,
        "bytes": component.len(),
        "sha256": Digest::of(&component).to_string(),
    });
    output.print(&answer, |answer| {
        format!("{}: {} bytes, SHA-256 {}", text(answer, "/file"), text(answer, "/bytes"), text(answer, "/sha256"))
    })?;
    Ok(ExitCode::SUCCESS)
}

/// Says on stderr what happens: stdout is for the answer.
fn say(dir: &Path, toolchain: &str) {
    eprintln!("building {} with {toolchain}", dir.display());
}

/// Turns a core module with a description of its contract in it into a component.
///
/// # Errors
///
/// If the module speaks no contract or imports what a component of it cannot have, such as WASI.
fn component(module: &[u8]) -> anyhow::Result<Vec<u8>> {
    const REMEDY: &str = "the module is no detector: does it say `vedette_sdk::export!`, or include vedette_detector.h, \
                          and import nothing else?";
    // A module without a description would become an empty component.
    let (_, described) = wit_component::metadata::decode(module).context(REMEDY)?;
    let (package, _) = CONTRACT.split_once('@').context("a contract has a version")?;
    let speaks = described
        .resolve
        .packages
        .iter()
        .any(|(_, one)| format!("{}:{}", one.name.namespace, one.name.name) == package);
    ensure!(speaks, "{REMEDY}");
    wit_component::ComponentEncoder::default().validate(true).module(module)?.encode().context(REMEDY)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_module_without_the_contract_is_refused() {
        let empty = b"\0asm\x01\0\0\0";
        assert!(component(empty).is_err() && component(b"not wasm").is_err());
    }
}

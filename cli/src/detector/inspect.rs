//! What a signed pair is: verified, then asked in a confined worker.

use super::keys::unusable;
use super::runner;
use crate::output::{Output, text};
use anyhow::Context as _;
use serde_json::{Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vedette_detector_host::artifact::{self, Artifact};
use vedette_detector_host::engine::Execution;
use vedette_protocol::signature::PublicKey;
use vedette_protocol::worker::{DetectorDescription, DetectorInput};

const EXAMPLES: &str = "Examples:
  vedette detector inspect pairs/spike
  vedette detector inspect pairs/spike --trust ed25519:...";

/// Arguments of `detector inspect`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The pair: folder and name, without extension.
    #[arg(value_name = "DIR/NAME")]
    pair: PathBuf,
    /// Public key that must have signed it; by default whoever did.
    #[arg(long, value_name = "KEY")]
    trust: Option<PublicKey>,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<ExitCode> {
    let (artifact, signer) = load(&args.pair, args.trust)?;
    let described = runner::describe(artifact.cwasm(), &[])?;
    let answer = json!({
        "manifest": artifact.manifest(),
        "signed_by": signer.to_string(),
        "trusted": args.trust.is_some(),
        "cwasm_bytes": artifact.cwasm().len(),
        "description": description(&described),
    });
    output.print(&answer, human)?;
    Ok(ExitCode::SUCCESS)
}

/// Loads a pair, verified for `trust`; without it, for the key that stands beside the signature.
pub(crate) fn load(pair: &Path, trust: Option<PublicKey>) -> anyhow::Result<(Artifact, PublicKey)> {
    load_for(pair, trust, Execution::Native)
}

/// The same with the code for one way to execute.
pub(crate) fn load_for(
    pair: &Path,
    trust: Option<PublicKey>,
    execution: Execution,
) -> anyhow::Result<(Artifact, PublicKey)> {
    let name = pair.file_name().and_then(|name| name.to_str()).context("expected DIR/NAME of a pair")?;
    let dir = pair.parent().filter(|dir| !dir.as_os_str().is_empty()).unwrap_or(Path::new("."));
    let key = match trust {
        Some(key) => key,
        None => signer(&dir.join(format!("{name}.sig")))?,
    };
    let artifact = artifact::load_for(dir, name, &[key], execution).map_err(|refusal| unusable(pair, &refusal))?;
    Ok((artifact, key))
}

fn signer(path: &Path) -> anyhow::Result<PublicKey> {
    let signature = std::fs::read_to_string(path).map_err(|error| unusable(path, &error))?;
    let key = signature.split_whitespace().next().unwrap_or_default();
    Ok(key.parse().map_err(|error| unusable(path, &error))?)
}

fn description(described: &DetectorDescription) -> Value {
    json!({
        "name": described.name,
        "version": described.version,
        "input": match described.input {
            DetectorInput::Metrics => "metrics",
            DetectorInput::LogTemplates => "log-templates",
            DetectorInput::Votes => "metrics, votes",
            DetectorInput::Seasonal => "metrics, knows what is usual when",
            DetectorInput::Timeless => "metrics, whatever the time",
        },
        "warm_up_values": described.warm_up_values,
        "state_bytes_max": described.state_bytes_max,
        "look_ms": described.look_ms,
        "parameters": described.parameters.iter().map(|(name, value)| json!({"name": name, "default": value})).collect::<Vec<_>>(),
    })
}

fn human(answer: &Value) -> String {
    let mut lines = Vec::new();
    let trusted = if answer["trusted"] == true { "trusted" } else { "not checked against a trusted key" };
    lines.push(format!("{} {}", text(answer, "/manifest/name"), text(answer, "/manifest/version")));
    lines.push(format!("signed by  {} ({trusted})", text(answer, "/signed_by")));
    for field in ["contract", "wasm_sha256", "cwasm_sha256", "wasmtime", "target", "cpu", "tunables"] {
        lines.push(format!("{field:13} {}", text(answer, &format!("/manifest/{field}"))));
    }
    for field in ["input", "warm_up_values", "state_bytes_max", "look_ms"] {
        lines.push(format!("{field:16} {}", text(answer, &format!("/description/{field}"))));
    }
    for parameter in answer.pointer("/description/parameters").and_then(Value::as_array).into_iter().flatten() {
        lines.push(format!("parameter {} = {}", text(parameter, "/name"), text(parameter, "/default")));
    }
    lines.join("\n")
}

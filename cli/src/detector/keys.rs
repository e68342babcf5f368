//! Authors' keys: Ed25519 in PKCS #8, readable by their owner only.

use crate::failure::Failure;
use crate::output::{Output, text};
use crate::secret::{self, Readers};
use anyhow::Context as _;
use serde_json::json;
use std::io::Write as _;
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use vedette_protocol::signature::SigningKey;

const EXAMPLES: &str = "Examples:
  vedette detector keygen --out author.key

The private key stays with its author; agents are told the public key that is printed.";

/// Arguments of `detector keygen`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// File for the private key; it must not exist yet.
    #[arg(long, value_name = "FILE")]
    out: PathBuf,
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<ExitCode> {
    let pkcs8 = SigningKey::generate_pkcs8();
    let public = SigningKey::from_pkcs8(&pkcs8)?.public();
    let mut file = std::fs::OpenOptions::new()
        .write(true)
        .create_new(true)
        .mode(0o600)
        .open(&args.out)
        .map_err(|error| unusable(&args.out, &error))?;
    file.write_all(&pkcs8).and_then(|()| file.sync_all()).context("the key could not be written")?;
    let answer = json!({"public_key": public.to_string(), "file": args.out.display().to_string()});
    output.print(&answer, |answer| text(answer, "/public_key"))?;
    Ok(ExitCode::SUCCESS)
}

/// Reads a key that [`run`] made.
pub(crate) fn read(path: &Path) -> Result<SigningKey, Failure> {
    let pkcs8 = secret::read(path, Readers::Owner).map_err(|error| secret::unusable(path, &error))?;
    SigningKey::from_pkcs8(&pkcs8).map_err(|error| unusable(path, &error))
}

/// A file that cannot serve as what it was given for.
pub(crate) fn unusable(path: &Path, reason: &dyn std::fmt::Display) -> Failure {
    Failure::UnusableFile { path: path.display().to_string(), reason: reason.to_string() }
}

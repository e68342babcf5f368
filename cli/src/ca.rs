//! `vedette ca`: what an agent must know to enrol.

use crate::client::Client;
use crate::failure::Failure;
use crate::output::{Output, text};
use std::path::PathBuf;
use std::process::ExitCode;

/// Arguments of `ca`.
#[derive(clap::Args)]
#[command(after_help = "Examples:\n  vedette ca --out ca.pem")]
pub(crate) struct Args {
    /// Writes the PEM to this file as well.
    #[arg(long, value_name = "FILE")]
    out: Option<PathBuf>,
}

/// Prints the certificate authority, its fingerprint and the key that signs directives.
pub(crate) fn run(args: &Args, client: &Client, output: Output) -> anyhow::Result<ExitCode> {
    let answer = client.get("/api/v1/ca")?;
    if let Some(out) = &args.out {
        std::fs::write(out, text(&answer, "/pem"))
            .map_err(|error| Failure::UnusableFile { path: out.display().to_string(), reason: error.to_string() })?;
    }
    output.print(&answer, |ca| {
        format!(
            "fingerprint  {}\nonline key   {}\n\n{}",
            text(ca, "/fingerprint"),
            text(ca, "/online_key"),
            text(ca, "/pem")
        )
    })?;
    Ok(ExitCode::SUCCESS)
}

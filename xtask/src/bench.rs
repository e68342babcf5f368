//! Measurements beside peers, each a bench target that prints its table and fails above the promised bar.

use crate::build;
use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::process::Stdio;

/// What to measure.
#[derive(Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// Bytes and CPU time per sample on the wire, beside OTLP and Prometheus remote write.
    Wire {
        /// A minute of a host's series as JSON: a list of ticks, each `[unix_ms, [[name, [[key, value], …], "c" or "g",
        /// value, whole], …]]`. Without it this host is sampled for a minute first.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// Builds and runs the bench; its table goes to standard output.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    let Bench::Wire { file } = &args.bench;
    let mut command = build::cargo();
    command.args(["bench", "--quiet", "--package", "vedette-agent", "--bench", "wire", "--"]);
    if let Some(file) = file {
        // The bench runs in its package's folder.
        let file = file.canonicalize().with_context(|| format!("--file {}", file.display()))?;
        command.arg("--file").arg(file);
    }
    let status = command.stdin(Stdio::null()).status().context("starting cargo")?;
    ensure!(status.success(), "the bench failed ({status})");
    Ok(())
}

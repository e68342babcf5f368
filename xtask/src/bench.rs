//! Measurements of promises, each with a table, and a failure above the promised bar.

mod agent;
mod budget;
mod crowd;
mod larger_host;
mod outage;
mod peers;
mod window;

use crate::build;
use anyhow::{Context, Result, ensure};
use clap::{Args, Subcommand};
use std::path::{Path, PathBuf};
use std::process::Stdio;

/// What to measure.
#[derive(Args)]
pub(crate) struct BenchArgs {
    #[command(subcommand)]
    bench: Bench,
}

#[derive(Subcommand)]
enum Bench {
    /// CPU time, memory, bytes and wake-ups of the agent, beside node_exporter, collectd and netdata where installed.
    Agent(agent::AgentArgs),
    /// A CPU budget of 0.2 % of a core with 2,000 series: each minute, the mean, and what was shed for it.
    Budget(budget::BudgetArgs),
    /// Takes the collector away for a while at the default rates: memory, disk, and what arrives afterwards.
    Outage(outage::OutageArgs),
    /// CPU time of following a log: 500 MB of syslog lines, plain, then with masking and templates.
    Tail,
    /// Bytes and CPU time per sample on the wire, beside OTLP and Prometheus remote write.
    Wire {
        /// A minute of a host's series as JSON: a list of ticks, each `[unix_ms, [[name, [[key, value], …], "c" or "g",
        /// value, whole], …]]`. Without it this host is sampled for a minute first.
        #[arg(long, value_name = "FILE")]
        file: Option<PathBuf>,
    },
}

/// Builds and runs a bench; its table goes to standard output.
pub(crate) fn run(args: &BenchArgs) -> Result<()> {
    match &args.bench {
        Bench::Agent(args) => agent::run(args),
        Bench::Budget(args) => budget::run(args),
        Bench::Outage(args) => outage::run(args),
        Bench::Tail => target("tail", None),
        Bench::Wire { file } => target("wire", file.as_deref()),
    }
}

fn target(name: &str, file: Option<&Path>) -> Result<()> {
    let mut command = build::cargo();
    command.args(["bench", "--quiet", "--package", "vedette-agent", "--bench", name, "--"]);
    if let Some(file) = file {
        // The bench runs in its package's folder.
        let file = file.canonicalize().with_context(|| format!("--file {}", file.display()))?;
        command.arg("--file").arg(file);
    }
    let status = command.stdin(Stdio::null()).status().context("starting cargo")?;
    ensure!(status.success(), "the bench failed ({status})");
    Ok(())
}

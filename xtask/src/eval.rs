//! All suites of `vedette detector eval` with the bundled detectors as they ship, and the scorer's own check.

mod apart;

use crate::build;
use crate::plugins;
use crate::progress::say;
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Series of NAB's development half, and what windowed Gaussian scores on them: published 40.2, 40.19 here.
const DEVELOPMENT_SERIES: u64 = 29;
const WINDOWED_GAUSSIAN: std::ops::RangeInclusive<f64> = 40.15..=40.25;

/// Options of the evaluation.
#[derive(Args)]
pub(crate) struct EvalArgs {
    /// The unpacked public data.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where scores, summaries and plots go.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Only these suites; can be repeated.
    #[arg(long, value_name = "NAME")]
    suite: Vec<String>,
    /// Evaluates each detector of metrics alone and the bundle without it, too, and writes that into docs/detectors; half an
    /// hour more.
    #[arg(long)]
    apart: bool,
}

/// Builds and signs the detectors, runs the suites, and holds the scorer against a published score.
pub(crate) fn run(args: &EvalArgs) -> Result<()> {
    ensure!(args.data.is_dir(), "--data {}: there is no such folder", args.data.display());
    let detectors = plugins::run()?;
    say("evaluation; progress below, tables at the end");
    let mut command = Command::new(build::target().join("release/vedette"));
    command.args(["detector", "eval", "--data"]).arg(&args.data).arg("--out").arg(&args.out);
    command.arg("--detectors").arg(detectors).args(["--trust", &plugins::author()?]);
    for suite in &args.suite {
        command.args(["--suite", suite]);
    }
    // The tables go to standard output: they are the result.
    let status = command.stdin(Stdio::null()).status().context("starting vedette")?;
    ensure!(status.success(), "the evaluation failed ({status})");
    check_scorer(&args.out.join("summary.json"))?;
    if args.apart { apart::run(&args.data, &args.out) } else { Ok(()) }
}

/// The development half gives windowed Gaussian its published score, or our scores mean nothing.
fn check_scorer(summary: &Path) -> Result<()> {
    let text = std::fs::read_to_string(summary).with_context(|| summary.display().to_string())?;
    let summary: Value = serde_json::from_str(&text)?;
    if summary["nab"]["labelled_series"].as_u64() != Some(DEVELOPMENT_SERIES) {
        say("NAB's scorer was not held against windowed Gaussian: these are not the 29 labelled series of its half");
        return Ok(());
    }
    let score = summary["nab"]["windowed_gaussian_at_best_threshold"][0]["score"].as_f64().unwrap_or(f64::NAN);
    ensure!(
        WINDOWED_GAUSSIAN.contains(&score),
        "windowed Gaussian scores {score:.2}, published 40.2: the scorer is off"
    );
    say(&format!("NAB's scorer gives windowed Gaussian {score:.2}, published 40.2"));
    Ok(())
}

//! `vedette detector eval`: what the shipped detectors find on public data, through the agent's own judge.
//!
//! A suite is one file with `run(&Bench) -> Result<Report>`: it takes whatever it finds under `Bench::data`, writes every
//! score under `Bench::out` in a form that an outside scorer reads, and where labels are there measures them. Nothing
//! is set per file, nothing is read ahead, no name means anything. `docs/evaluation.md` describes formats and measures.

mod bench;

mod npy;
mod rows;
mod stamp;

mod agent;
mod detectors;
mod evidence;
mod host;
mod play;
mod stream;

mod events;
mod plot;
mod ranking;

mod asd_smd;
mod budget;
mod logs;
mod ms;
mod nab;
mod sequences;
mod shapes;
mod stories;

use super::module::CompilerArgs;
use crate::output::Output;
use anyhow::{Context as _, ensure};
use bench::{Bench, Report};
use detectors::Detectors;
use serde_json::{Map, Value, json};
use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::Instant;
use vedette_protocol::signature::PublicKey;

/// Arguments of `detector eval`.
#[derive(clap::Args)]
pub(crate) struct Args {
    /// What to evaluate; can be repeated. All suites whose data are there, if none is named.
    #[arg(long, value_enum)]
    suite: Vec<Suite>,
    /// The unpacked data: the folder that holds `nab`, `asd-smd`, `ms-cloud-monitoring` and so on, or some of them.
    #[arg(long, value_name = "DIR")]
    data: PathBuf,
    /// Where scores, summaries and plots go; made if it is not there.
    #[arg(long, value_name = "DIR")]
    out: PathBuf,
    /// Signed pairs to evaluate; by default the bundled ones, beside this program or in /usr/lib/vedette.
    #[arg(long, value_name = "DIR")]
    detectors: Option<PathBuf>,
    /// Public key that must have signed them; by default whoever did, and their components are compiled anew.
    #[arg(long, value_name = "KEY")]
    trust: Option<PublicKey>,
    #[command(flatten)]
    compiler: CompilerArgs,
    /// Draws no plots.
    #[arg(long)]
    no_plots: bool,
}

/// A set of data with its own layout and measures.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Suite {
    /// Numenta Anomaly Benchmark.
    Nab,
    /// Server machines with many metrics each: ASD and SMD.
    AsdSmd,
    /// Microsoft's cloud monitoring series, and two KPIs of a server.
    Ms,
    /// Log templates of loghub, on the Content column and on raw lines.
    Logs,
    /// Sequences of log events, usual and broken.
    Sequences,
    /// Known disturbances put into stretches without any: how late is each found?
    Shapes,
    /// What is found, and how late, when detection and shipping may cost only so much: ASD, SMD and simulated hosts.
    Budget,
    /// Weeks of simulated hosts that have to be told right: a backup each night, its load at noon, a leak, a sawtooth.
    Stories,
    /// What must not matter: NAB shifted, scaled and renamed, and one reading in ten of simulated hosts.
    Robustness,
}

impl Suite {
    /// All of them, in the order in which they run.
    const ALL: &[Self] = &[
        Self::Nab,
        Self::AsdSmd,
        Self::Ms,
        Self::Logs,
        Self::Sequences,
        Self::Shapes,
        Self::Budget,
        Self::Stories,
        Self::Robustness,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Nab => "nab",
            Self::AsdSmd => "asd-smd",
            Self::Ms => "ms",
            Self::Logs => "logs",
            Self::Sequences => "sequences",
            Self::Shapes => "shapes",
            Self::Budget => "budget",
            Self::Stories => "stories",
            Self::Robustness => "robustness",
        }
    }

    /// Whether it runs detectors; the others need only what `edge` is made of.
    fn judges_metrics(self) -> bool {
        !matches!(self, Self::Logs | Self::Sequences)
    }

    fn run(self, bench: &Bench<'_>) -> anyhow::Result<Report> {
        match self {
            Self::Nab => nab::run(bench),
            Self::AsdSmd => asd_smd::run(bench),
            Self::Ms => ms::run(bench),
            Self::Logs => logs::run(bench),
            Self::Sequences => sequences::run(bench),
            Self::Shapes => shapes::run(bench),
            Self::Budget => budget::run(bench),
            Self::Stories => stories::run(bench),
            Self::Robustness => nab::robustness::run(bench),
        }
    }
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<ExitCode> {
    ensure!(args.data.is_dir(), super::keys::unusable(&args.data, &"there is no such folder"));
    std::fs::create_dir_all(&args.out).with_context(|| format!("{} cannot be made", args.out.display()))?;
    let named = !args.suite.is_empty();
    let suites = if named { args.suite.as_slice() } else { Suite::ALL };
    let detectors = match suites.iter().any(|suite| suite.judges_metrics()) {
        true => Detectors::load(args.detectors.as_deref(), args.trust, &args.compiler)?,
        false => Detectors::default(),
    };
    let bench = Bench { data: &args.data, out: &args.out, detectors: &detectors, plots: !args.no_plots };
    if suites.iter().any(|suite| suite.judges_metrics()) && !detectors.votes() {
        bench.say("none of these detectors votes: rows are scored by their rarest verdict (docs/evaluation.md)");
    }
    let (mut answer, mut texts, mut failed) = (Map::new(), Vec::new(), None);
    answer.insert("detectors".into(), detectors.to_json());
    for suite in suites {
        let began = Instant::now();
        match suite.run(&bench) {
            Ok(mut report) => {
                report.summary["wall_s"] = json!(began.elapsed().as_secs_f64());
                write_summary(&args.out, suite.name(), &report.summary)?;
                answer.insert(suite.name().into(), report.summary);
                texts.push(report.text);
                failed = failed.or(report.failure);
            }
            // One set that is not there is no failure of the rest, unless it was asked for.
            Err(error) if named || error.downcast_ref::<bench::Missing>().is_none() => {
                failed = failed.or(Some(error.context(format!("suite {}", suite.name()))));
            }
            Err(missing) => bench.say(&format!("{}: not evaluated: {missing}", suite.name())),
        }
    }
    if texts.is_empty() && failed.is_none() {
        let reason = "holds no data of any suite; docs/evaluation.md says how they have to lie";
        return Err(super::keys::unusable(&args.data, &reason).into());
    }
    let mut clean = bench::Clean::default();
    answer.values().for_each(|summary| clean.add_json(&summary["clean"]));
    if clean.series_days > 0.0 {
        answer.insert("clean".into(), clean.to_json());
        texts.push(format!("all suites, clean stretches: {}\n", clean.text()));
    }
    let answer = Value::Object(answer);
    write_json(&args.out.join("summary.json"), &answer)?;
    if !texts.is_empty() {
        output.print(&answer, |_| texts.join("\n"))?;
    }
    failed.map_or(Ok(ExitCode::SUCCESS), Err)
}

fn write_summary(out: &Path, suite: &str, summary: &Value) -> anyhow::Result<()> {
    let dir = out.join(suite);
    std::fs::create_dir_all(&dir).with_context(|| format!("{} cannot be made", dir.display()))?;
    write_json(&dir.join("summary.json"), summary)
}

fn write_json(path: &Path, value: &Value) -> anyhow::Result<()> {
    let text = serde_json::to_string_pretty(value)? + "\n";
    std::fs::write(path, text).with_context(|| format!("{} cannot be written", path.display()))
}

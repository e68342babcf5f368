//! The proof that a detector's verdicts can be recomputed: the same window run in several ways gives the same bits.

use super::inspect;
use super::keys::unusable;
use super::module::{self, CompilerArgs};
use super::runner::{self, Place, Runner, check_keys};
use super::window::{self, SERIES_MAX, SeriesForm, Window};
use crate::output::{Output, items, table, text};
use anyhow::{Context as _, ensure};
use serde_json::{Value, json};
use std::path::PathBuf;
use std::process::ExitCode;
use vedette_detector_host::engine::Execution;
use vedette_protocol::ids::Digest;
use vedette_protocol::signature::PublicKey;
use vedette_protocol::worker::DetectorInput;

const EXAMPLES: &str = "Examples:
  vedette detector replay --pair pairs/spike
  vedette detector replay --pair pairs/spike --input window.csv --unit 1 --lower 0 --upper 1
  vedette detector replay --pair pairs/spike --native target/release/spike-native";

/// Arguments of `detector replay`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    /// The pair: folder and name, without extension.
    #[arg(long, value_name = "DIR/NAME")]
    pair: PathBuf,
    /// CSV with `timestamp` and one column per series; by default a built-in window.
    #[arg(long, value_name = "FILE")]
    input: Option<PathBuf>,
    #[command(flatten)]
    form: SeriesForm,
    /// Series of the built-in window.
    #[arg(long, default_value_t = 8, value_name = "COUNT", conflicts_with = "input")]
    series: usize,
    /// Public key that must have signed the pair; by default whoever did, and its code runs only in confined processes.
    #[arg(long, value_name = "KEY")]
    trust: Option<PublicKey>,
    #[command(flatten)]
    compiler: CompilerArgs,
    /// The same detector as a native program, to be compared too.
    #[arg(long, value_name = "FILE")]
    native: Option<PathBuf>,
    /// A parameter, `NAME=NUMBER`; the rest keep their defaults. Can be repeated.
    #[arg(long = "parameter", value_name = "NAME=NUMBER", value_parser = parameter)]
    parameters: Vec<(String, f64)>,
}

/// `NAME=NUMBER`.
pub(crate) fn parameter(text: &str) -> Result<(String, f64), String> {
    let (name, value) = text.split_once('=').ok_or("expected NAME=NUMBER")?;
    let value: f64 = value.parse().map_err(|_| format!("{value:?} is no number"))?;
    Ok((name.to_owned(), value))
}

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<ExitCode> {
    let (artifact, signer) = inspect::load(&args.pair, args.trust)?;
    let cwasm = artifact.cwasm();
    let described = runner::describe(cwasm, &args.parameters)?;
    let window = window(args, described.input)?;
    let mut runs = Vec::new();
    let mut record = |name: String, place: &Place<'_>, cut: Option<usize>| -> anyhow::Result<()> {
        let outcome = replay(&window, place, &args.parameters, cut).with_context(|| format!("run {name:?}"))?;
        runs.push((name, outcome));
        Ok(())
    };
    let place = place(cwasm, args.trust);
    record("module".into(), &place, None)?;
    record("module again".into(), &place, None)?;
    record("confined process".into(), &Place::Confined(cwasm), None)?;
    // What was signed; a pair without byte code is compiled for the occasion.
    let interpreted = match artifact.manifest().pulley {
        Some(_) => inspect::load_for(&args.pair, args.trust, Execution::Pulley)?.0.cwasm().to_vec(),
        None => module::compile_pair(&args.compiler.program()?, &args.pair, &artifact, Execution::Pulley)?,
    };
    record("interpreter".into(), &Place::Interpreted(&interpreted), None)?;
    for cut in cuts(window.ticks.len()) {
        record(format!("restored at tick {cut}"), &place, Some(cut))?;
    }
    if let Some(native) = &args.native {
        ensure!(native.exists(), unusable(native, &"there is no such program"));
        record("native".into(), &Place::Native(native), None)?;
        let middle = window.ticks.len() / 2;
        record(format!("native restored at tick {middle}"), &Place::Native(native), Some(middle))?;
    }
    let same = runs.iter().all(|(_, outcome)| outcome.same_as(&runs[0].1));
    let answer = json!({
        "detector": described.name,
        "version": described.version,
        "wasm_sha256": artifact.wasm_digest().to_string(),
        "signed_by": signer.to_string(),
        "window": {
            "input": args.input.as_ref().map_or("built-in".to_owned(), |path| path.display().to_string()),
            "series": window.series.len(),
            "ticks": window.ticks.len(),
            "values": window.values(),
        },
        "same": same,
        "scores_sha256": runs[0].1.scores.to_string(),
        "runs": runs.iter().map(|(name, outcome)| outcome.to_json(name, &runs[0].1)).collect::<Vec<_>>(),
    });
    output.print(&answer, human)?;
    Ok(if same { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// Only code of an author who was named may do what this process may.
fn place(cwasm: &[u8], trust: Option<PublicKey>) -> Place<'_> {
    match trust {
        Some(_) => Place::Here(cwasm),
        None => Place::Confined(cwasm),
    }
}

fn window(args: &Args, input: DetectorInput) -> anyhow::Result<Window> {
    match &args.input {
        Some(path) => window::read(path, &args.form),
        None => {
            ensure!((1..=SERIES_MAX).contains(&args.series), "--series takes 1 to {SERIES_MAX}");
            Ok(window::builtin(input, args.series))
        }
    }
}

/// Where runs are cut: early, while learning, and in each quarter.
fn cuts(ticks: usize) -> Vec<usize> {
    let mut cuts = vec![1, 20, ticks / 4, ticks / 2, 3 * ticks / 4, ticks.saturating_sub(1)];
    cuts.retain(|cut| (1..ticks).contains(cut));
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

/// What a run gave.
struct Outcome {
    /// SHA-256 over all scores in order, as little-endian bits.
    scores: Digest,
    /// SHA-256 over all states at the end.
    states: Digest,
    state_bytes_max: usize,
    judged: usize,
    highest: f32,
    /// Median over the ticks: a mean would tell of the machine's other work.
    guest_ns_per_value: Option<f64>,
}

impl Outcome {
    fn same_as(&self, other: &Self) -> bool {
        self.scores == other.scores && self.states == other.states
    }

    fn to_json(&self, name: &str, first: &Self) -> Value {
        json!({
            "run": name,
            "scores_sha256": self.scores.to_string(),
            "states_sha256": self.states.to_string(),
            "same": self.same_as(first),
            "judged": self.judged,
            "highest_score": self.highest,
            "state_bytes_max": self.state_bytes_max,
            "guest_ns_per_value": self.guest_ns_per_value,
        })
    }
}

/// Runs the window; at `cut`, in a new instance that took over the states of the first.
fn replay(
    window: &Window,
    place: &Place<'_>,
    parameters: &[(String, f64)],
    cut: Option<usize>,
) -> anyhow::Result<Outcome> {
    let mut runner = place.start(parameters)?;
    runner.add(&window.series)?;
    let (mut bits, mut guest_ns, mut scores) = (Vec::with_capacity(4 * window.values()), Vec::new(), Vec::new());
    for (at, columns) in window.ticks.iter().enumerate() {
        if cut == Some(at) {
            runner = moved(window, runner, place.start(parameters)?)?;
        }
        let (tick_scores, tick_ns) = runner.observe(columns)?;
        guest_ns.extend(tick_ns.map(|ns| precise(ns) / precise(columns.ids.len().max(1) as u64)));
        tick_scores.iter().for_each(|score| bits.extend(score.to_le_bytes()));
        scores.extend(tick_scores);
    }
    let states = runner.snapshot(&window.series)?;
    check_keys(&window.series, &states)?;
    guest_ns.sort_unstable_by(f64::total_cmp);
    Ok(Outcome {
        scores: Digest::of(&bits),
        states: Digest::of(&states.iter().flat_map(|one| one.state.iter().copied()).collect::<Vec<_>>()),
        state_bytes_max: states.iter().map(|one| one.state.len()).max().unwrap_or(0),
        judged: scores.iter().filter(|score| !score.is_nan()).count(),
        highest: scores.iter().copied().filter(|score| !score.is_nan()).fold(0.0, f32::max),
        guest_ns_per_value: guest_ns.get(guest_ns.len() / 2).copied(),
    })
}

fn moved(window: &Window, mut from: Box<dyn Runner>, mut to: Box<dyn Runner>) -> anyhow::Result<Box<dyn Runner>> {
    let states = from.snapshot(&window.series)?;
    check_keys(&window.series, &states)?;
    to.add(&window.series)?;
    to.restore(&window.series, &states)?;
    Ok(to)
}

#[expect(clippy::cast_precision_loss, reason = "for a figure that people read")]
fn precise(count: u64) -> f64 {
    count as f64
}

fn human(answer: &Value) -> String {
    let head = ["RUN", "SCORES SHA-256", "SAME", "JUDGED", "HIGHEST", "NS/VALUE"].map(str::to_owned).to_vec();
    let row = |run: &Value| {
        let number =
            |pointer| run.pointer(pointer).and_then(Value::as_f64).map_or("-".to_owned(), |one| format!("{one:.1}"));
        vec![
            text(run, "/run"),
            text(run, "/scores_sha256"),
            if run["same"] == true { "yes".to_owned() } else { "NO".to_owned() },
            text(run, "/judged"),
            number("/highest_score"),
            number("/guest_ns_per_value"),
        ]
    };
    let rows: Vec<_> = std::iter::once(head).chain(items(answer, "/runs").iter().map(row)).collect();
    let field = |pointer| text(answer, pointer);
    format!(
        "{} {} on {}: {} values of {} series in {} ticks\n{}{}\n",
        field("/detector"),
        field("/version"),
        field("/window/input"),
        field("/window/values"),
        field("/window/series"),
        field("/window/ticks"),
        table(&rows),
        if answer["same"] == true { "every run gave the same bits" } else { "the runs DIFFER" }
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cuts_are_within_the_window_and_distinct() {
        assert_eq!(cuts(880), [1, 20, 220, 440, 660, 879]);
        assert_eq!((cuts(2), cuts(1), cuts(0)), (vec![1], vec![], vec![]));
    }

    #[test]
    fn code_of_an_author_who_was_not_named_runs_confined() {
        assert!(matches!(place(b"code", None), Place::Confined(b"code")));
        assert!(matches!(place(b"code", Some(PublicKey([0; 32]))), Place::Here(b"code")));
    }

    #[test]
    fn parameters_are_name_and_number() {
        assert_eq!(parameter("memory-s=60"), Ok(("memory-s".to_owned(), 60.0)));
        assert!(parameter("memory-s").is_err() && parameter("memory-s=long").is_err());
    }
}

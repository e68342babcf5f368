//! Points a real agent at detectors that misbehave and prints what became of each.

use crate::build::{self, cargo, target};
use crate::demo::fleet::{Fleet, eventually};
use crate::process::{capture, run_visibly};
use crate::progress::say;
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// A hostile detector is out of service this long after its first call.
const DEMOTED_MS_MAX: u64 = 1_000;
/// The one guest of the set that behaves: attacks on others must not touch it.
const HONEST: &str = "honest";
/// Fewer are no test of the promise.
const GUESTS_MIN: usize = 12;
/// The agent lives with them at least this long, so that one that is tried again fails again.
const SECONDS_MIN: u64 = 15;

/// Options of the hostile run.
#[derive(Args)]
pub(crate) struct HostileArgs {
    /// How long the agent runs with them.
    #[arg(long, default_value_t = 20, value_parser = clap::value_parser!(u64).range(SECONDS_MIN..))]
    seconds: u64,
    /// Prints one JSON object instead of the table.
    #[arg(long)]
    json: bool,
}

impl Default for HostileArgs {
    fn default() -> Self {
        Self { seconds: 20, json: false }
    }
}

/// Builds the hostile set, runs an agent with it, and fails if one of them got away with anything.
pub(crate) fn run(args: &HostileArgs) -> Result<()> {
    crate::prerequisites::ensure_c_compiler()?;
    let binaries = build::binaries()?;
    let mut about = BTreeMap::new();
    let mut fleet = Fleet::start(&binaries, |dir| {
        let (author, names) = hostile_set(dir)?;
        about = names;
        Ok(author)
    })?;
    say(&format!("the agent runs with {} hostile detectors for {} s", about.len() - 1, args.seconds));
    std::thread::sleep(Duration::from_secs(args.seconds));
    fleet.ensure_alive().context("a hostile detector took the agent down")?;
    let status = eventually("all verdicts", Duration::from_secs(30), || {
        let status = fleet.agent_status()?;
        Ok(rows(&status, &about).iter().all(Row::is_settled).then_some(status))
    })?;
    let rows = rows(&status, &about);
    print(&rows, &status, args.json);
    judge(&rows, &status)
}

/// What became of one detector.
struct Row {
    name: String,
    about: String,
    state: String,
    reason: String,
    demoted_after_ms: Option<u64>,
}

impl Row {
    /// The honest one runs; any other was demoted, and may be on parole since.
    fn is_settled(&self) -> bool {
        if self.name == HONEST { self.state == "running" } else { self.demoted_after_ms.is_some() }
    }
}

/// Writes the signed pairs; gives the author's key and what each guest does.
fn hostile_set(dir: &Path) -> Result<(String, BTreeMap<String, String>)> {
    run_visibly(cargo().args(["build", "--release", "--locked", "--package", "vedette-detector-compiler"]))?;
    let mut set = Command::new(target().join("release/vedette-hostile"));
    set.arg("set").arg("--out").arg(dir.join("detectors")).arg("--key").arg(dir.join("author.key"));
    let text = capture(&mut set)?;
    let mut about: BTreeMap<String, String> = text
        .lines()
        .filter_map(|line| line.split_once(' '))
        .map(|(name, what)| (name.into(), what.trim().into()))
        .collect();
    let author = about.remove("author").context("vedette-hostile named no author")?;
    Ok((author, about))
}

fn rows(status: &Value, about: &BTreeMap<String, String>) -> Vec<Row> {
    let listed: Vec<&Value> = status["detectors"].as_array().into_iter().flatten().collect();
    about
        .iter()
        .map(|(name, what)| {
            let detector = listed.iter().find(|detector| detector["name"] == name.as_str());
            let field = |field: &str| detector.map_or(Value::Null, |detector| detector[field].clone());
            Row {
                name: name.clone(),
                about: what.clone(),
                state: field("state").as_str().unwrap_or("absent").to_owned(),
                reason: field("reason").as_str().unwrap_or("").to_owned(),
                demoted_after_ms: field("demoted_after_ms").as_u64(),
            }
        })
        .collect()
}

fn print(rows: &[Row], status: &Value, as_json: bool) {
    if as_json {
        let detectors: Vec<Value> = rows
            .iter()
            .map(|row| {
                json!({ "name": row.name, "about": row.about, "state": row.state, "reason": row.reason,
                        "demoted_after_ms": row.demoted_after_ms })
            })
            .collect();
        println!("{}", json!({ "ticks": status["ticks"], "worker": status["worker"], "detectors": detectors }));
        return;
    }
    for row in rows {
        let after = row.demoted_after_ms.map_or_else(|| "-".into(), |ms| format!("{ms} ms"));
        println!("{:26} {:12} {:>8}  {}", row.name, row.state, after, row.reason);
    }
    println!("ticks.run {}  ticks.missed {}", status["ticks"]["run"], status["ticks"]["missed"]);
}

fn judge(rows: &[Row], status: &Value) -> Result<()> {
    ensure!(status["ticks"]["missed"] == 0, "{} ticks were missed", status["ticks"]["missed"]);
    ensure!(rows.len() > GUESTS_MIN, "only {} guests of the set are left", rows.len());
    for row in rows {
        ensure!(row.is_settled(), "{} is {}: {}", row.name, row.state, row.reason);
        let in_time = row.name == HONEST || row.demoted_after_ms.is_some_and(|ms| ms <= DEMOTED_MS_MAX);
        ensure!(in_time, "{} was not demoted within {DEMOTED_MS_MAX} ms: {:?}", row.name, row.demoted_after_ms);
    }
    Ok(())
}

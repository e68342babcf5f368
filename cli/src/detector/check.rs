//! The conformance kit: everything that a detector must stand before an agent should run it, tried in confined workers.

mod contract;
mod life;
mod rig;
mod same;
mod size;
mod states;
mod values;

use super::module::{Module, ModuleArgs, Unfit};
use super::replay::parameter;
use super::runner;
use crate::output::{Output, items, table, text};
use rig::Rig;
use serde_json::{Value, json};
use std::process::ExitCode;

const EXAMPLES: &str = "Examples:
  vedette detector check spike.wasm
  vedette detector check pairs/spike --output json
  vedette detector check spike.wasm --parameter memory-s=60
  vedette detector check spike.wasm --only hold-learning --only gaps

Exit code 0 if all holds, 1 if something does not; each failure says why and what to do. `told` is worth knowing and no
failure.";

/// Arguments of `detector check`.
#[derive(clap::Args)]
#[command(after_help = EXAMPLES)]
pub(crate) struct Args {
    #[command(flatten)]
    module: ModuleArgs,
    /// A parameter; the rest keep their defaults. Can be repeated.
    #[arg(long = "parameter", value_name = "NAME=NUMBER", value_parser = parameter)]
    parameters: Vec<(String, f64)>,
    /// Only this check; can be repeated. `loads` is always among them.
    #[arg(long, value_name = "NAME", value_parser = known)]
    only: Vec<String>,
}

fn known(name: &str) -> Result<String, String> {
    let names: Vec<_> = all().map(|check| check.name).collect();
    if names.contains(&name) { Ok(name.to_owned()) } else { Err(format!("there are: {}", names.join(", "))) }
}

/// What a check found.
#[derive(Clone, Debug, PartialEq)]
enum Verdict {
    /// It holds; what was seen.
    Holds(String),
    /// It does not; what was seen.
    Broken(String),
    /// Nothing to demand, but to know.
    Told(String),
}

impl Verdict {
    /// Holds if `good`; tells `seen` either way.
    fn of(good: bool, seen: impl Into<String>) -> Self {
        if good { Self::Holds(seen.into()) } else { Self::Broken(seen.into()) }
    }
}

/// One thing to try. An error from it is the detector's failure.
struct Check {
    name: &'static str,
    /// What holds if it passes.
    promise: &'static str,
    /// What to do if it does not.
    remedy: &'static str,
    run: fn(&Rig) -> anyhow::Result<Verdict>,
}

/// All of them, from what everything rests on to what is dear.
fn all() -> impl Iterator<Item = &'static Check> {
    [contract::CHECKS, same::CHECKS, states::CHECKS, values::CHECKS, life::CHECKS, size::CHECKS].into_iter().flatten()
}

/// The first check, which has no instance to work on yet.
const LOADS: (&str, &str, &str) = (
    "loads",
    "is a component that speaks the contract, imports nothing but `log`, and describes itself",
    "build it with `vedette detector build`; take away what imports WASI, and so clocks, files and randomness; module and \
     native code may have 16 MiB each: an interpreter or a runtime of a language inside does not fit; see wit/README.md",
);

pub(crate) fn run(args: &Args, output: Output) -> anyhow::Result<ExitCode> {
    let mut rows = Vec::new();
    let mut broken = 0;
    let mut record = |name: &str, promise: &str, remedy: &str, verdict: &Verdict| {
        let (verdict, seen) = match verdict {
            Verdict::Holds(seen) => ("holds", seen),
            Verdict::Told(seen) => ("told", seen),
            Verdict::Broken(seen) => ("broken", seen),
        };
        let remedy = if verdict == "broken" { json!(remedy) } else { Value::Null };
        broken += usize::from(verdict == "broken");
        rows.push(json!({"check": name, "verdict": verdict, "promise": promise, "seen": seen, "remedy": remedy}));
    };
    let mut answer = json!({});
    match prepared(args) {
        Ok(rig) => {
            answer["detector"] = json!(rig.described().name);
            answer["version"] = json!(rig.described().version);
            answer["wasm_sha256"] = json!(rig.wasm_digest().to_string());
            let seen = format!("{} bytes, {} of native code", rig.wasm_bytes(), rig.native_bytes());
            record(LOADS.0, LOADS.1, LOADS.2, &Verdict::Holds(seen));
            for check in all().filter(|check| args.only.is_empty() || args.only.iter().any(|name| name == check.name)) {
                let verdict = (check.run)(&rig).unwrap_or_else(|error| Verdict::Broken(format!("{error:#}")));
                record(check.name, check.promise, check.remedy, &verdict);
            }
        }
        // What it is told about a missing file or compiler is not the detector's fault.
        Err(error) if error.is::<runner::DetectorFailure>() || error.is::<Unfit>() => {
            record(LOADS.0, LOADS.1, LOADS.2, &Verdict::Broken(format!("{error:#}; nothing else was tried")));
        }
        Err(error) => return Err(error),
    }
    answer["holds"] = json!(broken == 0);
    answer["broken"] = json!(broken);
    answer["checks"] = json!(rows);
    output.print(&answer, human)?;
    Ok(if broken == 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

fn prepared(args: &Args) -> anyhow::Result<Rig> {
    let module = Module::load(&args.module)?;
    let described = runner::describe(&module.cwasm, &args.parameters)?;
    Ok(Rig::new(module, described, args.parameters.clone()))
}

fn human(answer: &Value) -> String {
    let checks = items(answer, "/checks");
    let mut rows = vec![["CHECK", "", "SEEN"].map(str::to_owned).to_vec()];
    rows.extend(checks.iter().map(|check| {
        let verdict = match check["verdict"].as_str() {
            Some("broken") => "BROKEN".to_owned(),
            _ => text(check, "/verdict"),
        };
        vec![text(check, "/check"), verdict, text(check, "/seen")]
    }));
    let mut page = match answer["detector"].as_str() {
        Some(name) => format!("{name} {}, SHA-256 {}\n", text(answer, "/version"), text(answer, "/wasm_sha256")),
        None => String::new(),
    };
    page.push_str(&table(&rows));
    for check in checks.iter().filter(|check| check["verdict"] == "broken") {
        page.push_str(&format!(
            "\n{}: the promise is that it {}.\n  seen:   {}\n  remedy: {}\n",
            text(check, "/check"),
            text(check, "/promise"),
            text(check, "/seen"),
            text(check, "/remedy")
        ));
    }
    page + &match answer["broken"].as_u64() {
        Some(0) => format!("\nall {} checks hold\n", checks.len()),
        broken => format!("\n{} of {} checks do not hold\n", broken.unwrap_or(0), checks.len()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_check_has_a_name_of_its_own_a_promise_and_a_remedy() {
        let names: BTreeSet<_> = all().map(|check| check.name).collect();
        assert_eq!(names.len(), all().count());
        assert!(all().all(|check| check.promise.len() > 20 && check.remedy.len() > 20));
    }

    #[test]
    fn a_failure_is_told_with_its_remedy() {
        let check = |name: &str, verdict: &str| json!({"check": name, "verdict": verdict, "promise": "p", "seen": "s", "remedy": "do this"});
        let answer = json!({"detector": "spike", "broken": 1, "checks": [check("a", "holds"), check("b", "broken")]});
        let page = human(&answer);
        assert!(page.contains("b      BROKEN  s") && page.contains("remedy: do this"), "{page}");
        assert!(page.ends_with("1 of 2 checks do not hold\n"), "{page}");
    }
}

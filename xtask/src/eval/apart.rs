//! What each bundled detector is worth: alone, the bundle without it, and the bundle, on the same data. The tables stand in
//! its page under docs/detectors, between two marks.

use crate::build::{root, target};
use crate::plugins;
use crate::process::capture;
use crate::progress::say;
use anyhow::{Context, Result};
use serde_json::Value;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// Suites whose rows are judged by detectors of metrics.
const SUITES: [&str; 4] = ["nab", "asd-smd", "ms", "shapes"];
/// Detectors of metrics; what looks at log templates has no public data with times.
const OF_METRICS: [&str; 6] = ["level", "exhaustion", "flatline", "seasonal", "novelty", "rarity"];
const BEGIN: &str = "<!-- figures: cargo xtask eval --apart -->\n";
const END: &str = "<!-- end of figures -->\n";

/// A figure of the tables: its name, and what a summary says of it.
type Figure = (&'static str, fn(&Value) -> String);

const FIGURES: [Figure; 11] = [
    ("NAB, standard profile, threshold 0.5", |all| points(&all["nab"]["score_at_fixed_threshold"][0]["score"])),
    ("NAB, windows with an episode", |all| {
        let windows = &all["nab"]["windows_with_an_episode"];
        if windows.is_null() { "–".to_owned() } else { format!("{} of {}", windows["found"], windows["windows"]) }
    }),
    ("ASD, average precision", |all| share(&all["asd-smd"]["asd"]["mean_average_precision"])),
    ("ASD, events with an episode", |all| found(&all["asd-smd"]["asd"]["agent_episodes"])),
    ("SMD, average precision", |all| share(&all["asd-smd"]["smd"]["mean_average_precision"])),
    ("SMD, events with an episode", |all| found(&all["asd-smd"]["smd"]["agent_episodes"])),
    ("Microsoft, events at ≤ 0.1 false a day", |all| found(&all["ms"]["microsoft"]["at_false_rate"][1])),
    ("Microsoft, events with an episode", |all| found(&all["ms"]["microsoft"]["agent_episodes"])),
    ("KPIs, events at ≤ 0.1 false a day", |all| found(&all["ms"]["donut"]["at_false_rate"][1])),
    ("KPIs, events with an episode", |all| found(&all["ms"]["donut"]["agent_episodes"])),
    ("false episodes a day, all of these", |all| share(&all["clean"]["per_day"])),
];

/// Evaluates, and writes the pages.
pub(super) fn run(data: &Path, out: &Path) -> Result<()> {
    let bundle = evaluate(data, out, "bundle", &OF_METRICS)?;
    for name in OF_METRICS {
        let rest: Vec<_> = OF_METRICS.into_iter().filter(|other| *other != name).collect();
        let alone = evaluate(data, out, &format!("{name}-alone"), &[name])?;
        let without = evaluate(data, out, &format!("without-{name}"), &rest)?;
        let tables = tables(&[&alone, &without, &bundle], &cost(name, &bundle)?);
        let page = root().join("docs/detectors").join(format!("{name}.md"));
        let text = fs::read_to_string(&page).with_context(|| page.display().to_string())?;
        let text = replaced(&text, &tables)
            .with_context(|| format!("{} lacks the marks {BEGIN:?} and {END:?}", page.display()))?;
        fs::write(&page, text).with_context(|| page.display().to_string())?;
        say(&format!("{} has its figures", page.display()));
    }
    Ok(())
}

/// All suites with some of the signed pairs.
fn evaluate(data: &Path, out: &Path, set: &str, names: &[&str]) -> Result<Value> {
    let (out, pairs) = (out.join("apart").join(set), target().join("tmp/apart").join(set));
    say(&format!("evaluating {}", names.join(", ")));
    copy_pairs(&target().join("detectors"), &pairs, names)?;
    let mut command = Command::new(target().join("release/vedette"));
    command.args(["detector", "eval", "--no-plots", "--output", "json", "--trust", &plugins::author()?]);
    command.arg("--data").arg(data).arg("--out").arg(&out).arg("--detectors").arg(&pairs);
    for suite in SUITES {
        command.args(["--suite", suite]);
    }
    serde_json::from_str(&capture(&mut command)?).context("the evaluation's summary")
}

fn copy_pairs(from: &Path, to: &Path, names: &[&str]) -> Result<()> {
    if to.exists() {
        fs::remove_dir_all(to)?;
    }
    fs::create_dir_all(to)?;
    let of_one = |path: &PathBuf| path.file_stem().is_some_and(|stem| names.iter().any(|name| stem == *name));
    for file in fs::read_dir(from)?.flatten().map(|entry| entry.path()).filter(of_one) {
        fs::copy(&file, to.join(file.file_name().unwrap_or_default()))?;
    }
    Ok(())
}

/// What one value costs at 1,000 series, and one series at the end of the bundle's files, in words.
fn cost(name: &str, bundle: &Value) -> Result<String> {
    let mut command = Command::new(target().join("release/vedette"));
    command.args(["detector", "bench", "--series", "1000", "--output", "json"]);
    let told = capture(command.arg(target().join("detectors").join(name)))?;
    let told: Value = serde_json::from_str(&told).context("the bench's figures")?;
    let ns = told["rows"][0]["ns_per_value"]["median"].as_f64().map_or("–".to_owned(), |ns| format!("{ns:.0}"));
    let version = told["version"].as_str().unwrap_or("?");
    let state = state(name, &bundle["asd-smd"]["cost"]["detectors"]);
    Ok(format!(
        "Version {version}: {ns} ns a value at 1,000 series a tick, as busy as the machine was; {state} at the end of ASD's and SMD's files.\n"
    ))
}

/// The mean state of the series that a detector is asked about.
fn state(name: &str, detectors: &Value) -> String {
    let own = detectors.as_array().into_iter().flatten().find(|one| one["detector"] == name);
    let mean = own.and_then(|own| own["state_bytes_mean"].as_f64());
    mean.map_or("no state".to_owned(), |bytes| format!("state {bytes:.0} B in the mean"))
}

fn tables(summaries: &[&Value; 3], cost: &str) -> String {
    let mut text = "| | alone | the bundle without it | the bundle |\n|---|---|---|---|\n".to_owned();
    let mut row = |name: &str, figure: &dyn Fn(&Value) -> String| {
        let [alone, without, bundle] = summaries.map(figure);
        let _ = writeln!(text, "| {name} | {alone} | {without} | {bundle} |");
    };
    FIGURES.iter().for_each(|(name, figure)| row(name, figure));
    let shapes = summaries[0]["shapes"]["shapes"].as_array().map_or(0, Vec::len);
    for at in 0..shapes {
        let name = format!(
            "{}, found and rows until then",
            summaries[0]["shapes"]["shapes"][at]["shape"].as_str().unwrap_or("?")
        );
        row(&name, &|all| shape(&all["shapes"]["shapes"][at]));
    }
    format!("{text}\n{cost}")
}

fn points(value: &Value) -> String {
    value.as_f64().map_or("–".to_owned(), |points| format!("{points:.1}"))
}

fn share(value: &Value) -> String {
    value.as_f64().map_or("–".to_owned(), |share| format!("{share:.3}"))
}

fn found(events: &Value) -> String {
    if events["events"].is_null() {
        return "–".to_owned();
    }
    format!("{} of {}, {} false a day", events["found"], events["events"], share(&events["false_episodes_per_day"]))
}

fn shape(one: &Value) -> String {
    let delay = one["delay_rows_median"].as_f64().map_or(String::new(), |rows| format!(", {rows:.0}"));
    format!("{} of {}{delay}", one["found"], one["of"])
}

/// The page with other figures between its marks; `None` if it has none.
fn replaced(page: &str, figures: &str) -> Option<String> {
    let (before, rest) = page.split_once(BEGIN)?;
    let (_, after) = rest.split_once(END)?;
    Some(format!("{before}{BEGIN}{figures}{END}{after}"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn figures_stand_between_the_marks_and_nothing_else_changes() {
        let page = format!("# one\n{BEGIN}old\n{END}rest\n");
        assert_eq!(replaced(&page, "new\n"), Some(format!("# one\n{BEGIN}new\n{END}rest\n")));
        assert_eq!(replaced("# one\n", "new\n"), None);
    }

    #[test]
    fn a_detector_that_declines_all_has_no_state() {
        let detectors =
            json!([{"detector": "one", "state_bytes_mean": 40.6}, {"detector": "two", "state_bytes_mean": null}]);
        let told = ["one", "two", "three"].map(|name| state(name, &detectors));
        assert_eq!(told, ["state 41 B in the mean", "no state", "no state"]);
    }

    #[test]
    fn what_was_not_measured_is_a_dash() {
        let stop = json!({"shape": "stop", "found": 15, "of": 16, "delay_rows_median": 9.0});
        let none = json!({"shape": "stop", "found": 0, "of": 16, "delay_rows_median": null});
        let all = |shape: Value| json!({"shapes": {"shapes": [shape]}, "clean": {"per_day": 0.0123}});
        let [alone, without, bundle] = [all(stop.clone()), all(none), all(stop)];
        let text = tables(&[&alone, &without, &bundle], "cost\n");
        assert!(text.contains("| stop, found and rows until then | 15 of 16, 9 | 0 of 16 | 15 of 16, 9 |\n"), "{text}");
        assert!(text.contains("| NAB, standard profile, threshold 0.5 | – | – | – |"), "{text}");
        assert!(text.contains("| 0.012 | 0.012 | 0.012 |") && text.ends_with("\n\ncost\n"), "{text}");
    }
}

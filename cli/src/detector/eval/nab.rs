//! Numenta Anomaly Benchmark: `nab/data/<category>/<file>.csv`, windows in `nab/labels_split` or `nab/labels`.

mod gaussian;
pub(crate) mod robustness;
mod scorer;

use super::bench::{Bench, Clean, Report, number};
use super::events::Span;
use super::rows::{self, Found, Series};
use super::stamp;
use super::stream::{self, Scored};
use crate::detector::keys::unusable;
use crate::output::table;
use scorer::{File, PROFILES, Profile};
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Threshold for all files: of a kind that was never seen, which is what a vote of 1 means. Where nobody votes, one in a
/// million. It was moved for none of them.
const THRESHOLD: f64 = 0.5;
/// Published scores: standard profile over all 58 files, over the 29 of the development half, and over the others.
const PUBLISHED: &[(&str, &str, &str, &str)] = &[
    ("ARTime", "74.9", "74.1", "74.3"),
    ("Numenta HTM", "70.1", "70.3", "68.5"),
    ("CAD OSE", "69.9", "69.0", "70.4"),
    ("earthgecko Skyline", "58.2", "57.7", "58.8"),
    ("KNN-CAD", "58.0", "58.4", "57.5"),
    ("relative entropy", "54.6", "54.7", "54.6"),
    ("random cut forest", "51.7", "53.4", "49.9"),
    ("windowed Gaussian", "39.6", "40.2", "32.2"),
    ("random", "11.0", "-", "-"),
];

/// A file with its scores, ours and the reference's.
struct Done {
    scored: Scored,
    reference: Vec<f64>,
    windows: Option<Vec<Span>>,
}

pub(crate) fn run(bench: &Bench<'_>) -> anyhow::Result<Report> {
    let places = ["nab/data", "nab", "data", ""].map(|place| bench.data.join(place));
    let found = rows::find("NAB series", &places)?;
    let labels = Labels::read(&bench.data.join("nab"))?;
    let work = |found: &Found| -> anyhow::Result<Done> {
        let scored = stream::score(bench, found)?;
        let windows = labels.windows(found, &scored.series);
        write(bench, &scored, windows.as_deref())?;
        Ok(Done { reference: gaussian::scores(&scored.series.values), scored, windows })
    };
    let (done, failure) = bench.each("nab", &found, Found::name, work);
    let costs = bench.detectors.take_costs();
    let labelled: Vec<&Done> = done.iter().filter(|one| one.windows.is_some()).collect();
    let ours = files(&labelled, |one| &one.scored.judged.scores);
    let reference = files(&labelled, |one| &one.reference);
    let mut clean = Clean::default();
    for one in &done {
        let spans = one.windows.as_deref().unwrap_or_default();
        one.scored.draw(bench, "nab", spans, THRESHOLD)?;
        if one.windows.is_some() {
            clean.add(one.scored.clean(spans));
        }
    }
    let windows: usize = labelled.iter().filter_map(|one| one.windows.as_ref()).map(Vec::len).sum();
    let mut summary = json!({
        "series": done.len(),
        "labelled_series": labelled.len(),
        "windows": windows,
        "clean": clean.to_json(),
        "cost": costs.1,
    });
    let mut text = format!("NAB: {} series, {} labelled, {windows} windows\n", done.len(), labelled.len());
    if windows > 0 {
        summary["score_at_fixed_threshold"] = fixed(&ours);
        summary["score_at_best_threshold"] = best(&ours);
        summary["windowed_gaussian_at_best_threshold"] = best(&reference);
        text += &scoreboard(&ours, &reference);
        text += &in_windows(&labelled, &mut summary);
    }
    if clean.series_days > 0.0 {
        let _ = writeln!(text, "episodes of the agent at the default budget, clean stretches: {}", clean.text());
    }
    let _ = writeln!(text, "{}", costs.0);
    Ok(Report { summary, text, failure })
}

/// NAB's own layout of results.
fn write(bench: &Bench<'_>, scored: &Scored, windows: Option<&[Span]>) -> anyhow::Result<()> {
    let series = &scored.series;
    let mut text = String::from("timestamp,value,anomaly_score,label\n");
    let rows = series.stamps.iter().zip(&series.texts).zip(&scored.judged.scores);
    for (row, ((stamp, value), score)) in rows.enumerate() {
        let label = windows.is_some_and(|windows| windows.iter().any(|window| window.holds(row)));
        let _ = writeln!(text, "{stamp},{value},{score:.9},{}", u8::from(label));
    }
    let Found { category, file, .. } = &scored.found;
    bench.write(Path::new("vedette").join(category).join(format!("vedette_{file}")), &text)
}

fn files<'a>(done: &[&'a Done], scores: impl Fn(&'a Done) -> &'a Vec<f64>) -> Vec<File<'a>> {
    let file = |one: &&'a Done| File {
        scores: scores(one),
        windows: one.windows.as_deref().unwrap_or_default(),
        probation: one.scored.series.probation(),
    };
    done.iter().map(file).collect()
}

fn best(files: &[File<'_>]) -> Value {
    let one = |profile: &Profile| {
        let (score, threshold) = scorer::best(files, profile);
        json!({"profile": profile.name, "score": score, "threshold": threshold})
    };
    PROFILES.iter().map(one).collect()
}

fn fixed(files: &[File<'_>]) -> Value {
    let one = |profile: &Profile| json!({"profile": profile.name, "score": scorer::at(files, profile, THRESHOLD), "threshold": THRESHOLD});
    PROFILES.iter().map(one).collect()
}

fn scoreboard(ours: &[File<'_>], reference: &[File<'_>]) -> String {
    let row = |cells: [&str; 4]| cells.map(str::to_owned).to_vec();
    let mut rows = vec![row(["DETECTOR", "STANDARD", "LOW FP", "LOW FN"])];
    let scores = |name: &str, score: &dyn Fn(&Profile) -> f64| {
        let cells = PROFILES.iter().map(|profile| format!("{:.1}", score(profile)));
        std::iter::once(name.to_owned()).chain(cells).collect::<Vec<_>>()
    };
    let fixed = format!("vedette, fixed threshold {THRESHOLD}");
    rows.push(scores(&fixed, &|profile| scorer::at(ours, profile, THRESHOLD)));
    rows.push(scores("vedette, best threshold on these files", &|profile| scorer::best(ours, profile).0));
    rows.push(scores("windowed Gaussian, run here, best threshold", &|profile| scorer::best(reference, profile).0));
    let mut text = table(&rows);
    let (_, threshold) = scorer::best(ours, &PROFILES[0]);
    let _ = writeln!(text, "best threshold of the standard profile on these files: {threshold:.6}\n");
    let head = row(["PUBLISHED, STANDARD", "ALL 58", "DEV 29", "OTHER 29"]);
    let published = PUBLISHED.iter().map(|(name, all, dev, other)| row([name, all, dev, other]));
    text + &table(&std::iter::once(head).chain(published).collect::<Vec<_>>())
}

/// Windows in which the agent itself opened an episode.
fn in_windows(labelled: &[&Done], summary: &mut Value) -> String {
    let (mut found, mut all) = (0, 0);
    for one in labelled {
        let probation = one.scored.series.probation();
        for window in one.windows.iter().flatten().filter(|window| window.last >= probation) {
            all += 1;
            found += usize::from(one.scored.judged.opened.iter().any(|(row, _)| window.holds(*row)));
        }
    }
    summary["windows_with_an_episode"] = json!({"found": found, "windows": all});
    format!("\nwindows with an episode of the agent: {found} of {all} ({:.2})\n", number(found) / number(all))
}

/// The labels under a data folder, for other suites that need stretches without any.
pub(crate) fn labels(data: &Path) -> anyhow::Result<Labels> {
    Labels::read(&data.join("nab"))
}

/// Windows by `category/file`.
pub(crate) struct Labels(BTreeMap<String, Vec<(i64, i64)>>);

impl Labels {
    /// All `combined_windows*.json` there are; none is no error.
    fn read(nab: &Path) -> anyhow::Result<Self> {
        let mut windows = BTreeMap::new();
        for path in ["labels_split", "labels"].iter().flat_map(|folder| window_files(&nab.join(folder))) {
            let text = std::fs::read_to_string(&path).map_err(|error| unusable(&path, &error))?;
            let parsed: BTreeMap<String, Vec<(String, String)>> =
                serde_json::from_str(&text).map_err(|error| unusable(&path, &error))?;
            for (file, spans) in parsed {
                let times = spans.iter().map(|(from, to)| Some((stamp::parse(from)?, stamp::parse(to)?)));
                let times: Option<Vec<_>> = times.collect();
                let times = times.ok_or_else(|| unusable(&path, &format!("{file}: a window's end is no time")))?;
                windows.insert(file, times);
            }
        }
        Ok(Self(windows))
    }

    /// Rows of a file's windows; `None` if the labels do not name it.
    pub(crate) fn windows(&self, found: &Found, series: &Series) -> Option<Vec<Span>> {
        let windows = self.0.get(&found.name())?;
        let span = |(from, to): &(i64, i64)| {
            let inside = |time: &i64| (from..=to).contains(&time);
            let first = series.times_ms.iter().position(inside)?;
            let last = series.times_ms.iter().rposition(inside)?;
            Some(Span { first, last })
        };
        Some(windows.iter().filter_map(span).collect())
    }
}

fn window_files(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let named = |path: &PathBuf| {
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        name.starts_with("combined_windows") && name.ends_with(".json")
    };
    let mut files: Vec<PathBuf> = entries.map(|entry| entry.path()).filter(named).collect();
    files.sort();
    files
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn windows_are_the_rows_between_their_times() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(dir.path().join("labels_split")).unwrap();
        let windows = r#"{"a/b.csv": [["2018-01-01 00:05:00.000000", "2018-01-01 00:12:00.000000"]], "a/c.csv": []}"#;
        std::fs::write(dir.path().join("labels_split/combined_windows.dev.json"), windows).unwrap();
        let path = dir.path().join("b.csv");
        std::fs::write(&path, "timestamp,value\n2018-01-01 00:00:00,1\n2018-01-01 00:05:00,1\n2018-01-01 00:10:00,1\n")
            .unwrap();
        let labels = Labels::read(dir.path()).unwrap();
        let series = rows::read(&path).unwrap();
        let found = |file: &str| Found { category: "a".into(), file: file.into(), path: path.clone() };
        assert_eq!(labels.windows(&found("b.csv"), &series), Some(vec![Span { first: 1, last: 2 }]));
        assert_eq!(labels.windows(&found("c.csv"), &series), Some(Vec::new()));
        assert_eq!(labels.windows(&found("d.csv"), &series), None, "not named: not labelled");
    }
}

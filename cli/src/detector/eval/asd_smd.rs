//! Server machines with many metrics each: `asd-smd/npy/<name>_{train,test,test_label}.npy`, culprits in
//! `asd-smd/interpretation_label/<name>.txt`.
//!
//! The arrays hold no times. ASD's have 19 metrics, read each five minutes, SMD's 38, read each minute: the number of
//! columns says which it is.

use super::bench::{Bench, Clean, Missing, Report, number};
use super::events::{self, Case, Span};
use super::host::{COLUMNS_MAX, Host};
use super::stream::{self, Judged};
use super::{npy, plot, ranking};
use crate::detector::keys::unusable;
use crate::output::table;
use anyhow::ensure;
use serde_json::{Map, Value, json};
use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Columns of a machine of SMD.
pub(crate) const SMD_COLUMNS: usize = 38;
const SMD_INTERVAL_MS: u32 = 60_000;
const ASD_INTERVAL_MS: u32 = 300_000;
/// False episodes per host and day at which recall is told.
const FALSE_PER_DAY: f64 = 1.0;
const HITS_AT: [usize; 3] = [1, 3, 5];
/// Mean average precision of others, all entities of both halves: ASD and SMD.
const PUBLISHED: &[(&str, &str, &str)] = &[
    ("mean |z| (batch)", "0.178", "0.539"),
    ("PCA residual (batch)", "0.270", "0.490"),
    ("EWMA-z (streaming)", "0.082", "0.139"),
    ("random", "0.05", "0.07"),
];

/// One machine's files.
pub(crate) struct Machine {
    pub(crate) name: String,
    npy: PathBuf,
    labels: PathBuf,
}

/// One machine's arrays, which fit one another.
pub(crate) struct Arrays {
    pub(crate) train: Option<npy::Array>,
    pub(crate) test: npy::Array,
    /// What is labelled of the test rows, if there are labels.
    pub(crate) flags: Option<Vec<bool>>,
    pub(crate) interval_ms: u32,
}

/// One machine, judged.
struct Done {
    name: String,
    columns: usize,
    interval_ms: u32,
    judged: Judged,
    spans: Option<Vec<Span>>,
    measures: Option<Measures>,
    hits: Hits,
    /// How often a detector was said to drift from its calibration, train and test rows.
    drifts: u64,
}

struct Measures {
    average_precision: f64,
    vus_pr: f64,
}

/// Segments whose true metrics are known, and in how many of them one is among the first named.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
struct Hits {
    segments: usize,
    hits: [usize; HITS_AT.len()],
}

pub(crate) fn run(bench: &Bench<'_>) -> anyhow::Result<Report> {
    let machines = find(bench.data)?;
    let (done, failure) = bench.each("asd-smd", &machines, |one| one.name.clone(), |one| judge(bench, one));
    let costs = bench.detectors.take_costs();
    let mut clean = Clean::default();
    let (mut summary, mut text) = (Map::new(), format!("ASD/SMD: {} machines\n", done.len()));
    for one in done.iter().filter(|one| one.spans.is_some()) {
        let spans = one.spans.as_deref().unwrap_or_default();
        clean.add(stream::clean(one.judged.scores.len(), 0, one.interval_ms, spans, &one.judged.opened));
    }
    let mut means = Vec::new();
    for (set, smd) in [("asd", false), ("smd", true)] {
        let of_set: Vec<&Done> = done.iter().filter(|one| (one.columns == SMD_COLUMNS) == smd).collect();
        let (told, json, mean) = set_report(set, &of_set);
        text += &told;
        summary.insert(set.to_owned(), json);
        means.push(mean);
    }
    text += &scoreboard(&means);
    if clean.series_days > 0.0 {
        let _ = writeln!(text, "episodes of the agent at the default budget, outside of labels: {}", clean.text());
    }
    let drifts: u64 = done.iter().map(|one| one.drifts).sum();
    let _ = writeln!(text, "drifts of detectors from their calibration that were told: {drifts}\n{}", costs.0);
    summary.insert("drifts".into(), json!(drifts));
    summary.insert("machines".into(), json!(done.len()));
    summary.insert("clean".into(), clean.to_json());
    summary.insert("cost".into(), costs.1);
    Ok(Report { summary: Value::Object(summary), text, failure })
}

/// The machines that are there, by name.
pub(crate) fn find(data: &Path) -> anyhow::Result<Vec<Machine>> {
    let places = ["asd-smd", ""].map(|place| data.join(place));
    for place in &places {
        for npy in [place.join("npy"), place.clone()] {
            let entries = std::fs::read_dir(&npy).into_iter().flatten().flatten();
            let names = entries.filter_map(|entry| entry.file_name().into_string().ok());
            let mut names: Vec<String> =
                names.filter_map(|name| Some(name.strip_suffix("_test.npy")?.to_owned())).collect();
            names.sort();
            if !names.is_empty() {
                let labels = place.join("interpretation_label");
                return Ok(names
                    .into_iter()
                    .map(|name| Machine { name, npy: npy.clone(), labels: labels.clone() })
                    .collect());
            }
        }
    }
    let looked = places.iter().map(|place| place.join("npy/*_test.npy")).collect();
    Err(Missing { what: "ASD or SMD machines", looked }.into())
}

/// Reads a machine's arrays.
///
/// # Errors
///
/// `UnusableFile` if one of them is malformed, or their shapes differ.
pub(crate) fn read(machine: &Machine) -> anyhow::Result<Arrays> {
    let path = |part: &str| machine.npy.join(format!("{}_{part}.npy", machine.name));
    let optional = |part: &str| path(part).exists().then(|| npy::read(&path(part))).transpose();
    let (train, test) = (optional("train")?, npy::read(&path("test"))?);
    let labels = optional("test_label")?;
    let same = |rows: bool, part: &str| {
        let reason = "its shape is not that of the test rows";
        if rows { Ok(()) } else { Err(unusable(&path(part), &reason)) }
    };
    ensure!(test.columns <= COLUMNS_MAX, unusable(&path("test"), &format!("over {COLUMNS_MAX} metrics")));
    same(train.as_ref().is_none_or(|train| train.columns == test.columns), "train")?;
    same(labels.as_ref().is_none_or(|labels| (labels.rows, labels.columns) == (test.rows, 1)), "test_label")?;
    let interval_ms = if test.columns == SMD_COLUMNS { SMD_INTERVAL_MS } else { ASD_INTERVAL_MS };
    let flags = labels.map(|labels| labels.values().iter().map(|label| *label > 0.0).collect());
    Ok(Arrays { train, test, flags, interval_ms })
}

/// A machine's segments and the metrics, counted from 1, on which each shows; none if nobody said.
///
/// # Errors
///
/// `UnusableFile`, naming the line that is malformed.
pub(crate) fn segments(machine: &Machine) -> anyhow::Result<Vec<(Span, Vec<u16>)>> {
    read_segments(&machine.labels.join(format!("{}.txt", machine.name)))
}

fn judge(bench: &Bench<'_>, machine: &Machine) -> anyhow::Result<Done> {
    let Arrays { train, test, flags, interval_ms } = read(machine)?;
    let Streamed { judged, culprits, drifts } = stream_rows(bench, train.as_ref(), &test, interval_ms)?;
    write(bench, machine, &judged, &culprits)?;
    let spans = flags.as_ref().map(|flags| events::spans(flags));
    let measures =
        flags.as_ref().zip(spans.as_ref()).filter(|(_, spans)| !spans.is_empty()).map(|(flags, spans)| Measures {
            average_precision: ranking::average_precision(&judged.scores, flags),
            vus_pr: ranking::vus_pr(&judged.scores, spans, ranking::VUS_WINDOW),
        });
    let segments = segments(machine)?;
    let hits = hits(&segments, &judged.scores, &culprits);
    draw(bench, machine, &test, &judged, spans.as_deref().unwrap_or_default())?;
    Ok(Done { name: machine.name.clone(), columns: test.columns, interval_ms, judged, spans, measures, hits, drifts })
}

/// What a machine's rows came to.
struct Streamed {
    judged: Judged,
    culprits: Vec<Vec<u16>>,
    drifts: u64,
}

/// Train rows first, then test rows, one interval apart; scores and culprits of the test rows.
fn stream_rows(
    bench: &Bench<'_>,
    train: Option<&npy::Array>,
    test: &npy::Array,
    interval_ms: u32,
) -> anyhow::Result<Streamed> {
    let mut host = Host::new(bench.detectors, interval_ms, test.columns)?;
    let (mut judged, mut culprits, mut time_ms) = (Judged::default(), Vec::with_capacity(test.rows), 0);
    let rows = |array: &'_ npy::Array| array.rows;
    for row in 0..train.map_or(0, rows) {
        time_ms += i64::from(interval_ms);
        host.row(time_ms, train.map_or(&[], |train| train.row(row)))?;
    }
    for row in 0..test.rows {
        time_ms += i64::from(interval_ms);
        let verdict = host.row(time_ms, test.row(row))?;
        judged.scores.push(verdict.state());
        judged.opened.extend(verdict.opened.iter().map(|column| (row, *column)));
        culprits.push(ranked(&verdict.shares));
    }
    host.end()?;
    let drifts = host.drifts();
    Ok(Streamed { judged, culprits, drifts })
}

/// Metrics by falling share of the oddness, counted from 1; those that have none are left out.
fn ranked(shares: &[f32]) -> Vec<u16> {
    let mut ranked: Vec<(u16, f32)> = (1u16..).zip(shares.iter().copied()).filter(|(_, one)| *one > 0.0).collect();
    ranked.sort_by(|a, b| b.1.total_cmp(&a.1));
    ranked.into_iter().map(|(metric, _)| metric).collect()
}

fn write(bench: &Bench<'_>, machine: &Machine, judged: &Judged, culprits: &[Vec<u16>]) -> anyhow::Result<()> {
    let mut text = String::from("row,score,culprits\n");
    for (row, (score, culprits)) in judged.scores.iter().zip(culprits).enumerate() {
        let _ = write!(text, "{row},{score:.9},");
        for (at, metric) in culprits.iter().enumerate() {
            let _ = write!(text, "{}{metric}", if at == 0 { "" } else { ";" });
        }
        text.push('\n');
    }
    bench.write(format!("asd-smd/{}.csv", machine.name), &text)
}

fn draw(
    bench: &Bench<'_>,
    machine: &Machine,
    test: &npy::Array,
    judged: &Judged,
    spans: &[Span],
) -> anyhow::Result<()> {
    if !bench.plots {
        return Ok(());
    }
    let columns: Vec<Vec<f64>> = (0..test.columns).map(|column| test.column(column)).collect();
    let series: Vec<&[f64]> = columns.iter().map(Vec::as_slice).collect();
    let opened: Vec<usize> = judged.opened.iter().map(|(row, _)| *row).collect();
    let (title, scores) = (machine.name.as_str(), judged.scores.as_slice());
    let picture = plot::Picture { title, series: &series, scores, threshold: 0.5, spans, opened: &opened };
    bench.write(format!("plots/asd-smd/{}.svg", machine.name), &picture.svg())
}

/// Segments and their true metrics, lines `first-last:metric,metric`; no file, no segments.
fn read_segments(path: &Path) -> anyhow::Result<Vec<(Span, Vec<u16>)>> {
    if !path.exists() {
        return Ok(Vec::new());
    }
    let text = std::fs::read_to_string(path).map_err(|error| unusable(path, &error))?;
    let lines = text.lines().enumerate().filter(|(_, line)| !line.trim().is_empty());
    lines
        .map(|(at, line)| {
            let malformed = format!("line {}: expected first-last:metric,metric", at + 1);
            segment(line).ok_or_else(|| unusable(path, &malformed).into())
        })
        .collect()
}

fn segment(line: &str) -> Option<(Span, Vec<u16>)> {
    let (rows, metrics) = line.trim().split_once(':')?;
    let (first, last) = rows.split_once('-')?;
    let span = Span { first: first.trim().parse().ok()?, last: last.trim().parse().ok()? };
    let metrics = metrics.split(',').map(|metric| metric.trim().parse().ok()).collect::<Option<_>>()?;
    (span.first <= span.last).then_some((span, metrics))
}

/// Looks at the highest row of each segment.
fn hits(segments: &[(Span, Vec<u16>)], scores: &[f64], culprits: &[Vec<u16>]) -> Hits {
    let mut hits = Hits::default();
    for (span, metrics) in segments {
        let rows = span.first..=span.last.min(scores.len().saturating_sub(1));
        let Some(row) = rows.max_by(|a, b| scores[*a].total_cmp(&scores[*b]).then(b.cmp(a))) else { continue };
        hits.segments += 1;
        for (hit, first) in hits.hits.iter_mut().zip(HITS_AT) {
            *hit += usize::from(culprits[row].iter().take(first).any(|metric| metrics.contains(metric)));
        }
    }
    hits
}

/// Text, JSON and mean average precision of ASD or SMD.
fn set_report(set: &str, done: &[&Done]) -> (String, Value, f64) {
    if done.is_empty() {
        return (String::new(), Value::Null, f64::NAN);
    }
    let measured: Vec<(&Done, &Measures)> =
        done.iter().filter_map(|one| Some((*one, one.measures.as_ref()?))).collect();
    let mean = |of: fn(&Measures) -> f64| {
        measured.iter().map(|(_, measures)| of(measures)).sum::<f64>() / number(measured.len())
    };
    let (average_precision, vus_pr) = (mean(|one| one.average_precision), mean(|one| one.vus_pr));
    let cases: Vec<Case<'_>> = done.iter().filter_map(|one| case(one)).collect();
    let (found, agent) = (events::best_at_rate(&cases, FALSE_PER_DAY), events::by_episodes(&cases));
    let mut all = Hits::default();
    for one in done {
        all.segments += one.hits.segments;
        all.hits.iter_mut().zip(one.hits.hits).for_each(|(sum, hits)| *sum += hits);
    }
    let hit_rates: Vec<f64> = all.hits.iter().map(|hits| number(*hits) / number(all.segments)).collect();
    let mut text = format!("{}: {} machines, {} labelled\n", set.to_uppercase(), done.len(), measured.len());
    if !measured.is_empty() {
        let row = |name: &str, ap: f64, vus: f64| vec![name.to_owned(), format!("{ap:.3}"), format!("{vus:.3}")];
        let mut rows = vec![["MACHINE", "AVERAGE PRECISION", "VUS-PR"].map(str::to_owned).to_vec()];
        rows.extend(measured.iter().map(|(one, m)| row(&one.name, m.average_precision, m.vus_pr)));
        rows.push(row("mean", average_precision, vus_pr));
        text += &table(&rows);
        let _ = writeln!(text, "at most {FALSE_PER_DAY} false episode per host and day: {}", found.text());
        let _ = writeln!(text, "episodes of the agent at the default budget: {}", agent.text());
    }
    if all.segments > 0 {
        let rates: Vec<_> = HITS_AT.iter().zip(&hit_rates).map(|(k, rate)| format!("hit@{k} {rate:.3}")).collect();
        let _ = writeln!(text, "culprits, {} segments, at the highest row of each: {}", all.segments, rates.join(", "));
    }
    let json = json!({
        "machines": measured.iter().map(|(one, measures)| json!({
            "name": one.name,
            "average_precision": measures.average_precision,
            "vus_pr": measures.vus_pr,
        })).collect::<Vec<_>>(),
        "mean_average_precision": average_precision,
        "mean_vus_pr": vus_pr,
        "vus_window_rows": ranking::VUS_WINDOW,
        "at_false_rate": found.to_json(),
        "agent_episodes": agent.to_json(),
        "culprit_segments": all.segments,
        "culprit_hits": HITS_AT.iter().zip(&hit_rates).map(|(k, rate)| json!({"k": k, "rate": rate})).collect::<Vec<_>>(),
    });
    (text, json, average_precision)
}

fn case(done: &Done) -> Option<Case<'_>> {
    let spans = done.spans.as_deref()?;
    let (scores, opened) = (done.judged.scores.as_slice(), done.judged.opened.as_slice());
    Some(Case { scores, opened, spans, from: 0, interval_ms: done.interval_ms })
}

fn scoreboard(means: &[f64]) -> String {
    let row = |cells: [&str; 3]| cells.map(str::to_owned).to_vec();
    let mut rows = vec![row(["MEAN AVERAGE PRECISION", "ASD", "SMD"])];
    let ours: Vec<String> =
        means.iter().map(|mean| if mean.is_nan() { "-".to_owned() } else { format!("{mean:.3}") }).collect();
    rows.push([vec!["vedette, these machines (streaming)".to_owned()], ours].concat());
    rows.extend(PUBLISHED.iter().map(|(name, asd, smd)| row([name, asd, smd])));
    table(&rows) + "VUS-PR on server metrics, published: best method 0.505, POLY 0.454\n"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn culprits_are_ranked_by_share_and_counted_from_one() {
        assert_eq!(ranked(&[0.5, f32::NAN, 3.0, 0.0, 1.0]), [3, 5, 1]);
    }

    #[test]
    fn segments_are_read_and_malformed_lines_named() {
        assert_eq!(segment("246-252:1,2,30"), Some((Span { first: 246, last: 252 }, vec![1, 2, 30])));
        for malformed in ["246:1", "a-b:1", "5-4:1", "5-6", "5-6:x"] {
            assert_eq!(segment(malformed), None, "{malformed}");
        }
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("m.txt");
        std::fs::write(&path, "1-2:3\n\nx\n").unwrap();
        assert!(read_segments(&path).unwrap_err().to_string().contains("line 3"));
        assert!(read_segments(&dir.path().join("none.txt")).unwrap().is_empty());
    }

    #[test]
    fn hits_look_at_the_highest_row_of_a_segment() {
        let segments = [(Span { first: 1, last: 3 }, vec![7]), (Span { first: 4, last: 9 }, vec![1])];
        let scores = [0.0, 0.1, 0.9, 0.2, 0.3];
        let culprits = vec![vec![], vec![1], vec![2, 7], vec![3], vec![4, 5, 6, 1]];
        assert_eq!(hits(&segments, &scores, &culprits), Hits { segments: 2, hits: [0, 1, 2] });
    }
}

//! Event sequences of `logad-sequences/split/<half>/<set>/<file>`, a line `id,event event …` each: how unusual is each?
//!
//! Files whose names begin with `normal` are the baseline, as is usual for these sets; each of their sequences is scored
//! as if it had not been learnt. Without such files everything is the baseline. Labels are the names `normal…` and
//! `abnormal…`; the scores do not depend on anything else in a name.

use super::bench::{Bench, Missing, Report, number};
use crate::detector::keys::unusable;
use crate::output::table;
use serde_json::{Map, Value, json};
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::{Path, PathBuf};
use vedette_edge::logs::sequences::{Baseline, Learnt};

const FILE_BYTES_MAX: u64 = 1 << 30;
/// Shares of usual sequences that may be found wrongly.
const FALSE_SHARES: [f64; 2] = [0.001, 0.01];

/// What a file's name says of its sequences.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Label {
    Usual,
    Broken,
    Unknown,
}

#[derive(Debug)]
struct Set {
    name: String,
    files: Vec<PathBuf>,
}

struct Sequence {
    id: String,
    events: Vec<u64>,
    label: Label,
}

struct Done {
    name: String,
    sequences: usize,
    /// Usual and broken ones, and the recall at each false share; `None` unless both kinds are there.
    measured: Option<(usize, usize, [f64; 2])>,
}

pub(crate) fn run(bench: &Bench<'_>) -> anyhow::Result<Report> {
    let sets = find(bench.data)?;
    let (done, failure) = bench.each("sequences", &sets, |set| set.name.clone(), |set| evaluate(bench, set));
    let mut rows = vec![["set", "usual", "broken", "recall at ≤ 0.1 % false", "at ≤ 1 %"].map(str::to_owned).to_vec()];
    let mut summary = Map::new();
    for set in &done {
        let cells = set.measured.map_or(["-"; 4].map(str::to_owned), |(usual, broken, recall)| {
            [usual.to_string(), broken.to_string(), format!("{:.3}", recall[0]), format!("{:.3}", recall[1])]
        });
        rows.push([vec![set.name.clone()], cells.to_vec()].concat());
        let measured = set.measured.map(|(usual, broken, recall)| {
            json!({"usual": usual, "broken": broken, "recall_at_0.001_false": recall[0], "recall_at_0.01_false": recall[1]})
        });
        summary.insert(set.name.clone(), json!({"sequences": set.sequences, "measured": measured}));
    }
    let mut text = format!("sequences: {} sets\n{}", done.len(), table(&rows));
    let _ = writeln!(
        text,
        "where fewer than 1,000 are usual, 0.1 % of them is none; openstack cannot be told from sequences"
    );
    Ok(Report { summary: Value::Object(summary), text, failure })
}

fn evaluate(bench: &Bench<'_>, set: &Set) -> anyhow::Result<Done> {
    let mut sequences = Vec::new();
    for path in &set.files {
        sequences.extend(read(path)?);
    }
    let scores = score(&sequences);
    let mut text = String::from("id,score\n");
    for (sequence, score) in sequences.iter().zip(&scores) {
        let _ = writeln!(text, "{},{score:.9}", sequence.id);
    }
    bench.write(Path::new("sequences").join(format!("{}.csv", set.name)), &text)?;
    let of = |label: Label| {
        let scored = sequences.iter().zip(&scores).filter(|(sequence, _)| sequence.label == label);
        scored.map(|(_, score)| *score).collect::<Vec<f64>>()
    };
    let (usual, broken) = (of(Label::Usual), of(Label::Broken));
    let measured = (!usual.is_empty() && !broken.is_empty())
        .then(|| (usual.len(), broken.len(), FALSE_SHARES.map(|share| recall(usual.clone(), &broken, share))));
    Ok(Done { name: set.name.clone(), sequences: sequences.len(), measured })
}

fn score(sequences: &[Sequence]) -> Vec<f64> {
    let has_usual = sequences.iter().any(|sequence| sequence.label == Label::Usual);
    let in_baseline = |sequence: &Sequence| !has_usual || sequence.label == Label::Usual;
    let mut baseline = Baseline::default();
    sequences.iter().filter(|sequence| in_baseline(sequence)).for_each(|sequence| baseline.learn(&sequence.events));
    let score = |sequence: &Sequence| {
        baseline.score(&sequence.events, if in_baseline(sequence) { Learnt::Once } else { Learnt::No })
    };
    sequences.iter().map(score).collect()
}

/// Share of the broken above the highest score that at most this share of the usual exceeds.
fn recall(mut usual: Vec<f64>, broken: &[f64], false_share: f64) -> f64 {
    usual.sort_by(|a, b| b.total_cmp(a));
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a count")]
    let allowed = (number(usual.len()) * false_share) as usize;
    let threshold = usual.get(allowed).copied().unwrap_or(f64::NEG_INFINITY);
    number(broken.iter().filter(|score| **score > threshold).count()) / number(broken.len().max(1))
}

fn read(path: &Path) -> anyhow::Result<Vec<Sequence>> {
    let size = std::fs::metadata(path).map_err(|error| unusable(path, &error))?.len();
    if size > FILE_BYTES_MAX {
        return Err(unusable(path, &format!("{size} bytes are over the limit of {FILE_BYTES_MAX}")).into());
    }
    let text = String::from_utf8_lossy(&std::fs::read(path).map_err(|error| unusable(path, &error))?).into_owned();
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    let label = match name {
        name if name.starts_with("normal") => Label::Usual,
        name if name.starts_with("abnormal") => Label::Broken,
        _ => Label::Unknown,
    };
    Ok(parse(&text, label))
}

/// A line without a comma has no events.
fn parse(text: &str, label: Label) -> Vec<Sequence> {
    let lines = text.lines().filter(|line| !line.trim().is_empty() && !line.starts_with("id,event"));
    let sequence = |line: &str| {
        let (id, events) = line.split_once(',').unwrap_or((line, ""));
        Sequence { id: id.trim().to_owned(), events: events.split_ascii_whitespace().map(event).collect(), label }
    };
    lines.map(sequence).collect()
}

fn event(name: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    name.hash(&mut hasher);
    hasher.finish()
}

/// Folders of sequences; a set that is in several halves is one.
fn find(data: &Path) -> anyhow::Result<Vec<Set>> {
    let places = [data.join("logad-sequences/split"), data.join("split"), data.join("logad-sequences")];
    for place in &places {
        let mut sets = BTreeMap::<String, Vec<PathBuf>>::new();
        for half in entries(place).into_iter().filter(|path| path.is_dir()) {
            for folder in entries(&half).into_iter().filter(|path| path.is_dir()) {
                let Some(name) = folder.file_name().and_then(|name| name.to_str()) else { continue };
                let files = entries(&folder).into_iter().filter(|path| path.is_file());
                sets.entry(name.to_owned()).or_default().extend(files);
            }
        }
        sets.retain(|_, files| !files.is_empty());
        if !sets.is_empty() {
            return Ok(sets.into_iter().map(|(name, files)| Set { name, files }).collect());
        }
    }
    let looked = places.iter().map(|place| place.join("*/*/*")).collect();
    Err(Missing { what: "sequences of log events", looked }.into())
}

fn entries(folder: &Path) -> Vec<PathBuf> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    let mut paths: Vec<_> = entries.map(|entry| entry.path()).collect();
    paths.sort();
    paths
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sequences(label: Label, lines: &str, times: usize) -> Vec<Sequence> {
        (0..times).flat_map(|_| parse(lines, label)).collect()
    }

    #[test]
    fn broken_sequences_score_above_usual_ones_with_and_without_labels() {
        for labels in [(Label::Usual, Label::Broken), (Label::Unknown, Label::Unknown)] {
            let mut all = sequences(labels.0, "a,1 2 3\nb,2 1 3\nc,1 2 2 3\n", 50);
            all.extend(sequences(labels.1, "x,1 2\ny,1 2 9\nz,\n", 1));
            let scores = score(&all);
            let (usual, broken) = scores.split_at(150);
            let highest = usual.iter().copied().fold(0.0, f64::max);
            assert!(broken.iter().all(|score| *score > highest), "{highest} {broken:?}");
        }
    }

    #[test]
    fn recall_allows_the_stated_share_and_no_more() {
        let usual: Vec<f64> = (0..1_000).map(f64::from).collect();
        assert_eq!(recall(usual.clone(), &[998.0, 999.0, 1_000.0, 998.5], 0.001), 0.75);
        assert_eq!(recall(usual, &[989.0, 990.5], 0.01), 0.5);
        assert_eq!(recall(vec![5.0; 10], &[5.0, 6.0], 0.001), 0.5);
    }

    #[test]
    fn lines_without_events_are_sequences_too() {
        let parsed = parse("id,event_id\nblk_1,5 5 22\n\nblk_2,\nblk_3", Label::Unknown);
        let shapes: Vec<_> = parsed.iter().map(|one| (one.id.as_str(), one.events.len())).collect();
        assert_eq!(shapes, [("blk_1", 3), ("blk_2", 0), ("blk_3", 0)]);
    }
}

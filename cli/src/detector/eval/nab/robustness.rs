//! What must not matter: when a series began, in which unit it is, what it is called, and how often it is read.
//!
//! NAB's labelled series are scored as they are and as copies that are shifted in time, scaled or renamed; simulated hosts
//! of series that are read each second are played once more with one reading in ten.

use super::super::bench::{Bench, Report, number};
use super::super::events::Span;
use super::super::host::Host;
use super::super::play;
use super::super::rows::{self, Found, Series};
use super::scorer::{self, File, PROFILES};
use super::{Labels, THRESHOLD};
use crate::output::table;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;
use vedette_sim::Seed;
use vedette_sim::scenario::{self, Scenario};

const SHIFT_MS: i64 = 37 * 86_400_000;
const FACTOR: f64 = 1_000.0;
/// Points of NAB's standard profile by which a copy may differ.
const POINTS_MAX: f64 = 1.0;
const HOSTS: u64 = 6;
const SEED: Seed = Seed(20_261_122);
const THINNED: u32 = 10;
/// Share of the faults found each second that are found of one reading in ten, at least.
const KEPT_MIN: f64 = 0.9;
/// An episode that opens so long after a fault still belongs to it.
const GRACE: Duration = Duration::from_secs(60);

/// A way to write the same series down.
#[derive(Clone, Copy, Debug)]
enum Spelling {
    AsItIs,
    Shifted,
    Scaled,
    Renamed,
}

impl Spelling {
    const ALL: [Self; 4] = [Self::AsItIs, Self::Shifted, Self::Scaled, Self::Renamed];

    fn name(self) -> &'static str {
        match self {
            Self::AsItIs => "as it is",
            Self::Shifted => "37 days later",
            Self::Scaled => "times 1,000",
            Self::Renamed => "renamed",
        }
    }

    fn scores(self, bench: &Bench<'_>, series: &Series) -> anyhow::Result<Vec<f64>> {
        // A second series without values gives the first another name.
        let columns = if matches!(self, Self::Renamed) { 2 } else { 1 };
        let mut host = Host::new(bench.detectors, series.interval_ms(), columns)?;
        let mut scores = Vec::with_capacity(series.values.len());
        for (time_ms, value) in series.times_ms.iter().zip(&series.values) {
            let verdict = match self {
                Self::AsItIs => host.row(*time_ms, &[*value]),
                Self::Shifted => host.row(time_ms + SHIFT_MS, &[*value]),
                Self::Scaled => host.row(*time_ms, &[value * FACTOR]),
                Self::Renamed => host.row(*time_ms, &[f64::NAN, *value]),
            };
            scores.push(verdict?.onset());
        }
        host.end()?;
        Ok(scores)
    }
}

/// A series under all of its copies.
struct Done {
    scores: Vec<Vec<f64>>,
    windows: Vec<Span>,
    probation: usize,
}

/// Faults of a host: all, found at full rate, and of these found of the thinned readings.
#[derive(Clone, Copy, Debug, Default)]
struct Kept {
    faults: usize,
    found: usize,
    kept: usize,
}

pub(crate) fn run(bench: &Bench<'_>) -> anyhow::Result<Report> {
    let places = ["nab/data", "nab", "data", ""].map(|place| bench.data.join(place));
    let found = rows::find("NAB series", &places)?;
    let labels = Labels::read(&bench.data.join("nab"))?;
    let work = |found: &Found| -> anyhow::Result<Option<Done>> {
        let series = rows::read(&found.path)?;
        let Some(windows) = labels.windows(found, &series) else { return Ok(None) };
        let scores = Spelling::ALL.iter().map(|copy| copy.scores(bench, &series)).collect::<anyhow::Result<_>>()?;
        Ok(Some(Done { scores, windows, probation: series.probation() }))
    };
    let (done, mut failure) = bench.each("robustness", &found, Found::name, work);
    let done: Vec<Done> = done.into_iter().flatten().collect();
    let points: Vec<[f64; 2]> = (0..Spelling::ALL.len()).map(|copy| points(&done, copy)).collect();
    let seeds: Vec<u64> = (0..HOSTS).collect();
    let (kept, broken) = bench.each("robustness", &seeds, |seed| format!("host {seed}"), |seed| thinned(bench, *seed));
    let sum = kept.iter().fold(Kept::default(), |sum, one| Kept {
        faults: sum.faults + one.faults,
        found: sum.found + one.found,
        kept: sum.kept + one.kept,
    });
    let share = number(sum.kept) / number(sum.found.max(1));
    let costs = bench.detectors.take_costs();
    failure = failure.or(broken).or_else(|| complaint(&points, share));
    let mut rows = vec![["COPY", "FIXED THRESHOLD", "BEST THRESHOLD"].map(str::to_owned).to_vec()];
    rows.extend(
        Spelling::ALL
            .iter()
            .zip(&points)
            .map(|(copy, [fixed, best])| vec![copy.name().to_owned(), format!("{fixed:.2}"), format!("{best:.2}")]),
    );
    let mut text = format!("Robustness: {} labelled series of NAB, standard profile\n{}", done.len(), table(&rows));
    let _ = writeln!(
        text,
        "one reading in {THINNED}: {} of the {} faults found each second are found ({share:.2}, wanted {KEPT_MIN}), of {} on {HOSTS} hosts\n{}",
        sum.kept, sum.found, sum.faults, costs.0
    );
    let copies = Spelling::ALL.iter().zip(&points);
    let copy =
        |(copy, [fixed, best]): (&Spelling, &[f64; 2])| json!({"copy": copy.name(), "fixed": fixed, "best": best});
    let summary = json!({
        "labelled_series": done.len(),
        "copies": copies.map(copy).collect::<Vec<_>>(),
        "thinned": {"every": THINNED, "faults": sum.faults, "found": sum.found, "kept": sum.kept, "share": share},
        "seed": SEED.0,
        "clean": Value::Null,
        "cost": costs.1,
    });
    Ok(Report { summary, text, failure })
}

/// Points of the standard profile at the fixed threshold and at the best one.
fn points(done: &[Done], copy: usize) -> [f64; 2] {
    if done.iter().all(|one| one.windows.is_empty()) {
        return [f64::NAN; 2];
    }
    let files: Vec<File<'_>> = done
        .iter()
        .map(|one| File { scores: &one.scores[copy], windows: &one.windows, probation: one.probation })
        .collect();
    [scorer::at(&files, &PROFILES[0], THRESHOLD), scorer::best(&files, &PROFILES[0]).0]
}

fn thinned(bench: &Bench<'_>, seed: u64) -> anyhow::Result<Kept> {
    let found = |every: u32| -> anyhow::Result<Vec<bool>> {
        let Scenario { host, end, .. } = scenario::breaking(SEED.child(seed));
        let labels = host.truth().labels().to_vec();
        let played = play::play(bench.detectors, host, end, every)?;
        let opened = |label: &vedette_sim::Label| {
            let mut of_it = played.opened.iter().filter(|one| one.series == label.subject);
            of_it.any(|one| one.at >= label.start && one.at < label.end + GRACE)
        };
        Ok(labels.iter().map(opened).collect())
    };
    let (all, some) = (found(1)?, found(THINNED)?);
    let both = all.iter().zip(&some).filter(|(one, other)| **one && **other).count();
    Ok(Kept { faults: all.len(), found: all.iter().filter(|found| **found).count(), kept: both })
}

fn complaint(points: &[[f64; 2]], kept: f64) -> Option<anyhow::Error> {
    let as_it_is = points.first()?;
    let differs = |copy: &[f64; 2]| copy.iter().zip(as_it_is).any(|(one, other)| (one - other).abs() >= POINTS_MAX);
    if let Some(at) = points.iter().position(differs) {
        let copy = Spelling::ALL[at].name();
        return Some(anyhow::anyhow!(
            "NAB {copy} differs by {POINTS_MAX} point or more: {:?}, {as_it_is:?}",
            points[at]
        ));
    }
    (kept < KEPT_MIN).then(|| anyhow::anyhow!("one reading in {THINNED} keeps {kept:.2} of the faults that were found"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_differs_by_a_point_or_loses_a_tenth_is_complained_of() {
        let same = [[60.0, 70.0]; 4];
        assert!(complaint(&same, KEPT_MIN).is_none() && complaint(&same, 0.89).is_some());
        let mut other = same;
        other[2][1] = 71.0;
        assert!(complaint(&other, 1.0).unwrap().to_string().contains("times 1,000"));
    }
}

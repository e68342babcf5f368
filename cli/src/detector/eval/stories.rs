//! Stories of weeks: a backup each night and its load at noon, a leak, a heap that is collected. Each has to be told right,
//! or the suite fails. Needs no data.

use super::bench::{Bench, Report};
use super::play::{self, Opened, Played};
use crate::output::table;
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::time::Duration;
use vedette_sim::Seed;
use vedette_sim::scenario::{self, Scenario, Wanted};

const SEED: Seed = Seed(20_261_121);
const INTERVALS_MS: [u32; 2] = [10_000, 60_000];
const HOUR_S: f64 = 3_600.0;
/// How long a peer has watched: whole weeks, so that both begin on the same day of the week.
const PEER_LIVES: Duration = Duration::from_secs(14 * 86_400);

/// A scenario at an interval.
struct Story {
    name: String,
    interval_ms: u32,
    tell: fn(Seed, u32) -> Scenario,
    /// It starts from what a peer learnt in two weeks of the same, and has nothing to learn.
    after_peer: bool,
}

/// What became of it.
struct Told {
    name: String,
    learning: usize,
    after: usize,
    excused: u64,
    what: String,
    is_right: bool,
}

pub(crate) fn run(bench: &Bench<'_>) -> anyhow::Result<Report> {
    let of_interval = |interval_ms: u32| {
        let story = move |name: &str, tell: fn(Seed, u32) -> Scenario| {
            let name = format!("{name}, {} s", interval_ms / 1_000);
            Story { name, interval_ms, tell, after_peer: false }
        };
        let after_peer =
            |story: Story| Story { name: format!("{}, with a prior", story.name), after_peer: true, ..story };
        [
            story("backup at 03:00", |seed, ms| scenario::backup(seed, ms, 3.0)),
            // Hours of the detector begin when the series does: elsewhere than on the clock.
            story("backup at 03:24", |seed, ms| scenario::backup(seed, ms, 3.4)),
            after_peer(story("backup at 03:00", |seed, ms| scenario::backup(seed, ms, 3.0))),
            after_peer(story("backup at 03:24", |seed, ms| scenario::backup(seed, ms, 3.4))),
            story("leak under a sawtooth", scenario::leak),
            story("sawtooth", scenario::sawtooth),
        ]
    };
    let stories: Vec<Story> = INTERVALS_MS.into_iter().flat_map(of_interval).collect();
    let (told, mut failure) = bench.each("stories", &stories, |story| story.name.clone(), |story| tell(bench, story));
    let costs = bench.detectors.take_costs();
    let wrong: Vec<&str> = told.iter().filter(|one| !one.is_right).map(|one| one.name.as_str()).collect();
    if !wrong.is_empty() {
        failure = failure.or(Some(anyhow::anyhow!("told wrong: {}", wrong.join("; "))));
    }
    let mut rows =
        vec![["STORY", "EPISODES WHILE LEARNING", "AFTER", "VERDICTS HELD BACK", "TOLD"].map(str::to_owned).to_vec()];
    rows.extend(told.iter().map(|one| {
        let verdict = if one.is_right { one.what.clone() } else { format!("WRONG: {}", one.what) };
        vec![one.name.clone(), one.learning.to_string(), one.after.to_string(), one.excused.to_string(), verdict]
    }));
    let mut text = format!("Stories of weeks, seed {}\n{}", SEED.0, table(&rows));
    let _ = writeln!(text, "{}", costs.0);
    let summary = json!({
        "seed": SEED.0,
        "stories": told.iter().map(Told::to_json).collect::<Vec<_>>(),
        "clean": Value::Null,
        "cost": costs.1,
    });
    Ok(Report { summary, text, failure })
}

fn tell(bench: &Bench<'_>, story: &Story) -> anyhow::Result<Told> {
    let Scenario { host, learnt, end, wanted, .. } = (story.tell)(SEED, story.interval_ms);
    let faults: Vec<(Duration, Duration)> = host.truth().labels().iter().map(|one| (one.start, one.end)).collect();
    let (learnt, Played { opened, excused }) = if story.after_peer {
        let peer = (story.tell)(Seed(SEED.0 + 1), story.interval_ms).host;
        (Duration::ZERO, play::play_after(bench.detectors, (peer, PEER_LIVES), host, end)?)
    } else {
        (learnt, play::play(bench.detectors, host, end, 1)?)
    };
    for one in &opened {
        let hours = one.at.as_secs_f64() / HOUR_S;
        let (day, hour) = ((hours / 24.0).floor(), hours % 24.0);
        bench.say(&format!(
            "{}: day {day:.0}, {hour:.2} h: {} on {}",
            story.name, one.finding.detector.name, one.series
        ));
    }
    let (learning, after): (Vec<&Opened>, Vec<&Opened>) = opened.iter().partition(|one| one.at < learnt);
    let (what, is_right) = match wanted {
        Wanted::OnePerFault => one_per_fault(&after, &faults),
        Wanted::Warning { exhausted, before } => {
            let leaks_from = faults.first().map_or(Duration::ZERO, |(from, _)| *from);
            warning(&after, leaks_from, exhausted, before)
        }
        Wanted::Nothing | Wanted::Found => (format!("{} of 0 wanted", after.len()), after.is_empty()),
    };
    Ok(Told { name: story.name.clone(), learning: learning.len(), after: after.len(), excused, what, is_right })
}

fn one_per_fault(opened: &[&Opened], faults: &[(Duration, Duration)]) -> (String, bool) {
    let found: Vec<Vec<Duration>> = faults
        .iter()
        .map(|(from, to)| opened.iter().map(|one| one.at).filter(|at| (*from..*to).contains(at)).collect())
        .collect();
    let first = |((from, _), found): (&(Duration, Duration), &Vec<Duration>)| found.first().map(|at| *at - *from);
    let delays: Vec<Duration> = faults.iter().zip(&found).filter_map(first).collect();
    let right = found.iter().all(|found| found.len() == 1) && opened.len() == faults.len();
    (format!("{} of {} found, after {delays:?}", delays.len(), faults.len()), right)
}

fn warning(opened: &[&Opened], leaks_from: Duration, exhausted: Duration, before: Duration) -> (String, bool) {
    let Some(first) = opened.first() else { return ("no warning".to_owned(), false) };
    let hours = |duration: Duration| duration.as_secs_f64() / HOUR_S;
    let (earliest, latest) = exhausted_within(first);
    let left = hours(exhausted.saturating_sub(first.at));
    let right = first.at >= leaks_from && first.at + before <= exhausted && earliest <= left && left <= latest;
    (format!("{left:.1} h before the end, told {earliest:.0} to {latest:.0} h"), right)
}

/// Hours until a stock is exhausted by the words of a finding (`wit/README.md`, codes 201 and 202).
fn exhausted_within(opened: &Opened) -> (f64, f64) {
    let finding = &opened.finding;
    let age_ms = (finding.at.unix_ns - finding.onset.unix_ns) as f64 / 1e6;
    let moved = finding.observed - finding.expected;
    let bound = if moved > 0.0 { finding.upper } else { finding.lower };
    let left = |age_ms: f64| (bound - finding.observed) / moved * age_ms / 1_000.0 / HOUR_S;
    let uncertainty = f64::from(finding.onset_uncertainty_ms);
    (left(age_ms - uncertainty), left(age_ms + uncertainty))
}

impl Told {
    fn to_json(&self) -> Value {
        json!({
            "story": self.name,
            "episodes_while_learning": self.learning,
            "episodes_after": self.after,
            "verdicts_held_back": self.excused,
            "told": self.what,
            "right": self.is_right,
        })
    }
}

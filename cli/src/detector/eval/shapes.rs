//! Known disturbances put into stretches that have none: how often and how late does the agent open an episode?

use super::bench::{Bench, Missing, Report, median, number};
use super::events::Span;
use super::rows::{self, Found, Series};
use super::{events, ms, stream};
use crate::output::table;
use serde_json::{Value, json};
use std::fmt::Write as _;

/// Stretches that are disturbed, and the seed by which they are chosen.
const STRETCHES: usize = 16;
const SEED: u64 = 20_261_120;
/// Rows before the disturbance, and rows of it.
const BEFORE: usize = 800;
const AFTER: usize = 300;
const BRIEF: usize = 3;
const SHORT: usize = 30;
/// Size of a disturbance in robust spreads of the rows before it.
const SIZE: f64 = 6.0;
const HALF_A_DAY_MS: i64 = 43_200_000;

/// A disturbance.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Shape {
    Step,
    Ramp,
    Spike,
    Variance,
    Dip,
    Stop,
    SeasonalityBreak,
    Drift,
}

impl Shape {
    const ALL: [Self; 8] = [
        Self::Step,
        Self::Ramp,
        Self::Spike,
        Self::Variance,
        Self::Dip,
        Self::Stop,
        Self::SeasonalityBreak,
        Self::Drift,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Step => "step",
            Self::Ramp => "ramp",
            Self::Spike => "spike",
            Self::Variance => "variance",
            Self::Dip => "dip",
            Self::Stop => "stop",
            Self::SeasonalityBreak => "seasonality break",
            Self::Drift => "drift",
        }
    }

    fn doc(self) -> &'static str {
        match self {
            Self::Step => "6 spreads up, to stay",
            Self::Ramp => "6 spreads up over 60 rows, to stay",
            Self::Spike => "12 spreads up for 3 rows",
            Self::Variance => "distance from the median times 4",
            Self::Dip => "6 spreads down for 30 rows",
            Self::Stop => "the last value, again and again",
            Self::SeasonalityBreak => "the values of half a day before",
            Self::Drift => "6 spreads up over 300 rows",
        }
    }

    /// Rows within which an episode belongs to it.
    fn rows(self) -> usize {
        match self {
            Self::Spike => BRIEF + events::GRACE_ROWS,
            Self::Dip => SHORT + events::GRACE_ROWS,
            _ => AFTER,
        }
    }

    /// The disturbed value, `at` rows after the beginning; `values[row]` is the one that was there.
    fn value(self, values: &[f64], row: usize, at: usize, usual: &Usual) -> f64 {
        let value = values[row];
        match self {
            Self::Step => value + SIZE * usual.spread,
            Self::Ramp => value + SIZE * usual.spread * (number(at + 1) / 60.0).min(1.0),
            Self::Spike if at < BRIEF => value + 2.0 * SIZE * usual.spread,
            Self::Dip if at < SHORT => value - SIZE * usual.spread,
            Self::Spike | Self::Dip => value,
            Self::Variance => usual.median + 4.0 * (value - usual.median),
            Self::Stop => values[row - at - 1],
            Self::SeasonalityBreak => values[row - usual.half_a_day_rows],
            Self::Drift => value + SIZE * usual.spread * number(at + 1) / number(AFTER),
        }
    }
}

/// What the rows before a disturbance were like.
struct Usual {
    median: f64,
    spread: f64,
    half_a_day_rows: usize,
}

/// Rows without labels, and where in them a disturbance begins.
struct Stretch {
    name: String,
    series: Series,
    begins: usize,
    usual: Usual,
}

/// One stretch, disturbed in every way: rows until an episode, none if there was none in time.
struct Outcome {
    /// An episode opened in the undisturbed rows as well: it proves nothing.
    undisturbed: Vec<usize>,
    opened: Vec<Vec<usize>>,
}

pub(crate) fn run(bench: &Bench<'_>) -> anyhow::Result<Report> {
    let stretches = stretches(bench)?;
    let (outcomes, failure) = bench.each("shapes", &stretches, |one| one.name.clone(), |one| disturb(bench, one));
    let costs = bench.detectors.take_costs();
    let mut rows = vec![["SHAPE", "FOUND", "OF", "MEDIAN DELAY, ROWS", "WHAT"].map(str::to_owned).to_vec()];
    let mut shapes = Vec::new();
    for (at, shape) in Shape::ALL.into_iter().enumerate() {
        let calm = |one: &&Outcome| !one.undisturbed.iter().any(|row| *row < shape.rows());
        let calm: Vec<&Outcome> = outcomes.iter().filter(calm).collect();
        let first = |one: &&Outcome| one.opened[at].iter().copied().filter(|row| *row < shape.rows()).min();
        let delays: Vec<f64> = calm.iter().filter_map(first).map(number).collect();
        let (found, of, delay) = (delays.len(), calm.len(), median(delays));
        let shown = if delay.is_nan() { "-".to_owned() } else { format!("{delay:.0}") };
        rows.push(vec![shape.name().into(), found.to_string(), of.to_string(), shown, shape.doc().into()]);
        shapes.push(json!({"shape": shape.name(), "found": found, "of": of, "delay_rows_median": delay}));
    }
    let mut text = format!(
        "Disturbances put into {} clean stretches (seed {SEED}), episodes of the agent at the default budget\n{}",
        outcomes.len(),
        table(&rows)
    );
    let _ = writeln!(text, "{}", costs.0);
    let stretches: Vec<&str> = stretches.iter().map(|one| one.name.as_str()).collect();
    let summary =
        json!({"seed": SEED, "stretches": stretches, "shapes": shapes, "cost": costs.1, "clean": Value::Null});
    Ok(Report { summary, text, failure })
}

/// Clean stretches of the sets that are there, spread over their files.
fn stretches(bench: &Bench<'_>) -> anyhow::Result<Vec<Stretch>> {
    let mut found = ms::find(bench.data).unwrap_or_default();
    let nab = bench.data.join("nab/data");
    found.extend(rows::find("NAB series", std::slice::from_ref(&nab)).unwrap_or_default());
    let labels = super::nab::labels(bench.data)?;
    let mut random = Random(SEED);
    random.shuffle(&mut found);
    let mut stretches = Vec::new();
    for one in &found {
        if stretches.len() == STRETCHES {
            break;
        }
        // A file that cannot be read is told by its own suite.
        let Ok(series) = rows::read(&one.path) else { continue };
        let spans = match &series.labels {
            Some(labels) => events::spans(labels),
            None => labels.windows(one, &series).unwrap_or_default(),
        };
        stretches.extend(stretch(one, &series, &spans, &mut random));
    }
    if stretches.is_empty() {
        let what = "series with a long enough stretch without labels";
        return Err(Missing { what, looked: vec![nab, bench.data.join("ms-cloud-monitoring/data")] }.into());
    }
    Ok(stretches)
}

/// A stretch of the longest calm part, if that is long enough and not constant.
fn stretch(found: &Found, series: &Series, spans: &[Span], random: &mut Random) -> Option<Stretch> {
    let needed = BEFORE + AFTER;
    let rows = series.values.len();
    let ends = spans.iter().map(|span| (span.first, span.last + 1)).chain([(rows, rows)]);
    let (mut from, mut longest) = (0, (0, 0));
    for (first, next) in ends {
        if first.saturating_sub(from) > longest.1 - longest.0 {
            longest = (from, first);
        }
        from = from.max(next);
    }
    let slack = (longest.1 - longest.0).checked_sub(needed)?;
    let first = longest.0 + random.below(slack + 1);
    let cut = first..first + needed;
    let series = Series {
        stamps: series.stamps[cut.clone()].to_vec(),
        times_ms: series.times_ms[cut.clone()].to_vec(),
        texts: Vec::new(),
        values: series.values[cut].to_vec(),
        labels: None,
    };
    let usual = usual(&series)?;
    Some(Stretch { name: found.name(), series, begins: BEFORE, usual })
}

fn usual(series: &Series) -> Option<Usual> {
    let before: Vec<f64> = series.values[..BEFORE].iter().copied().filter(|value| value.is_finite()).collect();
    let middle = median(before.clone());
    let distances = before.iter().map(|value| (value - middle).abs()).collect();
    let spread = 1.4826 * median(distances);
    let rows = usize::try_from(HALF_A_DAY_MS / i64::from(series.interval_ms().max(1))).ok()?;
    (spread > 0.0).then_some(Usual { median: middle, spread, half_a_day_rows: rows.clamp(1, BEFORE) })
}

fn disturb(bench: &Bench<'_>, stretch: &Stretch) -> anyhow::Result<Outcome> {
    let opened = |values: Vec<f64>| -> anyhow::Result<Vec<usize>> {
        let series = Series {
            stamps: Vec::new(),
            times_ms: stretch.series.times_ms.clone(),
            texts: Vec::new(),
            values,
            labels: None,
        };
        let judged = stream::judge(bench, &series)?;
        Ok(judged.opened.iter().filter_map(|(row, _)| row.checked_sub(stretch.begins)).collect())
    };
    let undisturbed = opened(stretch.series.values.clone())?;
    let disturbed = Shape::ALL.map(|shape| opened(disturbed(stretch, shape)));
    Ok(Outcome { undisturbed, opened: disturbed.into_iter().collect::<Result<_, _>>()? })
}

fn disturbed(stretch: &Stretch, shape: Shape) -> Vec<f64> {
    let values = &stretch.series.values;
    let disturb = |row: usize| match row.checked_sub(stretch.begins) {
        Some(at) => shape.value(values, row, at, &stretch.usual),
        None => values[row],
    };
    (0..values.len()).map(disturb).collect()
}

/// `SplitMix64` (Steele, Lea and Flood 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mixed = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }

    #[expect(clippy::cast_possible_truncation, reason = "below a usize")]
    fn below(&mut self, end: usize) -> usize {
        (self.next() % end.max(1) as u64) as usize
    }

    fn shuffle<T>(&mut self, items: &mut [T]) {
        for at in (1..items.len()).rev() {
            items.swap(at, self.below(at + 1));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch_of(values: Vec<f64>) -> Option<Stretch> {
        let times_ms = (0..).map(|row| row * 300_000).take(values.len()).collect();
        let series =
            Series { stamps: vec![String::new(); values.len()], times_ms, texts: Vec::new(), values, labels: None };
        let found = Found { category: "a".into(), file: "b.csv".into(), path: "a/b.csv".into() };
        stretch(&found, &series, &[Span { first: 100, last: 120 }], &mut Random(1))
    }

    #[test]
    fn stretches_are_calm_long_and_not_constant() {
        let noisy = |rows: u16| (0..rows).map(|row| f64::from(row % 7)).collect::<Vec<_>>();
        let stretch = stretch_of(noisy(2_000)).unwrap();
        assert_eq!((stretch.series.values.len(), stretch.begins), (BEFORE + AFTER, BEFORE));
        assert!(stretch.series.times_ms[0] > 120 * 300_000, "behind the label");
        assert!(stretch_of(noisy(1_200)).is_none() && stretch_of(vec![3.0; 2_000]).is_none());
        assert_eq!(stretch.usual.half_a_day_rows, 144);
    }

    #[test]
    fn each_shape_changes_what_it_says_and_nothing_before() {
        let stretch = stretch_of((0..2_000u16).map(|row| f64::from(row % 7)).collect()).unwrap();
        let (values, size) = (&stretch.series.values, SIZE * stretch.usual.spread);
        for shape in Shape::ALL {
            let disturbed = disturbed(&stretch, shape);
            assert_eq!(disturbed[..BEFORE], values[..BEFORE], "{}", shape.name());
            assert_ne!(disturbed[BEFORE..], values[BEFORE..], "{}", shape.name());
        }
        let change = |shape, at: usize| disturbed(&stretch, shape)[BEFORE + at] - values[BEFORE + at];
        assert_eq!((change(Shape::Step, 0), change(Shape::Step, AFTER - 1)), (size, size));
        assert_eq!((change(Shape::Spike, 2), change(Shape::Spike, 3)), (2.0 * size, 0.0));
        assert_eq!((change(Shape::Dip, 29), change(Shape::Dip, 30)), (-size, 0.0));
        assert!((change(Shape::Ramp, 29) - size / 2.0).abs() < 1e-9 && change(Shape::Drift, AFTER - 1) == size);
        let stopped = disturbed(&stretch, Shape::Stop);
        assert!(stopped[BEFORE..].iter().all(|value| *value == values[BEFORE - 1]));
    }
}

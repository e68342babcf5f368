//! The score of the Numenta Anomaly Benchmark (Lavin and Ahmad 2015), from its formula.
//!
//! A detection at the position `y` of a window, −1 at its left edge and 0 just past its right one, is worth
//! `s(y) = 2 / (1 + e^5y) − 1`, normed to 1 at the left edge. A window gives the worth of its best detection or costs
//! `−A_FN`. A detection elsewhere costs `A_FP · s(distance past the previous window in its widths)`, all of `A_FP` from
//! three widths on and where no window came before. The sum is scaled so that no detection gives 0 and one at each
//! window's left edge, and nowhere else, 100.

use super::super::bench::number;
use super::super::events::Span;

/// What detections, misses and false alarms weigh.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Profile {
    /// As NAB calls it.
    pub(crate) name: &'static str,
    hit: f64,
    miss: f64,
    false_alarm: f64,
}

/// NAB's three profiles.
pub(crate) const PROFILES: [Profile; 3] = [
    Profile { name: "standard", hit: 1.0, miss: 1.0, false_alarm: 0.11 },
    Profile { name: "reward low FP", hit: 1.0, miss: 1.0, false_alarm: 0.22 },
    Profile { name: "reward low FN", hit: 1.0, miss: 2.0, false_alarm: 0.11 },
];

/// A file with its scores.
#[derive(Clone, Debug)]
pub(crate) struct File<'a> {
    /// Score of each row.
    pub(crate) scores: &'a [f64],
    /// Windows, in order and disjoint.
    pub(crate) windows: &'a [Span],
    /// Rows before this one are ignored.
    pub(crate) probation: usize,
}

/// A row that counts.
struct Point {
    score: f64,
    worth: f64,
    window: Option<usize>,
}

/// Best score over all thresholds, with the highest threshold that gives it. Files without any window count for their
/// false alarms; without a window in any file there is no score: NaN.
pub(crate) fn best(files: &[File<'_>], profile: &Profile) -> (f64, f64) {
    let (mut points, windows) = points(files, profile);
    points.sort_by(|a, b| b.score.total_cmp(&a.score));
    let mut worths = vec![-profile.miss; windows];
    let nothing = -profile.miss * number(windows);
    // A threshold above every score: nothing is detected.
    let (mut sum, mut best) = (nothing, (nothing, f64::INFINITY));
    for (at, point) in points.iter().enumerate() {
        sum += match point.window {
            None => point.worth,
            Some(window) => {
                let before = worths[window];
                worths[window] = before.max(point.worth);
                worths[window] - before
            }
        };
        if points.get(at + 1).is_none_or(|next| next.score < point.score) && sum > best.0 {
            best = (sum, point.score);
        }
    }
    (normed(best.0, windows, profile), best.1)
}

/// Score with one threshold for all files: rows at or above it are detections.
pub(crate) fn at(files: &[File<'_>], profile: &Profile, threshold: f64) -> f64 {
    let (points, windows) = points(files, profile);
    let mut worths = vec![-profile.miss; windows];
    let mut alarms = 0.0;
    for point in points.iter().filter(|point| point.score >= threshold) {
        match point.window {
            None => alarms += point.worth,
            Some(window) => worths[window] = worths[window].max(point.worth),
        }
    }
    normed(alarms + worths.iter().sum::<f64>(), windows, profile)
}

fn normed(sum: f64, windows: usize, profile: &Profile) -> f64 {
    let (nothing, perfect) = (-profile.miss * number(windows), profile.hit * number(windows));
    100.0 * (sum - nothing) / (perfect - nothing)
}

/// Rows that count, over all files, and the number of windows that have any.
fn points(files: &[File<'_>], profile: &Profile) -> (Vec<Point>, usize) {
    let (mut points, mut windows) = (Vec::new(), 0);
    for file in files {
        let counted: Vec<&Span> = file.windows.iter().filter(|window| window.last >= file.probation).collect();
        for (row, score) in file.scores.iter().enumerate().skip(file.probation) {
            let inside = counted.iter().position(|window| window.holds(row));
            let worth = match inside {
                Some(window) => profile.hit * within(counted[window], row) / sigmoid(-1.0),
                None => profile.false_alarm * past(file.windows, row),
            };
            points.push(Point { score: *score, worth, window: inside.map(|window| windows + window) });
        }
        windows += counted.len();
    }
    (points, windows)
}

fn within(window: &Span, row: usize) -> f64 {
    let width = number(window.last - window.first + 1);
    sigmoid(-number(window.last - row + 1) / width)
}

fn past(windows: &[Span], row: usize) -> f64 {
    match windows.iter().rev().find(|window| window.last < row) {
        None => -1.0,
        // A window of one row is taken as one of two: it has no width otherwise.
        Some(window) => sigmoid(number(row - window.last) / number((window.last - window.first).max(1))),
    }
}

fn sigmoid(position: f64) -> f64 {
    if position >= 3.0 { -1.0 } else { 2.0 / (1.0 + libm::exp(5.0 * position)) - 1.0 }
}

#[cfg(test)]
mod tests {
    use super::*;

    const STANDARD: Profile = PROFILES[0];

    fn scores(rows: usize, detections: &[usize]) -> Vec<f64> {
        (0..rows).map(|row| f64::from(u8::from(detections.contains(&row)))).collect()
    }

    fn scored(windows: &[Span], detections: &[usize]) -> f64 {
        let scores = scores(1_000, detections);
        at(&[File { scores: &scores, windows, probation: 150 }], &STANDARD, 1.0)
    }

    const WINDOW: Span = Span { first: 400, last: 499 };

    #[test]
    fn perfect_is_100_and_nothing_is_0() {
        let windows = [WINDOW, Span { first: 700, last: 720 }];
        for profile in &PROFILES {
            let scores = scores(1_000, &[400, 700]);
            let file = [File { scores: &scores, windows: &windows, probation: 150 }];
            assert!((at(&file, profile, 1.0) - 100.0).abs() < 1e-9, "{}", profile.name);
            assert_eq!(at(&file, profile, 2.0), 0.0);
            assert_eq!(best(&file, profile).1, 1.0);
        }
    }

    #[test]
    fn late_detection_is_worth_less_and_the_best_one_counts() {
        // Halfway: s(−0.5) = 0.84828; the sum goes from −1 to 0.84828 / 0.98661.
        let halfway = 100.0 * (0.848_283_64 / 0.986_614_30 + 1.0) / 2.0;
        assert!((scored(&[WINDOW], &[450]) - halfway).abs() < 1e-4);
        assert_eq!(scored(&[WINDOW], &[450]), scored(&[WINDOW], &[450, 460, 499]));
        let last = 100.0 * (1.0 + (2.0 / (1.0 + (-0.05f64).exp()) - 1.0) / 0.986_614_30) / 2.0;
        assert!((scored(&[WINDOW], &[499]) - last).abs() < 1e-4, "at the right edge hardly more than half");
    }

    #[test]
    fn false_alarm_costs_less_just_past_a_window() {
        let cost = |row| scored(&[WINDOW], &[400]) - scored(&[WINDOW], &[400, row]);
        let full = 100.0 * 0.11 / 2.0;
        assert!((cost(200) - full).abs() < 1e-9, "no window came before");
        assert!((cost(499 + 297) - full).abs() < 1e-9, "three widths away");
        assert!((cost(600) / full - 0.9877).abs() < 1e-3, "a width away: {}", cost(600) / full);
        assert!(cost(500) < 0.03 * full && cost(500) > 0.0);
        assert!(cost(520) < cost(560));
    }

    #[test]
    fn probation_is_ignored() {
        assert_eq!(scored(&[WINDOW], &[10, 149, 400]), scored(&[WINDOW], &[400]));
        assert!(scored(&[WINDOW], &[150, 400]) < scored(&[WINDOW], &[400]));
        let early = Span { first: 50, last: 90 };
        assert!((scored(&[early, WINDOW], &[400]) - 100.0).abs() < 1e-9, "a window inside of it is none");
    }

    #[test]
    fn one_threshold_serves_all_files() {
        let quiet = scores(1_000, &[]).iter().map(|_| 0.2).collect::<Vec<_>>();
        let mut loud = quiet.clone();
        loud[400] = 0.9;
        loud[800] = 0.5;
        let files = [
            File { scores: &loud, windows: &[WINDOW], probation: 150 },
            File { scores: &quiet, windows: &[], probation: 150 },
        ];
        let (score, threshold) = best(&files, &STANDARD);
        assert!((score - 100.0).abs() < 1e-9 && threshold == 0.9);
        assert!(at(&files, &STANDARD, 0.5) < 100.0);
        assert!(at(&files, &STANDARD, 0.2) < -1_000.0, "every row of both files is an alarm");
    }

    #[test]
    fn best_agrees_with_each_threshold_tried() {
        let scores: Vec<f64> = (0..600u32).map(|row| f64::from(row.wrapping_mul(2_654_435_761) >> 22)).collect();
        let windows = [Span { first: 200, last: 240 }, Span { first: 400, last: 430 }];
        let files = [File { scores: &scores, windows: &windows, probation: 90 }];
        for profile in &PROFILES {
            let tried = scores.iter().map(|threshold| at(&files, profile, *threshold)).fold(0.0, f64::max);
            let (score, threshold) = best(&files, profile);
            assert!((score - tried).abs() < 1e-9, "{}: {score} and {tried}", profile.name);
            assert!(threshold.is_infinite() || (at(&files, profile, threshold) - score).abs() < 1e-9);
        }
    }
}

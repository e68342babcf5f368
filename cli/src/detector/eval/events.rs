//! Labelled spans and what was found of them: recall at a rate of false episodes, and delay.

use super::bench::{median, number};
use super::rows::days;
use serde_json::{Value, json};

/// Rows by which an episode may outlast its span without being false, and calm rows that do not end one.
pub(crate) const GRACE_ROWS: usize = 3;
/// Thresholds that are tried.
const THRESHOLDS_MAX: usize = 400;

/// Rows from first to last, both within.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Span {
    /// First row.
    pub(crate) first: usize,
    /// Last row.
    pub(crate) last: usize,
}

impl Span {
    /// Whether it holds a row.
    pub(crate) fn holds(&self, row: usize) -> bool {
        (self.first..=self.last).contains(&row)
    }

    /// The same with some rows more at its end.
    pub(crate) fn grown(&self, rows: usize) -> Self {
        Self { first: self.first, last: self.last.saturating_add(rows) }
    }
}

/// Runs of labelled rows.
pub(crate) fn spans(labels: &[bool]) -> Vec<Span> {
    runs(labels.len(), |row| labels[row], 0)
}

/// Rows from `from` to before `rows` that lie in a span.
pub(crate) fn covered(spans: &[Span], from: usize, rows: usize) -> usize {
    (from..rows).filter(|row| spans.iter().any(|span| span.holds(*row))).count()
}

/// Runs of rows that hold, over up to `calm` that do not.
pub(crate) fn runs(rows: usize, holds: impl Fn(usize) -> bool, calm: usize) -> Vec<Span> {
    let mut runs: Vec<Span> = Vec::new();
    for row in (0..rows).filter(|row| holds(*row)) {
        match runs.last_mut() {
            Some(run) if row - run.last <= calm + 1 => run.last = row,
            _ => runs.push(Span { first: row, last: row }),
        }
    }
    runs
}

/// One labelled series or host.
#[derive(Clone, Debug)]
pub(crate) struct Case<'a> {
    /// Score of each row.
    pub(crate) scores: &'a [f64],
    /// Rows at which the agent opened an episode, with their series.
    pub(crate) opened: &'a [(usize, usize)],
    /// What is labelled.
    pub(crate) spans: &'a [Span],
    /// Rows from here on count.
    pub(crate) from: usize,
    /// Time between rows.
    pub(crate) interval_ms: u32,
}

/// What a threshold gives over many cases.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Found {
    /// The threshold.
    pub(crate) threshold: f64,
    /// Spans in which an episode began.
    pub(crate) found: usize,
    /// All spans.
    pub(crate) spans: usize,
    /// Episodes that began elsewhere, per case and day.
    pub(crate) false_per_day: f64,
    /// From a span's first row to the episode's, of those that were found: median, in rows and minutes.
    pub(crate) delay_rows: f64,
    pub(crate) delay_minutes: f64,
}

impl Found {
    /// Share of the spans that were found; NaN if there are none.
    pub(crate) fn recall(&self) -> f64 {
        number(self.found) / number(self.spans)
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "threshold": self.threshold,
            "found": self.found,
            "events": self.spans,
            "recall": self.recall(),
            "false_episodes_per_day": self.false_per_day,
            "delay_rows_median": self.delay_rows,
            "delay_minutes_median": self.delay_minutes,
        })
    }

    pub(crate) fn text(&self) -> String {
        let threshold =
            if self.threshold.is_nan() { String::new() } else { format!(", threshold {:.4}", self.threshold) };
        format!(
            "{:.3} of {} events, {:.3} false episodes a day, median delay {:.0} rows ({:.0} min){threshold}",
            self.recall(),
            self.spans,
            self.false_per_day,
            self.delay_rows,
            self.delay_minutes,
        )
    }
}

/// What rows at or above `threshold` find; runs of them are the episodes.
pub(crate) fn at(cases: &[Case<'_>], threshold: f64) -> Found {
    let high = |case: &Case<'_>, row: usize| row >= case.from && case.scores[row] >= threshold;
    told(cases, threshold, |case| runs(case.scores.len(), |row| high(case, row), GRACE_ROWS))
}

/// What the agent's own episodes find.
pub(crate) fn by_episodes(cases: &[Case<'_>]) -> Found {
    told(cases, f64::NAN, |case| {
        let counted = case.opened.iter().filter(|(row, _)| *row >= case.from);
        counted.map(|(row, _)| Span { first: *row, last: *row }).collect()
    })
}

/// An episode finds the span in which it begins, or just before which; what begins elsewhere is false. One that goes on
/// for ever finds nothing.
fn told(cases: &[Case<'_>], threshold: f64, episodes: impl Fn(&Case<'_>) -> Vec<Span>) -> Found {
    let (mut found, mut spans, mut wrong, mut all_days) = (0, 0, 0, 0.0);
    let (mut delays, mut minutes) = (Vec::new(), Vec::new());
    for case in cases {
        let episodes = episodes(case);
        for span in case.spans.iter().filter(|span| span.last >= case.from) {
            spans += 1;
            let begun = span.first.saturating_sub(GRACE_ROWS)..=span.last;
            if let Some(episode) = episodes.iter().find(|episode| begun.contains(&episode.first)) {
                let delay = number(episode.first.saturating_sub(span.first));
                found += 1;
                delays.push(delay);
                minutes.push(delay * f64::from(case.interval_ms) / 60_000.0);
            }
        }
        let near = |episode: &&Span| {
            let after = |span: &Span| span.first.saturating_sub(GRACE_ROWS) <= episode.first;
            case.spans.iter().any(|span| after(span) && episode.first <= span.last.saturating_add(GRACE_ROWS))
        };
        wrong += episodes.iter().filter(|episode| !near(episode)).count();
        let rows = case.scores.len();
        let clean = rows.saturating_sub(case.from + covered(case.spans, case.from, rows));
        all_days += days(clean, case.interval_ms);
    }
    let false_per_day = if all_days > 0.0 { number(wrong) / all_days } else { 0.0 };
    Found { threshold, found, spans, false_per_day, delay_rows: median(delays), delay_minutes: median(minutes) }
}

/// The threshold that finds most with at most `false_per_day_max` false episodes per case and day; one for all cases.
pub(crate) fn best_at_rate(cases: &[Case<'_>], false_per_day_max: f64) -> Found {
    let mut scores: Vec<f64> =
        cases.iter().flat_map(|case| &case.scores[case.from.min(case.scores.len())..]).copied().collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    scores.dedup();
    let mut best = at(cases, 1.0);
    for threshold in spread(&scores) {
        let found = at(cases, threshold);
        if found.false_per_day <= false_per_day_max && found.found > best.found {
            best = found;
        }
    }
    best
}

/// Some of the values in order, denser at the beginning.
pub(crate) fn spread(sorted: &[f64]) -> Vec<f64> {
    if sorted.len() <= THRESHOLDS_MAX {
        return sorted.to_vec();
    }
    let growth = number(sorted.len()).ln() / number(THRESHOLDS_MAX - 1);
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a rank below the length")]
    let mut ranks: Vec<usize> = (0..THRESHOLDS_MAX).map(|step| (growth * number(step)).exp() as usize - 1).collect();
    ranks.dedup();
    ranks.into_iter().filter_map(|rank| sorted.get(rank)).copied().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn case<'a>(scores: &'a [f64], spans: &'a [Span]) -> Case<'a> {
        Case { scores, opened: &[(6, 0), (15, 0)], spans, from: 0, interval_ms: 8_640_000 }
    }

    #[test]
    fn runs_of_labels_become_spans() {
        let labels = [false, true, true, false, true];
        assert_eq!(spans(&labels), [Span { first: 1, last: 2 }, Span { first: 4, last: 4 }]);
        assert_eq!(covered(&spans(&labels), 2, 5), 2);
    }

    #[test]
    fn recall_delay_and_false_episodes_are_counted() {
        let mut scores = vec![0.0; 30];
        let spans = [Span { first: 5, last: 9 }, Span { first: 18, last: 19 }];
        for row in [7, 11, 23, 25] {
            scores[row] = 0.9;
        }
        // Rows 7 and 11 are one episode, and so are 23 and 25, which begin too late.
        let found = at(&[case(&scores, &spans)], 0.5);
        assert_eq!((found.found, found.spans, found.delay_rows), (1, 2, 2.0));
        assert!((found.delay_minutes - 288.0).abs() < 1e-9);
        assert!((found.false_per_day - 1.0 / 2.3).abs() < 1e-9, "{}", found.false_per_day);
    }

    #[test]
    fn an_alarm_that_never_ends_finds_nothing() {
        let spans = [Span { first: 5, last: 9 }];
        let found = at(&[case(&[0.9; 20], &spans)], 0.5);
        assert_eq!((found.found, found.spans), (0, 1));
        assert!(found.false_per_day > 0.0);
    }

    #[test]
    fn episodes_of_the_agent_are_counted_alike() {
        let spans = [Span { first: 5, last: 9 }, Span { first: 19, last: 19 }];
        let found = by_episodes(&[case(&[0.0; 20], &spans)]);
        assert_eq!((found.found, found.spans, found.delay_rows), (1, 2, 1.0));
        assert!((found.false_per_day - 1.0 / 1.4).abs() < 1e-9);
    }

    #[test]
    fn threshold_is_the_one_that_finds_most_within_the_rate() {
        let mut scores = vec![0.1; 100];
        (scores[10], scores[50], scores[70], scores[90]) = (0.9, 0.8, 0.7, 0.6);
        let spans = [Span { first: 10, last: 11 }, Span { first: 70, last: 72 }, Span { first: 90, last: 91 }];
        let cases = [case(&scores, &spans)];
        assert_eq!(best_at_rate(&cases, 0.0).found, 1);
        let best = best_at_rate(&cases, 1.0);
        assert_eq!((best.found, best.threshold), (3, 0.6));
    }

    #[test]
    fn many_values_are_thinned_from_the_top() {
        let sorted: Vec<f64> = (0..10_000u16).rev().map(f64::from).collect();
        let some = spread(&sorted);
        assert_eq!((some[0], some[1]), (9_999.0, 9_998.0));
        assert!(some.len() <= THRESHOLDS_MAX && some.windows(2).all(|two| two[0] > two[1]));
    }
}

//! A series from its first to its last row through a host, each row judged before the next is known.

use super::bench::{Bench, Clean};
use super::events::{self, Span};
use super::host::Host;
use super::rows::{Found, Series, days};
use super::{plot, rows};

/// What a host said of all rows of a file.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Judged {
    /// Score of each row: of a single series what is new, of a machine what is odd.
    pub(crate) scores: Vec<f64>,
    /// Rows at which an episode opened, with their series.
    pub(crate) opened: Vec<(usize, usize)>,
    /// No detector gave a verdict on any row.
    pub(crate) is_mute: bool,
}

/// A single series with its scores.
pub(crate) struct Scored {
    pub(crate) found: Found,
    pub(crate) series: Series,
    pub(crate) interval_ms: u32,
    pub(crate) judged: Judged,
}

/// Streams one series.
pub(crate) fn judge(bench: &Bench<'_>, series: &Series) -> anyhow::Result<Judged> {
    let mut host = Host::new(bench.detectors, series.interval_ms(), 1)?;
    let mut judged = Judged::default();
    for (row, (time_ms, value)) in series.times_ms.iter().zip(&series.values).enumerate() {
        let verdict = host.row(*time_ms, &[*value])?;
        judged.scores.push(verdict.onset());
        judged.opened.extend(verdict.opened.iter().map(|column| (row, *column)));
    }
    host.end()?;
    judged.is_mute = host.is_mute();
    Ok(judged)
}

/// Reads and streams a file.
pub(crate) fn score(bench: &Bench<'_>, found: &Found) -> anyhow::Result<Scored> {
    let series = rows::read(&found.path)?;
    let judged = judge(bench, &series)?;
    if judged.is_mute {
        bench.say(&format!("{}: no detector gave a verdict on any row: its scores of 0 mean nothing", found.name()));
    }
    Ok(Scored { found: found.clone(), interval_ms: series.interval_ms(), series, judged })
}

impl Scored {
    /// False episodes outside of `spans` and of the rows that nobody judges by.
    pub(crate) fn clean(&self, spans: &[Span]) -> Clean {
        let rows = self.series.values.len();
        clean(rows, self.series.probation(), self.interval_ms, spans, &self.judged.opened)
    }

    /// Draws values, scores, a threshold and labelled spans.
    pub(crate) fn draw(&self, bench: &Bench<'_>, suite: &str, spans: &[Span], threshold: f64) -> anyhow::Result<()> {
        if !bench.plots {
            return Ok(());
        }
        let opened: Vec<usize> = self.judged.opened.iter().map(|(row, _)| *row).collect();
        let picture = plot::Picture {
            title: &self.found.name(),
            series: &[&self.series.values],
            scores: &self.judged.scores,
            threshold,
            spans,
            opened: &opened,
        };
        bench.write(format!("plots/{suite}/{}.svg", self.found.name()), &picture.svg())
    }
}

/// Days and false episodes of a host outside of `spans`, from the row `from` on.
pub(crate) fn clean(rows: usize, from: usize, interval_ms: u32, spans: &[Span], opened: &[(usize, usize)]) -> Clean {
    let labelled = events::covered(spans, from, rows);
    let outside = |row: usize| row >= from && !spans.iter().any(|span| span.grown(events::GRACE_ROWS).holds(row));
    let episodes = opened.iter().filter(|(row, _)| outside(*row)).count();
    let clean_rows = rows.saturating_sub(from + labelled);
    Clean { series_days: days(clean_rows, interval_ms), episodes: super::bench::number(episodes) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn episodes_in_labelled_spans_or_first_rows_are_not_false() {
        let spans = [Span { first: 500, last: 599 }];
        let opened = [(10, 0), (550, 0), (601, 0), (700, 0), (700, 1), (800, 0)];
        let clean = clean(1_000, 150, 86_400, &spans, &opened);
        assert_eq!(clean.episodes, 3.0);
        assert!((clean.series_days - 0.75).abs() < 1e-12);
    }
}

//! A series as two lines for a terminal: what it is and between what it moved, then its course.

use crate::recorder::read::RecordedSeries;
use vedette_protocol::time::WallTime;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const WIDTH: std::ops::RangeInclusive<usize> = 10..=400;

/// The highest value of each of `width` stretches of time as a bar; a stretch without one is blank.
pub(super) fn picture(series: &RecordedSeries, width: usize) -> String {
    let width = width.clamp(*WIDTH.start(), *WIDTH.end());
    let points = || series.points.iter().filter(|(_, value)| value.is_finite());
    let (low, high) = points()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (_, value)| (low.min(*value), high.max(*value)));
    let (Some((begin_ms, _)), Some((end_ms, last))) = (series.points.first(), series.points.last()) else {
        return String::new();
    };
    let mut stretches = vec![f64::NEG_INFINITY; width];
    for (at_ms, value) in points() {
        let at = place(at_ms.abs_diff(*begin_ms), end_ms.abs_diff(*begin_ms), width);
        stretches[at] = stretches[at].max(*value);
    }
    let bars: String = stretches.iter().map(|value| bar(*value, low, high)).collect();
    let unit = if series.meta.unit == "1" { String::new() } else { format!(" {}", series.meta.unit) };
    format!(
        "{}\n  {bars}\n  {} to {}: {low} to {high}{unit}, last {last}, {} samples\n",
        series.meta.display_name(),
        WallTime::from_unix_ms(*begin_ms),
        WallTime::from_unix_ms(*end_ms),
        series.points.len(),
    )
}

/// Which of `width` stretches of `whole` the moment `since` its begin is in.
fn place(since: u64, whole: u64, width: usize) -> usize {
    let at = u128::from(since) * width as u128 / (u128::from(whole) + 1);
    usize::try_from(at).unwrap_or(0).min(width - 1)
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "clamped to the bars that there are")]
fn bar(value: f64, low: f64, high: f64) -> char {
    if value == f64::NEG_INFINITY {
        return ' ';
    }
    let share = if high > low { (value - low) / (high - low) } else { 0.0 };
    BARS[((share * 8.0) as usize).min(BARS.len() - 1)]
}

#[cfg(test)]
mod tests {
    use super::*;
    use vedette_protocol::series::{SeriesKind, SeriesMeta};

    #[test]
    fn course_is_drawn_from_low_to_high_with_its_gap() {
        let meta = SeriesMeta {
            metric: "load".to_owned(),
            unit: "1".to_owned(),
            kind: SeriesKind::Gauge,
            attributes: Vec::new(),
            resolution: 1.0,
            lower: 0.0,
            upper: f64::NAN,
        };
        let points = [0, 1, 2, 3, 7, 8, 9].map(|n: i64| (n * 1_000, n as f64)).to_vec();
        let text = picture(&RecordedSeries { meta, points }, 10);
        let lines: Vec<_> = text.lines().collect();
        assert_eq!(lines[1], "  ▁▁▂▃   ▇██");
        assert!(lines[2].contains("0 to 9, last 9, 7 samples"), "{text}");
    }
}

//! A picture of a series: values, score, threshold, labelled spans, episodes. Scalable vector graphics of bounded size.

use super::bench::number;
use super::events::Span;
use crate::detector::svg::Svg;
use std::fmt::Write as _;

const WIDTH: f64 = 1_200.0;
const LEFT: f64 = 10.0;
const VALUES_HEIGHT: f64 = 260.0;
const STRIP_HEIGHT: f64 = 26.0;
const SCORE_HEIGHT: f64 = 120.0;
const TOP: f64 = 28.0;
/// Points of the whole picture; a series is drawn by the extremes of as many stretches as its share allows.
const POINTS_MAX: usize = 24_000;
const STRETCHES_MAX: usize = 1_100;
const SPANS_MAX: usize = 500;
const OPENED_MAX: usize = 1_000;

/// What is drawn.
pub(crate) struct Picture<'a> {
    /// Above it all.
    pub(crate) title: &'a str,
    /// Values, one list a series, all of the length of `scores`.
    pub(crate) series: &'a [&'a [f64]],
    /// Scores in [0, 1].
    pub(crate) scores: &'a [f64],
    /// Line across the scores.
    pub(crate) threshold: f64,
    /// Labelled spans.
    pub(crate) spans: &'a [Span],
    /// Rows at which an episode opened.
    pub(crate) opened: &'a [usize],
}

impl Picture<'_> {
    /// The picture.
    pub(crate) fn svg(&self) -> String {
        let strips = self.series.len().max(1);
        let strip = if strips == 1 { VALUES_HEIGHT } else { STRIP_HEIGHT };
        let scores_top = TOP + strip * number(strips) + 16.0;
        let height = scores_top + SCORE_HEIGHT + 24.0;
        let stretches = (POINTS_MAX / (2 * (strips + 1))).clamp(50, STRETCHES_MAX);
        let mut svg = Svg::new(WIDTH + 2.0 * LEFT, height);
        svg.text((LEFT, 18.0), "", self.title);
        for span in self.spans.iter().take(SPANS_MAX) {
            let (from, to) = (self.x(number(span.first)), self.x(number(span.last + 1)));
            svg.rect((from, TOP), ((to - from).max(1.0), height - TOP - 24.0), r##"fill="#fdd9b5""##);
        }
        for (at, values) in self.series.iter().enumerate() {
            let top = TOP + strip * number(at);
            let (low, high) = bounds(values);
            svg.line(&self.line(values, top, strip - 4.0, (low, high), stretches), "#1f4e79");
            if strips == 1 {
                svg.text((LEFT, top + 10.0), "", &format!("{high:.6}"));
                svg.text((LEFT, top + strip - 6.0), "", &format!("{low:.6}"));
            }
        }
        svg.line(&self.line(self.scores, scores_top, SCORE_HEIGHT, (0.0, 1.0), stretches), "#b03030");
        let y = scores_top + SCORE_HEIGHT * (1.0 - self.threshold.clamp(0.0, 1.0));
        svg.path(&format!("M{LEFT} {y:.1}h{WIDTH}"), r##"stroke="#888" stroke-dasharray="4 4""##);
        let legend = format!("score, threshold {:.3}; triangles: episodes; shaded: labels", self.threshold);
        svg.text((LEFT, height - 6.0), "", &legend);
        for row in self.opened.iter().take(OPENED_MAX) {
            let (x, y) = (self.x(number(*row) + 0.5), scores_top - 2.0);
            svg.path(&format!("M{x:.1} {y:.1}l-4 -8h8z"), r##"fill="#207020""##);
        }
        svg.finish()
    }

    fn x(&self, row: f64) -> f64 {
        LEFT + WIDTH * row / number(self.scores.len().max(1))
    }

    /// A line through the extremes of each stretch; gaps are left out.
    fn line(&self, values: &[f64], top: f64, height: f64, bounds: (f64, f64), stretches: usize) -> String {
        let (low, high) = bounds;
        let range = if high > low { high - low } else { 1.0 };
        let width = values.len().div_ceil(stretches).max(1);
        let mut path = String::new();
        for (at, stretch) in values.chunks(width).enumerate() {
            let finite = stretch.iter().enumerate().filter(|(_, value)| value.is_finite());
            let least = finite.clone().min_by(|a, b| a.1.total_cmp(b.1));
            let most = finite.max_by(|a, b| a.1.total_cmp(b.1));
            let (Some(least), Some(most)) = (least, most) else { continue };
            let mut points = [least, most];
            points.sort_by_key(|(offset, _)| *offset);
            for (offset, value) in &points[..if points[0].0 == points[1].0 { 1 } else { 2 }] {
                let x = self.x(number(at * width + offset) + 0.5);
                let y = top + height * (1.0 - (*value - low) / range);
                let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { "M" } else { "L" });
            }
        }
        path
    }
}

fn bounds(values: &[f64]) -> (f64, f64) {
    let finite = values.iter().copied().filter(|value| value.is_finite());
    let (low, high) = finite.fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), one| (low.min(one), high.max(one)));
    if low <= high { (low, high) } else { (0.0, 1.0) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn svg(series: &[&[f64]], scores: &[f64]) -> String {
        let spans = [Span { first: 1, last: 2 }];
        Picture { title: "a <b> & c", series, scores, threshold: 0.5, spans: &spans, opened: &[1] }.svg()
    }

    #[test]
    fn picture_shows_line_span_threshold_and_episode() {
        let svg = svg(&[&[1.0, f64::NAN, 3.0, 2.0]], &[0.0, 0.1, 0.9, 0.2]);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(svg.contains("a &lt;b&gt; &amp; c") && svg.contains("#fdd9b5") && svg.contains("#207020"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"));
        assert_eq!(svg.matches("<path").count(), 4);
    }

    #[test]
    fn size_does_not_grow_with_the_series() {
        let long: Vec<f64> = (0..300_000u32).map(|row| f64::from(row % 977)).collect();
        assert!(svg(&[&long], &long).len() < 80_000);
        assert!(svg(&[long.as_slice(); 40], &long).len() < 600_000);
    }

    #[test]
    fn nothing_and_infinity_are_drawn_without_numbers_that_are_none() {
        for values in [&[][..], &[f64::INFINITY, 1.0][..], &[f64::NAN][..]] {
            let svg = svg(&[values], values);
            assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        }
    }
}

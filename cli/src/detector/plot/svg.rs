//! A picture for a browser: a panel a series, values above, scores below, on one axis of time.

use super::{Panel, Strip, short};
use crate::detector::svg::Svg;
use crate::detector::window::time_text;
use std::fmt::Write as _;

const WIDTH: f64 = 1_200.0;
const LEFT: f64 = 70.0;
const RIGHT: f64 = 1_180.0;
const HEAD: f64 = 46.0;
const FOOT: f64 = 30.0;
const VALUES_HEIGHT: f64 = 110.0;
const SCORES_HEIGHT: f64 = 46.0;
/// A panel with its name and the space below.
const PANEL_HEIGHT: f64 = VALUES_HEIGHT + SCORES_HEIGHT + 46.0;

/// The whole document.
pub(crate) fn svg(title: &str, panels: &[Panel<'_>]) -> String {
    let height = HEAD + PANEL_HEIGHT * to_f64(panels.len()) + FOOT;
    let mut page = Page(Svg::new(WIDTH, height));
    page.0.text((LEFT, 24.0), r#"font-size="16" font-weight="bold""#, title);
    let begin = panels.iter().map(|panel| panel.strip.span_ms().0).min().unwrap_or(0);
    let end = panels.iter().map(|panel| panel.strip.span_ms().1).max().unwrap_or(1).max(begin + 1);
    let axis = Axis { begin, end };
    for (at, panel) in panels.iter().enumerate() {
        page.panel(panel, HEAD + PANEL_HEIGHT * to_f64(at), &axis);
    }
    page.times(&axis, height - FOOT);
    page.0.finish()
}

/// Time along the page.
struct Axis {
    begin: u64,
    end: u64,
}

impl Axis {
    fn x(&self, at_ms: u64) -> f64 {
        let share = to_f64(at_ms.clamp(self.begin, self.end) - self.begin) / to_f64(self.end - self.begin);
        LEFT + share * (RIGHT - LEFT)
    }
}

struct Page(Svg);

impl Page {
    fn panel(&mut self, panel: &Panel<'_>, top: f64, axis: &Axis) {
        let strip = panel.strip;
        let values_top = top + 18.0;
        let scores_top = values_top + VALUES_HEIGHT + 6.0;
        let scores_bottom = scores_top + SCORES_HEIGHT;
        let highest = f64::from(strip.highest_score());
        self.0.text((LEFT, top + 12.0), r#"font-weight="bold""#, panel.name);
        let told = format!("highest score {}", short(highest));
        self.0.text((RIGHT, top + 12.0), r#"text-anchor="end""#, &told);
        for (begin, end) in panel.windows {
            let (left, right) = (axis.x(*begin), axis.x(*end).max(axis.x(*begin) + 1.5));
            let size = (right - left, scores_bottom - values_top);
            self.0.rect((left, values_top), size, r##"fill="#fbd5d5""##);
        }
        for (top, height) in [(values_top, VALUES_HEIGHT), (scores_top, SCORES_HEIGHT)] {
            self.0.rect((LEFT, top), (RIGHT - LEFT, height), r##"fill="none" stroke="#ccc""##);
        }
        if let Some((low, high)) = strip.range() {
            self.label(values_top + 10.0, &short(high));
            self.label(values_top + VALUES_HEIGHT, &short(low));
            let y = |value: f64| values_top + VALUES_HEIGHT * (1.0 - (value - low) / (high - low));
            self.0.line(&values(strip, axis, y), "#2b6cb0");
        }
        self.label(scores_top + 10.0, &short(highest));
        self.label(scores_bottom, "0");
        self.learning(strip, axis, scores_top);
        let scale = if highest > 0.0 { highest } else { 1.0 };
        self.0.line(&scores(strip, axis, scores_bottom, SCORES_HEIGHT / scale), "#c2410c");
    }

    fn label(&mut self, y: f64, text: &str) {
        self.0.text((LEFT - 6.0, y), r##"text-anchor="end" fill="#777""##, text);
    }

    /// Says where the detector was still learning: values without a score at the beginning.
    fn learning(&mut self, strip: &Strip, axis: &Axis, top: f64) {
        let scored = strip.buckets.iter().position(|bucket| !bucket.score.is_nan()).unwrap_or(strip.buckets.len());
        let right = axis.x(strip.begin_ms + strip.width_ms * scored as u64);
        let left = axis.x(strip.begin_ms);
        if right - left > 2.0 {
            self.0.rect((left, top), (right - left, SCORES_HEIGHT), r##"fill="#eee""##);
        }
        if right - left > 60.0 {
            self.0.text((left + 6.0, top + 27.0), r##"fill="#777""##, "learning");
        }
    }

    fn times(&mut self, axis: &Axis, y: f64) {
        for (share, anchor) in [(0.0, "start"), (0.5, "middle"), (1.0, "end")] {
            let at_ms = axis.begin + whole(to_f64(axis.end - axis.begin) * share);
            let style = format!(r##"text-anchor="{anchor}" fill="#777""##);
            self.0.text((axis.x(at_ms), y + 8.0), &style, &time_text(at_ms));
        }
    }
}

/// A line through the values; each bucket's whole range, a gap where there is none.
fn values(strip: &Strip, axis: &Axis, y: impl Fn(f64) -> f64) -> String {
    let (mut data, mut pen) = (String::new(), 'M');
    for (at, bucket) in strip.buckets.iter().enumerate() {
        if !bucket.low.is_finite() || !bucket.high.is_finite() {
            pen = 'M';
            continue;
        }
        let x = axis.x(strip.begin_ms + strip.width_ms * at as u64);
        let _ = write!(data, "{pen}{x:.1} {:.1}", y(bucket.high));
        if bucket.low < bucket.high {
            let _ = write!(data, "L{x:.1} {:.1}", y(bucket.low));
        }
        pen = 'L';
    }
    data
}

fn scores(strip: &Strip, axis: &Axis, bottom: f64, scale: f64) -> String {
    let mut data = String::new();
    let scored = strip.buckets.iter().enumerate().filter(|(_, bucket)| !bucket.score.is_nan());
    for (at, bucket) in scored {
        // An infinite score fills its row.
        let height = f64::from(bucket.score).min(SCORES_HEIGHT / scale) * scale;
        if height > 0.2 {
            let x = axis.x(strip.begin_ms + strip.width_ms * at as u64);
            let _ = write!(data, "M{x:.1} {bottom}V{:.1}", bottom - height);
        }
    }
    data
}

#[expect(clippy::cast_precision_loss, reason = "for a picture")]
fn to_f64(number: impl TryInto<u64>) -> f64 {
    number.try_into().unwrap_or(u64::MAX) as f64
}

#[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "a share of a time that fits")]
fn whole(number: f64) -> u64 {
    number as u64
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_picture_is_well_formed_and_shows_what_it_was_given() {
        let mut strip = Strip::new(1_000);
        for second in 0..100_u32 {
            let score = if second < 30 { f32::NAN } else { 1.0 };
            strip.push(u64::from(second) * 1_000, f64::from(second % 7), score);
        }
        let panel = Panel { name: "a<b> & \"c\"", strip: &strip, windows: &[(50_000, 60_000)] };
        let picture = svg("spike 0.1.0", &[panel]);
        assert!(picture.starts_with("<svg ") && picture.ends_with("</svg>\n"));
        for needle in ["a&lt;b&gt; &amp; &quot;c&quot;", "#fbd5d5", "learning", "highest score 1<", "1970-01-01 00:00"]
        {
            assert!(picture.contains(needle), "{needle} is not in\n{picture}");
        }
        assert!(!picture.contains("NaN") && !picture.contains("inf"), "{picture}");
        let bars = picture.lines().find(|line| line.contains("#c2410c")).unwrap();
        assert_eq!(bars.matches('M').count(), 70, "learning has no bars: {bars}");
    }

    #[test]
    fn an_empty_series_is_an_empty_panel() {
        let strip = Strip::new(1_000);
        let picture = svg("t", &[Panel { name: "none", strip: &strip, windows: &[] }]);
        assert!(picture.contains("none") && !picture.contains("NaN"), "{picture}");
    }
}

//! The curves as a picture: a column for each set; recall against CPU and against bytes, delay against CPU.

use super::contender::{Contender, PERCENT};
use super::points::{Curve, Point};
use super::report::PROMISE;
use std::fmt::Write as _;

const PANEL_WIDTH: f64 = 270.0;
const PANEL_HEIGHT: f64 = 170.0;
const LEFT: f64 = 64.0;
const TOP: f64 = 56.0;
const GAP_X: f64 = 26.0;
const GAP_Y: f64 = 58.0;
/// Budgets at the edges, in shares.
const SHARES: [f64; 2] = [0.01, 1.3];
/// Times as late at the edges; what is later is drawn at the upper one.
const TIMES: [f64; 2] = [0.4, 40.0];
const INK: &str = "#333333";
const FAINT: &str = "#cfcfcf";
/// Contender, colour, and how far its marks are moved sideways, so that intervals do not hide one another.
const LINES: [(&str, &str, f64); 2] = [("uniform", "#c2571a", 2.5), ("planned", "#1f6fb2", -2.5)];

/// What a row of panels shows.
struct Row {
    title: &'static str,
    axis: &'static str,
    /// Share of the cost at full rate.
    share: fn(&Point) -> f64,
    /// Value and its interval.
    value: fn(&Point) -> (f64, [f64; 2]),
    is_delay: bool,
}

const ROWS: [Row; 3] = [
    Row {
        title: "found, of what full rate finds",
        axis: "CPU of detection, share of full rate",
        share: |point| point.cpu,
        value: |point| (point.found.kept.share(), point.found.kept.interval()),
        is_delay: false,
    },
    Row {
        title: "times as late as full rate (median)",
        axis: "CPU of detection, share of full rate",
        share: |point| point.cpu,
        value: |point| (point.found.late.ratio, point.found.late.ratio_interval),
        is_delay: true,
    },
    Row {
        title: "shown to the centre, of what full rate shows",
        axis: "bytes shipped, share of full rate",
        share: |point| point.bytes,
        value: |point| (point.shown.kept.share(), point.shown.kept.interval()),
        is_delay: false,
    },
];

/// The picture.
pub(super) fn svg(curves: &[Curve]) -> String {
    let width = LEFT + (PANEL_WIDTH + GAP_X) * count(curves.len().max(1)) + 10.0;
    let height = TOP + (PANEL_HEIGHT + GAP_Y) * count(ROWS.len());
    let mut svg = format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 {width:.0} {height:.0}\" width=\"{width:.0}\" \
         font-family=\"sans-serif\" font-size=\"11\" fill=\"{INK}\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#ffffff\"/>\n"
    );
    legend(&mut svg);
    for (column, curve) in curves.iter().enumerate() {
        for (at, row) in ROWS.iter().enumerate() {
            let left = LEFT + (PANEL_WIDTH + GAP_X) * count(column);
            let top = TOP + (PANEL_HEIGHT + GAP_Y) * count(at);
            Panel { row, left, top }.draw(&mut svg, curve, column == 0);
        }
    }
    svg.push_str("</svg>\n");
    svg
}

fn legend(svg: &mut String) {
    let mut x = LEFT;
    for (name, colour, _) in LINES {
        let _ = writeln!(
            svg,
            "<path d=\"M{x:.0} 14h22\" stroke=\"{colour}\" stroke-width=\"2\"/><circle cx=\"{:.0}\" cy=\"14\" r=\"3\" \
             fill=\"{colour}\"/><text x=\"{:.0}\" y=\"18\">{name}</text>",
            x + 11.0,
            x + 28.0
        );
        x += 100.0;
    }
    let (percent, floor, wanted, late) = PROMISE;
    let _ = writeln!(
        svg,
        "<text x=\"{x:.0}\" y=\"18\" fill=\"#666666\">bars: 95 % intervals; dashed: the promise at {percent} % (floor \
         {:.0} %, wanted {:.0} %, at most {late:.0} times as late)</text>",
        floor * 100.0,
        wanted * 100.0
    );
}

/// One set and one measure.
struct Panel<'a> {
    row: &'a Row,
    left: f64,
    top: f64,
}

impl Panel<'_> {
    fn draw(&self, svg: &mut String, curve: &Curve, is_first: bool) {
        let Self { row, left, top } = *self;
        if row.title == ROWS[0].title {
            let _ = writeln!(
                svg,
                "<text x=\"{left:.0}\" y=\"{:.0}\" font-size=\"13\" font-weight=\"bold\">{}</text>",
                top - 18.0,
                curve.set.name()
            );
        }
        let _ = writeln!(svg, "<text x=\"{left:.0}\" y=\"{:.0}\" fill=\"#666666\">{}</text>", top - 5.0, row.title);
        self.grid(svg, is_first);
        self.promise(svg);
        for (name, colour, aside) in LINES {
            let points = curve.line(name);
            // Full rate alone is no line of this contender.
            if points.len() > 1 {
                self.line(svg, &points, colour, aside);
            }
        }
    }

    fn grid(&self, svg: &mut String, is_first: bool) {
        let Self { row, left, top } = *self;
        let bottom = top + PANEL_HEIGHT;
        let budgets = PERCENT.into_iter().chain([100, 2]);
        for percent in budgets {
            let x = self.x(f64::from(percent) / 100.0);
            let _ = writeln!(
                svg,
                "<path d=\"M{x:.1} {top:.1}V{bottom:.1}\" stroke=\"{FAINT}\"/><text x=\"{x:.1}\" y=\"{:.1}\" \
                 text-anchor=\"middle\">{percent} %</text>",
                bottom + 14.0
            );
        }
        let marks: &[f64] = if row.is_delay { &[0.5, 1.0, 2.0, 5.0, 10.0, 20.0] } else { &[0.0, 0.25, 0.5, 0.75, 1.0] };
        for mark in marks {
            let y = self.y(*mark);
            let _ = writeln!(svg, "<path d=\"M{left:.1} {y:.1}h{PANEL_WIDTH}\" stroke=\"{FAINT}\"/>");
            if is_first {
                let label = if row.is_delay { format!("{mark} ×") } else { format!("{:.0} %", mark * 100.0) };
                let (x, y) = (left - 6.0, y + 4.0);
                let _ = writeln!(svg, "<text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"end\">{label}</text>");
            }
        }
        let (x, y) = (left + PANEL_WIDTH / 2.0, bottom + 28.0);
        let _ = writeln!(
            svg,
            "<rect x=\"{left:.1}\" y=\"{top:.1}\" width=\"{PANEL_WIDTH}\" height=\"{PANEL_HEIGHT}\" fill=\"none\" \
             stroke=\"#999999\"/><text x=\"{x:.1}\" y=\"{y:.1}\" text-anchor=\"middle\" fill=\"#666666\">{}</text>",
            row.axis
        );
    }

    /// The levels that are promised at one budget, around it.
    fn promise(&self, svg: &mut String) {
        let (percent, floor, wanted, late) = PROMISE;
        let levels: &[f64] = if self.row.is_delay { &[late] } else { &[floor, wanted] };
        let share = f64::from(percent) / 100.0;
        let (from, to) = (self.x(share / 1.6), self.x(share * 1.6));
        for level in levels {
            let y = self.y(*level);
            let _ = writeln!(
                svg,
                "<path d=\"M{from:.1} {y:.1}H{to:.1}\" stroke=\"{INK}\" stroke-width=\"1.5\" stroke-dasharray=\"4 3\"/>"
            );
        }
    }

    fn line(&self, svg: &mut String, points: &[&Point], colour: &str, aside: f64) {
        let mut path = String::new();
        for point in points {
            let (value, [low, high]) = (self.row.value)(point);
            let share = (self.row.share)(point);
            if value.is_nan() || share.is_nan() {
                continue;
            }
            let is_full = point.contender == Contender::Full;
            let x = self.x(share) + if is_full { 0.0 } else { aside };
            let y = self.y(value);
            let _ = write!(path, "{}{x:.1} {y:.1}", if path.is_empty() { "M" } else { "L" });
            if !is_full {
                let (low, high) = (self.y(low), self.y(high));
                let _ = writeln!(
                    svg,
                    "<path d=\"M{x:.1} {low:.1}V{high:.1}\" stroke=\"{colour}\" stroke-width=\"1.2\" opacity=\"0.6\"/>"
                );
            }
            let _ = writeln!(svg, "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"3\" fill=\"{colour}\"/>");
        }
        let _ = writeln!(svg, "<path d=\"{path}\" fill=\"none\" stroke=\"{colour}\" stroke-width=\"2\"/>");
    }

    /// Logarithmic, full rate to the left.
    fn x(&self, share: f64) -> f64 {
        let [low, high] = SHARES;
        let along = (share.clamp(low, high) / low).ln() / (high / low).ln();
        self.left + PANEL_WIDTH * (1.0 - along)
    }

    fn y(&self, value: f64) -> f64 {
        let up = if self.row.is_delay {
            let [low, high] = TIMES;
            (value.clamp(low, high) / low).ln() / (high / low).ln()
        } else {
            value.clamp(0.0, 1.0) / 1.05
        };
        self.top + PANEL_HEIGHT * (1.0 - up)
    }
}

fn count(number: usize) -> f64 {
    super::super::bench::number(number)
}

#[cfg(test)]
mod tests {
    use super::super::points::{Kept, Lateness, Seen};
    use super::super::subject::Set;
    use super::super::tally::Cost;
    use super::*;

    fn point(contender: Contender, share: f64, ratio: f64) -> Point {
        let kept = Kept { hits: 8, of: 10 };
        let late = Lateness { median_s: 60.0, ratio, ratio_interval: [1.0, f64::INFINITY] };
        let seen = Seen { all: kept, kept, late };
        Point {
            contender,
            values: share,
            cpu: share,
            guest: share,
            bytes: share,
            cost: Cost::default(),
            found: seen,
            shown: seen,
            false_per_day: 1.0,
            by_shape: Vec::new(),
        }
    }

    #[test]
    fn pictures_hold_every_point_and_no_number_that_is_none() {
        let uniform = |every| Contender::Uniform { every };
        let points = vec![
            point(Contender::Full, 1.0, 1.0),
            point(uniform(2), 0.5, f64::INFINITY),
            point(uniform(10), 0.1, f64::NAN),
            point(uniform(20), 0.0, 3.0),
        ];
        let curve = Curve { set: Set::Smd, hosts: 4, series: 38, days: 1.0, points };
        let svg = svg(&[curve]);
        assert!(svg.starts_with("<svg") && svg.ends_with("</svg>\n"));
        assert!(!svg.contains("NaN") && !svg.contains("inf"), "{svg}");
        // A legend's two; four points in each row of recall, three where one has no delay.
        assert_eq!(svg.matches("<circle").count(), 2 + 4 + 3 + 4);
        assert!(svg.contains(">SMD<") && svg.contains("full rate finds"));
    }
}

//! The table that people read.

use super::contender::Contender;
use super::points::{Curve, Kept, Lateness, Point, Seen};
use std::fmt::Write as _;

/// Where the promise is: budget in per cent, share kept, wanted share, and how many times as late at most.
pub(super) const PROMISE: (u32, f64, f64, f64) = (10, 0.85, 0.95, 2.0);

/// All sets in Markdown.
pub(super) fn markdown(curves: &[Curve]) -> String {
    let mut text = String::new();
    for curve in curves {
        let _ = writeln!(text, "{}\n", heading(curve));
        text += "| budget | contender | values | CPU | bytes | found | of full rate's [95 %] | median delay | \
                 times as late [95 %] | shown | times as late | false a day |\n|---|---|---|---|---|---|---|---|---|---|---|---|\n";
        for point in &curve.points {
            text += &row(point);
        }
        text.push('\n');
    }
    text
}

fn heading(curve: &Curve) -> String {
    let events = curve.points.first().map_or(0, |point| point.found.all.of);
    format!(
        "**{}**: {} hosts with {} series, {:.1} days judged, {events} events",
        curve.set.name(),
        curve.hosts,
        curve.series,
        curve.days
    )
}

fn row(point: &Point) -> String {
    let Seen { all, kept, late } = point.found;
    format!(
        "| {} % | {} | {} | {} | {} | {} of {} | {} | {} | {} | {} | {} | {:.2} |\n",
        point.contender.percent(),
        point.contender.name(),
        percent(point.values),
        percent(point.cpu),
        percent(point.bytes),
        all.hits,
        all.of,
        with_interval(kept),
        duration(late.median_s),
        times(late),
        percent(point.shown.kept.share()),
        factor(point.shown.late.ratio),
        point.false_per_day,
    )
}

/// Whether the promise is kept, in words; one line a contender and set.
pub(super) fn promise(curves: &[Curve]) -> String {
    let (percent_of, floor, wanted, late_max) = PROMISE;
    let mut text = String::new();
    for curve in curves {
        let at = |point: &&Point| point.contender.percent() == percent_of && point.contender != Contender::Full;
        for point in curve.points.iter().filter(at) {
            let Seen { kept, late, .. } = point.found;
            let recall = match kept.share() {
                share if share >= wanted => "as wanted",
                share if share >= floor => "over the floor",
                _ => "under the floor",
            };
            let lateness = if late.ratio <= late_max { "in time" } else { "late" };
            let _ = writeln!(
                text,
                "{} at {percent_of} %, {}: {} of what full rate finds ({recall}), {} as late ({lateness})",
                curve.set.name(),
                point.contender.name(),
                with_interval(kept),
                times(late)
            );
        }
    }
    text
}

fn percent(share: f64) -> String {
    match share * 100.0 {
        share if share.is_nan() => "-".to_owned(),
        share if share < 9.95 => format!("{share:.1} %"),
        share => format!("{share:.0} %"),
    }
}

fn with_interval(kept: Kept) -> String {
    if kept.of == 0 {
        return "-".to_owned();
    }
    let [low, high] = kept.interval();
    format!("{} of {}: {:.0} % [{:.0}, {:.0}]", kept.hits, kept.of, 100.0 * kept.share(), 100.0 * low, 100.0 * high)
}

fn times(late: Lateness) -> String {
    let [low, high] = late.ratio_interval;
    match late.ratio.is_nan() {
        true => "-".to_owned(),
        false => format!("{} [{}, {}]", factor(late.ratio), factor(low), factor(high)),
    }
}

fn factor(ratio: f64) -> String {
    match ratio {
        ratio if ratio.is_nan() => "-".to_owned(),
        ratio if ratio.is_infinite() => "never".to_owned(),
        ratio => format!("{ratio:.1}"),
    }
}

fn duration(seconds: f64) -> String {
    match seconds {
        seconds if seconds.is_nan() => "-".to_owned(),
        seconds if seconds.is_infinite() => "never".to_owned(),
        seconds if seconds < 120.0 => format!("{seconds:.0} s"),
        seconds => format!("{:.0} min", seconds / 60.0),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn figures_read_well_whatever_they_are() {
        assert_eq!([percent(0.0712), percent(0.5), percent(f64::NAN)], ["7.1 %", "50 %", "-"]);
        assert_eq!([factor(2.04), factor(f64::INFINITY), factor(f64::NAN)], ["2.0", "never", "-"]);
        assert_eq!([duration(12.0), duration(300.0), duration(f64::INFINITY)], ["12 s", "5 min", "never"]);
        assert_eq!(with_interval(Kept { hits: 8, of: 10 }), "8 of 10: 80 % [49, 94]");
        assert_eq!(with_interval(Kept { hits: 0, of: 0 }), "-");
    }
}

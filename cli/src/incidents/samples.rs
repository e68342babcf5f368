//! The true samples of an incident's members as rows of bars, the onset marked.

use crate::output::{items, text};
use serde_json::Value;
use std::fmt::Write as _;

const BARS: [char; 8] = ['▁', '▂', '▃', '▄', '▅', '▆', '▇', '█'];
const WIDTH: usize = 72;
/// Series that are drawn.
const DRAWN_MAX: usize = 16;

/// One picture for each series, or what to do if there is none.
pub(super) fn drawn(answer: &Value) -> String {
    let series = items(answer, "/series");
    let mut page = String::new();
    if series.is_empty() {
        page.push_str(&why_none(answer));
    }
    for one in series.iter().take(DRAWN_MAX) {
        page.push_str(&picture(one));
    }
    if series.len() > DRAWN_MAX {
        let _ = writeln!(page, "  and {} more series: `--output json` has all", series.len() - DRAWN_MAX);
    }
    if answer["is_cut"].as_bool() == Some(true) {
        page.push_str("  cut: there may be more samples or members than these, the earliest\n");
    }
    page.truncate(page.trim_end().len());
    page
}

fn why_none(answer: &Value) -> String {
    let count = |of: &str, what: &str| answer[of][what].as_u64();
    let id = text(answer, "/incident");
    let why = match answer["merged_into"].as_str() {
        Some(heir) => format!("its findings are in {heir} now: `vedette incidents samples {heir}`"),
        None if (count("members", "metrics"), count("members", "logs")) == (Some(0), Some(0)) => {
            "it has no findings".to_owned()
        }
        None if count("members", "metrics") == Some(0) => format!(
            "all its findings are of logs, which have none; `vedette incidents show {id}` has their templates, counts and \
             lines"
        ),
        None => match (count("directives", "issued"), count("directives", "in_effect")) {
            (Some(0), _) => "no directive was issued that asks its hosts for them".to_owned(),
            (Some(_), Some(0)) => "no agent has said that a directive for it is in effect".to_owned(),
            (Some(_), Some(_)) => {
                "directives are or were in effect, but brought none: not yet, or the hosts' flight recorders are off or \
                 lack that time"
                    .to_owned()
            }
            _ => "no directive brought any, or the hosts' flight recorders are off".to_owned(),
        },
    };
    format!("no samples: {why}\n")
}

fn picture(series: &Value) -> String {
    let points = items(series, "/points");
    let points: Vec<(i64, f64)> =
        points.iter().filter_map(|point| Some((point.get(0)?.as_i64()?, point.get(1)?.as_f64()?))).collect();
    let (Some((begin, _)), Some((end, _))) = (points.first(), points.last()) else { return String::new() };
    let (low, high) = points
        .iter()
        .fold((f64::INFINITY, f64::NEG_INFINITY), |(low, high), (_, value)| (low.min(*value), high.max(*value)));
    let mut columns = [f64::NEG_INFINITY; WIDTH];
    for (at, value) in &points {
        let column = &mut columns[column(*at, *begin, *end)];
        *column = column.max(*value);
    }
    let bars: String = columns.iter().map(|value| bar(*value, low, high)).collect();
    let attributes = series["attributes"].as_object().into_iter().flatten();
    let attributes: Vec<_> =
        attributes.map(|(key, value)| format!("{key}={}", value.as_str().unwrap_or("-"))).collect();
    let mut page =
        format!("  {} {} on {}\n", text(series, "/metric"), attributes.join(" "), text(series, "/host_name"));
    let _ = writeln!(page, "     {}", bars.trim_end());
    if let Some(onset) = series["onset_unix_ms"].as_i64().filter(|onset| (*begin..=*end).contains(onset)) {
        let _ = writeln!(page, "     {}^ onset", " ".repeat(column(onset, *begin, *end)));
    }
    let unit = series["unit"].as_str().filter(|unit| *unit != "1").map(|unit| format!(" {unit}")).unwrap_or_default();
    let seconds = (end - begin) / 1_000;
    let _ = writeln!(page, "     {low} to {high}{unit}, {} samples over {seconds} s", points.len());
    page
}

fn column(at: i64, begin: i64, end: i64) -> usize {
    let (since, whole) = (u128::from(at.abs_diff(begin)), u128::from(end.abs_diff(begin)) + 1);
    usize::try_from(since * WIDTH as u128 / whole).unwrap_or(0).min(WIDTH - 1)
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
    use serde_json::json;

    #[test]
    fn samples_are_drawn_with_their_onset() {
        let points: Vec<_> = (0..144).map(|n| json!([n * 1_000, if n < 72 { 1.0 } else { 9.0 }])).collect();
        let answer = json!({ "series": [{
            "metric": "system.cpu.utilization", "attributes": {"cpu.mode": "user"}, "host_name": "web-1", "unit": "1",
            "onset_unix_ms": 72_000, "points": points,
        }]});
        let page = drawn(&answer);
        let lines: Vec<_> = page.lines().collect();
        assert_eq!(lines[0], "  system.cpu.utilization cpu.mode=user on web-1");
        assert_eq!(lines[1], format!("     {}{}", "▁".repeat(36), "█".repeat(36)));
        assert_eq!(lines[2], format!("     {}^ onset", " ".repeat(36)));
        assert_eq!(lines[3], "     1 to 9, 144 samples over 143 s");
        assert!(!page.contains("cut:"), "{page}");
        let mut answer = answer;
        answer["is_cut"] = json!(true);
        assert!(drawn(&answer).ends_with("than these, the earliest"), "{}", drawn(&answer));
    }

    #[test]
    fn why_there_are_no_samples_is_said() {
        let why = |members: [u64; 2], directives: [u64; 2], heir: Option<&str>| {
            drawn(&json!({
                "incident": "inc-1", "series": [], "merged_into": heir,
                "members": { "metrics": members[0], "logs": members[1] },
                "directives": { "issued": directives[0], "in_effect": directives[1] },
            }))
        };
        assert!(why([1, 1], [0, 0], None).contains("no directive was issued"));
        assert!(why([1, 0], [2, 0], None).contains("no agent has said"));
        assert!(why([1, 0], [2, 1], None).contains("flight recorders are off or lack"));
        let of_logs = why([0, 2], [2, 1], None);
        assert!(of_logs.contains("of logs") && of_logs.contains("show inc-1`") && !of_logs.contains("directive"));
        assert!(why([0, 0], [1, 1], Some("inc-2")).ends_with("`vedette incidents samples inc-2`"));
        assert!(
            drawn(&json!({ "series": [] })).starts_with("no samples: no directive brought any, or"),
            "an older one"
        );
    }
}

//! One incident as a page for a person: what, since when, why together, evidence, candidate causes, what was done.

use crate::output::{items, text};
use serde_json::Value;
use std::fmt::Write as _;

/// The page, with the samples of the members as they were drawn.
pub(crate) fn chart(incident: &Value, samples: &str) -> String {
    let mut page = Page(String::new());
    page.head(incident);
    page.times(incident);
    page.members(incident);
    page.section("SAMPLES");
    page.line(samples);
    page.templates(incident);
    page.causes(incident);
    page.near_misses(incident);
    page.directives(incident);
    page.timeline(incident);
    page.0
}

struct Page(String);

impl Page {
    fn line(&mut self, line: impl AsRef<str>) {
        self.0.push_str(line.as_ref().trim_end());
        self.0.push('\n');
    }

    fn section(&mut self, title: &str) {
        self.line("");
        self.line(title);
    }

    fn head(&mut self, incident: &Value) {
        self.line(text(incident, "/title"));
        self.line("");
        let why = strings(incident, "/severity/why").join("; ");
        let resolution = match incident["resolution"].as_str() {
            Some(resolution) => format!(" ({resolution})"),
            None => String::new(),
        };
        self.line(format!("  incident  {}", text(incident, "/id")));
        self.line(format!("  state     {}{resolution}", text(incident, "/state")));
        self.line(format!("  severity  {} — {why}", text(incident, "/severity/value")));
        self.line(format!("  class     {}", text(incident, "/class")));
        self.line(format!("  opened    because {}", promotion(&incident["promotion"])));
        for (key, label) in [("follows", "follows"), ("merged_into", "merged in")] {
            if let Some(other) = incident[key].as_str() {
                self.line(format!("  {label:<9} {other}"));
            }
        }
        let entities: Vec<_> =
            items(incident, "/entities").iter().map(|e| format!("{} {}", text(e, "/kind"), text(e, "/name"))).collect();
        self.line(format!("  affected  {}", entities.join(", ")));
    }

    fn times(&mut self, incident: &Value) {
        self.section("SINCE WHEN");
        for key in ["onset", "detected", "opened", "acked", "mitigated", "resolved"] {
            if let Some(at) = incident["times"][key].as_str() {
                let after = delay(incident, "onset_unix_ms", &format!("{key}_unix_ms"));
                self.line(format!("  {key:<9} {at}  {after}"));
            }
        }
    }

    fn members(&mut self, incident: &Value) {
        self.section(&format!("FINDINGS ({}), and why they are together", items(incident, "/members").len()));
        for (n, member) in (1..).zip(items(incident, "/members")) {
            let finding = &member["finding"];
            let now = if finding["open"].as_bool() == Some(true) {
                "goes on"
            } else {
                finding["ended"].as_str().unwrap_or("cleared")
            };
            self.line(format!("  {n}. {} — {now}", text(finding, "/text")));
            self.line(format!(
                "     on {}, since {} ± {} ms",
                text(finding, "/host_name"),
                text(finding, "/onset"),
                text(finding, "/onset_uncertainty_ms")
            ));
            self.line(format!(
                "     observed {}, expected {}{}; surprise {} (−log10 p), score {}, detector {} {}",
                number(finding, "/observed"),
                number(finding, "/expected"),
                band(finding),
                number(finding, "/surprise"),
                number(finding, "/score"),
                text(finding, "/detector/name"),
                text(finding, "/detector/version"),
            ));
            self.line(format!("     {}", why(&member["why"])));
        }
    }

    fn templates(&mut self, incident: &Value) {
        if items(incident, "/templates").is_empty() {
            return;
        }
        self.section("LOG TEMPLATES");
        for template in items(incident, "/templates") {
            self.line(format!("  {} line(s) in {}", number(template, "/count"), text(template, "/source")));
            self.line(format!("     {}", text(template, "/text")));
            self.line(format!("     for example: {}", text(template, "/exemplar")));
        }
    }

    fn causes(&mut self, incident: &Value) {
        self.section(&format!("PROBABLE CAUSE: {}", text(incident, "/cause_verdict/value")));
        self.line(format!("  {}", text(incident, "/cause_verdict/why")));
        for (n, cause) in (1..).zip(items(incident, "/causes")) {
            let change = &cause["change"];
            let head = format!("{} {} on {}", text(change, "/kind"), text(change, "/path"), text(change, "/host_name"));
            self.line(format!("  {n}. {head} at {} (score {})", text(change, "/at"), number(cause, "/score")));
            for evidence in strings(cause, "/evidence") {
                self.line(format!("     · {evidence}"));
            }
        }
    }

    fn near_misses(&mut self, incident: &Value) {
        if items(incident, "/why_not").is_empty() {
            return;
        }
        self.section("CAME NEAR, BUT IS NOT PART OF IT");
        for miss in items(incident, "/why_not") {
            let what =
                miss["text"].as_str().map_or_else(|| format!("episode {}", text(miss, "/episode")), str::to_owned);
            self.line(format!("  {what} — {}", text(miss, "/reason")));
            self.line(format!("     {}", why(&miss["why"])));
        }
    }

    fn directives(&mut self, incident: &Value) {
        if items(incident, "/directives").is_empty() {
            return;
        }
        self.section("LOOKED AT MORE CLOSELY");
        for directive in items(incident, "/directives") {
            let effect = match directive["in_effect_after_ms"].as_i64() {
                Some(ms) => format!("in effect after {ms} ms"),
                None => "not reported in effect".to_owned(),
            };
            let sources = strings(directive, "/sources").join(", ");
            self.line(format!(
                "  {} sources {sources} until {}; {effect}",
                text(directive, "/issued"),
                text(directive, "/expires")
            ));
        }
    }

    fn timeline(&mut self, incident: &Value) {
        self.section("TIMELINE");
        for entry in items(incident, "/timeline") {
            self.line(format!("  {}  {}", text(entry, "/at"), text(entry, "/text")));
        }
    }
}

/// The terms that spoke for a membership, the strongest first.
fn why(why: &Value) -> String {
    if why["with"].is_null() {
        return "the first finding of this incident".to_owned();
    }
    let names = [
        ("host", "same host"),
        ("topology", "near by topology"),
        ("onset", "onsets close"),
        ("text", "words in common"),
        ("change", "shared change"),
    ];
    let mut terms: Vec<(f64, &str)> = names
        .iter()
        .map(|(key, name)| (why["terms"][*key].as_f64().unwrap_or(0.0), *name))
        .filter(|(value, _)| *value > 0.0)
        .collect();
    terms.sort_by(|a, b| b.0.total_cmp(&a.0));
    let terms: Vec<_> = terms.iter().map(|(value, name)| format!("{name} {value:.2}")).collect();
    let late = if why["late"].as_bool() == Some(true) { ", joined late" } else { "" };
    format!("together by: {} (sum {}{late})", terms.join(", "), number(why, "/score"))
}

fn promotion(promotion: &Value) -> String {
    let field = |rule: &str, key: &str| text(&promotion[rule], key);
    match promotion.as_str().or_else(|| promotion.as_object()?.keys().next().map(String::as_str)) {
        Some("two-findings") => "different findings belong together".to_owned(),
        Some(rule @ "finding-and-change") => {
            format!("a finding came right after {} was changed", field(rule, "/target"))
        }
        Some(rule @ "reopened") => format!("the same subject as in {} departed again", field(rule, "/incident")),
        Some(rule @ "extreme-and-persistent") => {
            format!("one finding with surprise {} persists", field(rule, "/surprise"))
        }
        _ => "-".to_owned(),
    }
}

fn band(finding: &Value) -> String {
    match (finding["lower"].as_f64(), finding["upper"].as_f64()) {
        (Some(lower), Some(upper)) => format!(" ({} to {})", short(lower), short(upper)),
        _ => String::new(),
    }
}

fn number(value: &Value, pointer: &str) -> String {
    value.pointer(pointer).and_then(Value::as_f64).map_or_else(|| "-".to_owned(), short)
}

/// Four significant digits.
fn short(value: f64) -> String {
    let magnitude = value.abs();
    if value == value.trunc() && magnitude < 1e7 {
        return format!("{value:.0}");
    }
    match magnitude {
        m if m >= 1e7 => format!("{value:.3e}"),
        m if m >= 100.0 => format!("{value:.1}"),
        m if m >= 1.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

fn delay(incident: &Value, from: &str, to: &str) -> String {
    let at = |key: &str| incident["times"][key].as_i64();
    let mut text = String::new();
    if let (Some(from), Some(to)) = (at(from), at(to)) {
        let ms = to - from;
        if ms > 0 {
            // Writing to a text does not fail.
            _ = write!(text, "+{}.{:03} s", ms / 1_000, ms % 1_000);
        }
    }
    text
}

fn strings(value: &Value, pointer: &str) -> Vec<String> {
    items(value, pointer).iter().filter_map(|item| item.as_str().map(str::to_owned)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    #[test]
    fn the_page_answers_what_since_when_why_together_and_why() {
        let incident = json!({
            "id": "inc-1", "title": "shop on web-1: CPU at 97 % instead of 10 %", "class": "cpu+log", "state": "detected",
            "severity": {"value": "high", "why": ["shop is declared tier 1"]},
            "promotion": {"finding-and-change": {"target": "/etc/shop.conf"}},
            "times": {"onset": "T0", "onset_unix_ms": 1000, "opened": "T1", "opened_unix_ms": 3500},
            "entities": [{"kind": "host", "name": "web-1"}],
            "members": [
                {"finding": {"text": "cpu", "host_name": "web-1", "open": true, "observed": 0.97, "expected": 0.1, "lower": 0.0, "upper": 0.2, "surprise": 9.1},
                 "why": {"with": null}},
                {"finding": {"text": "log", "open": false, "expected": null},
                 "why": {"with": "e1", "score": 0.75, "terms": {"host": 1.0, "onset": 0.5, "text": 0.0}}}],
            "cause_verdict": {"value": "candidate", "why": "/etc/shop.conf changed 2.0 s before the first onset"},
            "causes": [{"change": {"path": "/etc/shop.conf", "kind": "file-edited", "host_name": "web-1"}, "score": 0.9, "evidence": ["on web-1, where findings are"]}],
            "why_not": [{"text": "disk", "reason": "below-threshold", "why": {"with": "e1", "terms": {}}}],
            "directives": [{"sources": ["cpu"], "in_effect_after_ms": 40}],
        });
        let page = chart(&incident, "  a picture");
        for needle in [
            "shop on web-1: CPU",
            "high — shop is declared tier 1",
            "because a finding came right after /etc/shop.conf was changed",
            "opened    T1  +2.500 s",
            "observed 0.9700, expected 0.1000 (0 to 0.2000); surprise 9.10",
            "SAMPLES\n  a picture",
            "the first finding of this incident",
            "together by: same host 1.00, onsets close 0.50 (sum 0.7500)",
            "PROBABLE CAUSE: candidate",
            "1. file-edited /etc/shop.conf on web-1",
            "· on web-1, where findings are",
            "disk — below-threshold",
            "in effect after 40 ms",
        ] {
            assert!(page.contains(needle), "{needle:?} is not in:\n{page}");
        }
    }
}

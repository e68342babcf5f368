//! The demo's result: counts that must agree, the incident for people, the whole as JSON.

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// What became of every batch.
pub(crate) struct Frames {
    sent: u64,
    committed: u64,
    shed: u64,
    doubled: u64,
    quarantined: u64,
}

impl Frames {
    /// Puts the agent's last words beside the store's own count.
    pub(crate) fn reconcile(drained: &Value, ledger: &Value) -> Result<Self> {
        let agent = |name: &str| drained[name].as_u64().with_context(|| format!("`drained` names no {name}"));
        let store =
            |name: &str| ledger["total"][name].as_u64().with_context(|| format!("`fleet ledger` has no {name}"));
        Ok(Self {
            sent: agent("made")?,
            shed: agent("shed")?,
            committed: store("committed")?,
            doubled: store("doubled")?,
            quarantined: store("quarantined")?,
        })
    }

    pub(crate) fn to_json(&self) -> Value {
        let lost = i128::from(self.sent) - i128::from(self.committed) - i128::from(self.shed);
        json!({
            "sent": self.sent,
            "committed": self.committed,
            "shed": self.shed,
            "lost": i64::try_from(lost).unwrap_or(i64::MAX),
            "doubled": self.doubled,
            "quarantined": self.quarantined,
        })
    }
}

/// The incident's part of the report.
pub(crate) fn incident_summary(incident: &Value, opened_after_ms: u64, resolved: bool) -> Value {
    let texts = |list: &str, field: &[&str]| -> Vec<Value> {
        let items = incident[list].as_array().cloned().unwrap_or_default();
        items.iter().map(|item| field.iter().fold(item, |value, name| &value[*name]).clone()).collect()
    };
    let changes = texts("causes", &["change", "path"]).into_iter().filter(|path| !path.is_null()).collect::<Vec<_>>();
    json!({
        "id": incident["id"],
        "title": incident["title"],
        "opened_after_ms": opened_after_ms,
        "members": incident["members"].as_array().map_or(0, Vec::len),
        "templates": texts("templates", &["text"]),
        "changes": changes,
        "resolved": resolved,
    })
}

/// The incident with its evidence, on standard error.
pub(crate) fn print_incident(incident: &Value) {
    eprintln!("\n  {} · {}", text(&incident["id"]), text(&incident["title"]));
    for member in incident["members"].as_array().into_iter().flatten() {
        eprintln!("    {}", finding_line(&member["finding"]));
        eprintln!("        together because {}", terms(&member["why"]["terms"]));
    }
    for template in incident["templates"].as_array().into_iter().flatten() {
        eprintln!("    log template: {}", text(&template["text"]));
    }
    for cause in incident["causes"].as_array().into_iter().flatten().filter(|cause| !cause["change"].is_null()) {
        let before = cause["delta_ms"].as_f64().unwrap_or(f64::NAN) / 1000.0;
        eprintln!(
            "    candidate cause: {} changed {before:.1} s before what it explains",
            text(&cause["change"]["path"])
        );
    }
    eprintln!();
}

/// One finding in a line: series, seen, expected.
pub(crate) fn finding_line(finding: &Value) -> String {
    let number = |name: &str| finding[name].as_f64().map_or_else(|| "?".into(), |value| format!("{value:.4}"));
    format!(
        "{} by {}: saw {}, expected {} ({} to {}), onset {}",
        subject_name(&finding["subject"]),
        text(&finding["detector"]["name"]),
        number("observed"),
        number("expected"),
        number("lower"),
        number("upper"),
        text(&finding["onset"]),
    )
}

/// The whole report for people, on standard output.
pub(crate) fn print_human(report: &Value) {
    println!("{}", serde_json::to_string_pretty(report).unwrap_or_default());
}

fn subject_name(subject: &Value) -> String {
    let name = if subject["metric"].is_null() { &subject["text"] } else { &subject["metric"] };
    let attributes = subject["attributes"].as_object().filter(|attributes| !attributes.is_empty());
    attributes.map_or_else(|| text(name), |attributes| format!("{}{}", text(name), Value::Object(attributes.clone())))
}

fn terms(terms: &Value) -> String {
    let named = terms.as_object().into_iter().flatten();
    let mut named: Vec<(&String, f64)> = named.filter_map(|(name, value)| Some((name, value.as_f64()?))).collect();
    named.retain(|(_, value)| *value > 0.0);
    named.sort_by(|a, b| b.1.total_cmp(&a.1));
    named.iter().map(|(name, value)| format!("{name} {value:.2}")).collect::<Vec<_>>().join(", ")
}

fn text(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

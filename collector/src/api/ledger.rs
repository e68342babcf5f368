//! What was taken in: findings, changes, and the account of batches.

use super::agents::AGENTS_MAX;
use super::answer::ApiError;
use super::{LIST_MAX, Shared};
use crate::engine::{change_kind, subject};
use crate::store::{LedgerRow, Stored};
use axum::Json;
use axum::extract::{Query, State};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashMap;
use vedette_protocol::v1::{Change, Finding};

/// Query of the lists.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Page {
    limit: Option<usize>,
}

impl Page {
    fn max(&self) -> usize {
        self.limit.unwrap_or(100).min(LIST_MAX)
    }
}

/// `GET /api/v1/findings?limit=`
pub(super) async fn findings(State(api): State<Shared>, Query(page): Query<Page>) -> Result<Json<Value>, ApiError> {
    let findings = api.readers.quick(move |reader| reader.findings(page.max())).await?;
    let findings: Vec<_> = findings.iter().map(finding).collect();
    Ok(Json(json!({"findings": findings})))
}

/// `GET /api/v1/changes?limit=`
pub(super) async fn changes(State(api): State<Shared>, Query(page): Query<Page>) -> Result<Json<Value>, ApiError> {
    let changes = api.readers.quick(move |reader| reader.changes(page.max())).await?;
    let changes: Vec<_> = changes.iter().map(change).collect();
    Ok(Json(json!({"changes": changes})))
}

/// `GET /api/v1/ledger`
pub(super) async fn ledger(State(api): State<Shared>) -> Result<Json<Value>, ApiError> {
    let ledger = api.readers.long(|reader| reader.ledger()).await?;
    let agents = api.readers.quick(|reader| reader.agents(AGENTS_MAX)).await?;
    let names: HashMap<_, _> = agents.into_iter().map(|row| (row.host.to_string(), row.host_name)).collect();
    let sum = |count: fn(&LedgerRow) -> u64| ledger.iter().map(count).sum::<u64>();
    let total = json!({
        "committed": sum(|row| row.committed),
        "doubled": sum(|row| row.doubled),
        "duplicates_refused": sum(|row| row.duplicates_refused),
        "quarantined": sum(|row| row.quarantined),
        "reused": sum(|row| row.reused),
    });
    let stream = |row: &LedgerRow| {
        let mut stream = json!(row);
        stream["host_name"] = json!(names.get(&row.host));
        stream
    };
    let streams: Vec<_> = ledger.iter().map(stream).collect();
    Ok(Json(json!({"streams": streams, "total": total})))
}

fn finding(stored: &Stored<Finding>) -> Value {
    let finding = &stored.item;
    let onset = finding.onset.offset_by(stored.offset_ns);
    json!({
        "host": stored.host.to_string(),
        "received": stored.received.to_string(),
        "received_unix_ms": stored.received.unix_ms(),
        "episode": finding.episode.to_string(),
        "event": format!("{:?}", finding.event).to_lowercase(),
        "subject": subject(&finding.subject),
        "detector": {
            "name": finding.detector.name,
            "version": finding.detector.version,
            "digest": finding.detector.digest.to_string(),
        },
        "code": finding.code,
        "score": finding.score,
        "surprise": finding.surprise,
        "observed": finding.observed,
        "expected": finding.expected,
        "lower": finding.lower,
        "upper": finding.upper,
        "onset": onset.to_string(),
        "onset_unix_ms": onset.unix_ms(),
        "onset_uncertainty_ms": finding.onset_uncertainty_ms,
        "occurrences": finding.occurrences,
    })
}

fn change(stored: &Stored<Change>) -> Value {
    let change = &stored.item;
    let at = change.at.offset_by(stored.offset_ns);
    json!({
        "id": change.id.to_string(),
        "host": stored.host.to_string(),
        "kind": change_kind(change.kind),
        "path": change.target,
        "service": change.service,
        "at": at.to_string(),
        "at_unix_ms": at.unix_ms(),
        "before": change.before.map(|digest| digest.to_string()),
        "after": change.after.map(|digest| digest.to_string()),
    })
}

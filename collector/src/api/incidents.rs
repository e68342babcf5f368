//! Incidents, candidates, and the proof that nothing vanished.

use super::answer::ApiError;
use super::{LIST_MAX, Shared};
use crate::engine::{Event, IncidentState, OperatorCommand};
use crate::shell::core::{SharedEngine, json_of, lock};
use crate::shell::enrolment::ask;
use crate::store::{IncidentRow, Reader, StoreError, Write};
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::HashSet;
use std::fmt::Write as _;
use std::sync::Arc;

/// Most bytes of one list: incidents of a storm have a thousand members each.
const LIST_BYTES_MAX: usize = 32 << 20;

/// Query of the list.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Filter {
    state: Option<StateFilter>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum StateFilter {
    Open,
    Resolved,
}

/// `GET /api/v1/incidents`: open ones as the engine has them now, resolved ones as they were stored.
///
/// As many as fit [`LIST_BYTES_MAX`], newest first; `more` says how many did not.
pub(super) async fn list(
    State(api): State<Shared>,
    Query(filter): Query<Filter>,
) -> Result<impl IntoResponse, ApiError> {
    let rows = api.readers.quick(move |reader| stored(reader, filter.state)).await?;
    let engine = Arc::clone(&api.engine);
    // Beside the other calls: forming a thousand reports takes a while, each under a lock of its own.
    let text = tokio::task::spawn_blocking(move || listed(&engine, rows, filter.state)).await;
    text.map(as_json).map_err(|_| ApiError::going_down())
}

/// What was stored as open may have been resolved since, so it is looked at in any case.
fn stored(reader: &dyn Reader, state: Option<StateFilter>) -> Result<Vec<IncidentRow>, StoreError> {
    let mut rows = reader.incidents(true, LIST_MAX, LIST_BYTES_MAX)?;
    if state != Some(StateFilter::Open) {
        rows.extend(reader.incidents(false, LIST_MAX, LIST_BYTES_MAX)?);
    }
    Ok(rows)
}

fn listed(engine: &SharedEngine, mut rows: Vec<IncidentRow>, state: Option<StateFilter>) -> String {
    let known: HashSet<String> = rows.iter().map(|row| row.id.clone()).collect();
    let fresh = lock(engine).open_incidents().into_iter().filter(|(id, _)| !known.contains(id));
    rows.extend(fresh.map(|(id, opened)| IncidentRow { id, open: true, opened, json: String::new() }));
    rows.sort_by(|a, b| b.opened.cmp(&a.opened).then_with(|| a.id.cmp(&b.id)));
    let (mut text, mut listed, mut more) = (String::from("{\"incidents\":["), 0, 0);
    for row in rows {
        let open = row.open && lock(engine).incident_state(&row.id).is_none_or(IncidentState::is_open);
        if state.is_some_and(|wanted| (wanted == StateFilter::Open) != open) {
            continue;
        }
        let full = listed >= LIST_MAX || text.len() >= LIST_BYTES_MAX;
        let now = if row.open && !full { lock(engine).incident(&row.id) } else { None };
        let json = now.map_or(row.json, |report| json_of(&report));
        if full || json.is_empty() {
            more += 1;
            continue;
        }
        if listed > 0 {
            text.push(',');
        }
        text.push_str(&json);
        listed += 1;
    }
    // Writing to a text does not fail.
    _ = write!(text, "],\"more\":{more}}}");
    text
}

/// `GET /api/v1/incidents/{id}`
pub(super) async fn show(State(api): State<Shared>, Path(id): Path<String>) -> Result<impl IntoResponse, ApiError> {
    let now = lock(&api.engine).incident(&id);
    if let Some(report) = now {
        return Ok(as_json(json_of(&report)));
    }
    let incident = api.readers.quick(move |reader| reader.incident(&id)).await?;
    incident.map(|row| as_json(row.json)).ok_or_else(|| ApiError::not_found("incident"))
}

/// `POST /api/v1/incidents/{id}/acknowledge`, `/mitigate`, `/review`
pub(super) async fn command(
    State(api): State<Shared>,
    Path((id, command)): Path<(String, String)>,
) -> Result<Json<Value>, ApiError> {
    let command = match command.as_str() {
        "acknowledge" => OperatorCommand::Acknowledge,
        "mitigate" => OperatorCommand::Mitigate,
        "review" => OperatorCommand::Review,
        _ => return Err(ApiError::not_found("command")),
    };
    let possible = lock(&api.engine).may(&id, command).ok_or_else(|| ApiError::not_found("incident in memory"))?;
    possible.map_err(|error| ApiError::new(StatusCode::CONFLICT, error))?;
    let event = Event::Operator { incident: id, command };
    let write = Write::Event { at: api.clock.wall(), event };
    ask(&api.jobs, write).await.ok_or_else(ApiError::going_down)?;
    Ok(Json(json!({"accepted": true})))
}

/// `GET /api/v1/candidates`
pub(super) async fn candidates(State(api): State<Shared>) -> Json<Value> {
    let candidates = lock(&api.engine).candidates(LIST_MAX);
    Json(json!({"candidates": candidates}))
}

/// `GET /api/v1/conservation`
pub(super) async fn conservation(State(api): State<Shared>) -> Json<Value> {
    let (conservation, suppressed) = {
        let engine = lock(&api.engine);
        (engine.conservation(), engine.suppressed())
    };
    let by_reason: serde_json::Map<_, _> =
        suppressed.into_iter().map(|(reason, count)| (reason.name().to_owned(), count.into())).collect();
    let mut body = json!(conservation);
    body["holds"] = conservation.holds().into();
    body["suppressed_by_reason"] = Value::Object(by_reason);
    Json(body)
}

/// JSON that was made before.
fn as_json(text: String) -> impl IntoResponse {
    ([(header::CONTENT_TYPE, "application/json")], text)
}

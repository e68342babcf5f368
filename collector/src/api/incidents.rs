//! Incidents, candidates, and the proof that nothing vanished.

use super::answer::ApiError;
use super::{LIST_MAX, Shared};
use crate::engine::{Event, OperatorCommand};
use crate::shell::core::lock;
use crate::shell::enrolment::ask;
use crate::store::Write;
use axum::Json;
use axum::extract::{Path, Query, State};
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use serde::Deserialize;
use serde_json::{Value, json};

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

/// `GET /api/v1/incidents`
pub(super) async fn list(
    State(api): State<Shared>,
    Query(filter): Query<Filter>,
) -> Result<impl IntoResponse, ApiError> {
    let open = filter.state.map(|state| state == StateFilter::Open);
    let incidents = api.readers.quick(move |reader| reader.incidents(open, LIST_MAX)).await?;
    Ok(as_json(format!("{{\"incidents\":[{}]}}", incidents.join(","))))
}

/// `GET /api/v1/incidents/{id}`
pub(super) async fn show(State(api): State<Shared>, Path(id): Path<String>) -> Result<impl IntoResponse, ApiError> {
    let incident = api.readers.quick(move |reader| reader.incident(&id)).await?;
    incident.map(as_json).ok_or_else(|| ApiError::not_found("incident"))
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

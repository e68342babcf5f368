//! Answers that are not the thing asked for.

use super::Shared;
use crate::store::StoreError;
use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use serde_json::{Value, json};

/// A refusal or failure: `{"error": …}` with a status.
#[derive(Debug)]
pub(crate) struct ApiError {
    status: StatusCode,
    body: Value,
}

impl ApiError {
    pub(crate) fn new(status: StatusCode, error: impl std::fmt::Display) -> Self {
        Self { status, body: json!({"error": error.to_string()}) }
    }

    pub(crate) fn not_found(what: &str) -> Self {
        Self::new(StatusCode::NOT_FOUND, format!("there is no such {what}"))
    }

    pub(crate) fn bad(error: impl std::fmt::Display) -> Self {
        Self::new(StatusCode::BAD_REQUEST, error)
    }

    pub(crate) fn going_down() -> Self {
        Self::new(StatusCode::SERVICE_UNAVAILABLE, "the collector is going down")
    }

    /// Adds a field to the answer.
    pub(crate) fn with(mut self, key: &str, value: Value) -> Self {
        self.body[key] = value;
        self
    }
}

impl From<StoreError> for ApiError {
    fn from(error: StoreError) -> Self {
        tracing::error!(%error, "a query failed");
        Self::new(StatusCode::INTERNAL_SERVER_ERROR, "the store failed; the collector's log says why")
    }
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        (self.status, Json(self.body)).into_response()
    }
}

/// Does `work` whole even if the caller goes away in the middle or the call takes too long: what is half done would be
/// in the store but not in effect.
pub(super) async fn to_the_end<T: Send + 'static>(
    work: impl Future<Output = Result<T, ApiError>> + Send + 'static,
) -> Result<T, ApiError> {
    tokio::spawn(work).await.unwrap_or_else(|_| Err(ApiError::going_down()))
}

/// Ready as long as the writer takes jobs.
pub(super) async fn ready(State(api): State<Shared>) -> Response {
    if api.jobs.is_closed() {
        return (StatusCode::SERVICE_UNAVAILABLE, Json(json!({"ready": false, "reason": "the writer has ended"})))
            .into_response();
    }
    Json(json!({"ready": true})).into_response()
}

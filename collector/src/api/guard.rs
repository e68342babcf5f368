//! At the door: the token, a bound on calls under way, a deadline.

use super::Shared;
use super::answer::ApiError;
use crate::shell::counters::{Counters, count};
use axum::extract::{Request, State};
use axum::http::{StatusCode, header};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::Semaphore;
use vedette_protocol::ids::Digest;

const CALLS_MAX: usize = 64;
const DEADLINE: Duration = Duration::from_secs(10);

/// What the door knows.
#[derive(Clone)]
pub(super) struct Guard {
    expected: Digest,
    calls: Arc<Semaphore>,
    counters: Arc<Counters>,
}

impl Guard {
    pub(super) fn new(api: &Shared) -> Self {
        Self {
            expected: Digest::of(format!("Bearer {}", api.api_token).as_bytes()),
            calls: Arc::new(Semaphore::new(CALLS_MAX)),
            counters: Arc::clone(&api.counters),
        }
    }

    /// Digests of equal length are compared without stopping at the first difference: time tells nothing.
    fn knows(&self, request: &Request) -> bool {
        let given = request.headers().get(header::AUTHORIZATION).map_or(&[][..], header::HeaderValue::as_bytes);
        let given = Digest::of(given).0;
        self.expected.0.iter().zip(given).fold(0, |difference, (a, b)| difference | (a ^ b)) == 0
    }
}

/// Lets a call in or turns it away.
pub(super) async fn guard(State(guard): State<Guard>, request: Request, next: Next) -> Response {
    if !guard.knows(&request) {
        count(&guard.counters.api_unauthorised);
        let error = "the API token is missing or wrong; it is in the file `api-token` of the data directory";
        return ApiError::new(StatusCode::UNAUTHORIZED, error).into_response();
    }
    let Ok(_call) = guard.calls.try_acquire() else {
        count(&guard.counters.api_busy);
        return ApiError::new(StatusCode::SERVICE_UNAVAILABLE, "too many calls are under way").into_response();
    };
    count(&guard.counters.api_requests);
    match tokio::time::timeout(DEADLINE, next.run(request)).await {
        Ok(response) => response,
        Err(_) => {
            count(&guard.counters.api_timeout);
            ApiError::new(StatusCode::GATEWAY_TIMEOUT, "the call took too long").into_response()
        }
    }
}

//! The HTTP API: JSON on a loopback address, a bearer token on everything but the two health pages.

mod agents;
mod answer;
mod guard;
mod incidents;
mod ledger;
mod metrics;
mod policy;
mod samples;
mod serve;

use crate::shell::Denied;
use crate::shell::core::{Job, SharedEngine};
use crate::shell::counters::Counters;
use crate::shell::enrolment::Enrolment;
use crate::shell::health::Healths;
use crate::shell::policy::PolicyDesk;
use crate::shell::twins::Twins;
use crate::store::{Reader, StoreError};
use answer::ApiError;
use axum::Router;
use axum::extract::DefaultBodyLimit;
use axum::middleware::from_fn_with_state;
use axum::routing::{get, post};
use std::sync::Arc;
use tokio::sync::{Mutex, mpsc, watch};
use vedette_link::authority::Authority;
use vedette_link::clock::Clock;
use vedette_link::server::ServerHandle;
use vedette_protocol::signature::PublicKey;

/// Largest request body.
const BODY_BYTES_MAX: usize = 512 << 10;
/// Longest list in an answer.
const LIST_MAX: usize = 1_000;

/// What the handlers work with.
pub(crate) struct Api {
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) readers: Readers,
    pub(crate) engine: SharedEngine,
    pub(crate) server: ServerHandle,
    pub(crate) policy: Arc<PolicyDesk>,
    pub(crate) twins: Arc<Twins>,
    pub(crate) healths: Arc<Healths>,
    pub(crate) enrolment: Arc<Enrolment>,
    pub(crate) deny_list: Arc<Denied>,
    pub(crate) authority: Arc<Authority>,
    pub(crate) online_key: PublicKey,
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) api_token: String,
}

type Shared = Arc<Api>;

/// Two readers: quick look-ups do not wait behind long counts.
pub(crate) struct Readers {
    quick: Arc<Mutex<Box<dyn Reader>>>,
    long: Arc<Mutex<Box<dyn Reader>>>,
}

impl Readers {
    pub(crate) fn new(quick: Box<dyn Reader>, long: Box<dyn Reader>) -> Self {
        Self { quick: Arc::new(Mutex::new(quick)), long: Arc::new(Mutex::new(long)) }
    }

    async fn quick<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ApiError> {
        on(&self.quick, read).await
    }

    async fn long<T: Send + 'static>(
        &self,
        read: impl FnOnce(&dyn Reader) -> Result<T, StoreError> + Send + 'static,
    ) -> Result<T, ApiError> {
        on(&self.long, read).await
    }
}

/// Waits for the reader before it takes a thread: a call that is given up while it waits leaves nothing behind.
async fn on<T: Send + 'static>(
    reader: &Arc<Mutex<Box<dyn Reader>>>,
    read: impl FnOnce(&dyn Reader) -> Result<T, StoreError> + Send + 'static,
) -> Result<T, ApiError> {
    let reader = Arc::clone(reader).lock_owned().await;
    match tokio::task::spawn_blocking(move || read(&**reader)).await {
        Ok(found) => Ok(found?),
        Err(_) => Err(ApiError::going_down()),
    }
}

/// Serves until `stopped` says so.
pub(crate) async fn serve(listener: tokio::net::TcpListener, api: Api, stopped: watch::Receiver<bool>) {
    let counters = Arc::clone(&api.counters);
    serve::serve(listener, router(Arc::new(api)), &counters, stopped).await;
}

fn router(api: Shared) -> Router {
    let guarded = Router::new()
        .route("/api/v1/incidents", get(incidents::list))
        .route("/api/v1/incidents/{id}", get(incidents::show))
        .route("/api/v1/incidents/{id}/samples", get(samples::show))
        .route("/api/v1/incidents/{id}/{command}", post(incidents::command))
        .route("/api/v1/candidates", get(incidents::candidates))
        .route("/api/v1/conservation", get(incidents::conservation))
        .route("/api/v1/findings", get(ledger::findings))
        .route("/api/v1/changes", get(ledger::changes))
        .route("/api/v1/ledger", get(ledger::ledger))
        .route("/api/v1/fleet", get(agents::list))
        .route("/api/v1/fleet/tokens", post(agents::token))
        .route("/api/v1/fleet/{host}/revoke", post(agents::revoke))
        .route("/api/v1/ca", get(agents::ca))
        .route("/api/v1/policy", get(policy::show).put(policy::put))
        .route("/metrics", get(metrics::metrics))
        .layer(DefaultBodyLimit::max(BODY_BYTES_MAX))
        .layer(from_fn_with_state(guard::Guard::new(&api), guard::guard));
    Router::new()
        .merge(guarded)
        .route("/livez", get(|| async { "alive\n" }))
        .route("/readyz", get(answer::ready))
        .with_state(api)
}

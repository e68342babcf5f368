//! Takes newcomers in, or not.

use super::peers::{Seat, ServerHandle, Shared};
use super::verify::{CountingVerifier, count_refusal, identify};
use super::{Counters, ServerConfig, ServerError, ServerEvent, connection, count, enrolment};
use crate::authority::SERVER_LIFE;
use crate::meter::Meter;
use crate::{ALPN, ALPN_ENROLL, SERVER_NAME, meter, tls, transport};
use quinn::crypto::rustls::HandshakeData;
use quinn::{Connection, Endpoint, EndpointConfig, Incoming};
use quinn_proto::HashedConnectionIdGenerator;
use rustls::server::danger::ClientCertVerifier;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::{Instant, interval_at, timeout};
use vedette_protocol::session::CloseCode;

/// Events that wait for the collector; then connections wait too, and QUIC's windows hold the agents back.
const EVENT_QUEUE: usize = 256;

/// Time for a handshake.
const HANDSHAKE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time between two certificates of the endpoint: two thirds of their life.
const RENEWAL: Duration = Duration::from_secs(SERVER_LIFE.as_secs() * 2 / 3);

/// Time for all connections to be told of a shutdown.
const SHUTDOWN_TIMEOUT: Duration = Duration::from_secs(1);

/// The server's work; spawn [`ServerTask::run`].
#[derive(Debug)]
pub struct ServerTask {
    shared: Arc<Shared>,
    endpoint: Endpoint,
}

/// A server: its handle, its events, and the task that is to be spawned. Call within a tokio runtime.
///
/// # Errors
///
/// [`ServerError`] if a name is unusable or the address cannot be listened on.
pub fn listen(config: ServerConfig) -> Result<(ServerHandle, mpsc::Receiver<ServerEvent>, ServerTask), ServerError> {
    let counters = Arc::new(Counters::default());
    let verifier = tls::agent_verifier(&config.authority).map_err(ServerError::Tls)?;
    let quic = quic_config(&config, &verifier, &counters)?;
    let meter = Arc::new(Meter::default());
    let address = config.listen;
    let endpoint = meter::endpoint(address, endpoint_config(&config), Some(quic), Arc::clone(&meter))
        .map_err(|source| ServerError::Listen { address, source })?;
    let local = endpoint.local_addr().map_err(|source| ServerError::Listen { address, source })?;
    let (events, event_queue) = mpsc::channel(EVENT_QUEUE);
    let shared = Arc::new(Shared::new(config, verifier, counters, events, meter, local));
    Ok((ServerHandle { shared: Arc::clone(&shared) }, event_queue, ServerTask { shared, endpoint }))
}

/// With a fresh certificate for the endpoint.
fn quic_config(
    config: &ServerConfig,
    verifier: &Arc<dyn ClientCertVerifier>,
    counters: &Arc<Counters>,
) -> Result<quinn::ServerConfig, ServerError> {
    let mut names = vec![SERVER_NAME.to_owned()];
    names.extend(config.names.iter().filter(|name| *name != SERVER_NAME).cloned());
    let certificate = config.authority.issue_server(&names, config.clock.wall())?;
    let counting = CountingVerifier { inner: Arc::clone(verifier), counters: Arc::clone(counters) };
    tls::server(certificate, Arc::new(counting), Arc::clone(&config.clock))
        .map_err(|error| ServerError::Tls(error.to_string()))
}

/// Connection ids and reset tokens come from the authority's key, so a collector that was killed can tell agents at
/// once that their connections are gone, instead of letting them wait for their time-outs.
fn endpoint_config(config: &ServerConfig) -> EndpointConfig {
    let secret = config.authority.derived_secret("vedette stateless reset v1");
    let mut endpoint = EndpointConfig::new(Arc::new(ring::hmac::Key::new(ring::hmac::HMAC_SHA256, &secret)));
    let secret = config.authority.derived_secret("vedette connection ids v1");
    let key = u64::from_le_bytes(std::array::from_fn(|i| secret[i]));
    endpoint.cid_generator(move || Box::new(HashedConnectionIdGenerator::from_key(key)));
    endpoint
}

impl ServerTask {
    /// Serves until [`ServerHandle::shutdown`] or until nobody listens to the events.
    pub async fn run(self) {
        let Self { shared, endpoint } = self;
        let mut shutdown = shared.shutdown.subscribe();
        let mut renewal = interval_at(Instant::now() + RENEWAL, RENEWAL);
        loop {
            tokio::select! {
                _ = shutdown.wait_for(|down| *down) => break,
                () = shared.events.closed() => break,
                _ = renewal.tick() => shared.renew(&endpoint),
                incoming = endpoint.accept() => match incoming {
                    Some(incoming) => shared.consider(incoming),
                    None => break,
                },
            }
        }
        endpoint.close(transport::error_code(CloseCode::Shutdown), b"shutdown");
        let _ = timeout(SHUTDOWN_TIMEOUT, endpoint.wait_idle()).await;
    }
}

impl Shared {
    fn renew(&self, endpoint: &Endpoint) {
        match quic_config(&self.config, &self.verifier, &self.counters) {
            Ok(quic) => endpoint.set_server_config(Some(quic)),
            Err(error) => tracing::error!(%error, "the endpoint's certificate was not renewed"),
        }
    }

    fn consider(self: &Arc<Self>, incoming: Incoming) {
        let limits = &self.config.limits;
        let handshakes = self.handshakes.load(Ordering::Relaxed);
        if handshakes >= limits.handshakes_before_retry && !incoming.remote_address_validated() {
            count(&self.counters.retries);
            // Fails only for an address that has proved itself, which was excluded.
            let _ = incoming.retry();
            return;
        }
        let seat = self.take_seat(incoming.remote_address()).filter(|_| handshakes < limits.handshakes_max);
        let Some(seat) = seat else {
            count(&self.counters.refused_limits);
            return incoming.refuse();
        };
        self.handshakes.fetch_add(1, Ordering::Relaxed);
        tokio::spawn(Arc::clone(self).welcome(incoming, seat));
    }

    /// One newcomer from handshake to end; holds its seat as long.
    async fn welcome(self: Arc<Self>, incoming: Incoming, seat: Seat) {
        let handshake = async { timeout(HANDSHAKE_TIMEOUT, incoming.accept().ok()?).await.ok()?.ok() };
        let connection = handshake.await;
        self.handshakes.fetch_sub(1, Ordering::Relaxed);
        let Some(connection) = connection else { return count(&self.counters.handshakes_failed) };
        count(&self.counters.handshakes);
        match protocol(&connection).as_deref() {
            Some(ALPN) => self.admit(&connection).await,
            Some(ALPN_ENROLL) => self.enrol(&connection).await,
            _ => transport::close(&connection, CloseCode::Protocol),
        }
        drop(seat);
    }

    async fn enrol(self: &Arc<Self>, connection: &Connection) {
        let Some(seat) = self.take_strangers_seat(connection.remote_address()) else {
            count(&self.counters.refused_limits);
            return transport::close(connection, CloseCode::Limit);
        };
        enrolment::run(self, connection).await;
        drop(seat);
    }

    async fn admit(self: &Arc<Self>, connection: &Connection) {
        let now = self.config.clock.wall();
        match identify(connection, &*self.verifier, &*self.config.gate, now) {
            Ok(identity) => connection::run(self, connection, identity).await,
            Err(code) => {
                count_refusal(&self.counters, code);
                tracing::warn!(address = %connection.remote_address(), reason = code.reason(), "agent turned away");
                transport::close(connection, code);
            }
        }
    }
}

fn protocol(connection: &Connection) -> Option<Vec<u8>> {
    connection.handshake_data()?.downcast::<HandshakeData>().ok()?.protocol
}

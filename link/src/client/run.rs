//! Keeps one connection up.

use super::renewal::{Renewal, Renewed};
use super::session::{Ended, Ends, drive};
use super::{AgentState, ClientConfig, ClientError, Counters, LinkEvent};
use crate::authority::random;
use crate::clock::Clock;
use crate::identity::Identity;
use crate::outage::{Obstacle, Outage};
use crate::{meter, tls, transport};
use quinn::{Connection, Endpoint, EndpointConfig};
use std::net::{Ipv4Addr, Ipv6Addr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::{mpsc, watch};
use tokio::time::{Instant, sleep, timeout};
use vedette_protocol::session::CloseCode;
use vedette_protocol::session::agent::{AgentSession, EncodedBatch};
use vedette_protocol::session::backoff::Backoff;

/// Time for a name to be looked up and a handshake to be done, per address.
const TRY_TIMEOUT: Duration = Duration::from_secs(5);

/// Time for the collector to turn a host away once it has seen its certificate.
const VERDICT_TIMEOUT: Duration = Duration::from_secs(2);

/// Time for the last packets of a connection.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// A connection that lived this long was a success: the next delay is short again.
const STABLE: Duration = Duration::from_secs(5);

/// Least delay after a refusal that only a person can lift.
const REFUSED_DELAY: Duration = Duration::from_secs(60);

/// What the owner hands in.
#[derive(Debug)]
pub(super) struct Inputs {
    pub(super) urgent: mpsc::Receiver<EncodedBatch>,
    pub(super) bulk: mpsc::Receiver<EncodedBatch>,
    pub(super) state: watch::Receiver<AgentState>,
}

/// The link's work; spawn [`LinkTask::run`].
#[derive(Debug)]
pub struct LinkTask {
    config: ClientConfig,
    quic: quinn::ClientConfig,
    session: AgentSession,
    renewal: Renewal,
    backoff: Backoff,
    inputs: Inputs,
    events: mpsc::Sender<LinkEvent>,
    counters: Arc<Counters>,
}

impl LinkTask {
    pub(super) fn new(
        config: ClientConfig,
        inputs: Inputs,
        events: mpsc::Sender<LinkEvent>,
        counters: Arc<Counters>,
    ) -> Result<Self, ClientError> {
        let quic = tls::client(Some(&config.identity), &config.authorities_der, Arc::clone(&config.clock))
            .map_err(|error| ClientError::Tls(error.to_string()))?;
        let renewal = Renewal::of(&config.identity, u64::from_le_bytes(random()));
        let session = AgentSession::new(config.agent.clone(), u64::from_le_bytes(random()));
        let backoff = Backoff::new(u64::from_le_bytes(random()));
        Ok(Self { config, quic, session, renewal, backoff, inputs, events, counters })
    }

    /// Connects, and connects again, until drained or until nobody listens to the events.
    pub async fn run(mut self) {
        loop {
            let events = self.events.clone();
            let ended = tokio::select! {
                () = events.closed() => return,
                ended = self.connect_once() => ended,
            };
            let outage = match ended {
                Ended::Drained => {
                    let _ = self.events.send(LinkEvent::Drained).await;
                    return;
                }
                Ended::Unwatched => return,
                Ended::Renewed(renewed) => {
                    let told = self.adopt(renewed);
                    if self.events.send(told).await.is_err() {
                        return;
                    }
                    continue;
                }
                Ended::Lost(outage) => outage,
            };
            if self.events.send(LinkEvent::Disconnected { outage }).await.is_err() {
                return;
            }
            tokio::select! {
                () = events.closed() => return,
                () = sleep(self.backoff.next_delay()) => {}
            }
        }
    }

    /// Shows the new certificate from the next connection on.
    fn adopt(&mut self, renewed: Renewed) -> LinkEvent {
        let Renewed { identity, authorities_der } = renewed;
        let trusted = if authorities_der.is_empty() { &self.config.authorities_der } else { &authorities_der };
        match tls::client(Some(&identity), trusted, Arc::clone(&self.config.clock)) {
            Ok(quic) => {
                self.quic = quic;
                self.renewal = Renewal::of(&identity, u64::from_le_bytes(random()));
                self.config.authorities_der = trusted.clone();
                self.config.identity = identity.clone();
                LinkEvent::Renewed { identity, authorities_der }
            }
            Err(error) => {
                self.renewal.put_off(self.config.clock.mono());
                LinkEvent::NotRenewed { reason: error.to_string() }
            }
        }
    }

    async fn connect_once(&mut self) -> Ended {
        let ClientConfig { address, server_name, .. } = &self.config;
        match dial(address, server_name, &self.quic, &self.counters.meter).await {
            Ok(Dialled { connection, endpoint }) => {
                let ended = self.drive(connection).await;
                // The close frame has to leave before a runtime that ends takes the socket away.
                let _ = timeout(CLOSE_TIMEOUT, endpoint.wait_idle()).await;
                ended
            }
            Err(outage) => {
                self.counters.failed_tries.fetch_add(1, Ordering::Relaxed);
                Ended::Lost(outage)
            }
        }
    }

    async fn drive(&mut self, connection: Connection) -> Ended {
        let since = Instant::now();
        let ends = Ends {
            connection: &connection,
            session: &mut self.session,
            renewal: &mut self.renewal,
            config: &self.config,
            events: &self.events,
            counters: &self.counters,
        };
        let ended = drive(ends, &mut self.inputs).await;
        let session = &mut self.session;
        session.handle_disconnected();
        let lost = connection.stats().path.lost_packets;
        self.counters.lost_packets.fetch_add(lost, Ordering::Relaxed);
        self.counters.stray_acks.store(session.stray_acks(), Ordering::Relaxed);
        if since.elapsed() >= STABLE {
            self.backoff.reset();
        }
        if let Some(delay) = ended.retry_after {
            self.backoff.retry_after(delay);
        }
        // Another agent with this identity does the same: they take turns of minutes, not of milliseconds.
        if matches!(&ended.ended, Ended::Lost(outage) if outage.obstacle.needs_a_person()) {
            self.backoff.retry_after(REFUSED_DELAY);
        }
        ended.ended
    }
}

/// A connection with the endpoint that it runs on.
pub(crate) struct Dialled {
    pub(crate) connection: Connection,
    pub(crate) endpoint: Endpoint,
}

/// Looks the address up and connects to the first of its addresses that answers.
pub(crate) async fn dial(
    address: &str,
    server_name: &str,
    quic: &quinn::ClientConfig,
    meter: &Arc<meter::Meter>,
) -> Result<Dialled, Outage> {
    let unreachable = |why: &dyn std::fmt::Display| Outage::new(Obstacle::Unreachable, format!("{address}: {why}"));
    let lookup = timeout(TRY_TIMEOUT, tokio::net::lookup_host(address)).await;
    let addresses = lookup.map_err(|_| unreachable(&"name lookup timed out"))?;
    let mut outage = unreachable(&"no address");
    for remote in addresses.map_err(|error| unreachable(&error))? {
        match dial_one(remote, server_name, quic, meter).await {
            Ok(dialled) => return Ok(dialled),
            Err(why) => outage = Outage::new(why.obstacle, format!("{remote}: {}", why.detail)),
        }
    }
    Err(outage)
}

async fn dial_one(
    remote: SocketAddr,
    server_name: &str,
    quic: &quinn::ClientConfig,
    meter: &Arc<meter::Meter>,
) -> Result<Dialled, Outage> {
    let unreachable = |why: String| Outage::new(Obstacle::Unreachable, why);
    let local = if remote.is_ipv6() { (Ipv6Addr::UNSPECIFIED, 0).into() } else { (Ipv4Addr::UNSPECIFIED, 0).into() };
    let endpoint = meter::endpoint(local, EndpointConfig::default(), None, Arc::clone(meter))
        .map_err(|error| unreachable(format!("no UDP socket: {error}")))?;
    let connecting =
        endpoint.connect_with(quic.clone(), remote, server_name).map_err(|error| unreachable(error.to_string()))?;
    let connected = timeout(TRY_TIMEOUT, connecting).await.map_err(|_| unreachable("no answer".to_owned()))?;
    let connection = connected.map_err(|error| Outage::of_dial(&error))?;
    Ok(Dialled { connection, endpoint })
}

/// Whether the collector lets this host in. Says no hello, so an agent that is connected stays so.
///
/// # Errors
///
/// What stands in between; [`Obstacle::HostUntrusted`] also if certificate, key or authorities cannot be used at all.
pub async fn probe(
    address: &str,
    server_name: &str,
    identity: &Identity,
    authorities_der: &[Vec<u8>],
    clock: Arc<dyn Clock>,
) -> Result<(), Outage> {
    let quic = tls::client(Some(identity), authorities_der, clock)
        .map_err(|error| Outage::new(Obstacle::HostUntrusted, error.to_string()))?;
    let Dialled { connection, endpoint } = dial(address, server_name, &quic, &Arc::default()).await?;
    let closed = timeout(VERDICT_TIMEOUT, connection.closed()).await;
    transport::close(&connection, CloseCode::Done);
    let _ = timeout(CLOSE_TIMEOUT, endpoint.wait_idle()).await;
    closed.map_or(Ok(()), |error| Err(Outage::of(&error)))
}

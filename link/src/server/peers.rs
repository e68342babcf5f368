//! Who is connected, and the handle through which the collector speaks to them.

use super::{ConnectionId, Counters, ServerConfig, ServerEvent, ServerLimits, ServerStats, count, limited_address};
use crate::meter::Meter;
use crate::transport;
use quinn::Connection;
use rustls::server::danger::ClientCertVerifier;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::{IpAddr, SocketAddr};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::sync::{Semaphore, mpsc, watch};
use vedette_protocol::ids::{HostId, QueueEpoch, Sequence};
use vedette_protocol::session::CloseCode;
use vedette_protocol::signature::Signed;
use vedette_protocol::v1::{Outcome, RenewReply};

/// Commands that wait for one connection; an agent that lets more pile up is closed and comes back.
const COMMAND_QUEUE: usize = 256;

/// What the collector wants of one connection.
#[derive(Debug)]
pub(super) enum Command {
    Ack(QueueEpoch, Vec<(Sequence, Outcome)>),
    Policy(Signed),
    Directive(Signed),
    Renew(RenewReply),
    BeginAnew(QueueEpoch),
    RetryAfter(u32),
}

/// What all connections share.
#[derive(Debug)]
pub(super) struct Shared {
    pub(super) config: ServerConfig,
    pub(super) verifier: Arc<dyn ClientCertVerifier>,
    pub(super) counters: Arc<Counters>,
    pub(super) events: mpsc::Sender<ServerEvent>,
    /// Permits for batches above the free size.
    pub(super) large_batches: Semaphore,
    pub(super) handshakes: AtomicUsize,
    pub(super) recheck: watch::Sender<u64>,
    pub(super) shutdown: watch::Sender<bool>,
    pub(super) meter: Arc<Meter>,
    pub(super) local: SocketAddr,
    next_connection: AtomicU64,
    peers: Mutex<Peers>,
    seats: Mutex<Seats>,
    /// Of those who have a seat, the ones without a certificate.
    strangers: Mutex<Seats>,
}

/// Connections in all and by address.
#[derive(Debug, Default)]
struct Seats {
    taken: usize,
    by_address: HashMap<IpAddr, usize>,
}

#[derive(Debug, Default)]
struct Peers {
    connections: HashMap<ConnectionId, Peer>,
    hosts: HashMap<HostId, ConnectionId>,
}

#[derive(Debug)]
struct Peer {
    host: HostId,
    connection: Connection,
    commands: mpsc::Sender<Command>,
}

impl Shared {
    pub(super) fn new(
        config: ServerConfig,
        verifier: Arc<dyn ClientCertVerifier>,
        counters: Arc<Counters>,
        events: mpsc::Sender<ServerEvent>,
        meter: Arc<Meter>,
        local: SocketAddr,
    ) -> Self {
        Self {
            large_batches: Semaphore::new(config.limits.large_batches_max),
            config,
            verifier,
            counters,
            events,
            handshakes: AtomicUsize::new(0),
            recheck: watch::Sender::new(0),
            shutdown: watch::Sender::new(false),
            meter,
            local,
            next_connection: AtomicU64::new(1),
            peers: Mutex::default(),
            seats: Mutex::default(),
            strangers: Mutex::default(),
        }
    }

    /// A place for one more connection from `address`, given back when the seat is dropped.
    pub(super) fn take_seat(self: &Arc<Self>, address: SocketAddr) -> Option<Seat> {
        let ServerLimits { connections_max, connections_per_address_max, .. } = self.config.limits;
        self.sit(|shared| &shared.seats, address, connections_max, connections_per_address_max)
    }

    /// A place for one more host that has no certificate yet. Strangers must not take the agents' places.
    pub(super) fn take_strangers_seat(self: &Arc<Self>, address: SocketAddr) -> Option<Seat> {
        let ServerLimits { enrolments_max, enrolments_per_address_max, .. } = self.config.limits;
        self.sit(|shared| &shared.strangers, address, enrolments_max, enrolments_per_address_max)
    }

    fn sit(self: &Arc<Self>, row: Row, address: SocketAddr, most: usize, most_here: usize) -> Option<Seat> {
        let address = limited_address(address);
        let mut seats = lock(row(self));
        let here = seats.by_address.get(&address).copied().unwrap_or(0);
        if seats.taken >= most || here >= most_here {
            return None;
        }
        seats.taken += 1;
        seats.by_address.insert(address, here + 1);
        Some(Seat { shared: Arc::clone(self), row, address })
    }

    /// Registers a connection; an older one of the same host is closed: the agent has evidently lost it.
    pub(super) fn enter(
        self: &Arc<Self>,
        host: HostId,
        connection: &Connection,
    ) -> (Registered, mpsc::Receiver<Command>) {
        let id = ConnectionId(self.next_connection.fetch_add(1, Ordering::Relaxed));
        let (commands, queue) = mpsc::channel(COMMAND_QUEUE);
        let mut peers = lock(&self.peers);
        peers.connections.insert(id, Peer { host, connection: connection.clone(), commands });
        if let Some(older) = peers.hosts.insert(host, id).and_then(|older| peers.connections.get(&older)) {
            count(&self.counters.replaced);
            transport::close(&older.connection, CloseCode::Replaced);
        }
        (Registered { shared: Arc::clone(self), id }, queue)
    }

    fn leave(&self, id: ConnectionId) {
        let mut peers = lock(&self.peers);
        if let Some(peer) = peers.connections.remove(&id)
            && peers.hosts.get(&peer.host) == Some(&id)
        {
            peers.hosts.remove(&peer.host);
        }
    }
}

/// Nothing that holds these locks can panic half-way through a change.
fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Where a seat is.
type Row = fn(&Shared) -> &Mutex<Seats>;

/// One of the connections that an address may have.
#[derive(Debug)]
pub(super) struct Seat {
    shared: Arc<Shared>,
    row: Row,
    address: IpAddr,
}

impl Drop for Seat {
    fn drop(&mut self) {
        let mut seats = lock((self.row)(&self.shared));
        seats.taken -= 1;
        if let Entry::Occupied(mut here) = seats.by_address.entry(self.address) {
            *here.get_mut() -= 1;
            if *here.get() == 0 {
                here.remove();
            }
        }
    }
}

/// A connection that commands can reach, until dropped.
#[derive(Debug)]
pub(super) struct Registered {
    shared: Arc<Shared>,
    pub(super) id: ConnectionId,
}

impl Drop for Registered {
    fn drop(&mut self) {
        self.shared.leave(self.id);
    }
}

/// Speaks to connected agents. Never waits; cheap to clone. Each command says whether the agent is still there.
#[derive(Clone, Debug)]
pub struct ServerHandle {
    pub(super) shared: Arc<Shared>,
}

impl ServerHandle {
    /// What became of batches; call only after their commit.
    pub fn ack(&self, connection: ConnectionId, queue_epoch: QueueEpoch, outcomes: Vec<(Sequence, Outcome)>) -> bool {
        self.command(connection, Command::Ack(queue_epoch, outcomes))
    }

    /// Sends a signed policy.
    pub fn send_policy(&self, connection: ConnectionId, policy: Signed) -> bool {
        self.command(connection, Command::Policy(policy))
    }

    /// Sends a signed directive.
    pub fn send_directive(&self, connection: ConnectionId, directive: Signed) -> bool {
        self.command(connection, Command::Directive(directive))
    }

    /// Answers a [`ServerEvent::Renew`].
    pub fn renew(&self, connection: ConnectionId, reply: RenewReply) -> bool {
        self.command(connection, Command::Renew(reply))
    }

    /// Tells an agent to leave its queue epoch: sequences of it were used twice.
    pub fn begin_anew(&self, connection: ConnectionId, queue_epoch: QueueEpoch) -> bool {
        self.command(connection, Command::BeginAnew(queue_epoch))
    }

    /// Sends an agent away for a while.
    pub fn retry_after(&self, connection: ConnectionId, delay_ms: u32) -> bool {
        self.command(connection, Command::RetryAfter(delay_ms))
    }

    /// Closes a connection.
    pub fn close(&self, connection: ConnectionId, code: CloseCode) {
        if let Some(peer) = lock(&self.shared.peers).connections.get(&connection) {
            transport::close(&peer.connection, code);
        }
    }

    /// Asks the [`super::Gate`] about every live connection again, as after a revocation.
    pub fn recheck(&self) {
        self.shared.recheck.send_modify(|generation| *generation += 1);
    }

    /// The live connection of a host.
    pub fn connection_of(&self, host: HostId) -> Option<ConnectionId> {
        lock(&self.shared.peers).hosts.get(&host).copied()
    }

    /// All live connections.
    pub fn connections(&self) -> Vec<(ConnectionId, HostId)> {
        lock(&self.shared.peers).connections.iter().map(|(id, peer)| (*id, peer.host)).collect()
    }

    /// Counts so far.
    pub fn stats(&self) -> ServerStats {
        self.shared.counters.snapshot()
    }

    /// Bytes of UDP payload received and sent.
    pub fn udp_bytes(&self) -> (u64, u64) {
        (self.shared.meter.bytes_received(), self.shared.meter.bytes_sent())
    }

    /// The address in use, with the port that was given.
    pub fn local_address(&self) -> SocketAddr {
        self.shared.local
    }

    /// Closes all connections and ends the task.
    pub fn shutdown(&self) {
        self.shared.shutdown.send_replace(true);
    }

    fn command(&self, connection: ConnectionId, command: Command) -> bool {
        let peers = lock(&self.shared.peers);
        let Some(peer) = peers.connections.get(&connection) else { return false };
        match peer.commands.try_send(command) {
            Ok(()) => true,
            Err(mpsc::error::TrySendError::Closed(_)) => false,
            Err(mpsc::error::TrySendError::Full(_)) => {
                count(&self.shared.counters.slow_peers);
                transport::close(&peer.connection, CloseCode::Slow);
                false
            }
        }
    }
}

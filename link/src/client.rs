//! The agent's end: one connection that is always being restored.
//!
//! [`connect`] gives a handle, a stream of events and the task to spawn. After [`LinkEvent::Connected`] the owner hands
//! in everything unacknowledged again, oldest first; what the link still holds of it is not sent twice. Findings have
//! a queue of their own, so a full queue of bulk delays none. The link renews its certificate by itself.

mod renewal;
mod run;
mod session;

use crate::clock::Clock;
use crate::identity::Identity;
use crate::meter::Meter;
use crate::outage::Outage;
pub use run::LinkTask;
pub use run::probe;
pub(crate) use run::{Dialled, dial};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::{mpsc, watch};
use vedette_protocol::ids::Sequence;
pub use vedette_protocol::session::agent::EncodedBatch;
use vedette_protocol::session::agent::{AgentIdentity, BatchCounts};
use vedette_protocol::signature::Signed;
use vedette_protocol::v1::{Class, Health, InEffect, Outcome};

/// Findings that wait for the connection; more are given back to the sender.
const URGENT_QUEUE: usize = 64;
/// Other batches that wait.
const BULK_QUEUE: usize = 32;
/// Events that wait for the owner; then the link waits too.
const EVENT_QUEUE: usize = 64;

/// Where to connect and as whom.
#[derive(Clone, Debug)]
pub struct ClientConfig {
    /// `host:port`; the name is looked up at every try.
    pub address: String,
    /// Name that the collector's certificate must have.
    pub server_name: String,
    /// This host's certificate and key.
    pub identity: Identity,
    /// Authorities that may have signed the collector's certificate, DER.
    pub authorities_der: Vec<Vec<u8>>,
    /// What the hello says.
    pub agent: AgentIdentity,
    /// Clocks.
    pub clock: Arc<dyn Clock>,
}

/// What the link tells its owner.
#[derive(Clone, Debug, PartialEq)]
pub enum LinkEvent {
    /// Ready: hand in everything unacknowledged again.
    Connected {
        /// Collector's wall clock minus this host's.
        offset_ns: i64,
        /// Round trip of the hello.
        rtt_ns: u64,
    },
    /// Gone; it is being restored.
    Disconnected {
        /// Why.
        outage: Outage,
    },
    /// A batch that the collector has settled: it need not be kept.
    Acked {
        /// Batch.
        sequence: Sequence,
        /// Fate.
        outcome: Outcome,
    },
    /// A batch that cannot be sent at all; sending it again would not help.
    Unsendable {
        /// Batch.
        sequence: Sequence,
        /// For people.
        reason: String,
    },
    /// A policy, not verified yet.
    Policy(Signed),
    /// A directive, not verified yet.
    Directive(Signed),
    /// This host has a new key and certificate: keep them. The link connects anew and shows them from now on.
    Renewed {
        /// Certificate and key.
        identity: Identity,
        /// Authorities to trust from now on, DER; empty means those of before.
        authorities_der: Vec<Vec<u8>>,
    },
    /// The certificate was not renewed; the link asks again later.
    NotRenewed {
        /// For people.
        reason: String,
    },
    /// Sequences of the queue epoch were used twice: leave it.
    BeginAnew,
    /// [`LinkHandle::drain`] is done: all that was handed in is settled and the connection is closed.
    Drained,
}

/// Why a link cannot even begin.
#[derive(Debug, thiserror::Error)]
pub enum ClientError {
    /// Certificate, key or authority is unusable.
    #[error("this host's certificate, key or authority cannot be used: {0}")]
    Tls(String),
    /// No UDP socket.
    #[error("no UDP socket: {0}")]
    Socket(#[from] std::io::Error),
}

/// Counts of a link since its start, across all its connections.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LinkStats {
    /// Bytes of UDP payload sent.
    pub udp_bytes_sent: u64,
    /// Bytes of UDP payload received.
    pub udp_bytes_received: u64,
    /// Datagrams sent.
    pub datagrams_sent: u64,
    /// Connections that became ready.
    pub connects: u64,
    /// Tries that did not.
    pub failed_tries: u64,
    /// Packets declared lost.
    pub lost_packets: u64,
    /// Acknowledgements of batches that were not in flight.
    pub stray_acks: u64,
}

#[derive(Debug, Default)]
pub(crate) struct Counters {
    pub(crate) meter: Arc<Meter>,
    pub(crate) connects: AtomicU64,
    pub(crate) failed_tries: AtomicU64,
    pub(crate) lost_packets: AtomicU64,
    pub(crate) stray_acks: AtomicU64,
}

/// Hands batches and state to the link. Cheap to clone.
#[derive(Clone, Debug)]
pub struct LinkHandle {
    urgent: mpsc::Sender<EncodedBatch>,
    bulk: mpsc::Sender<EncodedBatch>,
    state: watch::Sender<AgentState>,
    counters: Arc<Counters>,
}

/// What the session tells the collector beside batches.
#[derive(Clone, Debug, Default)]
struct AgentState {
    in_effect: Option<InEffect>,
    health: Option<Health>,
    counts: BatchCounts,
    draining: bool,
}

impl LinkHandle {
    /// Queues a batch; never waits.
    ///
    /// # Errors
    ///
    /// The batch, if the queue of its class is full or the link has ended: try again after the next event.
    pub fn try_send(&self, batch: EncodedBatch) -> Result<(), EncodedBatch> {
        let queue = if batch.class == Class::Finding { &self.urgent } else { &self.bulk };
        queue.try_send(batch).map_err(mpsc::error::TrySendError::into_inner)
    }

    /// Whether the link's task has not ended.
    pub fn runs(&self) -> bool {
        !self.urgent.is_closed()
    }

    /// What is in effect now: sent at once, and again after every connect.
    pub fn set_in_effect(&self, in_effect: InEffect) {
        self.state.send_modify(|state| state.in_effect = Some(in_effect));
    }

    /// What a person has to mend: sent at once, and again after every connect.
    pub fn set_health(&self, health: Health) {
        self.state.send_modify(|state| state.health = Some(health));
    }

    /// Counts for the next heartbeat.
    pub fn set_counts(&self, counts: BatchCounts) {
        self.state.send_modify(|state| state.counts = counts);
    }

    /// Send what was handed in, wait until it is settled, say [`LinkEvent::Drained`] and end. Bound the wait yourself.
    pub fn drain(&self) {
        self.state.send_modify(|state| state.draining = true);
    }

    /// Counts so far.
    pub fn stats(&self) -> LinkStats {
        let counters = &self.counters;
        LinkStats {
            udp_bytes_sent: counters.meter.bytes_sent(),
            udp_bytes_received: counters.meter.bytes_received(),
            datagrams_sent: counters.meter.datagrams_sent(),
            connects: counters.connects.load(Ordering::Relaxed),
            failed_tries: counters.failed_tries.load(Ordering::Relaxed),
            lost_packets: counters.lost_packets.load(Ordering::Relaxed),
            stray_acks: counters.stray_acks.load(Ordering::Relaxed),
        }
    }
}

/// A link to the collector: its handle, its events, and the task that is to be spawned. The collector may be down.
///
/// The task ends when it has drained or when the receiver of events is dropped.
///
/// # Errors
///
/// [`ClientError::Tls`] if certificate, key or authorities cannot be used.
pub fn connect(config: ClientConfig) -> Result<(LinkHandle, mpsc::Receiver<LinkEvent>, LinkTask), ClientError> {
    let (urgent, urgent_queue) = mpsc::channel(URGENT_QUEUE);
    let (bulk, bulk_queue) = mpsc::channel(BULK_QUEUE);
    let (events, event_queue) = mpsc::channel(EVENT_QUEUE);
    let (state, state_seen) = watch::channel(AgentState::default());
    let counters = Arc::new(Counters::default());
    let inputs = run::Inputs { urgent: urgent_queue, bulk: bulk_queue, state: state_seen };
    let task = LinkTask::new(config, inputs, events, Arc::clone(&counters))?;
    Ok((LinkHandle { urgent, bulk, state, counters }, event_queue, task))
}

//! The collector's end: one UDP port for agents and for hosts that want to become one.
//!
//! [`listen`] gives a handle, a stream of events and the task to spawn. Batches of one agent may arrive in another order
//! than they were made, findings first. Acknowledge a batch with [`ServerHandle::ack`] only after its commit; what is
//! not acknowledged is sent again.

mod connection;
mod enrolment;
mod listener;
mod peers;
mod verify;

use crate::authority::{Authority, AuthorityError};
use crate::clock::Clock;
pub use crate::identity::PeerIdentity;
pub use listener::{ServerTask, listen};
pub use peers::ServerHandle;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use tokio::sync::oneshot;
use vedette_protocol::ids::HostId;
pub use vedette_protocol::session::CloseCode;
use vedette_protocol::v1::{
    Batch, BatchKey, DecodeError, EnrollReply, EnrollRequest, Health, Heartbeat, Hello, InEffect, RenewRequest,
};

/// Where to listen and whom to let in.
#[derive(Clone, Debug)]
pub struct ServerConfig {
    /// UDP address.
    pub listen: SocketAddr,
    /// DNS names and IP addresses of the endpoint's certificate, beside [`crate::SERVER_NAME`].
    pub names: Vec<String>,
    /// Signs the endpoint's certificate and has signed the agents'.
    pub authority: Arc<Authority>,
    /// Deny list.
    pub gate: Arc<dyn Gate>,
    /// Clocks.
    pub clock: Arc<dyn Clock>,
    /// Limits.
    pub limits: ServerLimits,
}

/// Limits of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ServerLimits {
    /// Connections at one time.
    pub connections_max: usize,
    /// Connections at one time from one IP address; a NAT may hide a fleet.
    pub connections_per_address_max: usize,
    /// Handshakes under way from which on an address has to prove itself (stateless retry).
    pub handshakes_before_retry: usize,
    /// Handshakes under way beyond which newcomers are turned away.
    pub handshakes_max: usize,
    /// Batches above 64 KiB that are being received or wait for a place in the queue of events, over all connections.
    pub large_batches_max: usize,
    /// Hosts without a certificate that ask for one at one time: they are strangers, so few.
    pub enrolments_max: usize,
    /// Such hosts at one time from one IP address.
    pub enrolments_per_address_max: usize,
}

impl Default for ServerLimits {
    fn default() -> Self {
        Self {
            connections_max: 20_000,
            connections_per_address_max: 2_000,
            handshakes_before_retry: 64,
            handshakes_max: 1_024,
            large_batches_max: 32,
            enrolments_max: 256,
            enrolments_per_address_max: 32,
        }
    }
}

/// Says who may not come in. Asked after every handshake and again after [`ServerHandle::recheck`]; must not block.
pub trait Gate: Send + Sync + std::fmt::Debug {
    /// # Errors
    ///
    /// [`Denied`] turns the agent away, or out.
    fn admit(&self, peer: &PeerIdentity) -> Result<(), Denied>;
}

/// An agent is not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Denied;

/// One connection of one agent; never given twice.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ConnectionId(pub u64);

/// What the server tells the collector.
#[derive(Debug)]
pub enum ServerEvent {
    /// An agent said hello.
    Connected {
        /// Connection.
        connection: ConnectionId,
        /// Whom its certificate names.
        identity: PeerIdentity,
        /// Where it comes from.
        address: SocketAddr,
        /// Its hello.
        hello: Hello,
        /// Agent's wall clock minus the collector's, rough: it contains the way of the hello.
        skew_ns: i64,
    },
    /// The agent's clock, measured over a round trip; replaces what was known.
    Clock {
        /// Connection.
        connection: ConnectionId,
        /// Host.
        host: HostId,
        /// Agent's wall clock minus the collector's.
        skew_ns: i64,
        /// Round trip.
        rtt_ns: u64,
    },
    /// A batch; acknowledge it by its key after the commit, or as quarantined if `batch` is an error.
    Batch {
        /// Connection.
        connection: ConnectionId,
        /// Host, from the certificate.
        host: HostId,
        /// Exact bytes, envelope included.
        raw: Vec<u8>,
        /// Which one it is; `None` if the frame is damaged beyond reading it.
        key: Option<BatchKey>,
        /// Decoded and within limits.
        batch: Result<Batch, DecodeError>,
    },
    /// What is in effect on the agent.
    InEffect {
        /// Connection.
        connection: ConnectionId,
        /// Host.
        host: HostId,
        /// State.
        in_effect: InEffect,
    },
    /// What a person has to mend on the agent's host, in the agent's words.
    Health {
        /// Connection.
        connection: ConnectionId,
        /// Host.
        host: HostId,
        /// Problems.
        health: Health,
    },
    /// Sign of life.
    Heartbeat {
        /// Connection.
        connection: ConnectionId,
        /// Host.
        host: HostId,
        /// Counts.
        heartbeat: Heartbeat,
    },
    /// An agent that had said hello is gone.
    Disconnected {
        /// Connection.
        connection: ConnectionId,
        /// Host.
        host: HostId,
        /// For people.
        reason: String,
    },
    /// An agent wants a certificate for a new key; answer with [`ServerHandle::renew`].
    Renew {
        /// Connection.
        connection: ConnectionId,
        /// Whom its present certificate names, and so the new one.
        identity: PeerIdentity,
        /// Its request.
        request: RenewRequest,
    },
    /// A host wants to become an agent; a dropped `reply` refuses.
    Enroll {
        /// Where it comes from.
        address: SocketAddr,
        /// Token and request.
        request: EnrollRequest,
        /// Answer.
        reply: oneshot::Sender<EnrollReply>,
    },
}

/// Why a server cannot begin.
#[derive(Debug, thiserror::Error)]
pub enum ServerError {
    /// No certificate for the endpoint.
    #[error(transparent)]
    Authority(#[from] AuthorityError),
    /// Certificate or authority is unusable.
    #[error("the collector's certificate or authority cannot be used: {0}")]
    Tls(String),
    /// The address is taken or not ours.
    #[error("cannot listen on UDP {address}: {source}")]
    Listen {
        /// Address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
}

/// Defines counters, each with the name that metrics show.
macro_rules! counters {
    ($($(#[$meta:meta])* $name:ident,)*) => {
        /// Counts since the start of the server.
        #[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
        pub struct ServerStats {
            $($(#[$meta])* pub $name: u64,)*
        }

        impl ServerStats {
            /// Name and count of each.
            pub fn entries(&self) -> Vec<(&'static str, u64)> {
                vec![$((stringify!($name), self.$name)),*]
            }
        }

        #[derive(Debug, Default)]
        pub(crate) struct Counters {
            $(pub(crate) $name: AtomicU64,)*
        }

        impl Counters {
            pub(crate) fn snapshot(&self) -> ServerStats {
                ServerStats { $($name: self.$name.load(Ordering::Relaxed)),* }
            }
        }
    };
}

counters! {
    /// Handshakes that were completed.
    handshakes,
    /// Handshakes in which rustls verified a certificate; the rest of those with one were resumptions.
    certificates_verified,
    /// Handshakes that failed: bad certificate, no common protocol, time-out.
    handshakes_failed,
    /// Addresses that were asked to prove themselves.
    retries,
    /// Newcomers turned away because of [`ServerLimits`].
    refused_limits,
    /// No certificate.
    refused_no_certificate,
    /// A certificate that is not of our authority.
    refused_untrusted,
    /// An expired certificate.
    refused_expired,
    /// A certificate that names no host.
    refused_name,
    /// Denied by the gate.
    refused_denied,
    /// Connections closed because the same agent opened a newer one.
    replaced,
    /// Connections closed because the agent broke the protocol.
    protocol_errors,
    /// Connections closed because the agent did not take what it was sent.
    slow_peers,
    /// Batches received whole, whether or not they could be decoded.
    batches,
    /// Batches that could not be decoded.
    batches_undecodable,
    /// Batch streams given up: too long, too slow, reset.
    batch_streams_failed,
    /// Enrolment requests passed on.
    enrolments,
    /// Enrolment connections that did not bring one.
    enrolments_failed,
    /// Requests for a new certificate passed on.
    renewals,
}

pub(crate) fn count(counter: &AtomicU64) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// An address as limits see it: IPv6 by its /64.
pub(crate) fn limited_address(address: SocketAddr) -> IpAddr {
    match address.ip().to_canonical() {
        IpAddr::V6(v6) => IpAddr::V6((u128::from(v6) & !u128::from(u64::MAX)).into()),
        v4 => v4,
    }
}

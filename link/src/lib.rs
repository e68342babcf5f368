//! QUIC and TLS shells around protocol's session: the agent's end ([`client`]), the collector's end ([`server`]),
//! the fleet's certificate authority ([`authority`]) and the way into the fleet ([`enroll`]).
//!
//! TLS 1.3 with ring only, no 0-RTT. rustls restores a client's chain from the ticket when a session is resumed and
//! runs no verifier then, so [`server`] looks at chain, expiry, name and [`server::Gate`] after *every* handshake.

pub mod authority;
pub mod client;
pub mod clock;
pub mod enroll;
pub mod identity;
pub mod outage;
pub mod server;

mod meter;
mod tls;
mod transport;

/// ALPN of agents with a certificate.
pub const ALPN: &[u8] = b"vedette/1";

/// ALPN of hosts that ask for a certificate.
pub const ALPN_ENROLL: &[u8] = b"vedette-enroll/1";

/// Name in the collector's certificate unless told otherwise.
pub const SERVER_NAME: &str = "vedette-collector";

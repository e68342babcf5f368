//! Why there is no connection, told apart by what a person can do about it.

use crate::transport;
use quinn::{ConnectionError, TransportErrorCode};
use std::fmt;
use vedette_protocol::session::CloseCode;

/// Where TLS alerts begin among the codes of QUIC (RFC 9001, section 4.8).
const CRYPTO_ERROR: u64 = 0x100;
/// TLS alerts that speak of a certificate (RFC 8446, section 6).
const CERTIFICATE_ALERTS: [u8; 7] = [42, 43, 44, 45, 46, 48, 116];
const EXPIRED_ALERT: u8 = 45;
/// No protocol in common: something else answers there, or another version.
const NO_PROTOCOL_ALERT: u8 = 120;

/// What stands between this host and the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Obstacle {
    /// The name means nothing or nobody answers: address, firewall (UDP), or the collector is down.
    Unreachable,
    /// A connection stood and was lost, or the collector went down in good order: it heals by itself.
    Lost,
    /// The collector has no room at the moment.
    Busy,
    /// The collector shows a certificate that this host does not trust: wrong address, or wrong authority.
    CollectorUntrusted,
    /// The collector does not trust this host's certificate.
    HostUntrusted,
    /// This host's certificate has ended.
    HostExpired,
    /// This host was shut out.
    HostRevoked,
    /// Another agent with the identity of this host has connected.
    Replaced,
    /// Both ends speak no common protocol.
    Version,
}

impl Obstacle {
    /// One word, as a label.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Unreachable => "unreachable",
            Self::Lost => "lost",
            Self::Busy => "busy",
            Self::CollectorUntrusted => "collector-untrusted",
            Self::HostUntrusted => "host-untrusted",
            Self::HostExpired => "host-expired",
            Self::HostRevoked => "host-revoked",
            Self::Replaced => "replaced",
            Self::Version => "version",
        }
    }

    /// Whether trying again alone will not do.
    pub const fn needs_a_person(self) -> bool {
        !matches!(self, Self::Unreachable | Self::Lost | Self::Busy)
    }

    const fn words(self) -> &'static str {
        match self {
            Self::Unreachable => "the collector cannot be reached",
            Self::Lost => "the connection was lost",
            Self::Busy => "the collector has no room at the moment",
            Self::CollectorUntrusted => "the collector's certificate is not trusted here",
            Self::HostUntrusted => "the collector does not trust this host's certificate",
            Self::HostExpired => "this host's certificate has ended",
            Self::HostRevoked => "the collector has revoked this host",
            Self::Replaced => "another agent has connected with this host's identity",
            Self::Version => "the other end speaks another protocol",
        }
    }

    const fn of_code(code: CloseCode) -> Self {
        match code {
            CloseCode::Untrusted | CloseCode::NoCertificate | CloseCode::BadName => Self::HostUntrusted,
            CloseCode::Expired => Self::HostExpired,
            CloseCode::Denied => Self::HostRevoked,
            CloseCode::Replaced => Self::Replaced,
            CloseCode::Version => Self::Version,
            CloseCode::Limit => Self::Busy,
            CloseCode::Done | CloseCode::Shutdown | CloseCode::Protocol | CloseCode::Slow | CloseCode::Timeout => {
                Self::Lost
            }
        }
    }

    /// Of a TLS alert, sent by this end or by the other.
    const fn of_alert(alert: u8, ours: bool) -> Option<Self> {
        let mut at = 0;
        while at < CERTIFICATE_ALERTS.len() {
            if CERTIFICATE_ALERTS[at] == alert {
                return Some(match (ours, alert) {
                    (true, _) => Self::CollectorUntrusted,
                    (false, EXPIRED_ALERT) => Self::HostExpired,
                    (false, _) => Self::HostUntrusted,
                });
            }
            at += 1;
        }
        if alert == NO_PROTOCOL_ALERT { Some(Self::Version) } else { None }
    }
}

/// Why there is no connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outage {
    /// For programs.
    pub obstacle: Obstacle,
    /// For people.
    pub detail: String,
}

impl Outage {
    pub(crate) fn new(obstacle: Obstacle, detail: impl Into<String>) -> Self {
        Self { obstacle, detail: detail.into() }
    }

    /// Of a connection that could not be made.
    pub(crate) fn of_dial(error: &ConnectionError) -> Self {
        let outage = Self::of(error);
        // Nothing was there that could be lost.
        if outage.obstacle == Obstacle::Lost { Self { obstacle: Obstacle::Unreachable, ..outage } } else { outage }
    }

    /// Of a connection that has ended.
    pub(crate) fn of(error: &ConnectionError) -> Self {
        let detail = transport::describe(error);
        let alert = |code: TransportErrorCode| {
            u64::from(code).checked_sub(CRYPTO_ERROR).and_then(|alert| u8::try_from(alert).ok())
        };
        let of_tls = |code, ours| alert(code).and_then(|alert| Obstacle::of_alert(alert, ours));
        let obstacle = match error {
            ConnectionError::ApplicationClosed(_) => transport::close_code(error).map(Obstacle::of_code),
            ConnectionError::TransportError(error) => of_tls(error.code, true),
            ConnectionError::ConnectionClosed(close) if close.error_code == TransportErrorCode::CONNECTION_REFUSED => {
                Some(Obstacle::Busy)
            }
            ConnectionError::ConnectionClosed(close) => of_tls(close.error_code, false),
            ConnectionError::VersionMismatch => Some(Obstacle::Version),
            ConnectionError::Reset
            | ConnectionError::TimedOut
            | ConnectionError::LocallyClosed
            | ConnectionError::CidsExhausted => None,
        };
        Self::new(obstacle.unwrap_or(Obstacle::Lost), detail)
    }
}

impl fmt::Display for Outage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: {}", self.obstacle.words(), self.detail)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn alerts_of_either_end_are_told_apart() {
        assert_eq!(Obstacle::of_alert(48, true), Some(Obstacle::CollectorUntrusted));
        assert_eq!(Obstacle::of_alert(45, true), Some(Obstacle::CollectorUntrusted));
        assert_eq!(Obstacle::of_alert(48, false), Some(Obstacle::HostUntrusted));
        assert_eq!(Obstacle::of_alert(45, false), Some(Obstacle::HostExpired));
        assert_eq!(Obstacle::of_alert(120, true), Some(Obstacle::Version));
        assert_eq!(Obstacle::of_alert(80, true), None);
    }

    #[test]
    fn only_what_heals_by_itself_needs_nobody() {
        let heals = [Obstacle::Unreachable, Obstacle::Lost, Obstacle::Busy];
        assert!(heals.iter().all(|obstacle| !obstacle.needs_a_person()));
        assert!(Obstacle::HostRevoked.needs_a_person() && Obstacle::Replaced.needs_a_person());
    }

    #[test]
    fn nobody_answering_is_no_lost_connection() {
        assert_eq!(Outage::of_dial(&ConnectionError::TimedOut).obstacle, Obstacle::Unreachable);
        assert_eq!(Outage::of(&ConnectionError::TimedOut).obstacle, Obstacle::Lost);
    }
}

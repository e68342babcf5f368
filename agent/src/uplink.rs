//! Between spool and connection: what to send next, what was settled, how the connection is.

use crate::config::CollectorConfig;
use crate::identity::Identity;
use crate::spool::{CLASSES, Counts, Spool};
use crate::status::LinkStatus;
use std::sync::Arc;
use tokio::sync::mpsc;
use vedette_link::client::{self, ClientConfig, ClientError, LinkEvent, LinkHandle, LinkTask};
use vedette_link::clock::SystemClock;
use vedette_link::outage::{Obstacle, Outage};
use vedette_protocol::session::agent::{AgentIdentity, BatchCounts};
use vedette_protocol::signature::Signed;
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::{Health, InEffect};

/// The agent's end of the link.
pub struct Uplink {
    handle: LinkHandle,
    connected: bool,
    /// When the collector was there last; before the first connection, when the agent started.
    seen: MonoTime,
    /// The collector's clock when it was last measured, and our steady clock at that moment: ours for the time of day
    /// may be set in between.
    collector_clock: Option<(MonoTime, WallTime)>,
    offset_ns: Option<i64>,
    rtt_ns: Option<u64>,
    outage: Option<Outage>,
    /// Why the certificate was not renewed.
    not_renewed: Option<String>,
    in_effect: Option<InEffect>,
    health: Option<Health>,
}

/// What an event asks the agent to do beyond sending.
#[derive(Debug, PartialEq)]
pub enum Order {
    /// Nothing.
    None,
    /// Look at this policy.
    Policy(Signed),
    /// Look at this directive.
    Directive(Signed),
    /// Keep this key and certificate.
    Renewed(Renewed),
    /// Begin a new queue epoch: sequences of this one were used twice.
    BeginAnew,
    /// All is settled and the connection closed.
    Drained,
}

/// What a renewal changes of an [`Identity`].
#[derive(Clone, PartialEq)]
pub struct Renewed {
    /// Certificate and key.
    pub pair: vedette_link::identity::Identity,
    /// Authorities, DER; empty means those of before.
    pub authorities_der: Vec<Vec<u8>>,
}

impl std::fmt::Debug for Renewed {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Renewed").field("pair", &self.pair).finish_non_exhaustive()
    }
}

impl Uplink {
    /// Prepares the link. The collector may be down; the task that keeps trying is to be spawned.
    ///
    /// # Errors
    ///
    /// If certificate, key or authorities cannot be used.
    pub fn open(
        collector: &CollectorConfig,
        identity: &Identity,
        agent: AgentIdentity,
        now: MonoTime,
    ) -> Result<(Self, mpsc::Receiver<LinkEvent>, LinkTask), ClientError> {
        let config = ClientConfig {
            address: collector.address.clone(),
            server_name: collector.server_name.clone(),
            identity: vedette_link::identity::Identity {
                chain_der: identity.chain_der.clone(),
                key_der: identity.key_der.clone(),
            },
            authorities_der: identity.authorities_der.clone(),
            agent,
            clock: Arc::new(SystemClock),
        };
        let (handle, events, task) = client::connect(config)?;
        let uplink = Self {
            handle,
            connected: false,
            seen: now,
            collector_clock: None,
            offset_ns: None,
            rtt_ns: None,
            outage: None,
            not_renewed: None,
            in_effect: None,
            health: None,
        };
        Ok((uplink, events, task))
    }

    /// Takes an event of the link in and settles the spool.
    pub fn handle_event(&mut self, now: MonoTime, wall: WallTime, event: LinkEvent, spool: &mut Spool) -> Order {
        match event {
            LinkEvent::Connected { offset_ns, rtt_ns } => {
                tracing::info!(offset_ms = offset_ns / 1_000_000, rtt_us = rtt_ns / 1_000, "collector connected");
                self.connected = true;
                self.collector_clock = Some((now, wall.offset_by(offset_ns)));
                self.offset_ns = Some(offset_ns);
                self.rtt_ns = Some(rtt_ns);
                self.outage = None;
                spool.handle_reconnect();
            }
            LinkEvent::Disconnected { outage } => {
                if self.connected || self.outage.as_ref() != Some(&outage) {
                    tracing::warn!(obstacle = outage.obstacle.name(), reason = %outage, "collector not connected");
                }
                if std::mem::take(&mut self.connected) {
                    self.seen = now;
                }
                self.outage = Some(outage);
            }
            LinkEvent::Acked { sequence, outcome } => spool.handle_ack(sequence, outcome),
            LinkEvent::Unsendable { sequence, reason } => {
                tracing::warn!(sequence = sequence.0, reason, "batch cannot be sent");
                spool.handle_unsendable(sequence);
            }
            LinkEvent::Policy(signed) => return Order::Policy(signed),
            LinkEvent::Directive(signed) => return Order::Directive(signed),
            LinkEvent::Renewed { identity: pair, authorities_der } => {
                self.not_renewed = None;
                return Order::Renewed(Renewed { pair, authorities_der });
            }
            LinkEvent::NotRenewed { reason } => {
                tracing::warn!(reason, "certificate not renewed");
                self.not_renewed = Some(reason);
            }
            LinkEvent::BeginAnew => return Order::BeginAnew,
            LinkEvent::Drained => return Order::Drained,
        }
        Order::None
    }

    /// Hands over what the link has room for, the important first.
    pub fn pump(&self, spool: &mut Spool) {
        if !self.connected {
            return;
        }
        for class in CLASSES {
            while let Some(batch) = spool.poll_send(class) {
                if let Err(batch) = self.handle.try_send(batch) {
                    spool.handle_no_room(&batch);
                    break;
                }
            }
        }
    }

    /// Tells the collector what is in effect, if that changed.
    pub fn report(&mut self, in_effect: InEffect) {
        if self.in_effect.as_ref() != Some(&in_effect) {
            self.handle.set_in_effect(in_effect.clone());
            self.in_effect = Some(in_effect);
        }
    }

    /// Tells the collector what a person has to mend, if that changed.
    pub fn tell_health(&mut self, problems: &[String]) {
        let health = Health::told(problems);
        if self.health.as_ref() != Some(&health) {
            self.handle.set_health(health.clone());
            self.health = Some(health);
        }
    }

    /// Whether the link's task is there; it ends by itself only when it was told to.
    pub fn runs(&self) -> bool {
        self.handle.runs()
    }

    /// Counts for the next heartbeat.
    pub fn set_counts(&self, spool: &Spool) {
        let batches_shed = CLASSES.map(|class| spool.counts(class).shed);
        let Counts { made, .. } = spool.totals();
        self.handle.set_counts(BatchCounts { made, shed: batches_shed });
    }

    /// Send what is left, then close.
    pub fn drain(&self) {
        self.handle.drain();
    }

    /// Since when the collector is not there; `None` if it is.
    pub fn lonely_since(&self) -> Option<MonoTime> {
        (!self.connected).then_some(self.seen)
    }

    /// Why there is no connection; `None` if there is one, or was no try yet.
    pub fn outage(&self) -> Option<&Outage> {
        self.outage.as_ref()
    }

    /// The collector's wall clock, as far as it was ever measured.
    pub fn collector_time(&self, now: MonoTime) -> Option<WallTime> {
        let (measured, wall) = self.collector_clock?;
        Some(wall.offset_by(i64::try_from(now.since(measured).as_nanos()).unwrap_or(i64::MAX)))
    }

    /// Why the last try to renew the certificate failed; `None` if it did not.
    pub fn not_renewed(&self) -> Option<&str> {
        self.not_renewed.as_deref()
    }

    /// For `status`.
    pub fn status(&self) -> LinkStatus {
        let stats = self.handle.stats();
        let ms = |ns: f64| ns / 1e6;
        LinkStatus {
            connected: self.connected,
            rtt_ms: self.rtt_ns.map(|ns| ms(ns as f64)),
            offset_ms: self.offset_ns.map(|ns| ms(ns as f64)),
            udp_bytes_sent: stats.udp_bytes_sent,
            reconnects: stats.connects.saturating_sub(1),
            obstacle: self.outage.as_ref().map(|outage| outage.obstacle.name().to_owned()),
            last_error: self.outage.as_ref().map(ToString::to_string),
        }
    }
}

/// What a person can do about an obstacle; empty where it heals by itself.
pub const fn remedy(obstacle: Obstacle) -> &'static str {
    match obstacle {
        Obstacle::Lost | Obstacle::Busy => "",
        Obstacle::Unreachable => {
            "check `collector.address`, that the collector runs, and that its UDP port is open on the way"
        }
        Obstacle::CollectorUntrusted => {
            "check `collector.address` and `collector.server-name`; if that collector was set up anew, enrol this host \
             anew (`vedette-agent enroll`)"
        }
        Obstacle::HostUntrusted | Obstacle::HostExpired | Obstacle::HostRevoked => {
            "enrol this host anew with a new token (`vedette-agent enroll`) and restart the agent"
        }
        Obstacle::Replaced => {
            "two machines have one identity, as after a copy of a disk: on one of them move the folder `identity` out of \
             the data directory, enrol it anew (`vedette-agent enroll`) and restart its agent"
        }
        Obstacle::Version => "bring agent and collector to the same version",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vedette_protocol::ids::{BootId, QueueEpoch, Sequence};
    use vedette_protocol::v1::{Class, Outcome};

    const NOW: MonoTime = MonoTime::from_ms(1_000);
    const WALL: WallTime = WallTime::from_unix_ms(1_000_000);
    const CONNECTED: LinkEvent = LinkEvent::Connected { offset_ns: 2_000_000, rtt_ns: 500_000 };

    fn gone() -> LinkEvent {
        LinkEvent::Disconnected { outage: Outage { obstacle: Obstacle::HostRevoked, detail: "gone".to_owned() } }
    }

    /// A link whose task never runs, and a spool with two waiting batches.
    fn offline() -> (Uplink, Spool) {
        let identity = crate::identity::tests::certified(200);
        let agent = AgentIdentity {
            software: "test".to_owned(),
            host_name: "host".to_owned(),
            boot: BootId([2; 16]),
            queue_epoch: QueueEpoch(3),
            resource: Vec::new(),
        };
        let collector = CollectorConfig { address: "127.0.0.1:9".to_owned(), server_name: "collector".to_owned() };
        let (uplink, _events, _task) = Uplink::open(&collector, &identity, agent, NOW).expect("usable identity");
        let mut spool = Spool::in_memory(QueueEpoch(3), 1 << 20, "test");
        for class in [Class::Feature, Class::Finding] {
            spool.push(class, &[], |_| Some(vec![0; 64]));
        }
        (uplink, spool)
    }

    #[test]
    fn without_a_connection_batches_stay_where_they_can_be_shed() {
        let (uplink, mut spool) = offline();
        uplink.pump(&mut spool);
        assert!(spool.poll_send(Class::Finding).is_some(), "nothing was handed over");
    }

    #[test]
    fn every_connection_gets_everything_unacknowledged() {
        let (mut uplink, mut spool) = offline();
        uplink.handle_event(NOW, WALL, CONNECTED, &mut spool);
        assert_eq!((spool.poll_send(Class::Finding).is_some(), spool.poll_send(Class::Finding)), (true, None));
        uplink.handle_event(NOW, WALL, gone(), &mut spool);
        uplink.handle_event(NOW, WALL, CONNECTED, &mut spool);
        assert!(spool.poll_send(Class::Finding).is_some());
        let acked = LinkEvent::Acked { sequence: Sequence(2), outcome: Outcome::Duplicate };
        uplink.handle_event(NOW, WALL, acked, &mut spool);
        uplink.handle_event(NOW, WALL, CONNECTED, &mut spool);
        assert_eq!(spool.poll_send(Class::Finding), None);
        assert_eq!(spool.totals().pending, 1);
    }

    #[test]
    fn renewal_is_handed_on_and_a_failed_one_is_remembered_until_the_next() {
        let (mut uplink, mut spool) = offline();
        let reason = "later".to_owned();
        assert_eq!(uplink.handle_event(NOW, WALL, LinkEvent::NotRenewed { reason }, &mut spool), Order::None);
        assert_eq!(uplink.not_renewed(), Some("later"));
        let identity = vedette_link::identity::Identity { chain_der: vec![vec![1]], key_der: vec![2] };
        let event = LinkEvent::Renewed { identity: identity.clone(), authorities_der: Vec::new() };
        let order = uplink.handle_event(NOW, WALL, event, &mut spool);
        assert_eq!(order, Order::Renewed(Renewed { pair: identity, authorities_der: Vec::new() }));
        assert_eq!(uplink.not_renewed(), None);
    }

    #[test]
    fn loneliness_counts_from_the_last_connection_and_the_clock_outlives_it() {
        let (mut uplink, mut spool) = offline();
        assert_eq!(uplink.lonely_since(), Some(NOW));
        assert_eq!(uplink.collector_time(NOW), None);
        uplink.handle_event(NOW, WALL, CONNECTED, &mut spool);
        assert_eq!(uplink.lonely_since(), None);
        let later = MonoTime::from_ms(9_000);
        for at in [later, MonoTime::from_ms(20_000)] {
            uplink.handle_event(at, WALL, gone(), &mut spool);
        }
        assert_eq!(uplink.lonely_since(), Some(later));
        assert_eq!(uplink.collector_time(later), Some(WallTime::from_unix_ms(1_008_002)), "eight seconds later");
        let status = uplink.status();
        assert_eq!(status.obstacle.as_deref(), Some("host-revoked"));
        assert_eq!(status.last_error.as_deref(), Some("the collector has revoked this host: gone"));
    }
}

//! Between spool and connection: what to send next, what was settled, how the connection is.

use crate::config::CollectorConfig;
use crate::identity::Identity;
use crate::spool::{CLASSES, Counts, Spool};
use crate::status::LinkStatus;
use std::sync::Arc;
use tokio::sync::mpsc;
use vedette_link::client::{self, ClientConfig, ClientError, LinkEvent, LinkHandle, LinkTask};
use vedette_link::clock::SystemClock;
use vedette_protocol::session::agent::{AgentIdentity, BatchCounts};
use vedette_protocol::signature::Signed;
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::InEffect;

/// The agent's end of the link.
pub struct Uplink {
    handle: LinkHandle,
    connected: bool,
    /// When the collector was there last; before the first connection, when the agent started.
    seen: MonoTime,
    /// The collector's clock minus ours, since the first connection.
    offset_ns: Option<i64>,
    rtt_ns: Option<u64>,
    last_error: Option<String>,
    in_effect: Option<InEffect>,
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
    /// All is settled and the connection closed.
    Drained,
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
            offset_ns: None,
            rtt_ns: None,
            last_error: None,
            in_effect: None,
        };
        Ok((uplink, events, task))
    }

    /// Takes an event of the link in and settles the spool.
    pub fn handle_event(&mut self, now: MonoTime, event: LinkEvent, spool: &mut Spool) -> Order {
        match event {
            LinkEvent::Connected { offset_ns, rtt_ns } => {
                tracing::info!(offset_ms = offset_ns / 1_000_000, rtt_us = rtt_ns / 1_000, "collector connected");
                self.connected = true;
                self.offset_ns = Some(offset_ns);
                self.rtt_ns = Some(rtt_ns);
                self.last_error = None;
                spool.handle_reconnect();
            }
            LinkEvent::Disconnected { reason } => {
                if self.connected || self.last_error.as_ref() != Some(&reason) {
                    tracing::warn!(reason, "collector not connected");
                }
                if std::mem::take(&mut self.connected) {
                    self.seen = now;
                }
                self.last_error = Some(reason);
            }
            LinkEvent::Acked { sequence, outcome } => spool.handle_ack(sequence, outcome),
            LinkEvent::Unsendable { sequence, reason } => {
                tracing::warn!(sequence = sequence.0, reason, "batch cannot be sent");
                spool.handle_unsendable(sequence);
            }
            LinkEvent::Policy(signed) => return Order::Policy(signed),
            LinkEvent::Directive(signed) => return Order::Directive(signed),
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

    /// The collector's wall clock, as far as it was ever measured.
    pub fn collector_time(&self, wall: WallTime) -> Option<WallTime> {
        self.offset_ns.map(|offset_ns| wall.offset_by(offset_ns))
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
            last_error: self.last_error.clone(),
        }
    }
}

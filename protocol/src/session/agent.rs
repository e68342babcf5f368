//! The agent's half of a session. It outlives connections: tell it of each with [`AgentSession::handle_connected`].

use super::backoff::Jitter;
use super::offset::Offset;
use super::{
    ACK_BYTES_PER_S, ACK_TIMEOUT, BULK_BYTES_IN_FLIGHT_MAX, BULK_IN_FLIGHT_MAX, CloseCode, GREETING_TIMEOUT,
    HEARTBEAT_MS, STREAM_WINDOW_BYTES, URGENT_IN_FLIGHT_MAX, close_code,
};
use crate::envelope::{self, Decoder, Frame, Kind};
use crate::ids::{BootId, QueueEpoch, Sequence};
use crate::signature::Signed;
use crate::time::{MonoTime, WallTime};
use crate::v1::{
    BeginAnew, Class, DecodeError, FromAgent, FromCollector, Health, Heartbeat, Hello, InEffect, Message, Outcome,
    RenewReply, RenewRequest, decode_frame, encode,
};
use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

/// Settled batches that are recognised; more than any queue in front of a session holds.
const SETTLED_REMEMBERED: usize = 512;

/// Resource attribute of the hello: the first sequence that the agent's process gives. A higher one than before within a
/// queue epoch says that it has restarted, and lost what it knew of its open episodes.
pub const FIRST_SEQUENCE: &str = "vedette.first_sequence";

/// What the hello says of the agent.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct AgentIdentity {
    /// Version of the agent's software.
    pub software: String,
    /// `host.name`.
    pub host_name: String,
    /// Boot of the host.
    pub boot: BootId,
    /// Life of the spool.
    pub queue_epoch: QueueEpoch,
    /// Resource attributes.
    pub resource: Vec<(String, String)>,
}

/// A batch in the form in which it crosses the network.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EncodedBatch {
    /// Position in the queue epoch.
    pub sequence: Sequence,
    /// Rank.
    pub class: Class,
    /// Exact bytes, envelope included.
    pub bytes: Arc<[u8]>,
}

/// What the spool has made and shed in this queue epoch.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct BatchCounts {
    /// Batches made.
    pub made: u64,
    /// Batches shed, by class in the order of [`Class`].
    pub shed: [u64; 3],
}

/// What the shell has to do on the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AgentTransmit {
    /// Append to the control stream.
    Control(Vec<u8>),
    /// Send on a stream of its own; findings before all else.
    Batch(EncodedBatch),
    /// Close the connection.
    Close(CloseCode),
}

/// What the shell has to tell its owner.
#[derive(Clone, Debug, PartialEq)]
pub enum AgentEvent {
    /// Greeted: hand in everything unacknowledged.
    Connected {
        /// Collector's wall clock minus this host's.
        offset_ns: i64,
        /// Round trip of the hello.
        rtt_ns: u64,
    },
    /// A batch is settled.
    Acked {
        /// Batch.
        sequence: Sequence,
        /// Fate.
        outcome: Outcome,
    },
    /// A batch that no collector would take.
    Unsendable {
        /// Batch.
        sequence: Sequence,
        /// Why.
        reason: envelope::EnvelopeError,
    },
    /// A policy, not verified yet.
    Policy(Signed),
    /// A directive, not verified yet.
    Directive(Signed),
    /// Answer to [`AgentSession::request_certificate`].
    Renewal(RenewReply),
    /// Sequences of the queue epoch were used twice: leave it.
    BeginAnew,
    /// Do not come back earlier.
    RetryAfter(Duration),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    Offline,
    Greeting { since: MonoTime, hello_wall: WallTime },
    Ready { heartbeat_due: MonoTime },
    Closed,
}

#[derive(Clone, Copy, Debug)]
struct InFlight {
    urgent: bool,
    bytes: usize,
    /// Share of the connection's window that it may hold.
    charge_bytes: usize,
    since: MonoTime,
}

/// The agent's half.
#[derive(Debug)]
pub struct AgentSession {
    identity: AgentIdentity,
    state: State,
    decoder: Decoder,
    in_flight: BTreeMap<Sequence, InFlight>,
    /// Acknowledged last, on whichever connection: copies of them may still wait in a queue since the owner last
    /// handed all in again.
    settled: VecDeque<Sequence>,
    in_effect: Option<InEffect>,
    health: Option<Health>,
    counts: BatchCounts,
    jitter: Jitter,
    stray_acks: u64,
    unsaid: u64,
    transmits: VecDeque<AgentTransmit>,
    events: VecDeque<AgentEvent>,
}

impl AgentSession {
    /// Offline. `seed` spreads heartbeats over the fleet.
    pub fn new(identity: AgentIdentity, seed: u64) -> Self {
        Self {
            identity,
            state: State::Offline,
            decoder: Decoder::default(),
            in_flight: BTreeMap::new(),
            settled: VecDeque::new(),
            in_effect: None,
            health: None,
            counts: BatchCounts::default(),
            jitter: Jitter::new(seed),
            stray_acks: 0,
            unsaid: 0,
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// A connection stands: says hello.
    pub fn handle_connected(&mut self, now: MonoTime, wall: WallTime) {
        self.handle_disconnected();
        self.state = State::Greeting { since: now, hello_wall: wall };
        let AgentIdentity { software, host_name, boot, queue_epoch, resource } = self.identity.clone();
        self.say(&FromAgent::Hello(Hello { software, host_name, boot, queue_epoch, mono: now, wall, resource }));
    }

    /// The connection is gone, and with it all that was in flight.
    pub fn handle_disconnected(&mut self) {
        self.state = State::Offline;
        self.decoder = Decoder::default();
        self.in_flight.clear();
        self.transmits.clear();
    }

    /// Bytes from the control stream, in order.
    pub fn handle_control(&mut self, now: MonoTime, wall: WallTime, bytes: &[u8]) {
        self.decoder.push(bytes);
        while !matches!(self.state, State::Offline | State::Closed) {
            let handled = match self.decoder.next_frame() {
                Ok(None) => return,
                Ok(Some(frame)) => self.handle_frame(now, wall, &frame),
                Err(error) => Err(DecodeError::Envelope(error)),
            };
            if let Err(error) = handled {
                self.close(close_code(&error));
            }
        }
    }

    /// Whether a batch of this class may be handed in now. Bulk never takes the share that is reserved for findings.
    pub fn has_room(&self, class: Class) -> bool {
        let urgent = class == Class::Finding;
        let peers = self.in_flight.values().filter(|batch| batch.urgent == urgent);
        let (count, charge_bytes) = peers.fold((0, 0), |(n, bytes), batch| (n + 1, bytes + batch.charge_bytes));
        matches!(self.state, State::Ready { .. })
            && if urgent {
                count < URGENT_IN_FLIGHT_MAX
            } else {
                count < BULK_IN_FLIGHT_MAX && charge_bytes + STREAM_WINDOW_BYTES <= BULK_BYTES_IN_FLIGHT_MAX
            }
    }

    /// Sends a batch; only when [`AgentSession::has_room`]. One that is in flight or settled already is not sent
    /// again, one that is no sound frame is given back as [`AgentEvent::Unsendable`].
    pub fn handle_batch(&mut self, now: MonoTime, batch: EncodedBatch) {
        if self.in_flight.contains_key(&batch.sequence) || self.settled.contains(&batch.sequence) {
            return;
        }
        if let Err(reason) = envelope::open(Kind::Batch, &batch.bytes) {
            self.events.push_back(AgentEvent::Unsendable { sequence: batch.sequence, reason });
            return;
        }
        let urgent = batch.class == Class::Finding;
        let charge_bytes = batch.bytes.len().min(STREAM_WINDOW_BYTES);
        self.in_flight.insert(batch.sequence, InFlight { urgent, bytes: batch.bytes.len(), charge_bytes, since: now });
        self.transmits.push_back(AgentTransmit::Batch(batch));
    }

    /// What is in effect now: told at once and after every connect.
    pub fn set_in_effect(&mut self, in_effect: InEffect) {
        if matches!(self.state, State::Ready { .. }) {
            self.say(&FromAgent::InEffect(in_effect.clone()));
        }
        self.in_effect = Some(in_effect);
    }

    /// What a person has to mend: told at once and after every connect. Nothing new is not said again.
    pub fn set_health(&mut self, health: Health) {
        if self.health.as_ref() == Some(&health) {
            return;
        }
        if matches!(self.state, State::Ready { .. }) {
            self.say(&health);
        }
        self.health = Some(health);
    }

    /// Asks for a certificate for a new key; only when [`AgentSession::is_ready`]. A collector that knows of no renewal
    /// skips the request and never answers.
    pub fn request_certificate(&mut self, csr_der: Vec<u8>) {
        self.say(&RenewRequest { csr_der });
    }

    /// Counts for the next heartbeat.
    pub fn set_counts(&mut self, counts: BatchCounts) {
        self.counts = counts;
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: MonoTime, wall: WallTime) {
        match self.state {
            State::Offline | State::Closed => {}
            State::Greeting { since, .. } => {
                if now >= since + GREETING_TIMEOUT {
                    self.close(CloseCode::Timeout);
                }
            }
            State::Ready { heartbeat_due } => {
                if self.ack_due().is_some_and(|due| now >= due) {
                    self.close(CloseCode::Timeout);
                } else if now >= heartbeat_due {
                    self.heartbeat(now, wall, None);
                }
            }
        }
    }

    /// When [`AgentSession::handle_timeout`] is due; `None` if nothing is pending.
    pub fn poll_timeout(&self) -> Option<MonoTime> {
        match self.state {
            State::Offline | State::Closed => None,
            State::Greeting { since, .. } => Some(since + GREETING_TIMEOUT),
            State::Ready { heartbeat_due } => Some(self.ack_due().map_or(heartbeat_due, |due| due.min(heartbeat_due))),
        }
    }

    /// The next thing to do on the connection.
    pub fn poll_transmit(&mut self) -> Option<AgentTransmit> {
        self.transmits.pop_front()
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<AgentEvent> {
        self.events.pop_front()
    }

    /// Whether the collector has welcomed us on the present connection.
    pub const fn is_ready(&self) -> bool {
        matches!(self.state, State::Ready { .. })
    }

    /// Batches sent and not acknowledged.
    pub fn in_flight(&self) -> usize {
        self.in_flight.len()
    }

    /// Control messages that broke a limit and were not said.
    pub const fn unsaid(&self) -> u64 {
        self.unsaid
    }

    /// Outcomes of batches that were not in flight.
    pub const fn stray_acks(&self) -> u64 {
        self.stray_acks
    }

    fn handle_frame(&mut self, now: MonoTime, wall: WallTime, frame: &Frame) -> Result<(), DecodeError> {
        match frame.kind {
            Kind::RenewReply if self.is_ready() => self.events.push_back(AgentEvent::Renewal(decode_frame(frame)?)),
            Kind::BeginAnew if self.is_ready() => {
                let BeginAnew { queue_epoch } = decode_frame(frame)?;
                if queue_epoch == self.identity.queue_epoch {
                    self.events.push_back(AgentEvent::BeginAnew);
                }
            }
            _ => self.handle_message(now, wall, decode_frame(frame)?),
        }
        Ok(())
    }

    fn handle_message(&mut self, now: MonoTime, wall: WallTime, message: FromCollector) {
        match message {
            FromCollector::Welcome { hello_mono, received, sent } => self.welcomed(now, hello_mono, received, sent),
            FromCollector::Ack { queue_epoch, outcomes } => self.acked(queue_epoch, outcomes),
            FromCollector::TimeProbe { token } => self.heartbeat(now, wall, Some((token, 0))),
            FromCollector::Policy(signed) => self.events.push_back(AgentEvent::Policy(signed)),
            FromCollector::Directive(signed) => self.events.push_back(AgentEvent::Directive(signed)),
            FromCollector::RetryAfter { delay_ms } => {
                self.events.push_back(AgentEvent::RetryAfter(Duration::from_millis(delay_ms.into())));
                self.close(CloseCode::Done);
            }
        }
    }

    fn welcomed(&mut self, now: MonoTime, hello_mono: MonoTime, received: WallTime, sent: WallTime) {
        let State::Greeting { since, hello_wall } = self.state else { return self.close(CloseCode::Protocol) };
        if hello_mono != since {
            return self.close(CloseCode::Protocol);
        }
        let Offset { offset_ns, rtt_ns } =
            Offset::of_exchange(hello_wall, received, sent, now.ns.saturating_sub(since.ns));
        self.state = State::Ready { heartbeat_due: self.next_heartbeat(now) };
        self.events.push_back(AgentEvent::Connected { offset_ns, rtt_ns });
        if let Some(in_effect) = self.in_effect.clone() {
            self.say(&FromAgent::InEffect(in_effect));
        }
        if let Some(health) = self.health.clone() {
            self.say(&health);
        }
    }

    fn acked(&mut self, queue_epoch: QueueEpoch, outcomes: Vec<(Sequence, Outcome)>) {
        for (sequence, outcome) in outcomes {
            if queue_epoch == self.identity.queue_epoch && self.in_flight.remove(&sequence).is_some() {
                if self.settled.len() == SETTLED_REMEMBERED {
                    self.settled.pop_front();
                }
                self.settled.push_back(sequence);
                self.events.push_back(AgentEvent::Acked { sequence, outcome });
            } else {
                self.stray_acks += 1;
            }
        }
    }

    fn heartbeat(&mut self, now: MonoTime, wall: WallTime, echo: Option<(u64, u64)>) {
        if matches!(self.state, State::Ready { .. }) {
            self.state = State::Ready { heartbeat_due: self.next_heartbeat(now) };
        }
        let BatchCounts { made, shed } = self.counts;
        self.say(&FromAgent::Heartbeat(Heartbeat { mono: now, wall, echo, batches_made: made, batches_shed: shed }));
    }

    fn next_heartbeat(&mut self, now: MonoTime) -> MonoTime {
        now + Duration::from_millis(self.jitter.within(&HEARTBEAT_MS))
    }

    /// When the oldest batch in flight has to be acknowledged, given all that shares the line with it.
    fn ack_due(&self) -> Option<MonoTime> {
        let oldest = self.in_flight.values().map(|batch| batch.since).min()?;
        let bytes: usize = self.in_flight.values().map(|batch| batch.bytes).sum();
        Some(oldest + ACK_TIMEOUT + Duration::from_secs((bytes / ACK_BYTES_PER_S) as u64))
    }

    /// What breaks a limit is not said, but counted: the collector would close the connection over it.
    fn say(&mut self, message: &impl Message) {
        match encode(message) {
            Ok(bytes) => self.transmits.push_back(AgentTransmit::Control(bytes)),
            Err(_) => self.unsaid += 1,
        }
    }

    fn close(&mut self, code: CloseCode) {
        self.state = State::Closed;
        self.transmits.push_back(AgentTransmit::Close(code));
    }
}

//! The collector's half of a session: one for each connection.

use super::offset::{Offset, OffsetFilter};
use super::{CloseCode, GREETING_TIMEOUT, close_code};
use crate::envelope::{Decoder, Frame, Kind};
use crate::ids::{QueueEpoch, Sequence};
use crate::signature::Signed;
use crate::time::{MonoTime, WallTime};
use crate::v1::limits::OUTCOMES_MAX;
use crate::v1::{
    BeginAnew, DecodeError, EncodeError, FromAgent, FromCollector, Health, Heartbeat, Hello, InEffect, Message,
    Outcome, RenewReply, RenewRequest, decode_frame, encode,
};
use std::collections::VecDeque;
use std::time::Duration;

/// Time between two measurements of the agent's clock; the first one is taken at once.
const PROBE_INTERVAL: Duration = Duration::from_secs(120);

/// What the shell has to do on the connection.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CollectorTransmit {
    /// Append to the control stream.
    Control(Vec<u8>),
    /// Close the connection.
    Close(CloseCode),
}

/// What the shell has to tell its owner.
#[derive(Clone, Debug, PartialEq)]
pub enum CollectorEvent {
    /// The agent is greeted; batches may come from now on.
    Hello {
        /// What it said.
        hello: Hello,
        /// Agent's wall clock minus the collector's, rough: it contains the way of the hello.
        skew_ns: i64,
    },
    /// The agent's clock, measured over a round trip.
    Clock {
        /// Agent's wall clock minus the collector's.
        skew_ns: i64,
        /// Round trip.
        rtt_ns: u64,
    },
    /// What is in effect on the agent.
    InEffect(InEffect),
    /// What a person has to mend on the agent's host.
    Health(Health),
    /// Sign of life.
    Heartbeat(Heartbeat),
    /// The agent wants a new certificate: answer with [`CollectorSession::renew`].
    Renew(RenewRequest),
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum State {
    AwaitingHello { since: MonoTime },
    Ready,
    Closed,
}

/// A question for the agent's clock that is under way.
#[derive(Clone, Copy, Debug)]
struct Probe {
    token: u64,
    mono: MonoTime,
    wall: WallTime,
}

/// The collector's half.
#[derive(Debug)]
pub struct CollectorSession {
    state: State,
    decoder: Decoder,
    probe: Option<Probe>,
    probe_due: MonoTime,
    probes: u64,
    clock: OffsetFilter,
    /// A request for a certificate is not answered yet.
    renewing: bool,
    acks: VecDeque<(QueueEpoch, Sequence, Outcome)>,
    transmits: VecDeque<CollectorTransmit>,
    events: VecDeque<CollectorEvent>,
}

impl CollectorSession {
    /// A connection stands; the agent has to say hello.
    pub fn new(now: MonoTime) -> Self {
        Self {
            state: State::AwaitingHello { since: now },
            decoder: Decoder::default(),
            probe: None,
            probe_due: now,
            probes: 0,
            clock: OffsetFilter::default(),
            renewing: false,
            acks: VecDeque::new(),
            transmits: VecDeque::new(),
            events: VecDeque::new(),
        }
    }

    /// Bytes from the control stream, in order.
    pub fn handle_control(&mut self, now: MonoTime, wall: WallTime, bytes: &[u8]) {
        self.decoder.push(bytes);
        while self.state != State::Closed {
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

    /// Whether batches may come: the agent has said hello and was not turned away.
    pub fn is_ready(&self) -> bool {
        self.state == State::Ready
    }

    /// What became of batches; only after the commit. Those that come together leave together.
    pub fn ack(&mut self, queue_epoch: QueueEpoch, outcomes: &[(Sequence, Outcome)]) {
        self.acks.extend(outcomes.iter().map(|(sequence, outcome)| (queue_epoch, *sequence, *outcome)));
    }

    /// Sends a policy.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if it is too large for an agent.
    pub fn send_policy(&mut self, policy: Signed) -> Result<(), EncodeError> {
        self.say(&FromCollector::Policy(policy))
    }

    /// Sends a directive.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if it is too large for an agent.
    pub fn send_directive(&mut self, directive: Signed) -> Result<(), EncodeError> {
        self.say(&FromCollector::Directive(directive))
    }

    /// Answers a request for a certificate.
    ///
    /// # Errors
    ///
    /// [`EncodeError`] if the answer breaks a limit.
    pub fn renew(&mut self, reply: &RenewReply) -> Result<(), EncodeError> {
        self.renewing = false;
        self.say(reply)
    }

    /// Tells the agent to leave its queue epoch.
    ///
    /// # Errors
    ///
    /// [`EncodeError`]: never, for its size is fixed.
    pub fn begin_anew(&mut self, queue_epoch: QueueEpoch) -> Result<(), EncodeError> {
        self.say(&BeginAnew { queue_epoch })
    }

    /// Sends the agent away for a while.
    pub fn retry_after(&mut self, delay_ms: u32) {
        self.say_small(&FromCollector::RetryAfter { delay_ms });
    }

    /// Closes the connection.
    pub fn close(&mut self, code: CloseCode) {
        if self.state != State::Closed {
            self.state = State::Closed;
            self.transmits.push_back(CollectorTransmit::Close(code));
        }
    }

    /// Does what is due at `now`.
    pub fn handle_timeout(&mut self, now: MonoTime, wall: WallTime) {
        match self.state {
            State::AwaitingHello { since } if now >= since + GREETING_TIMEOUT => self.close(CloseCode::Timeout),
            State::Ready if now >= self.probe_due => self.ask_time(now, wall),
            _ => {}
        }
    }

    /// When [`CollectorSession::handle_timeout`] is due.
    pub fn poll_timeout(&self) -> Option<MonoTime> {
        match self.state {
            State::AwaitingHello { since } => Some(since + GREETING_TIMEOUT),
            State::Ready => Some(self.probe_due),
            State::Closed => None,
        }
    }

    /// The next thing to do on the connection.
    pub fn poll_transmit(&mut self) -> Option<CollectorTransmit> {
        self.transmits.pop_front().or_else(|| self.next_ack())
    }

    /// The next thing to tell.
    pub fn poll_event(&mut self) -> Option<CollectorEvent> {
        self.events.pop_front()
    }

    fn handle_frame(&mut self, now: MonoTime, wall: WallTime, frame: &Frame) -> Result<(), DecodeError> {
        match frame.kind {
            Kind::RenewRequest => self.asked_for_certificate(decode_frame(frame)?),
            Kind::Health if self.is_ready() => self.events.push_back(CollectorEvent::Health(decode_frame(frame)?)),
            _ => self.handle_message(now, wall, decode_frame(frame)?),
        }
        Ok(())
    }

    /// One at a time: signing costs more than asking.
    fn asked_for_certificate(&mut self, request: RenewRequest) {
        if self.state != State::Ready || std::mem::replace(&mut self.renewing, true) {
            return self.close(CloseCode::Protocol);
        }
        self.events.push_back(CollectorEvent::Renew(request));
    }

    fn handle_message(&mut self, now: MonoTime, wall: WallTime, message: FromAgent) {
        match (self.state, message) {
            (State::AwaitingHello { .. }, FromAgent::Hello(hello)) => self.greet(now, wall, hello),
            (State::Ready, FromAgent::InEffect(in_effect)) => {
                self.events.push_back(CollectorEvent::InEffect(in_effect))
            }
            (State::Ready, FromAgent::Heartbeat(heartbeat)) => self.heard(now, heartbeat),
            _ => self.close(CloseCode::Protocol),
        }
    }

    fn greet(&mut self, now: MonoTime, wall: WallTime, hello: Hello) {
        self.state = State::Ready;
        self.say_small(&FromCollector::Welcome { hello_mono: hello.mono, received: wall, sent: wall });
        self.ask_time(now, wall);
        let skew_ns = hello.wall.unix_ns.saturating_sub(wall.unix_ns);
        self.events.push_back(CollectorEvent::Hello { hello, skew_ns });
    }

    fn ask_time(&mut self, now: MonoTime, wall: WallTime) {
        self.probes += 1;
        self.probe = Some(Probe { token: self.probes, mono: now, wall });
        self.probe_due = now + PROBE_INTERVAL;
        self.say_small(&FromCollector::TimeProbe { token: self.probes });
    }

    fn heard(&mut self, now: MonoTime, heartbeat: Heartbeat) {
        let echoed = |probe: &mut Probe| heartbeat.echo.is_some_and(|(token, _)| token == probe.token);
        if let Some(probe) = self.probe.take_if(echoed) {
            let held_ns = heartbeat.echo.map_or(0, |(_, held_ns)| i64::try_from(held_ns).unwrap_or(i64::MAX));
            let received = heartbeat.wall.offset_by(held_ns.saturating_neg());
            let elapsed_ns = now.ns.saturating_sub(probe.mono.ns);
            let measured = Offset::of_exchange(probe.wall, received, heartbeat.wall, elapsed_ns);
            let Offset { offset_ns, rtt_ns } = self.clock.add(measured);
            self.events.push_back(CollectorEvent::Clock { skew_ns: offset_ns, rtt_ns });
        }
        self.events.push_back(CollectorEvent::Heartbeat(heartbeat));
    }

    /// As many outcomes of one queue epoch as fit one message.
    fn next_ack(&mut self) -> Option<CollectorTransmit> {
        if self.state == State::Closed {
            return None;
        }
        let (queue_epoch, ..) = *self.acks.front()?;
        let together = self.acks.iter().take(OUTCOMES_MAX).take_while(|(epoch, ..)| *epoch == queue_epoch).count();
        let outcomes = self.acks.drain(..together).map(|(_, sequence, outcome)| (sequence, outcome)).collect();
        let bytes = encode(&FromCollector::Ack { queue_epoch, outcomes }).expect("within OUTCOMES_MAX");
        Some(CollectorTransmit::Control(bytes))
    }

    fn say(&mut self, message: &impl Message) -> Result<(), EncodeError> {
        let bytes = encode(message)?;
        if self.state != State::Closed {
            self.transmits.push_back(CollectorTransmit::Control(bytes));
        }
        Ok(())
    }

    fn say_small(&mut self, message: &FromCollector) {
        self.say(message).expect("messages of fixed size fit");
    }
}

//! One connection: feeds the session and does what it says.

use super::renewal::{Renewal, Renewed};
use super::run::Inputs;
use super::{ClientConfig, Counters, LinkEvent};
use crate::clock::Clock;
use crate::outage::{Obstacle, Outage};
use crate::transport;
use quinn::{Connection, RecvStream, SendStream, WriteError};
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use vedette_protocol::session::CloseCode;
use vedette_protocol::session::agent::{AgentEvent, AgentSession, AgentTransmit, EncodedBatch};
use vedette_protocol::time::MonoTime;
use vedette_protocol::v1::{Class, RenewReply};

/// Bytes read from the control stream at one time.
const CONTROL_CHUNK_BYTES: usize = 16 << 10;

/// Time for a control message to fit into the collector's window.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

/// Time for a connection to say why it ended.
const CLOSE_TIMEOUT: Duration = Duration::from_millis(500);

/// How a link or a connection came to its end.
#[derive(Debug)]
pub(super) enum Ended {
    /// All is settled, as was asked.
    Drained,
    /// Nobody listens to the events.
    Unwatched,
    /// Closed to come back with another certificate.
    Renewed(Renewed),
    /// To be restored.
    Lost(Outage),
}

/// What the end of a connection means for the next one.
#[derive(Debug)]
pub(super) struct Outcome {
    pub(super) ended: Ended,
    pub(super) retry_after: Option<Duration>,
}

impl Outcome {
    fn of(ended: Ended) -> Self {
        Self { ended, retry_after: None }
    }

    fn lost(outage: Outage) -> Self {
        Self::of(Ended::Lost(outage))
    }
}

/// What a connection stands between.
pub(super) struct Ends<'a> {
    pub(super) connection: &'a Connection,
    pub(super) session: &'a mut AgentSession,
    pub(super) renewal: &'a mut Renewal,
    pub(super) config: &'a ClientConfig,
    pub(super) events: &'a mpsc::Sender<LinkEvent>,
    pub(super) counters: &'a Counters,
}

struct Drive<'a> {
    connection: &'a Connection,
    session: &'a mut AgentSession,
    renewal: &'a mut Renewal,
    /// When to ask for a certificate; `None` while the collector's clock is not known or an answer is awaited.
    renewal_due: Option<MonoTime>,
    renewed: Option<Renewed>,
    config: &'a ClientConfig,
    events: &'a mpsc::Sender<LinkEvent>,
    clock: &'a dyn Clock,
    counters: &'a Counters,
    control: SendStream,
    writers: JoinSet<()>,
    retry_after: Option<Duration>,
}

/// Runs one connection to its end.
pub(super) async fn drive(ends: Ends<'_>, inputs: &mut Inputs) -> Outcome {
    let Ends { connection, session, renewal, config, events, counters } = ends;
    let opened = timeout(WRITE_TIMEOUT, connection.open_bi()).await;
    let Ok(Ok((control, mut incoming))) = opened else { return lost(connection) };
    let _ = control.set_priority(transport::CONTROL_PRIORITY);
    let mut drive = Drive {
        connection,
        session,
        renewal,
        renewal_due: None,
        renewed: None,
        config,
        events,
        clock: &*config.clock,
        counters,
        control,
        writers: JoinSet::new(),
        retry_after: None,
    };
    let mut outcome = drive.run(inputs, &mut incoming).await;
    outcome.retry_after = drive.retry_after;
    outcome
}

impl Drive<'_> {
    async fn run(&mut self, inputs: &mut Inputs, incoming: &mut RecvStream) -> Outcome {
        self.session.handle_connected(self.clock.mono(), self.clock.wall());
        inputs.state.mark_changed();
        let mut chunk = vec![0; CONTROL_CHUNK_BYTES];
        loop {
            if let Some(outcome) = self.pump().await {
                return outcome;
            }
            if let Some(renewed) = self.renewed.take() {
                // What is in flight comes again on the next connection, and counts once.
                transport::close(self.connection, CloseCode::Done);
                return Outcome::of(Ended::Renewed(renewed));
            }
            if self.has_drained(inputs) {
                transport::close(self.connection, CloseCode::Done);
                return Outcome::of(Ended::Drained);
            }
            let has_room = |class| self.session.has_room(class);
            let (urgent_room, bulk_room) = (has_room(Class::Finding), has_room(Class::Feature));
            tokio::select! {
                biased;
                read = incoming.read(&mut chunk) => match read {
                    Ok(Some(bytes)) => {
                        self.session.handle_control(self.clock.mono(), self.clock.wall(), &chunk[..bytes]);
                    }
                    Ok(None) | Err(_) => return lost_soon(self.connection).await,
                },
                _ = self.connection.closed() => return lost(self.connection),
                () = self.events.closed() => {
                    transport::close(self.connection, CloseCode::Shutdown);
                    return Outcome::of(Ended::Unwatched);
                }
                Ok(()) = inputs.state.changed() => self.take_state(inputs),
                Some(batch) = inputs.urgent.recv(), if urgent_room => self.take_batch(batch),
                Some(batch) = inputs.bulk.recv(), if bulk_room => self.take_batch(batch),
                Some(_) = self.writers.join_next() => {}
                () = sleep_until(self.session.poll_timeout(), self.clock) => {
                    self.session.handle_timeout(self.clock.mono(), self.clock.wall());
                }
                () = sleep_until(self.renewal_due, self.clock) => self.ask_for_certificate(),
            }
        }
    }

    fn ask_for_certificate(&mut self) {
        self.renewal_due = None;
        match self.renewal.ask(&self.config.agent.host_name) {
            Ok(csr_der) => self.session.request_certificate(csr_der),
            Err(error) => {
                tracing::warn!(%error, "no request for a certificate could be made");
                self.renewal_due = Some(self.renewal.put_off(self.clock.mono()));
            }
        }
    }

    /// What the owner is to hear, if there is a renewal to hear of now.
    fn take_certificate(&mut self, reply: RenewReply) -> Option<LinkEvent> {
        match self.renewal.judge(reply, &self.config.identity) {
            Ok(renewed) => {
                self.renewed = Some(renewed);
                None
            }
            Err(reason) => {
                self.renewal_due = Some(self.renewal.put_off(self.clock.mono()));
                Some(LinkEvent::NotRenewed { reason })
            }
        }
    }

    fn take_batch(&mut self, batch: EncodedBatch) {
        self.session.handle_batch(self.clock.mono(), batch);
    }

    fn take_state(&mut self, inputs: &mut Inputs) {
        let state = inputs.state.borrow_and_update();
        self.session.set_counts(state.counts);
        if let Some(in_effect) = &state.in_effect {
            self.session.set_in_effect(in_effect.clone());
        }
        if let Some(health) = &state.health {
            self.session.set_health(health.clone());
        }
    }

    fn has_drained(&self, inputs: &Inputs) -> bool {
        let settled = self.session.is_ready() && self.session.in_flight() == 0 && self.writers.is_empty();
        settled && inputs.state.borrow().draining && inputs.urgent.is_empty() && inputs.bulk.is_empty()
    }

    /// Does all that the session asks for; an outcome if that ends the connection.
    async fn pump(&mut self) -> Option<Outcome> {
        while let Some(transmit) = self.session.poll_transmit() {
            match transmit {
                AgentTransmit::Control(bytes) => {
                    let written = timeout(WRITE_TIMEOUT, self.control.write_all(&bytes)).await;
                    if !matches!(written, Ok(Ok(()))) {
                        transport::close(self.connection, CloseCode::Slow);
                        return Some(lost_soon(self.connection).await);
                    }
                }
                AgentTransmit::Batch(batch) => {
                    self.writers.spawn(write_batch(self.connection.clone(), batch));
                }
                AgentTransmit::Close(code) => {
                    transport::close(self.connection, code);
                    self.forward_events().await;
                    let obstacle = if code == CloseCode::Version { Obstacle::Version } else { Obstacle::Lost };
                    return Some(Outcome::lost(Outage::new(
                        obstacle,
                        format!("closed by this end: {}", code.reason()),
                    )));
                }
            }
        }
        self.forward_events().await;
        None
    }

    async fn forward_events(&mut self) {
        while let Some(event) = self.session.poll_event() {
            let event = match event {
                AgentEvent::Connected { offset_ns, rtt_ns } => {
                    self.counters.connects.fetch_add(1, Ordering::Relaxed);
                    let collector_now = self.clock.wall().offset_by(offset_ns);
                    self.renewal_due = self.renewal.due(self.clock.mono(), collector_now);
                    LinkEvent::Connected { offset_ns, rtt_ns }
                }
                AgentEvent::Acked { sequence, outcome } => LinkEvent::Acked { sequence, outcome },
                AgentEvent::Unsendable { sequence, reason } => {
                    LinkEvent::Unsendable { sequence, reason: reason.to_string() }
                }
                AgentEvent::Policy(signed) => LinkEvent::Policy(signed),
                AgentEvent::Directive(signed) => LinkEvent::Directive(signed),
                AgentEvent::BeginAnew => LinkEvent::BeginAnew,
                AgentEvent::RetryAfter(delay) => {
                    self.retry_after = Some(delay);
                    continue;
                }
                AgentEvent::Renewal(reply) => {
                    let Some(event) = self.take_certificate(reply) else { continue };
                    event
                }
            };
            // An owner that is gone is noticed by the loop.
            let _ = self.events.send(event).await;
        }
    }
}

/// One stream, one batch. An error means that the connection is gone: the batch will be sent on the next one.
async fn write_batch(connection: Connection, batch: EncodedBatch) {
    let _: Result<(), WriteError> = async {
        let mut stream = connection.open_uni().await?;
        let _ = stream.set_priority(priority(batch.class));
        stream.write_all(&batch.bytes).await?;
        let _ = stream.finish();
        Ok(())
    }
    .await;
}

const fn priority(class: Class) -> i32 {
    match class {
        Class::Finding => 2,
        Class::Feature => 1,
        Class::Log => 0,
    }
}

fn lost(connection: &Connection) -> Outcome {
    let reason = connection.close_reason();
    Outcome::lost(reason.map_or_else(|| Outage::new(Obstacle::Lost, "no stream"), |error| Outage::of(&error)))
}

/// A stream ended; its connection should have, too.
async fn lost_soon(connection: &Connection) -> Outcome {
    if timeout(CLOSE_TIMEOUT, connection.closed()).await.is_err() {
        transport::close(connection, CloseCode::Protocol);
    }
    lost(connection)
}

async fn sleep_until(due: Option<MonoTime>, clock: &dyn Clock) {
    match due {
        Some(due) => sleep(due.since(clock.mono())).await,
        None => std::future::pending().await,
    }
}

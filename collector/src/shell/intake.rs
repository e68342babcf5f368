//! What agents say, turned into writes.

use super::agents::{Connections, Directives};
use super::core::{Job, Reply};
use super::counters::{Counters, count};
use super::enrolment::Enrolment;
use super::health::Healths;
use super::policy::PolicyDesk;
use super::twins::{Conflict, Life, Twins};
use crate::store::{AgentWrite, BatchWrite, QUARANTINE_RAW_BYTES_MAX, QuarantineWrite, Write};
use std::net::IpAddr;
use std::sync::Arc;
use tokio::sync::{Semaphore, mpsc, watch};
use vedette_link::clock::Clock;
use vedette_link::server::{ConnectionId, ServerEvent, ServerHandle};
use vedette_protocol::ids::{HostId, Sequence, TenantId};
use vedette_protocol::session::agent::FIRST_SEQUENCE;
use vedette_protocol::v1::{Batch, BatchKey, DecodeError, Hello, InEffect};

/// Bytes of batches that wait for their commit; further ones wait in the network.
const ROOM_BYTES: u32 = 32 << 20;
/// The least that one batch is reckoned to take.
const BATCH_BYTES_MIN: u32 = 4 << 10;

/// The intake's task.
pub(crate) struct Intake {
    events: mpsc::Receiver<ServerEvent>,
    jobs: mpsc::Sender<Job>,
    server: ServerHandle,
    connections: Connections,
    directives: Arc<Directives>,
    policy: Arc<PolicyDesk>,
    twins: Arc<Twins>,
    healths: Arc<Healths>,
    enrolment: Arc<Enrolment>,
    counters: Arc<Counters>,
    clock: Arc<dyn Clock>,
    room: Arc<Semaphore>,
}

/// What the intake works with.
pub(crate) struct IntakeParts {
    pub(crate) events: mpsc::Receiver<ServerEvent>,
    pub(crate) jobs: mpsc::Sender<Job>,
    pub(crate) server: ServerHandle,
    pub(crate) directives: Arc<Directives>,
    pub(crate) policy: Arc<PolicyDesk>,
    pub(crate) twins: Arc<Twins>,
    pub(crate) healths: Arc<Healths>,
    pub(crate) enrolment: Arc<Enrolment>,
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: Arc<dyn Clock>,
}

impl Intake {
    pub(crate) fn new(parts: IntakeParts) -> Self {
        Self {
            events: parts.events,
            jobs: parts.jobs,
            server: parts.server,
            connections: Connections::new(),
            directives: parts.directives,
            policy: parts.policy,
            twins: parts.twins,
            healths: parts.healths,
            enrolment: parts.enrolment,
            counters: parts.counters,
            clock: parts.clock,
            room: Arc::new(Semaphore::new(ROOM_BYTES as usize)),
        }
    }

    /// Works until `stopped` says so or the writer is gone. What is not acknowledged then is sent again.
    pub(crate) async fn run(mut self, mut stopped: watch::Receiver<bool>) {
        loop {
            let event = tokio::select! {
                event = self.events.recv() => event,
                _ = stopped.wait_for(|stop| *stop) => return,
            };
            let Some(event) = event else { return };
            if self.handle(event).await.is_err() {
                return;
            }
        }
    }

    async fn handle(&mut self, event: ServerEvent) -> Result<(), mpsc::error::SendError<Job>> {
        match event {
            ServerEvent::Connected { connection, identity, address, hello, skew_ns } => {
                self.look_for_twins(identity.host, &hello, address.ip());
                self.connections.entry(connection).or_default().tenant = identity.tenant;
                self.connected(connection, identity.host, hello, skew_ns).await
            }
            ServerEvent::Clock { connection, host, skew_ns, .. } => {
                self.connections.entry(connection).or_default().offset_ns = skew_ns.saturating_neg();
                self.agent(host, AgentWrite::Clock { skew_ns }).await
            }
            ServerEvent::Batch { connection, host, raw, key, batch } => {
                self.batch(connection, host, raw, key, batch).await
            }
            ServerEvent::InEffect { connection, host, in_effect } => self.in_effect(connection, host, in_effect).await,
            ServerEvent::Health { connection, host, health } => {
                self.healths.handle_told(connection, host, health);
                Ok(())
            }
            ServerEvent::Heartbeat { connection, host, heartbeat } => {
                let Some(queue_epoch) = self.connections.get(&connection).and_then(|live| live.queue_epoch) else {
                    return Ok(());
                };
                let (made, shed) = (heartbeat.batches_made, heartbeat.batches_shed);
                self.agent(host, AgentWrite::Heartbeat { queue_epoch, made, shed }).await
            }
            ServerEvent::Disconnected { connection, host, reason } => {
                self.connections.remove(&connection);
                self.healths.handle_gone(connection, host);
                tracing::info!(host.id = %host, reason, "agent disconnected");
                Ok(())
            }
            ServerEvent::Renew { connection, identity, request } => {
                self.server.renew(connection, self.enrolment.renew(&identity, &request));
                Ok(())
            }
            ServerEvent::Enroll { address, request, reply } => {
                let enrolment = Arc::clone(&self.enrolment);
                tokio::spawn(async move { enrolment.answer(address, request, reply).await });
                Ok(())
            }
        }
    }

    fn look_for_twins(&self, host: HostId, hello: &Hello, address: IpAddr) {
        let life = Life { boot: hello.boot, queue_epoch: hello.queue_epoch, first: first_sequence(hello) };
        let Some(Conflict { addresses: [one, other], is_new }) =
            self.twins.handle_hello(self.clock.mono(), host, life, address)
        else {
            return;
        };
        count(&self.counters.identity_conflicts);
        if is_new {
            let name = &hello.host_name;
            tracing::warn!(host.id = %host, host.name = name, %one, %other, "two agents run with one identity");
        }
    }

    async fn connected(
        &mut self,
        connection: ConnectionId,
        host: HostId,
        hello: Hello,
        skew_ns: i64,
    ) -> Result<(), mpsc::error::SendError<Job>> {
        tracing::info!(host.id = %host, host.name = hello.host_name, skew_ns, "agent connected");
        let live = self.connections.entry(connection).or_default();
        live.offset_ns = skew_ns.saturating_neg();
        live.queue_epoch = Some(hello.queue_epoch);
        if let Some(policy) = self.policy.current() {
            self.server.send_policy(connection, policy.signed.clone());
        }
        for directive in self.directives.live(host, self.clock.wall()) {
            self.server.send_directive(connection, directive);
        }
        let first_sequence = first_sequence(&hello);
        let Hello { host_name, software, queue_epoch, .. } = hello;
        self.agent(host, AgentWrite::Hello { host_name, software, queue_epoch, first_sequence, skew_ns }).await
    }

    async fn batch(
        &mut self,
        connection: ConnectionId,
        host: HostId,
        raw: Vec<u8>,
        key: Option<BatchKey>,
        batch: Result<Batch, DecodeError>,
    ) -> Result<(), mpsc::error::SendError<Job>> {
        let wire_bytes = u32::try_from(raw.len()).unwrap_or(u32::MAX);
        let room = Arc::clone(&self.room).acquire_many_owned(wire_bytes.clamp(BATCH_BYTES_MIN, ROOM_BYTES)).await.ok();
        let live = self.connections.get(&connection);
        let (offset_ns, tenant) = live.map_or((0, TenantId::default()), |live| (live.offset_ns, live.tenant));
        let received = self.clock.wall();
        let batch = match batch {
            Ok(batch) if batch.tenant != tenant => Err("tenant"),
            Ok(batch) => Ok(batch),
            Err(error) => Err(error.reason()),
        };
        let write = match batch {
            Ok(batch) => Write::Batch(Box::new(BatchWrite { host, offset_ns, received, wire_bytes, batch })),
            Err(reason) => {
                tracing::warn!(host.id = %host, reason, "a frame cannot be used and is kept aside");
                let key = key.map(|key| (key.queue_epoch, key.sequence));
                let mut raw = raw;
                raw.truncate(QUARANTINE_RAW_BYTES_MAX);
                Write::Quarantine(QuarantineWrite { host, key, received, reason: reason.to_owned(), wire_bytes, raw })
            }
        };
        let reply = match key {
            Some(key) => Reply::Ack(connection, key.queue_epoch, key.sequence),
            None => {
                count(&self.counters.frames_without_key);
                Reply::None
            }
        };
        self.jobs.send(Job { write, reply, room }).await
    }

    async fn in_effect(
        &mut self,
        connection: ConnectionId,
        host: HostId,
        in_effect: InEffect,
    ) -> Result<(), mpsc::error::SendError<Job>> {
        let live = self.connections.entry(connection).or_default();
        live.in_effect.retain(|directive| in_effect.directives.contains(directive));
        let fresh: Vec<_> =
            in_effect.directives.iter().copied().filter(|directive| live.in_effect.insert(*directive)).collect();
        let at = self.clock.wall();
        for directive in fresh {
            self.write(Write::DirectiveInEffect { at, directive, host }).await?;
        }
        self.agent(host, AgentWrite::InEffect(Box::new(in_effect))).await
    }

    async fn agent(&self, host: HostId, write: AgentWrite) -> Result<(), mpsc::error::SendError<Job>> {
        self.write(Write::Agent { host, at: self.clock.wall(), write }).await
    }

    async fn write(&self, write: Write) -> Result<(), mpsc::error::SendError<Job>> {
        self.jobs.send(Job { write, reply: Reply::None, room: None }).await
    }
}

/// Zero if the agent does not say.
fn first_sequence(hello: &Hello) -> Sequence {
    let told = hello.resource.iter().find(|(name, _)| name == FIRST_SEQUENCE);
    Sequence(told.and_then(|(_, value)| value.parse().ok()).unwrap_or(0))
}

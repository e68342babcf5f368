//! One agent's connection: feeds the session and does what it says.

use super::peers::{Command, Registered, Shared};
use super::verify::count_refusal;
use super::{ConnectionId, PeerIdentity, ServerEvent, count};
use crate::transport;
use quinn::{Connection, ReadError, RecvStream, SendStream};
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::{SemaphorePermit, mpsc};
use tokio::task::JoinSet;
use tokio::time::{sleep, timeout};
use vedette_protocol::envelope::{Kind, OVERHEAD_BYTES};
use vedette_protocol::ids::HostId;
use vedette_protocol::session::collector::{CollectorEvent, CollectorSession, CollectorTransmit};
use vedette_protocol::session::{BATCH_TIMEOUT, CloseCode, GREETING_TIMEOUT, STREAM_WINDOW_BYTES};
use vedette_protocol::time::MonoTime;
use vedette_protocol::v1::{Batch, DecodeError, Invalid, batch_key, decode};

/// Bytes read from the control stream at one time.
const CONTROL_CHUNK_BYTES: usize = 4 << 10;

/// Time for a control message to fit into the agent's window.
const WRITE_TIMEOUT: Duration = Duration::from_secs(10);

struct Drive {
    shared: Arc<Shared>,
    connection: Connection,
    id: ConnectionId,
    identity: PeerIdentity,
    session: CollectorSession,
    control: SendStream,
    readers: JoinSet<()>,
    greeted: bool,
}

/// Runs one admitted connection to its end.
pub(super) async fn run(shared: &Arc<Shared>, connection: &Connection, identity: PeerIdentity) {
    let Ok(Ok((control, incoming))) = timeout(GREETING_TIMEOUT, connection.accept_bi()).await else {
        return transport::close(connection, CloseCode::Timeout);
    };
    let (registered, commands): (Registered, _) = shared.enter(identity.host, connection);
    let drive = Drive {
        shared: Arc::clone(shared),
        connection: connection.clone(),
        id: registered.id,
        identity,
        session: CollectorSession::new(shared.config.clock.mono()),
        control,
        readers: JoinSet::new(),
        greeted: false,
    };
    drive.run(incoming, commands).await;
    drop(registered);
}

impl Drive {
    async fn run(mut self, mut incoming: RecvStream, mut commands: mpsc::Receiver<Command>) {
        let mut recheck = self.shared.recheck.subscribe();
        let mut chunk = vec![0; CONTROL_CHUNK_BYTES];
        // A revocation may have come between the handshake and the subscription.
        recheck.mark_changed();
        while self.pump().await {
            let time_left = self.time_left();
            tokio::select! {
                biased;
                _ = self.connection.closed() => break,
                Ok(()) = recheck.changed() => self.recheck(),
                Some(command) = commands.recv() => self.obey(command),
                read = incoming.read(&mut chunk) => match read {
                    Ok(Some(bytes)) => {
                        let (mono, wall) = self.now();
                        self.session.handle_control(mono, wall, &chunk[..bytes]);
                    }
                    Ok(None) => self.session.close(CloseCode::Done),
                    Err(_) => self.session.close(CloseCode::Protocol),
                },
                Ok(stream) = self.connection.accept_uni() => self.accept(stream),
                Some(_) = self.readers.join_next() => {}
                () = sleep(time_left) => self.handle_timeout(),
            }
        }
        // No batch may follow the goodbye.
        self.readers.shutdown().await;
        self.say_goodbye().await;
    }

    /// Does all that the session asks for; false at the end of the connection.
    async fn pump(&mut self) -> bool {
        while let Some(event) = self.session.poll_event() {
            let event = self.translate(event);
            if self.shared.events.send(event).await.is_err() {
                self.session.close(CloseCode::Shutdown);
            }
        }
        while let Some(transmit) = self.session.poll_transmit() {
            match transmit {
                CollectorTransmit::Control(bytes) => {
                    match timeout(WRITE_TIMEOUT, self.control.write_all(&bytes)).await {
                        Ok(Ok(())) => {}
                        Ok(Err(_)) => return false,
                        Err(_) => {
                            count(&self.shared.counters.slow_peers);
                            transport::close(&self.connection, CloseCode::Slow);
                            return false;
                        }
                    }
                }
                CollectorTransmit::Close(code) => {
                    if matches!(code, CloseCode::Protocol | CloseCode::Version) {
                        count(&self.shared.counters.protocol_errors);
                    }
                    transport::close(&self.connection, code);
                    return false;
                }
            }
        }
        true
    }

    fn translate(&mut self, event: CollectorEvent) -> ServerEvent {
        let (connection, host) = (self.id, self.identity.host);
        match event {
            CollectorEvent::Hello { hello, skew_ns } => {
                self.greeted = true;
                let address = self.connection.remote_address();
                ServerEvent::Connected { connection, identity: self.identity, address, hello, skew_ns }
            }
            CollectorEvent::Clock { skew_ns, rtt_ns } => ServerEvent::Clock { connection, host, skew_ns, rtt_ns },
            CollectorEvent::InEffect(in_effect) => ServerEvent::InEffect { connection, host, in_effect },
            CollectorEvent::Health(health) => ServerEvent::Health { connection, host, health },
            CollectorEvent::Heartbeat(heartbeat) => ServerEvent::Heartbeat { connection, host, heartbeat },
            CollectorEvent::Renew(request) => {
                count(&self.shared.counters.renewals);
                ServerEvent::Renew { connection, identity: self.identity, request }
            }
        }
    }

    fn recheck(&mut self) {
        if self.shared.config.gate.admit(&self.identity).is_err() {
            count_refusal(&self.shared.counters, CloseCode::Denied);
            self.session.close(CloseCode::Denied);
        }
    }

    fn obey(&mut self, command: Command) {
        let sent = match command {
            Command::Ack(queue_epoch, outcomes) => {
                self.session.ack(queue_epoch, &outcomes);
                Ok(())
            }
            Command::Policy(signed) => self.session.send_policy(signed),
            Command::Directive(signed) => self.session.send_directive(signed),
            Command::Renew(reply) => self.session.renew(&reply),
            Command::BeginAnew(queue_epoch) => self.session.begin_anew(queue_epoch),
            Command::RetryAfter(delay_ms) => {
                self.session.retry_after(delay_ms);
                Ok(())
            }
        };
        if let Err(error) = sent {
            tracing::warn!(host.id = %self.identity.host, %error, "message not sent");
        }
    }

    fn accept(&mut self, stream: RecvStream) {
        if !self.session.is_ready() {
            return self.session.close(CloseCode::Protocol);
        }
        let reader = BatchReader { shared: Arc::clone(&self.shared), connection: self.id, identity: self.identity };
        self.readers.spawn(reader.run(stream));
    }

    fn handle_timeout(&mut self) {
        let (mono, wall) = self.now();
        if wall >= self.identity.not_after {
            count_refusal(&self.shared.counters, CloseCode::Expired);
            self.session.close(CloseCode::Expired);
        }
        self.session.handle_timeout(mono, wall);
    }

    /// Until the session or the end of the certificate's life needs attention.
    fn time_left(&self) -> Duration {
        let (mono, wall) = self.now();
        let life_ns = self.identity.not_after.unix_ns.saturating_sub(wall.unix_ns);
        let life = Duration::from_nanos(u64::try_from(life_ns).unwrap_or(0));
        self.session.poll_timeout().map_or(life, |due| due.since(mono).min(life))
    }

    fn now(&self) -> (MonoTime, vedette_protocol::time::WallTime) {
        let clock = &self.shared.config.clock;
        (clock.mono(), clock.wall())
    }

    async fn say_goodbye(self) {
        if self.greeted {
            let reason = self.connection.close_reason();
            let reason = reason.map_or_else(|| "closed".to_owned(), |error| transport::describe(&error));
            let event = ServerEvent::Disconnected { connection: self.id, host: self.identity.host, reason };
            // A collector that no longer listens goes down anyway.
            let _ = self.shared.events.send(event).await;
        }
    }
}

/// Reads one batch. Large ones need a permit until they have a place in the queue of events, so that a fleet's worth of
/// them never fills the memory, however slow the collector is.
struct BatchReader {
    shared: Arc<Shared>,
    connection: ConnectionId,
    identity: PeerIdentity,
}

impl BatchReader {
    async fn run(self, mut stream: RecvStream) {
        match timeout(BATCH_TIMEOUT, self.read(&mut stream)).await {
            Ok(Ok(Some((raw, permit)))) => {
                self.pass_on(raw).await;
                drop(permit);
            }
            _ => {
                let _ = stream.stop(transport::error_code(CloseCode::Protocol));
                count(&self.shared.counters.batch_streams_failed);
            }
        }
    }

    /// `None` if the stream is longer than any batch.
    async fn read(&self, stream: &mut RecvStream) -> Result<Option<(Vec<u8>, Option<SemaphorePermit<'_>>)>, ReadError> {
        let mut raw = Vec::new();
        let mut permit = None;
        while let Some(chunk) = stream.read_chunk(STREAM_WINDOW_BYTES, true).await? {
            if raw.len() + chunk.bytes.len() > Kind::Batch.payload_bytes_max() + OVERHEAD_BYTES {
                return Ok(None);
            }
            raw.extend_from_slice(&chunk.bytes);
            if raw.len() > STREAM_WINDOW_BYTES && permit.is_none() {
                permit = self.shared.large_batches.acquire().await.ok();
            }
        }
        Ok(Some((raw, permit)))
    }

    async fn pass_on(&self, raw: Vec<u8>) {
        let batch = decode::<Batch>(&raw).and_then(|batch| self.own(batch));
        count(&self.shared.counters.batches);
        if batch.is_err() {
            count(&self.shared.counters.batches_undecodable);
        }
        let (connection, host, key): (_, HostId, _) = (self.connection, self.identity.host, batch_key(&raw));
        let event = ServerEvent::Batch { connection, host, raw, key, batch };
        let _ = self.shared.events.send(event).await;
    }

    /// An agent speaks for its own tenant only.
    fn own(&self, batch: Batch) -> Result<Batch, DecodeError> {
        let own = batch.tenant == self.identity.tenant;
        own.then_some(batch).ok_or(DecodeError::Invalid(Invalid::Number { field: "tenant" }))
    }
}

//! An agent's spool and session, a collector's session and store, and the network between them.

use std::collections::BTreeSet;
use std::collections::btree_map::{BTreeMap, Entry};
use std::sync::Arc;
use std::time::Duration;
use vedette_protocol::ids::{BootId, QueueEpoch, Sequence, TenantId};
use vedette_protocol::session::agent::{AgentEvent, AgentIdentity, AgentSession, AgentTransmit, EncodedBatch};
use vedette_protocol::session::backoff::Backoff;
use vedette_protocol::session::collector::{CollectorSession, CollectorTransmit};
use vedette_protocol::time::MonoTime;
use vedette_protocol::v1::{Batch, Body, Class, LogWindow, Outcome, Template, decode, encode};
use vedette_sim::{Clock, Delivery, Lane, Network, Quality, Rng, Schedule, Seed, Side, Traffic};

const EPOCH: QueueEpoch = QueueEpoch(7);
/// The control stream; batch `n` travels on stream `n`, and sequences start at 1.
const CONTROL: Lane = Lane::Stream(0);
/// From the arrival of a batch to its commit.
const COMMIT: Duration = Duration::from_millis(20);

/// What the plan of a run holds.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) enum Happening {
    /// The agent makes a batch of about this many bytes.
    Make(Class, u64),
    /// The connection breaks; both ends go on.
    Cut,
    /// The collector dies with what it had not committed, and is back at once.
    Crash,
    /// Nothing passes.
    Partition,
    /// It passes again.
    Heal,
    /// The agent tries to connect.
    Connect,
    /// What arrived is written, unless the collector died since.
    Commit(Sequence, Life),
}

/// A collector between two crashes, and a connection of it.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Life {
    collector: u32,
    connection: u32,
}

/// A batch with the time at which it was made.
struct Made {
    at: MonoTime,
    batch: EncodedBatch,
}

/// The whole run.
pub(super) struct World {
    clock: Clock,
    network: Network,
    plan: Schedule<Happening>,
    rng: Rng,
    made: BTreeMap<Sequence, Made>,
    spool: BTreeSet<Sequence>,
    acknowledged: BTreeMap<Sequence, u32>,
    agent: AgentSession,
    backoff: Backoff,
    session: Option<CollectorSession>,
    life: Life,
    /// Arrived at the collector, not committed yet.
    arrived: BTreeMap<Sequence, Vec<u8>>,
    store: BTreeMap<Sequence, Vec<u8>>,
    committed_at: BTreeMap<Sequence, MonoTime>,
    duplicates: u64,
}

impl World {
    /// Nothing is connected; the first try is planned for the start.
    pub(super) fn new(seed: Seed, quality: Quality) -> Self {
        let identity = AgentIdentity {
            software: "sim".to_owned(),
            host_name: "host".to_owned(),
            boot: BootId([1; 16]),
            queue_epoch: EPOCH,
            resource: Vec::new(),
        };
        let mut world = Self {
            clock: Clock::new(),
            network: Network::new(quality, seed.rng("network")),
            plan: Schedule::new(),
            rng: seed.rng("world"),
            made: BTreeMap::new(),
            spool: BTreeSet::new(),
            acknowledged: BTreeMap::new(),
            agent: AgentSession::new(identity, seed.0),
            backoff: Backoff::new(seed.0),
            session: None,
            life: Life { collector: 0, connection: 0 },
            arrived: BTreeMap::new(),
            store: BTreeMap::new(),
            committed_at: BTreeMap::new(),
            duplicates: 0,
        };
        world.plan(Duration::ZERO, Happening::Connect);
        world
    }

    /// Plans something at this time from now.
    pub(super) fn plan(&mut self, after: Duration, happening: Happening) {
        self.plan.at(self.clock.mono() + after, happening);
    }

    /// Runs for this long.
    pub(super) fn run(&mut self, duration: Duration) {
        let end = self.clock.mono() + duration;
        loop {
            self.settle();
            let session = self.session.as_ref().and_then(CollectorSession::poll_timeout);
            let due = [self.network.next_at(), self.plan.next_at(), self.agent.poll_timeout(), session];
            let next = due.into_iter().flatten().min().unwrap_or(end).min(end);
            self.clock.advance(next.since(self.clock.mono()));
            if next == end {
                return;
            }
            self.step(next);
        }
    }

    pub(super) fn made(&self) -> usize {
        self.made.len()
    }

    pub(super) fn unacknowledged(&self) -> usize {
        self.spool.len()
    }

    /// Batches that arrived although they were in the store.
    pub(super) fn duplicates(&self) -> u64 {
        self.duplicates
    }

    pub(super) fn traffic(&self) -> Traffic {
        self.network.traffic()
    }

    /// Time from the making to the commit, of each committed batch of a class in order of making.
    pub(super) fn latencies(&self, class: Class) -> Vec<Duration> {
        let of_class = self.made.iter().filter(|(_, made)| made.batch.class == class);
        of_class.filter_map(|(sequence, made)| Some(self.committed_at.get(sequence)?.since(made.at))).collect()
    }

    pub(super) fn assert_store_holds_exactly_what_was_made(&self) {
        assert!(self.store.keys().eq(self.made.keys()), "stored {:?}", self.store.keys());
        for (sequence, bytes) in &self.store {
            assert_eq!(**bytes, *self.made[sequence].batch.bytes, "batch {sequence:?} changed on the way");
        }
    }

    pub(super) fn assert_each_was_acknowledged_once(&self) {
        assert!(self.acknowledged.keys().eq(self.made.keys()));
        assert!(self.acknowledged.values().all(|&times| times == 1), "{:?}", self.acknowledged);
    }

    /// Does all that is due at `now`.
    fn step(&mut self, now: MonoTime) {
        while let Some(delivery) = self.network.receive(now) {
            self.deliver(now, delivery);
        }
        while let Some((_, happening)) = self.plan.pop_until(now) {
            self.happen(now, happening);
        }
        let wall = self.clock.wall();
        if self.agent.poll_timeout().is_some_and(|due| due <= now) {
            self.agent.handle_timeout(now, wall);
        }
        if let Some(session) = self.session.as_mut().filter(|s| s.poll_timeout().is_some_and(|due| due <= now)) {
            session.handle_timeout(now, wall);
        }
    }

    fn happen(&mut self, now: MonoTime, happening: Happening) {
        match happening {
            Happening::Make(class, bytes) => self.make(now, class, bytes),
            Happening::Cut => self.disconnect(),
            Happening::Crash => {
                self.life.collector += 1;
                self.arrived.clear();
                self.disconnect();
            }
            Happening::Partition => self.network.partition(),
            Happening::Heal => self.network.heal(now),
            Happening::Connect => {
                self.life.connection += 1;
                self.session = Some(CollectorSession::new(now));
                self.agent.handle_connected(now, self.clock.wall());
            }
            Happening::Commit(sequence, life) => self.commit(now, sequence, life),
        }
    }

    fn make(&mut self, now: MonoTime, class: Class, bytes: u64) {
        let sequence = Sequence(self.made.len() as u64 + 1);
        // The content does not matter to delivery; its size and that it arrives unchanged do.
        let noise = (0..bytes.div_ceil(16)).map(|_| format!("{:016x}", self.rng.bits())).collect();
        let template = Template { id: vedette_protocol::ids::TemplateId(0), text: String::new(), exemplar: noise };
        let templates = split(template);
        let wall = self.clock.wall();
        let body = Body::Logs(LogWindow {
            source: "/var/log/app.log".to_owned(),
            end: wall,
            window_ms: 1_000,
            counts: Vec::new(),
            templates,
        });
        let batch = Batch {
            tenant: TenantId::default(),
            boot: BootId([1; 16]),
            queue_epoch: EPOCH,
            sequence,
            class,
            mono: now,
            wall,
            cursors: Vec::new(),
            body,
        };
        let bytes: Arc<[u8]> = encode(&batch).expect("a batch within the limits").into();
        self.made.insert(sequence, Made { at: now, batch: EncodedBatch { sequence, class, bytes } });
        self.spool.insert(sequence);
    }

    fn deliver(&mut self, now: MonoTime, delivery: Delivery) {
        let wall = self.clock.wall();
        let Delivery { to, lane, frame, .. } = delivery;
        match (to, lane, &mut self.session) {
            (Side::A, ..) => self.agent.handle_control(now, wall, &frame),
            (Side::B, CONTROL, Some(session)) => session.handle_control(now, wall, &frame),
            (Side::B, _, Some(session)) => {
                assert!(session.is_ready(), "a batch came before the greeting");
                let batch: Batch = decode(&frame).expect("streams do not damage");
                self.arrived.insert(batch.sequence, frame);
                self.plan.at(now + COMMIT, Happening::Commit(batch.sequence, self.life));
            }
            (Side::B, _, None) => panic!("a frame outlived its connection"),
        }
    }

    fn commit(&mut self, now: MonoTime, sequence: Sequence, life: Life) {
        if life.collector != self.life.collector {
            return;
        }
        let Some(bytes) = self.arrived.remove(&sequence) else { return };
        let outcome = match self.store.entry(sequence) {
            Entry::Occupied(_) => {
                self.duplicates += 1;
                Outcome::Duplicate
            }
            Entry::Vacant(free) => {
                free.insert(bytes);
                self.committed_at.insert(sequence, now);
                Outcome::Committed
            }
        };
        if let Some(session) = self.session.as_mut().filter(|_| life.connection == self.life.connection) {
            session.ack(EPOCH, &[(sequence, outcome)]);
        }
    }

    /// Carries out what both sessions want until they want nothing more.
    fn settle(&mut self) {
        let now = self.clock.mono();
        loop {
            // Before anything is offered: what was acknowledged is out of the spool.
            self.hear();
            self.offer(now);
            let agent = self.agent.poll_transmit();
            let collector = self.session.as_mut().and_then(CollectorSession::poll_transmit);
            if agent.is_none() && collector.is_none() {
                return;
            }
            match agent {
                Some(AgentTransmit::Control(bytes)) => self.send_control(now, Side::A, &bytes),
                Some(AgentTransmit::Batch(batch)) => {
                    self.network.send(now, Side::A, Lane::Stream(batch.sequence.0), batch.bytes.to_vec());
                }
                Some(AgentTransmit::Close(_)) => self.disconnect(),
                None => {}
            }
            match collector {
                Some(CollectorTransmit::Control(bytes)) => self.send_control(now, Side::B, &bytes),
                Some(CollectorTransmit::Close(_)) => self.disconnect(),
                None => {}
            }
        }
    }

    /// Hands in what waits in the spool and fits, findings first.
    fn offer(&mut self, now: MonoTime) {
        for class in [Class::Finding, Class::Feature, Class::Log] {
            let waiting: Vec<EncodedBatch> = self
                .spool
                .iter()
                .map(|sequence| &self.made[sequence].batch)
                .filter(|b| b.class == class)
                .cloned()
                .collect();
            for batch in waiting {
                if !self.agent.has_room(class) {
                    break;
                }
                self.agent.handle_batch(now, batch);
            }
        }
    }

    fn hear(&mut self) {
        while let Some(event) = self.agent.poll_event() {
            match event {
                AgentEvent::Acked { sequence, .. } => {
                    assert!(self.store.contains_key(&sequence), "an acknowledgement came before the commit");
                    self.spool.remove(&sequence);
                    *self.acknowledged.entry(sequence).or_default() += 1;
                }
                AgentEvent::Connected { .. } => self.backoff.reset(),
                other => panic!("nobody sent {other:?}"),
            }
        }
        if let Some(session) = &mut self.session {
            while session.poll_event().is_some() {}
        }
    }

    /// Streams have no frames: bytes arrive in other pieces than they were sent.
    fn send_control(&mut self, now: MonoTime, from: Side, bytes: &[u8]) {
        let at = usize::try_from(self.rng.below(bytes.len() as u64)).expect("an index into a slice");
        for piece in [&bytes[..at], &bytes[at..]].into_iter().filter(|piece| !piece.is_empty()) {
            self.network.send(now, from, CONTROL, piece.to_vec());
        }
    }

    fn disconnect(&mut self) {
        if self.session.take().is_some() {
            self.network.cut();
            self.agent.handle_disconnected();
            let delay = self.backoff.next_delay();
            self.plan(delay, Happening::Connect);
        }
    }
}

/// Templates of at most 4 KiB text each, with the same text in sum.
fn split(template: Template) -> Vec<Template> {
    let pieces = template.exemplar.as_bytes().chunks(4_096).map(|piece| String::from_utf8_lossy(piece).into_owned());
    pieces.map(|exemplar| Template { exemplar, ..template.clone() }).collect()
}

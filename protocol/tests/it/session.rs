//! Both halves of the session over a simulated network in virtual time: latency, dropped connections, a collector that
//! dies between commit and acknowledgement. Everything follows from the seed, which every failure prints.

use super::halves::greeted;
use super::samples;
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;
use vedette_protocol::envelope::{Kind, seal};
use vedette_protocol::ids::{BootId, QueueEpoch, Sequence};
use vedette_protocol::session::agent::{AgentEvent, AgentIdentity, AgentSession, AgentTransmit, EncodedBatch};
use vedette_protocol::session::backoff::{Backoff, Jitter};
use vedette_protocol::session::collector::{CollectorEvent, CollectorSession, CollectorTransmit};
use vedette_protocol::session::{BULK_BYTES_IN_FLIGHT_MAX, BULK_IN_FLIGHT_MAX, STREAM_WINDOW_BYTES};
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::*;

pub(crate) const EPOCH: QueueEpoch = QueueEpoch(0x0123_4567_89ab_cdef);
pub(crate) const START: WallTime = WallTime::from_unix_ms(1_790_000_000_000);

pub(crate) fn identity() -> AgentIdentity {
    AgentIdentity {
        software: "0.1.0".into(),
        host_name: "web-1".into(),
        boot: BootId([1; 16]),
        queue_epoch: EPOCH,
        resource: vec![],
    }
}

pub(crate) fn encoded(sequence: u64, class: Class, bulk_bytes: usize) -> EncodedBatch {
    let mut batch = samples::batch(sequence, class, Body::Changes(vec![]));
    batch.cursors[0].position = vec![0; bulk_bytes.min(4_096)];
    EncodedBatch { sequence: Sequence(sequence), class, bytes: encode(&batch).unwrap().into() }
}

/// What is under way.
enum Flight {
    ToCollector(Vec<u8>),
    ToAgent(Vec<u8>),
    Batch(EncodedBatch),
    Committed(Sequence),
    Cut,
    Reconnect,
}

/// One agent with its spool, one collector with its store, and the network between them.
struct World {
    now: MonoTime,
    jitter: Jitter,
    agent: AgentSession,
    collector: Option<CollectorSession>,
    backoff: Backoff,
    /// By time of arrival and a running number; `u64` of the connection it belongs to.
    flights: BTreeMap<(MonoTime, u64), (u64, Flight)>,
    numbers: u64,
    connection: u64,
    control_clear: [MonoTime; 2],
    spool: BTreeMap<Sequence, EncodedBatch>,
    unsent: VecDeque<Sequence>,
    acked: BTreeMap<Sequence, (u32, Duration)>,
    handed_in: BTreeMap<Sequence, MonoTime>,
    store: BTreeSet<Sequence>,
    duplicates: u32,
    cuts: u32,
    agent_clock_ahead_ns: i64,
    skew_ns: Option<i64>,
    offset_ns: Option<i64>,
    commit: Duration,
}

impl World {
    fn new(seed: u64) -> Self {
        let mut world = Self {
            now: MonoTime::from_ms(1_000),
            jitter: Jitter::new(seed),
            agent: AgentSession::new(identity(), seed),
            collector: None,
            backoff: Backoff::new(seed),
            flights: BTreeMap::new(),
            numbers: 0,
            connection: 0,
            control_clear: [MonoTime::default(); 2],
            spool: BTreeMap::new(),
            unsent: VecDeque::new(),
            acked: BTreeMap::new(),
            handed_in: BTreeMap::new(),
            store: BTreeSet::new(),
            duplicates: 0,
            cuts: 0,
            agent_clock_ahead_ns: 1_500_000_000,
            skew_ns: None,
            offset_ns: None,
            commit: Duration::from_millis(5),
        };
        world.fly(Duration::ZERO, Flight::Reconnect);
        world
    }

    fn agent_wall(&self) -> WallTime {
        self.collector_wall().offset_by(self.agent_clock_ahead_ns)
    }

    fn collector_wall(&self) -> WallTime {
        START.offset_by(i64::try_from(self.now.ns).unwrap())
    }

    fn fly(&mut self, delay: Duration, flight: Flight) {
        self.numbers += 1;
        self.flights.insert((self.now + delay, self.numbers), (self.connection, flight));
    }

    /// A stream keeps its order; loss is latency to those above QUIC.
    fn fly_in_order(&mut self, direction: usize, flight: Flight) {
        let arrival = (self.now + self.latency()).max(self.control_clear[direction]);
        self.control_clear[direction] = arrival;
        self.fly(arrival.since(self.now), flight);
    }

    fn latency(&mut self) -> Duration {
        let lost = self.jitter.within(&(0..=99)) < 10;
        Duration::from_millis(self.jitter.within(&(5..=30)) + if lost { 200 } else { 0 })
    }

    fn hand_in(&mut self, batch: EncodedBatch) {
        self.handed_in.insert(batch.sequence, self.now);
        self.unsent.push_back(batch.sequence);
        self.spool.insert(batch.sequence, batch);
        self.pump();
    }

    fn run_for(&mut self, duration: Duration) {
        let end = self.now + duration;
        loop {
            let due = [
                self.flights.first_key_value().map(|((at, _), _)| *at),
                self.agent.poll_timeout(),
                self.collector.as_ref().and_then(CollectorSession::poll_timeout),
            ];
            let next = due.into_iter().flatten().min().filter(|at| *at <= end);
            let Some(next) = next else { break };
            self.now = self.now.max(next);
            self.step();
        }
        self.now = end;
    }

    fn step(&mut self) {
        let (now, agent_wall, collector_wall) = (self.now, self.agent_wall(), self.collector_wall());
        if self.agent.poll_timeout().is_some_and(|at| at <= now) {
            self.agent.handle_timeout(now, agent_wall);
        }
        if let Some(collector) = self.collector.as_mut().filter(|half| half.poll_timeout().is_some_and(|at| at <= now))
        {
            collector.handle_timeout(now, collector_wall);
        }
        while let Some(entry) = self.flights.first_entry().filter(|entry| entry.key().0 <= now) {
            let (connection, flight) = entry.remove();
            if connection == self.connection {
                self.arrive(flight);
            }
        }
        self.pump();
    }

    fn arrive(&mut self, flight: Flight) {
        let (now, agent_wall, collector_wall) = (self.now, self.agent_wall(), self.collector_wall());
        match flight {
            Flight::Reconnect => {
                self.connection += 1;
                self.control_clear = [now; 2];
                self.collector = Some(CollectorSession::new(now));
                self.agent.handle_connected(now, agent_wall);
            }
            Flight::Cut => self.cut(),
            Flight::ToAgent(bytes) => self.agent.handle_control(now, agent_wall, &bytes),
            Flight::ToCollector(bytes) => {
                if let Some(collector) = &mut self.collector {
                    collector.handle_control(now, collector_wall, &bytes);
                }
            }
            Flight::Batch(batch) => {
                assert!(self.collector.as_ref().is_some_and(CollectorSession::is_ready), "a batch before the welcome");
                let decoded: Batch = decode(&batch.bytes).unwrap();
                let commit = self.commit;
                self.fly(commit, Flight::Committed(decoded.sequence));
            }
            Flight::Committed(sequence) => {
                let new = self.store.insert(sequence);
                self.duplicates += u32::from(!new);
                let outcome = if new { Outcome::Committed } else { Outcome::Duplicate };
                if let Some(collector) = &mut self.collector {
                    collector.ack(EPOCH, &[(sequence, outcome)]);
                }
            }
        }
    }

    fn cut(&mut self) {
        self.cuts += 1;
        self.connection += 1;
        self.collector = None;
        self.agent.handle_disconnected();
        let delay = self.backoff.next_delay();
        self.fly(delay, Flight::Reconnect);
    }

    fn pump(&mut self) {
        loop {
            self.send_from_spool();
            let Some(transmit) = self.agent.poll_transmit() else { break };
            match transmit {
                AgentTransmit::Control(bytes) => self.fly_in_order(0, Flight::ToCollector(bytes)),
                AgentTransmit::Batch(batch) => {
                    let latency = self.latency();
                    self.fly(latency, Flight::Batch(batch));
                }
                AgentTransmit::Close(_) => self.cut(),
            }
        }
        while let Some(event) = self.agent.poll_event() {
            self.tell(event);
        }
        while let Some(transmit) = self.collector.as_mut().and_then(CollectorSession::poll_transmit) {
            match transmit {
                CollectorTransmit::Control(bytes) => self.fly_in_order(1, Flight::ToAgent(bytes)),
                CollectorTransmit::Close(_) => return self.cut(),
            }
        }
        while let Some(event) = self.collector.as_mut().and_then(CollectorSession::poll_event) {
            if let CollectorEvent::Clock { skew_ns, .. } = event {
                self.skew_ns = Some(skew_ns);
            }
        }
    }

    fn tell(&mut self, event: AgentEvent) {
        match event {
            AgentEvent::Connected { offset_ns, .. } => {
                self.offset_ns = Some(offset_ns);
                self.backoff.reset();
                self.unsent = self.spool.keys().copied().collect();
                self.pump();
            }
            AgentEvent::Acked { sequence, .. } => {
                self.spool.remove(&sequence);
                let took = self.now.since(self.handed_in[&sequence]);
                self.acked.entry(sequence).or_insert((0, took)).0 += 1;
                self.pump();
            }
            other => panic!("unexpected {other:?}"),
        }
    }

    /// As the spool does: the oldest of the best class first, as far as there is room.
    fn send_from_spool(&mut self) {
        let mut kept = VecDeque::new();
        while let Some(sequence) = self.unsent.pop_front() {
            let Some(batch) = self.spool.get(&sequence) else { continue };
            if self.agent.has_room(batch.class) {
                self.agent.handle_batch(self.now, batch.clone());
            } else {
                kept.push_back(sequence);
            }
        }
        self.unsent = kept;
    }
}

#[test]
fn every_batch_is_stored_once_and_acked_once_whatever_breaks() {
    for seed in 0..40 {
        let mut world = World::new(seed);
        for sequence in 1..=200 {
            let class = [Class::Finding, Class::Feature, Class::Log][usize::try_from(sequence % 3).unwrap()];
            world.hand_in(encoded(sequence, class, 2_000));
            let pause = Duration::from_millis(world.jitter.within(&(0..=400)));
            world.run_for(pause);
            if world.jitter.within(&(0..=19)) == 0 {
                let soon = Duration::from_millis(world.jitter.within(&(0..=100)));
                world.fly(soon, Flight::Cut);
            }
        }
        world.run_for(Duration::from_secs(120));
        let all: BTreeSet<_> = (1..=200).map(Sequence).collect();
        assert!(world.cuts > 0, "seed {seed}: nothing broke");
        assert_eq!(world.store, all, "seed {seed}: lost");
        assert!(world.spool.is_empty(), "seed {seed}: never acked");
        assert!(world.acked.values().all(|(times, _)| *times == 1), "seed {seed}: acked twice");
    }
}

#[test]
fn re_sends_reach_the_store_as_duplicates_only() {
    let mut duplicates = 0;
    for seed in 0..40 {
        let mut world = World::new(seed);
        world.run_for(Duration::from_secs(1));
        world.hand_in(encoded(1, Class::Finding, 10));
        // Cut between commit and acknowledgement, at some of the seeds.
        let when = Duration::from_millis(world.jitter.within(&(10..=60)));
        world.fly(when, Flight::Cut);
        world.run_for(Duration::from_secs(20));
        assert_eq!((world.store.len(), world.spool.len()), (1, 0), "seed {seed}");
        duplicates += world.duplicates;
    }
    assert!(duplicates > 0, "the case that this is about never came up");
}

#[test]
fn bulk_in_flight_is_capped_and_a_finding_passes_it() {
    let mut world = World::new(7);
    world.commit = Duration::from_secs(2);
    world.run_for(Duration::from_secs(1));
    for sequence in 1..=100 {
        world.hand_in(encoded(sequence, Class::Log, 4_096));
    }
    world.run_for(Duration::from_millis(100));
    assert_eq!(world.agent.in_flight(), BULK_IN_FLIGHT_MAX);
    world.hand_in(encoded(101, Class::Finding, 10));
    assert_eq!(world.agent.in_flight(), BULK_IN_FLIGHT_MAX + 1);
    world.run_for(Duration::from_secs(60));
    let (_, finding) = world.acked[&Sequence(101)];
    let (_, last_bulk) = world.acked[&Sequence(100)];
    assert!(finding < Duration::from_millis(2_500), "{finding:?}");
    assert!(last_bulk > Duration::from_secs(20), "bulk was no burden: {last_bulk:?}");
}

#[test]
fn large_bulk_never_holds_the_share_reserved_for_findings() {
    let mut agent = greeted();
    let big = seal(Kind::Batch, &vec![0; 500_000]).unwrap();
    let mut charged = 0;
    for sequence in 1.. {
        if !agent.has_room(Class::Log) {
            break;
        }
        let batch = EncodedBatch { sequence: Sequence(sequence), class: Class::Log, bytes: big.clone().into() };
        agent.handle_batch(MonoTime::from_ms(2), batch);
        charged += STREAM_WINDOW_BYTES;
    }
    assert!(charged > 0 && charged <= BULK_BYTES_IN_FLIGHT_MAX, "{charged}");
    assert!(agent.has_room(Class::Finding));
}

#[test]
fn both_ends_learn_the_clock_offset_within_the_latency() {
    for seed in 0..20 {
        let mut world = World::new(seed);
        world.run_for(Duration::from_secs(600));
        let (skew, offset) = (world.skew_ns.unwrap(), world.offset_ns.unwrap());
        assert!(skew.abs_diff(1_500_000_000) < 130_000_000, "seed {seed}: skew {skew}");
        assert!(offset.abs_diff(-1_500_000_000) < 130_000_000, "seed {seed}: offset {offset}");
    }
}

#[test]
fn a_clock_that_is_set_is_seen_at_the_next_probe() {
    let mut world = World::new(3);
    world.run_for(Duration::from_secs(300));
    world.agent_clock_ahead_ns = -3_600_000_000_000;
    world.run_for(Duration::from_secs(130));
    assert!(world.skew_ns.unwrap().abs_diff(-3_600_000_000_000) < 130_000_000);
}

#[test]
fn an_idle_connection_stays_up_and_says_little() {
    let mut world = World::new(1);
    world.run_for(Duration::from_secs(3_600));
    assert_eq!((world.cuts, world.agent.unsaid()), (0, 0));
}

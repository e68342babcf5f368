//! A lossy network between two ends, in memory and in virtual time.

use crate::rng::{Rng, whole};
use crate::schedule::Schedule;
use std::collections::BTreeMap;
use std::time::Duration;
use vedette_protocol::time::MonoTime;

/// Most bytes under way at one time, both directions together; what comes above is lost and counted.
const IN_FLIGHT_BYTES_MAX: usize = 64 << 20;

/// One of the two ends.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Side {
    /// For example the agent.
    A,
    /// For example the collector.
    B,
}

/// How a frame travels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Lane {
    /// Alone: may be lost, doubled, delayed, overtaken.
    Datagram,
    /// In order within its stream, as over QUIC: a loss becomes a delay of this stream alone; only
    /// [`Network::cut`] loses frames.
    Stream(u64),
}

/// What the network does to frames. Probabilities are per frame.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Quality {
    /// Least time on the way.
    pub delay: Duration,
    /// Mean of the exponential time that comes on top; frames overtake each other through it.
    pub jitter_mean: Duration,
    /// Lost: a datagram is gone, a stream's frame comes after [`Quality::retransmit`].
    pub loss: f64,
    /// Delivered twice; datagrams only.
    pub duplication: f64,
    /// Time that one loss costs a stream.
    pub retransmit: Duration,
    /// Bytes a second in each direction; `None` for no limit.
    pub bytes_per_second: Option<u64>,
}

/// A frame that arrived.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// When.
    pub at: MonoTime,
    /// Where.
    pub to: Side,
    /// How.
    pub lane: Lane,
    /// What.
    pub frame: Vec<u8>,
}

/// What became of the frames.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Traffic {
    /// Handed in.
    pub sent: u64,
    /// Handed out, doubles included.
    pub delivered: u64,
    /// Datagrams lost on the way or in a partition, and frames above the limit.
    pub lost: u64,
    /// Frames that a cut destroyed.
    pub cut: u64,
    /// Doubles made.
    pub doubled: u64,
}

/// Carries byte frames between two sans-IO ends.
///
/// ```
/// use vedette_protocol::time::MonoTime;
/// use vedette_sim::{Lane, Network, Quality, Seed, Side};
///
/// let mut network = Network::new(Quality::LAN, Seed(1).rng("network"));
/// network.send(MonoTime::from_ms(0), Side::A, Lane::Stream(0), b"hello".to_vec());
/// let arrival = network.next_at().expect("one frame is under way");
/// assert_eq!(network.receive(arrival).expect("it arrived").frame, b"hello");
/// ```
#[derive(Debug)]
pub struct Network {
    quality: Quality,
    rng: Rng,
    under_way: Schedule<Delivery>,
    bytes_under_way: usize,
    /// When each direction's line is free again.
    line_free: BTreeMap<Side, MonoTime>,
    /// Last arrival on each stream towards a side.
    stream_last: BTreeMap<(Side, u64), MonoTime>,
    /// Frames of streams that wait for the end of a partition, in order.
    held: Option<Vec<(Side, Lane, Vec<u8>)>>,
    traffic: Traffic,
}

impl Quality {
    /// Half a millisecond, no faults.
    pub const LAN: Self = Self {
        delay: Duration::from_micros(500),
        jitter_mean: Duration::ZERO,
        loss: 0.0,
        duplication: 0.0,
        retransmit: Duration::from_millis(25),
        bytes_per_second: None,
    };

    /// A bad mobile line: 60 ms and as much jitter, 5 % loss, 2 % doubles, 100 kB a second.
    pub const BAD: Self = Self {
        delay: Duration::from_millis(60),
        jitter_mean: Duration::from_millis(60),
        loss: 0.05,
        duplication: 0.02,
        retransmit: Duration::from_millis(250),
        bytes_per_second: Some(100_000),
    };
}

impl Side {
    /// The other end.
    #[must_use]
    pub fn other(self) -> Self {
        match self {
            Self::A => Self::B,
            Self::B => Self::A,
        }
    }
}

impl Network {
    /// A network that works.
    pub fn new(quality: Quality, rng: Rng) -> Self {
        Self {
            quality,
            rng,
            under_way: Schedule::new(),
            bytes_under_way: 0,
            line_free: BTreeMap::new(),
            stream_last: BTreeMap::new(),
            held: None,
            traffic: Traffic::default(),
        }
    }

    /// Hands a frame in at `from`.
    pub fn send(&mut self, now: MonoTime, from: Side, lane: Lane, frame: Vec<u8>) {
        self.traffic.sent += 1;
        if self.bytes_under_way + frame.len() > IN_FLIGHT_BYTES_MAX {
            self.traffic.lost += 1;
            return;
        }
        match (&mut self.held, lane) {
            (Some(_), Lane::Datagram) => self.traffic.lost += 1,
            (Some(held), Lane::Stream(_)) => {
                self.bytes_under_way += frame.len();
                held.push((from, lane, frame));
            }
            (None, _) => {
                self.bytes_under_way += frame.len();
                self.dispatch(now, from, lane, frame);
            }
        }
    }

    /// The next frame that arrived by `now`; call until `None`.
    pub fn receive(&mut self, now: MonoTime) -> Option<Delivery> {
        let (_, delivery) = self.under_way.pop_until(now)?;
        self.bytes_under_way -= delivery.frame.len();
        self.traffic.delivered += 1;
        Some(delivery)
    }

    /// When the next frame arrives.
    pub fn next_at(&self) -> Option<MonoTime> {
        self.under_way.next_at()
    }

    /// From now on nothing passes. What is under way arrives; streams hold their frames, datagrams are lost.
    pub fn partition(&mut self) {
        self.held.get_or_insert_default();
    }

    /// Ends a partition: streams send what they held.
    pub fn heal(&mut self, now: MonoTime) {
        for (from, lane, frame) in self.held.take().unwrap_or_default() {
            self.dispatch(now, from, lane, frame);
        }
    }

    /// Destroys everything that is under way or held and forgets all streams: the connection broke.
    pub fn cut(&mut self) {
        let held = self.held.as_mut().map_or(0, |held| std::mem::take(held).len());
        self.traffic.cut += (self.under_way.len() + held) as u64;
        self.under_way = Schedule::new();
        self.bytes_under_way = 0;
        self.stream_last.clear();
        self.line_free.clear();
    }

    /// What the network does to frames from now on.
    pub fn set_quality(&mut self, quality: Quality) {
        self.quality = quality;
    }

    /// What became of the frames so far.
    pub fn traffic(&self) -> Traffic {
        self.traffic
    }

    fn dispatch(&mut self, now: MonoTime, from: Side, lane: Lane, frame: Vec<u8>) {
        let to = from.other();
        let sent = self.transmit(now, from, frame.len());
        match lane {
            Lane::Datagram if self.rng.chance(self.quality.loss) => {
                self.bytes_under_way -= frame.len();
                self.traffic.lost += 1;
            }
            Lane::Datagram => {
                if self.rng.chance(self.quality.duplication) {
                    self.traffic.doubled += 1;
                    self.bytes_under_way += frame.len();
                    let at = sent + self.travel();
                    self.under_way.at(at, Delivery { at, to, lane, frame: frame.clone() });
                }
                let at = sent + self.travel();
                self.under_way.at(at, Delivery { at, to, lane, frame });
            }
            Lane::Stream(stream) => {
                let mut at = sent + self.travel();
                // Ten losses in a row end a real connection; the bound keeps `loss: 1.0` from looping.
                for _ in 0..10 {
                    if !self.rng.chance(self.quality.loss) {
                        break;
                    }
                    at = at + self.quality.retransmit;
                }
                let last = self.stream_last.entry((to, stream)).or_insert(at);
                *last = (*last).max(at);
                let at = *last;
                self.under_way.at(at, Delivery { at, to, lane, frame });
            }
        }
    }

    /// When the last byte of a frame is on the line.
    fn transmit(&mut self, now: MonoTime, from: Side, length: usize) -> MonoTime {
        let Some(bytes_per_second) = self.quality.bytes_per_second else { return now };
        let takes = Duration::from_secs_f64(length as f64 / bytes_per_second.max(1) as f64);
        let free = self.line_free.entry(from).or_insert(now);
        *free = (*free).max(now) + takes;
        *free
    }

    fn travel(&mut self) -> Duration {
        let jitter_ns = self.rng.exponential(self.quality.jitter_mean.as_nanos() as f64);
        self.quality.delay + Duration::from_nanos(whole(jitter_ns))
    }
}

#[cfg(test)]
mod tests;

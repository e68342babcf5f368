//! A fleet of unrelated three-tier shops, and what its agents report when one of them fails.

use std::collections::BTreeSet;
use std::time::Duration;
use vedette_collector::engine::{Event, Setup};
use vedette_collector::topology::{Service, Topology};
use vedette_protocol::ids::{Digest, EpisodeId, HostId};
use vedette_protocol::series::{SeriesKind, SeriesMeta};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::{DetectorRef, EpisodeEvent, Finding, Subject};
use vedette_sim::{Rng, START, Seed};

/// Hosts of one shop: web, app and database, each calling the next.
const CLUSTER_HOSTS: usize = 3;

const TIERS: [&str; CLUSTER_HOSTS] = ["web", "app", "db"];
const METRICS: [&str; 4] =
    ["system.cpu.utilization", "system.memory.utilization", "system.disk.io", "system.network.io"];

/// Shops that share nothing.
pub(super) struct Fleet {
    clusters: usize,
    /// Collector's clock minus the host's, measured at hello.
    offsets_ns: Vec<i64>,
}

/// An event with the time at which it reaches the collector.
#[derive(Clone)]
pub(super) struct Arrival {
    pub(super) at: WallTime,
    pub(super) event: Event,
}

/// What one fault causes.
pub(super) struct FaultStory {
    pub(super) arrivals: Vec<Arrival>,
    /// Episodes of this fault, as the API writes them.
    pub(super) episodes: BTreeSet<String>,
}

impl Fleet {
    /// Hosts' clocks are off by up to a minute.
    pub(super) fn new(seed: Seed, clusters: usize) -> Self {
        let mut rng = seed.rng("clocks");
        let offset = |_| {
            let milliseconds = i64::try_from(rng.below(120_000)).expect("two minutes fit") - 60_000;
            milliseconds * 1_000_000
        };
        Self { clusters, offsets_ns: (0..clusters * CLUSTER_HOSTS).map(offset).collect() }
    }

    pub(super) fn clusters(&self) -> usize {
        self.clusters
    }

    /// Topology and host names, as the collector learns them first.
    pub(super) fn introduction(&self) -> Vec<Event> {
        let hosts = 0..self.clusters * CLUSTER_HOSTS;
        let services = hosts.clone().map(|index| Service {
            name: host_name(index),
            tier: None,
            hosts: vec![host_name(index)],
            depends_on: if index % CLUSTER_HOSTS + 1 < CLUSTER_HOSTS { vec![host_name(index + 1)] } else { Vec::new() },
        });
        let setup = Setup { topology: Topology { services: services.collect() }, ..Setup::default() };
        let seen = hosts.map(|index| Event::HostSeen { host: host_id(index), name: host_name(index) });
        std::iter::once(Event::Configured(Box::new(setup))).chain(seen).collect()
    }

    /// The cluster of a host by its name.
    pub(super) fn cluster_of(&self, host: &str) -> usize {
        let digits = host.trim_start_matches("shop").split('-').next().expect("a name has a first part");
        digits.parse().expect("a name has its cluster's number")
    }

    /// A fault at the database that reaches the application and the web within seconds, and ends after five minutes.
    pub(super) fn fault(&self, cluster: usize, start: Duration, rng: &mut Rng) -> FaultStory {
        let mut story = FaultStory { arrivals: Vec::new(), episodes: BTreeSet::new() };
        for (hop, tier) in (0..CLUSTER_HOSTS).rev().enumerate() {
            let index = cluster * CLUSTER_HOSTS + tier;
            let reached = start + seconds(2.0 * hop as f64);
            for metric in METRICS {
                let onset = reached + seconds(rng.unit() * 4.0);
                self.episode(&mut story, index, metric, onset, rng);
            }
        }
        story
    }

    fn episode(&self, story: &mut FaultStory, index: usize, metric: &str, onset: Duration, rng: &mut Rng) {
        let mut id = [0; 16];
        id[..8].copy_from_slice(&rng.bits().to_le_bytes());
        story.episodes.insert(EpisodeId(id).to_string());
        let opened = onset + seconds(3.0 + rng.unit() * 5.0);
        let stages = [
            (EpisodeEvent::Open, opened),
            (EpisodeEvent::Update, opened + seconds(30.0)),
            (EpisodeEvent::Clear, onset + seconds(300.0 + rng.unit() * 20.0)),
        ];
        for (event, at) in stages {
            let offset_ns = self.offsets_ns[index];
            let host_clock = |time: Duration| true_time(time).offset_by(-offset_ns);
            let finding = Finding {
                episode: EpisodeId(id),
                event,
                subject: Subject::Series(series(metric)),
                detector: DetectorRef { name: "level".to_owned(), version: "1".to_owned(), digest: Digest([0; 32]) },
                at: host_clock(at),
                onset: host_clock(onset),
                onset_uncertainty_ms: 1_000,
                code: 1,
                score: 12.0,
                surprise: 9.0,
                observed: 0.9,
                expected: 0.2,
                lower: 0.1,
                upper: 0.3,
                occurrences: 1,
                evidence: None,
            };
            // Ways differ: findings of different hosts overtake each other, those of one host do not.
            let way = seconds(0.05 + 2.0 * (index % 7) as f64 / 7.0);
            let event = Event::Finding { host: host_id(index), offset_ns, finding: Box::new(finding) };
            story.arrivals.push(Arrival { at: true_time(at + way), event });
        }
    }
}

fn host_name(index: usize) -> String {
    format!("shop{}-{}", index / CLUSTER_HOSTS, TIERS[index % CLUSTER_HOSTS])
}

fn host_id(index: usize) -> HostId {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&(index as u64 + 1).to_le_bytes());
    HostId(id)
}

fn series(metric: &str) -> SeriesMeta {
    SeriesMeta {
        metric: metric.to_owned(),
        unit: "1".to_owned(),
        kind: SeriesKind::Gauge,
        attributes: Vec::new(),
        resolution: 0.001,
        lower: 0.0,
        upper: 1.0,
    }
}

fn seconds(count: f64) -> Duration {
    Duration::from_secs_f64(count)
}

fn true_time(elapsed: Duration) -> WallTime {
    START.offset_by(i64::try_from(elapsed.as_nanos()).expect("minutes fit"))
}

//! A collector, agents and what they need, in one process.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::future::Future;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicI64, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use vedette_link::authority::Authority;
use vedette_link::client::{ClientConfig, EncodedBatch, LinkEvent, LinkHandle, connect};
use vedette_link::clock::{Clock, SystemClock};
use vedette_link::identity::{Identity, PeerIdentity};
use vedette_link::outage::Outage;
use vedette_link::server::{Denied, Gate, ServerConfig, ServerEvent, ServerHandle, ServerLimits, ServerStats, listen};
use vedette_protocol::ids::{BootId, HostId, QueueEpoch, Sequence, TenantId};
use vedette_protocol::session::agent::AgentIdentity;
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::{Batch, Body, Class, Cursor, Outcome, encode};

/// Longest that any expected thing may take; a failure, not a pace.
const PATIENCE: Duration = Duration::from_secs(60);

pub(crate) const HOST: HostId = HostId([0xaa; 16]);
pub(crate) const EPOCH: QueueEpoch = QueueEpoch(77);

/// The system's clock, movable.
#[derive(Debug, Default)]
pub(crate) struct MovedClock(AtomicI64);

impl MovedClock {
    pub(crate) fn advance(&self, by: Duration) {
        self.0.fetch_add(i64::try_from(by.as_nanos()).unwrap(), Ordering::SeqCst);
    }
}

impl Clock for MovedClock {
    fn mono(&self) -> MonoTime {
        SystemClock.mono()
    }

    fn wall(&self) -> WallTime {
        SystemClock.wall().offset_by(self.0.load(Ordering::SeqCst))
    }
}

#[derive(Debug, Default)]
pub(crate) struct DenyList(Mutex<BTreeSet<HostId>>);

impl DenyList {
    pub(crate) fn revoke(&self, host: HostId) {
        self.0.lock().unwrap().insert(host);
    }
}

impl Gate for DenyList {
    fn admit(&self, peer: &PeerIdentity) -> Result<(), Denied> {
        if self.0.lock().unwrap().contains(&peer.host) { Err(Denied) } else { Ok(()) }
    }
}

/// A collector's endpoint.
pub(crate) struct Collector {
    pub(crate) authority: Arc<Authority>,
    pub(crate) clock: Arc<MovedClock>,
    pub(crate) denied: Arc<DenyList>,
    pub(crate) handle: ServerHandle,
    pub(crate) events: mpsc::Receiver<ServerEvent>,
    pub(crate) task: JoinHandle<()>,
}

impl Collector {
    pub(crate) fn start() -> Self {
        Self::start_with(ServerLimits::default())
    }

    pub(crate) fn start_with(limits: ServerLimits) -> Self {
        let authority = Arc::new(Authority::create(SystemClock.wall()).unwrap());
        Self::start_at("127.0.0.1:0".parse().unwrap(), authority, limits)
    }

    pub(crate) fn start_at(address: SocketAddr, authority: Arc<Authority>, limits: ServerLimits) -> Self {
        let (clock, denied) = (Arc::new(MovedClock::default()), Arc::new(DenyList::default()));
        let config = ServerConfig {
            listen: address,
            names: vec![],
            authority: Arc::clone(&authority),
            gate: denied.clone(),
            clock: clock.clone(),
            limits,
        };
        let (handle, events, task) = listen(config).unwrap();
        Self { authority, clock, denied, handle, events, task: tokio::spawn(task.run()) }
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.handle.local_address()
    }

    pub(crate) fn stats(&self) -> ServerStats {
        self.handle.stats()
    }

    /// A certificate of our authority for a new key.
    pub(crate) fn identity(&self, host: HostId, life_days: u32, from: WallTime) -> Identity {
        let (key, csr) = key_and_request();
        let chain_der = self.authority.sign_host(&csr, TenantId(0), host, life_days, from).unwrap();
        Identity { chain_der, key_der: key }
    }

    pub(crate) fn client_config(&self, address: SocketAddr, identity: Identity) -> ClientConfig {
        ClientConfig {
            address: address.to_string(),
            server_name: vedette_link::SERVER_NAME.to_owned(),
            identity,
            authorities_der: vec![self.authority.certificate_der().to_vec()],
            agent: agent_identity(),
            clock: Arc::new(SystemClock),
        }
    }

    pub(crate) fn agent(&self, address: SocketAddr) -> Agent {
        let identity = self.identity(HOST, 7, SystemClock.wall());
        Agent::start(self.client_config(address, identity))
    }

    pub(crate) async fn event(&mut self) -> ServerEvent {
        within(self.events.recv()).await.unwrap()
    }

    /// The next event for which `pick` finds something.
    pub(crate) async fn until<T>(&mut self, mut pick: impl FnMut(&ServerEvent) -> Option<T>) -> T {
        loop {
            if let Some(found) = pick(&self.event().await) {
                return found;
            }
        }
    }

    /// Until the counters say so; connections come and go in the background.
    pub(crate) async fn until_stats(&self, holds: impl Fn(&ServerStats) -> bool) {
        let seen = async {
            while !holds(&self.stats()) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        };
        if tokio::time::timeout(PATIENCE, seen).await.is_err() {
            panic!("never came: {:?}", self.stats());
        }
    }
}

pub(crate) fn agent_identity() -> AgentIdentity {
    AgentIdentity {
        software: "0.1.0".into(),
        host_name: "web-1".into(),
        boot: BootId([1; 16]),
        queue_epoch: EPOCH,
        resource: vec![],
    }
}

pub(crate) fn key_and_request() -> (Vec<u8>, Vec<u8>) {
    let key = rcgen::KeyPair::generate().unwrap();
    let csr = rcgen::CertificateParams::default().serialize_request(&key).unwrap();
    (key.serialize_der(), csr.der().to_vec())
}

/// An agent's end of the link with a small spool.
pub(crate) struct Agent {
    pub(crate) handle: LinkHandle,
    pub(crate) events: mpsc::Receiver<LinkEvent>,
    spool: BTreeMap<Sequence, EncodedBatch>,
    unsent: VecDeque<Sequence>,
    pub(crate) acked: BTreeMap<Sequence, u32>,
}

impl Agent {
    pub(crate) fn start(config: ClientConfig) -> Self {
        let (handle, events, task) = connect(config).unwrap();
        tokio::spawn(task.run());
        Self { handle, events, spool: BTreeMap::new(), unsent: VecDeque::new(), acked: BTreeMap::new() }
    }

    pub(crate) fn hand_in(&mut self, batch: EncodedBatch) {
        self.unsent.push_back(batch.sequence);
        self.spool.insert(batch.sequence, batch);
        self.send();
    }

    fn send(&mut self) {
        let mut kept = VecDeque::new();
        while let Some(sequence) = self.unsent.pop_front() {
            let Some(batch) = self.spool.get(&sequence) else { continue };
            if self.handle.try_send(batch.clone()).is_err() {
                kept.push_back(sequence);
            }
        }
        self.unsent = kept;
    }

    pub(crate) async fn event(&mut self) -> LinkEvent {
        let event = within(self.events.recv()).await.unwrap();
        match &event {
            LinkEvent::Connected { .. } => self.unsent = self.spool.keys().copied().collect(),
            LinkEvent::Acked { sequence, .. } => {
                self.spool.remove(sequence);
                *self.acked.entry(*sequence).or_default() += 1;
            }
            _ => {}
        }
        self.send();
        event
    }

    pub(crate) async fn until<T>(&mut self, mut pick: impl FnMut(&LinkEvent) -> Option<T>) -> T {
        loop {
            if let Some(found) = pick(&self.event().await) {
                return found;
            }
        }
    }

    pub(crate) async fn connected(&mut self) {
        self.until(|event| matches!(event, LinkEvent::Connected { .. }).then_some(())).await;
    }

    /// Why there is no connection, the next time.
    pub(crate) async fn outage(&mut self) -> Outage {
        self.until(|event| match event {
            LinkEvent::Disconnected { outage } => Some(outage.clone()),
            _ => None,
        })
        .await
    }

    pub(crate) async fn disconnected(&mut self) -> String {
        self.outage().await.to_string()
    }

    pub(crate) async fn settled(&mut self) {
        while !self.spool.is_empty() {
            self.event().await;
        }
    }
}

/// A batch of about `bytes` bytes.
pub(crate) fn batch(sequence: u64, class: Class, bytes: usize) -> EncodedBatch {
    let cursor = |n: usize| Cursor { source: "filler".into(), position: vec![0; n] };
    let batch = Batch {
        tenant: TenantId(0),
        boot: BootId([1; 16]),
        queue_epoch: EPOCH,
        sequence: Sequence(sequence),
        class,
        mono: MonoTime::from_ms(1),
        wall: SystemClock.wall(),
        cursors: (0..bytes.div_ceil(4_096)).map(|_| cursor(bytes.min(4_096))).collect(),
        body: Body::Changes(vec![]),
    };
    EncodedBatch { sequence: Sequence(sequence), class, bytes: encode(&batch).unwrap().into() }
}

/// Commits in memory and acknowledges after it, until the events end. The store counts how often a batch came.
pub(crate) async fn commit_all(
    handle: ServerHandle,
    mut events: mpsc::Receiver<ServerEvent>,
    store: Arc<Mutex<BTreeMap<Sequence, u32>>>,
) {
    while let Some(event) = events.recv().await {
        let ServerEvent::Batch { connection, key: Some(key), batch: Ok(batch), .. } = event else { continue };
        let times = {
            let mut store = store.lock().unwrap();
            let times = store.entry(batch.sequence).or_default();
            *times += 1;
            *times
        };
        let outcome = if times == 1 { Outcome::Committed } else { Outcome::Duplicate };
        handle.ack(connection, key.queue_epoch, vec![(key.sequence, outcome)]);
    }
}

pub(crate) async fn within<T>(future: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, future).await.expect("took too long")
}

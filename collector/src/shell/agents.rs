//! What the shell knows of live agents: clock offsets, directives under way, and who is shut out.

use super::core::Outbox;
use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::{Mutex, MutexGuard, PoisonError, RwLock};
use vedette_link::identity::PeerIdentity;
use vedette_link::server::{ConnectionId, Denied, Gate, ServerHandle};
use vedette_protocol::ids::{DirectiveId, HostId, QueueEpoch, Sequence, TenantId};
use vedette_protocol::signature::Signed;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::Outcome;

/// Directives remembered per host; the newest count.
const DIRECTIVES_PER_HOST: usize = 64;

/// The deny list.
#[derive(Debug, Default)]
pub(crate) struct DenyList(RwLock<BTreeSet<HostId>>);

impl DenyList {
    pub(crate) fn new(hosts: Vec<HostId>) -> Self {
        Self(RwLock::new(hosts.into_iter().collect()))
    }

    pub(crate) fn add(&self, host: HostId) {
        self.0.write().unwrap_or_else(PoisonError::into_inner).insert(host);
    }
}

impl Gate for DenyList {
    fn admit(&self, peer: &PeerIdentity) -> Result<(), Denied> {
        let denied = self.0.read().unwrap_or_else(PoisonError::into_inner).contains(&peer.host);
        if denied { Err(Denied) } else { Ok(()) }
    }
}

/// Directives that have not ended, by host, so that a host that connects anew gets them again.
#[derive(Debug, Default)]
pub(crate) struct Directives(Mutex<BTreeMap<HostId, Vec<(WallTime, Signed)>>>);

impl Directives {
    fn lock(&self) -> MutexGuard<'_, BTreeMap<HostId, Vec<(WallTime, Signed)>>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn remember(&self, host: HostId, expires: WallTime, signed: Signed) {
        let mut hosts = self.lock();
        let known = hosts.entry(host).or_default();
        if !known.iter().any(|(_, other)| *other == signed) {
            known.push((expires, signed));
        }
        if known.len() > DIRECTIVES_PER_HOST {
            known.remove(0);
        }
    }

    /// Those of a host that have not ended; forgets the others.
    pub(crate) fn live(&self, host: HostId, now: WallTime) -> Vec<Signed> {
        let mut hosts = self.lock();
        let Some(known) = hosts.get_mut(&host) else { return Vec::new() };
        known.retain(|(expires, _)| *expires > now);
        known.iter().map(|(_, signed)| signed.clone()).collect()
    }
}

/// The way to agents through the link.
pub(crate) struct LinkOutbox {
    pub(crate) server: ServerHandle,
    pub(crate) directives: std::sync::Arc<Directives>,
}

impl Outbox for LinkOutbox {
    fn ack(&self, connection: ConnectionId, queue_epoch: QueueEpoch, outcomes: Vec<(Sequence, Outcome)>) {
        self.server.ack(connection, queue_epoch, outcomes);
    }

    fn directive(&self, host: HostId, expires: WallTime, signed: Signed) {
        self.directives.remember(host, expires, signed.clone());
        if let Some(connection) = self.server.connection_of(host) {
            self.server.send_directive(connection, signed);
        }
    }

    fn begin_anew(&self, connection: ConnectionId, queue_epoch: QueueEpoch) {
        self.server.begin_anew(connection, queue_epoch);
    }
}

/// A live connection.
#[derive(Debug, Default)]
pub(crate) struct Connection {
    /// Collector's clock minus the host's clock.
    pub(crate) offset_ns: i64,
    pub(crate) tenant: TenantId,
    pub(crate) queue_epoch: Option<QueueEpoch>,
    /// Directives whose being in effect was passed on.
    pub(crate) in_effect: BTreeSet<DirectiveId>,
}

/// Live connections by id.
pub(crate) type Connections = HashMap<ConnectionId, Connection>;

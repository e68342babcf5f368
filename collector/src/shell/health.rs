//! How agents say that they are, while they are connected: what is told by nobody now is not known.

use std::collections::HashMap;
use std::sync::{Mutex, MutexGuard, PoisonError};
use vedette_link::server::ConnectionId;
use vedette_protocol::ids::HostId;
use vedette_protocol::v1::Health;

/// What connected agents have said last.
#[derive(Debug, Default)]
pub(crate) struct Healths(Mutex<HashMap<HostId, (ConnectionId, Health)>>);

impl Healths {
    /// An agent says how it is.
    pub(crate) fn handle_told(&self, connection: ConnectionId, host: HostId, health: Health) {
        self.lock().insert(host, (connection, health));
    }

    /// A connection is gone; another of the same host may have taken its place.
    pub(crate) fn handle_gone(&self, connection: ConnectionId, host: HostId) {
        let mut told = self.lock();
        if told.get(&host).is_some_and(|(from, _)| *from == connection) {
            told.remove(&host);
        }
    }

    /// Its problems; `None` if it has not said how it is.
    pub(crate) fn of(&self, host: HostId) -> Option<Vec<String>> {
        self.lock().get(&host).map(|(_, health)| health.problems.clone())
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HostId, (ConnectionId, Health)>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_an_agent_said_holds_as_long_as_the_connection_it_was_said_on() {
        let (host, healths) = (HostId([1; 16]), Healths::default());
        let ill = Health { problems: vec!["no tick for 5 s".to_owned()] };
        assert_eq!(healths.of(host), None);
        healths.handle_told(ConnectionId(1), host, ill.clone());
        healths.handle_told(ConnectionId(2), host, Health::default());
        healths.handle_gone(ConnectionId(1), host);
        assert_eq!(healths.of(host), Some(Vec::new()), "said by the newer one");
        healths.handle_told(ConnectionId(2), host, ill.clone());
        assert_eq!(healths.of(host), Some(ill.problems));
        healths.handle_gone(ConnectionId(2), host);
        assert_eq!(healths.of(host), None);
    }
}

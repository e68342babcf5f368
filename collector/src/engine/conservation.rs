//! Conservation: every accepted finding is in exactly one of incident, candidate, suppressed, expired.

use super::episode::Suppression;
use super::state::State;
use serde::Serialize;

/// Where all accepted findings are. [`Conservation::holds`] at any time.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Conservation {
    /// Findings ever taken in.
    pub accepted: u64,
    /// Of episodes in incidents, open or over.
    pub incident: u64,
    /// Of episodes that may still become part of one.
    pub candidate: u64,
    /// Set aside, by reason.
    pub suppressed: u64,
    /// Of candidates that came to nothing.
    pub expired: u64,
}

impl Conservation {
    /// Nothing vanished and nothing was counted twice.
    pub const fn holds(&self) -> bool {
        self.accepted == self.incident + self.candidate + self.suppressed + self.expired
    }
}

impl State {
    /// Walks all groups: a sum over what is there, independent of the count of what came in.
    pub(crate) fn conservation(&self) -> Conservation {
        let mut found = Conservation {
            accepted: self.closed.accepted,
            incident: self.closed.incident,
            candidate: 0,
            suppressed: self.closed.suppressed.iter().sum(),
            expired: self.closed.expired,
        };
        for group in self.groups.values() {
            if group.incident.is_some() {
                found.incident += group.tally.findings;
            } else {
                found.candidate += group.tally.findings;
            }
        }
        found
    }

    /// Suppressed findings by reason.
    pub(crate) fn suppressed(&self) -> impl Iterator<Item = (Suppression, u64)> {
        Suppression::ALL.into_iter().zip(self.closed.suppressed)
    }
}

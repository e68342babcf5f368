//! Deadlines and pauses.

use std::time::Duration;

/// Deadlines and pauses of the supervisor.
#[derive(Clone, Copy, Debug)]
pub struct SupervisorConfig {
    /// A worker that has not loaded one artifact after this is killed.
    pub load_deadline: Duration,
    /// A worker that has not answered any other request after this, counted from its turn, is killed. Longer than the
    /// worker's own limit, so it acts only when the worker cannot: under a second, as promised for demotion.
    pub answer_deadline: Duration,
    /// Longest wait for the last snapshots and scores before a switch.
    pub handover_deadline: Duration,
    /// Pauses before a failed detector is tried again; after one more failure than pauses it is quarantined.
    pub paroles: [Duration; 2],
    /// A detector that ran this long is forgiven its failures.
    pub forgiveness: Duration,
}

impl Default for SupervisorConfig {
    fn default() -> Self {
        Self {
            load_deadline: Duration::from_secs(5),
            answer_deadline: Duration::from_millis(950),
            handover_deadline: Duration::from_millis(500),
            paroles: [Duration::from_secs(5), Duration::from_secs(30)],
            forgiveness: Duration::from_secs(3600),
        }
    }
}

//! The engine's configuration: part of its event log, so a replay uses what was in force.

use crate::topology::Topology;
use serde::{Deserialize, Serialize};

/// Configuration and topology.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Setup {
    /// Correlation and life cycle.
    pub correlate: Correlate,
    /// Declared services.
    pub topology: Topology,
}

/// Section `[correlate]` of the configuration as meant; durations in milliseconds.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Correlate {
    /// Farthest that two onsets may lie apart and still join, start to start.
    pub window_ms: u64,
    /// Farthest that the first and the last onset of one group may lie apart.
    pub window_max_ms: u64,
    /// How long all members must be clear until an incident counts as resolved.
    pub resolve_hold_ms: u64,
    /// A subject that departs again so soon after its incident was resolved opens a linked incident at once.
    pub reopen_window_ms: u64,
    /// A change at most this long before an onset promotes a finding and is shared by findings.
    pub change_window_ms: u64,
    /// How far before the onset changes are looked at as causes.
    pub cause_window_ms: u64,
    /// Surprise (−log10 p) from which a single finding may become an incident.
    pub surprise_alone: f64,
    /// How long such a finding must persist.
    pub persist_alone_ms: u64,
    /// An open episode of which nothing was heard for this long is expired.
    pub episode_ttl_ms: u64,
    /// Life of one directive; renewed after two thirds while the incident is open.
    pub directive_life_ms: u64,
}

impl Default for Correlate {
    fn default() -> Self {
        const MINUTE: u64 = 60_000;
        Self {
            window_ms: 15 * MINUTE,
            window_max_ms: 60 * MINUTE,
            resolve_hold_ms: 10_000,
            reopen_window_ms: 30 * MINUTE,
            change_window_ms: 10 * MINUTE,
            cause_window_ms: 60 * MINUTE,
            surprise_alone: 12.0,
            persist_alone_ms: 30_000,
            episode_ttl_ms: 24 * 60 * MINUTE,
            directive_life_ms: 5 * MINUTE,
        }
    }
}

/// How long an episode of an agent that restarted is unknown before it expires. Its detectors go on from what they had
/// learnt, but what departs has to be confirmed anew: minutes.
pub(crate) const RESTART_HOLD_MS: u64 = 10 * 60_000;

/// Weights of the join score's terms, each term from 0 to 1. The one place where they are set.
///
/// Host or topology must be there, so time, text or a change alone never joins. Same host joins up to about 100 s
/// apart, one declared dependency up to about 30 s; with a shared change or the same text, up to the window's end.
pub(crate) mod weights {
    /// Same host.
    pub(crate) const HOST: f64 = 0.40;
    /// Same service, or near by declared dependencies.
    pub(crate) const TOPOLOGY: f64 = 0.35;
    /// Onsets close together.
    pub(crate) const ONSET: f64 = 0.35;
    /// Words in common.
    pub(crate) const TEXT: f64 = 0.25;
    /// A change shortly before both.
    pub(crate) const CHANGE: f64 = 0.25;
    /// Sum from which two episodes belong together.
    pub(crate) const JOIN: f64 = 0.55;
    /// Sum from which not joining is worth telling.
    pub(crate) const NEAR_MISS: f64 = 0.40;
    /// Distance at which the onset term has fallen to 1/e, ms.
    pub(crate) const ONSET_SCALE_MS: f64 = 120_000.0;
}

/// Bounds on what the engine keeps. What does not fit is suppressed with the reason `limit`, counted.
pub(crate) mod limits {
    /// Episodes in live groups.
    pub(crate) const EPISODES: usize = 1_000_000;
    /// The same for one host, so that one cannot take the room of all.
    pub(crate) const EPISODES_PER_HOST: usize = 2_000;
    /// Members of one group.
    pub(crate) const MEMBERS: usize = 1_000;
    /// Changes kept per host.
    pub(crate) const CHANGES_PER_HOST: usize = 256;
    /// Closed episodes remembered so that late words are recognised.
    pub(crate) const TOMBSTONES: usize = 200_000;
    /// Near misses told per group.
    pub(crate) const NEAR_MISSES: usize = 20;
    /// Directives remembered per incident.
    pub(crate) const DIRECTIVES: usize = 64;
    /// Timeline entries per incident.
    pub(crate) const TIMELINE: usize = 200;
    /// Changes named as candidate causes.
    pub(crate) const CAUSES: usize = 5;
    /// Hosts whose names are remembered.
    pub(crate) const HOSTS: usize = 100_000;
    /// Recently resolved incidents remembered for linking …
    pub(crate) const RESOLVED: usize = 1_000;
    /// … and their episodes.
    pub(crate) const RESOLVED_EPISODES: usize = 100_000;
    /// Live groups that an episode is compared with, the newest of each place.
    pub(crate) const GROUPS_COMPARED: usize = 64;
    /// Members of one group that an episode is compared with, the newest.
    pub(crate) const MEMBERS_COMPARED: usize = 64;
    /// Episodes that are looked at again because of one change.
    pub(crate) const FOLLOWERS: usize = 256;
}

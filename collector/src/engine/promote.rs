//! When a candidate becomes an incident: one anomaly alone never pages, unless it is extreme and stays.
//!
//! 1. Two findings on different aspects (metrics, templates or hosts) belong together.
//! 2. A finding follows a change on its host or service within the change window.
//! 3. Its subject departed again soon after its last incident was resolved.
//! 4. One finding with very high surprise persists.

use super::episode::Episode;
use super::group::{Group, GroupId, Incident};
use super::lifecycle::Lifecycle;
use super::state::State;
use serde::{Deserialize, Serialize};
use vedette_protocol::ids::{Digest, EpisodeId};
use vedette_protocol::time::WallTime;

/// Why a candidate became an incident.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Promotion {
    /// Different things departed together.
    TwoFindings,
    /// A finding right after a change.
    FindingAndChange {
        /// What was changed.
        target: String,
    },
    /// The same subject again.
    Reopened {
        /// The incident that it follows.
        incident: String,
    },
    /// Very rare and lasting.
    ExtremeAndPersistent {
        /// −log10 of its probability.
        surprise: f32,
    },
}

impl State {
    /// The first rule that holds. `by` names the episode that changed; the others were looked at when they did.
    pub(crate) fn promotion(&self, group: &Group, by: Touch) -> Option<Promotion> {
        if group.tally.mixed {
            return Some(Promotion::TwoFindings);
        }
        let seen = |episode: &Episode| self.change_before(episode).map(|seen| seen.change.target.clone());
        if let Some(target) = self.touched(group, by).find_map(seen) {
            return Some(Promotion::FindingAndChange { target });
        }
        if let Some(incident) = self.touched(group, by).find_map(|episode| self.departed_before(episode)) {
            return Some(Promotion::Reopened { incident });
        }
        if group.tally.extreme.is_none_or(|due| due > self.now) {
            return None;
        }
        let extreme = self
            .touched(group, Touch::All)
            .find(|episode| episode.extreme_since(&self.setup.correlate).is_some_and(|due| due <= self.now));
        extreme.map(|episode| Promotion::ExtremeAndPersistent { surprise: episode.surprise_max })
    }

    fn touched<'a>(&'a self, group: &'a Group, by: Touch) -> impl Iterator<Item = &'a Episode> {
        let (one, all) = match by {
            Touch::Word(episode) => (self.episodes.get(&episode).filter(|episode| episode.group == group.id), None),
            Touch::All => (None, Some(group.members.iter().filter_map(|member| self.episodes.get(&member.episode)))),
        };
        one.into_iter().chain(all.into_iter().flatten())
    }

    /// The incident of the same subject, if it was resolved a short time before.
    fn departed_before(&self, episode: &Episode) -> Option<String> {
        let (resolved, group) = self.resolved_subjects.get(&episode.subject_key)?;
        let recent = episode.onset <= later(*resolved, self.setup.correlate.reopen_window_ms);
        let incident = self.groups.get(group).filter(|_| recent)?.incident.as_ref()?;
        Some(incident.id.clone())
    }

    pub(crate) fn open_incident(&mut self, id: GroupId, promotion: Promotion) {
        let follows = self.members(id).find_map(|episode| self.departed_before(episode));
        let Some(group) = self.groups.get(&id) else { return };
        let public = public_id(group, self.now);
        let incident = Incident {
            id: public.clone(),
            lifecycle: Lifecycle::open(self.now, &promotion),
            promotion,
            directives: Vec::new(),
            direct_due: Some(self.now),
            directed: None,
            follows,
            merged_into: None,
        };
        self.incidents.insert(public, id);
        if let Some(group) = self.groups.get_mut(&id) {
            group.incident = Some(Box::new(incident));
        }
    }
}

/// `inc-`, the day it was opened, and digits from its first episode: the same in every replay.
fn public_id(group: &Group, now: WallTime) -> String {
    let mut bytes = group.id.0.to_le_bytes().to_vec();
    bytes.extend(group.members.first().map(|member| member.episode.0).unwrap_or_default());
    let digest = Digest::of(&bytes).to_string();
    let day: String = now.to_string().chars().take(10).filter(char::is_ascii_digit).collect();
    format!("inc-{day}-{}", &digest[..10])
}

/// Why a group is looked at.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Touch {
    /// A word about this episode.
    Word(EpisodeId),
    /// Time has passed, or something about all of it has changed.
    All,
}

/// `ms` milliseconds after `time`.
pub(crate) fn later(time: WallTime, ms: u64) -> WallTime {
    time.offset_by(i64::try_from(ms).unwrap_or(i64::MAX).saturating_mul(1_000_000))
}

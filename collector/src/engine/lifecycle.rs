//! Life of an incident: detected, triage, mitigating, monitoring, resolved, reviewed.

use super::event::OperatorCommand;
use super::promote::Promotion;
use super::setup::limits;
use serde::{Deserialize, Serialize};
use vedette_protocol::time::WallTime;

/// Where an incident stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum IncidentState {
    /// Opened, nobody has looked.
    Detected,
    /// Somebody looks.
    Triage,
    /// Somebody works against it.
    Mitigating,
    /// All members are clear; waiting whether it stays so.
    Monitoring,
    /// Over. Its episodes do not change any more.
    Resolved,
    /// Over, and somebody has learnt from it.
    Reviewed,
}

/// How it ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Resolution {
    /// All members cleared and stayed clear.
    Cleared,
    /// Of at least one member nobody said that it is over: its host fell silent, or its agent restarted. Unknown is not
    /// the same as well.
    Expired,
    /// Another incident took its members over.
    Merged,
}

/// One line of an incident's history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct TimelineEntry {
    /// When.
    pub(crate) at: WallTime,
    /// What.
    pub(crate) text: String,
}

/// State and history.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Lifecycle {
    /// Where it stands.
    pub(crate) state: IncidentState,
    /// When it was opened.
    pub(crate) opened: WallTime,
    /// When somebody acknowledged it.
    pub(crate) acked: Option<WallTime>,
    /// Since when all members are clear.
    pub(crate) mitigated: Option<WallTime>,
    /// When it was resolved.
    pub(crate) resolved: Option<WallTime>,
    /// How it ended.
    pub(crate) resolution: Option<Resolution>,
    /// History, oldest first.
    pub(crate) timeline: Vec<TimelineEntry>,
    /// Where it goes back to from monitoring.
    working: IncidentState,
}

/// A step that this state does not allow.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an incident that is {from:?} cannot be asked to {command:?}")]
pub struct IllegalTransition {
    /// Where it stands.
    pub from: IncidentState,
    /// What was asked.
    pub command: OperatorCommand,
}

impl IncidentState {
    /// Not over yet.
    pub const fn is_open(self) -> bool {
        !matches!(self, Self::Resolved | Self::Reviewed)
    }
}

impl Lifecycle {
    pub(crate) fn open(now: WallTime, promotion: &Promotion) -> Self {
        let why = match promotion {
            Promotion::TwoFindings => "opened: different findings belong together".to_owned(),
            Promotion::FindingAndChange { target } => format!("opened: a finding right after {target} was changed"),
            Promotion::Reopened { incident } => format!("opened: the same subject as {incident} departed again"),
            Promotion::ExtremeAndPersistent { surprise } => {
                format!("opened: one finding with surprise {surprise:.1} persists")
            }
        };
        let mut lifecycle = Self {
            state: IncidentState::Detected,
            opened: now,
            acked: None,
            mitigated: None,
            resolved: None,
            resolution: None,
            timeline: Vec::new(),
            working: IncidentState::Detected,
        };
        lifecycle.note(now, why);
        lifecycle
    }

    /// No member goes on since `since`.
    pub(crate) fn all_clear(&mut self, now: WallTime, since: WallTime, why: &str) {
        if self.state.is_open() && self.state != IncidentState::Monitoring {
            self.working = self.state;
            self.state = IncidentState::Monitoring;
            self.mitigated = Some(since);
            self.note(now, why.to_owned());
        }
    }

    /// A member departs again, or a new one joined, before the incident was resolved. Whether that is news.
    pub(crate) fn relapse(&mut self, now: WallTime) -> bool {
        let relapsed = self.state == IncidentState::Monitoring;
        if relapsed {
            self.state = self.working;
            self.mitigated = None;
            self.note(now, "not all members are clear any more".to_owned());
        }
        relapsed
    }

    pub(crate) fn resolve(&mut self, now: WallTime, resolution: Resolution) {
        if self.state.is_open() {
            self.state = IncidentState::Resolved;
            self.resolved = Some(now);
            self.resolution = Some(resolution);
            self.note(now, format!("resolved: {resolution:?}").to_lowercase());
        }
    }

    pub(crate) fn merged(&mut self, now: WallTime, heir: &str) {
        self.note(now, format!("its members moved to {heir}"));
        self.resolve(now, Resolution::Merged);
    }

    /// Does what a person asked.
    ///
    /// # Errors
    ///
    /// [`IllegalTransition`] if the state does not allow it; nothing is changed.
    pub(crate) fn obey(&mut self, now: WallTime, command: OperatorCommand) -> Result<(), IllegalTransition> {
        use IncidentState::{Detected, Mitigating, Monitoring, Resolved, Reviewed, Triage};
        let (state, text) = match (self.state, command) {
            (Detected, OperatorCommand::Acknowledge) => (Triage, "acknowledged"),
            (Detected | Triage, OperatorCommand::Mitigate) => (Mitigating, "mitigation began"),
            (Resolved, OperatorCommand::Review) => (Reviewed, "reviewed"),
            (Monitoring, OperatorCommand::Acknowledge) if self.working == Detected => {
                self.working = Triage;
                (Monitoring, "acknowledged")
            }
            (from, command) => return Err(IllegalTransition { from, command }),
        };
        if matches!(command, OperatorCommand::Acknowledge | OperatorCommand::Mitigate) {
            self.acked.get_or_insert(now);
        }
        self.state = state;
        self.note(now, text.to_owned());
        Ok(())
    }

    pub(crate) fn note(&mut self, at: WallTime, text: String) {
        if self.timeline.len() < limits::TIMELINE {
            self.timeline.push(TimelineEntry { at, text });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn opened() -> Lifecycle {
        Lifecycle::open(WallTime::from_unix_ms(0), &Promotion::TwoFindings)
    }

    #[test]
    fn the_whole_walk_is_possible() {
        let mut life = opened();
        let at = WallTime::from_unix_ms;
        assert_eq!(life.obey(at(1), OperatorCommand::Acknowledge), Ok(()));
        assert_eq!(life.obey(at(2), OperatorCommand::Mitigate), Ok(()));
        life.all_clear(at(3), at(3), "all members are clear");
        assert_eq!(life.state, IncidentState::Monitoring);
        life.relapse(at(4));
        assert_eq!(life.state, IncidentState::Mitigating);
        life.all_clear(at(5), at(5), "all members are clear");
        life.resolve(at(6), Resolution::Cleared);
        assert_eq!(life.obey(at(7), OperatorCommand::Review), Ok(()));
        assert_eq!((life.acked, life.mitigated, life.resolved), (Some(at(1)), Some(at(5)), Some(at(6))));
    }

    #[test]
    fn illegal_steps_are_refused_and_change_nothing() {
        let mut life = opened();
        let before = life.clone();
        assert!(life.obey(WallTime::from_unix_ms(1), OperatorCommand::Review).is_err());
        assert_eq!(life, before);
        life.resolve(WallTime::from_unix_ms(2), Resolution::Cleared);
        for command in [OperatorCommand::Acknowledge, OperatorCommand::Mitigate] {
            assert!(life.obey(WallTime::from_unix_ms(3), command).is_err());
        }
        life.relapse(WallTime::from_unix_ms(4));
        assert_eq!(life.state, IncidentState::Resolved);
    }
}

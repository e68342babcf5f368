//! The collector's judgement: findings and changes of the whole fleet in, few explained incidents out.
//!
//! Sans-IO and deterministic: [`Engine::handle_event`] folds one entry of the event log into the state,
//! [`Engine::poll_action`] tells what to do about it, [`Engine::poll_timeout`] when to log a [`Event::Tick`]. The same
//! log gives the same state and the same actions, so a restart replays it and doing an action twice changes nothing.
//!
//! Order of a finding's life, held by types: received → normalised → de-duplicated → enriched → correlated → incident →
//! causes → action.

mod causes;
mod changes;
mod conservation;
mod correlate;
mod directives;
mod episode;
mod event;
mod graph;
mod group;
mod intake;
mod lifecycle;
mod narrate;
mod observation;
mod progress;
mod promote;
mod report;
mod setup;
mod state;
mod tally;
mod terms;
mod touch;

#[cfg(test)]
mod tests;

pub use causes::CauseTerms;
pub use conservation::Conservation;
pub use episode::{End, Ended, Episode, Suppression};
pub use event::{Action, Event, Logged, OperatorCommand};
pub use group::{GroupId, WhyNot};
pub use lifecycle::{IllegalTransition, IncidentState, Resolution};
pub use promote::Promotion;
pub use report::{CandidateReport, IncidentReport, change_kind, subject};
pub use setup::{Correlate, Setup};
pub use terms::{Terms, Why};

use changes::SeenChange;
use group::Group;
use intake::{Life, Received};
use promote::{Touch, later};
use state::State;
use std::collections::{BTreeSet, VecDeque};
use vedette_protocol::ids::{DirectiveId, HostId};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::Finding;

/// Format of [`Engine::snapshot`]; a snapshot of another is not read.
pub const SNAPSHOT_VERSION: u32 = 4;

/// A deadline is never armed nearer than this, so a rule that does not fire cannot spin.
const DEADLINE_MS_MIN: u64 = 100;

/// The engine.
#[derive(Debug, Default)]
pub struct Engine {
    state: State,
    actions: VecDeque<Action>,
    /// Incidents to be stored in the form that they have when somebody asks.
    saves: BTreeSet<GroupId>,
}

impl Engine {
    /// An engine that knows nothing yet.
    pub fn new() -> Self {
        Self::default()
    }

    /// An engine that goes on from a snapshot; `None` if these bytes are not one.
    pub fn from_snapshot(bytes: &[u8]) -> Option<Self> {
        let mut state: State = postcard::from_bytes(bytes).ok()?;
        state.configure(state.setup.clone());
        Some(Self { state, ..Self::default() })
    }

    /// The whole state up to [`Engine::position`].
    pub fn snapshot(&self) -> Vec<u8> {
        postcard::to_stdvec(&self.state).expect("the state holds nothing that postcard cannot write")
    }

    /// Position of the last event taken in.
    pub const fn position(&self) -> u64 {
        self.state.position
    }

    /// Folds one event in. Events at or before [`Engine::position`] were taken in before and are passed over.
    pub fn handle_event(&mut self, logged: Logged) {
        if logged.position <= self.state.position {
            return;
        }
        self.state.position = logged.position;
        self.state.now = self.state.now.max(logged.at);
        self.handle_due();
        match logged.event {
            Event::Configured(setup) => self.configure(*setup),
            Event::HostSeen { host, name } => self.state.name_host(host, name),
            Event::Finding { host, offset_ns, finding } => {
                self.take_in(host, offset_ns, *finding, Life::Current, logged.position);
            }
            Event::EarlierFinding { host, offset_ns, finding } => {
                self.take_in(host, offset_ns, *finding, Life::Earlier, logged.position);
            }
            Event::Change { host, offset_ns, change } => {
                let at = change.at.offset_by(offset_ns).min(self.state.now);
                let changed = self.state.take_in_change(host, SeenChange { host, at, change });
                changed.into_iter().for_each(|id| self.touch(id, Touch::All));
            }
            Event::DirectiveInEffect { directive } => {
                let changed = self.state.directive_in_effect(directive);
                changed.into_iter().for_each(|id| self.touch(id, Touch::All));
            }
            Event::Operator { incident, command } => self.obey(&incident, command),
            Event::AgentRestarted { host } => {
                let changed = self.state.agent_restarted(host);
                changed.into_iter().for_each(|id| self.touch(id, Touch::All));
            }
            Event::Tick => {}
        }
        self.forget_old();
    }

    fn take_in(&mut self, host: HostId, offset_ns: i64, finding: Finding, life: Life, position: u64) {
        self.state.closed.accepted += 1;
        let episode = finding.episode;
        let received = Received { host, offset_ns, at: self.state.now, life, finding };
        for id in self.state.take_in(received.normalise(), position) {
            self.touch(id, Touch::Word(episode));
        }
    }

    /// Deadlines follow from the configuration: all live groups are looked at.
    fn configure(&mut self, setup: Setup) {
        self.state.configure(setup);
        let live: Vec<GroupId> = self.state.groups_in_order(Group::is_live).iter().map(|group| group.id).collect();
        for id in live {
            self.state.count_anew(id);
            self.touch(id, Touch::All);
        }
    }

    /// Next action; call until `None` after a group of events. An incident is saved when it opens and when it is over:
    /// who wants to know how an open one is asks [`Engine::incident`]. So a storm forms each report once.
    pub fn poll_action(&mut self) -> Option<Action> {
        while let Some(id) = self.saves.pop_first() {
            if let Some(report) = self.state.groups.get(&id).and_then(|group| self.state.report(group)) {
                return Some(Action::SaveIncident(Box::new(report)));
            }
        }
        self.actions.pop_front()
    }

    /// When a [`Event::Tick`] is due.
    pub fn poll_timeout(&self) -> Option<WallTime> {
        self.state.deadlines.first().map(|(at, _)| *at)
    }

    /// Where all accepted findings are.
    pub fn conservation(&self) -> Conservation {
        self.state.conservation()
    }

    /// Suppressed findings by reason.
    pub fn suppressed(&self) -> Vec<(Suppression, u64)> {
        self.state.suppressed().collect()
    }

    /// Episodes that were ended without a word of their agent, by how. Those of an agent that restarted count once it is
    /// too late for it to tell of them again.
    pub fn expired_episodes(&self) -> impl Iterator<Item = (End, u64)> {
        let given_up = self.state.given_up();
        let not_closed = move |how| if how == End::AgentRestarted { given_up } else { 0 };
        let ends = End::ALL.into_iter().zip(self.state.closed.ends);
        ends.filter(|(how, _)| how.is_unknown()).map(move |(how, closed)| (how, closed + not_closed(how)))
    }

    /// The incident as it is now; `None` if it is not in memory.
    pub fn incident(&self, id: &str) -> Option<IncidentReport> {
        self.state.report(self.state.groups.get(self.state.incidents.get(id)?)?)
    }

    /// Where an incident stands; `None` if it is not in memory.
    pub fn incident_state(&self, id: &str) -> Option<IncidentState> {
        self.state.incident_state(*self.state.incidents.get(id)?)
    }

    /// Ids of the open incidents with the time of their opening, oldest group first.
    pub fn open_incidents(&self) -> Vec<(String, WallTime)> {
        let open = self.state.groups_in_order(|group| group.incident.is_some() && group.is_live());
        let incidents = open.into_iter().filter_map(|group| group.incident.as_deref());
        incidents.map(|incident| (incident.id.clone(), incident.lifecycle.opened)).collect()
    }

    /// From a directive's issue to its agent's first report that it is in effect, ms; `None` if it was not reported or
    /// is not known any more.
    pub fn directive_delay_ms(&self, directive: DirectiveId) -> Option<i64> {
        let group = self.state.groups.get(self.state.directives.get(&directive)?)?;
        let mut directives = group.incident.as_ref()?.directives.iter();
        directives.find(|known| known.id == directive)?.delay_ms()
    }

    /// Open incidents and candidates: counts for metrics.
    pub fn open_counts(&self) -> (usize, usize) {
        let incidents = self.state.groups.values().filter(|group| group.incident.is_some() && group.is_live()).count();
        (incidents, self.state.groups.values().filter(|group| group.incident.is_none()).count())
    }

    /// Candidates, newest first, at most `max`.
    pub fn candidates(&self, max: usize) -> Vec<CandidateReport> {
        let candidates = self.state.groups_in_order(|group| group.incident.is_none());
        candidates.into_iter().rev().take(max).map(|group| self.state.candidate_report(group)).collect()
    }

    /// Whether `command` is possible now; `None` if there is no such incident in memory.
    pub fn may(&self, incident: &str, command: OperatorCommand) -> Option<Result<(), IllegalTransition>> {
        let group = self.state.groups.get(self.state.incidents.get(incident)?)?;
        let mut trial = group.incident.as_ref()?.lifecycle.clone();
        Some(trial.obey(self.state.now, command))
    }

    /// The configuration in force.
    pub const fn setup(&self) -> &Setup {
        &self.state.setup
    }

    /// A finding in the form in which the log keeps it: without evidence, which stays in the store.
    pub fn logged_form(finding: &Finding) -> Finding {
        Finding { evidence: None, ..finding.clone() }
    }

    fn obey(&mut self, incident: &str, command: OperatorCommand) {
        let now = self.state.now;
        let Some(id) = self.state.incidents.get(incident).copied() else { return };
        let incident = self.state.groups.get_mut(&id).and_then(|group| group.incident.as_mut());
        if incident.is_some_and(|incident| incident.lifecycle.obey(now, command).is_ok()) {
            self.touch(id, Touch::All);
        }
    }

    fn handle_due(&mut self) {
        while let Some((at, id)) = self.state.deadlines.first().copied() {
            if at > self.state.now {
                return;
            }
            self.state.deadlines.remove(&(at, id));
            self.state.schedule(id, None);
            self.touch(id, Touch::All);
        }
    }

    /// Brings one group up to date after anything about it, or the time, has changed.
    fn touch(&mut self, id: GroupId, by: Touch) {
        let before = self.state.incident_state(id);
        let live = self.state.groups.get(&id).is_some_and(|group| group.is_live());
        if live {
            self.state.end_silent(id);
            if before.is_none() && !self.consider(id, by) {
                return;
            }
            if self.state.incident_state(id).is_some() {
                self.state.advance(id);
                let directives = self.state.direct(id, by);
                self.actions.extend(directives.into_iter().map(Action::IssueDirective));
            }
        }
        if self.state.incident_state(id).is_some_and(|after| before.is_none() || !after.is_open()) {
            self.saves.insert(id);
        }
        let earliest = later(self.state.now, DEADLINE_MS_MIN);
        let deadline = self.state.deadline(id);
        self.state.schedule(id, deadline.map(|at| at.max(earliest)));
    }

    /// Promotes a candidate if a rule holds; lets it go if it came to nothing. Whether it still exists.
    fn consider(&mut self, id: GroupId, by: Touch) -> bool {
        let Some(group) = self.state.groups.get(&id) else { return false };
        match self.state.promotion(group, by) {
            Some(promotion) => self.state.open_incident(id, promotion),
            None if self.state.expiry(id).is_some_and(|at| at <= self.state.now) => {
                let findings = self.state.forget(id);
                self.state.closed.expired += findings;
                return false;
            }
            None if group.tally.extreme.is_some_and(|due| due <= self.state.now) => self.state.count_anew(id),
            None => {}
        }
        true
    }

    /// Resolved incidents stay for a while so that people can review them and new ones can refer to them.
    fn forget_old(&mut self) {
        let limits = (setup::limits::RESOLVED, setup::limits::RESOLVED_EPISODES);
        while self.state.resolved.len() > limits.0 || self.state.resolved_episodes > limits.1 {
            let Some(oldest) = self.state.resolved.pop_front() else { return };
            if self.saves.remove(&oldest) {
                let report = self.state.groups.get(&oldest).and_then(|group| self.state.report(group));
                self.actions.extend(report.map(|report| Action::SaveIncident(Box::new(report))));
            }
            let findings = self.state.forget(oldest);
            self.state.closed.incident += findings;
        }
    }
}

//! The agent's side of the worker: which detectors run, who is guilty when something fails, and how the next worker
//! takes over.
//!
//! Sans-IO. Feed `handle_*`, then call [`Supervisor::poll_action`] until `None`, then arm [`Supervisor::poll_timeout`].
//! A worker is immutable once sealed, so there is one path for everything that alters the set (first start, new or
//! removed detector, upgrade, parole of a detector that failed, crash): start a second worker, load, seal, take a last
//! snapshot from the first, switch, retire the first. States belong to the pipeline, which fetches them as it likes and
//! restores them as it tells a new worker its series; at a switch the supervisor puts the fresher ones in their place.

mod config;
mod detector;
mod shadow;
mod worker;

pub use config::SupervisorConfig;
pub use detector::{DetectorState, DetectorStatus, Wanted};
pub use shadow::ScoreSummary;
pub use worker::{Exit, WorkerId, WorkerStatus};

use detector::{Detector, Failure};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use vedette_protocol::time::MonoTime;
use vedette_protocol::v1::finding::DetectorRef;
use vedette_protocol::worker::{DetectorDescription, Fault, SeriesState, WorkerReply, WorkerRequest};
use worker::{Phase, Worker};

/// What the shell has to do.
#[derive(Clone, Debug, PartialEq)]
pub enum Action {
    /// Start a worker process under this id.
    Spawn {
        /// Its id from now on.
        worker: WorkerId,
    },
    /// Write a request to a worker. Requests to one worker keep their order.
    Send {
        /// Addressee.
        worker: WorkerId,
        /// Request.
        request: WorkerRequest,
    },
    /// Close the worker's standard input: it exits by itself. Its exit is reported as any other.
    Retire {
        /// Addressee.
        worker: WorkerId,
    },
    /// Kill the worker (SIGKILL). Its exit is reported as any other.
    Kill {
        /// Addressee.
        worker: WorkerId,
    },
    /// From now on exactly these detectors answer, and none of them knows a series: hand them to the pipeline, which
    /// tells them their series and restores what it knows of them.
    Detectors(Vec<Running>),
    /// One detector failed and answers no more until the next [`Action::Detectors`].
    Failed {
        /// Detector.
        detector: u32,
        /// Class.
        fault: Fault,
        /// For people.
        reason: String,
    },
    /// The worker is gone: nobody answers until the next [`Action::Detectors`], what was learnt holds until then.
    WorkerGone,
    /// A detector was not given a tick, because it has not answered its last one.
    Withheld {
        /// Detector.
        detector: u32,
        /// Tick.
        tick: u64,
    },
    /// An answer for the pipeline: scores, explanations, snapshots, or which series are declined.
    Reply(WorkerReply),
}

/// A detector that answers.
#[derive(Clone, Debug, PartialEq)]
pub struct Running {
    /// Its number: the same as long as module and parameters are the same, never given twice.
    pub detector: u32,
    /// Name and version by its own description, digest of the module.
    pub reference: DetectorRef,
    /// Its own description.
    pub description: DetectorDescription,
}

const RESTART_PAUSE_MIN: Duration = Duration::from_millis(250);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(60);
const RETIRE_DEADLINE: Duration = Duration::from_secs(5);
/// Linux signal numbers, the same on every architecture that Rust supports but MIPS and SPARC.
const SIGKILL: i32 = 9;
const SIGSYS: i32 = 31;

/// The state machine.
pub struct Supervisor {
    config: SupervisorConfig,
    detectors: BTreeMap<u32, Detector>,
    detectors_made: u32,
    workers_made: u32,
    active: Option<Worker>,
    candidate: Option<Worker>,
    /// Told to exit; killed when the time has come.
    retiring: Vec<(WorkerId, MonoTime)>,
    spawn_not_before: MonoTime,
    restart_pause: Duration,
    /// Whether any detector is a shadow: a steady tick does not look for them.
    has_shadows: bool,
    status: WorkerStatus,
    actions: VecDeque<Action>,
}

impl Supervisor {
    /// A supervisor of no detectors: nothing happens before [`Supervisor::set_detectors`].
    pub fn new(config: SupervisorConfig) -> Self {
        Self {
            config,
            detectors: BTreeMap::new(),
            detectors_made: 0,
            workers_made: 0,
            active: None,
            candidate: None,
            retiring: Vec::new(),
            spawn_not_before: MonoTime::default(),
            restart_pause: RESTART_PAUSE_MIN,
            has_shadows: false,
            status: WorkerStatus::default(),
            actions: VecDeque::new(),
        }
    }

    /// The whole set of detectors that should run from now on. Those with the same module and parameters as before keep
    /// their number, their state and their record; a new version of a detector inherits the last states by name.
    pub fn set_detectors(&mut self, now: MonoTime, wanted: Vec<Wanted>) {
        let mut kept = Vec::new();
        for one in wanted {
            let known = self.detectors.iter().find(|(number, known)| !kept.contains(*number) && known.wanted == one);
            let number = match known {
                Some((number, _)) => *number,
                None => self.admit(one),
            };
            kept.push(number);
        }
        for (number, detector) in &mut self.detectors {
            detector.dismissed = !kept.contains(number);
        }
        self.keep_records();
        self.plan(now);
    }

    /// A request of the pipeline. [`WorkerRequest::Load`] and [`WorkerRequest::Seal`] are the supervisor's own and ignored.
    pub fn handle_request(&mut self, now: MonoTime, request: WorkerRequest) {
        let Some(number) = worker::addressee(&request) else { return };
        self.mirror(now, &request);
        let (Some(worker), Some(detector)) = (self.active.as_mut(), self.detectors.get_mut(&number)) else {
            self.status.requests_dropped += 1;
            return;
        };
        if !worker.serves(number) {
            self.status.requests_dropped += 1;
            return;
        }
        if let WorkerRequest::Observe { detector, tick, .. } = request
            && worker.awaits_scores(number)
        {
            self.status.ticks_withheld += 1;
            self.actions.push_back(Action::Withheld { detector, tick });
            return;
        }
        detector.note_request(&request);
        let handed_over = match &request {
            WorkerRequest::SeriesAdded { series, .. } => detector.restore(number, series),
            _ => Vec::new(),
        };
        if let Some(request) = detector.without_stale_states(request) {
            worker.send(now, request, &mut self.actions);
        }
        for restore in handed_over {
            worker.send_own(now, restore, &mut self.actions);
        }
    }

    /// An answer of a worker.
    pub fn handle_reply(&mut self, now: MonoTime, id: WorkerId, reply: WorkerReply) {
        let Some(worker) = self.worker_mut(id) else { return };
        let Some(asked) = worker.answered(now, &reply) else {
            self.kill(now, id, Failure::new(Fault::Output, "the worker answered out of turn"));
            return;
        };
        let (kind, own) = (asked.kind, asked.own);
        match reply {
            WorkerReply::Loaded { detector, description } => self.handle_loaded(now, id, detector, description),
            WorkerReply::Sealed { confinement } => self.handle_sealed(now, id, confinement),
            WorkerReply::Failed { fault: Fault::Misconfigured, .. } if kind == worker::Kind::Restore => {
                self.status.restores_refused += 1;
            }
            WorkerReply::Failed { detector, fault, reason } => {
                let failure = Failure::new(fault, &reason).asked_at(now, asked.at);
                self.handle_failed(now, id, detector, &failure);
            }
            WorkerReply::Snapshots { detector, states } if own => self.hand_over(detector, states),
            WorkerReply::Done { .. } if kind == worker::Kind::Restore => self.status.states_restored += asked.states,
            reply => self.handle_answer(reply, own),
        }
        self.advance(now);
    }

    /// A worker's process ended.
    pub fn handle_exit(&mut self, now: MonoTime, id: WorkerId, exit: Exit) {
        self.retiring.retain(|(retiring, _)| *retiring != id);
        let mut failure = Failure::new(Fault::Killed, &exit.to_string());
        failure.hopeless = exit.signal == Some(SIGSYS);
        let innocent = self.worker_mut(id).is_some_and(|worker| worker.never_started(exit));
        self.lose(now, id, (!innocent).then_some(&failure));
    }

    /// Time has passed: see [`Supervisor::poll_timeout`].
    pub fn handle_timeout(&mut self, now: MonoTime) {
        let late: Vec<_> =
            self.workers().filter(|worker| worker.late(now, &self.config)).map(|worker| worker.id).collect();
        for id in late {
            self.kill(now, id, Failure::new(Fault::Timeout, "no answer in time: the worker was killed"));
        }
        for (id, deadline) in std::mem::take(&mut self.retiring) {
            if deadline <= now {
                self.actions.push_back(Action::Kill { worker: id });
            } else {
                self.retiring.push((id, deadline));
            }
        }
        for detector in self.detectors.values_mut() {
            detector.handle_timeout(now, self.config.forgiveness);
        }
        self.advance(now);
    }

    /// The next thing to do.
    pub fn poll_action(&mut self) -> Option<Action> {
        self.actions.pop_front()
    }

    /// When to call [`Supervisor::handle_timeout`] at the latest.
    pub fn poll_timeout(&self) -> Option<MonoTime> {
        let answers = self.workers().filter_map(|worker| worker.deadline(&self.config));
        let paroles = self.detectors.values().filter_map(Detector::parole);
        let retirements = self.retiring.iter().map(|(_, deadline)| *deadline);
        let spawn = (self.candidate.is_none() && self.wants_worker()).then_some(self.spawn_not_before);
        answers.chain(paroles).chain(retirements).chain(spawn).min()
    }

    /// Every detector that should run, in order of appearance.
    pub fn detectors(&self) -> Vec<DetectorStatus> {
        self.detectors
            .iter()
            .filter(|(_, detector)| !detector.dismissed)
            .map(|(number, one)| one.status(*number))
            .collect()
    }

    /// The worker and what was counted.
    pub fn worker(&self) -> &WorkerStatus {
        &self.status
    }

    fn admit(&mut self, wanted: Wanted) -> u32 {
        let number = self.detectors_made;
        self.detectors_made += 1;
        self.detectors.insert(number, Detector::new(wanted));
        number
    }

    fn workers(&self) -> impl Iterator<Item = &Worker> {
        self.active.iter().chain(&self.candidate)
    }

    fn worker_mut(&mut self, id: WorkerId) -> Option<&mut Worker> {
        self.active.iter_mut().chain(&mut self.candidate).find(|worker| worker.id == id)
    }

    fn handle_loaded(&mut self, now: MonoTime, id: WorkerId, detector: u32, description: DetectorDescription) {
        if let Some(one) = self.detectors.get_mut(&detector) {
            one.description = Some(description);
        }
        self.load_next(now, id);
    }

    fn handle_sealed(&mut self, now: MonoTime, id: WorkerId, confinement: Vec<String>) {
        let Some(candidate) = self.candidate.as_mut().filter(|candidate| candidate.id == id) else { return };
        candidate.confinement = confinement;
        candidate.phase = Phase::Sealed { since: now };
        let Some(active) = &mut self.active else { return };
        for number in active.serving().collect::<Vec<_>>() {
            for request in self.detectors.get(&number).map(|one| one.snapshot_all(number)).unwrap_or_default() {
                active.send_own(now, request, &mut self.actions);
            }
        }
    }

    fn handle_failed(&mut self, now: MonoTime, id: WorkerId, detector: u32, failure: &Failure) {
        let was_active = self.active.as_ref().is_some_and(|active| active.id == id);
        if let Some(worker) = self.worker_mut(id) {
            if worker.failed.contains(&detector) {
                // What was asked after the failing request fails with it: one failure, one strike.
                return;
            }
            worker.failed.push(detector);
        }
        self.strike(now, detector, failure, was_active);
        if !was_active {
            self.load_next(now, id);
        }
    }

    /// An answer to the pipeline, or the score of a shadow (`own`), which ends in its record.
    fn handle_answer(&mut self, reply: WorkerReply, own: bool) {
        let number = match &reply {
            WorkerReply::Scores { detector, .. }
            | WorkerReply::Snapshots { detector, .. }
            | WorkerReply::Added { detector, .. }
            | WorkerReply::Explanations { detector, .. } => *detector,
            _ => return,
        };
        if let Some(detector) = self.detectors.get_mut(&number) {
            detector.note_reply(&reply);
        }
        if !own {
            self.actions.push_back(Action::Reply(reply));
        }
    }

    /// Keeps last states for the next worker; those of a dismissed detector for its successor of the same name.
    fn hand_over(&mut self, number: u32, states: Vec<SeriesState>) {
        let Some(detector) = self.detectors.get_mut(&number) else { return };
        if !detector.dismissed {
            return detector.inherit(states);
        }
        let gone = detector.wanted.clone();
        for heir in self.detectors.values_mut().filter(|one| !one.dismissed && one.wanted.succeeds(&gone)) {
            heir.inherit_from(&gone, &states);
        }
    }

    /// Asks a loading worker for the next artifact, or seals it.
    fn load_next(&mut self, now: MonoTime, id: WorkerId) {
        let Some(candidate) = self.candidate.as_mut().filter(|candidate| candidate.id == id) else { return };
        let Some(number) = candidate.to_load.pop_front() else {
            candidate.phase = Phase::Sealing;
            candidate.send(now, WorkerRequest::Seal, &mut self.actions);
            return;
        };
        let wanted = &self.detectors.get(&number).expect("a candidate with a dismissed detector is dropped").wanted;
        let artifact = wanted.artifact.to_vec();
        let request = WorkerRequest::Load { detector: number, artifact, parameters: wanted.parameters.clone() };
        candidate.send(now, request, &mut self.actions);
    }

    /// Records a failure and says so if the pipeline knew the detector.
    fn strike(&mut self, now: MonoTime, number: u32, failure: &Failure, announced: bool) {
        let Some(detector) = self.detectors.get_mut(&number) else { return };
        detector.strike(now, failure, &self.config.paroles);
        if announced && detector.wanted.shadow_of.is_none() {
            let Failure { fault, reason, .. } = failure.clone();
            self.actions.push_back(Action::Failed { detector: number, fault, reason });
        }
    }

    fn kill(&mut self, now: MonoTime, id: WorkerId, failure: Failure) {
        self.actions.push_back(Action::Kill { worker: id });
        self.lose(now, id, Some(&failure));
    }

    /// A worker is gone: whoever's turn it was is guilty, unless it never started.
    fn lose(&mut self, now: MonoTime, id: WorkerId, failure: Option<&Failure>) {
        let was_active = self.active.as_ref().is_some_and(|active| active.id == id);
        let lost = if was_active { self.active.take() } else { self.candidate.take_if(|candidate| candidate.id == id) };
        let Some(lost) = lost else { return };
        self.status.restarts += 1;
        let guilty = failure.and_then(|failure| lost.guilty().map(|(number, at)| (number, failure, at)));
        if let Some((number, failure, at)) = guilty {
            self.strike(now, number, &failure.clone().asked_at(now, at), was_active);
        }
        if was_active {
            self.status.active = None;
            self.status.confinement.clear();
            self.actions.push_back(Action::WorkerGone);
            self.detectors.values_mut().for_each(Detector::forget_series);
        }
        if guilty.is_none() {
            self.spawn_not_before = now + self.restart_pause;
            self.restart_pause = (self.restart_pause * 2).min(RESTART_PAUSE_MAX);
        }
        self.advance(now);
    }

    /// Moves on what can move on: the switch, then the plan.
    fn advance(&mut self, now: MonoTime) {
        self.drop_stale_candidate();
        let sealed_since = match &self.candidate {
            Some(Worker { phase: Phase::Sealed { since }, .. }) => Some(*since),
            _ => None,
        };
        if let Some(since) = sealed_since {
            let handed_over = self.active.as_ref().is_none_or(Worker::is_idle);
            if handed_over || now.since(since) >= self.config.handover_deadline {
                self.switch(now);
            }
        }
        self.plan(now);
    }

    fn switch(&mut self, now: MonoTime) {
        let Some(mut next) = self.candidate.take() else { return };
        if let Some(previous) = self.active.take() {
            self.retire(now, previous.id);
        }
        self.detectors.retain(|_, detector| !detector.dismissed);
        self.detectors.values_mut().for_each(Detector::forget_series);
        next.phase = Phase::Active;
        let running = next.serving().filter_map(|number| {
            let detector = self.detectors.get_mut(&number)?;
            detector.run(now);
            detector.running(number)
        });
        let running = running.collect();
        self.status.active = Some(next.id);
        self.status.confinement = next.confinement.clone();
        self.status.switches += 1;
        self.restart_pause = RESTART_PAUSE_MIN;
        self.active = Some(next);
        self.actions.push_back(Action::Detectors(running));
    }

    fn retire(&mut self, now: MonoTime, id: WorkerId) {
        self.retiring.push((id, now + RETIRE_DEADLINE));
        self.actions.push_back(Action::Retire { worker: id });
    }

    /// Detectors that may run now.
    fn eligible(&self) -> impl Iterator<Item = u32> {
        self.detectors.iter().filter(|(_, detector)| detector.eligible()).map(|(number, _)| *number)
    }

    fn wants_worker(&self) -> bool {
        let Some(active) = &self.active else { return self.eligible().next().is_some() };
        let surplus = |number: u32| self.detectors.get(&number).is_none_or(|detector| detector.dismissed);
        self.eligible().any(|number| !active.serves(number)) || active.serving().any(surplus)
    }

    /// Starts, restarts or gives up a candidate as the set demands.
    fn plan(&mut self, now: MonoTime) {
        self.drop_stale_candidate();
        if self.candidate.is_some() || !self.wants_worker() {
            return;
        }
        if self.eligible().next().is_none() {
            self.stop(now);
        } else if now >= self.spawn_not_before {
            self.spawn(now);
        }
    }

    /// Gives up a candidate that is no longer what is wanted.
    fn drop_stale_candidate(&mut self) {
        let stale = |candidate: &mut Worker| !self.detectors.iter().all(|(number, one)| candidate.fits(*number, one));
        if let Some(stale) = self.candidate.take_if(stale) {
            self.actions.push_back(Action::Kill { worker: stale.id });
        }
    }

    fn stop(&mut self, now: MonoTime) {
        let Some(active) = self.active.take() else { return };
        self.retire(now, active.id);
        self.status.active = None;
        self.status.confinement.clear();
        self.detectors.retain(|_, detector| !detector.dismissed);
        self.actions.push_back(Action::Detectors(Vec::new()));
    }

    fn spawn(&mut self, now: MonoTime) {
        let id = WorkerId(self.workers_made);
        self.workers_made += 1;
        self.actions.push_back(Action::Spawn { worker: id });
        self.candidate = Some(Worker::new(id, self.eligible().collect()));
        self.load_next(now, id);
    }
}

#[cfg(test)]
mod tests;

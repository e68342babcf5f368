//! The agent's side of the worker: which detectors run, who is guilty when something fails, and how the next worker
//! takes over.
//!
//! Sans-IO. Feed `handle_*`, then call [`Supervisor::poll_action`] until `None`, then arm [`Supervisor::poll_timeout`].
//! A worker is immutable once sealed, so there is one path for everything that alters the set (first start, new or
//! removed detector, upgrade, parole of a detector that failed, crash): start a second worker, load, seal, take a last
//! snapshot from the first, switch, retire the first.

mod detector;
mod worker;

pub use detector::{DetectorState, DetectorStatus, Wanted};
pub use worker::{Exit, WorkerId};

use detector::{Detector, Failure};
use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;
use vedette_protocol::time::MonoTime;
use vedette_protocol::v1::finding::DetectorRef;
use vedette_protocol::worker::{DetectorDescription, Fault, WorkerReply, WorkerRequest};
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
    /// tells them their series. What they had learnt is restored by the supervisor as their series are told.
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
    /// An answer for the pipeline: scores, explanations or snapshots.
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

/// Deadlines and pauses of the supervisor.
#[derive(Clone, Copy, Debug)]
pub struct SupervisorConfig {
    /// A worker that has not loaded one artifact after this is killed.
    pub load_deadline: Duration,
    /// A worker that has not answered any other request after this, counted from its turn, is killed. Longer than the
    /// worker's own limit, so it acts only when the worker cannot: under a second, as promised for demotion.
    pub answer_deadline: Duration,
    /// Every series' state is asked for once in this time, in [`SNAPSHOT_SLICES`] slices.
    pub snapshot_period: Duration,
    /// Longest wait for the last snapshots and scores before a switch.
    pub handover_deadline: Duration,
    /// Pauses before a failed detector is tried again; after one more failure than pauses it is quarantined.
    pub paroles: [Duration; 2],
    /// A detector that ran this long is forgiven its failures.
    pub forgiveness: Duration,
}

/// Slices in which the states of all series are asked for over [`SupervisorConfig::snapshot_period`].
pub const SNAPSHOT_SLICES: u32 = 12;

const RESTART_PAUSE_MIN: Duration = Duration::from_millis(250);
const RESTART_PAUSE_MAX: Duration = Duration::from_secs(60);
const RETIRE_DEADLINE: Duration = Duration::from_secs(5);
/// Linux signal numbers, the same on every architecture that Rust supports but MIPS and SPARC.
const SIGKILL: i32 = 9;
const SIGSYS: i32 = 31;

impl Default for SupervisorConfig {
    fn default() -> Self {
        Self {
            load_deadline: Duration::from_secs(5),
            answer_deadline: Duration::from_millis(950),
            snapshot_period: Duration::from_secs(60),
            handover_deadline: Duration::from_millis(500),
            paroles: [Duration::from_secs(5), Duration::from_secs(30)],
            forgiveness: Duration::from_secs(3600),
        }
    }
}

/// What the supervisor counts and knows of the worker.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerStatus {
    /// The worker that answers, if one does.
    pub active: Option<WorkerId>,
    /// What it has given up.
    pub confinement: Vec<String>,
    /// Workers that died or had to be killed.
    pub restarts: u64,
    /// Planned switches to another worker, the first start included.
    pub switches: u64,
    /// Requests dropped because nobody was there to answer.
    pub requests_dropped: u64,
    /// Ticks withheld from a detector that had not answered its last one.
    pub ticks_withheld: u64,
    /// Restores that a detector refused; those series start cold.
    pub restores_refused: u64,
}

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
            status: WorkerStatus::default(),
            actions: VecDeque::new(),
        }
    }

    /// The whole set of detectors that should run from now on. Those with the same module and parameters as before keep
    /// their number, their state and their record; a new version of a detector inherits the last snapshots by name.
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
        self.plan(now);
    }

    /// A request of the pipeline. [`WorkerRequest::Load`] and [`WorkerRequest::Seal`] are the supervisor's own and ignored.
    pub fn handle_request(&mut self, now: MonoTime, request: WorkerRequest) {
        let Some(number) = worker::addressee(&request) else { return };
        let (Some(worker), Some(detector)) = (self.active.as_mut(), self.detectors.get_mut(&number)) else {
            self.status.requests_dropped += 1;
            return;
        };
        if !worker.serves(number) {
            self.status.requests_dropped += 1;
            return;
        }
        if matches!(request, WorkerRequest::Observe { .. }) && worker.awaits_scores(number) {
            self.status.ticks_withheld += 1;
            return;
        }
        detector.note_request(&request);
        let follow_up = match &request {
            WorkerRequest::SeriesAdded { series, .. } => detector.restore(number, series),
            WorkerRequest::Observe { .. } => detector.snapshot_slice(number, now, self.config.snapshot_period),
            _ => None,
        };
        worker.send(now, request, &mut self.actions);
        if let Some(follow_up) = follow_up {
            worker.send(now, follow_up, &mut self.actions);
        }
    }

    /// An answer of a worker.
    pub fn handle_reply(&mut self, now: MonoTime, id: WorkerId, reply: WorkerReply) {
        let Some(worker) = self.worker_mut(id) else { return };
        let Some(asked) = worker.answered(now, &reply) else {
            self.kill(now, id, Failure::new(Fault::Output, "the worker answered out of turn"));
            return;
        };
        match reply {
            WorkerReply::Loaded { detector, description } => self.handle_loaded(now, id, detector, description),
            WorkerReply::Sealed { confinement } => self.handle_sealed(now, id, confinement),
            WorkerReply::Failed { fault: Fault::Misconfigured, .. } if asked == worker::Kind::Restore => {
                self.status.restores_refused += 1;
            }
            WorkerReply::Failed { detector, fault, reason } => {
                self.handle_failed(now, id, detector, &Failure::new(fault, &reason));
            }
            reply => self.handle_answer(reply),
        }
        self.advance(now);
    }

    /// A worker's process ended.
    pub fn handle_exit(&mut self, now: MonoTime, id: WorkerId, exit: Exit) {
        self.retiring.retain(|(retiring, _)| *retiring != id);
        let failure = Failure { fault: Fault::Killed, reason: exit.to_string(), hopeless: exit.signal == Some(SIGSYS) };
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
        let ancestor = self.detectors.values().rev().find(|one| one.wanted.name == wanted.name);
        let detector = Detector::new(wanted, ancestor);
        self.detectors.insert(number, detector);
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
                active.send(now, request, &mut self.actions);
            }
        }
    }

    fn handle_failed(&mut self, now: MonoTime, id: WorkerId, detector: u32, failure: &Failure) {
        let was_active = self.active.as_ref().is_some_and(|active| active.id == id);
        if let Some(worker) = self.worker_mut(id) {
            worker.failed.push(detector);
        }
        self.strike(now, detector, failure, was_active);
        if !was_active {
            self.load_next(now, id);
        }
    }

    fn handle_answer(&mut self, reply: WorkerReply) {
        let number = match &reply {
            WorkerReply::Scores { detector, .. }
            | WorkerReply::Snapshots { detector, .. }
            | WorkerReply::Explanations { detector, .. } => *detector,
            _ => return,
        };
        if let Some(detector) = self.detectors.get_mut(&number) {
            detector.note_reply(&reply);
            if let (true, WorkerReply::Snapshots { states, .. }) = (detector.dismissed, &reply) {
                let name = detector.wanted.name.clone();
                let heir = self.detectors.values_mut().rev().find(|one| one.wanted.name == name && !one.dismissed);
                if let Some(heir) = heir {
                    heir.keep(states);
                }
            }
        }
        self.actions.push_back(Action::Reply(reply));
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
        if announced {
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
        let guilty = failure.and_then(|failure| lost.guilty().map(|number| (number, failure)));
        if let Some((number, failure)) = guilty {
            self.strike(now, number, failure, was_active);
        }
        if was_active {
            self.status.active = None;
            self.status.confinement.clear();
            self.actions.push_back(Action::Detectors(Vec::new()));
            self.detectors.values_mut().for_each(Detector::forget_series);
        }
        if guilty.is_none() {
            self.spawn_not_before = now + self.restart_pause;
            self.restart_pause = (self.restart_pause * 2).min(RESTART_PAUSE_MAX);
        }
        self.plan(now);
    }

    /// Moves on what can move on: the switch, then the plan.
    fn advance(&mut self, now: MonoTime) {
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
        let stale = |candidate: &mut Worker| !self.detectors.iter().all(|(number, one)| candidate.fits(*number, one));
        if let Some(stale) = self.candidate.take_if(stale) {
            self.actions.push_back(Action::Kill { worker: stale.id });
        }
        if self.candidate.is_some() || !self.wants_worker() {
            return;
        }
        if self.eligible().next().is_none() {
            self.stop(now);
        } else if now >= self.spawn_not_before {
            self.spawn(now);
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

//! One worker process as the supervisor sees it: its phase and what it has been asked.

use super::detector::Detector;
use super::{Action, SupervisorConfig};
use std::collections::VecDeque;
use std::fmt;
use vedette_protocol::time::MonoTime;
use vedette_protocol::worker::{WorkerReply, WorkerRequest};

/// A worker process; never given twice in one life of the agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct WorkerId(pub u32);

/// How a process ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Exit {
    /// Signal that ended it.
    pub signal: Option<i32>,
    /// Exit code, if it ended by itself.
    pub code: Option<i32>,
}

impl fmt::Display for Exit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match (self.signal, self.code) {
            (Some(super::SIGSYS), _) => f.write_str("forbidden system call: the kernel killed the worker (SIGSYS)"),
            (Some(super::SIGKILL), _) => f.write_str("the worker was killed from outside or out of memory (SIGKILL)"),
            (Some(signal), _) => write!(f, "the worker died of signal {signal}"),
            (None, Some(code)) => write!(f, "the worker exited with code {code}"),
            (None, None) => f.write_str("the worker ended"),
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
    /// States that a detector took over from the worker before it, or from an earlier version of itself.
    pub states_restored: u64,
    /// Restores of which a detector refused a state at least; what it refused starts cold.
    pub restores_refused: u64,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Phase {
    Loading,
    Sealing,
    Sealed { since: MonoTime },
    Active,
}

/// Classes of requests.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    Load,
    Seal,
    Observe,
    Explain,
    Snapshot,
    Restore,
    /// Answered by `Added`.
    Add,
    /// Answered by `Done`.
    Tell,
}

/// An unanswered request.
#[derive(Clone, Copy)]
pub(super) struct Asked {
    pub(super) kind: Kind,
    /// When it was sent; once answered, when its turn came.
    pub(super) at: MonoTime,
    /// The supervisor's own: the pipeline does not expect an answer.
    pub(super) own: bool,
    /// States in a restore.
    pub(super) states: u64,
    detector: Option<u32>,
}

pub(super) struct Worker {
    pub(super) id: WorkerId,
    pub(super) phase: Phase,
    pub(super) confinement: Vec<String>,
    /// Detectors that failed in it.
    pub(super) failed: Vec<u32>,
    pub(super) to_load: VecDeque<u32>,
    set: Vec<u32>,
    asked: VecDeque<Asked>,
    answers: u64,
    /// Since when it is the first unanswered request's turn.
    turn_since: MonoTime,
}

impl Worker {
    pub(super) fn new(id: WorkerId, set: Vec<u32>) -> Self {
        Self {
            id,
            phase: Phase::Loading,
            confinement: Vec::new(),
            failed: Vec::new(),
            to_load: set.iter().copied().collect(),
            set,
            asked: VecDeque::new(),
            answers: 0,
            turn_since: MonoTime::default(),
        }
    }

    pub(super) fn send(&mut self, now: MonoTime, request: WorkerRequest, actions: &mut VecDeque<Action>) {
        self.ask(now, request, false, actions);
    }

    /// Sends a request whose answer is for the supervisor.
    pub(super) fn send_own(&mut self, now: MonoTime, request: WorkerRequest, actions: &mut VecDeque<Action>) {
        self.ask(now, request, true, actions);
    }

    fn ask(&mut self, now: MonoTime, request: WorkerRequest, own: bool, actions: &mut VecDeque<Action>) {
        if self.asked.is_empty() {
            self.turn_since = now;
        }
        let states = if let WorkerRequest::Restore { states, .. } = &request { states.len() as u64 } else { 0 };
        self.asked.push_back(Asked { kind: kind(&request), at: now, own, states, detector: addressee(&request) });
        actions.push_back(Action::Send { worker: self.id, request });
    }

    /// Takes the first unanswered request off, if `reply` answers it.
    pub(super) fn answered(&mut self, now: MonoTime, reply: &WorkerReply) -> Option<Asked> {
        let asked = self.asked.front()?;
        let fits = match reply {
            WorkerReply::Failed { detector, .. } => asked.detector == Some(*detector),
            WorkerReply::Loaded { detector, .. } => asked.is(Kind::Load, *detector),
            WorkerReply::Sealed { .. } => asked.kind == Kind::Seal,
            WorkerReply::Scores { detector, .. } => asked.is(Kind::Observe, *detector),
            WorkerReply::Explanations { detector, .. } => asked.is(Kind::Explain, *detector),
            WorkerReply::Snapshots { detector, .. } => asked.is(Kind::Snapshot, *detector),
            WorkerReply::Added { detector, .. } => asked.is(Kind::Add, *detector),
            WorkerReply::Done { detector } => asked.is(Kind::Tell, *detector) || asked.is(Kind::Restore, *detector),
        };
        if !fits {
            return None;
        }
        let turn_since = std::mem::replace(&mut self.turn_since, now);
        self.answers += 1;
        self.asked.pop_front().map(|asked| Asked { at: asked.at.max(turn_since), ..asked })
    }

    pub(super) fn serves(&self, detector: u32) -> bool {
        self.set.contains(&detector) && !self.failed.contains(&detector)
    }

    pub(super) fn serving(&self) -> impl Iterator<Item = u32> {
        self.set.iter().copied().filter(|detector| !self.failed.contains(detector))
    }

    /// Whether the candidate still is what is wanted of `detector`.
    pub(super) fn fits(&self, number: u32, detector: &Detector) -> bool {
        match (self.set.contains(&number), self.failed.contains(&number)) {
            (true, true) => true,
            (true, false) => detector.eligible(),
            (false, _) => !detector.eligible(),
        }
    }

    pub(super) fn awaits_scores(&self, detector: u32) -> bool {
        self.asked.iter().any(|asked| asked.is(Kind::Observe, detector))
    }

    /// Whether everything was answered: a worker that is retired now takes no tick with it.
    pub(super) fn is_idle(&self) -> bool {
        self.asked.is_empty()
    }

    /// Whose turn it is, and since when.
    pub(super) fn guilty(&self) -> Option<(u32, MonoTime)> {
        let asked = self.asked.front()?;
        Some((asked.detector?, self.turn_since))
    }

    /// Whether it ended because it could not be started or could not be confined, before any detector had its turn.
    pub(super) fn never_started(&self, exit: Exit) -> bool {
        let not_spawned = exit == Exit::default();
        not_spawned || (self.answers == 0 && exit.code == Some(crate::worker::EXIT_NOT_CONFINED))
    }

    pub(super) fn deadline(&self, config: &SupervisorConfig) -> Option<MonoTime> {
        let answer = self.asked.front().map(|asked| {
            let allowed = if asked.kind == Kind::Load { config.load_deadline } else { config.answer_deadline };
            self.turn_since + allowed
        });
        let handover = match self.phase {
            Phase::Sealed { since } => Some(since + config.handover_deadline),
            _ => None,
        };
        answer.into_iter().chain(handover).min()
    }

    /// Whether the first unanswered request is overdue.
    pub(super) fn late(&self, now: MonoTime, config: &SupervisorConfig) -> bool {
        !self.asked.is_empty() && self.deadline(config).is_some_and(|deadline| deadline <= now)
    }
}

impl Asked {
    fn is(&self, kind: Kind, detector: u32) -> bool {
        self.kind == kind && self.detector == Some(detector)
    }
}

pub(super) fn addressee(request: &WorkerRequest) -> Option<u32> {
    match request {
        WorkerRequest::Seal => None,
        WorkerRequest::Load { detector, .. }
        | WorkerRequest::SeriesAdded { detector, .. }
        | WorkerRequest::SeriesRemoved { detector, .. }
        | WorkerRequest::Observe { detector, .. }
        | WorkerRequest::Explain { detector, .. }
        | WorkerRequest::Snapshot { detector, .. }
        | WorkerRequest::Restore { detector, .. } => Some(*detector),
    }
}

fn kind(request: &WorkerRequest) -> Kind {
    match request {
        WorkerRequest::Load { .. } => Kind::Load,
        WorkerRequest::Seal => Kind::Seal,
        WorkerRequest::Observe { .. } => Kind::Observe,
        WorkerRequest::Explain { .. } => Kind::Explain,
        WorkerRequest::Snapshot { .. } => Kind::Snapshot,
        WorkerRequest::Restore { .. } => Kind::Restore,
        WorkerRequest::SeriesAdded { .. } => Kind::Add,
        WorkerRequest::SeriesRemoved { .. } => Kind::Tell,
    }
}

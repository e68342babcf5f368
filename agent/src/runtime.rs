//! The loop: one thread, one-second ticks, and everything that may take longer in threads and processes of its own.
//!
//! [`Agent`] holds all state and never waits; this file waits, for ticks, answers, timers and signals, and tells it
//! what happened.

mod agent;
pub(crate) mod detectors;
mod learning;
mod meter;
mod pulse;
mod pump;
mod purse;
mod reload;
mod report;
mod spooling;
mod taps;
mod tick;

use crate::clock::mono_now;
use crate::config::Config;
use crate::identity::Identity;
use crate::local::{Answer, Asked, OpenTap, Question, Socket};
use crate::log::Log;
use crate::metrics::listen::Listener;
use crate::notify::Notify;
use crate::spool::log::Begin;
use crate::status::RefusedStatus;
use crate::uplink::Order;
pub(crate) use agent::WORKER_EVENTS;
use agent::{Agent, Inputs};
use std::io;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep, sleep_until, timeout, timeout_at};
use vedette_link::client::{ClientError, LinkTask};
use vedette_protocol::time::MonoTime;

/// Longest wait for the acknowledgements of a collector that is there, on the way out.
pub const DRAIN_MAX: Duration = Duration::from_secs(10);

/// Longest wait for a collector that is not.
const LONELY_DRAIN_MAX: Duration = Duration::from_millis(1_500);

/// Longest wait for the disk on the way out.
const DISK_MAX: Duration = Duration::from_secs(2);

/// A collector can have the agent begin a new queue this often at most.
const ANEW_MIN: Duration = Duration::from_secs(3_600);

const QUESTIONS: usize = 8;

/// Series that the answer to [`Question::Oddest`] names: all of a usual host, a quarter of a megabyte.
const ODDEST: usize = 1_000;

/// What is asked over the local interface.
struct Askers {
    questions: mpsc::Receiver<Asked>,
    taps: mpsc::Receiver<OpenTap>,
}

/// Why the agent cannot start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The operating system refused something.
    #[error("{what}: {source}")]
    Io {
        /// What was tried.
        what: String,
        /// Why not.
        source: io::Error,
    },
    /// Certificate or key is unusable.
    #[error("{0}")]
    Link(#[from] ClientError),
}

impl StartError {
    fn io(what: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let what = what.into();
        move |source| Self::Io { what, source }
    }
}

/// What an agent starts from.
pub struct Start {
    /// Configuration, checked.
    pub config: Config,
    /// Where it was read; a reload reads it there again.
    pub file: PathBuf,
    /// Who this is.
    pub identity: Identity,
    /// What the process has given up, for `status`.
    pub confinement: Vec<String>,
    /// Its log.
    pub log: Log,
    /// How its spool begins.
    pub begin: Begin,
}

/// How many detectors of a configuration may run, by what is signed and for whom, and those that may not.
pub fn detectors_of(config: &Config) -> (usize, Vec<RefusedStatus>) {
    let found = detectors::Shelf::look_as(config, config.detectors.execution.resolve());
    (found.wanted.len(), found.refused)
}

/// Runs the agent until SIGTERM or SIGINT, then hands over what is left.
///
/// # Errors
///
/// [`StartError`] before the first tick; afterwards nothing ends it but a signal.
pub async fn run(start: Start) -> Result<(), StartError> {
    let mut signals = Signals::open().map_err(StartError::io("signals"))?;
    let socket =
        Socket::bind(&start.config.socket).map_err(StartError::io(start.config.socket.display().to_string()))?;
    let scrapes = open_metrics(start.config.metrics.listen).await?;
    let (questions, asked) = mpsc::channel(QUESTIONS);
    let (taps, tapped) = mpsc::channel(1);
    let mut askers = Askers { questions: asked, taps: tapped };
    let opened = Agent::open(start)?;
    if let Some(scrapes) = scrapes {
        tokio::spawn(scrapes.serve(questions.clone()));
    }
    let server = tokio::spawn(socket.serve(questions, taps));
    live(opened, &mut askers, &mut signals).await?;
    // Its socket goes with it.
    server.abort();
    let _ = server.await;
    Ok(())
}

/// Runs the agent to its end; where it has to leave its queue epoch, another in its place.
async fn live(opened: (Agent, Inputs, LinkTask), askers: &mut Askers, signals: &mut Signals) -> Result<(), StartError> {
    let notify = Notify::from_env();
    let (mut agent, mut inputs, mut link) = opened;
    let mut anew_from = MonoTime::default();
    loop {
        let linked = tokio::spawn(link.run());
        tracing::info!(version = env!("CARGO_PKG_VERSION"), "agent started");
        let mut ended = turn(&mut agent, &mut inputs, askers, signals, &notify, anew_from).await;
        match ended {
            Ended::Told => notify.stopping(),
            Ended::Anew => tracing::warn!(
                "the collector knows other batches under our sequences: this machine or its data directory went back in \
                 time, and a new queue begins"
            ),
        }
        tracing::info!("agent stops and hands over what is left");
        tokio::select! {
            () = drain(&mut agent, &mut inputs, &mut askers.questions) => {}
            () = signals.end() => {
                tracing::warn!("another signal: not waiting any longer");
                ended = Ended::Told;
            }
        }
        agent.last_words();
        let start = close(agent, inputs).await;
        linked.abort();
        if ended == Ended::Told {
            return Ok(());
        }
        anew_from = mono_now() + ANEW_MIN;
        (agent, inputs, link) = Agent::open(Start { begin: Begin::Anew, ..start })?;
    }
}

async fn open_metrics(listen: Option<SocketAddr>) -> Result<Option<Listener>, StartError> {
    let Some(address) = listen else { return Ok(None) };
    let listener = Listener::bind(address).await.map_err(StartError::io(format!("metrics on {address}")))?;
    tracing::info!(server.address = %address, "own metrics are served");
    Ok(Some(listener))
}

/// Why the loop has ended.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Ended {
    /// A signal.
    Told,
    /// The queue epoch has to be left.
    Anew,
}

/// Ticks until a signal, or until the collector has it begin anew, which it can from `anew_from` on.
async fn turn(
    agent: &mut Agent,
    inputs: &mut Inputs,
    askers: &mut Askers,
    signals: &mut Signals,
    notify: &Notify,
    anew_from: MonoTime,
) -> Ended {
    let mut teller = Teller::new(notify);
    loop {
        tokio::select! {
            () = sleep_until(agent.next_wake()) => agent.handle_time(Instant::now()),
            Some(report) = inputs.reports.recv() => agent.handle_report(report),
            Some(lines) = inputs.lines.recv() => agent.handle_lines(lines),
            Some(seen) = inputs.changes.recv() => agent.handle_changes(seen),
            Some(turn) = inputs.inventories.recv() => agent.handle_turn(turn),
            Some(event) = inputs.workers.recv() => agent.handle_worker(event),
            Some(event) = inputs.link.recv() => {
                if agent.handle_link(event) == Order::BeginAnew && mono_now() >= anew_from {
                    return Ended::Anew;
                }
            }
            Some(event) = inputs.policies.recv() => agent.handle_policy(event),
            Some(reread) = inputs.reread.recv() => {
                agent.handle_reread(reread);
                teller.tell_reloaded(agent);
            }
            Some(found) = inputs.found.recv() => agent.handle_found(&found),
            Some(reply) = inputs.replies.recv() => agent.handle_spool(reply),
            Some(question) = askers.questions.recv() => answer(agent, question),
            Some(tap) = askers.taps.recv() => agent.handle_tap(tap),
            told = signals.next() => match told {
                Told::Reload => {
                    notify.reloading();
                    agent.handle_reload();
                }
                Told::End => return Ended::Told,
            },
        }
        teller.tell(agent);
    }
}

/// What the service supervisor was told. It hears of beats only: an agent whose loop turns, but whose ticks do not go
/// all the way, is not alive.
struct Teller<'a> {
    notify: &'a Notify,
    ticks: u64,
    beats: u64,
    state: String,
}

/// A change of what `systemctl status` shows is told within so many ticks.
const STATE_TICKS: u64 = 10;

impl<'a> Teller<'a> {
    fn new(notify: &'a Notify) -> Self {
        Self { notify, ticks: 0, beats: 0, state: String::new() }
    }

    /// The last reload that was asked for has ended; before the first tick nothing is ready.
    fn tell_reloaded(&mut self, agent: &Agent) {
        if self.ticks > 0 && !agent.is_reloading() {
            self.notify.ready(&agent.in_a_line());
        }
    }

    fn tell(&mut self, agent: &Agent) {
        let (ticks, beats) = (agent.ticks_done(), agent.beats());
        if !self.notify.is_heard() || ticks == self.ticks {
            return;
        }
        if self.ticks == 0 {
            self.notify.ready("sampling");
        }
        if self.notify.watchdog.is_some() && beats > self.beats {
            self.notify.alive();
        }
        if ticks.is_multiple_of(STATE_TICKS) {
            let state = agent.in_a_line();
            if state != self.state {
                self.notify.state(&state);
                self.state = state;
            }
        }
        (self.ticks, self.beats) = (ticks, beats);
    }
}

/// Sends what is left and waits for the collector's word: up to [`DRAIN_MAX`], or [`LONELY_DRAIN_MAX`] without it.
async fn drain(agent: &mut Agent, inputs: &mut Inputs, asked: &mut mpsc::Receiver<Asked>) {
    let begun = mono_now();
    agent.handle_shutdown();
    let (mut closing, mut over) = (false, false);
    loop {
        if !closing && agent.all_settled() {
            closing = true;
            agent.close_link();
        }
        let ends = if over { begun } else { drain_ends(begun, agent.lonely_since()) };
        let ends = agent.waits_for_states().map_or(ends, |until| ends.max(until));
        let order = tokio::select! {
            Some(event) = inputs.link.recv() => agent.handle_link(event),
            Some(event) = inputs.workers.recv() => { agent.handle_worker(event); Order::None }
            Some(lines) = inputs.lines.recv() => { agent.handle_last_lines(lines); Order::None }
            Some(reply) = inputs.replies.recv() => { agent.handle_spool(reply); Order::None }
            Some(question) = asked.recv() => { answer(agent, question); Order::None }
            () = sleep(ends.since(mono_now())) => return,
        };
        over |= order == Order::Drained || agent.can_rest();
        if over && agent.waits_for_states().is_none() {
            return;
        }
    }
}

/// When to give up a drain that began at `begun`.
fn drain_ends(begun: MonoTime, lonely_since: Option<MonoTime>) -> MonoTime {
    let ends = begun + DRAIN_MAX;
    lonely_since.map_or(ends, |since| ends.min(begun.max(since) + LONELY_DRAIN_MAX))
}

/// Ends worker and threads; what hangs is left behind. What the same agent would start from again.
async fn close(agent: Agent, mut inputs: Inputs) -> Start {
    let start = agent.close();
    let deadline = Instant::now() + DISK_MAX;
    while let Ok(Some(_)) = timeout_at(deadline, inputs.policies.recv()).await {}
    while let Ok(Some(_)) = timeout_at(deadline, inputs.inventories.recv()).await {}
    while let Ok(Some(_)) = timeout_at(deadline, inputs.replies.recv()).await {}
    let gone = async { while inputs.workers.recv().await.is_some() {} };
    // A worker that does not end is killed when its task is dropped.
    let _ = timeout(DISK_MAX, gone).await;
    start
}

fn answer(agent: &Agent, question: Asked) {
    let answer = match question.question {
        Question::Status | Question::Metrics => Answer::Status(Box::new(agent.status())),
        Question::Recorder(wanted) => Answer::Recorder(Box::new(agent.unwritten(&wanted))),
        Question::Cost => Answer::Cost(Box::new(agent.bill())),
        Question::Oddest => Answer::Oddest(agent.oddest(ODDEST)),
    };
    // Who asked has hung up: nothing is lost.
    let _ = question.answer.send(answer);
}

/// What a signal says.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Told {
    End,
    Reload,
}

/// The signals that end the agent, and the one that asks for a reload.
struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hangup: Signal,
}

impl Signals {
    fn open() -> io::Result<Self> {
        Ok(Self {
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
            hangup: signal(SignalKind::hangup())?,
        })
    }

    async fn next(&mut self) -> Told {
        tokio::select! {
            _ = self.terminate.recv() => Told::End,
            _ = self.interrupt.recv() => Told::End,
            _ = self.hangup.recv() => Told::Reload,
        }
    }

    /// Waits for a signal to end.
    async fn end(&mut self) {
        while self.next().await != Told::End {}
    }
}

#[cfg(test)]
mod tests;

//! The worker: a confined process that loads detectors, gives up executable memory, and answers requests in their order.
//!
//! The agent starts its own binary with another entry point, with an empty environment and pipes for standard input and
//! output; this module owns that process from [`main`] on. Detectors' log lines go to standard error, few and short.

mod log;

use crate::confine::{self, ConfineError, Role};
use crate::engine::{Engine, Execution};
use crate::instance::{Code, Failure, Instance, Limits};
use crate::wire::{self, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, Spare, WireError};
use log::LogGate;
use std::collections::BTreeMap;
use std::io::{self, Read, Write};
use vedette_protocol::worker::{Columns, Fault, WorkerReply, WorkerRequest};

/// Exit code of a worker that could not be confined or made no engine: no detector is to blame.
pub const EXIT_NOT_CONFINED: i32 = 70;
/// Exit code of a worker whose pipe broke in the middle of a frame, or that met a bug of its own.
pub const EXIT_BROKEN: i32 = 71;

/// A buffer that held an artifact is not kept.
const BODY_BYTES_KEPT_MAX: usize = 1 << 20;

/// The process of a worker that executes native code. Call it before any thread is made or file is opened; it returns
/// never.
pub fn main() -> ! {
    main_executing(Execution::Native)
}

/// The same for a way to execute. One that interprets gives up executable memory before the first detector comes.
pub fn main_executing(execution: Execution) -> ! {
    main_within(execution, Limits::default().memory_bytes)
}

/// The same with so much linear memory for each guest.
pub fn main_within(execution: Execution, memory_bytes: usize) -> ! {
    // A backtrace would read files, and be killed for it with the wrong reason.
    std::panic::set_hook(Box::new(|panic| {
        let _ = writeln!(io::stderr(), "detector worker: {panic}");
        std::process::exit(EXIT_BROKEN);
    }));
    let (engine, confinement) = match prepare(execution) {
        Ok(prepared) => prepared,
        Err(reason) => {
            let _ = writeln!(io::stderr(), "detector worker: {reason}");
            std::process::exit(EXIT_NOT_CONFINED);
        }
    };
    let mut worker = Worker::new(engine, move || {
        let mut confinement = confinement.clone();
        if execution == Execution::Native {
            confinement.push(confine::forbid_new_code()?.into());
        }
        Ok(confinement)
    });
    worker.limits.memory_bytes = memory_bytes;
    match worker.run(&mut Stdin, &mut Stdout) {
        Ok(()) => std::process::exit(0),
        Err(error) => {
            let _ = writeln!(io::stderr(), "detector worker: {error}");
            std::process::exit(EXIT_BROKEN);
        }
    }
}

fn prepare(execution: Execution) -> Result<(Engine, Vec<String>), String> {
    let mut confinement = confine::isolate(Role::Worker).map_err(|error| error.to_string())?;
    let engine = Engine::executing(execution).map_err(|error| error.to_string())?;
    Engine::prepare_thread();
    confinement.push(confine::filter(Role::Worker).map_err(|error| error.to_string())?.into());
    if execution == Execution::Pulley {
        confinement.push(confine::forbid_new_code().map_err(|error| error.to_string())?.into());
    }
    Ok((engine, confinement))
}

/// The loop without its process: also runs detectors inside tests and tools.
pub struct Worker<S> {
    engine: Engine,
    limits: Limits,
    seal: S,
    sealed: bool,
    detectors: BTreeMap<u32, Slot>,
}

enum Slot {
    Running(Box<Instance>, LogGate),
    Failed(Failure),
}

impl<S: FnMut() -> Result<Vec<String>, ConfineError>> Worker<S> {
    /// A worker that calls `seal` when it is told to give up executable memory; its names are what the agent is told.
    pub fn new(engine: Engine, seal: S) -> Self {
        let limits = Limits::of(engine.execution());
        Self { engine, limits, seal, sealed: false, detectors: BTreeMap::new() }
    }

    /// The same with so many times the time for a call: for scores of trusted code on a machine that has other work.
    #[must_use]
    pub fn patient(mut self, times: u32) -> Self {
        self.limits.call.cpu *= times;
        self.limits.call.wall *= times;
        self
    }

    /// Answers requests until the input ends between two of them.
    ///
    /// # Errors
    ///
    /// If a frame is malformed or a pipe breaks.
    pub fn run(&mut self, input: &mut impl Read, output: &mut impl Write) -> Result<(), WireError> {
        let (mut body, mut frame, mut spare) = (Vec::new(), Vec::new(), Spare::default());
        while let Some(request) = wire::read_into(input, REQUEST_BYTES_MAX, &mut body, &mut spare)? {
            if body.capacity() > BODY_BYTES_KEPT_MAX {
                body = Vec::new();
            }
            let reply = self.reply_to(&request);
            wire::write(output, &reply, REPLY_BYTES_MAX, &mut frame)?;
            if let WorkerRequest::Observe { columns, .. } = request {
                spare.columns = columns;
            }
        }
        Ok(())
    }

    /// Answers one request.
    pub fn answer(&mut self, request: WorkerRequest) -> WorkerReply {
        self.reply_to(&request)
    }

    fn reply_to(&mut self, request: &WorkerRequest) -> WorkerReply {
        match request {
            WorkerRequest::Load { detector, artifact, parameters } => self.load(*detector, artifact, parameters),
            WorkerRequest::Seal => self.give_up_new_code(),
            WorkerRequest::SeriesAdded { detector, series } => {
                let added = |declined| WorkerReply::Added { detector: *detector, declined };
                self.ask(*detector, |instance| instance.series_added(series).map(added))
            }
            WorkerRequest::SeriesRemoved { detector, ids } => self.tell(*detector, |one| one.series_removed(ids)),
            WorkerRequest::Observe { detector, tick, columns } => self.observe(*detector, *tick, columns),
            WorkerRequest::Explain { detector, ids } => {
                let explained = |explanations| WorkerReply::Explanations { detector: *detector, explanations };
                self.ask(*detector, |instance| instance.explain(ids).map(explained))
            }
            WorkerRequest::Snapshot { detector, ids } => {
                let saved = |states| WorkerReply::Snapshots { detector: *detector, states };
                self.ask(*detector, |instance| instance.snapshot(ids).map(saved))
            }
            WorkerRequest::Restore { detector, ids, states } => {
                self.tell(*detector, |instance| instance.restore(ids, states))
            }
        }
    }

    fn load(&mut self, detector: u32, artifact: &[u8], parameters: &[(String, f64)]) -> WorkerReply {
        if self.sealed {
            return failed(detector, Failure { fault: Fault::Refused, reason: "this worker is sealed".into() });
        }
        #[allow(unsafe_code, reason = "the agent has verified the pair")]
        // SAFETY: the pipe's other end is the agent, which verifies signature and digests before it hands code over.
        let code = unsafe { Code::assume(artifact) };
        match Instance::load(&self.engine, code, parameters, self.limits) {
            Ok((mut instance, description)) => {
                let mut gate = LogGate::new(&description.name);
                gate.pass(instance.take_log(), &mut io::stderr());
                self.detectors.insert(detector, Slot::Running(Box::new(instance), gate));
                WorkerReply::Loaded { detector, description }
            }
            Err(failure) => {
                self.detectors.insert(detector, Slot::Failed(failure.clone()));
                failed(detector, failure)
            }
        }
    }

    fn give_up_new_code(&mut self) -> WorkerReply {
        confine::return_freed_memory();
        match (self.seal)() {
            Ok(confinement) => {
                self.sealed = true;
                WorkerReply::Sealed { confinement }
            }
            // Going on would mean to run with less than was promised.
            Err(error) => panic!("{error}"),
        }
    }

    fn observe(&mut self, detector: u32, tick: u64, columns: &Columns) -> WorkerReply {
        self.ask(detector, |instance| {
            let mut scores = Vec::new();
            instance.observe(columns, &mut scores)?;
            let (guest_ns, memory_bytes) = (instance.guest_ns(), instance.memory_bytes());
            Ok(WorkerReply::Scores { detector, tick, scores, guest_ns, memory_bytes })
        })
    }

    fn tell(&mut self, detector: u32, run: impl FnOnce(&mut Instance) -> Result<(), Failure>) -> WorkerReply {
        self.ask(detector, |instance| run(instance).map(|()| WorkerReply::Done { detector }))
    }

    fn ask(&mut self, detector: u32, run: impl FnOnce(&mut Instance) -> Result<WorkerReply, Failure>) -> WorkerReply {
        let failure = match self.detectors.get_mut(&detector) {
            None => Failure { fault: Fault::Refused, reason: format!("detector {detector} was never loaded") },
            Some(Slot::Failed(failure)) => failure.clone(),
            Some(Slot::Running(instance, gate)) => {
                let result = run(instance);
                gate.pass(instance.take_log(), &mut io::stderr());
                match result {
                    Ok(reply) => return reply,
                    Err(failure) if instance.poisoned().is_none() => return failed(detector, failure),
                    Err(failure) => failure,
                }
            }
        };
        // Frees a poisoned instance's memory.
        self.detectors.insert(detector, Slot::Failed(failure.clone()));
        failed(detector, failure)
    }
}

fn failed(detector: u32, failure: Failure) -> WorkerReply {
    WorkerReply::Failed { detector, fault: failure.fault, reason: failure.reason }
}

/// Standard input without a buffer: frames bring their own.
struct Stdin;
/// Standard output without a line buffer: frames are not lines.
struct Stdout;

impl Read for Stdin {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        Ok(rustix::io::read(io::stdin(), buffer)?)
    }
}

impl Write for Stdout {
    fn write(&mut self, buffer: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(io::stdout(), buffer)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

//! Places in which a detector runs: in this process, in a confined worker, or as a native program.

use super::native::Native;
use anyhow::{Context as _, bail, ensure};
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use vedette_detector_host::confine::ConfineError;
use vedette_detector_host::engine::Engine;
use vedette_detector_host::wire::{self, REPLY_BYTES_MAX, REQUEST_BYTES_MAX};
use vedette_detector_host::worker::Worker;
use vedette_protocol::worker::{
    Columns, DetectorDescription, SeriesDescriptor, SeriesState, WorkerReply, WorkerRequest,
};

/// The hidden command that becomes a worker.
pub(crate) const WORKER_COMMAND: &str = "confined-worker";
/// Every worker here has one detector.
const DETECTOR: u32 = 0;
/// Series of one request: states of so many stay within what one call may return.
const SERIES_PER_REQUEST: usize = 256;

/// A running detector, wherever it runs.
pub(crate) trait Runner {
    /// Tells the series.
    fn add(&mut self, series: &[SeriesDescriptor]) -> anyhow::Result<()>;
    /// Scores one tick; the time inside the guest in nanoseconds, if it is known.
    fn observe(&mut self, columns: &Columns) -> anyhow::Result<(Vec<f32>, Option<u64>)>;
    /// States of the series.
    fn snapshot(&mut self, series: &[SeriesDescriptor]) -> anyhow::Result<Vec<SeriesState>>;
    /// Takes states over, aligned with the series.
    fn restore(&mut self, series: &[SeriesDescriptor], states: &[SeriesState]) -> anyhow::Result<()>;
}

/// Where to run.
pub(crate) enum Place<'a> {
    /// The module in this process.
    Here(&'a [u8]),
    /// The module in a confined worker process.
    Confined(&'a [u8]),
    /// A native program.
    Native(&'a std::path::Path),
}

impl Place<'_> {
    /// Starts the detector there, with these parameters.
    pub(crate) fn start(&self, parameters: &[(String, f64)]) -> anyhow::Result<Box<dyn Runner>> {
        Ok(match self {
            Self::Here(cwasm) => Box::new(Module::load(Pipe::Here(worker_here()?), cwasm, parameters)?.0),
            Self::Confined(cwasm) => Box::new(Module::load(Pipe::start()?, cwasm, parameters)?.0),
            Self::Native(program) => Box::new(Native::start(program, parameters)?),
        })
    }
}

/// What a module says of itself, asked in a confined worker.
pub(crate) fn describe(cwasm: &[u8], parameters: &[(String, f64)]) -> anyhow::Result<DetectorDescription> {
    Ok(Module::load(Pipe::start()?, cwasm, parameters)?.1)
}

type Seal = fn() -> Result<Vec<String>, ConfineError>;

fn worker_here() -> anyhow::Result<Box<Worker<Seal>>> {
    Ok(Box::new(Worker::new(Engine::new()?, || Ok(Vec::new()))))
}

/// The way to a worker.
enum Pipe {
    Here(Box<Worker<Seal>>),
    Process { child: Child, input: Option<ChildStdin>, output: ChildStdout, buffer: Vec<u8> },
}

impl Pipe {
    fn start() -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command.args(["detector", WORKER_COMMAND]).env_clear().stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().context("the worker could not be started")?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("a pipe was asked for")?;
        Ok(Self::Process { child, input, output, buffer: Vec::new() })
    }

    fn ask(&mut self, request: WorkerRequest) -> anyhow::Result<WorkerReply> {
        match self {
            Self::Here(worker) => Ok(worker.answer(request)),
            Self::Process { input, output, buffer, .. } => {
                let input = input.as_mut().context("the worker has ended")?;
                wire::write(input, &request, REQUEST_BYTES_MAX, buffer)?;
                wire::read(output, REPLY_BYTES_MAX, buffer)?.context("the worker ended without an answer")
            }
        }
    }
}

impl Drop for Pipe {
    fn drop(&mut self) {
        if let Self::Process { child, input, .. } = self {
            // The end of its input ends the worker; one that hangs in a guest is ended for it.
            drop(input.take());
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

/// A module in a worker.
struct Module(Pipe);

impl Module {
    fn load(mut pipe: Pipe, cwasm: &[u8], parameters: &[(String, f64)]) -> anyhow::Result<(Self, DetectorDescription)> {
        let parameters = parameters.to_vec();
        let request = WorkerRequest::Load { detector: DETECTOR, artifact: cwasm.to_vec(), parameters };
        let description = match pipe.ask(request)? {
            WorkerReply::Loaded { description, .. } => description,
            reply => return Err(unexpected(reply)),
        };
        match pipe.ask(WorkerRequest::Seal)? {
            WorkerReply::Sealed { .. } => Ok((Self(pipe), description)),
            reply => Err(unexpected(reply)),
        }
    }

    fn done(&mut self, request: WorkerRequest) -> anyhow::Result<()> {
        match self.0.ask(request)? {
            WorkerReply::Done { .. } => Ok(()),
            reply => Err(unexpected(reply)),
        }
    }
}

impl Runner for Module {
    fn add(&mut self, series: &[SeriesDescriptor]) -> anyhow::Result<()> {
        for some in series.chunks(SERIES_PER_REQUEST) {
            self.done(WorkerRequest::SeriesAdded { detector: DETECTOR, series: some.to_vec() })?;
        }
        Ok(())
    }

    fn observe(&mut self, columns: &Columns) -> anyhow::Result<(Vec<f32>, Option<u64>)> {
        match self.0.ask(WorkerRequest::Observe { detector: DETECTOR, tick: 0, columns: columns.clone() })? {
            WorkerReply::Scores { scores, guest_ns, .. } => Ok((scores, Some(guest_ns))),
            reply => Err(unexpected(reply)),
        }
    }

    fn snapshot(&mut self, series: &[SeriesDescriptor]) -> anyhow::Result<Vec<SeriesState>> {
        let mut all = Vec::with_capacity(series.len());
        for some in series.chunks(SERIES_PER_REQUEST) {
            let ids = some.iter().map(|one| one.id).collect();
            match self.0.ask(WorkerRequest::Snapshot { detector: DETECTOR, ids })? {
                WorkerReply::Snapshots { states, .. } => all.extend(states),
                reply => return Err(unexpected(reply)),
            }
        }
        ensure!(all.len() == series.len(), "{} states of {} series", all.len(), series.len());
        Ok(all)
    }

    fn restore(&mut self, series: &[SeriesDescriptor], states: &[SeriesState]) -> anyhow::Result<()> {
        for (some, states) in series.chunks(SERIES_PER_REQUEST).zip(states.chunks(SERIES_PER_REQUEST)) {
            let ids = some.iter().map(|one| one.id).collect();
            self.done(WorkerRequest::Restore { detector: DETECTOR, ids, states: states.to_vec() })?;
        }
        Ok(())
    }
}

fn unexpected(reply: WorkerReply) -> anyhow::Error {
    match reply {
        WorkerReply::Failed { fault, reason, .. } => anyhow::anyhow!("the detector failed ({fault:?}): {reason}"),
        _ => anyhow::anyhow!("the worker gave an answer to another question"),
    }
}

/// Fails unless the states are those of the series, in order.
pub(crate) fn check_keys(series: &[SeriesDescriptor], states: &[SeriesState]) -> anyhow::Result<()> {
    if series.iter().map(|one| one.key).ne(states.iter().map(|state| state.key)) {
        bail!("the states are not those of the series that were asked for, in their order");
    }
    Ok(())
}

//! Places in which a detector runs: in this process, in a confined worker, or as a native program.

use super::native::Native;
use anyhow::{Context as _, bail, ensure};
use std::collections::HashSet;
use std::process::{Child, ChildStdin, ChildStdout, Command, Stdio};
use vedette_detector_host::confine::ConfineError;
use vedette_detector_host::engine::{Engine, Execution};
use vedette_detector_host::wire::{self, REPLY_BYTES_MAX, REQUEST_BYTES_MAX};
use vedette_detector_host::worker::Worker;
use vedette_protocol::worker::{
    Columns, DetectorDescription, Explanation, Fault, SeriesDescriptor, SeriesState, WorkerReply, WorkerRequest,
};

/// The hidden command that becomes a worker.
pub(crate) const WORKER_COMMAND: &str = "confined-worker";
/// Every worker here has one detector.
const DETECTOR: u32 = 0;

/// A running detector, wherever it runs.
pub(crate) trait Runner {
    /// Tells the series. What it declines it is not asked about: its scores are NaN then, and its states empty.
    fn add(&mut self, series: &[SeriesDescriptor]) -> anyhow::Result<()>;
    /// Scores one tick; the time inside the guest in nanoseconds, if it is known.
    fn observe(&mut self, columns: &Columns) -> anyhow::Result<(Vec<f32>, Option<u64>)>;
    /// States of the series.
    fn snapshot(&mut self, series: &[SeriesDescriptor]) -> anyhow::Result<Vec<SeriesState>>;
    /// Takes states over, aligned with the series.
    fn restore(&mut self, series: &[SeriesDescriptor], states: &[SeriesState]) -> anyhow::Result<()>;
}

/// A detector's own failure, as opposed to the tool's.
#[derive(Debug, thiserror::Error)]
#[error("the detector failed ({fault:?}): {reason}")]
pub(crate) struct DetectorFailure {
    /// Class.
    pub(crate) fault: Fault,
    /// For people.
    pub(crate) reason: String,
}

/// Where to run.
pub(crate) enum Place<'a> {
    /// The module in this process.
    Here(&'a [u8]),
    /// The module in a confined worker process.
    Confined(&'a [u8]),
    /// The module, compiled for the interpreter, in a confined worker process.
    Interpreted(&'a [u8]),
    /// A native program.
    Native(&'a std::path::Path),
}

impl Place<'_> {
    /// Starts the detector there, with these parameters.
    pub(crate) fn start(&self, parameters: &[(String, f64)]) -> anyhow::Result<Box<dyn Runner>> {
        Ok(match self {
            Self::Here(_) => Box::new(self.module(parameters)?),
            Self::Confined(_) | Self::Interpreted(_) => Box::new(self.module(parameters)?),
            Self::Native(program) => Box::new(Native::start(program, parameters)?),
        })
    }

    /// Starts a module, with all that a module can do.
    pub(crate) fn module(&self, parameters: &[(String, f64)]) -> anyhow::Result<Guest> {
        let (pipe, cwasm) = match self {
            Self::Here(cwasm) => (Pipe::Here(worker_here()?), cwasm),
            Self::Confined(cwasm) => (Pipe::start(Execution::Native)?, cwasm),
            Self::Interpreted(cwasm) => (Pipe::start(Execution::Pulley)?, cwasm),
            Self::Native(program) => bail!("{} is a program, not a module", program.display()),
        };
        Ok(Guest::load(pipe, cwasm, parameters)?.0)
    }
}

/// What a module says of itself, asked in a confined worker.
pub(crate) fn describe(cwasm: &[u8], parameters: &[(String, f64)]) -> anyhow::Result<DetectorDescription> {
    Ok(Guest::load(Pipe::start(Execution::Native)?, cwasm, parameters)?.1)
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
    fn start(execution: Execution) -> anyhow::Result<Self> {
        let mut command = Command::new(std::env::current_exe()?);
        command
            .args(["detector", WORKER_COMMAND, execution.name()])
            .env_clear()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped());
        let mut child = command.spawn().context("the worker could not be started")?;
        let input = child.stdin.take();
        let output = child.stdout.take().context("a pipe was asked for")?;
        Ok(Self::Process { child, input, output, buffer: Vec::new() })
    }

    /// The worker's process, if it has one of its own.
    fn pid(&self) -> Option<u32> {
        match self {
            Self::Here(_) => None,
            Self::Process { child, .. } => Some(child.id()),
        }
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

/// A module in a worker, with all that a module can do.
pub(crate) struct Guest {
    pipe: Pipe,
    memory_bytes: u64,
    series_per_request: usize,
    declined: HashSet<u32>,
}

impl Guest {
    fn load(mut pipe: Pipe, cwasm: &[u8], parameters: &[(String, f64)]) -> anyhow::Result<(Self, DetectorDescription)> {
        let parameters = parameters.to_vec();
        let request = WorkerRequest::Load { detector: DETECTOR, artifact: cwasm.to_vec(), parameters };
        let description = match pipe.ask(request)? {
            WorkerReply::Loaded { description, .. } => description,
            reply => return Err(unexpected(reply)),
        };
        match pipe.ask(WorkerRequest::Seal)? {
            WorkerReply::Sealed { .. } => {
                let series_per_request = description.series_per_request();
                let declined = HashSet::new();
                Ok((Self { pipe, memory_bytes: 0, series_per_request, declined }, description))
            }
            reply => Err(unexpected(reply)),
        }
    }

    /// Tells the end of series.
    pub(crate) fn remove(&mut self, ids: &[u32]) -> anyhow::Result<()> {
        let ids = ids.iter().copied().filter(|id| !self.declined.remove(id)).collect();
        self.done(WorkerRequest::SeriesRemoved { detector: DETECTOR, ids })
    }

    /// Why the last scores of these series.
    pub(crate) fn explain(&mut self, ids: &[u32]) -> anyhow::Result<Vec<Explanation>> {
        match self.pipe.ask(WorkerRequest::Explain { detector: DETECTOR, ids: ids.to_vec() })? {
            WorkerReply::Explanations { explanations, .. } => Ok(explanations),
            reply => Err(unexpected(reply)),
        }
    }

    /// Linear memory of the guest after its last tick.
    pub(crate) fn memory_bytes(&self) -> u64 {
        self.memory_bytes
    }

    /// Ids of the series that it declined.
    pub(crate) fn declined(&self) -> Vec<u32> {
        self.declined.iter().copied().collect()
    }

    /// The worker's process, if it has one of its own.
    pub(crate) fn pid(&self) -> Option<u32> {
        self.pipe.pid()
    }

    fn done(&mut self, request: WorkerRequest) -> anyhow::Result<()> {
        match self.pipe.ask(request)? {
            WorkerReply::Done { .. } => Ok(()),
            reply => Err(unexpected(reply)),
        }
    }
}

impl Runner for Guest {
    fn add(&mut self, series: &[SeriesDescriptor]) -> anyhow::Result<()> {
        for some in series.chunks(self.series_per_request) {
            some.iter().for_each(|one| _ = self.declined.remove(&one.id));
            match self.pipe.ask(WorkerRequest::SeriesAdded { detector: DETECTOR, series: some.to_vec() })? {
                WorkerReply::Added { declined, .. } => self.declined.extend(declined.iter().map(|(id, _)| *id)),
                reply => return Err(unexpected(reply)),
            }
        }
        Ok(())
    }

    fn observe(&mut self, columns: &Columns) -> anyhow::Result<(Vec<f32>, Option<u64>)> {
        let (mut asked, mut rows) = (columns.clone(), None);
        if columns.ids.iter().any(|id| self.declined.contains(id)) {
            let watched: Vec<usize> =
                (0..columns.ids.len()).filter(|row| !self.declined.contains(&columns.ids[*row])).collect();
            asked = Columns {
                ids: watched.iter().map(|row| columns.ids[*row]).collect(),
                dt_ms: watched.iter().map(|row| columns.dt_ms[*row]).collect(),
                flags: watched.iter().map(|row| columns.flags[*row]).collect(),
                values: watched.iter().map(|row| columns.values[*row]).collect(),
            };
            rows = Some(watched);
        }
        match self.pipe.ask(WorkerRequest::Observe { detector: DETECTOR, tick: 0, columns: asked })? {
            WorkerReply::Scores { scores, guest_ns, memory_bytes, .. } => {
                self.memory_bytes = memory_bytes;
                let Some(rows) = rows else { return Ok((scores, Some(guest_ns))) };
                let mut all = vec![f32::NAN; columns.ids.len()];
                rows.into_iter().zip(scores).for_each(|(row, score)| all[row] = score);
                Ok((all, Some(guest_ns)))
            }
            reply => Err(unexpected(reply)),
        }
    }

    fn snapshot(&mut self, series: &[SeriesDescriptor]) -> anyhow::Result<Vec<SeriesState>> {
        let mut all = Vec::with_capacity(series.len());
        for some in series.chunks(self.series_per_request) {
            let ids: Vec<u32> = some.iter().map(|one| one.id).filter(|id| !self.declined.contains(id)).collect();
            let asked = ids.len();
            let mut states = match self.pipe.ask(WorkerRequest::Snapshot { detector: DETECTOR, ids })? {
                WorkerReply::Snapshots { states, .. } => states.into_iter(),
                reply => return Err(unexpected(reply)),
            };
            ensure!(states.len() == asked, "{} states of {asked} series", states.len());
            all.extend(some.iter().filter_map(|one| match self.declined.contains(&one.id) {
                true => Some(SeriesState { key: one.key, state: Vec::new() }),
                false => states.next(),
            }));
        }
        Ok(all)
    }

    fn restore(&mut self, series: &[SeriesDescriptor], states: &[SeriesState]) -> anyhow::Result<()> {
        for (some, states) in series.chunks(self.series_per_request).zip(states.chunks(self.series_per_request)) {
            let known = some.iter().map(|one| one.id).zip(states.iter().cloned());
            let (ids, states) = known.filter(|(id, _)| !self.declined.contains(id)).unzip();
            self.done(WorkerRequest::Restore { detector: DETECTOR, ids, states })?;
        }
        Ok(())
    }
}

fn unexpected(reply: WorkerReply) -> anyhow::Error {
    match reply {
        WorkerReply::Failed { fault, reason, .. } => DetectorFailure { fault, reason }.into(),
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

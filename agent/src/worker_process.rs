//! The detector worker as a process: started, written to, read from and buried, without ever blocking the tick.

use std::io;
use std::os::unix::process::ExitStatusExt;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::process::{Child, ChildStdin, ChildStdout, Command};
use tokio::sync::{Notify, mpsc, oneshot};
use vedette_detector_host::engine::Execution;
use vedette_detector_host::supervise::{Exit, WorkerId};
use vedette_detector_host::wire::{self, PREFIX_BYTES, REPLY_BYTES_MAX, REQUEST_BYTES_MAX, Spare, WireError};
use vedette_protocol::worker::{WorkerReply, WorkerRequest};

/// This very program, even if its file was replaced by an upgrade meanwhile: agent and worker speak one version.
const PROGRAM: &str = "/proc/self/exe";

/// Largest buffer that is kept between requests.
const KEEP_BYTES_MAX: usize = 256 << 10;

/// Answers that may be on their way at once: as many buffers are kept.
pub(crate) const SCORE_BUFFERS_MAX: usize = 64;

/// What a worker process does.
#[derive(Debug)]
pub enum WorkerEvent {
    /// It answered.
    Reply {
        /// Who.
        worker: WorkerId,
        /// What.
        reply: WorkerReply,
    },
    /// It ended; all its answers were reported before.
    Exited {
        /// Who.
        worker: WorkerId,
        /// How.
        exit: Exit,
    },
}

/// Buffers of scores that were handled, for those to come: a tick in the steady state allocates none.
#[derive(Clone, Default)]
pub struct ScoreBuffers(Arc<Mutex<Vec<Vec<f32>>>>);

impl ScoreBuffers {
    /// Takes a buffer back.
    pub fn put(&self, scores: Vec<f32>) {
        let mut kept = self.lock();
        if kept.len() < SCORE_BUFFERS_MAX {
            kept.push(scores);
        }
    }

    fn take(&self) -> Vec<f32> {
        self.lock().pop().unwrap_or_default()
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<Vec<f32>>> {
        self.0.lock().expect("nobody panics while holding it")
    }
}

/// A running worker. Dropping it closes its input, so that it ends by itself.
pub struct WorkerProcess {
    /// Process id.
    pub pid: Option<u32>,
    outbox: Arc<Outbox>,
    kill: Option<oneshot::Sender<()>>,
}

impl WorkerProcess {
    /// Starts a worker whose guests have so much linear memory each: clean environment, three pipes, nothing inherited; it dies with the agent.
    ///
    /// # Errors
    ///
    /// If the operating system refuses the process.
    pub fn spawn(
        worker: WorkerId,
        execution: Execution,
        memory_bytes: usize,
        events: mpsc::Sender<WorkerEvent>,
        buffers: ScoreBuffers,
    ) -> io::Result<Self> {
        let mut child = Command::new(PROGRAM)
            .arg0("vedette-agent")
            .args(["worker", execution.name(), &memory_bytes.to_string()])
            .env_clear()
            .current_dir("/")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::inherit())
            .kill_on_drop(true)
            .spawn()?;
        let input = child.stdin.take().expect("it was asked for");
        let output = child.stdout.take().expect("it was asked for");
        let outbox = Arc::new(Outbox::default());
        let (kill, killed) = oneshot::channel();
        let pid = child.id();
        tokio::spawn(write_requests(input, Arc::clone(&outbox)));
        tokio::spawn(watch(child, Replies { worker, output, events, buffers }, killed));
        Ok(Self { pid, outbox, kill: Some(kill) })
    }

    /// Queues a request. The supervisor bounds what is on its way; a dead worker's exit is reported elsewhere.
    pub fn send(&mut self, request: &WorkerRequest) {
        if let Err(error) = self.outbox.push(request) {
            // Without an answer the supervisor's deadline passes, and it names the detector.
            tracing::warn!(worker.pid = self.pid, %error, "request cannot be sent to the worker");
        }
    }

    /// Closes its input once everything queued is written: it ends by itself.
    pub fn retire(&self) {
        self.outbox.close();
    }

    /// SIGKILL.
    pub fn kill(&mut self) {
        if let Some(kill) = self.kill.take() {
            // It has just ended by itself: its exit is reported all the same.
            let _ = kill.send(());
        }
    }
}

impl Drop for WorkerProcess {
    fn drop(&mut self) {
        self.outbox.close();
    }
}

/// Encoded requests on their way to the pipe. Two buffers take turns, so that the steady state allocates nothing.
#[derive(Default)]
struct Outbox {
    queued: Mutex<Queued>,
    changed: Notify,
}

#[derive(Default)]
struct Queued {
    bytes: Vec<u8>,
    closed: bool,
}

impl Outbox {
    fn push(&self, request: &WorkerRequest) -> Result<(), WireError> {
        wire::append(request, REQUEST_BYTES_MAX, &mut self.lock().bytes)?;
        self.changed.notify_one();
        Ok(())
    }

    fn close(&self) {
        self.lock().closed = true;
        self.changed.notify_one();
    }

    /// Swaps what is queued into `taken`; false once it is closed and empty.
    async fn take(&self, taken: &mut Vec<u8>) -> bool {
        taken.clear();
        give_back(taken);
        loop {
            let closed = {
                let mut queued = self.lock();
                std::mem::swap(&mut queued.bytes, taken);
                queued.closed
            };
            if !taken.is_empty() {
                return true;
            }
            if closed {
                return false;
            }
            self.changed.notified().await;
        }
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Queued> {
        self.queued.lock().expect("nobody panics while holding it")
    }
}

/// A buffer that once held an artifact does not keep its size.
fn give_back(buffer: &mut Vec<u8>) {
    if buffer.capacity() > KEEP_BYTES_MAX {
        *buffer = Vec::new();
    }
}

/// Ends with the queue, or when the worker reads no more. Either way the pipe closes.
async fn write_requests(mut input: ChildStdin, outbox: Arc<Outbox>) {
    let mut bytes = Vec::new();
    while outbox.take(&mut bytes).await {
        if input.write_all(&bytes).await.is_err() {
            return;
        }
    }
}

/// A worker's answers on their way to the loop.
struct Replies<R> {
    worker: WorkerId,
    output: R,
    events: mpsc::Sender<WorkerEvent>,
    buffers: ScoreBuffers,
}

/// Reports answers, then the exit.
async fn watch(mut child: Child, mut replies: Replies<ChildStdout>, killed: oneshot::Receiver<()>) {
    // A dropped sender is no order to kill: the worker ends because its input closes.
    let killed = async {
        if killed.await.is_err() {
            std::future::pending::<()>().await
        }
    };
    let spoke_nonsense = tokio::select! {
        result = replies.report() => result.is_err(),
        () = killed => true,
    };
    if spoke_nonsense {
        // It may have ended by itself meanwhile: then there is nothing to kill.
        let _ = child.start_kill();
    }
    let exit = exit(child.wait().await);
    // The supervisor is gone: so is the agent.
    let _ = replies.events.send(WorkerEvent::Exited { worker: replies.worker, exit }).await;
}

impl<R: AsyncRead + Unpin> Replies<R> {
    async fn report(&mut self) -> Result<(), WireError> {
        let mut output = BufReader::with_capacity(16 << 10, &mut self.output);
        let (mut body, mut spare) = (Vec::new(), Spare::default());
        loop {
            let mut prefix = [0; PREFIX_BYTES];
            match output.read_exact(&mut prefix).await {
                Err(error) if error.kind() == io::ErrorKind::UnexpectedEof => return Ok(()),
                read => read?,
            };
            body.resize(wire::body_len(prefix, REPLY_BYTES_MAX)?, 0);
            output.read_exact(&mut body).await?;
            if spare.scores.capacity() == 0 {
                spare.scores = self.buffers.take();
            }
            let reply = wire::decode(&body, &mut spare)?;
            if self.events.send(WorkerEvent::Reply { worker: self.worker, reply }).await.is_err() {
                return Ok(());
            }
        }
    }
}

fn exit(status: io::Result<ExitStatus>) -> Exit {
    status.map(|status| Exit { signal: status.signal(), code: status.code() }).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::allocations;

    /// A worker's answer to one tick.
    fn answer(tick: u64) -> Vec<u8> {
        let (scores, guest_ns, memory_bytes) = (vec![0.5; 1_000], 20_000, 1 << 20);
        let reply = WorkerReply::Scores { detector: 1, tick, scores, guest_ns, memory_bytes };
        let mut frame = Vec::new();
        wire::encode(&reply, REPLY_BYTES_MAX, &mut frame).unwrap();
        frame
    }

    /// Lets a worker answer once a tick, reads it as the agent does, and gives each buffer back as it does.
    async fn read(answers: &[Vec<u8>]) {
        let (events, mut seen) = mpsc::channel(256);
        let (mut worker, output) = tokio::io::duplex(16 << 10);
        let buffers = ScoreBuffers::default();
        let mut replies = Replies { worker: WorkerId(0), output, events, buffers: buffers.clone() };
        let ticks = async move {
            for (tick, answer) in (0..).zip(answers) {
                worker.write_all(answer).await.unwrap();
                let Some(WorkerEvent::Reply { reply: WorkerReply::Scores { tick: of, scores, .. }, .. }) =
                    seen.recv().await
                else {
                    panic!("no scores of tick {tick}")
                };
                assert_eq!((of, scores.len()), (tick, 1_000));
                buffers.put(scores);
            }
        };
        let (ended, ()) = tokio::join!(replies.report(), ticks);
        ended.unwrap();
    }

    #[test]
    fn a_steady_tick_of_answers_allocates_nothing() {
        let shell = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let answers: Vec<_> = (0..300).map(answer).collect();
        let cost = |ticks: usize| allocations::count(|| shell.block_on(read(&answers[..ticks])));
        cost(100);
        assert_eq!(cost(100), cost(300), "what is allocated does not depend on the ticks");
    }

    #[test]
    fn a_steady_tick_of_requests_allocates_nothing() {
        let outbox = Outbox::default();
        let columns = vedette_protocol::worker::Columns {
            ids: (0..1_000).collect(),
            dt_ms: vec![1_000; 1_000],
            flags: vec![0; 1_000],
            values: vec![0.5; 1_000],
        };
        let request = WorkerRequest::Observe { detector: 1, tick: 1, columns };
        let shell = tokio::runtime::Builder::new_current_thread().build().unwrap();
        let mut taken = Vec::new();
        let mut tick = || {
            outbox.push(&request).unwrap();
            assert!(shell.block_on(outbox.take(&mut taken)));
        };
        // Two buffers take turns.
        tick();
        tick();
        assert_eq!(allocations::count(|| (0..10).for_each(|_| tick())), 0);
    }
}

//! One thread writes and judges: it commits what has queued up as one transaction, answers only then, and folds the
//! events of the transaction into the engine. What the engine wants becomes part of the next transaction.
//!
//! Writer and engine share the thread so that neither can wait for the other, and so that the order of the log is the
//! order in which the engine saw it.

use super::counters::{Counters, add, count};
use crate::engine::{Action, Engine, Event, IncidentReport, Logged, SNAPSHOT_VERSION, Setup};
use crate::store::{Committed, Reader, Retention, Store, StoreError, Write, Written};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::{OwnedSemaphorePermit, mpsc, oneshot};
use vedette_link::clock::Clock;
use vedette_link::server::ConnectionId;
use vedette_protocol::ids::{HostId, QueueEpoch, Sequence};
use vedette_protocol::policy::DIRECTIVE_MS_MAX;
use vedette_protocol::signature::{Domain, Signed, SigningKey};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::Outcome;

mod told;

pub(crate) use told::Told;

#[cfg(test)]
mod tests;

/// Jobs that wait.
pub(crate) const QUEUE_JOBS: usize = 1_024;
/// Jobs of one transaction.
const GROUP_JOBS_MAX: usize = 256;
/// A snapshot is written after so many events, or more if it is large: it costs as much as so many of its bytes.
const SNAPSHOT_EVENTS_MIN: u64 = 20_000;
const SNAPSHOT_BYTES_PER_EVENT: u64 = 256;
/// A larger one does not fit into a column: the log is kept and replayed instead.
const SNAPSHOT_BYTES_MAX: usize = 512 << 20;
/// Events of one step of a replay.
const EVENTS_PER_READ: usize = 10_000;
/// Between two looks at what may be deleted.
const PRUNE_INTERVAL: Duration = Duration::from_secs(60);
/// Waits at least this often, to look at the clock.
const WAIT_MAX: Duration = Duration::from_secs(60);
/// A store that fails this often in a row is given up: agents keep what was not acknowledged.
const COMMIT_ATTEMPTS: u32 = 10;
const COMMIT_RETRY: Duration = Duration::from_secs(1);

/// One write with whom to tell.
#[derive(Debug)]
pub(crate) struct Job {
    pub(crate) write: Write,
    pub(crate) reply: Reply,
    /// Room in memory that is free again when this is dropped.
    pub(crate) room: Option<OwnedSemaphorePermit>,
}

/// Whom to tell after the commit.
#[derive(Debug)]
pub(crate) enum Reply {
    /// Nobody.
    None,
    /// The agent that sent a batch.
    Ack(ConnectionId, QueueEpoch, Sequence),
    /// Somebody who waits.
    Answer(oneshot::Sender<Written>),
}

/// Fates of batches of one agent.
type Acks = Vec<(ConnectionId, QueueEpoch, Vec<(Sequence, Outcome)>)>;
/// Fates in one acknowledgement.
const ACK_OUTCOMES_MAX: usize = 512;

/// The way to agents.
pub(crate) trait Outbox: Send + Sync {
    fn ack(&self, connection: ConnectionId, queue_epoch: QueueEpoch, outcomes: Vec<(Sequence, Outcome)>);
    fn directive(&self, host: HostId, expires: WallTime, signed: Signed);
    fn begin_anew(&self, connection: ConnectionId, queue_epoch: QueueEpoch);
}

/// The engine, shared with those who read it.
pub(crate) type SharedEngine = Arc<Mutex<Engine>>;

/// Locks the engine; a panic elsewhere does not make its state wrong, for it is only changed here.
pub(crate) fn lock(engine: &SharedEngine) -> std::sync::MutexGuard<'_, Engine> {
    engine.lock().unwrap_or_else(PoisonError::into_inner)
}

/// An incident as stored and as the API tells it.
pub(crate) fn json_of(report: &IncidentReport) -> String {
    serde_json::to_string(report).expect("a report has text keys only")
}

/// The thread's state.
pub(crate) struct Core {
    pub(crate) store: Box<dyn Store>,
    pub(crate) engine: SharedEngine,
    pub(crate) jobs: mpsc::Receiver<Job>,
    pub(crate) outbox: Arc<dyn Outbox>,
    pub(crate) online: SigningKey,
    pub(crate) counters: Arc<Counters>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) retention: Retention,
    /// What the engine wants written.
    pub(crate) pending: Vec<Write>,
    /// Position and size of the last snapshot.
    pub(crate) snapshotted: (u64, u64),
    /// Incidents that the log knows as open.
    pub(crate) told: Told,
}

impl Core {
    /// Brings the engine to where the log ends, with `setup` in force: the latest snapshot, then the log from there.
    /// Without a readable snapshot the whole log that is kept is replayed. What the engine wanted done is done again, a
    /// bounded part of the log at a time; for what was done before that changes nothing.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the log cannot be read.
    pub(crate) fn start(&mut self, setup: Setup) -> Result<(), StoreError> {
        let reader = self.store.reader()?;
        self.told = Told::stored(&*reader)?;
        let (engine, bytes) = match reader.snapshot()? {
            Some((SNAPSHOT_VERSION, bytes)) => (Engine::from_snapshot(&bytes), bytes.len()),
            Some((version, _)) => {
                tracing::warn!(version, "the engine's snapshot is of another version");
                (None, 0)
            }
            None => (Some(Engine::new()), 0),
        };
        let engine = engine.unwrap_or_else(|| {
            tracing::warn!("the engine's snapshot cannot be read; replaying the whole log that is kept");
            Engine::new()
        });
        self.snapshotted = (engine.position(), bytes as u64);
        *lock(&self.engine) = engine;
        let mut events = 0_usize;
        loop {
            let position = lock(&self.engine).position();
            let chunk = reader.events_after(position, EVENTS_PER_READ)?;
            if chunk.is_empty() {
                break;
            }
            events += chunk.len();
            chunk.into_iter().for_each(|event| lock(&self.engine).handle_event(event));
            self.collect_actions();
            self.commit(Vec::new())?;
        }
        tracing::info!(snapshot.position = self.snapshotted.0, events, "engine restored");
        self.close_forgotten(&*reader)?;
        if *lock(&self.engine).setup() != setup {
            self.pending.push(Write::Event { at: self.clock.wall(), event: Event::Configured(Box::new(setup)) });
        }
        self.commit(Vec::new())
    }

    /// Incidents that were stored as open and that the engine does not know, because the snapshot they were in could not
    /// be read and the log no longer reaches back to them: nobody would ever resolve them.
    fn close_forgotten(&mut self, reader: &dyn Reader) -> Result<(), StoreError> {
        let now = self.clock.wall();
        for id in reader.open_incidents()? {
            if lock(&self.engine).incident_state(&id).is_some() {
                continue;
            }
            let Some(row) = reader.incident(&id)? else { continue };
            tracing::warn!(incident.id = id, "an open incident was lost with the engine's state; it is closed");
            self.pending.push(Write::Incident { id, open: false, opened: row.opened, json: expired(&row.json, now) });
            self.commit(Vec::new())?;
        }
        Ok(())
    }

    /// Works until nobody can send jobs any more.
    ///
    /// # Errors
    ///
    /// [`StoreError`] if the store fails for good.
    pub(crate) fn run(mut self, runtime: &tokio::runtime::Handle) -> Result<(), StoreError> {
        let mut pruned = Instant::now();
        loop {
            let wait = self.wait();
            let first = runtime.block_on(async { tokio::time::timeout(wait, self.jobs.recv()).await });
            let group = match first {
                Ok(None) => break,
                Ok(Some(job)) => self.group(job),
                Err(_) => Vec::new(),
            };
            if self.is_due() {
                self.pending.push(Write::Event { at: self.clock.wall(), event: Event::Tick });
            }
            self.collect_actions();
            self.commit(group)?;
            if pruned.elapsed() >= PRUNE_INTERVAL {
                pruned = Instant::now();
                if let Err(error) = self.store.prune(self.clock.wall(), &self.retention) {
                    tracing::warn!(%error, "old rows were not deleted");
                }
            }
        }
        self.snapshot();
        self.commit(Vec::new())
    }

    fn wait(&self) -> Duration {
        if !self.pending.is_empty() {
            return Duration::ZERO;
        }
        let Some(due) = lock(&self.engine).poll_timeout() else { return WAIT_MAX };
        let ns = due.unix_ns.saturating_sub(self.clock.wall().unix_ns).max(0);
        Duration::from_nanos(ns.unsigned_abs()).min(WAIT_MAX)
    }

    fn is_due(&self) -> bool {
        lock(&self.engine).poll_timeout().is_some_and(|due| due <= self.clock.wall())
    }

    fn group(&mut self, first: Job) -> Vec<Job> {
        let mut group = vec![first];
        while group.len() < GROUP_JOBS_MAX
            && let Ok(job) = self.jobs.try_recv()
        {
            group.push(job);
        }
        group
    }

    /// Commits `group` and what is pending, again and again until nothing is pending.
    fn commit(&mut self, group: Vec<Job>) -> Result<(), StoreError> {
        let (mut writes, replies): (Vec<_>, Vec<_>) =
            group.into_iter().map(|job| (job.write, (job.reply, job.room))).unzip();
        let mut replies = replies;
        while !writes.is_empty() || !self.pending.is_empty() {
            writes.append(&mut self.pending);
            let committed = self.commit_once(&writes)?;
            let answers = self.acknowledge(std::mem::take(&mut replies), &committed.written);
            writes.clear();
            self.fold(committed.logged);
            // Who asks again after an answer finds what it has brought about. If nobody waits any more, nobody asks.
            answers.into_iter().for_each(|(answer, written)| _ = answer.send(written));
        }
        Ok(())
    }

    fn commit_once(&mut self, writes: &[Write]) -> Result<Committed, StoreError> {
        let mut attempt = 1;
        loop {
            let began = Instant::now();
            match self.store.commit(writes) {
                Ok(committed) => {
                    let ns = u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX);
                    count(&self.counters.commits);
                    add(&self.counters.commit_ns, ns);
                    self.counters.commit_ns_max.fetch_max(ns, Ordering::Relaxed);
                    return Ok(committed);
                }
                Err(error) if attempt < COMMIT_ATTEMPTS => {
                    count(&self.counters.commits_failed);
                    tracing::error!(%error, attempt, "the store failed; trying again");
                    std::thread::sleep(COMMIT_RETRY);
                    attempt += 1;
                }
                Err(error) => return Err(error),
            }
        }
    }

    /// Tells agents what is on disk now; acknowledgements of one agent go out together. Returns the other answers.
    fn acknowledge(
        &self,
        replies: Vec<(Reply, Option<OwnedSemaphorePermit>)>,
        written: &[Written],
    ) -> Vec<(oneshot::Sender<Written>, Written)> {
        let (mut acks, mut answers, mut reused) = (Acks::new(), Vec::new(), BTreeMap::new());
        for ((reply, _room), written) in replies.into_iter().zip(written) {
            let outcome = match written {
                Written::Outcome(outcome) => {
                    count(match outcome {
                        Outcome::Committed => &self.counters.batches_committed,
                        Outcome::Duplicate => &self.counters.batches_duplicate,
                        Outcome::Quarantined => &self.counters.batches_quarantined,
                    });
                    Some(*outcome)
                }
                Written::Reused { host } => {
                    count(&self.counters.batches_reused);
                    if let Reply::Ack(connection, epoch, _) = &reply {
                        reused.insert(*connection, (*host, *epoch));
                    }
                    Some(Outcome::Quarantined)
                }
                _ => None,
            };
            match (reply, outcome) {
                (Reply::Ack(connection, epoch, sequence), Some(outcome)) => {
                    let fits = |(c, e, outcomes): &&mut (ConnectionId, QueueEpoch, Vec<_>)| {
                        (*c, *e) == (connection, epoch) && outcomes.len() < ACK_OUTCOMES_MAX
                    };
                    match acks.iter_mut().find(fits) {
                        Some((_, _, outcomes)) => outcomes.push((sequence, outcome)),
                        None => acks.push((connection, epoch, vec![(sequence, outcome)])),
                    }
                }
                (Reply::Answer(answer), _) => answers.push((answer, *written)),
                _ => {}
            }
        }
        for (connection, epoch, outcomes) in acks {
            self.outbox.ack(connection, epoch, outcomes);
        }
        for (connection, (host, epoch)) in reused {
            tracing::warn!(host.id = %host, queue.epoch = epoch.0, "sequences came back with other content: kept aside");
            self.outbox.begin_anew(connection, epoch);
        }
        answers
    }

    fn fold(&mut self, logged: Vec<Logged>) {
        if logged.is_empty() {
            return;
        }
        let began = Instant::now();
        add(&self.counters.events, logged.len() as u64);
        {
            let mut engine = lock(&self.engine);
            logged.into_iter().for_each(|event| engine.handle_event(event));
        }
        self.collect_actions();
        add(&self.counters.engine_ns, u64::try_from(began.elapsed().as_nanos()).unwrap_or(u64::MAX));
        let (position, bytes) = self.snapshotted;
        let due = position + SNAPSHOT_EVENTS_MIN.max(bytes / SNAPSHOT_BYTES_PER_EVENT);
        if lock(&self.engine).position() >= due {
            self.snapshot();
        }
    }

    fn collect_actions(&mut self) {
        let actions: Vec<Action> = {
            let mut engine = lock(&self.engine);
            std::iter::from_fn(|| engine.poll_action()).collect()
        };
        for action in actions {
            let write = self.write_of(action);
            self.pending.extend(write);
        }
    }

    fn write_of(&mut self, action: Action) -> Option<Write> {
        match action {
            Action::SaveIncident(report) => {
                let news = self.told.news(&report, || is_over(&*self.store, &report.id));
                told::tell(news, &report);
                Some(Write::Incident {
                    id: report.id.clone(),
                    open: report.state.is_open(),
                    opened: report.opened,
                    json: json_of(&report),
                })
            }
            Action::IssueDirective(directive) => {
                // The engine's time does not go back, but this clock can: nothing that lives longer than the limit by
                // it leaves the house.
                let now = self.clock.wall();
                let latest = now.offset_by(i64::from(DIRECTIVE_MS_MAX) * 1_000_000);
                if directive.expires <= now || directive.expires > latest {
                    count(&self.counters.directives_dropped);
                    return None;
                }
                count(&self.counters.directives_issued);
                let bytes = postcard::to_stdvec(&directive).expect("a directive is plain data");
                let signed = self.online.sign(Domain::Directive, bytes);
                self.outbox.directive(directive.host, directive.expires, signed.clone());
                Some(Write::Directive { directive, signed })
            }
        }
    }

    /// The state with everything that it wants written, in one transaction.
    fn snapshot(&mut self) {
        let (position, bytes) = {
            let engine = lock(&self.engine);
            if engine.position() == self.snapshotted.0 {
                return;
            }
            (engine.position(), engine.snapshot())
        };
        self.snapshotted = (position, bytes.len() as u64);
        if bytes.len() > SNAPSHOT_BYTES_MAX {
            tracing::error!(bytes = bytes.len(), "the engine's state is too large for a snapshot; the log grows");
            return;
        }
        self.pending.push(Write::Snapshot { position, version: SNAPSHOT_VERSION, bytes });
    }
}

/// An incident's stored form, closed as expired at `now`.
fn expired(json: &str, now: WallTime) -> String {
    let Ok(mut incident) = serde_json::from_str::<serde_json::Value>(json) else { return json.to_owned() };
    incident["state"] = "resolved".into();
    incident["resolution"] = "expired".into();
    incident["times"]["resolved"] = now.to_string().into();
    incident["times"]["resolved_unix_ms"] = now.unix_ms().into();
    if let Some(timeline) = incident["timeline"].as_array_mut() {
        let text = "resolved: expired: the collector lost what it knew of it";
        timeline.push(serde_json::json!({"at": now.to_string(), "text": text}));
    }
    incident.to_string()
}

/// Whether an incident stands in the store as over. Where the store does not answer the log may repeat itself.
fn is_over(store: &dyn Store, id: &str) -> bool {
    let row = store.reader().and_then(|reader| reader.incident(id));
    row.is_ok_and(|row| row.is_some_and(|row| !row.open))
}

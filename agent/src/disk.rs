//! The thread that makes things durable. A full or slow disk blocks it and never the tick.

use crate::control::policy::{PolicyKeeper, TrialStep};
use crate::identity::Identity;
use crate::{durable, learnt};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, mpsc as sync_mpsc};
use std::thread;
use tokio::sync::mpsc;
use vedette_protocol::policy::Policy;
use vedette_protocol::signature::{PublicKey, Signed};
use vedette_protocol::time::WallTime;

const QUEUE: usize = 64;

/// What the loop asks for.
enum Work {
    Policy { signed: Signed, collector_now: WallTime },
    TrialTick { healthy: bool },
    Renewal(Box<Identity>),
    Learnt(Vec<u8>),
}

/// What became of what detectors have learnt. Counts are since start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearntView {
    /// Times that it was written.
    pub written: u64,
    /// Bytes written last.
    pub bytes: u64,
    /// Why the last time failed.
    pub last_error: Option<String>,
}

/// The same with what waits.
#[derive(Debug, Default)]
struct LearntWork {
    view: LearntView,
    /// The last one is not written yet.
    busy: bool,
}

/// What the thread answers about policies.
#[derive(Clone, Debug, PartialEq)]
pub struct PolicyEvent {
    /// To run from now on.
    pub apply: Option<Policy>,
    /// For reports.
    pub view: PolicyView,
}

/// The keeper's state as the loop sees it.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PolicyView {
    /// What runs.
    pub in_effect: Policy,
    /// Its trial is not over.
    pub on_trial: bool,
    /// Documents refused.
    pub refused_total: u64,
    /// The last one: version and reason.
    pub last_refused: Option<(u64, String)>,
}

/// The loop's end.
pub struct Disk {
    work: sync_mpsc::SyncSender<Work>,
    learnt: Arc<Mutex<LearntWork>>,
}

impl Disk {
    /// Reads the policy that is there and starts the thread.
    ///
    /// # Errors
    ///
    /// If the policy folder cannot be read: going on would roll a policy back silently.
    pub fn open(
        data_dir: &Path,
        policy_keys: Vec<PublicKey>,
    ) -> io::Result<(Self, mpsc::Receiver<PolicyEvent>, PolicyView)> {
        let keeper = PolicyKeeper::open(data_dir, policy_keys)?;
        let policy = view(&keeper);
        let (work, queue) = sync_mpsc::sync_channel(QUEUE);
        let (events_in, events) = mpsc::channel(QUEUE);
        let learnt = Arc::new(Mutex::new(LearntWork::default()));
        let writer = Writer { keeper, data_dir: data_dir.to_owned(), events: events_in, learnt: Arc::clone(&learnt) };
        thread::Builder::new().name("disk".to_owned()).stack_size(512 << 10).spawn(move || writer.run(&queue))?;
        Ok((Self { work, learnt }, events, policy))
    }

    /// The bytes of [`learnt::encode`], to be there at the next start. One at a time: a disk that has not taken the last
    /// is not given another.
    pub fn handle_learnt(&self, bytes: Vec<u8>) {
        let mut learnt = lock(&self.learnt);
        if std::mem::replace(&mut learnt.busy, true) {
            learnt.view.last_error = Some("the disk has not taken the last one".to_owned());
            return;
        }
        drop(learnt);
        if !self.queue(Work::Learnt(bytes)) {
            lock(&self.learnt).busy = false;
        }
    }

    /// What became of those bytes.
    pub fn learnt(&self) -> LearntView {
        lock(&self.learnt).view.clone()
    }

    /// A policy came in.
    pub fn handle_policy(&self, signed: Signed, collector_now: WallTime) {
        self.queue(Work::Policy { signed, collector_now });
    }

    /// A tick ran while a policy is on trial.
    pub fn handle_trial_tick(&self, healthy: bool) {
        self.queue(Work::TrialTick { healthy });
    }

    /// The host's certificate was renewed.
    pub fn handle_renewal(&self, identity: Identity) {
        self.queue(Work::Renewal(Box::new(identity)));
    }

    /// Whether there was room.
    fn queue(&self, work: Work) -> bool {
        let queued = self.work.try_send(work).is_ok();
        if !queued {
            tracing::warn!(
                "the disk has not answered for long: a policy, a certificate or what was learnt was not stored"
            );
        }
        queued
    }
}

struct Writer {
    keeper: PolicyKeeper,
    data_dir: PathBuf,
    events: mpsc::Sender<PolicyEvent>,
    learnt: Arc<Mutex<LearntWork>>,
}

impl Writer {
    /// Until the loop drops its end; then the last trial is closed in good order.
    fn run(mut self, queue: &sync_mpsc::Receiver<Work>) {
        for work in queue {
            let event = match work {
                Work::Policy { signed, collector_now } => {
                    let apply = self.keeper.handle_signed(&signed, collector_now);
                    Some(PolicyEvent { apply, view: view(&self.keeper) })
                }
                Work::TrialTick { healthy } => self.trial_tick(healthy),
                Work::Renewal(identity) => {
                    if let Err(error) = identity.store_renewal(&self.data_dir) {
                        tracing::error!(%error, "the renewed certificate is not stored: the old one counts after a restart");
                    }
                    None
                }
                Work::Learnt(bytes) => {
                    self.store_learnt(&bytes);
                    None
                }
            };
            if event.is_some_and(|event| self.events.blocking_send(event).is_err()) {
                break;
            }
        }
        self.keeper.handle_shutdown();
    }

    fn store_learnt(&self, bytes: &[u8]) {
        let result = durable::replace(&self.data_dir.join(learnt::FILE), bytes);
        let mut learnt = lock(&self.learnt);
        let failed_before = learnt.view.last_error.take().is_some();
        learnt.busy = false;
        match result {
            Ok(()) => {
                learnt.view.written += 1;
                learnt.view.bytes = bytes.len() as u64;
            }
            Err(error) => {
                if !failed_before {
                    tracing::warn!(%error, "what detectors have learnt is not stored: the next start would be colder");
                }
                learnt.view.last_error = Some(error.to_string());
            }
        }
    }

    fn trial_tick(&mut self, healthy: bool) -> Option<PolicyEvent> {
        let apply = match self.keeper.handle_tick(healthy) {
            TrialStep::None => return None,
            TrialStep::Confirmed => None,
            TrialStep::RolledBack(policy) => Some(policy),
        };
        Some(PolicyEvent { apply, view: view(&self.keeper) })
    }
}

fn lock(learnt: &Mutex<LearntWork>) -> MutexGuard<'_, LearntWork> {
    // Plain numbers: whole whatever happened to who held it.
    learnt.lock().unwrap_or_else(PoisonError::into_inner)
}

fn view(keeper: &PolicyKeeper) -> PolicyView {
    PolicyView {
        in_effect: keeper.in_effect().clone(),
        on_trial: keeper.on_trial(),
        refused_total: keeper.refused_total(),
        last_refused: keeper.last_refused().cloned(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vedette_protocol::signature::{Domain, SigningKey};

    const NOW: WallTime = WallTime::from_unix_ms(1_800_000_000_000);

    #[tokio::test]
    async fn policy_goes_through_its_trial_and_survives() {
        let data_dir = tempfile::tempdir().expect("temporary folder");
        let key = SigningKey::from_pkcs8(&SigningKey::generate_pkcs8()).expect("key");
        let (disk, mut events, policy) = Disk::open(data_dir.path(), vec![key.public()]).expect("open");
        assert_eq!(policy.in_effect.version, 0);

        let text = "version = 4\nexpires = \"2100-01-01T00:00:00Z\"\n";
        disk.handle_policy(key.sign(Domain::Policy, text.into()), NOW);
        let event = events.recv().await.expect("applied");
        assert_eq!(event.apply.map(|policy| policy.version), Some(4));
        assert!(event.view.on_trial);
        (0..crate::control::policy::TRIAL_HEALTHY_TICKS).for_each(|_| disk.handle_trial_tick(true));
        let event = events.recv().await.expect("confirmed");
        assert_eq!((event.apply, event.view.on_trial), (None, false));

        drop(disk);
        assert_eq!(events.recv().await, None, "the thread has ended");
        let (_disk, _events, policy) = Disk::open(data_dir.path(), vec![key.public()]).expect("again");
        assert_eq!(policy.in_effect.version, 4);
    }
}

//! The thread that makes things durable. A full or slow disk blocks it and never the tick.

use crate::control::policy::{PolicyKeeper, TrialStep};
use crate::durable;
use crate::identity::Identity;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::mpsc as sync_mpsc;
use std::thread;
use tokio::sync::mpsc;
use vedette_protocol::policy::Policy;
use vedette_protocol::signature::{PublicKey, Signed};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::Cursor;

const QUEUE: usize = 64;
/// Above what the configuration's bounds on files, paths and rotations can come to.
const POSITIONS_BYTES_MAX: u64 = 16 << 20;

/// Positions of files by path: where to go on reading after a restart.
pub type Positions = BTreeMap<String, Vec<u8>>;

/// What the loop asks for.
enum Work {
    Policy { signed: Signed, collector_now: WallTime },
    TrialTick { healthy: bool },
    Positions(Vec<Cursor>),
    Renewal(Box<Identity>),
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
}

/// What was on disk at start.
pub struct Recovered {
    /// Policy to begin with.
    pub policy: PolicyView,
    /// Where each file had been read to.
    pub positions: Positions,
}

impl Disk {
    /// Reads what is there and starts the thread. Positions of what is not among `sources` any more are forgotten.
    ///
    /// # Errors
    ///
    /// If the policy folder or the positions cannot be read: going on would roll something back silently.
    pub fn open(
        data_dir: &Path,
        policy_keys: Vec<PublicKey>,
        sources: &[String],
    ) -> io::Result<(Self, mpsc::Receiver<PolicyEvent>, Recovered)> {
        let keeper = PolicyKeeper::open(data_dir, policy_keys)?;
        let path = data_dir.join("positions.json");
        let mut positions = read_positions(&path)?;
        positions.retain(|source, _| sources.contains(source));
        let recovered = Recovered { policy: view(&keeper), positions: positions.clone() };
        let (work, queue) = sync_mpsc::sync_channel(QUEUE);
        let (events_in, events) = mpsc::channel(QUEUE);
        let data_dir = data_dir.to_owned();
        let writer = Writer { keeper, positions, path, data_dir, events: events_in };
        thread::Builder::new().name("disk".to_owned()).stack_size(512 << 10).spawn(move || writer.run(&queue))?;
        Ok((Self { work }, events, recovered))
    }

    /// A policy came in.
    pub fn handle_policy(&self, signed: Signed, collector_now: WallTime) {
        self.queue(Work::Policy { signed, collector_now });
    }

    /// A tick ran while a policy is on trial.
    pub fn handle_trial_tick(&self, healthy: bool) {
        self.queue(Work::TrialTick { healthy });
    }

    /// Sources are settled up to these positions.
    pub fn handle_positions(&self, moved: Vec<Cursor>) {
        self.queue(Work::Positions(moved));
    }

    /// The host's certificate was renewed.
    pub fn handle_renewal(&self, identity: Identity) {
        self.queue(Work::Renewal(Box::new(identity)));
    }

    fn queue(&self, work: Work) {
        if self.work.try_send(work).is_err() {
            tracing::warn!("the disk has not answered for long: a policy, a position or a certificate was not stored");
        }
    }
}

struct Writer {
    keeper: PolicyKeeper,
    positions: Positions,
    path: PathBuf,
    data_dir: PathBuf,
    events: mpsc::Sender<PolicyEvent>,
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
                Work::Positions(moved) => {
                    self.store_positions(moved);
                    None
                }
                Work::Renewal(identity) => {
                    if let Err(error) = identity.store_renewal(&self.data_dir) {
                        tracing::error!(%error, "the renewed certificate is not stored: the old one counts after a restart");
                    }
                    None
                }
            };
            if event.is_some_and(|event| self.events.blocking_send(event).is_err()) {
                break;
            }
        }
        self.keeper.handle_shutdown();
    }

    fn trial_tick(&mut self, healthy: bool) -> Option<PolicyEvent> {
        let apply = match self.keeper.handle_tick(healthy) {
            TrialStep::None => return None,
            TrialStep::Confirmed => None,
            TrialStep::RolledBack(policy) => Some(policy),
        };
        Some(PolicyEvent { apply, view: view(&self.keeper) })
    }

    fn store_positions(&mut self, moved: Vec<Cursor>) {
        self.positions.extend(moved.into_iter().map(|cursor| (cursor.source, cursor.position)));
        let bytes = serde_json::to_vec(&self.positions).expect("paths and bytes are always JSON");
        if let Err(error) = durable::replace(&self.path, &bytes) {
            tracing::warn!(%error, "positions could not be stored: lines may be read again after a restart");
        }
    }
}

fn view(keeper: &PolicyKeeper) -> PolicyView {
    PolicyView {
        in_effect: keeper.in_effect().clone(),
        on_trial: keeper.on_trial(),
        refused_total: keeper.refused_total(),
        last_refused: keeper.last_refused().cloned(),
    }
}

/// Unreadable content is as none, and said: reading a log from its end loses less than not starting.
fn read_positions(path: &Path) -> io::Result<Positions> {
    let read = match durable::read_capped(path, POSITIONS_BYTES_MAX) {
        Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(Positions::new()),
        Err(error) if error.kind() == io::ErrorKind::FileTooLarge => Err(error),
        Err(error) => return Err(error),
    };
    Ok(read.unwrap_or_else(|error| {
        tracing::warn!(%error, "positions.json is damaged: log files are read as if for the first time");
        Positions::new()
    }))
}

#[cfg(test)]
mod tests {
    use super::*;
    use vedette_protocol::signature::{Domain, SigningKey};

    const NOW: WallTime = WallTime::from_unix_ms(1_800_000_000_000);

    #[tokio::test]
    async fn policy_goes_through_its_trial_and_positions_survive() {
        let data_dir = tempfile::tempdir().expect("temporary folder");
        let key = SigningKey::from_pkcs8(&SigningKey::generate_pkcs8()).expect("key");
        let logs = ["/var/log/app".to_owned()];
        let (disk, mut events, recovered) = Disk::open(data_dir.path(), vec![key.public()], &logs).expect("open");
        assert_eq!(recovered.policy.in_effect.version, 0);

        let text = "version = 4\nexpires = \"2100-01-01T00:00:00Z\"\n";
        disk.handle_policy(key.sign(Domain::Policy, text.into()), NOW);
        let event = events.recv().await.expect("applied");
        assert_eq!(event.apply.map(|policy| policy.version), Some(4));
        assert!(event.view.on_trial);
        (0..crate::control::policy::TRIAL_HEALTHY_TICKS).for_each(|_| disk.handle_trial_tick(true));
        let event = events.recv().await.expect("confirmed");
        assert_eq!((event.apply, event.view.on_trial), (None, false));

        disk.handle_positions(vec![Cursor { source: "/var/log/app".to_owned(), position: vec![1, 255] }]);
        drop(disk);
        assert_eq!(events.recv().await, None, "the thread has ended");
        let (_disk, _events, recovered) = Disk::open(data_dir.path(), vec![key.public()], &logs).expect("again");
        assert_eq!(recovered.policy.in_effect.version, 4);
        assert_eq!(recovered.positions["/var/log/app"], [1, 255]);
        let (_disk, _events, recovered) = Disk::open(data_dir.path(), vec![key.public()], &[]).expect("again");
        assert!(recovered.positions.is_empty(), "nobody reads that log any more");
    }

    #[test]
    fn damaged_positions_do_not_keep_the_agent_from_starting() {
        let data_dir = tempfile::tempdir().expect("temporary folder");
        let path = data_dir.path().join("positions.json");
        std::fs::write(&path, "{").expect("file");
        let (_disk, _events, recovered) = Disk::open(data_dir.path(), Vec::new(), &[]).expect("open");
        assert!(recovered.positions.is_empty());
        std::fs::File::create(&path).and_then(|file| file.set_len(POSITIONS_BYTES_MAX + 1)).expect("file");
        assert!(Disk::open(data_dir.path(), Vec::new(), &[]).is_ok(), "one that has grown beyond all bounds");
    }
}

//! The lane of inventories: one thread looks at each in its own time, and no tick waits for it.
//!
//! A base is stored only once the changes that led to it are settled, which is: safe in the spool's log, or acknowledged,
//! or shed and counted there. Whatever ends the agent before, the next start tells them again, under the same ids. The
//! first look tells nothing and is stored at once.

use crate::clock::wall_now;
use crate::config::InventoryConfig;
use crate::inventory::{Keeper, Record, Store};
use crate::source::Root;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::mpsc as sync_mpsc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;
use vedette_protocol::ids::HostId;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::{Change, Cursor};

const STACK_BYTES: usize = 256 << 10;
/// First looks are so far apart, so that no tick of the start is dear.
const APART: Duration = Duration::from_secs(1);

/// Name under which it is told how far changes are settled.
pub const SOURCE: &str = "vedette.inventories";

/// What one turn over all inventories that were due showed.
pub struct Turn {
    /// Changes since the last looks.
    pub changes: Vec<Change>,
    /// Turns with changes so far, this one included.
    number: u64,
    /// Of all inventories, or none if none was due.
    records: Vec<Record>,
}

/// An inventory as `status` shows it.
pub struct InventoryView<'a> {
    /// Name.
    pub name: &'static str,
    /// Interval in effect.
    pub interval_ms: u32,
    /// What it did.
    pub record: &'a Record,
}

/// What the loop tells the lane.
enum Question {
    /// A turn is to be answered.
    Look,
    /// Other intervals; nothing is answered.
    Schedule(Vec<InventoryConfig>),
}

/// The loop's end of the lane.
pub struct InventoryLane {
    questions: sync_mpsc::Sender<Question>,
    is_busy: bool,
    /// Tells positions of this run from those of earlier ones that are settled late.
    life: u64,
    /// Turn up to which all changes are settled.
    settled: Arc<AtomicU64>,
    inventories: Vec<(InventoryConfig, Record)>,
    overruns: u64,
}

impl InventoryLane {
    /// Starts the lane. `begun` is when this run of the agent began.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a thread.
    pub fn open(
        inventories: &[InventoryConfig],
        root: &Root,
        store: Store,
        host: HostId,
        begun: WallTime,
    ) -> io::Result<(Self, mpsc::Receiver<Turn>)> {
        let (turns_in, turns) = mpsc::channel(1);
        let settled = Arc::new(AtomicU64::new(0));
        let now = Instant::now();
        let mut first = now;
        let mut desk = |config: &InventoryConfig| {
            let desk = Desk {
                keeper: Keeper::open(config.spec, root, &store),
                interval: Duration::from_millis(config.interval_ms.into()),
                is_enabled: config.enabled,
                due: first,
                unsaved: None,
            };
            first += APART * u32::from(config.enabled);
            desk
        };
        let desks = inventories.iter().map(&mut desk).collect();
        let lane = Lane { desks, number: 0, settled: Arc::clone(&settled), store, host };
        let (questions, asked) = sync_mpsc::channel();
        let thread = thread::Builder::new().name("inventories".to_owned()).stack_size(STACK_BYTES);
        thread.spawn(move || lane.run(&asked, &turns_in))?;
        let inventories = inventories.iter().map(|config| (*config, Record::default())).collect();
        let life = begun.unix_ns.cast_unsigned();
        Ok((Self { questions, is_busy: false, life, settled, inventories, overruns: 0 }, turns))
    }

    /// A tick begins. It does not wait; a turn that is not over since the last one is an overrun.
    pub fn begin_tick(&mut self) {
        if self.is_busy || self.questions.send(Question::Look).is_err() {
            self.overruns += 1;
        } else {
            self.is_busy = true;
        }
    }

    /// Other intervals, or other inventories, from now on.
    pub fn schedule(&mut self, inventories: &[InventoryConfig]) {
        self.inventories.iter_mut().zip(inventories).for_each(|((known, _), config)| *known = *config);
        if self.questions.send(Question::Schedule(inventories.to_vec())).is_err() {
            tracing::warn!("inventories are not looked at any more");
        }
    }

    /// A turn is over. Returns its changes with what is settled once each of them is.
    pub fn handle_turn(&mut self, turn: Turn) -> Vec<(Change, Cursor)> {
        self.is_busy = false;
        self.inventories.iter_mut().zip(turn.records).for_each(|((_, record), now)| *record = now);
        let last = turn.changes.len();
        // Until all changes of the turn are settled, the turn before is what is settled.
        let number = |index: usize| turn.number - u64::from(index + 1 < last);
        let changes = turn.changes.into_iter().enumerate();
        changes.map(|(index, change)| (change, self.cursor(number(index)))).collect()
    }

    /// Changes up to `position` are settled.
    pub fn handle_settled(&self, position: &[u8]) {
        let Some((life, number)) =
            position.split_first_chunk().zip(position.last_chunk()).filter(|_| position.len() == 16)
        else {
            return;
        };
        if u64::from_le_bytes(*life.0) == self.life {
            self.settled.fetch_max(u64::from_le_bytes(*number), Ordering::Relaxed);
        }
    }

    /// Every enabled inventory.
    pub fn views(&self) -> impl Iterator<Item = InventoryView<'_>> {
        self.inventories.iter().filter(|(config, _)| config.enabled).map(|(config, record)| InventoryView {
            name: config.spec.name,
            interval_ms: config.interval_ms,
            record,
        })
    }

    /// Ticks in which the turn before was not over.
    pub fn overruns(&self) -> u64 {
        self.overruns
    }

    fn cursor(&self, number: u64) -> Cursor {
        let position = [self.life, number].map(u64::to_le_bytes).as_flattened().to_vec();
        Cursor { source: SOURCE.to_owned(), position }
    }
}

struct Lane {
    desks: Vec<Desk>,
    number: u64,
    settled: Arc<AtomicU64>,
    store: Store,
    host: HostId,
}

struct Desk {
    keeper: Keeper,
    interval: Duration,
    is_enabled: bool,
    due: Instant,
    /// The base is not that on disk, and may be stored once this turn is settled.
    unsaved: Option<u64>,
}

impl Lane {
    /// Until the loop drops its end; what was settled by then is stored.
    fn run(mut self, asked: &sync_mpsc::Receiver<Question>, turns: &mpsc::Sender<Turn>) {
        for question in asked {
            if let Question::Schedule(inventories) = question {
                self.desks.iter_mut().zip(inventories).for_each(|(desk, config)| desk.schedule(&config));
                continue;
            }
            let (looked, changes) = self.turn();
            let records = match looked {
                true => self.desks.iter().map(|desk| desk.keeper.record().clone()).collect(),
                false => Vec::new(),
            };
            self.save();
            if turns.blocking_send(Turn { changes, number: self.number, records }).is_err() {
                break;
            }
        }
        self.save();
    }

    /// Looks at what is due. Returns whether anything was, and all changes.
    fn turn(&mut self) -> (bool, Vec<Change>) {
        let (mut changes, begun) = (Vec::new(), Instant::now());
        let due: Vec<_> = self.desks.iter_mut().filter(|desk| desk.is_enabled && desk.due <= begun).collect();
        let looked = !due.is_empty();
        let others: Vec<_> =
            due.into_iter().filter_map(|desk| desk.look(self.host, &mut changes).then_some(desk)).collect();
        self.number += u64::from(!changes.is_empty());
        others.into_iter().for_each(|desk| desk.unsaved = Some(self.number));
        (looked, changes)
    }

    fn save(&mut self) {
        let settled = self.settled.load(Ordering::Relaxed);
        for desk in &mut self.desks {
            if desk.unsaved.is_none_or(|number| number > settled) {
                continue;
            }
            desk.unsaved = None;
            if let Err(error) = self.store.store(&desk.keeper) {
                tracing::warn!(inventory.name = desk.keeper.name(), %error, "base not stored: changes may be told again");
            }
        }
    }
}

impl Desk {
    fn schedule(&mut self, config: &InventoryConfig) {
        self.is_enabled = config.enabled;
        self.interval = Duration::from_millis(config.interval_ms.into());
        self.due = self.due.min(Instant::now() + self.interval);
    }

    fn look(&mut self, host: HostId, changes: &mut Vec<Change>) -> bool {
        let begun = Instant::now();
        self.due = begun + self.interval;
        let is_other = self.keeper.look(wall_now(), host, &mut |change| changes.push(change));
        self.keeper.note_time(u64::try_from(begun.elapsed().as_nanos()).unwrap_or(u64::MAX));
        is_other
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::inventory::{self, InventorySpec};
    use std::fs;

    const HOST: HostId = HostId([7; 16]);

    struct Bench {
        folder: tempfile::TempDir,
        lane: InventoryLane,
        turns: mpsc::Receiver<Turn>,
    }

    impl Bench {
        /// Only the inventory of cron, and of a folder that is already there.
        fn new(folder: tempfile::TempDir, begun: i64) -> Self {
            let configs: Vec<_> = inventory::ALL
                .iter()
                .map(|spec| InventoryConfig { spec, interval_ms: 0, enabled: spec.name == "cron" })
                .collect();
            let store = Store::open(&folder.path().join("data")).unwrap();
            let begun = WallTime { unix_ns: begun };
            let (lane, turns) = InventoryLane::open(&configs, &Root::under(folder.path()), store, HOST, begun).unwrap();
            Self { folder, lane, turns }
        }

        fn write(&self, name: &str) {
            let folder = self.folder.path().join("etc/cron.d");
            fs::create_dir_all(&folder).unwrap();
            fs::write(folder.join(name), name).unwrap();
        }

        fn turn(&mut self) -> Vec<(Change, Cursor)> {
            self.lane.begin_tick();
            let turn = self.turns.blocking_recv().unwrap();
            self.lane.handle_turn(turn)
        }

        /// A new run over the same host; the old one has come to its end.
        fn restart(self, begun: i64) -> Self {
            let Self { folder, lane, mut turns } = self;
            drop(lane);
            assert!(turns.blocking_recv().is_none());
            Self::new(folder, begun)
        }
    }

    #[test]
    fn changes_that_were_not_settled_are_told_again_as_the_same() {
        let mut bench = Bench::new(tempfile::tempdir().unwrap(), 1);
        bench.write("old");
        assert!(bench.turn().is_empty(), "the first look is the base");
        bench.write("a");
        bench.write("b");
        let told = bench.turn();
        assert_eq!(told.len(), 2);
        bench.lane.handle_settled(&told[0].1.position);
        let mut bench = bench.restart(2);
        let again = bench.turn();
        assert_eq!(again.iter().map(|(change, _)| change.id).collect::<Vec<_>>(), [told[0].0.id, told[1].0.id]);
        bench.lane.handle_settled(&told[1].1.position);
        let mut bench = bench.restart(3);
        let again = bench.turn();
        assert_eq!(again.len(), 2, "what an earlier run is told late counts for nothing");
        bench.lane.handle_settled(&again[1].1.position);
        let mut bench = bench.restart(4);
        assert!(bench.turn().is_empty());
    }

    #[test]
    fn another_schedule_holds_at_once_and_what_was_off_is_compared_with_how_it_was() {
        let mut bench = Bench::new(tempfile::tempdir().unwrap(), 1);
        bench.write("old");
        bench.turn();
        let configs = |is_on: bool| -> Vec<_> {
            let config = |spec: &'static InventorySpec| InventoryConfig {
                spec,
                interval_ms: 0,
                enabled: is_on && spec.name == "cron",
            };
            inventory::ALL.iter().map(|spec| config(spec)).collect()
        };
        bench.lane.schedule(&configs(false));
        bench.write("new");
        assert!(bench.turn().is_empty() && bench.lane.views().next().is_none());
        bench.lane.schedule(&configs(true));
        assert_eq!(bench.turn().len(), 1);
        assert_eq!(bench.lane.views().map(|view| view.record.changes).collect::<Vec<_>>(), [1]);
    }

    #[test]
    fn a_tick_does_not_wait_and_counts_a_turn_that_is_not_over() {
        let mut bench = Bench::new(tempfile::tempdir().unwrap(), 1);
        bench.lane.begin_tick();
        bench.lane.begin_tick();
        assert_eq!(bench.lane.overruns(), 1);
        let turn = bench.turns.blocking_recv().unwrap();
        bench.lane.handle_turn(turn);
        bench.lane.begin_tick();
        assert_eq!(bench.lane.overruns(), 1);
    }
}

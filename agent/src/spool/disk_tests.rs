//! The spool with its other half, on a disk that fails, fills up and dies, against a collector that counts.

mod day;
mod refusals;

use super::files::simulated::Simulated;
use super::keeper::Worker;
use super::log::{LEAP, Log, LogConfig};
use super::*;
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};
use std::io::ErrorKind;
use std::time::Duration;
use vedette_protocol::ids::BootId;

const MEMORY: usize = 50_000;
const CONFIG: LogConfig = LogConfig { segment_bytes: 4_000, bytes_max: 200_000 };
const SECOND: Duration = Duration::from_secs(1);

/// An agent's spool, its disk, and what the collector has.
struct Rig {
    disk: Simulated,
    worker: Worker<Simulated>,
    spool: Spool,
    now: MonoTime,
    /// Every batch ever made: sequence and content.
    made: Vec<(u64, Vec<u8>)>,
    store: BTreeMap<u64, Vec<u8>>,
    in_flight: VecDeque<EncodedBatch>,
    doubled: u64,
}

impl Rig {
    fn new() -> Self {
        Self::on(Simulated::default())
    }

    fn on(disk: Simulated) -> Self {
        let (worker, spool, _) = start(&disk);
        let now = MonoTime::from_ms(1_000);
        let (made, store, in_flight) = (Vec::new(), BTreeMap::new(), VecDeque::new());
        Self { disk, worker, spool, now, made, store, in_flight, doubled: 0 }
    }

    fn push(&mut self, class: Class, bytes: usize) -> u64 {
        self.push_with(class, bytes, &[])
    }

    fn push_with(&mut self, class: Class, bytes: usize, cursors: &[Cursor]) -> u64 {
        let nth = self.made.len();
        let mut content = nth.to_le_bytes().to_vec();
        content.resize(bytes.max(8), 7);
        let sequence = self.spool.push(class, cursors, |_| Some(content.clone())).0;
        self.made.push((sequence, content));
        sequence
    }

    /// The disk does what it is asked to do.
    fn work(&mut self) {
        loop {
            let burst: Vec<_> = std::iter::from_fn(|| self.spool.poll_request(self.now)).collect();
            if burst.is_empty() {
                return;
            }
            for reply in self.worker.carry_out(burst.into_iter()) {
                self.spool.handle_reply(self.now, reply);
            }
        }
    }

    /// How often the disk is asked for something while the connection has room, in so many rounds.
    fn rounds(&mut self, rounds: usize) -> usize {
        let mut asked = 0;
        for _ in 0..rounds {
            self.in_flight.extend(CLASSES.iter().filter_map(|class| self.spool.poll_send(*class)));
            let burst: Vec<_> = std::iter::from_fn(|| self.spool.poll_request(self.now)).collect();
            asked += burst.len();
            for reply in self.worker.carry_out(burst.into_iter()) {
                self.spool.handle_reply(self.now, reply);
            }
        }
        asked
    }

    fn pass(&mut self, time: Duration) {
        self.now = self.now + time;
        self.spool.handle_tick(self.now);
        self.work();
    }

    /// Hands over up to so many batches.
    fn send(&mut self, most: usize) {
        for _ in 0..most {
            self.work();
            let Some(batch) = CLASSES.iter().find_map(|class| self.spool.poll_send(*class)) else {
                // What was asked for comes with the next.
                self.work();
                match CLASSES.iter().find_map(|class| self.spool.poll_send(*class)) {
                    Some(batch) => self.in_flight.push_back(batch),
                    None => return,
                }
                continue;
            };
            self.in_flight.push_back(batch);
        }
    }

    /// The collector commits up to so many of those on their way, and says so.
    fn commit(&mut self, most: usize) {
        for _ in 0..most {
            let Some(batch) = self.in_flight.pop_front() else { return };
            let known = self.store.insert(batch.sequence.0, batch.bytes.to_vec());
            let outcome = if known.is_some() { Outcome::Duplicate } else { Outcome::Committed };
            if known.is_some_and(|known| known != *batch.bytes) {
                self.doubled += 1;
            }
            self.spool.handle_ack(batch.sequence, outcome);
        }
    }

    fn reconnect(&mut self) {
        self.in_flight.clear();
        self.spool.handle_reconnect();
    }

    /// The process is killed and starts again; what was on its way arrives or not.
    fn kill(&mut self) {
        self.disk.restart();
        self.reconnect();
        let (worker, spool, _) = start(&self.disk);
        (self.worker, self.spool) = (worker, spool);
    }

    /// Everything that can be sent is sent and committed.
    fn drain(&mut self) {
        self.reconnect();
        let mut rounds = 0;
        while self.spool.totals().pending > 0 {
            self.pass(SECOND);
            self.send(50);
            self.commit(50);
            rounds += 1;
            assert!(rounds < 1_000, "never empty: {:?}", self.spool.totals());
        }
        self.work();
    }

    /// Batches that the collector does not have.
    fn missing(&self) -> u64 {
        self.made.iter().filter(|(sequence, content)| self.store.get(sequence) != Some(content)).count() as u64
    }

    fn assert_balances(&self) {
        for class in CLASSES {
            let Counts { made, acked, shed, pending, .. } = self.spool.counts(class);
            assert_eq!(made, acked + shed + pending, "{class:?}");
        }
    }
}

fn start(disk: &Simulated) -> (Worker<Simulated>, Spool, Recovered) {
    let (log, recovered) = Log::open(disk.clone(), CONFIG, BootId([1; 16]), QueueEpoch(7)).expect("the disk works");
    (Worker::new(log), Spool::recovered(&recovered, MEMORY), recovered)
}

#[test]
fn batches_are_sent_once_the_disk_has_them() {
    let mut rig = Rig::new();
    rig.push(Class::Finding, 100);
    assert_eq!(rig.spool.poll_send(Class::Finding), None);
    rig.work();
    assert_eq!(rig.spool.poll_send(Class::Finding).map(|batch| batch.sequence), Some(Sequence(1)));
}

#[test]
fn outage_takes_no_more_memory_than_the_window_and_is_replayed_within_it() {
    let disk = Simulated::default();
    let mut rig = Rig::on(disk.clone());
    let config = LogConfig { segment_bytes: 1 << 16, bytes_max: 64 << 20 };
    let (log, recovered) = Log::open(disk, config, BootId([1; 16]), QueueEpoch(7)).expect("the disk works");
    (rig.worker, rig.spool) = (Worker::new(log), Spool::recovered(&recovered, 8 << 20));
    let mut most = 0;
    for nth in 0..10_000 {
        rig.push(CLASSES[nth % 3], 1_000);
        rig.work();
        most = most.max(rig.spool.bytes());
    }
    assert_eq!(rig.spool.totals().pending, 10_000);
    while rig.spool.totals().pending > 0 {
        rig.send(60);
        most = most.max(rig.spool.bytes());
        rig.commit(60);
    }
    assert!(most <= WINDOW_BYTES + 2 * (1_000 + ENTRY_OVERHEAD_BYTES), "{most} bytes");
    assert_eq!((rig.missing(), rig.spool.totals().shed, rig.spool.bytes()), (0, 0, 0));
    rig.pass(SECOND * 10);
    assert!(rig.spool.log_size().0 < 4 << 16, "{:?}", rig.spool.log_size());
}

#[test]
fn killed_process_loses_nothing_that_was_sent_and_counts_go_on() {
    let mut rig = Rig::new();
    for nth in 0..60 {
        rig.push(CLASSES[nth % 3], 300);
    }
    rig.send(30);
    rig.commit(20);
    rig.pass(SECOND * 6);
    let before = rig.spool.totals();
    rig.kill();
    let after = rig.spool.totals();
    assert_eq!((after.made, after.acked, after.pending), (before.made, before.acked, before.pending));
    rig.push(Class::Finding, 300);
    rig.drain();
    assert_eq!((rig.missing(), rig.doubled, rig.spool.totals().acked), (0, 0, 61));
}

#[test]
fn full_disk_leaves_memory_and_comes_back() {
    let mut rig = Rig::new();
    rig.push(Class::Feature, 500);
    rig.work();
    rig.disk.fail(Some(ErrorKind::StorageFull));
    for _ in 0..100 {
        rig.push(Class::Log, 500);
        rig.push(Class::Finding, 100);
        rig.pass(SECOND);
        rig.assert_balances();
        assert!(rig.spool.bytes() <= MEMORY);
    }
    assert!(matches!(rig.spool.disk(), Disk::Failing(_)));
    assert_eq!(rig.spool.counts(Class::Finding).shed, 0);
    let shed = rig.spool.counts(Class::Log).shed;
    assert!(shed > 0 && rig.spool.shed_by_reason()[Reason::MemoryRoom as usize] == shed);
    rig.send(10);
    rig.commit(10);
    assert_eq!(rig.store.len(), 10, "findings go out without a disk");
    rig.disk.fail(None);
    rig.pass(SECOND * 6);
    assert_eq!(rig.spool.disk(), Disk::Well);
    assert!(rig.spool.is_safe(), "what waited in memory is on disk");
    rig.kill();
    rig.drain();
    assert_eq!((rig.missing(), rig.doubled), (shed, 0));
}

#[test]
fn what_was_sent_past_a_failing_disk_is_never_mistaken_for_something_else() {
    let mut rig = Rig::new();
    rig.push(Class::Feature, 100);
    rig.work();
    // Full: a file that is there can be written over, but none can grow.
    rig.disk.limit(Some(0));
    for _ in 0..5 {
        rig.push(Class::Finding, 100);
    }
    rig.pass(SECOND);
    rig.send(10);
    rig.commit(10);
    assert_eq!(rig.store.len(), 6);
    rig.disk.limit(None);
    rig.kill();
    assert!(rig.spool.next_sequence().0 > LEAP, "sequences 2 to 6 are taken");
    rig.push(Class::Finding, 100);
    rig.drain();
    assert_eq!((rig.missing(), rig.doubled), (0, 0));
}

#[test]
fn what_was_sent_past_a_disk_that_takes_no_marks_either_is_never_mistaken_for_something_else() {
    for is_stalled in [false, true] {
        let mut rig = Rig::new();
        rig.push(Class::Feature, 100);
        rig.work();
        if is_stalled {
            rig.push(Class::Finding, 100);
            let _unanswered = rig.spool.poll_request(rig.now).expect("a batch for the disk");
            rig.spool.handle_tick(rig.now + SECOND * 3);
        } else {
            rig.disk.fail(Some(ErrorKind::Other));
            rig.push(Class::Finding, 100);
            rig.pass(SECOND);
        }
        let sent = CLASSES.map(|class| rig.spool.poll_send(class)).into_iter().flatten();
        rig.in_flight.extend(sent);
        rig.commit(10);
        assert_eq!(rig.store.len(), 2);
        rig.disk.fail(None);
        rig.kill();
        rig.push(Class::Finding, 100);
        rig.drain();
        assert_eq!((rig.missing(), rig.doubled), (0, 0), "stalled: {is_stalled}");
    }
}

#[test]
fn what_was_sent_and_shed_while_nothing_could_be_appended_stays_in_the_books() {
    let mut rig = Rig::new();
    rig.disk.limit(Some(0));
    rig.push(Class::Finding, 100);
    rig.push(Class::Feature, MEMORY);
    rig.pass(SECOND);
    rig.send(1);
    rig.commit(1);
    rig.disk.limit(None);
    rig.pass(SECOND * 6);
    let before = rig.spool.totals();
    assert_eq!((before.made, before.acked, before.shed), (2, 1, 1));
    rig.kill();
    assert_eq!(rig.spool.totals(), before, "the marks alone tell");
    rig.push(Class::Finding, 100);
    rig.drain();
    assert_eq!((rig.missing(), rig.doubled), (1, 0));
}

#[test]
fn clean_end_remembers_what_was_settled_without_ever_having_been_in_the_log() {
    let mut rig = Rig::new();
    rig.push(Class::Finding, 100);
    let request = rig.spool.poll_request(rig.now).expect("a batch for the disk");
    rig.push(Class::Finding, 100);
    rig.spool.handle_tick(rig.now + SECOND * 3);
    rig.in_flight.extend([Class::Finding; 2].into_iter().filter_map(|class| rig.spool.poll_send(class)));
    rig.commit(2);
    for reply in rig.worker.carry_out([request].into_iter()) {
        rig.spool.handle_reply(rig.now, reply);
    }
    let last = rig.spool.close();
    rig.worker.carry_out(last.into_iter());
    let recovered = start(&rig.disk).2;
    assert_eq!((recovered.next, recovered.damage.leapt), (3, false));
}

#[test]
fn disk_that_does_not_answer_is_not_waited_for() {
    let mut rig = Rig::new();
    rig.push(Class::Finding, 100);
    let request = rig.spool.poll_request(rig.now).expect("a batch for the disk");
    rig.spool.handle_tick(rig.now + SECOND);
    assert_eq!(rig.spool.poll_send(Class::Finding), None);
    rig.now = rig.now + SECOND * 3;
    rig.spool.handle_tick(rig.now);
    assert!(rig.spool.poll_send(Class::Finding).is_some() && matches!(rig.spool.disk(), Disk::Failing(_)));
    for reply in rig.worker.carry_out([request].into_iter()) {
        rig.spool.handle_reply(rig.now, reply);
    }
    assert_eq!(rig.spool.disk(), Disk::Well);
}

#[test]
fn what_is_forgotten_as_a_connection_begins_anew_is_read_again_even_beside_a_page_on_its_way() {
    let mut rig = Rig::new();
    for _ in 0..8 {
        rig.push(Class::Feature, 10_000);
        rig.work();
    }
    while let Some(batch) = rig.spool.poll_send(Class::Feature) {
        rig.in_flight.push_back(batch);
    }
    let burst: Vec<_> = std::iter::from_fn(|| rig.spool.poll_request(rig.now)).collect();
    assert!(matches!(burst[..], [super::keeper::Request::Load { .. }]), "{burst:?}");
    rig.reconnect();
    rig.push(Class::Finding, 25_000);
    for reply in rig.worker.carry_out(burst.into_iter()) {
        rig.spool.handle_reply(rig.now, reply);
    }
    rig.drain();
    assert_eq!((rig.missing(), rig.spool.totals().acked), (0, 9));
}

#[test]
fn positions_go_on_from_the_last_batch_that_is_safe() {
    let mut rig = Rig::new();
    let at = |n: u8| [Cursor { source: "/log".to_owned(), position: vec![n] }];
    for n in 1..=5 {
        rig.push_with(Class::Log, 100, &at(n));
        rig.work();
    }
    rig.push_with(Class::Log, 100, &at(6));
    let position = |rig: &Rig| start(&rig.disk).2.positions["/log"].clone();
    assert_eq!(rig.spool.take_safe_cursors(), at(5));
    assert_eq!(position(&rig), [5], "the sixth is read again");
    rig.work();
    assert_eq!((rig.spool.take_safe_cursors(), rig.spool.take_safe_cursors()), (at(6).to_vec(), Vec::new()));
    assert_eq!(position(&rig), [6]);
    // Batches that were settled past a failing disk, and shed ones, are not read again either.
    rig.disk.limit(Some(0));
    rig.push_with(Class::Log, 100, &at(7));
    rig.pass(SECOND);
    rig.send(10);
    rig.commit(10);
    rig.push_with(Class::Log, MEMORY + 1, &at(8));
    rig.disk.limit(None);
    rig.pass(SECOND * 6);
    rig.pass(SECOND * 6);
    assert_eq!(position(&rig), [8]);
    rig.spool.handle_cursor(at(9)[0].clone());
    rig.work();
    assert_eq!(position(&rig), [9]);
}

#[test]
fn clean_end_keeps_everything_and_leaves_no_doubt() {
    let mut rig = Rig::new();
    (0..90).for_each(|nth| {
        rig.push(CLASSES[nth % 3], 200);
    });
    let last = rig.spool.close();
    rig.worker.carry_out(last.into_iter());
    let (log, recovered) = Log::open(rig.disk.clone(), CONFIG, BootId([2; 16]), QueueEpoch(9)).expect("the disk works");
    assert_eq!((recovered.epoch, recovered.next, recovered.pending.iter().sum::<u64>()), (7, 91, 90));
    (rig.worker, rig.spool) = (Worker::new(log), Spool::recovered(&recovered, MEMORY));
    rig.drain();
    assert_eq!((rig.missing(), rig.doubled), (0, 0));
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize, usize),
    Send(usize),
    Commit(usize),
    Reconnect,
    Kill,
    Fail,
    Full,
    Mend,
    Pass(u64),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0..3_usize, 0..3_000_usize).prop_map(|(class, bytes)| Step::Push(class, bytes)),
        4 => (1..20_usize).prop_map(Step::Send),
        4 => (1..20_usize).prop_map(Step::Commit),
        1 => Just(Step::Reconnect),
        1 => Just(Step::Kill),
        1 => Just(Step::Full),
        1 => Just(Step::Fail),
        3 => Just(Step::Mend),
        4 => (1..8_u64).prop_map(Step::Pass),
    ]
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(96))]
    #[test]
    fn whatever_fails_no_batch_is_altered_doubled_or_lost_uncounted(steps in prop::collection::vec(step(), 1..120)) {
        let mut rig = Rig::new();
        let mut is_failing = false;
        for step in steps {
            match step {
                Step::Push(class, bytes) => { rig.push(CLASSES[class], bytes); }
                Step::Send(most) => rig.send(most),
                Step::Commit(most) => rig.commit(most),
                Step::Reconnect => rig.reconnect(),
                // What memory alone holds dies with the process: that is what the disk is for.
                // So do counts that were not marked down in the last five seconds.
                Step::Kill if is_failing || !rig.spool.is_safe() || !rig.spool.is_marked => rig.work(),
                Step::Kill => rig.kill(),
                Step::Full => { rig.disk.limit(Some(0)); is_failing = true; }
                Step::Fail => { rig.disk.fail(Some(ErrorKind::Other)); is_failing = true; }
                Step::Mend => { rig.disk.fail(None); rig.disk.limit(None); is_failing = false; }
                Step::Pass(seconds) => rig.pass(SECOND * u32::try_from(seconds).unwrap()),
            }
            rig.assert_balances();
        }
        rig.disk.fail(None);
        rig.disk.limit(None);
        rig.pass(SECOND * 6);
        rig.drain();
        rig.assert_balances();
        prop_assert_eq!(rig.doubled, 0);
        prop_assert!(rig.missing() <= rig.spool.totals().shed, "{} missing, {:?}", rig.missing(), rig.spool.totals());
    }
}

//! A day without a collector, in virtual time: under the limits of an empty configuration, and under a sixty-fourth.

use super::super::keeper::SEGMENT_BYTES;
use super::*;
use crate::config::Config;
use crate::spool::files::Files;
use vedette_protocol::session::backoff::Jitter;

const STEP: Duration = Duration::from_secs(10);
const DAY_S: u64 = 86_400;
const FRAME_BYTES_MAX: usize = 12_000;

/// A spool on an empty disk under the default limits, each divided by `part`.
fn rig(part: u64) -> (Rig, u64) {
    let limits = Config::default();
    let (bytes_max, memory) = (limits.spool.bytes_max / part, limits.limits.memory_spool_bytes as u64 / part);
    let disk = Simulated::default();
    let rig = Rig::on(disk.clone());
    let config = LogConfig { segment_bytes: SEGMENT_BYTES / part, bytes_max };
    let (log, recovered) = Log::open(disk, config, BootId([1; 16]), QueueEpoch(7)).expect("the disk works");
    let spool = Spool::recovered(&recovered, usize::try_from(memory).expect("small"));
    (Rig { worker: Worker::new(log), spool, ..rig }, bytes_max)
}

/// What an agent of some 500 series with a log file makes, in the sizes that agents send.
struct Flow {
    random: Jitter,
    lines: u64,
}

impl Flow {
    fn new() -> Self {
        Self { random: Jitter::new(24), lines: 0 }
    }

    fn within(&mut self, from: usize, to: usize) -> usize {
        usize::try_from(self.random.within(&(from as u64..=to as u64))).expect("it is within")
    }

    /// The next ten seconds: counts of log lines with where they were read to, once a minute features, now and then a
    /// finding, and twice a day a storm of them.
    fn step(&mut self, at_s: u64) -> Vec<(Class, usize, Vec<Cursor>)> {
        let is_storm = [7, 15].iter().any(|hour| (hour * 3_600..hour * 3_600 + 300).contains(&at_s));
        let findings = if is_storm { 5 } else { usize::from(self.within(1, 60) == 1) };
        let mut made: Vec<_> = (0..findings).map(|_| (Class::Finding, self.within(900, 3_000), Vec::new())).collect();
        if at_s.is_multiple_of(60) {
            made.push((Class::Feature, self.within(8_000, FRAME_BYTES_MAX), Vec::new()));
        }
        self.lines += 60;
        let cursor = Cursor { source: "/var/log/app.log".to_owned(), position: self.lines.to_le_bytes().to_vec() };
        made.push((Class::Log, self.within(300, 2_000), vec![cursor]));
        made
    }
}

/// Spends the day; `check` is called after each batch with what was shed of each class before it.
fn spend(rig: &mut Rig, mut check: impl FnMut(&Rig, [u64; 3])) {
    let mut flow = Flow::new();
    for at_s in (0..DAY_S).step_by(10) {
        for (class, bytes, cursors) in flow.step(at_s) {
            let shed = CLASSES.map(|class| rig.spool.counts(class).shed);
            rig.push_with(class, bytes, &cursors);
            rig.work();
            check(rig, shed);
        }
        rig.pass(STEP);
        rig.assert_balances();
    }
}

/// All that waits is sent, within a class in the order in which it was made. The most memory that it took.
fn drain_in_order(rig: &mut Rig) -> usize {
    rig.reconnect();
    let mut last = [Sequence(0); 3];
    let mut most = 0;
    while rig.spool.totals().pending > 0 {
        let before = rig.spool.totals().pending;
        rig.send(64);
        most = most.max(rig.spool.bytes());
        for EncodedBatch { sequence, class, .. } in &rig.in_flight {
            let last = std::mem::replace(&mut last[log::class_index(*class)], *sequence);
            assert!(last < *sequence, "{class:?} {sequence:?} after {last:?}");
        }
        rig.commit(64);
        rig.pass(SECOND);
        assert!(rig.spool.totals().pending < before, "it goes on: {:?}", rig.spool.totals());
    }
    most
}

/// All files of the spool, the file of marks included.
fn disk_bytes(rig: &Rig) -> u64 {
    rig.disk.list().expect("the disk works").iter().map(|(_, bytes)| bytes).sum()
}

#[test]
fn day_without_a_collector_takes_no_more_memory_than_an_hour_and_arrives_whole_and_in_order() {
    let (mut rig, bytes_max) = rig(1);
    let mut most = 0;
    spend(&mut rig, |rig, _| most = most.max(rig.spool.bytes()));
    assert!(most <= WINDOW_BYTES + FRAME_BYTES_MAX + 2 * ENTRY_OVERHEAD_BYTES, "{most} bytes of memory");
    let waiting = rig.spool.totals();
    assert_eq!((waiting.pending, waiting.shed, waiting.acked), (rig.made.len() as u64, 0, 0));
    assert!(waiting.pending > DAY_S / 10 + DAY_S / 60, "a log's and a feature's batches, and findings: {waiting:?}");
    let disk = disk_bytes(&rig);
    assert!(disk < bytes_max / 8, "{disk} bytes on disk: a week and more would fit");

    let most = drain_in_order(&mut rig);
    assert!(most <= WINDOW_BYTES + (128 << 10) + 64 * FRAME_BYTES_MAX, "{most} bytes of memory");
    assert_eq!((rig.missing(), rig.doubled, rig.spool.totals().shed), (0, 0, 0));
    assert_eq!(rig.spool.totals().acked, rig.made.len() as u64);
    rig.pass(SECOND * 6);
    let left = disk_bytes(&rig);
    assert!(left < 4 * SEGMENT_BYTES, "{left} bytes are left on disk");
}

#[test]
fn day_that_the_disk_has_no_room_for_costs_logs_then_features_and_findings_last() {
    let (mut rig, bytes_max) = rig(64);
    // Nothing goes while something of a lower class waits: that would be as old, or older.
    let check = |rig: &Rig, before: [u64; 3]| {
        let counts = CLASSES.map(|class| rig.spool.counts(class));
        for (at, class) in CLASSES.iter().enumerate() {
            let lower: u64 = counts[at + 1..].iter().map(|counts| counts.pending).sum();
            assert!(counts[at].shed == before[at] || lower == 0, "{class:?} is shed before {lower} others");
        }
        let disk = disk_bytes(rig);
        assert!(disk <= bytes_max + (SEGMENT_BYTES / 64), "{disk} of {bytes_max} bytes");
    };
    let mut most = 0;
    spend(&mut rig, |rig, before| {
        most = most.max(rig.spool.bytes());
        check(rig, before);
    });
    let [findings, features, logs] = CLASSES.map(|class| rig.spool.counts(class));
    assert_eq!(findings.shed, 0);
    assert!(features.shed > 100 && logs.shed > 1_000, "{features:?} {logs:?}");
    let memory = Config::default().limits.memory_spool_bytes / 64;
    assert!(most <= memory, "{most} of {memory} bytes of memory");

    // More findings than the disk has room for.
    for _ in 0..bytes_max / 2_000 {
        let before = CLASSES.map(|class| rig.spool.counts(class).shed);
        rig.push(Class::Finding, 3_000);
        rig.work();
        check(&rig, before);
    }
    rig.assert_balances();
    let [findings, features, logs] = CLASSES.map(|class| rig.spool.counts(class));
    assert!(findings.shed > 0 && features.pending == 0 && logs.pending == 0, "{findings:?} {features:?} {logs:?}");

    drain_in_order(&mut rig);
    assert_eq!((rig.missing(), rig.doubled), (rig.spool.totals().shed, 0));
    // Of a class the oldest went: what arrived is newer than all that did not.
    let arrived = rig.store.first_key_value().map(|(sequence, _)| *sequence);
    let is_lost = |(sequence, _): &&(u64, Vec<u8>)| !rig.store.contains_key(sequence);
    assert!(arrived > rig.made.iter().filter(is_lost).map(|(sequence, _)| *sequence).max());
}

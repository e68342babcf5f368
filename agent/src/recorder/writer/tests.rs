use super::super::backlog::Counts;
use super::super::read::{Reader, Recording, Wanted};
use super::*;
use crate::spool::files::Files;
use crate::spool::files::simulated::Simulated;
use proptest::prelude::*;
use std::cell::Cell;
use std::collections::BTreeSet;
use std::io;
use std::rc::Rc;
use vedette_edge::recorder::{Recorder, RecorderConfig, Sort};
use vedette_protocol::series::{SeriesKind, SeriesMeta};

const MINUTE_MS: i64 = 60_000;
/// Room for all that a test records.
const MEMORY_BYTES: usize = 2 << 20;

/// A disk that comes and goes.
#[derive(Clone, Debug, Default)]
struct Unsteady {
    disk: Simulated,
    is_away: Rc<Cell<bool>>,
}

impl Door for Unsteady {
    type Files = Simulated;

    fn open(&self) -> io::Result<Simulated> {
        if self.is_away.get() { Err(io::ErrorKind::NotFound.into()) } else { Ok(self.disk.clone()) }
    }

    fn leads_to(&self, _: &Simulated) -> bool {
        !self.is_away.get()
    }
}

#[derive(Clone, Copy, Debug)]
enum Fate {
    Well,
    Away,
    Failing,
    Unsynced,
    /// Room for so many bytes more.
    Full(u64),
}

fn fates() -> impl Strategy<Value = Vec<(Fate, u8)>> {
    let fate = prop_oneof![
        3 => Just(Fate::Well),
        1 => Just(Fate::Away),
        1 => Just(Fate::Failing),
        1 => Just(Fate::Unsynced),
        1 => (0..3_000_u64).prop_map(Fate::Full),
    ];
    prop::collection::vec((fate, 0..8_u8), 1..24)
}

struct Bench {
    door: Unsteady,
    recorder: Recorder,
    backlog: Arc<Mutex<Backlog>>,
    writer: Writer<Unsteady>,
    minute: i64,
}

impl Bench {
    fn new(memory_bytes: usize) -> Self {
        let door = Unsteady::default();
        let backlog = Arc::default();
        // Segments are full after half an hour, and none has to be deleted.
        let writer = Writer::new(Arc::clone(&backlog), Store::new(door.clone(), 1 << 20));
        let recorder = Recorder::new(RecorderConfig { memory_bytes, to_disk: true });
        Self { door, recorder, backlog, writer, minute: 0 }
    }

    /// A minute of two series, one of them another one each few minutes, sealed and handed over.
    fn minute(&mut self) {
        let begin_ms = self.minute * MINUTE_MS;
        for (place, name) in [(0, "a".to_owned()), (1, format!("b{}", self.minute / 3))] {
            let meta = meta(&name);
            for at_ms in [begin_ms, begin_ms + 1_000] {
                let value = (self.minute % 7) as f64;
                self.recorder.sample((Sort::Metric, place), meta.key(), 1.0, (at_ms, value), || Some(meta.clone()));
            }
        }
        self.recorder.line(begin_ms, "/log", &"x".repeat(2_000));
        self.recorder.seal();
        while let Some(recorded) = self.recorder.poll_recorded() {
            lock(&self.backlog).put(recorded);
        }
        self.minute += 1;
    }

    fn fate(&self, fate: Fate) {
        self.door.is_away.set(matches!(fate, Fate::Away));
        self.door.disk.fail(matches!(fate, Fate::Away | Fate::Failing).then_some(io::ErrorKind::TimedOut));
        self.door.disk.fail_syncs(matches!(fate, Fate::Unsynced));
        let used: u64 = self.door.disk.list().expect("list").iter().map(|(_, bytes)| bytes).sum();
        let room = |more| usize::try_from(used + more).expect("small");
        self.door.disk.limit(if let Fate::Full(more) = fate { Some(room(more)) } else { None });
    }

    /// What became of blocks, and how many wait.
    fn account(&self) -> (Counts, u64) {
        let backlog = lock(&self.backlog);
        (backlog.counts(), backlog.waiting())
    }

    fn on_disk(&self) -> Recording {
        let wanted = Wanted::default();
        let mut reader = Reader::new(&wanted);
        let mut names: Vec<_> = self.door.disk.list().expect("list").into_iter().map(|(name, _)| name).collect();
        names.sort();
        for name in names {
            let bytes = self.door.disk.read(&name, 0, 4 << 20).expect("read");
            reader.segment(&bytes).expect("few samples");
        }
        reader.end()
    }

    /// Minutes of which the disk has samples: with the series of that minute, each sample once.
    fn minutes_on_disk(&self) -> BTreeSet<i64> {
        let recording = self.on_disk();
        let mut minutes = BTreeSet::new();
        for one in recording.series {
            let times: BTreeSet<_> = one.points.iter().map(|(at_ms, _)| *at_ms).collect();
            assert_eq!(times.len(), one.points.len(), "{}: a sample is there twice", one.meta.metric);
            if one.meta.metric == "a" {
                minutes.extend(times.iter().map(|at_ms| at_ms / MINUTE_MS));
            } else {
                let theirs = times.iter().map(|at_ms| format!("b{}", at_ms / MINUTE_MS / 3));
                assert!(theirs.into_iter().all(|name| name == one.meta.metric), "under another's name");
            }
        }
        minutes
    }

    /// Minutes that a running agent tells from memory.
    fn minutes_in_memory(&self) -> BTreeSet<i64> {
        let begin_ms = self.recorder.unwritten_from_ms().min(lock(&self.backlog).from_ms());
        let found = self.recorder.search(Sort::Metric, [(0, 0)].into_iter(), begin_ms, 100_000).run();
        found.iter().flat_map(|window| &window.times_ms).map(|at_ms| at_ms / MINUTE_MS).collect()
    }
}

fn meta(name: &str) -> SeriesMeta {
    SeriesMeta {
        metric: name.to_owned(),
        unit: "1".to_owned(),
        kind: SeriesKind::Gauge,
        attributes: Vec::new(),
        resolution: 1.0,
        lower: f64::NAN,
        upper: f64::NAN,
    }
}

#[test]
fn what_a_failing_disk_missed_is_shown_meanwhile_and_written_when_it_is_back() {
    let mut bench = Bench::new(MEMORY_BYTES);
    for minute in 0..60 {
        bench.fate(if (20..50).contains(&minute) { Fate::Failing } else { Fate::Well });
        bench.minute();
        bench.writer.write_waiting();
        let shown: BTreeSet<_> = bench.minutes_on_disk().union(&bench.minutes_in_memory()).copied().collect();
        assert_eq!(shown, (0..=minute).collect(), "no hole at any time");
    }
    assert_eq!(bench.minutes_on_disk(), (0..60).collect());
    let (counts, waiting) = bench.account();
    assert_eq!((counts.written, waiting), (60, 0));
    assert_eq!(bench.writer.view().last_error, None);
}

#[test]
fn since_when_and_why_a_disk_takes_nothing_is_told_while_it_does_and_afterwards() {
    let mut bench = Bench::new(MEMORY_BYTES);
    let mut minutes = |count: i64, fate| {
        bench.fate(fate);
        for _ in 0..count {
            bench.minute();
            bench.writer.write_waiting();
        }
        let refused = bench.writer.view().refused;
        refused.map(|refused| (refused.since_ms / MINUTE_MS, refused.goes_on, refused.why))
    };
    assert_eq!(minutes(5, Fate::Well), None);
    let full = io::Error::from(io::ErrorKind::StorageFull).to_string();
    let away = io::Error::from(io::ErrorKind::NotFound).to_string();
    assert_eq!(minutes(5, Fate::Full(0)), Some((5, true, full)));
    assert_eq!(minutes(5, Fate::Away), Some((5, true, away.clone())), "it has taken nothing between");
    assert_eq!(minutes(5, Fate::Well), Some((5, false, away.clone())));
    assert_eq!(minutes(1, Fate::Away), Some((20, true, away)));
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(64))]

    /// What was sealed is written, waits, or is counted as lost; of what is not counted as lost there is no hole.
    #[test]
    fn every_block_is_on_disk_or_waits_or_is_counted_whatever_the_disk_does(
        fates in fates(),
        memory_bytes in prop_oneof![Just(0_usize), 500..4_000_usize, Just(MEMORY_BYTES)],
    ) {
        let mut bench = Bench::new(memory_bytes);
        for (fate, minutes) in fates {
            bench.fate(fate);
            for _ in 0..minutes {
                bench.minute();
                bench.writer.write_waiting();
                let (counts, waiting) = bench.account();
                let minutes = u64::try_from(bench.minute).expect("positive");
                prop_assert_eq!(counts.written + counts.forgotten + counts.too_large + waiting, minutes);
            }
            let (counts, _) = bench.account();
            let on_disk = bench.minutes_on_disk();
            prop_assert_eq!(on_disk.len() as u64, counts.written);
            if memory_bytes == MEMORY_BYTES {
                let in_memory = bench.minutes_in_memory();
                prop_assert!((0..bench.minute).all(|one| on_disk.contains(&one) || in_memory.contains(&one)));
                prop_assert_eq!(counts.forgotten, 0);
            }
        }
        bench.fate(Fate::Well);
        bench.minute();
        bench.writer.write_waiting();
        let (counts, waiting) = bench.account();
        prop_assert_eq!(waiting, 0);
        prop_assert_eq!(bench.minutes_on_disk().len() as u64, counts.written);
        prop_assert_eq!(counts.written + counts.forgotten, u64::try_from(bench.minute).expect("positive"));
    }
}

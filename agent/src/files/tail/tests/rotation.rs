//! Any order of writing, of rotating in each usual way, of polls, settled positions and crashes: every line is counted once,
//! or it was destroyed before a poll could see it, which a counter tells wherever anybody can.

use super::*;
use std::collections::BTreeSet;

/// Rotated files that are kept.
const KEPT: u32 = 8;

#[derive(Clone, Debug)]
enum Step {
    Write(u8),
    Poll,
    /// `app.log` to `.1`, `.1` to `.2`, and so on; the writer makes a new file.
    Rename,
    /// As `Rename`, but the content goes into a new `.1`, and the file is cut.
    CopyTruncate,
    /// The content goes to `.bak`, over whatever is in there.
    Copy,
    /// The file is cut.
    Cut,
    /// The oldest rotated file is packed: its content is in `.gz` and the file is gone.
    Compress,
    /// The file is removed; the writer makes a new one, perhaps with the same inode.
    Replace,
    /// What was handed over so far is counted by the collector, with the position.
    Settle,
    /// Goes on from what is settled.
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        6 => (1..5_u8).prop_map(Step::Write),
        5 => Just(Step::Poll),
        2 => Just(Step::Rename),
        2 => Just(Step::CopyTruncate),
        1 => Just(Step::Copy),
        1 => Just(Step::Cut),
        1 => Just(Step::Compress),
        1 => Just(Step::Replace),
        3 => Just(Step::Settle),
        1 => Just(Step::Crash),
    ]
}

/// What was written to one file, wherever that is by now.
#[derive(Default)]
struct Content {
    id: usize,
    lines: Vec<u32>,
}

struct World {
    log: Log,
    /// Each file that is there, by the end of its name.
    content: BTreeMap<String, Content>,
    files: usize,
    /// Files in which a poll saw a line; and those of the last settled position.
    seen: BTreeSet<usize>,
    settled: BTreeSet<usize>,
    written: u32,
    /// Handed over, not settled.
    open: Vec<u32>,
    counted: Vec<u32>,
    position: Vec<u8>,
    /// What was taken away, whether or not it was read before.
    destroyed: Vec<Content>,
    /// What the counters of earlier runs said.
    told: u64,
}

impl World {
    fn new(is_link: bool) -> Self {
        let mut log = Log::new();
        if is_link {
            fs::create_dir(log.path("real")).unwrap();
            fs::write(log.path("real/target.log"), "").unwrap();
            std::os::unix::fs::symlink(log.path("real/target.log"), log.path("app.log")).unwrap();
        } else {
            log.append("");
        }
        log.poll();
        let position = log.tail.position();
        let content = BTreeMap::from([(String::new(), Content::default())]);
        let (seen, settled) = (BTreeSet::new(), BTreeSet::new());
        let (open, counted, destroyed) = (Vec::new(), Vec::new(), Vec::new());
        Self { log, content, files: 1, seen, settled, written: 0, open, counted, position, destroyed, told: 0 }
    }

    /// The log itself or one of its rotated forms.
    fn path(&self, end: &str) -> PathBuf {
        let real = self.log.path("real");
        if real.exists() { real.join(format!("target.log{end}")) } else { self.log.path(&format!("app.log{end}")) }
    }

    fn write(&mut self, lines: u8) {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(self.path("")).unwrap();
        for _ in 0..lines {
            writeln!(file, "line {}", self.written).unwrap();
            self.content.get_mut("").unwrap().lines.push(self.written);
            self.written += 1;
        }
    }

    fn poll(&mut self) {
        self.seen.extend(self.content.values().filter(|file| !file.lines.is_empty()).map(|file| file.id));
        self.log.poll();
        let lines = std::mem::take(&mut self.log.lines);
        self.open.extend(lines.iter().map(|line| line.strip_prefix("line ").unwrap().parse::<u32>().unwrap()));
    }

    /// Makes room for a new `.1`.
    fn shift(&mut self) {
        let end = |n: u32| format!(".{n}");
        self.destroyed.extend(self.content.remove(&end(KEPT)));
        for n in (1..KEPT).rev() {
            if let Some(lines) = self.content.remove(&end(n)) {
                fs::rename(self.path(&end(n)), self.path(&end(n + 1))).unwrap();
                self.content.insert(end(n + 1), lines);
            }
        }
    }

    fn rename(&mut self) {
        self.shift();
        fs::rename(self.path(""), self.path(".1")).unwrap();
        let file = self.begin();
        self.content.insert(".1".to_owned(), file);
        self.write(0);
    }

    fn copy_truncate(&mut self) {
        self.shift();
        fs::copy(self.path(""), self.path(".1")).unwrap();
        self.truncate();
        let file = self.begin();
        self.content.insert(".1".to_owned(), file);
    }

    fn truncate(&self) {
        fs::OpenOptions::new().write(true).truncate(true).open(self.path("")).unwrap();
    }

    fn copy(&self) {
        fs::copy(self.path(""), self.path(".bak")).unwrap();
    }

    fn compress(&mut self) {
        let Some(end) = self.content.keys().last().filter(|end| !end.is_empty()).cloned() else { return };
        self.destroyed.extend(self.content.remove(&end));
        fs::write(self.path(&format!("{end}.gz")), "packed").unwrap();
        fs::remove_file(self.path(&end)).unwrap();
    }

    /// The log is empty from now on. Returns what it was.
    fn begin(&mut self) -> Content {
        self.files += 1;
        self.content.insert(String::new(), Content { id: self.files, lines: Vec::new() }).unwrap()
    }

    fn destroy(&mut self) {
        let file = self.begin();
        self.destroyed.push(file);
    }

    fn replace(&mut self) {
        fs::remove_file(self.path("")).unwrap();
        self.destroy();
        self.write(0);
    }

    fn settle(&mut self) {
        self.counted.append(&mut self.open);
        self.settled.clone_from(&self.seen);
        self.position = self.log.tail.position();
    }

    fn crash(&mut self) {
        self.told += self.told_now();
        self.open.clear();
        self.seen.clone_from(&self.settled);
        let position = self.position.clone();
        self.log.reopen(&position);
    }

    fn told_now(&self) -> u64 {
        let counts = self.log.tail.counts();
        counts.truncations + counts.files_gone + counts.files_abandoned
    }

    fn take(&mut self, step: &Step) {
        match step {
            Step::Write(lines) => self.write(*lines),
            Step::Poll => self.poll(),
            Step::Rename => self.rename(),
            Step::CopyTruncate => self.copy_truncate(),
            Step::Copy => self.copy(),
            Step::Cut => {
                self.truncate();
                self.destroy();
            }
            Step::Compress => self.compress(),
            Step::Replace => self.replace(),
            Step::Settle => self.settle(),
            Step::Crash => self.crash(),
        }
    }
}

fn run(steps: &[Step], is_link: bool) {
    let mut world = World::new(is_link);
    steps.iter().for_each(|step| world.take(step));
    (0..3 * QUIET_POLLS_MAX).for_each(|_| world.poll());
    world.settle();
    let counted: BTreeSet<u32> = world.counted.iter().copied().collect();
    assert_eq!(counted.len(), world.counted.len(), "nothing twice: {:?}", world.counted);
    let missing: BTreeSet<u32> = (0..world.written).filter(|line| !counted.contains(line)).collect();
    let destroyed: BTreeSet<u32> = world.destroyed.iter().flat_map(|file| &file.lines).copied().collect();
    assert!(missing.is_subset(&destroyed), "missing, though never destroyed: {missing:?} {destroyed:?}");
    // Of a file that came and went between two polls nobody can tell, nor whether a copy of it was all of it.
    let is_known =
        |file: &&Content| world.seen.contains(&file.id) && file.lines.iter().any(|line| counted.contains(line));
    let in_part =
        world.destroyed.iter().filter(is_known).any(|file| file.lines.iter().any(|line| missing.contains(line)));
    assert!(!in_part || world.told + world.told_now() > 0, "missing, and nothing says so: {missing:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(512))]

    #[test]
    fn every_line_is_counted_once_or_was_destroyed_unread(
        steps in proptest::collection::vec(step(), 0..50),
        is_link: bool,
    ) {
        run(&steps, is_link);
    }
}

/// What is written between two polls and then moved away in each of these ways is read from where it is.
#[test]
fn copy_of_a_cut_file_is_read_from_where_the_file_was_read() {
    let mut log = Log::new();
    let cut = |log: &Log, end: &str| {
        fs::copy(log.path("app.log"), log.path(end)).unwrap();
        fs::OpenOptions::new().write(true).truncate(true).open(log.path("app.log")).unwrap();
    };
    log.append("one\ntwo, in p");
    log.poll();
    log.append("art\nthree\n");
    cut(&log, "app.log.2");
    log.append("four\n");
    cut(&log, "app.log.1");
    log.append("five\n");
    log.poll_times(3);
    log.lines.sort_unstable();
    assert_eq!(log.lines, ["five", "four", "one", "three", "two, in part"]);
    let counts = log.tail.counts();
    assert_eq!((counts.truncations, counts.bytes_lost, counts.files_abandoned), (1, 0, 0));
    let position = log.tail.position();
    log.append("six\n");
    cut(&log, "app.log-20260301");
    log.append("seven\n");
    log.rename("app.log", "app.log-20260302");
    log.append("eight\n");
    log.lines.clear();
    log.reopen(&position);
    log.poll_times(3);
    log.lines.sort_unstable();
    assert_eq!(log.lines, ["eight", "seven", "six"]);
}

#[test]
fn copy_that_is_being_made_is_not_taken_for_a_file_of_its_own() {
    let mut log = Log::new();
    log.append("one\ntwo\n");
    log.poll();
    fs::write(log.path("app.log.1"), "one\n").unwrap();
    log.rename("app.log", "app.log.2");
    log.append("three\n");
    log.poll();
    fs::write(log.path("app.log.1"), "one\ntwo\n").unwrap();
    log.poll();
    let position = log.tail.position();
    log.reopen(&position);
    log.poll_times(2);
    assert_eq!(log.lines, ["one", "two", "three"]);
}

#[test]
fn more_rotations_than_files_may_be_open_lose_nothing() {
    let mut log = Log::new();
    log.append("0\n");
    log.poll();
    let count = FILES_OPEN_MAX * 2 + 3;
    for n in 1..count {
        log.rename("app.log", &format!("app.log-{n}"));
        log.append(&format!("{n}\n"));
    }
    log.poll_times(4 * QUIET_POLLS_MAX);
    log.lines.sort_by_key(|line| line.parse::<usize>().unwrap());
    assert_eq!(log.lines, (0..count).map(|n| n.to_string()).collect::<Vec<_>>());
    assert!(log.tail.files.len() <= FILES_OPEN_MAX && log.tail.counts().files_abandoned == 0);
}

#[test]
fn small_file_that_begins_as_another_one_is_no_copy_of_it() {
    let mut log = Log::new();
    log.append("banner\n");
    log.poll();
    log.rename("app.log", "app.log.2");
    log.append("banner\nreal\n");
    log.rename("app.log", "app.log.1");
    log.append("banner\n");
    log.poll_times(2);
    assert_eq!(log.lines, ["banner", "banner", "real", "banner"]);
}

mod events;
mod globs;
mod rotation;

use super::*;
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::io::Write;

/// A directory with a log that is followed, and what was handed over.
struct Log {
    directory: tempfile::TempDir,
    tail: Tail,
    lines: Vec<String>,
}

impl Log {
    fn new() -> Self {
        let directory = tempfile::tempdir().unwrap();
        let tail = Tail::open(&directory.path().join("app.log"), Joining::Auto, None);
        Self { directory, tail, lines: Vec::new() }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn append(&self, text: &str) {
        let mut file = fs::OpenOptions::new().append(true).create(true).open(self.path("app.log")).unwrap();
        file.write_all(text.as_bytes()).unwrap();
    }

    fn rename(&self, from: &str, to: &str) {
        fs::rename(self.path(from), self.path(to)).unwrap();
    }

    fn poll(&mut self) -> Polled {
        let lines = &mut self.lines;
        self.tail.poll(&mut |line| lines.push(String::from_utf8_lossy(line).into_owned())).unwrap()
    }

    fn poll_times(&mut self, times: u32) {
        for _ in 0..times {
            self.poll();
        }
    }

    /// What was handed over since the last call, after one poll.
    fn polled(&mut self) -> Vec<String> {
        self.poll();
        std::mem::take(&mut self.lines)
    }

    fn reopen(&mut self, position: &[u8]) {
        self.tail = Tail::open(&self.path("app.log"), self.tail.joining.clone(), Some(position));
    }
}

#[test]
fn an_unfinished_line_waits_for_its_end() {
    let mut log = Log::new();
    assert_eq!(log.polled(), [""; 0], "it is not there yet");
    log.append("one\ntw");
    assert_eq!(log.polled(), ["one"]);
    log.append("o\r\n\n");
    assert_eq!(log.polled(), ["two", ""]);
    assert_eq!(log.tail.counts(), TailCounts { lines: 3, bytes: 10, ..TailCounts::default() });
}

#[test]
fn a_renamed_file_is_read_to_its_end_first() {
    let mut log = Log::new();
    log.append("one\n");
    log.poll();
    log.append("two\n");
    log.rename("app.log", "app.log.1");
    log.append("three\n");
    assert_eq!(log.polled(), ["one", "two", "three"]);
    assert_eq!(log.tail.counts().rotations, 1);
}

#[test]
fn a_writer_may_hold_a_renamed_file_a_little_longer() {
    let mut log = Log::new();
    log.append("one\n");
    log.poll();
    let mut writer = fs::OpenOptions::new().append(true).open(log.path("app.log")).unwrap();
    log.rename("app.log", "app.log.1");
    log.append("two\n");
    log.poll();
    writer.write_all(b"late, without an end").unwrap();
    log.lines.clear();
    log.poll_times(QUIET_POLLS_MAX + 1);
    assert_eq!(log.lines, ["late, without an end"]);
    assert_eq!(log.tail.files.len(), 1);
}

#[test]
fn files_that_came_and_went_between_polls_are_read() {
    let mut log = Log::new();
    log.append("one\n");
    log.poll();
    log.rename("app.log", "app.log.2");
    log.append("two\n");
    log.rename("app.log", "app.log.1");
    log.append("three\n");
    assert_eq!(log.polled(), ["one", "two", "three"]);
}

#[test]
fn truncation_begins_anew_even_when_the_file_has_grown_beyond() {
    let mut log = Log::new();
    log.append("one\nunfin");
    log.poll();
    fs::write(log.path("app.log"), "2\n").unwrap();
    assert_eq!(log.polled(), ["one", "2"]);
    fs::write(log.path("app.log"), "three is longer than what was there before\n").unwrap();
    assert_eq!(log.polled(), ["three is longer than what was there before"]);
    let counts = log.tail.counts();
    assert_eq!((counts.truncations, counts.bytes_lost, counts.rotations), (2, 5, 0));
}

#[test]
fn a_long_line_is_cut_once_and_counted() {
    let mut log = Log::new();
    let long = "x".repeat(LINE_BYTES_MAX * 5);
    log.append(&format!("{}\n{long}", "y".repeat(LINE_BYTES_MAX)));
    let lines = log.polled();
    assert_eq!(lines.iter().map(String::len).collect::<Vec<_>>(), [LINE_BYTES_MAX; 2]);
    let position = log.tail.position();
    log.append(&long);
    assert_eq!(log.polled(), [""; 0]);
    log.append("\nnext\n");
    assert_eq!(log.polled(), ["next"]);
    assert_eq!(log.tail.counts().lines_cut, 1);
    log.reopen(&position);
    assert_eq!(log.polled(), ["next"], "the rest of the cut line is left out after a restart too");
}

#[test]
fn one_poll_reads_a_bounded_number_of_bytes() {
    let mut log = Log::new();
    let line = format!("{}\n", "z".repeat(1_023));
    log.append(&line.repeat(640));
    let polls = [log.poll(), log.poll(), log.poll()];
    assert_eq!(polls.map(|polled| polled.bytes), [POLL_BYTES_MAX, POLL_BYTES_MAX, 640 * 1_024 - 2 * POLL_BYTES_MAX]);
    assert_eq!(polls.map(|polled| polled.more), [true, true, false]);
    assert_eq!(log.lines.len(), 640);
}

#[test]
fn an_old_file_is_read_from_its_last_lines() {
    let mut log = Log::new();
    let line = format!("{}\n", "z".repeat(999));
    log.append(&line.repeat(5_000));
    while log.poll().more {}
    let kept = BACKLOG_BYTES_MAX / 1_000;
    assert_eq!(log.lines.len() as u64, kept);
    assert_eq!(log.tail.counts().bytes_skipped, 5_000_000 - BACKLOG_BYTES_MAX);
    assert!(log.lines.iter().all(|line| line.len() == 999));
}

#[test]
fn a_restart_goes_on_where_it_was() {
    let mut log = Log::new();
    log.append("one\ntwo\nthr");
    log.poll();
    let position = log.tail.position();
    log.append("ee\nfour\n");
    log.reopen(&position);
    assert_eq!(log.lines, ["one", "two"]);
    log.lines.clear();
    assert_eq!(log.polled(), ["three", "four"]);
}

#[test]
fn place_where_reading_began_is_told_before_the_first_line() {
    let mut log = Log::new();
    assert_eq!((log.poll(), log.tail.take_begun()), (Polled::default(), None), "it is not there yet");
    log.append("one\n");
    log.poll();
    let begun = log.tail.take_begun().unwrap();
    log.rename("app.log", "app.log.1");
    log.append("two\n");
    log.lines.clear();
    log.reopen(&begun);
    assert_eq!((log.polled(), log.tail.take_begun()), (vec!["one".to_owned(), "two".to_owned()], None));
}

#[test]
fn rotations_during_a_restart_are_read_in_order() {
    let mut log = Log::new();
    log.append("one\n");
    log.poll();
    let position = log.tail.position();
    log.append("two\n");
    log.rename("app.log", "app.log.2");
    // The kernel's clock for files has steps: write until it has moved, since the order is known by it alone.
    let changed = |name: &str| fs::metadata(log.path(name)).unwrap().modified().unwrap();
    log.append("three\n");
    while changed("app.log") <= changed("app.log.2") {
        fs::write(log.path("app.log"), "three\n").unwrap();
    }
    log.rename("app.log", "app.log.1");
    log.append("four\n");
    log.lines.clear();
    log.reopen(&position);
    assert_eq!(log.polled(), ["two", "three", "four"]);
}

#[test]
fn a_reused_inode_is_another_file() {
    let mut log = Log::new();
    log.append("a line of the first file\n");
    log.poll();
    let mut position = Position::decode(&log.tail.position()).unwrap();
    fs::remove_file(log.path("app.log")).unwrap();
    log.append("a line of the second file, which is longer\n");
    let metadata = fs::metadata(log.path("app.log")).unwrap();
    // As if the file system had given the inode again, which it may.
    position.places[0].inode = inode_of(&metadata);
    log.lines.clear();
    log.reopen(&position.encode());
    assert_eq!(log.polled(), ["a line of the second file, which is longer"]);
}

#[test]
fn a_position_that_means_nothing_starts_with_the_backlog() {
    let mut log = Log::new();
    log.append("one\n");
    for bad in [&b""[..], b"\x07", b"\x01\x01short"] {
        log.reopen(bad);
        assert_eq!(log.polled(), ["one"]);
    }
}

#[test]
fn a_file_that_is_away_for_long_and_comes_back_goes_on() {
    let mut log = Log::new();
    log.append("one\n");
    log.poll();
    log.rename("app.log", "elsewhere");
    log.poll_times(QUIET_POLLS_MAX + 2);
    assert!(log.tail.files.is_empty());
    log.rename("elsewhere", "app.log");
    log.append("two\n");
    log.poll();
    assert_eq!(log.lines, ["one", "two"]);
}

#[test]
fn what_is_no_file_is_not_followed() {
    let mut log = Log::new();
    fs::create_dir(log.path("app.log")).unwrap();
    assert_eq!(log.poll(), Polled::default());
}

#[test]
fn truncation_is_noticed_though_the_first_lines_are_the_same() {
    let mut log = Log::new();
    let banner = format!("{}\n", "=".repeat(300));
    log.append(&format!("{banner}one\n"));
    log.poll();
    fs::write(log.path("app.log"), format!("{banner}two\nthree\n")).unwrap();
    log.lines.clear();
    assert_eq!(log.polled()[1..], ["two", "three"]);
    assert_eq!(log.tail.counts().truncations, 1);
}

#[test]
fn file_that_was_compressed_while_the_agent_was_down_is_counted() {
    let mut log = Log::new();
    log.append("one\n");
    log.poll();
    let position = log.tail.position();
    log.append("unread\n");
    log.rename("app.log", "app.log.1");
    fs::rename(log.path("app.log.1"), log.path("app.log.1.gz")).unwrap();
    let packed = log.path("app.log.1.gz");
    fs::remove_file(&packed).unwrap();
    fs::write(packed, "packed").unwrap();
    log.append("two\n");
    log.lines.clear();
    log.reopen(&position);
    assert_eq!(log.polled(), ["two"]);
    assert_eq!(log.tail.counts().files_gone, 1);
}

#[test]
fn link_that_names_another_file_is_followed_and_the_first_is_found_after_a_restart() {
    let mut log = Log::new();
    let link = |log: &Log, to: &str| {
        let _ = fs::remove_file(log.path("app.log"));
        std::os::unix::fs::symlink(log.path(to), log.path("app.log")).unwrap();
    };
    fs::write(log.path("monday"), "one\n").unwrap();
    link(&log, "monday");
    assert_eq!(log.polled(), ["one"]);
    let position = log.tail.position();
    fs::write(log.path("monday"), "one\ntwo\n").unwrap();
    fs::write(log.path("tuesday"), "three\n").unwrap();
    link(&log, "tuesday");
    log.reopen(&position);
    assert_eq!(log.polled(), ["two", "three"]);
}

#[derive(Clone, Debug)]
enum Step {
    /// Full lines, then the begin of one more if `torn`.
    Write {
        lines: u8,
        torn: bool,
    },
    Poll,
    /// By renaming; the writer goes on with the old file until `Reopen`.
    Rotate,
    Reopen,
    Restart,
    /// As `copytruncate` does, after everything was read.
    Cut,
}

fn steps(rotation: Step) -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        4 => (0_u8..5, any::<bool>()).prop_map(|(lines, torn)| Step::Write { lines, torn }),
        4 => Just(Step::Poll),
        2 => Just(rotation),
        2 => Just(Step::Reopen),
        1 => Just(Step::Restart),
    ];
    proptest::collection::vec(step, 0..60)
}

/// A writer with its own handle, and the lines that it has finished.
struct Writer {
    file: fs::File,
    rotations: u32,
    written: Vec<String>,
    torn: Option<String>,
    /// The path names another file than the one written to.
    is_behind: bool,
    wrote_since_reopen: bool,
    polls_behind: u32,
}

impl Writer {
    fn open(log: &Log) -> fs::File {
        fs::OpenOptions::new().append(true).create(true).open(log.path("app.log")).unwrap()
    }

    fn new(log: &Log) -> Self {
        let file = Self::open(log);
        Self {
            file,
            rotations: 0,
            written: Vec::new(),
            torn: None,
            is_behind: false,
            wrote_since_reopen: false,
            polls_behind: 0,
        }
    }

    fn write(&mut self, lines: u8, torn: bool) {
        for _ in 0..lines {
            let rest = format!("line {} of a log", self.written.len());
            let line = self.torn.take().unwrap_or_default() + &rest;
            writeln!(self.file, "{rest}").unwrap();
            self.written.push(line);
            self.wrote_since_reopen = true;
        }
        if torn && self.torn.is_none() {
            let text = format!("torn {} ", self.written.len());
            self.file.write_all(text.as_bytes()).unwrap();
            self.torn = Some(text);
        }
    }

    fn finish_line(&mut self) {
        if self.torn.is_some() {
            self.write(1, false);
        }
    }

    fn reopen(&mut self, log: &Log) {
        if std::mem::take(&mut self.is_behind) {
            self.finish_line();
            self.file = Self::open(log);
            self.wrote_since_reopen = false;
        }
    }

    fn rotate(&mut self, log: &Log) {
        if self.is_behind || !self.wrote_since_reopen {
            return;
        }
        self.rotations += 1;
        log.rename("app.log", &format!("app.log.{}", self.rotations));
        if self.rotations.is_multiple_of(2) {
            drop(Self::open(log)); // Some rotators make the new file, others leave it to the writer.
        }
        (self.is_behind, self.polls_behind) = (true, 0);
    }

    fn cut(&mut self, log: &mut Log) {
        self.finish_line();
        log.poll();
        fs::copy(log.path("app.log"), log.path("app.log.1")).unwrap();
        self.file.set_len(0).unwrap();
    }
}

fn run(steps: &[Step]) {
    let mut log = Log::new();
    let mut writer = Writer::new(&log);
    log.poll(); // What was rotated before the first look is history.
    for step in steps {
        match step {
            Step::Write { lines, torn } => writer.write(*lines, *torn),
            Step::Poll => {
                writer.polls_behind += 1;
                if writer.polls_behind >= QUIET_POLLS_MAX {
                    writer.reopen(&log); // Longer than that no file is waited for.
                }
                log.poll();
            }
            Step::Rotate => writer.rotate(&log),
            Step::Reopen => writer.reopen(&log),
            Step::Restart => {
                let position = log.tail.position();
                log.reopen(&position);
            }
            Step::Cut => writer.cut(&mut log),
        }
    }
    writer.reopen(&log);
    writer.finish_line();
    log.poll_times(QUIET_POLLS_MAX + 2);
    let mut count: BTreeMap<&str, i64> = BTreeMap::new();
    writer.written.iter().for_each(|line| *count.entry(line).or_default() += 1);
    log.lines.iter().for_each(|line| *count.entry(line).or_default() -= 1);
    count.retain(|_, difference| *difference != 0);
    assert!(count.is_empty(), "lost (positive) or doubled: {count:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_line_is_handed_over_once_over_renaming(steps in steps(Step::Rotate)) {
        run(&steps);
    }

    #[test]
    fn every_line_is_handed_over_once_over_cutting_what_was_read(steps in steps(Step::Cut)) {
        run(&steps);
    }
}

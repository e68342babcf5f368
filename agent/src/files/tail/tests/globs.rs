//! Logs whose path is a glob.

use super::*;
use std::collections::BTreeSet;

fn glob(pattern: &str) -> Log {
    let mut log = Log::new();
    log.tail = Tail::open(&log.path(pattern), Joining::Auto, None);
    log
}

fn append(log: &Log, name: &str, text: &str) {
    let mut file = fs::OpenOptions::new().append(true).create(true).open(log.path(name)).unwrap();
    file.write_all(text.as_bytes()).unwrap();
}

/// What was handed over, in an order that does not depend on the files'.
fn polled(log: &mut Log) -> Vec<String> {
    let mut lines = log.polled();
    lines.sort_unstable();
    lines
}

fn restart(log: &mut Log) {
    let position = log.tail.position();
    log.tail = Tail::open(&log.tail.path.clone(), Joining::Auto, Some(&position));
}

#[test]
fn files_that_match_are_one_log_and_new_ones_are_read_from_their_start() {
    let mut log = glob("*.log");
    append(&log, "a.log", "a1\n");
    append(&log, "b.log", "b1\n");
    append(&log, "b.log.gz", "packed\n");
    append(&log, "c.txt", "c1\n");
    assert_eq!(polled(&mut log), ["a1", "b1"]);
    append(&log, "a.log", "a2\n");
    append(&log, "d.log", "d1\n");
    assert_eq!((polled(&mut log), log.tail.followed()), (vec!["a2".to_owned(), "d1".to_owned()], 3));
    restart(&mut log);
    append(&log, "b.log", "b2\n");
    append(&log, "e.log", "e1\n");
    assert_eq!(polled(&mut log), ["b2", "e1"]);
    fs::remove_file(log.path("a.log")).unwrap();
    log.poll_times(QUIET_POLLS_MAX + 1);
    assert_eq!((log.lines.len(), log.tail.followed(), log.tail.files.len()), (0, 3, 3), "what is gone is forgotten");
}

#[test]
fn file_that_is_renamed_within_the_glob_or_beside_it_is_read_once() {
    let mut log = glob("app*.log");
    append(&log, "app.log", "1\n");
    assert_eq!(polled(&mut log), ["1"]);
    append(&log, "app.log", "2\n");
    log.rename("app.log", "app-1.log");
    append(&log, "app.log", "3\n");
    assert_eq!(polled(&mut log), ["2", "3"]);
    restart(&mut log);
    log.rename("app-1.log", "app-2.log");
    append(&log, "app.log", "4\n");
    log.rename("app.log", "app.log.1");
    append(&log, "app.log", "5\n");
    assert_eq!(polled(&mut log), ["4", "5"]);
    log.poll_times(3 * QUIET_POLLS_MAX);
    restart(&mut log);
    log.poll_times(3);
    assert_eq!(log.lines, [""; 0]);
}

#[test]
fn copy_that_matches_is_not_read_again() {
    let mut log = glob("app*");
    append(&log, "app.log", "1\n2\n");
    assert_eq!(polled(&mut log), ["1", "2"]);
    append(&log, "app.log", "3\n");
    fs::copy(log.path("app.log"), log.path("app.log.1")).unwrap();
    fs::OpenOptions::new().write(true).truncate(true).open(log.path("app.log")).unwrap();
    append(&log, "app.log", "4\n");
    assert_eq!(polled(&mut log), ["3", "4"]);
    restart(&mut log);
    append(&log, "app.log", "5\n");
    assert_eq!(polled(&mut log), ["5"]);
}

#[test]
fn file_that_is_renamed_to_a_name_that_matches_is_new() {
    let mut log = glob("done/*.log");
    fs::create_dir(log.path("done")).unwrap();
    append(&log, "done/first.log", "1\n");
    append(&log, "being-written", "2\n3\n");
    assert_eq!(polled(&mut log), ["1"]);
    append(&log, "done/first.log", "4\n");
    assert_eq!(polled(&mut log), ["4"]);
    log.rename("being-written", "done/second.log");
    assert_eq!(polled(&mut log), ["2", "3"]);
}

#[test]
fn more_files_than_are_followed_wait_until_others_are_quiet() {
    let mut log = glob("*.log");
    let name = |n: usize| format!("{n:03}.log");
    for n in 0..GLOB_FILES_MAX {
        append(&log, &name(n), &format!("{n}\n"));
    }
    assert_eq!(polled(&mut log).len(), GLOB_FILES_MAX);
    append(&log, &name(GLOB_FILES_MAX), "one more\n");
    assert_eq!(log.polled(), [""; 0]);
    assert_eq!((log.tail.followed(), log.tail.waiting()), (GLOB_FILES_MAX, 1));
    log.poll_times(GLOB_QUIET_POLLS + 1);
    assert_eq!(log.lines, ["one more"]);
    assert_eq!((log.tail.followed(), log.tail.waiting()), (GLOB_FILES_MAX, 0));
    log.lines.clear();
    append(&log, &name(0), "again\n");
    append(&log, &name(1), "again\n");
    log.poll_times(GLOB_QUIET_POLLS + 1);
    assert_eq!(log.lines, ["again", "again"], "one that made room goes on where it was");
}

#[test]
fn files_beyond_those_that_are_followed_are_read_from_their_end_at_the_first_look() {
    const COUNT: usize = GLOB_FILES_MAX + 6;
    let mut log = glob("*.log");
    let name = |n: usize| format!("{n:03}.log");
    for n in 0..COUNT {
        append(&log, &name(n), &format!("before {n}\n"));
    }
    assert_eq!((polled(&mut log).len(), log.tail.followed(), log.tail.waiting()), (GLOB_FILES_MAX, GLOB_FILES_MAX, 0));
    for n in 0..COUNT {
        append(&log, &name(n), &format!("after {n:03}\n"));
    }
    log.poll_times(GLOB_QUIET_POLLS + 2);
    log.lines.sort_unstable();
    let all: Vec<_> = (0..COUNT).map(|n| format!("after {n:03}")).collect();
    assert_eq!(log.lines, all);
}

#[test]
fn unfinished_line_of_a_file_that_makes_room_is_read_whole() {
    let mut log = glob("*.log");
    let name = |n: usize| format!("{n:03}.log");
    for n in 0..GLOB_FILES_MAX {
        append(&log, &name(n), &format!("{n:03} unfin"));
    }
    log.poll_times(GLOB_QUIET_POLLS + 1);
    append(&log, &name(GLOB_FILES_MAX), "one more\n");
    assert_eq!(polled(&mut log), ["one more"]);
    for n in 0..GLOB_FILES_MAX {
        append(&log, &name(n), "ished\n");
    }
    log.poll_times(GLOB_QUIET_POLLS + 2);
    log.lines.sort_unstable();
    let all: Vec<_> = (0..GLOB_FILES_MAX).map(|n| format!("{n:03} unfinished")).collect();
    assert_eq!(log.lines, all);
}

#[test]
fn busy_file_does_not_starve_the_others() {
    let mut log = glob("*.log");
    append(&log, "a.log", "");
    append(&log, "b.log", "");
    log.poll();
    append(&log, "a.log", &format!("{}\n", "a".repeat(1_023)).repeat(4_000));
    append(&log, "b.log", "b\n");
    let polled = log.poll();
    assert!(polled.more && log.lines.iter().any(|line| line == "b"), "{polled:?}");
    while log.poll().more {}
    assert_eq!(log.lines.len(), 4_001);
}

#[derive(Clone, Debug)]
enum Step {
    /// Lines to one of three services' files.
    Write(u8, u8),
    Poll,
    /// `NAME-1.log` to `NAME-2.log` and so on, as a service does that rotates its own log.
    Shift(u8),
    CopyTruncate(u8),
    Settle,
    Crash,
}

fn step() -> impl Strategy<Value = Step> {
    let service = || 0..3_u8;
    prop_oneof![
        6 => (service(), 1..4_u8).prop_map(|(of, lines)| Step::Write(of, lines)),
        5 => Just(Step::Poll),
        2 => service().prop_map(Step::Shift),
        1 => service().prop_map(Step::CopyTruncate),
        3 => Just(Step::Settle),
        1 => Just(Step::Crash),
    ]
}

fn run(steps: &[Step]) {
    let mut log = glob("*.log");
    (0..3).for_each(|of| append(&log, &format!("{of}.log"), ""));
    log.poll();
    let (mut position, mut written, mut counted) = (log.tail.position(), 0_u32, Vec::new());
    let shift = |log: &Log, of: u8| {
        for n in (1..40).rev().filter(|n| log.path(&format!("{of}-{n}.log")).exists()) {
            log.rename(&format!("{of}-{n}.log"), &format!("{of}-{}.log", n + 1));
        }
    };
    for step in steps {
        match step {
            Step::Write(of, lines) => {
                for _ in 0..*lines {
                    append(&log, &format!("{of}.log"), &format!("line {written}\n"));
                    written += 1;
                }
            }
            Step::Poll => drop(log.poll()),
            Step::Shift(of) => {
                shift(&log, *of);
                log.rename(&format!("{of}.log"), &format!("{of}-1.log"));
                append(&log, &format!("{of}.log"), "");
            }
            Step::CopyTruncate(of) => {
                shift(&log, *of);
                let path = log.path(&format!("{of}.log"));
                fs::copy(&path, log.path(&format!("{of}-1.log"))).unwrap();
                fs::OpenOptions::new().write(true).truncate(true).open(path).unwrap();
            }
            Step::Settle => {
                counted.append(&mut log.lines);
                position = log.tail.position();
            }
            Step::Crash => {
                log.lines.clear();
                log.tail = Tail::open(&log.tail.path.clone(), Joining::Auto, Some(&position));
            }
        }
    }
    log.poll_times(3 * QUIET_POLLS_MAX);
    counted.append(&mut log.lines);
    let distinct: BTreeSet<_> = counted.iter().collect();
    let missing: Vec<_> = (0..written).filter(|n| !distinct.contains(&format!("line {n}"))).collect();
    assert_eq!((counted.len(), missing), (distinct.len(), Vec::new()), "nothing twice, nothing lost: {counted:?}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(256))]

    #[test]
    fn every_line_of_every_file_is_counted_once(steps in proptest::collection::vec(step(), 0..50)) {
        run(&steps);
    }
}

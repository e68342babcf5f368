//! Lines that belong together.

use super::*;

#[test]
fn lines_that_belong_together_are_handed_over_together() {
    let mut log = Log::new();
    log.append("start\nError: x\n\tat a\n\tat b\n");
    assert_eq!(log.polled(), ["start"], "more of the event may come");
    log.append("\tat c\nnext\n");
    assert_eq!(log.polled(), ["Error: x\n\tat a\n\tat b\n\tat c", "next"]);
    log.append("config {\n");
    assert_eq!(log.polled(), [""; 0], "it announces more");
    assert_eq!(log.polled(), ["config {"], "nothing came");
    assert_eq!((log.tail.counts().lines, log.tail.counts().lines_joined), (4, 3));
}

#[test]
fn event_that_was_not_handed_over_is_whole_after_a_restart() {
    let mut log = Log::new();
    log.append("one\nError: x\n\tat a\n");
    assert_eq!(log.polled(), ["one"]);
    let position = log.tail.position();
    log.append("\tat b\nlast\n");
    log.reopen(&position);
    assert_eq!(log.polled(), ["Error: x\n\tat a\n\tat b", "last"]);
}

#[test]
fn endless_event_is_handed_over_in_bounded_parts() {
    let mut log = Log::new();
    log.append(&format!("Error: x\n{}", "\tat somewhere\n".repeat(EVENT_LINES_MAX as usize * 2)));
    log.poll_times(2);
    let lengths: Vec<_> = log.lines.iter().map(|event| event.lines().count()).collect();
    assert!(lengths.len() >= 3 && lengths.iter().all(|lines| *lines <= EVENT_LINES_MAX as usize), "{lengths:?}");
    let counts = log.tail.counts();
    assert_eq!(counts.lines + counts.lines_joined, u64::from(EVENT_LINES_MAX) * 2 + 1);
    let long = format!("Error: y\n\t{}\n\t{}\nnext\n", "a".repeat(EVENT_BYTES_MAX - 100), "b".repeat(200));
    log.lines.clear();
    log.append(&long);
    log.poll();
    assert!(log.lines[0].len() <= EVENT_BYTES_MAX && log.tail.counts().lines_cut == 1, "{}", log.lines[0].len());
    let mut trickle = Log::new();
    trickle.append("Error: z\n");
    for _ in 0..EVENT_POLLS_MAX * 3 {
        trickle.append("\tat somewhere\n");
        trickle.poll();
    }
    assert!(trickle.lines.len() >= 2, "it does not wait for ever: {:?}", trickle.lines);
}

#[test]
fn logs_own_pattern_says_where_an_event_begins() {
    let mut log = Log::new();
    log.tail = Tail::open(&log.path("app.log"), Joining::From(regex::bytes::Regex::new(r"^\d").unwrap()), None);
    log.append("1 one\nmore\n\nmore\n2 two\n");
    log.poll_times(2);
    assert_eq!(log.lines, ["1 one\nmore\n\nmore", "2 two"]);
    let mut lines = Log::new();
    lines.tail = Tail::open(&lines.path("app.log"), Joining::Off, None);
    lines.append("Error: x\n\tat a\n");
    assert_eq!(lines.polled(), ["Error: x", "\tat a"]);
}

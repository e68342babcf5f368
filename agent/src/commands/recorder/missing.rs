//! Why samples are missing: an agent that does not tell what it has, and a disk that did not take what it was given.

use super::{Failure, Told, Wanted, time};
use crate::local::{self, Question};
use crate::recorder::DiskView;
use std::io;
use std::path::Path;

const RESTART: &str = "it runs another version; restart it: `systemctl restart vedette-agent`";

/// What a running agent has in memory alone; `None` if none runs, for then the disk has all there is.
///
/// # Errors
///
/// 77 if the socket is closed to this user, 69 if the agent does not answer, or is of another version.
pub(super) fn ask(socket: &Path, wanted: Wanted) -> Result<Option<Told>, Failure> {
    let text = |why: &dyn std::fmt::Display| {
        format!("what the running agent has in memory alone is missing: {}: {why}", socket.display())
    };
    let told = match local::ask(socket, &Question::Recorder(wanted)) {
        Ok(told) if told.is_empty() => return Err(Failure::unavailable(text(&"it ended without an answer"))),
        Ok(told) => told,
        Err(error) => {
            return match error.kind() {
                io::ErrorKind::NotFound | io::ErrorKind::ConnectionRefused => Ok(None),
                io::ErrorKind::PermissionDenied => {
                    Err(Failure::denied(format!("{}\nask as root, or as a user of the agent's group", text(&error))))
                }
                _ => Err(Failure::unavailable(text(&error))),
            };
        }
    };
    let of_another = |error| {
        let why = format!("not an answer of this version: {error}");
        Failure::unavailable(format!("{}\n{RESTART}", text(&why)))
    };
    serde_json::from_str(&told).map(Some).map_err(of_another)
}

/// What an agent did not tell though it was asked for it.
pub(super) fn untold(told: &Told, wanted: &Wanted, socket: &Path) -> Option<Failure> {
    let lines = wanted.lines && told.lines.is_none();
    let why = || format!("log lines that {} has in memory alone are missing\n{RESTART}", socket.display());
    lines.then(|| Failure::unavailable(why()))
}

/// What the disk did not take of the samples between two times, in milliseconds since the Unix epoch.
pub(super) fn reasons(disk: &DiskView, (begin_ms, end_ms): (i64, i64)) -> Vec<String> {
    let mut reasons = Vec::new();
    let refused = disk.refused.as_ref();
    let within = |(first, last): &(i64, i64)| *first <= end_ms && *last >= begin_ms;
    if let Some((first, last)) = disk.gone_ms.filter(within) {
        let (first, last) = (time(first), time(last));
        reasons.push(format!(
            "{first} to {last}: of that, some was written to a folder, or files, that are not there any more"
        ));
    }
    if let Some((first, last)) = disk.forgotten_ms.filter(within) {
        let why = refused.filter(|refused| refused.since_ms <= last).map(|refused| format!(" ({})", refused.why));
        let (first, last, why) = (time(first), time(last), why.unwrap_or_default());
        let all = disk.blocks_forgotten;
        reasons.push(format!(
            "{first} to {last}: the disk did not take it{why} for so long that memory forgot it; {all} blocks are lost so \
             since the agent's start"
        ));
    }
    match refused {
        Some(refused) if refused.goes_on && refused.since_ms <= end_ms => {
            let (since, why, waiting) = (time(refused.since_ms), &refused.why, disk.blocks_waiting);
            reasons.push(format!(
                "the disk has refused what is recorded since {since}: {why}; {waiting} blocks wait in memory"
            ));
        }
        Some(refused) if refused.goes_on => {}
        _ => reasons.extend(disk.last_error.as_ref().map(|error| format!("the disk makes trouble: {error}"))),
    }
    if disk.blocks_too_large > 0 {
        reasons.push(format!("{} blocks were larger than a record may be, and are lost", disk.blocks_too_large));
    }
    reasons
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::recorder::Refused;
    use std::io::{BufRead, BufReader, Write};
    use std::os::unix::net::UnixListener;

    const MINUTE_MS: i64 = 60_000;
    const ALL: (i64, i64) = (i64::MIN, i64::MAX);

    /// What the command makes of an agent that answers so.
    fn asked(answer: &str) -> Result<Option<Told>, Failure> {
        let folder = tempfile::tempdir().expect("temporary folder");
        let socket = folder.path().join("agent.sock");
        let (listener, answer) = (UnixListener::bind(&socket).expect("bind"), answer.to_owned());
        let agent = std::thread::spawn(move || {
            let (mut stream, _) = listener.accept().expect("somebody asks");
            BufReader::new(&stream).read_line(&mut String::new()).expect("a question");
            stream.write_all(answer.as_bytes()).expect("written");
        });
        let told = ask(&socket, Wanted { begin_ms: 1, ..Wanted::ALL });
        agent.join().expect("no panic");
        told
    }

    #[test]
    fn without_an_agent_the_disk_has_all_and_one_of_another_version_is_to_be_restarted() {
        let nobody = ask(Path::new("/nowhere/agent.sock"), Wanted::ALL).expect("no agent, no memory");
        assert_eq!(nobody, None);
        let folder = tempfile::tempdir().expect("temporary folder");
        let dead = folder.path().join("agent.sock");
        drop(UnixListener::bind(&dead).expect("left behind"));
        assert_eq!(ask(&dead, Wanted::ALL).expect("no agent, no memory"), None);

        let knows_no_such_question = r#"{"error":"unknown question; this agent answers `v1 status`, `v1 recorder`"}"#;
        let answers_as_before = r#"[{"meta":["load","1","Gauge",[],0.01],"points":[[1,2.0]]}]"#;
        for (answer, remedy) in [(knows_no_such_question, true), (answers_as_before, true), ("[]", true), ("", false)] {
            let failure = asked(answer).expect_err("it is not told as nothing");
            assert_eq!(failure.code, 69);
            let told = failure.text;
            assert!(told.contains("in memory alone is missing") && told.contains("restart it") == remedy, "{told}");
        }
        let before = asked(r#"{"series":[],"left_out":3}"#).expect("told").expect("an agent");
        assert_eq!(before.left_out, 3);
        let untold = |wanted: Wanted| untold(&before, &wanted, &dead).map(|failure| failure.text);
        assert!(untold(Wanted::ALL).is_some_and(|text| text.contains("log lines") && text.contains("restart it")));
        assert_eq!(untold(Wanted { lines: false, ..Wanted::ALL }), None);
    }

    #[test]
    fn a_hole_has_its_reason_and_time_while_the_disk_is_full_and_once_it_is_not() {
        let full = |goes_on| Some(Refused { since_ms: 10 * MINUTE_MS, goes_on, why: "no space".to_owned() });
        assert_eq!(reasons(&DiskView::default(), ALL), [""; 0]);
        let waits = DiskView { refused: full(true), blocks_waiting: 9, ..DiskView::default() };
        let told = reasons(&waits, ALL);
        assert_eq!(
            told,
            ["the disk has refused what is recorded since 1970-01-01T00:10:00.000Z: no space; 9 blocks wait in memory"]
        );
        assert_eq!(reasons(&waits, (0, 5 * MINUTE_MS)), [""; 0], "before that it took all");

        let hole = DiskView {
            refused: full(false),
            forgotten_ms: Some((10 * MINUTE_MS, 29 * MINUTE_MS)),
            blocks_forgotten: 20,
            ..DiskView::default()
        };
        let told = reasons(&hole, (15 * MINUTE_MS, i64::MAX)).join("\n");
        assert!(
            told.starts_with("1970-01-01T00:10:00.000Z to 1970-01-01T00:29:00.000Z: ") && told.contains("(no space)"),
            "{told}"
        );
        assert!(told.contains("20 blocks are lost"), "{told}");
        assert_eq!(reasons(&hole, (30 * MINUTE_MS, i64::MAX)), [""; 0]);

        let gone = DiskView { gone_ms: Some((10 * MINUTE_MS, 29 * MINUTE_MS)), ..DiskView::default() };
        assert!(reasons(&gone, ALL).join("").contains("a folder, or files, that are not there any more"));
        assert_eq!(reasons(&gone, (30 * MINUTE_MS, i64::MAX)), [""; 0]);

        let unusable = DiskView { last_error: Some("no folder".to_owned()), ..DiskView::default() };
        assert_eq!(reasons(&unusable, ALL), ["the disk makes trouble: no folder"]);
    }
}

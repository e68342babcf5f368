//! Asking the running agent.

use super::{ANSWER_BYTES_MAX, Line, Question};
use std::io::{self, BufRead, BufReader, Read, Write};
use std::ops::ControlFlow;
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::{Duration, Instant};

/// Longest wait for the agent to take the question, and for each part of its answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Longest line of what is followed.
const LINE_BYTES_MAX: u64 = 256 << 10;

/// Asks the agent behind `path` and returns its whole answer.
///
/// # Errors
///
/// Of the connection, [`io::ErrorKind::TimedOut`], and [`io::ErrorKind::Unsupported`] with the agent's words if it does
/// not know the question.
pub fn ask(path: &Path, question: &Question) -> io::Result<String> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{question}\n").as_bytes())?;
    let mut answer = String::new();
    stream.take(ANSWER_BYTES_MAX).read_to_string(&mut answer)?;
    match refusal(&answer) {
        Some(why) => Err(io::Error::new(io::ErrorKind::Unsupported, why)),
        None => Ok(answer),
    }
}

/// Why following ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// Who follows has had enough, or its time is over.
    Over,
    /// The agent has ended.
    Ended,
}

/// Follows what the agent behind `path` sees of `globs` and hands on each line of JSON, until `on` breaks or `until` has come.
///
/// # Errors
///
/// As [`ask`]; [`io::ErrorKind::InvalidData`] for what is no line.
pub fn follow(
    path: &Path,
    globs: &[String],
    until: Option<Instant>,
    on: &mut dyn FnMut(&str) -> ControlFlow<()>,
) -> io::Result<Followed> {
    let mut stream = UnixStream::connect(path)?;
    stream.set_write_timeout(Some(PATIENCE))?;
    stream.write_all(format!("{}\n", Line::tap(globs)).as_bytes())?;
    let (mut lines, mut line) = (BufReader::new(stream), Vec::new());
    loop {
        let left = until.map(|until| until.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            return Ok(Followed::Over);
        }
        lines.get_ref().set_read_timeout(left)?;
        let room = LINE_BYTES_MAX.saturating_sub(line.len() as u64);
        match lines.by_ref().take(room).read_until(b'\n', &mut line) {
            Ok(_) if line.ends_with(b"\n") => {
                let text = String::from_utf8_lossy(&line);
                if let Some(why) = refusal(&text) {
                    return Err(io::Error::new(io::ErrorKind::Unsupported, why));
                }
                if on(text.trim_end()).is_break() {
                    return Ok(Followed::Over);
                }
                line.clear();
            }
            Ok(0) if room > 0 => return Ok(Followed::Ended),
            Ok(_) if room > 0 => {}
            Ok(_) => return Err(io::Error::new(io::ErrorKind::InvalidData, "a line is too long")),
            Err(error) if matches!(error.kind(), io::ErrorKind::WouldBlock | io::ErrorKind::TimedOut) => {}
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            Err(error) => return Err(error),
        }
    }
}

/// The agent's words if it did not answer.
fn refusal(answer: &str) -> Option<String> {
    let told = answer.strip_prefix(r#"{"error":"#).and(serde_json::from_str::<serde_json::Value>(answer).ok())?;
    let told = told["error"].as_str().unwrap_or_default();
    let another_version =
        if told.starts_with("unknown question") { ": it runs another version; restart it" } else { "" };
    Some(format!("{told}{another_version}"))
}

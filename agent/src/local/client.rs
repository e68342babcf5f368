//! Asking the running agent.

use super::{ANSWER_BYTES_MAX, Question};
use std::io::{self, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::time::Duration;

/// Longest wait for the agent to take the question, and for each part of its answer.
const PATIENCE: Duration = Duration::from_secs(4);

/// Asks the agent behind `path` and returns its whole answer.
///
/// # Errors
///
/// Of the connection, [`io::ErrorKind::TimedOut`], and [`io::ErrorKind::Unsupported`] with the agent's words if it does
/// not know the question.
pub fn ask(path: &Path, question: Question) -> io::Result<String> {
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

/// The agent's words if it did not answer.
fn refusal(answer: &str) -> Option<String> {
    let told = answer.strip_prefix(r#"{"error":"#).and(serde_json::from_str::<serde_json::Value>(answer).ok())?;
    Some(format!("{}: it runs another version; restart it", told["error"].as_str().unwrap_or_default()))
}

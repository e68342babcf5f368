//! `status`: asks the running agent.

use super::socket::Socket;
use super::{Failure, print};
use crate::args::{Output, StatusArguments};
use crate::status::{Status, render};

pub(super) fn run(arguments: &StatusArguments) -> Result<(), Failure> {
    let socket = Socket::find(&arguments.agent)?;
    let reply = socket.ask()?;
    let status: Status = serde_json::from_str(&reply)
        .map_err(|error| Failure::unavailable(format!("{socket}: not an answer of this version: {error}")))?;
    match arguments.output {
        Output::Human => print(&without_controls(&render(&status)))?,
        Output::Json => print(&reply)?,
    }
    // The answer says what is wrong.
    if status.healthy { Ok(()) } else { Err(Failure::failed("")) }
}

/// Names of files and hosts come from elsewhere: none may speak to the terminal.
fn without_controls(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_speaks_to_the_terminal() {
        assert_eq!(without_controls("log \x1b[2J/x\u{9b}1m\r: 1\n"), "log \u{fffd}[2J/x\u{fffd}1m\u{fffd}: 1\n");
    }
}

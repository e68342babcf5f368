//! `status`: asks the running agent.

use super::{Failure, print};
use crate::args::{Output, StatusArguments};
use crate::status::{Status, render, server};
use std::io;
use std::path::Path;

pub(super) fn run(arguments: &StatusArguments) -> Result<(), Failure> {
    let reply = server::ask(&arguments.socket).map_err(|error| unreachable(&arguments.socket, &error))?;
    let status: Status = serde_json::from_str(&reply).map_err(|error| {
        Failure::unavailable(format!("{}: not an answer of this version: {error}", arguments.socket.display()))
    })?;
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

fn unreachable(socket: &Path, error: &io::Error) -> Failure {
    let text = format!("no agent answers on {}: {error}", socket.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied => Failure::denied(text),
        _ => Failure::unavailable(format!("{text}\nis it running? `systemctl status vedette-agent`")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_speaks_to_the_terminal() {
        assert_eq!(without_controls("log \x1b[2J/x\u{9b}1m\r: 1\n"), "log \u{fffd}[2J/x\u{fffd}1m\u{fffd}: 1\n");
    }
}

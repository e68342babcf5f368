//! `status`: asks the running agent.

use super::socket::Socket;
use super::{Failure, print, without_controls};
use crate::args::{Output, StatusArguments};
use crate::local::Question;
use crate::status::{Status, render};

pub(super) fn run(arguments: &StatusArguments) -> Result<(), Failure> {
    let socket = Socket::find(&arguments.agent)?;
    let reply = socket.ask(Question::Status)?;
    let status: Status = socket.read(&reply)?;
    match arguments.output {
        Output::Human => print(&without_controls(&render(&status)))?,
        Output::Json => print(&reply)?,
    }
    // The answer says what is wrong.
    if status.healthy { Ok(()) } else { Err(Failure::failed("")) }
}

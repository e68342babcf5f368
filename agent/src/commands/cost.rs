//! `cost`: what the running agent has spent, and on whom.

use super::socket::Socket;
use super::{Failure, print, without_controls};
use crate::args::{Output, StatusArguments};
use crate::cost::{Bill, render};
use crate::local::Question;

pub(super) fn run(arguments: &StatusArguments) -> Result<(), Failure> {
    let socket = Socket::find(&arguments.agent)?;
    let reply = socket.ask(Question::Cost)?;
    let bill: Bill = socket.read(&reply)?;
    match arguments.output {
        Output::Human => print(&without_controls(&render(&bill))),
        Output::Json => print(&reply),
    }
}

//! `metrics`: the running agent's own metrics as OpenMetrics text.

use super::socket::Socket;
use super::{Failure, print};
use crate::args::SocketArguments;
use crate::local::Question;

pub(super) fn run(arguments: &SocketArguments) -> Result<(), Failure> {
    print(&Socket::find(arguments)?.ask(Question::Metrics)?)
}

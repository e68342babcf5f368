//! `print-config`: what is in effect, or what there is.

use super::{Failure, load_config, print};
use crate::args::PrintConfigArguments;
use crate::config::reference_text;

pub(super) fn run(arguments: &PrintConfigArguments) -> Result<(), Failure> {
    if arguments.reference {
        return print(&reference_text());
    }
    print(&load_config(&arguments.config)?.to_toml())
}

//! `vedette-agent`: see [`vedette_agent`].

use std::process::ExitCode;

fn main() -> ExitCode {
    vedette_agent::commands::main()
}

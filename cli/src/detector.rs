//! `vedette detector`: an author's way from source to a signed pair, and the proof that a module is reproducible.

mod build;
mod inspect;
mod keys;
mod native;
mod replay;
mod runner;
mod sign;
mod toolchain;
mod window;

use crate::output::Output;
use std::process::ExitCode;

/// Commands of `detector`.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Makes an author's key; prints the public key that agents must trust.
    Keygen(keys::Args),
    /// Builds a crate to a WebAssembly component.
    Build(build::Args),
    /// Compiles a component ahead of time and signs the pair.
    Sign(sign::Args),
    /// Shows what a signed pair is and verifies it.
    Inspect(inspect::Args),
    /// Runs one window several ways and compares the scores bit for bit; exit code 1 if they differ.
    Replay(replay::Args),
    /// A confined worker on standard input and output.
    #[command(name = runner::WORKER_COMMAND, hide = true)]
    Worker,
}

/// Runs one of the commands.
pub(crate) fn run(command: Command, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::Keygen(args) => keys::run(&args, output),
        Command::Build(args) => build::run(&args, output),
        Command::Sign(args) => sign::run(&args, output),
        Command::Inspect(args) => inspect::run(&args, output),
        Command::Replay(args) => replay::run(&args, output),
        Command::Worker => vedette_detector_host::worker::main(),
    }
}

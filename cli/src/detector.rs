//! `vedette detector`: an author's way from source to a signed pair, and the proof that a module is reproducible.

mod bench;
mod build;
mod check;
mod eval;
mod inspect;
mod keys;
mod module;
mod native;
mod new;
mod plot;
mod replay;
mod run;
mod runner;
mod sign;
mod svg;
mod toolchain;
mod window;

use crate::output::Output;
use std::process::ExitCode;
use vedette_detector_host::engine::Execution;

/// Commands of `detector`.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Writes a complete, working detector to change, in Rust or C.
    New(Told<new::Args>),
    /// Makes an author's key; prints the public key that agents must trust.
    Keygen(Told<keys::Args>),
    /// Builds a folder of Rust or C to a WebAssembly component.
    Build(Told<build::Args>),
    /// Tries everything that a detector must stand; exit code 1 if something does not hold.
    Check(Told<check::Args>),
    /// Judges a CSV file: scores, the highest of them explained, pictures.
    Run(run::Args),
    /// Measures time, memory and state by the number of series.
    Bench(Told<bench::Args>),
    /// Scores public data with the signed detectors through the agent's own judge, and measures the scores.
    Eval(Told<eval::Args>),
    /// Compiles a component ahead of time and signs the pair.
    Sign(Told<sign::Args>),
    /// Shows what a signed pair is and verifies it.
    Inspect(Told<inspect::Args>),
    /// Runs one window several ways and compares the scores bit for bit; exit code 1 if they differ.
    Replay(Told<replay::Args>),
    /// A confined worker on standard input and output.
    #[command(name = runner::WORKER_COMMAND, hide = true)]
    Worker {
        /// `native` or `pulley`.
        #[arg(value_parser = |name: &str| Execution::named(name).ok_or("no such execution"))]
        execution: Execution,
    },
}

/// A command's arguments and how to tell its answer.
#[derive(clap::Args)]
pub(crate) struct Told<A: clap::Args> {
    #[command(flatten)]
    args: A,
    /// How to print the answer.
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

/// Runs one of the commands.
pub(crate) fn run(command: Command) -> anyhow::Result<ExitCode> {
    match command {
        Command::New(told) => new::run(&told.args, told.output),
        Command::Keygen(told) => keys::run(&told.args, told.output),
        Command::Build(told) => build::run(&told.args, told.output),
        Command::Check(told) => check::run(&told.args, told.output),
        Command::Run(args) => run::run(&args),
        Command::Bench(told) => bench::run(&told.args, told.output),
        Command::Eval(told) => eval::run(&told.args, told.output),
        Command::Sign(told) => sign::run(&told.args, told.output),
        Command::Inspect(told) => inspect::run(&told.args, told.output),
        Command::Replay(told) => replay::run(&told.args, told.output),
        Command::Worker { execution } => vedette_detector_host::worker::main_executing(execution),
    }
}

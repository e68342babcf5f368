//! `vedette`: asks a collector about incidents and the fleet, signs and applies policy, builds and proves detectors.
//!
//! Exit codes: 0 fine, 1 failure, 2 usage, 69 collector unreachable, 77 not authorised, 78 a bad file.

mod ca;
mod client;
mod detector;
mod failure;
mod fleet;
mod incidents;
mod output;
mod policy;
mod secret;

use clap::{Parser, Subcommand};
use client::{Client, ClientArgs};
use output::Output;
use std::process::ExitCode;

const EXAMPLES: &str = "Examples:
  vedette incidents list --state open
  vedette incidents show inc-20261120-7f3a9c2e41
  vedette fleet token --uses 1 --ttl 1h
  vedette policy keygen --out targets.key
  vedette policy apply policy.toml --key targets.key
  vedette detector replay --pair target/detectors/level

Every command that asks the collector needs its API token: --token-file or VEDETTE_TOKEN_FILE.";

/// Vedette's command line for operators and detector authors.
#[derive(Parser)]
#[command(name = "vedette", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Incidents: what is wrong, since when, and why these findings are together.
    Incidents(Asking<incidents::Command>),
    /// Agents: who is connected and what is in effect there.
    Fleet(Asking<fleet::Command>),
    /// Policy: what agents may do, signed by people.
    Policy(Asking<policy::Command>),
    /// Detectors: from an empty folder to a checked, measured, signed one. Asks no collector.
    #[command(subcommand)]
    Detector(detector::Command),
    /// The collector's certificate authority, as agents need it to enrol.
    Ca {
        #[command(flatten)]
        how: How,
        #[command(flatten)]
        args: ca::Args,
    },
}

/// Commands that ask the collector.
#[derive(clap::Args)]
struct Asking<C: Subcommand> {
    #[command(flatten)]
    how: How,
    #[command(subcommand)]
    command: C,
}

/// Whom to ask and how to tell the answer.
#[derive(clap::Args)]
struct How {
    #[command(flatten)]
    client: ClientArgs,
    /// How to print the answer.
    #[arg(long, global = true, value_enum, default_value_t = Output::Human)]
    output: Output,
}

fn main() -> ExitCode {
    let arguments = Arguments::parse();
    match run(arguments) {
        Ok(code) => code,
        Err(error) => failure::report(&error),
    }
}

fn run(arguments: Arguments) -> anyhow::Result<ExitCode> {
    let client = |how: &How| Client::new(&how.client);
    match arguments.command {
        Command::Incidents(Asking { how, command }) => incidents::run(command, &client(&how)?, how.output),
        Command::Fleet(Asking { how, command }) => fleet::run(command, &client(&how)?, how.output),
        Command::Policy(Asking { how, command }) => policy::run(command, || client(&how), how.output),
        Command::Detector(command) => detector::run(command),
        Command::Ca { how, args } => ca::run(&args, &client(&how)?, how.output),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory as _;

    #[test]
    fn every_command_that_asks_the_collector_has_an_example() {
        fn check(command: &clap::Command, path: &str) {
            let path = format!("{path} {}", command.get_name());
            let mut inner = command.get_subcommands().filter(|command| !command.is_hide_set()).peekable();
            if inner.peek().is_none() {
                let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
                assert!(help.contains(path.trim()), "`{path} --help` has no example of itself: {help:?}");
            }
            inner.for_each(|command| check(command, &path));
        }
        let arguments = Arguments::command();
        let ours = arguments.get_subcommands().filter(|command| command.get_name() != "detector");
        ours.for_each(|command| check(command, "vedette"));
    }
}

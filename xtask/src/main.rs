//! One door for developers: `cargo xtask demo | test | check | plugins | hostile | eval | bench | dist`.
//!
//! Uses the operating system and the product's public commands only; depends on no crate of the product.

mod bench;
mod build;
mod check;
mod demo;
mod dist;
mod eval;
mod hostile;
mod install;
mod measure;
mod plugins;
mod prerequisites;
mod process;
mod progress;
mod test;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Developer tasks of Vedette.
#[derive(Parser)]
#[command(name = "cargo xtask", version)]
struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs the main job end to end on this host: agent, collector, a real disturbance, an incident.
    Demo(demo::DemoArgs),
    /// Runs everything that must hold: formatting, lints, tests, hostile guests, one demo.
    Test(test::TestArgs),
    /// Formatting, lints, licences and advisories only.
    Check,
    /// Builds, compiles and signs the bundled detectors into target/detectors.
    Plugins,
    /// Points a real agent at detectors that misbehave and prints what became of each.
    Hostile(hostile::HostileArgs),
    /// Scores public data with the bundled detectors: all suites, tables, summaries and plots.
    Eval(eval::EvalArgs),
    /// Measures beside peers and fails above the promised bar.
    Bench(bench::BenchArgs),
    /// Builds the agent's Debian package into target/dist.
    Dist,
    /// A disturbance of the demo in a process of its own; ends when its standard input closes.
    #[command(hide = true)]
    Disturb(demo::disturbance::DisturbArgs),
}

fn main() -> ExitCode {
    let outcome = match Args::parse().command {
        Command::Demo(args) => demo::run(&args),
        Command::Test(args) => test::run(&args),
        Command::Check => check::run(),
        Command::Plugins => plugins::run().map(drop),
        Command::Hostile(args) => hostile::run(&args),
        Command::Eval(args) => eval::run(&args),
        Command::Bench(args) => bench::run(&args),
        Command::Dist => dist::run(),
        Command::Disturb(args) => demo::disturbance::run_child(&args),
    };
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error:#}");
            ExitCode::FAILURE
        }
    }
}

//! `vedette-collector`: takes in what agents ship and makes few explained incidents of it.
//!
//! Exit codes: 0 fine, 1 runtime failure, 2 usage, 78 bad configuration.

use clap::{Parser, Subcommand};
use std::path::PathBuf;
use std::process::ExitCode;
use vedette_collector::config::{Config, REFERENCE};
use vedette_collector::shell;
use vedette_protocol::document::Problem;

const EX_CONFIG: u8 = 78;
/// Two cores are the smallest machine that is promised; the writer has a thread of its own.
const WORKER_THREADS: usize = 2;

const EXAMPLES: &str = "Examples:
  vedette-collector check --config /etc/vedette/collector.toml
  vedette-collector run --config /etc/vedette/collector.toml
  vedette-collector print-config > collector.toml

VEDETTE_LOG sets what is logged, for example `debug` or `vedette_collector=debug,info`.";

/// Collects findings of a fleet and makes incidents of them.
#[derive(Parser)]
#[command(name = "vedette-collector", version, after_help = EXAMPLES)]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Runs until SIGTERM.
    Run {
        /// Configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Checks the configuration and the topology whole and tells all problems.
    Check {
        /// Configuration file.
        #[arg(long, value_name = "FILE")]
        config: PathBuf,
    },
    /// Prints every setting with its default and its meaning.
    PrintConfig,
}

fn main() -> ExitCode {
    match Arguments::parse().command {
        Command::Run { config } => match Config::load(&config) {
            Ok((config, topology)) => run(config, topology),
            Err(problems) => bad_config(&problems),
        },
        Command::Check { config } => match Config::load(&config) {
            Ok((config, topology)) => {
                let services = topology.services.len();
                println!("fine: {services} service(s), {} policy key(s)", config.policy_keys.len());
                ExitCode::SUCCESS
            }
            Err(problems) => bad_config(&problems),
        },
        Command::PrintConfig => {
            print!("{REFERENCE}");
            ExitCode::SUCCESS
        }
    }
}

fn run(config: Config, topology: vedette_collector::topology::Topology) -> ExitCode {
    let filter = tracing_subscriber::EnvFilter::try_from_env("VEDETTE_LOG").unwrap_or_else(|_| "info".into());
    tracing_subscriber::fmt().with_env_filter(filter).with_writer(std::io::stderr).init();
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(WORKER_THREADS).enable_all().build();
    let outcome =
        runtime.map_err(anyhow::Error::from).and_then(|runtime| runtime.block_on(shell::run(config, topology)));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("vedette-collector: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn bad_config(problems: &[Problem]) -> ExitCode {
    problems.iter().for_each(|problem| eprintln!("{problem}"));
    eprintln!("vedette-collector: {} problem(s)", problems.len());
    ExitCode::from(EX_CONFIG)
}

//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use vedette_detector_host::engine::Execution;

/// Where the configuration is unless said otherwise.
pub const CONFIG_PATH: &str = "/etc/vedette/agent.toml";

/// Vedette's agent: watches this host and tells the collector what departs from the usual.
#[derive(Debug, Parser)]
#[command(name = "vedette-agent", version, after_help = EXAMPLES)]
pub struct Arguments {
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

const EXAMPLES: &str = "\
Examples:
  vedette-agent check --config /etc/vedette/agent.toml
  vedette-agent enroll --collector-ca ca.pem --token-file token
  vedette-agent run
  vedette-agent status

Exit codes: 0 fine, 1 failed or not healthy, 2 usage, 69 agent or collector not reachable,
            77 no permission, 78 bad configuration.";

/// Subcommands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// Watch this host until SIGTERM, then hand over what is left and exit.
    #[command(after_help = "Examples:\n  vedette-agent run\n  vedette-agent run --config agent.toml")]
    Run(ConfigArguments),
    /// Check the configuration and tell all problems at once (exit code 78).
    #[command(after_help = "Examples:\n  vedette-agent check --config agent.toml")]
    Check(ConfigArguments),
    /// Print the configuration in effect, or every setting with its explanation.
    #[command(
        after_help = "Examples:\n  vedette-agent print-config\n  vedette-agent print-config --reference > agent.toml"
    )]
    PrintConfig(PrintConfigArguments),
    /// Ask the running agent how it is (exit code 1 if not healthy, 69 if it is not there).
    #[command(
        after_help = "Examples:\n  vedette-agent status\n  vedette-agent status --config agent.toml --output json"
    )]
    Status(StatusArguments),
    /// Print the running agent's own metrics as OpenMetrics text.
    #[command(
        after_help = "Examples:\n  vedette-agent metrics\n  vedette-agent metrics > /var/lib/node_exporter/vedette.prom"
    )]
    Metrics(SocketArguments),
    /// Get this host's identity from the collector with a one-time token.
    #[command(after_help = "Examples:\n  vedette-agent enroll --collector-ca ca.pem --token-file token")]
    Enroll(EnrollArguments),
    /// The detector worker; the agent starts it.
    #[command(hide = true)]
    Worker {
        /// How detectors are executed.
        #[arg(value_parser = execution)]
        execution: Execution,
    },
}

fn execution(name: &str) -> Result<Execution, String> {
    Execution::named(name).ok_or_else(|| format!("{name:?} is no way to execute detectors"))
}

/// Where the configuration is.
#[derive(Debug, Args)]
pub struct ConfigArguments {
    /// Configuration file.
    #[arg(long, value_name = "FILE", default_value = CONFIG_PATH, env = "VEDETTE_CONFIG")]
    pub config: PathBuf,
}

/// `print-config`.
#[derive(Debug, Args)]
pub struct PrintConfigArguments {
    /// Configuration file; its settings with all defaults filled in.
    #[arg(long, value_name = "FILE", default_value = CONFIG_PATH, env = "VEDETTE_CONFIG")]
    pub config: PathBuf,
    /// Print the reference file instead: every setting, its default and what it means.
    #[arg(long)]
    pub reference: bool,
}

/// Which running agent is asked.
#[derive(Debug, Args)]
pub struct SocketArguments {
    /// Socket of the agent; otherwise the one that its configuration names.
    #[arg(long, value_name = "SOCKET")]
    pub socket: Option<PathBuf>,
    /// Configuration file of the agent [default: /etc/vedette/agent.toml; without that, /run/vedette/agent.sock is asked].
    #[arg(long, value_name = "FILE", env = "VEDETTE_CONFIG")]
    pub config: Option<PathBuf>,
}

/// `status`.
#[derive(Debug, Args)]
pub struct StatusArguments {
    /// Which agent.
    #[command(flatten)]
    pub agent: SocketArguments,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t = Output::Human)]
    pub output: Output,
}

/// `enroll`.
#[derive(Debug, Args)]
pub struct EnrollArguments {
    /// Configuration file.
    #[arg(long, value_name = "FILE", default_value = CONFIG_PATH, env = "VEDETTE_CONFIG")]
    pub config: PathBuf,
    /// The collector's certificate authority (PEM): `ca.pem` of its data directory, or `vedette ca`.
    #[arg(long, value_name = "FILE")]
    pub collector_ca: PathBuf,
    /// File with a one-time token: `vedette fleet token`.
    #[arg(long, value_name = "FILE", env = "VEDETTE_ENROLL_TOKEN_FILE")]
    pub token_file: PathBuf,
}

/// Forms of output.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Output {
    /// For people.
    Human,
    /// One JSON object.
    Json,
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn command_line_is_consistent() {
        Arguments::command().debug_assert();
    }

    #[test]
    fn every_command_has_an_example_of_itself() {
        for command in Arguments::command().get_subcommands().filter(|command| !command.is_hide_set()) {
            let help = command.get_after_help().map(ToString::to_string).unwrap_or_default();
            let example = format!("vedette-agent {}", command.get_name());
            assert!(help.contains(&example), "`{example} --help`: {help:?}");
        }
    }
}

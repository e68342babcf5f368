//! The command line.

use clap::{Args, Parser, Subcommand, ValueEnum};
use std::path::PathBuf;
use std::time::Duration;
use vedette_detector_host::engine::Execution;
use vedette_protocol::document::parse_duration_ms;

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
    /// Check the configuration and tell all problems at once (exit code 78), and how much memory it takes at most.
    #[command(
        after_help = "Examples:\n  vedette-agent check --config agent.toml\n  vedette-agent check --config agent.toml --output json | jq .memory"
    )]
    Check(CheckArguments),
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
    /// Look at all that the agent needs, step by step, with what to do (exit code 1 if a step fails, 78 for a bad file).
    ///
    /// Looks with the rights of whoever asks: run it as the agent's user to see what the agent sees.
    #[command(
        after_help = "Examples:\n  vedette-agent diagnose\n  sudo -u vedette vedette-agent diagnose --output json"
    )]
    Diagnose(DiagnoseArguments),
    /// Write what helps to find out what is wrong into one file, without secrets. It is sent nowhere.
    ///
    /// Works without a running agent, too, and says what is missing then. Run it as root to have everything.
    #[command(
        after_help = "Examples:\n  vedette-agent diagnostics --out /tmp/vedette.tar.gz\n  vedette-agent diagnostics --out d.tar.gz --log /var/log/vedette.log && tar tzf d.tar.gz"
    )]
    Diagnostics(DiagnosticsArguments),
    /// What the running agent has spent since it started: CPU and bytes by source, detector and kind.
    #[command(after_help = "Examples:\n  vedette-agent cost\n  vedette-agent cost --output json")]
    Cost(StatusArguments),
    /// Watch the running agent live: the oddest series, sources and detectors with their cost, budget, spool and link.
    ///
    /// Keys: q quit, s sort, / filter, p pause, ? help.
    #[command(
        after_help = "Examples:\n  vedette-agent top\n  vedette-agent top --filter 'system.cpu.*'\n  vedette-agent top --once --width 120"
    )]
    Top(TopArguments),
    /// Follow samples, log lines and verdicts live, as the running agent sees them, masked.
    ///
    /// GLOB is a series by name with attributes, `log:GLOB` a log by its path, `verdict:GLOB` verdicts by series or by
    /// detector; `*` stands for any text, `?` for any character. A slow reader never slows the agent: what it misses is
    /// counted and told.
    #[command(
        after_help = "Examples:\n  vedette-agent tap 'system.cpu.*'\n  vedette-agent tap 'log:/var/log/*' 'verdict:*' --for 10s\n  vedette-agent tap 'verdict:level' --output json --count 100 | jq .surprise"
    )]
    Tap(TapArguments),
    /// Get this host's identity from the collector with a one-time token.
    #[command(after_help = "Examples:\n  vedette-agent enroll --collector-ca ca.pem --token-file token")]
    Enroll(EnrollArguments),
    /// Look at what the flight recorder holds, whether the agent runs or not.
    #[command(
        after_help = "Examples:\n  vedette-agent recorder status\n  vedette-agent recorder show --series 'system.cpu.*' --from 30m\n  vedette-agent recorder export --series '*load_average*' --from 6h --out load.csv"
    )]
    Recorder {
        /// What of it.
        #[command(subcommand)]
        command: RecorderCommand,
    },
    /// Look at the spool on disk, or put it right after damage. The agent starts whatever is in there.
    #[command(
        after_help = "Examples:\n  vedette-agent buffer verify\n  vedette-agent buffer repair --directory /var/lib/vedette/spool"
    )]
    Buffer {
        /// What to do.
        #[command(subcommand)]
        command: BufferCommand,
    },
    /// The detector worker; the agent starts it.
    #[command(hide = true)]
    Worker {
        /// How detectors are executed.
        #[arg(value_parser = execution)]
        execution: Execution,
        /// Bytes of a detector's linear memory.
        memory_bytes: usize,
    },
}

/// `buffer`.
#[derive(Debug, Subcommand)]
pub enum BufferCommand {
    /// Read everything and change nothing (exit code 1 if something is wrong).
    #[command(after_help = "Examples:\n  vedette-agent buffer verify --output json")]
    Verify(BufferArguments),
    /// Keep all good batches and say what is left out; the agent must not run.
    #[command(after_help = "Examples:\n  systemctl stop vedette-agent\n  vedette-agent buffer repair")]
    Repair(BufferArguments),
}

/// Which spool.
#[derive(Debug, Args)]
pub struct BufferArguments {
    /// Configuration file.
    #[arg(long, value_name = "FILE", default_value = CONFIG_PATH, env = "VEDETTE_CONFIG")]
    pub config: PathBuf,
    /// The spool's directory, instead of the configured one.
    #[arg(long, value_name = "DIR")]
    pub directory: Option<PathBuf>,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t = Output::Human)]
    pub output: Output,
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

/// `check`.
#[derive(Debug, Args)]
pub struct CheckArguments {
    /// Which.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t = Output::Human)]
    pub output: Output,
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

/// `top`.
#[derive(Debug, Args)]
pub struct TopArguments {
    /// Which agent.
    #[command(flatten)]
    pub agent: SocketArguments,
    /// Print one picture as text and end.
    #[arg(long)]
    pub once: bool,
    /// Characters across of that picture; otherwise those of the terminal, or 80.
    #[arg(long, value_name = "CHARACTERS", value_parser = clap::value_parser!(u16).range(20..=400))]
    pub width: Option<u16>,
    /// Only series, sources and detectors whose name is like this.
    #[arg(long, value_name = "GLOB")]
    pub filter: Option<String>,
    /// Time between two pictures: "500ms" to "1m".
    #[arg(long, value_name = "TIME", default_value = "1s", value_parser = picture_interval)]
    pub interval: Duration,
}

fn picture_interval(text: &str) -> Result<Duration, String> {
    let fits = (Duration::from_millis(500)..=Duration::from_secs(60)).contains(&duration(text)?);
    if fits { duration(text) } else { Err("choose between \"500ms\" and \"1m\"".to_owned()) }
}

/// `tap`.
#[derive(Debug, Args)]
pub struct TapArguments {
    /// What to follow; nothing is every sample.
    #[arg(value_name = "GLOB")]
    pub globs: Vec<String>,
    /// Which agent.
    #[command(flatten)]
    pub agent: SocketArguments,
    /// End after so many.
    #[arg(long, value_name = "NUMBER")]
    pub count: Option<u64>,
    /// End after this time: "10s", "5m".
    #[arg(long = "for", value_name = "TIME", value_parser = duration)]
    pub lasts: Option<Duration>,
    /// For people, or one JSON object a line for programs.
    #[arg(long, value_enum, default_value_t = Output::Human)]
    pub output: Output,
}

fn duration(text: &str) -> Result<Duration, String> {
    parse_duration_ms(text).map(Duration::from_millis).ok_or_else(|| format!("{text:?}: write \"10s\" or \"5m\""))
}

/// `recorder`.
#[derive(Debug, Subcommand)]
pub enum RecorderCommand {
    /// From when to when there is something, and how much.
    #[command(after_help = "Examples:\n  vedette-agent recorder status --output json")]
    Status {
        /// Whose recorder.
        #[command(flatten)]
        config: ConfigArguments,
        /// For people or for programs.
        #[arg(long, value_enum, default_value_t = Output::Human)]
        output: Output,
    },
    /// Draw series in the terminal.
    #[command(after_help = "Examples:\n  vedette-agent recorder show --series 'system.cpu.*' --from 30m")]
    Show(ShowRecorderArguments),
    /// Write series as CSV, one row a second, as `vedette detector run` reads it; or as JSON, with the log lines.
    #[command(
        after_help = "Examples:\n  vedette-agent recorder export --series '*load_average*' --from 6h --out load.csv\n  vedette-agent recorder export --from 2026-11-20T10:00:00Z --to 2026-11-20T10:15:00Z --format json"
    )]
    Export(ExportRecorderArguments),
}

/// `recorder show`.
#[derive(Debug, Args)]
pub struct ShowRecorderArguments {
    /// What of it.
    #[command(flatten)]
    pub window: RecordedWindow,
    /// Characters across: 10 to 400.
    #[arg(long, value_name = "CHARACTERS", default_value_t = 72)]
    pub width: usize,
}

/// `recorder export`.
#[derive(Debug, Args)]
pub struct ExportRecorderArguments {
    /// What of it.
    #[command(flatten)]
    pub window: RecordedWindow,
    /// Form.
    #[arg(long, value_enum, default_value_t = ExportForm::Csv)]
    pub format: ExportForm,
    /// File to write, for its owner alone; otherwise standard output.
    #[arg(long, value_name = "FILE")]
    pub out: Option<PathBuf>,
}

/// Which recorder, series and time.
#[derive(Debug, Args)]
pub struct RecordedWindow {
    /// Whose recorder.
    #[command(flatten)]
    pub config: ConfigArguments,
    /// Begin: how long ago ("30m", "6h"), or a time such as 2026-11-20T10:00:00Z.
    #[arg(long, value_name = "TIME", default_value = "1h")]
    pub from: String,
    /// End, in the same forms, or "now". The last minute is there if the agent runs and may be asked, but for counts of
    /// log templates.
    #[arg(long, value_name = "TIME", default_value = "now")]
    pub to: String,
    /// Only series whose name with attributes is like this: `*` stands for any text, `?` for any character.
    #[arg(long, value_name = "PATTERN")]
    pub series: Option<String>,
}

/// Forms of an export.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum ExportForm {
    /// `timestamp` in seconds, then a column for each series.
    Csv,
    /// Exact times and the masked log lines.
    Json,
}

/// `diagnose`.
#[derive(Debug, Args)]
pub struct DiagnoseArguments {
    /// Configuration file.
    #[arg(long, value_name = "FILE", default_value = CONFIG_PATH, env = "VEDETTE_CONFIG")]
    pub config: PathBuf,
    /// For people or for programs.
    #[arg(long, value_enum, default_value_t = Output::Human)]
    pub output: Output,
}

/// `diagnostics`.
#[derive(Debug, Args)]
pub struct DiagnosticsArguments {
    /// File to write, `….tar.gz`, for its owner alone; it must not be there yet.
    #[arg(long, value_name = "FILE")]
    pub out: PathBuf,
    /// Configuration file.
    #[arg(long, value_name = "FILE", default_value = CONFIG_PATH, env = "VEDETTE_CONFIG")]
    pub config: PathBuf,
    /// The agent's own log, where it is not in the journal; its end is taken, masked.
    #[arg(long, value_name = "FILE")]
    pub log: Option<PathBuf>,
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

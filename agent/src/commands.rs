//! What each subcommand does, and with which exit code it ends.

mod buffer;
mod check;
mod cost;
mod diagnose;
mod diagnostics;
mod metrics;
mod print_config;
mod recorder;
mod run;
mod socket;
mod status;
mod tap;
mod top;
mod worker;

use crate::args::{Arguments, Command};
use crate::config::{Config, Objection, Unusable};
use crate::enroll;
use clap::Parser;
use std::io::{self, Write};
use std::path::Path;
use std::process::ExitCode;

/// Why a command failed: text for stderr and the exit code (sysexits where there is one).
#[derive(Debug)]
pub struct Failure {
    code: u8,
    text: String,
}

impl Failure {
    /// 1: it did not work, or the agent is not healthy.
    pub fn failed(text: impl Into<String>) -> Self {
        Self { code: 1, text: text.into() }
    }

    /// 2: asked in a way that means nothing.
    pub fn usage(text: impl Into<String>) -> Self {
        Self { code: 2, text: text.into() }
    }

    /// 69: agent or collector cannot be reached.
    pub fn unavailable(text: impl Into<String>) -> Self {
        Self { code: 69, text: text.into() }
    }

    /// 77: the operating system says no.
    pub fn denied(text: impl Into<String>) -> Self {
        Self { code: 77, text: text.into() }
    }

    /// 78: what a person has to put right before it can work.
    pub fn config(text: impl Into<String>) -> Self {
        Self { code: 78, text: text.into() }
    }

    /// 77 if the operating system said no, else 1.
    pub fn io(doing: impl std::fmt::Display, error: &io::Error) -> Self {
        let text = format!("{doing}: {error}");
        match error.kind() {
            io::ErrorKind::PermissionDenied => Self::denied(text),
            _ => Self::failed(text),
        }
    }
}

/// Runs the command line of this process.
pub fn main() -> ExitCode {
    let result = match Arguments::parse().command {
        Command::Run(arguments) => run::run(&arguments.config),
        Command::Check(arguments) => check::run(&arguments),
        Command::PrintConfig(arguments) => print_config::run(&arguments),
        Command::Status(arguments) => status::run(&arguments),
        Command::Diagnose(arguments) => diagnose::run(&arguments),
        Command::Diagnostics(arguments) => diagnostics::run(&arguments),
        Command::Cost(arguments) => cost::run(&arguments),
        Command::Metrics(arguments) => metrics::run(&arguments),
        Command::Top(arguments) => top::run(&arguments),
        Command::Tap(arguments) => tap::run(&arguments),
        Command::Recorder { command } => recorder::run(&command),
        Command::Buffer { command } => buffer::run(&command),
        Command::Enroll(arguments) => enroll::run(&arguments),
        Command::Worker { execution, memory_bytes } => worker::run(execution, memory_bytes),
    };
    match result {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.text.is_empty() {
                // Without stderr only the exit code is left to speak.
                let _ = writeln!(io::stderr(), "{}", failure.text.trim_end());
            }
            ExitCode::from(failure.code)
        }
    }
}

/// Reads and checks the configuration.
///
/// # Errors
///
/// 78 with all problems, 77 if it may not be read.
pub fn load_config(path: &Path) -> Result<Config, Failure> {
    load_config_judged(path, |_| Vec::new())
}

/// The same, and then what `judge` finds in a file that is fine by itself.
fn load_config_judged(path: &Path, judge: impl FnOnce(&Config) -> Vec<Objection>) -> Result<Config, Failure> {
    Config::load_judged(path, judge).map_err(|unusable| match unusable {
        Unusable::Unreadable(error) => unreadable(path, &error),
        Unusable::Problems(problems) => {
            let count = match problems.len() {
                1 => "1 problem".to_owned(),
                count => format!("{count} problems"),
            };
            Failure::config(format!("{}\n{count}; nothing was started", problems.join("\n")))
        }
    })
}

fn unreadable(path: &Path, error: &io::Error) -> Failure {
    let text = format!("{}: {error}", path.display());
    match error.kind() {
        io::ErrorKind::PermissionDenied => Failure::denied(text),
        io::ErrorKind::NotFound => Failure::config(format!("{text}\n{}", remedy_of_missing(path, Path::new("")))),
        _ => Failure::config(text),
    }
}

/// Who keeps the file elsewhere has to say where; one in the folder `here` is most likely meant.
fn remedy_of_missing(path: &Path, here: &Path) -> String {
    let write = "write one: `vedette-agent print-config --reference` explains every setting";
    let nearby = path.file_name().map(|name| here.join(name)).filter(|nearby| nearby != path && nearby.is_file());
    match nearby {
        Some(nearby) => format!("there is {} here: say `--config {0}`", nearby.display()),
        None => format!("name another with `--config FILE`, or {write}"),
    }
}

/// Prints to stdout; that nobody listens any more is no failure.
pub(crate) fn print(text: &str) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    printed(out.write_all(text.as_bytes()).and_then(|()| out.flush()))
}

/// What became of text for standard output: who stops reading has read enough.
pub(crate) fn printed(written: io::Result<()>) -> Result<(), Failure> {
    match written {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => Err(Failure::io("stdout", &error)),
        _ => Ok(()),
    }
}

/// Names of files and hosts come from elsewhere: none may speak to the terminal.
pub(crate) fn without_controls(text: &str) -> String {
    text.replace(|c: char| c.is_control() && c != '\n', "\u{fffd}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn who_has_a_configuration_at_hand_is_told_to_name_it() {
        let here = tempfile::tempdir().expect("temporary folder");
        let told = remedy_of_missing(Path::new("/etc/vedette/agent.toml"), here.path());
        assert!(told.contains("`--config FILE`") && told.contains("print-config --reference"), "{told}");
        let nearby = here.path().join("agent.toml");
        std::fs::write(&nearby, "").expect("file");
        let told = remedy_of_missing(Path::new("/etc/vedette/agent.toml"), here.path());
        assert!(told.contains(&format!("`--config {}`", nearby.display())), "{told}");
        assert!(!remedy_of_missing(&nearby, here.path()).contains("here"), "the very one that was looked for");
    }

    #[test]
    fn nothing_speaks_to_the_terminal() {
        assert_eq!(without_controls("log \x1b[2J/x\u{9b}1m\r: 1\n"), "log \u{fffd}[2J/x\u{fffd}1m\u{fffd}: 1\n");
    }
}

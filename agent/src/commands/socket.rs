//! Which running agent a command asks: the socket that was named, or the one that the configuration names.

use super::{Failure, load_config};
use crate::args::{CONFIG_PATH, SocketArguments};
use crate::config::Config;
use crate::local::{self, Followed, Question};
use std::fmt;
use std::io;
use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::time::Instant;

/// The socket of an agent, with how it was found.
pub(super) struct Socket {
    path: PathBuf,
    /// For people.
    found: String,
}

impl Socket {
    /// `--socket`, else the one of `--config`, else the one of the usual configuration, else the usual socket.
    ///
    /// # Errors
    ///
    /// If a configuration that was named cannot be used. The usual one may be missing or closed to whoever asks.
    pub(super) fn find(arguments: &SocketArguments) -> Result<Self, Failure> {
        match (&arguments.socket, &arguments.config) {
            (Some(path), _) => Ok(Self { path: path.clone(), found: "`--socket`".to_owned() }),
            (None, Some(config)) => Ok(Self::of(load_config(config)?, config)),
            (None, None) => Ok(Self::usual(Path::new(CONFIG_PATH))),
        }
    }

    fn of(config: Config, file: &Path) -> Self {
        Self { path: config.socket, found: format!("`agent.socket` of {}", file.display()) }
    }

    fn usual(file: &Path) -> Self {
        match load_config(file) {
            Ok(config) => Self::of(config, file),
            Err(failure) => {
                let why = failure.text.lines().next().unwrap_or_default();
                Self { path: Config::default().socket, found: format!("the default, because of {why}") }
            }
        }
    }

    /// Asks the agent.
    ///
    /// # Errors
    ///
    /// 77 if the socket is closed to this user, 69 if nobody answers, or an agent of another version.
    pub(super) fn ask(&self, question: Question) -> Result<String, Failure> {
        local::ask(&self.path, &question).map_err(|error| self.unreachable(&error))
    }

    /// Follows what the agent sees.
    ///
    /// # Errors
    ///
    /// As [`Socket::ask`]; 69 as well if the agent ends.
    pub(super) fn follow(
        &self,
        globs: &[String],
        until: Option<Instant>,
        on: &mut dyn FnMut(&str) -> ControlFlow<()>,
    ) -> Result<(), Failure> {
        match local::follow(&self.path, globs, until, on) {
            Ok(Followed::Over) => Ok(()),
            Ok(Followed::Ended) => Err(Failure::unavailable(format!("the agent on {self} has ended"))),
            Err(error) => Err(self.unreachable(&error)),
        }
    }

    /// The agent's JSON in its form.
    ///
    /// # Errors
    ///
    /// 69 if it is in none of this version's.
    pub(super) fn read<T: serde::de::DeserializeOwned>(&self, reply: &str) -> Result<T, Failure> {
        serde_json::from_str(reply)
            .map_err(|error| Failure::unavailable(format!("{self}: not an answer of this version: {error}")))
    }

    fn unreachable(&self, error: &io::Error) -> Failure {
        let text = format!("no agent answers on {self}: {error}");
        match error.kind() {
            io::ErrorKind::PermissionDenied => {
                Failure::denied(format!("{text}\nask as root, or as a user of the agent's group"))
            }
            io::ErrorKind::Unsupported => Failure::unavailable(format!("{self}: {error}")),
            _ => Failure::unavailable(format!(
                "{text}\nis it running? `systemctl status vedette-agent`; `--config FILE` or `--socket SOCKET` names another"
            )),
        }
    }
}

impl fmt::Display for Socket {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} ({})", self.path.display(), self.found)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn without_the_usual_configuration_the_usual_socket_is_asked_and_the_error_says_so() {
        let folder = tempfile::tempdir().expect("temporary folder");
        let file = folder.path().join("agent.toml");
        let socket = Socket::usual(&file);
        assert_eq!(socket.path, Config::default().socket);
        let told = socket.unreachable(&io::Error::from(io::ErrorKind::NotFound)).text;
        assert!(told.contains("/run/vedette/agent.sock") && told.contains(&file.display().to_string()), "{told}");

        std::fs::write(&file, "[agent]\nsocket = \"/srv/a.sock\"\n[collector]\naddress = \"h:1\"\n").expect("file");
        assert_eq!(Socket::usual(&file).path, Path::new("/srv/a.sock"));
    }
}

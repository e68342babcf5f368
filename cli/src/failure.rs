//! What went wrong, as exit code and text.

use std::process::ExitCode;
use vedette_protocol::document::Problem;

/// Failures that have an exit code of their own; everything else is 1.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Failure {
    /// The collector does not answer.
    #[error("the collector at {url} cannot be reached: {reason}\nIs it running? `--url` or VEDETTE_URL says where.")]
    Unreachable {
        /// Where it was looked for.
        url: String,
        /// What the operating system said.
        reason: String,
    },
    /// The token is missing or not the collector's.
    #[error(
        "not authorised: {0}\n`--token-file` or VEDETTE_TOKEN_FILE names the file `api-token` in the collector's data directory."
    )]
    Unauthorised(String),
    /// The collector is elsewhere, and the token would be read on the way.
    #[error(
        "{0:?} is not this host, and the API token would go there unencrypted\n\
         Bring its port here: `ssh -L 4711:127.0.0.1:4711 COLLECTOR`, then leave `--url` and VEDETTE_URL out."
    )]
    InTheClear(String),
    /// A file that a person wrote has problems; all of them.
    #[error("{}", lines(.0))]
    BadFile(Vec<Problem>),
    /// A file cannot serve as what it was given for.
    #[error("{path}: {reason}")]
    UnusableFile {
        /// The file.
        path: String,
        /// Why not.
        reason: String,
    },
    /// The collector understood and refused.
    #[error("the collector refused ({status}): {reason}")]
    Refused {
        /// HTTP status.
        status: u16,
        /// The collector's reason.
        reason: String,
    },
}

impl Failure {
    fn code(&self) -> u8 {
        match self {
            Self::Unreachable { .. } => 69,
            Self::Unauthorised(_) | Self::InTheClear(_) => 77,
            Self::BadFile(_) | Self::UnusableFile { .. } => 78,
            Self::Refused { .. } => 1,
        }
    }
}

/// Prints `error` on stderr and gives its exit code.
pub(crate) fn report(error: &anyhow::Error) -> ExitCode {
    eprintln!("vedette: {error:#}");
    ExitCode::from(error.downcast_ref::<Failure>().map_or(1, Failure::code))
}

fn lines(problems: &[Problem]) -> String {
    let lines: Vec<_> = problems.iter().map(ToString::to_string).collect();
    format!("{} problem(s)\n{}", problems.len(), lines.join("\n"))
}

//! `vedette incidents`: the list, and one incident as a chart.

mod chart;
mod samples;

use crate::client::Client;
use crate::output::{Output, items, listing, text};
use serde_json::Value;
use std::process::ExitCode;

/// Commands of `incidents`.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Incidents, newest first.
    #[command(after_help = "Examples:\n  vedette incidents list\n  vedette incidents list --state open --output json")]
    List {
        /// Only those in this state.
        #[arg(long, value_enum)]
        state: Option<StateFilter>,
    },
    /// The true samples of its members, as far as directives brought them from the hosts' flight recorders.
    #[command(after_help = "Examples:\n  vedette incidents samples inc-20261120-7f3a9c2e41 --output json")]
    Samples {
        /// Its id, from `incidents list`.
        #[arg(value_parser = incident_id)]
        id: String,
    },
    /// One incident: what, since when, why these are together, evidence and candidate causes.
    #[command(after_help = "Examples:\n  vedette incidents show inc-20261120-7f3a9c2e41")]
    Show {
        /// Its id, from `incidents list`.
        #[arg(value_parser = incident_id)]
        id: String,
    },
}

/// States to list.
#[derive(Clone, Copy, clap::ValueEnum)]
pub(crate) enum StateFilter {
    /// Not resolved yet.
    Open,
    /// Resolved or reviewed.
    Resolved,
}

/// Runs one of the commands.
pub(crate) fn run(command: Command, client: &Client, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::List { state } => {
            let query = match state {
                Some(StateFilter::Open) => "?state=open",
                Some(StateFilter::Resolved) => "?state=resolved",
                None => "",
            };
            output.print(&client.get(&format!("/api/v1/incidents{query}"))?, list)?;
        }
        Command::Show { id } => {
            let incident = client.get(&format!("/api/v1/incidents/{id}"))?;
            let drawn = match output {
                // A picture is no reason to withhold the incident.
                Output::Human => match client.get(&format!("/api/v1/incidents/{id}/samples")) {
                    Ok(answer) => samples::drawn(&answer),
                    Err(error) => format!("  not drawn: {error:#}; ask again with `vedette incidents samples {id}`"),
                },
                Output::Json => String::new(),
            };
            output.print(&incident, |incident| chart::chart(incident, &drawn))?;
        }
        Command::Samples { id } => {
            output.print(&client.get(&format!("/api/v1/incidents/{id}/samples"))?, samples::drawn)?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

/// Ids stand in a path of the API.
fn incident_id(text: &str) -> Result<String, String> {
    let fits = !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-');
    fits.then(|| text.to_owned()).ok_or_else(|| "no id of an incident: `vedette incidents list` shows them".to_owned())
}

fn list(answer: &Value) -> String {
    let head = ["ID", "SEVERITY", "STATE", "OPENED", "MEMBERS", "TITLE"];
    listing(head, items(answer, "/incidents"), "no incidents", |incident| {
        [
            text(incident, "/id"),
            text(incident, "/severity/value"),
            text(incident, "/state"),
            text(incident, "/times/opened"),
            items(incident, "/members").len().to_string(),
            text(incident, "/title"),
        ]
    })
}

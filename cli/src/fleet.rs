//! `vedette fleet`: agents, their admission and their dismissal.

mod ledger;

use crate::client::Client;
use crate::output::{Output, items, listing, text};
use serde_json::{Value, json};
use std::fmt::Write as _;
use std::process::ExitCode;
use vedette_protocol::document::parse_duration_ms;
use vedette_protocol::ids::HostId;

/// Commands of `fleet`.
#[derive(clap::Subcommand)]
pub(crate) enum Command {
    /// Every agent: connected, health, clock skew, policy and directives in effect.
    #[command(after_help = "Examples:\n  vedette fleet list\n  vedette fleet list --output json")]
    List,
    /// One agent with its detectors, and in words what a person has to mend.
    #[command(after_help = "Examples:\n  vedette fleet show web-1")]
    Show {
        /// Its host's name or id, from `fleet list`.
        host: String,
    },
    /// What agents found: openings, updates and clearings of episodes, newest first.
    #[command(after_help = "Examples:\n  vedette fleet findings --limit 20")]
    Findings(Page),
    /// What was altered on the hosts, newest first.
    #[command(after_help = "Examples:\n  vedette fleet changes --limit 20")]
    Changes(Page),
    /// The account of batches: what each host made and what became of it; none may be missing, none count twice.
    #[command(after_help = "Examples:\n  vedette fleet ledger --output json")]
    Ledger,
    /// Makes an enrolment token; it is shown once and kept only as a hash.
    #[command(after_help = "Examples:\n  (umask 077; vedette fleet token --uses 1 --ttl 1h > token)")]
    Token {
        /// How many hosts may enrol with it.
        #[arg(long, default_value_t = 1, value_parser = clap::value_parser!(u32).range(1..=10_000))]
        uses: u32,
        /// How long it is good, for example `30m`; at most 24h.
        #[arg(long, default_value = "1h", value_parser = ttl_ms)]
        ttl: u64,
    },
    /// Shuts one host out for good: its connection closes and its certificate is refused.
    #[command(after_help = "Examples:\n  vedette fleet revoke 6f3c0c8e52d14b9b9a520d1c2b3a4f5e")]
    Revoke {
        /// The host's id, from `fleet list`.
        host: HostId,
    },
}

/// How much of a list.
#[derive(clap::Args)]
pub(crate) struct Page {
    /// Entries at the most.
    #[arg(long, default_value_t = 100, value_parser = clap::value_parser!(u32).range(1..=1_000))]
    limit: u32,
}

/// Runs one of the commands.
pub(crate) fn run(command: Command, client: &Client, output: Output) -> anyhow::Result<ExitCode> {
    match command {
        Command::List => output.print(&client.get("/api/v1/fleet")?, list)?,
        Command::Show { host } => {
            let fleet = client.get("/api/v1/fleet")?;
            let found: Vec<&Value> = items(&fleet, "/agents").iter().filter(|agent| is_named(agent, &host)).collect();
            anyhow::ensure!(!found.is_empty(), "no agent has the name or id {host:?}: `vedette fleet list` names them");
            output.print(&json!({"agents": found}), show)?;
        }
        Command::Findings(page) => {
            output.print(&client.get(&format!("/api/v1/findings?limit={}", page.limit))?, findings)?;
        }
        Command::Changes(page) => {
            output.print(&client.get(&format!("/api/v1/changes?limit={}", page.limit))?, changes)?;
        }
        Command::Ledger => output.print(&client.get("/api/v1/ledger")?, ledger::account)?,
        Command::Token { uses, ttl } => {
            let answer = client.post("/api/v1/fleet/tokens", &json!({"uses": uses, "ttl_ms": ttl}))?;
            output.print(&answer, |answer| text(answer, "/token"))?;
        }
        Command::Revoke { host } => {
            let answer = client.post(&format!("/api/v1/fleet/{host}/revoke"), &json!({}))?;
            output.print(&answer, |_| format!("{host} is revoked"))?;
        }
    }
    Ok(ExitCode::SUCCESS)
}

fn list(fleet: &Value) -> String {
    let agents = items(fleet, "/agents");
    let head = ["HOST", "ID", "STATE", "HEALTH", "SOFTWARE", "POLICY", "DIRECTIVES", "SKEW ms", "LAST SEEN"];
    let none = "no agents: `vedette fleet token` makes a token, and `vedette-agent enroll` on a host uses it";
    let mut told = listing(head, agents, none, |agent| {
        let stale = if agent["policy_stale"].as_bool() == Some(true) { " (stale)" } else { "" };
        [
            text(agent, "/host_name"),
            text(agent, "/host"),
            state(agent).to_owned(),
            text(agent, "/health"),
            text(agent, "/software"),
            format!("{}{stale}", text(agent, "/policy_version_in_effect")),
            items(agent, "/directives_in_effect").len().to_string(),
            text(agent, "/skew_ms"),
            text(agent, "/last_seen"),
        ]
    });
    for agent in agents {
        for problem in items(agent, "/problems").iter().filter_map(Value::as_str) {
            let _ = writeln!(told, "! {}: {problem}", text(agent, "/host_name"));
        }
    }
    told
}

fn state(agent: &Value) -> &'static str {
    match (agent["revoked"].as_bool(), agent["connected"].as_bool()) {
        (Some(true), _) => "revoked",
        (_, Some(true)) => "connected",
        _ => "silent",
    }
}

fn is_named(agent: &Value, host: &str) -> bool {
    ["host", "host_name"].iter().any(|key| agent[*key].as_str() == Some(host))
}

/// More than one only where hosts share a name.
fn show(found: &Value) -> String {
    let page = |agent: &Value| {
        let mut told = String::new();
        let mut row = |name: &str, value: String| _ = writeln!(told, "{name:<12}{value}");
        row("host", format!("{} ({})", text(agent, "/host_name"), text(agent, "/host")));
        row("state", format!("{}, last seen {}", state(agent), text(agent, "/last_seen")));
        row("software", text(agent, "/software"));
        row("policy", format!("version {} in effect", text(agent, "/policy_version_in_effect")));
        for one in items(agent, "/detectors") {
            row("detector", format!("{} {}", text(one, "/name"), text(one, "/state")));
        }
        row("health", health(agent).to_owned());
        for problem in items(agent, "/problems").iter().filter_map(Value::as_str) {
            let _ = writeln!(told, "! {problem}");
        }
        told
    };
    items(found, "/agents").iter().map(page).collect::<Vec<_>>().join("\n")
}

/// Health in words.
fn health(agent: &Value) -> &'static str {
    match agent["health"].as_str() {
        Some("well") => "well: nothing asks for a person's attention",
        Some("problems") => "not well:",
        _ => "unknown: the agent does not say, because it is not connected or of a version that cannot",
    }
}

fn findings(answer: &Value) -> String {
    let head = ["ONSET", "HOST", "EVENT", "DETECTOR", "SURPRISE", "OBSERVED", "EXPECTED", "SUBJECT"];
    listing(head, items(answer, "/findings"), "no findings", |finding| {
        let subject = ["/subject/metric", "/subject/text"].map(|at| text(finding, at));
        let subject = subject.into_iter().find(|name| name != "-").unwrap_or_default();
        let [onset, host, event, detector, surprise, observed, expected] =
            ["/onset", "/host", "/event", "/detector/name", "/surprise", "/observed", "/expected"]
                .map(|at| text(finding, at));
        [onset, host, event, detector, surprise, observed, expected, subject]
    })
}

fn changes(answer: &Value) -> String {
    let head = ["AT", "HOST", "KIND", "SERVICE", "PATH"];
    listing(head, items(answer, "/changes"), "no changes", |change| {
        ["/at", "/host", "/kind", "/service", "/path"].map(|at| text(change, at))
    })
}

fn ttl_ms(text: &str) -> Result<u64, String> {
    parse_duration_ms(text).ok_or_else(|| format!("{text:?} is no duration, such as `30m`"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_revoked_agent_is_shown_as_such_even_while_connected() {
        let fleet = json!({"agents": [{"host_name": "web-1", "revoked": true, "connected": true}]});
        assert!(list(&fleet).contains("revoked"));
    }

    #[test]
    fn problems_stand_below_the_list_with_their_host() {
        let fleet = json!({"agents": [{"host_name": "web-1", "problems": ["two hosts share it: enrol one anew"]}]});
        assert!(list(&fleet).ends_with("\n! web-1: two hosts share it: enrol one anew\n"), "{}", list(&fleet));
    }

    #[test]
    fn health_has_a_column_and_its_problems_their_words() {
        let told = ["detector `flatline` is quarantined", "the spool's disk fails"];
        let ill =
            json!({"host": "6f", "host_name": "web-1", "connected": true, "health": "problems", "problems": told});
        let unknown = json!({"host": "70", "host_name": "web-2", "health": "unknown"});
        let all = list(&json!({"agents": [ill, unknown]}));
        let column = |line: usize| all.lines().nth(line).and_then(|line| line.split_whitespace().nth(3));
        assert_eq!([0, 1, 2].map(column), [Some("HEALTH"), Some("problems"), Some("unknown")], "{all}");
        assert!(is_named(&ill, "web-1") && is_named(&ill, "6f") && !is_named(&ill, "web"));
        let one = show(&json!({"agents": [ill]}));
        assert!(told.iter().all(|problem| one.contains(&format!("\n! {problem}\n"))), "{one}");
        let other = show(&json!({"agents": [unknown]}));
        assert!(other.contains("health      unknown: ") && !other.contains('!'), "{other}");
    }

    #[test]
    fn empty_lists_are_sentences() {
        let nothing = json!({"agents": [], "findings": [], "changes": []});
        for told in [list(&nothing), findings(&nothing), changes(&nothing)] {
            assert!(told.starts_with("no ") && !told.contains("HOST"), "{told}");
        }
    }
}

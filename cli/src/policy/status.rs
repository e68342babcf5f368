//! Where a policy is in effect, and which agents refuse it and why.

use crate::client::Client;
use crate::output::{items, listing, text};
use serde_json::Value;
use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::time::{Duration, Instant};

/// Agents answer a policy within a tick; who has not by then is on a slow line or away.
const ANSWERS_MAX: Duration = Duration::from_secs(3);
const ANSWERS_PACE: Duration = Duration::from_millis(300);
/// Hosts that are named with one reason.
const NAMED_MAX: usize = 5;

/// The collector's policy, the version on each agent, and what is wrong.
pub(super) fn screen(answer: &Value) -> String {
    let version = number(answer, "/version");
    let which = match version {
        0 => "no policy: agents run their built-in default".to_owned(),
        version => format!("policy {version} (expires {})", text(answer, "/expires")),
    };
    let head = ["HOST", "IN EFFECT", "STATE"];
    let agents = listing(head, items(answer, "/agents"), "no agents", |agent| {
        let state = match (refusal(agent, version), agent["stale"].as_bool()) {
            (Some(_), _) => "refused",
            (None, Some(true)) => "expired, runs on",
            (None, _) if number(agent, "/version_in_effect") == version => "in effect",
            (None, _) => "not answered yet",
        };
        [text(agent, "/host_name"), text(agent, "/version_in_effect"), state.to_owned()]
    });
    format!("{which}\n{}\n{}", agents.trim_end(), refusals(answer, version))
}

/// What `apply` tells at once.
pub(super) fn stored(applied: &Value) -> String {
    let (version, pushed) = (number(applied, "/version"), number(applied, "/pushed_to"));
    format!("policy {version} stored and sent to {pushed} agent(s)")
}

/// What `apply` tells once the agents had time to answer.
pub(super) fn after_apply(applied: &Value, client: &Client) -> anyhow::Result<String> {
    let (version, pushed) = (number(applied, "/version"), number(applied, "/pushed_to"));
    let begun = Instant::now();
    loop {
        let answer = client.get("/api/v1/policy")?;
        let agents = items(&answer, "/agents");
        let count = |wanted: &dyn Fn(&Value) -> bool| agents.iter().filter(|agent| wanted(agent)).count() as u64;
        let running = count(&|agent| number(agent, "/version_in_effect") == version);
        let refused = count(&|agent| refusal(agent, version).is_some());
        if running + refused >= pushed || begun.elapsed() >= ANSWERS_MAX {
            let refusals = refusals(&answer, version);
            return Ok(format!("in effect on {running}, refused by {refused}\n{refusals}"));
        }
        std::thread::sleep(ANSWERS_PACE);
    }
}

/// Why an agent does not run policy `version`. A refusal whose version is 0 is of a document that could not be verified.
fn refusal(agent: &Value, version: u64) -> Option<&str> {
    let refused = &agent["refused"];
    let is_of_it = matches!(number(refused, "/version"), 0) || number(refused, "/version") == version;
    let runs = number(agent, "/version_in_effect") == version;
    refused["reason"].as_str().filter(|_| version > 0 && is_of_it && !runs)
}

/// Each reason once, with who gives it.
fn refusals(answer: &Value, version: u64) -> String {
    let mut hosts: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for agent in items(answer, "/agents") {
        if let Some(reason) = refusal(agent, version) {
            hosts.entry(reason).or_default().push(text(agent, "/host_name"));
        }
    }
    let mut told = String::new();
    for (reason, names) in hosts {
        let named = names.iter().take(NAMED_MAX).map(String::as_str).collect::<Vec<_>>().join(", ");
        let more = names.len().saturating_sub(NAMED_MAX);
        let more = if more > 0 { format!(" and {more} more") } else { String::new() };
        let _ = writeln!(told, "! refused by {named}{more}: {reason}");
    }
    told
}

fn number(value: &Value, pointer: &str) -> u64 {
    value.pointer(pointer).and_then(Value::as_u64).unwrap_or(0)
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;

    fn agent(name: &str, in_effect: u64, refused: &Value) -> Value {
        json!({"host_name": name, "version_in_effect": in_effect, "stale": false, "refused": refused})
    }

    #[test]
    fn who_refuses_is_named_once_with_the_reason_and_an_old_refusal_is_not_told() {
        let untrusted = json!({"version": 0, "reason": "signed by X: trust it"});
        let answer = json!({"version": 4, "expires": "2027-01-01T00:00:00Z", "agents": [
            agent("web-1", 4, &json!({"version": 2, "reason": "of before"})),
            agent("web-2", 0, &untrusted),
            agent("web-3", 0, &untrusted),
            agent("web-4", 3, &json!(null)),
            agent("web-5", 3, &json!({"version": 4, "reason": "rolled back"})),
            agent("web-6", 4, &untrusted),
        ]});
        let told = screen(&answer);
        for line in ["! refused by web-2, web-3: signed by X: trust it", "! refused by web-5: rolled back"] {
            assert!(told.contains(line), "{line} is not in\n{told}");
        }
        assert_eq!(told.matches('!').count(), 2, "{told}");
        let states: Vec<_> = told.lines().skip(2).take(6).map(|line| line.split("  ").last().unwrap()).collect();
        assert_eq!(states, ["in effect", "refused", "refused", "not answered yet", "refused", "in effect"]);
    }

    #[test]
    fn without_policy_and_agents_it_says_so() {
        assert_eq!(
            screen(&json!({"version": 0, "agents": []})),
            "no policy: agents run their built-in default\nno agents\n"
        );
    }
}

//! Looks at everything that the agent needs, one step after the other, from this process: the agent need not run. Each
//! step says what it found and, if that will not do, what to do. Nothing is changed.

mod collector;
mod host;
mod spool;
mod trust;

use crate::config::{Config, Unusable};
use crate::local::{self, Question};
use crate::source::Root;
use crate::status::Status;
use serde::Serialize;
use std::path::Path;

/// What a step came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Outcome {
    /// As it should be.
    Ok,
    /// The agent runs, but lacks something.
    Warn,
    /// The agent cannot do its work.
    Fail,
    /// Not looked at, because of what a step before came to.
    Skip,
}

/// One step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Step {
    /// What was looked at.
    pub name: &'static str,
    /// What it came to.
    pub outcome: Outcome,
    /// What was found.
    pub found: String,
    /// What to do; empty if nothing.
    pub remedy: String,
}

impl Step {
    fn ok(name: &'static str, found: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Ok, found: found.into(), remedy: String::new() }
    }

    fn warn(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Warn, found: found.into(), remedy: remedy.into() }
    }

    fn fail(name: &'static str, found: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { name, outcome: Outcome::Fail, found: found.into(), remedy: remedy.into() }
    }

    fn skip(name: &'static str, because: &str) -> Self {
        Self { name, outcome: Outcome::Skip, found: because.to_owned(), remedy: String::new() }
    }
}

/// All steps in order; `true` with them if the configuration is why the rest was not looked at.
pub async fn run(file: &Path, root: &Root) -> (Vec<Step>, bool) {
    let config = match Config::load(file) {
        Ok(config) => config,
        Err(unusable) => return (unusable_config(file, &unusable), true),
    };
    let mut steps = vec![Step::ok("configuration", file.display().to_string())];
    let status = running(&config);
    let identity = trust::identity(&config, root, file, &mut steps);
    steps.push(trust::certificate(identity.as_ref()));
    steps.push(collector::name(&config).await);
    steps.push(collector::handshake(&config, identity.as_ref()).await);
    steps.push(collector::clock(status.as_ref(), root));
    steps.extend(host::sources(&config, root));
    steps.extend(host::files(&config, root));
    steps.push(host::detectors(&config, status.as_ref()));
    steps.extend(host::disk(&config));
    steps.push(spool::spool(&config, status.as_ref()));
    steps.push(host::kernel(root));
    steps.push(agent(&config, status.as_ref()));
    (steps, false)
}

fn unusable_config(file: &Path, unusable: &Unusable) -> Vec<Step> {
    let steps = match unusable {
        Unusable::Unreadable(error) => vec![Step::fail(
            "configuration",
            format!("{}: {error}", file.display()),
            "name it with `--config`, run as root or the agent's user, or write one: `vedette-agent print-config --reference`",
        )],
        Unusable::Problems(problems) => {
            let step = |problem: &String| match problem.split_once(" — ") {
                Some((found, remedy)) => Step::fail("configuration", found, remedy),
                None => Step::fail("configuration", problem, "mend the file"),
            };
            problems.iter().map(step).collect()
        }
    };
    steps.into_iter().chain([Step::skip("everything else", "it depends on the configuration")]).collect()
}

fn running(config: &Config) -> Option<Status> {
    serde_json::from_str(&local::ask(&config.socket, &Question::Status).ok()?).ok()
}

fn agent(config: &Config, status: Option<&Status>) -> Step {
    let socket = config.socket.display();
    match status {
        Some(status) if status.healthy => Step::ok("agent", format!("runs as process {}, healthy", status.agent.pid)),
        Some(status) => Step::fail(
            "agent",
            format!("runs, not healthy: {}", status.problems.join("; ")),
            "see `vedette-agent status`",
        ),
        None => Step::warn("agent", format!("does not answer on {socket}"), "`systemctl status vedette-agent`"),
    }
}

/// The steps for people.
pub fn render(steps: &[Step]) -> String {
    let mut out = String::new();
    for Step { name, outcome, found, remedy } in steps {
        let word = match outcome {
            Outcome::Ok => "ok  ",
            Outcome::Warn => "WARN",
            Outcome::Fail => "FAIL",
            Outcome::Skip => "-   ",
        };
        out += &format!("{word}  {name:<16} {found}\n");
        if !remedy.is_empty() {
            out += &format!("{:24}do: {remedy}\n", "");
        }
    }
    let count = |of| steps.iter().filter(|step| step.outcome == of).count();
    out + &format!("{} failed, {} to look at\n", count(Outcome::Fail), count(Outcome::Warn))
}

#[cfg(test)]
mod tests;

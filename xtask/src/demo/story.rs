//! What happens after the warm-up, step by step, and what was measured of it.

use super::disturbance::{self, Kind};
use super::fleet::{Fleet, eventually};
use super::outcome::{self, Frames};
use super::service_log::{Random, Service};
use super::watch::Watch;
use crate::measure::{CpuMeter, MemoryWatch, pss_bytes};
use crate::progress::say;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// How long the story waits for the loop to close at each of its steps.
const PATIENCE: Duration = Duration::from_secs(60);
/// The disturbance lasts at least this long, so that there is something to raise resolution for.
const DISTURBED_MIN: Duration = Duration::from_secs(30);
/// An incident resolves after its episodes cleared and a hold.
const RESOLVE_PATIENCE: Duration = Duration::from_secs(300);

/// Everything is warm and connected.
pub(crate) struct Stage<'a> {
    pub(crate) fleet: &'a mut Fleet,
    pub(crate) memory: &'a MemoryWatch,
    pub(crate) service: &'a Service,
    pub(crate) watch: &'a Watch,
    pub(crate) seed: u64,
    pub(crate) warmup: Duration,
}

impl Stage<'_> {
    /// Nothing is disturbed: counts what the product says of a quiet host.
    pub(crate) fn quiet(mut self, duration: Duration) -> Result<Value> {
        say(&format!("nothing happens for {} s: the product should be silent", duration.as_secs()));
        let pids = self.fleet.agent_pids()?;
        let cpu = CpuMeter::start(&pids)?;
        let begun = Instant::now();
        let warm_at = unix_ms();
        while begun.elapsed() < duration {
            std::thread::sleep(Duration::from_secs(1));
            self.fleet.ensure_alive()?;
        }
        let status = self.fleet.agent_status()?;
        let cpu_ratio = cpu.ratio()?;
        let steady = pss_bytes(&pids);
        let findings = self.findings_since(warm_at)?;
        let opened: Vec<&Value> = findings.iter().filter(|finding| finding["event"] == "open").collect();
        for finding in &opened {
            say(&format!("episode on a quiet host: {}", outcome::finding_line(finding)));
        }
        let report = json!({
            "seed": self.seed,
            "disturbance": null,
            "warmup_ms": millis(self.warmup),
            "watched_ms": millis(begun.elapsed()),
            "series": status["series"]["at_1s"],
            "episodes": opened.len(),
            "findings": findings.len(),
            "incidents": self.incident_ids()?.len(),
            "opened": opened,
            "agent": self.agent_report(steady, cpu_ratio),
            "frames": self.drain()?.to_json(),
            "bytes_sent": status["link"]["udp_bytes_sent"],
        });
        Ok(report)
    }

    /// A file is edited, the host is disturbed, an incident opens, is looked into, and resolves.
    pub(crate) fn disturbed(mut self, kind: Kind, outage: Option<Duration>) -> Result<Value> {
        let mut random = Random::new(self.seed);
        let pids = self.fleet.agent_pids()?;
        let cpu = CpuMeter::start(&pids)?;
        let quiet = Duration::from_millis(10_000 + random.below(20_000));
        say(&format!(
            "warm: {} series; the disturbance comes at a random moment",
            self.fleet.agent_status()?["series"]["at_1s"]
        ));
        std::thread::sleep(quiet);
        let cpu_ratio = cpu.ratio()?;
        let steady = pss_bytes(&pids);
        let series = self.fleet.agent_status()?["series"]["at_1s"].clone();

        let edited = self.fleet.edit_watched_file()?;
        say(&format!("edited {}", edited.display()));
        std::thread::sleep(Duration::from_millis(1_000 + random.below(2_000)));
        let known = self.incident_ids()?;
        let begun = Instant::now();
        let mut running = disturbance::start(kind, &self.fleet.scratch())?;
        self.service.set_failing(kind == Kind::CpuAndLogs);
        say(&format!("the disturbance begins: {}", kind.name()));

        let new = |incidents: &[Value]| ids(incidents).find(|id| !known.contains(id));
        let id = self.watch.until("an incident", PATIENCE, new).with_context(|| self.fleet.log_hint())?;
        let opened_after = begun.elapsed();
        say(&format!("incident {id} opened {:.1} s after the first effect", opened_after.as_secs_f64()));
        let directive_after = self.directive_in_effect()?;
        say(&format!("the agent reads the suspects more often: directive in effect after {directive_after} ms"));
        if let Some(outage) = outage {
            self.outage(outage)?;
        }
        let (version_before, version_in_effect) = self.change_policy()?;

        std::thread::sleep(DISTURBED_MIN.saturating_sub(begun.elapsed()));
        let at_worst = self.fleet.ask(&["incidents", "show", &id])?;
        outcome::print_incident(&at_worst);
        running.kill();
        self.service.set_failing(false);
        disturbance::clean(&self.fleet.scratch())?;
        say("the disturbance has ended");
        let resolved = self.resolved(&id)?;
        self.check_resolved_others(&known)?;

        let bytes_sent = self.fleet.agent_status()?["link"]["udp_bytes_sent"].clone();
        let frames = self.drain()?;
        Ok(json!({
            "seed": self.seed,
            "disturbance": kind.name(),
            "warmup_ms": millis(self.warmup),
            "series": series,
            "incident": outcome::incident_summary(&at_worst, millis(opened_after), resolved),
            "directive": { "in_effect_after_ms": directive_after },
            "policy": { "version_before": version_before, "version_in_effect": version_in_effect },
            "agent": self.agent_report(steady, cpu_ratio),
            "frames": frames.to_json(),
            "bytes_sent": bytes_sent,
        }))
    }

    fn incident_ids(&self) -> Result<Vec<String>> {
        Ok(ids(&self.watch.now()?).collect())
    }

    /// Milliseconds from the directive's issue until the agent reported it as in effect.
    fn directive_in_effect(&self) -> Result<u64> {
        eventually("a directive to be in effect", PATIENCE, || {
            let fleet = self.fleet.ask(&["fleet", "list"])?;
            Ok(fleet["agents"][0]["directives_in_effect"][0]["in_effect_after_ms"].as_u64())
        })
    }

    fn outage(&mut self, duration: Duration) -> Result<()> {
        say(&format!("the collector is killed (SIGKILL); it comes back in {} s", duration.as_secs()));
        self.fleet.crash_collector();
        std::thread::sleep(duration);
        self.fleet.restart_collector()?;
        eventually("the agent to reconnect", PATIENCE, || {
            Ok(self.fleet.agent_status().ok().filter(|status| status["link"]["connected"] == true))
        })?;
        say("the agent is connected again");
        Ok(())
    }

    /// Hands a signed policy to the collector and waits until the agent itself says that it runs.
    fn change_policy(&self) -> Result<(u64, u64)> {
        let version = |status: &Value| status["policy"]["version_in_effect"].as_u64();
        let before = version(&self.fleet.agent_status()?).context("the agent's status names no policy version")?;
        self.fleet.apply_policy(before + 1)?;
        let after = eventually("the policy to be in effect", PATIENCE, || {
            Ok(version(&self.fleet.agent_status()?).filter(|version| *version > before))
        })?;
        say(&format!("policy {after} is in effect (was {before})"));
        Ok((before, after))
    }

    fn resolved(&self, id: &str) -> Result<bool> {
        let resolved = |incidents: &[Value]| {
            incidents.iter().any(|one| one["id"] == id && one["state"] == "resolved").then_some(())
        };
        self.watch
            .until("the incident to resolve", RESOLVE_PATIENCE, resolved)
            .with_context(|| self.fleet.log_hint())?;
        say(&format!("incident {id} has resolved"));
        Ok(true)
    }

    /// One disturbance should make one incident; more than one is worth telling.
    fn check_resolved_others(&self, known: &[String]) -> Result<()> {
        let new = self.incident_ids()?.into_iter().filter(|id| !known.contains(id)).count();
        if new != 1 {
            say(&format!("note: the disturbance made {new} incidents"));
        }
        Ok(())
    }

    fn findings_since(&self, since_unix_ms: u64) -> Result<Vec<Value>> {
        let answer = self.fleet.ask(&["fleet", "findings", "--limit", "1000"])?;
        let findings = answer["findings"].as_array().context("`fleet findings` has no findings")?;
        Ok(findings
            .iter()
            .filter(|finding| finding["received_unix_ms"].as_u64() >= Some(since_unix_ms))
            .cloned()
            .collect())
    }

    fn agent_report(&self, steady: u64, cpu_ratio: f64) -> Value {
        json!({ "pss_bytes_steady": steady, "pss_bytes_peak": self.memory.peak_bytes(), "cpu_ratio": cpu_ratio })
    }

    /// Stops the agent, which sends what it has, and compares its counts with the store's.
    fn drain(&mut self) -> Result<Frames> {
        let exit = self.fleet.drain_agent()?;
        ensure!(exit.success(), "the agent ended with {exit}: {}", self.fleet.log_hint());
        let drained = self.fleet.drained()?;
        let ledger = self.fleet.ask(&["fleet", "ledger"])?;
        Frames::reconcile(&drained, &ledger)
    }
}

fn ids(incidents: &[Value]) -> impl Iterator<Item = String> {
    incidents.iter().filter_map(|incident| incident["id"].as_str().map(str::to_owned))
}

fn unix_ms() -> u64 {
    std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).map_or(0, millis)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! What the agent costs beside node_exporter, collectd and netdata: CPU time, memory, bytes, wake-ups, all in one window.

use super::crowd::{Crowd, living};
use super::larger_host::LargerHost;
use super::peers::{self, Peer, Running};
use super::window::{self, Counts, Measured, Outcome, Samples, Subject};
use crate::demo::agent::Agent;
use crate::demo::fleet::Fleet;
use crate::demo::{self, Output, service_log};
use crate::progress::say;
use crate::{build, plugins, prerequisites};
use anyhow::{Context, Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::fs;
use std::path::PathBuf;
use std::time::{Duration, Instant};

/// Memory of agent and worker, at so many series.
const PSS_SERIES: usize = 500;
const PSS_BYTES_MAX: u64 = 30 << 20;
const PSS_BYTES_WANTED: u64 = 20 << 20;
/// CPU time of agent and worker as a share of one core, at so many series.
const CPU_SERIES: usize = 1_000;
const CPU_RATIO_MAX: f64 = 0.005;
const CPU_RATIO_WANTED: f64 = 0.003;
/// Detectors that the promises speak of.
const DETECTORS_PROMISED: usize = 6;
/// A window or a warm-up shorter than these is a trial of the command, and no figure to quote.
const WINDOW_MIN: Duration = Duration::from_secs(120);
const WARM_UP_MIN: Duration = Duration::from_secs(60);

/// Options of the measurement.
#[derive(Args)]
pub(crate) struct AgentArgs {
    /// How long is measured, such as 2m or 20s.
    #[arg(long = "for", value_parser = demo::duration, default_value = "2m")]
    window: Duration,
    /// How long everything runs before. Detectors learn for two minutes.
    #[arg(long, value_parser = demo::duration, default_value = "2m")]
    warm_up: Duration,
    /// Processes on this host; sleeping ones are added up to this number.
    #[arg(long, default_value_t = 250)]
    processes: usize,
    /// Installs peers that are not there, as root through apt; their packages may start services of their own.
    #[arg(long)]
    install: bool,
    /// `json` prints one JSON object as the last line of standard output.
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

/// One of our own: on this host as it is, or on one said to be larger.
struct Own {
    name: String,
    series: Option<usize>,
    agent: Agent,
    _host: Option<LargerHost>,
}

/// Builds, starts everything side by side, measures, prints; fails above a bar.
pub(crate) fn run(args: &AgentArgs) -> Result<()> {
    prerequisites::ensure_c_compiler()?;
    if args.install {
        peers::install()?;
    }
    let binaries = build::binaries()?;
    let modules = plugins::modules(&binaries)?;
    let mut fleet = demo::start_fleet(&binaries, &modules)?;
    // Those that are measured have a binary each.
    fleet.drain_agent()?;
    let _service = service_log::Service::start(fleet.service_log(), 1)?;
    let longest = args.warm_up + args.window + Duration::from_secs(300);
    let _crowd = Crowd::fill_up(args.processes, longest)?;
    let mut owns = [None, Some(PSS_SERIES), Some(CPU_SERIES)]
        .into_iter()
        .map(|series| Own::start(&fleet, series))
        .collect::<Result<Vec<_>>>()?;
    let scratch = Scratch::new()?;
    let (installed, missing): (Vec<_>, Vec<_>) = Peer::ALL.into_iter().partition(|peer| peer.program().is_some());
    let mut running = installed
        .iter()
        .filter_map(|peer| Some((*peer, peer.program()?)))
        .map(|(peer, program)| Running::start(peer, &program, &scratch.0))
        .collect::<Result<Vec<_>>>()?;

    warm_up(args.warm_up, &mut owns, &mut running)?;
    say(&format!("measuring {} programs for {} s", owns.len() + running.len(), args.window.as_secs()));
    let processes = living();
    let outcome = {
        let own = owns.iter().map(|own| Subject {
            name: own.name.clone(),
            pid: own.agent.pid(),
            counts: Box::new(move || own.counts()),
        });
        let peer = running.iter().map(|running| Subject {
            name: running.peer.name().to_owned(),
            pid: running.pid(),
            counts: Box::new(move || running.counts()),
        });
        let subjects: Vec<_> = own.chain(peer).collect();
        window::measure(&subjects, args.window)?
    };
    let statuses = owns.iter().map(|own| own.agent.status()).collect::<Result<Vec<_>>>()?;
    running.into_iter().try_for_each(Running::stop)?;
    let report = Report { args, processes, outcome: &outcome, owns: &owns, statuses: &statuses, missing: &missing };
    match args.output {
        Output::Human => report.print(),
        Output::Json => println!("{}", report.to_json()),
    }
    report.judge()
}

fn warm_up(length: Duration, owns: &mut [Own], peers: &mut [Running]) -> Result<()> {
    say(&format!("warm-up: {} s", length.as_secs()));
    let begun = Instant::now();
    let mut told = 0;
    loop {
        owns.iter_mut().try_for_each(|own| own.agent.ensure_alive())?;
        peers.iter_mut().try_for_each(Running::ensure_alive)?;
        let left = length.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        if begun.elapsed().as_secs() / 30 > told {
            told = begun.elapsed().as_secs() / 30;
            say(&format!("warm-up: {} s of {}", begun.elapsed().as_secs(), length.as_secs()));
        }
        std::thread::sleep(left.min(Duration::from_secs(1)));
    }
}

impl Own {
    fn start(fleet: &Fleet, series: Option<usize>) -> Result<Self> {
        let host = series.map(|series| LargerHost::start(series, 1)).transpose()?;
        let variables = host.as_ref().map(LargerHost::variables).unwrap_or_default();
        let folder = series.map_or_else(|| "this-host".to_owned(), |series| format!("series-{series}"));
        let name = series.map_or_else(|| "vedette, this host".to_owned(), |series| format!("vedette, {series} series"));
        say(&format!("starting an agent: {name}"));
        Ok(Self { agent: fleet.join(&folder, variables, "")?, name, series, _host: host })
    }

    fn counts(&self) -> Result<Counts> {
        let status = self.agent.status()?;
        let samples = status["ledger"]["readings"].as_u64().context("the agent counts no readings")?;
        Ok(Counts { samples: Samples::Counted(samples), sent_bytes: status["link"]["udp_bytes_sent"].as_u64() })
    }
}

/// A folder that other users may enter.
struct Scratch(PathBuf);

impl Scratch {
    fn new() -> Result<Self> {
        use std::os::unix::fs::PermissionsExt;
        let dir = std::env::temp_dir().join(format!("vedette-bench-peers-{}", std::process::id()));
        fs::create_dir(&dir).with_context(|| dir.display().to_string())?;
        fs::set_permissions(&dir, fs::Permissions::from_mode(0o755))?;
        Ok(Self(dir))
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        let _ = fs::remove_dir_all(&self.0);
    }
}

/// All that there is to tell.
struct Report<'a> {
    args: &'a AgentArgs,
    processes: usize,
    outcome: &'a Outcome,
    owns: &'a [Own],
    /// Of our own, after the window.
    statuses: &'a [Value],
    missing: &'a [Peer],
}

/// A promise and what became of it.
struct Promise {
    what: String,
    measured: f64,
    bar: f64,
    wanted: f64,
}

impl Report<'_> {
    fn row(&self, series: usize) -> &Measured {
        let at = self.owns.iter().position(|own| own.series == Some(series));
        &self.outcome.rows[at.expect("it was started")]
    }

    fn promises(&self) -> [Promise; 2] {
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        [
            Promise {
                what: format!("MiB of PSS of agent and worker at {PSS_SERIES} series, highest"),
                measured: mib(self.row(PSS_SERIES).pss_max_bytes),
                bar: mib(PSS_BYTES_MAX),
                wanted: mib(PSS_BYTES_WANTED),
            },
            Promise {
                what: format!("% of a core at {CPU_SERIES} series a second"),
                measured: self.row(CPU_SERIES).cpu_ratio * 100.0,
                bar: CPU_RATIO_MAX * 100.0,
                wanted: CPU_RATIO_WANTED * 100.0,
            },
        ]
    }

    /// Names of the detectors that ran.
    fn detectors(&self) -> Vec<&str> {
        let listed = self.statuses.first().and_then(|status| status["detectors"].as_array());
        listed.into_iter().flatten().filter_map(|detector| detector["name"].as_str()).collect()
    }

    fn is_trial(&self) -> bool {
        self.args.window < WINDOW_MIN || self.args.warm_up < WARM_UP_MIN
    }

    fn print(&self) {
        println!("{}", Measured::head());
        self.outcome.rows.iter().for_each(|row| println!("{}", row.line()));
        for peer in self.missing {
            println!("{:<24} not installed (package {}; --install installs it)", peer.name(), peer.package());
        }
        println!();
        for (own, status) in self.owns.iter().zip(self.statuses) {
            println!(
                "{}: {} series each second, {} in all; {} ticks missed, {} findings opened",
                own.name,
                status["series"]["at_1s"],
                status["series"]["total"],
                status["ticks"]["missed"],
                status["ledger"]["emitted"]
            );
        }
        println!(
            "{:.0} s after {} s of warm-up, {} processes; the machine was busy for {:.0} % of its time.",
            self.outcome.seconds,
            self.args.warm_up.as_secs(),
            self.processes,
            self.outcome.machine_busy_ratio * 100.0
        );
        println!(
            "{} of the {DETECTORS_PROMISED} detectors that the promises speak of are bundled and ran: {}.",
            self.detectors().len(),
            self.detectors().join(", ")
        );
        println!(
            "Agents at {PSS_SERIES} and {CPU_SERIES} series read a made-up stat, diskstats and net/dev in memory, which \
             costs less than the kernel's own; all else is this host's. 3,000 series are more than the sources have room for."
        );
        for Promise { what, measured, bar, wanted } in self.promises() {
            let verdict = if measured > bar {
                "MISSED"
            } else if measured > wanted {
                "kept, the wanted one missed"
            } else {
                "kept, the wanted one too"
            };
            println!("{measured:.2} {what}: at most {bar}, wanted {wanted}: {verdict}");
        }
        if self.is_trial() {
            println!("This was a trial: figures to quote take {} s and more.", WINDOW_MIN.as_secs());
        }
    }

    fn to_json(&self) -> Value {
        let rows: Vec<Value> = self
            .outcome
            .rows
            .iter()
            .enumerate()
            .map(|(at, row)| {
                let mut json = row.to_json();
                if let Some(status) = self.statuses.get(at) {
                    json["series_each_second"] = status["series"]["at_1s"].clone();
                    json["series"] = status["series"]["total"].clone();
                    json["ticks_missed"] = status["ticks"]["missed"].clone();
                    json["findings_opened"] = status["ledger"]["emitted"].clone();
                }
                json
            })
            .collect();
        let promises = self.promises().map(|Promise { what, measured, bar, wanted }| {
            json!({ "what": what, "measured": measured, "bar": bar, "wanted": wanted, "kept": measured <= bar })
        });
        json!({
            "window_s": self.outcome.seconds,
            "warm_up_s": self.args.warm_up.as_secs(),
            "is_trial": self.is_trial(),
            "processes": self.processes,
            "machine_busy_ratio": self.outcome.machine_busy_ratio,
            "detectors": self.detectors(),
            "detectors_promised": DETECTORS_PROMISED,
            "not_installed": self.missing.iter().map(|peer| peer.name()).collect::<Vec<_>>(),
            "rows": rows,
            "promises": promises,
        })
    }

    fn judge(&self) -> Result<()> {
        for (own, status) in self.owns.iter().zip(self.statuses) {
            ensure!(status["ticks"]["missed"] == 0, "{}: {} ticks were missed", own.name, status["ticks"]["missed"]);
        }
        for Promise { what, measured, bar, .. } in self.promises() {
            ensure!(measured <= bar, "{measured:.2} {what}: more than {bar}");
        }
        Ok(())
    }
}

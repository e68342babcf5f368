//! The main job end to end on this host, through the product's public commands and the operating system alone.

pub(crate) mod agent;
pub(crate) mod disturbance;
pub(crate) mod fleet;
pub(crate) mod outcome;
pub(crate) mod service_log;
mod story;
mod watch;

use crate::build::Binaries;
use crate::measure::MemoryWatch;
use crate::progress::say;
use crate::{build, plugins, prerequisites};
use anyhow::{Result, ensure};
use clap::{Args, ValueEnum};
use disturbance::Kind;
use fleet::Fleet;
use std::path::PathBuf;
use std::time::Duration;

/// Time from the agent's start until the demo goes on; the same in every mode.
const WARMUP_MAX: Duration = Duration::from_secs(120);

/// Options of the demo.
#[derive(Args)]
pub(crate) struct DemoArgs {
    /// What happens to this host after the warm-up.
    #[arg(long, value_enum, default_value_t = Kind::CpuAndLogs)]
    disturbance: Kind,
    /// Shows a quiet host instead: nothing is disturbed, episodes and findings are counted.
    #[arg(long, conflicts_with_all = ["disturbance", "outage"])]
    no_disturbance: bool,
    /// How long to watch the quiet host after the warm-up, such as 10m or 90s.
    #[arg(long = "for", value_parser = duration, default_value = "2m", requires = "no_disturbance")]
    duration: Duration,
    /// Kills the collector with SIGKILL in the middle and starts it again after this long.
    #[arg(long, value_parser = duration)]
    outage: Option<Duration>,
    /// Chooses the random moments; printed, so that a run can be had again.
    #[arg(long)]
    seed: Option<u64>,
    /// `json` prints one JSON object as the last line of standard output.
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
    /// Leaves agent and collector running and says how to look at them.
    #[arg(long)]
    keep: bool,
}

#[derive(Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(crate) enum Output {
    Human,
    Json,
}

/// Builds what is missing, then runs the demo.
pub(crate) fn run(args: &DemoArgs) -> Result<()> {
    prerequisites::ensure_c_compiler()?;
    let binaries = build::binaries()?;
    let modules = plugins::modules(&binaries)?;
    let seed = args.seed.unwrap_or_else(fresh_seed);
    say(&format!("seed {seed}"));

    let memory = MemoryWatch::start();
    let mut fleet = start_fleet(&binaries, &modules)?;
    memory.set_pids(&fleet.agent_pids()?);
    let service = service_log::Service::start(fleet.service_log(), seed)?;
    let watch = watch::Watch::start(fleet.asker());
    let warmup = warm_up(&mut fleet)?;
    let stage = story::Stage { fleet: &mut fleet, memory: &memory, service: &service, watch: &watch, seed, warmup };
    let report = if args.no_disturbance {
        stage.quiet(args.duration)?
    } else {
        stage.disturbed(args.disturbance, args.outage)?
    };

    if args.output == Output::Json {
        println!("{report}");
    } else {
        outcome::print_human(&report);
    }
    if args.keep {
        fleet.keep()?;
    }
    Ok(())
}

/// A collector and an agent with these detectors, signed by an author of their own.
pub(crate) fn start_fleet(binaries: &Binaries, modules: &[PathBuf]) -> Result<Fleet> {
    Fleet::start(binaries, |dir| {
        let key = dir.join("author.key");
        let public = fleet::keygen(&binaries.cli, "detector", &key)?;
        modules.iter().try_for_each(|module| plugins::sign(binaries, module, &key, &dir.join("detectors")))?;
        Ok(public)
    })
}

/// Waits until the agent says that its detectors have learnt, then until the fixed time is over.
fn warm_up(fleet: &mut Fleet) -> Result<Duration> {
    let start = std::time::Instant::now();
    say(&format!("warm-up: detectors learn what is usual here ({} s)", WARMUP_MAX.as_secs()));
    let mut told = 0;
    loop {
        std::thread::sleep(Duration::from_secs(1));
        fleet.ensure_alive()?;
        let elapsed = start.elapsed();
        if elapsed.as_secs() / 30 > told {
            told = elapsed.as_secs() / 30;
            say(&format!("warm-up: {} s of {}", elapsed.as_secs(), WARMUP_MAX.as_secs()));
        }
        if elapsed >= WARMUP_MAX - Duration::from_secs(2) {
            let status = fleet.agent_status()?;
            ensure!(
                status["warm"] == true,
                "the agent is not warm after {} s: see {}",
                elapsed.as_secs(),
                fleet.log_hint()
            );
            return Ok(elapsed);
        }
    }
}

fn fresh_seed() -> u64 {
    let now = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH).unwrap_or_default();
    u64::from(now.subsec_nanos()) ^ u64::from(std::process::id())
}

/// Reads `90s`, `10m` or `1h`.
pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    let digits = text.trim_end_matches(|c: char| c.is_ascii_alphabetic());
    let number: u64 = digits.parse().map_err(|_| format!("`{text}` is no duration: try 30s or 10m"))?;
    match &text[digits.len()..] {
        "s" | "" => Ok(Duration::from_secs(number)),
        "m" => Ok(Duration::from_secs(number * 60)),
        "h" => Ok(Duration::from_secs(number * 3600)),
        unit => Err(format!("`{unit}` is no unit: use s, m or h")),
    }
}

//! Measures calibration: episodes per clean host and day at two budgets, and what is found of steps, ramps and
//! disturbances, with the bundled detectors in virtual time.
//!
//! `cargo run --release -p vedette-sim --example calibration -- --host-days 200 --seeds 20 [--first-seed 1000]
//! [--only clean|clean10|steps|ramps|disturbances]`. One core; a host-day takes about two seconds.

mod clean;
mod faults;
mod mix;
mod native;
mod report;

use std::process::ExitCode;
use vedette_edge::pipeline::PipelineConfig;
use vedette_protocol::ids::HostId;
use vedette_protocol::policy::Policy;
use vedette_sim::{Host, Rig, Scorer, Seed};

/// What to run.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) host_days: u64,
    pub(crate) seeds: u64,
    pub(crate) first_seed: u64,
    pub(crate) only: Option<String>,
    pub(crate) verbose: bool,
}

/// The default budget of false episodes per host and day.
pub(crate) const BUDGET: f64 = 0.1;

fn main() -> ExitCode {
    let plan = match plan(std::env::args().skip(1)) {
        Ok(plan) => plan,
        Err(problem) => {
            eprintln!(
                "{problem}\nusage: calibration [--host-days N] [--seeds N] [--first-seed N] [--only PART] [--verbose]"
            );
            return ExitCode::from(2);
        }
    };
    let wanted = |part: &str| plan.only.as_ref().is_none_or(|only| only == part);
    println!("seeds {} to {}", plan.first_seed, plan.first_seed + plan.seeds - 1);
    if wanted("disturbances") {
        faults::disturbances(&plan);
    }
    if wanted("steps") {
        faults::steps(&plan);
    }
    if wanted("ramps") {
        faults::ramps(&plan);
    }
    if wanted("clean10") {
        // Ten times the budget gives ten times the episodes: a third of the days tells as much.
        clean::run(&plan, 10.0 * BUDGET, (plan.host_days / plan.seeds).max(1), plan.seeds.div_ceil(3));
    }
    if wanted("clean") {
        clean::run(&plan, BUDGET, (plan.host_days / plan.seeds).max(1), plan.seeds);
    }
    ExitCode::SUCCESS
}

fn plan(mut arguments: impl Iterator<Item = String>) -> Result<Plan, String> {
    let mut plan = Plan { host_days: 200, seeds: 20, first_seed: 1_000, only: None, verbose: false };
    while let Some(argument) = arguments.next() {
        let mut value = || arguments.next().ok_or(format!("{argument} lacks its value"));
        let number = |text: String| text.parse::<u64>().map_err(|_| format!("{text} is no whole number"));
        match argument.as_str() {
            "--host-days" => plan.host_days = number(value()?)?,
            "--seeds" => plan.seeds = number(value()?)?.max(1),
            "--first-seed" => plan.first_seed = number(value()?)?,
            "--only" => plan.only = Some(value()?),
            "--verbose" => plan.verbose = true,
            _ => return Err(format!("{argument} is unknown")),
        }
    }
    Ok(plan)
}

/// An agent with the bundled detectors over a host.
pub(crate) fn rig(host: Host, seed: Seed, budget: f64) -> Rig {
    let mut id = [0; 16];
    id[..8].copy_from_slice(&seed.0.to_le_bytes());
    let config = PipelineConfig {
        host: HostId(id),
        policy: Policy { episodes_per_day: budget, ..Policy::default() },
        series_max: 4_000,
        templates_max: 1_000,
        sources: host.sources(),
    };
    let scorers: Vec<Box<dyn Scorer>> = vec![
        native::Native::<vedette_level::Level>::boxed(),
        native::Native::<vedette_exhaustion::Exhaustion>::boxed(),
        native::Native::<vedette_flatline::Flatline>::boxed(),
        native::Native::<vedette_seasonal::Seasonal>::boxed(),
        native::Native::<vedette_log_novelty::LogNovelty>::boxed(),
        native::Native::<vedette_novelty::Novelty>::boxed(),
        native::Native::<vedette_rarity::Rarity>::boxed(),
    ];
    Rig::with(config, host, scorers)
}

//! Hosts on which nothing is wrong: every episode is false.

use crate::report::{metric, openings, poisson_interval, series};
use crate::{Plan, mix, rig};
use std::collections::BTreeMap;
use std::time::{Duration, Instant};
use vedette_sim::Seed;

const HOUR: Duration = Duration::from_secs(3_600);
/// Openings closer than this are one occasion, as a person would see them.
const OCCASION_S: f64 = 60.0;

/// Runs `hosts` hosts for `days` each at a budget and prints the rates.
pub(crate) fn run(plan: &Plan, budget: f64, days: u64, hosts: u64) {
    let began = Instant::now();
    let mut by_shape: BTreeMap<&str, u64> = BTreeMap::new();
    let mut by_day = vec![0_u64; usize::try_from(days).expect("few days")];
    let (mut episodes, mut occasions, mut first_hour) = (0, 0, 0);
    for number in 0..hosts {
        let seed = Seed(plan.first_seed + number);
        let mut rig = rig(mix::host(seed).0, seed, budget);
        let mut last = f64::NEG_INFINITY;
        for _ in 0..days * 24 {
            rig.run(HOUR);
            for (at, finding) in openings(rig.take_sent()) {
                episodes += 1;
                occasions += u64::from(at - last > OCCASION_S);
                last = at;
                first_hour += u64::from(at < 3_600.0);
                let day = (at / 86_400.0).floor();
                by_day.iter_mut().zip(0_u32..).filter(|(_, d)| f64::from(*d) == day).for_each(|(count, _)| *count += 1);
                *by_shape.entry(mix::shape_of(metric(&finding))).or_default() += 1;
                if plan.verbose {
                    println!(
                        "  seed {} hour {:.2} {} {} score {:.1} surprise {:.1} observed {:.3} expected {:.3} band {:.3}..{:.3} interval-ish {}",
                        seed.0,
                        at / 3_600.0,
                        finding.detector.name,
                        series(&finding),
                        finding.score,
                        finding.surprise,
                        finding.observed,
                        finding.expected,
                        finding.lower,
                        finding.upper,
                        finding.onset_uncertainty_ms
                    );
                }
            }
        }
        eprintln!(
            "clean at {budget}: {} of {hosts} hosts, {episodes} episodes, {:.0} s",
            number + 1,
            began.elapsed().as_secs_f64()
        );
    }
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let per_day = |count: u64, of_days: u64| {
        let (low, high) = poisson_interval(count);
        let of_days = of_days as f64;
        format!("{:.3} [{:.3}, {:.3}]", count as f64 / of_days, low / of_days, high / of_days)
    };
    let host_days = days * hosts;
    println!(
        "\nclean hosts, budget {budget} a host and day: {host_days} host-days ({hosts} hosts of {days} days), start-up included"
    );
    println!("| what | count | per host and day [95 % Poisson] |\n|---|---|---|");
    println!("| **episodes** | {episodes} | {} |", per_day(episodes, host_days));
    println!("| occasions (openings within a minute are one) | {occasions} | {} |", per_day(occasions, host_days));
    println!("| first hour | {first_hour} | {} of the first days |", per_day(first_hour, hosts));
    println!("| day one | {} | {} |", by_day[0], per_day(by_day[0], hosts));
    if days > 1 {
        println!(
            "| after day one | {} | {} |",
            episodes - by_day[0],
            per_day(episodes - by_day[0], (days - 1) * hosts)
        );
    }
    println!("| by day | {by_day:?} | |");
    for kind in &mix::KINDS {
        let count = by_shape.get(kind.name).copied().unwrap_or(0);
        println!("| {} | {count} | {} |", kind.name, per_day(count, host_days));
    }
    println!("| log | {} | |", by_shape.get("log").copied().unwrap_or(0));
    println!(
        "({:.0} s, {:.2} s a host-day)",
        began.elapsed().as_secs_f64(),
        began.elapsed().as_secs_f64() / host_days as f64
    );
}

//! Hosts on which something is wrong: what is found, and when.

use crate::report::{metric, openings, series, share_interval};
use crate::{BUDGET, Plan, mix, rig};
use std::collections::BTreeMap;
use std::time::Duration;
use vedette_sim::{Fault, FaultKind, Host, LineTemplate, Seed};

const SECOND: Duration = Duration::from_secs(1);

/// What a step is measured in where a series has bursts: its noise between them, or all that it does.
const WITH_BURSTS: &str = "bursts, all in sigma";

/// Steps of six standard deviations, one series at a time, half an hour apart, after half a day of life; on one series
/// of each shape and host, at an interval that is drawn. Where there are bursts, on another one as well, by the standard
/// deviation of its values with the bursts in them.
pub(crate) fn steps(plan: &Plan) {
    const BEGIN_S: u64 = 43_200;
    const APART_S: u64 = 1_800;
    let mut found: BTreeMap<(&str, u32), (usize, usize, Vec<u32>)> = BTreeMap::new();
    let mut others = 0;
    let hosts = plan.seeds;
    for number in 0..hosts {
        let seed = Seed(plan.first_seed + 50_000 + number);
        let (mut host, members) = mix::host(seed);
        let mut rng = seed.rng("steps");
        let mut truth = Vec::new();
        let mut candidates = Vec::new();
        for kind in &mix::KINDS {
            let alike: Vec<_> =
                members.iter().filter(|member| member.shape == kind.name && member.sigma > 0.0).collect();
            if !alike.is_empty() {
                let member = *rng.pick(&alike);
                candidates.push((kind.name, member, member.sigma));
                let bursty: Vec<_> = alike
                    .iter()
                    .filter(|other| other.series != member.series && other.sigma_with_bursts > other.sigma)
                    .collect();
                if !bursty.is_empty() {
                    let member = **rng.pick(&bursty);
                    candidates.push((WITH_BURSTS, member, member.sigma_with_bursts));
                }
            }
        }
        let mut order: Vec<usize> = (0..candidates.len()).collect();
        for at in (1..order.len()).rev() {
            order.swap(at, usize::try_from(rng.below(at as u64 + 1)).expect("small"));
        }
        let mut at_s = BEGIN_S;
        for index in order {
            let (shape, member, sigma) = candidates[index];
            let interval_s = u64::from(member.interval_ms / 1_000);
            let (start, length) = (at_s.next_multiple_of(interval_s), 40 * interval_s);
            let (start, end) = (Duration::from_secs(start), Duration::from_secs(start + length));
            host.inject(member.series, Fault::new(FaultKind::Step { by: 6.0 * sigma }, start, end));
            truth.push((host.name(member.series).to_owned(), shape, member, start));
            at_s += length + APART_S;
        }
        let mut rig = rig(host, seed, BUDGET);
        rig.run(Duration::from_secs(at_s));
        let opened = openings(rig.take_sent());
        let mut explained = vec![false; opened.len()];
        for (name, shape, member, start) in &truth {
            let interval_s = f64::from(member.interval_ms) / 1_000.0;
            let mut best = None;
            for (used, (at, finding)) in explained.iter_mut().zip(&opened) {
                let since = (at - start.as_secs_f64()) / interval_s;
                if series(finding) == *name && (0.0..=90.0).contains(&since) {
                    *used = true;
                    best = Some(best.map_or(since, |best: f64| best.min(since)));
                }
            }
            let entry = found.entry((*shape, member.interval_ms / 1_000)).or_default();
            entry.1 += 1;
            #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at most ninety samples")]
            if let Some(samples) = best.filter(|samples| *samples < 30.0) {
                entry.0 += 1;
                entry.2.push(samples as u32 + 1);
            } else if plan.verbose {
                println!(
                    "  missed: seed {} {shape} {name} sigma {:.4} at {:.0} s, found after {best:?}",
                    seed.0,
                    member.sigma,
                    start.as_secs_f64()
                );
            }
        }
        others += explained.iter().filter(|used| !**used).count();
        eprintln!("steps: {} of {hosts} hosts", number + 1);
    }
    println!("\nsteps of 6 sigma on one series, budget {BUDGET}, after twelve hours of life:");
    println!(
        "| shape | interval, s | found within 30 samples | share [95 %] | median delay, samples |\n|---|---|---|---|---|"
    );
    let (mut hits, mut of) = (0, 0);
    for ((shape, interval_s), (shape_hits, shape_of, delays)) in &mut found {
        delays.sort_unstable();
        let median = delays.get(delays.len() / 2).map_or("-".to_owned(), u32::to_string);
        println!(
            "| {shape} | {interval_s} | {shape_hits} of {shape_of} | {} | {median} |",
            share(*shape_hits, *shape_of)
        );
        if *shape != WITH_BURSTS {
            hits += *shape_hits;
            of += *shape_of;
        }
    }
    println!(
        "| **all but the last kind of bursts** | | {hits} of {of} | {} | |\nepisodes beside them: {others}",
        share(hits, of)
    );
}

/// Ramps of ten standard deviations over one to thirty minutes, then held for five, on series read each second.
pub(crate) fn ramps(plan: &Plan) {
    let lengths_s = [60, 160, 300, 600, 1_800];
    let hosts = plan.seeds.min(6);
    println!("\nramps, then held for 300 s, after six hours of life, budget {BUDGET}:");
    println!("| what | ramp, s | found while ramped or held | median delay, s |\n|---|---|---|---|");
    for (what, metric_name, sigmas, by) in [
        ("CPU to +0.5, one series", "system.cpu.utilization", 0.0, 0.5),
        ("memory to +0.3, one series", "system.memory.utilization", 0.0, 0.3),
        ("disk to +0.2, one series", "system.filesystem.utilization", 0.0, 0.2),
        ("temperature by 12 sigma, one series", "hw.temperature", 12.0, 0.0),
        ("connections by 12 sigma, one series", "system.network.connection.count", 12.0, 0.0),
    ] {
        for length_s in lengths_s {
            let mut delays = Vec::new();
            for number in 0..hosts {
                let seed = Seed(plan.first_seed + 60_000 + number);
                let (mut host, members) = mix::host(seed);
                let member = members
                    .iter()
                    .find(|member| member.interval_ms == 1_000 && host.name(member.series).starts_with(metric_name))
                    .expect("each shape is there each second");
                let name = host.name(member.series).to_owned();
                let start = 21_600;
                let up = sigmas * member.sigma + by;
                let (from, top) = (Duration::from_secs(start), Duration::from_secs(start + length_s));
                host.inject(member.series, Fault::new(FaultKind::Ramp { by: up }, from, top));
                host.inject(member.series, Fault::new(FaultKind::Step { by: up }, top, top + 300 * SECOND));
                let mut rig = rig(host, seed, BUDGET);
                rig.run(top + 300 * SECOND);
                let opened = openings(rig.take_sent());
                let hit = opened.iter().find(|(at, finding)| *at >= from.as_secs_f64() && series(finding) == name);
                delays.extend(hit.map(|(at, _)| at - from.as_secs_f64()));
            }
            delays.sort_by(f64::total_cmp);
            let median = delays.get(delays.len() / 2).map_or("-".to_owned(), |delay| format!("{delay:.0}"));
            println!("| {what} | {length_s} | {} of {hosts} | {median} |", delays.len());
        }
    }
}

/// What the demonstration does to a host, right after a warm-up of two minutes and after ten.
pub(crate) fn disturbances(plan: &Plan) {
    let hosts = (2 * plan.seeds).min(40);
    println!("\ndisturbances of a two-core server of 59 series, budget {BUDGET}:");
    println!(
        "| what | at, s | an episode within 10 s of it | median delay, s | episodes before it |\n|---|---|---|---|---|"
    );
    for start in [120_u64, 600] {
        for what in ["cpu", "memory", "disk", "log"] {
            let (mut delays, mut early) = (Vec::new(), 0);
            for number in 0..hosts {
                let seed = Seed(plan.first_seed + 70_000 + number);
                let mut rig = rig(disturbed(seed, what, start), seed, BUDGET);
                rig.run(Duration::from_secs(start + 30));
                let opened = openings(rig.take_sent());
                early += opened.iter().filter(|(at, _)| *at < start as f64).count();
                let hit = opened.iter().find(|(at, _)| *at >= start as f64);
                if let Some((at, finding)) = hit {
                    delays.push(at - start as f64);
                    if plan.verbose {
                        println!("  {what} {start} {}: {} {at}", seed.0, metric(finding));
                    }
                }
            }
            delays.sort_by(f64::total_cmp);
            let soon = delays.iter().filter(|delay| **delay <= 10.0).count();
            let median = delays.get(delays.len() / 2).map_or("-".to_owned(), |delay| format!("{delay:.0}"));
            println!("| {what} | {start} | {soon} of {hosts} | {median} | {early} |");
        }
    }
}

fn disturbed(seed: Seed, what: &str, start_s: u64) -> Host {
    let mut host = Host::typical(seed);
    let (from, to) = (Duration::from_secs(start_s), Duration::from_secs(start_s + 60));
    let mut inject = |name: &str, kind: FaultKind| {
        let series = host.series(name).expect("a typical host has it");
        host.inject(series, Fault::new(kind, from, to));
    };
    match what {
        "cpu" => {
            inject("system.cpu.utilization{cpu.mode=\"user\"}", FaultKind::Step { by: 0.5 });
            inject("system.cpu.utilization{cpu.logical_number=\"1\",cpu.mode=\"user\"}", FaultKind::Step { by: 0.9 });
            inject("system.linux.cpu.load_1m", FaultKind::Ramp { by: 0.63 });
        }
        "memory" => {
            let taken = |by| FaultKind::Step { by };
            inject("system.memory.utilization{system.memory.state=\"used\"}", taken(0.3));
            inject("system.memory.utilization{system.memory.state=\"free\"}", taken(-0.18));
        }
        "disk" => {
            // 130 MB/s onto 250 GB.
            inject(
                "system.filesystem.utilization{system.filesystem.mountpoint=\"/var\"}",
                FaultKind::Ramp { by: 0.031 },
            );
            inject("system.disk.io{disk.io.direction=\"write\",system.device=\"sda\"}", FaultKind::Step { by: 1.3e8 });
        }
        _ => host.burst(
            "/var/log/web/access.log",
            LineTemplate::between("ERROR upstream {ip} refused {int}", 20.0, from, to),
        ),
    }
    host
}

fn share(hits: usize, of: usize) -> String {
    let (low, high) = share_interval(hits, of);
    #[expect(clippy::cast_precision_loss, reason = "counts far below 2^52")]
    let share = hits as f64 / of.max(1) as f64;
    format!("{:.1} % [{:.1}, {:.1}]", 100.0 * share, 100.0 * low, 100.0 * high)
}

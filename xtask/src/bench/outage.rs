//! The collector is away for a while: what it costs an agent at its default rates, and that all of it arrives afterwards.

use crate::demo::fleet::{Fleet, eventually};
use crate::demo::outcome::Frames;
use crate::demo::{self, Output, service_log};
use crate::measure::{CpuMeter, MemoryWatch, pss_anonymous_bytes, pss_bytes};
use crate::progress::say;
use crate::{build, plugins, prerequisites};
use anyhow::{Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Agent and worker together never need more, collector or not.
const PSS_BYTES_MAX: u64 = 30 << 20;
/// From the first look of the outage to the last: the spool's window in memory (1 MiB), the flight recorder's share
/// (4 MiB), which fills over hours whether the collector is there or not, and what an allocator does not give back.
const GROWTH_BYTES_MAX: u64 = 6 << 20;
/// Between two looks; shorter for a short outage.
const LOOK: Duration = Duration::from_secs(60);
const LOOKS_MIN: u32 = 5;
/// A collector that is back is found within the longest back-off and a handshake.
const RECONNECT_MAX: Duration = Duration::from_secs(60);
const REPLAY_MAX: Duration = Duration::from_secs(600);

/// Options of the outage.
#[derive(Args)]
pub(crate) struct OutageArgs {
    /// How long the collector is away, such as 1h or 5m.
    #[arg(long = "for", value_parser = demo::duration, default_value = "1h")]
    away: Duration,
    /// How long everything runs before.
    #[arg(long, value_parser = demo::duration, default_value = "2m")]
    warm_up: Duration,
    /// `json` prints one JSON object as the last line of standard output.
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

/// The agent at one moment of the outage.
struct Look {
    at: Duration,
    pss_bytes: u64,
    anonymous_bytes: u64,
    spool_memory_bytes: u64,
    spool_disk_bytes: u64,
    pending: u64,
    shed: u64,
    ticks_missed: u64,
}

/// Builds, takes the collector away, brings it back, and counts.
pub(crate) fn run(args: &OutageArgs) -> Result<()> {
    prerequisites::ensure_c_compiler()?;
    let binaries = build::binaries()?;
    let modules = plugins::modules(&binaries)?;
    let mut fleet = demo::start_fleet(&binaries, &modules)?;
    let _service = service_log::Service::start(fleet.service_log(), 1)?;
    say(&format!("warm-up: {} s", args.warm_up.as_secs()));
    wait(&mut fleet, args.warm_up)?;

    let pids = fleet.agent_pids()?;
    let memory = MemoryWatch::start();
    memory.set_pids(&pids);
    let before = look(&fleet, &pids, Duration::ZERO)?;
    say(&format!("the collector is killed (SIGKILL); it comes back in {} s", args.away.as_secs()));
    fleet.crash_collector();
    let cpu = CpuMeter::start(&pids)?;
    let looks = watch(&mut fleet, &pids, args.away)?;
    let cpu_ratio = cpu.ratio()?;

    fleet.restart_collector()?;
    let back = Instant::now();
    eventually("the agent to reconnect", RECONNECT_MAX, || {
        Ok(fleet.agent_status().ok().filter(|status| status["link"]["connected"] == true))
    })?;
    let reconnected = back.elapsed();
    say(&format!("connected again after {:.1} s", reconnected.as_secs_f64()));
    eventually("all that waited to be settled", REPLAY_MAX, || {
        Ok((fleet.agent_status()?["spool"]["pending"] == 0).then_some(()))
    })?;
    let replayed = back.elapsed().saturating_sub(reconnected);
    say(&format!("all that waited is settled {:.1} s later", replayed.as_secs_f64()));
    let exit = fleet.drain_agent()?;
    ensure!(exit.success(), "the agent ended with {exit}: {}", fleet.log_hint());
    let frames = Frames::reconcile(&fleet.drained()?, &fleet.ask(&["fleet", "ledger"])?)?.to_json();

    let report = json!({
        "away_s": args.away.as_secs(),
        "before": before.to_json(),
        "looks": looks.iter().map(Look::to_json).collect::<Vec<_>>(),
        "growth_bytes": growth_bytes(&looks),
        "pss_bytes_peak": memory.peak_bytes(),
        "cpu_ratio": cpu_ratio,
        "reconnected_after_ms": millis(reconnected),
        "replayed_after_ms": millis(replayed),
        "frames": frames,
    });
    match args.output {
        Output::Json => println!("{report}"),
        Output::Human => print(&before, &looks, &report),
    }
    judge(&report, &looks)
}

/// Looks again and again until the time is over.
fn watch(fleet: &mut Fleet, pids: &[u32], away: Duration) -> Result<Vec<Look>> {
    let begun = Instant::now();
    let pace = LOOK.min(away / LOOKS_MIN);
    let mut looks: Vec<Look> = Vec::new();
    while begun.elapsed() + pace / 2 < away {
        let next = pace * u32::try_from(looks.len() + 1).unwrap_or(u32::MAX);
        wait(fleet, next.min(away).saturating_sub(begun.elapsed()))?;
        let look = look(fleet, pids, begun.elapsed())?;
        say(&look.line());
        looks.push(look);
    }
    Ok(looks)
}

/// Waits, and notices if something ends.
fn wait(fleet: &mut Fleet, length: Duration) -> Result<()> {
    let begun = Instant::now();
    loop {
        fleet.ensure_alive()?;
        let left = length.saturating_sub(begun.elapsed());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_secs(1)));
    }
}

fn look(fleet: &Fleet, pids: &[u32], at: Duration) -> Result<Look> {
    let (pss_bytes, anonymous_bytes) = (pss_bytes(pids), pss_anonymous_bytes(pids));
    let status = fleet.agent_status()?;
    let spool = &status["spool"];
    Ok(Look {
        at,
        pss_bytes,
        anonymous_bytes,
        spool_memory_bytes: count(spool, "bytes"),
        spool_disk_bytes: count(&spool["disk"], "bytes"),
        pending: count(spool, "pending"),
        shed: shed(spool),
        ticks_missed: count(&status["ticks"], "missed"),
    })
}

fn count(of: &Value, name: &str) -> u64 {
    of[name].as_u64().unwrap_or(0)
}

/// Of all classes.
fn shed(spool: &Value) -> u64 {
    ["finding", "feature", "log"].iter().map(|class| count(&spool["shed"], class)).sum()
}

fn growth_bytes(looks: &[Look]) -> u64 {
    let first_and_last = looks.first().zip(looks.last());
    first_and_last.map_or(0, |(first, last)| last.pss_bytes.saturating_sub(first.pss_bytes))
}

fn judge(report: &Value, looks: &[Look]) -> Result<()> {
    let (frames, peak) = (&report["frames"], count(report, "pss_bytes_peak"));
    ensure!(frames["lost"] == 0 && frames["doubled"] == 0, "batches were lost or counted twice: {frames}");
    ensure!(frames["shed"] == 0, "an outage this short sheds nothing: {frames}");
    ensure!(peak <= PSS_BYTES_MAX, "memory peaked at {peak} bytes, more than {PSS_BYTES_MAX}");
    let growth = growth_bytes(looks);
    ensure!(growth <= GROWTH_BYTES_MAX, "memory grew by {growth} bytes, more than {GROWTH_BYTES_MAX}");
    Ok(())
}

fn print(before: &Look, looks: &[Look], report: &Value) {
    println!("before: {}", before.line());
    looks.iter().for_each(|look| println!("{}", look.line()));
    let (frames, mib) = (&report["frames"], |name: &str| count(report, name) as f64 / f64::from(1 << 20));
    println!(
        "\npeak {:.1} MiB, growth {:.1} MiB, {:.3} % of a core while away; connected again after {} ms, all settled {} ms \
         later;\nbatches made {}, committed {}, shed {}, lost {}, counted twice {}",
        mib("pss_bytes_peak"),
        mib("growth_bytes"),
        report["cpu_ratio"].as_f64().unwrap_or(f64::NAN) * 100.0,
        report["reconnected_after_ms"],
        report["replayed_after_ms"],
        frames["sent"],
        frames["committed"],
        frames["shed"],
        frames["lost"],
        frames["doubled"],
    );
}

impl Look {
    fn line(&self) -> String {
        let (kib, mib) = (|bytes: u64| bytes / 1_024, |bytes: u64| bytes as f64 / f64::from(1 << 20));
        format!(
            "{:>5} s: {:.1} MiB PSS, {:.1} of it no file's; {} batches wait, {} KiB on disk, {} KiB in memory; {} shed, {} ticks missed",
            self.at.as_secs(),
            mib(self.pss_bytes),
            mib(self.anonymous_bytes),
            self.pending,
            kib(self.spool_disk_bytes),
            kib(self.spool_memory_bytes),
            self.shed,
            self.ticks_missed,
        )
    }

    fn to_json(&self) -> Value {
        json!({
            "at_s": self.at.as_secs(),
            "pss_bytes": self.pss_bytes,
            "pss_anonymous_bytes": self.anonymous_bytes,
            "spool_memory_bytes": self.spool_memory_bytes,
            "spool_disk_bytes": self.spool_disk_bytes,
            "pending": self.pending,
            "shed": self.shed,
            "ticks_missed": self.ticks_missed,
        })
    }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn look_with(pss_bytes: u64) -> Look {
        let at = Duration::from_secs(60);
        Look {
            at,
            pss_bytes,
            anonymous_bytes: 0,
            spool_memory_bytes: 0,
            spool_disk_bytes: 0,
            pending: 0,
            shed: 0,
            ticks_missed: 0,
        }
    }

    #[test]
    fn lost_and_doubled_batches_and_growing_memory_fail() {
        let report = |lost: u64, doubled: u64| json!({ "pss_bytes_peak": 20 << 20, "frames": { "lost": lost, "doubled": doubled, "shed": 0 } });
        let flat = [look_with(10 << 20), look_with(11 << 20)];
        let growing = [look_with(10 << 20), look_with(17 << 20)];
        assert!(judge(&report(0, 0), &flat).is_ok());
        assert!(judge(&report(1, 0), &flat).is_err() && judge(&report(0, 1), &flat).is_err());
        assert!(judge(&report(0, 0), &growing).is_err());
        // What shrinks does not grow.
        assert!(judge(&report(0, 0), &[look_with(11 << 20), look_with(10 << 20)]).is_ok());
    }
}

//! From one series to ten thousand, within the host's limits of time and memory.

use super::rig::{INTERVAL_MS, Rig, columns};
use super::{Check, Verdict};
use crate::detector::runner::Runner as _;
use vedette_detector_host::instance::Limits;

pub(super) static CHECKS: &[Check] = &[
    Check {
        name: "one-series",
        promise: "works with one series",
        remedy: "do without a minimum of series: hosts differ",
        run: one,
    },
    Check {
        name: "many-series",
        promise: "holds 10,000 series in the 16 MiB that it may have, and answers for all of them in one call",
        remedy: "keep less for each series; free what calls allocate",
        run: many,
    },
    Check {
        name: "time-budget",
        promise: "needs less than half of the CPU time that a call may take, at 10,000 series",
        remedy: "do less for each value: an agent judges each series each second, and interrupts a call after 100 ms",
        run: time,
    },
    Check {
        name: "no-leak",
        promise: "holds no more memory after a thousand ticks than after a hundred",
        remedy: "free a call's arguments and answer when it is over: in C, `vd_end_of_call`; in Rust the SDK does",
        run: leak,
    },
];

const MANY: u32 = 10_000;
/// What the host allows one call.
const CALL_NS_MAX: u64 = 100_000_000;

fn one(rig: &Rig) -> anyhow::Result<Verdict> {
    let mut guest = rig.with_series(1)?;
    let scores = rig.feed(&mut guest, 1, 0..rig.learnt())?;
    let judged = scores.iter().flatten().filter(|score| !score.is_nan()).count();
    Ok(Verdict::of(judged > 0, format!("{judged} of {} values judged", scores.len())))
}

fn many(rig: &Rig) -> anyhow::Result<Verdict> {
    let mut guest = rig.with_series(MANY)?;
    rig.feed(&mut guest, MANY, 0..10)?;
    let states = guest.snapshot(&rig.series(MANY))?;
    let bytes: usize = states.iter().map(|one| one.state.len()).sum();
    // One that is denied memory and goes on has forgotten some: the last ones, or the first.
    let mut forgotten = 0;
    for id in [0, MANY - 1] {
        let (mut alone, series) = (rig.empty()?, [rig.one_series(id, 1.0)]);
        alone.add(&series)?;
        for tick in 0..10 {
            let dt_ms = if tick == 0 { 0 } else { INTERVAL_MS };
            alone.observe(&columns([(id, dt_ms, 0, rig.usual(id, tick))]))?;
        }
        forgotten += usize::from(alone.snapshot(&series)?.first() != states.get(id as usize));
    }
    Ok(held(guest.memory_bytes(), bytes, forgotten))
}

fn held(memory: u64, bytes: usize, forgotten: usize) -> Verdict {
    let mut seen = format!("{} KiB of memory, {} KiB of states", memory >> 10, bytes >> 10);
    if forgotten > 0 {
        seen.push_str("; a series among so many is not in the state that it has alone");
    }
    Verdict::of(memory <= Limits::default().memory_bytes as u64 && forgotten == 0, seen)
}

fn time(rig: &Rig) -> anyhow::Result<Verdict> {
    let mut guest = rig.with_series(MANY)?;
    let mut times = Vec::new();
    for tick in 0..30 {
        times.extend(guest.observe(&rig.tick(MANY, tick))?.1);
    }
    times.sort_unstable();
    // One tick may fall into somebody else's turn of the processor.
    let ninth_tenth = times.get(times.len() * 9 / 10).copied().unwrap_or(0);
    let seen = format!(
        "{:.1} ms a tick of {MANY} series, {} ns a value; {} ms are allowed",
        std::time::Duration::from_nanos(ninth_tenth).as_secs_f64() * 1_000.0,
        ninth_tenth / u64::from(MANY),
        CALL_NS_MAX / 1_000_000
    );
    Ok(Verdict::of(ninth_tenth < CALL_NS_MAX / 2, seen))
}

fn leak(rig: &Rig) -> anyhow::Result<Verdict> {
    const SERIES: u32 = 50;
    let mut guest = rig.with_series(SERIES)?;
    let series = rig.series(SERIES);
    let ids: Vec<u32> = (0..SERIES).collect();
    let mut at_hundred = 0;
    for tick in 0..1_000 {
        rig.feed(&mut guest, SERIES, tick..tick + 1)?;
        if tick % 10 == 0 {
            guest.snapshot(&series)?;
            guest.explain(&ids)?;
        }
        if tick == 100 {
            at_hundred = guest.memory_bytes();
        }
    }
    let last = guest.memory_bytes();
    Ok(Verdict::of(
        last <= at_hundred,
        format!("{} KiB after 100 ticks, {} KiB after 1,000", at_hundred >> 10, last >> 10),
    ))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn many_series_hold_only_within_the_memory_and_if_none_is_forgotten() {
        let holds = |memory, forgotten| matches!(held(memory, 80_000, forgotten), Verdict::Holds(_));
        assert!(holds(16 << 20, 0));
        assert!(!holds((16 << 20) + 1, 0) && !holds(1 << 20, 1));
    }
}

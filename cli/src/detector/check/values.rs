//! Values that real hosts give sooner or later: none of them may end a detector or spoil a series for good.

use super::rig::{Rig, columns, highest};
use super::{Check, Verdict};
use crate::detector::runner::Runner as _;
use vedette_protocol::worker::flags;

pub(super) static CHECKS: &[Check] = &[
    Check {
        name: "gaps",
        promise: "does not call it a surprise that values were missed, and goes on afterwards",
        remedy: "look at the gap flag and at dt-ms: forget what is stale, but give no score to silence",
        run: gaps,
    },
    Check {
        name: "not-a-number",
        promise: "survives NaN and infinities, and judges the series again after them",
        remedy: "return NaN for a value that is not finite, and learn nothing from it",
        run: not_finite,
    },
    Check {
        name: "extremes",
        promise: "survives denormal numbers, both zeros and the ends of the range, and judges again after them",
        remedy: "bound what is learnt from one value: squares of numbers beyond 1e150 are infinite",
        run: extremes,
    },
    Check {
        name: "constants",
        promise: "does not call a series surprising that never changes",
        remedy: "give the spread a floor: a resolution, or a share of the level",
        run: constants,
    },
    Check {
        name: "resets",
        promise: "does not call the reset of a counter a surprise",
        remedy: "look at the reset flag; the rate after it is as good as any other",
        run: resets,
    },
    Check {
        name: "clock-steps",
        promise: "survives no time at all and weeks between two values, and judges again after them",
        remedy: "divide by no dt-ms without a floor, and let no single dt-ms count for more than some intervals",
        run: clock_steps,
    },
    Check {
        name: "interval-changes",
        promise: "goes on when its series is read every ten seconds for a while, and every second again",
        remedy: "let dt-ms, not the number of values, decide how much is learnt and forgotten",
        run: interval_changes,
    },
    Check {
        name: "unit-scale",
        promise: "is told to give the same scores when the unit is a thousand times as small",
        remedy: "nothing: priors for units are a reason not to",
        run: unit_scale,
    },
];

const SERIES: u32 = 4;

/// Scores around something that happens to all series.
struct Around {
    /// The highest while it happens.
    during: f32,
    /// The highest of usual values in the end.
    after: f32,
    /// Series that still have no score in the end.
    mute: usize,
    /// The highest of wild values after that.
    alarm: f32,
}

/// Learns, lets `happens` give dt, flags and value of each of `ticks` ticks, then goes on as usual for as long as
/// learning took.
fn around(rig: &Rig, ticks: u64, happens: impl Fn(u32, u64) -> (u32, u8, f64)) -> anyhow::Result<Around> {
    let mut guest = rig.with_series(SERIES)?;
    let learnt = rig.learnt();
    rig.feed(&mut guest, SERIES, 0..learnt)?;
    let mut during = 0.0_f32;
    for tick in 0..ticks {
        let cells = (0..SERIES).map(|id| {
            let (dt_ms, flags, value) = happens(id, tick);
            (id, dt_ms, flags, value)
        });
        during = during.max(highest(&guest.observe(&columns(cells))?.0));
    }
    let begin = learnt + ticks;
    let scores = rig.feed(&mut guest, SERIES, begin..begin + learnt + 100)?;
    let last = &scores[scores.len() - 40..];
    let mute = scores.last().map_or(0, |tick| tick.iter().filter(|score| score.is_nan()).count());
    let after = highest(last.iter().flatten());
    let alarm = rig.alarm(&mut guest, SERIES)?;
    Ok(Around { during, after, mute, alarm })
}

/// Survived, and usual values are usual again; where `calm`, it was no surprise either.
fn verdict(rig: &Rig, seen: &Around, calm: bool) -> anyhow::Result<Verdict> {
    let limit = rig.calm_limit()?;
    let text = format!(
        "highest score {:.2} meanwhile, {:.2} in the end; usual is up to {:.2}",
        seen.during,
        seen.after,
        rig.usual_score()?
    );
    if seen.mute > 0 {
        return Ok(Verdict::Broken(format!("{} of {SERIES} series have no score any more; {text}", seen.mute)));
    }
    if is_blind(rig, seen)? {
        return Ok(Verdict::Broken(format!(
            "blind: wild values score {:.2} afterwards and {:.2} before; {text}",
            seen.alarm,
            rig.wild_score()?
        )));
    }
    Ok(Verdict::of(seen.after <= limit && (!calm || seen.during <= limit), text))
}

/// Whether what used to stand out does so no more, after as long as learning takes.
fn is_blind(rig: &Rig, seen: &Around) -> anyhow::Result<bool> {
    let wild = rig.wild_score()?;
    Ok(wild > rig.calm_limit()? && seen.alarm < 0.25 * wild)
}

/// Lines are counted since the previous value, so a longer time has more of them; a gauge stays.
fn over(rig: &Rig, id: u32, tick: u64, intervals: u32) -> f64 {
    let usual = rig.usual(id, 10_000 + tick);
    if rig.is_of_logs() { usual * f64::from(intervals) } else { usual }
}

fn gaps(rig: &Rig) -> anyhow::Result<Verdict> {
    // A minute is missed, then ten usual values, three times.
    let seen = around(rig, 33, |id, tick| {
        let first = tick % 11 == 0;
        let (dt_ms, flags) = if first { (60_000, flags::GAP) } else { (1_000, 0) };
        (dt_ms, flags, rig.usual(id, 10_000 + tick))
    })?;
    verdict(rig, &seen, true)
}

fn not_finite(rig: &Rig) -> anyhow::Result<Verdict> {
    const ODD: [f64; 3] = [f64::NAN, f64::INFINITY, f64::NEG_INFINITY];
    let seen = around(rig, 60, |id, tick| {
        let odd = tick.is_multiple_of(5);
        let which = usize::try_from(tick / 5 % 3).unwrap_or(0);
        (1_000, 0, if odd { ODD[which] } else { rig.usual(id, 10_000 + tick) })
    })?;
    verdict(rig, &seen, false)
}

fn extremes(rig: &Rig) -> anyhow::Result<Verdict> {
    const ODD: [f64; 9] = [5e-324, -5e-324, 1e-310, 0.0, -0.0, 1e308, -1e308, f64::MAX, f64::MIN];
    let seen = around(rig, 36, |_, tick| (1_000, 0, ODD[usize::try_from(tick % 9).unwrap_or(0)]))?;
    let verdict = verdict(rig, &seen, false)?;
    // What was learnt from the ends of the range may take long to fade; that it judges at all is what counts.
    Ok(match verdict {
        Verdict::Broken(text) if seen.mute == 0 => Verdict::Told(format!("survived; {text}")),
        verdict => verdict,
    })
}

fn constants(rig: &Rig) -> anyhow::Result<Verdict> {
    let mut guest = rig.with_series(SERIES)?;
    // Constants of several sizes; the lower bound is one of them.
    let value = |id: u32| if rig.is_of_logs() { f64::from(id) } else { f64::from(id) * 0.25 };
    let mut scores = Vec::new();
    let learnt = rig.learnt();
    for tick in 0..learnt + 200 {
        let dt_ms = if tick == 0 { 0 } else { 1_000 };
        let (now, _) = guest.observe(&columns((0..SERIES).map(|id| (id, dt_ms, 0, value(id)))))?;
        if tick >= learnt {
            scores.push(now);
        }
    }
    let (step, _) = guest.observe(&columns((0..SERIES).map(|id| (id, 1_000, 0, rig.wild()))))?;
    let constant = highest(scores.iter().flatten());
    let limit = rig.calm_limit()?;
    Ok(Verdict::of(
        constant <= limit,
        format!("highest score {constant:.2} while nothing changes, {:.2} when it does", highest(&step)),
    ))
}

fn resets(rig: &Rig) -> anyhow::Result<Verdict> {
    let seen = around(rig, 40, |id, tick| {
        let flag = if tick % 10 == 0 { flags::RESET } else { 0 };
        (1_000, flag, rig.usual(id, 10_000 + tick))
    })?;
    verdict(rig, &seen, true)
}

fn clock_steps(rig: &Rig) -> anyhow::Result<Verdict> {
    let seen = around(rig, 40, |id, tick| {
        let dt_ms = match tick % 4 {
            0 => 0,
            1 => u32::MAX,
            2 => 1,
            _ => 86_400_000,
        };
        (dt_ms, 0, rig.usual(id, 10_000 + tick))
    })?;
    verdict(rig, &seen, false)
}

fn interval_changes(rig: &Rig) -> anyhow::Result<Verdict> {
    let seen = around(rig, 60, |id, tick| (10_000, 0, over(rig, id, tick, 10)))?;
    // Ten times as many lines at once may surprise a detector of counts.
    verdict(rig, &seen, !rig.is_of_logs())
}

fn unit_scale(rig: &Rig) -> anyhow::Result<Verdict> {
    if rig.is_of_logs() {
        return Ok(Verdict::Told("counts of lines have one unit".to_owned()));
    }
    let run = |scale: f64| -> anyhow::Result<Vec<f32>> {
        let mut guest = rig.empty()?;
        guest.add(&[rig.one_series(0, scale)])?;
        let mut scores = Vec::new();
        for tick in 0..rig.learnt() + 100 {
            let dt_ms = if tick == 0 { 0 } else { 1_000 };
            let wild = tick >= rig.learnt() + 90;
            let value = scale * if wild { rig.wild() } else { rig.usual(0, tick) };
            scores.extend(guest.observe(&columns([(0, dt_ms, 0, value)]))?.0);
        }
        Ok(scores)
    };
    let (one, thousand) = (run(1.0)?, run(1_000.0)?);
    let apart = |(a, b): (&f32, &f32)| match (a.is_nan(), b.is_nan()) {
        (true, true) => 0.0,
        (false, false) => (a - b).abs() / a.abs().max(b.abs()).max(1e-3),
        _ => 1.0,
    };
    let most = one.iter().zip(&thousand).map(apart).fold(0.0, f32::max);
    Ok(Verdict::Told(match most {
        most if most < 1e-3 => "the same scores".to_owned(),
        most => format!("scores differ by up to {:.0} %", most * 100.0),
    }))
}

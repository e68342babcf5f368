//! Series come and go, and learning is held.

use super::rig::{Rig, columns, highest, same_bits};
use super::{Check, Verdict};
use crate::detector::runner::Runner as _;
use vedette_protocol::worker::flags;

pub(super) static CHECKS: &[Check] = &[
    Check {
        name: "hold-learning",
        promise: "judges but does not learn while learning is held",
        remedy: "where the hold flag is set, change nothing that later scores depend on",
        run: hold,
    },
    Check {
        name: "removed-and-added",
        promise: "forgets a series that is removed, starts it anew when it comes again, and leaves the others alone",
        remedy: "drop the state in `series-removed`, and make a fresh one in `series-added` even where the id is known",
        run: removed_and_added,
    },
    Check {
        name: "late-series",
        promise: "takes a series that appears later, without another one noticing",
        remedy: "let the table of series grow without touching the states that are in it",
        run: late,
    },
    Check {
        name: "declined",
        promise: "declines the same series in each instance, in whatever order it is told of them",
        remedy: "decide by what the series is and by the parameters alone whether to decline it",
        run: declined,
    },
    Check {
        name: "empty-ticks",
        promise: "takes a tick without any value",
        remedy: "return an empty list for empty columns, with and without series",
        run: empty,
    },
];

const SERIES: u32 = 4;
/// An episode of some minutes, with learning held.
const HELD_TICKS: u64 = 200;

/// Scores of usual values after `HELD_TICKS` of something else.
fn after(rig: &Rig, held: bool, wild: bool) -> anyhow::Result<Vec<f32>> {
    let mut guest = rig.with_series(SERIES)?;
    let learnt = rig.learnt();
    rig.feed(&mut guest, SERIES, 0..learnt)?;
    let flags = if held { flags::HOLD_LEARNING } else { 0 };
    for tick in learnt..learnt + HELD_TICKS {
        let value = |id: u32| if wild { rig.wild() } else { rig.usual(id, tick) };
        guest.observe(&columns((0..SERIES).map(|id| (id, 1_000, flags, value(id)))))?;
    }
    let begin = learnt + HELD_TICKS;
    // What a detector remembers of the last few values has passed then.
    rig.feed(&mut guest, SERIES, begin..begin + 30)?;
    Ok(rig.feed(&mut guest, SERIES, begin + 30..begin + 60)?.concat())
}

fn hold(rig: &Rig) -> anyhow::Result<Verdict> {
    let expected = after(rig, true, false)?;
    let distance = |scores: &[f32]| {
        let apart = |(a, b): (&f32, &f32)| if a.is_nan() == b.is_nan() { (a - b).abs() } else { f32::INFINITY };
        scores.iter().zip(&expected).map(apart).filter(|apart| !apart.is_nan()).fold(0.0, f32::max)
    };
    let (held, learnt) = (distance(&after(rig, true, true)?), distance(&after(rig, false, true)?));
    let seen = format!(
        "usual scores move by {held:.3} after {HELD_TICKS} wild values that were held, by {learnt:.3} after ones that were not"
    );
    // A quarter of what learning does, or so little that nobody would see it.
    Ok(Verdict::of(held <= 0.25 * learnt || held <= 0.02 * (1.0 + rig.usual_score()?), seen))
}

fn removed_and_added(rig: &Rig) -> anyhow::Result<Verdict> {
    let learnt = rig.learnt();
    let mut undisturbed = rig.with_series(SERIES)?;
    let mut guest = rig.with_series(SERIES)?;
    rig.feed(&mut undisturbed, SERIES, 0..learnt)?;
    rig.feed(&mut guest, SERIES, 0..learnt)?;
    guest.remove(&[SERIES - 1])?;
    let without = |scores: Vec<Vec<f32>>| -> Vec<Vec<f32>> {
        scores.into_iter().map(|tick| tick[..SERIES as usize - 1].to_vec()).collect()
    };
    let expected = without(rig.feed(&mut undisturbed, SERIES, learnt..learnt + 50)?);
    if !same_bits(&rig.feed(&mut guest, SERIES - 1, learnt..learnt + 50)?, &expected) {
        return Ok(Verdict::Broken("the other series are judged differently once one is removed".to_owned()));
    }
    // It comes again under its id, as if it had never been there.
    guest.add(&rig.series(SERIES)[SERIES as usize - 1..])?;
    let mut again = Vec::new();
    for tick in 0..50 {
        again.push(
            guest
                .observe(&columns([(SERIES - 1, if tick == 0 { 0 } else { 1_000 }, 0, rig.usual(SERIES - 1, tick))]))?
                .0,
        );
    }
    let mut fresh = rig.with_series(SERIES)?;
    let first: Vec<Vec<f32>> =
        rig.feed(&mut fresh, SERIES, 0..50)?.into_iter().map(|tick| tick[SERIES as usize - 1..].to_vec()).collect();
    if same_bits(&again, &first) {
        return Ok(Verdict::Holds("the others are the same, it starts anew".to_owned()));
    }
    let seen = "a series that comes again is not judged like a new one".to_owned();
    Ok(if rig.is_of_logs() { Verdict::Told(seen + ": the log was watched longer") } else { Verdict::Broken(seen) })
}

fn late(rig: &Rig) -> anyhow::Result<Verdict> {
    let learnt = rig.learnt();
    let expected = rig.feed(&mut rig.with_series(1)?, 1, 0..learnt)?;
    let mut guest = rig.with_series(1)?;
    let mut first = rig.feed(&mut guest, 1, 0..learnt / 2)?;
    let mut others = rig.series(600);
    guest.add(&others.split_off(1))?;
    for tick in learnt / 2..learnt {
        let mut tick_of_all = rig.tick(600, tick);
        if tick == learnt / 2 {
            tick_of_all.dt_ms[1..].fill(0);
        }
        first.push(guest.observe(&tick_of_all)?.0[..1].to_vec());
    }
    if same_bits(&first, &expected) {
        return Ok(Verdict::Holds(format!("599 more at tick {}", learnt / 2)));
    }
    let seen = format!("the first series is judged differently once 599 more came at tick {}", learnt / 2);
    Ok(if rig.is_of_logs() { Verdict::Told(seen) } else { Verdict::Broken(seen) })
}

fn declined(rig: &Rig) -> anyhow::Result<Verdict> {
    let declined = |order: &[u32]| -> anyhow::Result<Vec<u32>> {
        let mut guest = rig.empty()?;
        for id in order {
            guest.add(&[rig.one_series(*id, 1.0)])?;
        }
        let mut all = guest.declined();
        all.sort_unstable();
        Ok(all)
    };
    let [once, again, other] = [declined(&[0, 1, 2, 3])?, declined(&[0, 1, 2, 3])?, declined(&[3, 0, 2, 1])?];
    let same = once == again && once == other;
    Ok(Verdict::of(same, format!("of four series alike {}, {} and {}", once.len(), again.len(), other.len())))
}

fn empty(rig: &Rig) -> anyhow::Result<Verdict> {
    let mut guest = rig.empty()?;
    let none = columns([]);
    guest.observe(&none)?;
    guest.add(&rig.series(1))?;
    guest.observe(&none)?;
    guest.remove(&[])?;
    guest.snapshot(&[])?;
    let scores = rig.feed(&mut guest, 1, 0..rig.learnt())?;
    Ok(Verdict::Holds(format!(
        "before, between and after series; highest score then {:.2}",
        highest(scores.iter().flatten())
    )))
}

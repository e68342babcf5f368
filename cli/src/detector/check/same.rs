//! The same input gives the same bits, whoever runs it and in whatever company.

use super::rig::{Rig, columns, same_bits};
use super::{Check, Verdict};
use crate::detector::runner::{Guest, Runner as _};
use vedette_protocol::ids::Digest;

pub(super) static CHECKS: &[Check] = &[
    Check {
        name: "same-twice",
        promise: "gives the same bits in two processes",
        remedy: "remove what depends on addresses, uninitialised memory or the order of a hash table",
        run: twice,
    },
    Check {
        name: "same-interpreted",
        promise: "gives the same bits as native code and in the interpreter",
        remedy: "take `exp`, `ln`, limits from the SDK's mathematics, and never look at the bits of a NaN",
        run: interpreted,
    },
    Check {
        name: "column-order",
        promise: "judges a series the same wherever its column stands in the tick",
        remedy: "keep nothing from one column to the next within a tick",
        run: order,
    },
    Check {
        name: "neighbours",
        promise: "judges a series the same whatever other series there are",
        remedy: "keep what is learnt in the series' state; what series share must be found again from restored states",
        run: neighbours,
    },
];

const SERIES: u32 = 6;

/// A life with a wild stretch in it.
fn life(rig: &Rig, guest: &mut Guest, count: u32) -> anyhow::Result<Vec<Vec<f32>>> {
    let learnt = rig.learnt();
    let mut scores = rig.feed(guest, count, 0..learnt)?;
    for tick in learnt..learnt + 10 {
        let wild = columns((0..count).map(|id| (id, 1_000, 0, rig.wild() + rig.usual(id, tick) * 0.01)));
        scores.push(guest.observe(&wild)?.0);
    }
    scores.extend(rig.feed(guest, count, learnt + 10..learnt + 40)?);
    Ok(scores)
}

fn digest(scores: &[Vec<f32>]) -> String {
    let bits: Vec<u8> = scores.iter().flatten().flat_map(|score| score.to_le_bytes()).collect();
    Digest::of(&bits).to_string()[..12].to_owned()
}

fn twice(rig: &Rig) -> anyhow::Result<Verdict> {
    let scores = life(rig, &mut rig.with_series(SERIES)?, SERIES)?;
    let again = life(rig, &mut rig.with_series(SERIES)?, SERIES)?;
    Ok(Verdict::of(
        same_bits(&scores, &again),
        format!("scores of {} ticks: {} and {}", scores.len(), digest(&scores), digest(&again)),
    ))
}

fn interpreted(rig: &Rig) -> anyhow::Result<Verdict> {
    let (mut native, mut slow) = (rig.with_series(SERIES)?, rig.interpreted()?);
    slow.add(&rig.series(SERIES))?;
    let (a, b) = (life(rig, &mut native, SERIES)?, life(rig, &mut slow, SERIES)?);
    let states = native.snapshot(&rig.series(SERIES))? == slow.snapshot(&rig.series(SERIES))?;
    let seen =
        format!("scores {} and {}, states {}", digest(&a), digest(&b), if states { "the same" } else { "differ" });
    Ok(Verdict::of(same_bits(&a, &b) && states, seen))
}

fn order(rig: &Rig) -> anyhow::Result<Verdict> {
    let (mut straight, mut shuffled) = (rig.with_series(SERIES)?, rig.with_series(SERIES)?);
    for tick in 0..rig.learnt() {
        let columns_of_tick = rig.tick(SERIES, tick);
        let (expected, _) = straight.observe(&columns_of_tick)?;
        // Another rotation each tick, every second one backwards.
        let turn = u32::try_from(tick % u64::from(SERIES))?;
        let mut order: Vec<u32> = (0..SERIES).map(|at| (at + turn) % SERIES).collect();
        if tick % 2 == 1 {
            order.reverse();
        }
        let take = |id: &u32| {
            let at = *id as usize;
            (*id, columns_of_tick.dt_ms[at], columns_of_tick.flags[at], columns_of_tick.values[at])
        };
        let (scores, _) = shuffled.observe(&columns(order.iter().map(take)))?;
        for (id, score) in order.iter().zip(&scores) {
            if score.to_bits() != expected[*id as usize].to_bits() {
                return Ok(Verdict::Broken(format!(
                    "at tick {tick}, series {id} scored {score} in another place and {} in its own",
                    expected[*id as usize]
                )));
            }
        }
    }
    Ok(Verdict::Holds(format!("{SERIES} series in {} orders", rig.learnt())))
}

fn neighbours(rig: &Rig) -> anyhow::Result<Verdict> {
    let among = life(rig, &mut rig.with_series(SERIES)?, SERIES)?;
    let mut alone = rig.empty()?;
    alone.add(&rig.series(1))?;
    let alone = life(rig, &mut alone, 1)?;
    let first: Vec<Vec<f32>> = among.iter().map(|tick| tick[..1].to_vec()).collect();
    if same_bits(&first, &alone) {
        return Ok(Verdict::Holds(format!("alone and among {SERIES}, {} ticks", alone.len())));
    }
    let differ = first.iter().zip(&alone).filter(|(a, b)| a[0].to_bits() != b[0].to_bits()).count();
    let seen = format!("{differ} of {} scores of a series differ when it is alone", alone.len());
    // A template may be judged by how long a log was watched, which all of its templates tell together.
    Ok(if rig.is_of_logs() { Verdict::Told(seen) } else { Verdict::Broken(seen) })
}

//! A detector's life goes on in another process: snapshots are whole, small, and never trusted.

use super::rig::{Rig, is_refusal, same_bits};
use super::{Check, Verdict};
use crate::detector::runner::Runner as _;
use vedette_protocol::worker::{SeriesDescriptor, SeriesState};

pub(super) static CHECKS: &[Check] = &[
    Check {
        name: "snapshot-equivalence",
        promise: "goes on after snapshot and restore in a new process as if nothing had happened, at every cut",
        remedy: "write every number that `observe` reads into `save`, exactly: no rounding, nothing left out, nothing kept outside",
        run: equivalence,
    },
    Check {
        name: "snapshot-is-silent",
        promise: "scores the same whether or not snapshots and explanations were asked for in between",
        remedy: "let `save` and `explain` change nothing",
        run: silent,
    },
    Check {
        name: "restore-anywhere",
        promise: "takes states over in any order and under other column ids",
        remedy: "let `load` use nothing but the bytes; the key names the series, the column id is only this run's",
        run: anywhere,
    },
    Check {
        name: "state-size",
        promise: "never writes more state than it declares",
        remedy: "raise `state_bytes_max`, at most to 65536, or remember less; agents keep each state on disk",
        run: size,
    },
    Check {
        name: "damaged-states",
        promise: "refuses or survives states that are cut, empty, foreign or random, also as a prior",
        remedy: "check in `load` that numbers are ones that `save` could have written, and refuse the rest",
        run: damaged,
    },
    Check {
        name: "refused-beside",
        promise: "takes a state over though another of the same call is refused, and leaves that one's series as it was",
        remedy: "load into a copy, and go on with the next state after a refusal; answer with the first refusal at the end",
        run: beside,
    },
];

const SERIES: u32 = 4;

/// Early, while learning, around the end of the warm-up, and when all is learnt.
fn cuts(rig: &Rig) -> Vec<u64> {
    let (warm, learnt) = (u64::from(rig.described().warm_up_values).min(rig.learnt()), rig.learnt());
    let mut cuts = vec![1, 2, 3, 10, warm / 2, warm.saturating_sub(1), warm, warm + 1, warm + 20, learnt - 1];
    cuts.retain(|cut| (1..learnt).contains(cut));
    cuts.sort_unstable();
    cuts.dedup();
    cuts
}

fn equivalence(rig: &Rig) -> anyhow::Result<Verdict> {
    let (series, end) = (rig.series(SERIES), rig.learnt() + 30);
    let mut whole = rig.with_series(SERIES)?;
    let expected = rig.feed(&mut whole, SERIES, 0..end)?;
    let last = whole.snapshot(&series)?;
    let cuts = cuts(rig);
    for cut in &cuts {
        let mut before = rig.with_series(SERIES)?;
        rig.feed(&mut before, SERIES, 0..*cut)?;
        let states = before.snapshot(&series)?;
        let mut after = rig.with_series(SERIES)?;
        after.restore(&series, &states)?;
        let scores = rig.feed(&mut after, SERIES, *cut..end)?;
        let expected = &expected[usize::try_from(*cut)?..];
        if let Some(at) = (0..scores.len()).find(|at| !same_bits(&scores[*at..=*at], &expected[*at..=*at])) {
            return Ok(Verdict::Broken(format!(
                "restored after {cut} ticks, tick {} scored {:?} instead of {:?}",
                u64::try_from(at)? + cut,
                scores[at],
                expected[at]
            )));
        }
        if after.snapshot(&series)? != last {
            return Ok(Verdict::Broken(format!(
                "restored after {cut} ticks, the last states differ though the scores do not"
            )));
        }
    }
    Ok(Verdict::Holds(format!("{} cuts in {end} ticks", cuts.len())))
}

fn silent(rig: &Rig) -> anyhow::Result<Verdict> {
    let (series, end) = (rig.series(SERIES), rig.learnt());
    let expected = rig.feed(&mut rig.with_series(SERIES)?, SERIES, 0..end)?;
    let mut asked = rig.with_series(SERIES)?;
    let mut scores = Vec::new();
    for tick in 0..end {
        scores.extend(rig.feed(&mut asked, SERIES, tick..tick + 1)?);
        if tick % 7 == 0 {
            asked.snapshot(&series)?;
            asked.explain(&[0, 3])?;
        }
    }
    Ok(Verdict::of(same_bits(&scores, &expected), format!("asked {} times", end / 7 + 1)))
}

fn anywhere(rig: &Rig) -> anyhow::Result<Verdict> {
    let (series, cut) = (rig.series(SERIES), rig.learnt());
    let mut before = rig.with_series(SERIES)?;
    rig.feed(&mut before, SERIES, 0..cut)?;
    let states = before.snapshot(&series)?;
    let expected = rig.feed(&mut before, SERIES, cut..cut + 40)?;
    // The same series, told backwards under ids that begin elsewhere.
    let moved: Vec<SeriesDescriptor> =
        series.iter().rev().map(|one| SeriesDescriptor { id: 50 + 3 * one.id, ..one.clone() }).collect();
    let states: Vec<SeriesState> = states.into_iter().rev().collect();
    let mut after = rig.empty()?;
    after.add(&moved)?;
    after.restore(&moved, &states)?;
    let mut scores = Vec::new();
    for tick in cut..cut + 40 {
        let mut columns = rig.tick(SERIES, tick);
        columns.ids.iter_mut().for_each(|id| *id = 50 + 3 * *id);
        scores.push(after.observe(&columns)?.0);
    }
    Ok(Verdict::of(same_bits(&scores, &expected), "states backwards, columns 50, 53, 56, 59"))
}

fn size(rig: &Rig) -> anyhow::Result<Verdict> {
    let (series, declared) = (rig.series(SERIES), rig.described().state_bytes_max);
    let mut guest = rig.with_series(SERIES)?;
    let mut largest = 0;
    // The host refuses what is larger than declared; asked at every age.
    for tick in 0..rig.learnt() {
        if tick < 50 || tick % 10 == 0 {
            largest = guest.snapshot(&series)?.iter().map(|one| one.state.len()).max().unwrap_or(0).max(largest);
        }
        rig.feed(&mut guest, SERIES, tick..tick + 1)?;
    }
    let last = guest.snapshot(&series)?.iter().map(|one| one.state.len()).max().unwrap_or(0);
    let seen = format!("at most {largest} bytes, {last} when learnt; {declared} are declared");
    Ok(if largest == 0 {
        Verdict::Broken("states are empty: nothing would survive a restart".to_owned())
    } else {
        Verdict::Holds(seen)
    })
}

fn damaged(rig: &Rig) -> anyhow::Result<Verdict> {
    let series = rig.series(1);
    let mut guest = rig.with_series(1)?;
    rig.feed(&mut guest, 1, 0..rig.learnt())?;
    let whole = guest.snapshot(&series)?.swap_remove(0);
    let bytes = &whole.state;
    let random: Vec<u8> = (0..bytes.len()).map(|at| at.wrapping_mul(0x9e37_79b9).to_le_bytes()[1]).collect();
    let damaged: [(&str, Vec<u8>); 7] = [
        ("empty", Vec::new()),
        ("one byte", vec![1]),
        ("cut by a byte", bytes[..bytes.len().saturating_sub(1)].to_vec()),
        ("a byte too long", [bytes.as_slice(), &[0]].concat()),
        ("zeros", vec![0; bytes.len()]),
        ("ones", vec![0xff; bytes.len()]),
        ("random", random),
    ];
    let mut refused = 0;
    for (name, state) in &damaged {
        let mut guest = rig.with_series(1)?;
        let state = SeriesState { key: whole.key, state: state.clone() };
        match guest.restore(&series, std::slice::from_ref(&state)) {
            Err(error) if is_refusal(&error) => refused += 1,
            outcome => outcome.map_err(|error| error.context(format!("restoring a state that is {name}")))?,
        }
        let mut prior = series.clone();
        prior[0].prior.clone_from(&state.state);
        let mut peer = rig.empty()?;
        peer.add(&prior).map_err(|error| error.context(format!("a prior that is {name}")))?;
        for guest in [&mut guest, &mut peer] {
            rig.feed(guest, 1, 0..50).map_err(|error| error.context(format!("after a state that is {name}")))?;
            guest.snapshot(&series).map_err(|error| error.context(format!("after a state that is {name}")))?;
        }
    }
    Ok(Verdict::Holds(format!("{refused} of {} refused, the others survived", damaged.len())))
}

fn beside(rig: &Rig) -> anyhow::Result<Verdict> {
    let (series, learnt) = (rig.series(2), rig.learnt());
    let mut guest = rig.with_series(2)?;
    rig.feed(&mut guest, 2, 0..learnt)?;
    let mut states = guest.snapshot(&series)?;
    states[0].state.pop();
    let mut mixed = rig.with_series(2)?;
    match mixed.restore(&series, &states) {
        Err(error) if is_refusal(&error) => (),
        outcome => return outcome.map(|()| Verdict::Told("a state that is cut by a byte is not refused".to_owned())),
    }
    let mut clean = rig.with_series(2)?;
    clean.restore(&series[1..], &states[1..])?;
    let [expected, seen] = [&mut clean, &mut mixed].map(|guest| rig.feed(guest, 2, learnt..learnt + 40));
    Ok(Verdict::of(
        same_bits(&expected?, &seen?),
        "the first of two states refused, 40 ticks as if it had not been given",
    ))
}

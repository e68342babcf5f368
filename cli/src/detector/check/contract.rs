//! What a detector says of itself, and what it says to bad parameters.

use super::rig::{Rig, is_refusal};
use super::{Check, Verdict};
use crate::detector::runner::Runner as _;

pub(super) static CHECKS: &[Check] = &[
    Check {
        name: "description",
        promise: "names itself and its parameters in lower case, digits and hyphens, its version in numbers, and its state in bytes",
        remedy: "correct `describe`: agents, configuration files and people use these names",
        run: description,
    },
    Check {
        name: "parameters",
        promise: "refuses unknown parameters and values that are no number, and takes its own defaults",
        remedy: "give each parameter bounds that hold its default, and refuse in `configure` only what does not fit together",
        run: parameters,
    },
    Check {
        name: "speaks",
        promise: "has an opinion on ordinary values once the declared warm-up is over",
        remedy: "declare in `warm_up_values` how many values are learnt before a score is more than NaN",
        run: speaks,
    },
    Check {
        name: "explains",
        promise: "answers `explain` at any time, for what it was asked",
        remedy: "give the code 0 and NaN where there is nothing to say, and leave out unknown columns",
        run: explains,
    },
];

fn is_name(name: &str) -> bool {
    let legal = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '-';
    name.starts_with(|c: char| c.is_ascii_lowercase()) && name.chars().all(legal)
}

fn description(rig: &Rig) -> anyhow::Result<Verdict> {
    let told = rig.described();
    let version = told.version.split(['-', '+']).next().unwrap_or_default();
    let mut wrong: Vec<String> = Vec::new();
    if !is_name(&told.name) {
        wrong.push(format!("the name {:?}", told.name));
    }
    if version.split('.').count() != 3 || version.split('.').any(|part| part.parse::<u32>().is_err()) {
        wrong.push(format!("the version {:?}, which is not like 1.2.3", told.version));
    }
    if !(1..=64 << 10).contains(&told.state_bytes_max) {
        wrong.push(format!("{} bytes of state, allowed are 1 to 65536", told.state_bytes_max));
    }
    wrong.extend(
        told.parameters.iter().filter(|(name, _)| !is_name(name)).map(|(name, _)| format!("the parameter {name:?}")),
    );
    let count = told.parameters.len();
    Ok(match wrong.is_empty() {
        true => Verdict::Holds(format!(
            "{count} parameter(s), {} values to learn, at most {} bytes of state a series",
            told.warm_up_values, told.state_bytes_max
        )),
        false => Verdict::Broken(wrong.join("; ")),
    })
}

fn parameters(rig: &Rig) -> anyhow::Result<Verdict> {
    let mut wrong = Vec::new();
    let tried = |name: &str, value: f64| {
        let mut given: Vec<_> = rig.parameters().iter().filter(|(known, _)| known != name).cloned().collect();
        given.push((name.to_owned(), value));
        rig.with_parameters(&given)
    };
    match tried("no-such-parameter", 1.0) {
        Err(error) if is_refusal(&error) => {}
        _ => wrong.push("a parameter that it does not have is not refused".to_owned()),
    }
    for (name, in_effect) in &rig.described().parameters {
        if let Err(error) = tried(name, *in_effect) {
            wrong.push(format!("{name} = {in_effect}, its own value, is refused: {error:#}"));
        }
        if !matches!(tried(name, f64::NAN), Err(error) if is_refusal(&error)) {
            wrong.push(format!("{name} = NaN is not refused"));
        }
        // Within the declared bounds or refused, but never the end of the instance.
        for extreme in [0.0, -1e300, 1e300] {
            let outcome = tried(name, extreme).and_then(|mut guest| {
                guest.add(&rig.series(2))?;
                rig.feed(&mut guest, 2, 0..20)
            });
            match outcome {
                Err(error) if !is_refusal(&error) => wrong.push(format!("{name} = {extreme:e}: {error:#}")),
                _ => {}
            }
        }
    }
    let count = rig.described().parameters.len();
    Ok(Verdict::of(wrong.is_empty(), if wrong.is_empty() { format!("{count} tried") } else { wrong.join("; ") }))
}

fn speaks(rig: &Rig) -> anyhow::Result<Verdict> {
    let mut guest = rig.with_series(4)?;
    let scores = rig.feed(&mut guest, 4, 0..rig.learnt())?;
    let first = scores.iter().position(|tick| tick.iter().any(|score| !score.is_nan()));
    let late = scores.last().is_some_and(|tick| tick.iter().any(|score| score.is_nan()));
    let declared = rig.described().warm_up_values;
    Ok(match first {
        None => Verdict::Broken(format!("{} ordinary values of a series, and all scores are NaN", scores.len())),
        Some(_) if late => Verdict::Broken(format!("still NaN for some series after {} ordinary values", scores.len())),
        Some(first) => Verdict::Holds(format!("first score after {first} values, {declared} are declared")),
    })
}

fn explains(rig: &Rig) -> anyhow::Result<Verdict> {
    let mut guest = rig.with_series(3)?;
    let cold = guest.explain(&[0, 1, 2])?.len();
    rig.feed(&mut guest, 3, 0..rig.learnt())?;
    let wild = rig.wild();
    guest.observe(&super::rig::columns((0..3).map(|id| (id, 1_000, 0, wild))))?;
    let told = guest.explain(&[2, 0])?;
    guest.explain(&[])?;
    let codes: Vec<_> = told.iter().map(|one| one.code.to_string()).collect();
    Ok(Verdict::of(
        told.len() <= 2,
        format!("{cold} explanation(s) before any value; code(s) {} for a wild one", codes.join(", ")),
    ))
}

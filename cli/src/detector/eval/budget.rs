//! The budget curve: what is found of labelled events, and how late, against what detection and shipping may cost.
//!
//! Three contenders hear the same hosts: everything at full rate, every so-manieth reading of everything, and the
//! planner. `docs/budget-curve.md` says what counts as found and what a cost is, and has the table of a run.

mod contender;
mod judge;
mod machines;
mod picture;
mod points;
mod prices;
mod report;
mod simulated;
mod spread;
mod subject;
mod tally;

use super::asd_smd::{self, Machine};
use super::bench::{Bench, Report};
use contender::{Contender, Run, Trace};
use judge::Played;
use machines::MachineSubject;
use points::{Curve, Point};
use prices::Rate;
use serde_json::{Value, json};
use simulated::Server;
use std::time::Duration;
use subject::{Set, Subject};
use vedette_sim::Seed;

/// Simulated hosts, and the seed that they come of.
const SERVERS: u64 = 6;
const SEED: Seed = Seed(20_261_120);

/// A host to be played.
enum Item {
    Machine(Machine),
    Server(u64),
}

impl Item {
    fn name(&self) -> String {
        match self {
            Self::Machine(machine) => machine.name.clone(),
            Self::Server(number) => format!("server {number}"),
        }
    }

    /// The host from its beginning.
    fn subject(&self) -> anyhow::Result<(Set, Box<dyn Subject>)> {
        Ok(match self {
            Self::Machine(machine) => {
                let subject = MachineSubject::read(machine)?;
                (subject.set(), Box::new(subject))
            }
            Self::Server(number) => (Set::Simulated, Box::new(Server::new(SEED.child(*number)))),
        })
    }
}

pub(crate) fn run(bench: &Bench<'_>) -> anyhow::Result<Report> {
    // The longest first, so that no core waits for another at the end.
    let servers = (0..SERVERS).map(Item::Server);
    let items: Vec<Item> = servers.chain(asd_smd::find(bench.data)?.into_iter().map(Item::Machine)).collect();
    let (played, failure) = bench.each("budget", &items, Item::name, |item| play(bench, item));
    let curves: Vec<Curve> = Set::ALL.into_iter().filter_map(|set| curve(set, &played)).collect();
    let (table, promise) = (report::markdown(&curves), report::promise(&curves));
    bench.write("budget/curve.md", &table)?;
    bench.write("budget/curve.svg", &picture::svg(&curves))?;
    bench.detectors.take_costs();
    let summary = json!({
        "simulated_seed": SEED.0,
        "sets": curves.iter().map(Curve::to_json).collect::<Vec<_>>(),
        "clean": Value::Null,
    });
    Ok(Report { summary, text: format!("Budget curve\n\n{table}{promise}"), failure })
}

fn play(bench: &Bench<'_>, item: &Item) -> anyhow::Result<Played> {
    let (set, subject) = item.subject()?;
    let (series, times, events) = (subject.series(), subject.times(), subject.events());
    let mut traces = hear(bench, subject, &Contender::unplanned(), Rate::default())?;
    // Known only now, so the host is played once more.
    let rate = Rate::new(&traces[0].cost, Duration::from_millis(times.until_ms).as_secs_f64());
    traces.extend(hear(bench, item.subject()?.1, &Contender::planned(), rate)?);
    Ok(Played { set, series, times, events, traces })
}

/// Plays a host to contenders.
fn hear(
    bench: &Bench<'_>,
    mut subject: Box<dyn Subject>,
    contenders: &[Contender],
    rate: Rate,
) -> anyhow::Result<Vec<Trace>> {
    let runs = contenders.iter().map(|one| Run::start(bench.detectors, *one, subject.as_ref(), rate));
    let mut runs = runs.collect::<anyhow::Result<Vec<_>>>()?;
    subject::play(subject.as_mut(), &mut runs)?;
    runs.into_iter().map(Run::finish).collect()
}

/// All contenders over one set; `None` if nothing of it was played.
fn curve(set: Set, played: &[Played]) -> Option<Curve> {
    let hosts: Vec<&Played> = played.iter().filter(|host| host.set == set).collect();
    let first = hosts.first()?;
    let contenders = first.traces.iter().map(|trace| trace.contender);
    let points = contenders.filter_map(|contender| Point::new(contender, &hosts)).collect();
    let days = hosts.iter().map(|host| host.judged_days()).sum();
    let series = hosts.iter().map(|host| host.series).max().unwrap_or_default();
    Some(Curve { set, hosts: hosts.len(), series, days, points })
}

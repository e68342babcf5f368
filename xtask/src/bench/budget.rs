//! A CPU budget on a large host: what agent and worker cost minute by minute, seen from outside, and what was shed for it.

use super::larger_host::LargerHost;
use crate::demo::agent::Agent;
use crate::demo::{self, Output, service_log};
use crate::measure::{MachineTime, Usage};
use crate::progress::say;
use crate::{build, plugins, prerequisites};
use anyhow::{Result, ensure};
use clap::Args;
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// `[budget] cpu-percent`, which the mean may not exceed.
const BUDGET_PERCENT: f64 = 0.2;
/// What no minute may exceed.
const MINUTE_PERCENT_MAX: f64 = 0.3;
/// Series that the agent has at least.
const SERIES: u64 = 2_000;
/// What the host is asked for: some series of such a host come only when something happens.
const SERIES_ASKED: usize = 2_060;
const MINUTE: Duration = Duration::from_secs(60);
/// Fewer minutes are a trial of the command, and no figure to quote.
const MINUTES_MIN: usize = 10;
/// Work that a CPU budget may leave undone.
const ACCOUNTS: [Account; 2] = [
    Account {
        what: "readings of sources",
        due: "collect_due",
        taken: "collect_taken",
        planned: "collect_spared",
        cut: "collect_skipped",
    },
    Account {
        what: "values for detectors",
        due: "looks_due",
        taken: "looks_taken",
        planned: "looks_thinned",
        cut: "looks_withheld",
    },
];

/// Options of the measurement.
#[derive(Args)]
#[command(
    after_help = "Examples:\n  cargo xtask bench budget\n  cargo xtask bench budget --warm-up 60s --for 2m --output json"
)]
pub(crate) struct BudgetArgs {
    /// How long is measured, in whole minutes such as 10m.
    #[arg(long = "for", value_parser = whole_minutes, default_value = "10m")]
    window: Duration,
    /// How long the agent runs before. Detectors learn for two minutes.
    #[arg(long, value_parser = demo::duration, default_value = "3m")]
    warm_up: Duration,
    /// `json` prints one JSON object as the last line of standard output.
    #[arg(long, value_enum, default_value_t = Output::Human)]
    output: Output,
}

/// Fields of `ledger` in `vedette-agent status`: `due = taken + planned + cut`.
struct Account {
    what: &'static str,
    due: &'static str,
    taken: &'static str,
    /// Shed by the plan.
    planned: &'static str,
    /// Shed in a tick that had no room.
    cut: &'static str,
}

/// What was measured.
struct Report {
    warm_up: Duration,
    /// Percent of a core in each minute.
    minutes: Vec<f64>,
    mean_percent: f64,
    machine_busy_ratio: f64,
    before: Value,
    after: Value,
}

/// Builds, runs an agent on a large host with a small budget, measures, prints; fails above a bar.
pub(crate) fn run(args: &BudgetArgs) -> Result<()> {
    prerequisites::ensure_c_compiler()?;
    let binaries = build::binaries()?;
    let modules = plugins::modules(&binaries)?;
    let mut fleet = demo::start_fleet(&binaries, &modules)?;
    // The one that is measured has a host of its own.
    fleet.drain_agent()?;
    let _service = service_log::Service::start(fleet.service_log(), 1)?;
    let host = LargerHost::start(SERIES_ASKED, 1)?;
    say(&format!("starting an agent: {SERIES_ASKED} series or so, {BUDGET_PERCENT} % of a core"));
    let budget = format!("\n[budget]\ncpu-percent = {BUDGET_PERCENT}\n");
    let mut agent = fleet.join("budget", host.variables(), &budget)?;
    say(&format!("warm-up: {} s", args.warm_up.as_secs()));
    wait_until(&mut agent, Instant::now() + args.warm_up)?;
    let report = measure(&mut agent, args)?;
    match args.output {
        Output::Human => report.print(),
        Output::Json => println!("{}", report.to_json()),
    }
    report.judge()
}

fn measure(agent: &mut Agent, args: &BudgetArgs) -> Result<Report> {
    say(&format!("measuring for {} s", args.window.as_secs()));
    let before = agent.status()?;
    let (machine, begun, first) = (MachineTime::now()?, Instant::now(), Usage::of(agent.pid()).cpu);
    let (mut minutes, mut last, mut last_at) = (Vec::new(), first, begun);
    while begun.elapsed() < args.window {
        wait_until(agent, last_at + MINUTE)?;
        let (cpu, at) = (Usage::of(agent.pid()).cpu, Instant::now());
        minutes.push(percent(cpu.saturating_sub(last), at - last_at));
        say(&minute_line(minutes.len(), minutes[minutes.len() - 1]));
        (last, last_at) = (cpu, at);
    }
    Ok(Report {
        warm_up: args.warm_up,
        minutes,
        mean_percent: percent(last.saturating_sub(first), last_at - begun),
        machine_busy_ratio: MachineTime::now()?.busy_ratio_since(&machine),
        before,
        after: agent.status()?,
    })
}

/// Waits, and notices if the agent ends.
fn wait_until(agent: &mut Agent, end: Instant) -> Result<()> {
    loop {
        agent.ensure_alive()?;
        let left = end.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Ok(());
        }
        std::thread::sleep(left.min(Duration::from_secs(1)));
    }
}

fn whole_minutes(text: &str) -> Result<Duration, String> {
    let duration = demo::duration(text)?;
    let is_whole = !duration.is_zero() && duration.as_secs().is_multiple_of(MINUTE.as_secs());
    is_whole.then_some(duration).ok_or_else(|| format!("`{text}` is not a number of whole minutes: try 10m"))
}

/// Of one core.
fn percent(cpu: Duration, wall: Duration) -> f64 {
    cpu.as_secs_f64() / wall.as_secs_f64() * 100.0
}

fn minute_line(minute: usize, percent: f64) -> String {
    format!("minute {minute:>3} {percent:>8.3} %")
}

impl Report {
    fn most_percent(&self) -> f64 {
        self.minutes.iter().copied().fold(0.0, f64::max)
    }

    fn is_trial(&self) -> bool {
        self.minutes.len() < MINUTES_MIN
    }

    fn series(&self) -> u64 {
        self.after["series"]["total"].as_u64().unwrap_or(0)
    }

    /// In the measured time.
    fn count(&self, field: &str) -> u64 {
        let count = |status: &Value| status["ledger"][field].as_u64().unwrap_or(0);
        count(&self.after).saturating_sub(count(&self.before))
    }

    fn shed(&self, account: &Account) -> u64 {
        self.count(account.planned) + self.count(account.cut)
    }

    fn print(&self) {
        for (at, percent) in self.minutes.iter().enumerate() {
            println!("{}", minute_line(at + 1, *percent));
        }
        let verdict = |measured: f64, bar: f64| if measured > bar { "MISSED" } else { "kept" };
        let (mean, most) = (self.mean_percent, self.most_percent());
        println!("mean       {mean:>8.3} %  at most {BUDGET_PERCENT} %: {}", verdict(mean, BUDGET_PERCENT));
        println!("most       {most:>8.3} %  at most {MINUTE_PERCENT_MAX} %: {}", verdict(most, MINUTE_PERCENT_MAX));

        println!("\nin these minutes             due       done   shed by plan   shed in a tick without room");
        for Account { what, due, taken, planned, cut } in &ACCOUNTS {
            let [due, taken, planned, cut] = [due, taken, planned, cut].map(|field| self.count(field));
            println!("{what:<20} {due:>11} {taken:>10} {planned:>14} {cut:>29}");
        }
        println!(
            "\n{} series, {SERIES} wanted; {} ticks missed since the start; {} s of warm-up; the machine was busy for \
             {:.0} % of its time.",
            self.series(),
            self.after["ticks"]["missed"],
            self.warm_up.as_secs(),
            self.machine_busy_ratio * 100.0,
        );
        println!(
            "Shares are of one core, agent and worker together, which the kernel counts in hundredths of a second. CPUs, \
             disks,\ninterfaces, services and file systems are made up in memory, which costs less to read than the \
             kernel's own."
        );
        if self.is_trial() {
            println!("This was a trial: figures to quote take {MINUTES_MIN} minutes and more.");
        }
    }

    fn to_json(&self) -> Value {
        let accounts = ACCOUNTS.iter().map(|account| {
            json!({
                "what": account.what,
                "reason": "cpu_budget",
                "due": self.count(account.due),
                "done": self.count(account.taken),
                "shed_by_plan": self.count(account.planned),
                "shed_in_tick": self.count(account.cut),
            })
        });
        json!({
            "budget_percent": BUDGET_PERCENT,
            "minute_percent_max": MINUTE_PERCENT_MAX,
            "minutes_percent": self.minutes,
            "mean_percent": self.mean_percent,
            "most_percent": self.most_percent(),
            "series": self.series(),
            "ticks_missed": self.after["ticks"]["missed"],
            "accounts": accounts.collect::<Vec<_>>(),
            "warm_up_s": self.warm_up.as_secs(),
            "machine_busy_ratio": self.machine_busy_ratio,
            "is_trial": self.is_trial(),
        })
    }

    fn judge(&self) -> Result<()> {
        let (mean, most, series) = (self.mean_percent, self.most_percent(), self.series());
        ensure!(series >= SERIES, "the agent has {series} series, fewer than {SERIES}");
        ensure!(mean <= BUDGET_PERCENT, "{mean:.3} % of a core in the mean: more than {BUDGET_PERCENT}");
        ensure!(most <= MINUTE_PERCENT_MAX, "{most:.3} % of a core in a minute: more than {MINUTE_PERCENT_MAX}");
        let missed = &self.after["ticks"]["missed"];
        ensure!(*missed == 0, "{missed} ticks were missed");
        let workers = [&self.before, &self.after].map(|status| status["worker"]["pid"].as_u64());
        let is_one = workers[0].is_some() && workers[0] == workers[1];
        ensure!(
            is_one,
            "no worker ran all the time: it was pid {:?} before and {:?} afterwards",
            workers[0],
            workers[1]
        );
        for account in &ACCOUNTS {
            let (due, taken, shed) = (self.count(account.due), self.count(account.taken), self.shed(account));
            ensure!(due == taken + shed, "{}: {due} were due, {taken} done and {shed} shed", account.what);
        }
        let shed: u64 = ACCOUNTS.iter().map(|account| self.shed(account)).sum();
        ensure!(shed > 0, "nothing was shed, by the agent's word: {SERIES} series cost more than this budget");
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn report(minutes: &[f64], after: Value) -> Report {
        Report {
            warm_up: Duration::ZERO,
            minutes: minutes.to_vec(),
            mean_percent: minutes.iter().sum::<f64>() / minutes.len() as f64,
            machine_busy_ratio: 0.0,
            before: json!({ "worker": { "pid": 7 }, "ledger": { "looks_due": 10, "looks_taken": 10 } }),
            after,
        }
    }

    fn status(series: u64, missed: u64, taken: u64, thinned: u64) -> Value {
        let ledger = json!({ "looks_due": 110, "looks_taken": 10 + taken, "looks_thinned": thinned });
        json!({ "series": { "total": series }, "ticks": { "missed": missed }, "worker": { "pid": 7 }, "ledger": ledger })
    }

    #[test]
    fn budget_holds_in_the_mean_and_with_some_room_in_each_minute() {
        let judge = |minutes: &[f64]| report(minutes, status(2_000, 0, 20, 80)).judge();
        assert!(judge(&[0.1, 0.29]).is_ok());
        assert!(judge(&[0.2, 0.21]).is_err() && judge(&[0.01, 0.31]).is_err());
    }

    #[test]
    fn few_series_missed_ticks_and_work_without_account_fail() {
        let judge = |after: Value| report(&[0.1], after).judge();
        assert!(judge(status(1_999, 0, 20, 80)).is_err() && judge(status(2_000, 1, 20, 80)).is_err());
        assert!(judge(status(2_000, 0, 20, 79)).is_err());
        assert!(judge(status(2_000, 0, 100, 0)).is_err());
    }

    #[test]
    fn time_without_the_worker_is_no_measurement() {
        let with_worker = |worker: Value| {
            let mut after = status(2_000, 0, 20, 80);
            after["worker"] = worker;
            report(&[0.1], after).judge()
        };
        assert!(with_worker(json!({ "pid": 7 })).is_ok());
        assert!(with_worker(json!({ "pid": 8 })).is_err() && with_worker(Value::Null).is_err());
    }

    #[test]
    fn part_of_a_minute_cannot_be_measured() {
        assert_eq!(whole_minutes("2m"), Ok(2 * MINUTE));
        assert!(["0m", "90s", "10x"].into_iter().all(|text| whole_minutes(text).is_err()));
    }
}

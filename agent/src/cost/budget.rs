//! Budgets: what may be spent, what was, the plan, and what was left out.

use serde::{Deserialize, Serialize};
use std::fmt;
use vedette_edge::ledger::Ledger;
use vedette_edge::planner::{Account, Bill};

/// What `cost` and `status` say of budgets. Its `Display` is for people: whole lines.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BudgetStatus {
    /// CPU time, in nanoseconds.
    pub cpu: Spending,
    /// Bytes for the collector.
    pub uplink: Spending,
    /// The plan in effect, for people.
    pub plan: String,
    /// Series that detectors look at each time that they would without a budget.
    pub series_full: u64,
    /// Series that are raised for a while.
    pub series_raised: u64,
    /// What was left out, and what was not.
    pub left_out: Vec<LeftOut>,
}

/// What was spent of one budget.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spending {
    /// What an hour may cost; `None` for no limit.
    pub per_hour: Option<u64>,
    /// The last minute.
    pub minute: u64,
    /// The last hour, or all since start if that is less.
    pub hour: u64,
}

/// What became of one kind of work since start: `due = done + planned + cut`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LeftOut {
    /// `collect`, `detect` or `ship`.
    pub class: String,
    /// What is counted.
    pub what: String,
    /// The budget that leaves out: `cpu_budget` or `uplink_budget`.
    pub reason: String,
    /// What there would be without a budget.
    pub due: u64,
    /// What was done.
    pub done: u64,
    /// Left out by the plan.
    pub planned: u64,
    /// Left out in the moment, because the budget had no room.
    pub cut: u64,
}

impl BudgetStatus {
    /// From what the pipeline says of itself.
    pub fn new(account: &Account, ledger: &Ledger) -> Self {
        let row = |class: &str, what: &str, reason: &str, [due, done, planned, cut]: [u64; 4]| LeftOut {
            class: class.to_owned(),
            what: what.to_owned(),
            reason: reason.to_owned(),
            due,
            done,
            planned,
            cut,
        };
        let one = ledger;
        let told = one.features_sent + one.features_unchanged;
        Self {
            cpu: Spending::new(&account.cpu),
            uplink: Spending::new(&account.uplink),
            plan: account.plan.to_string(),
            series_full: account.plan.full as u64,
            series_raised: account.plan.raised as u64,
            left_out: vec![
                row(
                    "collect",
                    "readings",
                    "cpu_budget",
                    [one.collect_due, one.collect_taken, one.collect_spared, one.collect_skipped],
                ),
                row(
                    "detect",
                    "values",
                    "cpu_budget",
                    [one.looks_due, one.looks_taken, one.looks_thinned, one.looks_withheld],
                ),
                row("ship", "windows", "uplink_budget", [one.features_due, told, one.features_folded, 0]),
                row("ship", "raw samples", "uplink_budget", [one.raw_due, one.raw_due - one.raw_shed, 0, one.raw_shed]),
            ],
        }
    }

    /// What a person has to know: a budget that cannot be kept.
    pub fn problem(&self) -> Option<String> {
        let per_hour = self.cpu.per_hour?;
        let (allowed, spent) = (per_hour / 60, self.cpu.minute);
        // What is hundredths of a second by the kernel is no news.
        (spent > allowed + allowed / 4 + 20_000_000).then(|| {
            let (spent, allowed) = (percent(spent, 60), percent(allowed, 60));
            format!(
                "the CPU budget cannot be kept: {spent} of a core in the last minute, {allowed} is allowed; \
                 `vedette-agent cost` shows on what, `[budget] cpu-percent` raises it"
            )
        })
    }
}

impl Spending {
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, at least 0")]
    fn new(bill: &Bill) -> Self {
        let whole = |amount: f64| amount.round() as u64;
        Self {
            per_hour: bill.budget_per_s.map(|per_s| whole(per_s * 3_600.0)),
            minute: whole(bill.minute),
            hour: whole(bill.hour),
        }
    }
}

impl fmt::Display for BudgetStatus {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { cpu, uplink, plan, left_out, .. } = self;
        match cpu.per_hour {
            Some(ns) => write!(f, "budget      CPU {} of a core", percent(ns, 3_600))?,
            None => write!(f, "budget      CPU without a limit")?,
        }
        let (minute, hour) = (percent(cpu.minute, 60), percent(cpu.hour, 3_600));
        writeln!(f, "; spent {minute} in the last minute, {hour} in the last hour")?;
        match uplink.per_hour {
            Some(bytes) => write!(f, "            uplink {} an hour", kilobytes(bytes))?,
            None => write!(f, "            uplink without a limit")?,
        }
        writeln!(f, "; {} in the last minute, {} in the last hour", kilobytes(uplink.minute), kilobytes(uplink.hour))?;
        writeln!(f, "plan        {plan}")?;
        for LeftOut { class, what, reason, due, planned, cut, .. } in left_out.iter().filter(|one| one.is_news()) {
            writeln!(f, "left out    {class}: {planned} by plan, {cut} at once, of {due} {what} ({reason})")?;
        }
        Ok(())
    }
}

impl LeftOut {
    fn is_news(&self) -> bool {
        self.planned + self.cut > 0
    }
}

/// Nanoseconds in so many seconds, of a core.
fn percent(ns: u64, seconds: u64) -> String {
    format!("{:.3} %", ns as f64 / 1e7 / seconds as f64)
}

fn kilobytes(bytes: u64) -> String {
    if bytes < 10_000 { format!("{bytes} B") } else { format!("{} kB", bytes / 1_000) }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn account(minute_ns: f64) -> Account {
        let cpu = Bill { budget_per_s: Some(2e6), minute: minute_ns, hour: 3e9, ..Bill::default() };
        Account { cpu, ..Account::default() }
    }

    #[test]
    fn budgets_plan_and_what_was_left_out_are_told_in_words() {
        let ledger =
            Ledger { looks_due: 100, looks_taken: 60, looks_thinned: 39, looks_withheld: 1, ..Ledger::default() };
        let status = BudgetStatus::new(&account(9e7), &ledger);
        assert_eq!(
            status.to_string(),
            "budget      CPU 0.200 % of a core; spent 0.150 % in the last minute, 0.083 % in the last hour\n            \
             uplink without a limit; 0 B in the last minute, 0 B in the last hour\n\
             plan        all 0 series at full rate\n\
             left out    detect: 39 by plan, 1 at once, of 100 values (cpu_budget)\n"
        );
        assert!(status.left_out.iter().all(|one| one.due == one.done + one.planned + one.cut), "{status:?}");
    }

    #[test]
    fn only_a_budget_that_cannot_be_kept_is_a_problem() {
        let problem = |minute_ns| BudgetStatus::new(&account(minute_ns), &Ledger::default()).problem();
        assert_eq!((problem(1.2e8), problem(1.4e8)), (None, None));
        assert!(problem(3e8).expect("0.5 % is not 0.2 %").contains("0.500 % of a core in the last minute, 0.200 %"));
    }
}

//! A stretch of time in which several programs are measured side by side, all from `/proc`.

use crate::measure::{MachineTime, Usage, family, pss_bytes};
use crate::progress::say;
use anyhow::{Context, Result, ensure};
use serde_json::{Value, json};
use std::time::{Duration, Instant};

/// Between two looks at the memory.
const LOOK: Duration = Duration::from_secs(5);
/// Between two words to whoever waits.
const WORD: Duration = Duration::from_secs(30);

/// A program with all processes that it starts.
pub(crate) struct Subject<'a> {
    pub(crate) name: String,
    pub(crate) pid: u32,
    /// What it did so far, by its own word or by what came out of it. Asking may cost it something: it is asked outside
    /// the window.
    pub(crate) counts: Box<dyn Fn() -> Result<Counts> + 'a>,
}

/// What somebody counts.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Counts {
    pub(crate) samples: Samples,
    /// So far; `None` for what sends nothing.
    pub(crate) sent_bytes: Option<u64>,
}

/// How the number of samples is known.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Samples {
    /// So many so far.
    Counted(u64),
    /// So many a second.
    PerSecond(f64),
}

/// What a program needed.
pub(crate) struct Measured {
    pub(crate) name: String,
    /// Of one core.
    pub(crate) cpu_ratio: f64,
    pub(crate) pss_median_bytes: u64,
    pub(crate) pss_max_bytes: u64,
    pub(crate) processes: usize,
    pub(crate) wakeups_per_s: f64,
    pub(crate) samples_per_s: f64,
    pub(crate) sent_bytes_per_s: Option<f64>,
}

/// The window and what was measured in it.
pub(crate) struct Outcome {
    pub(crate) seconds: f64,
    /// Of the time of all CPUs, whoever used it.
    pub(crate) machine_busy_ratio: f64,
    pub(crate) rows: Vec<Measured>,
}

/// Measures for `length`; whatever ends meanwhile ends the measurement.
pub(crate) fn measure(subjects: &[Subject<'_>], length: Duration) -> Result<Outcome> {
    let counts = |subject: &Subject<'_>| (subject.counts)().with_context(|| format!("counts of {}", subject.name));
    let counts_before = subjects.iter().map(counts).collect::<Result<Vec<_>>>()?;
    let (machine, begun) = (MachineTime::now()?, Instant::now());
    let usage_before: Vec<Usage> = subjects.iter().map(|subject| Usage::of(subject.pid)).collect();
    let mut memory: Vec<Vec<u64>> = vec![Vec::new(); subjects.len()];
    let mut told = Instant::now();
    loop {
        for (subject, looks) in subjects.iter().zip(&mut memory) {
            let bytes = pss_bytes(&family(subject.pid));
            ensure!(bytes > 0, "{} has ended, or its memory cannot be read", subject.name);
            looks.push(bytes);
        }
        let left = length.saturating_sub(begun.elapsed());
        if left.is_zero() {
            break;
        }
        if told.elapsed() >= WORD {
            told = Instant::now();
            say(&format!("measuring: {} s of {}", begun.elapsed().as_secs(), length.as_secs()));
        }
        std::thread::sleep(left.min(LOOK));
    }
    let usage: Vec<Usage> = subjects.iter().map(|subject| Usage::of(subject.pid)).collect();
    let seconds = begun.elapsed().as_secs_f64();
    let machine_busy_ratio = MachineTime::now()?.busy_ratio_since(&machine);
    let counts_after = subjects.iter().map(counts).collect::<Result<Vec<_>>>()?;

    let row = |at: usize| {
        let (before, after) = (usage_before[at], usage[at]);
        let (did, does) = (counts_before[at], counts_after[at]);
        let per_s = |before: u64, after: u64| after.saturating_sub(before) as f64 / seconds;
        let mut looks = memory[at].clone();
        looks.sort_unstable();
        Measured {
            name: subjects[at].name.clone(),
            cpu_ratio: after.cpu.saturating_sub(before.cpu).as_secs_f64() / seconds,
            pss_median_bytes: looks[looks.len() / 2],
            pss_max_bytes: looks[looks.len() - 1],
            processes: family(subjects[at].pid).len(),
            wakeups_per_s: after.wakeups.saturating_sub(before.wakeups) as f64 / seconds,
            samples_per_s: match (did.samples, does.samples) {
                (Samples::Counted(before), Samples::Counted(after)) => per_s(before, after),
                (_, Samples::PerSecond(rate)) => rate,
                (Samples::PerSecond(_), Samples::Counted(_)) => 0.0,
            },
            sent_bytes_per_s: did.sent_bytes.zip(does.sent_bytes).map(|(before, after)| per_s(before, after)),
        }
    };
    Ok(Outcome { seconds, machine_busy_ratio, rows: (0..subjects.len()).map(row).collect() })
}

impl Measured {
    /// CPU time per sample; `None` if there were none.
    pub(crate) fn cpu_us_per_sample(&self) -> Option<f64> {
        (self.samples_per_s > 0.0).then(|| self.cpu_ratio * 1e6 / self.samples_per_s)
    }

    pub(crate) fn to_json(&self) -> Value {
        json!({
            "name": self.name,
            "cpu_ratio": self.cpu_ratio,
            "cpu_us_per_sample": self.cpu_us_per_sample(),
            "samples_per_s": self.samples_per_s,
            "sent_bytes_per_s": self.sent_bytes_per_s,
            "pss_bytes_median": self.pss_median_bytes,
            "pss_bytes_max": self.pss_max_bytes,
            "wakeups_per_s": self.wakeups_per_s,
            "processes": self.processes,
        })
    }

    /// Names of the columns of [`Measured::line`].
    pub(crate) fn head() -> String {
        format!(
            "{:<24} {:>9} {:>11} {:>10} {:>9} {:>10} {:>10} {:>10}",
            "", "CPU %", "µs/sample", "samples/s", "sent B/s", "PSS MiB", "peak MiB", "wake-ups/s"
        )
    }

    /// A line of the table for people.
    pub(crate) fn line(&self) -> String {
        let or_dash = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "-".to_owned(), |value| format!("{value:.digits$}"))
        };
        let mib = |bytes: u64| bytes as f64 / f64::from(1 << 20);
        format!(
            "{:<24} {:>9.3} {:>11} {:>10} {:>9} {:>10.1} {:>10.1} {:>10.1}",
            self.name,
            self.cpu_ratio * 100.0,
            or_dash(self.cpu_us_per_sample(), 2),
            or_dash(Some(self.samples_per_s), 0),
            or_dash(self.sent_bytes_per_s, 0),
            mib(self.pss_median_bytes),
            mib(self.pss_max_bytes),
            self.wakeups_per_s,
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::cell::Cell;

    #[test]
    fn counts_are_of_the_window_and_what_nobody_counts_stays_unknown() {
        let mut sleeper = std::process::Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let asked = Cell::new(0);
        let counts = || {
            asked.set(asked.get() + 1);
            Ok(Counts { samples: Samples::Counted(asked.get() * 1_000), sent_bytes: None })
        };
        let subject = Subject { name: "sleep".to_owned(), pid: sleeper.id(), counts: Box::new(counts) };
        let outcome = measure(&[subject], Duration::ZERO);
        sleeper.kill().and_then(|()| sleeper.wait().map(drop)).expect("it runs");
        let outcome = outcome.expect("it was measured");
        let row = &outcome.rows[0];
        assert!((row.samples_per_s * outcome.seconds - 1_000.0).abs() < 1e-6);
        assert_eq!((row.sent_bytes_per_s, row.processes), (None, 1));
        assert!(row.pss_median_bytes > 0 && row.pss_median_bytes <= row.pss_max_bytes);
        assert!(row.line().contains(" - "), "{}", row.line());
    }

    #[test]
    fn program_that_has_ended_is_no_measurement() {
        let mut child = std::process::Command::new("true").spawn().expect("true starts");
        child.wait().expect("it ends");
        let counts = || Ok(Counts { samples: Samples::PerSecond(1.0), sent_bytes: None });
        let subject = Subject { name: "true".to_owned(), pid: child.id(), counts: Box::new(counts) };
        let outcome = measure(&[subject], Duration::ZERO);
        assert!(outcome.is_err_and(|error| error.to_string().contains("true has ended")));
    }
}

//! What the agent costs, by who causes it: CPU time, series, bytes. Sums stand beside what the kernel counts for the two
//! processes, so that what nobody answers for is visible.

mod budget;
mod human;

pub use budget::{BudgetStatus, LeftOut, Spending};
pub use human::render;

use rustix::time::{ClockId, clock_gettime};
use serde::{Deserialize, Serialize};

/// The bill since the agent started. CPU times are those of threads, not of clocks on the wall, but for guests.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Bill {
    /// Since start.
    pub uptime_ms: u64,
    /// CPU time of the agent's process, all threads, by the kernel.
    pub agent_cpu_ns: u64,
    /// CPU time of the worker that answers and of those before it, by the kernel.
    pub worker_cpu_ns: u64,
    /// Sources that are read.
    pub sources: Vec<SourceCost>,
    /// Detectors.
    pub detectors: Vec<DetectorCost>,
    /// What the agent's process does beside reading sources and judging scores.
    pub stages: Vec<StageCost>,
    /// What went into batches for the collector.
    pub batches: Vec<BatchCost>,
    /// UDP payload sent: batches that were sent, twice if they were, and all that QUIC adds.
    pub udp_sent_bytes: u64,
    /// What may be spent, what was of late, and what was left out for it.
    #[serde(default)]
    pub budget: BudgetStatus,
}

/// A source with its series.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceCost {
    /// Name.
    pub name: String,
    /// Readings.
    pub reads: u64,
    /// Reading, parsing, and taking its values into their series.
    pub cpu_ns: u64,
    /// Series that it has now.
    pub series: u64,
    /// Windows of its series that were put into batches.
    pub features: u64,
    /// Its share of the batches that carry them, by number of windows.
    pub bytes: u64,
}

/// A detector.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DetectorCost {
    /// Name.
    pub name: String,
    /// Detector beside which it runs without being judged by.
    pub shadow_of: Option<String>,
    /// Values scored.
    pub values: u64,
    /// In the worker: time inside the guest.
    pub guest_ns: u64,
    /// In the agent: calibrating and judging its scores.
    pub judge_ns: u64,
}

/// A part of the agent's own work.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StageCost {
    /// What.
    pub name: String,
    /// CPU time.
    pub cpu_ns: u64,
}

/// Batches of one kind.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct BatchCost {
    /// What is in them.
    pub name: String,
    /// How many.
    pub batches: u64,
    /// Encoded.
    pub bytes: u64,
}

impl Bill {
    /// What sources, stages and judging of the agent's process come to.
    pub fn agent_known_ns(&self) -> u64 {
        let sources = self.sources.iter().map(|one| one.cpu_ns);
        let judged = self.detectors.iter().map(|one| one.judge_ns);
        sources.chain(judged).chain(self.stages.iter().map(|one| one.cpu_ns)).sum()
    }

    /// What the guests come to.
    pub fn worker_known_ns(&self) -> u64 {
        self.detectors.iter().map(|one| one.guest_ns).sum()
    }
}

/// CPU time of the calling thread.
pub fn thread_cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ThreadCPUTime);
    let ns = |value: i64| u64::try_from(value).unwrap_or(0);
    ns(now.tv_sec) * 1_000_000_000 + ns(now.tv_nsec)
}

/// CPU time of this process, all its threads.
pub fn process_cpu_ns() -> u64 {
    let now = clock_gettime(ClockId::ProcessCPUTime);
    let ns = |value: i64| u64::try_from(value).unwrap_or(0);
    ns(now.tv_sec) * 1_000_000_000 + ns(now.tv_nsec)
}

/// CPU time of another process and of this one's children that have ended, by `/proc`; 0 for what is not there.
pub fn children_cpu_ns(living: Option<u32>) -> u64 {
    let ticks_per_s = rustix::param::clock_ticks_per_second().max(1);
    // Fields 14 and 15 of proc_pid_stat(5) are a process' own, 16 and 17 those of its children that have ended.
    let ended = ticks("/proc/self/stat", 16);
    let living = living.map_or(0, |pid| ticks(&format!("/proc/{pid}/stat"), 14));
    (ended + living).saturating_mul(1_000_000_000 / ticks_per_s)
}

/// Sum of the field of that number, counted from 1, and the next.
fn ticks(path: &str, first: usize) -> u64 {
    let stat = std::fs::read_to_string(path).unwrap_or_default();
    parse_ticks(&stat, first).unwrap_or(0)
}

fn parse_ticks(stat: &str, first: usize) -> Option<u64> {
    // The name, field 2, can hold anything, closing parentheses too.
    let (_, fields) = stat.rsplit_once(") ")?;
    let mut fields = fields.split(' ').skip(first - 3);
    Some(fields.next()?.parse::<u64>().ok()? + fields.next()?.parse::<u64>().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ticks_are_found_whatever_a_process_is_called() {
        let stat = "7 (a) b) ) S 1 7 7 0 -1 4194560 1 2 3 4 50 6 70 8 20 0 1 0 99\n";
        assert_eq!((parse_ticks(stat, 14), parse_ticks(stat, 16)), (Some(56), Some(78)));
        assert_eq!(parse_ticks("", 14), None);
        assert_eq!(parse_ticks("7 (a) S 1", 14), None);
    }

    #[test]
    fn this_process_costs_at_least_what_its_thread_does() {
        let (thread, process) = (thread_cpu_ns(), process_cpu_ns());
        assert!(thread > 0 && thread <= process, "{thread} {process}");
    }
}

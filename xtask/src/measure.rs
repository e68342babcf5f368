//! Memory and CPU of running processes, from /proc.

use anyhow::{Context, Result};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Proportional set size of all `pids` together, in bytes; processes that have ended count nothing.
pub(crate) fn pss_bytes(pids: &[u32]) -> u64 {
    pids.iter()
        .filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok())
        .map(|text| pss_of(&text))
        .sum()
}

fn pss_of(smaps_rollup: &str) -> u64 {
    let line = smaps_rollup.lines().find_map(|line| line.strip_prefix("Pss:"));
    line.and_then(|rest| rest.split_whitespace().next()).and_then(|kib| kib.parse::<u64>().ok()).unwrap_or(0) * 1024
}

/// CPU time of all `pids` so far, threads and reaped children included.
pub(crate) fn cpu_time(pids: &[u32]) -> Result<Duration> {
    let mut ticks = 0;
    for pid in pids {
        let path = format!("/proc/{pid}/stat");
        ticks += ticks_of(&fs::read_to_string(&path).with_context(|| path.clone())?).with_context(|| path)?;
    }
    // Linux reports these fields in units of 1/100 s to user space on every architecture that we build for.
    Ok(Duration::from_millis(ticks * 10))
}

fn ticks_of(stat: &str) -> Option<u64> {
    let after_name = stat.rsplit_once(") ")?.1;
    let fields: Vec<&str> = after_name.split(' ').collect();
    (11..=14).map(|i| fields.get(i)?.parse::<u64>().ok()).sum()
}

/// Samples the memory of a changing set of processes once a second until dropped.
pub(crate) struct MemoryWatch {
    pids: Arc<Mutex<Vec<u32>>>,
    peak: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl MemoryWatch {
    pub(crate) fn start() -> Self {
        let pids = Arc::new(Mutex::new(Vec::new()));
        let peak = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (pids, peak, stop) = (Arc::clone(&pids), Arc::clone(&peak), Arc::clone(&stop));
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let now: Vec<u32> = pids.lock().map(|pids| pids.clone()).unwrap_or_default();
                    peak.fetch_max(pss_bytes(&now), Ordering::Relaxed);
                    std::thread::park_timeout(Duration::from_secs(1));
                }
            }
        });
        Self { pids, peak, stop, thread: Some(thread) }
    }

    /// Watches these processes from now on.
    pub(crate) fn set_pids(&self, new: &[u32]) {
        if let Ok(mut pids) = self.pids.lock() {
            new.clone_into(&mut pids);
        }
    }

    pub(crate) fn peak_bytes(&self) -> u64 {
        self.peak.load(Ordering::Relaxed)
    }
}

impl Drop for MemoryWatch {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

/// CPU time over wall time of some processes between two moments.
pub(crate) struct CpuMeter {
    pids: Vec<u32>,
    cpu: Duration,
    begun: Instant,
}

impl CpuMeter {
    pub(crate) fn start(pids: &[u32]) -> Result<Self> {
        Ok(Self { pids: pids.to_vec(), cpu: cpu_time(pids)?, begun: Instant::now() })
    }

    /// Share of one core since the start.
    pub(crate) fn ratio(&self) -> Result<f64> {
        let spent = cpu_time(&self.pids)?.saturating_sub(self.cpu);
        Ok(spent.as_secs_f64() / self.begun.elapsed().as_secs_f64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn stat_with_spaces_and_parentheses_in_the_name_is_read() {
        let stat = "42 (a ) b (c) S 1 42 42 0 -1 4194304 100 0 0 0 7 5 2 1 20 0 3 0 100 0 0";
        assert_eq!(ticks_of(stat), Some(15));
    }

    #[test]
    fn pss_is_read_in_bytes() {
        assert_eq!(pss_of("55..  [rollup]\nRss:  900 kB\nPss:  512 kB\nPss_Dirty: 1 kB\n"), 512 * 1024);
    }
}

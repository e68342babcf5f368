//! Memory and CPU of running processes, from /proc.

use anyhow::{Context, Result};
use std::fs;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

/// Proportional set size of all `pids` together, in bytes; processes that have ended count nothing.
pub(crate) fn pss_bytes(pids: &[u32]) -> u64 {
    sum_of(pids, "Pss:")
}

/// What of it no file stands behind: heaps and stacks.
pub(crate) fn pss_anonymous_bytes(pids: &[u32]) -> u64 {
    sum_of(pids, "Pss_Anon:")
}

fn sum_of(pids: &[u32], field: &str) -> u64 {
    let texts = pids.iter().filter_map(|pid| fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok());
    texts.map(|text| bytes_of(&text, field)).sum()
}

fn bytes_of(smaps_rollup: &str, field: &str) -> u64 {
    let line = smaps_rollup.lines().find_map(|line| line.strip_prefix(field));
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

/// A process and all its descendants, as they live now.
pub(crate) fn family(root: u32) -> Vec<u32> {
    let pids = fs::read_dir("/proc").into_iter().flatten().flatten();
    let pids = pids.filter_map(|entry| entry.file_name().to_str()?.parse::<u32>().ok());
    let parent = |pid: u32| parent_of(&fs::read_to_string(format!("/proc/{pid}/stat")).ok()?);
    let parents: Vec<(u32, u32)> = pids.filter_map(|pid| Some((pid, parent(pid)?))).collect();
    let mut family = vec![root];
    let mut at = 0;
    while let Some(&of) = family.get(at) {
        family.extend(parents.iter().filter(|(_, parent)| *parent == of).map(|(pid, _)| *pid));
        at += 1;
    }
    family
}

fn parent_of(stat: &str) -> Option<u32> {
    stat.rsplit_once(") ")?.1.split(' ').nth(1)?.parse().ok()
}

/// What a process and its descendants have used so far.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Usage {
    /// CPU time; of descendants that have ended, what was counted for who waited for them.
    pub(crate) cpu: Duration,
    /// Times that a thread slept and was woken; of threads that live.
    pub(crate) wakeups: u64,
}

impl Usage {
    /// Of a process and its descendants; what is gone counts nothing.
    pub(crate) fn of(root: u32) -> Self {
        let family = family(root);
        let cpu = family.iter().filter_map(|pid| cpu_time(&[*pid]).ok()).sum();
        Self { cpu, wakeups: family.iter().map(|pid| wakeups(*pid)).sum() }
    }
}

fn wakeups(pid: u32) -> u64 {
    let threads = fs::read_dir(format!("/proc/{pid}/task")).into_iter().flatten().flatten();
    let status = threads.filter_map(|thread| fs::read_to_string(thread.path().join("status")).ok());
    status.filter_map(|text| voluntary_switches(&text)).sum()
}

fn voluntary_switches(status: &str) -> Option<u64> {
    status.lines().find_map(|line| line.strip_prefix("voluntary_ctxt_switches:"))?.trim().parse().ok()
}

/// Time of all CPUs of the machine so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct MachineTime {
    busy_ticks: u64,
    all_ticks: u64,
}

impl MachineTime {
    pub(crate) fn now() -> Result<Self> {
        let stat = fs::read_to_string("/proc/stat").context("/proc/stat")?;
        Self::of(&stat).context("/proc/stat has no line of all CPUs")
    }

    /// User, nice, system, idle, iowait, irq, softirq, steal; guests are in the first two.
    fn of(stat: &str) -> Option<Self> {
        let line = stat.lines().next()?.strip_prefix("cpu ")?;
        let ticks: Vec<u64> = line.split_whitespace().take(8).filter_map(|ticks| ticks.parse().ok()).collect();
        let [_, _, _, idle, iowait, ..] = ticks[..] else { return None };
        let all_ticks = ticks.iter().sum();
        Some(Self { busy_ticks: all_ticks - idle - iowait, all_ticks })
    }

    /// Share of the time of all CPUs since `earlier` in which they had something to do.
    pub(crate) fn busy_ratio_since(&self, earlier: &Self) -> f64 {
        let ratio = (self.busy_ticks.saturating_sub(earlier.busy_ticks)) as f64;
        ratio / (self.all_ticks.saturating_sub(earlier.all_ticks)).max(1) as f64
    }
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
    fn descendants_belong_to_their_family() {
        assert_eq!(parent_of("42 (a ) b (c) S 7 42 42 0"), Some(7));
        let mut child = std::process::Command::new("sleep").arg("60").spawn().expect("sleep starts");
        let (family, usage) = (family(std::process::id()), Usage::of(child.id()));
        child.kill().and_then(|()| child.wait().map(drop)).expect("it runs");
        assert!(family.contains(&std::process::id()) && family.contains(&child.id()), "{family:?}");
        assert!(usage.cpu < Duration::from_secs(1));
    }

    #[test]
    fn wakeups_are_those_that_a_thread_wanted() {
        let status = "Threads:\t1\nvoluntary_ctxt_switches:\t 150\nnonvoluntary_ctxt_switches:\t545\n";
        assert_eq!(voluntary_switches(status), Some(150));
    }

    #[test]
    fn waiting_for_a_device_is_no_work_of_the_machine() {
        let earlier = MachineTime::of("cpu  10 0 10 100 5 0 0 0 7 0\ncpu0 1 2 3\n").expect("a line");
        let now = MachineTime::of("cpu  20 0 20 150 35 0 0 0 9 0\n").expect("a line");
        assert!((now.busy_ratio_since(&earlier) - 0.2).abs() < 1e-12);
    }

    #[test]
    fn pss_is_read_in_bytes() {
        let text = "55..  [rollup]\nRss:  900 kB\nPss:  512 kB\nPss_Dirty: 1 kB\nPss_Anon: 300 kB\n";
        assert_eq!((bytes_of(text, "Pss:"), bytes_of(text, "Pss_Anon:")), (512 * 1024, 300 * 1024));
    }
}

//! Processes that do nothing, so that a host has as many as a promise speaks of.

use crate::progress::say;
use anyhow::{Context, Result};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// Sleeping processes that end with their owner, and by themselves when their time is over.
pub(crate) struct Crowd(Vec<Child>);

impl Crowd {
    /// As many as are missing to `processes` on this host, kernel threads included.
    pub(crate) fn fill_up(processes: usize, longest: Duration) -> Result<Self> {
        let mut crowd = Self(Vec::new());
        let missing = processes.saturating_sub(living());
        if missing > 0 {
            say(&format!("{missing} sleeping processes make it {processes} on this host"));
        }
        for _ in 0..missing {
            let mut sleep = Command::new("sleep");
            sleep.arg(longest.as_secs().to_string());
            sleep.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
            crowd.0.push(sleep.spawn().context("starting `sleep`")?);
        }
        Ok(crowd)
    }
}

/// Processes of this host.
pub(crate) fn living() -> usize {
    let is_process = |name: &std::ffi::OsStr| name.to_str().is_some_and(|name| name.parse::<u32>().is_ok());
    let entries = std::fs::read_dir("/proc").into_iter().flatten().flatten();
    entries.filter(|entry| is_process(&entry.file_name())).count()
}

impl Drop for Crowd {
    fn drop(&mut self) {
        for child in &mut self.0 {
            let _ = child.kill();
            let _ = child.wait();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn crowd_fills_the_host_up_and_goes_with_its_owner() {
        let crowd = Crowd::fill_up(living() + 3, Duration::from_secs(60)).expect("sleep starts");
        let pids: Vec<u32> = crowd.0.iter().map(Child::id).collect();
        assert!(pids.iter().all(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists()));
        drop(crowd);
        assert!(!pids.iter().any(|pid| std::path::Path::new(&format!("/proc/{pid}")).exists()), "{pids:?}");
    }
}

//! Real disturbances of this host, each in a process of its own, bounded, ending with its owner.

use crate::process::Service;
use anyhow::{Context, Result, ensure};
use clap::{Args, ValueEnum};
use std::fs::{self, File};
use std::io::Write;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

/// Longest life of a disturbance, should its owner die.
const LIFE_MAX: Duration = Duration::from_secs(600);
/// Most that is written to the disk, and the pace.
const FILL_BYTES_MAX: u64 = 12 << 30;
const FILL_BYTES_PER_SECOND: usize = 120 << 20;

/// What happens to the host.
#[derive(Clone, Copy, PartialEq, Eq, Debug, ValueEnum)]
pub(crate) enum Kind {
    /// A process burns one core and the service logs errors never seen before.
    CpuAndLogs,
    /// A process takes a third of the memory.
    Memory,
    /// A process writes to the disk without end.
    DiskFill,
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::CpuAndLogs => "cpu-and-logs",
            Self::Memory => "memory",
            Self::DiskFill => "disk-fill",
        }
    }
}

/// Options of the child.
#[derive(Args)]
pub(crate) struct DisturbArgs {
    #[arg(value_enum)]
    kind: Kind,
    scratch: PathBuf,
}

/// Starts the child; it ends when the result is dropped.
pub(crate) fn start(kind: Kind, scratch: &Path) -> Result<Service> {
    let mut command = Command::new(std::env::current_exe()?);
    command.args(["disturb", kind.name()]).arg(scratch);
    Service::start("the disturbance", &mut command, &scratch.join("disturbance.log"))
}

/// Removes what the disturbance left.
pub(crate) fn clean(scratch: &Path) -> Result<()> {
    let path = filling(scratch);
    if path.exists() {
        fs::remove_file(&path).with_context(|| path.display().to_string())?;
    }
    Ok(())
}

/// The child's main.
pub(crate) fn run_child(args: &DisturbArgs) -> Result<()> {
    let end = Instant::now() + LIFE_MAX;
    match args.kind {
        Kind::CpuAndLogs => burn(end),
        Kind::Memory => hold_memory(end),
        Kind::DiskFill => fill_disk(&args.scratch, end),
    }
}

fn burn(end: Instant) -> Result<()> {
    let mut x = 1_u64;
    while Instant::now() < end {
        for _ in 0..1_000_000 {
            x = std::hint::black_box(x.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1));
        }
    }
    Ok(())
}

fn hold_memory(end: Instant) -> Result<()> {
    let bytes = available_bytes()? / 3;
    let mut memory = Vec::new();
    memory.try_reserve_exact(bytes).context("taking memory")?;
    memory.resize(bytes, 1_u8);
    std::hint::black_box(&memory);
    std::thread::sleep(end.saturating_duration_since(Instant::now()));
    Ok(())
}

fn available_bytes() -> Result<usize> {
    let text = fs::read_to_string("/proc/meminfo")?;
    let line =
        text.lines().find_map(|line| line.strip_prefix("MemAvailable:")).context("MemAvailable in /proc/meminfo")?;
    let kib: usize = line.trim().trim_end_matches(" kB").parse()?;
    Ok(kib * 1024)
}

fn fill_disk(scratch: &Path, end: Instant) -> Result<()> {
    ensure!(scratch.is_dir(), "{} is no folder", scratch.display());
    let mut file = File::create(filling(scratch))?;
    let chunk = vec![0xA5_u8; FILL_BYTES_PER_SECOND / 10];
    let mut written = 0;
    while Instant::now() < end && written < FILL_BYTES_MAX {
        let begun = Instant::now();
        file.write_all(&chunk)?;
        file.sync_data()?;
        written += chunk.len() as u64;
        std::thread::sleep(Duration::from_millis(100).saturating_sub(begun.elapsed()));
    }
    std::thread::sleep(end.saturating_duration_since(Instant::now()));
    Ok(())
}

fn filling(scratch: &Path) -> PathBuf {
    scratch.join("filling")
}

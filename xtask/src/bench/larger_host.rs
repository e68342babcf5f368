//! This host with more CPUs, disks and interfaces than it has, for an agent that reads it through `HOST_PROC`.
//!
//! A folder in memory: links to the kernel's own files for everything that the host has anyway, and made-up `stat`,
//! `diskstats` and `net/dev`, whose counters a thread of this process moves on each second. The agent pays for reading,
//! parsing and all that follows; what the kernel would pay for printing those three files of a host so large it does not.

use crate::demo::service_log::Random;
use anyhow::{Context, Result, ensure};
use std::fmt::Write as _;
use std::fs::{self, File};
use std::os::unix::fs::{FileExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

/// Series that a small host has at 1 s beside those of its single CPUs, its disks and its interfaces.
const REST: usize = 55;
/// Series of a disk, and of an interface.
const PER_DEVICE: usize = 8;
/// What the agent's sources have room for.
const CPUS_MAX: usize = 256;
const DISKS_MAX: usize = 64;
const INTERFACES_MAX: usize = 32;

/// Agents read at full seconds of the wall clock; counters move half a second off that.
const PHASE: Duration = Duration::from_millis(500);

/// What the host is said to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    cpus: usize,
    disks: usize,
    interfaces: usize,
}

impl Shape {
    /// For about so many series each second.
    fn of(series: usize) -> Result<Self> {
        let more = series.saturating_sub(REST);
        let interfaces = (more / 4 / PER_DEVICE).min(INTERFACES_MAX);
        let disks = (more / 2 / PER_DEVICE).min(DISKS_MAX);
        let cpus = more.saturating_sub(PER_DEVICE * (interfaces + disks)).max(1);
        ensure!(cpus <= CPUS_MAX, "sources have no room for {series} series");
        Ok(Self { cpus, disks, interfaces })
    }
}

/// The folder; it goes with its owner.
pub(crate) struct LargerHost {
    dir: PathBuf,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl LargerHost {
    /// Makes the folder and begins to move its counters.
    pub(crate) fn start(series: usize, seed: u64) -> Result<Self> {
        let shape = Shape::of(series)?;
        let memory = Path::new("/dev/shm");
        let base = if memory.is_dir() { memory.to_owned() } else { std::env::temp_dir() };
        let dir = base.join(format!("vedette-bench-{}-{series}", std::process::id()));
        fs::create_dir(&dir).with_context(|| dir.display().to_string())?;
        let mut host = Self { dir, stop: Arc::default(), thread: None };
        link_all("/proc", &host.dir, &["stat", "diskstats", "net"])?;
        fs::create_dir(host.dir.join("net"))?;
        link_all("/proc/net", &host.dir.join("net"), &["dev"])?;

        let mut counters = Counters::new(shape, seed);
        let files = Files::create(&host.dir, &counters)?;
        host.thread = Some(std::thread::spawn({
            let stop = Arc::clone(&host.stop);
            move || {
                while !stop.load(Ordering::Relaxed) {
                    std::thread::park_timeout(until_next());
                    counters.pass_second();
                    // Memory that is full shows as counters that stand still.
                    let _ = files.write(&counters);
                }
            }
        }));
        Ok(host)
    }

    /// For `HOST_PROC`.
    pub(crate) fn proc(&self) -> &Path {
        &self.dir
    }
}

impl Drop for LargerHost {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
        let _ = fs::remove_dir_all(&self.dir);
    }
}

/// Links to every entry of `from` but some. What is not there any more when somebody looks is as an ended process.
fn link_all(from: &str, to: &Path, but: &[&str]) -> Result<()> {
    for entry in fs::read_dir(from).with_context(|| from.to_owned())? {
        let name = entry?.file_name();
        if !but.iter().any(|one| name == *one) {
            symlink(Path::new(from).join(&name), to.join(&name))?;
        }
    }
    Ok(())
}

fn until_next() -> Duration {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    let into_second = Duration::from_nanos(u64::from(now.subsec_nanos()));
    let left = (PHASE + Duration::from_secs(1)).saturating_sub(into_second);
    if left > Duration::from_secs(1) { left - Duration::from_secs(1) } else { left }
}

/// Written over in place: an agent keeps them open.
struct Files {
    stat: File,
    disks: File,
    interfaces: File,
}

impl Files {
    fn create(proc: &Path, counters: &Counters) -> Result<Self> {
        let create = |name: &str| File::create(proc.join(name)).with_context(|| name.to_owned());
        let files = Self { stat: create("stat")?, disks: create("diskstats")?, interfaces: create("net/dev")? };
        files.write(counters)?;
        Ok(files)
    }

    fn write(&self, counters: &Counters) -> std::io::Result<()> {
        self.stat.write_all_at(counters.stat().as_bytes(), 0)?;
        self.disks.write_all_at(counters.disks().as_bytes(), 0)?;
        self.interfaces.write_all_at(counters.interfaces().as_bytes(), 0)
    }
}

/// User, nice, system, idle, iowait, irq, softirq, steal.
type Jiffies = [u64; 8];

/// All counters as they stand.
///
/// Of four devices one stands still; the others move each second by their own rate and up to a third more or less, which
/// is more change than a real host shows. Numbers are printed at a fixed width, so a file keeps its size.
struct Counters {
    random: Random,
    switches: u64,
    cpus: Vec<(u64, Jiffies)>,
    /// Rate and operations.
    disks: Vec<(u64, u64)>,
    /// Rate and packets.
    interfaces: Vec<(u64, u64)>,
}

impl Counters {
    fn new(shape: Shape, seed: u64) -> Self {
        let mut random = Random::new(seed);
        let mut rates = |count: usize, most: u64| -> Vec<u64> {
            (0..count).map(|at| if at % 4 == 3 { 0 } else { most / 10 + random.below(most) }).collect()
        };
        let (busy, operations, packets) =
            (rates(shape.cpus, 40), rates(shape.disks, 400), rates(shape.interfaces, 5_000));
        Self {
            random,
            switches: 1_000_000,
            cpus: busy.into_iter().map(|busy| (busy, [0; 8])).collect(),
            // Whatever never had a transfer is no device of interest to the agent.
            disks: operations.into_iter().map(|rate| (rate, 1_000)).collect(),
            interfaces: packets.into_iter().map(|rate| (rate, 1_000)).collect(),
        }
    }

    fn pass_second(&mut self) {
        self.switches += 10_000 + self.random.below(1_000);
        for (busy, jiffies) in &mut self.cpus {
            let spent = about(&mut self.random, *busy);
            let system = spent / 4;
            jiffies[0] += spent - system;
            jiffies[2] += system;
            jiffies[3] += 100 - spent.min(100);
        }
        for (rate, done) in self.disks.iter_mut().chain(&mut self.interfaces) {
            *done += about(&mut self.random, *rate);
        }
    }

    fn stat(&self) -> String {
        let mut total = [0; 8];
        for (_, jiffies) in &self.cpus {
            total.iter_mut().zip(jiffies).for_each(|(sum, jiffies)| *sum += jiffies);
        }
        let mut text = String::new();
        jiffies_line(&mut text, "cpu ", &total);
        for (cpu, (_, jiffies)) in self.cpus.iter().enumerate() {
            jiffies_line(&mut text, &format!("cpu{cpu}"), jiffies);
        }
        let Self { switches, .. } = self;
        let _ =
            writeln!(text, "intr {switches:012} 0\nctxt {switches:012}\nbtime 1700000000\nprocesses {switches:012}");
        text + "procs_running 2\nprocs_blocked 0\n"
    }

    /// Reads, merged, sectors, ms; the same four of writes; in flight, busy ms, weighted ms.
    fn disks(&self) -> String {
        let mut text = String::new();
        for (disk, (_, done)) in self.disks.iter().enumerate() {
            let (sectors, ms) = (done * 16, done / 4);
            let _ = writeln!(
                text,
                " 259 {disk:7} nvme{disk}n1 {done:012} 0 {sectors:012} {ms:012} {done:012} 0 {sectors:012} {ms:012} 0 \
                 {ms:012} {ms:012}"
            );
        }
        text
    }

    /// Bytes, packets, errors, drops, and four that are not read; of either direction.
    fn interfaces(&self) -> String {
        let mut text = "Inter-|   Receive\n face |bytes\n".to_owned();
        for (interface, (_, packets)) in self.interfaces.iter().enumerate() {
            let bytes = packets * 700;
            let direction = format!("{bytes:012} {packets:012} 0 0 0 0 0 0");
            let _ = writeln!(text, "   eth{interface}: {direction} {direction}");
        }
        text
    }
}

fn jiffies_line(text: &mut String, name: &str, jiffies: &Jiffies) {
    text.push_str(name);
    for jiffies in jiffies {
        let _ = write!(text, " {jiffies:012}");
    }
    text.push_str(" 0 0\n");
}

/// `rate`, up to a third more or less.
fn about(random: &mut Random, rate: u64) -> u64 {
    rate - rate / 3 + random.below(2 * (rate / 3) + 1)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shapes_come_to_the_series_that_were_wanted_within_what_sources_take() {
        for series in [200, 500, 1_000] {
            let Shape { cpus, disks, interfaces } = Shape::of(series).expect("it fits");
            assert_eq!(REST + cpus + PER_DEVICE * (disks + interfaces), series);
            assert!(disks <= DISKS_MAX && interfaces <= INTERFACES_MAX);
        }
        assert!(Shape::of(3_000).is_err());
    }

    #[test]
    fn files_keep_their_size_while_their_counters_move_and_never_go_back() {
        let mut counters = Counters::new(Shape::of(500).expect("it fits"), 7);
        let all = |counters: &Counters| [counters.stat(), counters.disks(), counters.interfaces()];
        let mut before = all(&counters);
        for _ in 0..100 {
            counters.pass_second();
            let now = all(&counters);
            for (before, now) in before.iter().zip(&now) {
                assert_eq!(before.len(), now.len());
                assert_ne!(before, now);
                // At a fixed width texts are ordered as their numbers are.
                assert!(before.lines().zip(now.lines()).all(|(before, now)| before <= now));
            }
            before = now;
        }
        assert!(counters.cpus.iter().all(|(_, jiffies)| jiffies.iter().sum::<u64>() == 100 * 100));
    }

    #[test]
    fn folder_shows_the_kernels_own_files_and_goes_with_its_owner() {
        let host = LargerHost::start(200, 1).expect("a folder");
        let dir = host.proc().to_owned();
        assert!(fs::read_to_string(dir.join("stat")).expect("stat").starts_with("cpu "));
        assert!(fs::read_to_string(dir.join("net/dev")).expect("net/dev").contains("eth0:"));
        assert!(fs::read_to_string(dir.join("meminfo")).expect("meminfo").contains("MemTotal:"));
        assert!(dir.join("self/stat").exists() && dir.join("net/snmp").exists());
        drop(host);
        assert!(!dir.exists());
    }
}

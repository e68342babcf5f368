//! This host with more CPUs, disks and interfaces than it has, and where that is not enough with more services and file
//! systems, for an agent that reads it through `HOST_PROC`, `HOST_SYS` and `HOST_ROOT`.
//!
//! A folder in memory: links to the kernel's own files for everything that the host has anyway, and made-up `stat`,
//! `diskstats`, `net/dev` and control groups, whose counters a thread of this process moves on each second, and a mount
//! table whose mount points are folders in memory. The agent pays for reading, parsing and all that follows; what the
//! kernel would pay for printing those files of a host so large it does not.

mod groups;

use crate::demo::agent::Variables;
use crate::demo::service_log::Random;
use anyhow::{Context, Result, ensure};
use groups::Groups;
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
/// Series of a service's group, each 10 s.
const PER_GROUP: usize = 11;
/// Series of a file system: each second, or each 10 s of one that another host has.
const PER_MOUNT: usize = 4;
/// What the agent's sources have room for.
const CPUS_MAX: usize = 256;
const DISKS_MAX: usize = 64;
const INTERFACES_MAX: usize = 32;
/// One place is the slice's.
const GROUPS_MAX: usize = 47;
/// Half of them local.
const MOUNTS_MAX: usize = 128;

/// Agents read at full seconds of the wall clock; counters move half a second off that.
const PHASE: Duration = Duration::from_millis(500);

/// What the host is said to have.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Shape {
    cpus: usize,
    disks: usize,
    interfaces: usize,
    groups: usize,
    mounts: usize,
}

impl Shape {
    /// For about so many series: each second as far as CPUs and devices go, then also those of groups and file systems.
    fn of(series: usize) -> Result<Self> {
        let more = series.saturating_sub(REST);
        let interfaces = (more / 4 / PER_DEVICE).min(INTERFACES_MAX);
        let disks = (more / 2 / PER_DEVICE).min(DISKS_MAX);
        let more = more.saturating_sub(PER_DEVICE * (interfaces + disks));
        let cpus = more.clamp(1, CPUS_MAX);
        let more = more.saturating_sub(cpus);
        let groups = more.div_ceil(PER_GROUP).min(GROUPS_MAX);
        let mounts = more.saturating_sub(PER_GROUP * groups).div_ceil(PER_MOUNT);
        ensure!(mounts <= MOUNTS_MAX, "sources have no room for {series} series");
        Ok(Self { cpus, disks, interfaces, groups, mounts })
    }
}

/// The folder; it goes with its owner.
pub(crate) struct LargerHost {
    dir: PathBuf,
    shape: Shape,
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
        let mut host = Self { dir, shape, stop: Arc::default(), thread: None };
        let proc = host.dir.join("proc");
        fs::create_dir(&proc)?;
        link_all("/proc", &proc, &["stat", "diskstats", "net", "1"])?;
        link_folder("/proc/net", &proc.join("net"), &["dev"])?;
        if shape.mounts == 0 {
            symlink("/proc/1", proc.join("1"))?;
        } else {
            link_folder("/proc/1", &proc.join("1"), &["mountinfo"])?;
            link_folder("/", &host.dir.join("root"), &["mnt"])?;
            fs::write(proc.join("1/mountinfo"), mount_table(shape.mounts))?;
            (0..shape.mounts).try_for_each(|at| fs::create_dir_all(host.dir.join(format!("root/mnt/{at}"))))?;
        }
        let mut groups = match shape.groups {
            0 => None,
            count => {
                link_folder("/sys", &host.dir.join("sys"), &["fs"])?;
                Some(Groups::create(&host.dir.join("sys/fs/cgroup"), count, seed + 1)?)
            }
        };

        let mut counters = Counters::new(shape, seed);
        let files = Files::create(&proc, &counters)?;
        host.thread = Some(std::thread::spawn({
            let stop = Arc::clone(&host.stop);
            move || {
                while !stop.load(Ordering::Relaxed) {
                    std::thread::park_timeout(until_next());
                    counters.pass_second();
                    // Memory that is full shows as counters that stand still.
                    let _ = files.write(&counters);
                    if let Some(groups) = &mut groups {
                        groups.pass_second();
                        let _ = groups.write();
                    }
                }
            }
        }));
        Ok(host)
    }

    /// For the agent that is to see this host.
    pub(crate) fn variables(&self) -> Variables {
        let proc = Some(("HOST_PROC", self.dir.join("proc")));
        let sys = (self.shape.groups > 0).then(|| ("HOST_SYS", self.dir.join("sys")));
        let root = (self.shape.mounts > 0).then(|| ("HOST_ROOT", self.dir.join("root")));
        [proc, sys, root].into_iter().flatten().collect()
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

/// The same in a folder that is not there yet.
fn link_folder(from: &str, to: &Path, but: &[&str]) -> Result<()> {
    fs::create_dir(to).with_context(|| to.display().to_string())?;
    link_all(from, to, but)
}

/// Local ones and those of another host by turns, each of a device of its own.
fn mount_table(mounts: usize) -> String {
    let line = |at: usize| match at % 2 {
        0 => format!("{} 21 252:{at} / /mnt/{at} rw,relatime - ext4 /dev/dm-{at} rw\n", 100 + at),
        _ => format!("{} 21 0:{at} / /mnt/{at} rw,relatime - nfs4 files.example:/{at} rw\n", 100 + at),
    };
    (0..mounts).map(line).collect()
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
        for series in [200, 500, 1_000, 1_100, 2_000] {
            let Shape { cpus, disks, interfaces, groups, mounts } = Shape::of(series).expect("it fits");
            let come = REST + cpus + PER_DEVICE * (disks + interfaces) + PER_GROUP * groups + PER_MOUNT * mounts;
            assert!((series..series + PER_GROUP).contains(&come), "{come} for {series}");
            assert!(cpus <= CPUS_MAX && disks <= DISKS_MAX && interfaces <= INTERFACES_MAX && groups <= GROUPS_MAX);
            assert!(series > 1_000 || come == series && groups + mounts == 0);
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
        let host = LargerHost::start(2_000, 1).expect("a folder");
        let variables = host.variables();
        let read = |at: usize, path: &str| fs::read_to_string(variables[at].1.join(path)).expect(path);
        assert_eq!(variables.iter().map(|(name, _)| *name).collect::<Vec<_>>(), ["HOST_PROC", "HOST_SYS", "HOST_ROOT"]);
        assert!(read(0, "stat").starts_with("cpu ") && read(0, "net/dev").contains("eth0:"));
        assert!(read(0, "meminfo").contains("MemTotal:") && read(0, "1/mountinfo").contains(" /mnt/0 "));
        assert!(variables[0].1.join("self/stat").exists() && variables[0].1.join("net/snmp").exists());
        assert!(read(1, "fs/cgroup/system.slice/service-0.service/cpu.stat").contains("usage_usec"));
        assert!(variables[1].1.join("class").exists() && variables[2].1.join("mnt/0").is_dir());
        let dir = host.dir.clone();
        drop(host);
        assert!(!dir.exists());
    }

    #[test]
    fn host_without_need_of_services_and_file_systems_keeps_its_own() {
        let host = LargerHost::start(200, 1).expect("a folder");
        let [("HOST_PROC", proc)] = &host.variables()[..] else { panic!("{:?}", host.variables()) };
        assert!(proc.join("1/stat").exists());
    }
}

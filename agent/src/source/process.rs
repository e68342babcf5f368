//! `/proc/<pid>/stat`: what the processes cost, added up by executable name.
//!
//! Only the names that cost most get series of their own ([`roster`]), so their number has a bound whatever is started;
//! all others are one. What a process used between the last reading and its end is not seen.

mod roster;
mod stat;

use super::kept_file::KeptFile;
use super::metric::{level, ratio};
use super::name::Name;
use super::text::{Digits, fields, float, lines, number};
use super::{DropReason, Lane, Root, Sink, Source, SourceError, SourceSpec};
use roster::Roster;
use rustix::fd::OwnedFd;
use rustix::fs::{AtFlags, Mode, OFlags, RawDir, SeekFrom};
use stat::{Stat, State};
use std::mem::MaybeUninit;
use std::path::PathBuf;
use vedette_edge::metric::MetricSpec;

pub(super) const SPEC: SourceSpec = SourceSpec {
    name: "process",
    doc: "Processes by state; CPU, memory, threads and open files of the executables that cost most, and of the rest.",
    interval_ms: 10_000,
    lane: Lane::Own,
    metrics: &[&UTILIZATION, &MEMORY, &THREADS, &DESCRIPTORS, &COUNT],
    open: |root| Box::new(Process::new(root)),
};

static UTILIZATION: MetricSpec =
    ratio("process.cpu.utilization", 0.0001, "Share of the time of all CPUs that processes of this name used.");
static MEMORY: MetricSpec = level(
    "process.memory.usage",
    "By",
    4_096.0,
    "Resident memory of processes of this name; shared pages count in each.",
);
static THREADS: MetricSpec = level("process.thread.count", "{thread}", 1.0, "Threads of processes of this name.");
/// Linux 6.2 or later tells the number without a look at each; before, nothing does at a bearable price.
static DESCRIPTORS: MetricSpec = level(
    "process.unix.file_descriptor.count",
    "{file_descriptor}",
    1.0,
    "Files that processes of this name have open.",
);
static COUNT: MetricSpec = level("system.process.count", "{process}", 1.0, "Processes by state.");

/// Most processes that are read.
const PROCESSES_MAX: usize = 32_768;
/// Bytes of directory entries that the kernel hands over at once.
const ENTRIES_BYTES: usize = 16 * 1_024;
/// Longer than any line of `/proc/<pid>/stat`.
const STAT_BYTES: usize = 1_024;

/// The kernel's names have at most 15 bytes; those of its own threads do not get here.
type ExecutableName = Name<16>;

/// What processes of one name cost since the last reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Cost {
    name: ExecutableName,
    ticks: u64,
    pages: u64,
    threads: u64,
    descriptors: u64,
}

/// CPU time of a process when it was last seen.
#[derive(Clone, Copy, Debug)]
struct Seen {
    pid: u32,
    /// Tells a process from a later one of the same id.
    start: u64,
    ticks: u64,
}

struct Process {
    path: PathBuf,
    directory: Option<OwnedFd>,
    /// Gives the CPU time of the host, in the same unit as that of a process.
    host: KeptFile,
    host_ticks: Option<u64>,
    entries: Box<[MaybeUninit<u8>]>,
    text: Box<[u8]>,
    before: Vec<Seen>,
    /// When the youngest process of the last reading began.
    newest_before: u64,
    now: Vec<Seen>,
    costs: Vec<Cost>,
    states: [u64; State::ALL.len()],
    left_out: u64,
    /// The kernel tells how many files a process has open.
    has_descriptors: bool,
    roster: Roster,
}

impl Process {
    fn new(root: &Root) -> Self {
        Self {
            path: root.proc(""),
            directory: None,
            host: KeptFile::new(root.proc("stat")),
            host_ticks: None,
            entries: vec![MaybeUninit::uninit(); ENTRIES_BYTES].into_boxed_slice(),
            text: vec![0; STAT_BYTES].into_boxed_slice(),
            before: Vec::new(),
            newest_before: 0,
            now: Vec::new(),
            costs: Vec::new(),
            states: [0; State::ALL.len()],
            left_out: 0,
            has_descriptors: false,
            roster: Roster::default(),
        }
    }

    /// Reads every process into `now`, `costs` and `states`.
    fn scan(&mut self) -> rustix::io::Result<()> {
        let directory = match self.directory.take() {
            Some(directory) => directory,
            None => rustix::fs::open(&self.path, OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC, Mode::empty())?,
        };
        rustix::fs::seek(&directory, SeekFrom::Start(0))?;
        let mut entries = RawDir::new(&directory, &mut self.entries);
        while let Some(entry) = entries.next() {
            let Some(pid) = number(entry?.file_name().to_bytes()).and_then(|pid| u32::try_from(pid).ok()) else {
                continue;
            };
            if self.now.len() == PROCESSES_MAX {
                self.left_out += 1;
                continue;
            }
            // A process may end at any time: then it is not there.
            let Ok(length) = read_stat(&directory, pid, &mut self.text) else { continue };
            let Some(stat) = stat::parse(&self.text[..length]) else {
                self.left_out += 1;
                continue;
            };
            let descriptors = count_descriptors(&directory, pid);
            self.has_descriptors |= descriptors > 0;
            let cost = add(pid, &stat, &self.before, self.newest_before, &mut self.now);
            self.costs.push(Cost { descriptors, ..cost });
            self.states[stat.state as usize] += 1;
        }
        self.directory = Some(directory);
        Ok(())
    }
}

impl Source for Process {
    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        std::mem::swap(&mut self.before, &mut self.now);
        self.before.sort_unstable_by_key(|seen| seen.pid);
        self.newest_before = self.before.iter().map(|seen| seen.start).max().unwrap_or(0);
        self.now.clear();
        self.costs.clear();
        self.states.fill(0);
        self.left_out = 0;
        let host_ticks =
            host_ticks(self.host.read()?).ok_or_else(|| self.host.malformed("`cpu` and eight or more numbers"))?;
        self.scan().map_err(|error| SourceError::from_io(&self.path, error.into()))?;
        if self.left_out > 0 {
            sink.dropped(DropReason::Cardinality, self.left_out);
        }
        for state in State::ALL {
            sink.reading(&COUNT, &[("process.state", state.name())], float(self.states[state as usize]));
        }
        merge_by_name(&mut self.costs);
        let passed = self.host_ticks.replace(host_ticks).map(|before| host_ticks.saturating_sub(before));
        let rest = self.roster.update(&self.costs, passed.unwrap_or(0));
        for cost in self.roster.costs().chain([rest]) {
            emit(&cost, passed, sink);
            if self.has_descriptors {
                let attributes = [("process.executable.name", cost.name.as_str())];
                sink.reading(&DESCRIPTORS, &attributes, float(cost.descriptors));
            }
        }
        Ok(())
    }
}

/// One read gives the whole line.
fn read_stat(directory: &OwnedFd, pid: u32, text: &mut [u8]) -> rustix::io::Result<usize> {
    let file = of_process(pid, b"/stat", |path| {
        rustix::fs::openat(directory, path, OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty())
    })?;
    rustix::io::read(&file, text)
}

/// The kernel gives the number of open files as the size of their directory, to everybody.
fn count_descriptors(directory: &OwnedFd, pid: u32) -> u64 {
    let stat = of_process(pid, b"/fd", |path| rustix::fs::statat(directory, path, AtFlags::SYMLINK_NOFOLLOW));
    stat.ok().and_then(|stat| u64::try_from(stat.st_size).ok()).unwrap_or(0)
}

/// Calls `work` with `<pid><suffix>`.
fn of_process<T>(pid: u32, suffix: &[u8], work: impl FnOnce(&[u8]) -> T) -> T {
    let digits = Digits::of(pid);
    let digits = digits.as_str().as_bytes();
    let mut path = [0; 16];
    path[..digits.len()].copy_from_slice(digits);
    path[digits.len()..digits.len() + suffix.len()].copy_from_slice(suffix);
    work(&path[..digits.len() + suffix.len()])
}

/// CPU time of the host in all modes, idle included: the first line of `/proc/stat`.
fn host_ticks(bytes: &[u8]) -> Option<u64> {
    let mut fields = fields(lines(bytes).next()?);
    fields.next().filter(|key| *key == b"cpu")?;
    fields.take(8).try_fold(0_u64, |sum, field| sum.checked_add(number(field)?))
}

/// Adds a process; one that was not seen before has used all its time since then. Of one that was there but could not be
/// read it is not known.
fn add(pid: u32, stat: &Stat<'_>, before: &[Seen], newest_before: u64, now: &mut Vec<Seen>) -> Cost {
    let index = before.binary_search_by_key(&pid, |seen| seen.pid).ok();
    let earlier = index.map(|index| before[index]).filter(|seen| seen.start == stat.start);
    let ticks = match earlier {
        Some(seen) => stat.ticks.saturating_sub(seen.ticks),
        None if before.is_empty() || stat.start < newest_before => 0,
        None => stat.ticks,
    };
    now.push(Seen { pid, start: stat.start, ticks: stat.ticks });
    Cost { name: stat.executable(), ticks, pages: stat.pages, threads: stat.threads, descriptors: 0 }
}

/// Adds up costs of equal names, in place.
fn merge_by_name(costs: &mut Vec<Cost>) {
    costs.sort_unstable_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
    costs.dedup_by(|next, kept| {
        let same = next.name == kept.name;
        if same {
            kept.ticks = kept.ticks.saturating_add(next.ticks);
            kept.pages = kept.pages.saturating_add(next.pages);
            kept.threads = kept.threads.saturating_add(next.threads);
            kept.descriptors = kept.descriptors.saturating_add(next.descriptors);
        }
        same
    });
}

/// `passed` is the CPU time of the host since the last reading; the first reading has none.
fn emit(cost: &Cost, passed: Option<u64>, sink: &mut dyn Sink) {
    let attributes = [("process.executable.name", cost.name.as_str())];
    if let Some(passed) = passed.filter(|passed| *passed > 0) {
        // Both sides are counted by ticks that need not fall together.
        sink.reading(&UTILIZATION, &attributes, (float(cost.ticks) / float(passed)).min(1.0));
    }
    sink.reading(&MEMORY, &attributes, float(cost.pages) * float(rustix::param::page_size() as u64));
    sink.reading(&THREADS, &attributes, float(cost.threads));
}

#[cfg(test)]
mod tests;

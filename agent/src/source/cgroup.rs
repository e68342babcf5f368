//! `/sys/fs/cgroup`: what services and containers cost, version 2, or version 1 where only that is mounted.
//!
//! A group gets series if it is a systemd service, a container (64 hexadecimal digits in its name) or stands directly
//! below the root. Groups inside those are part of them.

mod walk;

use super::metric::{counter, level};
use super::text::{fields, float, lines, number};
use super::{DropReason, Lane, Root, Sink, Source, SourceError, SourceSpec};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::path::PathBuf;
use vedette_edge::metric::MetricSpec;

pub(super) const SPEC: SourceSpec = SourceSpec {
    name: "cgroup",
    doc: "CPU time, memory and throttling of each service and container.",
    interval_ms: 10_000,
    lane: Lane::Own,
    metrics: &[&CONTAINER_CPU, &CONTAINER_MEMORY, &GROUP_CPU, &GROUP_MEMORY, &THROTTLED],
    open: |root| Box::new(Cgroup::new(root)),
};

static CONTAINER_CPU: MetricSpec = counter("container.cpu.time", "s", 1e-6, "CPU time of a container.");
static CONTAINER_MEMORY: MetricSpec =
    level("container.memory.usage", "By", 4_096.0, "Memory of a container, page cache included.");
static GROUP_CPU: MetricSpec =
    counter("system.linux.cgroup.cpu.time", "s", 1e-6, "CPU time of a control group. No convention names it.");
static GROUP_MEMORY: MetricSpec = level(
    "system.linux.cgroup.memory.usage",
    "By",
    4_096.0,
    "Memory of a control group, page cache included. No convention names it.",
);
static THROTTLED: MetricSpec = counter(
    "system.linux.cgroup.cpu.throttled_time",
    "s",
    1e-6,
    "Time in which a group was kept from running by its quota. No convention names it.",
);

/// Most groups that get series; who came first stays.
const GROUPS_MAX: usize = 48;
/// Longest path of a group.
const PATH_BYTES_MAX: usize = 255;
/// Digits of a container's id that are kept, as container tools show it.
const CONTAINER_ID_DIGITS: usize = 12;

struct Cgroup {
    root: PathBuf,
    layout: Option<Layout>,
    groups: Vec<Group>,
    path: Vec<u8>,
}

/// Open hierarchies.
enum Layout {
    Unified(OwnedFd),
    Split { cpu: Option<OwnedFd>, memory: Option<OwnedFd> },
}

struct Group {
    path: String,
    /// Set if it is a container.
    container: Option<String>,
    present: bool,
    was_throttled: bool,
}

/// What is known of a group now.
#[derive(Debug, Default, PartialEq)]
struct Cost {
    cpu_s: Option<f64>,
    throttled_s: Option<f64>,
    memory_bytes: Option<u64>,
}

impl Cgroup {
    fn new(root: &Root) -> Self {
        Self { root: root.sys("fs/cgroup"), layout: None, groups: Vec::new(), path: Vec::new() }
    }

    /// Finds groups that came and drops those that went.
    fn refresh(&mut self, layout: &Layout, sink: &mut dyn Sink) {
        self.groups.iter_mut().for_each(|group| group.present = false);
        let mut left_out = 0;
        let groups = &mut self.groups;
        let mut visit = |path: &[u8]| {
            let chosen = is_chosen(path);
            if chosen && !mark_present(groups, path) {
                left_out += 1;
            }
            chosen && path.contains(&b'/')
        };
        for hierarchy in layout.hierarchies() {
            walk::walk(hierarchy, &mut self.path, &mut visit);
        }
        self.groups.retain(|group| group.present);
        if left_out > 0 {
            sink.dropped(DropReason::Cardinality, left_out);
        }
    }
}

impl Source for Cgroup {
    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        let layout = match self.layout.take() {
            Some(layout) => layout,
            None => Layout::open(&self.root).ok_or_else(|| SourceError::Absent(self.root.clone()))?,
        };
        self.refresh(&layout, sink);
        for group in &mut self.groups {
            let cost = layout.cost(&group.path);
            emit(group, &cost, sink);
        }
        self.layout = Some(layout);
        Ok(())
    }
}

impl Layout {
    fn open(root: &std::path::Path) -> Option<Self> {
        let open = |name: &str| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(root.join(name), flags, Mode::empty()).ok()
        };
        if root.join("cgroup.controllers").exists() {
            return open("").map(Self::Unified);
        }
        let cpu = ["cpu,cpuacct", "cpuacct,cpu", "cpuacct"].into_iter().find_map(open);
        let memory = open("memory");
        (cpu.is_some() || memory.is_some()).then_some(Self::Split { cpu, memory })
    }

    fn hierarchies(&self) -> impl Iterator<Item = &OwnedFd> {
        let (first, second) = match self {
            Self::Unified(all) => (Some(all), None),
            Self::Split { cpu, memory } => (memory.as_ref(), cpu.as_ref()),
        };
        first.into_iter().chain(second)
    }

    fn cost(&self, path: &str) -> Cost {
        let mut buffer = [0; 4_096];
        match self {
            Self::Unified(all) => {
                let mut cost = read(all, path, "cpu.stat", &mut buffer).map(parse_cpu_stat).unwrap_or_default();
                cost.memory_bytes = read(all, path, "memory.current", &mut buffer).and_then(parse_number);
                cost
            }
            Self::Split { cpu, memory } => {
                let mut number = |hierarchy: &Option<OwnedFd>, name| {
                    read(hierarchy.as_ref()?, path, name, &mut buffer).and_then(parse_number)
                };
                let cpu_s = number(cpu, "cpuacct.usage").map(|ns| float(ns) / 1e9);
                let memory_bytes = number(memory, "memory.usage_in_bytes");
                let stat = cpu.as_ref().and_then(|cpu| read(cpu, path, "cpu.stat", &mut buffer));
                Cost { cpu_s, memory_bytes, throttled_s: stat.and_then(|stat| parse_cpu_stat(stat).throttled_s) }
            }
        }
    }
}

/// Reads a small file of a group; `None` if the controller is off there or the group just went.
fn read<'b>(hierarchy: &OwnedFd, group: &str, name: &str, buffer: &'b mut [u8]) -> Option<&'b [u8]> {
    let mut path = [0; PATH_BYTES_MAX + 32];
    let length = group.len() + 1 + name.len();
    path[..group.len()].copy_from_slice(group.as_bytes());
    path[group.len()] = b'/';
    path[group.len() + 1..length].copy_from_slice(name.as_bytes());
    let file = rustix::fs::openat(hierarchy, &path[..length], OFlags::RDONLY | OFlags::CLOEXEC, Mode::empty()).ok()?;
    let length = rustix::io::read(&file, &mut *buffer).ok()?;
    Some(&buffer[..length])
}

fn parse_number(bytes: &[u8]) -> Option<u64> {
    number(bytes.trim_ascii_end())
}

/// `cpu.stat` of version 2 (`usage_usec`, `throttled_usec`) and of version 1 (`throttled_time` in nanoseconds).
fn parse_cpu_stat(bytes: &[u8]) -> Cost {
    let mut cost = Cost::default();
    for line in lines(bytes) {
        let mut fields = fields(line);
        let (Some(name), Some(value)) = (fields.next(), fields.next().and_then(number)) else { continue };
        match name {
            b"usage_usec" => cost.cpu_s = Some(float(value) / 1e6),
            b"throttled_usec" => cost.throttled_s = Some(float(value) / 1e6),
            b"throttled_time" => cost.throttled_s = Some(float(value) / 1e9),
            _ => {}
        }
    }
    cost
}

fn is_chosen(path: &[u8]) -> bool {
    !path.contains(&b'/') || path.ends_with(b".service") || container_id(path).is_some()
}

/// The 64 hexadecimal digits in the last part of a group's path, however its runtime wraps them.
fn container_id(path: &[u8]) -> Option<&[u8]> {
    let last = path.rsplit(|byte| *byte == b'/').next()?;
    last.split(|byte| !byte.is_ascii_hexdigit()).find(|part| part.len() == 64)
}

/// Whether the group has a place: it had one already, or there is room.
fn mark_present(groups: &mut Vec<Group>, path: &[u8]) -> bool {
    if let Some(group) = groups.iter_mut().find(|group| group.path.as_bytes() == path) {
        group.present = true;
        return true;
    }
    let Ok(text) = std::str::from_utf8(path) else { return false };
    if groups.len() == GROUPS_MAX || path.len() > PATH_BYTES_MAX {
        return false;
    }
    let container = container_id(path).and_then(|id| std::str::from_utf8(&id[..CONTAINER_ID_DIGITS]).ok());
    let container = container.map(str::to_owned);
    groups.push(Group { path: text.to_owned(), container, present: true, was_throttled: false });
    true
}

/// A group that was never throttled has no series for it.
fn emit(group: &mut Group, cost: &Cost, sink: &mut dyn Sink) {
    let (attribute, cpu, memory) = match &group.container {
        Some(id) => (("container.id", id.as_str()), &CONTAINER_CPU, &CONTAINER_MEMORY),
        None => (("linux.cgroup.path", group.path.as_str()), &GROUP_CPU, &GROUP_MEMORY),
    };
    if let Some(cpu_s) = cost.cpu_s {
        sink.reading(cpu, &[attribute], cpu_s);
    }
    if let Some(bytes) = cost.memory_bytes {
        sink.reading(memory, &[attribute], float(bytes));
    }
    if let Some(throttled_s) = cost.throttled_s {
        group.was_throttled |= throttled_s > 0.0;
        if group.was_throttled {
            sink.reading(&THROTTLED, &[attribute], throttled_s);
        }
    }
}

#[cfg(test)]
mod tests;

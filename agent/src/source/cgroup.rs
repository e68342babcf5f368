//! `/sys/fs/cgroup`: what services and containers cost, version 2, or version 1 where only that has controllers.
//!
//! A group gets series if it is a systemd service, a container or a machine, or stands directly below the root. Groups
//! inside those are part of them. What a group has never done (been throttled, waited, touched a device) has no series.

mod identity;
mod layout;
mod walk;

use super::metric::{counter, level, ratio, time_spent};
use super::text::float;
use super::{DropReason, Lane, Root, Sink, Source, SourceError, SourceSpec};
use identity::{Identity, identify, is_chosen};
use layout::{Cost, RESOURCES};
use std::path::PathBuf;
use vedette_edge::metric::MetricSpec;

pub(super) use identity::container_id;
pub(super) use layout::Layout;
pub(super) use walk::walk;

pub(super) const SPEC: SourceSpec = SourceSpec {
    name: "cgroup",
    doc: "CPU time, memory, threads, device traffic, throttling and waiting of each service and container.",
    interval_ms: 10_000,
    lane: Lane::Own,
    metrics: &[
        &CONTAINER_CPU,
        &CONTAINER_MEMORY,
        &CONTAINER_IO,
        &GROUP_CPU,
        &GROUP_MEMORY,
        &GROUP_IO,
        &THREADS,
        &THROTTLED,
        &MEMORY_SHARE,
        &OOM_KILLS,
        &STALLED,
    ],
    open: |root| Box::new(Cgroup::new(root)),
};

static CONTAINER_CPU: MetricSpec = counter("container.cpu.time", "s", 1e-6, "CPU time of a container.");
static CONTAINER_MEMORY: MetricSpec =
    level("container.memory.usage", "By", 4_096.0, "Memory of a container, page cache included.");
static CONTAINER_IO: MetricSpec =
    counter("container.disk.io", "By", 512.0, "Bytes that a container read from and wrote to devices.");
static GROUP_CPU: MetricSpec =
    counter("system.linux.cgroup.cpu.time", "s", 1e-6, "CPU time of a control group. No convention names it.");
static GROUP_MEMORY: MetricSpec = level(
    "system.linux.cgroup.memory.usage",
    "By",
    4_096.0,
    "Memory of a control group, page cache included. No convention names it.",
);
static GROUP_IO: MetricSpec = counter(
    "system.linux.cgroup.disk.io",
    "By",
    512.0,
    "Bytes that a control group read from and wrote to devices. No convention names it.",
);
static THREADS: MetricSpec =
    level("system.linux.cgroup.thread.count", "{thread}", 1.0, "Threads of a control group. No convention names it.");
static THROTTLED: MetricSpec = counter(
    "system.linux.cgroup.cpu.throttled_time",
    "s",
    1e-6,
    "Time in which a group was kept from running by its quota. No convention names it.",
);
static MEMORY_SHARE: MetricSpec = ratio(
    "system.linux.cgroup.memory.utilization",
    1e-4,
    "Share of a group's limit taken by memory that cannot be dropped, page cache left out. No convention names it.",
);
static OOM_KILLS: MetricSpec = counter(
    "system.linux.cgroup.memory.oom_kills",
    "{process}",
    1.0,
    "Processes killed because their group, which has a limit, ran out of memory. No convention names it.",
);
/// Healthy idle groups wait for microseconds now and then: what is below 5 ms a reading is none.
static STALLED: MetricSpec = time_spent(
    "system.linux.cgroup.pressure.stalled",
    STALLED_S_MIN,
    "Time in which some threads of a group waited for the resource. No convention names it.",
);

/// Most groups that get series; who came first stays.
const GROUPS_MAX: usize = 48;
/// Longest path of a group.
const PATH_BYTES_MAX: usize = 255;
/// A group that waited for less than this since it was made has no series for it.
const STALLED_S_MIN: f64 = 0.01;
/// Most attributes of a series: a group's own and one more.
const ATTRIBUTES_MAX: usize = 4;

struct Cgroup {
    root: PathBuf,
    layout: Option<Layout>,
    groups: Vec<Group>,
    path: Vec<u8>,
}

struct Group {
    path: String,
    identity: Identity,
    present: bool,
    done: Done,
}

/// What a group has done at least once.
#[derive(Clone, Copy, Default)]
struct Done {
    throttled: bool,
    io: bool,
    stalled: [bool; RESOURCES.len()],
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
        for hierarchy in layout.searched() {
            walk(hierarchy, &mut self.path, &mut visit);
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
            group.done.note(&cost);
            emit(group, &cost, sink);
        }
        self.layout = Some(layout);
        Ok(())
    }
}

impl Done {
    fn note(&mut self, cost: &Cost) {
        self.throttled |= cost.throttled_s.is_some_and(|throttled_s| throttled_s > 0.0);
        self.io |= cost.io.is_some_and(|io| io.read_bytes > 0 || io.written_bytes > 0);
        for (done, stalled_s) in self.stalled.iter_mut().zip(cost.stalled_s) {
            *done |= stalled_s.is_some_and(|stalled_s| stalled_s >= STALLED_S_MIN);
        }
    }
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
    let (path, identity) = (text.to_owned(), identify(text));
    groups.push(Group { path, identity, present: true, done: Done::default() });
    true
}

fn emit(group: &Group, cost: &Cost, sink: &mut dyn Sink) {
    let Group { identity, done, .. } = group;
    let (cpu, memory, io) = match identity.is_container {
        true => (&CONTAINER_CPU, &CONTAINER_MEMORY, &CONTAINER_IO),
        false => (&GROUP_CPU, &GROUP_MEMORY, &GROUP_IO),
    };
    let mut one = |metric, value: Option<f64>| {
        if let Some(value) = value {
            reading(identity, metric, None, value, sink);
        }
    };
    one(cpu, cost.cpu_s);
    one(memory, cost.memory_bytes.map(float));
    one(&MEMORY_SHARE, cost.memory_share);
    one(&OOM_KILLS, cost.oom_kills.map(float));
    one(&THREADS, cost.threads.map(float));
    one(&THROTTLED, cost.throttled_s.filter(|_| done.throttled));
    if let Some(traffic) = cost.io.filter(|_| done.io) {
        for (direction, bytes) in [("read", traffic.read_bytes), ("write", traffic.written_bytes)] {
            reading(identity, io, Some(("disk.io.direction", direction)), float(bytes), sink);
        }
    }
    for (index, resource) in RESOURCES.into_iter().enumerate().filter(|(index, _)| done.stalled[*index]) {
        if let Some(stalled_s) = cost.stalled_s[index] {
            reading(identity, &STALLED, Some(("linux.pressure.resource", resource)), stalled_s, sink);
        }
    }
}

/// Hands one value over with the group's attributes and one `more`, sorted by name.
fn reading(
    identity: &Identity,
    metric: &'static MetricSpec,
    more: Option<(&str, &str)>,
    value: f64,
    sink: &mut dyn Sink,
) {
    let mut attributes = [("", ""); ATTRIBUTES_MAX];
    let own = identity.attributes.iter().map(|(name, value)| (*name, value.as_str()));
    let mut count = 0;
    for (place, attribute) in attributes.iter_mut().zip(own.chain(more)) {
        *place = attribute;
        count += 1;
    }
    let attributes = &mut attributes[..count];
    attributes.sort_unstable();
    sink.reading(metric, attributes, value);
}

#[cfg(test)]
mod tests;

//! The mounted hierarchies, and what one group cost by them.

use super::PATH_BYTES_MAX;
use crate::source::text::{fields, float, lines, number};
use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags};
use std::path::Path;

/// Resources of the `*.pressure` files.
pub(super) const RESOURCES: [&str; 3] = ["cpu", "io", "memory"];

/// Longest name of a file that is read.
const NAME_BYTES_MAX: usize = 40;
/// A limit from here on is none: version 1 says so with the largest number of pages.
const LIMIT_BYTES_MAX: u64 = 1 << 60;

/// Open hierarchies.
pub(in crate::source) enum Layout {
    /// Version 2.
    Unified(OwnedFd),
    /// Version 1, one for each controller; beside them there can be one of version 2 without controllers.
    Split {
        cpu: Option<OwnedFd>,
        memory: Option<OwnedFd>,
        block: Option<OwnedFd>,
        pids: Option<OwnedFd>,
        unified: Option<OwnedFd>,
    },
}

/// What is known of a group now; totals since it was made.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Cost {
    pub(super) cpu_s: Option<f64>,
    pub(super) throttled_s: Option<f64>,
    pub(super) memory_bytes: Option<u64>,
    /// Only of a group with a limit.
    pub(super) memory_share: Option<f64>,
    pub(super) oom_kills: Option<u64>,
    pub(super) threads: Option<u64>,
    pub(super) io: Option<Io>,
    /// Time in which some of its threads waited, by [`RESOURCES`].
    pub(super) stalled_s: [Option<f64>; RESOURCES.len()],
}

/// Bytes over all devices; a stacked device counts at each of its layers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Io {
    pub(super) read_bytes: u64,
    pub(super) written_bytes: u64,
}

impl Layout {
    pub(in crate::source) fn open(root: &Path) -> Option<Self> {
        let open = |name: &str| {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
            rustix::fs::open(root.join(name), flags, Mode::empty()).ok()
        };
        if root.join("cgroup.controllers").exists() {
            return open("").map(Self::Unified);
        }
        let cpu = ["cpu,cpuacct", "cpuacct,cpu", "cpuacct"].into_iter().find_map(open);
        let memory = open("memory");
        let found = cpu.is_some() || memory.is_some();
        let (block, pids, unified) = (open("blkio"), open("pids"), open("unified"));
        found.then_some(Self::Split { cpu, memory, block, pids, unified })
    }

    /// Those that are searched for groups.
    pub(in crate::source) fn searched(&self) -> impl Iterator<Item = &OwnedFd> {
        let (first, second) = match self {
            Self::Unified(all) => (Some(all), None),
            Self::Split { cpu, memory, .. } => (memory.as_ref(), cpu.as_ref()),
        };
        first.into_iter().chain(second)
    }

    pub(super) fn cost(&self, group: &str) -> Cost {
        let mut buffer = [0; 8_192];
        match self {
            Self::Unified(all) => unified(&mut Reader::new(Some(all), group, &mut buffer)),
            Self::Split { cpu, memory, block, pids, unified } => {
                let mut cost = Cost::default();
                split_cpu(&mut Reader::new(cpu.as_ref(), group, &mut buffer), &mut cost);
                split_memory(&mut Reader::new(memory.as_ref(), group, &mut buffer), &mut cost);
                let mut block = Reader::new(block.as_ref(), group, &mut buffer);
                cost.io = block.read("blkio.throttle.io_service_bytes").map(parse_service_bytes);
                cost.threads = Reader::new(pids.as_ref(), group, &mut buffer).number("pids.current");
                cost.stalled_s = stalled(&mut Reader::new(unified.as_ref(), group, &mut buffer));
                cost
            }
        }
    }
}

/// Reads small files of one group.
struct Reader<'a> {
    hierarchy: Option<&'a OwnedFd>,
    group: &'a str,
    buffer: &'a mut [u8],
}

impl<'a> Reader<'a> {
    fn new(hierarchy: Option<&'a OwnedFd>, group: &'a str, buffer: &'a mut [u8]) -> Self {
        Self { hierarchy, group, buffer }
    }

    /// `None` if the controller is off there or the group just went.
    fn read(&mut self, name: &str) -> Option<&[u8]> {
        let mut path = [0; PATH_BYTES_MAX + NAME_BYTES_MAX];
        let (group, length) = (self.group.len(), self.group.len() + 1 + name.len());
        path.get_mut(..group)?.copy_from_slice(self.group.as_bytes());
        path[group] = b'/';
        path.get_mut(group + 1..length)?.copy_from_slice(name.as_bytes());
        let flags = OFlags::RDONLY | OFlags::CLOEXEC;
        let file = rustix::fs::openat(self.hierarchy?, &path[..length], flags, Mode::empty()).ok()?;
        let length = rustix::io::read(&file, &mut *self.buffer).ok()?;
        Some(&self.buffer[..length])
    }

    fn number(&mut self, name: &str) -> Option<u64> {
        self.read(name).and_then(|bytes| number(bytes.trim_ascii_end()))
    }
}

fn unified(reader: &mut Reader<'_>) -> Cost {
    let mut cost = Cost::default();
    if let Some(stat) = reader.read("cpu.stat") {
        parse_cpu_stat(stat, &mut cost);
    }
    cost.memory_bytes = reader.number("memory.current");
    // `max` is no number and no limit.
    if let Some(limit) = reader.number("memory.max").filter(|limit| (1..LIMIT_BYTES_MAX).contains(limit)) {
        let cached = reader.read("memory.stat").map(|stat| parse_cached(stat, [b"inactive_file", b"active_file"]));
        cost.memory_share = share(cost.memory_bytes, cached, limit);
        cost.oom_kills = reader.read("memory.events").and_then(|events| find(events, b"oom_kill"));
    }
    cost.threads = reader.number("pids.current");
    cost.io = reader.read("io.stat").map(parse_io_stat);
    cost.stalled_s = stalled(reader);
    cost
}

fn split_cpu(reader: &mut Reader<'_>, cost: &mut Cost) {
    if let Some(stat) = reader.read("cpu.stat") {
        parse_cpu_stat(stat, cost);
    }
    cost.cpu_s = reader.number("cpuacct.usage").map(|ns| float(ns) / 1e9);
}

fn split_memory(reader: &mut Reader<'_>, cost: &mut Cost) {
    cost.memory_bytes = reader.number("memory.usage_in_bytes");
    let limit = reader.number("memory.limit_in_bytes").filter(|limit| (1..LIMIT_BYTES_MAX).contains(limit));
    let Some(limit) = limit else { return };
    let names = [&b"total_inactive_file"[..], b"total_active_file"];
    let cached = reader.read("memory.stat").map(|stat| parse_cached(stat, names));
    cost.memory_share = share(cost.memory_bytes, cached, limit);
    cost.oom_kills = reader.read("memory.oom_control").and_then(|control| find(control, b"oom_kill"));
}

/// What is left after every page that can be dropped was dropped, as a share of the limit.
fn share(used: Option<u64>, cached: Option<u64>, limit: u64) -> Option<f64> {
    Some((float(used?.saturating_sub(cached?)) / float(limit)).min(1.0))
}

fn stalled(reader: &mut Reader<'_>) -> [Option<f64>; RESOURCES.len()] {
    ["cpu.pressure", "io.pressure", "memory.pressure"].map(|name| reader.read(name).and_then(parse_pressure))
}

/// `cpu.stat` of version 2 (`usage_usec`, `throttled_usec`) and of version 1 (`throttled_time` in nanoseconds).
fn parse_cpu_stat(bytes: &[u8], cost: &mut Cost) {
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
}

/// The number after `name` at the begin of a line.
fn find(bytes: &[u8], name: &[u8]) -> Option<u64> {
    let mut found = lines(bytes).map(fields).filter_map(|mut fields| (fields.next() == Some(name)).then_some(fields));
    number(found.next()?.next()?)
}

fn parse_cached(bytes: &[u8], names: [&[u8]; 2]) -> u64 {
    names.into_iter().filter_map(|name| find(bytes, name)).fold(0, u64::saturating_add)
}

/// `8:0 rbytes=1 wbytes=2 rios=3 …`, one line a device.
fn parse_io_stat(bytes: &[u8]) -> Io {
    let mut io = Io::default();
    for field in lines(bytes).flat_map(fields) {
        let (sum, value) = if let Some(value) = field.strip_prefix(b"rbytes=") {
            (&mut io.read_bytes, value)
        } else if let Some(value) = field.strip_prefix(b"wbytes=") {
            (&mut io.written_bytes, value)
        } else {
            continue;
        };
        *sum = sum.saturating_add(number(value).unwrap_or(0));
    }
    io
}

/// `8:0 Read 1`, `8:0 Write 2` and more, then a `Total`.
fn parse_service_bytes(bytes: &[u8]) -> Io {
    let mut io = Io::default();
    for line in lines(bytes) {
        let mut fields = fields(line).skip(1);
        let sum = match fields.next() {
            Some(b"Read") => &mut io.read_bytes,
            Some(b"Write") => &mut io.written_bytes,
            _ => continue,
        };
        *sum = sum.saturating_add(fields.next().and_then(number).unwrap_or(0));
    }
    io
}

/// Seconds of `some avg10=… total=µs`.
fn parse_pressure(bytes: &[u8]) -> Option<f64> {
    let mut fields = fields(lines(bytes).next()?);
    fields.next().filter(|kind| *kind == b"some")?;
    let total = fields.find_map(|field| field.strip_prefix(b"total="))?;
    number(total).map(|us| float(us) / 1e6)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn devices_add_up() {
        let version_2 = b"259:0 rbytes=4096 wbytes=1 rios=1 wios=1 dbytes=0 dios=0\n8:0 rbytes=10 wbytes=20\n";
        assert_eq!(parse_io_stat(version_2), Io { read_bytes: 4_106, written_bytes: 21 });
        let version_1 = b"8:0 Read 5\n8:0 Write 6\n8:0 Sync 11\n8:0 Total 11\n8:16 Read 1\nTotal 12\n";
        assert_eq!(parse_service_bytes(version_1), Io { read_bytes: 6, written_bytes: 6 });
        assert_eq!(parse_io_stat(b"rbytes= wbytes=x\n\n"), Io::default());
    }

    #[test]
    fn page_cache_does_not_fill_a_limit() {
        let cached = parse_cached(b"anon 5\ninactive_file 30\nactive_file 20\n", [b"inactive_file", b"active_file"]);
        assert_eq!(share(Some(100), Some(cached), 100), Some(0.5));
        assert_eq!(share(Some(10), Some(30), 100), Some(0.0));
        assert_eq!(share(Some(200), Some(0), 100), Some(1.0));
        assert_eq!(share(None, Some(0), 100), None);
    }

    #[test]
    fn pressure_is_that_of_some() {
        assert_eq!(parse_pressure(b"some avg10=0.00 avg60=0.00 avg300=0.00 total=2500000\nfull total=1\n"), Some(2.5));
        assert_eq!(parse_pressure(b"full avg10=0.00 total=5\n"), None);
        assert_eq!(parse_pressure(b""), None);
    }
}

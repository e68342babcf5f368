//! `/proc/diskstats`: traffic, operations and busy time of whole disks.
//!
//! Partitions are left out (their disk has the sum), and so are devices in memory and devices that never had a
//! transfer.

use super::kept_file::KeptFile;
use super::metric::{counter, level, time_spent};
use super::name::Name;
use super::text::{fields, float, lines, numbers};
use super::{DropReason, Lane, Root, Sink, Source, SourceError, SourceSpec};
use vedette_edge::metric::MetricSpec;

pub(super) const SPEC: SourceSpec = SourceSpec {
    name: "disk",
    doc: "Bytes, operations, waiting and busy time of each whole disk that is in use.",
    interval_ms: 1_000,
    lane: Lane::Shared,
    metrics: &[&IO, &OPERATIONS, &OPERATION_TIME, &BUSY, &PENDING],
    open: |root| Box::new(Disk::new(root)),
};

static IO: MetricSpec = counter("system.disk.io", "By", SECTOR, "Bytes read and written.");
static OPERATIONS: MetricSpec = counter("system.disk.operations", "{operation}", 1.0, "Reads and writes.");
static OPERATION_TIME: MetricSpec =
    counter("system.disk.operation_time", "s", 0.001, "Time that reads and writes took, those in parallel added up.");
static BUSY: MetricSpec = time_spent("system.disk.io_time", 0.001, "Time in which the disk had something to do.");
static PENDING: MetricSpec = level(
    "system.disk.pending_operations",
    "{operation}",
    1.0,
    "Operations in flight. Named as by the collector's host metrics.",
);

/// Unit of `/proc/diskstats`, whatever the disk's own.
const SECTOR: f64 = 512.0;
/// Most disks that get series.
const DISKS_MAX: usize = 64;
/// Most devices whose kind is remembered.
const KNOWN_MAX: usize = 1_024;
/// Devices that are memory, other files, or removable media.
const NOT_DISKS: [&[u8]; 5] = [b"loop", b"ram", b"zram", b"fd", b"sr"];

type DeviceName = Name<32>;

struct Disk {
    file: KeptFile,
    root: Root,
    known: Vec<Known>,
}

/// A device of which it was found out once whether it is a whole disk.
struct Known {
    name: DeviceName,
    whole: bool,
}

/// A line of `/proc/diskstats`.
#[derive(Debug, PartialEq, Eq)]
struct Line<'a> {
    name: &'a [u8],
    reads: u64,
    sectors_read: u64,
    read_ms: u64,
    writes: u64,
    sectors_written: u64,
    write_ms: u64,
    pending: u64,
    busy_ms: u64,
}

impl Disk {
    fn new(root: &Root) -> Self {
        Self { file: KeptFile::new(root.proc("diskstats")), root: root.clone(), known: Vec::new() }
    }
}

impl Source for Disk {
    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        let bytes = self.file.read()?;
        let (mut disks, mut left_out) = (0, 0);
        for (index, line) in lines(bytes).enumerate() {
            let Some(line) = parse(line) else {
                sink.dropped(DropReason::Malformed, 1);
                continue;
            };
            if is_idle(&line) || NOT_DISKS.iter().any(|prefix| line.name.starts_with(prefix)) {
                continue;
            }
            let Some(name) = DeviceName::new(line.name) else {
                sink.dropped(DropReason::NameTooLong, 1);
                continue;
            };
            if !is_whole(&self.root, &mut self.known, index, &name) {
                continue;
            }
            if disks == DISKS_MAX {
                left_out += 1;
                continue;
            }
            disks += 1;
            emit(name.as_str(), &line, sink);
        }
        if left_out > 0 {
            sink.dropped(DropReason::Cardinality, left_out);
        }
        Ok(())
    }
}

/// Fields after Documentation/admin-guide/iostats.rst; kernels append further ones.
fn parse(line: &[u8]) -> Option<Line<'_>> {
    let mut fields = fields(line).skip(2);
    let name = fields.next()?;
    let [reads, _, sectors_read, read_ms, writes, _, sectors_written, write_ms, pending, busy_ms] =
        numbers(&mut fields)?;
    Some(Line { name, reads, sectors_read, read_ms, writes, sectors_written, write_ms, pending, busy_ms })
}

fn is_idle(line: &Line<'_>) -> bool {
    line.reads == 0 && line.writes == 0
}

/// Asks `/sys` once for each device. `hint` is where it stood the last time unless devices came or went.
fn is_whole(root: &Root, known: &mut Vec<Known>, hint: usize, name: &DeviceName) -> bool {
    let hinted = known.get(hint).filter(|device| device.name == *name);
    if let Some(device) = hinted.or_else(|| known.iter().find(|device| device.name == *name)) {
        return device.whole;
    }
    let whole = !root.sys("class/block").join(name.as_str()).join("partition").exists();
    if known.len() == KNOWN_MAX {
        known.clear();
    }
    known.push(Known { name: *name, whole });
    whole
}

fn emit(device: &str, line: &Line<'_>, sink: &mut dyn Sink) {
    let read = [("disk.io.direction", "read"), ("system.device", device)];
    let write = [("disk.io.direction", "write"), ("system.device", device)];
    sink.reading(&IO, &read, float(line.sectors_read) * SECTOR);
    sink.reading(&IO, &write, float(line.sectors_written) * SECTOR);
    sink.reading(&OPERATIONS, &read, float(line.reads));
    sink.reading(&OPERATIONS, &write, float(line.writes));
    sink.reading(&OPERATION_TIME, &read, float(line.read_ms) / 1e3);
    sink.reading(&OPERATION_TIME, &write, float(line.write_ms) / 1e3);
    let device = [("system.device", device)];
    sink.reading(&BUSY, &device, float(line.busy_ms) / 1e3);
    sink.reading(&PENDING, &device, float(line.pending));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::Readings;

    #[test]
    fn a_line_is_read_with_and_without_later_fields() {
        let old = b"   8       0 sda 10 1 80 5 20 2 160 9 3 12 14";
        let new = b" 8 0 sda 10 1 80 5 20 2 160 9 3 12 14 5278 29 799176 491 1014 42";
        let line = parse(old).unwrap();
        assert_eq!(
            (line.name, line.sectors_read, line.write_ms, line.pending, line.busy_ms),
            (&b"sda"[..], 80, 9, 3, 12)
        );
        assert_eq!(parse(new), Some(line));
        assert_eq!(parse(b"8 0 sda 10 1"), None);
    }

    fn read(diskstats: &str) -> Readings {
        let directory = tempfile::tempdir().unwrap();
        let partition = directory.path().join("sys/class/block/sda1");
        std::fs::create_dir_all(&partition).unwrap();
        std::fs::write(partition.join("partition"), "1\n").unwrap();
        std::fs::create_dir_all(directory.path().join("proc")).unwrap();
        std::fs::write(directory.path().join("proc/diskstats"), diskstats).unwrap();
        let mut readings = Readings::default();
        Disk::new(&Root::under(directory.path())).read(&mut readings).unwrap();
        readings
    }

    #[test]
    fn only_whole_disks_in_use_are_reported() {
        let lines = ["sda 1", "sda1 1", "sdb 0", "loop0 1", "zram0 1"];
        let text: String = lines.iter().map(|line| format!("8 0 {line} 0 8 0 0 0 0 0 0 0 0\n")).collect();
        let readings = read(&text);
        assert_eq!(readings.value("system.disk.io{disk.io.direction=read,system.device=sda}"), 4_096.0);
        assert_eq!(readings.len(), 8);
    }

    #[test]
    fn more_disks_than_the_limit_are_counted() {
        let text: String = (0..DISKS_MAX + 3).map(|n| format!("8 0 disk{n} 1 0 8 0 0 0 0 0 0 0 0\n")).collect();
        let readings = read(&text);
        assert_eq!(readings.len(), 8 * DISKS_MAX);
        assert_eq!(readings.dropped, [(DropReason::Cardinality, 3)]);
    }
}

//! `/proc/meminfo`: what memory is used for.
//!
//! The state `free` is left out: a healthy kernel spends free memory on caches, so its fall means nothing. What can run
//! out is `system.memory.linux.available`.

use super::kept_file::KeptFile;
use super::metric::{level, ratio};
use super::text::{fields, float, lines, number};
use super::{Lane, Root, Sink, Source, SourceError, SourceSpec};
use vedette_edge::metric::MetricSpec;

pub(super) const SPEC: SourceSpec = SourceSpec {
    name: "memory",
    doc: "Memory used, cached, available, committed, and pages that wait to be written.",
    interval_ms: 1_000,
    lane: Lane::Shared,
    metrics: &[&USAGE, &UTILIZATION, &AVAILABLE, &SHARED, &SLAB, &COMMITTED, &DIRTY, &WRITEBACK],
    open: |root| Box::new(Memory::new(root)),
};

/// The kernel counts pages of at least 4 KiB.
const PAGE: f64 = 4_096.0;

static USAGE: MetricSpec = level("system.memory.usage", "By", PAGE, "Memory by state.");
static UTILIZATION: MetricSpec = ratio("system.memory.utilization", 1e-6, "Share of memory by state.");
static AVAILABLE: MetricSpec =
    level("system.memory.linux.available", "By", PAGE, "Memory that new work can have without swapping.");
static SHARED: MetricSpec = level("system.memory.linux.shared", "By", PAGE, "Shared memory and tmpfs.");
static SLAB: MetricSpec = level("system.memory.linux.slab.usage", "By", PAGE, "The kernel's own caches, by state.");
static COMMITTED: MetricSpec =
    level("system.memory.linux.committed", "By", PAGE, "Memory promised to processes. No convention names it.");
static DIRTY: MetricSpec =
    level("system.memory.linux.dirty", "By", PAGE, "Pages that wait to be written. No convention names it.");
static WRITEBACK: MetricSpec =
    level("system.memory.linux.writeback", "By", PAGE, "Pages that are being written. No convention names it.");

/// Bytes, by the kernel's names. `available` is missing before Linux 3.14.
#[derive(Debug, Default, PartialEq, Eq)]
struct Meminfo {
    total: u64,
    free: u64,
    available: Option<u64>,
    buffers: u64,
    cached: u64,
    shared: u64,
    slab_reclaimable: u64,
    slab_unreclaimable: u64,
    committed: u64,
    dirty: u64,
    writeback: u64,
}

struct Memory {
    file: KeptFile,
}

impl Memory {
    fn new(root: &Root) -> Self {
        Self { file: KeptFile::new(root.proc("meminfo")) }
    }
}

impl Source for Memory {
    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        let Some(meminfo) = parse(self.file.read()?) else {
            return Err(self.file.malformed("`MemTotal: … kB` and more such lines"));
        };
        emit(&meminfo, sink);
        Ok(())
    }
}

fn parse(bytes: &[u8]) -> Option<Meminfo> {
    let mut meminfo = Meminfo::default();
    for line in lines(bytes) {
        let mut fields = fields(line);
        let field = match fields.next()? {
            b"MemTotal:" => &mut meminfo.total,
            b"MemFree:" => &mut meminfo.free,
            b"MemAvailable:" => meminfo.available.insert(0),
            b"Buffers:" => &mut meminfo.buffers,
            b"Cached:" => &mut meminfo.cached,
            b"Shmem:" => &mut meminfo.shared,
            b"SReclaimable:" => &mut meminfo.slab_reclaimable,
            b"SUnreclaim:" => &mut meminfo.slab_unreclaimable,
            b"Committed_AS:" => &mut meminfo.committed,
            b"Dirty:" => &mut meminfo.dirty,
            b"Writeback:" => &mut meminfo.writeback,
            _ => continue,
        };
        *field = number(fields.next()?)?.checked_mul(1_024)?;
    }
    (meminfo.total > 0).then_some(meminfo)
}

fn emit(meminfo: &Meminfo, sink: &mut dyn Sink) {
    let reclaimable = [meminfo.buffers, meminfo.cached, meminfo.slab_reclaimable];
    let estimate = reclaimable.into_iter().fold(meminfo.free, u64::saturating_add);
    let available = meminfo.available.unwrap_or(estimate).min(meminfo.total);
    let used = meminfo.total - available;
    let state = |state| [("system.memory.state", state)];
    sink.reading(&USAGE, &state("used"), float(used));
    sink.reading(&USAGE, &state("cached"), float(meminfo.cached));
    sink.reading(&USAGE, &state("buffers"), float(meminfo.buffers));
    sink.reading(&UTILIZATION, &state("used"), float(used) / float(meminfo.total));
    sink.reading(&AVAILABLE, &[], float(available));
    sink.reading(&SHARED, &[], float(meminfo.shared));
    let slab = |state| [("system.memory.linux.slab.state", state)];
    sink.reading(&SLAB, &slab("reclaimable"), float(meminfo.slab_reclaimable));
    sink.reading(&SLAB, &slab("unreclaimable"), float(meminfo.slab_unreclaimable));
    sink.reading(&COMMITTED, &[], float(meminfo.committed));
    sink.reading(&DIRTY, &[], float(meminfo.dirty));
    sink.reading(&WRITEBACK, &[], float(meminfo.writeback));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::Readings;

    #[test]
    fn used_is_what_is_not_available() {
        let mut readings = Readings::default();
        emit(
            &parse(b"MemTotal: 1000 kB\nMemFree: 100 kB\nMemAvailable: 600 kB\nCached: 450 kB\n").unwrap(),
            &mut readings,
        );
        assert_eq!(readings.value("system.memory.usage{system.memory.state=used}"), 400.0 * 1024.0);
        assert_eq!(readings.value("system.memory.utilization{system.memory.state=used}"), 0.4);
    }

    #[test]
    fn an_old_kernel_without_available_is_estimated() {
        let mut readings = Readings::default();
        let text = b"MemTotal: 1000 kB\nMemFree: 100 kB\nBuffers: 50 kB\nCached: 300 kB\nSReclaimable: 50 kB\n";
        emit(&parse(text).unwrap(), &mut readings);
        assert_eq!(readings.value("system.memory.linux.available"), 500.0 * 1024.0);
    }

    #[test]
    fn other_text_is_refused() {
        assert_eq!(parse(b""), None);
        assert_eq!(parse(b"MemTotal: kB\n"), None);
        assert_eq!(parse(b"MemFree: 5 kB\n"), None);
    }
}

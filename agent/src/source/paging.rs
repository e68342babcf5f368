//! `/proc/vmstat` and `/proc/swaps`: page faults, swapping, and how hard the kernel looks for memory.

use super::kept_file::KeptFile;
use super::metric::{counter, level, ratio};
use super::text::{fields, float, lines, number};
use super::{DropReason, Lane, Root, Sink, Source, SourceError, SourceSpec};
use vedette_edge::metric::MetricSpec;

pub(super) const SPEC: SourceSpec = SourceSpec {
    name: "paging",
    doc: "Page faults, swap in and out, use of swap devices, allocations that stalled, processes killed for memory.",
    interval_ms: 1_000,
    lane: Lane::Shared,
    metrics: &[&FAULTS, &OPERATIONS, &USAGE, &UTILIZATION, &STALLS, &KILLS],
    open: |root| Box::new(Paging::new(root)),
};

static FAULTS: MetricSpec = counter("system.paging.faults", "{fault}", 1.0, "Page faults by type.");
static OPERATIONS: MetricSpec = counter("system.paging.operations", "{operation}", 1.0, "Pages swapped in and out.");
static USAGE: MetricSpec = level("system.paging.usage", "By", 4_096.0, "Swap space used, by device.");
static UTILIZATION: MetricSpec = ratio("system.paging.utilization", 1e-6, "Share of swap space used, by device.");
static STALLS: MetricSpec = counter(
    "system.memory.linux.allocation_stalls",
    "{stall}",
    1.0,
    "Allocations that had to free memory first. No convention names it.",
);
static KILLS: MetricSpec =
    counter("system.memory.linux.oom_kills", "{process}", 1.0, "Processes killed for memory. No convention names it.");

const SWAPS_MAX: u64 = 16;

#[derive(Debug, Default, PartialEq, Eq)]
struct Vmstat {
    faults: u64,
    major_faults: u64,
    swapped_in: u64,
    swapped_out: u64,
    stalls: u64,
    kills: u64,
}

struct Paging {
    vmstat: KeptFile,
    swaps: KeptFile,
}

impl Paging {
    fn new(root: &Root) -> Self {
        Self { vmstat: KeptFile::new(root.proc("vmstat")), swaps: KeptFile::new(root.proc("swaps")) }
    }
}

impl Source for Paging {
    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        let Some(vmstat) = parse_vmstat(self.vmstat.read()?) else {
            return Err(self.vmstat.malformed("`name value` lines with `pgfault`"));
        };
        emit(&vmstat, sink);
        match self.swaps.read() {
            Ok(bytes) => emit_swaps(bytes, sink),
            // A kernel without swapping has no such file.
            Err(SourceError::Absent(_)) => {}
            Err(error) => return Err(error),
        }
        Ok(())
    }
}

fn parse_vmstat(bytes: &[u8]) -> Option<Vmstat> {
    let mut vmstat = Vmstat::default();
    let mut has_faults = false;
    for line in lines(bytes) {
        let mut fields = fields(line);
        let name = fields.next()?;
        let value = match name {
            b"pgfault" => {
                has_faults = true;
                &mut vmstat.faults
            }
            b"pgmajfault" => &mut vmstat.major_faults,
            b"pswpin" => &mut vmstat.swapped_in,
            b"pswpout" => &mut vmstat.swapped_out,
            b"oom_kill" => &mut vmstat.kills,
            _ if name.starts_with(b"allocstall") => &mut vmstat.stalls,
            _ => continue,
        };
        *value = value.saturating_add(number(fields.next()?)?);
    }
    has_faults.then_some(vmstat)
}

fn emit(vmstat: &Vmstat, sink: &mut dyn Sink) {
    let minor = vmstat.faults.saturating_sub(vmstat.major_faults);
    sink.reading(&FAULTS, &[("system.paging.fault.type", "major")], float(vmstat.major_faults));
    sink.reading(&FAULTS, &[("system.paging.fault.type", "minor")], float(minor));
    sink.reading(&OPERATIONS, &[("system.paging.direction", "in")], float(vmstat.swapped_in));
    sink.reading(&OPERATIONS, &[("system.paging.direction", "out")], float(vmstat.swapped_out));
    sink.reading(&STALLS, &[], float(vmstat.stalls));
    sink.reading(&KILLS, &[], float(vmstat.kills));
}

/// `/proc/swaps`: a header, then file name, type, size and use in KiB, priority.
fn emit_swaps(bytes: &[u8], sink: &mut dyn Sink) {
    let mut left_out = 0;
    for (index, line) in lines(bytes).skip(1).enumerate() {
        let Some((device, size, used)) = parse_swap(line) else {
            sink.dropped(DropReason::Malformed, 1);
            continue;
        };
        if index as u64 >= SWAPS_MAX {
            left_out += 1;
            continue;
        }
        let attributes = [("system.device", device), ("system.paging.state", "used")];
        sink.reading(&USAGE, &attributes, float(used) * 1_024.0);
        if size > 0 {
            sink.reading(&UTILIZATION, &attributes, float(used) / float(size));
        }
    }
    if left_out > 0 {
        sink.dropped(DropReason::Cardinality, left_out);
    }
}

fn parse_swap(line: &[u8]) -> Option<(&str, u64, u64)> {
    let mut fields = fields(line);
    let device = std::str::from_utf8(fields.next()?).ok()?;
    let size = number(fields.nth(1)?)?;
    Some((device, size, number(fields.next()?)?.min(size)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::Readings;

    #[test]
    fn stalls_of_all_zones_add_up() {
        let vmstat = parse_vmstat(b"pgfault 9\nallocstall_dma 1\nallocstall_normal 2\nallocstall_movable 3\n").unwrap();
        assert_eq!(vmstat, Vmstat { faults: 9, stalls: 6, ..Vmstat::default() });
    }

    #[test]
    fn each_swap_device_has_its_share() {
        let mut readings = Readings::default();
        let text = b"Filename\tType\tSize\tUsed\tPriority\n/dev/sda2  partition\t1000\t\t250\t-2\n/swap file 1 x -3\n";
        emit_swaps(text, &mut readings);
        let share = "system.paging.utilization{system.device=/dev/sda2,system.paging.state=used}";
        assert_eq!(readings.value(share), 0.25);
        assert_eq!(readings.dropped, [(DropReason::Malformed, 1)]);
    }

    #[test]
    fn other_text_is_refused() {
        assert_eq!(parse_vmstat(b"nr_free_pages 5\n"), None);
        assert_eq!(parse_vmstat(b"pgfault -5\n"), None);
    }
}

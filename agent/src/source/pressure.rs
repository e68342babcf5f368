//! `/proc/pressure`: time in which work waited for CPU, memory or a device (PSI, Linux ≥ 4.20).
//!
//! No convention names it. The kernel's averages are left out: they are the totals' rates, smoothed.

use super::kept_file::KeptFile;
use super::metric::time_spent;
use super::text::{fields, float, lines, number};
use super::{Lane, Root, Sink, Source, SourceError, SourceSpec};
use vedette_edge::metric::MetricSpec;

pub(super) const SPEC: SourceSpec = SourceSpec {
    name: "pressure",
    doc: "Share of time in which some or all work waited for CPU, memory or a device.",
    interval_ms: 1_000,
    lane: Lane::Shared,
    metrics: &[&STALLED],
    open: |root| Box::new(Pressure::new(root)),
};

static STALLED: MetricSpec = time_spent(
    "system.linux.pressure.stalled",
    1e-6,
    "Time in which `some` or `full` (all) runnable work waited for the resource. No convention names it.",
);

const RESOURCES: [&str; 3] = ["cpu", "io", "memory"];

struct Pressure {
    files: [KeptFile; RESOURCES.len()],
}

impl Pressure {
    fn new(root: &Root) -> Self {
        Self { files: RESOURCES.map(|resource| KeptFile::new(root.proc("pressure").join(resource))) }
    }
}

impl Source for Pressure {
    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        for (file, resource) in self.files.iter_mut().zip(RESOURCES) {
            let Some(stalled) = parse(file.read()?) else {
                return Err(file.malformed("`some … total=µs`, `full … total=µs`"));
            };
            emit(resource, &stalled, sink);
        }
        Ok(())
    }
}

/// Microseconds since boot.
#[derive(Debug, Default, PartialEq, Eq)]
struct Stalled {
    some_us: u64,
    /// Missing for CPU before Linux 5.13.
    full_us: Option<u64>,
}

fn parse(bytes: &[u8]) -> Option<Stalled> {
    let mut stalled = Stalled::default();
    let mut has_some = false;
    for line in lines(bytes) {
        let mut fields = fields(line);
        let kind = fields.next()?;
        let total = number(fields.find_map(|field| field.strip_prefix(b"total="))?)?;
        match kind {
            b"some" => {
                has_some = true;
                stalled.some_us = total;
            }
            b"full" => stalled.full_us = Some(total),
            _ => return None,
        }
    }
    has_some.then_some(stalled)
}

fn emit(resource: &str, stalled: &Stalled, sink: &mut dyn Sink) {
    let mut reading = |kind, us| {
        let attributes = [("linux.pressure.kind", kind), ("linux.pressure.resource", resource)];
        sink.reading(&STALLED, &attributes, float(us) / 1e6);
    };
    reading("some", stalled.some_us);
    // Of the whole host `full` is always 0 for CPU: somebody runs.
    if let Some(full_us) = stalled.full_us.filter(|_| resource != "cpu") {
        reading("full", full_us);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn totals_are_read_with_and_without_full() {
        let both =
            b"some avg10=1.81 avg60=2.56 avg300=2.11 total=20107963\nfull avg10=0.00 avg60=0.00 avg300=0.00 total=7\n";
        assert_eq!(parse(both), Some(Stalled { some_us: 20_107_963, full_us: Some(7) }));
        let some = b"some avg10=0.00 avg60=0.00 avg300=0.00 total=5\n";
        assert_eq!(parse(some), Some(Stalled { some_us: 5, full_us: None }));
    }

    #[test]
    fn other_text_is_refused() {
        for bad in [&b""[..], b"full total=5\n", b"some avg10=0.00\n", b"most total=5\n"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}

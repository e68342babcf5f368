//! `/proc/loadavg`: how many threads want to run.
//!
//! The averages over 5 and 15 minutes are left out: they are the same signal smoothed further, and a window of
//! features over the first one says as much.

use super::kept_file::KeptFile;
use super::metric::level;
use super::text::{decimal, fields, float, number};
use super::{Lane, Sink, Source, SourceError, SourceSpec};
use vedette_edge::metric::MetricSpec;

pub(super) const SPEC: SourceSpec = SourceSpec {
    name: "load",
    doc: "Load average over one minute and number of threads.",
    interval_ms: 1_000,
    lane: Lane::Shared,
    metrics: &[&LOAD, &THREADS],
    open: |root| Box::new(Load { file: KeptFile::new(root.proc("loadavg")) }),
};

static LOAD: MetricSpec =
    level("system.cpu.load_average.1m", "{thread}", 0.01, "Threads that run or wait for a CPU or a device, smoothed.");
static THREADS: MetricSpec =
    level("system.linux.thread.count", "{thread}", 1.0, "Threads on the host. No convention names it.");

struct Load {
    file: KeptFile,
}

impl Source for Load {
    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        let Some((load, threads)) = parse(self.file.read()?) else {
            return Err(self.file.malformed("three averages and `running/all`"));
        };
        sink.reading(&LOAD, &[], load);
        sink.reading(&THREADS, &[], float(threads));
        Ok(())
    }
}

/// The average over one minute and the number of threads.
fn parse(bytes: &[u8]) -> Option<(f64, u64)> {
    let mut fields = fields(bytes);
    let load = decimal(fields.next()?)?;
    let threads = fields.nth(2)?.split(|byte| *byte == b'/').nth(1)?;
    Some((load, number(threads)?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_minute_and_threads_are_read() {
        assert_eq!(parse(b"1.05 1.23 0.63 1/96 12576\n"), Some((1.05, 96)));
    }

    #[test]
    fn other_text_is_refused() {
        for bad in [&b""[..], b"1.05\n", b"1.05 1.23 0.63 96 1\n", b"x 1.23 0.63 1/96 1\n"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}

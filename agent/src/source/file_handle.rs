//! `/proc/sys/fs/file-nr`: open files of the whole host. Those of single programs are told by [`super::process`].

use super::kept_file::KeptFile;
use super::metric::{level, ratio};
use super::text::{fields, float, number};
use super::{Lane, Sink, Source, SourceError, SourceSpec};
use vedette_edge::metric::MetricSpec;

pub(super) const SPEC: SourceSpec = SourceSpec {
    name: "file-handle",
    doc: "Open files of the host, and their share of the kernel's limit.",
    interval_ms: 10_000,
    lane: Lane::Shared,
    metrics: &[&COUNT, &UTILIZATION],
    open: |root| Box::new(FileHandle { file: KeptFile::new(root.proc("sys/fs/file-nr")) }),
};

/// The kernel counts per CPU and adds up in steps.
static COUNT: MetricSpec =
    level("system.linux.file_handle.count", "{handle}", 32.0, "Open files of the host. No convention names it.");
static UTILIZATION: MetricSpec = ratio(
    "system.linux.file_handle.utilization",
    1e-4,
    "Share of the files that the kernel allows which are open. No convention names it.",
);

struct FileHandle {
    file: KeptFile,
}

impl Source for FileHandle {
    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        let Some((open, limit)) = parse(self.file.read()?) else {
            return Err(self.file.malformed("three numbers: open, unused, limit"));
        };
        sink.reading(&COUNT, &[], float(open));
        sink.reading(&UTILIZATION, &[], (float(open) / float(limit)).min(1.0));
        Ok(())
    }
}

/// Open files and the limit, which systemd lifts to the largest number there is.
fn parse(bytes: &[u8]) -> Option<(u64, u64)> {
    let mut fields = fields(bytes.trim_ascii_end()).map(number);
    let (open, _unused, limit) = (fields.next()??, fields.next()??, fields.next()??);
    (limit > 0).then_some((open, limit))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn open_files_and_limit_are_read() {
        assert_eq!(parse(b"1216\t0\t9223372036854775807\n"), Some((1_216, 9_223_372_036_854_775_807)));
    }

    #[test]
    fn other_text_is_refused() {
        for bad in [&b""[..], b"1 2\n", b"1 2 0\n", b"a b c\n"] {
            assert_eq!(parse(bad), None, "{bad:?}");
        }
    }
}

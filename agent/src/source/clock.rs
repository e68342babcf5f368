//! `adjtimex(2)`: whether the kernel holds its clock for right, and how far off it may be.
//!
//! The kernel's bound on the error is a sawtooth on a healthy host: it grows by half a millisecond a second until a time
//! server answers. Its series has steps of four seconds, so it moves only once no answer has come for over an hour; the
//! kernel itself calls the clock unsynchronised after nine.
#![expect(unsafe_code, reason = "there is no safe binding of adjtimex")]

use super::kept_file::KeptFile;
use super::metric::{level, ratio};
use super::text::{fields, lines};
use super::{Lane, Root, Sink, Source, SourceError, SourceSpec};
use std::io;
use std::path::Path;
use vedette_edge::metric::MetricSpec;

pub(super) const SPEC: SourceSpec = SourceSpec {
    name: "clock",
    doc: "Whether the host's clock is synchronised, its offset and the largest error that it can have.",
    interval_ms: 10_000,
    lane: Lane::Shared,
    metrics: &[&UNSYNCHRONIZED, &OFFSET, &ERROR_MAX],
    open: |root| Box::new(Clock::new(root)),
};

static UNSYNCHRONIZED: MetricSpec = ratio(
    "system.linux.clock.unsynchronized",
    1.0,
    "1 while the kernel holds its clock for unsynchronised, else 0. No convention names it.",
);
static OFFSET: MetricSpec = level(
    "system.linux.clock.offset",
    "s",
    1e-3,
    "How far the clock is from what the time servers last said, either way. No convention names it.",
);
static ERROR_MAX: MetricSpec = level(
    "system.linux.clock.error_max",
    "s",
    4.0,
    "The kernel's bound on the clock's error: at most 16 s. No convention names it.",
);

/// `STA_UNSYNC` of linux/timex.h.
const UNSYNC: i64 = 0x0040;
/// `STA_NANO`: the offset is in nanoseconds.
const NANO: i64 = 0x2000;

/// The part of `struct timex` that is told.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Timex {
    status: i64,
    /// Micro- or nanoseconds, by the status.
    offset: i64,
    error_max_us: i64,
}

struct Clock {
    /// Stands for the kernel's answer where the tree is not this host's.
    record: Option<KeptFile>,
}

impl Clock {
    fn new(root: &Root) -> Self {
        Self { record: root.timex_record().map(KeptFile::new) }
    }
}

impl Source for Clock {
    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        let timex = match &mut self.record {
            Some(record) => {
                parse(record.read()?).ok_or_else(|| record.malformed("`status`, `offset` and `maxerror`"))?
            }
            None => ask().map_err(|error| SourceError::from_io(Path::new("adjtimex(2)"), error))?,
        };
        emit(timex, sink);
        Ok(())
    }
}

/// Only reads: no mode is set, which takes no privilege.
fn ask() -> io::Result<Timex> {
    // SAFETY: `timex` is a struct of integers, for which zeros are valid.
    let mut timex: libc::timex = unsafe { std::mem::zeroed() };
    // SAFETY: the kernel writes one `timex` to where it points.
    if unsafe { libc::adjtimex(&raw mut timex) } == -1 {
        return Err(io::Error::last_os_error());
    }
    #[expect(clippy::useless_conversion, reason = "fields are narrower on 32-bit machines")]
    Ok(Timex { status: timex.status.into(), offset: timex.offset.into(), error_max_us: timex.maxerror.into() })
}

/// A recorded answer: a name and a number a line.
fn parse(bytes: &[u8]) -> Option<Timex> {
    let mut timex = Timex::default();
    let mut known = 0;
    for line in lines(bytes) {
        let mut fields = fields(line);
        let field = match fields.next()? {
            b"status" => &mut timex.status,
            b"offset" => &mut timex.offset,
            b"maxerror" => &mut timex.error_max_us,
            _ => continue,
        };
        *field = std::str::from_utf8(fields.next()?).ok()?.parse().ok()?;
        known += 1;
    }
    (known == 3).then_some(timex)
}

fn emit(timex: Timex, sink: &mut dyn Sink) {
    let (Timex { status, offset, error_max_us }, second) = (timex, if timex.status & NANO == 0 { 1e6 } else { 1e9 });
    sink.reading(&UNSYNCHRONIZED, &[], if status & UNSYNC == 0 { 0.0 } else { 1.0 });
    #[expect(clippy::cast_precision_loss, reason = "both are below a minute")]
    let (offset_s, error_max_s) = (offset.unsigned_abs() as f64 / second, error_max_us.max(0) as f64 / 1e6);
    sink.reading(&OFFSET, &[], offset_s);
    sink.reading(&ERROR_MAX, &[], error_max_s);
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::Readings;

    fn read(timex: Timex) -> [f64; 3] {
        let mut readings = Readings::default();
        emit(timex, &mut readings);
        ["unsynchronized", "offset", "error_max"].map(|name| readings.value(&format!("system.linux.clock.{name}")))
    }

    #[test]
    fn an_offset_is_in_the_unit_that_the_status_says() {
        let timex = Timex { status: 0x2001, offset: -2_500_000, error_max_us: 16_000 };
        assert_eq!(read(timex), [0.0, 0.0025, 0.016]);
        assert_eq!(read(Timex { status: 0x0041, offset: 2_500, error_max_us: 16_000_000 }), [1.0, 0.0025, 16.0]);
    }

    #[test]
    fn this_kernel_answers_or_denies() {
        let result = Clock::new(&Root::system()).read(&mut Readings::default());
        assert!(matches!(result, Ok(()) | Err(SourceError::Denied(_))), "{result:?}");
    }

    #[test]
    fn a_record_is_whole_or_refused() {
        assert_eq!(parse(b"status 1\noffset -5\nmaxerror 7\n"), Some(Timex { status: 1, offset: -5, error_max_us: 7 }));
        assert_eq!(parse(b"status 1\noffset -5\n"), None);
        assert_eq!(parse(b"status x\noffset -5\nmaxerror 7\n"), None);
    }
}

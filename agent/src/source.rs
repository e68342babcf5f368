//! Sources: what the agent reads of its host, one file each.
//!
//! A source is a `const SPEC` (name, metrics, default interval, a line of documentation), a thin `read` under a movable
//! [`Root`], and a pure `parse` on bytes. Reading allocates nothing once every file was read and every name was seen:
//! buffers and open files are kept, and attributes are borrowed.

mod cgroup;
mod clock;
pub(crate) mod containers;
mod cpu;
mod disk;
mod file_handle;
mod filesystem;
mod filesystem_remote;
mod load;
mod memory;
mod network;
mod paging;
mod pressure;
mod process;
mod socket;
mod temperature;

mod kept_file;
mod metric;
mod name;
mod root;
mod text;

#[cfg(test)]
pub(crate) mod tests;

pub(crate) use kept_file::BYTES_MAX as FILE_BYTES_MAX;
pub use root::Root;

use std::path::PathBuf;
use vedette_edge::metric::MetricSpec;

/// Every source, in the order in which one tick reads them.
pub static ALL: &[&SourceSpec] = &[
    &cpu::SPEC,
    &load::SPEC,
    &memory::SPEC,
    &paging::SPEC,
    &pressure::SPEC,
    &disk::SPEC,
    &network::SPEC,
    &socket::SPEC,
    &filesystem::SPEC,
    &filesystem_remote::SPEC,
    &process::SPEC,
    &cgroup::SPEC,
    &file_handle::SPEC,
    &clock::SPEC,
    &temperature::SPEC,
];

/// The source of that name.
pub fn find(name: &str) -> Option<&'static SourceSpec> {
    ALL.iter().find(|spec| spec.name == name).copied()
}

/// What is known of a source before it is opened.
#[derive(Debug)]
pub struct SourceSpec {
    /// Name in configuration, policy and status.
    pub name: &'static str,
    /// One line for people.
    pub doc: &'static str,
    /// Default interval.
    pub interval_ms: u32,
    /// Where it runs.
    pub lane: Lane,
    /// All metrics that it can hand over.
    pub metrics: &'static [&'static MetricSpec],
    /// Opens it; touches no file yet, so it cannot fail.
    pub open: fn(&Root) -> Box<dyn Source>,
}

/// Where a source runs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lane {
    /// Microseconds, answered by the kernel from memory: together with its like, in the tick.
    Shared,
    /// May wait for a device or a remote host, or takes milliseconds: alone, under a deadline.
    Own,
}

/// An open source.
pub trait Source: Send {
    /// Reads once and hands everything over to `sink`.
    ///
    /// # Errors
    ///
    /// - [`SourceError::Absent`] if this host has no such thing; it may have it later.
    /// - [`SourceError::Denied`] if the agent may not read it.
    /// - [`SourceError::Malformed`], [`SourceError::TooLarge`], [`SourceError::Io`] if this reading failed. What was
    ///   handed over before stays valid.
    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError>;
}

/// Takes readings.
pub trait Sink {
    /// One value. `attributes` come sorted by name.
    fn reading(&mut self, metric: &'static MetricSpec, attributes: &[(&str, &str)], value: f64);

    /// `count` things were left out of this reading because the source has a limit.
    fn dropped(&mut self, reason: DropReason, count: u64) {
        let _ = (reason, count);
    }
}

/// Why a source left something out.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum DropReason {
    /// More devices, interfaces, mounts or groups than the source reports.
    Cardinality,
    /// A name or a path longer than the source keeps.
    NameTooLong,
    /// A line or a file that does not look as the kernel documents it.
    Malformed,
    /// One of several things could not be read, the others were.
    Unreadable,
}

/// Why a source could not be read.
#[derive(Debug, thiserror::Error)]
pub enum SourceError {
    /// This host has no such thing. Not a fault: say it once.
    #[error("{} is not there", .0.display())]
    Absent(PathBuf),
    /// The agent may not read it. Grant it or disable the source.
    #[error("no permission to read {}", .0.display())]
    Denied(PathBuf),
    /// It does not look as the kernel documents it.
    #[error("{} is not in the expected form: {expected}", .path.display())]
    Malformed {
        /// File.
        path: PathBuf,
        /// What was expected.
        expected: &'static str,
    },
    /// It is larger than any real one.
    #[error("{} is larger than {bytes_max} bytes", .path.display())]
    TooLarge {
        /// File.
        path: PathBuf,
        /// Limit.
        bytes_max: usize,
    },
    /// Reading failed; the next reading may succeed.
    #[error("reading {}: {error}", .path.display())]
    Io {
        /// File.
        path: PathBuf,
        /// Why.
        error: std::io::Error,
    },
}

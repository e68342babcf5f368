//! Mount table and `statvfs`: how full the filesystems of this host are.
//!
//! Filesystems of other hosts are a source of their own ([`super::filesystem_remote`]): one that hangs must not hide
//! the local ones.

mod mounts;

use super::kept_file::KeptFile;
use super::metric::{level, ratio};
use super::text::float;
use super::{DropReason, Lane, Root, Sink, Source, SourceError, SourceSpec};
use mounts::{Mount, parse};
use rustix::event::{PollFd, PollFlags};
use rustix::fs::StatVfs;
use std::path::{Path, PathBuf};
use vedette_edge::metric::MetricSpec;

pub(super) use mounts::Locality;

pub(super) const SPEC: SourceSpec = SourceSpec {
    name: "filesystem",
    doc: "Space and inodes used of each local filesystem, tmpfs included.",
    interval_ms: 1_000,
    lane: Lane::Own,
    metrics: METRICS,
    open: |root| Box::new(Filesystem::new(root, Locality::Local)),
};

pub(super) const METRICS: &[&MetricSpec] = &[&USAGE, &UTILIZATION, &INODES];

static USAGE: MetricSpec =
    level("system.filesystem.usage", "By", 512.0, "Space by state; `free` is what users can have.");
static UTILIZATION: MetricSpec =
    ratio("system.filesystem.utilization", 1e-6, "Share of the space that users can have, by state.");
static INODES: MetricSpec =
    ratio("system.filesystem.inodes.utilization", 1e-6, "Share of inodes used. No convention names it.");

/// Most filesystems that get series.
const MOUNTS_MAX: usize = 64;

/// Reads the mount table when it has changed and asks each filesystem every time.
pub(super) struct Filesystem {
    root: Root,
    locality: Locality,
    /// That of init: the agent may live in a mount namespace of its own.
    table: KeptFile,
    own_table: KeptFile,
    mounts: Vec<(Mount, PathBuf)>,
    left_out: u64,
    primed: bool,
    ask: fn(&Path) -> rustix::io::Result<StatVfs>,
}

impl Filesystem {
    pub(super) fn new(root: &Root, locality: Locality) -> Self {
        Self {
            root: root.clone(),
            locality,
            table: KeptFile::new(root.proc("1/mountinfo")),
            own_table: KeptFile::new(root.proc("self/mountinfo")),
            mounts: Vec::new(),
            left_out: 0,
            primed: false,
            ask: |path| rustix::fs::statvfs(path),
        }
    }

    fn refresh(&mut self) -> Result<(), SourceError> {
        if self.primed && !has_changed(&self.table) && !has_changed(&self.own_table) {
            return Ok(());
        }
        let bytes = match self.table.read() {
            Err(SourceError::Absent(_) | SourceError::Denied(_)) => self.own_table.read(),
            other => other,
        }?;
        let mut mounts = parse(bytes, self.locality);
        self.left_out = mounts.len().saturating_sub(MOUNTS_MAX) as u64;
        mounts.truncate(MOUNTS_MAX);
        let root = &self.root;
        self.mounts = mounts.into_iter().map(|mount| (mount, PathBuf::new())).collect();
        self.mounts.iter_mut().for_each(|(mount, path)| *path = root.host(Path::new(&mount.point)));
        self.primed = true;
        Ok(())
    }
}

impl Source for Filesystem {
    fn read(&mut self, sink: &mut dyn Sink) -> Result<(), SourceError> {
        self.refresh()?;
        if self.left_out > 0 {
            sink.dropped(DropReason::Cardinality, self.left_out);
        }
        for (mount, path) in &self.mounts {
            match (self.ask)(path) {
                Ok(answer) => emit(mount, &answer, sink),
                Err(_) => sink.dropped(DropReason::Unreadable, 1),
            }
        }
        Ok(())
    }
}

/// The kernel marks an open mount table when it has changed since it was last asked (proc(5), `mounts`).
fn has_changed(table: &KeptFile) -> bool {
    let Some(file) = table.file() else { return false };
    let mut asked = [PollFd::new(file, PollFlags::PRI)];
    let at_once = rustix::time::Timespec { tv_sec: 0, tv_nsec: 0 };
    match rustix::event::poll(&mut asked, Some(&at_once)) {
        Ok(_) => asked[0].revents().intersects(PollFlags::PRI | PollFlags::ERR),
        Err(_) => true,
    }
}

fn emit(mount: &Mount, answer: &StatVfs, sink: &mut dyn Sink) {
    if answer.f_blocks == 0 {
        return;
    }
    let used = float(answer.f_blocks.saturating_sub(answer.f_bfree)) * float(answer.f_frsize);
    let free = float(answer.f_bavail) * float(answer.f_frsize);
    let attributes = |state| {
        [
            ("system.device", mount.device.as_str()),
            ("system.filesystem.mountpoint", mount.point.as_str()),
            ("system.filesystem.state", state),
            ("system.filesystem.type", mount.kind.as_str()),
        ]
    };
    sink.reading(&USAGE, &attributes("used"), used);
    sink.reading(&USAGE, &attributes("free"), free);
    if used + free > 0.0 {
        // As df does: what only root can have counts neither as used nor as free.
        sink.reading(&UTILIZATION, &attributes("used"), used / (used + free));
    }
    if answer.f_files > 0 {
        let used = answer.f_files.saturating_sub(answer.f_ffree);
        sink.reading(&INODES, &attributes("used"), float(used) / float(answer.f_files));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::source::tests::Readings;

    fn host(mountinfo: &str) -> (tempfile::TempDir, Filesystem) {
        let directory = tempfile::tempdir().unwrap();
        std::fs::create_dir_all(directory.path().join("proc/1")).unwrap();
        std::fs::write(directory.path().join("proc/1/mountinfo"), mountinfo).unwrap();
        let filesystem = Filesystem::new(&Root::under(directory.path()), Locality::Local);
        (directory, filesystem)
    }

    fn answer(_: &Path) -> rustix::io::Result<StatVfs> {
        let mut answer = rustix::fs::statvfs("/")?;
        (answer.f_frsize, answer.f_blocks, answer.f_bfree, answer.f_bavail) = (4_096, 1_000, 400, 300);
        (answer.f_files, answer.f_ffree) = (100, 25);
        Ok(answer)
    }

    #[test]
    fn utilisation_is_that_of_df() {
        let (_directory, mut filesystem) = host("27 1 254:0 / / rw - ext4 /dev/vda rw\n");
        filesystem.ask = answer;
        let mut readings = Readings::default();
        filesystem.read(&mut readings).unwrap();
        let of = |metric, state| {
            let root = "system.device=/dev/vda,system.filesystem.mountpoint=/,system.filesystem.state=";
            format!("{metric}{{{root}{state},system.filesystem.type=ext4}}")
        };
        assert_eq!(readings.value(&of("system.filesystem.utilization", "used")), 600.0 / 900.0);
        assert_eq!(readings.value(&of("system.filesystem.usage", "free")), 300.0 * 4_096.0);
        assert_eq!(readings.value(&of("system.filesystem.inodes.utilization", "used")), 0.75);
    }

    #[test]
    fn a_filesystem_that_does_not_answer_is_counted() {
        let (_directory, mut filesystem) =
            host("27 1 254:0 / / rw - ext4 /dev/vda rw\n28 27 8:1 / /data rw - xfs /dev/sda1 rw\n");
        filesystem.ask = |path| if path.ends_with("data") { Err(rustix::io::Errno::IO) } else { answer(path) };
        let mut readings = Readings::default();
        filesystem.read(&mut readings).unwrap();
        assert_eq!(readings.dropped, [(DropReason::Unreadable, 1)]);
        assert_eq!(readings.len(), 4);
    }

    #[test]
    fn filesystems_beyond_the_limit_are_counted_and_not_asked() {
        let line = |n: usize| format!("{} 1 8:{n} / /data{n} rw - xfs /dev/sd{n} rw\n", n + 30);
        let (_directory, mut filesystem) = host(&(0..MOUNTS_MAX + 5).map(line).collect::<String>());
        filesystem.ask = answer;
        let mut readings = Readings::default();
        filesystem.read(&mut readings).unwrap();
        assert_eq!(readings.dropped, [(DropReason::Cardinality, 5)]);
        assert_eq!(readings.len(), 4 * MOUNTS_MAX);
    }

    #[test]
    fn this_hosts_root_is_asked_for_real() {
        let mut readings = Readings::default();
        Filesystem::new(&Root::system(), Locality::Local).read(&mut readings).unwrap();
        let share = readings.values("system.filesystem.utilization", |_| true).next().unwrap();
        assert!((0.0..=1.0).contains(&share), "{share}");
    }
}

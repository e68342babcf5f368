//! Where batches wait for the collector: whether the disk takes them, and has room for all that may come to wait.

use super::Step;
use crate::config::Config;
use crate::status::{SpoolDiskStatus, Status};
use rustix::fs::{Access, access, statvfs};
use std::fs;
use std::io;
use std::path::Path;

const NAME: &str = "spool";

/// What the running agent says comes first: it has tried.
pub(super) fn spool(config: &Config, status: Option<&Status>) -> Step {
    let directory = &config.spool.directory;
    let told = status.map(|status| &status.spool.disk);
    if let Some(trouble) = told.and_then(trouble) {
        return trouble;
    }
    match look(directory, told.map(|disk| disk.bytes)) {
        Ok(room) => room.step(directory, config.spool.bytes_max),
        Err(error) => Step::warn(
            NAME,
            format!("{}: {error}", directory.display()),
            "a folder of the agent's user alone, or run this as that user; without it what waits is lost when the agent ends",
        ),
    }
}

fn trouble(SpoolDiskStatus { state, reason, .. }: &SpoolDiskStatus) -> Option<Step> {
    match state.as_str() {
        "absent" => Some(Step::warn(
            NAME,
            format!("not on disk: {reason}"),
            "mend it and restart the agent: until then what waits is lost when the agent ends",
        )),
        "failing" => Some(Step::warn(
            NAME,
            format!("its disk fails: {reason}"),
            "make room or mend the disk: until then batches wait in memory alone, at most `limits.memory-spool`",
        )),
        _ => None,
    }
}

/// What the spool holds, and what its file system has left.
#[derive(Clone, Copy)]
pub(super) struct Room {
    /// `None` if no agent has made it yet.
    pub(super) held_bytes: Option<u64>,
    pub(super) free_bytes: u64,
}

impl Room {
    pub(super) fn step(self, directory: &Path, bytes_max: u64) -> Step {
        let (shown, max_mib, free_mib) = (directory.display(), bytes_max >> 20, self.free_bytes >> 20);
        let found = match self.held_bytes {
            Some(held) => format!("{shown}: {} KiB of at most {max_mib} MiB, {free_mib} MiB free", held.div_ceil(1024)),
            None => format!("{shown}: made at the first run, at most {max_mib} MiB, {free_mib} MiB free"),
        };
        if self.free_bytes < bytes_max.saturating_sub(self.held_bytes.unwrap_or(0)) {
            return Step::warn(
                NAME,
                found,
                "make room, or lower `spool.bytes-max`: a long outage would fill this disk",
            );
        }
        Step::ok(NAME, found)
    }
}

/// Takes no lock: an agent that starts meanwhile would go without its spool.
fn look(directory: &Path, told_bytes: Option<u64>) -> io::Result<Room> {
    let standing = standing(directory)?;
    access(standing, Access::WRITE_OK | Access::EXEC_OK)?;
    let held_bytes = match told_bytes {
        None if standing == directory => Some(bytes_in(directory)?),
        told => told,
    };
    let room = statvfs(standing)?;
    Ok(Room { held_bytes, free_bytes: room.f_bavail.saturating_mul(room.f_frsize) })
}

/// The directory, or what is there of the way to it. The agent follows no link in place of the directory itself.
fn standing(directory: &Path) -> io::Result<&Path> {
    for folder in directory.ancestors() {
        let found = if folder == directory { fs::symlink_metadata(folder) } else { fs::metadata(folder) };
        match found {
            Ok(found) if found.is_dir() => return Ok(folder),
            Ok(_) => return Err(io::ErrorKind::NotADirectory.into()),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Err(io::ErrorKind::NotFound.into())
}

fn bytes_in(directory: &Path) -> io::Result<u64> {
    let mut bytes = 0;
    for entry in fs::read_dir(directory)? {
        match entry?.metadata() {
            Ok(found) => bytes += found.len(),
            // Settled and removed meanwhile.
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Err(error) => return Err(error),
        }
    }
    Ok(bytes)
}

//! Programs of running services: whether the file that one runs from was replaced.
//!
//! The kernel names a process's program only to those who may trace it. Of others the first argument stands in where it
//! is an absolute path, which covers most services. Files are told apart by metadata: reading them would cost more than
//! all else the agent does.

use super::{Inventory, InventorySpec, Item, Items, Known, Looked};
use crate::files::watch::changed;
use crate::source::{Root, SourceError};
use std::collections::BTreeSet;
use std::fs::File;
use std::io::{ErrorKind, Read};
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use vedette_protocol::ids::Digest;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::ChangeKind;

pub(super) const SPEC: InventorySpec = InventorySpec {
    name: "binaries",
    doc: "Programs of running systemd services whose file was replaced.",
    interval_ms: 60_000,
    kind,
    open: |root| Box::new(Binaries { root: root.clone(), paths: BTreeSet::new() }),
};

/// Most processes that are looked at.
const PROCESSES_MAX: usize = 8_192;
/// Most programs.
const PROGRAMS_MAX: usize = 512;
/// State: what the digest is made of. Digests of other marks, as of 0 with the device, are not compared.
const MARKS: u8 = 1;
const TEXT_BYTES: usize = 4_096;
/// The kernel's mark on a file that is not at its place any more.
const DELETED: &[u8] = b" (deleted)";

fn kind(before: Option<&Known>, after: Option<&Known>) -> Option<ChangeKind> {
    before.zip(after).filter(|(before, after)| before.state == after.state).map(|_| ChangeKind::BinaryReplaced)
}

struct Binaries {
    root: Root,
    /// Programs seen at any time: one that is replaced while its service is down is replaced all the same.
    paths: BTreeSet<String>,
}

impl Inventory for Binaries {
    fn look(&mut self, _now: WallTime, items: &mut Items) -> Result<Looked, SourceError> {
        let proc = self.root.proc("");
        let entries = std::fs::read_dir(&proc).map_err(|error| SourceError::from_io(&proc, error))?;
        let mut processes = 0;
        for entry in entries.flatten() {
            if !entry.file_name().as_bytes().iter().all(u8::is_ascii_digit) {
                continue;
            }
            processes += 1;
            if processes > PROCESSES_MAX {
                items.leave_out(1);
                continue;
            }
            let Some(path) = program(&entry.path()).filter(|path| !self.paths.contains(path)) else { continue };
            if self.paths.len() == PROGRAMS_MAX {
                items.leave_out(1);
            } else {
                self.paths.insert(path);
            }
        }
        self.paths.retain(|path| add(path, &self.root, items));
        Ok(Looked::Whole)
    }
}

/// The program of a process of a service; a container's files are not those of the host.
fn program(process: &Path) -> Option<String> {
    let groups = read(&process.join("cgroup"))?;
    if !groups.split(|byte| *byte == b'\n').any(is_service) {
        return None;
    }
    let path = match std::fs::read_link(process.join("exe")) {
        Ok(path) => path.as_os_str().as_bytes().to_vec(),
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            read(&process.join("cmdline"))?.split(|byte| *byte == 0).next()?.to_vec()
        }
        Err(_) => return None,
    };
    let path = path.strip_suffix(DELETED).unwrap_or(&path);
    std::str::from_utf8(path).ok().filter(|path| path.starts_with('/')).map(str::to_owned)
}

/// `hierarchy:controllers:/system.slice/ssh.service`, or a group inside of it.
fn is_service(line: &[u8]) -> bool {
    let Some(path) = line.splitn(3, |byte| *byte == b':').nth(2) else { return false };
    let mut parts = path.split(|byte| *byte == b'/').skip(1).skip_while(|part| part.ends_with(b".slice"));
    parts.next().is_some_and(|part| part.ends_with(b".service"))
}

fn read(path: &Path) -> Option<Vec<u8>> {
    let mut bytes = Vec::new();
    File::open(path).ok()?.take(TEXT_BYTES as u64).read_to_end(&mut bytes).ok()?;
    Some(bytes)
}

/// Whether the file is still there, or could be.
fn add(path: &str, root: &Root, items: &mut Items) -> bool {
    let file: PathBuf = root.host(Path::new(path));
    match std::fs::metadata(&file) {
        Ok(metadata) if metadata.is_file() => {
            // Not the device: many file systems have another number at each mount.
            let marks = [metadata.ino(), metadata.len()].map(u64::to_le_bytes);
            let times = [metadata.mtime(), metadata.mtime_nsec()].map(i64::to_le_bytes);
            let digest = Digest::of(&[marks.as_flattened(), times.as_flattened()].concat());
            items.add(path, Item { state: MARKS, since: Some(changed(&metadata)), ..Item::of(digest) });
            true
        }
        Err(error) if !matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            items.unreadable(&file, path, &error);
            true
        }
        // Between two files while a package manager is at work: the base keeps the one that went.
        Err(_) => {
            items.unknown(path);
            true
        }
        Ok(_) => false,
    }
}

//! Packages: those of dpkg by name and version; of rpm only that its database has changed.
//!
//! dpkg's list is text and replaced as a whole, so its metadata tell whether it has to be read. Which packages rpm has is
//! inside a database of binary records that only rpm itself should read: `rpm -qa --last` names them.

use super::{Inventory, InventorySpec, Item, Items, Known, Looked};
use crate::files::watch::modified;
use crate::source::{Root, SourceError};
use std::fs::{File, Metadata};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use vedette_protocol::ids::Digest;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::ChangeKind;

pub(super) const SPEC: InventorySpec = InventorySpec {
    name: "packages",
    doc: "Packages installed, upgraded and removed by dpkg; of rpm, that its database changed.",
    interval_ms: 10_000,
    kind,
    open: |root| Box::new(Packages::new(root)),
};

/// Larger than any list of packages: some 3 kB each.
const LIST_BYTES_MAX: u64 = 128 << 20;
/// Longest line that is looked at; what dpkg says here is far shorter.
const LINE_BYTES_MAX: u64 = 4_096;

const RPM: &str = "rpm database";
/// In the order in which rpm came to them.
const RPM_FILES: [&str; 6] = [
    "/usr/lib/sysimage/rpm/rpmdb.sqlite",
    "/usr/lib/sysimage/rpm/Packages.db",
    "/var/lib/rpm/rpmdb.sqlite",
    "/var/lib/rpm/Packages.db",
    "/var/lib/rpm/Packages",
    "/usr/share/rpm/rpmdb.sqlite",
];

struct Packages {
    dpkg: PathBuf,
    rpm: Vec<PathBuf>,
    seen: Option<[Option<Look>; 2]>,
}

/// Metadata that differ when a list or database does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Look {
    inode: u64,
    bytes: u64,
    modified_ns: (i64, i64),
}

impl Packages {
    fn new(root: &Root) -> Self {
        let rpm = RPM_FILES.iter().map(|path| root.host(Path::new(path))).collect();
        Self { dpkg: root.host(Path::new("/var/lib/dpkg/status")), rpm, seen: None }
    }
}

impl Inventory for Packages {
    fn look(&mut self, _now: WallTime, items: &mut Items) -> Result<Looked, SourceError> {
        let dpkg = std::fs::metadata(&self.dpkg).ok();
        let rpm = self.rpm.iter().find_map(|path| std::fs::metadata(path).ok());
        if dpkg.is_none() && rpm.is_none() {
            return Err(SourceError::Absent(self.dpkg.clone()));
        }
        let seen = [dpkg.as_ref().map(Look::of), rpm.as_ref().map(Look::of)];
        if self.seen == Some(seen) {
            return Ok(Looked::Unchanged);
        }
        if let Some(metadata) = dpkg {
            let failed = |error| SourceError::from_io(&self.dpkg, error);
            let list = File::open(&self.dpkg).map_err(failed)?;
            read_list(BufReader::new(list.take(LIST_BYTES_MAX)), modified(&metadata), items).map_err(failed)?;
        }
        if let Some(metadata) = rpm {
            items.add(RPM, Item { since: Some(modified(&metadata)), ..Item::of(Look::of(&metadata).digest()) });
        }
        self.seen = Some(seen);
        Ok(Looked::Whole)
    }
}

impl Look {
    fn of(metadata: &Metadata) -> Self {
        let modified_ns = (metadata.mtime(), metadata.mtime_nsec());
        Self { inode: metadata.ino(), bytes: metadata.len(), modified_ns }
    }

    fn digest(&self) -> Digest {
        Digest::of(format!("{self:?}").as_bytes())
    }
}

/// A paragraph of dpkg's list.
#[derive(Default)]
struct Paragraph {
    name: String,
    status: String,
    version: String,
    architecture: String,
    is_per_architecture: bool,
}

/// Paragraphs of `Name: value`, with empty lines between them; lines that go on begin with a blank.
fn read_list(mut list: impl BufRead, since: WallTime, items: &mut Items) -> std::io::Result<()> {
    let (mut line, mut paragraph) = (Vec::new(), Paragraph::default());
    loop {
        line.clear();
        let length = list.by_ref().take(LINE_BYTES_MAX).read_until(b'\n', &mut line)?;
        if length as u64 == LINE_BYTES_MAX && line.last() != Some(&b'\n') {
            list.skip_until(b'\n')?;
        }
        if length == 0 || line == b"\n" {
            std::mem::take(&mut paragraph).tell(since, items);
        }
        if length == 0 {
            return Ok(());
        }
        let Some((name, value)) = std::str::from_utf8(&line).ok().and_then(|line| line.split_once(':')) else {
            continue;
        };
        let value = value.trim();
        match name {
            "Package" => value.clone_into(&mut paragraph.name),
            "Status" => value.clone_into(&mut paragraph.status),
            "Version" => value.clone_into(&mut paragraph.version),
            "Architecture" => value.clone_into(&mut paragraph.architecture),
            "Multi-Arch" => paragraph.is_per_architecture = value == "same",
            _ => {}
        }
    }
}

impl Paragraph {
    /// The name is that of `dpkg -l`. What dpkg is in the midst of is told once it is done.
    fn tell(self, since: WallTime, items: &mut Items) {
        if self.name.is_empty() {
            return;
        }
        let name = if self.is_per_architecture { format!("{}:{}", self.name, self.architecture) } else { self.name };
        match self.status.rsplit(' ').next() {
            Some("installed") => {
                let digest = Digest::of(self.version.as_bytes());
                let item = Item { is_content: true, since: Some(since), label: self.version, ..Item::of(digest) };
                items.add(&name, item);
            }
            Some("config-files" | "not-installed") => {}
            _ => items.unknown(&name),
        }
    }
}

fn kind(before: Option<&Known>, after: Option<&Known>) -> Option<ChangeKind> {
    Some(match (before, after) {
        (None, _) => ChangeKind::PackageInstalled,
        (_, None) => ChangeKind::PackageRemoved,
        _ => ChangeKind::PackageUpgraded,
    })
}

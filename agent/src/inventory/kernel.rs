//! Which kernel runs, and which boot this is.

use super::{Inventory, InventorySpec, Item, Items, Known, Looked};
use crate::host;
use crate::source::{Root, SourceError};
use std::path::PathBuf;
use vedette_protocol::ids::Digest;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::ChangeKind;

pub(super) const SPEC: InventorySpec = InventorySpec {
    name: "kernel",
    doc: "Boots of the host, and whether another kernel runs than before.",
    // Neither can change while the agent runs, but for what a container is moved to.
    interval_ms: 600_000,
    kind,
    open: |root| Box::new(Kernel { root: root.clone(), release: root.proc("sys/kernel/osrelease") }),
};

const BOOT: &str = "kernel";
const RELEASE: &str = "kernel release";
/// States: the release is told beside the boot only if it is another one.
const IS_BOOT: u8 = 0;
const IS_RELEASE: u8 = 1;

struct Kernel {
    root: Root,
    release: PathBuf,
}

impl Inventory for Kernel {
    fn look(&mut self, _now: WallTime, items: &mut Items) -> Result<Looked, SourceError> {
        let release =
            std::fs::read_to_string(&self.release).map_err(|error| SourceError::from_io(&self.release, error))?;
        let release = release.trim();
        let boot =
            Item { state: IS_BOOT, label: release.to_owned(), ..Item::of(Digest::of(&host::boot(&self.root).0)) };
        items.add(BOOT, boot);
        let release = Item {
            state: IS_RELEASE,
            is_content: true,
            label: release.to_owned(),
            ..Item::of(Digest::of(release.as_bytes()))
        };
        items.add(RELEASE, release);
        Ok(Looked::Whole)
    }
}

fn kind(before: Option<&Known>, after: Option<&Known>) -> Option<ChangeKind> {
    before?;
    Some(if after?.state == IS_BOOT { ChangeKind::Booted } else { ChangeKind::KernelChanged })
}

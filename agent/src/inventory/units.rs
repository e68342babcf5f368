//! Services that systemd runs, by the links that it keeps in `/run/systemd/units`: one a running unit, to the id of this
//! run. Everybody may read them, and it takes no bus.
//!
//! A service counts as running once two looks found the same run: what a timer starts for a moment is nobody's change.
//! The links do not tell a service that failed from one that was stopped; both have stopped.

use super::{Inventory, InventorySpec, Item, Items, Known, Looked};
use crate::files::watch::changed;
use crate::source::SourceError;
use std::collections::BTreeMap;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use vedette_protocol::ids::Digest;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::ChangeKind;

pub(super) const SPEC: InventorySpec = InventorySpec {
    name: "units",
    doc: "Services of systemd that were started, restarted or have stopped, for whatever reason.",
    interval_ms: 10_000,
    kind,
    open: |root| Box::new(Units { folder: root.host(Path::new("/run/systemd/units")), before: None }),
};

const PREFIX: &str = "invocation:";
/// Most units that are looked at.
const UNITS_MAX: usize = 4_096;

struct Units {
    folder: PathBuf,
    /// Runs that the look before found, by service.
    before: Option<BTreeMap<String, u64>>,
}

impl Inventory for Units {
    fn look(&mut self, _now: WallTime, items: &mut Items) -> Result<Looked, SourceError> {
        let entries = std::fs::read_dir(&self.folder).map_err(|error| SourceError::from_io(&self.folder, error))?;
        let mut runs = BTreeMap::new();
        for (index, entry) in entries.flatten().enumerate() {
            let name = entry.file_name();
            let Some(unit) = name.to_str().and_then(|name| name.strip_prefix(PREFIX)) else { continue };
            // `user@1000.service` lives as long as somebody is logged in.
            if !unit.ends_with(".service") || unit.starts_with("user@") || unit.starts_with("user-runtime-dir@") {
                continue;
            }
            if index >= UNITS_MAX {
                items.leave_out(1);
                items.unknown(unit);
                continue;
            }
            // It may go at any time: then it is not there.
            let Ok(run) = std::fs::read_link(entry.path()) else { continue };
            let digest = Digest::of(run.as_os_str().as_bytes());
            let instance = u64::from_le_bytes(std::array::from_fn(|index| digest.0[index]));
            runs.insert(unit.to_owned(), instance);
            if self.before.as_ref().is_some_and(|before| before.get(unit) == Some(&instance)) {
                let since = std::fs::symlink_metadata(entry.path()).ok().map(|link| changed(&link));
                items.add(unit, Item { instance, since, ..Item::of(Digest([0; 32])) });
            } else {
                items.unknown(unit);
            }
        }
        // The first look knows of no service whether it stays.
        Ok(if self.before.replace(runs).is_some() { Looked::Whole } else { Looked::Unchanged })
    }
}

fn kind(_before: Option<&Known>, after: Option<&Known>) -> Option<ChangeKind> {
    Some(if after.is_some() { ChangeKind::UnitStarted } else { ChangeKind::UnitStopped })
}

//! What cron runs: the system's tables and scripts, and the tables of people where the agent may read them.

use super::files::{self, FileSet};
use super::{Inventory, InventorySpec, Items, Looked};
use crate::source::SourceError;
use std::path::Path;
use vedette_protocol::time::WallTime;

pub(super) const SPEC: InventorySpec = InventorySpec {
    name: "cron",
    doc: "Tables and scripts of cron that were added, edited or removed (digests, never content).",
    interval_ms: 30_000,
    kind: files::kind,
    open: |root| Box::new(Cron { files: FileSet::new(root, &["/etc/crontab", "/etc/anacrontab"], FOLDERS) }),
};

const FOLDERS: &[&str] = &[
    "/etc/cron.d",
    "/etc/cron.hourly",
    "/etc/cron.daily",
    "/etc/cron.weekly",
    "/etc/cron.monthly",
    "/var/spool/cron",
    "/var/spool/cron/crontabs",
];

struct Cron {
    files: FileSet,
}

impl Inventory for Cron {
    fn look(&mut self, now: WallTime, items: &mut Items) -> Result<Looked, SourceError> {
        match self.files.look(now, items) {
            0 => Err(SourceError::Absent(Path::new(FOLDERS[0]).to_owned())),
            _ => Ok(Looked::Whole),
        }
    }
}

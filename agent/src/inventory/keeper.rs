//! Compares looks of one inventory, and keeps what it compares with over restarts.

use super::base::{BYTES_MAX, Base, Known};
use super::{Inventory, InventorySpec, Items, Looked};
use crate::durable;
use crate::host;
use crate::source::{Root, SourceError};
use serde::{Deserialize, Serialize};
use std::io;
use std::path::{Path, PathBuf};
use vedette_protocol::ids::{BootId, ChangeId, Digest, HostId};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::{Change, ChangeKind};

/// Most changes that one look tells: an upgrade of a whole distribution has some hundreds.
pub(super) const CHANGES_MAX: usize = 256;
/// A thing's own time of change may lie so far before the last look: kernels keep times in steps.
const STEP_NS: i64 = 2_000_000_000;

/// What an inventory did since start; as it is told in `status`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Looks, those included that found at once that nothing can have changed.
    pub looks: u64,
    /// Looks that failed.
    pub errors: u64,
    /// Things known.
    pub items: u64,
    /// Changes told.
    pub changes: u64,
    /// Changes beyond what one look tells.
    pub folded: u64,
    /// Things of the last look that could not be read.
    pub unreadable: u64,
    /// Things of the last look beyond the limits.
    pub left_out: u64,
    /// Time of the last look.
    pub ns_last: u64,
    /// Time of all looks.
    pub ns_total: u64,
    /// Why the last look failed, or what it could not see.
    pub last_error: Option<String>,
}

/// Where bases are kept: one file an inventory.
#[derive(Clone, Debug)]
pub struct Store {
    folder: PathBuf,
}

/// One inventory with what it compares with.
pub struct Keeper {
    spec: &'static InventorySpec,
    inventory: Box<dyn Inventory>,
    boot: BootId,
    base: Option<Base>,
    looked_at: Option<WallTime>,
    record: Record,
}

impl Store {
    /// Below the agent's data folder.
    ///
    /// # Errors
    ///
    /// If the folder cannot be made.
    pub fn open(data_dir: &Path) -> io::Result<Self> {
        let folder = data_dir.join("inventories");
        durable::make_private_folder(&folder)?;
        Ok(Self { folder })
    }

    /// Makes the present base that of the next start.
    ///
    /// # Errors
    ///
    /// Of the file system: the next start compares with an older base and tells again what was told since.
    pub fn store(&self, keeper: &Keeper) -> io::Result<()> {
        let Some(base) = &keeper.base else { return Ok(()) };
        durable::replace(&self.path(keeper.spec), &base.encode())
    }

    /// What is damaged is as none, and said: a change that is not told costs less than not starting.
    fn load(&self, spec: &InventorySpec) -> Option<Base> {
        let path = self.path(spec);
        match durable::read_capped(&path, BYTES_MAX).map(|bytes| Base::decode(&bytes)) {
            Ok(Some(base)) => return Some(base),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {}
            Ok(None) => tracing::warn!(path = %path.display(), "damaged: the first look is the base"),
            Err(error) => tracing::warn!(path = %path.display(), %error, "the first look is the base"),
        }
        None
    }

    fn path(&self, spec: &InventorySpec) -> PathBuf {
        self.folder.join(format!("{}.base", spec.name))
    }
}

impl Keeper {
    /// Opens an inventory of the host under `root`, which goes on from what `store` has of it.
    pub fn open(spec: &'static InventorySpec, root: &Root, store: &Store) -> Self {
        let base = store.load(spec);
        let boot = host::boot(root);
        Self { spec, inventory: (spec.open)(root), boot, base, looked_at: None, record: Record::default() }
    }

    /// Its name.
    pub fn name(&self) -> &'static str {
        self.spec.name
    }

    /// What it did since start.
    pub fn record(&self) -> &Record {
        &self.record
    }

    /// Looks once and tells what has changed. `host` is part of the changes' ids, so that the same upgrade of two hosts is
    /// two changes. Returns whether the base is another now.
    pub fn look(&mut self, now: WallTime, host: HostId, sink: &mut dyn FnMut(Change)) -> bool {
        let mut items = Items::default();
        let looked = self.inventory.look(now, &mut items);
        self.record.looks += 1;
        let is_other = match looked {
            Ok(Looked::Unchanged) => {
                self.record.last_error = self.record.last_error.take().filter(|_| self.record.unreadable > 0);
                false
            }
            Ok(Looked::Whole) => {
                self.record.unreadable = items.unreadable;
                self.record.left_out = items.left_out;
                let partial = items.denied.as_ref().map(|path| SourceError::Denied(path.clone()));
                self.note(partial.as_ref());
                self.compare(&items, now, host, sink)
            }
            Err(error) => {
                self.record.errors += 1;
                self.note(Some(&error));
                return false;
            }
        };
        self.looked_at = Some(now);
        self.record.items = self.base.as_ref().map_or(0, |base| base.items.len() as u64);
        is_other
    }

    /// How long the look took.
    pub fn note_time(&mut self, ns: u64) {
        self.record.ns_last = ns;
        self.record.ns_total = self.record.ns_total.saturating_add(ns);
    }

    fn note(&mut self, error: Option<&SourceError>) {
        let text = error.map(ToString::to_string);
        if let (Some(text), Some(error)) = (&text, error)
            && self.record.last_error.as_ref() != Some(text)
        {
            // Absent and denied are how a host is: quiet, once.
            match error {
                SourceError::Absent(_) | SourceError::Denied(_) => {
                    tracing::info!(inventory.name = self.spec.name, reason = text, "not seen");
                }
                _ => tracing::warn!(inventory.name = self.spec.name, reason = text, "look failed"),
            }
        }
        self.record.last_error = text;
    }

    fn compare(&mut self, items: &Items, now: WallTime, host: HostId, sink: &mut dyn FnMut(Change)) -> bool {
        let mut after: std::collections::BTreeMap<String, Known> =
            items.found.iter().map(|(name, item)| (name.clone(), item.into())).collect();
        let Some(base) = &self.base else {
            self.base = Some(Base { boot: Some(self.boot), generation: 0, items: after });
            return true;
        };
        for (name, known) in &base.items {
            if !after.contains_key(name) && items.is_unknown(name) {
                after.insert(name.clone(), *known);
            }
        }
        let has_booted = base.boot != Some(self.boot);
        if after == base.items && !has_booted {
            return false;
        }
        let names: std::collections::BTreeSet<_> = base.items.keys().chain(after.keys()).collect();
        let mut told = 0;
        for name in names {
            let (was, is) = (base.items.get(name), after.get(name));
            let kind = Some((was, is)).filter(|(was, is)| was != is).and_then(|_| (self.spec.kind)(was, is));
            let Some(kind) = kind.filter(|kind| !(has_booted && comes_with_boot(*kind))) else { continue };
            told += 1;
            if told > CHANGES_MAX {
                self.record.folded += 1;
                continue;
            }
            let item = items.found.get(name);
            let label = item.map(|item| item.label.as_str()).filter(|label| !label.is_empty());
            self.record.changes += 1;
            sink(Change {
                id: change_id(host, self.spec.name, base.generation, name, was, is),
                kind,
                target: label.map_or_else(|| name.clone(), |label| format!("{name} {label}")),
                service: String::new(),
                at: when(item.and_then(|item| item.since), self.looked_at, now),
                before: was.and_then(Known::content),
                after: is.and_then(Known::content),
            });
        }
        let generation = base.generation + u64::from(told > 0);
        self.base = Some(Base { boot: Some(self.boot), generation, items: after });
        true
    }
}

/// What the kernel's inventory tells in one word.
const fn comes_with_boot(kind: ChangeKind) -> bool {
    matches!(
        kind,
        ChangeKind::UnitStarted | ChangeKind::UnitStopped | ChangeKind::ContainerStarted | ChangeKind::ContainerStopped
    )
}

/// A thing's own time is believed if it lies between the two looks: what came before has been told, or came with another
/// time, as a file from an archive does.
fn when(since: Option<WallTime>, looked_at: Option<WallTime>, now: WallTime) -> WallTime {
    let earliest_ns = looked_at.map_or(i64::MIN, |at| at.unix_ns.saturating_sub(STEP_NS));
    since.filter(|since| (earliest_ns..=now.unix_ns).contains(&since.unix_ns)).unwrap_or(now)
}

/// Made of what makes the change, so that telling it again after a crash is telling the same.
fn change_id(
    host: HostId,
    inventory: &str,
    generation: u64,
    name: &str,
    before: Option<&Known>,
    after: Option<&Known>,
) -> ChangeId {
    let mut bytes = host.0.to_vec();
    for text in [inventory, name] {
        bytes.extend((text.len() as u64).to_le_bytes());
        bytes.extend(text.as_bytes());
    }
    bytes.extend(generation.to_le_bytes());
    for known in [before, after] {
        match known {
            None => bytes.push(0),
            Some(known) => {
                bytes.extend([1, known.state]);
                bytes.extend(known.instance.to_le_bytes());
                bytes.extend(known.digest.0);
            }
        }
    }
    let digest = Digest::of(&bytes).0;
    ChangeId(std::array::from_fn(|index| digest[index]))
}

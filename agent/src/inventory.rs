//! Inventories: what the host is made of besides its load, one file each. What differs between two looks is a change.
//!
//! An inventory is a `const SPEC` (name, default interval, which differences count, a line of documentation) and a
//! `look` under a movable [`Root`]. It tells digests and names, never content. A [`Keeper`] compares: the first look is
//! the base and tells nothing; the base survives restarts, so that what was changed meanwhile is told as well.

mod base;
mod binaries;
mod containers;
mod cron;
mod files;
mod items;
mod keeper;
mod kernel;
mod packages;
mod sysctl;
mod units;

#[cfg(test)]
mod tests;

pub use base::Known;
pub(crate) use items::{ITEMS_MAX, TEXT_BYTES_MAX};
pub use items::{Item, Items};
pub use keeper::{Keeper, Record, Store};

use crate::source::{Root, SourceError};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::ChangeKind;

/// Every inventory.
pub static ALL: &[&InventorySpec] =
    &[&kernel::SPEC, &packages::SPEC, &units::SPEC, &binaries::SPEC, &containers::SPEC, &cron::SPEC, &sysctl::SPEC];

/// What is known of an inventory before it is opened.
#[derive(Debug)]
pub struct InventorySpec {
    /// Name in configuration and status.
    pub name: &'static str,
    /// One line for people.
    pub doc: &'static str,
    /// Default interval: whole seconds.
    pub interval_ms: u32,
    /// What to call a difference between two looks; `None` if it is no change worth telling.
    pub kind: fn(before: Option<&Known>, after: Option<&Known>) -> Option<ChangeKind>,
    /// Opens it; touches no file yet, so it cannot fail.
    pub open: fn(&Root) -> Box<dyn Inventory>,
}

/// An open inventory.
pub trait Inventory: Send {
    /// Looks at everything once. `now` is the host's wall clock.
    ///
    /// # Errors
    ///
    /// If nothing can be said of the whole: what was known stays. Single things that cannot be read are told to `items`.
    fn look(&mut self, now: WallTime, items: &mut Items) -> Result<Looked, SourceError>;
}

/// How far a look went.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Looked {
    /// Nothing can have changed; `items` are empty.
    Unchanged,
    /// `items` are all there are.
    Whole,
}

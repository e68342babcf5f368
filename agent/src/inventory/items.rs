//! What one look found.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use vedette_protocol::ids::Digest;
use vedette_protocol::time::WallTime;

/// Most things of one inventory; a large server has some 4,000 packages.
pub(crate) const ITEMS_MAX: usize = 8_192;
/// Bytes of their names and labels.
pub(crate) const TEXT_BYTES_MAX: usize = 1 << 20;
/// Longest name of a thing: longer than a path in practice, and what a state file can hold of each.
pub(super) const KEY_BYTES_MAX: usize = 1_024;

/// One thing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Item {
    /// Tells conditions of a thing apart; what each number means is the inventory's own.
    pub state: u8,
    /// Tells two lives of one thing apart; 0 where it has only one.
    pub instance: u64,
    /// Of its content, its version or its metadata.
    pub digest: Digest,
    /// The digest is of content, so that equal ones mean the same on every host.
    pub is_content: bool,
    /// When it last changed, if that can be known.
    pub since: Option<WallTime>,
    /// Stands behind the name in a change: a version, an image. Never a secret.
    pub label: String,
}

impl Item {
    /// A thing that only its digest tells apart.
    pub(super) fn of(digest: Digest) -> Self {
        Self { state: 0, instance: 0, digest, is_content: false, since: None, label: String::new() }
    }
}

/// What one look found, and what it could not see.
#[derive(Debug, Default)]
pub struct Items {
    pub(super) found: BTreeMap<String, Item>,
    text_bytes: usize,
    /// Things of which nothing is known now: they stay what they were.
    pub(super) unknown: BTreeSet<String>,
    /// The same for all whose names begin so.
    pub(super) unknown_below: Vec<String>,
    pub(super) unreadable: u64,
    pub(super) left_out: u64,
    /// The first that was denied, for people.
    pub(super) denied: Option<PathBuf>,
}

impl Items {
    /// A thing is there.
    pub fn add(&mut self, name: &str, item: Item) {
        let text_bytes = self.text_bytes + name.len() + item.label.len();
        let fits = name.len() <= KEY_BYTES_MAX && !name.chars().any(char::is_control) && text_bytes <= TEXT_BYTES_MAX;
        if fits && (self.found.len() < ITEMS_MAX || self.found.contains_key(name)) {
            self.text_bytes = text_bytes;
            self.found.insert(name.to_owned(), item);
        } else {
            self.left_out += 1;
        }
    }

    /// A thing may be there and is in between two conditions.
    pub fn unknown(&mut self, name: &str) {
        self.unknown.insert(name.to_owned());
    }

    /// More things than are looked at.
    pub fn leave_out(&mut self, count: u64) {
        self.left_out += count;
    }

    /// `path` could not be read: nothing can be said of what is called `prefix…`.
    pub fn unreadable(&mut self, path: &Path, prefix: &str, error: &std::io::Error) {
        self.unreadable += 1;
        if error.kind() == std::io::ErrorKind::PermissionDenied {
            self.denied.get_or_insert_with(|| path.to_owned());
        }
        self.unknown_below.push(prefix.to_owned());
    }

    pub(super) fn is_unknown(&self, name: &str) -> bool {
        self.unknown.contains(name) || self.unknown_below.iter().any(|prefix| name.starts_with(prefix))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn item(label: usize) -> Item {
        Item { label: "l".repeat(label), ..Item::of(Digest([0; 32])) }
    }

    #[test]
    fn what_is_beyond_a_limit_is_left_out_and_counted() {
        let mut items = Items::default();
        items.add(&"n".repeat(KEY_BYTES_MAX + 1), item(0));
        items.add("a\nb", item(0));
        assert_eq!((items.found.len(), items.left_out), (0, 2), "a name that no state file can hold");
        (0..ITEMS_MAX + 3).for_each(|n| items.add(&format!("{n:05}"), item(0)));
        assert_eq!((items.found.len(), items.left_out), (ITEMS_MAX, 5), "more things than are kept");
        items.add("00001", item(1));
        assert_eq!(items.left_out, 5, "one that is there already takes no room");

        let mut items = Items::default();
        (0..20).for_each(|n| items.add(&n.to_string(), item(TEXT_BYTES_MAX / 10)));
        assert_eq!((items.found.len(), items.left_out), (9, 11), "more text than is kept");
    }
}

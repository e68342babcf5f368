//! Files in known places, by digest: an inventory of them reads only what its metadata say may have changed.

use super::{Item, Items, Known};
use crate::files::watch::{Found, Look, look};
use crate::source::Root;
use std::collections::BTreeMap;
use std::io;
use std::path::{Path, PathBuf};
use vedette_protocol::ids::Digest;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::ChangeKind;

/// Most files of one set.
pub(super) const FILES_MAX: usize = 1_024;
/// Most names of one folder that are read: the first of them are looked at, and those that are left out stay the same.
const NAMES_MAX: usize = 16_384;

/// Single files and all files directly in folders.
pub(super) struct FileSet {
    root: Root,
    files: &'static [&'static str],
    folders: &'static [&'static str],
    seen: BTreeMap<String, (Look, Digest)>,
}

impl FileSet {
    pub(super) fn new(root: &Root, files: &'static [&'static str], folders: &'static [&'static str]) -> Self {
        Self { root: root.clone(), files, folders, seen: BTreeMap::new() }
    }

    /// Adds every file under its path. Returns how many of the places are there.
    pub(super) fn look(&mut self, now: WallTime, items: &mut Items) -> usize {
        let mut places = 0;
        let before = std::mem::take(&mut self.seen);
        for file in self.files {
            places += usize::from(self.look_at(file, &before, now, items));
        }
        for folder in self.folders {
            let path = self.root.host(Path::new(folder));
            match names(&path) {
                Ok((names, is_whole)) => {
                    places += 1;
                    if !is_whole {
                        items.leave_out(1);
                        items.unknown_below.push(format!("{folder}/"));
                    }
                    for name in names.iter().filter(|name| is_read(name)) {
                        self.look_at(&format!("{folder}/{name}"), &before, now, items);
                    }
                }
                Err(error) if is_missing(&error) => {}
                Err(error) => {
                    places += 1;
                    items.unreadable(&path, &format!("{folder}/"), &error);
                }
            }
        }
        places
    }

    /// Whether the file is there, readable or not.
    fn look_at(
        &mut self,
        name: &str,
        before: &BTreeMap<String, (Look, Digest)>,
        now: WallTime,
        items: &mut Items,
    ) -> bool {
        if self.seen.len() == FILES_MAX {
            items.leave_out(1);
            items.unknown(name);
            return true;
        }
        let path = self.root.host(Path::new(name));
        let known = before.get(name);
        let (look, digest) = match look(&path, known.map(|(look, _)| *look), now) {
            Found::Content(digest, look) => (look, digest),
            Found::Unchanged => *known.expect("it was compared with that"),
            Found::Missing => return false,
            Found::Unfit => {
                items.leave_out(1);
                return true;
            }
            Found::Unknown(error) => {
                items.unreadable(&path, name, &error);
                return true;
            }
        };
        self.seen.insert(name.to_owned(), (look, digest));
        items.add(name, Item { is_content: true, since: Some(look.changed()), ..Item::of(digest) });
        true
    }
}

/// What a difference of such a file is.
pub(super) fn kind(before: Option<&Known>, after: Option<&Known>) -> Option<ChangeKind> {
    Some(match (before, after) {
        (None, _) => ChangeKind::FileCreated,
        (_, None) => ChangeKind::FileRemoved,
        _ => ChangeKind::FileEdited,
    })
}

/// Names of what is no folder, in order, and whether they are all.
fn names(folder: &PathBuf) -> io::Result<(Vec<String>, bool)> {
    let mut entries = std::fs::read_dir(folder)?;
    let mut names: Vec<_> = entries
        .by_ref()
        .take(NAMES_MAX)
        .flatten()
        .filter(|entry| entry.file_type().is_ok_and(|sort| !sort.is_dir()))
        .filter_map(|entry| entry.file_name().into_string().ok())
        .collect();
    names.sort_unstable();
    Ok((names, entries.next().is_none()))
}

/// Neither hidden files nor what editors and package managers leave beside them: nobody reads those.
fn is_read(name: &str) -> bool {
    let aside = ["~", ".swp", ".tmp", ".dpkg-new", ".dpkg-old", ".dpkg-dist", ".rpmnew", ".rpmsave"];
    !name.starts_with('.') && !name.starts_with("tmp.") && !aside.iter().any(|suffix| name.ends_with(suffix))
}

fn is_missing(error: &io::Error) -> bool {
    matches!(error.kind(), io::ErrorKind::NotFound | io::ErrorKind::NotADirectory)
}

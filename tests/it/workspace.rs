//! The checkout as the tests see it: where it is, its manifests, its source files.

use std::fs;
use std::path::{Path, PathBuf};
use toml_edit::{DocumentMut, Item};

/// One crate of the workspace.
pub(crate) struct Member {
    /// Folder relative to the root, such as `plugins/level`.
    pub(crate) folder: String,
    /// Parsed `Cargo.toml`.
    pub(crate) manifest: DocumentMut,
}

/// Absolute path of the checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("tests/ lies in the workspace").to_path_buf()
}

/// Text of a file of the checkout.
pub(crate) fn read(path: impl AsRef<Path>) -> String {
    let path = root().join(path);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("reading {}: {error}", path.display()))
}

/// A TOML file of the checkout.
pub(crate) fn read_toml(path: impl AsRef<Path>) -> DocumentMut {
    read(&path).parse().unwrap_or_else(|error| panic!("{}: {error}", path.as_ref().display()))
}

/// Every crate that the root manifest names.
pub(crate) fn members() -> Vec<Member> {
    let manifest = read_toml("Cargo.toml");
    let folders = manifest["workspace"]["members"].as_array().expect("the workspace lists its members");
    let folders = folders.iter().map(|folder| folder.as_str().expect("a member is a folder").to_owned());
    folders.map(|folder| Member { manifest: read_toml(format!("{folder}/Cargo.toml")), folder }).collect()
}

impl Member {
    /// Package name.
    pub(crate) fn name(&self) -> &str {
        self.manifest["package"]["name"].as_str().expect("a package has a name")
    }

    /// Names of the packages in every table of this kind (`dependencies`, `dev-dependencies`, `build-dependencies`),
    /// those of `[target.….…]` included. Renamed dependencies give their package's name.
    pub(crate) fn dependencies(&self, kind: &str) -> Vec<String> {
        let targets = self.manifest.get("target").and_then(Item::as_table_like);
        let of_targets = targets.into_iter().flat_map(|table| table.iter()).filter_map(|(_, target)| target.get(kind));
        let tables = self.manifest.get(kind).into_iter().chain(of_targets).filter_map(Item::as_table_like);
        tables
            .flat_map(|table| table.iter())
            .map(|(key, item)| item.get("package").and_then(Item::as_str).unwrap_or(key).to_owned())
            .collect()
    }
}

/// Every file below `folder` whose name ends with one of `endings`, as paths relative to the root, sorted.
/// Build output, packages of Node and hidden folders are left out.
pub(crate) fn files(folder: &str, endings: &[&str]) -> Vec<String> {
    let mut found = Vec::new();
    walk(&root().join(folder), &mut |path| {
        let path = path.strip_prefix(root()).expect("walked from the root").to_string_lossy().into_owned();
        if endings.iter().any(|ending| path.ends_with(ending)) {
            found.push(path);
        }
    });
    found.sort();
    found
}

fn walk(folder: &Path, visit: &mut dyn FnMut(&Path)) {
    let Ok(entries) = fs::read_dir(folder) else { return };
    for entry in entries {
        let entry = entry.expect("a folder of the checkout can be listed");
        let name = entry.file_name();
        let left_out = ["target", "node_modules"].iter().any(|skipped| name == *skipped);
        if left_out || name.to_string_lossy().starts_with('.') {
            continue;
        }
        match entry.file_type().expect("a listed entry has a type") {
            kind if kind.is_dir() => walk(&entry.path(), visit),
            kind if kind.is_file() => visit(&entry.path()),
            _ => {}
        }
    }
}

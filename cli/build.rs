//! Lists the files that `vedette detector new` writes, so that they are in the binary and the tool needs nothing else:
//! the templates, and the SDK with the contract.

use std::fmt::Write as _;
use std::path::{Path, PathBuf};

/// Name of the list, folder in the checkout, prefix of each path in it.
const EMBEDDED: &[(&str, &str, &str)] = &[
    ("TEMPLATE_RUST", "plugins/templates/rust", ""),
    ("TEMPLATE_C", "plugins/templates/c", ""),
    ("SDK_SOURCES", "plugins/sdk/src", "src/"),
    ("CONTRACT_FILES", "wit/detector/0.1.0", "wit/"),
];

fn main() -> std::io::Result<()> {
    let checkout = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the crate lies in the checkout").to_owned();
    let mut source = String::new();
    for (list, folder, prefix) in EMBEDDED {
        let root = checkout.join(folder);
        println!("cargo::rerun-if-changed={}", root.display());
        let mut files = Vec::new();
        walk(&root, &mut files)?;
        files.sort();
        let _ = writeln!(source, "pub(super) const {list}: &[(&str, &str)] = &[");
        for file in files {
            let within = file.strip_prefix(&root).expect("walked from there").display();
            let _ = writeln!(source, "    (\"{prefix}{within}\", include_str!({:?})),", file.display().to_string());
        }
        source.push_str("];\n");
    }
    let out = std::env::var_os("OUT_DIR").expect("cargo tells build scripts where to write");
    std::fs::write(Path::new(&out).join("embedded.rs"), source)
}

fn walk(folder: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    for entry in std::fs::read_dir(folder)? {
        let path = entry?.path();
        if path.is_dir() {
            walk(&path, files)?;
        } else {
            files.push(path);
        }
    }
    Ok(())
}

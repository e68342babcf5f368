//! Who may depend on whom.

use super::none;
use crate::workspace::{Member, members};

/// A folder, the folders that it may use, and those that only its tests may use on top.
///
/// `sim` is there for the tests of everybody above it; it depends on `edge` and `protocol`, whose own *integration*
/// tests may use it in turn.
const EDGES: &[(&str, &[&str], &[&str])] = &[
    ("protocol", &[], &["sim"]),
    ("edge", &["protocol"], &["sim"]),
    ("link", &["protocol"], &["sim"]),
    ("detector-host", &["protocol"], &["sim"]),
    // Its tests speak to a worker in protocol's words.
    ("detector-compiler", &["detector-host"], &["protocol"]),
    ("plugins/sdk", &[], &[]),
    ("plugins/*", &["plugins/sdk"], &["sim"]),
    // Its calibration run drives the bundled detectors natively.
    (
        "sim",
        &["edge", "protocol"],
        &[
            "plugins/sdk",
            "plugins/level",
            "plugins/exhaustion",
            "plugins/flatline",
            "plugins/log-novelty",
            "plugins/novelty",
            "plugins/rarity",
            "plugins/seasonal",
        ],
    ),
    ("agent", &["edge", "link", "protocol", "detector-host"], &["sim"]),
    ("collector", &["edge", "link", "protocol", "detector-host", "sim"], &[]),
    ("cli", &["edge", "link", "protocol", "detector-host", "sim"], &[]),
    ("xtask", &[], &[]),
];

/// May use anything; nothing may use it.
const TOP: &str = "tests";

fn rule(folder: &str) -> Option<&'static (&'static str, &'static [&'static str], &'static [&'static str])> {
    let exact = EDGES.iter().find(|(name, _, _)| *name == folder);
    let group = |name: &str| name.strip_suffix("/*").is_some_and(|group| folder.starts_with(&format!("{group}/")));
    exact.or_else(|| EDGES.iter().find(|(name, _, _)| group(name)))
}

/// Folders of the workspace that `member` uses through tables of one of these kinds.
fn used<'a>(member: &Member, all: &'a [Member], kinds: &[&str]) -> Vec<&'a str> {
    let packages: Vec<String> = kinds.iter().flat_map(|kind| member.dependencies(kind)).collect();
    all.iter().filter(|other| packages.iter().any(|name| name == other.name())).map(|other| &*other.folder).collect()
}

#[test]
fn crates_use_only_whom_they_may() {
    let all = members();
    let mut violations = Vec::new();
    for member in all.iter().filter(|member| member.folder != TOP) {
        let Some((_, normal, in_tests)) = rule(&member.folder) else {
            violations.push(format!("{} has no rule: add it to EDGES", member.folder));
            continue;
        };
        for other in used(member, &all, &["dependencies", "build-dependencies"]) {
            if !normal.contains(&other) {
                violations.push(format!("{} must not depend on {other}", member.folder));
            }
        }
        for other in used(member, &all, &["dev-dependencies"]) {
            if !normal.contains(&other) && !in_tests.contains(&other) {
                violations.push(format!("the tests of {} must not depend on {other}", member.folder));
            }
        }
    }
    none(&violations);
}

#[test]
fn crates_are_named_after_their_folder_and_inherit_lints() {
    let mut violations = Vec::new();
    for member in members() {
        let folder = member.folder.rsplit('/').next().expect("a path has a last part");
        let wanted = if folder == "xtask" { folder.to_owned() } else { format!("vedette-{folder}") };
        if member.name() != wanted {
            violations.push(format!("{} is called {}, not {wanted}", member.folder, member.name()));
        }
        if ["common", "core", "utils", "util", "shared", "helpers"].contains(&folder) {
            violations.push(format!("{folder} says nothing: name a crate after what it does"));
        }
        let inherits = |table: &str, key: &str| {
            member.manifest.get(table).and_then(|table| table.get(key)?.as_bool()).unwrap_or_default()
        };
        if !inherits("lints", "workspace") {
            violations.push(format!("{}/Cargo.toml lacks [lints] workspace = true", member.folder));
        }
        for key in ["edition", "license", "publish", "rust-version", "version"] {
            let inherited = member.manifest["package"].get(key).and_then(|item| item.get("workspace")?.as_bool());
            if inherited != Some(true) {
                violations.push(format!("{}/Cargo.toml lacks {key}.workspace = true", member.folder));
            }
        }
    }
    none(&violations);
}

//! Rules for documents.

use super::none;
use crate::workspace::{files, members, read, root};
use std::collections::{BTreeMap, BTreeSet};

/// Longest architecture page.
const ARCHITECTURE_LINES_MAX: usize = 300;

/// Error codes (`VDT-` and a letter and three digits) in `text`.
fn codes(text: &str) -> BTreeSet<String> {
    let candidates = text.split("VDT-").skip(1).filter_map(|rest| rest.get(..4));
    let is_code = |code: &&str| {
        let bytes = code.as_bytes();
        bytes[0].is_ascii_uppercase() && bytes[1..].iter().all(u8::is_ascii_digit)
    };
    candidates.filter(is_code).map(|code| format!("VDT-{code}")).collect()
}

#[test]
fn every_error_code_has_a_page_and_every_page_its_code() {
    let mut used: BTreeMap<String, String> = BTreeMap::new();
    let sources = members().into_iter().filter(|member| member.folder != "tests");
    for path in sources.flat_map(|member| files(&member.folder, &[".rs"])) {
        for code in codes(&read(&path)) {
            used.entry(code).or_insert_with(|| path.clone());
        }
    }
    let pages = files("docs/errors", &[".md"]);
    let mut violations = Vec::new();
    for (code, path) in &used {
        let page = format!("docs/errors/{code}.md");
        if !pages.contains(&page) {
            violations.push(format!("{path} uses {code}, which lacks {page}"));
        }
    }
    for page in pages {
        let text = read(&page);
        let code = page.trim_start_matches("docs/errors/").trim_end_matches(".md");
        if !used.contains_key(code) {
            violations.push(format!("{page} explains a code that no source uses"));
        }
        if !text.starts_with(&format!("# {code}: ")) || !text.contains("\n## Remedy\n") {
            violations.push(format!("{page} needs the title `# {code}: …` and a section `## Remedy`"));
        }
    }
    none(&violations);
}

/// Folders in the first column of the code map: rows such as "| `edge/` | … |".
fn mapped_folders(architecture: &str) -> BTreeSet<String> {
    let rows = architecture.lines().filter_map(|line| line.strip_prefix("| `"));
    rows.filter_map(|row| row.split_once("/` |")).map(|(folder, _)| folder.to_owned()).collect()
}

#[test]
fn the_architecture_page_maps_the_folders_that_exist() {
    let architecture = read("ARCHITECTURE.md");
    let lines = architecture.lines().count();
    assert!(lines <= ARCHITECTURE_LINES_MAX, "ARCHITECTURE.md has {lines} lines: it is a map, not the country");

    let mapped = mapped_folders(&architecture);
    assert!(!mapped.is_empty(), "ARCHITECTURE.md has no code map");
    let mut violations: Vec<String> = mapped
        .iter()
        .filter(|folder| !root().join(folder).is_dir())
        .map(|folder| format!("ARCHITECTURE.md maps {folder}/, which does not exist"))
        .collect();
    for member in members() {
        let top = member.folder.split('/').next().expect("a path has a first part");
        if !mapped.contains(top) {
            violations.push(format!("ARCHITECTURE.md does not map {top}/"));
        }
    }
    none(&violations);
}

/// Files and folders of the checkout that `text` names: between backquotes, from a folder of its root on, no pattern.
fn named_paths<'a>(text: &'a str, folders: &BTreeSet<String>) -> Vec<&'a str> {
    let quoted = text.lines().flat_map(|line| line.split('`').skip(1).step_by(2));
    let path = |word: &'a str| {
        let (top, rest) = word.split_once('/')?;
        let is_path = folders.contains(top) && !rest.is_empty() && !rest.contains(['*', ' ', '<', '…']);
        is_path.then_some(word)
    };
    quoted.filter_map(path).collect()
}

#[test]
fn documents_name_files_that_exist() {
    let mut folders = mapped_folders(&read("ARCHITECTURE.md"));
    folders.insert("docs".to_owned());
    let pages = folders.iter().flat_map(|folder| files(folder, &[".md"]));
    let mut violations = Vec::new();
    for page in pages.chain(["README.md", "ARCHITECTURE.md"].map(str::to_owned)) {
        let text = read(&page);
        let gone = named_paths(&text, &folders).into_iter().filter(|path| !root().join(path).exists());
        violations.extend(gone.map(|path| format!("{page} names {path}, which does not exist")));
    }
    none(&violations);
}

#[test]
fn paths_are_found_in_text_and_nothing_else_is() {
    let text =
        "`edge/src/lib.rs`, not `edge/`, `edge/src/*`, edge/src or `/etc/edge/x`\n`docs/a.md` and `other/docs/a.md`";
    let folders = ["edge", "docs"].map(str::to_owned).into();
    assert_eq!(named_paths(text, &folders), ["edge/src/lib.rs", "docs/a.md"]);
}

#[test]
fn codes_are_found_in_text_and_nothing_else_is() {
    let text = "VDT-C001 and \"VDT-P042\", but not VDT-… nor VDT-c001 nor VDT-C01";
    assert_eq!(codes(text).into_iter().collect::<Vec<_>>(), ["VDT-C001", "VDT-P042"]);
}

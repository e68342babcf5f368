//! Rules for Rust source.

use super::none;
use super::rust_text::{code, without_tests};
use crate::workspace::{files, members, read};
use std::collections::BTreeSet;

/// Longest source file.
const LINES_MAX: usize = 600;

/// Cores: data and `now` in, actions out.
const CORES: &[&str] = &["protocol/src", "edge/src", "sim/src", "collector/src/engine", "collector/src/engine.rs"];

/// What a core does not name outside its tests.
const IMPURE: &[&str] = &[
    "tokio",
    "async fn",
    "std::fs",
    "std::net",
    "std::env",
    "std::process",
    "std::io::stdin",
    "Instant::now",
    "SystemTime::now",
    "std::time::Instant",
    "std::time::SystemTime",
    "thread::spawn",
    "thread::sleep",
];

/// Modules of `std` that a grouped import (`use std::{fs, …}`) must not bring into a core.
const IMPURE_MODULES: &[&str] = &["fs", "net", "env", "process"];

/// Rust files of every crate, generated ones and guests' included.
fn rust_files() -> Vec<String> {
    let mut all: Vec<String> = members().iter().flat_map(|member| files(&member.folder, &[".rs"])).collect();
    all.sort();
    all.dedup();
    all
}

fn is_test_file(path: &str) -> bool {
    path.ends_with("/tests.rs") || path.contains("/tests/")
}

/// Numbers of the lines of `code` that hold `needle`, as `path:line`.
fn places(path: &str, code: &str, needle: &str) -> Vec<String> {
    let lines = code.lines().enumerate().filter(|(_, line)| line.contains(needle));
    lines.map(|(index, _)| format!("{path}:{}", index + 1)).collect()
}

/// Modules that `use std::{…}` imports bring in.
fn grouped_imports(code: &str) -> BTreeSet<String> {
    let groups = code.split("use std::{").skip(1).filter_map(|rest| rest.split_once("};"));
    let words = groups.flat_map(|(group, _)| group.split(|c: char| !c.is_alphanumeric() && c != '_'));
    words.map(str::to_owned).collect()
}

#[test]
fn cores_know_no_clock_file_socket_thread_or_runtime() {
    let cores: Vec<String> = CORES
        .iter()
        .flat_map(|core| match core.strip_suffix(".rs") {
            Some(_) => files(core.rsplit_once('/').expect("a core has a folder").0, &[core]),
            None => files(core, &[".rs"]),
        })
        .collect();
    assert!(cores.len() > 20, "only {} core files were found: did a folder move?", cores.len());
    let mut violations = Vec::new();
    for path in cores.iter().filter(|path| !is_test_file(path)) {
        let product = without_tests(&code(&read(path)));
        for name in IMPURE {
            violations.extend(places(path, &product, name).iter().map(|place| format!("{place}: a core names {name}")));
        }
        let grouped = grouped_imports(&product);
        let impure = IMPURE_MODULES.iter().filter(|module| grouped.contains(**module));
        violations.extend(impure.map(|module| format!("{path}: a core imports std::{module}")));
    }
    none(&violations);
}

#[test]
fn source_files_stay_short() {
    let lengths = rust_files().into_iter().map(|path| (read(&path).lines().count(), path));
    let long = lengths.filter(|(lines, _)| *lines > LINES_MAX);
    none(&long.map(|(lines, path)| format!("{path} has {lines} lines: split it by idea")).collect::<Vec<_>>());
}

#[test]
fn nothing_is_left_unfinished_or_ignored() {
    let unfinished = ["todo!", "unimplemented!", "dbg!", "#[ignore"];
    let mut violations = Vec::new();
    for path in rust_files() {
        let code = code(&read(&path));
        for name in unfinished {
            violations.extend(places(&path, &code, name).iter().map(|place| format!("{place}: {name}")));
        }
    }
    none(&violations);
}

#[test]
fn files_begin_with_their_purpose() {
    let lacks = |path: &String| !is_test_file(path) && !read(path).trim_start().starts_with("//!");
    let without: Vec<String> = rust_files().into_iter().filter(lacks).collect();
    none(&without.iter().map(|path| format!("{path} lacks a first line `//! purpose`")).collect::<Vec<_>>());
}

#[test]
fn a_crate_has_one_integration_binary_at_most() {
    let mut violations = Vec::new();
    for member in members() {
        let folder = format!("{}/tests", member.folder);
        let binaries =
            files(&folder, &[".rs"]).into_iter().filter(|path| path[folder.len() + 1..].matches('/').count() == 0);
        let binaries: Vec<String> = binaries.collect();
        if binaries.len() > 1 {
            violations.push(format!(
                "{} links {} test binaries: {}",
                member.folder,
                binaries.len(),
                binaries.join(", ")
            ));
        }
    }
    none(&violations);
}

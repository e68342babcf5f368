//! What is linked: licences, sources and banned crates, as deny.toml says.

use super::none;
use crate::workspace::{read_toml, root};
use serde_json::Value;
use std::process::Command;

/// What agents and collectors run on, and what detectors are compiled to; other platforms' crates are never linked.
const TARGETS: [&str; 2] = ["x86_64-unknown-linux-gnu", "wasm32-unknown-unknown"];

/// Runs the cargo that runs the tests; the lock file stays as it is.
fn cargo(arguments: &[&str]) -> String {
    let output = Command::new(env!("CARGO")).args(arguments).arg("--locked").current_dir(root()).output();
    let output = output.expect("cargo starts");
    assert!(output.status.success(), "cargo {arguments:?}: {}", String::from_utf8_lossy(&output.stderr));
    String::from_utf8(output.stdout).expect("cargo prints UTF-8")
}

/// Packages from elsewhere, in cargo's own description.
fn foreign_packages() -> Vec<Value> {
    let platforms = TARGETS.map(|target| format!("--filter-platform={target}"));
    let text = cargo(&["metadata", "--format-version", "1", &platforms[0], &platforms[1]]);
    let mut metadata: Value = serde_json::from_str(&text).expect("cargo prints JSON");
    let Value::Array(packages) = metadata["packages"].take() else { panic!("metadata lists packages") };
    packages.into_iter().filter(|package| !package["source"].is_null()).collect()
}

/// Strings of a list in deny.toml.
fn listed(table: &str, key: &str) -> Vec<String> {
    let deny = read_toml("deny.toml");
    let list = deny[table][key].as_array().unwrap_or_else(|| panic!("deny.toml has {table}.{key}"));
    list.iter()
        .map(|item| item.as_str().or_else(|| item.as_inline_table()?.get("name")?.as_str()))
        .map(|name| name.expect("a name or a table with one").to_owned())
        .collect()
}

/// Whether an SPDX expression can be met with `allowed` licences. `/` is the old way to write OR.
fn permitted(expression: &str, allowed: &[String]) -> bool {
    let spaced = expression.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut parser = Spdx { tokens: &tokens, allowed };
    let met = parser.any();
    assert!(parser.tokens.is_empty(), "`{expression}` is no licence expression that this test reads");
    met
}

struct Spdx<'a> {
    tokens: &'a [&'a str],
    allowed: &'a [String],
}

impl Spdx<'_> {
    fn take(&mut self, token: &str) -> bool {
        let taken = self.tokens.first() == Some(&token);
        if taken {
            self.tokens = &self.tokens[1..];
        }
        taken
    }

    fn any(&mut self) -> bool {
        let mut met = self.all();
        while self.take("OR") {
            met |= self.all();
        }
        met
    }

    fn all(&mut self) -> bool {
        let mut met = self.one();
        while self.take("AND") {
            met &= self.one();
        }
        met
    }

    fn one(&mut self) -> bool {
        if self.take("(") {
            let met = self.any();
            assert!(self.take(")"), "a parenthesis stays open");
            return met;
        }
        let (name, rest) = self.tokens.split_first().expect("an operand follows an operator");
        self.tokens = rest;
        let mut licence = (*name).to_owned();
        if self.take("WITH") {
            licence = format!("{licence} WITH {}", self.tokens[0]);
            self.tokens = &self.tokens[1..];
        }
        self.allowed.contains(&licence)
    }
}

#[test]
fn every_crate_has_a_permissive_licence_and_comes_from_crates_io() {
    let (licences, registries) = (listed("licenses", "allow"), listed("sources", "allow-registry"));
    let banned = listed("bans", "deny");
    let mut violations = Vec::new();
    for package in foreign_packages() {
        let name =
            format!("{} {}", package["name"].as_str().unwrap_or("?"), package["version"].as_str().unwrap_or("?"));
        match package["license"].as_str() {
            Some(licence) if permitted(licence, &licences) => {}
            Some(licence) => violations.push(format!("{name}: licence {licence} is not in deny.toml")),
            None => violations.push(format!("{name} names no licence")),
        }
        let source = package["source"].as_str().unwrap_or_default();
        if !registries.iter().any(|registry| source.strip_prefix("registry+") == Some(registry)) {
            violations.push(format!("{name} comes from {source}"));
        }
        if banned.iter().any(|banned| package["name"] == **banned) {
            violations.push(format!("{name} is banned in deny.toml"));
        }
    }
    none(&violations);
}

#[test]
fn the_agent_carries_no_compiler() {
    let tree = cargo(&["tree", "--package", "vedette-agent", "--edges", "normal,build", "--prefix", "none"]);
    assert!(tree.contains("wasmtime v"), "the agent's tree has wasmtime");
    let compilers: Vec<&str> = tree.lines().filter(|line| line.starts_with("cranelift-codegen ")).collect();
    assert!(compilers.is_empty(), "the agent's tree has a code generator: {compilers:?}");
}

#[test]
fn licence_expressions_are_understood() {
    let allowed = ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].map(str::to_owned);
    for good in ["MIT", "GPL-3.0 OR MIT", "MIT/Apache-2.0", "(MIT OR GPL-3.0) AND Apache-2.0 WITH LLVM-exception"] {
        assert!(permitted(good, &allowed), "{good}");
    }
    for bad in ["GPL-3.0", "MIT AND GPL-3.0", "MIT WITH something", "(GPL-2.0 OR GPL-3.0) AND MIT"] {
        assert!(!permitted(bad, &allowed), "{bad}");
    }
}

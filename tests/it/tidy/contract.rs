//! What is frozen is never edited.

use super::none;
use crate::workspace::{files, read};
use vedette_protocol::ids::Digest;

/// Every file of every frozen version of the detector contract, with its SHA-256. A new version is a new folder and a new
/// line; no line ever changes.
const FROZEN: &[(&str, &str)] =
    &[("wit/detector/0.1.0/detector.wit", "4aeef558369f36b090796cf2d0893c1a3d96025670407cf18afe66322f9f0b46")];

#[test]
fn frozen_contracts_are_never_edited() {
    let mut violations = Vec::new();
    let found = files("wit/detector", &[""]);
    for path in &found {
        if !FROZEN.iter().any(|(frozen, _)| frozen == path) {
            violations.push(format!("{path} is of no frozen version: what is to change is drafted elsewhere"));
        }
    }
    for (path, digest) in FROZEN {
        if !found.iter().any(|one| one == path) {
            violations.push(format!("{path} is gone, and hosts promise to load what was built against it"));
        } else if Digest::of(read(path).as_bytes()).to_string() != *digest {
            violations
                .push(format!("{path} was edited: guests are built against it as it was; a change is a new version"));
        }
    }
    none(&violations);
}

//! The agent's Debian package.

use crate::build::{self, root, target};
use crate::install::{debian_packages, found};
use crate::process::run_visibly;
use crate::progress::say;
use anyhow::Result;
use std::process::Command;

pub(crate) fn run() -> Result<()> {
    if !found("dpkg-deb") {
        debian_packages(&["dpkg"], "building the Debian package")?;
    }
    let detectors = crate::plugins::run()?;
    let binaries = build::binaries()?;
    let out = target().join("dist");
    let mut script = Command::new(root().join("packaging/build-deb.sh"));
    script.arg("--binary").arg(binaries.agent).arg("--detectors").arg(detectors).arg("--out").arg(&out);
    run_visibly(&mut script)?;
    say(&format!("packages are in {}", out.display()));
    Ok(())
}

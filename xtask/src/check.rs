//! Formatting, lints, and what may be linked.

use crate::build::cargo;
use crate::install::found;
use crate::process::{capture, run_visibly};
use crate::progress::say;
use anyhow::Result;

pub(crate) fn run() -> Result<()> {
    say("formatting");
    run_visibly(cargo().args(["fmt", "--all", "--check"]))?;
    say("lints");
    run_visibly(cargo().args(["clippy", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"]))?;
    linked()
}

/// Licences, banned crates and sources are also a test of the workspace; advisories need cargo-deny and its database.
/// It takes minutes to build, so it is not built here.
fn linked() -> Result<()> {
    if !found("cargo-deny") {
        say("advisories: not checked, `cargo install --locked cargo-deny` makes it possible");
        return Ok(());
    }
    say("licences, bans, sources");
    run_visibly(cargo().args(["deny", "--locked", "check", "licenses", "bans", "sources"]))?;
    if let Err(error) = capture(cargo().args(["deny", "--locked", "fetch", "db"])) {
        say(&format!("advisories: not checked, their database cannot be had: {error:#}"));
        return Ok(());
    }
    say("advisories");
    run_visibly(cargo().args(["deny", "--locked", "check", "--disable-fetch", "advisories"]))
}

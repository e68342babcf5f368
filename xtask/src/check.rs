//! Formatting and lints.

use crate::build::cargo;
use crate::process::run_visibly;
use crate::progress::say;
use anyhow::Result;

pub(crate) fn run() -> Result<()> {
    say("formatting");
    run_visibly(cargo().args(["fmt", "--all", "--check"]))?;
    say("lints");
    run_visibly(cargo().args(["clippy", "--locked", "--workspace", "--all-targets", "--", "--deny", "warnings"]))
}

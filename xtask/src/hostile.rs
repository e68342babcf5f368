//! Points a real agent at detectors that misbehave and prints what became of each.
use anyhow::Result;
use clap::Args;
/// Options of the hostile run.
#[derive(Args, Default)]
pub(crate) struct HostileArgs {}
pub(crate) fn run(_: &HostileArgs) -> Result<()> {
    Ok(())
}

//! Everything that must hold, in the order in which it fails fastest.

use crate::build::{self, cargo};
use crate::demo::{self, DemoArgs};
use crate::hostile::{self, HostileArgs};
use crate::process::run_visibly;
use crate::progress::say;
use crate::{check, plugins, prerequisites};
use anyhow::Result;
use clap::{Args, Parser};
use std::process::Command;

/// Options of the test run.
#[derive(Args)]
pub(crate) struct TestArgs {
    /// Runs the demo too, which takes five minutes of mostly waiting and a host where nothing else happens.
    #[arg(long)]
    demo: bool,
}

/// Gives the demo its defaults as from a command line.
#[derive(Parser)]
struct DemoLine {
    #[command(flatten)]
    demo: DemoArgs,
}

pub(crate) fn run(args: &TestArgs) -> Result<()> {
    prerequisites::ensure_c_compiler()?;
    prerequisites::ensure_clang()?;
    check::run()?;
    let binaries = build::binaries()?;
    for module in plugins::modules(&binaries)? {
        say(&format!("conformance of {}", module.display()));
        run_visibly(Command::new(&binaries.cli).args(["detector", "check"]).arg(module))?;
    }
    say("tests");
    run_visibly(
        cargo()
            .args(["test", "--locked", "--workspace", "--quiet"])
            .env("VEDETTE_BIN_DIR", build::target().join("release")),
    )?;
    hostile::run(&HostileArgs::default())?;
    if args.demo {
        demo::run(&DemoLine::parse_from(["demo", "--output", "json", "--seed", "1"]).demo)?;
    }
    say("all of it holds");
    Ok(())
}

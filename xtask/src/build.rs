//! Builds the product's binaries, the agent in an invocation of its own.
//!
//! A workspace build would unify features and pull the compiler into the agent.

use crate::process::run_visibly;
use crate::progress::say;
use anyhow::{Context, Result, ensure};
use std::path::{Path, PathBuf};
use std::process::Command;

/// Absolute path of the checkout.
pub(crate) fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("xtask lies in the workspace").to_path_buf()
}

/// Cargo's target directory.
pub(crate) fn target() -> PathBuf {
    std::env::var_os("CARGO_TARGET_DIR").map_or_else(|| root().join("target"), |dir| root().join(dir))
}

/// The release binaries.
pub(crate) struct Binaries {
    pub(crate) agent: PathBuf,
    pub(crate) collector: PathBuf,
    pub(crate) compiler: PathBuf,
    pub(crate) cli: PathBuf,
}

/// Builds all four in release; cargo shows its progress. The compiler's features must not reach the others: it comes alone.
pub(crate) fn binaries() -> Result<Binaries> {
    for packages in [&["vedette-agent", "vedette-collector", "vedette-cli"][..], &["vedette-detector-compiler"]] {
        say(&format!("building {} (release)", packages.join(", ")));
        let packages = packages.iter().flat_map(|package| ["--package", package]);
        run_visibly(cargo().args(["build", "--release", "--locked"]).args(packages))?;
    }
    let bin = |name: &str| target().join("release").join(name);
    let built = Binaries {
        agent: bin("vedette-agent"),
        collector: bin("vedette-collector"),
        compiler: bin("vedette-compiler"),
        cli: bin("vedette"),
    };
    ensure_no_compiler(&built.agent)?;
    Ok(built)
}

/// Cargo of the pinned toolchain, run in the checkout, as if from the shell: what `cargo run` told this process about
/// itself would make build scripts run again.
pub(crate) fn cargo() -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.current_dir(root()).env_remove("CARGO");
    for (name, _) in std::env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"CARGO_PKG_")) {
        command.env_remove(name);
    }
    for name in ["CARGO_MANIFEST_DIR", "CARGO_MANIFEST_PATH", "CARGO_MANIFEST_LINKS"] {
        command.env_remove(name);
    }
    command
}

/// The agent must not carry a code generator: searches the binary's bytes for Cranelift's names.
///
/// Panic messages keep the crate's source paths even in a stripped binary, so a linked compiler shows.
fn ensure_no_compiler(agent: &Path) -> Result<()> {
    let bytes = std::fs::read(agent).with_context(|| format!("reading {}", agent.display()))?;
    let found = bytes.windows(b"cranelift-codegen".len()).any(|window| window == b"cranelift-codegen");
    ensure!(!found, "{} contains cranelift-codegen: a feature was unified into it", agent.display());
    Ok(())
}

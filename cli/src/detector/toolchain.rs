//! Which Rust toolchain builds for `wasm32-unknown-unknown` on this machine.

use anyhow::{Context as _, ensure};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

pub(crate) const TARGET: &str = "wasm32-unknown-unknown";

/// How modules are optimised, whatever the author's profile says.
const PROFILE: &[&str] = &["panic=\"abort\"", "lto=true", "codegen-units=1", "opt-level=3", "strip=\"symbols\""];

/// A way to build for WebAssembly.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Toolchain {
    /// rustup's target where rustup has or gets it, else Debian's.
    Auto,
    /// rustup's prebuilt target.
    Rustup,
    /// Debian's rustc-web and cargo-web with the standard library's source (rust-web-src).
    Debian,
}

impl Toolchain {
    /// The toolchain to use for the crate in `dir`.
    pub(crate) fn choose(self, dir: &Path) -> anyhow::Result<Self> {
        match self {
            Self::Auto if rustup_has_target(dir) => Ok(Self::Rustup),
            Self::Auto | Self::Debian => {
                ensure!(
                    Path::new("/usr/bin/rustc").exists() && Path::new("/usr/bin/cargo").exists(),
                    "no toolchain builds for {TARGET} here. With network: `rustup target add {TARGET}`. \
                     On Debian: `apt-get install rustc-web cargo-web rust-web-src`"
                );
                Ok(Self::Debian)
            }
            Self::Rustup => {
                ensure!(rustup_has_target(dir), "`rustup target add {TARGET}` failed");
                Ok(Self::Rustup)
            }
        }
    }

    /// For people.
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Auto => "automatic",
            Self::Rustup => "rustup's wasm32-unknown-unknown",
            Self::Debian => "Debian's rustc with -Zbuild-std",
        }
    }

    /// A `cargo build` for WebAssembly; the package and the target directory are the caller's.
    pub(crate) fn cargo_build(self) -> anyhow::Result<Command> {
        let mut command = match self {
            Self::Auto | Self::Rustup => Command::new("cargo"),
            Self::Debian => debian_cargo()?,
        };
        command.args(["build", "--lib", "--release", "--target", TARGET]);
        for setting in PROFILE {
            command.arg("--config").arg(format!("profile.release.{setting}"));
        }
        if self == Self::Debian {
            command.arg("-Zbuild-std=core,alloc");
        }
        Ok(command)
    }
}

fn rustup_has_target(dir: &Path) -> bool {
    let mut rustup = Command::new("rustup");
    rustup.args(["target", "add", TARGET]).current_dir(dir);
    rustup.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    rustup.status().is_ok_and(|status| status.success())
}

fn debian_cargo() -> anyhow::Result<Command> {
    let mut command = Command::new("/usr/bin/cargo");
    // A surrounding `cargo run` of rustup's toolchain leaves its own libraries and wrappers in the environment.
    for variable in ["LD_LIBRARY_PATH", "RUSTUP_TOOLCHAIN", "RUSTC_WRAPPER", "RUSTFLAGS", "CARGO_ENCODED_RUSTFLAGS"] {
        command.env_remove(variable);
    }
    command.env("RUSTC", "/usr/bin/rustc").env("RUSTC_BOOTSTRAP", "1");
    command.env("CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER", linker()?);
    Ok(command)
}

/// `rust-lld` of any rustup toolchain, or LLVM's own.
pub(crate) fn linker() -> anyhow::Result<PathBuf> {
    let sysroot = Command::new("rustc").args(["--print", "sysroot"]).output().ok().map(|output| output.stdout);
    let sysroot = sysroot.map(|text| String::from_utf8_lossy(&text).trim().to_owned()).unwrap_or_default();
    let host = format!("lib/rustlib/{}-unknown-linux-gnu/bin/rust-lld", std::env::consts::ARCH);
    let candidates = [Path::new(&sysroot).join(host), "/usr/bin/rust-lld".into(), "/usr/bin/wasm-ld".into()];
    candidates
        .into_iter()
        .find(|candidate| candidate.exists())
        .context("no linker for WebAssembly: neither rust-lld in the rustup sysroot nor /usr/bin/wasm-ld (package lld)")
}

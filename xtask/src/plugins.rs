//! The bundled detectors: built for WebAssembly by the author's own tool, then compiled and signed.

use crate::build::{self, Binaries, root, target};
use crate::demo::fleet::keygen;
use crate::install::{debian_packages, found};
use crate::process::{capture, run_visibly};
use crate::progress::say;
use anyhow::{Context as _, Result};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// Folders of the bundled detectors under plugins/.
const BUNDLED: &[&str] = &["level", "exhaustion", "flatline", "seasonal", "novelty", "rarity", "log-novelty"];

/// Builds everything that is needed, then the signed pairs; gives their folder.
pub(crate) fn run() -> Result<PathBuf> {
    crate::prerequisites::ensure_c_compiler()?;
    let binaries = build::binaries()?;
    let modules = modules(&binaries)?;
    signed_pairs(&binaries, &modules)
}

/// The `.wasm` components, in target/modules.
pub(crate) fn modules(binaries: &Binaries) -> Result<Vec<PathBuf>> {
    ensure_wasm_toolchain()?;
    let out = target().join("modules");
    fs::create_dir_all(&out)?;
    BUNDLED
        .iter()
        .map(|name| {
            let module = out.join(format!("{name}.wasm"));
            say(&format!("building detector {name}"));
            let mut command = Command::new(&binaries.cli);
            command.args(["detector", "build"]).arg(root().join("plugins").join(name)).arg("--out").arg(&module);
            run_visibly(&mut command)?;
            Ok(module)
        })
        .collect()
}

/// The public key of the pairs that [`run`] signed.
pub(crate) fn author() -> Result<String> {
    let file = public_file();
    let public = fs::read_to_string(&file).with_context(|| file.display().to_string())?;
    Ok(public.trim().to_owned())
}

fn public_file() -> PathBuf {
    target().join("developer.pub")
}

/// Signs the modules with a developer's key that is made once per target directory.
fn signed_pairs(binaries: &Binaries, modules: &[PathBuf]) -> Result<PathBuf> {
    let out = target().join("detectors");
    let key = target().join("developer.key");
    let public_file = public_file();
    let public = match fs::read_to_string(&public_file) {
        Ok(public) if key.exists() => public,
        _ => {
            // One without the other is left of a run that was interrupted.
            if key.exists() {
                fs::remove_file(&key)?;
            }
            let public = keygen(&binaries.cli, "detector", &key)?;
            fs::write(&public_file, &public)?;
            public
        }
    };
    for module in modules {
        sign(binaries, module, &key, &out)?;
    }
    say(&format!("signed pairs are in {}, author key {public}", out.display()));
    Ok(out)
}

/// Compiles one module ahead of time and signs the pair.
pub(crate) fn sign(binaries: &Binaries, module: &Path, key: &Path, out: &Path) -> Result<()> {
    let mut command = Command::new(&binaries.cli);
    command.args(["detector", "sign"]).arg(module).arg("--key").arg(key).arg("--out").arg(out);
    capture(command.arg("--compiler").arg(&binaries.compiler)).map(drop)
}

/// rustup's target where it can be had, else Debian's packages; says which.
fn ensure_wasm_toolchain() -> Result<()> {
    if rustup_has_target() {
        say("WebAssembly target: rustup's wasm32-unknown-unknown");
        return Ok(());
    }
    if !Path::new("/usr/bin/rustc").exists() || !Path::new("/usr/bin/cargo").exists() || !std_source_installed() {
        debian_packages(&["rustc-web", "cargo-web", "rust-web-src"], "building detectors for WebAssembly")?;
    }
    say("WebAssembly target: Debian's rustc-web with -Zbuild-std");
    Ok(())
}

fn rustup_has_target() -> bool {
    if !found("rustup") {
        return false;
    }
    let mut add = Command::new("rustup");
    add.args(["target", "add", "wasm32-unknown-unknown"]).current_dir(root());
    add.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    add.status().is_ok_and(|status| status.success())
}

fn std_source_installed() -> bool {
    let sysroot = capture(Command::new("/usr/bin/rustc").args(["--print", "sysroot"])).unwrap_or_default();
    Path::new(sysroot.trim()).join("lib/rustlib/src/rust/library/core").exists()
}

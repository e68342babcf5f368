//! What every build needs beside Rust's toolchain.

use crate::install::{debian_packages, found};
use anyhow::Result;

/// A C compiler, for SQLite and ring.
pub(crate) fn ensure_c_compiler() -> Result<()> {
    if found("cc") {
        return Ok(());
    }
    debian_packages(&["gcc", "libc6-dev"], "compiling SQLite and ring")
}

/// clang and LLVM's linker, for detectors in C: the author's guide is a test.
pub(crate) fn ensure_clang() -> Result<()> {
    if found("clang") && found("wasm-ld") {
        return Ok(());
    }
    debian_packages(&["clang", "lld"], "building detectors in C")
}

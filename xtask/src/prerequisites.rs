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

//! Installs what a build needs: as root through apt, otherwise names the exact command.

use crate::process::run_visibly;
use crate::progress::say;
use anyhow::{Result, bail};
use std::path::Path;
use std::process::{Command, Stdio};

/// Installs Debian packages that `missing` says are not there.
pub(crate) fn debian_packages(packages: &[&str], why: &str) -> Result<()> {
    let by_hand = format!("apt-get install --no-install-recommends {}", packages.join(" "));
    if !found("apt-get") {
        bail!("{why} needs {}: install what your system calls these packages", packages.join(", "));
    }
    if !is_root() {
        bail!("{why} needs {}: run `sudo {by_hand}` and try again", packages.join(", "));
    }
    say(&format!("installing {} ({why})", packages.join(", ")));
    run_visibly(apt().args(["update", "--quiet"]))?;
    run_visibly(apt().args(["install", "--quiet", "--yes", "--no-install-recommends"]).args(packages))
}

/// Whether a program is on the PATH.
pub(crate) fn found(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

fn is_root() -> bool {
    use std::os::unix::fs::MetadataExt;
    std::fs::metadata(Path::new("/proc/self")).is_ok_and(|me| me.uid() == 0)
}

fn apt() -> Command {
    let mut command = Command::new("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").stdin(Stdio::null());
    command
}

//! Child processes: run visibly, capture, supervise, stop by their own id only.

use anyhow::{Context, Result, bail, ensure};
use std::fs::File;
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::{Duration, Instant};

/// Runs to the end with the terminal's standard error; standard output is turned to standard error,
/// because standard output is kept for results.
pub(crate) fn run_visibly(command: &mut Command) -> Result<()> {
    let status = command.stdin(Stdio::null()).stdout(std::io::stderr()).status().with_context(|| shown(command))?;
    ensure!(status.success(), "`{}` failed ({status})", shown(command));
    Ok(())
}

/// Runs to the end and gives its standard output; its standard error goes into the error.
pub(crate) fn capture(command: &mut Command) -> Result<String> {
    let output = command.stdin(Stdio::null()).output().with_context(|| shown(command))?;
    if !output.status.success() {
        bail!("`{}` failed ({}): {}", shown(command), output.status, String::from_utf8_lossy(&output.stderr).trim());
    }
    String::from_utf8(output.stdout).with_context(|| format!("`{}` printed no UTF-8", shown(command)))
}

fn shown(command: &Command) -> String {
    let words = std::iter::once(command.get_program()).chain(command.get_args());
    words.map(|word| word.to_string_lossy()).collect::<Vec<_>>().join(" ")
}

/// A child that ends with its owner, unless released.
pub(crate) struct Service {
    name: &'static str,
    child: Option<Child>,
}

impl Service {
    /// Starts `command` with its output appended to `log`.
    pub(crate) fn start(name: &'static str, command: &mut Command, log: &Path) -> Result<Self> {
        let log = File::options().create(true).append(true).open(log).with_context(|| log.display().to_string())?;
        let child = command
            .stdin(Stdio::null())
            .stdout(log.try_clone()?)
            .stderr(log)
            .spawn()
            .with_context(|| format!("starting {name}"))?;
        Ok(Self { name, child: Some(child) })
    }

    pub(crate) fn pid(&self) -> u32 {
        self.child.as_ref().map_or(0, Child::id)
    }

    /// An error if it has ended by itself.
    pub(crate) fn ensure_alive(&mut self) -> Result<()> {
        if let Some(status) = self.child.as_mut().and_then(|child| child.try_wait().transpose()).transpose()? {
            bail!("{} ended by itself ({status})", self.name);
        }
        Ok(())
    }

    /// SIGTERM, then waits; SIGKILL and an error after `patience`.
    pub(crate) fn terminate(&mut self, patience: Duration) -> Result<ExitStatus> {
        let child = self.child.as_mut().with_context(|| format!("{} does not run", self.name))?;
        signal(child.id(), libc::SIGTERM);
        let deadline = Instant::now() + patience;
        loop {
            if let Some(status) = child.try_wait()? {
                self.child = None;
                return Ok(status);
            }
            if Instant::now() > deadline {
                self.kill();
                bail!("{} did not end within {} s of SIGTERM", self.name, patience.as_secs());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
    }

    /// SIGKILL, as a crash would.
    pub(crate) fn kill(&mut self) {
        if let Some(mut child) = self.child.take() {
            let _ = child.kill();
            let _ = child.wait();
        }
    }

    /// Leaves it running after this process and gives its id; `None` if it was ended before.
    pub(crate) fn release(mut self) -> Option<u32> {
        self.child.take().map(|child| child.id())
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.kill();
    }
}

#[expect(unsafe_code, reason = "kill(2) has no safe door in std")]
fn signal(pid: u32, signal: i32) {
    let Ok(pid) = libc::pid_t::try_from(pid) else { return };
    // SAFETY: kill takes two integers; the pid is that of a child that was not reaped yet.
    unsafe {
        libc::kill(pid, signal);
    }
}

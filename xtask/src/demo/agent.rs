//! An enrolled agent on this host, with a folder of its own.

use super::fleet::eventually;
use crate::process::Service;
use anyhow::{Context, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

/// What goes into an agent's environment.
pub(crate) type Variables = Vec<(&'static str, PathBuf)>;

/// A running agent.
pub(crate) struct Agent {
    binary: PathBuf,
    home: PathBuf,
    variables: Variables,
    service: Service,
}

impl Agent {
    /// Starts `binary` on the `agent.toml` in `home`.
    pub(crate) fn start(binary: &Path, home: &Path, variables: Variables) -> Result<Self> {
        let mut command = Command::new(binary);
        command.args(["run", "--config"]).arg(home.join("agent.toml")).env("VEDETTE_LOG_FORMAT", "json");
        command.envs(variables.iter().map(|(name, value)| (name, value)));
        let service = Service::start("the agent", &mut command, &home.join("agent.log"))?;
        Ok(Self { binary: binary.to_owned(), home: home.to_owned(), variables, service })
    }

    /// Starts it again after it has ended.
    pub(crate) fn restart(&mut self) -> Result<()> {
        *self = Self::start(&self.binary, &self.home, self.variables.clone())?;
        Ok(())
    }

    pub(crate) fn wait_until_connected(&self) -> Result<()> {
        eventually("the agent to be connected", Duration::from_secs(30), || {
            Ok(self.status().ok().filter(|status| status["link"]["connected"] == true).map(drop))
        })
        .with_context(|| format!("logs are in {}", self.home.display()))
    }

    /// `vedette-agent status --output json`, parsed; an unhealthy agent's answer counts too.
    pub(crate) fn status(&self) -> Result<Value> {
        let output =
            Command::new(&self.binary).args(["status", "--output", "json", "--socket"]).arg(self.socket()).output()?;
        serde_json::from_slice(&output.stdout)
            .with_context(|| format!("agent status: {}", String::from_utf8_lossy(&output.stderr).trim()))
    }

    /// Process ids of the agent and its worker.
    pub(crate) fn pids(&self) -> Result<Vec<u32>> {
        let worker = self.status()?["worker"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
        Ok(std::iter::once(self.pid()).chain(worker).collect())
    }

    pub(crate) fn pid(&self) -> u32 {
        self.service.pid()
    }

    pub(crate) fn binary(&self) -> &Path {
        &self.binary
    }

    pub(crate) fn socket(&self) -> PathBuf {
        self.home.join("agent.sock")
    }

    pub(crate) fn ensure_alive(&mut self) -> Result<()> {
        self.service.ensure_alive()
    }

    /// SIGTERM: it sends what it still has.
    pub(crate) fn drain(&mut self) -> Result<ExitStatus> {
        self.service.terminate(Duration::from_secs(20))
    }

    /// Leaves it running after this process.
    pub(crate) fn release(self) -> Option<u32> {
        self.service.release()
    }
}

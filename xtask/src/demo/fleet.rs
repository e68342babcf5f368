//! A collector and an agent on this host, set up as an operator would: with the public commands.

use super::agent::{Agent, Variables};
use crate::build::Binaries;
use crate::process::{Service, capture};
use crate::progress::say;
use anyhow::{Context, Result, bail};
use serde_json::Value;
use std::fs;
use std::net::{TcpListener, UdpSocket};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::{Duration, Instant};

/// Name under which the demo's service is declared to agent and collector.
const SERVICE: &str = "demo-shop";

/// The running demo and where its files lie.
pub(crate) struct Fleet {
    dir: PathBuf,
    collector_binary: PathBuf,
    cli: PathBuf,
    api: String,
    terms: Terms,
    agent: Agent,
    collector: Option<Service>,
}

/// What every agent of the fleet has to know.
struct Terms {
    /// The collector's port for agents, on the loopback address.
    quic: u16,
    policy_key: String,
    author: String,
}

impl Fleet {
    /// Keys, configuration, collector, token, enrolment, agent; in a fresh folder.
    ///
    /// `sign` puts signed pairs into the folder's `detectors` and gives their author's public key.
    pub(crate) fn start(binaries: &Binaries, sign: impl FnOnce(&Path) -> Result<String>) -> Result<Self> {
        let dir = fresh_dir()?;
        let (quic, api) = (free_udp_port()?, free_tcp_port()?);
        let setup = Setup { dir: &dir, binaries };
        let author = sign(&dir)?;
        let policy_key = setup.policy_key()?;
        setup.write_service_files()?;
        let terms = Terms { quic, policy_key, author };
        fs::write(dir.join("collector.toml"), collector_toml(&dir, api, &terms))?;
        fs::write(dir.join("agent.toml"), agent_toml(&dir, &dir, &terms))?;

        say("starting the collector");
        let api = format!("http://127.0.0.1:{api}");
        let collector = start_collector(&binaries.collector, &dir)?;
        wait_until_ready(&binaries.cli, &api, &dir)?;
        enroll(&binaries.cli, &api, &dir, &binaries.agent, &dir)?;
        say("starting the agent");
        let agent = Agent::start(&binaries.agent, &dir, Vec::new())?;
        agent.wait_until_connected()?;
        let (collector_binary, cli) = (binaries.collector.clone(), binaries.cli.clone());
        Ok(Self { collector_binary, cli, api, terms, agent, collector: Some(collector), dir })
    }

    /// A further agent of the same collector, which reads the same log and watches the same file.
    ///
    /// Its binary is a copy: what processes of one file share of it, their proportional sizes divide among them. `more`
    /// is TOML that its `agent.toml` has beside what every agent's has.
    pub(crate) fn join(&self, name: &str, variables: Variables, more: &str) -> Result<Agent> {
        let home = self.dir.join(name);
        fs::create_dir(&home).with_context(|| home.display().to_string())?;
        let binary = home.join("vedette-agent");
        fs::copy(self.agent.binary(), &binary).with_context(|| binary.display().to_string())?;
        fs::write(home.join("agent.toml"), agent_toml(&home, &self.dir, &self.terms) + more)?;
        enroll(&self.cli, &self.api, &self.dir, &binary, &home)?;
        let agent = Agent::start(&binary, &home, variables)?;
        agent.wait_until_connected()?;
        Ok(agent)
    }

    /// `vedette … --output json`, parsed.
    pub(crate) fn ask(&self, words: &[&str]) -> Result<Value> {
        self.asker().ask(words)
    }

    /// Asks the collector from another thread.
    pub(crate) fn asker(&self) -> Asker {
        Asker { cli: self.cli.clone(), api: self.api.clone(), dir: self.dir.clone() }
    }

    /// `vedette-agent status --output json`, parsed; an unhealthy agent's answer counts too.
    pub(crate) fn agent_status(&self) -> Result<Value> {
        self.agent.status()
    }

    /// Process ids of the agent and its worker.
    pub(crate) fn agent_pids(&self) -> Result<Vec<u32>> {
        self.agent.pids()
    }

    /// Signs a policy document with the demo's policy key and hands it to the collector.
    pub(crate) fn apply_policy(&self, version: u64) -> Result<()> {
        let file = self.dir.join(format!("policy-{version}.toml"));
        fs::write(&file, policy_toml(version))?;
        capture(
            vedette(&self.cli, &self.api, &self.dir)
                .args(["policy", "apply"])
                .arg(&file)
                .arg("--key")
                .arg(self.dir.join("policy.key")),
        )?;
        Ok(())
    }

    /// The watched configuration file is edited, as a person would before things go wrong.
    pub(crate) fn edit_watched_file(&self) -> Result<PathBuf> {
        let path = watched_file(&self.dir);
        let text = fs::read_to_string(&path)?;
        fs::write(&path, text.replace("pool-size = 8", "pool-size = 80"))?;
        Ok(path)
    }

    pub(crate) fn service_log(&self) -> PathBuf {
        service_log(&self.dir)
    }

    /// A folder on the file system that the demo may fill for a while.
    pub(crate) fn scratch(&self) -> PathBuf {
        self.dir.join("scratch")
    }

    pub(crate) fn ensure_alive(&mut self) -> Result<()> {
        self.agent.ensure_alive().with_context(|| self.log_hint())?;
        self.collector.as_mut().map_or(Ok(()), Service::ensure_alive).with_context(|| self.log_hint())
    }

    /// SIGKILL to the collector.
    pub(crate) fn crash_collector(&mut self) {
        if let Some(mut collector) = self.collector.take() {
            collector.kill();
        }
    }

    /// Starts the collector again on the same data.
    pub(crate) fn restart_collector(&mut self) -> Result<()> {
        self.collector = Some(start_collector(&self.collector_binary, &self.dir)?);
        wait_until_ready(&self.cli, &self.api, &self.dir)
    }

    /// SIGTERM to the agent, which sends what it still has.
    pub(crate) fn drain_agent(&mut self) -> Result<ExitStatus> {
        self.agent.drain()
    }

    /// The agent's last words after draining: its log's `drained` event.
    pub(crate) fn drained(&self) -> Result<Value> {
        let log = fs::read_to_string(self.dir.join("agent.log"))?;
        let last = log.lines().rev().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let mut last = last.filter(|event| event["fields"]["message"] == "drained");
        last.next().map(|event| event["fields"].clone()).context("the agent's log holds no `drained` event")
    }

    pub(crate) fn log_hint(&self) -> String {
        format!("logs are in {}", self.dir.display())
    }

    /// Starts the drained agent again, leaves both running and says how to look.
    pub(crate) fn keep(mut self) -> Result<()> {
        self.agent.restart()?;
        self.agent.wait_until_connected()?;
        let token = self.dir.join("collector/api-token");
        let cli = self.cli.display();
        let collector = self.collector.and_then(Service::release).context("the collector does not run")?;
        let (agent_binary, socket) = (self.agent.binary().display().to_string(), self.agent.socket());
        let agent = self.agent.release().context("the agent does not run")?;
        say("agent and collector go on running; look with");
        let (api, token, dir) = (&self.api, token.display(), self.dir.display());
        eprintln!("  export VEDETTE_URL={api} VEDETTE_TOKEN_FILE={token} DEMO={dir} AGENT={agent}");
        eprintln!("  {cli} incidents list\n  {cli} incidents show ID\n  {cli} fleet list");
        eprintln!("  {agent_binary} status --socket {}", socket.display());
        eprintln!("stop them with\n  kill {agent} {collector}");
        Ok(())
    }
}

/// What it takes to ask the collector.
pub(crate) struct Asker {
    cli: PathBuf,
    api: String,
    dir: PathBuf,
}

impl Asker {
    /// `vedette … --output json`, parsed.
    pub(crate) fn ask(&self, words: &[&str]) -> Result<Value> {
        let text = capture(vedette(&self.cli, &self.api, &self.dir).args(words).args(["--output", "json"]))?;
        serde_json::from_str(&text).with_context(|| format!("`vedette {}` printed no JSON", words.join(" ")))
    }
}

/// Asks again every 100 ms until there is an answer.
pub(crate) fn eventually<T>(what: &str, patience: Duration, mut ask: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(answer) = ask()? {
            return Ok(answer);
        }
        if Instant::now() > deadline {
            bail!("waited {} s for {what}", patience.as_secs());
        }
        std::thread::sleep(Duration::from_millis(100));
    }
}

/// What happens before anything runs.
struct Setup<'a> {
    dir: &'a Path,
    binaries: &'a Binaries,
}

impl Setup<'_> {
    fn policy_key(&self) -> Result<String> {
        keygen(&self.binaries.cli, "policy", &self.dir.join("policy.key"))
    }

    fn write_service_files(&self) -> Result<()> {
        fs::create_dir_all(self.dir.join("scratch"))?;
        fs::create_dir_all(self.dir.join("etc"))?;
        fs::write(watched_file(self.dir), "[database]\npool-size = 8\ntimeout = \"2s\"\n")?;
        fs::write(service_log(self.dir), "")?;
        let host = host_name();
        let topology = format!("[[services]]\nname = \"{SERVICE}\"\ntier = 1\nhosts = [{host:?}]\n");
        fs::write(self.dir.join("topology.toml"), topology)?;
        Ok(())
    }
}

/// A one-time token from the collector, then the enrolment of the agent whose `agent.toml` lies in `home`.
fn enroll(cli: &Path, api: &str, dir: &Path, agent: &Path, home: &Path) -> Result<()> {
    say("enrolling an agent with a one-time token");
    let token = capture(vedette(cli, api, dir).args(["fleet", "token", "--uses", "1", "--ttl", "1h"]))?;
    let token_file = home.join("enroll-token");
    write_private(&token_file, token.trim())?;
    let authority = capture(vedette(cli, api, dir).args(["ca"]))?;
    let ca_file = home.join("collector-ca.pem");
    fs::write(&ca_file, authority)?;
    let mut enroll = Command::new(agent);
    enroll.args(["enroll", "--config"]).arg(home.join("agent.toml"));
    enroll.arg("--collector-ca").arg(&ca_file).arg("--token-file").arg(&token_file);
    capture(&mut enroll).map(drop)
}

/// Makes a key file with `vedette policy keygen` or `vedette detector keygen`; gives the public key.
pub(crate) fn keygen(cli: &Path, whose: &str, key: &Path) -> Result<String> {
    let text = capture(Command::new(cli).args([whose, "keygen", "--output", "json", "--out"]).arg(key))?;
    let answer: Value = serde_json::from_str(&text).with_context(|| format!("`vedette {whose} keygen`"))?;
    answer["public_key"].as_str().map(str::to_owned).context("keygen printed no public_key")
}

fn vedette(cli: &Path, api: &str, dir: &Path) -> Command {
    let mut command = Command::new(cli);
    command.env("VEDETTE_URL", api).env("VEDETTE_TOKEN_FILE", dir.join("collector/api-token"));
    command
}

fn start_collector(binary: &Path, dir: &Path) -> Result<Service> {
    let mut command = Command::new(binary);
    command.args(["run", "--config"]).arg(dir.join("collector.toml")).env("VEDETTE_LOG_FORMAT", "json");
    Service::start("the collector", &mut command, &dir.join("collector.log"))
}

fn wait_until_ready(cli: &Path, api: &str, dir: &Path) -> Result<()> {
    eventually("the collector to answer", Duration::from_secs(30), || {
        Ok(capture(vedette(cli, api, dir).args(["fleet", "list", "--output", "json"])).ok().map(drop))
    })
    .with_context(|| format!("logs are in {}", dir.display()))
}

fn collector_toml(dir: &Path, api: u16, terms: &Terms) -> String {
    let Terms { quic, policy_key, .. } = terms;
    format!(
        "[collector]\ndata-dir = {:?}\nlisten = \"127.0.0.1:{quic}\"\napi = \"127.0.0.1:{api}\"\n\n\
         [trust]\npolicy-keys = [{policy_key:?}]\n\n[topology]\nfile = {:?}\n",
        dir.join("collector"),
        dir.join("topology.toml"),
    )
}

/// An agent that keeps its own in `home` and finds detectors and the service's files in `dir`.
fn agent_toml(home: &Path, dir: &Path, terms: &Terms) -> String {
    let Terms { quic, policy_key, author } = terms;
    format!(
        "[agent]\ndata-dir = {:?}\nsocket = {:?}\n\n[collector]\naddress = \"127.0.0.1:{quic}\"\n\n\
         [trust]\npolicy-keys = [{policy_key:?}]\nauthor-keys = [{author:?}]\n\n[detectors]\ndirectory = {:?}\n\n\
         [[logs]]\npath = {:?}\nservice = \"{SERVICE}\"\n\n[[watch]]\npath = {:?}\nservice = \"{SERVICE}\"\n",
        home.join("agent"),
        home.join("agent.sock"),
        dir.join("detectors"),
        service_log(dir),
        watched_file(dir),
    )
}

/// The demo's policy doubles the wanted false alarms and ships features more often, which the agent must show as in effect.
fn policy_toml(version: u64) -> String {
    format!(
        "version = {version}\nexpires = \"2099-01-01T00:00:00Z\"\n\n[detect]\nepisodes-per-day = 0.2\n\n\
         [ship]\nfeature-window = \"30s\"\n"
    )
}

fn service_log(dir: &Path) -> PathBuf {
    dir.join("demo-shop.log")
}

fn watched_file(dir: &Path) -> PathBuf {
    dir.join("etc/demo-shop.toml")
}

/// A folder of this run; what ended runs left behind is removed.
fn fresh_dir() -> Result<PathBuf> {
    let all = crate::build::target().join("demo");
    fs::create_dir_all(&all)?;
    for entry in fs::read_dir(&all)? {
        let old = entry?.path();
        if old.is_dir() && !in_use(&old) {
            fs::remove_dir_all(&old).with_context(|| format!("removing {}", old.display()))?;
        }
    }
    let dir = all.join(format!("run-{}", std::process::id()));
    fs::create_dir_all(&dir)?;
    Ok(dir)
}

/// Whether some process still runs with this folder in its command line.
fn in_use(dir: &Path) -> bool {
    let Ok(processes) = fs::read_dir("/proc") else { return true };
    let needle = dir.as_os_str().as_encoded_bytes();
    processes.flatten().any(|process| {
        let command_line = fs::read(process.path().join("cmdline")).unwrap_or_default();
        command_line.windows(needle.len()).any(|window| window == needle)
    })
}

fn free_udp_port() -> Result<u16> {
    Ok(UdpSocket::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn free_tcp_port() -> Result<u16> {
    Ok(TcpListener::bind("127.0.0.1:0")?.local_addr()?.port())
}

fn host_name() -> String {
    fs::read_to_string("/proc/sys/kernel/hostname").map_or_else(|_| "localhost".into(), |name| name.trim().to_owned())
}

fn write_private(path: &Path, text: &str) -> Result<()> {
    use std::io::Write;
    use std::os::unix::fs::OpenOptionsExt;
    let mut file = fs::File::options().write(true).create_new(true).mode(0o600).open(path)?;
    file.write_all(text.as_bytes())?;
    Ok(())
}

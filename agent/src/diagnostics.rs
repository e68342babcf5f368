//! What helps to find out what is wrong with an agent, in one file for whoever is asked: what it says of itself if it runs,
//! what can be seen beside it if not. Nothing in it is a secret ([`redact`]), and it is sent nowhere.

pub mod redact;

use crate::config::Config;
use crate::local::{self, Question};
use crate::memory::MemoryBound;
use crate::recorder;
use crate::runtime::detectors::look_for;
use crate::source::Root;
use crate::spool::files::Folder;
use crate::spool::inspect;
use crate::{diagnose, durable, host};
use redact::{Redactor, Settings};
use serde_json::{Value, json};
use std::fs::{File, OpenOptions};
use std::io::{self, Read as _, Seek as _, SeekFrom};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use vedette_protocol::document::DOCUMENT_BYTES_MAX;

/// Bytes of the end of the agent's log.
const LOG_BYTES_MAX: u64 = 256 << 10;
/// Bytes of one part; what is longer is cut.
const PART_BYTES_MAX: usize = 8 << 20;
/// The unit whose log the journal is asked for.
const UNIT: &str = "vedette-agent.service";

/// A file of the bundle.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Part {
    /// Its name.
    pub name: &'static str,
    /// What it is, for people.
    pub what: &'static str,
    /// Its content, redacted.
    pub content: String,
}

/// What goes out, and what does not.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Bundle {
    /// Files.
    pub parts: Vec<Part>,
    /// What could not be got, and why.
    pub missing: Vec<(&'static str, String)>,
}

/// Where to look.
#[derive(Clone, Debug)]
pub struct Places {
    /// Configuration file.
    pub config: PathBuf,
    /// The agent's own log, where it is not in the journal.
    pub log: Option<PathBuf>,
}

/// Collects everything; takes as long as the collector and the agent take to answer.
pub async fn collect(places: &Places, root: &Root) -> Bundle {
    let text = durable::read_capped(&places.config, DOCUMENT_BYTES_MAX as u64);
    let text = text.map(|bytes| String::from_utf8_lossy(&bytes).into_owned());
    let settings = text.as_ref().map(|text| Settings::read(text)).unwrap_or_default();
    let variables: Vec<(String, String)> =
        std::env::vars_os().map(|(name, value)| (lossy(&name), lossy(&value))).collect();
    let mut gathered = Gathered { redactor: Redactor::new(&settings, &variables), bundle: Bundle::default() };

    gathered.text("version.txt", "version of this program", &format!("vedette-agent {}\n", env!("CARGO_PKG_VERSION")));
    match &text {
        Err(error) => gathered.miss("config.toml", format!("{}: {error}", places.config.display())),
        Ok(_) => match &settings.text {
            Some(text) => {
                gathered.text("config.toml", "settings; what is not known, or a secret by its name, redacted", text)
            }
            None => gathered.miss("config.toml", "it is not TOML: nobody can tell what of it is a secret".to_owned()),
        },
    }
    let (steps, _) = diagnose::run(&places.config, root).await;
    gathered.json("diagnose.json", "what `vedette-agent diagnose` finds", &json!({ "steps": steps }));
    let config = Config::load(&places.config).ok();
    match &config {
        Some(config) => gathered.by_config(config),
        None => gathered.miss("memory.json, spool.json, recorder.json", "the configuration cannot be used".to_owned()),
    }
    let socket = config.map_or_else(|| Config::default().socket, |config| config.socket);
    let agent = gathered.by_agent(&socket);
    gathered.host(root, agent);
    gathered.environment(&variables);
    gathered.log(places.log.as_deref());
    gathered.bundle
}

struct Gathered {
    redactor: Redactor,
    bundle: Bundle,
}

impl Gathered {
    fn text(&mut self, name: &'static str, what: &'static str, content: &str) {
        let mut content = self.redactor.text(content);
        content.truncate(content.floor_char_boundary(PART_BYTES_MAX));
        self.bundle.parts.push(Part { name, what, content });
    }

    fn json(&mut self, name: &'static str, what: &'static str, value: &Value) {
        let content = serde_json::to_string_pretty(&self.redactor.json(value)).expect("it was JSON before") + "\n";
        self.bundle.parts.push(Part { name, what, content });
    }

    fn miss(&mut self, name: &'static str, why: String) {
        let why = self.redactor.text(&why);
        self.bundle.missing.push((name, why.trim_end().to_owned()));
    }

    /// What the configuration leads to on disk.
    fn by_config(&mut self, config: &Config) {
        let artifacts: Vec<usize> = look_for(config).wanted.iter().map(|wanted| wanted.artifact.len()).collect();
        let bound = MemoryBound::of(config, &artifacts);
        self.json("memory.json", "the most memory that agent and workers take, by part", &json!(bound));
        let spool = Folder::open_to_look(&config.spool.directory).and_then(|folder| {
            let is_spool = inspect::is_spool(&folder)?;
            if is_spool { inspect::verify(&folder, folder.is_in_use()?) } else { Err(io::ErrorKind::NotFound.into()) }
        });
        match spool {
            Ok(found) => self.json("spool.json", "what `vedette-agent buffer verify` finds", &json!(found)),
            Err(error) => self.miss("spool.json", format!("{}: {error}", config.spool.directory.display())),
        }
        let folder = config.data_dir.join(recorder::FOLDER);
        let nothing = recorder::read::Wanted { begin_ms: i64::MAX, ..recorder::read::Wanted::default() };
        match recorder::read::read(&folder, &nothing) {
            Ok(read) => {
                let told = json!({ "folder": folder, "bytes": read.bytes, "span_ms": read.span_ms, "segments_damaged": read.damaged });
                self.json("recorder.json", "how much the flight recorder has on disk; none of its samples", &told);
            }
            Err(error) => self.miss("recorder.json", format!("{}: {error}", folder.display())),
        }
    }

    /// What a running agent says of itself; its process id.
    fn by_agent(&mut self, socket: &Path) -> Option<u32> {
        let mut agent = None;
        for (question, name, what) in [
            (Question::Status, "status.json", "what `vedette-agent status` says"),
            (Question::Cost, "cost.json", "what `vedette-agent cost` says"),
            (Question::Oddest, "oddest.json", "the series that stand out most"),
        ] {
            match local::ask(socket, &question)
                .and_then(|told| serde_json::from_str::<Value>(&told).map_err(Into::into))
            {
                Ok(told) => {
                    let pid = told["agent"]["pid"].as_u64().and_then(|pid| u32::try_from(pid).ok());
                    agent = agent.or(pid);
                    self.json(name, what, &told);
                }
                Err(error) => self.miss(name, format!("no agent answers on {}: {error}", socket.display())),
            }
        }
        match local::ask(socket, &Question::Metrics) {
            Ok(page) => self.text("metrics.txt", "the agent's own metrics", &page),
            Err(error) => self.miss("metrics.txt", format!("no agent answers on {}: {error}", socket.display())),
        }
        agent
    }

    fn host(&mut self, root: &Root, agent: Option<u32>) {
        let read = |path: &Path| std::fs::read_to_string(path).map(|text| text.trim().to_owned());
        let line_of = |path: &Path, begin: &str| {
            let text = read(path).ok()?;
            text.lines().find_map(|line| line.strip_prefix(begin)).map(|rest| rest.trim().trim_matches('"').to_owned())
        };
        let limits = |pid: &str| read(&root.proc(&format!("{pid}/limits"))).ok();
        let group = agent.and_then(|pid| read(&root.proc(&format!("{pid}/cgroup"))).ok());
        let unified = group.as_deref().and_then(|group| group.lines().find_map(|line| line.strip_prefix("0::")));
        let of_group = |file: &str| {
            let folder = root.sys("fs/cgroup").join(unified?.trim_start_matches('/'));
            read(&folder.join(file)).ok()
        };
        let told = json!({
            "resource": host::resource().into_iter().collect::<std::collections::BTreeMap<_, _>>(),
            "kernel": read(&root.proc("version")).ok(),
            "system": line_of(&root.host(Path::new("/etc/os-release")), "PRETTY_NAME="),
            "memory_total": line_of(&root.proc("meminfo"), "MemTotal:"),
            "processors": std::thread::available_parallelism().map(std::num::NonZero::get).ok(),
            "agent_pid": agent,
            "agent_limits": agent.and_then(|pid| limits(&pid.to_string())),
            "agent_group": group,
            "agent_group_memory_max": of_group("memory.max"),
            "agent_group_memory_high": of_group("memory.high"),
            "agent_group_cpu_max": of_group("cpu.max"),
            "own_limits": limits("self"),
        });
        self.json("host.json", "kernel, system and limits", &told);
    }

    /// Values of those that say where the agent looks; of the others that are ours, that they are set.
    fn environment(&mut self, variables: &[(String, String)]) {
        let mut told = serde_json::Map::new();
        for (name, value) in variables {
            let is_ours = ["VEDETTE_", "HOST_"].iter().any(|begin| name.starts_with(begin)) || name == "NO_COLOR";
            if is_ours {
                let value = if redact::is_secret(name) { redact::REDACTED } else { value.as_str() };
                told.insert(name.clone(), Value::from(value));
            }
        }
        self.json("environment.json", "variables of this command that are Vedette's", &Value::Object(told));
    }

    fn log(&mut self, log: Option<&Path>) {
        let found = match log {
            Some(path) => end_of(path).map_err(|error| format!("{}: {error}", path.display())),
            None => of_journal(),
        };
        match found {
            Ok(lines) => {
                let lines = self.redactor.lines(&lines);
                self.text("log.txt", "the agent's last log lines, masked", &lines);
            }
            Err(why) => self.miss("log.txt", format!("{why}; `--log FILE` names a file with the agent's log")),
        }
    }
}

/// Whole lines from the end of a file.
fn end_of(path: &Path) -> io::Result<Vec<u8>> {
    let mut file = File::open(path)?;
    let skipped = file.metadata()?.len().saturating_sub(LOG_BYTES_MAX);
    file.seek(SeekFrom::Start(skipped))?;
    let mut lines = Vec::new();
    file.take(LOG_BYTES_MAX).read_to_end(&mut lines)?;
    if skipped > 0 {
        let first = lines.iter().position(|byte| *byte == b'\n').map_or(lines.len(), |end| end + 1);
        lines.drain(..first);
    }
    Ok(lines)
}

fn of_journal() -> Result<Vec<u8>, String> {
    let arguments = ["--unit", UNIT, "--lines", "1000", "--no-pager", "--quiet", "--output", "short-iso"];
    let asked = Command::new("journalctl").args(arguments).stdin(Stdio::null()).stderr(Stdio::null()).output();
    let told = asked.map_err(|error| format!("journalctl: {error}"))?;
    let begin = told.stdout.len().saturating_sub(usize::try_from(LOG_BYTES_MAX).unwrap_or(usize::MAX));
    match told.stdout[begin..].to_vec() {
        lines if told.status.success() && !lines.is_empty() => Ok(lines),
        _ => Err(format!("the journal tells nothing of {UNIT} to this user")),
    }
}

/// Writes the bundle as `tar.gz` into a new file, for its owner alone. What is in it, and what is not, is in it too.
///
/// # Errors
///
/// Of the file system; [`io::ErrorKind::AlreadyExists`] if there is such a file.
pub fn write(bundle: &Bundle, folder: &str, out: &Path) -> io::Result<()> {
    let file = OpenOptions::new().write(true).create_new(true).mode(0o600).open(out)?;
    let mut archive = tar::Builder::new(flate2::write::GzEncoder::new(file, flate2::Compression::default()));
    let contents = contents(bundle);
    let parts = bundle.parts.iter().map(|part| (part.name, part.content.as_str()));
    for (name, content) in [("CONTENTS.txt", contents.as_str())].into_iter().chain(parts) {
        let mut header = tar::Header::new_gnu();
        header.set_size(content.len() as u64);
        header.set_mode(0o600);
        header.set_mtime(crate::clock::wall_now().unix_ms().unsigned_abs() / 1_000);
        header.set_cksum();
        archive.append_data(&mut header, format!("{folder}/{name}"), content.as_bytes())?;
    }
    archive.into_inner()?.finish()?.sync_all()
}

/// What is in it and what is not, for people.
pub fn contents(bundle: &Bundle) -> String {
    let part = |part: &Part| format!("  {:<18} {:>8} bytes  {}\n", part.name, part.content.len(), part.what);
    let missing = |(name, why): &(&str, String)| format!("  {name:<18} not there: {why}\n");
    bundle.parts.iter().map(part).chain(bundle.missing.iter().map(missing)).collect()
}

fn lossy(text: &std::ffi::OsStr) -> String {
    text.to_string_lossy().into_owned()
}

#[cfg(test)]
mod tests;

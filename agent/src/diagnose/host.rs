//! What the agent reads, runs and writes on this host, as far as the user who asks may.

use super::Step;
use crate::config::Config;
use crate::files::tail::{Joining, Tail, is_glob};
use crate::runtime;
use crate::source::{Root, Sink, SourceError};
use crate::status::Status;
use rustix::fs::{Access, access, statvfs};
use std::fs::{self, File};
use std::io;
use vedette_detector_host::confine::new_code_is_allowed;
use vedette_edge::metric::MetricSpec;

/// With less room than this the data directory is about to be full.
const FREE_BYTES_MIN: u64 = 256 << 20;

const AS_AGENT: &str = "let the agent's user read it (group, ACL), or take it out of the configuration";

/// Counts readings.
struct Count(u64);

impl Sink for Count {
    fn reading(&mut self, _metric: &'static MetricSpec, _attributes: &[(&str, &str)], _value: f64) {
        self.0 += 1;
    }
}

/// Reads every enabled source once; those that cannot be read get a step each.
pub(super) fn sources(config: &Config, root: &Root) -> Vec<Step> {
    const NAME: &str = "sources";
    let (mut steps, mut read, mut readings, mut absent) = (Vec::new(), 0, Count(0), Vec::new());
    for source in config.sources.iter().filter(|source| source.enabled) {
        let name = source.spec.name;
        let disable = format!("or disable it: `[sources] {name} = {{ enabled = false }}`");
        match (source.spec.open)(root).read(&mut readings) {
            Ok(()) => read += 1,
            Err(SourceError::Absent(_)) => absent.push(name),
            Err(error @ SourceError::Denied(_)) => {
                steps.push(Step::warn(NAME, format!("{name}: {error}"), format!("grant it, {disable}")));
            }
            Err(error) => steps.push(Step::warn(NAME, format!("{name}: {error}"), disable)),
        }
    }
    let not_here = if absent.is_empty() { String::new() } else { format!("; not on this host: {}", absent.join(", ")) };
    steps.insert(0, Step::ok(NAME, format!("{read} read, {} values{not_here}", readings.0)));
    steps
}

/// Log files and watched files.
pub(super) fn files(config: &Config, root: &Root) -> Vec<Step> {
    const NAME: &str = "files";
    let mut steps = Vec::new();
    let mut fine = 0;
    let watched = config.watch.iter().map(|file| &file.path);
    let (globs, paths): (Vec<_>, Vec<_>) = config.logs.iter().map(|log| &log.path).partition(|path| is_glob(path));
    for glob in &globs {
        let mut tail = Tail::open(&root.host(glob), Joining::Off, None);
        let polled = tail.poll(&mut |_| ());
        fine += tail.followed();
        if polled.is_err() || tail.followed() == 0 {
            let found = format!("nothing that can be read matches {}", glob.display());
            steps.push(Step::warn(NAME, found, "files are read once they appear"));
        }
    }
    for path in paths.into_iter().chain(watched) {
        match File::open(root.host(path)) {
            Ok(_) => fine += 1,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                steps.push(Step::warn(NAME, format!("{} is not there", path.display()), "it is read once it appears"));
            }
            Err(error) => steps.push(Step::fail(NAME, format!("{}: {error}", path.display()), AS_AGENT)),
        }
    }
    if !(config.logs.is_empty() && config.watch.is_empty()) {
        steps.insert(0, Step::ok(NAME, format!("{fine} log files and watched files can be read")));
    }
    steps
}

/// Signatures and versions by this process; by the running agent whether they answer.
pub(super) fn detectors(config: &Config, status: Option<&Status>) -> Step {
    const NAME: &str = "detectors";
    let (wanted, refused) = runtime::detectors_of(config);
    if let Some(first) = refused.first() {
        let found =
            format!("{} of {} refused: `{}`: {}", refused.len(), wanted + refused.len(), first.name, first.reason);
        return Step::fail(NAME, found, "install pairs that an author of `trust.author-keys` signed for this version");
    }
    if wanted == 0 {
        let found = format!("none in {}: the agent measures and judges nothing", config.detectors.directory.display());
        return Step::warn(NAME, found, "install signed pairs, or name their folder with `detectors.directory`");
    }
    let silent = status.and_then(|status| status.detectors.iter().find(|one| one.state != "running"));
    match (silent, status) {
        (Some(one), _) => {
            Step::fail(NAME, format!("`{}` is {}: {}", one.name, one.state, one.reason), "see `vedette-agent status`")
        }
        (None, Some(_)) => Step::ok(NAME, format!("{wanted} signed and running")),
        (None, None) => Step::ok(NAME, format!("{wanted} signed")),
    }
}

/// The data directory, with what waits there.
pub(super) fn disk(config: &Config) -> Vec<Step> {
    let folder = &config.data_dir;
    let shown = folder.display();
    let own = format!("chown it to the agent's user, or run this as that user: `ls -ld {shown}`");
    let writable = match access(folder, Access::WRITE_OK | Access::EXEC_OK) {
        Ok(()) => Step::ok("data directory", format!("{shown} can be written")),
        Err(error) => Step::fail("data directory", format!("{shown}: {}", io::Error::from(error)), own),
    };
    let room = match statvfs(folder) {
        Ok(room) => {
            let free = room.f_bavail.saturating_mul(room.f_frsize);
            let found = format!("{} MiB free under {shown}", free >> 20);
            if free < FREE_BYTES_MIN {
                Step::warn("disk space", found, "make room: a policy or a certificate could not be stored")
            } else {
                Step::ok("disk space", found)
            }
        }
        Err(error) => Step::fail("disk space", format!("{shown}: {}", io::Error::from(error)), "make the folder"),
    };
    vec![writable, room]
}

/// What confines the worker, and whether it may run native code.
pub(super) fn kernel(root: &Root) -> Step {
    const NAME: &str = "confinement";
    let seccomp = fs::read_to_string(root.proc("sys/kernel/seccomp/actions_avail")).is_ok();
    if !seccomp {
        return Step::fail(
            NAME,
            "the kernel has no seccomp filters",
            "the worker does not start without: use another kernel",
        );
    }
    let landlock = fs::read_to_string(root.sys("kernel/security/lsm")).map(|list| list.contains("landlock"));
    let execution = if new_code_is_allowed() { "native code" } else { "no executable memory, so Pulley interprets" };
    match landlock {
        Ok(false) => Step::warn(
            NAME,
            format!("seccomp without landlock; {execution}"),
            "boot with `lsm=landlock,…` for a second wall around detectors",
        ),
        Ok(true) => Step::ok(NAME, format!("seccomp and landlock; {execution}")),
        Err(_) => Step::ok(NAME, format!("seccomp; {execution}; `status` says whether landlock is in force")),
    }
}

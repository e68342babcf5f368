//! `collector.toml`: read whole, all problems at once.

use crate::engine::Correlate;
use crate::store::Retention;
use crate::topology::Topology;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use vedette_protocol::document::{Document, Problem, Table, codes};
use vedette_protocol::signature::PublicKey;

/// Every setting with its default and its meaning.
pub const REFERENCE: &str = include_str!("config/reference.toml");

const DAY_MS: u64 = 86_400_000;

/// Configuration as meant.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// State.
    pub data_dir: PathBuf,
    /// UDP address for agents.
    pub listen: SocketAddr,
    /// HTTP address of the API, loopback.
    pub api: SocketAddr,
    /// Further names of the endpoint's certificate.
    pub names: Vec<String>,
    /// Keys that may sign policy.
    pub policy_keys: Vec<PublicKey>,
    /// Topology file, if there is one.
    pub topology: Option<PathBuf>,
    /// Correlation.
    pub correlate: Correlate,
    /// Retention.
    pub retention: Retention,
}

impl Default for Config {
    fn default() -> Self {
        let local = |port| SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), port);
        Self {
            data_dir: PathBuf::from("/var/lib/vedette-collector"),
            listen: local(4710),
            api: local(4711),
            names: Vec::new(),
            policy_keys: Vec::new(),
            topology: None,
            correlate: Correlate::default(),
            retention: Retention::default(),
        }
    }
}

impl Config {
    /// Reads and checks a configuration.
    ///
    /// # Errors
    ///
    /// All problems at once.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let document = Document::parse(file_name, text)?;
        let mut config = Self::default();
        let mut root = document.root();
        if let Some(mut table) = root.table("collector") {
            config.read_collector(&mut table);
        }
        if let Some(mut table) = root.table("trust") {
            let expects = "`ed25519:` and 64 hexadecimal digits, as `vedette policy keygen` prints";
            config.policy_keys = table.all_parsed("policy-keys", expects).unwrap_or_default();
        }
        if let Some(mut table) = root.table("topology") {
            config.topology = table.string("file").map(PathBuf::from);
            if config.topology.is_none() {
                table.missing("file", "name the topology file, or remove the section");
            }
        }
        if let Some(mut table) = root.table("correlate") {
            read_correlate(&mut config.correlate, &mut table);
        }
        if let Some(mut table) = root.table("retention") {
            read_retention(&mut config.retention, &mut table);
        }
        drop(root);
        let problems = document.finish();
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// Reads a configuration file and the topology that it names.
    ///
    /// # Errors
    ///
    /// All problems of both files; a file that cannot be read is a problem too.
    pub fn load(path: &Path) -> Result<(Self, Topology), Vec<Problem>> {
        let mut config = Self::parse(&path.display().to_string(), &read(path)?)?;
        let Some(file) = config.topology.take() else { return Ok((config, Topology::default())) };
        let file = path.parent().unwrap_or(Path::new("")).join(file);
        let topology = Topology::parse(&file.display().to_string(), &read(&file)?)?;
        config.topology = Some(file);
        Ok((config, topology))
    }

    fn read_collector(&mut self, table: &mut Table<'_>) {
        if let Some(directory) = table.string("data-dir") {
            self.data_dir = PathBuf::from(directory);
        }
        let expects = "an IP address and a port, such as \"127.0.0.1:4710\"";
        self.listen = table.parsed("listen", expects).unwrap_or(self.listen);
        self.api = table.parsed("api", expects).unwrap_or(self.api);
        if !self.api.ip().is_loopback() {
            let message = format!("`{}` is not a loopback address", self.api);
            table.problem(
                "api",
                codes::OUT_OF_RANGE,
                &message,
                "use 127.0.0.1 or [::1], and a proxy with TLS for more",
            );
        }
        self.names = table.strings("names").unwrap_or_default();
    }
}

fn read_correlate(correlate: &mut Correlate, table: &mut Table<'_>) {
    let mut set = |key, range, field: &mut u64| *field = table.duration_ms(key, range).unwrap_or(*field);
    set("window", 1_000..=DAY_MS, &mut correlate.window_ms);
    set("window-max", 1_000..=7 * DAY_MS, &mut correlate.window_max_ms);
    set("resolve-hold", 1_000..=DAY_MS, &mut correlate.resolve_hold_ms);
    set("reopen-window", 0..=7 * DAY_MS, &mut correlate.reopen_window_ms);
    set("change-window", 1_000..=DAY_MS, &mut correlate.change_window_ms);
    set("cause-window", 1_000..=7 * DAY_MS, &mut correlate.cause_window_ms);
    set("persist-alone", 0..=DAY_MS, &mut correlate.persist_alone_ms);
    set("episode-ttl", 60_000..=30 * DAY_MS, &mut correlate.episode_ttl_ms);
    set("directive-life", 10_000..=900_000, &mut correlate.directive_life_ms);
    correlate.surprise_alone = table.float("surprise-alone", 0.0..=300.0).unwrap_or(correlate.surprise_alone);
    if correlate.window_max_ms < correlate.window_ms {
        let remedy = "make `window-max` at least as long as `window`";
        table.problem("window-max", codes::CONTRADICTION, "`window-max` is shorter than `window`", remedy);
    }
}

fn read_retention(retention: &mut Retention, table: &mut Table<'_>) {
    let mut set = |key, field: &mut u64| *field = table.duration_ms(key, 3_600_000..=3_650 * DAY_MS).unwrap_or(*field);
    set("blocks", &mut retention.blocks_ms);
    set("findings", &mut retention.findings_ms);
    set("batches", &mut retention.batches_ms);
    set("events", &mut retention.events_ms);
}

fn read(path: &Path) -> Result<String, Vec<Problem>> {
    std::fs::read_to_string(path).map_err(|error| {
        vec![Problem {
            code: codes::SYNTAX,
            file: path.display().to_string(),
            line: 1,
            column: 1,
            message: format!("cannot be read: {error}"),
            remedy: "check the path and the permissions".to_owned(),
        }]
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_reference_says_what_the_defaults_are() {
        assert_eq!(Config::parse("reference.toml", REFERENCE).unwrap(), Config::default());
    }

    #[test]
    fn all_problems_are_told_at_once() {
        let text = "[collector]\napi = \"0.0.0.0:1\"\nlisten = \"nowhere\"\n[trust]\npolicy-keys = [\"rsa:1\"]\n\
                    [correlate]\nwindow = \"2h\"\nhold = 1\n";
        let problems = Config::parse("collector.toml", text).unwrap_err();
        let found: Vec<_> = problems.iter().map(|problem| (problem.line, problem.code)).collect();
        assert_eq!(
            found,
            [
                (2, codes::OUT_OF_RANGE),
                (3, codes::BAD_FORM),
                (5, codes::BAD_FORM),
                (6, codes::CONTRADICTION),
                (8, codes::UNKNOWN_KEY)
            ]
        );
    }

    #[test]
    fn a_topology_file_is_found_beside_the_configuration_and_its_problems_are_told() {
        let directory = tempfile::tempdir().unwrap();
        let file = directory.path().join("collector.toml");
        std::fs::write(&file, "[topology]\nfile = \"t.toml\"\n").unwrap();
        assert!(Config::load(&file).unwrap_err()[0].file.ends_with("t.toml"));
        std::fs::write(directory.path().join("t.toml"), "[[services]]\nname = \"a\"\n").unwrap();
        assert_eq!(Config::load(&file).unwrap().1.services.len(), 1);
    }
}

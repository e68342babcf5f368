//! `agent.toml`: read whole, checked whole, all problems at once. See [`reference_text`] for every setting.

mod read;
mod render;

#[cfg(test)]
mod tests;

pub use render::reference_text;

use crate::durable;
use crate::files::tail::Joining;
use crate::inventory::{self, InventorySpec};
use crate::source::{self, SourceSpec};
use std::io;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use vedette_detector_host::confine::new_code_is_allowed;
use vedette_detector_host::engine::Execution;
use vedette_edge::mask::MaskRules;
use vedette_edge::planner::Budgets;
use vedette_protocol::document::{DOCUMENT_BYTES_MAX, Document, Problem};
use vedette_protocol::signature::PublicKey;

/// Most log files.
pub const LOGS_MAX: usize = 64;
/// Most of them that are globs: the files that these follow are half of those that the unit allows to be open.
pub const GLOBS_MAX: usize = 8;
/// Most watched files.
pub const WATCHED_MAX: usize = 256;
/// Most keys of one kind that are trusted.
pub const KEYS_MAX: usize = 16;
/// Most patterns of texts that are masked.
pub const PATTERNS_MAX: usize = 32;
/// Longest path, as the kernel has it.
pub const PATH_BYTES_MAX: usize = 4_095;
/// Longest name of a service, of a detector or of a parameter.
pub const NAME_BYTES_MAX: usize = 128;

/// The agent's configuration as meant: checked, with every default filled in.
#[derive(Clone, Debug, PartialEq)]
pub struct Config {
    /// Where keys, certificate, policy and positions are kept.
    pub data_dir: PathBuf,
    /// Unix socket of the local interface.
    pub socket: PathBuf,
    /// Filter of the agent's own log.
    pub log: String,
    /// Where findings go.
    pub collector: CollectorConfig,
    /// Whose signatures count.
    pub trust: TrustConfig,
    /// Detectors and their parameters.
    pub detectors: DetectorsConfig,
    /// The agent's own metrics over HTTP.
    pub metrics: MetricsConfig,
    /// Where batches wait for the collector.
    pub spool: SpoolConfig,
    /// What the agent may spend.
    pub budget: BudgetConfig,
    /// Bounds on memory.
    pub limits: LimitsConfig,
    /// The flight recorder.
    pub recorder: RecorderLimits,
    /// What is masked beside secrets and personal data.
    pub masking: MaskRules,
    /// Every source of [`source::ALL`], in that order.
    pub sources: Vec<SourceConfig>,
    /// Every inventory of [`inventory::ALL`], in that order.
    pub inventories: Vec<InventoryConfig>,
    /// The systemd journal.
    pub journald: JournaldConfig,
    /// Log files to follow.
    pub logs: Vec<LogConfig>,
    /// Files whose edits are changes.
    pub watch: Vec<FileConfig>,
}

/// The collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CollectorConfig {
    /// `host:port` (UDP).
    pub address: String,
    /// Name that its certificate has to carry.
    pub server_name: String,
}

/// Whose signatures count.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct TrustConfig {
    /// Keys that may sign a policy.
    pub policy_keys: Vec<PublicKey>,
    /// Keys that may sign a detector.
    pub author_keys: Vec<PublicKey>,
}

/// Detectors and their parameters.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectorsConfig {
    /// Directory of signed pairs.
    pub directory: PathBuf,
    /// Directory of signed pairs that run as shadows of the detectors of their names.
    pub shadow_directory: PathBuf,
    /// How they are executed.
    pub execution: ExecutionConfig,
    /// Parameters that differ from a detector's own defaults, by detector name; both levels sorted by name.
    pub parameters: ByDetector,
    /// The same for shadows. A detector named here without a pair of its own in the shadow directory runs a second time
    /// with these parameters.
    pub shadow_parameters: ByDetector,
}

/// Parameters by detector name.
pub type ByDetector = Vec<(String, Vec<(String, f64)>)>;

impl DetectorsConfig {
    /// The parameters of one of the two tables.
    pub fn parameters_of(&self, table: ParameterTable) -> &ByDetector {
        match table {
            ParameterTable::Judged => &self.parameters,
            ParameterTable::Shadow => &self.shadow_parameters,
        }
    }
}

/// Where parameters are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ParameterTable {
    /// `detectors.parameters`.
    Judged,
    /// `detectors.shadow-parameters`.
    Shadow,
}

impl ParameterTable {
    /// Both.
    pub const ALL: [Self; 2] = [Self::Judged, Self::Shadow];

    const fn key(self) -> &'static str {
        match self {
            Self::Judged => "parameters",
            Self::Shadow => "shadow-parameters",
        }
    }
}

/// What stands against a configuration that is fine by itself.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Objection {
    /// A detector refuses its parameters.
    Parameter(Misfit),
    /// It can take more memory than it may.
    Memory {
        /// For people: how much, of how much.
        message: String,
        /// What to do.
        remedy: String,
    },
}

/// Parameters that a detector refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Misfit {
    /// Where they stand.
    pub table: ParameterTable,
    /// Detector.
    pub detector: String,
    /// Which of them; `None` for all together.
    pub parameter: Option<String>,
    /// Why.
    pub reason: String,
}

/// How detectors are executed, as a person puts it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum ExecutionConfig {
    /// Natively where the host allows executable memory.
    #[default]
    Auto,
    /// In this way, whatever the host allows.
    Always(Execution),
}

impl ExecutionConfig {
    /// `auto`, `native` or `pulley`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Auto => "auto",
            Self::Always(execution) => execution.name(),
        }
    }

    /// What it comes to on this host. Ask before this process gives up executable memory itself.
    pub fn resolve(self) -> Execution {
        match self {
            Self::Always(execution) => execution,
            Self::Auto if new_code_is_allowed() => Execution::Native,
            Self::Auto => Execution::Pulley,
        }
    }
}

impl FromStr for ExecutionConfig {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Self::Auto),
            name => Execution::named(name).map(Self::Always).ok_or(()),
        }
    }
}

/// The agent's own metrics over HTTP.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct MetricsConfig {
    /// Where scrapers may come; `None` for nowhere.
    pub listen: Option<SocketAddr>,
    /// Whether other hosts may.
    pub public: bool,
}

/// Where batches wait for the collector.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SpoolConfig {
    /// Directory of its own.
    pub directory: PathBuf,
    /// Bytes on disk.
    pub bytes_max: u64,
}

/// What the agent may spend; `None` is without a limit. Disk has limits of its own: spool and recorder.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct BudgetConfig {
    /// CPU time of all its processes, in percent of one core.
    pub cpu_percent: Option<f64>,
    /// Bytes for the collector.
    pub uplink_bytes_per_hour: Option<u64>,
}

impl BudgetConfig {
    /// The same for the pipeline.
    #[expect(clippy::cast_precision_loss, reason = "at most 2^40 bytes")]
    pub fn budgets(&self) -> Budgets {
        let uplink_bytes_per_hour = self.uplink_bytes_per_hour.map(|bytes| bytes as f64);
        Budgets { uplink_bytes_per_hour, ..self.cpu_percent.map(Budgets::of_cpu_percent).unwrap_or_default() }
    }
}

/// Bounds on memory.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct LimitsConfig {
    /// Bytes of batches that wait for the collector while the disk does not take them.
    pub memory_spool_bytes: usize,
    /// Series; more are folded and counted.
    pub series_max: usize,
    /// Log templates; more are folded and counted.
    pub templates_max: usize,
    /// Linear memory of one detector.
    pub detector_memory_bytes: usize,
    /// What agent and workers may take together; a configuration that can take more is refused. 0 for whatever it takes.
    pub memory_bytes_max: u64,
}

/// How much the flight recorder keeps; 0 is off.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct RecorderLimits {
    /// Bytes in memory: some hours of a thousand series.
    pub memory_bytes: usize,
    /// Bytes under the data directory: hours.
    pub disk_bytes: u64,
}

/// A source and how it is read.
#[derive(Clone, Copy, Debug)]
pub struct SourceConfig {
    /// Source.
    pub spec: &'static SourceSpec,
    /// Interval; whole seconds.
    pub interval_ms: u32,
    /// Whether it is read at all.
    pub enabled: bool,
}

impl PartialEq for SourceConfig {
    fn eq(&self, other: &Self) -> bool {
        (self.spec.name, self.interval_ms, self.enabled) == (other.spec.name, other.interval_ms, other.enabled)
    }
}

/// An inventory and how often it is looked at.
#[derive(Clone, Copy, Debug)]
pub struct InventoryConfig {
    /// Inventory.
    pub spec: &'static InventorySpec,
    /// Interval; whole seconds.
    pub interval_ms: u32,
    /// Whether it is looked at at all.
    pub enabled: bool,
}

impl PartialEq for InventoryConfig {
    fn eq(&self, other: &Self) -> bool {
        (self.spec.name, self.interval_ms, self.enabled) == (other.spec.name, other.interval_ms, other.enabled)
    }
}

/// The systemd journal.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct JournaldConfig {
    /// Whether it is read, where there is one.
    pub enabled: bool,
}

/// A log file to follow.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogConfig {
    /// Absolute path.
    pub path: PathBuf,
    /// Declared service; empty for none.
    pub service: String,
    /// Which lines belong together.
    pub joining: Joining,
}

/// A file and the service that it belongs to.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct FileConfig {
    /// Absolute path.
    pub path: PathBuf,
    /// Declared service; empty for none.
    pub service: String,
}

/// Why a file is no configuration.
#[derive(Debug)]
pub enum Unusable {
    /// It cannot be read.
    Unreadable(io::Error),
    /// All problems of what was read, for people.
    Problems(Vec<String>),
}

impl Config {
    /// Reads and checks a file.
    ///
    /// # Errors
    ///
    /// [`Unusable`]; nothing of the file counts then.
    pub fn load(file: &Path) -> Result<Self, Unusable> {
        Self::load_judged(file, |_| Vec::new())
    }

    /// The same, and then what `judge` finds in a file that is fine by itself.
    ///
    /// # Errors
    ///
    /// [`Unusable`].
    pub fn load_judged(file: &Path, judge: impl FnOnce(&Self) -> Vec<Objection>) -> Result<Self, Unusable> {
        let bytes = durable::read_capped(file, DOCUMENT_BYTES_MAX as u64).map_err(Unusable::Unreadable)?;
        let text = String::from_utf8(bytes)
            .map_err(|_| Unusable::Problems(vec![format!("{}: not UTF-8 text", file.display())]))?;
        Self::parse_judged(&file.display().to_string(), &text, judge)
            .map_err(|problems| Unusable::Problems(problems.iter().map(ToString::to_string).collect()))
    }

    /// Sources that are read, with their intervals in milliseconds.
    pub fn intervals(&self) -> Vec<(String, u32)> {
        let enabled = self.sources.iter().filter(|source| source.enabled);
        enabled.map(|source| (source.spec.name.to_owned(), source.interval_ms)).collect()
    }

    /// Reads and checks `text`; `file_name` is what problems will name.
    ///
    /// # Errors
    ///
    /// All problems of the file, by position.
    pub fn parse(file_name: &str, text: &str) -> Result<Self, Vec<Problem>> {
        let document = Document::parse(file_name, text)?;
        let config = read::config(&mut document.root());
        let problems = document.finish();
        if problems.is_empty() { Ok(config) } else { Err(problems) }
    }

    /// The same, and then what `judge` finds in a file that is fine by itself, each at its line.
    ///
    /// # Errors
    ///
    /// All problems of either sort, by position.
    pub fn parse_judged(
        file_name: &str,
        text: &str,
        judge: impl FnOnce(&Self) -> Vec<Objection>,
    ) -> Result<Self, Vec<Problem>> {
        let config = Self::parse(file_name, text)?;
        let objections = judge(&config);
        if objections.is_empty() {
            return Ok(config);
        }
        let document = Document::parse(file_name, text)?;
        let mut root = document.root();
        read::config(&mut root);
        objections.iter().for_each(|objection| read::objection(&mut root, objection));
        Err(document.finish())
    }

    /// The configuration in effect as TOML that [`Config::parse`] reads back to the same.
    pub fn to_toml(&self) -> String {
        render::effective_text(self)
    }
}

impl Default for Config {
    /// What an empty file would mean, were the collector's address not required.
    fn default() -> Self {
        Self::with_data_dir("/var/lib/vedette".into())
    }
}

impl Config {
    /// The default, but for where the agent keeps its data.
    pub fn with_data_dir(data_dir: PathBuf) -> Self {
        Self {
            socket: "/run/vedette/agent.sock".into(),
            log: crate::log::FILTER.to_owned(),
            collector: CollectorConfig {
                address: "127.0.0.1:4710".to_owned(),
                server_name: "vedette-collector".to_owned(),
            },
            trust: TrustConfig::default(),
            detectors: DetectorsConfig {
                directory: "/usr/lib/vedette/detectors".into(),
                shadow_directory: "/usr/lib/vedette/shadow-detectors".into(),
                execution: ExecutionConfig::Auto,
                parameters: Vec::new(),
                shadow_parameters: Vec::new(),
            },
            metrics: MetricsConfig::default(),
            recorder: RecorderLimits { memory_bytes: 4 << 20, disk_bytes: 64 << 20 },
            spool: SpoolConfig { directory: data_dir.join("spool"), bytes_max: 256 << 20 },
            data_dir,
            budget: BudgetConfig { cpu_percent: None, uplink_bytes_per_hour: None },
            limits: LimitsConfig {
                memory_spool_bytes: 8 << 20,
                series_max: 4_000,
                templates_max: 1_000,
                detector_memory_bytes: 16 << 20,
                memory_bytes_max: 0,
            },
            masking: MaskRules::default(),
            sources: source::ALL
                .iter()
                .map(|spec| SourceConfig { spec, interval_ms: spec.interval_ms, enabled: true })
                .collect(),
            inventories: inventory::ALL
                .iter()
                .map(|spec| InventoryConfig { spec, interval_ms: spec.interval_ms, enabled: true })
                .collect(),
            journald: JournaldConfig { enabled: true },
            logs: Vec::new(),
            watch: Vec::new(),
        }
    }
}

//! What the agent says of itself: one JSON object over the local socket, or a screen for people.

mod human;

pub use human::render;

use crate::cost::BudgetStatus;
use crate::disk::LearntView;
use crate::inventory::Record;
use crate::memory::{MemoryBound, MemoryHeld};
use crate::recorder::DiskView;
use serde::{Deserialize, Serialize};
use vedette_edge::learnt::ReturnCounts;
use vedette_edge::recorder::RecorderCounts;

/// Everything that an operator may want to know at a glance. Counts are since start.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Software version.
    pub version: String,
    /// Who this is.
    pub host: HostStatus,
    /// Since start.
    pub uptime_ms: u64,
    /// Sampling.
    pub ready: bool,
    /// Nothing below asks for a person's attention.
    pub healthy: bool,
    /// What does, if not healthy.
    pub problems: Vec<String>,
    /// Detectors have learnt enough to judge.
    pub warm: bool,
    /// What it took, or so far.
    pub warmup_ms: u64,
    /// Ticks of one second.
    pub ticks: TickStatus,
    /// Series.
    pub series: SeriesStatus,
    /// Sources.
    pub sources: Vec<SourceStatus>,
    /// Detectors.
    pub detectors: Vec<DetectorStatus>,
    /// Artifacts in the detector directory that are not run.
    pub detectors_refused: Vec<RefusedStatus>,
    /// The process that runs detectors.
    pub worker: WorkerStatus,
    /// What detectors have learnt, over restarts of the agent.
    #[serde(default)]
    pub learnt: LearntStatus,
    /// This process.
    pub agent: ProcessStatus,
    /// Memory: at most, and now.
    #[serde(default)]
    pub memory: MemoryStatus,
    /// Those who follow live.
    #[serde(default)]
    pub taps: TapStatus,
    /// The configuration read anew while running.
    #[serde(default)]
    pub reload: ReloadStatus,
    /// Policy.
    pub policy: PolicyStatus,
    /// Directives.
    pub directives: DirectiveStatus,
    /// What may be spent, what was of late, and what was left out for it.
    #[serde(default)]
    pub budget: BudgetStatus,
    /// Batches that wait for the collector.
    pub spool: SpoolStatus,
    /// The flight recorder; `None` if it is off.
    #[serde(default)]
    pub recorder: Option<RecorderStatus>,
    /// Connection to the collector.
    pub link: LinkStatus,
    /// The pipeline's ledger: `detected = emitted + folded + shed`, and its other counts.
    pub ledger: serde_json::Map<String, serde_json::Value>,
    /// What was left out in reading log files and watched files.
    pub files: FilesStatus,
    /// The systemd journal, if it is read.
    pub journald: Option<JournaldStatus>,
    /// Log files, and services in the journal.
    pub logs: Vec<LogStatus>,
    /// Watched files.
    pub watch: Vec<WatchStatus>,
    /// Inventories: what the host is made of.
    #[serde(default)]
    pub inventories: Vec<InventoryStatus>,
}

/// Who this is.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct HostStatus {
    /// Id by the collector.
    pub id: String,
    /// `host.name`.
    pub name: String,
    /// End of the certificate, RFC 3339.
    pub certificate_ends: Option<String>,
}

/// Ticks.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TickStatus {
    /// Run.
    pub run: u64,
    /// Not run because the agent was late by a second or more.
    pub missed: u64,
    /// Time from a tick's due moment to its end, the longest.
    pub ns_max: u64,
}

/// Series.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SeriesStatus {
    /// Known.
    pub total: u64,
    /// Of these, collected each second.
    pub at_1s: u64,
    /// Beyond the limit, not kept apart.
    pub folded: u64,
    /// How odd they are together by the votes of detectors, in thousandths; 1,000 is a whole new kind of one series.
    #[serde(default)]
    pub oddness_milli: u64,
}

/// A source.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Name.
    pub name: String,
    /// Interval in effect.
    pub interval_ms: u32,
    /// Readings.
    pub reads: u64,
    /// Readings that failed.
    pub errors: u64,
    /// Readings that were not done in time.
    pub overruns: u64,
    /// Things left out by a limit.
    pub dropped: u64,
    /// Time of the last reading.
    pub ns_last: u64,
    /// Time of all readings.
    pub ns_total: u64,
    /// Why the last reading failed.
    pub last_error: Option<String>,
}

/// An inventory.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct InventoryStatus {
    /// Name.
    pub name: String,
    /// Interval.
    pub interval_ms: u32,
    /// What it did.
    #[serde(flatten)]
    pub record: Record,
}

/// A detector.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct DetectorStatus {
    /// Name.
    pub name: String,
    /// Version.
    pub version: String,
    /// SHA-256 of the `.wasm`.
    pub digest: String,
    /// `loading`, `running`, `backing-off` or `quarantined`.
    pub state: String,
    /// Last failure; empty for none.
    pub reason: String,
    /// From the call that failed last to its end.
    pub demoted_after_ms: Option<u64>,
    /// Failures that were not forgiven.
    pub strikes: u32,
    /// Ticks answered.
    pub calls: u64,
    /// Values scored.
    pub values: u64,
    /// Time inside the guest.
    pub guest_ns: u64,
    /// Series that it is asked about: those that it was told of and did not decline.
    pub series: u64,
    /// State held for it.
    pub state_bytes: u64,
    /// Time inside the guest per value, over all values.
    pub ns_per_value: u64,
    /// Linear memory of the guest.
    pub memory_bytes: u64,
    /// Detector beside which it runs without being judged by.
    pub shadow_of: Option<String>,
    /// Its scores, for a shadow and for whom it follows.
    pub scores: Option<ScoresStatus>,
}

/// Scores since a comparison began. Median and `p99` may be a quarter too high.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct ScoresStatus {
    /// Values that the detector had an opinion on.
    pub judged: u64,
    /// Values that it had none on.
    pub undecided: u64,
    /// Median.
    pub median: f32,
    /// 99th percentile.
    pub p99: f32,
    /// Highest.
    pub highest: f32,
}

/// An artifact that is not run.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedStatus {
    /// File name.
    pub name: String,
    /// Class of the reason.
    pub code: String,
    /// For people.
    pub reason: String,
}

/// The worker.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WorkerStatus {
    /// Process id of the one that answers.
    pub pid: Option<u32>,
    /// `native` or `pulley`.
    pub execution: String,
    /// What it has given up.
    pub confinement: Vec<String>,
    /// Workers that died or had to be killed.
    pub restarts: u64,
    /// Switches to another worker, the first included.
    pub switches: u64,
    /// Ticks withheld from a detector that had not answered its last one.
    pub ticks_withheld: u64,
    /// Requests that nobody was there to answer.
    pub requests_dropped: u64,
    /// States that a detector took over at a switch.
    pub states_restored: u64,
    /// Restores of which a detector refused a state at least: what it refused starts cold.
    pub restores_refused: u64,
}

/// What detectors have learnt: what was found of an earlier life at start, and what is stored for the next.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LearntStatus {
    /// How old what was found was; `None` if nothing was found, or nothing of use.
    pub age_ms: Option<u64>,
    /// Whether it is another host's.
    pub is_prior: bool,
    /// Why what was found is of no use; empty for none.
    pub refused: String,
    /// What became of it.
    pub states: ReturnCounts,
    /// States whose series or detector has not come yet.
    pub waiting: u64,
    /// States that found no room in what was stored last.
    pub left_out: u64,
    /// What is stored.
    pub stored: LearntView,
}

/// A process.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ProcessStatus {
    /// Process id.
    pub pid: u32,
    /// What it has given up.
    pub confinement: Vec<String>,
}

/// Memory of all processes.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryStatus {
    /// At most, by the configuration.
    pub bound: MemoryBound,
    /// The agent's process now.
    pub agent: MemoryHeld,
    /// Workers now: one, and while detectors are exchanged two.
    pub workers: Vec<MemoryHeld>,
}

impl MemoryStatus {
    /// All processes now.
    pub fn bytes(&self) -> u64 {
        self.agent.bytes + self.workers.iter().map(|worker| worker.bytes).sum::<u64>()
    }
}

/// Those who follow live (`vedette-agent tap`).
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct TapStatus {
    /// How many there are.
    pub open: u64,
    /// Things that they did not read in time, those who have gone included.
    pub missed: u64,
}

/// Readings of the configuration after the first.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ReloadStatus {
    /// How many.
    pub count: u64,
    /// The last one was refused: what was in effect runs on.
    pub refused: bool,
    /// Settings that the last one that was not refused has changed.
    pub applied: Vec<String>,
    /// Settings that are other in the file and take a restart.
    pub restart: Vec<String>,
    /// Why the last one was refused.
    pub problems: Vec<String>,
}

/// Policy.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct PolicyStatus {
    /// Version that runs; 0 for the built-in default.
    pub version_in_effect: u64,
    /// It has expired and runs on.
    pub stale: bool,
    /// Documents refused.
    pub refused: u64,
    /// Why the last one was.
    pub last_refused: Option<String>,
}

/// Directives.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct DirectiveStatus {
    /// Ids of those in effect.
    pub in_effect: Vec<String>,
    /// Documents refused.
    pub refused: u64,
    /// Why the last one was.
    pub last_refused: Option<String>,
}

/// Batches by class.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ClassCounts {
    /// Findings, changes, series.
    pub finding: u64,
    /// Features, raw samples.
    pub feature: u64,
    /// Log windows.
    pub log: u64,
}

/// The flight recorder.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RecorderStatus {
    /// Bytes in memory, samples that wait for their block included.
    pub memory_bytes: u64,
    /// Their bound.
    pub memory_bytes_max: u64,
    /// Time of the oldest sample in memory, RFC 3339.
    pub memory_begin: Option<String>,
    /// What was recorded and left out.
    pub counts: RecorderCounts,
    /// What is on disk; `None` if nothing shall be.
    pub disk: Option<DiskView>,
    /// Bound of that.
    pub disk_bytes_max: u64,
}

/// The spool: `made = acked + shed + pending`, since its queue epoch began.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolStatus {
    /// Its life.
    pub queue_epoch: u64,
    /// Batches given a sequence.
    pub made: u64,
    /// Settled by the collector.
    pub acked: u64,
    /// Dropped for want of room.
    pub shed: ClassCounts,
    /// Waiting.
    pub pending: u64,
    /// Memory in use.
    pub bytes: u64,
    /// Part of `shed` by what was the reason.
    pub shed_reasons: ShedReasons,
    /// Its other half.
    pub disk: SpoolDiskStatus,
    /// Part of `acked` that the collector had before.
    pub duplicates: u64,
    /// Part of `acked` that the collector put aside unread.
    pub quarantined: u64,
}

/// Batches shed, by reason.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct ShedReasons {
    /// The disk's share was full.
    pub disk_room: u64,
    /// Memory's share was full, and the disk did not take it.
    pub memory_room: u64,
    /// Damaged on disk.
    pub damaged: u64,
    /// No collector would take it.
    pub unsendable: u64,
    /// Of a life of the spool that was left: made as another host, or under sequences that were used before.
    pub left: u64,
}

/// The spool's disk.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct SpoolDiskStatus {
    /// `ok`, `failing` or `absent`.
    pub state: String,
    /// Why, if not `ok`.
    pub reason: String,
    /// Bytes of all segments.
    pub bytes: u64,
    /// Segments.
    pub segments: u64,
}

/// The connection.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct LinkStatus {
    /// Up.
    pub connected: bool,
    /// Round trip.
    pub rtt_ms: Option<f64>,
    /// The collector's clock minus ours.
    pub offset_ms: Option<f64>,
    /// UDP payload sent.
    pub udp_bytes_sent: u64,
    /// Connections after the first.
    pub reconnects: u64,
    /// What stood in the way of the last connection, in a word.
    pub obstacle: Option<String>,
    /// The same for people.
    pub last_error: Option<String>,
}

/// Log files and watched files together.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct FilesStatus {
    /// Ticks in which log lines did not come in time.
    pub log_overruns: u64,
    /// Ticks in which the look at watched files was not over in time.
    pub watch_overruns: u64,
    /// Ticks in which the inventories that were due before were not all looked at yet.
    #[serde(default)]
    pub inventory_overruns: u64,
    /// Looks at a watched file that could not be read.
    pub watch_unreadable: u64,
    /// Looks at a watched file that was too large or no regular file.
    pub watch_unfit: u64,
}

/// The systemd journal. Counts are since start.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct JournaldStatus {
    /// Entries read as lines.
    pub lines: u64,
    /// Files opened.
    pub files: u64,
    /// Messages of which only the begin was read.
    pub messages_cut: u64,
    /// Entries that were gone or damaged before they were read.
    pub entries_missed: u64,
    /// Damaged entries, a part of those missed.
    pub entries_damaged: u64,
    /// Entries without a message that can be read.
    pub entries_silent: u64,
    /// Entries that this agent wrote.
    pub entries_own: u64,
    /// Entries before the backlog of a journal that was seen for the first time.
    pub entries_skipped: u64,
    /// Fields that are damaged, in a compression that is not read, or too many for one entry.
    pub fields_skipped: u64,
    /// Files that are no journal, of a newer format, damaged, or too many.
    pub files_refused: u64,
    /// Why it cannot be read.
    pub last_error: Option<String>,
}

/// A log file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogStatus {
    /// Path.
    pub path: String,
    /// Files that are followed: one at most, unless the path is a glob.
    pub files: u64,
    /// Files that match, and wait until there is room for one more.
    pub files_waiting: u64,
    /// Lines read.
    pub lines: u64,
    /// Bytes read.
    pub bytes: u64,
    /// Rotations, truncations included.
    pub rotations: u64,
    /// Lines of which only the begin was read.
    pub lines_cut: u64,
    /// Bytes of unfinished lines that a truncation took away.
    pub bytes_lost: u64,
    /// Bytes before the backlog of a file that was seen for the first time.
    pub bytes_skipped: u64,
    /// Rotated files that were not read to their end.
    pub files_abandoned: u64,
    /// Files that were gone after a restart, perhaps with lines that were not read.
    pub files_gone: u64,
    /// Why it cannot be read.
    pub last_error: Option<String>,
}

/// A watched file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct WatchStatus {
    /// Path.
    pub path: String,
    /// Changes seen.
    pub changes: u64,
    /// Why it cannot be compared.
    #[serde(default)]
    pub last_error: Option<String>,
}

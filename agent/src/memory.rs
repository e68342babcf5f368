//! How much memory agent and workers take at most, told from the configuration and the detectors on the shelf before
//! anything runs; and what they take now. `docs/limits.md` explains the sum.

use crate::config::{Config, Objection};
use crate::files::{journal, tail};
use crate::lanes::lines;
use crate::local::{ANSWER_BYTES_MAX, CONNECTIONS_MAX, PORTIONS_MAX, TAPS_MAX};
use crate::recorder::backlog;
use crate::runtime::detectors::Found;
use crate::worker_process::SCORE_BUFFERS_MAX;
use crate::{inventory, runtime, source, spool};
use serde::{Deserialize, Serialize};
use std::fmt;
use vedette_detector_host::confine::WORKER_DATA_BYTES_MAX;
use vedette_edge::pipeline::{Extent, Footprint};
use vedette_edge::recorder::{Recorder, RecorderConfig};
use vedette_edge::tap::{TAP_BYTES_MAX, Tap};

/// Code and data of the program that are touched, stacks of its threads, QUIC and TLS, policy and settings: what an agent
/// takes that has read nothing yet is below 8 MiB (measured).
const PROGRAM_BYTES: u64 = 12 << 20;
/// Send and receive windows of the connection, and batches handed to it (`link`'s transport).
const CONNECTION_BYTES: u64 = 4 << 20;
/// What the C library leaves unused between blocks, as a part of what is in use: measured under a tenth.
const UNUSED_PART: u64 = 8;
/// Names and numbers of processes that one look at all of them holds.
const PROCESSES_BYTES: usize = 4 << 20;
/// A reading that waits for its tick.
const READING_BYTES: usize = 256;
/// A thing of an inventory beside its name: a node of a tree that may be half full.
const ITEM_BYTES: usize = 304;
/// A description of a container, as bytes and taken apart.
const DESCRIPTION_BYTES: usize = 8 << 20;
/// Largest reply of a worker: half a megabyte of states, as bytes and taken apart.
const REPLY_BYTES: usize = 1 << 20;
/// Copies of where a log stands: the lane's, that of the portion on its way, the pipeline's, the spool's.
const POSITIONS_HELD: usize = 4;
/// What a tap holds, as lines of JSON.
const PORTION_BYTES: usize = 2 * TAP_BYTES_MAX;
/// The engine, its code and what it lays out for one instance: below 7 MiB with three detectors (measured).
const WORKER_BYTES: u64 = 8 << 20;
const INSTANCE_BYTES: u64 = 512 << 10;

/// How much memory is taken at most, by what for.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryBound {
    /// All parts together.
    pub total_bytes: u64,
    /// What the configuration allows; `None` for no limit.
    pub allowed_bytes: Option<u64>,
    /// Parts, those of the agent's process first.
    pub parts: Vec<MemoryPart>,
}

/// A part of it.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryPart {
    /// What takes it.
    pub name: String,
    /// At most.
    pub bytes: u64,
}

/// What a process takes now.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct MemoryHeld {
    /// Its share of what it uses together with others (`pss`), or all that it uses where only that may be read (`rss`).
    pub bytes: u64,
    /// `pss` or `rss`.
    pub measure: String,
}

/// Of a configuration with the detectors that were found for it.
pub(crate) fn bound(config: &Config, found: &Found) -> MemoryBound {
    let artifacts: Vec<usize> = found.wanted.iter().map(|wanted| wanted.artifact.len()).collect();
    MemoryBound::of(config, &artifacts)
}

impl MemoryBound {
    /// Of a configuration with so many detectors, whose native code is of these sizes.
    pub fn of(config: &Config, artifacts: &[usize]) -> Self {
        let limits = &config.limits;
        let extent = extent(config, artifacts.len());
        let edge = Footprint::of(&extent);
        let heap = [
            ("series", edge.series),
            ("detectors", edge.detectors),
            ("log templates", edge.templates),
            ("flight recorder", edge.recorder + blocks_for_the_disk(&extent)),
            ("log files", log_files(config)),
            ("sources", sources(config)),
            ("inventories", inventories(config)),
            ("spool", limits.memory_spool_bytes + spool::overhead_bytes_max(config.spool.bytes_max)),
            ("pipe to the worker", pipe(&extent, artifacts)),
            ("local answers", CONNECTIONS_MAX * usize::try_from(ANSWER_BYTES_MAX).unwrap_or(usize::MAX)),
            ("taps", TAPS_MAX * (Tap::bytes_max(limits.series_max) + (PORTIONS_MAX + 1) * PORTION_BYTES)),
        ];
        let heap = heap.map(|(name, bytes)| (name, bytes as u64));
        let in_use: u64 = heap.iter().map(|(_, bytes)| bytes).sum();
        let program = [("program", PROGRAM_BYTES), ("connection", CONNECTION_BYTES)];
        let workers = worker(limits.detector_memory_bytes as u64, artifacts);
        let rest =
            [("unused between blocks", in_use / UNUSED_PART), ("worker", workers), ("worker that follows it", workers)];
        let parts: Vec<_> = program
            .into_iter()
            .chain(heap)
            .chain(rest)
            .filter(|(_, bytes)| *bytes > 0)
            .map(|(name, bytes)| MemoryPart { name: name.to_owned(), bytes })
            .collect();
        Self {
            total_bytes: parts.iter().map(|part| part.bytes).sum(),
            allowed_bytes: (limits.memory_bytes_max > 0).then_some(limits.memory_bytes_max),
            parts,
        }
    }

    /// What stands against the configuration, if it can take more than it allows.
    pub(crate) fn objection(&self, config: &Config) -> Option<Objection> {
        let allowed = self.allowed_bytes.filter(|allowed| self.total_bytes > *allowed)?;
        let mut largest: Vec<_> = self.parts.iter().collect();
        largest.sort_by_key(|part| std::cmp::Reverse(part.bytes));
        let largest: Vec<_> = largest.iter().take(3).map(|part| format!("{} {}", part.name, mib(part.bytes))).collect();
        let limits = &config.limits;
        let message = format!(
            "`limits.memory-bytes-max` is {}, and this configuration can take {}",
            mib(allowed),
            mib(self.total_bytes)
        );
        let remedy = format!(
            "allow \"{}MiB\", or lower `limits.series-max` ({}), `limits.detector-memory` ({}), `limits.templates-max` ({}) or \
             `recorder.memory-bytes`; most goes to {}",
            self.total_bytes.div_ceil(1 << 20),
            limits.series_max,
            mib(limits.detector_memory_bytes as u64),
            limits.templates_max,
            largest.join(", ")
        );
        Some(Objection::Memory { message, remedy })
    }
}

impl fmt::Display for MemoryBound {
    /// A line for all of it and a line for each part.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let allowed = self.allowed_bytes.map(|allowed| format!(" of {} allowed", mib(allowed))).unwrap_or_default();
        writeln!(f, "memory      at most {}{allowed}", mib(self.total_bytes))?;
        self.parts.iter().try_for_each(|part| writeln!(f, "  {:<24} {:>10}", part.name, mib(part.bytes)))
    }
}

/// What a process takes now, by `/proc`; `None` if it is not there.
pub fn held(pid: u32) -> Option<MemoryHeld> {
    let pss = std::fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).ok().and_then(|text| pss_bytes(&text));
    if let Some(bytes) = pss {
        return Some(MemoryHeld { bytes, measure: "pss".to_owned() });
    }
    // A worker does not let others look into it, and this file says less.
    let pages: u64 = std::fs::read_to_string(format!("/proc/{pid}/statm")).ok()?.split(' ').nth(1)?.parse().ok()?;
    Some(MemoryHeld { bytes: pages * rustix::param::page_size() as u64, measure: "rss".to_owned() })
}

fn pss_bytes(smaps_rollup: &str) -> Option<u64> {
    let line = smaps_rollup.lines().find_map(|line| line.strip_prefix("Pss:"))?;
    line.trim().strip_suffix(" kB")?.parse::<u64>().ok().map(|kib| kib << 10)
}

/// Mebibytes with a digit.
pub(crate) fn mib(bytes: u64) -> String {
    let tenths = bytes.saturating_mul(10).div_ceil(1 << 20);
    format!("{}.{} MiB", tenths / 10, tenths % 10)
}

fn extent(config: &Config, detectors: usize) -> Extent {
    let recorder = &config.recorder;
    let (to_disk, memory_bytes) = (recorder.disk_bytes > 0, recorder.memory_bytes);
    let name = |log: &crate::config::LogConfig| log.path.as_os_str().len() + log.service.len();
    let services = if config.journald.enabled { journal::SERVICES_MAX } else { 0 };
    let service_bytes = if config.journald.enabled { journal::NAME_BYTES_MAX } else { 0 };
    Extent {
        series_max: config.limits.series_max,
        templates_max: config.limits.templates_max,
        metrics: source::ALL.iter().map(|source| source.metrics.len()).sum(),
        detectors,
        log_sources: config.logs.len() + services,
        log_name_bytes: config.logs.iter().map(name).chain([service_bytes]).max().unwrap_or(0),
        recorder: (memory_bytes > 0 || to_disk).then_some(RecorderConfig { memory_bytes, to_disk }),
    }
}

fn blocks_for_the_disk(extent: &Extent) -> usize {
    let block = Recorder::block_bytes_max(extent.series_max + extent.templates_max);
    // One more is in hand.
    let waiting = (backlog::HELD + 1) * block + backlog::NAMES_BYTES;
    extent.recorder.filter(|config| config.to_disk).map_or(0, |_| waiting)
}

fn log_files(config: &Config) -> usize {
    let globs = config.logs.iter().filter(|log| tail::is_glob(&log.path)).count();
    let open = config.logs.len() * 2 * tail::FILES_OPEN_MAX + globs * tail::GLOB_FILES_MAX;
    let known = config.logs.len() * tail::KNOWN_BYTES_MAX + globs * POSITIONS_HELD * tail::POSITION_BYTES_MAX;
    // A list may have twice the room that it needs.
    let portion = if globs > 0 { 2 * tail::GLOB_POLL_BYTES } else { 0 };
    let journal = if config.journald.enabled { journal::BYTES_MAX } else { 0 };
    let is_lane = config.journald.enabled || !config.logs.is_empty();
    open * tail::OPEN_FILE_BYTES_MAX + known + portion + journal + if is_lane { lines::BYTES_MAX } else { 0 }
}

fn sources(config: &Config) -> usize {
    let enabled = config.sources.iter().filter(|source| source.enabled).count();
    enabled * source::FILE_BYTES_MAX + PROCESSES_BYTES + config.limits.series_max * READING_BYTES
}

/// What each is compared with, and what one look at one of them finds.
fn inventories(config: &Config) -> usize {
    let enabled = config.inventories.iter().filter(|inventory| inventory.enabled).count();
    let one = inventory::ITEMS_MAX * ITEM_BYTES + inventory::TEXT_BYTES_MAX;
    if enabled == 0 { 0 } else { (enabled + 1) * one + DESCRIPTION_BYTES }
}

/// Artifacts, what one tick tells all detectors, and answers that wait for the loop.
fn pipe(extent: &Extent, artifacts: &[usize]) -> usize {
    if artifacts.is_empty() {
        return 0;
    }
    let held: usize = artifacts.iter().sum();
    let sent = artifacts.iter().max().copied().unwrap_or(0);
    let scores =
        SCORE_BUFFERS_MAX.min(4 * artifacts.len()) * extent.series_max.max(extent.templates_max) * size_of::<f32>();
    held + sent + artifacts.len() * extent.told_bytes_max() + scores + runtime::WORKER_EVENTS * REPLY_BYTES
}

/// The kernel refuses it more data than [`WORKER_DATA_BYTES_MAX`].
fn worker(detector_memory_bytes: u64, artifacts: &[usize]) -> u64 {
    if artifacts.is_empty() {
        return 0;
    }
    let code: usize = artifacts.iter().sum();
    // As it comes, taken apart, and laid out.
    let loading = 3 * artifacts.iter().max().copied().unwrap_or(0);
    let instances = artifacts.len() as u64 * (detector_memory_bytes + INSTANCE_BYTES);
    WORKER_BYTES + ((code + loading) as u64 + instances).min(WORKER_DATA_BYTES_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::LogConfig;

    const BUNDLED: [usize; 7] = [90 << 10; 7];

    fn total(change: impl FnOnce(&mut Config)) -> u64 {
        let mut config = Config::default();
        change(&mut config);
        MemoryBound::of(&config, &BUNDLED).total_bytes
    }

    #[test]
    fn every_setting_that_bounds_memory_moves_the_bound() {
        let usual = total(|_| {});
        type Change = fn(&mut Config);
        let grown: [(&str, Change); 6] = [
            ("series", |config| config.limits.series_max *= 2),
            ("templates", |config| config.limits.templates_max *= 2),
            ("spool", |config| config.limits.memory_spool_bytes *= 2),
            ("detector memory", |config| config.limits.detector_memory_bytes *= 2),
            ("recorder", |config| config.recorder.memory_bytes *= 2),
            ("logs", |config| {
                let (path, service) = ("/var/log/a".into(), String::new());
                config.logs.push(LogConfig { path, service, joining: tail::Joining::Auto });
            }),
        ];
        for (name, change) in grown {
            assert!(total(change) > usual, "{name}");
        }
        let of_log = |path: &str| {
            let (path, service) = (path.into(), String::new());
            total(|config| config.logs.push(LogConfig { path, service, joining: tail::Joining::Auto }))
        };
        let followed = (tail::GLOB_FILES_MAX * tail::OPEN_FILE_BYTES_MAX) as u64;
        assert!(of_log("/var/log/*") > of_log("/var/log/a") + followed);
        assert!(MemoryBound::of(&Config::default(), &[]).total_bytes < usual);
        assert!(MemoryBound::of(&Config::default(), &[90 << 10; 8]).total_bytes > usual);
    }

    #[test]
    fn unit_of_the_package_stops_only_what_is_beyond_the_bound() {
        let unit = include_str!("../../packaging/vedette-agent.service");
        let allowed = |name: &str| {
            let value = unit.lines().find_map(|line| line.strip_prefix(name)).expect(name);
            value.strip_suffix('M').and_then(|mib| mib.parse::<u64>().ok()).expect(value) << 20
        };
        let usual = total(|config| {
            config.logs = ["/var/log/syslog", "/var/log/app/*.log"]
                .map(|path| LogConfig { path: path.into(), service: String::new(), joining: tail::Joining::Auto })
                .to_vec();
        });
        assert!(allowed("MemoryMax=") > usual, "{usual}");
        assert!(allowed("MemoryHigh=") < allowed("MemoryMax="));
    }

    #[test]
    fn parts_add_up_and_stand_one_a_line() {
        let bound = MemoryBound::of(&Config::default(), &BUNDLED);
        assert_eq!(bound.parts.iter().map(|part| part.bytes).sum::<u64>(), bound.total_bytes);
        let text = bound.to_string();
        assert_eq!(text.lines().count(), bound.parts.len() + 1, "{text}");
        assert!(text.starts_with("memory      at most ") && text.contains("  series "), "{text}");
    }

    #[test]
    fn what_can_take_more_than_it_may_is_refused_at_its_line_with_what_to_do() {
        let text = "[collector]\naddress = \"h:1\"\n[limits]\nmemory-bytes-max = \"32MiB\"\n";
        let judge = |config: &Config| MemoryBound::of(config, &BUNDLED).objection(config).into_iter().collect();
        let problems = Config::parse_judged("agent.toml", text, judge).expect_err("it is refused");
        let told: Vec<_> = problems.iter().map(ToString::to_string).collect();
        assert_eq!(told.len(), 1, "{told:?}");
        assert!(told[0].starts_with("agent.toml:4:20: [VDT-C"), "{told:?}");
        assert!(
            told[0].contains("is 32.0 MiB, and this configuration can take ")
                && told[0].contains("`limits.series-max` (4000)")
        );
        let allowed = total(|_| {});
        let fine = |config: &mut Config| config.limits.memory_bytes_max = allowed;
        let mut config = Config::default();
        fine(&mut config);
        assert_eq!(MemoryBound::of(&config, &BUNDLED).objection(&config), None);
    }

    #[test]
    fn this_process_takes_something_and_none_takes_nothing() {
        let held = held(std::process::id()).expect("it runs");
        assert!(held.bytes > 1 << 20 && held.measure == "pss", "{held:?}");
        assert_eq!(super::held(u32::MAX), None);
        assert_eq!(pss_bytes("55.. [rollup]\nRss:  900 kB\nPss:  512 kB\nPss_Dirty: 1 kB\n"), Some(512 << 10));
        assert_eq!(mib(1), "0.1 MiB");
    }
}

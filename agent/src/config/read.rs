//! The walk over `agent.toml`. A missing or bad value becomes its default here; the document remembers the problem.

use super::{
    BudgetConfig, ByDetector, CollectorConfig, Config, DetectorsConfig, FileConfig, GLOBS_MAX, KEYS_MAX, LOGS_MAX,
    LimitsConfig, LogConfig, MetricsConfig, Misfit, NAME_BYTES_MAX, Objection, PATH_BYTES_MAX, PATTERNS_MAX,
    TrustConfig, WATCHED_MAX,
};
use crate::files::tail::{Joining, is_glob, is_named_by};
use crate::log;
use regex::bytes::{Regex, RegexBuilder};
use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::str::FromStr;
use vedette_edge::mask::{MaskRules, PATTERN_BYTES_MAX, Pattern};
use vedette_protocol::document::{Table, codes};
use vedette_protocol::policy::{
    CPU_PERCENT_MAX, CPU_PERCENT_MIN, UPLINK_BYTES_PER_HOUR_MAX, UPLINK_BYTES_PER_HOUR_MIN,
};
use vedette_protocol::signature::PublicKey;

const INTERVAL_MS: std::ops::RangeInclusive<u64> = 1_000..=3_600_000;
/// A tick asks a detector about at most 65,536 values.
const ROWS: std::ops::RangeInclusive<i64> = 1..=65_000;
const DISK_BYTES: std::ops::RangeInclusive<u64> = 16 << 20..=1 << 40;
const SPOOL_BYTES: std::ops::RangeInclusive<u64> = 64 * 1024..=1 << 30;
const RECORDER_MEMORY_BYTES: std::ops::RangeInclusive<u64> = 0..=1 << 30;
const RECORDER_DISK_BYTES: std::ops::RangeInclusive<u64> = 0..=1 << 40;
const DETECTOR_BYTES: std::ops::RangeInclusive<u64> = 1 << 20..=64 << 20;
const MEMORY_BYTES: std::ops::RangeInclusive<u64> = 0..=1 << 40;
const PATTERN_FORM: &str =
    "a regular expression of at most 512 bytes that matches neither the empty text nor `<masked>`";
const START_FORM: &str = "a regular expression of at most 512 bytes that does not match an empty line";
/// Memory that such an expression may take.
const START_COMPILED_BYTES_MAX: usize = 256 << 10;
const KEY_FORM: &str = "`ed25519:` and 64 hexadecimal digits";

pub(super) fn config(root: &mut Table<'_>) -> Config {
    let mut config = Config::default();
    if let Some(mut table) = root.table("agent") {
        set(&mut config.data_dir, path(&mut table, "data-dir"));
        set(&mut config.socket, path(&mut table, "socket"));
        if let Some(filter) = table.string("log") {
            if !log::is_filter(&filter) {
                let message = format!("`agent.log` is {filter:?}");
                table.problem("log", codes::BAD_FORM, &message, "write `error`, `warn`, `info` or `debug`");
            }
            config.log = filter;
        }
    }
    match root.table("collector") {
        Some(mut table) => collector(&mut table, &mut config.collector),
        None => root.missing("collector", "add `[collector]` with `address = \"host:4710\"`"),
    }
    if let Some(mut table) = root.table("trust") {
        trust(&mut table, &mut config.trust);
    }
    if let Some(mut table) = root.table("detectors") {
        detectors(&mut table, &mut config.detectors);
    }
    if let Some(mut table) = root.table("metrics") {
        metrics(&mut table, &mut config.metrics);
    }
    config.spool.directory = config.data_dir.join("spool");
    if let Some(mut table) = root.table("spool") {
        set(&mut config.spool.directory, path(&mut table, "directory"));
        set(&mut config.spool.bytes_max, table.size_bytes("bytes-max", DISK_BYTES));
    }
    if let Some(mut table) = root.table("budget") {
        budget(&mut table, &mut config.budget);
    }
    if let Some(mut table) = root.table("limits") {
        limits(&mut table, &mut config.limits);
    }
    if let Some(mut table) = root.table("recorder") {
        let memory = table.size_bytes("memory-bytes", RECORDER_MEMORY_BYTES);
        set(&mut config.recorder.memory_bytes, memory.and_then(|bytes| usize::try_from(bytes).ok()));
        set(&mut config.recorder.disk_bytes, table.size_bytes("disk-bytes", RECORDER_DISK_BYTES));
    }
    if let Some(mut table) = root.table("masking") {
        masking(&mut table, &mut config.masking);
    }
    if let Some(mut table) = root.table("sources") {
        for source in &mut config.sources {
            read_schedule(&mut table, source.spec.name, &mut source.interval_ms, &mut source.enabled);
        }
    }
    if let Some(mut table) = root.table("inventories") {
        for inventory in &mut config.inventories {
            read_schedule(&mut table, inventory.spec.name, &mut inventory.interval_ms, &mut inventory.enabled);
        }
    }
    if let Some(mut table) = root.table("journald") {
        set(&mut config.journald.enabled, table.boolean("enabled"));
    }
    let logs = files(root, "logs", LOGS_MAX, "/var/log/app.log", joining);
    config.logs =
        logs.into_iter().map(|(file, joining)| LogConfig { path: file.path, service: file.service, joining }).collect();
    let globs = config.logs.iter().filter(|log| is_glob(&log.path)).count();
    if globs > GLOBS_MAX {
        let message = format!("{globs} paths of `logs` hold `*` or `?`");
        root.problem("logs", codes::OUT_OF_RANGE, &message, &format!("at most {GLOBS_MAX} are possible"));
    }
    let watch = files(root, "watch", WATCHED_MAX, "/etc/app/app.conf", |_| ());
    config.watch = watch.into_iter().map(|(file, ())| file).collect();
    config
}

/// At what it is about.
pub(super) fn objection(root: &mut Table<'_>, objection: &Objection) {
    match objection {
        Objection::Parameter(refused) => misfit(root, refused),
        Objection::Memory { message, remedy } => {
            if let Some(mut limits) = root.table("limits") {
                limits.problem("memory-bytes-max", codes::CONTRADICTION, message, remedy);
            }
        }
    }
}

/// At the parameter, or at the table of the detector.
fn misfit(root: &mut Table<'_>, misfit: &Misfit) {
    let Misfit { table, detector, parameter, reason } = misfit;
    let Some(mut detectors) = root.table("detectors").and_then(|mut detectors| detectors.table(table.key())) else {
        return;
    };
    let remedy = "correct it, or remove it for the default";
    let name = format!("{}.{detector}", detectors.path());
    let say = |name: &str| format!("`{name}` is refused by the detector: {reason}");
    match (detectors.table(detector), parameter) {
        (Some(mut table), Some(key)) => {
            table.problem(key, codes::REFUSED_PARAMETER, &say(&format!("{name}.{key}")), remedy);
        }
        _ => detectors.problem(detector, codes::REFUSED_PARAMETER, &say(&name), remedy),
    }
}

fn set<T>(target: &mut T, value: Option<T>) {
    if let Some(value) = value {
        *target = value;
    }
}

fn collector(table: &mut Table<'_>, collector: &mut CollectorConfig) {
    table.missing("address", "name the collector, for example `address = \"127.0.0.1:4710\"`");
    if let Some(address) = table.string("address") {
        if !is_address(&address) {
            table.problem(
                "address",
                codes::BAD_FORM,
                &format!("`collector.address` is {address:?}"),
                "write host and port, for example \"collector.example:4710\" or \"[::1]:4710\"",
            );
        }
        collector.address = address;
    }
    set(&mut collector.server_name, name(table, "server-name"));
}

/// `host:port` with a host that is a name, an IPv4 address or an IPv6 address in brackets.
fn is_address(text: &str) -> bool {
    let Some((host, port)) = text.rsplit_once(':') else { return false };
    let host_fits = match host.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')) {
        Some(v6) => v6.parse::<std::net::Ipv6Addr>().is_ok(),
        None => {
            !host.is_empty()
                && host.len() <= 253
                && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || b"-._".contains(&byte))
        }
    };
    host_fits && port.parse::<u16>().is_ok_and(|port| port != 0)
}

fn trust(table: &mut Table<'_>, trust: &mut TrustConfig) {
    set(&mut trust.policy_keys, keys(table, "policy-keys"));
    set(&mut trust.author_keys, keys(table, "author-keys"));
}

fn keys(table: &mut Table<'_>, key: &str) -> Option<Vec<PublicKey>> {
    let keys = table.all_parsed::<PublicKey>(key, KEY_FORM)?;
    if keys.len() > KEYS_MAX {
        too_many(table, key, keys.len(), KEYS_MAX);
    }
    Some(keys)
}

fn detectors(table: &mut Table<'_>, detectors: &mut DetectorsConfig) {
    set(&mut detectors.directory, path(table, "directory"));
    set(&mut detectors.shadow_directory, path(table, "shadow-directory"));
    set(&mut detectors.execution, table.parsed("execution", "`auto`, `native` or `pulley`"));
    detectors.parameters = by_detector(table, "parameters");
    detectors.shadow_parameters = by_detector(table, "shadow-parameters");
}

fn by_detector(table: &mut Table<'_>, key: &str) -> ByDetector {
    let Some(mut parameters) = table.table(key) else { return Vec::new() };
    let mut names = parameters.entries();
    names.sort_unstable();
    let read = |detector: String| {
        let mut values = parameters.table(&detector)?;
        let mut keys = values.entries();
        keys.sort_unstable();
        let read = |key: String| values.float(&key, f64::MIN..=f64::MAX).map(|value| (key, value));
        Some((detector, keys.into_iter().filter_map(read).collect()))
    };
    names.into_iter().filter_map(read).collect()
}

fn metrics(table: &mut Table<'_>, metrics: &mut MetricsConfig) {
    set(&mut metrics.public, table.boolean("public"));
    let Some(text) = table.string("listen").filter(|text| text != "off") else { return };
    match text.parse::<SocketAddr>() {
        Ok(address) => metrics.listen = Some(address),
        Err(_) => table.problem(
            "listen",
            codes::BAD_FORM,
            &format!("`metrics.listen` is {text:?}"),
            "write an IP address and a port, for example \"127.0.0.1:9469\", or \"off\"",
        ),
    }
    if metrics.listen.is_some_and(|address| !address.ip().is_loopback()) && !metrics.public {
        table.problem(
            "listen",
            codes::CONTRADICTION,
            &format!("`metrics.listen` is {text}, where other hosts may ask, and `metrics.public` is false"),
            "write a loopback address, or `public = true` if anybody may read them",
        );
    }
}

/// 0 is without a limit.
fn budget(table: &mut Table<'_>, budget: &mut BudgetConfig) {
    if let Some(percent) = table.float("cpu-percent", 0.0..=CPU_PERCENT_MAX) {
        if percent > 0.0 && percent < CPU_PERCENT_MIN {
            let message = format!("`budget.cpu-percent` is {percent}");
            let remedy = format!("write {CPU_PERCENT_MIN} or more, or 0 for no limit");
            table.problem("cpu-percent", codes::OUT_OF_RANGE, &message, &remedy);
        }
        budget.cpu_percent = (percent > 0.0).then_some(percent);
    }
    if let Some(bytes) = table.size_bytes("uplink-bytes-per-hour", 0..=UPLINK_BYTES_PER_HOUR_MAX) {
        if bytes > 0 && bytes < UPLINK_BYTES_PER_HOUR_MIN {
            let message = format!("`budget.uplink-bytes-per-hour` is {bytes} B");
            let remedy = format!("write \"{}KiB\" or more, or \"0B\" for no limit", UPLINK_BYTES_PER_HOUR_MIN >> 10);
            table.problem("uplink-bytes-per-hour", codes::OUT_OF_RANGE, &message, &remedy);
        }
        budget.uplink_bytes_per_hour = (bytes > 0).then_some(bytes);
    }
}

fn limits(table: &mut Table<'_>, limits: &mut LimitsConfig) {
    let size = table.size_bytes("memory-spool", SPOOL_BYTES).and_then(|bytes| usize::try_from(bytes).ok());
    set(&mut limits.memory_spool_bytes, size);
    set(&mut limits.series_max, count(table, "series-max", ROWS));
    set(&mut limits.templates_max, count(table, "templates-max", ROWS));
    let size = table.size_bytes("detector-memory", DETECTOR_BYTES).and_then(|bytes| usize::try_from(bytes).ok());
    set(&mut limits.detector_memory_bytes, size);
    set(&mut limits.memory_bytes_max, table.size_bytes("memory-bytes-max", MEMORY_BYTES));
}

fn masking(table: &mut Table<'_>, masking: &mut MaskRules) {
    set(&mut masking.patterns, table.all_parsed::<Pattern>("patterns", PATTERN_FORM));
    if masking.patterns.len() > PATTERNS_MAX {
        too_many(table, "patterns", masking.patterns.len(), PATTERNS_MAX);
    }
    set(&mut masking.addresses, table.boolean("addresses"));
}

fn count(table: &mut Table<'_>, key: &str, range: std::ops::RangeInclusive<i64>) -> Option<usize> {
    table.integer(key, range).and_then(|value| usize::try_from(value).ok())
}

/// Asking for each known name lets the document find the unknown ones and propose the nearest.
fn read_schedule(tables: &mut Table<'_>, name: &str, interval: &mut u32, enabled: &mut bool) {
    let Some(mut table) = tables.table(name) else { return };
    set(enabled, table.boolean("enabled"));
    let Some(interval_ms) = table.duration_ms("interval", INTERVAL_MS) else { return };
    if interval_ms % 1_000 != 0 {
        let message = format!("`{}.interval` is not a whole number of seconds", table.path());
        table.problem(
            "interval",
            codes::OUT_OF_RANGE,
            &message,
            "the agent ticks once a second: write \"1s\", \"2s\", …",
        );
    }
    set(interval, u32::try_from(interval_ms).ok());
}

/// Files with what `more` reads of each.
fn files<T>(
    root: &mut Table<'_>,
    key: &str,
    max: usize,
    example: &str,
    more: impl Fn(&mut Table<'_>) -> T,
) -> Vec<(FileConfig, T)> {
    let tables = root.tables(key);
    if tables.len() > max {
        too_many(root, key, tables.len(), max);
    }
    let mut seen = BTreeSet::new();
    let mut files: Vec<(FileConfig, T)> = Vec::new();
    for mut table in tables {
        table.missing("path", &format!("name the file, for example `path = {example:?}`"));
        let service = name(&mut table, "service").unwrap_or_default();
        let more = more(&mut table);
        let Some(path) = path(&mut table, "path") else { continue };
        if key == "logs" {
            overlap(&mut table, &path, &files);
        }
        if !seen.insert(path.clone()) {
            let message = format!("{path:?} stands twice under `[[{key}]]`");
            table.problem("path", codes::CONTRADICTION, &message, "keep one of them");
        }
        files.push((FileConfig { path, service }, more));
    }
    files
}

/// No file may be two logs. Of two globs it is seen if one matches the other as it is written.
fn overlap<T>(table: &mut Table<'_>, path: &Path, others: &[(FileConfig, T)]) {
    let is_deep = path.components().any(|part| part.as_os_str() == "**");
    if is_deep {
        let message = format!("`**` in {path:?}");
        table.problem("path", codes::BAD_FORM, &message, "write one `*` for each folder; it matches within a name");
    }
    let names = |glob: &Path, path: &Path| is_glob(glob) && glob != path && is_named_by(glob, path);
    if let Some((other, _)) = others.iter().find(|(other, _)| names(path, &other.path) || names(&other.path, path)) {
        let message = format!("{path:?} and {:?} name the same file", other.path);
        table.problem("path", codes::CONTRADICTION, &message, "keep one of them");
    }
}

fn joining(table: &mut Table<'_>) -> Joining {
    let rule = table.parsed::<Multiline>("multiline", "`auto` or `off`");
    let start = table.parsed::<Start>("event-start", START_FORM);
    match (rule, start) {
        (Some(Multiline::Off), Some(_)) => {
            let message = format!("`{}` stands beside `multiline = \"off\"`", dotted(table, "event-start"));
            table.problem("event-start", codes::CONTRADICTION, &message, "keep one of them");
            Joining::Off
        }
        (_, Some(Start(start))) => Joining::From(start),
        (Some(Multiline::Off), None) => Joining::Off,
        _ => Joining::Auto,
    }
}

/// Which lines belong together, as a person puts it.
#[derive(Clone, Copy)]
enum Multiline {
    Auto,
    Off,
}

impl FromStr for Multiline {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        match text {
            "auto" => Ok(Self::Auto),
            "off" => Ok(Self::Off),
            _ => Err(()),
        }
    }
}

/// What the first line of an event looks like.
struct Start(Regex);

impl FromStr for Start {
    type Err = ();

    fn from_str(text: &str) -> Result<Self, ()> {
        let fits = text.len() <= PATTERN_BYTES_MAX;
        let regex = fits.then(|| RegexBuilder::new(text).size_limit(START_COMPILED_BYTES_MAX).build().ok());
        regex.flatten().filter(|regex| !regex.is_match(b"")).map(Self).ok_or(())
    }
}

fn path(table: &mut Table<'_>, key: &str) -> Option<PathBuf> {
    let text = table.string(key)?;
    let path = PathBuf::from(&text);
    let plain = path.components().all(|part| !matches!(part, std::path::Component::ParentDir));
    if path.is_absolute() && plain && text.len() <= PATH_BYTES_MAX && !text.contains('\0') {
        return Some(path);
    }
    let message = format!("`{}` is {text:?}", dotted(table, key));
    table.problem(key, codes::BAD_FORM, &message, "write an absolute path without `..`");
    None
}

fn name(table: &mut Table<'_>, key: &str) -> Option<String> {
    let text = table.string(key)?;
    if !text.is_empty() && text.len() <= NAME_BYTES_MAX && !text.chars().any(char::is_control) {
        return Some(text);
    }
    let message = format!("`{}` is {text:?}", dotted(table, key));
    table.problem(key, codes::BAD_FORM, &message, "write a name of 1 to 128 bytes without control characters");
    None
}

fn too_many(table: &mut Table<'_>, key: &str, count: usize, max: usize) {
    let message = format!("`{}` has {count} entries", dotted(table, key));
    table.problem(key, codes::OUT_OF_RANGE, &message, &format!("at most {max} are possible"));
}

fn dotted(table: &Table<'_>, key: &str) -> String {
    if table.path().is_empty() { key.to_owned() } else { format!("{}.{key}", table.path()) }
}

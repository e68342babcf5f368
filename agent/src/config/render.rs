//! `agent.toml` as text: the reference with every setting explained, and the configuration in effect.

use super::{Config, FileConfig, LOGS_MAX, LogConfig, WATCHED_MAX};
use crate::files::tail::Joining;
use std::fmt::{Display, Write as _};
use vedette_edge::mask::MaskRules;
use vedette_protocol::signature::PublicKey;

/// A part of the file: a header, why it is there, its settings.
struct Section {
    header: &'static str,
    doc: String,
    settings: Vec<Setting>,
}

struct Setting {
    key: String,
    value: String,
    doc: String,
}

/// The reference: every setting with its default and what it means. It is itself a valid file.
pub fn reference_text() -> String {
    let mut text = String::from(
        "# vedette-agent: every setting with its default. Only `[collector] address` is required.\n\
         # Check a file with `vedette-agent check --config FILE`; SIGHUP has a running agent read it anew.\n",
    );
    for section in sections(&Config::default()) {
        let _ = write!(text, "\n# {}\n{}\n", section.doc, section.header);
        for Setting { key, value, doc } in section.settings {
            let _ = write!(text, "# {doc}\n{key} = {value}\n");
        }
    }
    text.push_str(&file_reference("logs", "/var/log/app.log", &format!("Log files to follow, at most {LOGS_MAX}.")));
    text.push_str(
        "# A path may hold `*` and `?` in its names, as in /var/log/app/*.log (8 such paths at most): all files that match are one log.\n\
         # Lines that belong together are one event: `auto` knows stack traces, panics and indented blocks; or `off`.\n\
         # multiline = \"auto\"\n\
         # In place of it, what an event's first line looks like.\n\
         # event-start = '^[0-9]{4}-'\n",
    );
    let watch = format!("Files whose edits are changes (digests, never content), at most {WATCHED_MAX}.");
    text.push_str(&file_reference("watch", "/etc/app/app.conf", &watch));
    text
}

pub(super) fn effective_text(config: &Config) -> String {
    let mut text = String::new();
    for section in sections(config) {
        let _ = writeln!(text, "{}", section.header);
        for Setting { key, value, .. } in section.settings {
            let _ = writeln!(text, "{key} = {value}");
        }
        text.push('\n');
    }
    let detectors = &config.detectors;
    for (key, parameters) in
        [("parameters", &detectors.parameters), ("shadow-parameters", &detectors.shadow_parameters)]
    {
        for (detector, parameters) in parameters {
            let _ = writeln!(text, "[detectors.{key}.{}]", quoted(detector));
            for (name, value) in parameters {
                let _ = writeln!(text, "{} = {value:?}", quoted(name));
            }
            text.push('\n');
        }
    }
    for LogConfig { path, service, joining } in &config.logs {
        let file = FileConfig { path: path.clone(), service: service.clone() };
        text.push_str(&file_text("logs", &file, &joining_text(joining)));
    }
    config.watch.iter().for_each(|file| text.push_str(&file_text("watch", file, "")));
    text.truncate(text.trim_end().len());
    text.push('\n');
    text
}

fn sections(config: &Config) -> Vec<Section> {
    let schedule = |name, interval_ms: u32, enabled, doc| {
        setting(name, format!("{{ interval = \"{}s\", enabled = {enabled} }}", interval_ms / 1_000), doc)
    };
    let sources = config.sources.iter();
    let sources = sources.map(|one| schedule(one.spec.name, one.interval_ms, one.enabled, one.spec.doc));
    let inventories = config.inventories.iter();
    let inventories = inventories.map(|one| schedule(one.spec.name, one.interval_ms, one.enabled, one.spec.doc));
    vec![
        section(
            "[agent]",
            "This host.",
            vec![
                setting("data-dir", path(&config.data_dir), "Where keys, certificate, policy and positions are kept."),
                setting("socket", path(&config.socket), "Unix socket that `vedette-agent status` asks."),
                setting(
                    "log",
                    quoted(&config.log),
                    "What is logged: `error`, `warn`, `info`, `debug`; the variable VEDETTE_LOG overrides it.",
                ),
            ],
        ),
        section(
            "[collector]",
            "Where findings go, over QUIC.",
            vec![
                setting("address", quoted(&config.collector.address), "Host and UDP port. Required."),
                setting(
                    "server-name",
                    quoted(&config.collector.server_name),
                    "Name that the collector's certificate has to carry.",
                ),
            ],
        ),
        section(
            "[trust]",
            "Whose signatures count: `ed25519:` and 64 hexadecimal digits each.",
            vec![
                setting(
                    "policy-keys",
                    keys(&config.trust.policy_keys),
                    "Keys that may sign a policy; none refuses every policy.",
                ),
                setting(
                    "author-keys",
                    keys(&config.trust.author_keys),
                    "Keys that may sign a detector; none loads no detector.",
                ),
            ],
        ),
        section(
            "[detectors]",
            "Signed detectors. A parameter is set with `parameters.<detector>.<name> = 1.0`.",
            vec![
                setting(
                    "directory",
                    path(&config.detectors.directory),
                    "Directory of signed pairs (`.wasm`, `.cwasm`).",
                ),
                setting(
                    "shadow-directory",
                    path(&config.detectors.shadow_directory),
                    "Pairs that run beside those of their names and are not judged by; parameters: `shadow-parameters`.",
                ),
                setting(
                    "execution",
                    quoted(config.detectors.execution.name()),
                    "`native`, `pulley` (interpreted, no executable memory), or `auto`: native where the host allows it.",
                ),
            ],
        ),
        section(
            "[metrics]",
            "The agent's own metrics over HTTP (`GET /metrics`, OpenMetrics), without a password.",
            vec![
                setting(
                    "listen",
                    quoted(&config.metrics.listen.map_or("off".to_owned(), |address| address.to_string())),
                    "`off`, or address and port, for example \"127.0.0.1:9469\".",
                ),
                setting("public", config.metrics.public, "Whether other hosts may ask: allows other than loopback."),
            ],
        ),
        section(
            "[spool]",
            "Where batches wait for the collector, on disk. It outlives restarts and crashes.",
            vec![
                setting("directory", path(&config.spool.directory), "A directory of its own; `spool` in `data-dir`."),
                setting(
                    "bytes-max",
                    size(config.spool.bytes_max),
                    "Bytes on disk, 16MiB to 1024GiB; the oldest of the least important goes first.",
                ),
            ],
        ),
        section(
            "[budget]",
            "What the agent may spend; what is left out for it stands in `cost` and `status`. A policy can only say less.",
            vec![
                setting(
                    "cpu-percent",
                    format!("{:?}", config.budget.cpu_percent.unwrap_or(0.0)),
                    "CPU time of all its processes in percent of one core, over each minute: from 0.01 on; 0.0 is without a limit.",
                ),
                setting(
                    "uplink-bytes-per-hour",
                    size(config.budget.uplink_bytes_per_hour.unwrap_or(0)),
                    "Bytes for the collector: 64KiB to 1024GiB; \"0B\" is without a limit.",
                ),
            ],
        ),
        section(
            "[limits]",
            "Bounds on memory; what they cut off is counted in `status`.",
            vec![
                setting(
                    "memory-spool",
                    size(config.limits.memory_spool_bytes as u64),
                    "Batches that wait while the spool's disk does not take them: 64KiB to 1GiB.",
                ),
                setting("series-max", config.limits.series_max, "Series; more are folded: 1 to 65000."),
                setting("templates-max", config.limits.templates_max, "Log templates; more are folded: 1 to 65000."),
                setting(
                    "detector-memory",
                    size(config.limits.detector_memory_bytes as u64),
                    "Linear memory of one detector, which fails if it wants more: 1MiB to 64MiB.",
                ),
                setting(
                    "memory-bytes-max",
                    size(config.limits.memory_bytes_max),
                    "Refuses a configuration that can take more, all processes together (`vedette-agent check`); \"0B\" does not.",
                ),
            ],
        ),
        section(
            "[recorder]",
            "The flight recorder keeps all that was collected, for people and for the collector to look back. \"0B\" is off.",
            vec![
                setting(
                    "memory-bytes",
                    size(config.recorder.memory_bytes as u64),
                    "In memory, some hours of 1,000 series: up to 1GiB.",
                ),
                setting(
                    "disk-bytes",
                    size(config.recorder.disk_bytes),
                    "Under the data directory, some hours to days, oldest deleted first: up to 1024GiB.",
                ),
            ],
        ),
        section(
            "[masking]",
            "What is masked beside secrets, keys, mail addresses, card and account numbers, which always are.",
            vec![
                setting(
                    "patterns",
                    patterns(&config.masking),
                    "Regular expressions, at most 32, over every text that leaves the host; with a group, that alone.",
                ),
                setting("addresses", config.masking.addresses, "IPv4 and IPv6 addresses."),
            ],
        ),
        section("[sources]", "What is read, how often (whole seconds, 1s to 1h).", sources.collect()),
        section(
            "[inventories]",
            "What is compared with how it was, how often (whole seconds, 1s to 1h): what differs is a change.",
            inventories.collect(),
        ),
        section(
            "[journald]",
            "The systemd journal, each service a log of its own. Its files are read by members of the group systemd-journal.",
            vec![setting("enabled", config.journald.enabled, "Whether it is read, where there is one.")],
        ),
    ]
}

fn section(header: &'static str, doc: &str, settings: Vec<Setting>) -> Section {
    Section { header, doc: doc.to_owned(), settings }
}

fn setting(key: &str, value: impl Display, doc: &str) -> Setting {
    Setting { key: bare_or_quoted(key), value: value.to_string(), doc: doc.to_owned() }
}

fn file_reference(key: &str, path: &str, doc: &str) -> String {
    format!(
        "\n# {doc}\n# [[{key}]]\n# path = {}\n# The service that it belongs to, as topology names it; may be left out.\n# service = \"app\"\n",
        quoted(path)
    )
}

fn file_text(key: &str, file: &FileConfig, more: &str) -> String {
    let mut text = format!("[[{key}]]\npath = {}\n", path(&file.path));
    if !file.service.is_empty() {
        let _ = writeln!(text, "service = {}", quoted(&file.service));
    }
    text.push_str(more);
    text.push('\n');
    text
}

fn joining_text(joining: &Joining) -> String {
    match joining {
        Joining::Auto => String::new(),
        Joining::Off => "multiline = \"off\"\n".to_owned(),
        Joining::From(start) => format!("event-start = {}\n", quoted(start.as_str())),
    }
}

fn path(path: &std::path::Path) -> String {
    quoted(path.to_str().expect("it was read from a text"))
}

fn keys(keys: &[PublicKey]) -> String {
    let keys: Vec<_> = keys.iter().map(|key| quoted(&key.to_string())).collect();
    format!("[{}]", keys.join(", "))
}

fn patterns(masking: &MaskRules) -> String {
    let patterns: Vec<_> = masking.patterns.iter().map(|pattern| quoted(pattern.as_str())).collect();
    format!("[{}]", patterns.join(", "))
}

fn size(bytes: u64) -> String {
    if bytes == 0 {
        return "\"0B\"".to_owned();
    }
    let units = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB"), (1, "B")];
    let (unit, name) =
        units.into_iter().find(|(unit, _)| bytes.is_multiple_of(*unit)).expect("every size is whole in bytes");
    format!("\"{}{name}\"", bytes / unit)
}

fn bare_or_quoted(key: &str) -> String {
    let bare = key.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'_');
    if bare { key.to_owned() } else { quoted(key) }
}

/// A TOML basic string.
fn quoted(text: &str) -> String {
    let mut quoted = String::with_capacity(text.len() + 2);
    quoted.push('"');
    for character in text.chars() {
        match character {
            '"' | '\\' => quoted.extend(['\\', character]),
            control if control.is_control() => {
                let _ = write!(quoted, "\\u{:04X}", u32::from(control));
            }
            other => quoted.push(other),
        }
    }
    quoted.push('"');
    quoted
}

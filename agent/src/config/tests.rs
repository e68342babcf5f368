use super::*;

const KEY: &str = "ed25519:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef";

fn parse(text: &str) -> Config {
    Config::parse("agent.toml", text).unwrap_or_else(|problems| panic!("{problems:#?}"))
}

fn problems(text: &str) -> Vec<String> {
    let problems = Config::parse("agent.toml", text).err().unwrap_or_default();
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn only_the_collectors_address_is_required() {
    let config = parse("[collector]\naddress = \"[::1]:4710\"\n");
    let collector = CollectorConfig { address: "[::1]:4710".to_owned(), ..Config::default().collector };
    assert_eq!(config, Config { collector, ..Config::default() });
    assert_eq!(
        problems(""),
        ["agent.toml:1:1: [VDT-C006] `collector` is missing — add `[collector]` with `address = \"host:4710\"`"]
    );
}

#[test]
fn every_setting_is_read() {
    let text = format!(
        r#"
[agent]
data-dir = "/srv/vedette"
socket = "/srv/vedette.sock"
log = "warn"
[collector]
address = "collector.example:4711"
server-name = "central"
[trust]
policy-keys = ["{KEY}"]
author-keys = ["{KEY}", "{KEY}"]
[detectors]
directory = "/opt/detectors"
shadow-directory = "/opt/shadows"
execution = "pulley"
shadow-parameters.level.window = 60
parameters.level.window = 30
parameters.level.alpha = 0.5
parameters."log-novelty".surge = 3.0
[metrics]
listen = "0.0.0.0:9469"
public = true
[spool]
directory = "/srv/spool"
bytes-max = "64MiB"
[budget]
cpu-percent = 0.5
uplink-bytes-per-hour = "2MiB"
[limits]
memory-spool = "16MiB"
series-max = 50
templates-max = 60
detector-memory = "4MiB"
memory-bytes-max = "512MiB"
[recorder]
memory-bytes = "0B"
disk-bytes = "1GiB"
[masking]
patterns = ["EMP-[0-9]{{6}}", '\d "x"']
addresses = true
[sources]
process = {{ interval = "5s" }}
cgroup = {{ enabled = false }}
[journald]
enabled = false
[[logs]]
path = "/var/log/app.log"
service = "app"
[[logs]]
path = "/var/log/other.log"
multiline = "off"
[[logs]]
path = "/var/log/third.log"
event-start = '^\d'
[[watch]]
path = "/etc/app/app.conf"
service = "app"
"#
    );
    let config = parse(&text);
    assert_eq!(config.data_dir, PathBuf::from("/srv/vedette"));
    assert_eq!(config.socket, PathBuf::from("/srv/vedette.sock"));
    assert_eq!(config.log, "warn");
    assert_eq!(config.collector.server_name, "central");
    assert_eq!((config.trust.policy_keys.len(), config.trust.author_keys.len()), (1, 2));
    let level = ("level".to_owned(), vec![("alpha".to_owned(), 0.5), ("window".to_owned(), 30.0)]);
    let novelty = ("log-novelty".to_owned(), vec![("surge".to_owned(), 3.0)]);
    assert_eq!(config.detectors.parameters, [level, novelty]);
    assert_eq!(config.detectors.shadow_parameters, [("level".to_owned(), vec![("window".to_owned(), 60.0)])]);
    assert_eq!(config.detectors.shadow_directory, std::path::Path::new("/opt/shadows"));
    assert_eq!(config.detectors.execution, ExecutionConfig::Always(Execution::Pulley));
    let metrics = MetricsConfig { listen: "0.0.0.0:9469".parse().ok(), public: true };
    assert_eq!(config.metrics, metrics);
    assert_eq!(config.budget, BudgetConfig { cpu_percent: Some(0.5), uplink_bytes_per_hour: Some(2 << 20) });
    let limits = LimitsConfig {
        memory_spool_bytes: 16 << 20,
        series_max: 50,
        templates_max: 60,
        detector_memory_bytes: 4 << 20,
        memory_bytes_max: 512 << 20,
    };
    assert_eq!(config.limits, limits);
    assert_eq!(config.recorder, RecorderLimits { memory_bytes: 0, disk_bytes: 1 << 30 });
    let spool = SpoolConfig { directory: "/srv/spool".into(), bytes_max: 64 << 20 };
    assert_eq!(config.spool, spool);
    let patterns: Vec<_> = config.masking.patterns.iter().map(vedette_edge::mask::Pattern::as_str).collect();
    assert_eq!((patterns, config.masking.addresses), (vec!["EMP-[0-9]{6}", "\\d \"x\""], true));
    let source = |name| config.sources.iter().find(|source| source.spec.name == name).copied().unwrap();
    assert_eq!((source("process").interval_ms, source("process").enabled), (5_000, true));
    assert!(!source("cgroup").enabled);
    assert_eq!(source("cpu").interval_ms, 1_000);
    assert!(!config.journald.enabled);
    let joinings: Vec<_> = config.logs.iter().map(|log| log.joining.clone()).collect();
    assert_eq!(joinings, [Joining::Auto, Joining::Off, Joining::From(regex::bytes::Regex::new(r"^\d").unwrap())]);
    assert_eq!(config.logs[1].service, "");
    assert_eq!(config.watch, [FileConfig { path: "/etc/app/app.conf".into(), service: "app".to_owned() }]);
    assert_eq!(parse(&config.to_toml()), config, "what is printed is read back to the same");
}

#[test]
fn all_problems_are_told_at_once_with_their_place() {
    let text = r#"[agent]
data-dir = "var/lib"
socket = "/run/../tmp/x"
[colector]
address = "x:1"
[trust]
policy-keys = ["ed25519:zz"]
[limits]
memory-spool = "1KiB"
series-max = 0
[masking]
patterns = ["7+", "x*"]
[sources]
proces = { interval = "5s" }
cpu = { interval = "1500ms" }
[[logs]]
path = "/a.log"
[[logs]]
path = "/a.log"
multiline = "off"
event-start = "x*"
[[logs]]
path = "/b.log"
multiline = "off"
event-start = "x"
[[watch]]
service = "app"
"#;
    expect_test::expect![[r#"
        agent.toml:1:1: [VDT-C006] `collector` is missing — add `[collector]` with `address = "host:4710"`
        agent.toml:2:12: [VDT-C005] `agent.data-dir` is "var/lib" — write an absolute path without `..`
        agent.toml:3:10: [VDT-C005] `agent.socket` is "/run/../tmp/x" — write an absolute path without `..`
        agent.toml:4:2: [VDT-C002] unknown key `colector` — did you mean `collector`?
        agent.toml:7:15: [VDT-C005] `trust.policy-keys` is "ed25519:zz" — write `ed25519:` and 64 hexadecimal digits
        agent.toml:9:16: [VDT-C004] `limits.memory-spool` is 1KiB — choose between 64KiB and 1GiB
        agent.toml:10:14: [VDT-C004] `limits.series-max` is 0 — choose between 1 and 65000
        agent.toml:12:12: [VDT-C005] `masking.patterns` is "x*" — write a regular expression of at most 512 bytes that matches neither the empty text nor `<masked>`
        agent.toml:14:1: [VDT-C002] unknown key `sources.proces` — did you mean `process`?
        agent.toml:15:20: [VDT-C004] `sources.cpu.interval` is not a whole number of seconds — the agent ticks once a second: write "1s", "2s", …
        agent.toml:19:8: [VDT-C008] "/a.log" stands twice under `[[logs]]` — keep one of them
        agent.toml:21:15: [VDT-C005] `logs[1].event-start` is "x*" — write a regular expression of at most 512 bytes that does not match an empty line
        agent.toml:25:15: [VDT-C008] `logs[2].event-start` stands beside `multiline = "off"` — keep one of them
        agent.toml:27:1: [VDT-C006] `watch[0].path` is missing — name the file, for example `path = "/etc/app/app.conf"`
    "#]]
    .assert_eq(&(problems(text).join("\n") + "\n"));
}

#[test]
fn what_is_known_of_at_once_fits_one_question_to_a_detector() {
    let with =
        |key: &str, most: usize| problems(&format!("[collector]\naddress = \"h:1\"\n[limits]\n{key} = {most}\n"));
    for key in ["series-max", "templates-max"] {
        assert_eq!(with(key, 65_000), [""; 0]);
        assert_eq!(
            with(key, 65_001),
            [format!(
                "agent.toml:4:{}: [VDT-C004] `limits.{key}` is 65001 — choose between 1 and 65000",
                key.len() + 4
            )]
        );
    }
    // The row of all lines comes on top.
    const { assert!(65_000 < vedette_detector_host::instance::ROWS_MAX) };
}

#[test]
fn addresses_need_a_host_and_a_port() {
    let is_fine = |address: &str| problems(&format!("[collector]\naddress = {address:?}\n")).is_empty();
    for good in ["127.0.0.1:4710", "[::1]:4710", "collector.example:1"] {
        assert!(is_fine(good), "{good}");
    }
    for bad in ["", "127.0.0.1", ":4710", "host:0", "host:65536", "::1:4710", "[::g]:1", "a b:1", "host:port"] {
        assert!(!is_fine(bad), "{bad}");
    }
}

#[test]
fn metrics_are_for_this_host_alone_unless_told() {
    let with = |text: &str| problems(&format!("[collector]\naddress = \"h:1\"\n[metrics]\n{text}\n"));
    for good in ["listen = \"off\"", "listen = \"127.0.0.1:1\"", "listen = \"[::1]:1\"", "public = true"] {
        assert_eq!(with(good), [""; 0], "{good}");
    }
    assert!(with("listen = \"0.0.0.0:1\"")[0].contains("[VDT-C008]"));
    assert!(with("listen = \"localhost:1\"")[0].contains("[VDT-C005]"));
}

#[test]
fn data_directory_takes_the_spool_with_it() {
    let config = Config::with_data_dir("/srv/agent".into());
    assert_eq!(config.spool.directory, std::path::Path::new("/srv/agent/spool"));
    let collector = CollectorConfig { address: "h:1".to_owned(), ..Config::default().collector };
    let text = "[agent]\ndata-dir = \"/srv/agent\"\n[collector]\naddress = \"h:1\"\n";
    assert_eq!(parse(text), Config { collector, ..config });
}

#[test]
fn lists_have_a_limit() {
    let logs: String = (0..=LOGS_MAX).map(|n| format!("[[logs]]\npath = \"/log/{n}\"\n")).collect();
    let text = format!("[collector]\naddress = \"h:1\"\n{logs}");
    assert_eq!(problems(&text), ["agent.toml:3:3: [VDT-C004] `logs` has 65 entries — at most 64 are possible"]);
    let logs: String = (0..=GLOBS_MAX).map(|n| format!("[[logs]]\npath = \"/log/{n}/*\"\n")).collect();
    let told = problems(&format!("[collector]\naddress = \"h:1\"\n{logs}"));
    assert!(told.len() == 1 && told[0].contains("9 paths of `logs` hold `*` or `?` — at most 8"), "{told:?}");
    let watch: String = (0..=WATCHED_MAX).map(|n| format!("[[watch]]\npath = \"/etc/{n}\"\n")).collect();
    let told = problems(&format!("[collector]\naddress = \"h:1\"\n{watch}"));
    assert!(told.len() == 1 && told[0].contains("`watch` has 257 entries — at most 256 are possible"), "{told:?}");
    let keys = vec![format!("{KEY:?}"); KEYS_MAX + 1].join(", ");
    let told = problems(&format!("[collector]\naddress = \"h:1\"\n[trust]\nauthor-keys = [{keys}]\n"));
    assert!(told.len() == 1 && told[0].contains("`trust.author-keys` has 17 entries — at most 16"), "{told:?}");
}

#[test]
fn the_reference_is_a_valid_file_with_every_default() {
    let text = reference_text();
    assert_eq!(parse(&text), Config::default());
    let uncommented: String = text.lines().filter_map(uncomment).map(|line| line + "\n").collect();
    let config = parse(&uncommented);
    assert_eq!((config.logs.len(), config.watch.len()), (1, 1), "the commented part is valid too");
    expect_test::expect_file![concat!(env!("CARGO_MANIFEST_DIR"), "/tests/fixtures/agent.reference.toml")]
        .assert_eq(&text);
}

/// Settings as they are, and those that are commented out without their `# `.
fn uncomment(line: &str) -> Option<String> {
    let setting = line.strip_prefix("# ").unwrap_or(line);
    let is_setting = setting.starts_with('[') || setting.split_once(" = ").is_some_and(|(key, _)| !key.contains(' '));
    is_setting.then(|| setting.to_owned())
}

#[test]
fn odd_names_survive_printing() {
    let text = "[collector]\naddress = \"h:1\"\n[detectors]\nparameters.\"a b\\\"\".\"c.d\" = -1.5\n[[logs]]\npath = \"/a\\\\b \\\"c\\\"\\u0001\"\n";
    let config = parse(text);
    assert_eq!(parse(&config.to_toml()), config);
}

#[test]
fn no_file_is_two_logs() {
    let told = |paths: [&str; 2]| {
        let logs: String = paths.map(|path| format!("[[logs]]\npath = {path:?}\n")).concat();
        problems(&format!("[collector]\naddress = \"h:1\"\n{logs}"))
    };
    for paths in [["/log/*.log", "/log/a.log"], ["/log/a.log", "/log/?.log"], ["/log/*", "/log/a*"]] {
        let told = told(paths);
        assert!(told.len() == 1 && told[0].contains("name the same file — keep one of them"), "{told:?}");
    }
    assert_eq!(told(["/log/*.log", "/log/a/b.log"]), [""; 0]);
    let deep = told(["/log/**/a.log", "/log/b.log"]);
    assert!(deep.len() == 1 && deep[0].contains("write one `*` for each folder"), "{deep:?}");
}

#[test]
fn what_detectors_refuse_is_told_at_its_line_after_everything_else() {
    let text = "[collector]\naddress = \"h:1\"\n[detectors.parameters.level]\nmemry-s = 1\n[detectors.shadow-parameters.spike]\na = 1\n";
    let misfit = |table, detector: &str, parameter: Option<&str>| Misfit {
        table,
        detector: detector.to_owned(),
        parameter: parameter.map(str::to_owned),
        reason: "because".to_owned(),
    };
    let judge = |config: &Config| {
        assert_eq!(config.detectors.parameters.len(), 1);
        [misfit(ParameterTable::Shadow, "spike", None), misfit(ParameterTable::Judged, "level", Some("memry-s"))]
            .map(Objection::Parameter)
            .to_vec()
    };
    let told = Config::parse_judged("agent.toml", text, judge).unwrap_err();
    let told: Vec<_> = told.iter().map(ToString::to_string).collect();
    let remedy = "correct it, or remove it for the default";
    assert_eq!(
        told,
        [
            format!(
                "agent.toml:4:11: [VDT-C009] `detectors.parameters.level.memry-s` is refused by the detector: because — {remedy}"
            ),
            format!(
                "agent.toml:5:30: [VDT-C009] `detectors.shadow-parameters.spike` is refused by the detector: because — {remedy}"
            ),
        ]
    );
    assert!(Config::parse_judged("agent.toml", text, |_| Vec::new()).is_ok());
    let broken = text.replace("[collector]", "[colector]");
    let told = Config::parse_judged("agent.toml", &broken, |_| unreachable!("the file is not fine by itself"));
    assert!(told.is_err());
}

#[test]
fn a_budget_of_nothing_is_none_and_one_of_next_to_nothing_is_refused() {
    let of = |budget: &str| format!("[collector]\naddress = \"x:1\"\n[budget]\n{budget}\n");
    let config = parse(&of("cpu-percent = 0\nuplink-bytes-per-hour = \"0B\""));
    assert_eq!(config.budget, BudgetConfig { cpu_percent: None, uplink_bytes_per_hour: None });
    assert_eq!(config.budget.budgets(), Budgets::default());
    assert_eq!(parse(&config.to_toml()), config);
    assert_eq!(
        problems(&of("cpu-percent = 0.001\nuplink-bytes-per-hour = \"1KiB\"")),
        [
            "agent.toml:4:15: [VDT-C004] `budget.cpu-percent` is 0.001 — write 0.01 or more, or 0 for no limit",
            "agent.toml:5:25: [VDT-C004] `budget.uplink-bytes-per-hour` is 1024 B — write \"64KiB\" or more, or \"0B\" for no limit",
        ]
    );
}

use super::*;
use crate::time::WallTime;

const TEXT: &str = r#"
name = "web-1"
retries = "three"
ratio = 2
every = "10s"
room = "64MiB"
bound = 99
colector = true
when = 2026-12-31T00:00:00Z

[limits]
series-max = 10

[sources]
process = { interval = "5s", enabled = false, colour = "red" }

[[logs]]
path = "/var/log/a"
[[logs]]
path = 7
stray = 1
"#;

fn shown(problems: &[Problem]) -> Vec<String> {
    problems.iter().map(ToString::to_string).collect()
}

#[test]
fn all_problems_are_told_at_once_by_position() {
    let document = Document::parse("a.toml", TEXT).unwrap();
    let mut root = document.root();
    assert_eq!(root.string("name").as_deref(), Some("web-1"));
    assert_eq!(root.integer("retries", 0..=9), None);
    assert_eq!(root.float("ratio", 0.0..=5.0), Some(2.0));
    assert_eq!(root.duration_ms("every", 1..=60_000), Some(10_000));
    assert_eq!(root.size_bytes("room", 0..=u64::MAX), Some(64 << 20));
    assert_eq!(root.integer("bound", 0..=9), None);
    assert_eq!(root.table("collector").map(|_| ()), None);
    assert_eq!(root.time("when"), Some(WallTime::from_unix_ms(1_798_675_200_000)));
    assert_eq!(root.table("limits").unwrap().integer("series-max", 1..=100), Some(10));
    let mut sources = root.table("sources").unwrap();
    for name in sources.entries() {
        let mut source = sources.table(&name).unwrap();
        assert_eq!(source.duration_ms("interval", 1..=60_000), Some(5_000));
        assert_eq!(source.boolean("enabled"), Some(false));
    }
    let paths: Vec<_> = root.tables("logs").iter_mut().map(|log| log.string("path")).collect();
    assert_eq!(paths, [Some("/var/log/a".to_owned()), None]);
    root.missing("address", "say where");
    root.missing("name", "never told: it is there");
    assert_eq!(
        shown(&document.finish()),
        [
            "a.toml:1:1: [VDT-C006] `address` is missing — say where",
            "a.toml:3:11: [VDT-C003] `retries` has to be a whole number, not a text",
            "a.toml:7:9: [VDT-C004] `bound` is 99 — choose between 0 and 9",
            "a.toml:8:1: [VDT-C002] unknown key `colector` — did you mean `collector`?",
            "a.toml:15:47: [VDT-C002] unknown key `sources.process.colour` — remove it",
            "a.toml:20:8: [VDT-C003] `logs[1].path` has to be a text in quotes, not a whole number",
            "a.toml:21:1: [VDT-C002] unknown key `logs[1].stray` — remove it",
        ]
    );
}

#[test]
fn a_document_that_is_not_toml_names_the_place() {
    let problems = Document::parse("a.toml", "a = 1\nb = = 2\n").unwrap_err();
    assert_eq!(problems.len(), 1);
    assert_eq!((problems[0].code, problems[0].line), (codes::SYNTAX, 2));
    let problems = Document::parse("a.toml", "a = 1\na = 2\n").unwrap_err();
    assert_eq!((problems[0].code, problems[0].line), (codes::SYNTAX, 2));
}

#[test]
fn an_oversize_document_is_refused_before_it_is_parsed() {
    let text = "#".repeat(DOCUMENT_BYTES_MAX + 1);
    assert_eq!(Document::parse("a.toml", &text).unwrap_err()[0].code, codes::TOO_LARGE);
}

#[test]
fn deeply_nested_text_is_refused_and_does_not_overflow_the_stack() {
    let text = format!("a = {}{}", "[".repeat(100_000), "]".repeat(100_000));
    assert_eq!(Document::parse("a.toml", &text).unwrap_err()[0].code, codes::SYNTAX);
}

#[test]
fn problems_are_capped() {
    let text: String = (0..PROBLEMS_MAX * 2).map(|i| format!("key-{i} = 1\n")).collect();
    let document = Document::parse("a.toml", &text).unwrap();
    document.root();
    assert_eq!(document.finish().len(), PROBLEMS_MAX);
}

#[test]
fn columns_count_characters() {
    let document = Document::parse("a.toml", "\"ключ\" = 1\na = { \"ö\" = 1 }\n").unwrap();
    let mut root = document.root();
    root.integer("ключ", 5..=6);
    root.table("a").unwrap().string("ö");
    let problems = document.finish();
    assert_eq!((problems[0].line, problems[0].column), (1, 10));
    assert_eq!((problems[1].line, problems[1].column), (2, 13));
}

#[test]
fn a_table_of_the_wrong_type_is_one_problem() {
    for text in ["logs = 3", "logs = { path = 1 }", "logs = [{ path = 1 }, 2]", "[logs]\npath = 1"] {
        let document = Document::parse("a.toml", text).unwrap();
        assert!(document.root().tables("logs").is_empty());
        let problems = document.finish();
        assert_eq!(problems.len(), 1, "{problems:?}");
        assert_eq!(problems[0].code, codes::WRONG_TYPE);
    }
}

#[test]
fn durations_and_sizes_have_one_number_and_one_unit() {
    assert_eq!(parse_duration_ms("7d"), Some(604_800_000));
    assert_eq!(parse_duration_ms("500ms"), Some(500));
    for bad in ["", "s", "10", "1.5s", "-1s", "1 s", "1s2", "99999999999999999999s", "18446744073709551615d", "+1s"] {
        assert_eq!(parse_duration_ms(bad), None, "{bad}");
    }
    assert_eq!(parse_size_bytes("8MiB"), Some(8 << 20));
    assert_eq!(parse_size_bytes("8MB"), None);
    assert_eq!(units::format_duration_ms(90_000), "90s");
    assert_eq!(units::format_size_bytes(64 << 20), "64MiB");
    assert_eq!(units::format_duration_ms(0), "0ms");
}

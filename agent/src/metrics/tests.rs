use super::*;
use crate::status::{LinkStatus, WorkerStatus};
use std::collections::{BTreeMap, BTreeSet};

fn busy() -> Status {
    let source = |name: &str| SourceStatus { name: name.to_owned(), ns_total: 1_500_000_000, ..Default::default() };
    let detector = |name: &str, shadow_of: Option<&str>| DetectorStatus {
        name: name.to_owned(),
        shadow_of: shadow_of.map(str::to_owned),
        state: "running".to_owned(),
        ..Default::default()
    };
    let ledger = serde_json::json!({ "readings": 7, "shed": 0 });
    Status {
        version: "1.2.3".to_owned(),
        sources: vec![source("cpu"), source("load")],
        detectors: vec![detector("level", None), detector("level", Some("level")), detector("odd\"\\\n", None)],
        worker: WorkerStatus { restarts: 3, ..Default::default() },
        link: LinkStatus { rtt_ms: Some(2.5), offset_ms: Some(-4.0), ..Default::default() },
        ledger: ledger.as_object().cloned().unwrap_or_default(),
        ..Default::default()
    }
}

/// Reads a page by the rules of OpenMetrics 1.0 that concern it and returns its samples by name and labels.
fn read(page: &str) -> BTreeMap<String, f64> {
    let body = page.strip_suffix("# EOF\n").expect("a page ends with its end");
    let (mut seen, mut samples) = (BTreeSet::new(), BTreeMap::new());
    let (mut family, mut kind) = (String::new(), String::new());
    for line in body.lines() {
        if let Some(rest) = line.strip_prefix("# ") {
            let mut words = rest.splitn(3, ' ');
            let (what, name, text) = (words.next().unwrap(), words.next().unwrap(), words.next().unwrap());
            match what {
                "HELP" => {
                    assert!(seen.insert(name.to_owned()), "{name} stands in one place");
                    name.clone_into(&mut family);
                }
                "TYPE" => {
                    assert!(["counter", "gauge", "info"].contains(&text), "{line}");
                    text.clone_into(&mut kind);
                }
                "UNIT" => assert!(name.ends_with(&format!("_{text}")), "{line}"),
                _ => panic!("{line}"),
            }
            assert_eq!(name, family, "a family's lines stand together");
            continue;
        }
        let (series, value) = line.rsplit_once(' ').expect("a name and a value");
        let name = series.split('{').next().unwrap();
        let suffix = match kind.as_str() {
            "counter" => "_total",
            "info" => "_info",
            _ => "",
        };
        assert_eq!(name, format!("{family}{suffix}"), "{line}");
        assert!(name.strip_prefix("vedette_agent_").is_some_and(|rest| {
            rest.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'_')
        }));
        let value = value.parse().unwrap_or_else(|_| panic!("{line}"));
        assert!(samples.insert(series.to_owned(), value).is_none(), "{series} stands twice");
    }
    samples
}

#[test]
fn page_is_open_metrics_and_tells_what_status_tells() {
    let samples = read(&render(&busy()));
    let of = |series: &str| samples.get(series).copied();
    assert_eq!(of(r#"vedette_agent_build_info{version="1.2.3"}"#), Some(1.0));
    assert_eq!(of(r#"vedette_agent_source_read_seconds_total{source="cpu"}"#), Some(1.5));
    assert_eq!(of(r#"vedette_agent_ledger_entries_total{entry="readings"}"#), Some(7.0));
    assert_eq!(of(r#"vedette_agent_detector_running{detector="level",role="shadow"}"#), Some(1.0));
    assert_eq!(of(r#"vedette_agent_detector_running{detector="odd\"\\\n",role="judged"}"#), Some(1.0));
    assert_eq!(of("vedette_agent_worker_restarts_total"), Some(3.0));
    assert_eq!(of("vedette_agent_link_round_trip_seconds"), Some(0.0025));
    assert_eq!(of("vedette_agent_clock_offset_seconds"), Some(-0.004));
}

#[test]
fn an_agent_without_anything_has_a_valid_page_too() {
    let samples = read(&render(&Status::default()));
    assert_eq!(samples["vedette_agent_ready"], 0.0);
    assert!(!samples.contains_key("vedette_agent_link_round_trip_seconds"), "what was never measured is not 0");
}

#[test]
fn number_of_rows_has_a_bound_that_no_detector_lifts() {
    let rows = |detectors: usize| {
        let detector = |n| DetectorStatus { name: format!("detector-{n}"), ..Default::default() };
        read(&render(&Status { detectors: (0..detectors).map(detector).collect(), ..busy() })).len()
    };
    assert_eq!(rows(DETECTORS_MAX), rows(DETECTORS_MAX * 10));
    let page = render(&Status { detectors: vec![DetectorStatus::default(); DETECTORS_MAX + 5], ..busy() });
    assert!(page.contains("\nvedette_agent_detectors_left_out 5\n"));
}

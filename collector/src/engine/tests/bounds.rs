//! What must hold however much comes in, and whatever it looks like.

use super::*;

/// A host that had so many incidents, one every two hours, each over before the next.
fn after_incidents(count: u32) -> Bench {
    let mut bench = Bench::new(Vec::new());
    for n in 0..count {
        let at_ms = i64::from(n) * 7_200_000;
        for (k, name) in [(0, "system.cpu.utilization"), (1, "system.memory.utilization")] {
            bench.open(at_ms, 1, n * 2 + k, metric(name));
            let clear = finding(n * 2 + k, EpisodeEvent::Clear, metric(name), at_ms + 1_000);
            bench.find(at_ms + 1_000, 1, Finding { onset: at(at_ms), ..clear });
        }
        bench.run_until(at_ms + 3_600_000);
    }
    bench
}

#[test]
fn a_host_is_not_blind_after_many_incidents() {
    let bench = after_incidents(1_500);
    assert_eq!(bench.engine.suppressed()[3], (Suppression::Limit, 0));
    assert_eq!(bench.incidents.len(), 1_500);
    assert_eq!(bench.engine.state.resolved.len(), setup::limits::RESOLVED);
    assert!(bench.engine.conservation().holds());
}

#[test]
fn a_replay_whose_actions_nobody_asked_for_comes_to_the_same_state() {
    let bench = after_incidents(1_100);
    let mut replayed = Engine::new();
    bench.log.iter().for_each(|logged| replayed.handle_event(logged.clone()));
    assert_eq!(replayed.state.incidents, bench.engine.state.incidents);
    assert_eq!(replayed.state.resolved, bench.engine.state.resolved);
    assert_eq!(replayed.conservation(), bench.engine.conservation());
    let mut saved = std::collections::BTreeSet::new();
    while let Some(action) = replayed.poll_action() {
        if let Action::SaveIncident(report) = action {
            assert_eq!(bench.incidents[&report.id], *report);
            saved.insert(report.id);
        }
    }
    assert_eq!(saved.len(), 1_100, "also those that went out of memory before anybody asked");
}

#[test]
fn a_long_title_ends_at_words_and_counts_what_it_does_not_tell() {
    let mut bench = Bench::new(Vec::new());
    let long = "ERROR connection to upstream refused while reading response header from the payment gateway ".repeat(3);
    let mut subject = log(&long);
    if let Subject::LogTemplate { source, .. } = &mut subject {
        *source = format!("/var/log/{}", "deep/".repeat(60));
    }
    bench.open(10_000, 1, 1, subject);
    let name = format!("system.{}", "very_long_name.".repeat(12));
    for n in 2..=6 {
        bench.open(10_000, 1, n, metric(&format!("{name}{n}")));
    }
    let title = &bench.only().title;
    assert!(title.chars().count() <= 240 && title.ends_with(", and 4 more findings"), "{title}");
    assert!(title.contains('…') && !title.contains("gate…"), "{title}");
}

#[test]
fn what_could_steer_a_terminal_is_taken_out_of_texts() {
    let mut bench = Bench::new(Vec::new());
    bench.push(0, Event::HostSeen { host: host(1), name: "web\u{1b}[2J".into() });
    bench.open(10_000, 1, 1, log("ERROR \u{1b}]0;owned\u{7} <*>"));
    bench.open(10_000, 1, 2, metric("system.\ncpu"));
    let json = serde_json::to_string(bench.only()).unwrap();
    assert!(!json.contains("\\u00") && !json.contains("\\n"), "{json}");
}

#[test]
fn the_strangest_findings_that_the_wire_allows_are_taken_in() {
    let mut bench = Bench::new(Vec::new());
    let extremes = [i64::MIN, -1, 0, i64::MAX];
    let mut n = 0;
    for (decided, onset) in extremes.iter().flat_map(|at| extremes.iter().map(move |onset| (*at, *onset))) {
        for event in [EpisodeEvent::Open, EpisodeEvent::Update, EpisodeEvent::Clear] {
            for offset_ns in extremes {
                let strange = Finding {
                    at: WallTime { unix_ns: decided },
                    onset: WallTime { unix_ns: onset },
                    onset_uncertainty_ms: u32::MAX,
                    score: f32::MIN,
                    surprise: f32::NAN,
                    observed: f64::MAX,
                    expected: f64::NAN,
                    occurrences: u32::MAX,
                    ..finding(n % 7, event, metric(""), 0)
                };
                n += 1;
                bench.push(i64::from(n), Event::Finding { host: host(1), offset_ns, finding: Box::new(strange) });
            }
        }
    }
    bench.run_until(200_000_000);
    assert!(bench.engine.conservation().holds());
    assert!(bench.engine.open_incidents().is_empty());
}

#[test]
fn a_flood_of_starts_does_not_drive_out_the_edit_before_it_until_that_is_long_past() {
    let mut bench = Bench::new(Vec::new());
    let kept = |bench: &Bench| {
        let kept: Vec<_> = bench.engine.state.changes_on(host(1)).map(|seen| seen.change.kind).collect();
        (kept.len(), kept.contains(&ChangeKind::FileEdited))
    };
    bench.change(0, 1, change(0, "/etc/app.conf", 0));
    let mut flood = |from_ms: i64| {
        for n in 0..300_u16 {
            let mut id = [9; 16];
            (id[0], id[1]) = (n.to_le_bytes()[0], n.to_le_bytes()[1]);
            id[2..10].copy_from_slice(&from_ms.to_le_bytes());
            let at_ms = from_ms + i64::from(n);
            let started = Change { kind: ChangeKind::UnitStarted, ..change(1, "app.service", at_ms) };
            bench.change(at_ms, 1, Change { id: ChangeId(id), ..started });
        }
        kept(&bench)
    };
    assert_eq!(flood(1_000), (setup::limits::CHANGES_PER_HOST, true));
    assert_eq!(flood(4 * 3_600_000), (setup::limits::CHANGES_PER_HOST, false));
}

//! Which changes are named as causes, and of how much.

use super::*;

/// Noise at 38 s, a change at 60 s, and so many findings 2 ms after it.
fn noise_and_then(findings: u32) -> Bench {
    let mut bench = Bench::new(Vec::new());
    bench.open(38_000, 1, 100, metric("system.memory.utilization"));
    bench.change(60_000, 1, change(1, "/etc/shop.conf", 60_000));
    for n in 0..findings {
        let opened = finding(n, EpisodeEvent::Open, metric(&format!("system.network.sockets{n}")), 63_000);
        bench.find(63_000, 1, Finding { onset: at(60_002), ..opened });
    }
    bench
}

#[test]
fn a_change_explains_the_findings_after_it_though_noise_leads_the_incident() {
    let mut bench = noise_and_then(6);
    let incident = bench.only();
    assert_eq!(incident.members.len(), 7);
    assert_eq!(incident.times["onset_unix_ms"], START_MS + 37_000);
    let cause = &incident.causes[0];
    assert_eq!((cause.change.path.as_str(), cause.delta_ms), ("/etc/shop.conf", 2));
    assert!(cause.evidence.contains(&"explains 6 of 7 findings; 1 began before it".to_owned()), "{:?}", cause.evidence);
    assert_eq!(incident.cause_verdict.value, "candidate");
    assert_eq!(incident.cause_verdict.why, "/etc/shop.conf changed 2 ms before the first finding that it can explain");
    bench.change(70_000, 1, change(2, "/etc/repair.conf", 70_000));
    assert_eq!(bench.only().causes.len(), 1, "a change after all of them explains none");
}

#[test]
fn of_changes_alike_the_one_before_more_findings_comes_first() {
    let mut bench = noise_and_then(2);
    let one = noise_and_then(1).only().causes[0].score;
    assert!(bench.only().causes[0].score > one);
    bench.change(64_000, 1, change(2, "/etc/before-all.conf", 36_998));
    let causes = &bench.only().causes;
    assert_eq!(causes[0].change.path, "/etc/before-all.conf");
    assert_eq!((causes[0].terms.share, causes[0].evidence.len()), (1.0, 3), "nothing is said where it explains all");
}

#[test]
fn a_change_amid_an_incident_with_one_straggler_after_it_is_no_candidate() {
    let mut bench = Bench::new(Vec::new());
    for n in 0..6 {
        bench.open(10_000, 1, n, metric(&format!("system.network.sockets{n}")));
    }
    bench.change(30_000, 1, change(1, "/etc/repair.conf", 30_000));
    bench.open(32_000, 1, 6, metric("system.memory.utilization"));
    let incident = bench.only();
    assert_eq!((incident.members.len(), incident.causes.len()), (7, 1));
    assert_eq!(incident.cause_verdict.value, "inconclusive");
    assert!(incident.causes[0].evidence.contains(&"explains 1 of 7 findings; 6 began before it".to_owned()));
}

#[test]
fn a_change_that_arrives_late_still_makes_the_incident() {
    let mut bench = Bench::new(Vec::new());
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.change(12_000, 1, change(1, "/etc/shop.conf", 5_000));
    assert_eq!(bench.only().causes[0].change.path, "/etc/shop.conf");
}

#[test]
fn a_log_file_that_was_written_to_is_no_cause_of_its_lines() {
    let mut bench = Bench::new(Vec::new());
    bench.change(9_000, 1, change(1, "/var/log/shop.log", 9_000));
    bench.open(10_000, 1, 1, log("ERROR <*>"));
    bench.open(10_500, 1, 2, metric("system.cpu.utilization"));
    let incident = bench.only();
    assert!(incident.causes.is_empty());
    assert_eq!(incident.cause_verdict.value, "inconclusive");
}

/// A process and a metric of its host from 100 s before on depart, 600 s after the start; changes as they come.
fn nginx_departs(changes: &[(&str, ChangeKind, i64)]) -> Bench {
    let mut bench = Bench::new(Vec::new());
    for (n, (target, kind, at_ms)) in (1..).zip(changes) {
        let change = Change { kind: *kind, service: String::new(), ..change(n, target, *at_ms) };
        bench.change(*at_ms, 1, change);
    }
    let mut process = made::series("process.cpu.utilization");
    process.attributes = vec![("process.executable.name".to_owned(), "nginx".to_owned())];
    bench.open(601_000, 1, 1, Subject::Series(process));
    bench.open(601_500, 1, 2, metric("system.cpu.utilization"));
    bench
}

/// Path, score and verdict of the first cause.
fn first_cause(changes: &[(&str, ChangeKind, i64)]) -> (String, f64, &'static str) {
    let bench = nginx_departs(changes);
    let incident = bench.only();
    (incident.causes[0].change.path.clone(), incident.causes[0].score, incident.cause_verdict.value)
}

#[test]
fn an_edit_of_what_is_affected_counts_more_than_a_later_one_of_something_else() {
    let edited = ChangeKind::FileEdited;
    let bench = nginx_departs(&[("/etc/nginx/nginx.conf", edited, 60_000), ("/etc/motd", edited, 590_000)]);
    let causes = &bench.only().causes;
    assert_eq!(
        causes.iter().map(|cause| cause.change.path.as_str()).collect::<Vec<_>>(),
        ["/etc/nginx/nginx.conf", "/etc/motd"]
    );
    assert!(causes[0].terms.touch > 0.0 && causes[1].terms.touch == 0.0);
    assert!(causes[0].evidence.contains(&"touches nginx, which a finding is about".to_owned()), "{:?}", causes[0]);
    let alone = |at_ms| first_cause(&[("/etc/motd", edited, at_ms)]);
    assert_eq!((alone(590_000).2, alone(60_000).2), ("candidate", "inconclusive"), "of the host alone");
    assert!(alone(590_000).1 < 0.75 && alone(60_000).1 < 0.5);
}

#[test]
fn nearness_and_kind_of_a_change_count_each() {
    let score = |kind, at_ms| first_cause(&[("/etc/nginx/nginx.conf", kind, at_ms)]).1;
    let (near, far) = (score(ChangeKind::FileEdited, 590_000), score(ChangeKind::FileEdited, 10_000));
    assert!(near > 0.9 && far < near - 0.15, "{near} {far}");
    assert!(score(ChangeKind::UnitStarted, 590_000) < near - 0.05);
}

#[test]
fn among_many_changes_an_hour_each_is_worth_less_but_what_comes_at_once_counts_once() {
    let edited = ChangeKind::FileEdited;
    let motd = ("/etc/motd", edited, 590_000);
    let score = |changes: Vec<(&'static str, ChangeKind, i64)>| first_cause(&changes);
    let busy: Vec<_> = (0..9).map(|n| ("/srv/other", ChangeKind::UnitStarted, n * 60_000)).chain([motd]).collect();
    let at_once: Vec<_> = (0..9).map(|n| ("/srv/other", ChangeKind::UnitStarted, 540_000 + n)).chain([motd]).collect();
    let (alone, busy, at_once) = (score(vec![motd]), score(busy), score(at_once));
    assert!(busy.1 < alone.1 * 0.9 && at_once.1 > alone.1 * 0.97, "{alone:?} {busy:?} {at_once:?}");
    assert_eq!((alone.2, busy.2), ("candidate", "inconclusive"));
}

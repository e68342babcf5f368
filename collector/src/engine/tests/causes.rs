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

//! Agents without shells on simulated hosts, for virtual hours: what the pipeline promises of false alarms, of faults,
//! of books that balance.

#[path = "../examples/calibration/native.rs"]
mod native;
#[path = "it/news.rs"]
mod news;

use std::collections::BTreeMap;
use std::time::Duration;
use vedette_edge::planner::{Budgets, Prices};
use vedette_protocol::ids::TemplateId;
use vedette_protocol::v1::{Body, EpisodeEvent};
use vedette_sim::{Fault, FaultKind, Host, LineTemplate, Rig, Seed};

const MINUTE: Duration = Duration::from_secs(60);
const HOUR: Duration = Duration::from_secs(3_600);
const USER: &str = "system.cpu.utilization{cpu.mode=\"user\"}";
const USED: &str = "system.memory.utilization{system.memory.state=\"used\"}";
const ACCESS_LOG: &str = "/var/log/web/access.log";

/// Runs a host that nothing was injected into; gives the episodes that were opened.
fn clean_run(seed: Seed, duration: Duration) -> Vec<String> {
    let mut rig = Rig::new(Host::typical(seed));
    rig.run(duration);
    let judgement = rig.judge(Duration::ZERO);
    judgement.false_alarms.iter().map(|(subject, at)| format!("{subject} after {at:?}")).collect()
}

#[test]
fn healthy_hosts_are_left_alone() {
    let seed = Seed(11).announce("healthy_hosts_are_left_alone");
    let hosts = 4;
    let alarms: Vec<_> = (0..hosts).flat_map(|host| clean_run(seed.child(host), HOUR * 4)).collect();
    println!("{} episodes in {} host-hours: {alarms:#?}", alarms.len(), hosts * 4);
    // The first hours of four hosts under plain stand-ins; the rate itself is measured with the bundled detectors, over many
    // days (examples/calibration).
    assert!(alarms.len() <= 3, "{alarms:#?}");
}

#[test]
fn injected_faults_are_found_and_nothing_else_is() {
    let seed = Seed(12).announce("injected_faults_are_found_and_nothing_else_is");
    let start = MINUTE * 20;
    let receive = "system.network.io{network.interface.name=\"eth0\",network.io.direction=\"receive\"}";
    let cases: [(&str, FaultKind, Duration, u64); 4] = [
        (USER, FaultKind::Step { by: 0.5 }, MINUTE * 5, 10),
        (USED, FaultKind::Step { by: 0.3 }, MINUTE * 5, 10),
        (USED, FaultKind::Ramp { by: 0.4 }, MINUTE, 15),
        (receive, FaultKind::Step { by: 2e6 }, MINUTE * 5, 10),
    ];
    for (case, (series, kind, length, seconds_max)) in (0..).zip(cases) {
        let mut host = Host::typical(seed.child(case));
        let series = host.series(series).expect("a typical host has it");
        host.inject(series, Fault::new(kind, start, start + length));
        let mut rig = Rig::new(host);
        rig.run(MINUTE * 30);

        let judgement = rig.judge(MINUTE);
        assert!(judgement.missed.is_empty() && judgement.false_alarms.is_empty(), "{judgement:#?}");
        let (label, delay) = &judgement.found[0];
        println!("{} on {}: {delay:?}", label.shape, label.subject);
        assert!(*delay <= Duration::from_secs(seconds_max), "{} took {delay:?}", label.shape);
        assert!(rig.findings().any(|(_, finding)| finding.event == EpisodeEvent::Clear), "the episode must end");
    }
}

#[test]
fn a_burst_of_lines_never_seen_before_is_found() {
    let seed = Seed(13).announce("a_burst_of_lines_never_seen_before_is_found");
    let mut host = Host::typical(*seed);
    let start = MINUTE * 15;
    host.burst(ACCESS_LOG, LineTemplate::between("ERROR upstream {ip} refused {int}", 30.0, start, start + MINUTE));
    let mut rig = Rig::new(host);
    rig.run(MINUTE * 20);
    let judgement = rig.judge(MINUTE);
    assert!(judgement.missed.is_empty() && judgement.false_alarms.is_empty(), "{judgement:#?}");
    assert!(judgement.found[0].1 <= Duration::from_secs(10), "{judgement:#?}");
}

#[test]
fn the_books_balance_and_template_counts_sum_to_the_lines_written() {
    let seed = Seed(14).announce("the_books_balance");
    let mut host = Host::typical(*seed);
    for (index, series) in host.all_series().enumerate().filter(|(index, _)| index % 7 == 0) {
        // Flaps on every seventh series, so that episodes are folded and not only opened.
        for round in 0..6 {
            let start = MINUTE * 10 + MINUTE * 2 * round + Duration::from_secs(index as u64);
            host.inject(series, Fault::new(FaultKind::Step { by: 1e6 }, start, start + Duration::from_secs(40)));
        }
    }
    host.burst(ACCESS_LOG, LineTemplate::between("panic at {hex}: {uuid}", 20.0, MINUTE * 12, MINUTE * 14));
    let mut rig = Rig::new(host);
    for _ in 0..30 {
        rig.run(MINUTE);
        assert!(rig.pipeline().ledger().balances(), "{:?}", rig.pipeline().ledger());
    }
    rig.drain();

    let ledger = *rig.pipeline().ledger();
    assert!(ledger.emitted > 5 && ledger.folded > 3, "the run was too quiet: {ledger:?}");
    let opened = rig.findings().filter(|(_, finding)| finding.event == EpisodeEvent::Open).count() as u64;
    assert_eq!(opened, ledger.emitted, "every emitted detection is one finding");

    let mut counts: BTreeMap<TemplateId, u64> = BTreeMap::new();
    for sent in rig.sent() {
        if let Body::Logs(window) = &sent.body {
            window.counts.iter().for_each(|(template, count)| *counts.entry(*template).or_default() += count);
        }
    }
    let written: u64 = rig.host().logs().iter().flat_map(|log| log.written()).sum();
    assert_eq!(counts.values().sum::<u64>(), written);
    assert_eq!(ledger.lines, written);
    assert_eq!(counts.len(), rig.host().logs()[0].templates().len(), "one template for each kind of line");
}

#[test]
fn a_lost_worker_costs_ticks_and_no_more() {
    let seed = Seed(15).announce("a_lost_worker_costs_ticks_and_no_more");
    let mut host = Host::typical(*seed);
    let user = host.series(USER).expect("a typical host has it");
    host.inject(user, Fault::new(FaultKind::Step { by: 0.5 }, MINUTE * 22, MINUTE * 25));
    let mut rig = Rig::new(host);
    rig.run(MINUTE * 20);
    rig.lose_worker();
    rig.run(Duration::from_secs(10));
    rig.restore_worker(Rig::scorers());
    rig.run(MINUTE * 8);

    let ledger = rig.pipeline().ledger();
    assert_eq!(ledger.ticks_unscored, 20, "two detectors missed ten ticks");
    let judgement = rig.judge(MINUTE);
    assert!(judgement.false_alarms.is_empty(), "{judgement:#?}");
    assert!(judgement.found[0].1 <= Duration::from_secs(10), "state was restored: no second warm-up, {judgement:#?}");
}

#[test]
fn a_stepped_wall_clock_is_counted_and_disturbs_nothing() {
    let seed = Seed(16).announce("a_stepped_wall_clock");
    let mut rig = Rig::new(Host::typical(*seed));
    rig.run(MINUTE * 10);
    for by_ns in [3_600_000_000_000, -7_200_000_000_000] {
        rig.clock_mut().step_wall(by_ns);
        rig.run(MINUTE * 5);
    }
    let ledger = rig.pipeline().ledger();
    assert_eq!((ledger.clock_steps, ledger.readings_out_of_order, ledger.detected), (2, 0, 0));
}

#[test]
fn a_run_is_a_function_of_its_seed() {
    let run = |seed| {
        let mut rig = Rig::new(Host::typical(Seed(seed)));
        rig.run(MINUTE * 10);
        format!("{:?}", rig.sent())
    };
    assert!(run(1) == run(1) && run(1) != run(2));
}

/// What a host of this seed costs a second if everything is looked at, in nanoseconds.
fn full_price(seed: Seed) -> f64 {
    let mut rig = Rig::new(Host::typical(seed));
    rig.pipeline_mut().set_prices(prices());
    rig.run(MINUTE * 5);
    let now = rig.clock_mut().mono();
    rig.pipeline().account(now).cpu.total / 300.0
}

/// Looking at a value is what costs.
fn prices() -> Prices {
    let detectors = vec![("sim-log-level".to_owned(), 10.0)];
    Prices { reading_ns: 20.0, value_ns: 1_000.0, detectors, ..Prices::default() }
}

#[test]
fn at_a_tenth_of_the_cost_faults_are_found_and_healthy_series_left_alone() {
    let seed = Seed(17).announce("at_a_tenth_of_the_cost");
    let full = full_price(seed.child(0));
    let start = MINUTE * 60;
    let cases: [(&str, FaultKind, Duration); 3] = [
        (USER, FaultKind::Step { by: 0.5 }, MINUTE * 5),
        (USED, FaultKind::Step { by: 0.3 }, MINUTE * 5),
        (USED, FaultKind::Ramp { by: 0.4 }, MINUTE),
    ];
    for (case, (series, kind, length)) in (0..).zip(cases) {
        let mut host = Host::typical(seed.child(case));
        let series = host.series(series).expect("a typical host has it");
        host.inject(series, Fault::new(kind, start, start + length));
        let mut rig = Rig::new(host);
        let now = rig.clock_mut().mono();
        rig.pipeline_mut().set_prices(prices());
        let budgets = Budgets { cpu_ns_per_s: Some(full * 0.1), uplink_bytes_per_hour: None };
        rig.pipeline_mut().set_budgets(now, budgets);
        let mut dearest = 0.0f64;
        for _ in 0..75 * 60 {
            rig.run(Duration::from_secs(1));
            let now = rig.clock_mut().mono();
            dearest = dearest.max(rig.pipeline().account(now).cpu.minute);
        }

        assert!(dearest <= full * 0.1 * 60.0 * 1.01, "{dearest} ns in a minute, {} is allowed", full * 6.0);
        let judgement = rig.judge(MINUTE);
        assert!(judgement.missed.is_empty() && judgement.false_alarms.is_empty(), "{judgement:#?}");
        let (label, delay) = &judgement.found[0];
        println!("{} on {}: {delay:?} at a tenth of the cost", label.shape, label.subject);
        assert!(*delay <= Duration::from_secs(60), "{} took {delay:?}", label.shape);
        assert!(rig.findings().any(|(_, finding)| finding.event == EpisodeEvent::Clear), "the episode must end");
        let ledger = rig.pipeline().ledger();
        assert!(ledger.balances() && ledger.looks_taken * 5 < ledger.looks_due, "{ledger:?}");
    }
}

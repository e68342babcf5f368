//! The flight recorder behind the pipeline: what it costs a tick, and what a directive pulls out of it.

use super::allocation::allocations;
use super::host::{EPOCH_MS, Host};
use super::shipping::{LOAD, raw, run, wobble};
use std::time::Duration;
use vedette_edge::codec;
use vedette_edge::pipeline::DirectiveRefused;
use vedette_edge::recorder::RecorderConfig;
use vedette_protocol::ids::{DirectiveId, HostId};
use vedette_protocol::policy::{Directive, LOOK_BACK_MS_MAX};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::Class;

fn recording() -> Host {
    let mut host = Host::new(1);
    host.pipeline.set_recorder(RecorderConfig { memory_bytes: 1 << 20, to_disk: true });
    host
}

fn directive(look_back_ms: u32) -> Directive {
    Directive {
        id: DirectiveId([3; 16]),
        host: HostId([1; 16]),
        issued: WallTime::default(),
        expires: WallTime::default(),
        incident: "I-1".into(),
        sources: Vec::new(),
        raw_metrics: vec![LOAD.name.into()],
        look_back_ms,
    }
}

#[test]
fn directive_pulls_what_was_before_it_and_goes_on_from_there() {
    let mut host = recording();
    run(&mut host, 400, wobble);
    let (now, ends) = (host.now(), host.now() + Duration::from_secs(10));
    let far = directive(LOOK_BACK_MS_MAX + 1);
    assert!(matches!(host.pipeline.handle_directive(now, far, ends), Err(DirectiveRefused::TooFarBack { .. })));
    host.pipeline.handle_directive(now, directive(300_000), ends).unwrap();
    run(&mut host, 20, wobble);
    let expected = |second: u64| (EPOCH_MS + second as i64 * 1_000, (wobble(second) * 100.0).round() / 100.0);
    assert_eq!(
        raw(&host, Class::Log),
        (100..400).map(expected).collect::<Vec<_>>(),
        "five minutes before, at the rate collected"
    );
    assert_eq!(raw(&host, Class::Feature), (400..=410).map(expected).collect::<Vec<_>>(), "and what came after");
    assert_eq!(host.pipeline.ledger().recorded_sent, 300);
}

#[test]
fn without_a_recorder_or_a_look_back_nothing_is_pulled() {
    for (mut host, look_back_ms) in [(Host::new(1), 300_000), (recording(), 0)] {
        run(&mut host, 30, wobble);
        let ends = host.now() + Duration::from_secs(10);
        host.pipeline.handle_directive(host.now(), directive(look_back_ms), ends).unwrap();
        assert_eq!(raw(&host, Class::Log), []);
    }
}

#[test]
fn lines_and_their_counts_are_recorded_masked() {
    let mut host = recording();
    for second in 0..61 {
        if second % 10 == 0 {
            let line = format!("login of bob with password=hunter{second} took 3 ms");
            host.pipeline.handle_log_line(host.now(), "/var/log/app.log", "app", line.as_bytes());
        }
        host.tick();
    }
    let recorded = host.pipeline.poll_recorded().expect("a block");
    assert_eq!(recorded.sealed.lines.len(), 7);
    assert!(recorded.sealed.lines.iter().all(|line| !line.text.contains("hunter")), "{:?}", recorded.sealed.lines);
    let names: Vec<_> = recorded.defined.iter().map(|(_, meta)| meta.attributes.len()).collect();
    assert_eq!(names, [0, 3], "all lines, and the one template");
    let block = codec::decode(&recorded.sealed.block).expect("a block");
    let counts: Vec<_> = block.iter().map(|(_, _, values)| (values.len(), values.iter().sum::<f64>())).collect();
    assert_eq!(counts, [(61, 7.0), (7, 7.0)], "silence is told once, by the row of all lines");
}

#[test]
fn recording_allocates_only_where_a_block_is_sealed() {
    let mut host = recording();
    run(&mut host, 130, wobble);
    while host.pipeline.poll_recorded().is_some() {}
    let mut costly = 0;
    for _ in 0..50 {
        let before = allocations();
        host.pipeline.handle_reading(host.now(), "sim", 1_000, &LOAD, &[("n", "a")], wobble(host.second));
        let wall = WallTime::from_unix_ms(EPOCH_MS + i64::try_from(host.second).unwrap() * 1_000);
        host.pipeline.handle_tick(host.now(), wall);
        let windows = std::iter::from_fn(|| host.pipeline.poll_action()).count();
        costly += usize::from(windows == 0 && allocations() > before);
        host.second += 1;
    }
    assert_eq!(costly, 0);
}

#[test]
fn looks_back_beyond_a_few_at_one_time_are_refused_and_counted() {
    let mut host = recording();
    run(&mut host, 70, wobble);
    for id in 0..6 {
        let directive = Directive { id: DirectiveId([id; 16]), ..directive(60_000) };
        host.pipeline.handle_directive(host.now(), directive, host.now() + Duration::from_secs(10)).unwrap();
    }
    run(&mut host, 1, wobble);
    let ledger = host.pipeline.ledger();
    assert_eq!((ledger.recorded_sent, ledger.searches_refused), (60, 2), "each sample goes out once");
    run(&mut host, 4, wobble);
    host.pipeline.handle_directive(host.now(), directive(60_000), host.now() + Duration::from_secs(10)).unwrap();
    run(&mut host, 1, wobble);
    let ledger = host.pipeline.ledger();
    assert_eq!(
        (ledger.recorded_sent, ledger.searches_refused),
        (65, 2),
        "there was room for it, and five seconds were new"
    );
}

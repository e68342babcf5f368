//! Those who follow live.

use super::host::Host;
use super::shipping::{LOAD, run, wobble};
use vedette_edge::tap::{Patterns, Seen, TAP_BYTES_MAX};
use vedette_protocol::worker::DetectorInput;

fn host_with(globs: &[&str]) -> Host {
    let mut host = Host::new(1);
    host.pipeline.open_tap(7, Patterns::parse(globs.iter().copied()).expect("fine"));
    host
}

#[test]
fn reader_sees_the_samples_lines_and_verdicts_that_it_follows() {
    let mut host = host_with(&["system.cpu.*", "log:/var/log/*", "verdict:level"]);
    host.load(DetectorInput::Metrics);
    run(&mut host, 120, wobble);
    let now = host.now();
    host.pipeline.handle_log_line(now, "/srv/other.log", "", b"not followed");
    host.pipeline.handle_log_line(now, "/var/log/app.log", "app", b"user bob password=hunter2 logged in");
    let seen = host.pipeline.take_tapped(7);
    let samples =
        seen.iter().filter(|one| matches!(one, Seen::Sample { series, .. } if series.contains("load_average")));
    assert_eq!(samples.count(), 120);
    let verdicts: Vec<_> = seen.iter().filter(|one| matches!(one, Seen::Verdict { .. })).collect();
    assert!(verdicts.len() > 50, "{verdicts:?}");
    let lines: Vec<_> = seen.iter().filter(|one| matches!(one, Seen::Log { .. })).collect();
    let [Seen::Log { source, line, text, new: true, .. }] = lines[..] else { panic!("{lines:?}") };
    assert_eq!((source.as_str(), line.as_str()), ("/var/log/app.log", "user bob password=<secret> logged in"));
    assert!(!text.contains("hunter2"), "{text}");
    assert!(host.pipeline.take_tapped(7).is_empty(), "it is taken once");
}

#[test]
fn reader_that_does_not_read_costs_a_bounded_number_of_bytes_and_nobody_else_a_sample() {
    let mut host = host_with(&["*"]);
    host.pipeline.open_tap(8, Patterns::parse([]).expect("fine"));
    let mut read = 0;
    for second in 0..60 {
        (0..100).for_each(|n| host.read(&LOAD, &n.to_string(), wobble(second)));
        host.tick();
        read += host.pipeline.take_tapped(8).len();
    }
    assert_eq!(read, 6_000, "who reads misses nothing");
    let (open, missed) = host.pipeline.taps();
    let kept = host.pipeline.take_tapped(7);
    let Some(Seen::Missed { count }) = kept.last() else { panic!("{:?}", kept.last()) };
    assert_eq!((open, *count, kept.len() as u64 - 1 + count), (2, missed, 6_000));
    assert!(kept.len() * 160 <= TAP_BYTES_MAX + 160, "{}", kept.len());
    assert_eq!(host.pipeline.close_tap(7), missed);
    assert_eq!(host.pipeline.taps().0, 1);
    assert_eq!(host.pipeline.ledger().readings, 6_000);
}

#[test]
fn series_that_stand_out_come_first() {
    let mut host = Host::new(1);
    host.load(DetectorInput::Votes);
    for second in 0..720u64 {
        let far = if second < 600 { 0.0 } else { 500.0 };
        host.read(&LOAD, "calm", wobble(second));
        host.read(&LOAD, "odd", wobble(second) + far);
        host.tick();
    }
    let oddest = host.pipeline.oddest(1);
    assert!(oddest.len() == 1 && oddest[0].series.contains("odd") && oddest[0].oddness > 0.5, "{oddest:?}");
    assert_eq!((oddest[0].source.as_str(), oddest[0].detector.as_str()), ("sim", "level"));
    assert_eq!(host.pipeline.oddest(9).len(), 2);
}

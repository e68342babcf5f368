//! What leaves the host, in which order, and what happens when the worker or a series comes and goes.

use super::host::{EPOCH_MS, Host, detector};
use std::collections::HashSet;
use std::time::Duration;
use vedette_edge::codec;
use vedette_edge::metric::{MetricKind, MetricSpec};
use vedette_edge::pipeline::{Action, DirectiveRefused, Pipeline, PipelineConfig};
use vedette_protocol::envelope::PAYLOAD_BYTES_MAX;
use vedette_protocol::ids::{
    BootId, ChangeId, DirectiveId, HostId, QueueEpoch, Sequence, SeriesIndex, SeriesKey, TenantId,
};
use vedette_protocol::policy::{Directive, Policy};
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::{Batch, Body, Change, ChangeKind, Class, Cursor, EpisodeEvent, Subject, encode};
use vedette_protocol::worker::{DetectorInput, SeriesState, WorkerRequest};

pub(crate) static LOAD: MetricSpec = MetricSpec {
    name: "system.cpu.load_average.1m",
    unit: "1",
    kind: MetricKind::Gauge,
    resolution: 0.01,
    lower: 0.0,
    upper: f64::NAN,
    doc: "",
};

pub(crate) fn run(host: &mut Host, seconds: u64, value: impl Fn(u64) -> f64) {
    for _ in 0..seconds {
        let second = host.second;
        host.read(&LOAD, "a", value(second));
        host.tick();
    }
}

/// Small differences, as a healthy series has.
pub(crate) fn wobble(second: u64) -> f64 {
    1.0 + [0.0, 0.03, -0.02, 0.05, -0.04, 0.01, 0.02][(second * 5 % 7) as usize]
}

#[test]
fn series_are_defined_before_any_feature_names_them() {
    let mut host = Host::new(1);
    for second in 0..200 {
        (0..=second / 20).for_each(|n| host.read(&LOAD, &n.to_string(), second as f64));
        host.tick();
    }
    let mut defined = HashSet::new();
    let mut named = 0;
    for (class, body, _) in &host.shipped {
        match body {
            Body::Series(definitions) => {
                assert_eq!(*class, Class::Finding);
                definitions.iter().for_each(|definition| assert!(defined.insert(definition.index)));
            }
            Body::Features(features) => {
                assert_eq!(*class, Class::Feature);
                named += features.len();
                features.iter().for_each(|feature| assert!(defined.contains(&feature.series)));
            }
            _ => {}
        }
    }
    assert_eq!((defined.len(), defined.contains(&SeriesIndex(9))), (10, true));
    assert_eq!(named as u64, host.pipeline.ledger().features_sent);
    assert!(named >= 20, "three windows were closed");
}

#[test]
fn log_counts_travel_with_the_cursor_that_covers_them_and_changes_at_once() {
    let mut host = Host::new(1);
    for _ in 0..25 {
        let now = host.now();
        for n in 0..3 {
            let line = format!("request {n} took {} ms", host.second);
            host.pipeline.handle_log_line(now, "/var/log/app.log", "app", line.as_bytes());
        }
        let position = host.second.to_le_bytes().to_vec();
        host.pipeline.handle_cursor(Cursor { source: "/var/log/app.log".into(), position });
        if host.second == 7 {
            let id = ChangeId([1; 16]);
            let at = WallTime::from_unix_ms(EPOCH_MS);
            let target = "/etc/app?token=abc".to_owned();
            let change = Change {
                id,
                kind: ChangeKind::FileEdited,
                target,
                service: "app".into(),
                at,
                before: None,
                after: None,
            };
            host.pipeline.handle_change(now, change);
        }
        host.tick();
    }
    let now = host.now();
    host.pipeline.handle_drain(now);
    host.tick();
    let (mut lines, mut last, mut changes) = (0, None, 0);
    for (class, body, cursors) in &host.shipped {
        match body {
            Body::Logs(window) => {
                assert_eq!((*class, cursors.len()), (Class::Log, 1));
                lines += window.counts.iter().map(|(_, count)| count).sum::<u64>();
                let position = u64::from_le_bytes(cursors[0].position.clone().try_into().unwrap());
                assert_eq!(lines, (position + 1) * 3, "counts and cursor agree");
                assert_eq!(window.templates.len(), usize::from(last.is_none()));
                last = Some(position);
            }
            Body::Changes(told) => {
                assert_eq!((*class, told[0].target.as_str(), last), (Class::Finding, "/etc/app?token=<secret>", None));
                changes += 1;
            }
            other => panic!("{other:?}"),
        }
    }
    assert_eq!((lines, last, changes), (75, Some(24), 1));
}

#[test]
fn episode_opens_with_evidence_and_clears_once_it_is_over() {
    let mut host = Host::new(1);
    run(&mut host, 1, wobble);
    host.load(DetectorInput::Metrics);
    run(&mut host, 300, wobble);
    assert!(host.findings.is_empty());
    run(&mut host, 40, |second| wobble(second) + 80.0);
    assert_eq!(host.opened(), 1);
    let (_, open) = host.events(EpisodeEvent::Open).next().unwrap().clone();
    let Subject::Series(meta) = &open.subject else { panic!("{open:?}") };
    assert_eq!((meta.metric.as_str(), open.occurrences, open.code), (LOAD.name, 1, 101));
    assert!((open.onset.unix_ms() - EPOCH_MS - 301_000).abs() <= 2_000, "onset {}", open.onset.unix_ms() - EPOCH_MS);
    assert!(open.observed > 80.0 && open.expected < 1.1 && open.surprise > 6.0);
    let evidence = open.evidence.unwrap();
    assert!(!evidence.state.is_empty() && !evidence.samples.is_empty() && !evidence.calibration.is_empty());
    assert!(evidence.samples.iter().all(|(dt_ms, _, value)| *dt_ms == 1_000 && *value > 80.0));
    run(&mut host, 60, wobble);
    let clears: Vec<_> = host.events(EpisodeEvent::Clear).collect();
    assert_eq!((clears.len(), clears[0].1.episode), (1, open.episode));
    let ledger = *host.pipeline.ledger();
    assert_eq!((ledger.detected, ledger.emitted, ledger.cleared, ledger.evidence_missing), (1, 1, 1, 0));
}

#[test]
fn burst_of_a_template_never_seen_opens_an_episode() {
    let mut host = Host::new(1);
    let second = |host: &mut Host, errors: u64| {
        let now = host.now();
        for n in 0..3 {
            host.pipeline.handle_log_line(now, "/log", "app", format!("INFO request {n} served").as_bytes());
        }
        for n in 0..errors {
            let line = format!("ERROR worker {n} lost its connection to the database");
            host.pipeline.handle_log_line(now, "/log", "app", line.as_bytes());
        }
        host.tick();
    };
    second(&mut host, 0);
    host.scorer.new_is_news = true;
    host.load(DetectorInput::LogTemplates);
    (0..150).for_each(|_| second(&mut host, 0));
    assert!(host.findings.is_empty());
    let began = host.second;
    (0..15).for_each(|_| second(&mut host, 20));
    let (opened, finding) = host.events(EpisodeEvent::Open).next().unwrap();
    assert!(opened - began <= 10, "after {} s", opened - began);
    let Subject::LogTemplate { source, service, text, .. } = &finding.subject else { panic!("{finding:?}") };
    assert_eq!((source.as_str(), service.as_str()), ("/log", "app"));
    assert_eq!(text, "ERROR worker <*> lost its connection to the database");
    assert!(host.shipped.iter().all(|(class, _, _)| *class != Class::Feature));
}

#[test]
fn worker_that_dies_loses_nothing_but_time() {
    let mut host = Host::new(1);
    run(&mut host, 1, wobble);
    host.load(DetectorInput::Metrics);
    run(&mut host, 200, wobble);
    host.dead = true;
    host.pipeline.handle_detector_failed(host.now(), 0);
    run(&mut host, 10, wobble);
    assert_eq!(host.scorer.len(), 1);
    host.dead = false;
    host.load(DetectorInput::Metrics);
    assert_eq!(host.scorer.len(), 1, "known series were told again");
    assert!(host.pipeline.warm_up_left(host.now()).is_zero(), "the warm-up holds");
    run(&mut host, 20, wobble);
    run(&mut host, 20, |second| wobble(second) + 80.0);
    assert_eq!(host.opened(), 1, "restored from the checkpoint, it need not learn anew");
}

#[test]
fn finding_goes_out_unexplained_if_the_worker_dies_meanwhile() {
    let mut host = Host::new(1);
    run(&mut host, 1, wobble);
    host.load(DetectorInput::Metrics);
    run(&mut host, 300, wobble);
    host.mute = true;
    let mut seconds = 0;
    while host.pipeline.poll_timeout().is_none() {
        run(&mut host, 1, |second| wobble(second) + 80.0);
        seconds += 1;
        assert!(seconds < 30, "no finding waits");
    }
    assert_eq!(host.opened(), 0);
    host.pipeline.handle_detector_failed(host.now(), 0);
    host.tick();
    assert_eq!((host.opened(), host.pipeline.ledger().explanations_missing), (1, 1));
}

#[test]
fn directive_ships_raw_samples_and_raises_an_interval_until_it_ends() {
    let mut host = Host::new(1);
    run(&mut host, 5, wobble);
    let directive = Directive {
        id: DirectiveId([3; 16]),
        host: HostId([1; 16]),
        issued: WallTime::default(),
        expires: WallTime::default(),
        incident: "I-1".into(),
        sources: vec![("slow".into(), 1_000)],
        raw_metrics: vec![LOAD.name.into()],
        look_back_ms: 0,
    };
    let ends = host.now() + Duration::from_secs(20);
    let other = Directive { host: HostId([2; 16]), ..directive.clone() };
    let now = host.now();
    assert_eq!(host.pipeline.handle_directive(now, other, ends), Err(DirectiveRefused::OtherHost(HostId([2; 16]))));
    host.pipeline.handle_directive(now, directive, ends).unwrap();
    assert_eq!(host.pipeline.directives(), [DirectiveId([3; 16])]);
    assert_eq!(host.pipeline.poll_timeout(), Some(ends));
    run(&mut host, 40, wobble);
    let told: Vec<_> = host.intervals.iter().map(|(second, _, ms)| (*second, *ms)).collect();
    assert_eq!(told, [(5, 1_000), (25, 10_000)]);
    let expected = |second: u64| (EPOCH_MS + second as i64 * 1_000, (wobble(second) * 100.0).round() / 100.0);
    assert_eq!(raw(&host, Class::Feature), (5..=25).map(expected).collect::<Vec<_>>());
    assert!(host.pipeline.directives().is_empty());
}

/// Raw samples of the first series that were shipped under one class.
pub(crate) fn raw(host: &Host, wanted: Class) -> Vec<(i64, f64)> {
    let mut samples = Vec::new();
    for (class, body, _) in &host.shipped {
        let Body::Block(block) = body else { continue };
        let decoded = codec::decode(&block.bytes).expect("a block");
        assert_eq!(decoded.samples(), block.samples as usize);
        for (_, times_ms, values) in decoded.iter().filter(|(id, _, _)| *class == wanted && *id == 0) {
            assert!(block.begin.unix_ms() <= times_ms[0] && times_ms[times_ms.len() - 1] <= block.end.unix_ms());
            samples.extend(times_ms.iter().copied().zip(values.iter().copied()));
        }
    }
    samples
}

#[test]
fn policy_moves_interval_window_and_threshold() {
    let mut host = Host::new(1);
    let policy = Policy {
        version: 2,
        source_interval_ms: vec![("slow".into(), 5_000)],
        feature_window_ms: 10_000,
        ..Policy::default()
    };
    host.pipeline.handle_policy(host.now(), policy);
    run(&mut host, 35, |second| second as f64);
    assert_eq!(host.intervals, [(0, "slow".to_owned(), 5_000)]);
    let windows = host.shipped.iter().filter(|(_, body, _)| matches!(body, Body::Features(_))).count();
    assert_eq!((windows, host.pipeline.policy().version), (3, 2));
}

#[test]
fn clock_step_is_counted_and_time_goes_on() {
    let mut host = Host::new(1);
    run(&mut host, 3, wobble);
    let wall = WallTime::from_unix_ms(EPOCH_MS + 3_600_000);
    host.pipeline.handle_tick(MonoTime::from_ms(3_000), wall);
    assert_eq!(host.pipeline.ledger().clock_steps, 1);
}

fn pipeline() -> Pipeline {
    let (policy, sources) = (Policy::default(), Vec::new());
    let config = PipelineConfig { host: HostId([1; 16]), policy, series_max: 100, templates_max: 2_000, sources };
    Pipeline::new(config, MonoTime::from_ms(0), WallTime::from_unix_ms(EPOCH_MS))
}

#[test]
fn texts_that_fit_no_single_batch_go_out_in_several_and_the_cursor_with_the_last() {
    let mut pipeline = pipeline();
    let word = |n: u32| format!("{n:012}").bytes().map(|digit| char::from(digit + 49)).collect::<String>();
    for n in 0..1_000 {
        let line: Vec<_> = (0..70).map(|place| word(n * 70 + place)).collect();
        pipeline.handle_log_line(MonoTime::from_ms(0), "/log", "app", line.join(" ").as_bytes());
    }
    pipeline.handle_cursor(Cursor { source: "/log".into(), position: vec![1] });
    pipeline.handle_drain(MonoTime::from_ms(10_000));
    let (mut parts, mut named, mut lines, mut bytes) = (Vec::new(), HashSet::new(), 0, 0);
    while let Some(action) = pipeline.poll_action() {
        let Action::Enqueue { class, body, cursors } = action else { continue };
        let Body::Logs(window) = &body else { continue };
        named.extend(window.templates.iter().map(|template| template.id));
        assert!(window.counts.iter().all(|(id, _)| named.contains(id)), "texts come before the counts");
        assert_eq!(window.counts.is_empty(), cursors.is_empty(), "all counts go with the cursor that covers them");
        lines += window.counts.iter().map(|(_, lines)| lines).sum::<u64>();
        parts.push(cursors.len());
        let batch = Batch {
            tenant: TenantId(0),
            boot: BootId([2; 16]),
            queue_epoch: QueueEpoch(1),
            sequence: Sequence(1),
            class,
            mono: MonoTime::default(),
            wall: WallTime::default(),
            cursors,
            body,
        };
        bytes += encode(&batch).unwrap().len();
    }
    assert_eq!((lines, named.len()), (1_000, 1_000));
    assert!(bytes > PAYLOAD_BYTES_MAX, "{bytes} bytes would have fitted one");
    assert!(parts.len() > 2 && parts.pop() == Some(1) && parts.iter().all(|cursors| *cursors == 0), "{parts:?}");
}

#[test]
fn large_states_are_asked_for_and_given_back_few_at_a_time() {
    let (mut pipeline, mut told, mut kept) = (pipeline(), Vec::new(), Vec::new());
    let mut slot = detector(DetectorInput::Metrics);
    slot.description.state_bytes_max = 64 << 10;
    pipeline.set_detectors(MonoTime::from_ms(0), vec![slot.clone()]);
    for second in 0..=60 {
        let now = MonoTime::from_ms(second * 1_000);
        for name in 0..20 {
            pipeline.handle_reading(now, "sim", 1_000, &LOAD, &[("n", name.to_string().as_str())], wobble(second));
        }
        pipeline.handle_tick(now, WallTime::default());
        while let Some(action) = pipeline.poll_action() {
            match action {
                Action::Ask(WorkerRequest::SeriesAdded { series, .. }) => told.extend(series),
                Action::Ask(WorkerRequest::Observe { detector, tick, columns }) => {
                    pipeline.handle_scores(now, detector, tick, &vec![0.5; columns.ids.len()]);
                }
                Action::Ask(WorkerRequest::Snapshot { detector, ids }) => {
                    let key = |id: &u32| told.iter().find(|one| one.id == *id).map_or(SeriesKey(0), |one| one.key);
                    let states = ids.iter().map(|id| SeriesState { key: key(id), state: vec![1] }).collect();
                    pipeline.handle_snapshots(now, detector, states);
                    kept.push(ids.len());
                }
                _ => {}
            }
        }
    }
    assert_eq!(kept, [8, 8, 4]);
    pipeline.set_detectors(MonoTime::from_ms(61_000), vec![slot]);
    let restored = std::iter::from_fn(|| pipeline.poll_action()).filter_map(|action| match action {
        Action::Ask(WorkerRequest::Restore { ids, states, .. }) => Some((ids.len(), states.len())),
        _ => None,
    });
    assert_eq!(restored.collect::<Vec<_>>(), [(8, 8), (8, 8), (4, 4)]);
}

#[test]
fn raw_samples_that_come_too_fast_are_counted() {
    let mut pipeline = pipeline();
    let directive = Directive {
        id: DirectiveId([3; 16]),
        host: HostId([1; 16]),
        issued: WallTime::default(),
        expires: WallTime::default(),
        incident: "I-1".into(),
        sources: Vec::new(),
        raw_metrics: vec![LOAD.name.into()],
        look_back_ms: 0,
    };
    let read = |pipeline: &mut Pipeline, ms| {
        pipeline.handle_reading(MonoTime::from_ms(ms), "sim", 10, &LOAD, &[], 1.0);
    };
    read(&mut pipeline, 0);
    pipeline.handle_directive(MonoTime::from_ms(1), directive, MonoTime::from_ms(60_000)).unwrap();
    (1..=300).for_each(|n| read(&mut pipeline, n * 10));
    pipeline.handle_drain(MonoTime::from_ms(3_000));
    let ledger = pipeline.ledger();
    assert_eq!((ledger.raw_sent, ledger.raw_dropped), (120, 180));
}

#[test]
fn a_series_that_ends_within_a_long_window_has_told_its_values() {
    let mut host = Host::new(1);
    host.pipeline.handle_policy(host.now(), Policy { feature_window_ms: 600_000, ..Policy::default() });
    run(&mut host, 50, wobble);
    for _ in 0..200 {
        host.read(&LOAD, "b", 1.0);
        host.tick();
    }
    assert_eq!(host.pipeline.ledger().series_vanished, 1);
    let features = host.shipped.iter().filter_map(|(_, body, _)| match body {
        Body::Features(features) => Some(features),
        _ => None,
    });
    let told: Vec<_> = features.flatten().map(|feature| (feature.series, feature.count)).collect();
    assert_eq!((told, host.pipeline.ledger().features_sent), (vec![(SeriesIndex(0), 50)], 1));
}

#[test]
fn series_beyond_the_ceiling_of_raw_ones_are_refused_and_counted() {
    let mut host = Host::new(1);
    let ceiling = Policy::default().ceilings.raw_series_max;
    (0..ceiling + 6).for_each(|n| host.read(&LOAD, &n.to_string(), 1.0));
    host.tick();
    let directive = Directive {
        id: DirectiveId([3; 16]),
        host: HostId([1; 16]),
        issued: WallTime::default(),
        expires: WallTime::default(),
        incident: "I-1".into(),
        sources: Vec::new(),
        raw_metrics: vec![LOAD.name.into()],
        look_back_ms: 0,
    };
    let (now, ends) = (host.now(), host.now() + Duration::from_secs(20));
    host.pipeline.handle_directive(now, directive, ends).unwrap();
    assert_eq!(host.pipeline.ledger().raw_series_refused, 6);
}

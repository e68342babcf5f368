//! What a worker that dies, lags or is exchanged costs: ticks, and nothing that was learnt or told.

use super::host::{Host, detector};
use super::shipping::{LOAD, run, wobble};
use std::time::Duration;
use vedette_protocol::ids::{DirectiveId, HostId};
use vedette_protocol::policy::Directive;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::{EpisodeEvent, Subject};
use vedette_protocol::worker::{DetectorInput, flags};

fn fault(second: u64) -> f64 {
    wobble(second) + 80.0
}

/// A host whose detector has warmed up.
fn warm() -> Host {
    let mut host = Host::new(1);
    run(&mut host, 1, wobble);
    host.load(DetectorInput::Metrics);
    run(&mut host, 300, wobble);
    assert!(host.pipeline.warm_up_left(host.now()).is_zero() && host.findings.is_empty());
    host
}

/// Lets the fault last until a finding waits for its explanation.
fn until_pending(host: &mut Host) {
    host.mute = true;
    for _ in 0..30 {
        if host.pipeline.poll_timeout().is_some() {
            return;
        }
        run(host, 1, fault);
    }
    panic!("no finding waits");
}

fn events(host: &Host) -> Vec<EpisodeEvent> {
    host.findings.iter().map(|(_, finding)| finding.event).collect()
}

#[test]
fn an_open_episode_outlives_worker_and_parole() {
    let mut host = warm();
    run(&mut host, 40, fault);
    assert_eq!(host.opened(), 1);
    host.pipeline.handle_worker_gone(host.now());
    run(&mut host, 5, fault);
    // The next worker runs without it: it is on parole.
    host.pipeline.set_detectors(host.now(), Vec::new());
    run(&mut host, 30, fault);
    assert_eq!(host.events(EpisodeEvent::Clear).count(), 0, "the fault lasts");
    host.load(DetectorInput::Metrics);
    assert!(host.pipeline.warm_up_left(host.now()).is_zero(), "what was learnt holds");
    run(&mut host, 20, fault);
    assert_eq!(host.events(EpisodeEvent::Clear).count(), 0, "the fault lasts");
    run(&mut host, 60, wobble);
    let episodes: Vec<_> = host.findings.iter().map(|(_, finding)| finding.episode).collect();
    assert!(episodes.iter().all(|episode| *episode == episodes[0]), "{:?}", events(&host));
    assert_eq!((host.opened(), host.events(EpisodeEvent::Clear).count()), (1, 1));
}

#[test]
fn a_detector_that_never_comes_back_leaves_nothing_open() {
    let mut host = warm();
    run(&mut host, 40, fault);
    host.pipeline.handle_worker_gone(host.now());
    run(&mut host, 899, fault);
    assert_eq!(host.events(EpisodeEvent::Clear).count(), 0);
    run(&mut host, 2, fault);
    assert_eq!(host.events(EpisodeEvent::Clear).count(), 1);
    assert_eq!(host.pipeline.series_of(0), 0);
}

#[test]
fn a_detector_that_is_removed_ends_at_once() {
    let mut host = warm();
    run(&mut host, 40, fault);
    host.pipeline.set_detectors(host.now(), Vec::new());
    run(&mut host, 1, fault);
    assert_eq!(host.events(EpisodeEvent::Clear).count(), 1);
}

#[test]
fn other_parameters_are_learnt_anew() {
    let mut host = warm();
    let mut slot = detector(DetectorInput::Metrics);
    slot.description.parameters[0].1 = 60.0;
    host.pipeline.set_detectors(host.now(), vec![slot]);
    assert!(!host.pipeline.warm_up_left(host.now()).is_zero());
}

#[test]
fn answers_that_never_come_do_not_silence_a_detector() {
    let mut host = warm();
    let before = *host.pipeline.ledger();
    host.dead = true;
    run(&mut host, 5, wobble);
    host.dead = false;
    run(&mut host, 1, wobble);
    let ledger = *host.pipeline.ledger();
    assert_eq!(ledger.verdicts - before.verdicts, 1, "the sixth tick is asked about");
    assert_eq!(ledger.ticks_unscored - before.ticks_unscored, 5);
    run(&mut host, 10, wobble);
    assert_eq!(host.pipeline.ledger().verdicts - before.verdicts, 11);
}

#[test]
fn a_tick_that_is_withheld_is_as_if_nobody_had_asked() {
    let mut host = warm();
    let before = *host.pipeline.ledger();
    host.withheld = true;
    run(&mut host, 6, wobble);
    host.withheld = false;
    run(&mut host, 1, wobble);
    assert_eq!(host.asked.dt_ms, [7_000], "time since the last value that the detector saw");
    let ledger = *host.pipeline.ledger();
    let verdicts = ledger.verdicts - before.verdicts;
    assert_eq!((verdicts, ledger.ticks_unscored - before.ticks_unscored), (1, 6));
}

#[test]
fn scores_that_fit_no_question_are_no_verdicts() {
    let mut host = warm();
    let before = *host.pipeline.ledger();
    host.pipeline.handle_scores(host.now(), 0, u64::MAX, &[1.0; 5]);
    let ledger = *host.pipeline.ledger();
    assert_eq!((ledger.verdicts, ledger.scores_refused), (before.verdicts, before.scores_refused + 1));
}

#[test]
fn an_opening_that_waits_is_told_before_the_detector_is_exchanged_or_removed() {
    for removed in [false, true] {
        let mut host = warm();
        until_pending(&mut host);
        assert_eq!(host.opened(), 0);
        if removed {
            host.pipeline.set_detectors(host.now(), Vec::new());
        } else {
            host.load(DetectorInput::Metrics);
        }
        run(&mut host, 1, fault);
        let expected: &[_] = if removed { &[EpisodeEvent::Open, EpisodeEvent::Clear] } else { &[EpisodeEvent::Open] };
        assert_eq!(events(&host), expected);
        assert_eq!((host.pipeline.ledger().emitted, host.pipeline.ledger().shed), (1, 0));
    }
}

#[test]
fn an_opening_that_waits_is_told_before_its_template_makes_room() {
    let mut host = Host::new(1);
    let second = |host: &mut Host, lines: &[String]| {
        let now = host.now();
        host.pipeline.handle_log_line(now, "/log", "app", b"INFO request 17 served");
        lines.iter().for_each(|line| host.pipeline.handle_log_line(now, "/log", "app", line.as_bytes()));
        host.tick();
    };
    second(&mut host, &[]);
    host.scorer.new_is_news = true;
    host.load(DetectorInput::LogTemplates);
    (0..150).for_each(|_| second(&mut host, &[]));
    host.mute = true;
    let errors = vec!["ERROR worker lost its connection to the database".to_owned(); 20];
    for _ in 0..30 {
        if host.pipeline.poll_timeout().is_none() {
            second(&mut host, &errors);
        }
    }
    assert!(host.findings.is_empty() && host.pipeline.poll_timeout().is_some());
    let letter = |n: u8| char::from(b'a' + n % 26);
    let word = |n: u8| format!("{}{}{}", letter(n / 26), letter(n), letter(n / 3));
    let flood: Vec<_> = (0..200).map(word).map(|word| format!("{word}x {word}y {word}z {word}w")).collect();
    second(&mut host, &flood);
    assert!(host.pipeline.ledger().templates_evicted > 50);
    let about = |subject: &Subject| matches!(subject, Subject::LogTemplate { text, .. } if text.starts_with("ERROR"));
    let told: Vec<_> = host.findings.iter().filter(|(_, one)| about(&one.subject)).map(|(_, one)| one.event).collect();
    assert_eq!(told, [EpisodeEvent::Open, EpisodeEvent::Clear]);
}

#[test]
fn what_is_told_while_the_detector_is_undecided_has_a_score() {
    let mut host = warm();
    run(&mut host, 20, fault);
    host.undecided = true;
    run(&mut host, 70, fault);
    assert!(host.events(EpisodeEvent::Update).count() >= 1, "{:?}", events(&host));
}

/// A series that is read each ten seconds, and each second while a directive asks for it.
struct Slow {
    host: Host,
    interval_ms: u32,
    directed: bool,
}

impl Slow {
    fn run(&mut self, seconds: u64, value: impl Fn(u64) -> f64) {
        let host = &mut self.host;
        for _ in 0..seconds {
            let now = host.now();
            if self.directed && host.second.is_multiple_of(60) {
                let directive = Directive {
                    id: DirectiveId([3; 16]),
                    host: HostId([1; 16]),
                    issued: WallTime::default(),
                    expires: WallTime::default(),
                    incident: "I-1".into(),
                    sources: vec![("slow".into(), 1_000)],
                    raw_metrics: Vec::new(),
                    look_back_ms: 0,
                };
                host.pipeline.handle_directive(now, directive, now + Duration::from_secs(120)).expect("granted");
            }
            if host.second.is_multiple_of(u64::from(self.interval_ms / 1_000)) {
                let value = value(host.second / 10 + host.second);
                host.pipeline.handle_reading(now, "slow", self.interval_ms, &LOAD, &[("n", "a")], value);
            }
            host.tick();
            self.interval_ms = host.intervals.last().map_or(10_000, |(_, _, told_ms)| *told_ms);
        }
    }

    fn open() -> Self {
        let mut slow = Self { host: Host::new(1), interval_ms: 10_000, directed: false };
        slow.run(1, wobble);
        slow.host.load(DetectorInput::Metrics);
        slow.run(6_000, wobble);
        assert!(slow.host.findings.is_empty());
        for _ in 0..60 {
            if slow.host.opened() == 0 {
                slow.run(10, fault);
            }
        }
        assert_eq!(slow.host.opened(), 1);
        slow.directed = true;
        slow
    }
}

#[test]
fn an_episode_clears_while_a_directive_reads_its_series_faster() {
    let mut slow = Slow::open();
    slow.run(120, fault);
    assert_eq!((slow.interval_ms, slow.host.events(EpisodeEvent::Clear).count()), (1_000, 0));
    slow.run(120, wobble);
    assert_eq!((slow.interval_ms, slow.host.events(EpisodeEvent::Clear).count()), (1_000, 1));
}

#[test]
fn what_lasts_is_learnt_while_a_directive_reads_its_series_faster() {
    let mut slow = Slow::open();
    slow.run(120, fault);
    assert_eq!(slow.host.asked.flags[0] & flags::HOLD_LEARNING, flags::HOLD_LEARNING);
    slow.run(900, fault);
    assert_eq!((slow.interval_ms, slow.host.asked.flags[0] & flags::HOLD_LEARNING), (1_000, 0));
}

use super::*;
use std::sync::Arc;
use vedette_protocol::ids::{Digest, SeriesKey};
use vedette_protocol::series::{SeriesKind, SeriesMeta};
use vedette_protocol::worker::{Columns, DetectorInput, SeriesDescriptor, SeriesState};

/// A supervisor with workers that answer when they are let to.
struct Rig {
    supervisor: Supervisor,
    now: MonoTime,
    /// Requests that each worker got and has not answered.
    open: BTreeMap<WorkerId, VecDeque<WorkerRequest>>,
    /// What the pipeline and the shell saw.
    seen: Vec<String>,
    /// Detectors at whose requests a worker dies (and does so by this signal).
    deadly: Vec<(u32, i32)>,
    /// Snapshots that the pipeline got.
    snapshots: usize,
}

impl Rig {
    fn new(names: &[&str]) -> Self {
        let mut rig = Self {
            supervisor: Supervisor::new(SupervisorConfig::default()),
            now: MonoTime::from_ms(1_000),
            open: BTreeMap::new(),
            seen: Vec::new(),
            deadly: Vec::new(),
            snapshots: 0,
        };
        rig.supervisor.set_detectors(rig.now, names.iter().map(|name| wanted(name, 1)).collect());
        rig
    }

    /// Handles what has to be done; workers get their requests but do not answer yet.
    fn act(&mut self) {
        while let Some(action) = self.supervisor.poll_action() {
            match action {
                Action::Spawn { worker } => {
                    self.seen.push(format!("spawn {}", worker.0));
                    self.open.insert(worker, VecDeque::new());
                }
                Action::Send { worker, request } => {
                    if matches!(request, WorkerRequest::Restore { .. }) {
                        self.seen.push("restore".into());
                    }
                    self.open.get_mut(&worker).expect("only live workers are written to").push_back(request);
                }
                Action::Retire { worker } => {
                    self.seen.push(format!("retire {}", worker.0));
                    self.open.remove(&worker);
                    self.supervisor.handle_exit(self.now, worker, Exit { signal: None, code: Some(0) });
                }
                Action::Kill { worker } => {
                    self.seen.push(format!("kill {}", worker.0));
                    self.open.remove(&worker);
                    self.supervisor.handle_exit(self.now, worker, Exit { signal: Some(SIGKILL), code: None });
                }
                Action::Detectors(running) => {
                    let names: Vec<_> = running.iter().map(|one| one.reference.name.as_str()).collect();
                    self.seen.push(format!("detectors {}", names.join(",")));
                }
                Action::Failed { detector, fault, .. } => self.seen.push(format!("failed {detector} {fault:?}")),
                Action::WorkerGone => self.seen.push("gone".into()),
                Action::Withheld { detector, tick } => self.seen.push(format!("withheld {detector} {tick}")),
                Action::Reply(WorkerReply::Scores { detector, tick, .. }) => {
                    self.seen.push(format!("scores {detector} {tick}"));
                }
                Action::Reply(WorkerReply::Snapshots { .. }) => self.snapshots += 1,
                Action::Reply(WorkerReply::Added { detector, declined }) if !declined.is_empty() => {
                    let ids: Vec<u32> = declined.iter().map(|(id, _)| *id).collect();
                    self.seen.push(format!("declined {detector} {ids:?}"));
                }
                Action::Reply(_) => {}
            }
        }
    }

    /// Lets one worker answer one request. False if it has none.
    fn answer_one(&mut self, worker: WorkerId) -> bool {
        self.act();
        let Some(request) = self.open.get_mut(&worker).and_then(VecDeque::pop_front) else { return false };
        let addressee = worker::addressee(&request);
        if let Some((_, signal)) = self.deadly.iter().find(|(deadly, _)| Some(*deadly) == addressee) {
            self.open.remove(&worker);
            self.supervisor.handle_exit(self.now, worker, Exit { signal: Some(*signal), code: None });
        } else {
            self.supervisor.handle_reply(self.now, worker, reply(request));
        }
        self.act();
        true
    }

    /// Lets all workers answer everything.
    fn settle(&mut self) {
        self.act();
        while let Some(worker) = self.open.iter().find(|(_, open)| !open.is_empty()).map(|(worker, _)| *worker) {
            self.answer_one(worker);
        }
    }

    fn pass(&mut self, ms: u64) {
        self.now = self.now + Duration::from_millis(ms);
        self.supervisor.handle_timeout(self.now);
        self.act();
    }

    /// Jumps to the next timeout that the supervisor asked for.
    fn jump(&mut self) {
        self.now = self.supervisor.poll_timeout().expect("something is awaited").max(self.now);
        self.supervisor.handle_timeout(self.now);
        self.act();
    }

    fn observe(&mut self, detector: u32, tick: u64) {
        let columns = Columns { ids: vec![7], dt_ms: vec![1_000], flags: vec![0], values: vec![1.0] };
        self.supervisor.handle_request(self.now, WorkerRequest::Observe { detector, tick, columns });
        self.act();
    }

    fn add_series(&mut self, detector: u32) {
        self.supervisor.handle_request(self.now, WorkerRequest::SeriesAdded { detector, series: vec![series(7)] });
        self.act();
    }

    fn state(&self, detector: u32) -> &'static str {
        self.supervisor.detectors().iter().find(|one| one.detector == detector).unwrap().state.name()
    }

    fn take_seen(&mut self) -> Vec<String> {
        std::mem::take(&mut self.seen)
    }
}

fn wanted(name: &str, version: u8) -> Wanted {
    Wanted {
        name: name.into(),
        version: version.to_string(),
        digest: Digest([version; 32]),
        artifact: Arc::from(name.as_bytes()),
        parameters: Vec::new(),
        shadow_of: None,
    }
}

/// Version 2 beside the judged one.
fn shadow(name: &str) -> Wanted {
    Wanted { shadow_of: Some(name.into()), ..wanted(name, 2) }
}

fn series(id: u32) -> SeriesDescriptor {
    let meta = SeriesMeta {
        metric: "system.cpu.utilization".into(),
        unit: "1".into(),
        kind: SeriesKind::Gauge,
        attributes: Vec::new(),
        resolution: 0.0,
        lower: 0.0,
        upper: 1.0,
    };
    SeriesDescriptor { id, key: SeriesKey(u64::from(id) + 100), meta, interval_ms: 1_000, prior: Vec::new() }
}

/// Number of a series that is declined.
const DECLINED: u32 = 3;

fn reply(request: WorkerRequest) -> WorkerReply {
    match request {
        WorkerRequest::Load { detector, artifact, .. } => WorkerReply::Loaded {
            detector,
            description: DetectorDescription {
                name: String::from_utf8(artifact).unwrap(),
                version: "1".into(),
                input: DetectorInput::Metrics,
                warm_up_values: 1,
                state_bytes_max: 8,
                look_ms: 0,
                parameters: Vec::new(),
            },
        },
        WorkerRequest::Seal => WorkerReply::Sealed { confinement: vec!["seccomp".into()] },
        WorkerRequest::Observe { detector, tick, columns } => WorkerReply::Scores {
            detector,
            tick,
            scores: vec![0.0; columns.ids.len()],
            guest_ns: 10,
            memory_bytes: 65_536,
        },
        WorkerRequest::Snapshot { detector, ids } => WorkerReply::Snapshots {
            detector,
            states: ids.iter().map(|id| SeriesState { key: SeriesKey(u64::from(*id) + 100), state: vec![1] }).collect(),
        },
        WorkerRequest::Explain { detector, .. } => WorkerReply::Explanations { detector, explanations: Vec::new() },
        WorkerRequest::SeriesAdded { detector, series } => {
            let declined = series.into_iter().filter(|one| one.id == DECLINED).map(|one| (one.id, one.key)).collect();
            WorkerReply::Added { detector, declined }
        }
        WorkerRequest::SeriesRemoved { detector, .. } | WorkerRequest::Restore { detector, .. } => {
            WorkerReply::Done { detector }
        }
    }
}

#[test]
fn a_worker_is_loaded_sealed_and_announced() {
    let mut rig = Rig::new(&["level", "log-novelty"]);
    rig.observe(0, 1);
    rig.settle();
    assert_eq!(rig.take_seen(), ["spawn 0", "detectors level,log-novelty"]);
    assert_eq!(rig.supervisor.worker().requests_dropped, 1, "nobody was there for the first tick");
    rig.observe(0, 2);
    rig.settle();
    assert_eq!(rig.take_seen(), ["scores 0 2"]);
    assert_eq!(rig.supervisor.detectors()[0].guest_ns, 10);
}

#[test]
fn whoever_has_its_turn_when_the_worker_dies_is_guilty_and_the_others_go_on() {
    let mut rig = Rig::new(&["level", "hostile", "log-novelty"]);
    rig.settle();
    rig.take_seen();
    rig.deadly.push((1, SIGSYS));
    (0..3).for_each(|detector| rig.observe(detector, 1));
    rig.settle();
    assert_eq!(rig.take_seen(), ["scores 0 1", "failed 1 Killed", "gone", "spawn 1", "detectors level,log-novelty"]);
    assert_eq!(rig.supervisor.detectors()[1].demoted_after, Some(Duration::ZERO));
    assert_eq!(rig.state(1), "quarantined", "a forbidden system call is not tried twice");
    assert_eq!([rig.state(0), rig.state(2)], ["running", "running"]);
    assert_eq!(rig.supervisor.poll_timeout(), None, "nothing is left to wait for");
}

#[test]
fn a_trap_demotes_at_once_comes_back_twice_and_is_quarantined_then() {
    let mut rig = Rig::new(&["level", "hostile"]);
    rig.settle();
    for attempt in 1..=3_u32 {
        rig.take_seen();
        rig.observe(1, 1);
        let worker = rig.supervisor.worker().active.unwrap();
        rig.open.get_mut(&worker).unwrap().pop_front();
        let reply = WorkerReply::Failed { detector: 1, fault: Fault::Trap, reason: "unreachable".into() };
        rig.supervisor.handle_reply(rig.now, worker, reply);
        rig.settle();
        assert_eq!(rig.take_seen(), ["failed 1 Trap"]);
        rig.observe(0, 1);
        rig.observe(1, 2);
        rig.settle();
        assert_eq!(rig.take_seen(), ["scores 0 1"], "the others never notice");
        assert_eq!(rig.state(1), if attempt < 3 { "backing-off" } else { "quarantined" });
        if attempt < 3 {
            rig.jump();
            rig.settle();
            assert_eq!(rig.state(1), "running", "on parole after {attempt}");
        }
    }
}

#[test]
fn silence_is_answered_by_killing_the_worker() {
    let mut rig = Rig::new(&["level", "hostile"]);
    rig.settle();
    rig.take_seen();
    rig.observe(1, 1);
    rig.observe(0, 1);
    rig.pass(900);
    assert_eq!(rig.take_seen(), [""; 0]);
    rig.pass(50);
    rig.settle();
    assert_eq!(rig.take_seen(), ["kill 0", "failed 1 Timeout", "gone", "spawn 1", "detectors level"]);
    assert_eq!(rig.supervisor.detectors()[1].demoted_after, Some(Duration::from_millis(950)));
    assert_eq!(rig.state(0), "running", "it only waited for its turn");
}

#[test]
fn a_new_detector_takes_a_second_worker_and_no_tick_is_missed() {
    let mut rig = Rig::new(&["level"]);
    rig.settle();
    rig.add_series(0);
    rig.settle();
    rig.take_seen();
    rig.supervisor.set_detectors(rig.now, vec![wanted("level", 1), wanted("exhaustion", 1)]);
    rig.act();
    let mut tick = 0;
    while rig.supervisor.worker().active == Some(WorkerId(0)) {
        tick += 1;
        rig.observe(0, tick);
        rig.answer_one(WorkerId(1));
        while rig.answer_one(WorkerId(0)) {}
    }
    rig.add_series(0);
    rig.settle();
    let seen = rig.take_seen();
    let scores = seen.iter().filter(|one| one.starts_with("scores 0")).count();
    assert_eq!(scores as u64, tick, "{seen:?}");
    let rest: Vec<_> = seen.iter().filter(|one| !one.starts_with("scores")).collect();
    assert_eq!(rest, ["spawn 1", "retire 0", "detectors level,exhaustion", "restore"]);
}

#[test]
fn an_upgrade_inherits_the_state_by_name() {
    let mut rig = Rig::new(&["level"]);
    rig.settle();
    rig.add_series(0);
    rig.settle();
    rig.supervisor.set_detectors(rig.now, vec![wanted("level", 2)]);
    rig.settle();
    rig.take_seen();
    rig.add_series(1);
    assert_eq!(rig.take_seen(), ["restore"]);
    assert_eq!(rig.supervisor.detectors().len(), 1);
}

#[test]
fn whoever_falls_during_a_handover_is_not_taken_along() {
    let mut rig = Rig::new(&["level", "hostile"]);
    rig.settle();
    (0..2).for_each(|detector| rig.add_series(detector));
    rig.settle();
    rig.supervisor.set_detectors(rig.now, vec![wanted("level", 1), wanted("hostile", 1), wanted("exhaustion", 1)]);
    while rig.answer_one(WorkerId(1)) {}
    rig.take_seen();
    rig.deadly.push((1, SIGSYS));
    rig.settle();
    assert_eq!(
        rig.take_seen(),
        ["failed 1 Killed", "gone", "kill 1", "spawn 2", "detectors level,exhaustion"],
        "its last snapshot was the death of the first worker"
    );
    assert_eq!(rig.state(1), "quarantined");
}

#[test]
fn the_pipelines_older_states_give_way_to_those_handed_over() {
    let mut rig = Rig::new(&["level"]);
    rig.settle();
    rig.add_series(0);
    rig.supervisor.set_detectors(rig.now, vec![wanted("level", 1), wanted("exhaustion", 1)]);
    rig.settle();
    let states = |keys: [u64; 2]| keys.map(|key| SeriesState { key: SeriesKey(key), state: vec![9] }).to_vec();
    rig.add_series(0);
    rig.settle();
    rig.take_seen();
    // Series 7 has key 107 and was handed over; series 8 was unknown to the worker before.
    let restore = WorkerRequest::Restore { detector: 0, ids: vec![7, 8], states: states([107, 108]) };
    rig.supervisor.handle_request(rig.now, restore);
    rig.act();
    let sent = rig.open[&WorkerId(1)].front().cloned();
    let kept = WorkerRequest::Restore { detector: 0, ids: vec![8], states: states([108, 108])[..1].to_vec() };
    assert_eq!(sent, Some(kept));
    rig.settle();
    rig.observe(0, 1);
    rig.supervisor.handle_request(
        rig.now,
        WorkerRequest::Restore { detector: 0, ids: vec![7], states: states([107, 107])[..1].to_vec() },
    );
    rig.settle();
    assert_eq!(rig.take_seen(), ["restore", "restore", "scores 0 1"], "once ticks go on nothing is withheld");
}

#[test]
fn the_pipeline_gets_the_snapshots_that_it_asked_for_and_no_others() {
    let mut rig = Rig::new(&["level"]);
    rig.settle();
    rig.add_series(0);
    rig.supervisor.handle_request(rig.now, WorkerRequest::Snapshot { detector: 0, ids: vec![7] });
    rig.settle();
    assert_eq!(rig.snapshots, 1);
    assert_eq!(rig.supervisor.detectors()[0].state_bytes, 1);
    rig.supervisor.set_detectors(rig.now, vec![wanted("level", 1), wanted("exhaustion", 1)]);
    rig.settle();
    assert_eq!(rig.snapshots, 1, "the handover is the supervisor's own");
}

#[test]
fn a_slow_detector_gets_one_tick_at_a_time() {
    let mut rig = Rig::new(&["level"]);
    rig.settle();
    rig.observe(0, 1);
    rig.observe(0, 2);
    assert_eq!(rig.supervisor.worker().ticks_withheld, 1);
    rig.settle();
    assert_eq!(rig.take_seen()[2..], ["withheld 0 2", "scores 0 1"], "the pipeline hears of it");
}

#[test]
fn a_worker_that_cannot_start_blames_nobody_and_is_tried_ever_more_rarely() {
    let mut rig = Rig::new(&["level"]);
    let mut pauses = Vec::new();
    for worker in 0..10 {
        rig.act();
        let unconfined = Exit { signal: None, code: Some(crate::worker::EXIT_NOT_CONFINED) };
        rig.open.remove(&WorkerId(worker));
        rig.supervisor.handle_exit(rig.now, WorkerId(worker), unconfined);
        let before = rig.now;
        rig.jump();
        pauses.push(rig.now.since(before).as_millis());
    }
    assert_eq!(pauses, [250, 500, 1_000, 2_000, 4_000, 8_000, 16_000, 32_000, 60_000, 60_000]);
    assert_eq!(rig.state(0), "loading");
}

#[test]
fn an_answer_out_of_turn_is_an_attack() {
    let mut rig = Rig::new(&["level", "hostile"]);
    rig.settle();
    rig.take_seen();
    rig.observe(1, 1);
    rig.supervisor.handle_reply(rig.now, WorkerId(0), reply(WorkerRequest::Explain { detector: 0, ids: vec![] }));
    rig.settle();
    assert_eq!(rig.take_seen()[..2], ["kill 0", "failed 1 Output"]);
}

#[test]
fn the_last_detector_takes_the_worker_with_it() {
    let mut rig = Rig::new(&["level"]);
    rig.settle();
    rig.take_seen();
    rig.supervisor.set_detectors(rig.now, Vec::new());
    rig.settle();
    assert_eq!(rig.take_seen(), ["retire 0", "detectors "]);
    assert!(rig.supervisor.detectors().is_empty());
    assert_eq!(rig.supervisor.poll_timeout(), None);
}

#[test]
fn declined_series_are_told_to_the_pipeline_and_not_handed_over() {
    let mut rig = Rig::new(&["level"]);
    rig.settle();
    rig.take_seen();
    let series = vec![series(7), series(DECLINED)];
    rig.supervisor.handle_request(rig.now, WorkerRequest::SeriesAdded { detector: 0, series });
    rig.settle();
    assert_eq!(rig.take_seen(), ["declined 0 [3]"]);
    assert_eq!(rig.supervisor.detectors()[0].series, 1);
    rig.supervisor.set_detectors(rig.now, vec![wanted("level", 1), wanted("other", 1)]);
    rig.act();
    while !rig.open[&WorkerId(0)].iter().any(|request| matches!(request, WorkerRequest::Snapshot { .. })) {
        assert!(rig.answer_one(WorkerId(1)), "the first worker is asked for its last states");
    }
    let asked = rig.open[&WorkerId(0)].iter().cloned().collect::<Vec<_>>();
    assert_eq!(asked, [WorkerRequest::Snapshot { detector: 0, ids: vec![7] }]);
}

#[test]
fn a_shadow_gets_what_its_detector_gets_and_nobody_hears_of_its_scores() {
    let mut rig = Rig::new(&["level"]);
    rig.supervisor.set_detectors(rig.now, vec![wanted("level", 1), shadow("level")]);
    rig.settle();
    rig.take_seen();
    rig.add_series(0);
    rig.observe(0, 1);
    let asked: Vec<u32> = rig.open[&WorkerId(1)].iter().filter_map(worker::addressee).collect();
    assert_eq!(asked, [1, 0, 1, 0]);
    rig.settle();
    rig.supervisor.handle_request(rig.now, WorkerRequest::Explain { detector: 0, ids: vec![7] });
    rig.settle();
    assert_eq!(rig.take_seen(), ["scores 0 1"]);
    let [judged, shadow] = &rig.supervisor.detectors()[..] else { panic!() };
    assert_eq!((judged.shadow_of.as_deref(), shadow.shadow_of.as_deref()), (None, Some("level")));
    assert_eq!((judged.values, shadow.values, shadow.series, shadow.memory_bytes), (1, 1, 1, 65_536));
    let expected = ScoreSummary { judged: 1, ..ScoreSummary::default() };
    assert_eq!((judged.scores, shadow.scores), (Some(expected), Some(expected)));
}

#[test]
fn a_shadow_that_fails_falls_alone_and_silently() {
    let mut rig = Rig::new(&["level"]);
    rig.supervisor.set_detectors(rig.now, vec![wanted("level", 1), shadow("level")]);
    rig.settle();
    rig.add_series(0);
    rig.settle();
    rig.take_seen();
    rig.deadly.push((1, SIGSYS));
    rig.observe(0, 1);
    rig.settle();
    assert_eq!(rig.take_seen(), ["gone", "spawn 2", "detectors level"], "and the pipeline is told of no failure");
    assert_eq!((rig.state(0), rig.state(1)), ("running", "quarantined"));
}

#[test]
fn a_shadow_that_is_promoted_goes_on_from_its_own_states() {
    let mut rig = Rig::new(&["level"]);
    rig.supervisor.set_detectors(rig.now, vec![wanted("level", 1), shadow("level")]);
    rig.settle();
    rig.add_series(0);
    rig.settle();
    rig.supervisor.set_detectors(rig.now, vec![wanted("level", 2)]);
    rig.settle();
    rig.take_seen();
    rig.add_series(2);
    let restores: Vec<_> =
        rig.open[&WorkerId(2)].iter().filter(|one| matches!(one, WorkerRequest::Restore { .. })).collect();
    assert_eq!(restores.len(), 1, "{restores:?}");
    rig.settle();
    assert_eq!(rig.supervisor.worker().states_restored, 1);
    assert_eq!(rig.supervisor.detectors()[0].scores, None, "a record is kept for a comparison only");
}

#[test]
fn one_failure_is_one_strike_however_much_was_asked_meanwhile() {
    let mut rig = Rig::new(&["level"]);
    rig.settle();
    rig.add_series(0);
    rig.observe(0, 1);
    for _ in 0..2 {
        let failed = WorkerReply::Failed { detector: 0, fault: Fault::Trap, reason: "unreachable".into() };
        rig.supervisor.handle_reply(rig.now, WorkerId(0), failed);
        rig.open.get_mut(&WorkerId(0)).unwrap().pop_front();
    }
    rig.act();
    assert_eq!((rig.state(0), rig.supervisor.detectors()[0].strikes), ("backing-off", 1));
}

//! A detector's life: intervals change, series come and go, processes restart, modules are upgraded, and the interpreter
//! takes over.

use crate::instance::honest;
use crate::rig::{Agent, artifact, columns, series};
use vedette_detector_compiler::compile;
use vedette_detector_host::engine::{Engine, Execution, Identity};
use vedette_detector_host::instance::{Code, Instance, Limits};
use vedette_detector_host::supervise::Wanted;
use vedette_protocol::worker::{Columns, SeriesDescriptor, SeriesState, WorkerReply, WorkerRequest};

const SERIES: u32 = 20;

fn ids() -> Vec<u32> {
    (0..SERIES).collect()
}

fn all_series() -> Vec<SeriesDescriptor> {
    (0..SERIES).map(series).collect()
}

/// A tick of a series that is read each second for a while, then each ten, with gaps and held learning in between.
fn eventful(tick: u64) -> Columns {
    let mut columns = columns(SERIES, tick);
    let interval_ms = if (30..60).contains(&tick) { 10_000 } else { 1_000 };
    columns.dt_ms.iter_mut().filter(|dt_ms| **dt_ms > 0).for_each(|dt_ms| *dt_ms = interval_ms);
    let flags = [u8::from(tick.is_multiple_of(7)), 4 * u8::from((40..45).contains(&tick))];
    columns.flags.fill(flags[0] | flags[1]);
    columns
}

fn score(instance: &mut Instance, ticks: std::ops::Range<u64>) -> Vec<u32> {
    let (mut bits, mut scores) = (Vec::new(), Vec::new());
    for tick in ticks {
        instance.observe(&eventful(tick), &mut scores).unwrap();
        bits.extend(scores.iter().map(|score| score.to_bits()));
    }
    bits
}

#[test]
fn a_life_may_be_cut_anywhere_and_gives_the_same_bits() {
    let mut whole = honest();
    let bits = score(&mut whole, 0..80);
    let end = whole.snapshot(&ids()).unwrap();
    for cut in [1, 30, 31, 42, 60, 79] {
        let mut first = honest();
        let mut pieces = score(&mut first, 0..cut);
        // Another process would get no more than this.
        let states = first.snapshot(&ids()).unwrap();
        drop(first);
        let mut second = honest();
        second.restore(&ids(), &states).unwrap();
        pieces.extend(score(&mut second, cut..80));
        assert_eq!(pieces, bits, "cut at {cut}");
        assert_eq!(second.snapshot(&ids()).unwrap(), end);
    }
}

#[test]
fn a_series_that_comes_back_starts_cold_from_a_prior_or_from_its_state() {
    let mut instance = honest();
    score(&mut instance, 0..10);
    let states = instance.snapshot(&[3]).unwrap();
    let score_of_3 = |instance: &mut Instance| {
        let mut scores = Vec::new();
        instance.observe(&eventful(10), &mut scores).unwrap();
        scores[3]
    };
    let mut again = |prior: &[u8], states: Option<&[SeriesState]>| {
        instance.series_removed(&[3]).unwrap();
        instance.series_added(&[SeriesDescriptor { prior: prior.to_vec(), ..series(3) }]).unwrap();
        states.iter().for_each(|states| instance.restore(&[3], states).unwrap());
        score_of_3(&mut instance)
    };
    assert!(again(&[], None).is_nan(), "nothing is known of it");
    let warm = again(&states[0].state, None);
    assert!(warm >= 0.0, "a peer's state is a prior");
    assert_eq!(again(&[], Some(&states)).to_bits(), warm.to_bits());
    assert!(again(&[1, 2, 3], None).is_nan(), "a prior that is none is ignored");
}

#[test]
fn the_interpreter_gives_the_same_bits_and_takes_states_over() {
    let native = artifact("honest");
    let wasm = crate::rig::component("honest");
    let byte_code = compile(&wasm, &Identity::loaded_by(Execution::Pulley).target).unwrap();
    assert_ne!(byte_code, native.cwasm().as_ref());
    let engine = Engine::executing(Execution::Pulley).unwrap();
    let interpreted = || {
        #[allow(unsafe_code, reason = "it was compiled here a moment ago")]
        // SAFETY: the unaltered output of this release's compiler.
        let code = unsafe { Code::assume(&byte_code) };
        let (mut instance, _) = Instance::load(&engine, code, &[], Limits::default()).unwrap();
        instance.series_added(&all_series()).unwrap();
        instance
    };
    let (mut one, mut other) = (honest(), interpreted());
    assert_eq!(score(&mut one, 0..40), score(&mut other, 0..40));
    let states = one.snapshot(&ids()).unwrap();
    assert_eq!(states, other.snapshot(&ids()).unwrap());
    let mut moved = interpreted();
    moved.restore(&ids(), &states).unwrap();
    assert_eq!(score(&mut one, 40..80), score(&mut moved, 40..80));
    let Err(refused) = Instance::load(&engine, Code::verified(native), &[], Limits::default()).map(drop) else {
        panic!("an interpreter runs no native code")
    };
    assert_eq!(refused.fault, vedette_protocol::worker::Fault::Refused);
}

/// A module of the set as the next version of `honest`.
fn upgrade(module: &str) -> Wanted {
    let artifact = artifact(module);
    Wanted {
        name: "honest".into(),
        version: "2.0.0".into(),
        digest: artifact.wasm_digest(),
        artifact: std::sync::Arc::clone(artifact.cwasm()),
        parameters: Vec::new(),
        shadow_of: None,
    }
}

fn tell_series(agent: &mut Agent, detector: u32) {
    agent.ask(WorkerRequest::SeriesAdded { detector, series: all_series() });
}

fn scores_of(agent: &mut Agent, detector: u32, tick: u64) -> Vec<f32> {
    agent.ask(WorkerRequest::Observe { detector, tick, columns: eventful(tick) });
    let found = |agent: &Agent| {
        agent.replies.iter().find_map(|reply| match reply {
            WorkerReply::Scores { detector: by, tick: of, scores, .. } if *by == detector && *of == tick => {
                Some(scores.clone())
            }
            _ => None,
        })
    };
    agent.until("it scores", |agent| found(agent).is_some());
    found(agent).unwrap()
}

/// Ten ticks of `honest`, then its upgrade to `module`: scores of the eleventh tick by the new number, and how many ticks
/// were answered while the second worker came up.
fn upgraded_to(module: &str) -> (Agent, Vec<f32>) {
    let mut agent = Agent::new(&["honest"]);
    agent.until("it runs", |agent| agent.running.len() == 1);
    let old = agent.running["honest"];
    tell_series(&mut agent, old);
    (0..10).for_each(|tick| drop(scores_of(&mut agent, old, tick)));
    agent.wants(vec![upgrade(module)]);
    agent.until("the new version runs", |agent| agent.supervisor.worker().switches == 2);
    let new = agent.supervisor.detectors()[0].detector;
    assert_ne!(old, new);
    tell_series(&mut agent, new);
    let scores = scores_of(&mut agent, new, 10);
    (agent, scores)
}

#[test]
fn an_upgrade_goes_on_from_the_states_that_it_accepts_and_cold_from_others_and_both_are_counted() {
    let mut whole = honest();
    score(&mut whole, 0..10);
    let expected = score(&mut whole, 10..11);
    let (agent, scores) = upgraded_to("chatty");
    assert_eq!(scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>(), expected);
    assert_eq!((agent.supervisor.worker().states_restored, agent.supervisor.worker().restores_refused), (20, 0));

    let (agent, scores) = upgraded_to("other-states");
    assert!(scores.iter().all(|score| score.is_nan()), "{scores:?}");
    assert_eq!((agent.supervisor.worker().states_restored, agent.supervisor.worker().restores_refused), (0, 1));
    assert_eq!(agent.supervisor.detectors()[0].strikes, 0, "a refusal is no failure");
}

#[test]
fn a_shadow_runs_in_the_same_worker_and_only_its_record_is_seen() {
    let mut agent = Agent::new(&["honest"]);
    let shadow = Wanted { shadow_of: Some("honest".into()), ..upgrade("idle") };
    let judged = Wanted { version: "1.0.0".into(), ..upgrade("honest") };
    agent.wants(vec![judged, shadow]);
    agent
        .until("both are loaded", |agent| agent.supervisor.detectors().iter().all(|one| one.state.name() == "running"));
    assert_eq!(agent.running.len(), 1);
    let detector = agent.running["honest"];
    tell_series(&mut agent, detector);
    (0..5).for_each(|tick| drop(scores_of(&mut agent, detector, tick)));
    agent.until("the shadow has scored", |agent| agent.supervisor.detectors()[1].values == 100);
    let told = agent.supervisor.detectors();
    let records: Vec<_> = told.iter().map(|one| one.scores.unwrap()).collect();
    assert_eq!((records[0].judged, records[0].undecided), (80, 20), "the first tick was learnt from");
    assert_eq!((records[1].judged, records[1].undecided, records[1].highest), (100, 0, 0.0));
    assert!(records[0].highest > 0.0);
    assert!(told.iter().all(|one| one.memory_bytes == 256 << 10), "four pages each");
    let from_shadow =
        |reply: &&WorkerReply| matches!(reply, WorkerReply::Scores { detector: by, .. } if *by != detector);
    assert_eq!(agent.replies.iter().filter(from_shadow).count(), 0);
}

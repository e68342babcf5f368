//! One detector, in this process.

use crate::rig::{artifact, columns, series};
use vedette_detector_compiler::compile;
use vedette_detector_host::engine::{Engine, Identity};
use vedette_detector_host::instance::{Code, Failure, Instance, Limits};
use vedette_protocol::worker::{Columns, DetectorInput, Fault, SeriesState};

pub(crate) fn load(name: &str, parameters: &[(String, f64)]) -> Result<Instance, Failure> {
    let engine = Engine::new().unwrap();
    Instance::load(&engine, Code::verified(artifact(name)), parameters, Limits::default()).map(|(instance, _)| instance)
}

pub(crate) fn honest() -> Instance {
    let mut instance = load("honest", &[]).unwrap();
    instance.series_added(&(0..20).map(series).collect::<Vec<_>>()).unwrap();
    instance
}

/// Bits of all scores over a range of ticks.
fn run(instance: &mut Instance, ticks: std::ops::Range<u64>) -> Vec<u32> {
    let mut bits = Vec::new();
    for tick in ticks {
        let mut scores = Vec::new();
        instance.observe(&columns(20, tick), &mut scores).unwrap();
        bits.extend(scores.iter().map(|score| score.to_bits()));
    }
    bits
}

#[test]
fn a_detector_describes_itself_with_the_parameters_in_effect() {
    let engine = Engine::new().unwrap();
    let parameters = [("alpha".to_owned(), 0.5)];
    let code = Code::verified(artifact("honest"));
    let (instance, description) = Instance::load(&engine, code, &parameters, Limits::default()).unwrap();
    assert_eq!(instance.input(), DetectorInput::Metrics);
    assert_eq!((description.name.as_str(), description.version.as_str()), ("honest", "1.0.0"));
    assert_eq!(description.parameters, parameters);
    assert_eq!((description.warm_up_values, description.state_bytes_max), (1, 8));
}

#[test]
fn what_a_detector_declines_is_named_and_no_state_of_it_is_given_back() {
    let mut instance = load("declines", &[]).unwrap();
    let series: Vec<_> = [3, 1, 2].map(series).into_iter().collect();
    let mut declined = instance.series_added(&series).unwrap();
    declined.sort_unstable();
    assert_eq!(declined, [1, 2, 3].map(|id| (id, crate::rig::series(id).key)));
    // It would refuse a state of this length, if it was asked.
    let states = [SeriesState { key: series[0].key, state: vec![0; 3] }];
    assert_eq!(instance.restore(&[3], &states), Ok(()));
    assert_eq!(instance.series_added(&[]), Ok(Vec::new()));
}

#[test]
fn a_parameter_that_is_unknown_or_out_of_bounds_is_named() {
    for (name, value, said) in
        [("beta", 0.5, "it has: alpha"), ("alpha", 1.5, "allowed are 0 to 1"), ("alpha", f64::NAN, "NaN")]
    {
        let Err(failure) = load("honest", &[(name.into(), value)]) else { panic!("{name} = {value} was accepted") };
        assert_eq!(failure.fault, Fault::Misconfigured);
        assert!(failure.reason.contains(said), "{failure}");
    }
}

#[test]
fn scores_are_aligned_and_the_same_bits_in_every_instance() {
    let (mut one, mut other) = (honest(), honest());
    let bits = run(&mut one, 0..50);
    assert_eq!(bits.len(), 50 * 20);
    assert_eq!(bits, run(&mut other, 0..50));
    assert!(bits[..20].iter().all(|bits| *bits == f32::NAN.to_bits()), "NaN while learning, of one bit pattern");
    assert!(bits[20..].iter().all(|bits| f32::from_bits(*bits) >= 0.0));
}

#[test]
fn a_restored_detector_goes_on_as_if_nothing_had_happened() {
    let mut whole = honest();
    run(&mut whole, 0..30);
    let ids: Vec<u32> = (0..20).collect();
    let states = whole.snapshot(&ids).unwrap();
    assert_eq!(states.len(), 20);
    let mut restored = honest();
    restored.restore(&ids, &states).unwrap();
    assert_eq!(run(&mut whole, 30..60), run(&mut restored, 30..60));
    assert_eq!(whole.snapshot(&ids).unwrap(), restored.snapshot(&ids).unwrap());
}

#[test]
fn a_refused_state_is_an_answer_and_not_a_failure() {
    let mut instance = honest();
    let mut states = instance.snapshot(&[3, 4]).unwrap();
    states[0].state = vec![0; 3];
    states[1].state = 0.5_f64.to_le_bytes().to_vec();
    let refused = instance.restore(&[3, 4], &states).unwrap_err();
    assert_eq!(refused.fault, Fault::Misconfigured);
    assert!(refused.reason.contains("state of another length"), "{refused}");
    assert!(instance.poisoned().is_none());
    let scores = run(&mut instance, 0..1);
    assert!(f32::from_bits(scores[3]).is_nan() && f32::from_bits(scores[4]) >= 0.0, "the other state is taken over");
}

#[test]
fn an_explanation_is_given_for_what_was_asked() {
    let mut instance = honest();
    run(&mut instance, 0..1);
    let explanations = instance.explain(&[4, 9]).unwrap();
    assert_eq!(explanations.iter().map(|one| one.id).collect::<Vec<_>>(), [4, 9]);
    assert_eq!(explanations[0].expected, columns(20, 0).values[4]);
}

#[test]
fn held_learning_changes_no_state() {
    let mut instance = honest();
    run(&mut instance, 0..5);
    let before = instance.snapshot(&[0]).unwrap();
    let mut tick = columns(1, 5);
    tick.flags[0] = vedette_protocol::worker::flags::HOLD_LEARNING;
    instance.observe(&tick, &mut Vec::new()).unwrap();
    assert_eq!(instance.snapshot(&[0]).unwrap(), before);
}

#[test]
fn ragged_columns_never_reach_the_guest() {
    let mut instance = honest();
    let ragged = Columns { flags: vec![0; 19], ..columns(20, 0) };
    assert_eq!(instance.observe(&ragged, &mut Vec::new()).unwrap_err().fault, Fault::Refused);
    assert!(instance.poisoned().is_none());
}

#[test]
fn a_guest_of_another_contract_is_refused_with_both_versions_and_a_remedy() {
    let mut wasm = crate::rig::component("honest");
    let (own, other) = (b"vedette:detector/types@0.1.0", b"vedette:detector/types@0.9.0");
    let places: Vec<_> = (0..wasm.len() - own.len()).filter(|at| wasm[*at..].starts_with(own)).collect();
    places.iter().for_each(|at| wasm[*at..*at + other.len()].copy_from_slice(other));
    assert!(!places.is_empty());
    let cwasm = compile(&wasm, &Identity::host().target).unwrap();
    // SAFETY: the unaltered output of this release's compiler.
    #[allow(unsafe_code, reason = "it was compiled here a moment ago")]
    let code = unsafe { Code::assume(&cwasm) };
    let Err(failure) = Instance::load(&Engine::new().unwrap(), code, &[], Limits::default()) else { panic!("loaded") };
    assert_eq!(failure.fault, Fault::Refused);
    for told in ["[VDT-D010]", "speaks vedette:detector@0.9.0", "host vedette:detector@0.1.0", "upgrade the host"] {
        assert!(failure.reason.contains(told), "{failure}");
    }
}

#[test]
fn code_of_another_engine_and_a_crippled_file_are_refused() {
    let engine = Engine::new().unwrap();
    let good = artifact("honest").cwasm();
    let version = b"48.0.8+";
    let at = good.windows(version.len()).position(|bytes| bytes == version).unwrap();
    let mut older = good.to_vec();
    older[at + 5] = b'7';
    for (cwasm, said) in [(older, "48.0.7"), (good[..good.len() / 2].to_vec(), ""), (Vec::new(), "")] {
        // SAFETY: altered before the code, or cut: it is refused, nothing of it is run.
        #[allow(unsafe_code, reason = "the refusal is what is tested")]
        let code = unsafe { Code::assume(&cwasm) };
        let Err(failure) = Instance::load(&engine, code, &[], Limits::default()) else { panic!("loaded") };
        assert_eq!(failure.fault, Fault::Refused);
        assert!(failure.reason.contains(said), "{failure}");
    }
}

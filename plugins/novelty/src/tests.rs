use super::*;
use vedette_sdk::Kind;
use vedette_sdk::testing::{
    Noise, Rig, damaged_states_are_refused, highest, rough_readings, same_bits_after_any_cut, series,
};

const FIVE_MINUTES_MS: u32 = 300_000;

/// Read each five minutes.
fn gauge() -> Series {
    Series { interval_ms: FIVE_MINUTES_MS, ..each_second() }
}

fn each_second() -> Series {
    series("", Kind::Gauge, f64::NAN..f64::NAN)
}

/// A daily wave read each five minutes.
fn daily(noise: &mut Noise, step: usize) -> f64 {
    let day = f64::from(u32::try_from(step % 288).unwrap_or(0)) / 288.0;
    let wave = if day < 0.5 { 16.0 * day * (0.5 - day) } else { -16.0 * (day - 0.5) * (1.0 - day) };
    50.0 + 20.0 * wave + noise.normal()
}

fn slow(rig: &mut Rig<Novelty>, values: impl IntoIterator<Item = f64>) -> Vec<f32> {
    values.into_iter().map(|value| rig.step(FIVE_MINUTES_MS, 0, value)).collect()
}

#[test]
fn a_new_level_is_new_once_and_unusual_for_as_long_as_it_lasts() {
    let (mut noise, mut rig) = (Noise(1), Rig::<Novelty>::new(&gauge()));
    let usual = slow(&mut rig, (0..2_016).map(|step| daily(&mut noise, step)));
    assert!(
        usual[..12].iter().all(|score| score.is_nan()) && highest(&usual[600..]) < 0.2,
        "{}",
        highest(&usual[600..])
    );
    let away = slow(&mut rig, (0..288).map(|_| 150.0 + noise.normal()));
    assert!(away[0] > 3.0, "{}", away[0]);
    let lasting = &away[200..];
    assert!(lasting.iter().all(|score| (0.1..1.0).contains(score)), "known by now, and not established: {lasting:?}");
    let back = slow(&mut rig, (2_016..2_304).map(|step| daily(&mut noise, step)));
    assert!(highest(&back[200..]) < 0.2, "{}", highest(&back[200..]));
}

#[test]
fn a_new_kind_is_explained_by_the_nearest_known_one() {
    let (mut noise, mut rig) = (Noise(2), Rig::<Novelty>::new(&gauge()));
    slow(&mut rig, (0..1_000).map(|_| 10.0 + noise.normal()));
    assert_eq!(rig.instance.explain(&[0])[0].1.code, 0);
    slow(&mut rig, [40.0]);
    let (_, why) = rig.instance.explain(&[0])[0];
    assert_eq!((why.code, why.observed), (code::NEW_KIND, 40.0));
    assert!((5.0..15.0).contains(&why.expected) && why.lower < why.expected && why.expected < why.upper, "{why:?}");
    slow(&mut rig, [40.2]);
    slow(&mut rig, [40.1; 40]);
    assert_eq!(rig.instance.explain(&[0])[0].1.code, code::YOUNG_KIND);
}

#[test]
fn a_usual_peak_that_lasts_is_of_a_new_kind() {
    let (mut noise, mut rig) = (Noise(3), Rig::<Novelty>::new(&gauge()));
    let peaks = |step: usize| 40.0 * f64::from(u8::from(step % 50 < 2));
    let usual = slow(&mut rig, (0..3_000).map(|step| peaks(step) + noise.normal()));
    assert!(highest(&usual[1_500..]) < 0.3, "{}", highest(&usual[1_500..]));
    let lasting = slow(&mut rig, (0..60).map(|_| 40.0 + noise.normal()));
    assert!(highest(&lasting) > 1.0, "{}", highest(&lasting));
}

#[test]
fn values_of_a_second_are_judged_by_the_minute() {
    let (mut noise, mut rig) = (Noise(4), Rig::<Novelty>::new(&each_second()));
    let scores = rig.run((0..3_600).map(|_| 5.0 + noise.normal()));
    let first = scores.iter().position(|score| !score.is_nan());
    assert!(first.is_some_and(|first| (720..=840).contains(&first)), "{first:?}");
    let changes = scores[1_200..].windows(2).filter(|two| two[0].to_bits() != two[1].to_bits()).count();
    assert!(changes <= 41, "{changes}");
    let minute = rig.run((0..120).map(|_| 25.0 + noise.normal()));
    assert!(highest(&minute) > 1.0);
}

#[test]
fn what_was_learnt_of_every_tenth_value_holds_for_all() {
    let mut noise = Noise(9);
    let mut wave = |step: usize| daily(&mut noise, step);
    let values: Vec<f64> = (0..4_032).map(&mut wave).collect();
    let mut rig = Rig::<Novelty>::new(&gauge());
    values.iter().step_by(10).for_each(|value| _ = rig.step(10 * FIVE_MINUTES_MS, 0, *value));
    let all = slow(&mut rig, (4_032..4_320).map(wave));
    assert!(highest(&all) < 0.6, "{}", highest(&all));
    let away = slow(&mut rig, [150.0]);
    assert!(away[0] > 3.0, "{away:?}");
}

#[test]
fn what_was_missed_is_not_taken_for_left_out() {
    let after = |dt_ms: u32, flags: u8| {
        let (mut noise, mut rig) = (Noise(10), Rig::<Novelty>::new(&gauge()));
        slow(&mut rig, (0..600).map(|step| daily(&mut noise, step)));
        rig.step(dt_ms, flags, 80.0);
        slow(&mut rig, (0..20).map(|step| daily(&mut noise, step)))
    };
    let [gap, left_out, usual] =
        [(20, Sample::GAP), (20, 0), (1, 0)].map(|(steps, flags)| after(steps * FIVE_MINUTES_MS, flags));
    assert_eq!(gap, usual);
    assert_ne!(left_out, usual);
}

#[test]
fn kinds_and_states_are_bounded_whatever_comes() {
    let (mut noise, mut rig) = (Noise(5), Rig::<Novelty>::new(&gauge()));
    let mut value = 1.0;
    for _ in 0..500 {
        value *= 1.0 + noise.uniform();
        rig.step(FIVE_MINUTES_MS, 0, value * noise.normal());
    }
    assert_eq!((kinds_of(&rig), rig.state().len()), (kinds::KINDS_MAX, 1_463));
}

fn kinds_of(rig: &Rig<Novelty>) -> usize {
    Kinds::load(&mut Reader::new(&rig.state()[118..])).unwrap().len()
}

/// The figures of `docs/detectors/novelty.md`, `docs/budgets.md` and `plugins/README.md`.
#[test]
fn a_state_is_119_bytes_and_21_for_each_kind() {
    let (mut noise, mut rig) = (Noise(8), Rig::<Novelty>::new(&gauge()));
    assert_eq!((kinds_of(&rig), rig.state().len()), (0, 119));
    slow(&mut rig, (0..2_016).map(|step| daily(&mut noise, step)));
    let kinds = kinds_of(&rig);
    assert!((2..=kinds::KINDS_MAX).contains(&kinds), "{kinds}");
    assert_eq!(rig.state().len(), 119 + 21 * kinds);
}

#[test]
fn extremes_neither_stop_it_nor_break_a_score() {
    let mut rig = Rig::<Novelty>::new(&gauge());
    let values = [0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, -0.0, 1e308, -1e308, 3.0];
    let scores = slow(&mut rig, (0..400).map(|step| values[step % values.len()]));
    assert!(scores[13..].iter().all(|score| score.is_finite()), "{scores:?}");
}

#[test]
fn what_is_held_is_judged_and_not_learnt() {
    let (mut noise, mut rig) = (Noise(6), Rig::<Novelty>::new(&gauge()));
    slow(&mut rig, (0..500).map(|_| 10.0 + noise.normal()));
    let before = rig.instance.snapshot(&[0]);
    for _ in 0..20 {
        assert!(rig.step(FIVE_MINUTES_MS, Sample::HOLD, 60.0) > 1.0);
    }
    assert_eq!(before, rig.instance.snapshot(&[0]));
    assert!(rig.step(FIVE_MINUTES_MS, 0, f64::NAN).is_nan());
    assert_eq!(before, rig.instance.snapshot(&[0]));
}

#[test]
fn nothing_is_averaged_over_what_was_held() {
    let (mut noise, mut rig) = (Noise(11), Rig::<Novelty>::new(&each_second()));
    rig.run((0..7_200).map(|_| 5.0 + noise.normal()));
    rig.run([1e6; 30]);
    rig.step(1_000, Sample::HOLD, 1e6);
    let step = rig.run((0..60).map(|_| 5.0 + noise.normal()));
    assert!(step[59] < 1.0, "of these values alone: {}", step[59]);
}

#[test]
fn another_unit_of_the_same_quantity_gets_the_same_scores() {
    let values: Vec<f64> = {
        let mut noise = Noise(7);
        (0..900).map(|step| daily(&mut noise, step) + if step > 800 { 60.0 } else { 0.0 }).collect()
    };
    let plain = slow(&mut Rig::<Novelty>::new(&gauge()), values.iter().copied());
    let milli = slow(&mut Rig::<Novelty>::new(&gauge()), values.iter().map(|value| 1_024.0 * value));
    for (one, other) in plain.iter().zip(&milli).skip(13) {
        assert!((one - other).abs() <= 1e-3 * one.max(1.0), "{one} {other}");
    }
    assert!(highest(&plain) > 1.0);
}

#[test]
fn goes_on_from_any_snapshot_bit_by_bit() {
    for seed in [11, 12, 13] {
        let readings = rough_readings(seed, 400, |noise, tick| {
            100.0 + 10.0 * noise.normal() + if tick % 150 > 120 { 80.0 } else { 0.0 }
        });
        same_bits_after_any_cut::<Novelty>(&gauge(), &readings);
    }
}

#[test]
fn damaged_states_are_refused_at_any_length() {
    let mut rig = Rig::<Novelty>::new(&gauge());
    slow(&mut rig, (0..40).map(|step| f64::from(step * step)));
    damaged_states_are_refused::<Novelty>(&gauge(), &rig.state());
    // New kinds of late, and the last score; both after the steps.
    for at in [53, 85] {
        let mut damaged = rig.state();
        damaged[at..at + 8].copy_from_slice(&(-10.0f64).to_le_bytes());
        assert!(rig.instance.restore([(0, &damaged[..])].into_iter()).is_err(), "a number below 0 at {at}");
    }
}

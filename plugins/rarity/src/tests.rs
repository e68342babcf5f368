use super::*;
use vedette_sdk::Kind;
use vedette_sdk::testing::{
    Noise, Rig, damaged_states_are_refused, highest, rough_readings, same_bits_after_any_cut, series,
};

const FIVE_MINUTES_MS: u32 = 300_000;
const STEPS_A_DAY: usize = 288;

/// Read each five minutes.
fn gauge() -> Series {
    Series { interval_ms: FIVE_MINUTES_MS, ..each_second() }
}

fn each_second() -> Series {
    series("", Kind::Gauge, f64::NAN..f64::NAN)
}

/// A daily wave read each five minutes.
fn daily(noise: &mut Noise, step: usize) -> f64 {
    let day = f64::from(u32::try_from(step % STEPS_A_DAY).unwrap_or(0)) / 288.0;
    let wave = if day < 0.5 { 16.0 * day * (0.5 - day) } else { -16.0 * (day - 0.5) * (1.0 - day) };
    50.0 + 20.0 * wave + noise.normal()
}

fn slow(rig: &mut Rig<Rarity>, values: impl IntoIterator<Item = f64>) -> Vec<f32> {
    values.into_iter().map(|value| rig.step(FIVE_MINUTES_MS, 0, value)).collect()
}

fn after_days(days: usize, noise: &mut Noise) -> Rig<Rarity> {
    let mut rig = Rig::new(&gauge());
    slow(&mut rig, (0..days * STEPS_A_DAY).map(|step| daily(noise, step)));
    rig
}

#[test]
fn a_jump_scores_by_how_seldom_one_as_large_came() {
    let mut noise = Noise(1);
    let mut rig = Rig::new(&gauge());
    let usual = slow(&mut rig, (0..2_016).map(|step| daily(&mut noise, step)));
    assert!(usual[..13].iter().all(|score| score.is_nan()), "nothing is known");
    let odd = usual[1_000..].iter().filter(|score| **score > 0.05).count();
    assert!(odd <= 30, "one in a hundred, by either of two sizes: {odd}");
    let first = slow(&mut rig, [daily(&mut noise, 2_016) + 60.0])[0];
    assert!((0.09..0.12).contains(&first), "never: {first}");
    let (_, why) = rig.instance.explain(&[0])[0];
    assert_eq!(why.code, code::JUMP);
    slow(&mut rig, (2_017..2_060).map(|step| daily(&mut noise, step)));
    let second = slow(&mut rig, [daily(&mut noise, 2_060) + 60.0])[0];
    assert!(second < first, "{second}");
}

#[test]
fn what_is_usual_at_another_hour_is_seldom_at_this_one() {
    let mut noise = Noise(2);
    let mut rig = after_days(14, &mut noise);
    // Ten at night as at ten in the morning; the first hours are the slow way there.
    let (now, other) = (STEPS_A_DAY * 22 / 24, STEPS_A_DAY * 10 / 24);
    slow(&mut rig, (0..now).map(|step| daily(&mut noise, step)));
    let from = daily(&mut noise, now);
    let to = daily(&mut noise, other);
    let way = slow(&mut rig, (0..=20).map(|step| from + (to - from) * f64::from(step) / 20.0));
    assert!(highest(&way) > 0.09, "{way:?}");
    assert_eq!(rig.instance.explain(&[0])[0].1.code, code::OFF_HOUR);
}

#[test]
fn values_of_a_second_are_judged_by_the_minute() {
    let (mut noise, mut rig) = (Noise(4), Rig::<Rarity>::new(&each_second()));
    let scores = rig.run((0..9_600).map(|_| 5.0 + noise.normal()));
    let first = scores.iter().position(|score| !score.is_nan());
    assert!(first.is_some_and(|first| (780..=840).contains(&first)), "{first:?}");
    let changes = scores[6_840..].windows(2).filter(|two| two[0].to_bits() != two[1].to_bits()).count();
    assert!(changes <= 48, "{changes}");
    let minute = rig.run((0..120).map(|_| 25.0 + noise.normal()));
    assert!(highest(&minute) > 0.05);
}

#[test]
fn no_jump_is_told_over_values_that_are_missing_or_left_out() {
    for (dt_ms, flags) in [(20 * FIVE_MINUTES_MS, Sample::GAP), (2 * FIVE_MINUTES_MS, 0)] {
        let mut rig = Rig::<Rarity>::new(&gauge());
        let mut noise = Noise(3);
        // Within a day, so that no hour is known.
        slow(&mut rig, (0..250).map(|_| noise.normal()));
        let score = rig.step(dt_ms, flags, 40.0);
        assert!(score.is_nan() && rig.instance.explain(&[0])[0].1.code == 0, "{score}");
        assert!(rig.step(FIVE_MINUTES_MS, 0, -40.0) > 0.05);
    }
}

/// The figures of `docs/detectors/rarity.md`, `docs/budgets.md` and `plugins/README.md`.
#[test]
fn a_state_is_355_bytes_whatever_comes() {
    let (mut noise, mut rig) = (Noise(5), Rig::<Rarity>::new(&gauge()));
    assert_eq!(rig.state().len(), 355);
    let mut value = 1.0;
    for _ in 0..500 {
        value *= 1.0 + noise.uniform();
        rig.step(FIVE_MINUTES_MS, 0, value * noise.normal());
    }
    assert_eq!(rig.state().len(), 355);
}

#[test]
fn extremes_neither_stop_it_nor_break_a_score() {
    let mut rig = Rig::<Rarity>::new(&gauge());
    let values = [0.0, f64::MAX, f64::MIN, f64::MIN_POSITIVE, -0.0, 1e308, -1e308, 3.0];
    let scores = slow(&mut rig, (0..900).map(|step| values[step % values.len()]));
    assert!(scores[20..].iter().all(|score| (0.0..0.2).contains(score)), "{scores:?}");
}

#[test]
fn what_is_held_is_judged_and_not_learnt() {
    let mut noise = Noise(6);
    let mut rig = after_days(3, &mut noise);
    // The clock goes on.
    let learnt = |rig: &Rig<Rarity>| rig.state()[4..].to_vec();
    rig.step(FIVE_MINUTES_MS, Sample::HOLD, 200.0);
    let before = learnt(&rig);
    for _ in 0..20 {
        assert!(rig.step(FIVE_MINUTES_MS, Sample::HOLD, 200.0) > 0.05);
    }
    assert_eq!(before, learnt(&rig));
    assert!(rig.step(FIVE_MINUTES_MS, 0, f64::NAN).is_nan());
    assert_eq!(before, learnt(&rig));
}

#[test]
fn nothing_is_averaged_or_compared_over_what_was_held() {
    let mut noise = Noise(8);
    let mut rig = Rig::<Rarity>::new(&each_second());
    rig.run((0..7_200).map(|_| 5.0 + noise.normal()));
    rig.run([1e6; 30]);
    rig.step(1_000, Sample::HOLD, 1e6);
    // Within a day, so that no hour is known.
    let step = rig.run((0..60).map(|_| 25.0 + noise.normal()));
    assert!(step[59].is_nan(), "compared with nothing: {}", step[59]);
    assert!((20.0..30.0).contains(&rig.instance.explain(&[0])[0].1.observed), "of these values alone");
    let next = rig.run((0..60).map(|_| 25.0 + noise.normal()));
    assert!(next[59] < 0.05, "{}", next[59]);
}

#[test]
fn nothing_is_compared_over_a_reset() {
    let mut noise = Noise(10);
    let mut rig = Rig::<Rarity>::new(&gauge());
    slow(&mut rig, (0..200).map(|_| noise.normal()));
    assert!(rig.step(FIVE_MINUTES_MS, Sample::RESET | Sample::GAP, 0.0).is_nan());
    let score = rig.step(FIVE_MINUTES_MS, 0, 40.0);
    assert!(score.is_nan(), "compared with nothing, before a day is over: {score}");
}

#[test]
fn a_value_of_a_slow_series_is_a_step_though_it_comes_early() {
    let mut noise = Noise(9);
    let mut rig = Rig::<Rarity>::new(&gauge());
    (0..250).for_each(|step| _ = rig.step(FIVE_MINUTES_MS - 5 + step % 2 * 10, 0, noise.normal()));
    let score = rig.step(FIVE_MINUTES_MS - 5, 0, 40.0);
    assert!(score > 0.05, "{score}");
}

#[test]
fn another_unit_of_the_same_quantity_gets_the_same_scores() {
    let values: Vec<f64> = {
        let mut noise = Noise(7);
        (0..900).map(|step| daily(&mut noise, step) + if step > 800 { 60.0 } else { 0.0 }).collect()
    };
    let plain = slow(&mut Rig::<Rarity>::new(&gauge()), values.iter().copied());
    let kibi = slow(&mut Rig::<Rarity>::new(&gauge()), values.iter().map(|value| 1_024.0 * value));
    assert_eq!(plain[13..], kibi[13..]);
    assert!(highest(&plain) > 0.09);
}

#[test]
fn goes_on_from_any_snapshot_bit_by_bit() {
    for seed in [11, 12, 13] {
        let readings = rough_readings(seed, 400, |noise, tick| {
            100.0 + 10.0 * noise.normal() + if tick % 150 > 120 { 80.0 } else { 0.0 }
        });
        same_bits_after_any_cut::<Rarity>(&gauge(), &readings);
    }
}

#[test]
fn damaged_states_are_refused_at_any_length() {
    let mut rig = Rig::<Rarity>::new(&gauge());
    slow(&mut rig, (0..40).map(|step| f64::from(step * step)));
    damaged_states_are_refused::<Rarity>(&gauge(), &rig.state());
    // The last score, after phase, steps and the step before.
    let mut damaged = rig.state();
    damaged[65..73].copy_from_slice(&(-1.0f64).to_le_bytes());
    assert!(rig.instance.restore([(0, &damaged[..])].into_iter()).is_err(), "a score below 0");
}

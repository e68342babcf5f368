use super::*;
use vedette_sdk::Kind;
use vedette_sdk::testing::{
    Noise, Rig, damaged_states_are_refused, highest, rough_readings, same_bits_after_any_cut, series,
};

fn temperature() -> Series {
    Series { resolution: 0.01, ..series("Cel", Kind::Gauge, f64::NAN..f64::NAN) }
}

/// Moves all the time, in steps of a hundredth: now and then by chance to where it was.
fn moving(noise: &mut Noise) -> f64 {
    (40.0 + 0.05 * noise.normal() * 100.0).round() / 100.0
}

#[test]
fn a_series_that_stops_moving_is_found_within_fifteen_looks_and_explained() {
    let mut noise = Noise(1);
    let mut rig = Rig::<Flatline>::new(&temperature());
    let before = rig.run_each(LOOK_MS, (0..4_000).map(|_| moving(&mut noise)));
    assert!(before[118].is_nan() && !before[119].is_nan() && highest(&before) < 2.0, "{}", highest(&before));
    let still = rig.run_each(LOOK_MS, std::iter::repeat_n(0.41, 60));
    assert!(still[15] > 4.0 && still.is_sorted(), "{still:?}");
    let (_, why) = rig.instance.explain(&[0])[0];
    assert_eq!((why.code, why.observed, why.onset_ms_ago), (code::STANDS_STILL, 0.41, 590_000));
    assert_eq!(rig.run_each(LOOK_MS, [0.47]), [0.0], "it moves again");
}

#[test]
fn values_between_looks_count_no_repetition_and_may_end_a_run() {
    let paced = |dt_ms: u32, each: usize| {
        let mut noise = Noise(8);
        let mut rig = Rig::<Flatline>::new(&temperature());
        // The source moves each 14 s; then it stands still.
        let mut value = 0.0;
        for second in 0..40_000 {
            if second % 14 == 0 {
                value = moving(&mut noise);
            }
            if second % each == 0 {
                rig.step(dt_ms, 0, value);
            }
        }
        let usual = rig.run_each(dt_ms, std::iter::repeat_n(value, 10 / each))[0];
        let still = rig.run_each(dt_ms, std::iter::repeat_n(value, 150 / each));
        (usual, still[150 / each - 1], rig.step(dt_ms, 0, value + 1.0))
    };
    let (slow, fast) = (paced(LOOK_MS, 10), paced(1_000, 1));
    assert_eq!(slow, fast, "whoever shows it each value sees the same");
    assert!(slow.0 < 1.0 && slow.1 > 4.0 && slow.2 < 1.0, "{slow:?}");
    // What is shown each second for a while, and each ten seconds then, has no more runs than before.
    let mut noise = Noise(9);
    let mut rig = Rig::<Flatline>::new(&temperature());
    rig.run_each(LOOK_MS, (0..1_000).map(|_| moving(&mut noise)));
    let mut closely = Vec::new();
    for _ in 0..20 {
        let value = moving(&mut noise);
        closely.extend(rig.run_each(1_000, std::iter::repeat_n(value, 9)));
    }
    assert!(highest(&closely) < 1.0, "{}", highest(&closely));
}

#[test]
fn a_series_that_rests_by_itself_gets_no_opinion() {
    let mut noise = Noise(2);
    let mut rig = Rig::<Flatline>::new(&temperature());
    let mut value = 0.4;
    let scores = rig.run_each(
        LOOK_MS,
        (0..2_000).map(|_| {
            if noise.uniform() < 0.4 {
                value = moving(&mut noise);
            }
            value
        }),
    );
    assert!(scores.iter().all(|score| score.is_nan() || *score < 1.0), "{}", highest(&scores));
    assert!(scores[1_999].is_nan());
}

#[test]
fn an_ended_load_at_zero_and_a_full_stock_are_no_flat_lines() {
    let mut noise = Noise(3);
    let bounded = Series { resolution: 0.001, ..series("1", Kind::Gauge, 0.0..1.0) };
    for rest in [0.0, 0.999_5] {
        let mut rig = Rig::<Flatline>::new(&bounded);
        rig.run_each(LOOK_MS, (0..1_000).map(|_| 0.5 + 0.4 * noise.uniform()));
        assert_eq!(highest(&rig.run_each(LOOK_MS, std::iter::repeat_n(rest, 100))), 0.0, "{rest}");
    }
}

#[test]
fn runs_teach_how_long_is_usual_and_held_ones_do_not() {
    let run = |held: bool| {
        let mut noise = Noise(4);
        let mut rig = Rig::<Flatline>::new(&temperature());
        rig.run_each(LOOK_MS, (0..1_000).map(|_| moving(&mut noise)));
        let flags = if held { Sample::HOLD } else { 0 };
        (0..40).for_each(|_| _ = rig.step(LOOK_MS, flags, 0.5));
        rig.run_each(LOOK_MS, (0..500).map(|_| moving(&mut noise)));
        highest(&rig.run_each(LOOK_MS, std::iter::repeat_n(0.5, 30)))
    };
    assert_eq!(run(false), 0.0);
    assert!(run(true) > 4.0);
}

#[test]
fn what_stands_still_for_long_is_adopted() {
    let mut noise = Noise(5);
    let mut rig = Rig::<Flatline>::new(&temperature());
    rig.run_each(LOOK_MS, (0..1_000).map(|_| moving(&mut noise)));
    let held: Vec<f32> = (0..=ADOPTED).map(|_| rig.step(LOOK_MS, Sample::HOLD, 0.5)).collect();
    assert!(held[100] > 4.0 && held[ADOPTED as usize] < 1.0, "{:?}", held.last());
}

#[test]
fn scale_and_place_do_not_matter() {
    let scores = |scale: f64, shift: f64| {
        let mut noise = Noise(6);
        let mut rig = Rig::<Flatline>::new(&Series { resolution: 0.0, ..temperature() });
        let mut scores = rig.run_each(LOOK_MS, (0..500).map(|_| moving(&mut noise) * scale + shift));
        scores.extend(rig.run_each(LOOK_MS, std::iter::repeat_n(0.4 * scale + shift, 50)));
        scores.iter().map(|score| score.to_bits()).collect::<Vec<_>>()
    };
    assert_eq!(scores(1.0, 0.0), scores(1_024.0, 65_536.0));
}

#[test]
fn a_state_goes_on_wherever_it_was_cut_and_is_refused_when_damaged() {
    let mut still = 0;
    let readings = rough_readings(7, 700, |noise, tick| {
        if tick % 200 > 150 {
            still += 1;
            return 0.5;
        }
        moving(noise)
    });
    assert!(still > 0);
    same_bits_after_any_cut::<Flatline>(&temperature(), &readings);
    let mut rig = Rig::<Flatline>::new(&temperature());
    readings.into_iter().for_each(|reading| _ = rig.read(reading));
    damaged_states_are_refused::<Flatline>(&temperature(), &rig.state());
}

use super::*;
use vedette_sdk::Kind;
use vedette_sdk::testing::{
    Noise, Rig, damaged_states_are_refused, highest, ramp, rough_readings, same_bits_after_any_cut, series,
};

/// A filesystem of 250 GB, as the share of it that is used.
fn filesystem() -> Series {
    Series {
        metric: "system.filesystem.utilization".into(),
        attributes: vec![("system.filesystem.state".into(), "used".into())],
        resolution: 1e-6,
        ..series("1", Kind::Gauge, 0.0..1.0)
    }
}

/// A repeatable wobble between -1 and 1.
fn wobble(tick: usize) -> f64 {
    ((tick * 7_919 + tick * tick * 104_729) % 2_001) as f64 / 1_000.0 - 1.0
}

fn quiet(tick: usize) -> f64 {
    0.2 + 2e-6 * wobble(tick)
}

#[test]
fn a_disk_filling_at_150_megabytes_a_second_is_found_within_ten_seconds_and_explained() {
    let mut rig = Rig::<Exhaustion>::new(&filesystem());
    let idle = rig.run((0..120).map(quiet));
    assert!(idle[19].is_nan() && !idle[20].is_nan() && highest(&idle) < 1.0);
    let fill = rig.run((1..=30).map(|second| quiet(0) + 6e-4 * f64::from(second)));
    assert!(fill[9..].iter().all(|score| *score > 4.0), "{fill:?}");
    let (_, why) = rig.instance.explain(&[0])[0];
    assert_eq!((why.code, why.upper), (code::TOWARDS_UPPER, 1.0));
    let slope_per_s = (why.observed - why.expected) / f64::from(why.onset_ms_ago) * 1_000.0;
    let exhausted_in_s = (why.upper - why.observed) / slope_per_s;
    assert!((1_200.0..1_400.0).contains(&exhausted_in_s), "{exhausted_in_s} {why:?}");
    assert!((24_000..=36_000).contains(&why.onset_ms_ago), "{why:?}");
}

#[test]
fn steps_are_no_trend() {
    let mut rig = Rig::<Exhaustion>::new(&filesystem());
    rig.run((0..120).map(quiet));
    let step = rig.run((0..120).map(|tick| {
        if tick == 60 {
            0.3
        } else if tick > 60 {
            0.4
        } else {
            0.2
        }
    }));
    assert!(highest(&step) < 1.0, "{}", highest(&step));
}

#[test]
fn a_sawtooth_of_collections_is_quiet() {
    let mut rig = Rig::<Exhaustion>::new(&filesystem());
    let scores = rig.run((0..3_600).map(|tick| 0.3 + 0.01 * (tick % 30) as f64));
    assert!(highest(&scores) < 3.0, "{}", highest(&scores));
}

#[test]
fn slow_growth_with_much_room_is_quiet() {
    let mut rig = Rig::<Exhaustion>::new(&filesystem());
    let scores = rig.run((0..3_600).map(|tick| quiet(tick) + 1e-7 * tick as f64));
    assert!(highest(&scores) < 0.5, "{}", highest(&scores));
}

#[test]
fn a_slow_leak_is_found_at_a_longer_horizon() {
    let mut rig = Rig::<Exhaustion>::new(&filesystem());
    rig.run((0..4_000).map(|tick| 0.7 + 1e-3 * wobble(tick)));
    let leak = rig.run((0..1_200).map(|tick| 0.7 + 1e-4 * tick as f64 + 1e-3 * wobble(tick)));
    let found = leak.iter().position(|score| *score > 2.5).expect("found");
    assert!((20..1_100).contains(&found), "{found}");
}

#[test]
fn falling_remainders_count_and_caches_and_flows_do_not() {
    let mut free = filesystem();
    (free.metric, free.attributes) = ("pool.connections.available".into(), Vec::new());
    let mut rig = Rig::<Exhaustion>::new(&free);
    rig.run([0.8; 60]);
    assert!(highest(&rig.run((0..20).map(|second| 0.8 - 0.01 * f64::from(second)))) > 8.0);
    assert_eq!(rig.instance.explain(&[0])[0].1.code, code::TOWARDS_LOWER);
    let mut cache = filesystem();
    cache.attributes[0].1 = "cached".into();
    let mut flow = filesystem();
    flow.metric = "system.cpu.utilization".into();
    let mut boundless = filesystem();
    boundless.upper = f64::NAN;
    for series in [cache, flow, boundless] {
        let mut instance = vedette_sdk::Instance::<Exhaustion>::new(&[]).expect("defaults");
        assert!(!instance.add(0, &series, &[]), "{series:?}");
    }
}

#[test]
fn a_gap_starts_a_new_window_and_a_change_of_interval_makes_no_trend() {
    let mut rig = Rig::<Exhaustion>::new(&filesystem());
    rig.run((0..60).map(quiet));
    assert_eq!(rig.step(60_000, Sample::GAP, 0.3), 0.0);
    assert!((0..60).all(|tick| rig.step(5_000, 0, 0.3 + 1e-6 * wobble(tick)) < 1.0));
}

#[test]
fn snapshot_and_restore_at_any_cut_give_the_same_bits() {
    for seed in 0..8 {
        let readings = rough_readings(seed, 300, |noise, tick| {
            0.2 + 2e-6 * noise.normal() + 0.1 * ramp(tick as f64, 150.0, 150.0)
        });
        same_bits_after_any_cut::<Exhaustion>(&filesystem(), &readings);
    }
}

#[test]
fn damaged_states_are_refused_at_any_length() {
    let mut rig = Rig::<Exhaustion>::new(&filesystem());
    rig.run((0..60).map(quiet));
    damaged_states_are_refused::<Exhaustion>(&filesystem(), &rig.state());
}

#[test]
fn another_unit_of_the_same_stock_gets_the_same_scores() {
    let mut bytes = Series { resolution: 4_096.0, ..series("By", Kind::Gauge, 0.0..2.5e11) };
    bytes.metric = "system.filesystem.usage".into();
    let kilobytes = Series { upper: 2.5e8, resolution: 4.096, unit: "kBy".into(), ..bytes.clone() };
    let used: Vec<f64> =
        (0..600).map(|tick| 5e10 + 1e6 * wobble(tick) + 3e10 * ramp(tick as f64, 300.0, 300.0)).collect();
    let scores = Rig::<Exhaustion>::new(&bytes).run(used.iter().copied());
    let scaled = Rig::<Exhaustion>::new(&kilobytes).run(used.iter().map(|value| value / 1_000.0));
    for (one, other) in scores.iter().zip(&scaled).filter(|(one, _)| !one.is_nan()) {
        assert!((one - other).abs() <= 0.01 * one.max(1.0), "{one} {other}");
    }
    assert!(highest(&scores) > 4.0);
}

#[test]
fn a_series_read_each_ten_seconds_finds_the_same_filling() {
    let mut rig = Rig::<Exhaustion>::new(&filesystem());
    let idle: Vec<f32> = (0..120).map(|tick| rig.step(10_000, 0, quiet(tick))).collect();
    assert!(highest(&idle) < 1.0, "{}", highest(&idle));
    let fill: Vec<f32> = (1..=30).map(|tick| rig.step(10_000, 0, quiet(0) + 6e-3 * f64::from(tick))).collect();
    assert!(fill[11..].iter().all(|score| *score > 4.0), "{fill:?}");
}

/// Memory that is collected each seven minutes, read each minute: a tooth of three per cent, noise, and what leaks.
fn heap(noise: &mut Noise, minute: usize, leaked: f64) -> f64 {
    0.5 + 0.03 * (minute % 7) as f64 / 7.0 + 0.002 * noise.normal() + leaked
}

fn memory() -> Series {
    let attributes = vec![("system.memory.state".into(), "used".into())];
    Series {
        metric: "system.memory.utilization".into(),
        attributes,
        interval_ms: 60_000,
        ..series("1", Kind::Gauge, 0.0..1.0)
    }
}

#[test]
fn a_leak_of_a_fifth_of_a_per_cent_an_hour_is_told_days_before_the_end_with_a_time_that_holds() {
    let (mut noise, mut rig) = (Noise(11), Rig::<Exhaustion>::new(&memory()));
    let per_minute = 0.002 / 60.0;
    let quiet: Vec<f32> = (0..2_880).map(|minute| rig.step(60_000, 0, heap(&mut noise, minute, 0.0))).collect();
    assert!(highest(&quiet) < 3.0, "{}", highest(&quiet));
    // By the mean of its teeth.
    let exhausted_at = 0.485 / per_minute;
    let (mut told, mut right, mut all) = (None, 0, 0);
    for minute in 0..13_200_usize {
        let score = rig.step(60_000, 0, heap(&mut noise, minute, per_minute * minute as f64));
        if score > 4.0 {
            told.get_or_insert(minute);
            let (_, why) = rig.instance.explain(&[0])[0];
            assert_eq!(why.code, code::TOWARDS_UPPER);
            let rate = |onset_ms: u32| (why.observed - why.expected) / f64::from(onset_ms) * 60_000.0;
            let left = |onset_ms: u32| (why.upper - why.observed) / rate(onset_ms);
            let earliest = minute as f64 + left(why.onset_ms_ago - why.onset_uncertainty_ms);
            let latest = minute as f64 + left(why.onset_ms_ago + why.onset_uncertainty_ms);
            right += usize::from((earliest..=latest).contains(&exhausted_at));
            all += 1;
        }
    }
    let hours_before = (exhausted_at - told.expect("told") as f64) / 60.0;
    assert!((6.0..72.0).contains(&hours_before), "{hours_before}");
    assert!(right * 10 >= all * 9, "{right} of {all} intervals hold the true time");
}

#[test]
fn a_week_of_collections_is_quiet() {
    let (mut noise, mut rig) = (Noise(12), Rig::<Exhaustion>::new(&memory()));
    let scores: Vec<f32> = (0..7 * 1_440).map(|minute| rig.step(60_000, 0, heap(&mut noise, minute, 0.0))).collect();
    assert!(highest(&scores) < 3.5, "{}", highest(&scores));
}

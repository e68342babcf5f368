use super::*;
use vedette_sdk::{Columns, Instance, Kind};

/// A filesystem of 250 GB, as the share of it that is used.
fn filesystem() -> Series {
    Series {
        key: 9,
        metric: "system.filesystem.utilization".into(),
        unit: "1".into(),
        kind: Kind::Gauge,
        attributes: vec![("system.filesystem.state".into(), "used".into())],
        interval_ms: 1_000,
        resolution: 1e-6,
        lower: 0.0,
        upper: 1.0,
    }
}

/// A repeatable wobble between -1 and 1.
fn wobble(tick: usize) -> f64 {
    ((tick * 7_919 + tick * tick * 104_729) % 2_001) as f64 / 1_000.0 - 1.0
}

struct Rig {
    instance: Instance<Exhaustion>,
    started: bool,
}

impl Rig {
    fn new(series: &Series) -> Self {
        let mut instance = Instance::new(&[]).expect("defaults");
        instance.add(0, series, &[]);
        Self { instance, started: false }
    }

    fn step(&mut self, dt_ms: u32, flags: u8, value: f64) -> f32 {
        let dt_ms = if self.started { dt_ms } else { 0 };
        self.started = true;
        self.instance.observe(Columns { ids: &[0], dt_ms: &[dt_ms], flags: &[flags], values: &[value] })[0]
    }

    fn run(&mut self, values: impl IntoIterator<Item = f64>) -> Vec<f32> {
        values.into_iter().map(|value| self.step(1_000, 0, value)).collect()
    }
}

fn highest(scores: &[f32]) -> f32 {
    scores.iter().copied().fold(0.0, f32::max)
}

fn quiet(tick: usize) -> f64 {
    0.2 + 2e-6 * wobble(tick)
}

#[test]
fn a_disk_filling_at_150_megabytes_a_second_is_found_within_ten_seconds_and_explained() {
    let mut rig = Rig::new(&filesystem());
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
    let mut rig = Rig::new(&filesystem());
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
    let mut rig = Rig::new(&filesystem());
    let scores = rig.run((0..3_600).map(|tick| 0.3 + 0.01 * (tick % 30) as f64));
    assert!(highest(&scores) < 3.0, "{}", highest(&scores));
}

#[test]
fn slow_growth_with_much_room_is_quiet() {
    let mut rig = Rig::new(&filesystem());
    let scores = rig.run((0..3_600).map(|tick| quiet(tick) + 1e-7 * tick as f64));
    assert!(highest(&scores) < 0.5, "{}", highest(&scores));
}

#[test]
fn a_slow_leak_is_found_at_a_longer_horizon() {
    let mut rig = Rig::new(&filesystem());
    rig.run((0..4_000).map(|tick| 0.7 + 1e-3 * wobble(tick)));
    let leak = rig.run((0..1_200).map(|tick| 0.7 + 1e-4 * tick as f64 + 1e-3 * wobble(tick)));
    let found = leak.iter().position(|score| *score > 2.5).expect("found");
    assert!((20..1_100).contains(&found), "{found}");
}

#[test]
fn falling_remainders_count_and_caches_and_flows_do_not() {
    let mut free = filesystem();
    (free.metric, free.attributes) = ("pool.connections.available".into(), Vec::new());
    let mut rig = Rig::new(&free);
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
        let mut rig = Rig::new(&series);
        assert!(rig.run((0..100).map(|tick| 0.01 * f64::from(tick))).iter().all(|score| score.is_nan()));
    }
}

#[test]
fn a_gap_starts_a_new_window_and_a_change_of_interval_makes_no_trend() {
    let mut rig = Rig::new(&filesystem());
    rig.run((0..60).map(quiet));
    assert_eq!(rig.step(60_000, Sample::GAP, 0.3), 0.0);
    assert!((0..60).all(|tick| rig.step(5_000, 0, 0.3 + 1e-6 * wobble(tick)) < 1.0));
}

#[test]
fn snapshot_and_restore_at_any_cut_give_the_same_bits() {
    let values: Vec<f64> =
        (0..300).map(|tick| if tick < 150 { quiet(tick) } else { 0.2 + 6e-4 * (tick - 150) as f64 }).collect();
    let whole = Rig::new(&filesystem()).run(values.clone());
    for cut in [0, 1, 8, 9, 21, 100, 158, 299] {
        let mut first = Rig::new(&filesystem());
        let mut scores = first.run(values[..cut].to_vec());
        let states = first.instance.snapshot(&[0]);
        assert!(states[0].1.len() <= 512, "{}", states[0].1.len());
        let mut second = Rig { started: first.started, ..Rig::new(&filesystem()) };
        second.instance.restore([(0, states[0].1.as_slice())].into_iter()).expect("own state");
        assert_eq!(first.instance.explain(&[0])[0].1.code, second.instance.explain(&[0])[0].1.code);
        scores.extend(second.run(values[cut..].to_vec()));
        assert!(whole.iter().zip(&scores).all(|(a, b)| a.to_bits() == b.to_bits()), "cut at {cut}");
    }
}

#[test]
fn damaged_states_are_refused() {
    let mut rig = Rig::new(&filesystem());
    for bytes in [&[][..], &[7; 40][..], &[255; 400][..]] {
        assert!(rig.instance.restore([(0, bytes)].into_iter()).is_err());
    }
}

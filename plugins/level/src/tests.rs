use super::*;
use vedette_sdk::{Columns, Instance, Kind};

/// SplitMix64: seeded noise without a dependency.
struct Noise(u64);

impl Noise {
    fn uniform(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut bits = self.0;
        bits = (bits ^ (bits >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        bits = (bits ^ (bits >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((bits ^ (bits >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }

    fn normal(&mut self) -> f64 {
        (0..12).map(|_| self.uniform()).sum::<f64>() - 6.0
    }
}

fn series(unit: &str, kind: Kind, lower: f64, upper: f64) -> Series {
    let (metric, unit) = ("test.metric".into(), unit.into());
    Series { key: 7, metric, unit, kind, attributes: Vec::new(), interval_ms: 1_000, resolution: 0.0, lower, upper }
}

fn ratio() -> Series {
    series("1", Kind::Gauge, 0.0, 1.0)
}

fn bytes_rate() -> Series {
    series("By/s", Kind::Rate, 0.0, f64::NAN)
}

/// One series under the detector, a value a second.
struct Rig {
    instance: Instance<Level>,
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

fn idle_cpu(noise: &mut Noise, ticks: usize) -> Vec<f64> {
    (0..ticks)
        .map(|tick| {
            let jump = if tick % 17 < 2 { 0.03 * noise.uniform() } else { 0.0 };
            (0.005 + 0.003 * noise.normal()).at_least(0.0) + jump
        })
        .collect()
}

#[test]
fn idle_cpu_stays_low_and_a_full_core_is_seen_within_three_ticks() {
    let (mut noise, mut rig) = (Noise(1), Rig::new(&ratio()));
    let idle = rig.run(idle_cpu(&mut noise, 900));
    assert!(idle[47].is_nan() && !idle[48].is_nan());
    assert!(highest(&idle) < 3.0, "{}", highest(&idle));
    let burn = rig.run((0..10).map(|_| 0.98 + 0.01 * noise.uniform()));
    assert!(burn[2..].iter().all(|score| *score > 12.0), "{burn:?}");
    assert!(highest(&rig.run(idle_cpu(&mut noise, 10))[2..]) < 3.0);
}

#[test]
fn one_cpu_of_two_burning_at_the_end_of_a_two_minute_warm_up_stands_out() {
    let (mut noise, mut rig) = (Noise(2), Rig::new(&ratio()));
    let idle = highest(&rig.run(idle_cpu(&mut noise, 120)));
    let burn = rig.run((0..10).map(|_| 0.5 + 0.01 * noise.uniform()));
    assert!(burn[3] > 4.0 * idle.max(2.0), "{idle} {burn:?}");
}

#[test]
fn memory_wandering_is_quiet_and_a_third_of_it_taken_is_loud() {
    let (mut noise, mut rig) = (Noise(3), Rig::new(&ratio()));
    let mut level = 0.3;
    let quiet = rig.run((0..900).map(|_| {
        level += 0.0005 * noise.normal();
        level
    }));
    assert!(highest(&quiet) < 3.0, "{}", highest(&quiet));
    assert!(highest(&rig.run([level + 0.1, level + 0.2, level + 0.3, level + 0.3, level + 0.3])) > 7.0);
}

fn disk_bursts(noise: &mut Noise, tick: usize) -> f64 {
    if tick % 30 < 2 {
        2e6 * (0.3 + noise.uniform())
    } else if tick.is_multiple_of(5) {
        40_000.0
    } else {
        0.0
    }
}

#[test]
fn write_bursts_of_an_idle_disk_are_quiet_and_sustained_load_is_loud() {
    let (mut noise, mut rig) = (Noise(4), Rig::new(&bytes_rate()));
    let quiet = rig.run((0..900).map(|tick| disk_bursts(&mut noise, tick)));
    assert!(highest(&quiet) < 3.0, "{}", highest(&quiet));
    let load = rig.run((0..10).map(|_| 1e8 * (0.9 + 0.2 * noise.uniform())));
    assert!(load[2..].iter().all(|score| *score > 10.0), "{load:?}");
}

#[test]
fn first_small_traffic_of_a_silent_link_is_mild() {
    let mut rig = Rig::new(&bytes_rate());
    rig.run([0.0; 120]);
    assert!(highest(&rig.run([20_000.0, 60_000.0, 300_000.0, 0.0, 5_000.0])) < 1.0);
}

#[test]
fn intermittent_bursts_are_covered_once_seen() {
    let mut rig = Rig::new(&series("", Kind::Gauge, f64::NAN, f64::NAN));
    let bursts = |tick: usize| if tick % 20 < 4 { 1_000.0 + (tick % 7) as f64 } else { 0.0 };
    rig.run((0..600).map(bursts));
    assert!(highest(&rig.run((600..1_200).map(bursts))) < 4.0);
    assert!(highest(&rig.run([50_000.0; 3])) > 10.0);
}

#[test]
fn a_drop_is_seen_and_explained() {
    let (mut noise, mut rig) = (Noise(5), Rig::new(&bytes_rate()));
    rig.run((0..300).map(|_| 5e7 + 1e6 * noise.normal()));
    let scores = rig.run([0.0; 5]);
    assert!(scores[4] > 8.0, "{scores:?}");
    let (_, why) = rig.instance.explain(&[0])[0];
    assert_eq!((why.code, why.observed, why.onset_ms_ago, why.onset_uncertainty_ms), (code::BELOW, 0.0, 4_000, 1_000));
    assert!((4.8e7..5.2e7).contains(&why.expected) && why.lower > 3e7 && why.upper < 7e7, "{why:?}");
}

#[test]
fn held_learning_keeps_the_baseline_and_unheld_learning_adopts_a_lasting_level() {
    let (mut noise, mut held) = (Noise(6), Rig::new(&ratio()));
    held.run(idle_cpu(&mut noise, 300));
    let mut unheld = Rig { instance: clone_of(&held), started: true };
    let during: Vec<_> = (0..1_200).map(|_| held.step(1_000, Sample::HOLD, 0.6)).collect();
    assert_eq!(during[10], during[1_199]);
    let adopted = unheld.run((0..1_200).map(|_| 0.6));
    assert!(adopted[10] > 10.0 && adopted[1_199] < 1.0, "{} {}", adopted[10], adopted[1_199]);
    assert!(highest(&unheld.run([0.0; 3])) > 3.0, "the old level is unusual now");
}

fn clone_of(rig: &Rig) -> Instance<Level> {
    let mut copy = Instance::new(&[]).expect("defaults");
    copy.add(0, &ratio(), &[]);
    let states = rig.instance.snapshot(&[0]);
    copy.restore([(0, states[0].1.as_slice())].into_iter()).expect("own state");
    copy
}

#[test]
fn snapshot_and_restore_at_any_cut_give_the_same_bits() {
    let mut noise = Noise(7);
    let values: Vec<f64> = (0..400).map(|tick| disk_bursts(&mut noise, tick)).collect();
    let whole = Rig::new(&bytes_rate()).run(values.clone());
    for cut in [0, 1, 30, 47, 48, 49, 200, 399] {
        let mut first = Rig::new(&bytes_rate());
        let mut scores = first.run(values[..cut].to_vec());
        let states = first.instance.snapshot(&[0]);
        assert!(states[0].1.len() <= 512);
        let mut second = Rig { started: first.started, ..Rig::new(&bytes_rate()) };
        second.instance.restore([(0, states[0].1.as_slice())].into_iter()).expect("own state");
        scores.extend(second.run(values[cut..].to_vec()));
        assert!(whole.iter().zip(&scores).all(|(a, b)| a.to_bits() == b.to_bits()), "cut at {cut}");
    }
}

#[test]
fn slow_series_warm_up_by_time_and_are_judged_alone() {
    let mut rig = Rig::new(&ratio());
    let scores: Vec<_> = (0..20).map(|_| rig.step(10_000, 0, 0.1)).collect();
    assert!(scores[11].is_nan() && scores[12] == 0.0, "{scores:?}");
    assert!(rig.step(10_000, 0, 0.9) > 10.0);
}

#[test]
fn what_is_not_a_value_is_neither_judged_nor_learnt() {
    let mut rig = Rig::new(&ratio());
    rig.run([0.5; 60]);
    let before = rig.instance.snapshot(&[0]);
    assert!(rig.step(1_000, 0, f64::NAN).is_nan() && rig.step(1_000, Sample::RESET, 1e9).is_nan());
    assert_eq!(before, rig.instance.snapshot(&[0]));
}

#[test]
fn damaged_states_are_refused() {
    let mut rig = Rig::new(&ratio());
    for bytes in [&[][..], &[48, 0, 0, 0, 0][..], &[1, 0, 0][..], &[255; 200][..]] {
        assert!(rig.instance.restore([(0, bytes)].into_iter()).is_err());
    }
}

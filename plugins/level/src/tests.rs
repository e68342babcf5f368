use super::*;
use vedette_sdk::Kind;
use vedette_sdk::math::Limit as _;
use vedette_sdk::testing::{
    Noise, Reading, Rig, damaged_states_are_refused, disk_bursts, highest, idle_cpu, ramp, rough_readings,
    same_bits_after_any_cut, series,
};

fn ratio() -> Series {
    series("1", Kind::Gauge, 0.0..1.0)
}

fn bytes_rate() -> Series {
    series("By/s", Kind::Rate, 0.0..f64::NAN)
}

fn idle_values(noise: &mut Noise, ticks: usize) -> Vec<f64> {
    (0..ticks).map(|tick| idle_cpu(noise, tick)).collect()
}

#[test]
fn idle_cpu_stays_low_and_a_full_core_is_seen_within_three_ticks() {
    let (mut noise, mut rig) = (Noise(1), Rig::<Level>::new(&ratio()));
    let idle = rig.run(idle_values(&mut noise, 900));
    assert!(idle[47].is_nan() && !idle[48].is_nan());
    assert!(highest(&idle) < 3.0, "{}", highest(&idle));
    let burn = rig.run((0..10).map(|_| 0.98 + 0.01 * noise.uniform()));
    assert!(burn[2..].iter().all(|score| *score > 12.0), "{burn:?}");
    assert!(highest(&rig.run(idle_values(&mut noise, 10))[2..]) < 3.0);
}

#[test]
fn one_cpu_of_two_burning_at_the_end_of_a_two_minute_warm_up_stands_out() {
    let (mut noise, mut rig) = (Noise(2), Rig::<Level>::new(&ratio()));
    let idle = highest(&rig.run(idle_values(&mut noise, 120)));
    let burn = rig.run((0..10).map(|_| 0.5 + 0.01 * noise.uniform()));
    assert!(burn[3] > 4.0 * idle.max(2.0), "{idle} {burn:?}");
}

#[test]
fn memory_wandering_is_quiet_and_a_third_of_it_taken_is_loud() {
    let (mut noise, mut rig) = (Noise(3), Rig::<Level>::new(&ratio()));
    let mut level = 0.3;
    let quiet = rig.run((0..900).map(|_| {
        level += 0.0005 * noise.normal();
        level
    }));
    assert!(highest(&quiet) < 3.0, "{}", highest(&quiet));
    assert!(highest(&rig.run([level + 0.1, level + 0.2, level + 0.3, level + 0.3, level + 0.3])) > 7.0);
}

#[test]
fn write_bursts_of_an_idle_disk_are_quiet_and_sustained_load_is_loud() {
    let (mut noise, mut rig) = (Noise(4), Rig::<Level>::new(&bytes_rate()));
    let quiet = rig.run((0..900).map(|tick| disk_bursts(&mut noise, tick)));
    assert!(highest(&quiet) < 3.0, "{}", highest(&quiet));
    let load = rig.run((0..10).map(|_| 1e8 * (0.9 + 0.2 * noise.uniform())));
    assert!(load[2..].iter().all(|score| *score > 10.0), "{load:?}");
}

#[test]
fn first_small_traffic_of_a_silent_link_is_mild() {
    let mut rig = Rig::<Level>::new(&bytes_rate());
    rig.run([0.0; 120]);
    assert!(highest(&rig.run([20_000.0, 60_000.0, 300_000.0, 0.0, 5_000.0])) < 1.0);
}

#[test]
fn intermittent_bursts_are_covered_once_seen() {
    let mut rig = Rig::<Level>::new(&series("", Kind::Gauge, f64::NAN..f64::NAN));
    let bursts = |tick: usize| if tick % 20 < 4 { 1_000.0 + (tick % 7) as f64 } else { 0.0 };
    rig.run((0..600).map(bursts));
    assert!(highest(&rig.run((600..1_200).map(bursts))) < 4.0);
    assert!(highest(&rig.run([50_000.0; 3])) > 10.0);
}

#[test]
fn a_drop_is_seen_and_explained() {
    let (mut noise, mut rig) = (Noise(5), Rig::<Level>::new(&bytes_rate()));
    rig.run((0..300).map(|_| 5e7 + 1e6 * noise.normal()));
    let scores = rig.run([0.0; 5]);
    assert!(scores[4] > 8.0, "{scores:?}");
    let (_, why) = rig.instance.explain(&[0])[0];
    assert_eq!((why.code, why.observed, why.onset_ms_ago, why.onset_uncertainty_ms), (code::BELOW, 0.0, 4_000, 1_000));
    assert!((4.8e7..5.2e7).contains(&why.expected) && why.lower > 3e7 && why.upper < 7e7, "{why:?}");
}

#[test]
fn held_learning_keeps_the_baseline_and_unheld_learning_adopts_a_lasting_level() {
    let (mut noise, mut held) = (Noise(6), Rig::<Level>::new(&ratio()));
    held.run(idle_values(&mut noise, 300));
    let mut unheld = held.restored();
    let during: Vec<_> = (0..1_200).map(|_| held.step(1_000, Sample::HOLD, 0.6)).collect();
    assert_eq!(during[10], during[1_199]);
    let adopted = unheld.run((0..1_200).map(|_| 0.6));
    assert!(adopted[10] > 10.0 && adopted[1_199] < 1.0, "{} {}", adopted[10], adopted[1_199]);
    assert!(highest(&unheld.run([0.0; 3])) > 3.0, "the old level is unusual now");
}

/// Noise with deviation 1 around 100 for twenty minutes, then a ramp: the highest quiet score and those of the ramp.
fn ramp_scores(seed: u64, rise: f64, length_s: u32) -> (f32, Vec<f32>) {
    let (mut noise, mut rig) = (Noise(seed), Rig::<Level>::new(&series("", Kind::Gauge, f64::NAN..f64::NAN)));
    let quiet = rig.run((0..1_200).map(|_| 100.0 + noise.normal()));
    let ramped = |tick: u32| 100.0 + rise * ramp(f64::from(tick + 1), 0.0, f64::from(length_s)) + noise.normal();
    (highest(&quiet[300..]), rig.run((0..length_s).map(ramped)))
}

#[test]
fn a_ramp_stands_out_and_is_not_learnt_while_it_goes_on() {
    for length_s in [60, 160, 300, 600, 1_200, 1_800] {
        // Eight deviations within the memory of 300 s, and 15 at least.
        let rise = (8.0 * f64::from(length_s) / 300.0).at_least(15.0);
        for seed in 0..5 {
            let (quiet, ramped) = ramp_scores(seed, rise, length_s);
            // From where it has risen by 12 deviations, up to four times the memory: then it counts as a level.
            let has_risen = |second: u32| rise * f64::from(second) >= 12.0 * f64::from(length_s);
            let risen: Vec<f32> =
                ramped.iter().zip(1..1_200).filter(|(_, second)| has_risen(*second)).map(|(score, _)| *score).collect();
            let seen = risen.iter().filter(|score| **score > 1.5 * quiet).count();
            assert!(seen * 10 >= risen.len() * 9, "{length_s} s, seed {seed}: {seen} of {}", risen.len());
        }
    }
}

/// A wander of deviation 1 around 50 that forgets within ten minutes, read at this interval.
struct Wander {
    noise: Noise,
    deviation: f64,
    interval_ms: u32,
}

impl Wander {
    fn new(seed: u64, interval_ms: u32) -> Self {
        Self { noise: Noise(seed), deviation: 0.0, interval_ms }
    }

    /// Scores of the next values, raised by so much.
    fn scores(&mut self, rig: &mut Rig<Level>, values: usize, raised: f64) -> Vec<f32> {
        self.scores_flagged(rig, values, raised, 0)
    }

    fn scores_flagged(&mut self, rig: &mut Rig<Level>, values: usize, raised: f64, flags: u8) -> Vec<f32> {
        let kept = vedette_sdk::math::exp(-f64::from(self.interval_ms) / 600_000.0);
        let mut next = || {
            let news = vedette_sdk::math::sqrt(1.0 - kept * kept);
            self.deviation = kept * self.deviation + news * self.noise.normal();
            rig.step(self.interval_ms, flags, 50.0 + self.deviation + raised)
        };
        (0..values).map(|_| next()).collect()
    }
}

#[test]
fn a_slow_wander_is_quiet_wherever_it_goes_and_its_jump_is_loud() {
    for interval_ms in [1_000, 10_000, 60_000] {
        for seed in 0..8 {
            let (mut wander, mut rig) =
                (Wander::new(seed, interval_ms), Rig::<Level>::new(&series("", Kind::Gauge, f64::NAN..f64::NAN)));
            let quiet = highest(&wander.scores(&mut rig, 3_000, 0.0)[500..]);
            let jump = wander.scores(&mut rig, 30, 6.0);
            let loud = jump.iter().filter(|score| **score > 4.0 && **score > 1.2 * quiet).count();
            assert!(loud >= 5, "{interval_ms} ms, seed {seed}: {quiet} {jump:?}");
        }
    }
}

#[test]
fn a_wander_that_jumps_back_to_where_it_was_is_quiet() {
    let (mut wander, mut rig) =
        (Wander::new(1, 10_000), Rig::<Level>::new(&series("", Kind::Gauge, f64::NAN..f64::NAN)));
    wander.scores(&mut rig, 2_000, 0.0);
    assert!(highest(&wander.scores(&mut rig, 10, 8.0)) > 6.0);
    assert!(highest(&wander.scores(&mut rig, 10, 0.0)) < 3.0);
}

#[test]
fn a_wander_is_followed_while_learning_is_held_and_its_jump_is_not() {
    for seed in 0..8 {
        let (mut wander, mut rig) =
            (Wander::new(seed, 10_000), Rig::<Level>::new(&series("", Kind::Gauge, f64::NAN..f64::NAN)));
        wander.scores(&mut rig, 2_000, 0.0);
        let held = wander.scores_flagged(&mut rig, 200, 0.0, Sample::HOLD);
        assert!(highest(&held) < 4.0, "seed {seed}: {}", highest(&held));
        let jump = wander.scores_flagged(&mut rig, 60, 8.0, Sample::HOLD);
        assert!(jump.iter().all(|score| *score > 4.0), "seed {seed}: {jump:?}");
    }
}

#[test]
fn numbers_of_any_size_leave_a_series_that_can_be_judged() {
    let mut rig = Rig::<Level>::new(&series("", Kind::Gauge, f64::NAN..f64::NAN));
    let mut noise = Noise(13);
    rig.run((0..100).map(|tick| f64::from(tick) + noise.uniform()));
    rig.run([f64::MAX, -f64::MAX, f64::MAX, f64::MIN_POSITIVE]);
    let scores = rig.run((0..2_000).map(|_| 50.0 + noise.normal()));
    assert!(scores.iter().all(|score| score.is_finite()), "{scores:?}");
}

#[test]
fn a_ramp_slower_than_the_memory_follows_is_not_seen() {
    // Said in the crate's documentation; a test, so that it stays true.
    let (quiet, ramped) = ramp_scores(1, 6.0, 1_800);
    assert!(highest(&ramped) < 1.5 * quiet, "{} {quiet}", highest(&ramped));
}

#[test]
fn a_held_ramp_is_judged_against_what_was_before_it() {
    let (mut noise, mut rig) = (Noise(3), Rig::<Level>::new(&series("", Kind::Gauge, f64::NAN..f64::NAN)));
    rig.run((0..600).map(|_| 100.0 + noise.normal()));
    let held: Vec<f32> =
        (0..1_800).map(|tick| rig.step(1_000, Sample::HOLD, 100.0 + f64::from(tick) * 0.02 + noise.normal())).collect();
    assert!(held[1_700..].iter().all(|score| *score > 10.0), "{}", held[1_799]);
}

#[test]
fn a_burst_is_learnt_once_it_is_over() {
    let mut rig = Rig::<Level>::new(&series("", Kind::Gauge, f64::NAN..f64::NAN));
    let mut noise = Noise(4);
    let mut burst = |rig: &mut Rig<Level>| {
        let scores = rig.run((0..40).map(|_| 140.0 + noise.normal()));
        rig.run((0..260).map(|_| 100.0 + noise.normal()));
        scores
    };
    rig.run([100.0; 100]);
    let first = burst(&mut rig);
    let later = (0..8).map(|_| burst(&mut rig)).last().expect("eight");
    assert!(first[39] > 0.85 * first[5] && first[5] > 10.0, "{first:?}");
    assert!(highest(&later[3..]) < 5.0, "{later:?}");
}

#[test]
fn snapshot_and_restore_at_any_cut_give_the_same_bits() {
    for seed in 0..8 {
        let readings = rough_readings(seed, 250, |noise, tick| {
            disk_bursts(noise, tick) + 1e8 * ramp(tick as f64, 100.0, 60.0) * noise.uniform()
        });
        same_bits_after_any_cut::<Level>(&bytes_rate(), &readings);
    }
}

#[test]
fn slow_series_warm_up_by_time_and_are_judged_alone() {
    let mut rig = Rig::<Level>::new(&ratio());
    let scores: Vec<_> = (0..20).map(|_| rig.step(10_000, 0, 0.1)).collect();
    assert!(scores[11].is_nan() && scores[12] == 0.0, "{scores:?}");
    assert!(rig.step(10_000, 0, 0.9) > 10.0);
}

#[test]
fn what_is_not_a_value_is_neither_judged_nor_learnt() {
    let mut rig = Rig::<Level>::new(&ratio());
    rig.run([0.5; 60]);
    let before = rig.instance.snapshot(&[0]);
    assert!(rig.step(1_000, 0, f64::NAN).is_nan() && rig.step(1_000, Sample::RESET, 1e9).is_nan());
    assert_eq!(before, rig.instance.snapshot(&[0]));
}

#[test]
fn damaged_states_of_learning_and_of_known_series_are_refused() {
    let mut rig = Rig::<Level>::new(&ratio());
    rig.run([0.5; 20]);
    damaged_states_are_refused::<Level>(&ratio(), &rig.state());
    rig.run([0.5; 200]);
    damaged_states_are_refused::<Level>(&ratio(), &rig.state());
}

/// A thousandth of the unit, with the bounds and the resolution in it too.
#[test]
fn another_unit_of_the_same_quantity_gets_the_same_scores() {
    let mut plain = series("", Kind::Gauge, 0.0..64.0);
    plain.resolution = 0.5;
    let mut milli = series("", Kind::Gauge, 0.0..64_000.0);
    milli.resolution = 500.0;
    let values: Vec<f64> = {
        let mut noise = Noise(11);
        (0..900).map(|tick| 20.0 + noise.normal() + 30.0 * ramp(f64::from(tick), 500.0, 200.0)).collect()
    };
    let scores = Rig::<Level>::new(&plain).run(values.iter().copied());
    let scaled = Rig::<Level>::new(&milli).run(values.iter().map(|value| 1_000.0 * value));
    for (one, other) in scores.iter().zip(&scaled).filter(|(one, _)| !one.is_nan()) {
        assert!((one - other).abs() <= 1e-5 * one.max(1.0), "{one} {other}");
    }
    assert!(highest(&scores) > 5.0);
}

#[test]
fn intervals_may_change_on_the_way() {
    let (mut noise, mut rig) = (Noise(12), Rig::<Level>::new(&ratio()));
    let mut quiet = rig.run((0..300).map(|_| 0.5 + 0.01 * noise.normal()));
    for dt_ms in [5_000, 500, 10_000, 2_000, 60_000, 1_000] {
        quiet.extend((0..200).map(|_| rig.step(dt_ms, 0, 0.5 + 0.01 * noise.normal())));
        quiet.push(rig.step(10 * dt_ms, Sample::GAP, 0.5));
    }
    assert!(highest(&quiet) < 3.5, "{}", highest(&quiet));
    assert!(highest(&rig.run([0.9; 4])) > 8.0);
}

/// Bursts, wanders from hasty to slow with jumps in them, and counts that are mostly 0, read roughly.
fn all_sorts(seed: u64) -> Vec<Reading> {
    let (mut wander, kept) = (0.0, 1.0 - 0.5 / (1.0 + seed as f64 * seed as f64));
    rough_readings(seed, 3_000, |noise, tick| {
        wander = kept * wander + noise.normal() + if noise.uniform() < 0.003 { 30.0 * noise.normal() } else { 0.0 };
        match seed % 4 {
            0 => disk_bursts(noise, tick) + 1e8 * ramp(tick as f64, 1_500.0, 600.0) * noise.uniform(),
            1 => vedette_sdk::math::floor(1.0 + 0.02 * wander).at_least(0.0),
            _ => 500.0 + wander,
        }
    })
}

#[test]
fn the_short_way_of_a_usual_value_and_the_long_way_of_any_agree_in_every_bit() {
    for seed in 0..12 {
        let mut level = Level::configure(&Parameters::check(Level::describe().parameters, &[]).unwrap()).unwrap();
        let mut short = level.added(&series("", Kind::Gauge, f64::NAN..f64::NAN)).expect("it takes any");
        let mut long = short.clone();
        let saved = |level: &Level, state: &State| {
            let mut out = Writer::new();
            level.save(state, &mut out);
            out.finish()
        };
        for (tick, Reading { dt_ms, flags, value }) in all_sorts(seed).into_iter().enumerate() {
            let score = level.observe(&mut short, Sample { dt_ms, flags, value }).to_bits();
            assert_eq!(score, level.observe_any(&mut long, value, dt_ms, flags).to_bits(), "seed {seed}, tick {tick}");
            assert_eq!(saved(&level, &short), saved(&level, &long), "seed {seed}, tick {tick}");
        }
    }
}

/// What makes a detector faster changes no score; what changes one changes [`VERSION`], and these sums with it.
#[test]
fn scores_and_states_of_a_version_stay_the_same_in_every_bit() {
    let sums = [0, 1, 2, 3, 7].map(|seed| {
        let mut rig = Rig::<Level>::new(&series("", Kind::Gauge, f64::NAN..f64::NAN));
        let scores: Vec<u32> = all_sorts(seed).into_iter().map(|reading| rig.read(reading).to_bits()).collect();
        let bytes = scores.into_iter().flat_map(u32::to_le_bytes).chain(rig.state());
        // FNV-1a.
        bytes.fold(0xcbf2_9ce4_8422_2325_u64, |sum, byte| (sum ^ u64::from(byte)).wrapping_mul(0x100_0000_01b3))
    });
    let expected = [
        2_713_678_928_730_244_452,
        16_532_848_045_742_192_936,
        4_629_161_385_529_056_530,
        7_822_990_922_254_708_845,
        15_222_174_068_156_301_622,
    ];
    assert_eq!((VERSION, sums), ("0.4.0", expected));
}

use super::*;
use vedette_sdk::testing::{damaged_states_are_refused, rough_readings, same_bits_after_any_cut, series};
use vedette_sdk::{Columns, Instance, Kind};

fn template(key: u64) -> Series {
    Series { key, metric: "vedette.log.template".into(), ..series("{line}", Kind::Count, 0.0..f64::NAN) }
}

/// Templates under the detector; every known one gets a count each second.
struct Rig {
    instance: Instance<LogNovelty>,
    ages: Vec<usize>,
}

impl Rig {
    fn new() -> Self {
        Self { instance: Instance::new(&[]).expect("defaults"), ages: Vec::new() }
    }

    /// One second: counts of the templates so far and of one more for each that is beyond them.
    fn second(&mut self, counts: &[u32], flags: u8) -> Vec<f32> {
        let ids: Vec<u32> = (0_u32..).zip(counts).map(|(id, _)| id).collect();
        for id in &ids[self.ages.len()..] {
            self.instance.add(*id, &template(u64::from(*id)), &[]);
            self.ages.push(0);
        }
        let dt_ms: Vec<u32> = self.ages.iter().map(|age| if *age == 0 { 0 } else { 1_000 }).collect();
        self.ages.iter_mut().for_each(|age| *age += 1);
        let flags = vec![flags; counts.len()];
        self.instance.observe(Columns { ids: &ids, dt_ms: &dt_ms, flags: &flags, values: counts })
    }

    /// Seconds of one template that logs a line a second and one that logs a burst each minute.
    fn ordinary(&mut self, seconds: std::ops::Range<u32>) -> Vec<[f32; 2]> {
        let counts = |second: u32| [1, if second % 60 == 7 { 4 } else { 0 }];
        seconds.map(|second| self.second(&counts(second), 0).try_into().expect("two templates")).collect()
    }
}

#[test]
fn ordinary_lines_are_quiet_after_the_warm_up() {
    let mut rig = Rig::new();
    let scores = rig.ordinary(0..900);
    assert!(scores[59][0].is_nan() && !scores[60][0].is_nan());
    let highest = scores[60..].iter().flatten().copied().fold(0.0, f32::max);
    assert!(highest < 3.0, "{highest}");
}

#[test]
fn a_new_template_is_mild_once_and_loud_when_it_repeats() {
    let mut rig = Rig::new();
    rig.ordinary(0..120);
    let once = rig.second(&[1, 0, 1], 0)[2];
    assert!((0.5..2.0).contains(&once), "{once}");
    let burst: Vec<f32> = (0..6).map(|_| rig.second(&[1, 0, 0, 20], 0)[3]).collect();
    assert!(burst[0] > 8.0 && burst[5] > 12.0, "{burst:?}");
    let (_, why) = rig.instance.explain(&[3])[0];
    assert_eq!((why.code, why.observed, why.onset_ms_ago), (code::NEW_TEMPLATE, 100.0, 5_000));
    assert!(why.upper < 10.0 && why.onset_uncertainty_ms <= 1_000, "{why:?}");
    assert_eq!(rig.instance.explain(&[0])[0].1.code, 0);
}

#[test]
fn templates_that_appear_while_learning_are_not_new() {
    let mut rig = Rig::new();
    rig.ordinary(0..30);
    (0..30).for_each(|_| drop(rig.second(&[1, 0, 3], 0)));
    let later = rig.second(&[1, 0, 3], 0)[2];
    assert!(later < 2.0, "{later}");
}

#[test]
fn a_surge_of_a_known_template_is_loud_and_explained() {
    let mut rig = Rig::new();
    rig.ordinary(0..600);
    let surge: Vec<f32> = (0..5).map(|_| rig.second(&[15, 0], 0)[0]).collect();
    assert!(surge[2] > 8.0, "{surge:?}");
    let (_, why) = rig.instance.explain(&[0])[0];
    assert_eq!((why.code, why.observed), (code::SURGE, 75.0));
    assert!((4.0..6.0).contains(&why.expected), "{why:?}");
}

#[test]
fn held_learning_leaves_the_usual_rate_alone() {
    let mut rig = Rig::new();
    rig.ordinary(0..300);
    let scores: Vec<f32> = (0..600).map(|_| rig.second(&[30, 0], Sample::HOLD)[0]).collect();
    assert_eq!(scores[10], scores[599]);
}

#[test]
fn lines_that_were_held_are_not_learnt_from_the_windows_after_them_either() {
    let (mut held, mut spared) = (Rig::new(), Rig::new());
    held.ordinary(0..300);
    spared.ordinary(0..300);
    (0..200).for_each(|_| drop(held.second(&[40, 40], Sample::HOLD)));
    (0..200).for_each(|_| drop(spared.second(&[1, 0], Sample::HOLD)));
    let (after_held, after_spared) = (held.ordinary(300..420), spared.ordinary(300..420));
    for ([steady, rare], [usual_steady, usual_rare]) in after_held[10..].iter().zip(&after_spared[10..]) {
        assert_eq!(steady, usual_steady);
        // Of this one the five seconds after were silence, or were not to be learnt.
        assert!((rare - usual_rare).abs() < 0.05, "{rare} {usual_rare}");
    }
}

#[test]
fn ticks_of_silence_left_out_count_as_silence() {
    let mut instance = Instance::<LogNovelty>::new(&[]).expect("defaults");
    instance.add(0, &template(0), &[]);
    let mut lines = |dt_ms: u32, count: u32| {
        instance.observe(Columns { ids: &[0], dt_ms: &[dt_ms], flags: &[0], values: &[count] })[0]
    };
    lines(0, 1);
    let sparse: Vec<f32> = (0..30).map(|_| lines(60_000, 1)).collect();
    assert!(sparse[20..].iter().all(|score| *score < 2.5), "{sparse:?}");
    assert!(lines(1_000, 50) > 8.0);
}

#[test]
fn snapshot_and_restore_at_any_cut_give_the_same_bits() {
    let counts: Vec<[u32; 2]> = (0..400_u32)
        .map(|second| [second * 7 % 3, if second > 350 { 25 } else { u32::from(second % 50 < 2) }])
        .collect();
    let mut whole = Rig::new();
    let expected: Vec<Vec<f32>> = counts.iter().map(|row| whole.second(row, 0)).collect();
    for cut in [1, 5, 60, 61, 200, 352, 399] {
        let mut first = Rig::new();
        counts[..cut].iter().for_each(|row| drop(first.second(row, 0)));
        let states = first.instance.snapshot(&[0, 1]);
        assert!(states.iter().all(|(_, state)| state.len() <= 256));
        let mut second = Rig { ages: first.ages.clone(), ..Rig::new() };
        (0..2).for_each(|id| assert!(second.instance.add(id, &template(u64::from(id)), &[])));
        second.instance.restore([(0, &*states[0].1), (1, &*states[1].1)].into_iter()).expect("own states");
        for (row, expected) in counts[cut..].iter().zip(&expected[cut..]) {
            let scores = second.second(row, 0);
            assert!(scores.iter().zip(expected).all(|(a, b)| a.to_bits() == b.to_bits()), "cut at {cut}");
        }
    }
}

#[test]
fn one_template_goes_on_from_a_snapshot_at_any_cut() {
    for seed in 0..8 {
        let readings = rough_readings(seed, 250, |noise, tick| {
            let busy = if tick % 70 > 60 { 20.0 } else { 0.5 };
            (busy * noise.uniform() + 0.4).floor()
        });
        same_bits_after_any_cut::<LogNovelty>(&template(1), &readings);
    }
}

#[test]
fn damaged_states_are_refused_at_any_length() {
    let mut rig = Rig::new();
    rig.ordinary(0..90);
    damaged_states_are_refused::<LogNovelty>(&template(0), &rig.instance.snapshot(&[0])[0].1);
}

#[test]
fn a_burst_in_a_log_that_was_silent_from_the_start_is_judged_at_once() {
    let mut rig = Rig::new();
    // The host's row of all lines: nothing is logged for two minutes.
    (0..120).for_each(|_| drop(rig.second(&[0], 0)));
    let burst = rig.second(&[20, 20], 0);
    assert!(burst[1] > 8.0, "{burst:?}");
    assert_eq!(rig.instance.explain(&[1])[0].1.code, code::NEW_TEMPLATE);
    let mut single = Rig::new();
    (0..120).for_each(|_| drop(single.second(&[0], 0)));
    let once = single.second(&[1, 1], 0)[1];
    assert!((0.5..2.0).contains(&once), "{once}");
}

#[test]
fn time_watched_in_silence_survives_a_restart() {
    let mut rig = Rig::new();
    (0..120).for_each(|_| drop(rig.second(&[0], 0)));
    let mut restarted = Rig { ages: rig.ages.clone(), ..Rig::new() };
    restarted.instance.add(0, &template(0), &[]);
    restarted.instance.restore([(0, &*rig.instance.snapshot(&[0])[0].1)].into_iter()).expect("own state");
    assert!(restarted.second(&[20, 20], 0)[1] > 8.0);
}

#[test]
fn longer_intervals_find_the_same_surge() {
    let mut instance = Instance::<LogNovelty>::new(&[]).expect("defaults");
    instance.add(0, &template(0), &[]);
    let mut lines = |dt_ms: u32, count: u32| {
        instance.observe(Columns { ids: &[0], dt_ms: &[dt_ms], flags: &[0], values: &[count] })[0]
    };
    lines(0, 1);
    let steady: Vec<f32> = (0..600).map(|second| lines(1_000, 1 + second % 2)).collect();
    let slower: Vec<f32> = (0..200).map(|_| lines(5_000, 7)).collect();
    assert!(steady[100..].iter().chain(&slower).all(|score| *score < 2.0));
    assert!(lines(5_000, 60) > 6.0);
}

#[test]
fn counts_are_read_exactly() {
    for count in [0, 1, 2, 5, 1_000_003, u32::MAX - 1, u32::MAX] {
        assert_eq!(whole(f64::from(count)), count);
    }
    let mut rig = Rig::new();
    rig.ordinary(0..90);
    let before = rig.instance.snapshot(&[0]);
    for value in [f64::NAN, -1.0, 5e9] {
        let columns = Columns { ids: &[0], dt_ms: &[1_000], flags: &[0], values: &[value] };
        assert!(rig.instance.observe(columns)[0].is_nan());
    }
    assert_eq!(before, rig.instance.snapshot(&[0]));
}

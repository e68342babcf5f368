use super::*;
use vedette_sdk::Kind;
use vedette_sdk::testing::{
    Noise, Rig, damaged_states_are_refused, highest, rough_readings, same_bits_after_any_cut, series,
};

const MINUTE_MS: u32 = 60_000;
const DAY: usize = 1_440;
const WEEK_MINUTES: usize = 7 * DAY;

fn gauge() -> Series {
    Series { interval_ms: MINUTE_MS, ..series("1", Kind::Gauge, 0.0..1.0) }
}

/// A quarter of a processor with noise, and 90 % of it for 40 minutes from 03:20 on.
fn backup(noise: &mut Noise, minute: usize) -> f64 {
    let busy = (200..240).contains(&(minute % DAY));
    if busy { 0.9 } else { 0.25 + 0.02 * noise.normal() }
}

fn minutes(rig: &mut Rig<Seasonal>, values: impl IntoIterator<Item = f64>) -> Vec<f32> {
    values.into_iter().map(|value| rig.step(MINUTE_MS, 0, value)).collect()
}

#[test]
fn a_nightly_job_is_usual_at_its_hour_and_its_load_at_noon_is_not() {
    let (mut noise, mut rig) = (Noise(1), Rig::<Seasonal>::new(&gauge()));
    let learning = minutes(&mut rig, (0..WEEK_MINUTES).map(|minute| backup(&mut noise, minute)));
    assert!(learning[..DAY].iter().all(|score| *score == 1.0), "one day is none");
    assert!(learning[2 * DAY..].iter().all(|score| *score < 3.1), "{}", highest(&learning));
    let usual = minutes(&mut rig, (WEEK_MINUTES..2 * WEEK_MINUTES).map(|minute| backup(&mut noise, minute)));
    assert!(highest(&usual) < 3.0, "{}", highest(&usual));
    let night = &usual[195..245];
    assert!(highest(night) < 1.0, "{night:?}");
    minutes(&mut rig, (0..DAY / 2).map(|minute| backup(&mut noise, minute)));
    let noon = minutes(&mut rig, [0.9; 20]);
    assert!(noon[0] < 1.0 && noon[1..].iter().all(|score| *score > 8.0), "{noon:?}");
    let (_, why) = rig.instance.explain(&[0])[0];
    assert!((why.code, why.observed) == (code_of::ABOVE, 0.9) && why.upper < 0.5 && why.onset_ms_ago > 0, "{why:?}");
}

#[test]
fn a_job_that_does_not_come_is_not_above_anything_and_a_daily_load_that_is_gone_is_below() {
    let (mut noise, mut rig) = (Noise(2), Rig::<Seasonal>::new(&gauge()));
    let daily = |noise: &mut Noise, minute: usize| {
        let hour = minute % DAY / 60;
        let level = if (8..18).contains(&hour) { 0.6 } else { 0.2 };
        level + 0.02 * noise.normal()
    };
    minutes(&mut rig, (0..2 * WEEK_MINUTES + 10 * 60).map(|minute| daily(&mut noise, minute)));
    let gone = minutes(&mut rig, [0.2; 30]);
    assert!(gone[1..].iter().all(|score| *score > 4.0), "{gone:?}");
    assert_eq!(rig.instance.explain(&[0])[0].1.code, code_of::BELOW);
}

#[test]
fn what_lasts_for_hours_becomes_usual() {
    let (mut noise, mut rig) = (Noise(3), Rig::<Seasonal>::new(&gauge()));
    minutes(&mut rig, (0..2 * WEEK_MINUTES).map(|_| 0.2 + 0.01 * noise.normal()));
    let moved = minutes(&mut rig, (0..6 * 60).map(|_| 0.5 + 0.01 * noise.normal()));
    assert!(moved[1] > 4.0, "{}", moved[1]);
    assert!(highest(&moved[200..]) < 3.0, "{}", highest(&moved[200..]));
}

#[test]
fn what_comes_at_any_time_is_measured_by_itself() {
    let (mut noise, mut rig) = (Noise(4), Rig::<Seasonal>::new(&gauge()));
    let mut left = 0;
    let mut bursts = |noise: &mut Noise| {
        if left == 0 && noise.uniform() < 0.001 {
            left = 10;
        }
        left -= usize::from(left > 0);
        if left > 0 { 0.7 } else { 0.2 + 0.02 * noise.normal() }
    };
    let scores = minutes(&mut rig, (0..4 * WEEK_MINUTES).map(|_| bursts(&mut noise)));
    assert!(highest(&scores[WEEK_MINUTES + DAY..]) < 6.0, "{}", highest(&scores[WEEK_MINUTES + DAY..]));
}

#[test]
fn hours_that_were_hardly_seen_or_held_are_not_learnt() {
    let mut rig = Rig::<Seasonal>::new(&gauge());
    let hold =
        |rig: &mut Rig<Seasonal>| (0..2 * DAY).map(|_| rig.step(MINUTE_MS, Sample::HOLD, 0.3)).collect::<Vec<_>>();
    assert!(hold(&mut rig).iter().all(|score| *score == 1.0));
    let seldom: Vec<f32> = (0..30).map(|_| rig.step(12 * 60 * MINUTE_MS, Sample::GAP, 0.3)).collect();
    assert!(seldom.iter().all(|score| *score == 1.0));
}

#[test]
fn a_state_is_small_and_grows_with_the_hours_that_were_seen() {
    let (mut noise, mut rig) = (Noise(5), Rig::<Seasonal>::new(&gauge()));
    minutes(&mut rig, (0..30).map(|_| noise.normal()));
    assert!(rig.state().len() < 160, "{}", rig.state().len());
    minutes(&mut rig, (0..3 * WEEK_MINUTES).map(|_| noise.normal()));
    assert!((900..=1_024).contains(&rig.state().len()), "{}", rig.state().len());
}

#[test]
fn snapshot_and_restore_at_any_cut_give_the_same_bits() {
    for seed in 0..3 {
        let mut readings =
            rough_readings(seed, 300, |noise, tick| if tick % 31 < 4 { 0.9 } else { 0.1 * noise.normal() });
        // Hours go by, and weeks.
        readings.iter_mut().for_each(|reading| reading.dt_ms = reading.dt_ms.saturating_mul(97));
        same_bits_after_any_cut::<Seasonal>(&gauge(), &readings);
    }
}

#[test]
fn damaged_states_are_refused_at_any_length() {
    let (mut noise, mut rig) = (Noise(6), Rig::<Seasonal>::new(&gauge()));
    minutes(&mut rig, (0..2 * DAY).map(|_| noise.normal()));
    damaged_states_are_refused::<Seasonal>(&gauge(), &rig.state());
}

#[test]
fn another_unit_gets_the_same_scores() {
    let free = |factor: f64| {
        let (mut noise, mut rig) = (Noise(7), Rig::<Seasonal>::new(&series("", Kind::Gauge, f64::NAN..f64::NAN)));
        minutes(&mut rig, (0..2 * WEEK_MINUTES).map(|minute| factor * backup(&mut noise, minute)));
        minutes(&mut rig, [0.9 * factor; 20])
    };
    for (one, other) in free(1.0).iter().zip(free(1_000.0)) {
        assert!((one - other).abs() <= 0.01 * one.max(1.0), "{one} {other}");
    }
}

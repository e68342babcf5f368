use super::*;
use crate::Seed;

const SECOND: Duration = Duration::from_secs(1);

/// `count` samples a second apart.
fn samples(spec: SignalSpec, seed: u64, count: u32) -> Vec<Option<f64>> {
    let mut signal = Signal::new(spec, Seed(seed).rng("signal"));
    (0..count).map(|tick| signal.sample(SECOND * tick, Effect::NONE)).collect()
}

fn mean_and_deviation(values: &[f64]) -> (f64, f64) {
    let count = values.len() as f64;
    let mean = values.iter().sum::<f64>() / count;
    (mean, (values.iter().map(|value| (value - mean).powi(2)).sum::<f64>() / count).sqrt())
}

#[test]
fn a_seed_gives_the_same_bits_and_another_seed_others() {
    let spec = || SignalSpec::gauge(1.0, Noise::heavy(0.1, 3)).shaped(Shape::daily(0.3, 14.0));
    assert_eq!(samples(spec(), 1, 100), samples(spec(), 1, 100));
    assert_ne!(samples(spec(), 1, 100), samples(spec(), 2, 100));
}

#[test]
fn noise_has_the_deviation_that_was_asked_for() {
    for noise in [Noise::gaussian(2.0), Noise::wander(2.0, Duration::from_secs(20))] {
        let values: Vec<f64> = samples(SignalSpec::gauge(10.0, noise), 3, 50_000).into_iter().flatten().collect();
        let (mean, deviation) = mean_and_deviation(&values);
        assert!((mean - 10.0).abs() < 0.2 && (deviation - 2.0).abs() < 0.2, "{noise:?}: {mean} ± {deviation}");
    }
}

#[test]
fn wander_remembers_as_long_as_was_asked_for() {
    let spec = SignalSpec::gauge(0.0, Noise::wander(1.0, Duration::from_secs(10)));
    let values: Vec<f64> = samples(spec, 4, 100_000).into_iter().flatten().collect();
    let (mean, deviation) = mean_and_deviation(&values);
    let lagged = values.iter().zip(&values[10..]).map(|(a, b)| (a - mean) * (b - mean)).sum::<f64>();
    let correlation = lagged / (values.len() - 10) as f64 / (deviation * deviation);
    assert!((correlation - (-1.0_f64).exp()).abs() < 0.05, "correlation {correlation} at the memory's length");
}

#[test]
fn shapes_follow_day_and_week() {
    let hour = |hours: u64| Duration::from_secs(3_600 * hours);
    let daily = Shape::daily(0.5, 15.0);
    assert!((daily.factor(hour(15)) - 1.5).abs() < 1e-12 && (daily.factor(hour(3)) - 0.5).abs() < 1e-12);
    let weekend = Shape::weekend(0.25);
    let factors = [4, 5, 6, 7].map(|day| weekend.factor(hour(24 * day)));
    assert_eq!(factors, [1.0, 0.25, 0.25, 1.0]);
    let job = Shape::DailyJob { start_hour: 23.5, length: hour(1), factor: 3.0 };
    assert_eq!([hour(23), hour(24), hour(25)].map(|at| job.factor(at)), [1.0, 3.0, 1.0]);
}

#[test]
fn a_counter_only_falls_on_reset_and_wrap() {
    let steady: Vec<f64> =
        samples(SignalSpec::counter(10.0, Noise::gaussian(30.0)), 5, 1_000).into_iter().flatten().collect();
    assert!(steady.windows(2).all(|pair| pair[0] <= pair[1]), "noise below zero must not turn a counter back");

    let resetting = SignalSpec::counter(10.0, Noise::None).reset_every(Duration::from_secs(100));
    let values: Vec<f64> = samples(resetting, 6, 10_000).into_iter().flatten().collect();
    let falls: Vec<_> = values.windows(2).filter(|pair| pair[1] < pair[0]).collect();
    assert!((60..140).contains(&falls.len()) && falls.iter().all(|pair| pair[1] == 0.0), "{} resets", falls.len());

    let wrapping = SignalSpec::counter(10.0, Noise::None).wrapping_at(256);
    let values: Vec<f64> = samples(wrapping, 7, 100).into_iter().flatten().collect();
    assert_eq!((values[25], values[26]), (250.0, 4.0));
}

#[test]
fn counts_are_poisson_and_bounds_and_resolution_hold() {
    let counts: Vec<f64> = samples(SignalSpec::count(5.0), 8, 20_000).into_iter().flatten().collect();
    let (mean, deviation) = mean_and_deviation(&counts);
    assert!((mean - 5.0).abs() < 0.1 && (deviation - 5.0_f64.sqrt()).abs() < 0.1, "{mean} ± {deviation}");

    let spec = SignalSpec::gauge(0.95, Noise::gaussian(0.2)).within(0.0, 1.0).rounded_to(0.25);
    let values: Vec<f64> = samples(spec, 9, 1_000).into_iter().flatten().collect();
    assert!(values.iter().all(|value| (0.0..=1.0).contains(value) && (value * 4.0).fract() == 0.0));
}

#[test]
fn bursts_and_gaps_take_their_share_of_time() {
    let minutes = |count: u64| Duration::from_secs(60 * count);
    let spec = SignalSpec::gauge(1.0, Noise::None)
        .bursting(Bursts { every_mean: minutes(3), length_mean: minutes(1), height: 9.0 })
        .gapped(Gaps { every_mean: minutes(9), length_mean: minutes(1) });
    let values = samples(spec, 10, 200_000);
    let share = |wanted: Option<f64>| values.iter().filter(|value| **value == wanted).count() as f64 / 200_000.0;
    assert!((share(None) - 0.1).abs() < 0.02, "gaps {}", share(None));
    assert!((share(Some(10.0)) - 0.9 * 0.25).abs() < 0.03, "bursts {}", share(Some(10.0)));
}

#[test]
fn a_silent_source_gives_nothing_and_a_counter_counts_on_meanwhile() {
    let mut signal = Signal::new(SignalSpec::counter(1.0, Noise::None), Seed(11).rng("signal"));
    let silent = Effect { silent: true, ..Effect::NONE };
    let values =
        [0, 1, 2, 3].map(|second| signal.sample(SECOND * second, if second == 2 { silent } else { Effect::NONE }));
    assert_eq!(values, [Some(0.0), Some(1.0), None, Some(3.0)]);
}

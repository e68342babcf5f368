//! Who is served how often, so that all together fit a budget.
//!
//! Serving a thing each k-th time costs its price over k and lets news wait for half of k intervals on average. The next
//! faster step is taken where the wait that it saves is worth most for its cost. Worth times interval over price, times
//! both strides of the step, is that ratio: so strides grow with the square root of price over worth (as they do for
//! copies that are kept fresh: Cho and Garcia-Molina 2003), and one threshold for all things decides.

/// Each first, second, … time.
pub(crate) const LADDER: [u8; 8] = [1, 2, 3, 6, 10, 20, 30, 60];
/// The last step, as a place and as a number of a step.
pub(crate) const SLOWEST: usize = LADDER.len() - 1;
pub(crate) const SLOWEST_RUNG: u8 = 7;
const _: () = assert!(SLOWEST_RUNG as usize == SLOWEST);
/// Both strides of the step from each step of the ladder to the next faster one; the first one has none.
const STEPS: [f32; LADDER.len()] = [1.0, 2.0, 6.0, 18.0, 60.0, 200.0, 600.0, 1_800.0];
/// What a step gains is told apart to a sixteenth of an octave, by the first bits of a float, from 2^−32 to 2^63; what is
/// beyond counts as the nearest.
const BITS: u32 = 4;
const BITS_LEFT_OUT: u32 = f32::MANTISSA_DIGITS - 1 - BITS;
const FIRST_BIN: u32 = (127 - 32) << BITS;
const BINS: usize = (32 + 63) << BITS;
/// More than anything is worth for its price; times any step it is finite.
const MERIT_MAX: f32 = 1e30;

/// Every so many-th time at a step of the ladder.
pub(crate) fn stride(rung: u8) -> u8 {
    LADDER[usize::from(rung).min(SLOWEST)]
}

/// Who wants to be asked at each `every`-th look only, at a step of the ladder: never less often than others are at the
/// slowest one, and each time at the first.
pub(crate) fn every_at(every: u8, rung: u8) -> u8 {
    let most = if rung == 0 { 1 } else { LADDER[SLOWEST] / stride(rung) };
    every.min(most).max(1)
}

/// Every how many-th reading, of one each `interval_ms`, a detector is shown that looks each `look_ms`: a divisor of sixty,
/// so that numbers of readings, which begin anew after sixty, keep the distance.
pub(crate) fn sparing(look_ms: u32, interval_ms: u32) -> u8 {
    const DIVISORS: [u8; 12] = [1, 2, 3, 4, 5, 6, 10, 12, 15, 20, 30, 60];
    let enough = |times: &&u8| interval_ms.saturating_mul(u32::from(**times)) >= look_ms;
    DIVISORS.iter().find(enough).copied().unwrap_or(LADDER[SLOWEST])
}

/// Every how many-th look at a step of the ladder a detector is shown that wants each `every`-th where looks are thinned,
/// and looks each `look_ms` at series that are read each `interval_ms`.
pub(crate) fn shown_each(every: u8, look_ms: u32, rung: u8, interval_ms: u32) -> u8 {
    let stride = stride(rung);
    let sparing = sparing(look_ms, interval_ms.saturating_mul(u32::from(stride)));
    every_at(every, rung).max(sparing.min(LADDER[SLOWEST] / stride))
}

/// What a thing costs at each step of the ladder, as a share of what it costs each time. Never grows from step to step.
pub(crate) type Shares = [f64; LADDER.len()];

/// Where each service costs the same.
pub(crate) fn plain() -> Shares {
    LADDER.map(|stride| 1.0 / f64::from(stride))
}

/// Something that can be served less often.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Item {
    /// What it costs a second if it is served each time.
    price_per_s: f32,
    /// What a look is worth for what it costs, without the strides.
    pub(crate) merit: f32,
    /// It may not be served less often than at this step.
    slowest: u8,
    /// The step that was chosen.
    pub(crate) rung: u8,
}

impl Item {
    /// A thing whose turn comes each `interval_s`, whose service costs `price`, and of which news that comes a second
    /// earlier is worth `worth`. It is served at the ladder's step `slowest` at least.
    #[expect(clippy::cast_possible_truncation, reason = "a plan needs no more digits than f32 has")]
    pub(crate) fn new(price: f64, worth: f64, interval_s: f64, slowest: u8) -> Self {
        let price_per_s = price / interval_s;
        let merit = worth * interval_s / price_per_s.max(1e-9);
        let merit = (merit as f32).clamp(0.0, MERIT_MAX);
        Self { price_per_s: price_per_s as f32, merit, slowest: slowest.min(SLOWEST_RUNG), rung: 0 }
    }

    /// The same of something whose news is worth so many times as much.
    pub(crate) fn of(self, worth: f32, slowest: u8) -> Self {
        Self { merit: (self.merit * worth).clamp(0.0, MERIT_MAX), slowest: slowest.min(SLOWEST_RUNG), ..self }
    }

    /// What it costs a second at a step of the ladder.
    pub(crate) fn cost_at(&self, rung: u8, shares: &Shares) -> f64 {
        f64::from(self.price_per_s) * shares[usize::from(rung).min(SLOWEST)]
    }

    /// What it costs a second at its own step.
    pub(crate) fn cost(&self, shares: &Shares) -> f64 {
        self.cost_at(self.rung, shares)
    }

    /// The step for a threshold: the fastest one to which all steps gain as much.
    fn rung_for(&self, threshold: f32) -> u8 {
        let too_little = STEPS[1..].iter().map(|step| u8::from(self.merit * step < threshold));
        too_little.sum::<u8>().min(self.slowest)
    }
}

/// Chooses a step for each item, so that together they cost at most `budget` a second, unless all of them at their
/// slowest step cost more: then that. What they cost. `turn` says who goes first where there is room for a few only.
pub(crate) fn fit(items: &mut [Item], shares: &Shares, budget: f64, turn: usize) -> f64 {
    let full: f64 = items.iter().map(|item| item.cost_at(0, shares)).sum();
    if full <= budget {
        items.iter_mut().for_each(|item| item.rung = 0);
        return full;
    }
    let [low, high] = threshold(items, shares, budget);
    let mut spent = 0.0;
    for item in items.iter_mut() {
        item.rung = item.rung_for(high);
        spent += item.cost(shares);
    }
    hand_out_the_rest(items, shares, [budget, spent], (low, turn))
}

/// The least threshold that fits, to a sixteenth of an octave, and the next lower one, which does not: what each step of
/// each item costs is added up by what it gains, and as many as fit are taken from the top.
fn threshold(items: &[Item], shares: &Shares, budget: f64) -> [f32; 2] {
    let more: Shares = std::array::from_fn(|rung| shares[rung.saturating_sub(1)] - shares[rung]);
    let (mut costs, mut cost) = ([0.0; BINS], 0.0);
    for item in items {
        cost += item.cost_at(item.slowest, shares);
        for rung in 1..=usize::from(item.slowest).min(SLOWEST) {
            costs[bin(item.merit * STEPS[rung])] += f64::from(item.price_per_s) * more[rung];
        }
    }
    for at in (0..BINS).rev() {
        cost += costs[at];
        if cost > budget {
            return [edge(at), edge(at + 1)];
        }
    }
    // They fit by a rounding error.
    [0.0; 2]
}

/// Where what is gained is counted.
fn bin(gain: f32) -> usize {
    let at = (gain.to_bits() >> BITS_LEFT_OUT).saturating_sub(FIRST_BIN);
    (at as usize).min(BINS - 1)
}

/// The least that counts there; above all of them what nobody gains.
fn edge(bin: usize) -> f32 {
    #[expect(clippy::cast_possible_truncation, reason = "fewer than BINS")]
    match bin {
        0 => 0.0,
        BINS.. => f32::INFINITY,
        _ => f32::from_bits((bin as u32 + FIRST_BIN) << BITS_LEFT_OUT),
    }
}

/// Where many are worth the same, the threshold leaves room for some of them. What all cost then.
fn hand_out_the_rest(
    items: &mut [Item],
    shares: &Shares,
    [budget, mut spent]: [f64; 2],
    (threshold, turn): (f32, usize),
) -> f64 {
    let (last, first) = items.split_at_mut(turn % items.len().max(1));
    for item in first.iter_mut().chain(last) {
        if item.rung == 0 || item.merit * STEPS[usize::from(item.rung)] < threshold {
            continue;
        }
        let more = item.cost_at(item.rung - 1, shares) - item.cost(shares);
        if spent + more <= budget {
            spent += more;
            item.rung -= 1;
        }
    }
    spent
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    fn item(price_per_s: f64, worth: f64, interval_s: f64) -> Item {
        Item::new(price_per_s * interval_s, worth, interval_s, 7)
    }

    #[test]
    fn who_is_worth_more_or_costs_less_is_served_more_often() {
        let mut items = [item(100.0, 1.0, 1.0), item(100.0, 16.0, 1.0), item(1_600.0, 16.0, 1.0), item(1.0, 1.0, 1.0)];
        fit(&mut items, &plain(), 200.0, 0);
        let strides = items.map(|item| stride(item.rung));
        assert!(strides[1] < strides[0] && strides[1] < strides[2] && strides[3] == 1, "{strides:?}");
    }

    #[test]
    fn room_for_some_of_many_equal_ones_is_used_and_goes_round() {
        let served = |turn| {
            let mut items = vec![item(10.0, 1.0, 1.0); 100];
            let spent = fit(&mut items, &plain(), 700.0, turn);
            assert!(spent <= 700.0 && spent > 690.0, "{spent}");
            items.iter().position(|item| item.rung == 0)
        };
        assert_eq!((served(0), served(40)), (Some(0), Some(40)));
    }

    #[test]
    fn nobody_is_served_less_often_than_its_slowest_step() {
        let mut items = vec![item(10.0, 1.0, 1.0); 10];
        items[3].slowest = 2;
        let spent = fit(&mut items, &plain(), 0.0, 0);
        assert_eq!(
            items.iter().map(|item| stride(item.rung)).collect::<Vec<_>>(),
            [60, 60, 60, 3, 60, 60, 60, 60, 60, 60]
        );
        assert!((spent - (10.0 / 3.0 + 9.0 * 10.0 / 60.0)).abs() < 1e-9);
    }

    #[test]
    fn nobody_is_asked_less_often_than_the_slowest_step_says() {
        for every in [1, 2, 6, 60] {
            let waits: Vec<u32> =
                (0..=SLOWEST_RUNG).map(|rung| u32::from(stride(rung)) * u32::from(every_at(every, rung))).collect();
            assert!(waits[0] == 1 && waits.is_sorted() && waits.iter().all(|wait| *wait <= 60), "{waits:?}");
        }
        for (every, look_ms, interval_ms) in [(1, 10_000, 1_000), (6, 10_000, 1_000), (1, u32::MAX, 1), (60, 7, 3)] {
            for rung in 0..=SLOWEST_RUNG {
                let each = shown_each(every, look_ms, rung, interval_ms);
                let wait = u32::from(stride(rung)) * u32::from(each);
                assert!(each >= every_at(every, rung) && 60 % each == 0 && wait <= 60, "{each} at {rung}");
                assert!(wait == 60 || wait * interval_ms >= look_ms, "{wait} at {rung}");
            }
        }
    }

    #[test]
    fn a_detector_is_shown_no_reading_sooner_than_it_looks_and_one_in_sixty_at_least() {
        let shown = |interval_ms| sparing(10_000, interval_ms);
        assert_eq!([1_000, 2_000, 3_000, 9_999, 10_000, 60_000].map(shown), [10, 5, 4, 2, 1, 1]);
        assert_eq!([sparing(0, 1_000), sparing(u32::MAX, 1_000), sparing(1, 0)], [1, 60, 60]);
        (1..=60).filter(|times| 60 % times == 0).for_each(|times| {
            assert_eq!(u32::from(sparing(times * 1_000, 1_000)), times);
        });
    }

    proptest! {
        #[test]
        fn what_is_planned_costs_no_more_than_the_budget_or_than_the_least(
            things in proptest::collection::vec((0.0f64..1e6, 0.01f64..100.0, prop::sample::select(vec![1.0, 10.0, 60.0, 300.0]), 1u8..=7), 1..200),
            share in 0.0f64..1.2,
            turn in 0usize..1_000,
        ) {
            let mut items: Vec<Item> = things.iter().map(|(price, worth, interval, slowest)| {
                Item { slowest: *slowest, ..item(*price, *worth, *interval) }
            }).collect();
            let full: f64 = items.iter().map(|item| item.cost_at(0, &plain())).sum();
            let least: f64 = items.iter().map(|item| item.cost_at(item.slowest, &plain())).sum();
            let budget = full * share;
            let spent = fit(&mut items, &plain(), budget, turn);
            let sum: f64 = items.iter().map(|item| item.cost(&plain())).sum();
            prop_assert!((spent - sum).abs() <= 1e-6 * full.max(1.0));
            prop_assert!(sum <= budget.max(least) * (1.0 + 1e-9) + 1e-9, "{sum} of {budget}, least {least}");
            prop_assert!(share < 1.0 || items.iter().all(|item| item.rung == 0));
        }

        #[test]
        fn as_much_is_spent_as_with_the_least_threshold_that_fits(
            things in proptest::collection::vec((10.0f64..100.0, 0.01f64..100.0, prop::sample::select(vec![1.0, 10.0, 60.0, 300.0]), 1u8..=7), 200..400),
            share in 0.2f64..1.0,
            turn in 0usize..1_000,
        ) {
            let mut items: Vec<Item> = things.iter().map(|(price, worth, interval, slowest)| {
                Item { slowest: *slowest, ..item(*price, *worth, *interval) }
            }).collect();
            let full: f64 = items.iter().map(|item| item.cost_at(0, &plain())).sum();
            let least: f64 = items.iter().map(|item| item.cost_at(item.slowest, &plain())).sum();
            let budget = full * share;
            prop_assume!(budget > least);
            let mut gains: Vec<(f32, f64)> = items.iter().flat_map(|item| (1..=item.slowest).map(|rung| {
                let more = item.cost_at(rung - 1, &plain()) - item.cost_at(rung, &plain());
                (item.merit * STEPS[usize::from(rung)], more)
            })).collect();
            gains.sort_by(|a, b| b.0.total_cmp(&a.0));
            let exact = gains.iter().scan(least, |spent, (_, more)| {
                *spent += more;
                Some(*spent)
            }).take_while(|spent| *spent <= budget).last().unwrap_or(least);
            let spent = fit(&mut items, &plain(), budget, turn);
            prop_assert!(spent >= 0.95 * exact, "{spent} of {exact}, budget {budget}, least {least}");
        }
    }

    #[test]
    fn steps_are_both_strides() {
        let steps = (1..LADDER.len()).map(|rung| f32::from(LADDER[rung]) * f32::from(LADDER[rung - 1]));
        assert!(steps.eq(STEPS[1..].iter().copied()));
    }

    #[test]
    fn what_is_gained_counts_where_its_threshold_lies() {
        for gain in [0.0, 1e-20, 0.3, 1.0, 1.06, 77.7, 1e9, 1e30] {
            let at = bin(gain);
            assert!(edge(at) <= gain && (gain < edge(at + 1)), "{gain}: {} to {}", edge(at), edge(at + 1));
        }
    }
}

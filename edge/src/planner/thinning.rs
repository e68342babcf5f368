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
/// The threshold lies between 2 to the minus this and 2 to this. It is looked for from where it was within this first, and
/// found within a sixteenth of that, two per cent.
const OCTAVES: f32 = 60.0;
const NEAR: f32 = 0.5;

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

/// What a thing costs at each step of the ladder, as a share of what it costs each time. Never grows from step to step.
pub(crate) type Shares = [f64; LADDER.len()];

/// Where each service costs the same.
pub(crate) fn plain() -> Shares {
    LADDER.map(|stride| 1.0 / f64::from(stride))
}

/// Something that can be served less often.
#[derive(Clone, Copy, Debug)]
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
        Self { price_per_s: price_per_s as f32, merit: merit as f32, slowest, rung: 0 }
    }

    /// What it costs a second at a step of the ladder.
    pub(crate) fn cost_at(&self, rung: u8, shares: &Shares) -> f64 {
        f64::from(self.price_per_s) * shares[usize::from(rung).min(SLOWEST)]
    }

    /// What it costs a second at its own step.
    pub(crate) fn cost(&self, shares: &Shares) -> f64 {
        self.cost_at(self.rung, shares)
    }

    /// The step for a threshold.
    fn rung_for(&self, threshold: f32) -> u8 {
        let mut rung = self.slowest;
        while rung > 0 && self.merit * step(rung) >= threshold {
            rung -= 1;
        }
        rung
    }
}

/// Both strides of the step from `rung` to the next faster one.
fn step(rung: u8) -> f32 {
    f32::from(stride(rung)) * f32::from(stride(rung - 1))
}

/// Chooses a step for each item, so that together they cost at most `budget` a second, unless all of them at their
/// slowest step cost more: then that. What they cost. `turn` says who goes first where there is room for a few only;
/// `guess` is where the threshold was the last time, as a power of two.
pub(crate) fn fit(items: &mut [Item], shares: &Shares, budget: f64, turn: usize, guess: &mut f32) -> f64 {
    let cost = |items: &[Item], threshold: f32| -> f64 {
        items.iter().map(|item| item.cost_at(item.rung_for(threshold), shares)).sum()
    };
    if cost(items, 0.0) <= budget {
        items.iter_mut().for_each(|item| item.rung = 0);
        return items.iter().map(|item| item.cost(shares)).sum();
    }
    // The least threshold that fits lies above `low`, and `high` fits, if any does.
    let fits = |octave: f32| octave >= OCTAVES || octave > -OCTAVES && cost(items, octave.exp2()) <= budget;
    let (mut low, mut high, mut step) = (*guess, *guess, NEAR);
    while !fits(high) {
        (low, high, step) = (high, (high + step).min(OCTAVES), 2.0 * step);
    }
    while low == high || fits(low) {
        (low, high, step) = ((low - step).max(-OCTAVES), low, 2.0 * step);
    }
    while high - low > NEAR / 16.0 {
        let middle = (low + high) / 2.0;
        *(if fits(middle) { &mut high } else { &mut low }) = middle;
    }
    *guess = high;
    items.iter_mut().for_each(|item| item.rung = item.rung_for(high.exp2()));
    let spent = items.iter().map(|item| item.cost(shares)).sum();
    hand_out_the_rest(items, shares, [budget, spent], (low.exp2(), turn))
}

/// Where many are worth the same, the threshold leaves room for some of them. What all cost then.
fn hand_out_the_rest(
    items: &mut [Item],
    shares: &Shares,
    [budget, mut spent]: [f64; 2],
    (threshold, turn): (f32, usize),
) -> f64 {
    let count = items.len();
    for at in (0..count).map(|n| (n + turn) % count) {
        let item = &mut items[at];
        if item.rung == 0 || item.merit * step(item.rung) < threshold {
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
        fit(&mut items, &plain(), 200.0, 0, &mut 0.0);
        let strides = items.map(|item| stride(item.rung));
        assert!(strides[1] < strides[0] && strides[1] < strides[2] && strides[3] == 1, "{strides:?}");
    }

    #[test]
    fn room_for_some_of_many_equal_ones_is_used_and_goes_round() {
        let served = |turn| {
            let mut items = vec![item(10.0, 1.0, 1.0); 100];
            let spent = fit(&mut items, &plain(), 700.0, turn, &mut 0.0);
            assert!(spent <= 700.0 && spent > 690.0, "{spent}");
            items.iter().position(|item| item.rung == 0)
        };
        assert_eq!((served(0), served(40)), (Some(0), Some(40)));
    }

    #[test]
    fn nobody_is_served_less_often_than_its_slowest_step() {
        let mut items = vec![item(10.0, 1.0, 1.0); 10];
        items[3].slowest = 2;
        let spent = fit(&mut items, &plain(), 0.0, 0, &mut 0.0);
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
    }

    proptest! {
        #[test]
        fn what_is_planned_costs_no_more_than_the_budget_or_than_the_least(
            things in proptest::collection::vec((0.0f64..1e6, 0.01f64..100.0, prop::sample::select(vec![1.0, 10.0, 60.0, 300.0]), 1u8..=7), 1..200),
            share in 0.0f64..1.2,
            turn in 0usize..1_000,
            mut guess in -60.0f32..60.0,
        ) {
            let mut items: Vec<Item> = things.iter().map(|(price, worth, interval, slowest)| {
                Item { slowest: *slowest, ..item(*price, *worth, *interval) }
            }).collect();
            let full: f64 = items.iter().map(|item| item.cost_at(0, &plain())).sum();
            let least: f64 = items.iter().map(|item| item.cost_at(item.slowest, &plain())).sum();
            let budget = full * share;
            let spent = fit(&mut items, &plain(), budget, turn, &mut guess);
            let sum: f64 = items.iter().map(|item| item.cost(&plain())).sum();
            prop_assert!((spent - sum).abs() <= 1e-6 * full.max(1.0));
            prop_assert!(sum <= budget.max(least) * (1.0 + 1e-9) + 1e-9, "{sum} of {budget}, least {least}");
            prop_assert!(share < 1.0 || items.iter().all(|item| item.rung == 0));
        }
    }
}

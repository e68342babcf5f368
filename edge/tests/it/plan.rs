//! What a budget holds, whatever work costs, and what it does not take away.

use super::host::Host;
use super::signal::Random;
use proptest::prelude::*;
use std::collections::BTreeMap;
use vedette_edge::metric::{MetricKind, MetricSpec};
use vedette_edge::planner::{Budgets, Prices, Spent};
use vedette_protocol::policy::Policy;
use vedette_protocol::v1::{Body, EpisodeEvent};
use vedette_protocol::worker::{Columns, DetectorInput};

const fn gauge(name: &'static str) -> MetricSpec {
    MetricSpec { name, unit: "1", kind: MetricKind::Gauge, resolution: 0.01, lower: f64::NAN, upper: f64::NAN, doc: "" }
}

static METRICS: [MetricSpec; 3] = [gauge("system.cpu.a"), gauge("system.memory.b"), gauge("system.disk.c")];
const VALUE_NS: f64 = 1_000.0;

/// Noisy series, and a detector of which each value costs [`VALUE_NS`].
struct Load {
    host: Host,
    series: usize,
    random: Random,
    /// Added to series by number.
    by: BTreeMap<usize, f64>,
    /// Looks of each second.
    looks: Vec<u64>,
}

impl Load {
    fn new(series: usize, reading_ns: f64) -> Self {
        let mut load = Self { host: Host::new(3), series, random: Random(7), by: BTreeMap::new(), looks: Vec::new() };
        let prices = Prices { reading_ns, value_ns: VALUE_NS, ..Prices::default() };
        load.host.pipeline.set_prices(prices);
        load.second();
        load.host.load(DetectorInput::Metrics);
        load
    }

    /// Budget as a share of what looks cost at full rate.
    fn allow(&mut self, share: f64) -> f64 {
        let budget = self.series as f64 * VALUE_NS * share;
        let budgets = Budgets { cpu_ns_per_s: Some(budget), uplink_bytes_per_hour: None };
        self.host.pipeline.set_budgets(self.host.now(), budgets);
        budget
    }

    fn second(&mut self) {
        let before = self.host.pipeline.ledger().looks_taken;
        self.host.asked = Columns::default();
        for n in 0..self.series {
            let value = 50.0 + self.random.normal() + self.by.get(&n).unwrap_or(&0.0);
            self.host.read(&METRICS[n % METRICS.len()], &n.to_string(), value);
        }
        self.host.tick();
        self.looks.push(self.host.pipeline.ledger().looks_taken - before);
    }

    fn seconds(&mut self, seconds: u64) {
        (0..seconds).for_each(|_| self.second());
    }

    /// The dearest stretch of a minute among the last so many seconds, in looks.
    fn dearest_minute(&self, seconds: usize) -> u64 {
        let looks = &self.looks[self.looks.len() - seconds..];
        looks.windows(60).map(|minute| minute.iter().sum()).max().unwrap_or(0)
    }

    fn was_looked_at(&self, slot: u32) -> bool {
        self.host.asked.ids.contains(&slot)
    }
}

#[test]
fn without_a_budget_nothing_is_left_out() {
    let mut load = Load::new(30, 0.0);
    load.seconds(120);
    let ledger = *load.host.pipeline.ledger();
    assert_eq!((ledger.looks_due, ledger.looks_thinned + ledger.looks_withheld), (ledger.looks_taken, 0));
    assert_eq!(load.host.pipeline.account(load.host.now()).plan.to_string(), "all 30 series at full rate");
}

#[test]
fn a_budget_that_suffices_leaves_out_nothing_either() {
    let mut load = Load::new(30, 0.0);
    load.allow(1.5);
    load.seconds(300);
    assert_eq!(load.looks[1..].iter().sum::<u64>(), 300 * 30);
    assert_eq!(load.host.pipeline.account(load.host.now()).plan.full, 30);
}

#[test]
fn a_tenth_of_the_cost_is_spent_where_it_is_worth_most() {
    let mut load = Load::new(120, 0.0);
    let budget = load.allow(0.1);
    load.seconds(900);
    let ledger = *load.host.pipeline.ledger();
    assert!(ledger.looks_thinned > 0, "{ledger:?}");
    assert!(load.dearest_minute(900) as f64 * VALUE_NS <= 60.0 * budget * 1.001);
    assert!(load.looks.iter().sum::<u64>() as f64 * VALUE_NS > 0.6 * 900.0 * budget, "what is allowed is used");
    let account = load.host.pipeline.account(load.host.now());
    assert!(account.cpu.minute <= 60.0 * budget && account.plan.full < 40, "{account:?}");
}

#[test]
fn every_series_is_looked_at_within_sixty_of_its_readings() {
    let mut load = Load::new(60, 0.0);
    load.allow(0.02);
    let mut last = vec![0; 60];
    for second in 0..600 {
        load.second();
        load.host.asked.ids.iter().for_each(|slot| last[*slot as usize] = second);
        let waits = last.iter().map(|last| second - last);
        assert!(waits.max().unwrap_or(0) <= 60, "after {second} s: {last:?}");
    }
}

#[test]
fn what_stands_out_is_looked_at_each_time_from_that_tick_on_and_its_relatives_with_it() {
    let mut load = Load::new(90, 0.0);
    load.allow(0.15);
    load.seconds(1_800);
    // Of the very metric of number 40, by which it is related.
    load.by.insert(40, 9.0);
    load.second();
    assert!(load.was_looked_at(40), "in the tick of the value that stood out");
    for second in 0..20 {
        load.second();
        assert!(load.was_looked_at(40), "{second} s after it");
    }
    let plan = load.host.pipeline.account(load.host.now()).plan;
    assert!(plan.raised >= 20 && plan.relatives >= 15, "{plan:?}");
    assert!(load.dearest_minute(600) as f64 <= 60.0 * 0.15 * 90.0 * 1.001, "and the budget holds");
}

#[test]
fn a_fault_is_found_at_a_tenth_of_the_cost_and_quiet_series_open_nothing() {
    let mut load = Load::new(90, 0.0);
    load.allow(0.1);
    load.seconds(2_400);
    assert_eq!(load.host.opened(), 0, "{:?}", load.host.findings);
    load.by.insert(11, 10.0);
    let delay = (1..60).find(|_| {
        load.second();
        load.host.opened() > 0
    });
    assert!(delay.is_some_and(|seconds| seconds <= 50), "{delay:?}");
    load.by.remove(&11);
    load.seconds(600);
    let opened: Vec<_> = load.host.events(EpisodeEvent::Open).map(|(second, _)| *second).collect();
    assert!(opened.len() <= 4, "{opened:?}");
    assert_eq!(load.host.events(EpisodeEvent::Clear).count(), opened.len(), "what ends is seen to end");
}

#[test]
fn sources_are_read_less_often_where_looks_alone_cannot_pay_and_a_suspect_raises_its_source() {
    let mut load = Load::new(60, 4.0 * VALUE_NS);
    load.allow(1.0);
    load.seconds(60);
    let told = load.host.intervals.clone();
    assert!(told.iter().any(|(_, source, ms)| source == "sim" && *ms > 1_000), "{told:?}");
    load.by.insert(5, 20.0);
    load.second();
    let (_, source, ms) = load.host.intervals.last().expect("it was told");
    assert_eq!((source.as_str(), *ms), ("sim", 1_000));
}

#[test]
fn a_source_that_is_due_is_not_read_if_there_is_no_room_and_once_a_minute_all_the_same() {
    let mut load = Load::new(10, 0.0);
    load.host.pipeline.set_prices(Prices { sources: vec![("sim".into(), 1e9)], ..Prices::default() });
    load.host.pipeline.set_budgets(load.host.now(), Budgets::of_cpu_percent(1.0));
    load.seconds(1);
    let mut admitted = Vec::new();
    for second in 0..180 {
        let now = load.host.now();
        if load.host.pipeline.admit(now, "sim") {
            admitted.push(second);
            load.second();
        } else {
            load.host.tick();
        }
    }
    assert_eq!(admitted, [0, 60, 120]);
    let ledger = load.host.pipeline.ledger();
    assert_eq!(ledger.collect_taken, 3);
    assert!(ledger.collect_skipped >= 177, "{ledger:?}");
}

#[test]
fn a_policy_is_obeyed_where_it_is_stricter() {
    let mut load = Load::new(40, 0.0);
    load.allow(0.9);
    load.seconds(60);
    let mut policy = Policy::default();
    policy.budgets.cpu_percent = Some(0.2 * 40.0 * VALUE_NS / 1e7);
    load.host.pipeline.handle_policy(load.host.now(), policy);
    load.seconds(120);
    assert!(load.dearest_minute(60) <= 60 * 8, "{:?}", load.looks);
    load.host.pipeline.handle_policy(load.host.now(), Policy::default());
    load.seconds(200);
    assert!(load.dearest_minute(60) > 60 * 20);
}

#[test]
fn features_go_out_in_longer_windows_and_nothing_of_them_is_lost() {
    let features = |budget: Option<f64>| {
        let mut load = Load::new(50, 0.0);
        let budgets = Budgets { cpu_ns_per_s: None, uplink_bytes_per_hour: budget };
        load.host.pipeline.set_budgets(load.host.now(), budgets);
        load.seconds(3_700);
        load.host.pipeline.handle_drain(load.host.now());
        load.host.tick();
        let bodies = load.host.shipped.iter().filter_map(|(_, body, _)| match body {
            Body::Features(features) => Some(features.clone()),
            _ => None,
        });
        let features: Vec<_> = bodies.flatten().collect();
        assert!(features.iter().all(|feature| feature.window_ms >= 900 * feature.count), "{:?}", features.first());
        let ledger = *load.host.pipeline.ledger();
        assert!(ledger.balances(), "{ledger:?}");
        (features.len(), features.iter().map(|feature| u64::from(feature.count)).sum::<u64>())
    };
    let (all, values) = features(None);
    let (some, same_values) = features(Some(50.0 * 60.0 * 40.0 * 0.2));
    assert_eq!(values, same_values);
    assert!(some * 4 < all && some * 10 > all, "{some} of {all}");
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    /// Work costs up to four times its price, and the pipeline is told what was spent; or it is not told.
    #[test]
    fn no_minute_costs_more_than_its_budget_whatever_work_costs(
        series in 20usize..120,
        share in 0.06f64..1.2,
        times in 0.5f64..4.0,
        is_measured in any::<bool>(),
        reading_ns in prop_oneof![Just(0.0), 100.0f64..2_000.0],
        restless in proptest::collection::vec((100u64..500, 0usize..20), 0..6),
    ) {
        let mut load = Load::new(series, reading_ns);
        let times = if is_measured { times } else { 1.0 };
        let (look_ns, read_ns) = (VALUE_NS * times, reading_ns * times * series as f64);
        // Sixty looks of each series in an hour of minutes cannot be taken away, nor can this driver read less often.
        let least = look_ns * series as f64 / 60.0 + read_ns;
        let budget = (load.allow(share) + read_ns).max(least * 1.02 + look_ns);
        let budgets = Budgets { cpu_ns_per_s: Some(budget), uplink_bytes_per_hour: None };
        load.host.pipeline.set_budgets(load.host.now(), budgets);
        let (mut spent, mut total) = (Vec::new(), 0.0);
        for second in 0..600 {
            for (_, n) in restless.iter().filter(|(at, _)| *at == second) {
                load.by.insert(*n, 12.0);
            }
            load.second();
            let cost = *load.looks.last().expect("one") as f64 * look_ns + read_ns;
            spent.push(cost);
            total += cost;
            if is_measured {
                #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "far below 2^53")]
                let cpu_ns = total as u64;
                load.host.pipeline.handle_spent(load.host.now(), Spent { cpu_ns, uplink_bytes: 0 });
            }
            let ledger = load.host.pipeline.ledger();
            prop_assert!(ledger.balances(), "{ledger:?}");
        }
        // A tick's work is known to be dearer than its price once it is done.
        let (settling, slack) = if is_measured { (120, budget * 3.0) } else { (60, look_ns) };
        for minute in spent[settling..].windows(60) {
            let sum: f64 = minute.iter().sum();
            prop_assert!(sum <= 60.0 * budget + slack, "{sum} of {}", 60.0 * budget);
        }
    }
}

//! What the agent spends, told to the planner: each tick how much, and every ten ticks what a piece of work costs.

use super::agent::Agent;
use crate::cost::{children_cpu_ns, process_cpu_ns};
use std::collections::BTreeMap;
use vedette_edge::planner::{Prices, Spent};
use vedette_protocol::time::MonoTime;

/// The worker's time is counted by the kernel in hundredths of a second, and read from a file.
const WORKER_EACH: u64 = 5;
const PRICES_EACH: u64 = 10;
/// What is spent before this tick, on loading, is not held against the budget.
const BEGINS: u64 = 30;
/// Weight of the last ten ticks in a price.
const RECENT: f64 = 0.3;

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Purse {
    ticks: u64,
    worker_ns: u64,
    before: Option<Totals>,
    prices: Priced,
}

/// Counts since start.
#[derive(Clone, Default)]
struct Totals {
    at: MonoTime,
    cpu_ns: u64,
    uplink_bytes: u64,
    /// Times and nanoseconds of readings by source, and of values by detector.
    sources: BTreeMap<String, [u64; 2]>,
    detectors: BTreeMap<String, [u64; 2]>,
    /// Windows that were sent, and their bytes.
    features: [u64; 2],
}

/// Prices of late.
#[derive(Default)]
struct Priced {
    fixed_ns_per_s: Option<f64>,
    fixed_bytes_per_s: Option<f64>,
    sources: BTreeMap<String, Option<f64>>,
    detectors: BTreeMap<String, Option<f64>>,
    feature_bytes: Option<f64>,
}

impl Agent {
    /// Before a tick thinks: what was spent until now.
    pub(super) fn tell_spent(&mut self, now: MonoTime) {
        self.purse.ticks += 1;
        if self.purse.ticks < BEGINS {
            return;
        }
        if self.purse.ticks.is_multiple_of(WORKER_EACH) {
            self.purse.worker_ns = self.purse.worker_ns.max(children_cpu_ns(self.worker_pid()));
        }
        // What waits in the spool will be sent, and what was sent was more than that by what QUIC adds.
        let [made_bytes, feature_bytes] = self.meter.bytes();
        let uplink_bytes = made_bytes.max(self.uplink.status().udp_bytes_sent);
        let spent = Spent { cpu_ns: process_cpu_ns() + self.purse.worker_ns, uplink_bytes };
        self.pipeline.handle_spent(now, spent);
        if self.purse.ticks.is_multiple_of(PRICES_EACH) {
            let totals = self.totals(now, spent, feature_bytes);
            if let Some(prices) = self.purse.learn(totals) {
                self.pipeline.set_prices(prices);
            }
        }
    }

    fn totals(&self, at: MonoTime, spent: Spent, feature_bytes: u64) -> Totals {
        let source =
            |view: crate::lanes::SourceView<'_>| (view.name.to_owned(), [view.record.reads, view.record.cpu_ns]);
        let judged = self.supervisor.detectors().into_iter().filter(|one| one.shadow_of.is_none());
        let detectors = judged.map(|one| {
            let ns = one.guest_ns + self.meter.judge_ns(one.detector);
            (one.name, [one.values, ns])
        });
        Totals {
            at,
            cpu_ns: spent.cpu_ns,
            uplink_bytes: spent.uplink_bytes,
            sources: self.lanes.views().map(source).collect(),
            detectors: detectors.collect(),
            features: [self.pipeline.ledger().features_sent, feature_bytes],
        }
    }
}

impl Purse {
    /// Prices by what was counted since the last time; `None` for the first.
    fn learn(&mut self, totals: Totals) -> Option<Prices> {
        let before = self.before.replace(totals.clone())?;
        let elapsed_s = totals.at.since(before.at).as_secs_f64();
        if elapsed_s <= 0.0 {
            return None;
        }
        let sources_ns = learn_all(&mut self.prices.sources, &before.sources, &totals.sources);
        let detectors_ns = learn_all(&mut self.prices.detectors, &before.detectors, &totals.detectors);
        let [features, bytes] = [0, 1].map(|at| totals.features[at].saturating_sub(before.features[at]));
        if features > 0 {
            blend(&mut self.prices.feature_bytes, ratio(bytes, features));
        }
        let cpu_ns = totals.cpu_ns.saturating_sub(before.cpu_ns);
        let other_ns = cpu_ns.saturating_sub(sources_ns + detectors_ns);
        blend(&mut self.prices.fixed_ns_per_s, per_s(other_ns, elapsed_s));
        let uplink_bytes = totals.uplink_bytes.saturating_sub(before.uplink_bytes);
        blend(&mut self.prices.fixed_bytes_per_s, per_s(uplink_bytes.saturating_sub(bytes), elapsed_s));
        Some(self.prices.prices())
    }
}

impl Priced {
    fn prices(&self) -> Prices {
        let known = |prices: &BTreeMap<String, Option<f64>>| -> Vec<(String, f64)> {
            prices.iter().filter_map(|(name, price)| Some((name.clone(), (*price)?))).collect()
        };
        let usual = Prices::default();
        Prices {
            fixed_ns_per_s: self.fixed_ns_per_s.unwrap_or(usual.fixed_ns_per_s),
            fixed_bytes_per_s: self.fixed_bytes_per_s.unwrap_or(usual.fixed_bytes_per_s),
            sources: known(&self.sources),
            detectors: known(&self.detectors),
            feature_bytes: self.feature_bytes.unwrap_or(usual.feature_bytes),
            ..usual
        }
    }
}

/// Learns the price of one time of each; what all of them have cost.
fn learn_all(
    prices: &mut BTreeMap<String, Option<f64>>,
    before: &BTreeMap<String, [u64; 2]>,
    totals: &BTreeMap<String, [u64; 2]>,
) -> u64 {
    prices.retain(|name, _| totals.contains_key(name));
    let mut all_ns = 0;
    for (name, [times, ns]) in totals {
        // A detector that was loaded anew counts from 0 again.
        let [times_before, ns_before] =
            before.get(name).filter(|[before, _]| before <= times).copied().unwrap_or_default();
        let (times, ns) = (times - times_before, ns.saturating_sub(ns_before));
        all_ns += ns;
        if times > 0 {
            blend(prices.entry(name.clone()).or_default(), ratio(ns, times));
        }
    }
    all_ns
}

fn blend(price: &mut Option<f64>, recent: f64) {
    *price = Some(price.map_or(recent, |before| before + RECENT * (recent - before)));
}

#[expect(clippy::cast_precision_loss, reason = "a price needs no more digits")]
fn ratio(total: u64, times: u64) -> f64 {
    total as f64 / times as f64
}

#[expect(clippy::cast_precision_loss, reason = "a rate needs no more digits")]
fn per_s(total: u64, elapsed_s: f64) -> f64 {
    total as f64 / elapsed_s
}

#[cfg(test)]
mod tests {
    use super::*;

    fn totals(second: u64, reads: u64, values: u64, cpu_ns: u64) -> Totals {
        Totals {
            at: MonoTime::from_ms(second * 1_000),
            cpu_ns,
            uplink_bytes: 500 * second,
            sources: [("cpu".to_owned(), [reads, reads * 20_000])].into(),
            detectors: [("level".to_owned(), [values, values * 100])].into(),
            features: [second, 40 * second],
        }
    }

    #[test]
    fn prices_are_what_work_has_cost_and_the_rest_is_fixed() {
        let mut purse = Purse::default();
        assert!(purse.learn(totals(0, 0, 0, 0)).is_none());
        let prices = purse.learn(totals(10, 10, 1_000, 1_300_000)).expect("ten seconds have passed");
        assert_eq!(prices.sources, [("cpu".to_owned(), 20_000.0)]);
        assert_eq!(prices.detectors, [("level".to_owned(), 100.0)]);
        assert_eq!((prices.fixed_ns_per_s, prices.fixed_bytes_per_s), (100_000.0, 460.0));
        assert_eq!(prices.feature_bytes, 40.0);
    }

    #[test]
    fn what_was_not_done_keeps_its_price_and_what_begins_anew_is_no_saving() {
        let mut purse = Purse::default();
        purse.learn(totals(0, 0, 0, 0));
        purse.learn(totals(10, 10, 1_000, 1_300_000));
        let prices = purse.learn(totals(20, 10, 500, 1_500_000)).expect("ten seconds have passed");
        assert_eq!(prices.sources, [("cpu".to_owned(), 20_000.0)]);
        assert_eq!(prices.detectors, [("level".to_owned(), 100.0)]);
        assert!(prices.fixed_ns_per_s < 100_000.0 && prices.fixed_ns_per_s > 0.0);
    }
}

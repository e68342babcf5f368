//! One contender at one budget over one set of hosts: what it cost, what it found of what full rate finds, how late.

use super::super::bench::number;
use super::contender::Contender;
use super::judge::Played;
use super::spread;
use super::subject::Set;
use super::tally::Cost;
use serde_json::{Value, json};

/// A share with its interval.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Kept {
    pub(super) hits: usize,
    pub(super) of: usize,
}

impl Kept {
    pub(super) fn share(self) -> f64 {
        number(self.hits) / number(self.of)
    }

    pub(super) fn interval(self) -> [f64; 2] {
        spread::share(self.hits, self.of)
    }

    fn to_json(self) -> Value {
        json!({"hits": self.hits, "of": self.of, "share": self.share(), "interval_95": self.interval()})
    }
}

/// Delays beside those at full rate, over the events that full rate has; what is missed is infinitely late.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Lateness {
    pub(super) median_s: f64,
    /// By full rate's median.
    pub(super) ratio: f64,
    pub(super) ratio_interval: [f64; 2],
}

impl Lateness {
    fn to_json(self) -> Value {
        json!({"median_s": self.median_s, "ratio": self.ratio, "ratio_interval_95": self.ratio_interval})
    }
}

/// What became of events, found by alarms or shown by features.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(super) struct Seen {
    /// Of all events.
    pub(super) all: Kept,
    /// Of those that full rate has.
    pub(super) kept: Kept,
    pub(super) late: Lateness,
}

impl Seen {
    fn new(pairs: &[Pair]) -> Self {
        let hits = pairs.iter().filter(|pair| pair.ours.is_some()).count();
        let of_full: Vec<(f64, f64)> = pairs.iter().filter_map(Pair::delays).collect();
        let (mut ours, theirs): (Vec<f64>, Vec<f64>) = of_full.into_iter().unzip();
        let kept = Kept { hits: ours.iter().filter(|delay| delay.is_finite()).count(), of: ours.len() };
        let (ratio, ratio_interval) = spread::ratio(&ours, &theirs);
        let late = Lateness { median_s: spread::median(&mut ours), ratio, ratio_interval };
        Self { all: Kept { hits, of: pairs.len() }, kept, late }
    }

    fn to_json(self) -> Value {
        json!({"of_all": self.all.to_json(), "of_full": self.kept.to_json(), "delay": self.late.to_json()})
    }
}

/// One event: seconds until a contender had it, and until full rate did.
#[derive(Clone, Copy, Debug)]
struct Pair {
    what: &'static str,
    ours: Option<f64>,
    full: Option<f64>,
}

impl Pair {
    /// Both delays, if full rate has it.
    fn delays(&self) -> Option<(f64, f64)> {
        self.full.map(|full| (self.ours.unwrap_or(f64::INFINITY), full))
    }
}

/// See the module's documentation.
#[derive(Clone, Debug)]
pub(super) struct Point {
    pub(super) contender: Contender,
    /// Shares of the cost of everything at full rate.
    pub(super) values: f64,
    pub(super) cpu: f64,
    pub(super) guest: f64,
    pub(super) bytes: f64,
    pub(super) cost: Cost,
    pub(super) found: Seen,
    pub(super) shown: Seen,
    pub(super) false_per_day: f64,
    /// By what went wrong: name, kept.
    pub(super) by_shape: Vec<(&'static str, Kept)>,
}

impl Point {
    /// A contender over the hosts of a set.
    pub(super) fn new(contender: Contender, hosts: &[&Played]) -> Option<Self> {
        let (mut found, mut shown, mut cost, mut full_cost) =
            (Vec::new(), Vec::new(), Cost::default(), Cost::default());
        let (mut false_alarms, mut days) = (0, 0.0);
        for host in hosts {
            let (ours, full) = (host.trace(contender)?, host.trace(Contender::Full)?);
            let pairs = |ours: Vec<Option<f64>>, full: Vec<Option<f64>>| {
                let both = host.events.iter().zip(ours.into_iter().zip(full));
                both.map(|(event, (ours, full))| Pair { what: event.what, ours, full }).collect::<Vec<_>>()
            };
            let judged = host.found(ours);
            false_alarms += judged.false_alarms;
            days += host.calm_days();
            found.extend(pairs(judged.delays_s, host.found(full).delays_s));
            shown.extend(pairs(host.shown_s(ours), host.shown_s(full)));
            cost.add(&ours.cost);
            full_cost.add(&full.cost);
        }
        Some(Self {
            contender,
            values: cost.values / full_cost.values,
            cpu: cost.cpu_ns / full_cost.cpu_ns,
            guest: cost.guest_ns / full_cost.guest_ns,
            bytes: cost.bytes / full_cost.bytes,
            cost,
            found: Seen::new(&found),
            shown: Seen::new(&shown),
            false_per_day: number(false_alarms) / days,
            by_shape: by_shape(&found),
        })
    }

    pub(super) fn to_json(&self) -> Value {
        let shapes = self.by_shape.iter().map(|(what, kept)| json!({"what": what, "of_full": kept.to_json()}));
        json!({
            "contender": self.contender.name(),
            "budget_percent": self.contender.percent(),
            "values_share": self.values,
            "cpu_share": self.cpu,
            "guest_time_share": self.guest,
            "bytes_share": self.bytes,
            "values": self.cost.values,
            "cpu_ns": self.cost.cpu_ns,
            "bytes": self.cost.bytes,
            "bytes_not_features": self.cost.told_bytes,
            "found": self.found.to_json(),
            "shown": self.shown.to_json(),
            "false_alarms_per_day": self.false_per_day,
            "by_shape": shapes.collect::<Vec<_>>(),
        })
    }
}

fn by_shape(pairs: &[Pair]) -> Vec<(&'static str, Kept)> {
    let mut shapes: Vec<(&'static str, Kept)> = Vec::new();
    for pair in pairs.iter().filter(|pair| pair.full.is_some()) {
        let hit = usize::from(pair.ours.is_some());
        match shapes.iter_mut().find(|(what, _)| *what == pair.what) {
            Some((_, kept)) => (kept.hits, kept.of) = (kept.hits + hit, kept.of + 1),
            None => shapes.push((pair.what, Kept { hits: hit, of: 1 })),
        }
    }
    shapes
}

/// All contenders over one set.
#[derive(Clone, Debug)]
pub(super) struct Curve {
    pub(super) set: Set,
    pub(super) hosts: usize,
    pub(super) series: usize,
    pub(super) days: f64,
    pub(super) points: Vec<Point>,
}

impl Curve {
    /// Points of a contender, by falling budget; full rate begins each line.
    pub(super) fn line(&self, name: &str) -> Vec<&Point> {
        self.points
            .iter()
            .filter(|point| point.contender == Contender::Full || point.contender.name() == name)
            .collect()
    }

    pub(super) fn to_json(&self) -> Value {
        json!({
            "set": self.set.name(),
            "hosts": self.hosts,
            "series": self.series,
            "host_days_judged": self.days,
            "points": self.points.iter().map(Point::to_json).collect::<Vec<_>>(),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pair(ours: Option<f64>, full: Option<f64>) -> Pair {
        Pair { what: "step", ours, full }
    }

    #[test]
    fn what_full_rate_misses_is_no_loss_and_what_is_missed_is_late() {
        let pairs = [
            pair(Some(20.0), Some(10.0)),
            pair(Some(30.0), Some(10.0)),
            pair(None, Some(10.0)),
            pair(Some(1.0), None),
            pair(None, None),
        ];
        let seen = Seen::new(&pairs);
        assert_eq!((seen.all, seen.kept), (Kept { hits: 3, of: 5 }, Kept { hits: 2, of: 3 }));
        assert_eq!((seen.late.median_s, seen.late.ratio), (30.0, 3.0));
        assert_eq!(by_shape(&pairs), [("step", Kept { hits: 2, of: 3 })]);
    }
}

//! What a contender spends, in units that no machine changes: a detector's time by a table of prices,
//! bytes as they are encoded for the wire. And what of it shows an event to the centre.

use super::super::agent::{Tap, openings};
use super::super::detectors::Detectors;
use super::prices;
use super::subject::Event;
use std::collections::HashMap;
use vedette_edge::planner::Spent;
use vedette_protocol::ids::{BootId, QueueEpoch, Sequence, TenantId};
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::{Batch, Body, Class, Feature, SeriesDefinition, encode};
use vedette_protocol::worker::Columns;

/// What was spent.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Cost {
    /// Values that detectors were asked about, each detector's counted.
    pub(super) values: f64,
    /// Nanoseconds by the table.
    pub(super) cpu_ns: f64,
    /// Nanoseconds inside the guests on this machine, to hold the table against.
    pub(super) guest_ns: f64,
    /// Bytes for the wire.
    pub(super) bytes: f64,
    /// Those of them that are no features: findings and definitions of series, which nobody thins.
    pub(super) told_bytes: f64,
    /// Features.
    pub(super) features: f64,
}

impl Cost {
    /// The same as an agent measures it.
    #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "saturates, and is not negative")]
    pub(super) fn spent(&self) -> Spent {
        Spent { cpu_ns: self.cpu_ns as u64, uplink_bytes: self.bytes as u64 }
    }

    pub(super) fn add(&mut self, other: &Self) {
        self.values += other.values;
        self.cpu_ns += other.cpu_ns;
        self.guest_ns += other.guest_ns;
        self.bytes += other.bytes;
        self.told_bytes += other.told_bytes;
        self.features += other.features;
    }
}

/// Hears an agent, counts what it spends, and notes when it tells of what.
#[derive(Debug)]
pub(super) struct Tally {
    /// By their number.
    detectors: Vec<String>,
    sequence: u64,
    events: Vec<Event>,
    /// How long after an event's end a feature may still show it.
    patience_ms: u64,
    /// Events by the series on which they show, and the same by its index on the wire.
    by_name: HashMap<String, Vec<usize>>,
    by_index: HashMap<u32, Vec<usize>>,
    /// Now, since the host's start.
    pub(super) elapsed_ms: u64,
    pub(super) opened_ms: Vec<u64>,
    /// When a feature first showed each event.
    pub(super) shown_ms: Vec<Option<u64>>,
    pub(super) cost: Cost,
}

impl Tally {
    /// `patience_ms` after its end an event is over for features, too.
    pub(super) fn new(detectors: &Detectors, events: Vec<Event>, patience_ms: u64) -> Self {
        let mut by_name: HashMap<String, Vec<usize>> = HashMap::new();
        for (at, event) in events.iter().enumerate() {
            event.shows_on.iter().for_each(|name| by_name.entry(name.clone()).or_default().push(at));
        }
        Self {
            detectors: detectors.names().map(str::to_owned).collect(),
            sequence: 0,
            shown_ms: vec![None; events.len()],
            events,
            patience_ms,
            by_name,
            by_index: HashMap::new(),
            elapsed_ms: 0,
            opened_ms: Vec::new(),
            cost: Cost::default(),
        }
    }

    fn define(&mut self, series: &[SeriesDefinition]) {
        for one in series {
            if let Some(events) = self.by_name.get(&one.meta.display_name()) {
                self.by_index.insert(one.index.0, events.clone());
            }
        }
    }

    /// A feature shows an event if it is sent before the event is over and its window reaches into it.
    fn show(&mut self, features: &[Feature]) {
        for feature in features {
            let Some(events) = self.by_index.get(&feature.series.0) else { continue };
            for at in events {
                let event = &self.events[*at];
                let sent = event.start_ms + 1..=event.end_ms + self.patience_ms;
                let begun_ms = self.elapsed_ms.saturating_sub(u64::from(feature.window_ms));
                if sent.contains(&self.elapsed_ms) && begun_ms < event.end_ms {
                    self.shown_ms[*at].get_or_insert(self.elapsed_ms);
                }
            }
        }
    }

    fn pay(&mut self, class: Class, body: Body) {
        let is_told = matches!(body, Body::Findings(_) | Body::Series(_));
        self.sequence += 1;
        let batch = Batch {
            tenant: TenantId(0),
            boot: BootId([0xE7; 16]),
            queue_epoch: QueueEpoch(1),
            sequence: Sequence(self.sequence),
            class,
            mono: MonoTime::from_ms(self.elapsed_ms),
            wall: WallTime::default(),
            cursors: Vec::new(),
            body,
        };
        let bytes = encode(&batch).map_or(0.0, |bytes| number(bytes.len() as u64));
        self.cost.bytes += bytes;
        self.cost.told_bytes += if is_told { bytes } else { 0.0 };
    }
}

impl Tap for Tally {
    fn scores(&mut self, detector: u32, asked: &Columns, _scores: &[f32], guest_ns: u64) {
        let values = number(asked.ids.len() as u64);
        let Some(name) = self.detectors.get(detector as usize) else { return };
        self.cost.cpu_ns += asked.dt_ms.iter().map(|elapsed_ms| prices::value_ns(name, *elapsed_ms)).sum::<f64>();
        self.cost.values += values;
        self.cost.guest_ns += number(guest_ns);
    }

    fn enqueued(&mut self, class: Class, body: Body) {
        let opened = openings(&body).count();
        self.opened_ms.extend(std::iter::repeat_n(self.elapsed_ms, opened));
        match &body {
            Body::Series(series) => self.define(series),
            Body::Features(features) => {
                self.cost.features += number(features.len() as u64);
                self.show(features);
            }
            _ => {}
        }
        self.pay(class, body);
    }
}

#[expect(clippy::cast_precision_loss, reason = "bytes and nanoseconds of a few days, far below 2^53")]
fn number(count: u64) -> f64 {
    count as f64
}

#[cfg(test)]
mod tests {
    use super::*;
    use vedette_protocol::ids::SeriesIndex;
    use vedette_protocol::series::{SeriesKind, SeriesMeta};

    fn tally() -> Tally {
        let event =
            |name: &str, start_ms, end_ms| Event { what: "step", shows_on: vec![name.to_owned()], start_ms, end_ms };
        let events =
            vec![event("cpu", 100_000, 200_000), event("disk", 100_000, 200_000), event("cpu", 500_000, 600_000)];
        let mut tally = Tally::new(&Detectors::default(), events, 30_000);
        let meta = SeriesMeta {
            metric: "cpu".to_owned(),
            unit: "1".to_owned(),
            kind: SeriesKind::Gauge,
            attributes: Vec::new(),
            resolution: 0.0,
            lower: f64::NAN,
            upper: f64::NAN,
        };
        tally.enqueued(Class::Finding, Body::Series(vec![SeriesDefinition { index: SeriesIndex(3), meta }]));
        tally
    }

    fn feature(tally: &mut Tally, at_ms: u64, window_ms: u32) {
        tally.elapsed_ms = at_ms;
        let (series, end) = (SeriesIndex(3), WallTime::default());
        let feature = Feature { series, end, window_ms, count: 1, min: 0.0, max: 0.0, mean: 0.0, last: 0.0 };
        tally.enqueued(Class::Feature, Body::Features(vec![feature]));
    }

    #[test]
    fn a_feature_shows_an_event_while_it_is_on_and_once() {
        let mut tally = tally();
        for at_ms in [60_000, 100_000, 160_000, 220_000] {
            feature(&mut tally, at_ms, 60_000);
        }
        assert_eq!(tally.shown_ms, [Some(160_000), None, None]);
        feature(&mut tally, 620_000, 10_000);
        assert_eq!(tally.shown_ms[2], None, "its window begins after the event");
        feature(&mut tally, 620_000, 60_000);
        assert_eq!(tally.shown_ms[2], Some(620_000), "it reaches back into it");
    }

    #[test]
    fn what_is_asked_and_what_is_sent_is_paid_for() {
        let mut tally = tally();
        let told = tally.cost.told_bytes;
        assert!(told > 0.0 && tally.cost.bytes == told);
        feature(&mut tally, 60_000, 60_000);
        assert!(tally.cost.bytes > told && tally.cost.told_bytes == told);
        tally.detectors = vec!["level".to_owned(), "novelty".to_owned()];
        let price_ns = prices::value_ns("novelty", 1_000) + 2.0 * prices::value_ns("novelty", 300_000);
        tally.scores(
            1,
            &Columns { ids: vec![0, 1, 2], dt_ms: vec![1_000, 60_000, 300_000], ..Columns::default() },
            &[],
            7,
        );
        assert_eq!((tally.cost.values, tally.cost.cpu_ns, tally.cost.guest_ns), (3.0, price_ns, 7.0));
    }
}

//! Who caused what the agent spends: CPU time of the loop's thread by stage and detector, bytes by kind and source.

use crate::cost::{BatchCost, StageCost, thread_cpu_ns};
use crate::source;
use std::collections::BTreeMap;
use vedette_edge::metric::MetricSpec;
use vedette_protocol::ids::SeriesIndex;
use vedette_protocol::v1::Body;

/// Series of this process whose source is remembered; windows of later ones are nobody's.
const SERIES_MAX: usize = 1 << 18;

/// A part of the loop's work.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Stage {
    /// Masking log lines and mining templates.
    Lines,
    /// What a tick does beside reading: columns for detectors, windows, series that come and go.
    Tick,
    /// Putting batches into their form and into the spool.
    Encode,
}

const STAGES: [(Stage, &str); 3] = [(Stage::Lines, "log lines"), (Stage::Tick, "ticks"), (Stage::Encode, "batches")];

/// See the module's documentation.
#[derive(Default)]
pub(super) struct Meter {
    stages: [u64; STAGES.len()],
    judged: BTreeMap<u32, u64>,
    kinds: BTreeMap<&'static str, (u64, u64)>,
    /// The first series index of this process.
    first: u32,
    /// By index, from the first on: place of the source in `source::ALL`.
    source_of: Vec<u8>,
    /// Windows and bytes by place of the source.
    shipped: Vec<(u64, u64)>,
}

impl Meter {
    /// Nothing spent. `first` is the first series index of this process: those below were given in earlier ones.
    pub(super) fn new(first: u32) -> Self {
        Self { first, ..Self::default() }
    }

    /// The thread has worked on `stage` since its CPU time was `began_ns`.
    pub(super) fn spent(&mut self, stage: Stage, began_ns: u64) {
        self.stages[stage as usize] += thread_cpu_ns().saturating_sub(began_ns);
    }

    /// The thread has judged scores of `detector` since its CPU time was `began_ns`.
    pub(super) fn judged(&mut self, detector: u32, began_ns: u64) {
        *self.judged.entry(detector).or_default() += thread_cpu_ns().saturating_sub(began_ns);
    }

    /// A batch is about to be made of `body`. What it returns goes to [`Meter::made`].
    pub(super) fn note(&mut self, body: &Body) -> Noted {
        if let Body::Series(series) = body {
            for one in series {
                self.place(one.index, &one.meta.metric);
            }
        }
        let mut windows = [0; SOURCES_MAX];
        let mut all = 0;
        if let Body::Features(features) = body {
            for feature in features {
                all += 1;
                let at = self.nth(feature.series).and_then(|nth| self.source_of.get(nth));
                if let Some(at) = at.filter(|at| **at != NOBODY) {
                    windows[usize::from(*at)] += 1;
                }
            }
        }
        Noted { kind: kind(body), windows, all }
    }

    /// It came to so many bytes.
    pub(super) fn made(&mut self, noted: &Noted, bytes: u64) {
        let (batches, total) = self.kinds.entry(noted.kind).or_default();
        *batches += 1;
        *total += bytes;
        self.shipped.resize(SOURCES_MAX, (0, 0));
        for ((windows, share), count) in self.shipped.iter_mut().zip(noted.windows) {
            *windows += count;
            *share += (bytes * count).checked_div(noted.all).unwrap_or(0);
        }
    }

    /// Bytes of all batches, and of those that carry windows.
    pub(super) fn bytes(&self) -> [u64; 2] {
        let all = self.kinds.values().map(|(_, bytes)| bytes).sum();
        [all, self.kinds.get(FEATURES).map_or(0, |(_, bytes)| *bytes)]
    }

    /// Windows and bytes of a source.
    pub(super) fn shipped(&self, source: &str) -> (u64, u64) {
        let at = source::ALL.iter().position(|spec| spec.name == source);
        at.and_then(|at| self.shipped.get(at).copied()).unwrap_or_default()
    }

    /// CPU time of judging a detector's scores.
    pub(super) fn judge_ns(&self, detector: u32) -> u64 {
        self.judged.get(&detector).copied().unwrap_or(0)
    }

    pub(super) fn stages(&self) -> Vec<StageCost> {
        STAGES
            .iter()
            .map(|(stage, name)| StageCost { name: (*name).to_owned(), cpu_ns: self.stages[*stage as usize] })
            .collect()
    }

    pub(super) fn batches(&self) -> Vec<BatchCost> {
        let cost = |(name, (batches, bytes)): (&&str, &(u64, u64))| BatchCost {
            name: (*name).to_owned(),
            batches: *batches,
            bytes: *bytes,
        };
        self.kinds.iter().map(cost).collect()
    }

    fn nth(&self, index: SeriesIndex) -> Option<usize> {
        let nth = index.0.checked_sub(self.first)? as usize;
        (nth < SERIES_MAX).then_some(nth)
    }

    fn place(&mut self, index: SeriesIndex, metric: &str) {
        let Some(index) = self.nth(index) else { return };
        if index >= self.source_of.len() {
            self.source_of.resize(index + 1, NOBODY);
        }
        let is_of = |spec: &&MetricSpec| spec.name == metric;
        let source = source::ALL.iter().position(|source| source.metrics.iter().any(is_of));
        self.source_of[index] = source.and_then(|at| u8::try_from(at).ok()).unwrap_or(NOBODY);
    }
}

const FEATURES: &str = "features";
const SOURCES_MAX: usize = 64;
const NOBODY: u8 = u8::MAX;
const _: () = assert!(SOURCES_MAX < NOBODY as usize);

/// What is in a batch.
pub(super) struct Noted {
    kind: &'static str,
    windows: [u64; SOURCES_MAX],
    all: u64,
}

fn kind(body: &Body) -> &'static str {
    match body {
        Body::Series(_) => "series",
        Body::Features(_) => FEATURES,
        Body::Samples(_) => "raw samples",
        Body::Logs(_) => "logs",
        Body::Findings(_) => "findings",
        Body::Changes(_) => "changes",
        Body::Block(_) => "sample blocks",
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vedette_protocol::time::WallTime;
    use vedette_protocol::v1::{Feature, SeriesDefinition};

    /// As after many ends that were not clean.
    const FIRST: u32 = 1 << 20;

    #[test]
    fn sources_fit_their_places() {
        assert!(source::ALL.len() <= SOURCES_MAX);
    }

    #[test]
    fn bytes_of_a_batch_are_shared_by_windows() {
        let metric = |source: usize| source::ALL[source].metrics[0];
        let define = |index, source| SeriesDefinition {
            index: SeriesIndex(FIRST + index),
            meta: metric(source).series_meta(Vec::new(), 1_000),
        };
        let feature = |index| Feature {
            series: SeriesIndex(FIRST + index),
            end: WallTime::from_unix_ms(0),
            window_ms: 1,
            count: 1,
            min: 0.0,
            max: 0.0,
            mean: 0.0,
            last: 0.0,
        };
        let mut meter = Meter::new(FIRST);
        for (body, bytes) in [
            (Body::Series(vec![define(0, 0), define(1, 1)]), 50),
            (Body::Features(vec![feature(0), feature(1), feature(1), feature(9)]), 400),
        ] {
            let noted = meter.note(&body);
            meter.made(&noted, bytes);
        }
        assert_eq!(meter.shipped(source::ALL[0].name), (1, 100));
        assert_eq!(meter.shipped(source::ALL[1].name), (2, 200), "what is nobody's is given to nobody");
        let batches: Vec<_> = meter.batches().into_iter().map(|one| (one.name, one.batches, one.bytes)).collect();
        assert_eq!(batches, [("features".to_owned(), 1, 400), ("series".to_owned(), 1, 50)]);
    }
}

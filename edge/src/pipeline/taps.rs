//! What is handed to those who follow live. Costs one look whether there is anybody.

use super::Pipeline;
use crate::normalise::Sample;
use crate::tap::{Patterns, Seen, Tap, time};
use vedette_protocol::time::MonoTime;
use vedette_protocol::worker::flags;

/// A series that stands out now.
#[derive(Clone, Debug, Default, PartialEq, serde::Serialize, serde::Deserialize)]
pub struct OddSeries {
    /// Name with attributes.
    pub series: String,
    /// Source that reads it.
    pub source: String,
    /// Its share in how odd the host is.
    pub oddness: f32,
    /// The highest surprise of a detector on it, see [`Pipeline::surprise`].
    pub surprise: f32,
    /// The detector that said so; empty for none.
    pub detector: String,
    /// The last value of the window that fills, in `unit`; `None` for an empty one.
    pub value: Option<f64>,
    /// Unit.
    pub unit: String,
}

impl Pipeline {
    /// Follows these under a number of the caller's.
    pub fn open_tap(&mut self, id: u32, patterns: Patterns) {
        self.taps.open.push(Tap::new(id, patterns));
    }

    /// Follows them no longer. What it had missed in all.
    pub fn close_tap(&mut self, id: u32) -> u64 {
        let missed = self.taps.open.iter().filter(|tap| tap.id() == id).map(Tap::missed_total).sum();
        self.taps.open.retain(|tap| tap.id() != id);
        missed
    }

    /// What a tap has seen since it was last asked.
    pub fn take_tapped(&mut self, id: u32) -> Vec<Seen> {
        self.taps.open.iter_mut().find(|tap| tap.id() == id).map(Tap::take).unwrap_or_default()
    }

    /// How many there are, and what they have missed so far.
    pub fn taps(&self) -> (usize, u64) {
        (self.taps.open.len(), self.taps.open.iter().map(Tap::missed_total).sum())
    }

    pub(super) fn tap_sample(&mut self, slot: u32, sample: &Sample) {
        let Some(series) = self.registry.get(slot) else { return };
        let at_ms = self.clocks.wall_at(sample.at).unix_ms();
        for tap in &mut self.taps.open {
            if !tap.follows_series(slot, series.key, || series.meta.display_name()) {
                continue;
            }
            let seen = Seen::Sample {
                at: time(at_ms),
                series: series.meta.display_name(),
                value: sample.value,
                unit: series.meta.unit.clone(),
                gap: sample.flags & flags::GAP != 0,
                reset: sample.flags & flags::RESET != 0,
            };
            tap.push(seen);
        }
    }

    pub(super) fn tap_line(&mut self, now: MonoTime) {
        let Some((source, line)) = self.logs.last_line() else { return };
        let at_ms = self.clocks.wall_at(now).unix_ms();
        for tap in self.taps.open.iter_mut().filter(|tap| tap.follows_log(source)) {
            let Some((mined, new)) = self.logs.last_template() else { return };
            tap.push(Seen::Log {
                at: time(at_ms),
                source: source.to_owned(),
                template: format!("{:016x}", mined.id.0),
                text: mined.text.clone(),
                line: line.to_owned(),
                new,
            });
        }
    }

    /// What a detector has just said.
    pub(super) fn tap_verdicts(&mut self, now: MonoTime, at: usize) {
        let at_ms = self.clocks.wall_at(now).unix_ms();
        let judge = &self.judges[at];
        let (detector, of_metrics) = (&judge.slot.reference.name, judge.input().is_of_metrics());
        for tap in self.taps.open.iter_mut().filter(|tap| tap.follows_verdicts()) {
            for (slot, score, _) in judge.scored().filter(|(_, score, _)| score.is_finite()) {
                let name = match of_metrics {
                    true => self.registry.get(slot).map(|series| series.meta.display_name()),
                    false => self.logs.template(slot).map(|(_, _, template)| template.text),
                };
                let Some((series, track)) = name.zip(judge.track(slot)) else { continue };
                if tap.follows_verdict(detector, &series) {
                    let [surprise, evidence] = judge.said(track);
                    tap.push(Seen::Verdict {
                        at: time(at_ms),
                        detector: detector.clone(),
                        series,
                        score,
                        surprise,
                        evidence,
                    });
                }
            }
        }
    }

    /// The series that stand out most now, at most so many: the oddest, then the most surprising.
    pub fn oddest(&self, count: usize) -> Vec<OddSeries> {
        let mut ranked: Vec<_> = self
            .registry
            .iter()
            .map(|(slot, series)| {
                let surprises = self.judges.iter().filter(|judge| judge.input().is_of_metrics()).filter_map(|judge| {
                    let track = judge.track(slot)?;
                    let [surprise, evidence] = judge.said(track);
                    Some((surprise.max(evidence), judge.slot.reference.name.as_str()))
                });
                let (surprise, detector) = surprises.max_by(|a, b| a.0.total_cmp(&b.0)).unwrap_or((0.0, ""));
                // A sum of nothing is a negative zero.
                (self.oddness_of(slot) + 0.0, surprise, detector, series)
            })
            .collect();
        ranked.sort_by(|a, b| b.0.total_cmp(&a.0).then(b.1.total_cmp(&a.1)));
        let told = |(oddness, surprise, detector, series): (f32, f32, &str, &crate::registry::Series)| OddSeries {
            series: series.meta.display_name(),
            source: series.source.to_owned(),
            oddness,
            surprise,
            detector: detector.to_owned(),
            value: series.window.last(),
            unit: series.meta.unit.clone(),
        };
        ranked.into_iter().take(count).map(told).collect()
    }
}

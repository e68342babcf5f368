//! What a judge has learnt, over the agent's end: told before, and taken over series by series as they come back.

use super::{Judge, WARM_UP};
use crate::learnt::{AWAITED, Away, LearntDetector, LearntSeries, millis};
use std::collections::HashMap;
use std::time::Duration;
use vedette_protocol::ids::SeriesKey;
use vedette_protocol::time::MonoTime;
use vedette_protocol::worker::DetectorInput;

/// What waits for its series.
#[derive(Debug)]
pub(super) struct Recalled {
    /// Ages count from here.
    at: MonoTime,
    series: HashMap<SeriesKey, LearntSeries<'static>>,
}

impl Judge {
    /// What outlives the agent; `None` of a detector of log templates, and of one whose state may be why it failed.
    pub(crate) fn learnt(&self, now: MonoTime, leaning: impl Fn(u32) -> [f32; 2]) -> Option<LearntDetector<'_>> {
        if self.guilty || self.input() == DetectorInput::LogTemplates {
            return None;
        }
        let kin = |number: u32| self.wards[number as usize].kin();
        let of_metrics = self.ward_of.iter().flat_map(|(metric, number)| kin(*number).map(move |one| (metric, one)));
        let mut wards: Vec<(&String, u32)> = of_metrics.collect();
        wards.sort_unstable_by_key(|(_, number)| *number);
        let wards = wards.into_iter().map(|(metric, number)| self.wards[number as usize].learnt(now, metric));
        let tracks = (0u32..).zip(&self.tracks).filter_map(|(slot, track)| Some((slot, track.as_ref()?)));
        let tracks = tracks.filter(|(_, track)| !track.state.is_empty());
        let present = tracks.map(|(slot, track)| track.learnt(now, leaning(slot)));
        let awaited = self.recalled.iter().flat_map(|recalled| {
            let later = now.since(recalled.at);
            recalled.series.values().map(move |series| series.later(later))
        });
        Some(LearntDetector {
            reference: self.slot.reference.clone(),
            parameters: self.slot.description.parameters.clone(),
            warm_in_ms: millis(self.warm_in(now)),
            record: self.record.learnt(now),
            conformity: self.conformity.learnt(now),
            wards: wards.collect(),
            series: present.chain(awaited).collect(),
        })
    }

    /// Whether this very module, with these parameters, has learnt it.
    pub(crate) fn has_learnt(&self, learnt: &LearntDetector<'_>) -> bool {
        let bits = |parameters: &[(String, f64)]| -> Vec<(String, u64)> {
            parameters.iter().map(|(name, value)| (name.clone(), value.to_bits())).collect()
        };
        self.slot.reference == learnt.reference && bits(&self.slot.description.parameters) == bits(&learnt.parameters)
    }

    /// Takes over what this module learnt, with ages as of `at`.
    pub(crate) fn recall(&mut self, now: MonoTime, learnt: LearntDetector<'static>, at: MonoTime) {
        self.warm_at = now + Duration::from_millis(learnt.warm_in_ms);
        self.record.recall(now, learnt.record, now.since(at));
        self.conformity.recall(now, learnt.conformity, now.since(at));
        for ward in &learnt.wards {
            let number = self.ward_at(now, &ward.metric, ward.pace);
            self.wards[number as usize].recall(now, ward, now.since(at));
        }
        let series = learnt.series.into_iter().map(|series| (series.key, series)).collect();
        self.recalled = Some(Recalled { at, series });
    }

    /// Gives the series in `slot` what was learnt of it; how it leant, if anything was.
    pub(crate) fn welcome_back(&mut self, now: MonoTime, slot: u32) -> Option<[f32; 2]> {
        let recalled = self.recalled.as_mut()?;
        let track = self.tracks.get_mut(slot as usize)?.as_mut()?;
        let learnt = recalled.series.remove(&track.key)?;
        let leaning = learnt.leaning;
        track.recall(now, learnt, now.since(recalled.at));
        Some(leaning)
    }

    /// What was waited for long enough, in vain.
    pub(crate) fn take_not_back(&mut self, now: MonoTime) -> Vec<LearntSeries<'static>> {
        let late = self.recalled.take_if(|recalled| recalled.series.is_empty() || now.since(recalled.at) >= AWAITED);
        late.map(|recalled| recalled.series.into_values().collect()).unwrap_or_default()
    }
}

impl Away {
    /// How long scores are learnt before the first episode may open, where `left` of it was left: at least for as long as
    /// nobody looked, and from the begin after a boot, which is unlike what follows it.
    pub(crate) fn warm_up(self, left: Duration) -> Duration {
        match self {
            Self::Agent(time) => left.max(time).min(WARM_UP),
            Self::Host(_) => WARM_UP,
        }
    }
}

//! The bundled detectors as native scorers: the very code that runs as WebAssembly on a host.

use std::collections::BTreeMap;
use vedette_protocol::ids::SeriesKey;
use vedette_protocol::series::SeriesKind;
use vedette_protocol::worker::{
    DetectorDescription, DetectorInput, Explanation, SeriesDescriptor, SeriesState, WorkerReply, WorkerRequest,
};
use vedette_sdk::{Columns, Description, Detector, Input, Instance, Kind, Series};
use vedette_sim::Scorer;

/// One detector, configured by its defaults.
pub(crate) struct Native<D: Detector> {
    instance: Instance<D>,
    describe: Description,
    keys: BTreeMap<u64, SeriesKey>,
}

impl<D: Detector> std::fmt::Debug for Native<D> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Native").field("name", &self.describe.name).finish_non_exhaustive()
    }
}

impl<D: Detector> Native<D> {
    pub(crate) fn boxed() -> Box<Self> {
        let instance = Instance::new(&[]).expect("defaults are valid");
        Box::new(Self { instance, describe: D::describe(), keys: BTreeMap::new() })
    }

    /// Whether it takes the series.
    fn add(&mut self, descriptor: &SeriesDescriptor) -> bool {
        self.keys.insert(descriptor.key.0, descriptor.key);
        self.instance.add(descriptor.id, &series(descriptor), &descriptor.prior)
    }
}

impl<D: Detector> Scorer for Native<D> {
    fn description(&self) -> DetectorDescription {
        DetectorDescription {
            name: self.describe.name.to_owned(),
            version: self.describe.version.to_owned(),
            input: match self.describe.input {
                Input::Metrics => DetectorInput::Metrics,
                Input::LogTemplates => DetectorInput::LogTemplates,
                Input::Votes => DetectorInput::Votes,
                Input::Seasonal => DetectorInput::Seasonal,
                Input::Timeless => DetectorInput::Timeless,
            },
            warm_up_values: self.describe.warm_up_values,
            state_bytes_max: self.describe.state_bytes_max,
            look_ms: self.describe.look_ms,
            parameters: self.describe.parameters.iter().map(|spec| (spec.name.to_owned(), spec.default)).collect(),
        }
    }

    fn answer(&mut self, request: WorkerRequest) -> WorkerReply {
        match request {
            WorkerRequest::Load { detector, .. } => WorkerReply::Loaded { detector, description: self.description() },
            WorkerRequest::Seal => WorkerReply::Sealed { confinement: Vec::new() },
            WorkerRequest::SeriesAdded { detector, series } => {
                let declined = series.iter().filter(|descriptor| !self.add(descriptor));
                let declined = declined.map(|descriptor| (descriptor.id, descriptor.key)).collect();
                WorkerReply::Added { detector, declined }
            }
            WorkerRequest::SeriesRemoved { detector, ids } => {
                self.instance.remove(&ids);
                WorkerReply::Done { detector }
            }
            WorkerRequest::Observe { detector, tick, columns } => {
                let columns = Columns {
                    ids: &columns.ids,
                    dt_ms: &columns.dt_ms,
                    flags: &columns.flags,
                    values: &columns.values,
                };
                WorkerReply::Scores {
                    detector,
                    tick,
                    scores: self.instance.observe(columns),
                    guest_ns: 0,
                    memory_bytes: 0,
                }
            }
            WorkerRequest::Explain { detector, ids } => {
                let explanations = self.instance.explain(&ids).into_iter().map(|(id, why)| explanation(id, &why));
                WorkerReply::Explanations { detector, explanations: explanations.collect() }
            }
            WorkerRequest::Snapshot { detector, ids } => {
                let states = self.instance.snapshot(&ids).into_iter();
                let states = states.map(|(key, state)| SeriesState { key: self.keys[&key], state }).collect();
                WorkerReply::Snapshots { detector, states }
            }
            WorkerRequest::Restore { detector, ids, states } => {
                let states = ids.iter().copied().zip(states.iter().map(|state| state.state.as_slice()));
                self.instance.restore(states).expect("the pipeline restores what it got");
                WorkerReply::Done { detector }
            }
        }
    }
}

fn series(descriptor: &SeriesDescriptor) -> Series {
    let meta = &descriptor.meta;
    Series {
        key: descriptor.key.0,
        metric: meta.metric.as_str().into(),
        unit: meta.unit.as_str().into(),
        kind: match meta.kind {
            SeriesKind::Gauge => Kind::Gauge,
            SeriesKind::Rate => Kind::Rate,
            SeriesKind::Count => Kind::Count,
        },
        attributes: meta.attributes.clone(),
        interval_ms: descriptor.interval_ms,
        resolution: meta.resolution,
        lower: meta.lower,
        upper: meta.upper,
    }
}

fn explanation(id: u32, why: &vedette_sdk::Explanation) -> Explanation {
    Explanation {
        id,
        code: why.code,
        observed: why.observed,
        expected: why.expected,
        lower: why.lower,
        upper: why.upper,
        onset_ms_ago: why.onset_ms_ago,
        onset_uncertainty_ms: why.onset_uncertainty_ms,
    }
}

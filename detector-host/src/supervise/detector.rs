//! One detector's record: what it is, how it does, what it hands over at a switch.

use super::Running;
use super::shadow::{ScoreRecord, ScoreSummary};
use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::time::Duration;
use vedette_protocol::ids::{Digest, SeriesKey};
use vedette_protocol::time::MonoTime;
use vedette_protocol::v1::finding::DetectorRef;
use vedette_protocol::worker::{DetectorDescription, Fault, SeriesDescriptor, SeriesState, WorkerReply, WorkerRequest};

/// A detector that should run: a verified artifact and its configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Wanted {
    /// Name by its manifest.
    pub name: String,
    /// Version by its manifest.
    pub version: String,
    /// SHA-256 of the `.wasm`.
    pub digest: Digest,
    /// Verified bytes of the `.cwasm`.
    pub artifact: Arc<[u8]>,
    /// Parameters that differ from their defaults.
    pub parameters: Vec<(String, f64)>,
    /// Name of the detector beside which it runs without being judged by; `None` for one that counts.
    pub shadow_of: Option<String>,
}

impl Wanted {
    /// Whether it runs beside the detector of this name.
    pub(super) fn shadows(&self, name: &str) -> bool {
        self.shadow_of.as_deref() == Some(name)
    }

    /// Whether it may start from the states of `gone`: an earlier version of itself, or a shadow that now counts.
    pub(super) fn succeeds(&self, gone: &Self) -> bool {
        self.name == gone.name && (self.shadow_of == gone.shadow_of || self.is_module_of(gone))
    }

    fn is_module_of(&self, other: &Self) -> bool {
        self.digest == other.digest
    }
}

/// Where a detector stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DetectorState {
    /// About to be loaded, or being loaded.
    Loading,
    /// Answers.
    Running,
    /// Failed, demoted, and tried again later.
    BackingOff {
        /// When it is tried again.
        until: MonoTime,
    },
    /// Not tried again until its module or parameters change.
    Quarantined,
}

impl DetectorState {
    /// `loading`, `running`, `backing-off` or `quarantined`.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Loading => "loading",
            Self::Running => "running",
            Self::BackingOff { .. } => "backing-off",
            Self::Quarantined => "quarantined",
        }
    }
}

/// A detector's record for people.
#[derive(Clone, Debug, PartialEq)]
pub struct DetectorStatus {
    /// Number.
    pub detector: u32,
    /// Name by its manifest.
    pub name: String,
    /// Version by its manifest.
    pub version: String,
    /// SHA-256 of the `.wasm`.
    pub digest: Digest,
    /// Where it stands.
    pub state: DetectorState,
    /// Last failure: class and text.
    pub failure: Option<(Fault, String)>,
    /// Time from the begin of the call at which it failed last to its demotion.
    pub demoted_after: Option<Duration>,
    /// Failures that were not forgiven.
    pub strikes: u32,
    /// Ticks answered.
    pub calls: u64,
    /// Values scored.
    pub values: u64,
    /// Time inside the guest over those ticks.
    pub guest_ns: u64,
    /// Series that it is asked about: all that it was told of and did not decline.
    pub series: usize,
    /// Bytes of its series' states, by the mean of the snapshots seen.
    pub state_bytes: usize,
    /// Linear memory of the guest.
    pub memory_bytes: u64,
    /// Detector beside which it runs without being judged by.
    pub shadow_of: Option<String>,
    /// Its scores since the record began, for a shadow and for whom it follows.
    pub scores: Option<ScoreSummary>,
}

/// Why a detector is demoted.
#[derive(Clone, Debug)]
pub(super) struct Failure {
    pub(super) fault: Fault,
    pub(super) reason: String,
    /// Trying again cannot help or must not be risked.
    pub(super) hopeless: bool,
    demoted_after: Duration,
}

impl Failure {
    pub(super) fn new(fault: Fault, reason: &str) -> Self {
        let hopeless = matches!(fault, Fault::Refused | Fault::Misconfigured);
        Self { fault, reason: reason.to_owned(), hopeless, demoted_after: Duration::ZERO }
    }

    /// The failing request's turn came then.
    pub(super) fn asked_at(mut self, now: MonoTime, asked: MonoTime) -> Self {
        self.demoted_after = now.since(asked);
        self
    }
}

pub(super) struct Detector {
    pub(super) wanted: Wanted,
    /// No longer wanted; forgotten at the next switch.
    pub(super) dismissed: bool,
    pub(super) description: Option<DetectorDescription>,
    state: DetectorState,
    running_since: MonoTime,
    failure: Option<Failure>,
    strikes: u32,
    calls: u64,
    values: u64,
    guest_ns: u64,
    memory_bytes: u64,
    record: Option<ScoreRecord>,
    /// States seen in snapshots, and their bytes.
    states_seen: (usize, usize),
    /// Series it was told in the active worker.
    told: BTreeMap<u32, SeriesKey>,
    /// Last states from the worker before, until the series are told.
    inherited: HashMap<SeriesKey, Vec<u8>>,
}

impl Detector {
    pub(super) fn new(wanted: Wanted) -> Self {
        Self {
            wanted,
            dismissed: false,
            description: None,
            state: DetectorState::Loading,
            running_since: MonoTime::default(),
            failure: None,
            strikes: 0,
            calls: 0,
            values: 0,
            guest_ns: 0,
            memory_bytes: 0,
            record: None,
            states_seen: (0, 0),
            told: BTreeMap::new(),
            inherited: HashMap::new(),
        }
    }

    pub(super) fn eligible(&self) -> bool {
        !self.dismissed && matches!(self.state, DetectorState::Loading | DetectorState::Running)
    }

    pub(super) fn parole(&self) -> Option<MonoTime> {
        match self.state {
            DetectorState::BackingOff { until } if !self.dismissed => Some(until),
            _ => None,
        }
    }

    pub(super) fn handle_timeout(&mut self, now: MonoTime, forgiveness: Duration) {
        match self.state {
            DetectorState::BackingOff { until } if until <= now => self.state = DetectorState::Loading,
            DetectorState::Running if now.since(self.running_since) >= forgiveness => self.strikes = 0,
            _ => {}
        }
    }

    pub(super) fn run(&mut self, now: MonoTime) {
        if self.state != DetectorState::Running {
            self.state = DetectorState::Running;
            self.running_since = now;
        }
    }

    pub(super) fn strike(&mut self, now: MonoTime, failure: &Failure, paroles: &[Duration]) {
        let parole = usize::try_from(self.strikes).ok().and_then(|strikes| paroles.get(strikes));
        self.state = match parole {
            Some(pause) if !failure.hopeless => DetectorState::BackingOff { until: now + *pause },
            _ => DetectorState::Quarantined,
        };
        self.strikes += 1;
        self.failure = Some(failure.clone());
        self.inherited.clear();
    }

    /// What the pipeline is told of it: nothing of a shadow.
    pub(super) fn running(&self, number: u32) -> Option<Running> {
        if self.wanted.shadow_of.is_some() {
            return None;
        }
        let description = self.description.clone()?;
        let reference = DetectorRef {
            name: description.name.clone(),
            version: description.version.clone(),
            digest: self.wanted.digest,
        };
        Some(Running { detector: number, reference, description })
    }

    pub(super) fn note_request(&mut self, request: &WorkerRequest) {
        match request {
            WorkerRequest::SeriesAdded { series, .. } => self.told.extend(series.iter().map(|one| (one.id, one.key))),
            WorkerRequest::SeriesRemoved { ids, .. } => self.told.retain(|id, _| !ids.contains(id)),
            // All series that there were have been told by now.
            WorkerRequest::Observe { .. } if !self.inherited.is_empty() => self.inherited = HashMap::new(),
            _ => {}
        }
    }

    pub(super) fn note_reply(&mut self, reply: &WorkerReply) {
        match reply {
            WorkerReply::Added { declined, .. } => {
                // A number may be another series' by now.
                for (id, key) in declined {
                    if self.told.get(id) == Some(key) {
                        self.told.remove(id);
                    }
                }
            }
            WorkerReply::Scores { scores, guest_ns, memory_bytes, .. } => {
                self.calls += 1;
                self.values += scores.len() as u64;
                self.guest_ns += guest_ns;
                self.memory_bytes = *memory_bytes;
                if let Some(record) = &mut self.record {
                    record.count(scores);
                }
            }
            WorkerReply::Snapshots { states, .. } => {
                self.states_seen.0 += states.len();
                self.states_seen.1 += states.iter().map(|one| one.state.len()).sum::<usize>();
            }
            _ => {}
        }
    }

    /// Begins a record of scores, goes on with it, or drops it.
    pub(super) fn keep_record(&mut self, keep: bool) {
        if !keep {
            self.record = None;
        } else if self.record.is_none() {
            self.record = Some(ScoreRecord::new());
        }
    }

    /// Takes over last states from the worker before.
    pub(super) fn inherit(&mut self, states: Vec<SeriesState>) {
        self.inherited.extend(states.into_iter().map(|one| (one.key, one.state)));
    }

    /// Takes over last states of a detector that is no longer wanted; those of the very same module are the better ones.
    pub(super) fn inherit_from(&mut self, gone: &Wanted, states: &[SeriesState]) {
        for SeriesState { key, state } in states {
            if self.wanted.is_module_of(gone) || !self.inherited.contains_key(key) {
                self.inherited.insert(*key, state.clone());
            }
        }
    }

    /// The worker that knew the series is gone.
    pub(super) fn forget_series(&mut self) {
        self.told.clear();
    }

    /// What was inherited of `series`, as requests.
    pub(super) fn restore(&self, number: u32, series: &[SeriesDescriptor]) -> Vec<WorkerRequest> {
        let known = series.iter().filter_map(|one| {
            let state = self.inherited.get(&one.key)?.clone();
            Some((one.id, SeriesState { key: one.key, state }))
        });
        let (ids, states): (Vec<_>, Vec<_>) = known.unzip();
        let requests = ids.chunks(self.series_per_request()).zip(states.chunks(self.series_per_request()));
        let restore = |(ids, states): (&[u32], &[SeriesState])| WorkerRequest::Restore {
            detector: number,
            ids: ids.to_vec(),
            states: states.to_vec(),
        };
        requests.map(restore).collect()
    }

    fn series_per_request(&self) -> usize {
        self.description.as_ref().map_or(1, DetectorDescription::series_per_request)
    }

    /// Takes states out of the pipeline's restore for which fresher ones were inherited; `None` if nothing is left.
    pub(super) fn without_stale_states(&self, request: WorkerRequest) -> Option<WorkerRequest> {
        let WorkerRequest::Restore { detector, ids, states } = request else { return Some(request) };
        let stale = |state: &SeriesState| self.inherited.contains_key(&state.key);
        let (ids, states): (Vec<_>, Vec<_>) = ids.into_iter().zip(states).filter(|(_, state)| !stale(state)).unzip();
        (!ids.is_empty()).then_some(WorkerRequest::Restore { detector, ids, states })
    }

    pub(super) fn snapshot_all(&self, number: u32) -> Vec<WorkerRequest> {
        let ids: Vec<u32> = self.told.keys().copied().collect();
        let requests = ids.chunks(self.series_per_request());
        requests.map(|ids| WorkerRequest::Snapshot { detector: number, ids: ids.to_vec() }).collect()
    }

    pub(super) fn status(&self, number: u32) -> DetectorStatus {
        DetectorStatus {
            detector: number,
            name: self.wanted.name.clone(),
            version: self.wanted.version.clone(),
            digest: self.wanted.digest,
            state: self.state,
            failure: self.failure.as_ref().map(|failure| (failure.fault, failure.reason.clone())),
            demoted_after: self.failure.as_ref().map(|failure| failure.demoted_after),
            strikes: self.strikes,
            calls: self.calls,
            values: self.values,
            guest_ns: self.guest_ns,
            series: self.told.len(),
            state_bytes: self.told.len() * self.states_seen.1 / self.states_seen.0.max(1),
            memory_bytes: self.memory_bytes,
            shadow_of: self.wanted.shadow_of.clone(),
            scores: self.record.as_ref().map(ScoreRecord::summary),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use vedette_protocol::series::{SeriesKind, SeriesMeta};
    use vedette_protocol::worker::DetectorInput;

    #[test]
    fn large_states_are_handed_over_few_at_a_time() {
        let (name, version) = (String::new(), String::new());
        let artifact: Arc<[u8]> = Arc::from(&b""[..]);
        let (parameters, shadow_of, digest) = (Vec::new(), None, Digest([1; 32]));
        let mut detector = Detector::new(Wanted {
            name: name.clone(),
            version: version.clone(),
            digest,
            artifact,
            parameters: parameters.clone(),
            shadow_of,
        });
        let (input, warm_up_values, state_bytes_max, look_ms) = (DetectorInput::Metrics, 0, 64 << 10, 0);
        detector.description =
            Some(DetectorDescription { name, version, input, warm_up_values, state_bytes_max, look_ms, parameters });
        let meta = SeriesMeta {
            metric: "system.cpu.utilization".into(),
            unit: "1".into(),
            kind: SeriesKind::Gauge,
            attributes: Vec::new(),
            resolution: 0.0,
            lower: 0.0,
            upper: 1.0,
        };
        let one = |id: u32| SeriesDescriptor {
            id,
            key: SeriesKey(u64::from(id)),
            meta: meta.clone(),
            interval_ms: 1_000,
            prior: Vec::new(),
        };
        let series: Vec<_> = (0..20).map(one).collect();
        detector.inherit(series.iter().map(|one| SeriesState { key: one.key, state: vec![0; 64 << 10] }).collect());
        let restored = detector.restore(3, &series).into_iter().map(|request| match request {
            WorkerRequest::Restore { detector: 3, ids, states } if ids.len() == states.len() => ids,
            other => panic!("{other:?}"),
        });
        let restored: Vec<_> = restored.collect();
        detector.note_request(&WorkerRequest::SeriesAdded { detector: 3, series });
        let asked = detector.snapshot_all(3).into_iter().map(|request| match request {
            WorkerRequest::Snapshot { detector: 3, ids } => ids,
            other => panic!("{other:?}"),
        });
        assert_eq!(restored.iter().map(Vec::len).collect::<Vec<_>>(), [8, 8, 4]);
        assert_eq!(asked.collect::<Vec<_>>(), restored);
    }
}

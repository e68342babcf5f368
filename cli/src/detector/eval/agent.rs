//! An agent in virtual time: `edge`'s pipeline with the detectors in the real host, its actions carried out at once.

use super::detectors::{Detectors, OpenWorker};
use anyhow::bail;
use std::collections::VecDeque;
use std::time::Duration;
use vedette_edge::pipeline::{Action, DetectorSlot, Pipeline, PipelineConfig};
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::{Body, Class, EpisodeEvent, Finding, Subject};
use vedette_protocol::worker::{
    Columns, DetectorDescription, SeriesDescriptor, SeriesState, WorkerReply, WorkerRequest,
};

/// When an agent starts, by its own clock.
pub(crate) const START: MonoTime = MonoTime { ns: 1_000_000_000 };

/// Hears what an agent does.
pub(crate) trait Tap {
    /// Detectors are told of these series.
    fn series(&mut self, _series: &[SeriesDescriptor]) {}

    /// A detector answered a question; the pipeline does not know it yet.
    fn scores(&mut self, detector: u32, asked: &Columns, scores: &[f32], guest_ns: u64);

    /// What a detector remembers of some series.
    fn states(&mut self, _detector: u32, _states: &[SeriesState]) {}

    /// Something goes into the spool.
    fn enqueued(&mut self, class: Class, body: Body);
}

/// Hears nothing but what detectors remember.
struct Remembered<'a>(&'a Detectors);

impl Tap for Remembered<'_> {
    fn scores(&mut self, _detector: u32, _asked: &Columns, _scores: &[f32], _guest_ns: u64) {}

    fn states(&mut self, detector: u32, states: &[SeriesState]) {
        self.0.book_states(detector, states);
    }

    fn enqueued(&mut self, _class: Class, _body: Body) {}
}

/// See the module's documentation.
pub(crate) struct Agent<'a> {
    detectors: &'a Detectors,
    /// The pipeline; readings go straight into it.
    pub(crate) pipeline: Pipeline,
    worker: OpenWorker,
    /// Those that are loaded and not begun with.
    slots: Vec<DetectorSlot>,
    now: MonoTime,
    requests: VecDeque<WorkerRequest>,
}

impl<'a> Agent<'a> {
    /// Starts at [`START`].
    ///
    /// # Errors
    ///
    /// If a detector cannot be loaded.
    pub(crate) fn start(
        detectors: &'a Detectors,
        config: PipelineConfig,
        wall: WallTime,
        tap: &mut impl Tap,
    ) -> anyhow::Result<Self> {
        Self::start_as(detectors, config, wall, tap, |_| ())
    }

    /// The same with what another host's has just learnt as a prior.
    ///
    /// # Errors
    ///
    /// If a detector cannot be loaded.
    pub(crate) fn start_after(
        peer: &Agent<'a>,
        config: PipelineConfig,
        wall: WallTime,
        tap: &mut impl Tap,
    ) -> anyhow::Result<Self> {
        let prior = peer.pipeline.learnt(peer.now);
        let mut agent = Self::load(peer.detectors, config, wall, |_| ())?;
        agent.pipeline.handle_prior(START, &prior, Duration::ZERO);
        agent.begin(tap)
    }

    /// The same with detectors that are described otherwise.
    ///
    /// # Errors
    ///
    /// If a detector cannot be loaded.
    pub(crate) fn start_as(
        detectors: &'a Detectors,
        config: PipelineConfig,
        wall: WallTime,
        tap: &mut impl Tap,
        describe: impl Fn(&mut DetectorDescription),
    ) -> anyhow::Result<Self> {
        Self::load(detectors, config, wall, describe)?.begin(tap)
    }

    fn load(
        detectors: &'a Detectors,
        config: PipelineConfig,
        wall: WallTime,
        describe: impl Fn(&mut DetectorDescription),
    ) -> anyhow::Result<Self> {
        let (worker, mut slots) = detectors.start()?;
        slots.iter_mut().for_each(|slot| describe(&mut slot.description));
        let pipeline = Pipeline::new(config, START, wall);
        Ok(Self { detectors, pipeline, worker, slots, now: START, requests: VecDeque::new() })
    }

    fn begin(mut self, tap: &mut impl Tap) -> anyhow::Result<Self> {
        let slots = std::mem::take(&mut self.slots);
        self.pipeline.set_detectors(START, slots);
        self.settle(tap)?;
        Ok(self)
    }

    /// Time of the last tick.
    pub(crate) fn now(&self) -> MonoTime {
        self.now
    }

    /// All readings that are due by `now` were handed in.
    ///
    /// # Errors
    ///
    /// If a detector failed: scores without it would be those of another set.
    pub(crate) fn tick(&mut self, now: MonoTime, wall: WallTime, tap: &mut impl Tap) -> anyhow::Result<()> {
        self.now = now;
        self.pipeline.handle_tick(now, wall);
        self.settle(tap)
    }

    /// Books what detectors remember of each series now.
    ///
    /// # Errors
    ///
    /// If a detector failed.
    pub(crate) fn book_states(&mut self) -> anyhow::Result<()> {
        self.pipeline.fetch_states();
        self.settle(&mut Remembered(self.detectors))
    }

    /// Carries actions out until there are none. At which interval a source is read is up to the data.
    fn settle(&mut self, tap: &mut impl Tap) -> anyhow::Result<()> {
        loop {
            while let Some(action) = self.pipeline.poll_action() {
                match action {
                    Action::Ask(request) => self.requests.push_back(request),
                    Action::Enqueue { class, body, .. } => tap.enqueued(class, body),
                    // No recorder, no directives.
                    Action::SetInterval { .. } | Action::Search(_) | Action::Checkpointed => {}
                }
            }
            let Some(request) = self.requests.pop_front() else { return Ok(()) };
            self.answer(request, tap)?;
        }
    }

    fn answer(&mut self, request: WorkerRequest, tap: &mut impl Tap) -> anyhow::Result<()> {
        let mut asked = None;
        match &request {
            WorkerRequest::SeriesAdded { series, .. } => tap.series(series),
            WorkerRequest::Observe { columns, .. } => asked = Some(columns.clone()),
            _ => {}
        }
        let now = self.now;
        match self.worker.answer(request) {
            WorkerReply::Scores { detector, tick, scores, guest_ns, .. } => {
                let asked = asked.unwrap_or_default();
                self.detectors.book(detector, guest_ns, asked.ids.len());
                tap.scores(detector, &asked, &scores, guest_ns);
                self.pipeline.handle_scores(now, detector, tick, &scores);
                self.pipeline.recycle(asked);
            }
            WorkerReply::Explanations { detector, explanations } => {
                self.pipeline.handle_explanations(now, detector, explanations);
            }
            WorkerReply::Added { detector, declined } => self.pipeline.handle_declined(now, detector, &declined),
            WorkerReply::Snapshots { detector, states } => {
                tap.states(detector, &states);
                self.pipeline.handle_snapshots(now, detector, states);
            }
            WorkerReply::Failed { detector, reason, .. } => bail!("detector {detector} failed: {reason}"),
            WorkerReply::Done { .. } | WorkerReply::Loaded { .. } | WorkerReply::Sealed { .. } => {}
        }
        Ok(())
    }
}

/// Findings of a body that open an episode of what is watched: what detectors are told of themselves is none.
pub(crate) fn openings(body: &Body) -> impl Iterator<Item = &Finding> {
    let findings = if let Body::Findings(findings) = body { findings.as_slice() } else { &[] };
    findings.iter().filter(|finding| finding.event == EpisodeEvent::Open && !is_of_a_detector(&finding.subject))
}

fn is_of_a_detector(subject: &Subject) -> bool {
    matches!(subject, Subject::Series(meta) if meta.metric.starts_with("vedette."))
}

//! A whole agent without its shells: a simulated host, `edge`'s pipeline and native scorers, in virtual time.

use crate::clock::Clock;
use crate::host::{Host, HostSink};
use crate::scorer::{LevelScorer, Scorer};
use crate::truth::Judgement;
use std::collections::VecDeque;
use std::time::Duration;
use vedette_edge::metric::MetricSpec;
use vedette_edge::pipeline::{Action, DetectorSlot, Pipeline, PipelineConfig};
use vedette_protocol::ids::{Digest, HostId};
use vedette_protocol::policy::Policy;
use vedette_protocol::time::MonoTime;
use vedette_protocol::v1::{Body, Class, Cursor, DetectorRef, EpisodeEvent, Finding, Subject};
use vedette_protocol::worker::{WorkerReply, WorkerRequest};

const TICK: Duration = Duration::from_secs(1);

/// What the pipeline put into the spool.
#[derive(Clone, Debug, PartialEq)]
pub struct Sent {
    /// When, since the start of the simulation.
    pub at: Duration,
    /// Rank.
    pub class: Class,
    /// Content.
    pub body: Body,
    /// Positions of sources that go with it.
    pub cursors: Vec<Cursor>,
}

/// Drives a pipeline over a simulated host, tick by tick.
///
/// ```
/// use std::time::Duration;
/// use vedette_sim::{Host, Rig, Seed};
///
/// let mut rig = Rig::new(Host::typical(Seed(1)));
/// rig.run(Duration::from_secs(90));
/// assert!(rig.pipeline().ledger().readings > 1_000);
/// ```
#[derive(Debug)]
pub struct Rig {
    clock: Clock,
    host: Host,
    pipeline: Pipeline,
    scorers: Vec<Box<dyn Scorer>>,
    requests: VecDeque<WorkerRequest>,
    sent: Vec<Sent>,
}

impl Rig {
    /// With the default policy, one scorer for metrics and one for log templates.
    pub fn new(host: Host) -> Self {
        let config = PipelineConfig {
            host: HostId([0x51; 16]),
            policy: Policy::default(),
            series_max: 4_000,
            templates_max: 1_000,
            sources: host.sources(),
        };
        Self::with(config, host, Self::scorers())
    }

    /// The scorers of [`Rig::new`], as a new worker would load them.
    pub fn scorers() -> Vec<Box<dyn Scorer>> {
        vec![Box::new(LevelScorer::metrics()), Box::new(LevelScorer::log_templates())]
    }

    /// With a configuration and scorers of one's own.
    pub fn with(config: PipelineConfig, host: Host, scorers: Vec<Box<dyn Scorer>>) -> Self {
        let clock = Clock::new();
        let pipeline = Pipeline::new(config, clock.mono(), clock.wall());
        let mut rig = Self { clock, host, pipeline, scorers, requests: VecDeque::new(), sent: Vec::new() };
        rig.load_detectors();
        rig
    }

    /// Lets virtual time pass, in ticks of one second.
    pub fn run(&mut self, duration: Duration) {
        for _ in 0..duration.as_secs() {
            self.tick();
        }
    }

    /// Lets the pipeline ship what its windows hold, as at a shutdown.
    pub fn drain(&mut self) {
        let now = self.clock.mono();
        self.pipeline.handle_drain(now);
        self.settle(now);
    }

    /// Takes the worker away: its detectors' requests are not answered until [`Rig::restore_worker`].
    pub fn lose_worker(&mut self) {
        let now = self.clock.mono();
        self.pipeline.handle_worker_gone(now);
        self.scorers.clear();
        self.settle(now);
    }

    /// Starts another worker, whose scorers know nothing: the pipeline has to restore them.
    pub fn restore_worker(&mut self, scorers: Vec<Box<dyn Scorer>>) {
        self.scorers = scorers;
        self.load_detectors();
    }

    /// The host's clocks; stepping the wall clock is seen by the pipeline at the next tick.
    pub fn clock_mut(&mut self) -> &mut Clock {
        &mut self.clock
    }

    /// Time since the start of the simulation.
    pub fn elapsed(&self) -> Duration {
        self.clock.elapsed()
    }

    /// The simulated host.
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The pipeline.
    pub fn pipeline(&self) -> &Pipeline {
        &self.pipeline
    }

    /// The pipeline, to hand in what a host does not: changes, policies, directives.
    pub fn pipeline_mut(&mut self) -> &mut Pipeline {
        &mut self.pipeline
    }

    /// Everything that was sent so far, in order.
    pub fn sent(&self) -> &[Sent] {
        &self.sent
    }

    /// Takes what was sent so far, so that a run of many days need not keep it.
    pub fn take_sent(&mut self) -> Vec<Sent> {
        std::mem::take(&mut self.sent)
    }

    /// Findings that were sent so far and not taken, with their time since the start.
    pub fn findings(&self) -> impl Iterator<Item = (Duration, &Finding)> {
        self.sent.iter().flat_map(|sent| {
            let findings = if let Body::Findings(findings) = &sent.body { findings.as_slice() } else { &[] };
            findings.iter().map(|finding| (sent.at, finding))
        })
    }

    /// Holds the episodes that were opened so far against what was injected; see [`crate::Truth::judge`].
    pub fn judge(&self, grace: Duration) -> Judgement {
        let openings: Vec<(String, Duration)> = self
            .findings()
            .filter(|(_, finding)| finding.event == EpisodeEvent::Open)
            .map(|(at, finding)| (self.subject(finding), at))
            .collect();
        self.host.truth().judge(openings.iter().map(|(subject, at)| (subject.as_str(), *at)), grace)
    }

    /// A finding's subject in the words of the truth.
    fn subject(&self, finding: &Finding) -> String {
        match &finding.subject {
            Subject::Series(meta) => meta.display_name(),
            Subject::LogTemplate { exemplar, text, .. } => {
                let mut templates = self.host.logs().iter().flat_map(|log| log.templates());
                templates.find(|template| template.covers(exemplar)).map_or(text, |template| &template.text).clone()
            }
        }
    }

    fn tick(&mut self) {
        self.clock.advance(TICK);
        let now = self.clock.mono();
        if self.pipeline.poll_timeout().is_some_and(|due| due <= now) {
            self.pipeline.handle_timeout(now);
        }
        self.host.tick(self.clock.elapsed(), &mut Feed { now, pipeline: &mut self.pipeline });
        self.pipeline.handle_tick(now, self.clock.wall());
        self.settle(now);
    }

    /// Carries actions out until there are none.
    fn settle(&mut self, now: MonoTime) {
        loop {
            while let Some(action) = self.pipeline.poll_action() {
                self.carry_out(now, action);
            }
            let Some(request) = self.requests.pop_front() else { return };
            self.answer(now, request);
        }
    }

    fn carry_out(&mut self, now: MonoTime, action: Action) {
        match action {
            Action::Ask(request) => self.requests.push_back(request),
            Action::Enqueue { class, body, cursors } => {
                self.sent.push(Sent { at: self.clock.elapsed(), class, body, cursors });
            }
            Action::SetInterval { source, interval_ms } => self.host.set_interval(&source, interval_ms),
            Action::Search(search) => self.pipeline.handle_found(now, &search.run()),
            Action::Checkpointed => {}
        }
    }

    fn answer(&mut self, now: MonoTime, request: WorkerRequest) {
        let Some(scorer) = detector_of(&request).and_then(|number| self.scorers.get_mut(number as usize)) else {
            return;
        };
        match scorer.answer(request) {
            WorkerReply::Scores { detector, tick, scores, .. } => {
                self.pipeline.handle_scores(now, detector, tick, &scores);
            }
            WorkerReply::Explanations { detector, explanations } => {
                self.pipeline.handle_explanations(now, detector, explanations);
            }
            WorkerReply::Added { detector, declined } => self.pipeline.handle_declined(now, detector, &declined),
            WorkerReply::Snapshots { detector, states } => self.pipeline.handle_snapshots(now, detector, states),
            WorkerReply::Failed { detector, .. } => self.pipeline.handle_detector_failed(now, detector),
            WorkerReply::Done { .. } | WorkerReply::Loaded { .. } | WorkerReply::Sealed { .. } => {}
        }
    }

    fn slots(&self) -> Vec<DetectorSlot> {
        let slot = |(detector, scorer): (u32, &dyn Scorer)| {
            let description = scorer.description();
            let reference = DetectorRef {
                name: description.name.clone(),
                version: description.version.clone(),
                digest: Digest::of(description.name.as_bytes()),
            };
            DetectorSlot { detector, reference, description }
        };
        (0..).zip(self.scorers.iter().map(AsRef::as_ref)).map(slot).collect()
    }

    fn load_detectors(&mut self) {
        let now = self.clock.mono();
        let slots = self.slots();
        self.pipeline.set_detectors(now, slots);
        self.settle(now);
    }
}

/// Hands what a host reads to the pipeline.
struct Feed<'a> {
    now: MonoTime,
    pipeline: &'a mut Pipeline,
}

impl HostSink for Feed<'_> {
    fn reading(
        &mut self,
        source: &'static str,
        interval_ms: u32,
        metric: &'static MetricSpec,
        attributes: &[(&str, &str)],
        value: f64,
    ) {
        self.pipeline.handle_reading(self.now, source, interval_ms, metric, attributes, value);
    }

    fn log_line(&mut self, path: &str, service: &str, line: &[u8]) {
        self.pipeline.handle_log_line(self.now, path, service, line);
    }

    fn admits(&mut self, source: &'static str) -> bool {
        self.pipeline.admit(self.now, source)
    }
}

/// The detector that a request is for.
fn detector_of(request: &WorkerRequest) -> Option<u32> {
    match request {
        WorkerRequest::Seal => None,
        WorkerRequest::Load { detector, .. }
        | WorkerRequest::SeriesAdded { detector, .. }
        | WorkerRequest::SeriesRemoved { detector, .. }
        | WorkerRequest::Observe { detector, .. }
        | WorkerRequest::Explain { detector, .. }
        | WorkerRequest::Snapshot { detector, .. }
        | WorkerRequest::Restore { detector, .. } => Some(*detector),
    }
}

//! A host in virtual time: `edge`'s pipeline as the agent runs it, detectors in the real host, values from a file.

use super::detectors::{Detectors, OpenWorker};
use super::evidence;
use anyhow::{bail, ensure};
use std::collections::VecDeque;
use std::sync::OnceLock;
use std::time::Duration;
use vedette_edge::metric::{MetricKind, MetricSpec};
use vedette_edge::pipeline::{Action, Pipeline, PipelineConfig};
use vedette_protocol::ids::HostId;
use vedette_protocol::policy::Policy;
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::{Body, EpisodeEvent, Finding, Subject};
use vedette_protocol::worker::{SeriesDescriptor, WorkerReply, WorkerRequest};

/// Most series of one host.
pub(crate) const COLUMNS_MAX: usize = 512;
/// The agent's tick.
const TICK: Duration = Duration::from_secs(1);
/// Ticks between two rows that are run; after a longer gap the host was asleep.
const TICKS_MAX: u64 = 7_200;
const SOURCE: &str = "series";

/// What nothing is known of: no unit, no bounds, no grid. Every series is a metric of its own, since nobody said that
/// two of them are alike.
fn spec(column: usize) -> &'static MetricSpec {
    static SPECS: OnceLock<Vec<MetricSpec>> = OnceLock::new();
    let make = |column: usize| MetricSpec {
        name: format!("series.c{column}").leak(),
        unit: "",
        kind: MetricKind::Gauge,
        resolution: 0.0,
        lower: f64::NAN,
        upper: f64::NAN,
        doc: "a series of a public data set",
    };
    &SPECS.get_or_init(|| (0..COLUMNS_MAX).map(make).collect())[column]
}

/// One verdict on one row.
#[derive(Clone, Debug, Default, PartialEq)]
pub(crate) struct Verdict {
    /// How odd the host is, and what is new about it: `edge`'s own figures where a detector votes, else both are what
    /// counts of the row's rarest verdict.
    pub(crate) oddness: f64,
    pub(crate) news: f64,
    /// Each series' share of the oddness, or the most surprising verdict on it.
    pub(crate) shares: Vec<f32>,
    /// Series on which an episode opened.
    pub(crate) opened: Vec<usize>,
}

impl Verdict {
    /// The row's score in [0, 1) where a departure counts as long as it lasts.
    pub(crate) fn state(&self) -> f64 {
        evidence::score(self.oddness)
    }

    /// The row's score in [0, 1) where a departure counts when it begins or grows.
    pub(crate) fn onset(&self) -> f64 {
        evidence::score(self.news)
    }
}

/// A pipeline with its detectors.
pub(crate) struct Host<'a> {
    detectors: &'a Detectors,
    pipeline: Pipeline,
    worker: OpenWorker,
    interval_ms: u32,
    /// Last row's time in the file, and the monotonic time it was taken for.
    row_ms: Option<i64>,
    now: MonoTime,
    ticked: MonoTime,
    wall_offset_ns: i64,
    requests: VecDeque<WorkerRequest>,
    /// Series by the pipeline's slot.
    column_of: Vec<Option<usize>>,
    verdict: Verdict,
    /// Detector and slot of this row's verdicts.
    judged: Vec<(u32, u32)>,
    /// Verdicts and votes on all rows.
    verdicts: u64,
    failed: Option<String>,
}

impl<'a> Host<'a> {
    /// A host that has just started, whose series are read each `interval_ms`.
    ///
    /// # Errors
    ///
    /// If there are too many series, or a detector cannot be loaded.
    pub(crate) fn new(detectors: &'a Detectors, interval_ms: u32, columns: usize) -> anyhow::Result<Self> {
        ensure!((1..=COLUMNS_MAX).contains(&columns), "{columns} series; 1 to {COLUMNS_MAX} are read");
        let (worker, slots) = detectors.start()?;
        let now = MonoTime::from_ms(1_000);
        let config = PipelineConfig {
            host: HostId([0xE7; 16]),
            policy: Policy::default(),
            series_max: 2 * columns + 2,
            templates_max: 1,
            sources: vec![(SOURCE.to_owned(), interval_ms)],
        };
        let mut host = Self {
            detectors,
            pipeline: Pipeline::new(config, now, WallTime::default()),
            worker,
            interval_ms,
            row_ms: None,
            now,
            ticked: now,
            wall_offset_ns: 0,
            requests: VecDeque::new(),
            column_of: Vec::new(),
            verdict: Verdict { shares: vec![0.0; columns], ..Verdict::default() },
            judged: Vec::new(),
            verdicts: 0,
            failed: None,
        };
        host.pipeline.set_detectors(now, slots);
        host.settle()?;
        Ok(host)
    }

    /// Takes the row of this time, one value for each series; NaN where there is none. The verdict is known before the
    /// next row is.
    ///
    /// Time that does not advance is a clock that was set back: the row counts as one interval after the last.
    ///
    /// # Errors
    ///
    /// If a detector failed: scores without it would be those of another set.
    pub(crate) fn row(&mut self, time_ms: i64, values: &[f64]) -> anyhow::Result<&Verdict> {
        let interval_ms = i64::from(self.interval_ms.max(1));
        let elapsed_ms = self.row_ms.map_or(interval_ms, |last| time_ms.saturating_sub(last));
        let elapsed_ms =
            u64::try_from(elapsed_ms).ok().filter(|ms| *ms > 0).unwrap_or(u64::from(self.interval_ms.max(1)));
        self.row_ms = Some(time_ms);
        self.wait(Duration::from_millis(elapsed_ms))?;
        let wall_ns = time_ms.saturating_mul(1_000_000);
        self.wall_offset_ns = wall_ns.saturating_sub(i64::try_from(self.now.ns).unwrap_or(i64::MAX));
        self.verdict.opened.clear();
        self.judged.clear();
        for (column, value) in values.iter().enumerate() {
            self.pipeline.handle_reading(self.now, SOURCE, self.interval_ms, spec(column), &[], *value);
        }
        self.tick()?;
        if self.detectors.votes() {
            self.weigh_votes();
        } else {
            self.weigh_verdicts();
        }
        Ok(&self.verdict)
    }

    fn weigh_votes(&mut self) {
        let (oddness, news) = (self.pipeline.oddness(), self.pipeline.news());
        (self.verdict.oddness, self.verdict.news) = (f64::from(oddness), f64::from(news));
        for (slot, column) in (0u32..).zip(&self.column_of) {
            if let Some(column) = column {
                self.verdict.shares[*column] = self.pipeline.oddness_of(slot);
            }
        }
    }

    /// The rarest of this row's verdicts counts.
    fn weigh_verdicts(&mut self) {
        self.verdict.shares.fill(0.0);
        for (detector, slot) in &self.judged {
            let Some(Some(column)) = self.column_of.get(*slot as usize) else { continue };
            let surprise = self.pipeline.surprise(*detector, *slot).unwrap_or(0.0);
            let most = &mut self.verdict.shares[*column];
            *most = most.max(surprise);
        }
        let most = self.verdict.shares.iter().copied().fold(0.0, f32::max);
        let amount = evidence::of_row(most, self.judged.len());
        (self.verdict.oddness, self.verdict.news) = (amount, amount);
    }

    /// Whether no detector said anything of any row: scores of 0 mean nothing then.
    pub(crate) fn is_mute(&self) -> bool {
        self.verdicts == 0
    }

    /// Lets time pass, with the ticks in which nothing is read.
    fn wait(&mut self, elapsed: Duration) -> anyhow::Result<()> {
        let due = self.now + elapsed;
        if elapsed.as_secs() <= TICKS_MAX {
            while self.ticked + TICK < due {
                self.now = self.ticked + TICK;
                self.tick()?;
            }
        }
        self.now = due;
        Ok(())
    }

    fn tick(&mut self) -> anyhow::Result<()> {
        let wall_ns = i64::try_from(self.now.ns).unwrap_or(i64::MAX).saturating_add(self.wall_offset_ns);
        self.pipeline.handle_tick(self.now, WallTime { unix_ns: wall_ns });
        self.ticked = self.now;
        self.settle()
    }

    /// Carries actions out until there are none.
    fn settle(&mut self) -> anyhow::Result<()> {
        loop {
            while let Some(action) = self.pipeline.poll_action() {
                match action {
                    Action::Ask(request) => self.requests.push_back(request),
                    Action::Enqueue { body: Body::Findings(findings), .. } => self.note(&findings),
                    Action::Enqueue { .. } | Action::SetInterval { .. } => {}
                }
            }
            let Some(request) = self.requests.pop_front() else { break };
            self.answer(request);
        }
        match self.failed.take() {
            Some(reason) => bail!("{reason}"),
            None => Ok(()),
        }
    }

    fn note(&mut self, findings: &[Finding]) {
        for finding in findings.iter().filter(|finding| finding.event == EpisodeEvent::Open) {
            if let Subject::Series(meta) = &finding.subject {
                self.verdict.opened.extend(column(&meta.metric));
            }
        }
    }

    fn note_series(&mut self, series: &[SeriesDescriptor]) {
        for one in series {
            let at = one.id as usize;
            self.column_of.resize(self.column_of.len().max(at + 1), None);
            self.column_of[at] = column(&one.meta.metric);
        }
    }

    fn take_scores(&mut self, detector: u32, tick: u64, asked: &[u32], scores: &[f32]) {
        let judged = asked.iter().zip(scores).filter(|(_, score)| !score.is_nan());
        let before = self.judged.len();
        self.judged.extend(judged.map(|(slot, _)| (detector, *slot)));
        self.verdicts += (self.judged.len() - before) as u64;
        self.pipeline.handle_scores(self.now, detector, tick, scores);
    }

    fn answer(&mut self, request: WorkerRequest) {
        let mut asked = Vec::new();
        match &request {
            WorkerRequest::SeriesAdded { series, .. } => self.note_series(series),
            WorkerRequest::Observe { columns, .. } => asked.clone_from(&columns.ids),
            _ => {}
        }
        let now = self.now;
        match self.worker.answer(request) {
            WorkerReply::Scores { detector, tick, scores, guest_ns, .. } => {
                self.detectors.book(detector, guest_ns, asked.len());
                self.take_scores(detector, tick, &asked, &scores);
            }
            WorkerReply::Explanations { detector, explanations } => {
                self.pipeline.handle_explanations(now, detector, explanations);
            }
            WorkerReply::Snapshots { detector, states } => self.pipeline.handle_snapshots(now, detector, states),
            WorkerReply::Failed { detector, reason, .. } => {
                self.failed = Some(format!("detector {detector} failed: {reason}"));
            }
            WorkerReply::Done { .. } | WorkerReply::Loaded { .. } | WorkerReply::Sealed { .. } => {}
        }
    }
}

/// The series that a metric's name stands for.
fn column(metric: &str) -> Option<usize> {
    metric.strip_prefix("series.c")?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;
    use vedette_edge::pipeline::DetectorSlot;
    use vedette_protocol::ids::Digest;
    use vedette_protocol::v1::DetectorRef;
    use vedette_protocol::worker::{DetectorDescription, DetectorInput};

    #[test]
    fn every_series_is_a_metric_and_a_family_of_its_own() {
        let names: std::collections::BTreeSet<_> = (0..COLUMNS_MAX).map(|at| spec(at).name).collect();
        assert_eq!(names.len(), COLUMNS_MAX);
        for at in [0, 7, COLUMNS_MAX - 1] {
            assert_eq!(column(spec(at).name), Some(at));
            assert_eq!(vedette_edge::metric::family(spec(at).name), spec(at).name);
        }
    }

    #[test]
    fn time_of_a_host_goes_forward_whatever_the_file_says() {
        let detectors = Detectors::default();
        let mut host = Host::new(&detectors, 300_000, 2).unwrap();
        let mut elapsed_ms = |time_ms: i64, values: [f64; 2]| {
            let before = host.now;
            assert_eq!(host.row(time_ms, &values).unwrap().onset(), 0.0, "nobody judges");
            host.now.since(before).as_millis()
        };
        let start_ms = 1_400_000_000_000;
        assert_eq!(elapsed_ms(start_ms, [1.0, 2.0]), 300_000, "it started one interval before");
        assert_eq!(elapsed_ms(start_ms + 299_500, [1.0, f64::NAN]), 299_500);
        assert_eq!(elapsed_ms(start_ms - 3_600_000, [f64::INFINITY, 2.0]), 300_000, "set back by an hour");
        assert_eq!(elapsed_ms(start_ms - 3_300_000, [1.0, 2.0]), 300_000);
        assert_eq!(elapsed_ms(start_ms - 3_300_000, [1.0, 2.0]), 300_000, "the same time again");
        let week_ms = 7 * 86_400_000;
        assert_eq!(elapsed_ms(start_ms - 3_300_000 + week_ms, [1.0, 2.0]), 604_800_000, "asleep for a week");
        assert!(host.is_mute());
        assert!(host.pipeline.ledger().readings_out_of_order == 0 && host.pipeline.series_count().total == 2);
    }

    #[test]
    fn too_many_series_are_refused() {
        let detectors = Detectors::default();
        assert!(Host::new(&detectors, 1_000, COLUMNS_MAX + 1).is_err() && Host::new(&detectors, 1_000, 0).is_err());
    }

    #[test]
    fn where_nobody_votes_a_row_scores_by_its_rarest_verdict() {
        let (detectors, second) = (Detectors::default(), Duration::from_secs(1));
        let mut host = Host::new(&detectors, 1_000, 2).unwrap();
        let (name, version) = ("mine".to_owned(), "1".to_owned());
        let reference = DetectorRef { name: name.clone(), version: version.clone(), digest: Digest([1; 32]) };
        let (input, parameters) = (DetectorInput::Metrics, Vec::new());
        let description =
            DetectorDescription { name, version, input, warm_up_values: 10, state_bytes_max: 64, parameters };
        host.pipeline.set_detectors(host.now, vec![DetectorSlot { detector: 0, reference, description }]);
        let mut scores = Vec::new();
        for row in 0..2_000u16 {
            host.now = host.now + second;
            host.judged.clear();
            for column in 0..2 {
                host.pipeline.handle_reading(host.now, SOURCE, 1_000, spec(column), &[], f64::from(row % 7));
            }
            host.pipeline.handle_tick(host.now, WallTime::default());
            while let Some(action) = host.pipeline.poll_action() {
                match action {
                    Action::Ask(WorkerRequest::SeriesAdded { series, .. }) => host.note_series(&series),
                    Action::Ask(WorkerRequest::Observe { detector, tick, columns }) => {
                        let usual = f32::from(row * 31 % 17) / 17.0;
                        let is_odd = |slot: u32| row >= 1_990 && host.column_of[slot as usize] == Some(0);
                        let scores = columns.ids.iter().map(|slot| if is_odd(*slot) { 50.0 } else { usual });
                        let scores: Vec<f32> = scores.collect();
                        host.take_scores(detector, tick, &columns.ids, &scores);
                    }
                    _ => {}
                }
            }
            host.weigh_verdicts();
            scores.push(host.verdict.onset());
        }
        assert!(!host.is_mute());
        assert_eq!(host.verdict.state(), host.verdict.onset());
        let usual = scores[1_000..1_990].iter().copied().fold(0.0, f64::max);
        assert!(scores[1_999] > 0.2 && scores[1_999] > usual, "{} {usual}", scores[1_999]);
        assert!(host.verdict.shares[0] > host.verdict.shares[1], "{:?}", host.verdict.shares);
    }

    #[test]
    fn a_row_scores_by_what_is_odd_and_by_what_is_new() {
        let verdict = Verdict { oddness: 3.0, news: 1.0, ..Verdict::default() };
        assert_eq!((verdict.state(), verdict.onset()), (0.75, 0.5));
        assert_eq!((Verdict::default().state(), Verdict::default().onset()), (0.0, 0.0), "no verdict, no suspicion");
    }
}

//! A host in virtual time: `edge`'s pipeline as the agent runs it, detectors in the real host, values from a file.

use super::agent::{Agent, START, Tap, openings};
use super::detectors::Detectors;
use super::evidence;
use anyhow::ensure;
use std::sync::OnceLock;
use std::time::Duration;
use vedette_edge::metric::{MetricKind, MetricSpec};
use vedette_edge::pipeline::{Pipeline, PipelineConfig};
use vedette_protocol::ids::HostId;
use vedette_protocol::policy::Policy;
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::{Body, Class, Subject};
use vedette_protocol::worker::{Columns, SeriesDescriptor};

/// Most series of one host.
pub(crate) const COLUMNS_MAX: usize = 512;
/// The agent's tick.
const TICK: Duration = Duration::from_secs(1);
/// Ticks between two rows that are run; after a longer gap the host was asleep.
const TICKS_MAX: u64 = 7_200;
/// The source of every series.
pub(crate) const SOURCE: &str = "series";

/// What nothing is known of: no unit, no bounds, no grid. Every series is a metric of its own, since nobody said that
/// two of them are alike.
pub(crate) fn spec(column: usize) -> &'static MetricSpec {
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

/// An agent that is given the rows of a file.
pub(crate) struct Host<'a> {
    agent: Agent<'a>,
    votes: bool,
    interval_ms: u32,
    /// Last row's time in the file, and the monotonic time it was taken for.
    row_ms: Option<i64>,
    now: MonoTime,
    wall_offset_ns: i64,
    row: Row,
}

/// What is heard of a row.
#[derive(Default)]
struct Row {
    /// Series by the pipeline's slot.
    column_of: Vec<Option<usize>>,
    verdict: Verdict,
    /// Detector and slot of this row's verdicts.
    judged: Vec<(u32, u32)>,
    /// Verdicts and votes on all rows.
    verdicts: u64,
}

impl<'a> Host<'a> {
    /// A host that has just started, whose series are read each `interval_ms`.
    ///
    /// # Errors
    ///
    /// If there are too many series, or a detector cannot be loaded.
    pub(crate) fn new(detectors: &'a Detectors, interval_ms: u32, columns: usize) -> anyhow::Result<Self> {
        ensure!((1..=COLUMNS_MAX).contains(&columns), "{columns} series; 1 to {COLUMNS_MAX} are read");
        let mut row = Row { verdict: Verdict { shares: vec![0.0; columns], ..Verdict::default() }, ..Row::default() };
        let agent = Agent::start(detectors, config(interval_ms, columns), WallTime::default(), &mut row)?;
        let votes = detectors.votes();
        Ok(Self { agent, votes, interval_ms, row_ms: None, now: START, wall_offset_ns: 0, row })
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
        self.row.verdict.opened.clear();
        self.row.judged.clear();
        for (column, value) in values.iter().enumerate() {
            self.agent.pipeline.handle_reading(self.now, SOURCE, self.interval_ms, spec(column), &[], *value);
        }
        self.tick()?;
        if self.votes {
            self.row.weigh_votes(&self.agent.pipeline);
        } else {
            self.row.weigh_verdicts(&self.agent.pipeline);
        }
        Ok(&self.row.verdict)
    }

    /// Whether no detector said anything of any row: scores of 0 mean nothing then.
    pub(crate) fn is_mute(&self) -> bool {
        self.row.verdicts == 0
    }

    /// How often a detector was said to drift from its calibration.
    pub(crate) fn drifts(&self) -> u64 {
        self.agent.pipeline.ledger().drifts
    }

    /// The last row was taken: books what detectors remember.
    ///
    /// # Errors
    ///
    /// If a detector failed.
    pub(crate) fn end(&mut self) -> anyhow::Result<()> {
        self.agent.book_states()
    }

    /// Lets time pass, with the ticks in which nothing is read.
    fn wait(&mut self, elapsed: Duration) -> anyhow::Result<()> {
        let due = self.now + elapsed;
        if elapsed.as_secs() <= TICKS_MAX {
            while self.agent.now() + TICK < due {
                self.now = self.agent.now() + TICK;
                self.tick()?;
            }
        }
        self.now = due;
        Ok(())
    }

    fn tick(&mut self) -> anyhow::Result<()> {
        let wall_ns = i64::try_from(self.now.ns).unwrap_or(i64::MAX).saturating_add(self.wall_offset_ns);
        self.agent.tick(self.now, WallTime { unix_ns: wall_ns }, &mut self.row)
    }
}

/// A host whose series are read each `interval_ms` by one source.
pub(crate) fn config(interval_ms: u32, columns: usize) -> PipelineConfig {
    PipelineConfig {
        host: HostId([0xE7; 16]),
        policy: Policy::default(),
        series_max: 2 * columns + 2,
        templates_max: 1,
        sources: vec![(SOURCE.to_owned(), interval_ms)],
    }
}

impl Row {
    fn weigh_votes(&mut self, pipeline: &Pipeline) {
        let (oddness, news) = (pipeline.oddness(), pipeline.news());
        (self.verdict.oddness, self.verdict.news) = (f64::from(oddness), f64::from(news));
        for (slot, column) in (0u32..).zip(&self.column_of) {
            if let Some(column) = column {
                self.verdict.shares[*column] = pipeline.oddness_of(slot);
            }
        }
    }

    /// The rarest of this row's verdicts counts.
    fn weigh_verdicts(&mut self, pipeline: &Pipeline) {
        self.verdict.shares.fill(0.0);
        for (detector, slot) in &self.judged {
            let Some(Some(column)) = self.column_of.get(*slot as usize) else { continue };
            let surprise = pipeline.surprise(*detector, *slot).unwrap_or(0.0);
            let most = &mut self.verdict.shares[*column];
            *most = most.max(surprise);
        }
        let most = self.verdict.shares.iter().copied().fold(0.0, f32::max);
        let amount = evidence::of_row(most, self.judged.len());
        (self.verdict.oddness, self.verdict.news) = (amount, amount);
    }
}

impl Tap for Row {
    fn series(&mut self, series: &[SeriesDescriptor]) {
        for one in series {
            let at = one.id as usize;
            self.column_of.resize(self.column_of.len().max(at + 1), None);
            self.column_of[at] = column(&one.meta.metric);
        }
    }

    fn scores(&mut self, detector: u32, asked: &Columns, scores: &[f32], _guest_ns: u64) {
        let judged = asked.ids.iter().zip(scores).filter(|(_, score)| !score.is_nan());
        let before = self.judged.len();
        self.judged.extend(judged.map(|(slot, _)| (detector, *slot)));
        self.verdicts += (self.judged.len() - before) as u64;
    }

    fn enqueued(&mut self, _class: Class, body: Body) {
        for finding in openings(&body) {
            if let Subject::Series(meta) = &finding.subject {
                self.verdict.opened.extend(column(&meta.metric));
            }
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
    use vedette_edge::pipeline::{Action, DetectorSlot};
    use vedette_protocol::ids::Digest;
    use vedette_protocol::v1::DetectorRef;
    use vedette_protocol::worker::{DetectorDescription, DetectorInput, WorkerRequest};

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
        let pipeline = &host.agent.pipeline;
        assert!(pipeline.ledger().readings_out_of_order == 0 && pipeline.series_count().total == 2);
    }

    #[test]
    fn too_many_series_are_refused() {
        let detectors = Detectors::default();
        assert!(Host::new(&detectors, 1_000, COLUMNS_MAX + 1).is_err() && Host::new(&detectors, 1_000, 0).is_err());
    }

    #[test]
    fn where_nobody_votes_a_row_scores_by_its_rarest_verdict() {
        let (mut now, second) = (START, Duration::from_secs(1));
        let mut pipeline = Pipeline::new(config(1_000, 2), now, WallTime::default());
        let mut heard = Row { verdict: Verdict { shares: vec![0.0; 2], ..Verdict::default() }, ..Row::default() };
        let (name, version) = ("mine".to_owned(), "1".to_owned());
        let reference = DetectorRef { name: name.clone(), version: version.clone(), digest: Digest([1; 32]) };
        let (input, parameters) = (DetectorInput::Metrics, Vec::new());
        let description = DetectorDescription {
            name,
            version,
            input,
            warm_up_values: 10,
            state_bytes_max: 64,
            look_ms: 0,
            parameters,
        };
        pipeline.set_detectors(now, vec![DetectorSlot { detector: 0, reference, description }]);
        let mut scores = Vec::new();
        for row in 0..2_000u16 {
            now = now + second;
            heard.judged.clear();
            for column in 0..2 {
                pipeline.handle_reading(now, SOURCE, 1_000, spec(column), &[], f64::from(row % 7));
            }
            pipeline.handle_tick(now, WallTime::default());
            while let Some(action) = pipeline.poll_action() {
                match action {
                    Action::Ask(WorkerRequest::SeriesAdded { series, .. }) => heard.series(&series),
                    Action::Ask(WorkerRequest::Observe { detector, tick, columns }) => {
                        let usual = f32::from(row * 31 % 17) / 17.0;
                        let is_odd = |slot: u32| row >= 1_990 && heard.column_of[slot as usize] == Some(0);
                        let scores = columns.ids.iter().map(|slot| if is_odd(*slot) { 50.0 } else { usual });
                        let scores: Vec<f32> = scores.collect();
                        heard.scores(detector, &columns, &scores, 0);
                        pipeline.handle_scores(now, detector, tick, &scores);
                    }
                    _ => {}
                }
            }
            heard.weigh_verdicts(&pipeline);
            scores.push(heard.verdict.onset());
        }
        assert!(heard.verdicts > 0);
        assert_eq!(heard.verdict.state(), heard.verdict.onset());
        let usual = scores[1_000..1_990].iter().copied().fold(0.0, f64::max);
        assert!(scores[1_999] > 0.2 && scores[1_999] > usual, "{} {usual}", scores[1_999]);
        assert!(heard.verdict.shares[0] > heard.verdict.shares[1], "{:?}", heard.verdict.shares);
    }

    #[test]
    fn a_row_scores_by_what_is_odd_and_by_what_is_new() {
        let verdict = Verdict { oddness: 3.0, news: 1.0, ..Verdict::default() };
        assert_eq!((verdict.state(), verdict.onset()), (0.75, 0.5));
        assert_eq!((Verdict::default().state(), Verdict::default().onset()), (0.0, 0.0), "no verdict, no suspicion");
    }
}

//! A simulated host, played to an agent whose detectors are the modules that ship.

use super::agent::{Agent, START, Tap, openings};
use super::detectors::Detectors;
use std::time::Duration;
use vedette_edge::metric::MetricSpec;
use vedette_edge::pipeline::{Pipeline, PipelineConfig};
use vedette_protocol::ids::HostId;
use vedette_protocol::policy::Policy;
use vedette_protocol::time::MonoTime;
use vedette_protocol::v1::{Body, Class, Finding, Subject};
use vedette_protocol::worker::Columns;
use vedette_sim::{Host, HostSink};

const TICK: Duration = Duration::from_secs(1);

/// An episode that opened, since the host's start.
#[derive(Clone, Debug)]
pub(crate) struct Opened {
    pub(crate) at: Duration,
    pub(crate) series: String,
    pub(crate) finding: Finding,
}

/// What was heard of a host.
pub(crate) struct Played {
    /// Episodes about its series.
    pub(crate) opened: Vec<Opened>,
    /// Verdicts that would have opened one, but are usual at their time.
    pub(crate) excused: u64,
}

/// Plays a host to its end; of all readings only each `every`th is taken, by sources that are that much slower.
///
/// # Errors
///
/// If a detector fails.
pub(crate) fn play(detectors: &Detectors, mut host: Host, end: Duration, every: u32) -> anyhow::Result<Played> {
    let mut heard = Heard::default();
    let mut agent = Agent::start(detectors, config(&host, every), vedette_sim::START, &mut heard)?;
    run(&mut agent, &mut host, end, every, &mut heard)?;
    Ok(Played { opened: heard.opened, excused: agent.pipeline.ledger().excused })
}

/// The same of a host that is given what a peer of it has learnt by then.
///
/// # Errors
///
/// If a detector fails.
pub(crate) fn play_after(
    detectors: &Detectors,
    (mut peer, peer_end): (Host, Duration),
    mut host: Host,
    end: Duration,
) -> anyhow::Result<Played> {
    let (mut unheard, mut heard) = (Heard::default(), Heard::default());
    let mut older = Agent::start(detectors, config(&peer, 1), vedette_sim::START, &mut unheard)?;
    run(&mut older, &mut peer, peer_end, 1, &mut unheard)?;
    let mut agent = Agent::start_after(&older, config(&host, 1), vedette_sim::START, &mut heard)?;
    run(&mut agent, &mut host, end, 1, &mut heard)?;
    Ok(Played { opened: heard.opened, excused: agent.pipeline.ledger().excused })
}

fn config(host: &Host, every: u32) -> PipelineConfig {
    let slower = |(source, interval_ms): (String, u32)| (source, interval_ms * every);
    PipelineConfig {
        host: HostId([0xE8; 16]),
        policy: Policy::default(),
        series_max: 1_000,
        templates_max: 1,
        sources: host.sources().into_iter().map(slower).collect(),
    }
}

fn run(agent: &mut Agent<'_>, host: &mut Host, end: Duration, every: u32, heard: &mut Heard) -> anyhow::Result<()> {
    let (wall, mut elapsed) = (vedette_sim::START, Duration::ZERO);
    while elapsed < end {
        elapsed += TICK;
        heard.at = elapsed;
        let now = START + elapsed;
        host.tick(elapsed, &mut Feed { now, elapsed, every, pipeline: &mut agent.pipeline });
        let wall = wall.offset_by(i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX));
        agent.tick(now, wall, heard)?;
    }
    agent.book_states()
}

/// Hands what a host reads to the pipeline.
struct Feed<'a> {
    now: MonoTime,
    elapsed: Duration,
    every: u32,
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
        let interval_ms = interval_ms * self.every;
        if self.elapsed.as_millis().is_multiple_of(u128::from(interval_ms)) {
            self.pipeline.handle_reading(self.now, source, interval_ms, metric, attributes, value);
        }
    }

    fn log_line(&mut self, _path: &str, _service: &str, _line: &[u8]) {}
}

#[derive(Default)]
struct Heard {
    at: Duration,
    opened: Vec<Opened>,
}

impl Tap for Heard {
    fn scores(&mut self, _detector: u32, _asked: &Columns, _scores: &[f32], _guest_ns: u64) {}

    fn enqueued(&mut self, _class: Class, body: Body) {
        for finding in openings(&body) {
            let Subject::Series(meta) = &finding.subject else { continue };
            self.opened.push(Opened { at: self.at, series: meta.display_name(), finding: finding.clone() });
        }
    }
}

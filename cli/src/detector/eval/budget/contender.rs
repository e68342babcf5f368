//! Who competes: everything at full rate, every so-manieth reading of everything, and the planner, each with an agent of
//! its own that hears the same host.

use super::super::agent::{Agent, START};
use super::super::detectors::Detectors;
use super::super::events::GRACE_ROWS;
use super::prices::{self, Rate};
use super::subject::{Reading, Subject};
use super::tally::{Cost, Tally};
use std::time::Duration;
use vedette_edge::pipeline::PipelineConfig;
use vedette_protocol::ids::HostId;
use vedette_protocol::policy::Policy;
use vedette_protocol::time::WallTime;

/// Shares of the cost of everything at full rate that are tried, in per cent.
pub(super) const PERCENT: [u32; 4] = [50, 25, 10, 5];
/// The day on which a host starts: a Monday.
const BEGAN: WallTime = WallTime { unix_ns: 1_767_571_200_000_000_000 };

/// How detection and shipping are spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Contender {
    /// Every value to every detector, every window shipped.
    Full,
    /// The same of a host whose sources are read at so many times their interval, in windows so many times as long.
    Uniform {
        /// Times.
        every: u32,
    },
    /// Everything is read at full rate, the planner says what detectors look at and what is shipped.
    Planned {
        /// What that may cost, of everything at full rate.
        percent: u32,
    },
}

impl Contender {
    /// Those that need no budget; full rate first.
    pub(super) fn unplanned() -> Vec<Self> {
        let uniform = PERCENT.into_iter().map(|percent| Self::Uniform { every: 100 / percent });
        std::iter::once(Self::Full).chain(uniform).collect()
    }

    /// The others, which have to know what full rate costs.
    pub(super) fn planned() -> Vec<Self> {
        PERCENT.into_iter().map(|percent| Self::Planned { percent }).collect()
    }

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::Uniform { .. } => "uniform",
            Self::Planned { .. } => "planned",
        }
    }

    /// What it may cost, in per cent of everything at full rate.
    pub(super) fn percent(self) -> u32 {
        match self {
            Self::Full => 100,
            Self::Uniform { every } => 100 / every,
            Self::Planned { percent } => percent,
        }
    }

    /// One reading in so many is taken.
    fn every(self) -> u32 {
        match self {
            Self::Full | Self::Planned { .. } => 1,
            Self::Uniform { every } => every,
        }
    }
}

/// What a contender said of a host, and what that cost.
#[derive(Clone, Debug)]
pub(super) struct Trace {
    pub(super) contender: Contender,
    /// When episodes opened, in milliseconds since the host's start, in order.
    pub(super) opened_ms: Vec<u64>,
    /// When a feature first showed each event, likewise.
    pub(super) shown_ms: Vec<Option<u64>>,
    pub(super) cost: Cost,
}

/// A contender at work on one host.
pub(super) struct Run<'a> {
    contender: Contender,
    every: u64,
    /// What a reading costs before anything looks at it.
    reading_ns: f64,
    agent: Agent<'a>,
    tally: Tally,
}

impl<'a> Run<'a> {
    /// `rate` is what everything costs at full rate, which a planned contender's budget is a share of.
    ///
    /// # Errors
    ///
    /// If a detector cannot be loaded.
    pub(super) fn start(
        detectors: &'a Detectors,
        contender: Contender,
        subject: &dyn Subject,
        rate: Rate,
    ) -> anyhow::Result<Self> {
        let every = contender.every();
        let sources = subject.sources().into_iter().map(|(name, ms)| (name, ms.saturating_mul(every))).collect();
        let shortest_ms = subject.sources().iter().map(|(_, ms)| *ms).min().unwrap_or_default();
        let mut policy = Policy::default();
        policy.feature_window_ms = policy.feature_window_ms.saturating_mul(every);
        let config = PipelineConfig {
            host: HostId([0xE7; 16]),
            policy,
            series_max: 2 * subject.series() + 2,
            templates_max: 1,
            sources,
        };
        let patience_ms = GRACE_ROWS as u64 * subject.times().row_ms;
        let mut tally = Tally::new(detectors, subject.events(), patience_ms);
        let is_planned = matches!(contender, Contender::Planned { .. });
        let mut agent = Agent::start_as(detectors, config, BEGAN, &mut tally, |description| {
            // Every value to every detector, not each as often as it says that it is worth.
            description.look_ms = if is_planned { description.look_ms } else { 0 };
        })?;
        let mut reading_ns = 0.0;
        if let Contender::Planned { percent } = contender {
            reading_ns = prices::SCREEN_NS;
            agent.pipeline.set_prices(prices::of(detectors, rate, shortest_ms));
            agent.pipeline.set_budgets(START, rate.budgets(f64::from(percent) / 100.0));
        }
        Ok(Self { contender, every: u64::from(every), reading_ns, agent, tally })
    }

    /// Takes a reading, or leaves it out.
    pub(super) fn hear(&mut self, elapsed_ms: u64, reading: &Reading<'_>) {
        let interval_ms = u64::from(reading.interval_ms).saturating_mul(self.every);
        if !elapsed_ms.is_multiple_of(interval_ms) {
            return;
        }
        let interval_ms = u32::try_from(interval_ms).unwrap_or(u32::MAX);
        let Reading { source, metric, attributes, value, .. } = *reading;
        let now = START + Duration::from_millis(elapsed_ms);
        self.tally.cost.cpu_ns += self.reading_ns;
        self.agent.pipeline.handle_reading(now, source, interval_ms, metric, attributes, value);
    }

    /// All that is read at a tick was heard.
    ///
    /// # Errors
    ///
    /// If a detector failed.
    pub(super) fn tick(&mut self, elapsed_ms: u64) -> anyhow::Result<()> {
        self.tally.elapsed_ms = elapsed_ms;
        let (now, wall) = times(elapsed_ms);
        if matches!(self.contender, Contender::Planned { .. }) {
            self.agent.pipeline.handle_spent(now, self.tally.cost.spent());
        }
        self.agent.tick(now, wall, &mut self.tally)
    }

    /// Ends it.
    ///
    /// # Errors
    ///
    /// If a detector failed.
    pub(super) fn finish(mut self) -> anyhow::Result<Trace> {
        let (now, wall) = times(self.tally.elapsed_ms + 1);
        self.agent.pipeline.handle_drain(now);
        self.agent.tick(now, wall, &mut self.tally)?;
        let Tally { opened_ms, shown_ms, cost, .. } = self.tally;
        Ok(Trace { contender: self.contender, opened_ms, shown_ms, cost })
    }
}

fn times(elapsed_ms: u64) -> (vedette_protocol::time::MonoTime, WallTime) {
    let elapsed = Duration::from_millis(elapsed_ms);
    let elapsed_ns = i64::try_from(elapsed.as_nanos()).unwrap_or(i64::MAX);
    (START + elapsed, BEGAN.offset_by(elapsed_ns))
}

#[cfg(test)]
mod tests {
    use super::super::super::host::{SOURCE, spec};
    use super::super::subject::{Event, Times, play};
    use super::*;

    /// Two series each second for twenty minutes; the second is in trouble at the end.
    struct Pair;

    impl Subject for Pair {
        fn times(&self) -> Times {
            Times { tick_ms: 1_000, row_ms: 60_000, from_ms: 600_000, until_ms: 1_200_000 }
        }

        fn sources(&self) -> Vec<(String, u32)> {
            vec![(SOURCE.to_owned(), 1_000)]
        }

        fn series(&self) -> usize {
            2
        }

        fn events(&self) -> Vec<Event> {
            let shows_on = vec![spec(1).name.to_owned()];
            vec![Event { what: "step", shows_on, start_ms: 900_000, end_ms: 1_200_000 }]
        }

        fn read(&mut self, elapsed_ms: u64, hear: &mut dyn FnMut(Reading<'_>)) {
            for column in 0..2 {
                let value = f64::from(u32::try_from(elapsed_ms / 1_000 % 97).unwrap());
                hear(Reading { source: SOURCE, interval_ms: 1_000, metric: spec(column), attributes: &[], value });
            }
        }
    }

    #[test]
    fn a_thinned_contender_hears_and_ships_its_share_and_shows_later() {
        let detectors = Detectors::default();
        let mut runs: Vec<Run<'_>> = [Contender::Full, Contender::Uniform { every: 5 }]
            .map(|contender| Run::start(&detectors, contender, &Pair, Rate::default()).unwrap())
            .into();
        play(&mut Pair, &mut runs).unwrap();
        let readings = runs.iter().map(|run| run.agent.pipeline.ledger().readings).collect::<Vec<_>>();
        assert_eq!(readings, [2_400, 480]);
        let traces: Vec<Trace> = runs.into_iter().map(|run| run.finish().unwrap()).collect();
        let [full, thinned] = traces.as_slice() else { panic!("two of them") };
        let features = |trace: &Trace| trace.cost.bytes - trace.cost.told_bytes;
        let share = features(thinned) / features(full);
        assert!((0.15..0.3).contains(&share), "{share}");
        let shown = |trace: &Trace| trace.shown_ms[0].unwrap();
        assert!(shown(full) <= 960_000 && shown(thinned) > shown(full), "{:?}", [shown(full), shown(thinned)]);
    }

    #[test]
    fn every_budget_is_tried_by_every_contender() {
        let all = [Contender::unplanned(), Contender::planned()].concat();
        assert_eq!(all[0], Contender::Full);
        for percent in PERCENT {
            assert_eq!(all.iter().filter(|one| one.percent() == percent).count(), (all.len() - 1) / PERCENT.len());
        }
    }
}

//! What the contenders are given: a host's readings in order of time, and what was wrong with it when.

use super::contender::Run;
use vedette_edge::metric::MetricSpec;

/// One value of one series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Reading<'a> {
    pub(super) source: &'static str,
    /// At full rate.
    pub(super) interval_ms: u32,
    pub(super) metric: &'static MetricSpec,
    pub(super) attributes: &'a [(&'a str, &'a str)],
    pub(super) value: f64,
}

/// A labelled time, in milliseconds since the host's start: what is noticed within it belongs to it.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Event {
    pub(super) what: &'static str,
    /// Display names of the series on which it shows; none if that is not known.
    pub(super) shows_on: Vec<String>,
    /// The last time at which all was well.
    pub(super) start_ms: u64,
    /// The last time at which something was wrong.
    pub(super) end_ms: u64,
}

/// Where hosts come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) enum Set {
    Asd,
    Smd,
    Simulated,
}

impl Set {
    pub(super) const ALL: [Self; 3] = [Self::Asd, Self::Smd, Self::Simulated];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Asd => "ASD",
            Self::Smd => "SMD",
            Self::Simulated => "simulated",
        }
    }
}

/// A host's times, in milliseconds since its start.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Times {
    /// Between two ticks.
    pub(super) tick_ms: u64,
    /// What is told so close together, or so close to an event, belongs together; a multiple of the tick.
    pub(super) row_ms: u64,
    /// What comes before is learnt from and not judged.
    pub(super) from_ms: u64,
    pub(super) until_ms: u64,
}

/// A host that can be played once.
pub(super) trait Subject {
    fn times(&self) -> Times;

    /// Names of its sources and their intervals at full rate in milliseconds.
    fn sources(&self) -> Vec<(String, u32)>;

    /// Number of its series.
    fn series(&self) -> usize;

    /// What goes wrong after `from_ms`, in order of time.
    fn events(&self) -> Vec<Event>;

    /// Hands out what is read at a tick.
    fn read(&mut self, elapsed_ms: u64, hear: &mut dyn FnMut(Reading<'_>));
}

/// Plays a host to all contenders at once, so that each hears the very same.
///
/// # Errors
///
/// If a detector failed.
pub(super) fn play(subject: &mut dyn Subject, runs: &mut [Run<'_>]) -> anyhow::Result<()> {
    let times = subject.times();
    let mut elapsed_ms = 0;
    while elapsed_ms < times.until_ms {
        elapsed_ms += times.tick_ms;
        subject.read(elapsed_ms, &mut |reading| {
            runs.iter_mut().for_each(|run| run.hear(elapsed_ms, &reading));
        });
        for run in &mut *runs {
            run.tick(elapsed_ms)?;
        }
    }
    Ok(())
}

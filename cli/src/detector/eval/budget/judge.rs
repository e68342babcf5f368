//! What counts as found: the same rule for every contender.
//!
//! An alarm is what an operator is told: an episode that the agent opens. One that opens within an event, or up to
//! [`GRACE_ROWS`] rows before it, finds it; one that opens elsewhere, and not within so many rows after it either, is false.
//! False alarms within so many rows of one another are one.

use super::super::events::GRACE_ROWS;
use super::contender::{Contender, Trace};
use super::subject::{Event, Set, Times};

const DAY_S: f64 = 86_400.0;

/// A host as every contender saw it.
pub(super) struct Played {
    pub(super) set: Set,
    pub(super) series: usize,
    pub(super) times: Times,
    pub(super) events: Vec<Event>,
    pub(super) traces: Vec<Trace>,
}

/// What a contender found on one host.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Found {
    /// From each event's start to the first alarm that finds it, in seconds; `None` for a missed one.
    pub(super) delays_s: Vec<Option<f64>>,
    pub(super) false_alarms: usize,
}

impl Played {
    /// What a contender said.
    pub(super) fn trace(&self, contender: Contender) -> Option<&Trace> {
        self.traces.iter().find(|trace| trace.contender == contender)
    }

    /// Days that are judged.
    pub(super) fn judged_days(&self) -> f64 {
        seconds(self.times.until_ms - self.times.from_ms) / DAY_S
    }

    /// Those of them on which nothing was wrong.
    pub(super) fn calm_days(&self) -> f64 {
        let wrong_ms: u64 = self.events.iter().map(|event| event.end_ms - event.start_ms).sum();
        self.judged_days() - seconds(wrong_ms) / DAY_S
    }

    /// From each event's start to the first feature that shows it, in seconds.
    pub(super) fn shown_s(&self, trace: &Trace) -> Vec<Option<f64>> {
        let since = |(event, shown): (&Event, &Option<u64>)| shown.map(|at| seconds(at.saturating_sub(event.start_ms)));
        self.events.iter().zip(&trace.shown_ms).map(since).collect()
    }

    /// What is found.
    pub(super) fn found(&self, trace: &Trace) -> Found {
        let alarms: Vec<u64> = trace.opened_ms.iter().copied().filter(|at| *at > self.times.from_ms).collect();
        let grace_ms = GRACE_ROWS as u64 * self.times.row_ms;
        let begins = |event: &Event| event.start_ms.saturating_sub(grace_ms);
        let delays_s = self.events.iter().map(|event| {
            let first = alarms.iter().find(|alarm| (begins(event)..=event.end_ms).contains(*alarm))?;
            Some(seconds(first.saturating_sub(event.start_ms)))
        });
        let delays_s = delays_s.collect();
        let near =
            |alarm: &u64| self.events.iter().any(|event| (begins(event)..=event.end_ms + grace_ms).contains(alarm));
        let (mut false_alarms, mut last) = (0, None);
        for alarm in alarms.into_iter().filter(|alarm| !near(alarm)) {
            false_alarms += usize::from(last.is_none_or(|last| alarm > last + grace_ms));
            last = Some(alarm);
        }
        Found { delays_s, false_alarms }
    }
}

fn seconds(ms: u64) -> f64 {
    std::time::Duration::from_millis(ms).as_secs_f64()
}

#[cfg(test)]
mod tests {
    use super::super::tally::Cost;
    use super::*;

    fn event(start_ms: u64, end_ms: u64) -> Event {
        Event { what: "step", shows_on: Vec::new(), start_ms, end_ms }
    }

    /// A hundred rows of a second, after a hundred seconds of learning.
    fn found(opened_ms: &[u64], events: Vec<Event>) -> Found {
        let times = Times { tick_ms: 1_000, row_ms: 1_000, from_ms: 100_000, until_ms: 200_000 };
        let opened_ms = opened_ms.to_vec();
        let trace = Trace { contender: Contender::Full, opened_ms, shown_ms: Vec::new(), cost: Cost::default() };
        let host = Played { set: Set::Asd, series: 1, times, events, traces: vec![trace] };
        host.found(&host.traces[0])
    }

    #[test]
    fn an_event_is_found_by_what_opens_within_it() {
        let events = vec![event(110_000, 120_000), event(150_000, 160_000), event(180_000, 185_000)];
        // The third begins before the second event by more than the grace.
        let found = found(&[115_000, 118_000, 145_000, 182_000], events);
        assert_eq!(found.delays_s, [Some(5.0), None, Some(2.0)]);
        assert_eq!(found.false_alarms, 1, "what opened too early");
    }

    #[test]
    fn what_opened_while_learning_does_not_count_and_what_comes_together_is_one() {
        let opened = [50_000, 111_000, 113_000, 151_000, 191_000];
        let found = found(&opened, vec![event(188_000, 189_000)]);
        assert_eq!(found.delays_s, [None]);
        assert_eq!(found.false_alarms, 2, "at 111 and 151 s; the last one comes right after the event");
    }
}

//! What counts as found: the same rule and the same threshold for every contender.
//!
//! A host raises an alarm when the agent opens an episode, or when its score rises to the threshold after more than
//! [`GRACE_ROWS`] rows below it. An alarm that is raised within an event, or so many rows before it, finds it; one that is raised
//! elsewhere, and not within so many rows after it either, is false. False alarms within so many rows of one another are one.

use super::super::bench::number;
use super::super::events::{GRACE_ROWS, runs, spread};
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

    /// What is found at a threshold.
    pub(super) fn found(&self, trace: &Trace, threshold: f64) -> Found {
        let alarms = self.alarms(trace, threshold);
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

    /// When an alarm was raised, in order.
    fn alarms(&self, trace: &Trace, threshold: f64) -> Vec<u64> {
        let Times { row_ms, from_ms, .. } = self.times;
        let high = runs(trace.scores.len(), |row| trace.scores[row] >= threshold, GRACE_ROWS);
        let begun = high.iter().map(|run| from_ms + (run.first as u64 + 1) * row_ms);
        let opened = trace.opened_ms.iter().copied().filter(|at| *at > from_ms);
        let mut alarms: Vec<u64> = begun.chain(opened).collect();
        alarms.sort_unstable();
        alarms
    }
}

/// The threshold at which full rate finds most with at most `false_per_day` false alarms per host and day; the highest of
/// equals, and infinite if there is none: then only episodes count.
pub(super) fn threshold(hosts: &[&Played], false_per_day: f64) -> f64 {
    let full: Vec<(&Played, &Trace)> =
        hosts.iter().filter_map(|host| Some((*host, host.trace(Contender::Full)?))).collect();
    let days: f64 = hosts.iter().map(|host| host.calm_days()).sum();
    let mut scores: Vec<f64> = full.iter().flat_map(|(_, trace)| &trace.scores).copied().collect();
    scores.sort_by(|a, b| b.total_cmp(a));
    scores.dedup();
    let (mut best, mut most) = (f64::INFINITY, 0);
    for threshold in spread(&scores) {
        let found: Vec<Found> = full.iter().map(|(host, trace)| host.found(trace, threshold)).collect();
        let alarms: usize = found.iter().map(|one| one.false_alarms).sum();
        let hits = found.iter().flat_map(|one| &one.delays_s).flatten().count();
        if number(alarms) <= false_per_day * days && hits > most {
            (best, most) = (threshold, hits);
        }
    }
    best
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
    fn played(high: &[usize], opened_ms: &[u64], events: Vec<Event>) -> Played {
        let mut scores = vec![0.0; 100];
        high.iter().for_each(|row| scores[*row] = 1.0);
        let times = Times { tick_ms: 1_000, row_ms: 1_000, from_ms: 100_000, until_ms: 200_000 };
        let opened_ms = opened_ms.to_vec();
        let trace =
            Trace { contender: Contender::Full, scores, opened_ms, shown_ms: Vec::new(), cost: Cost::default() };
        Played { set: Set::Asd, series: 1, times, events, traces: vec![trace] }
    }

    fn found(host: &Played, threshold: f64) -> Found {
        host.found(&host.traces[0], threshold)
    }

    #[test]
    fn an_event_is_found_by_what_begins_within_it() {
        let events = vec![event(110_000, 120_000), event(150_000, 160_000), event(180_000, 185_000)];
        // Row 14 ends at 115 s; rows 45 to 55 begin before the second event by more than the grace.
        let high: Vec<usize> = std::iter::once(14).chain(45..56).collect();
        let host = played(&high, &[118_000, 182_000], events);
        let found = found(&host, 0.5);
        assert_eq!(found.delays_s, [Some(5.0), None, Some(2.0)]);
        assert_eq!(found.false_alarms, 1, "what began too early");
    }

    #[test]
    fn what_opened_while_learning_does_not_count_and_what_comes_together_is_one() {
        let host = played(&[10, 50, 90], &[50_000, 151_500], vec![event(188_000, 189_000)]);
        let found = found(&host, 0.5);
        assert_eq!(found.delays_s, [None]);
        assert_eq!(found.false_alarms, 2, "rows 10 and 50; row 90 comes right after the event");
    }

    #[test]
    fn threshold_is_the_one_that_finds_most_within_the_rate() {
        let events = vec![event(110_000, 112_000), event(150_000, 152_000)];
        let mut host = played(&[], &[], events);
        for (row, score) in [(10, 5.0), (30, 4.0), (50, 3.0), (70, 2.0)] {
            host.traces[0].scores[row] = score;
        }
        let days = host.calm_days();
        let at = |alarms: f64| threshold(&[&host], alarms / days);
        assert_eq!((at(0.0), at(1.0), at(9.0)), (5.0, 3.0, 3.0), "what is lower finds no more");
        assert_eq!(threshold(&[&played(&[], &[], Vec::new())], 1.0), f64::INFINITY, "then only episodes count");
    }
}

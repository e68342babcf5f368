//! What really was wrong, and how a verdict compares with it.

use std::time::Duration;

/// One fault as it was injected.
#[derive(Clone, Debug, PartialEq)]
pub struct Label {
    /// Shape: [`crate::FaultKind::name`], or `log-burst`.
    pub shape: &'static str,
    /// Subject: a series' display name or a log template's text.
    pub subject: String,
    /// When it began, since the start of the simulation.
    pub start: Duration,
    /// When it ended.
    pub end: Duration,
}

/// Every fault of a simulation.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Truth {
    labels: Vec<Label>,
}

/// Verdicts held against the truth.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Judgement {
    /// Faults that were found, with the delay from their start to the first verdict.
    pub found: Vec<(Label, Duration)>,
    /// Faults that nobody saw.
    pub missed: Vec<Label>,
    /// Verdicts (subject, time) on healthy series, or at healthy times.
    pub false_alarms: Vec<(String, Duration)>,
}

impl Truth {
    /// Notes a fault.
    pub fn add(&mut self, label: Label) {
        self.labels.push(label);
    }

    /// Every fault, in the order in which they were injected.
    pub fn labels(&self) -> &[Label] {
        &self.labels
    }

    /// Holds the openings of episodes, as (subject, time), against the truth. An opening belongs to a fault of its
    /// subject if it comes within the fault or up to `grace` after its end (a return to normal is a step as well).
    pub fn judge<'a>(&self, openings: impl IntoIterator<Item = (&'a str, Duration)>, grace: Duration) -> Judgement {
        let mut first: Vec<Option<Duration>> = vec![None; self.labels.len()];
        let mut judgement = Judgement::default();
        for (subject, at) in openings {
            let covers = |label: &Label| label.subject == subject && label.start <= at && at <= label.end + grace;
            let mut covered = false;
            for (label, first) in self.labels.iter().zip(&mut first).filter(|(label, _)| covers(label)) {
                covered = true;
                let delay = at - label.start;
                *first = Some(first.map_or(delay, |earlier: Duration| earlier.min(delay)));
            }
            if !covered {
                judgement.false_alarms.push((subject.to_owned(), at));
            }
        }
        for (label, first) in self.labels.iter().zip(first) {
            match first {
                Some(delay) => judgement.found.push((label.clone(), delay)),
                None => judgement.missed.push(label.clone()),
            }
        }
        judgement
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn openings_are_found_missed_or_false() {
        let second = Duration::from_secs;
        let label = |subject: &str, start| Label {
            shape: "step",
            subject: subject.to_owned(),
            start: second(start),
            end: second(start + 10),
        };
        let mut truth = Truth::default();
        truth.add(label("cpu", 100));
        truth.add(label("disk", 100));
        let openings = [("cpu", second(104)), ("cpu", second(102)), ("cpu", second(40)), ("memory", second(105))];
        let judgement = truth.judge(openings, second(5));
        assert_eq!(judgement.found, [(label("cpu", 100), second(2))]);
        assert_eq!(judgement.missed, [label("disk", 100)]);
        assert_eq!(judgement.false_alarms, [("cpu".to_owned(), second(40)), ("memory".to_owned(), second(105))]);
    }
}

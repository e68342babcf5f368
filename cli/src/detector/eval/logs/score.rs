//! How well lines were grouped, and templates worded: the measures of the Loghub and LogPAI benchmarks.

use super::super::bench::number;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

/// Share of right things, and their F1.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub(super) struct Score {
    /// Share of lines that are right.
    pub(super) lines: f64,
    /// Harmonic mean of precision and recall over groups.
    pub(super) groups: f64,
}

impl Score {
    pub(super) fn mean(scores: &[Self]) -> Self {
        let mean = |part: fn(&Self) -> f64| scores.iter().map(part).sum::<f64>() / number(scores.len().max(1));
        Self { lines: mean(|score| score.lines), groups: mean(|score| score.groups) }
    }

    pub(super) fn to_json(self, lines: &str, groups: &str) -> Value {
        json!({lines: self.lines, groups: self.groups})
    }

    pub(super) fn cells(self) -> [String; 2] {
        [format!("{:.3}", self.lines), format!("{:.3}", self.groups)]
    }
}

/// Grouping: GA, the share of lines whose predicted group is exactly their true group (Zhu et al., ICSE-SEIP 2019), and
/// FGA, F1 over groups that are exactly right (Jiang et al., ISSTA 2024).
pub(super) fn grouping<P: Ord, T: Ord>(predicted: &[P], truth: &[T]) -> Score {
    let (groups, sizes) = groups(predicted, truth);
    let exact = groups.values().filter_map(|inside| {
        let (name, lines) = inside.iter().next().filter(|_| inside.len() == 1)?;
        (sizes.get(name) == Some(lines)).then_some(*lines)
    });
    let (right, right_lines) = exact.fold((0, 0), |(right, lines), more| (right + 1, lines + more));
    Score { lines: share(right_lines, predicted.len()), groups: f1(right, groups.len(), sizes.len()) }
}

/// Wording: PA, the share of lines whose template is worded as the true one (Dai et al., TSE 2020), and FTA, F1 over
/// templates whose lines are all of one true template that is worded alike (Khan et al., ICSE 2022).
pub(super) fn wording(predicted: &[&str], truth: &[String]) -> Score {
    let predicted: Vec<String> = predicted.iter().map(|text| normalised(text)).collect();
    let truth: Vec<String> = truth.iter().map(|text| normalised(text)).collect();
    let alike = predicted.iter().zip(&truth).filter(|(one, other)| one == other).count();
    let (groups, sizes) = groups(&predicted, &truth);
    let right = groups.iter().filter(|(name, inside)| inside.len() == 1 && inside.contains_key(*name)).count();
    Score { lines: share(alike, predicted.len()), groups: f1(right, groups.len(), sizes.len()) }
}

type Inside<'p, 't, P, T> = BTreeMap<&'p P, BTreeMap<&'t T, usize>>;

/// Lines of each true group within each predicted one, and of each true group.
fn groups<'p, 't, P: Ord, T: Ord>(
    predicted: &'p [P],
    truth: &'t [T],
) -> (Inside<'p, 't, P, T>, BTreeMap<&'t T, usize>) {
    let (mut groups, mut sizes) = (Inside::new(), BTreeMap::new());
    for (one, other) in predicted.iter().zip(truth) {
        *groups.entry(one).or_default().entry(other).or_default() += 1;
        *sizes.entry(other).or_default() += 1;
    }
    (groups, sizes)
}

fn share(part: usize, all: usize) -> f64 {
    if all == 0 { 0.0 } else { number(part) / number(all) }
}

fn f1(right: usize, predicted: usize, truth: usize) -> f64 {
    share(2 * right, predicted + truth)
}

/// White space as one blank, and wildcards with nothing but a sign between them as one: the labels have both ways.
fn normalised(text: &str) -> String {
    const WILDCARD: &str = "<*>";
    let mut text = text.split_whitespace().collect::<Vec<_>>().join(" ");
    loop {
        let mut shorter = text.replace("<*><*>", WILDCARD);
        for sign in [" ", ".", ":", ",", "-", "/", "|"] {
            shorter = shorter.replace(&format!("{WILDCARD}{sign}{WILDCARD}"), WILDCARD);
        }
        if shorter.len() == text.len() {
            return text;
        }
        text = shorter;
    }
}

/// True groups that are not exactly one predicted group, with their number of lines: the largest first.
pub(super) fn missed<'a>(predicted: &[u64], truth: &'a [String]) -> Vec<(&'a str, usize)> {
    let (groups, sizes) = groups(predicted, truth);
    let exact: BTreeSet<&String> = groups
        .values()
        .filter(|inside| inside.len() == 1 && inside.iter().all(|(name, lines)| sizes.get(name) == Some(lines)))
        .flat_map(BTreeMap::keys)
        .copied()
        .collect();
    let mut missed: Vec<_> =
        sizes.iter().filter(|(name, _)| !exact.contains(*name)).map(|(name, lines)| (name.as_str(), *lines)).collect();
    missed.sort_by_key(|(_, lines)| std::cmp::Reverse(*lines));
    missed
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn grouping_counts_only_groups_that_are_exactly_right() {
        let truth = ["a", "a", "b", "b", "b", "c"];
        assert_eq!(grouping(&[1, 1, 2, 2, 2, 3], &truth), Score { lines: 1.0, groups: 1.0 });
        // b is split: its three lines are wrong; 2 of 4 predicted and of 3 true groups are right.
        let split = grouping(&[1, 1, 2, 2, 4, 3], &truth);
        assert_eq!(split, Score { lines: 0.5, groups: 4.0 / 7.0 });
        // a and c are one: only b is right.
        assert_eq!(grouping(&[1, 1, 2, 2, 2, 1], &truth), Score { lines: 0.5, groups: 2.0 / 5.0 });
        assert_eq!(grouping::<u8, u8>(&[], &[]), Score::default());
    }

    #[test]
    fn wording_wants_the_same_text() {
        let truth = ["up <*>.<*>".to_owned(), "up <*>.<*>".to_owned(), "down".to_owned()];
        assert_eq!(wording(&["up  <*>", "up <*>", "down"], &truth), Score { lines: 1.0, groups: 1.0 });
        let one_off = wording(&["up <*>", "up 5", "down"], &truth);
        assert_eq!(one_off, Score { lines: 2.0 / 3.0, groups: 4.0 / 5.0 });
        let mixed = wording(&["<*>", "<*>", "<*>"], &truth);
        assert_eq!(mixed, Score { lines: 0.0, groups: 0.0 });
    }

    #[test]
    fn missed_groups_come_with_their_lines() {
        let truth = ["a", "a", "b", "c"].map(str::to_owned);
        assert_eq!(missed(&[1, 2, 3, 4], &truth), [("a", 2)]);
        assert_eq!(missed(&[1, 1, 3, 3], &truth), [("b", 1), ("c", 1)]);
    }
}

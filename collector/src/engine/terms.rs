//! The join score of two episodes: named terms, each from 0 to 1, weighted in [`weights`].

use super::episode::Episode;
use super::graph::Graph;
use super::setup::weights;
use serde::{Deserialize, Serialize};
use vedette_protocol::ids::EpisodeId;

/// Why an episode is where it is.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Why {
    /// What spoke for it.
    pub terms: Terms,
    /// Their weighted sum.
    pub score: f64,
    /// The member with which it has most in common; `None` for the first member.
    pub with: Option<EpisodeId>,
}

/// What two episodes have in common; each from 0 (nothing) to 1.
#[derive(Clone, Copy, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct Terms {
    /// Same host.
    pub host: f64,
    /// Same or near services; 0 on the same host, where it says nothing more.
    pub topology: f64,
    /// Onsets close together, falling off with a scale of two minutes.
    pub onset: f64,
    /// Words in common (Jaccard index).
    pub text: f64,
    /// A change shortly before both, where both are.
    pub change: f64,
}

impl Terms {
    /// The weighted sum; 0 without a shared host or topology, whatever else agrees.
    pub(crate) fn score(&self) -> f64 {
        if self.host == 0.0 && self.topology == 0.0 {
            return 0.0;
        }
        weights::HOST * self.host
            + weights::TOPOLOGY * self.topology
            + weights::ONSET * self.onset
            + weights::TEXT * self.text
            + weights::CHANGE * self.change
    }
}

/// Compares two episodes; `None` if they are in unrelated places or their onsets lie farther apart than the window.
pub(crate) fn compare(
    one: &Episode,
    other: &Episode,
    graph: &Graph,
    window_ms: u64,
    shares_change: impl FnOnce() -> bool,
) -> Option<Terms> {
    let distance_ms = onset_distance_ms(one, other);
    if distance_ms > window_ms {
        return None;
    }
    let host = f64::from(u8::from(one.host == other.host));
    let topology = if host > 0.0 { 0.0 } else { nearness(one, other, graph) };
    if host == 0.0 && topology == 0.0 {
        return None;
    }
    #[expect(clippy::cast_precision_loss, reason = "milliseconds within a window of minutes")]
    let onset = (-(distance_ms as f64) / weights::ONSET_SCALE_MS).exp();
    let change = f64::from(u8::from(shares_change()));
    Some(Terms { host, topology, onset, text: jaccard(&one.words, &other.words), change })
}

/// Distance of the onsets beyond what their uncertainties explain.
fn onset_distance_ms(one: &Episode, other: &Episode) -> u64 {
    let apart = one.onset.unix_ns.abs_diff(other.onset.unix_ns) / 1_000_000;
    let unsure = u64::from(one.finding.onset_uncertainty_ms) + u64::from(other.finding.onset_uncertainty_ms);
    apart.saturating_sub(unsure)
}

fn nearness(one: &Episode, other: &Episode, graph: &Graph) -> f64 {
    let pairs = one.services.iter().flat_map(|a| other.services.iter().map(move |b| graph.nearness(a, b)));
    pairs.fold(0.0, f64::max)
}

/// Of two sorted sets.
fn jaccard(one: &[u32], other: &[u32]) -> f64 {
    let (mut i, mut j, mut common) = (0, 0, 0_u32);
    while i < one.len() && j < other.len() {
        match one[i].cmp(&other[j]) {
            std::cmp::Ordering::Less => i += 1,
            std::cmp::Ordering::Greater => j += 1,
            std::cmp::Ordering::Equal => {
                common += 1;
                i += 1;
                j += 1;
            }
        }
    }
    let union = u32::try_from(one.len() + other.len()).unwrap_or(u32::MAX) - common;
    if union == 0 { 0.0 } else { f64::from(common) / f64::from(union) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nothing_joins_without_a_shared_place() {
        let terms = Terms { host: 0.0, topology: 0.0, onset: 1.0, text: 1.0, change: 1.0 };
        assert_eq!(terms.score(), 0.0);
    }

    #[test]
    fn a_shared_place_alone_does_not_join() {
        assert!(Terms { host: 1.0, ..Terms::default() }.score() < weights::JOIN);
        assert!(Terms { topology: 1.0, ..Terms::default() }.score() < weights::JOIN);
        assert!(Terms { host: 1.0, onset: 1.0, ..Terms::default() }.score() >= weights::JOIN);
    }

    #[test]
    fn jaccard_counts_common_words_once() {
        assert_eq!(jaccard(&[1, 2, 3], &[2, 3, 4]), 0.5);
        assert_eq!(jaccard(&[], &[]), 0.0);
    }
}

//! Counts with their uncertainty.

use vedette_protocol::v1::{Body, EpisodeEvent, Finding, Subject};
use vedette_sim::Sent;

/// Episodes that opened among what was sent, with their time in seconds since the start.
pub(crate) fn openings(sent: Vec<Sent>) -> Vec<(f64, Finding)> {
    let mut openings = Vec::new();
    for Sent { at, body, .. } in sent {
        if let Body::Findings(findings) = body {
            let opened = findings.into_iter().filter(|finding| finding.event == EpisodeEvent::Open);
            openings.extend(opened.map(|finding| (at.as_secs_f64(), finding)));
        }
    }
    openings
}

/// The name of the metric that a finding is about.
pub(crate) fn metric(finding: &Finding) -> &str {
    match &finding.subject {
        Subject::Series(meta) => &meta.metric,
        Subject::LogTemplate { .. } => "log",
    }
}

/// The name of the series that a finding is about.
pub(crate) fn series(finding: &Finding) -> String {
    match &finding.subject {
        Subject::Series(meta) => meta.display_name(),
        Subject::LogTemplate { text, .. } => text.clone(),
    }
}

/// The exact 95 % interval of a Poisson mean after `count` events (Garwood 1936), by bisection.
pub(crate) fn poisson_interval(count: u64) -> (f64, f64) {
    let below = |mean: f64, at_most: u64| {
        let mut term = (-mean).exp();
        let mut sum = term;
        for k in 1..=at_most {
            term *= mean / k as f64;
            sum += term;
        }
        sum
    };
    let solve = |at_most: u64, wanted: f64| {
        let (mut low, mut high) = (0.0, 10.0 + 3.0 * at_most as f64);
        for _ in 0..100 {
            let middle = (low + high) / 2.0;
            if below(middle, at_most) > wanted { low = middle } else { high = middle }
        }
        low
    };
    let lower = if count == 0 { 0.0 } else { solve(count - 1, 0.975) };
    (lower, solve(count, 0.025))
}

/// The 95 % interval of a share (Wilson 1927).
pub(crate) fn share_interval(hits: usize, of: usize) -> (f64, f64) {
    let (n, z) = (of.max(1) as f64, 1.96);
    let share = hits as f64 / n;
    let centre = (share + z * z / (2.0 * n)) / (1.0 + z * z / n);
    let half = z * (share * (1.0 - share) / n + z * z / (4.0 * n * n)).sqrt() / (1.0 + z * z / n);
    ((centre - half).max(0.0), (centre + half).min(1.0))
}

//! Findings and batches made up; shared by the tests of the crate and of its binary, and the benchmark.

use vedette_protocol::ids::{BootId, Digest, EpisodeId, QueueEpoch, Sequence, TenantId};
use vedette_protocol::series::{SeriesKind, SeriesMeta};
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::{Batch, Body, Class, DetectorRef, EpisodeEvent, Finding, Subject};

/// An identity from a number.
pub(crate) fn id(n: u32) -> [u8; 16] {
    let mut id = [0; 16];
    id[..4].copy_from_slice(&n.to_le_bytes());
    id
}

/// A series of ratios.
pub(crate) fn series(metric: &str) -> SeriesMeta {
    SeriesMeta {
        metric: metric.to_owned(),
        unit: "1".to_owned(),
        kind: SeriesKind::Gauge,
        attributes: Vec::new(),
        resolution: 0.001,
        lower: 0.0,
        upper: 1.0,
    }
}

/// A word about episode `n` on `metric`, decided at its onset.
pub(crate) fn finding(n: u32, event: EpisodeEvent, metric: &str, at: WallTime) -> Finding {
    Finding {
        episode: EpisodeId(id(n)),
        event,
        subject: Subject::Series(series(metric)),
        detector: DetectorRef { name: "level".to_owned(), version: "1".to_owned(), digest: Digest([0; 32]) },
        at,
        onset: at,
        onset_uncertainty_ms: 500,
        code: 1,
        score: 9.0,
        surprise: 9.0,
        observed: 0.97,
        expected: f64::NAN,
        lower: f64::NAN,
        upper: f64::NAN,
        occurrences: 1,
        evidence: None,
    }
}

/// A batch of the given place.
pub(crate) fn batch(
    tenant: TenantId,
    epoch: QueueEpoch,
    sequence: Sequence,
    class: Class,
    body: Body,
    wall: WallTime,
) -> Batch {
    let mono = MonoTime::from_ms(sequence.0);
    Batch { tenant, boot: BootId([1; 16]), queue_epoch: epoch, sequence, class, mono, wall, cursors: Vec::new(), body }
}

//! Filesystems of other hosts: the same as [`super::filesystem`], where any question may hang.

use super::filesystem::{Filesystem, Locality, METRICS};
use super::{Lane, SourceSpec};

pub(super) const SPEC: SourceSpec = SourceSpec {
    name: "filesystem-remote",
    doc: "Space and inodes used of each filesystem of another host or of a user-space program.",
    interval_ms: 10_000,
    lane: Lane::Own,
    metrics: METRICS,
    open: |root| Box::new(Filesystem::new(root, Locality::Remote)),
};

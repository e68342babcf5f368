//! Ids of the containers that run, for who tells their comings and goings.

use super::cgroup::{Layout, container_id, walk};
use std::collections::BTreeSet;
use std::path::Path;

/// Whole ids of all containers with a control group below `groups`; `None` if nothing is mounted there.
pub(crate) fn running(groups: &Path) -> Option<BTreeSet<String>> {
    let layout = Layout::open(groups)?;
    let (mut ids, mut path) = (BTreeSet::new(), Vec::new());
    for hierarchy in layout.searched() {
        walk(hierarchy, &mut path, &mut |path| {
            let id = container_id(path);
            ids.extend(id.map(str::to_owned));
            id.is_some()
        });
    }
    Some(ids)
}

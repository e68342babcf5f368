//! Walking a hierarchy of control groups without the heap.

use rustix::fd::{AsFd, BorrowedFd};
use rustix::fs::{FileType, Mode, OFlags, RawDir};
use std::mem::MaybeUninit;

/// Deepest group that is visited; `kubepods.slice/…/…/cri-containerd-….scope` has four parts.
const DEPTH_MAX: u32 = 6;
/// Most groups that are visited.
const GROUPS_VISITED_MAX: u32 = 4_096;
const ENTRIES_BYTES: usize = 2_048;

/// Hands the path of every group below `hierarchy` to `visit`, parents first; `true` means: do not look inside.
/// `path` is scratch memory. Groups that vanish meanwhile are skipped.
pub(in crate::source) fn walk(hierarchy: impl AsFd, path: &mut Vec<u8>, visit: &mut dyn FnMut(&[u8]) -> bool) {
    path.clear();
    let mut left = GROUPS_VISITED_MAX;
    let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::CLOEXEC;
    // A directory of its own for reading: the kept one must not move its position.
    if let Ok(directory) = rustix::fs::openat(hierarchy.as_fd(), c".", flags, Mode::empty()) {
        descend(directory.as_fd(), path, 1, &mut left, visit);
    }
}

fn descend(
    directory: BorrowedFd<'_>,
    path: &mut Vec<u8>,
    depth: u32,
    left: &mut u32,
    visit: &mut dyn FnMut(&[u8]) -> bool,
) {
    let mut buffer = [MaybeUninit::<u8>::uninit(); ENTRIES_BYTES];
    let mut entries = RawDir::new(directory, &mut buffer);
    while let Some(Ok(entry)) = entries.next() {
        let name = entry.file_name();
        if entry.file_type() != FileType::Directory || matches!(name.to_bytes(), b"." | b"..") || *left == 0 {
            continue;
        }
        *left -= 1;
        let parent = path.len();
        if parent > 0 {
            path.push(b'/');
        }
        path.extend_from_slice(name.to_bytes());
        if !visit(path) && depth < DEPTH_MAX {
            let flags = OFlags::RDONLY | OFlags::DIRECTORY | OFlags::NOFOLLOW | OFlags::CLOEXEC;
            if let Ok(inner) = rustix::fs::openat(directory, name, flags, Mode::empty()) {
                descend(inner.as_fd(), path, depth + 1, left, visit);
            }
        }
        path.truncate(parent);
    }
}

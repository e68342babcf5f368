//! Counts heap allocations of a thread, for promises of "no allocation".
#![expect(unsafe_code, reason = "an allocator is implemented with unsafe functions")]

use std::alloc::{GlobalAlloc, Layout, System};
use std::cell::Cell;

thread_local! {
    static ALLOCATIONS: Cell<u64> = const { Cell::new(0) };
    static HELD: Cell<(isize, isize)> = const { Cell::new((0, 0)) };
}

/// What the C library takes for a block: a header of eight bytes, in steps of sixteen.
fn hold(size: usize, sign: isize) {
    let bytes = isize::try_from((size + 8).next_multiple_of(16).max(32)).unwrap_or(isize::MAX);
    let (now, most) = HELD.get();
    let now = now + sign * bytes;
    HELD.set((now, most.max(now)));
}

struct Counting;

// SAFETY: every call is handed on unchanged to the system's allocator.
unsafe impl GlobalAlloc for Counting {
    unsafe fn alloc(&self, layout: Layout) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        hold(layout.size(), 1);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.alloc(layout) }
    }

    unsafe fn dealloc(&self, pointer: *mut u8, layout: Layout) {
        hold(layout.size(), -1);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.dealloc(pointer, layout) }
    }

    unsafe fn realloc(&self, pointer: *mut u8, layout: Layout, size: usize) -> *mut u8 {
        ALLOCATIONS.set(ALLOCATIONS.get() + 1);
        hold(size, 1);
        hold(layout.size(), -1);
        // SAFETY: the caller's promises are handed on.
        unsafe { System.realloc(pointer, layout, size) }
    }
}

#[global_allocator]
static COUNTING: Counting = Counting;

/// Allocations of this thread while `work` runs.
pub(crate) fn count(work: impl FnOnce()) -> u64 {
    let before = ALLOCATIONS.get();
    work();
    ALLOCATIONS.get() - before
}

/// The most bytes that `work` held at a time, with what it made.
pub(crate) fn held_by<T>(work: impl FnOnce() -> T) -> (usize, T) {
    let (before, _) = HELD.get();
    HELD.set((before, before));
    let made = work();
    let (_, most) = HELD.get();
    (usize::try_from(most - before).unwrap_or(0), made)
}

#[test]
fn allocations_are_counted() {
    assert_eq!(held_by(|| drop(vec![0u8; 1_000])).0, 1_008);
    assert_eq!(count(|| drop(std::hint::black_box(Box::new(1)))), 1);
    assert_eq!(count(|| {}), 0);
}

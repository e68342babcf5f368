//! What collections take at most, for bounds that are told before anything is filled.

/// What the allocator adds to a block.
pub(crate) const BLOCK: usize = 16;

/// A list of so many that were added one by one: it doubles, and while it does the old half is there, too.
pub(crate) const fn list<T>(count: usize) -> usize {
    let room = if count < 4 { 4 } else { count.next_power_of_two() };
    (room + room / 2) * size_of::<T>() + BLOCK
}

/// A hash map of so many: its buckets are a power of two, of which seven eighths are filled, with a byte beside each.
pub(crate) const fn map<K, V>(count: usize) -> usize {
    let buckets = (count.saturating_mul(8) / 7 + 4).next_power_of_two();
    (buckets + buckets / 2) * (size_of::<(K, V)>() + 1) + 2 * BLOCK
}

/// A text in a block of its own.
pub(crate) const fn text(bytes: usize) -> usize {
    bytes + BLOCK
}

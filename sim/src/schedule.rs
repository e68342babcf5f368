//! Events in virtual time.

use std::cmp::Ordering;
use std::collections::BinaryHeap;
use vedette_protocol::time::MonoTime;

/// Most events that may wait at one time: a simulation that passes it loops.
const EVENTS_MAX: usize = 4_000_000;

/// What happens when: earliest first, and in order of arrival where times are equal.
///
/// ```
/// use vedette_protocol::time::MonoTime;
/// use vedette_sim::Schedule;
///
/// let mut schedule = Schedule::new();
/// schedule.at(MonoTime::from_ms(20), "later");
/// schedule.at(MonoTime::from_ms(10), "sooner");
/// assert_eq!(schedule.pop_until(MonoTime::from_ms(15)), Some((MonoTime::from_ms(10), "sooner")));
/// assert_eq!(schedule.pop_until(MonoTime::from_ms(15)), None);
/// assert_eq!(schedule.next_at(), Some(MonoTime::from_ms(20)));
/// ```
#[derive(Debug)]
pub struct Schedule<E> {
    heap: BinaryHeap<Entry<E>>,
    tickets: u64,
}

#[derive(Debug)]
struct Entry<E> {
    at: MonoTime,
    ticket: u64,
    event: E,
}

impl<E> Default for Schedule<E> {
    fn default() -> Self {
        Self { heap: BinaryHeap::new(), tickets: 0 }
    }
}

impl<E> Schedule<E> {
    /// Nothing is due.
    pub fn new() -> Self {
        Self::default()
    }

    /// Plans `event`. A time in the past is due at once.
    ///
    /// # Panics
    ///
    /// If four million events wait.
    pub fn at(&mut self, at: MonoTime, event: E) {
        assert!(self.heap.len() < EVENTS_MAX, "a simulation with {EVENTS_MAX} waiting events loops");
        self.heap.push(Entry { at, ticket: self.tickets, event });
        self.tickets += 1;
    }

    /// The next event that is due by `limit`, with its time.
    pub fn pop_until(&mut self, limit: MonoTime) -> Option<(MonoTime, E)> {
        if self.next_at()? > limit {
            return None;
        }
        self.heap.pop().map(|entry| (entry.at, entry.event))
    }

    /// When the next event is due.
    pub fn next_at(&self) -> Option<MonoTime> {
        self.heap.peek().map(|entry| entry.at)
    }

    /// Number of events that wait.
    pub fn len(&self) -> usize {
        self.heap.len()
    }

    /// Whether nothing waits.
    pub fn is_empty(&self) -> bool {
        self.heap.is_empty()
    }

    /// Forgets what waits and `keep` refuses.
    pub fn retain(&mut self, mut keep: impl FnMut(&E) -> bool) {
        self.heap.retain(|entry| keep(&entry.event));
    }
}

impl<E> PartialEq for Entry<E> {
    fn eq(&self, other: &Self) -> bool {
        self.cmp(other) == Ordering::Equal
    }
}

impl<E> Eq for Entry<E> {}

impl<E> PartialOrd for Entry<E> {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<E> Ord for Entry<E> {
    /// The heap gives its greatest first, so earlier is greater.
    fn cmp(&self, other: &Self) -> Ordering {
        (other.at, other.ticket).cmp(&(self.at, self.ticket))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_times_come_in_order_of_arrival() {
        let mut schedule = Schedule::new();
        for event in 0..100 {
            schedule.at(MonoTime::from_ms(1), event);
        }
        schedule.retain(|event| event % 2 == 0);
        let order: Vec<_> = std::iter::from_fn(|| schedule.pop_until(MonoTime::from_ms(1))).map(|(_, e)| e).collect();
        assert_eq!(order, (0..100).step_by(2).collect::<Vec<_>>());
        assert!(schedule.is_empty());
    }
}

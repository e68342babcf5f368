//! Which names have series of their own.
//!
//! A name enters when it is among the most costly by CPU, memory or open files and stays for a while after it last was, so that a
//! series does not come and go with every reading.

use super::{Cost, ExecutableName};

/// Most names with series of their own.
pub(super) const NAMES_MAX: usize = 16;
/// Places by CPU and by memory that make a name enter.
const TOP: usize = 6;
/// Places by open files; all three together fit.
const TOP_BY_DESCRIPTORS: usize = NAMES_MAX - 2 * TOP;
/// Readings after which a name leaves that was not among the top any more: ten minutes at the default interval.
const STAY_READINGS: u32 = 60;
/// Share of the host's CPU time below which nobody enters by CPU: one in this many.
const CPU_SHARE_MIN: u64 = 200;
/// Name of all others together.
const OTHER: &[u8] = b"(other)";

/// The names with series of their own, and their costs of the last reading.
#[derive(Debug, Default)]
pub(super) struct Roster {
    members: Vec<Member>,
}

#[derive(Debug)]
struct Member {
    cost: Cost,
    readings_since_top: u32,
}

impl Roster {
    /// Takes a reading: one cost per name, sorted by name. `passed` is the CPU time of the host since the last one.
    /// Returns what all that have no series of their own cost together.
    pub(super) fn update(&mut self, costs: &[Cost], passed: u64) -> Cost {
        for member in &mut self.members {
            member.readings_since_top = member.readings_since_top.saturating_add(1);
        }
        let cpu_min = passed / CPU_SHARE_MIN + 1;
        let by_cpu = top(costs, |cost| if cost.ticks >= cpu_min { cost.ticks } else { 0 });
        let by_memory = top(costs, |cost| cost.pages);
        let by_descriptors = top(costs, |cost| cost.descriptors);
        let by_descriptors = &by_descriptors[..TOP_BY_DESCRIPTORS];
        by_cpu
            .iter()
            .chain(&by_memory)
            .chain(by_descriptors)
            .flatten()
            .for_each(|index| self.admit(costs[*index].name));
        self.members.retain(|member| member.readings_since_top <= STAY_READINGS);
        for member in &mut self.members {
            let name = member.cost.name;
            let found = costs.binary_search_by(|cost| cost.name.as_bytes().cmp(name.as_bytes()));
            member.cost = found.map_or(zero(name), |index| costs[index]);
        }
        let all = costs.iter().fold(other(), |sum, cost| combine(&sum, cost, u64::saturating_add));
        self.costs().fold(all, |rest, cost| combine(&rest, &cost, u64::saturating_sub))
    }

    /// Costs of the names with series of their own; one of which nothing runs costs 0.
    pub(super) fn costs(&self) -> impl Iterator<Item = Cost> {
        self.members.iter().map(|member| member.cost)
    }

    fn admit(&mut self, name: ExecutableName) {
        if let Some(member) = self.members.iter_mut().find(|member| member.cost.name == name) {
            member.readings_since_top = 0;
            return;
        }
        if self.members.len() == NAMES_MAX {
            let oldest = (0..NAMES_MAX).max_by_key(|index| self.members[*index].readings_since_top);
            self.members.swap_remove(oldest.expect("the roster is full, not empty"));
        }
        self.members.push(Member { cost: zero(name), readings_since_top: 0 });
    }
}

/// Places of the largest by `key`, largest first; what has 0 is not among them.
fn top(costs: &[Cost], key: impl Fn(&Cost) -> u64) -> [Option<usize>; TOP] {
    let mut top = [None; TOP];
    for (index, cost) in costs.iter().enumerate() {
        let value = key(cost);
        let beats = |place: &Option<usize>| place.is_none_or(|other| key(&costs[other]) < value);
        if let Some(place) = top.iter().position(beats).filter(|_| value > 0) {
            top[place..].rotate_right(1);
            top[place] = Some(index);
        }
    }
    top
}

fn zero(name: ExecutableName) -> Cost {
    Cost { name, ticks: 0, pages: 0, threads: 0, descriptors: 0 }
}

fn other() -> Cost {
    zero(ExecutableName::new(OTHER).expect("the constant is short ASCII"))
}

fn combine(a: &Cost, b: &Cost, with: impl Fn(u64, u64) -> u64) -> Cost {
    Cost {
        name: a.name,
        ticks: with(a.ticks, b.ticks),
        pages: with(a.pages, b.pages),
        threads: with(a.threads, b.threads),
        descriptors: with(a.descriptors, b.descriptors),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cost(name: &str, ticks: u64, pages: u64) -> Cost {
        Cost { name: ExecutableName::new(name.as_bytes()).unwrap(), ticks, pages, threads: 1, descriptors: 0 }
    }

    fn names(roster: &Roster) -> Vec<String> {
        roster.costs().map(|cost| cost.name.as_str().to_owned()).collect()
    }

    #[test]
    fn largest_come_first_and_ties_keep_their_order() {
        let costs = [cost("a", 1, 0), cost("b", 3, 0), cost("c", 3, 0), cost("d", 0, 0)];
        assert_eq!(top(&costs, |cost| cost.ticks), [Some(1), Some(2), Some(0), None, None, None]);
    }

    #[test]
    fn a_new_busy_name_enters_and_stays_for_a_while() {
        let mut roster = Roster::default();
        roster.update(&[cost("burner", 900, 0), cost("idle", 1, 0)], 2_000);
        assert_eq!(names(&roster), ["burner"]);
        for _ in 0..STAY_READINGS {
            roster.update(&[cost("idle", 1, 0)], 2_000);
        }
        assert_eq!(roster.costs().collect::<Vec<_>>(), [zero(cost("burner", 0, 0).name)]);
        roster.update(&[cost("idle", 1, 0)], 2_000);
        assert!(names(&roster).is_empty());
    }

    #[test]
    fn names_have_a_bound_and_nothing_is_lost() {
        let mut roster = Roster::default();
        for round in 0..50 {
            let mut costs: Vec<_> = (0..40).map(|n| cost(&format!("p{round:02}-{n:02}"), 10 + n, 100 + n)).collect();
            costs.sort_by(|a, b| a.name.as_bytes().cmp(b.name.as_bytes()));
            let rest = roster.update(&costs, 100);
            assert!(roster.members.len() <= NAMES_MAX);
            let ticks: u64 = roster.costs().map(|cost| cost.ticks).sum();
            assert_eq!(ticks + rest.ticks, costs.iter().map(|cost| cost.ticks).sum::<u64>());
            assert!(names(&roster).contains(&format!("p{round:02}-39")));
        }
    }
}

//! Two agents with one identity, as after a copy of a disk: each takes the other's connection away, and what they tell
//! is mixed. An agent's life (boot, queue epoch and the first sequence of its process) that comes back after another was on
//! proves it.

use std::collections::{HashMap, VecDeque};
use std::net::IpAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use vedette_protocol::ids::{BootId, HostId, QueueEpoch, Sequence};
use vedette_protocol::time::MonoTime;

/// So long after the last turn the conflict counts as over; agents that were replaced wait some minutes at most.
const OVER: Duration = Duration::from_secs(15 * 60);
/// Lives that are remembered of one host; the oldest goes first.
const LIVES_MAX: usize = 4;

/// One life of an agent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Life {
    pub(crate) boot: BootId,
    pub(crate) queue_epoch: QueueEpoch,
    /// Zero if it does not say.
    pub(crate) first: Sequence,
}

/// Who shares an identity.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Conflict {
    /// Where the two came from last.
    pub(crate) addresses: [IpAddr; 2],
    /// It was not known before.
    pub(crate) is_new: bool,
}

/// The lives of all hosts that have said hello.
#[derive(Debug, Default)]
pub(crate) struct Twins(Mutex<HashMap<HostId, Host>>);

#[derive(Debug, Default)]
struct Host {
    /// The one that is on last; when each said hello last, and from where.
    lives: VecDeque<(Life, MonoTime, IpAddr)>,
    /// When the last turn was taken, and by whom from whom.
    conflict: Option<(MonoTime, [IpAddr; 2])>,
}

impl Twins {
    /// A host has said hello. A conflict if it is a life that was replaced by another not long ago.
    pub(crate) fn handle_hello(&self, now: MonoTime, host: HostId, life: Life, address: IpAddr) -> Option<Conflict> {
        let mut hosts = self.lock();
        let known = hosts.entry(host).or_default();
        let present = known.lives.back().copied();
        let before = known.lives.iter().position(|(other, ..)| *other == life);
        let before = before.and_then(|at| known.lives.remove(at));
        known.lives.push_back((life, now, address));
        if known.lives.len() > LIVES_MAX {
            known.lives.pop_front();
        }
        let (Some((other, _, its_address)), Some((_, seen, _))) = (present, before) else { return None };
        if other == life || now.since(seen) > OVER {
            return None;
        }
        let addresses = [address, its_address];
        let is_new = known.conflict.is_none_or(|(last, _)| now.since(last) > OVER);
        known.conflict = Some((now, addresses));
        Some(Conflict { addresses, is_new })
    }

    /// The addresses of two that share the identity of `host`.
    pub(crate) fn addresses(&self, now: MonoTime, host: HostId) -> Option<[IpAddr; 2]> {
        let hosts = self.lock();
        let (last, addresses) = hosts.get(&host)?.conflict?;
        (now.since(last) <= OVER).then_some(addresses)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<HostId, Host>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const HOST: HostId = HostId([1; 16]);

    fn life(boot: u8, epoch: u64) -> Life {
        Life { boot: BootId([boot; 16]), queue_epoch: QueueEpoch(epoch), first: Sequence(1) }
    }

    fn address(n: u8) -> IpAddr {
        [10, 0, 0, n].into()
    }

    /// Says hello at a minute; whether that is a conflict, and a new one.
    fn hello(twins: &Twins, minute: u64, life: Life, from: u8) -> Option<bool> {
        let conflict = twins.handle_hello(MonoTime::from_ms(minute * 60_000), HOST, life, address(from))?;
        assert_eq!(conflict.addresses[0], address(from));
        Some(conflict.is_new)
    }

    #[test]
    fn copies_that_take_turns_are_told_once_and_shown_until_they_stop() {
        let twins = Twins::default();
        let (original, copy) = (life(1, 7), life(2, 7));
        let minutes = [(0, original, 1), (1, copy, 2), (2, original, 1), (4, copy, 2), (5, original, 1)];
        let told: Vec<_> = minutes.map(|(minute, life, from)| hello(&twins, minute, life, from)).into();
        assert_eq!(told, [None, None, Some(true), Some(false), Some(false)]);
        let shown = |minute: u64| twins.addresses(MonoTime::from_ms(minute * 60_000), HOST);
        assert_eq!(shown(20), Some([address(1), address(2)]));
        assert_eq!((shown(21), twins.addresses(MonoTime::default(), HostId([2; 16]))), (None, None));
    }

    #[test]
    fn restarts_reboots_and_lost_connections_are_no_conflict() {
        let twins = Twins::default();
        for (minute, life, from) in [
            (0, life(1, 7), 1),
            (1, life(1, 7), 1),
            (2, life(1, 7), 9),
            (3, life(1, 8), 1),
            (4, life(2, 8), 1),
            (5, life(2, 9), 1),
            (6, life(2, 9), 2),
        ] {
            assert_eq!(hello(&twins, minute, life, from), None, "minute {minute}");
        }
        // A spool that could be opened again, after a life in memory.
        let again = Life { first: Sequence(40), ..life(2, 8) };
        assert_eq!(hello(&twins, 7, again, 1), None);
        // A machine that was set back to what it was long ago.
        assert_eq!(hello(&twins, 60, life(1, 8), 1), None);
    }

    #[test]
    fn memory_of_one_host_is_bounded() {
        let twins = Twins::default();
        (0..1_000).for_each(|n| _ = hello(&twins, 0, life(1, n), 1));
        assert_eq!(twins.lock()[&HOST].lives.len(), LIVES_MAX);
    }
}

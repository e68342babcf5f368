//! The spool with its disk: opened, driven, closed.

use super::agent::Agent;
use crate::clock::mono_now;
use crate::config::Config;
use crate::files::journal;
use crate::lanes::changes;
use crate::spool::books::Reason;
use crate::spool::keeper::Keeper;
use crate::spool::log::Claim;
use crate::spool::{Reply, Spool};
use std::collections::BTreeMap;
use tokio::sync::mpsc;
use vedette_protocol::ids::{BootId, QueueEpoch};
use vedette_protocol::time::{MonoTime, WallTime};

/// What was kept over a restart.
pub(super) struct Kept {
    pub(super) spool: Spool,
    pub(super) keeper: Option<Keeper>,
    pub(super) replies: mpsc::UnboundedReceiver<Reply>,
    /// Where each source goes on.
    pub(super) positions: BTreeMap<String, Vec<u8>>,
    /// Series indices from this on were not given yet.
    pub(super) series_next: u32,
}

impl Kept {
    /// Opens the spool. Whatever is in its directory, the agent starts: at worst with a spool in memory.
    pub(super) fn open(config: &Config, boot: BootId, claim: Claim) -> Self {
        let (directory, memory) = (&config.spool.directory, config.limits.memory_spool_bytes);
        match Keeper::open(directory, config.spool.bytes_max, boot, claim, |source| is_read(config, source)) {
            Ok((keeper, replies, recovered)) => {
                let damage = recovered.damage;
                let pending: u64 = recovered.pending.iter().sum();
                tracing::info!(queue.epoch = recovered.epoch, sequence = recovered.next, pending, "spool opened");
                if damage != crate::spool::log::Damage::default() {
                    tracing::warn!(
                        torn_bytes = damage.torn_bytes,
                        bad_stretches = damage.bad_stretches,
                        strangers = damage.strangers,
                        sequences_left_out = damage.leapt,
                        "the spool did not end in good order; what is whole in it is sent"
                    );
                }
                let left: u64 = recovered.books.iter().map(|books| books.shed[Reason::Left as usize]).sum();
                if recovered.epoch == claim.fresh.0 && left > 0 {
                    tracing::warn!(left, "a new queue begins: what waited in the one before is dropped, and counted");
                }
                let spool = Spool::recovered(&recovered, memory);
                let (positions, series_next) = (recovered.positions, recovered.series_next);
                Self { spool, keeper: Some(keeper), replies, positions, series_next }
            }
            Err(error) => {
                let reason = match error.kind() {
                    std::io::ErrorKind::WouldBlock => format!("another process uses {}", directory.display()),
                    _ => format!("{}: {error}", directory.display()),
                };
                tracing::error!(reason, "no spool on disk: what is not sent is lost when the agent ends");
                Self {
                    spool: Spool::in_memory(claim.fresh, memory, reason),
                    keeper: None,
                    replies: mpsc::unbounded_channel().1,
                    positions: BTreeMap::new(),
                    series_next: 0,
                }
            }
        }
    }
}

impl Agent {
    /// The spool's disk has answered.
    pub(super) fn handle_spool(&mut self, reply: Reply) {
        let now = mono_now();
        self.spool.handle_reply(now, reply);
        self.pump(now);
    }

    /// Gives the spool's disk what it is to do.
    pub(super) fn drive_spool(&mut self, now: MonoTime) {
        let Some(keeper) = &self.keeper else { return };
        while let Some(request) = self.spool.poll_request(now) {
            keeper.ask(request);
        }
    }

    /// Gives it the last that it is to do.
    pub(super) fn close_spool(&mut self) {
        let Some(keeper) = &self.keeper else { return };
        self.spool.close().into_iter().for_each(|request| keeper.ask(request));
    }
}

/// Whether there is still a reader who goes on from a position of `source`.
fn is_read(config: &Config, source: &str) -> bool {
    source == changes::SOURCE
        || (config.journald.enabled && (source == journal::SOURCE || journal::is_service(source)))
        || config.logs.iter().any(|log| log.path.to_str() == Some(source))
}

/// A new life of the spool: milliseconds since the epoch, then 12 random bits, so that an epoch never comes back even
/// if the clock does. Below 2⁵³: exact in every JSON reader.
pub(super) fn new_epoch(wall: WallTime) -> QueueEpoch {
    let mut random = [0; 2];
    ring::rand::SecureRandom::fill(&ring::rand::SystemRandom::new(), &mut random)
        .expect("the operating system has randomness");
    let ms = wall.unix_ms().unsigned_abs() & ((1 << 41) - 1);
    QueueEpoch((ms << 12) | u64::from(u16::from_le_bytes(random) & 0xfff))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn positions_of_the_journals_services_are_kept_as_long_as_it_is_read() {
        let mut config = Config::default();
        let of_journal = ["journald", "journald/ssh", "journald/user@1000.service"];
        assert!(of_journal.iter().all(|source| is_read(&config, source)) && is_read(&config, changes::SOURCE));
        assert!(!is_read(&config, "journaldx") && !is_read(&config, "/var/log/app.log"));
        config.journald.enabled = false;
        assert!(of_journal.iter().all(|source| !is_read(&config, source)));
    }

    #[test]
    fn queue_epochs_differ_even_within_a_millisecond_and_fit_every_json_reader() {
        let wall = WallTime::from_unix_ms(1_800_000_000_123);
        let epochs: std::collections::BTreeSet<_> = (0..64).map(|_| new_epoch(wall)).collect();
        assert!(epochs.len() > 32, "{}", epochs.len());
        assert!(epochs.iter().all(|epoch| epoch.0 < 1 << 53 && epoch.0 >> 12 == 1_800_000_000_123));
    }
}

//! The desk where policies are handed in: verified, checked, stored, pushed. Whatever is not right is refused.

use super::core::Job;
use super::counters::{Counters, count};
use super::enrolment::ask;
use crate::store::{PolicyRow, Write, Written};
use std::sync::{Arc, PoisonError, RwLock};
use tokio::sync::mpsc;
use vedette_link::clock::Clock;
use vedette_link::server::ServerHandle;
use vedette_protocol::document::Problem;
use vedette_protocol::policy::Policy;
use vedette_protocol::signature::{Domain, PublicKey, SignatureError, Signed};
use vedette_protocol::time::WallTime;

/// A policy that was verified here.
#[derive(Debug)]
pub(crate) struct CurrentPolicy {
    pub(crate) version: u64,
    pub(crate) expires: Option<WallTime>,
    pub(crate) stored: WallTime,
    pub(crate) signed: Signed,
}

/// Takes policies in.
#[derive(Debug)]
pub(crate) struct PolicyDesk {
    trusted: Vec<PublicKey>,
    current: RwLock<Option<Arc<CurrentPolicy>>>,
    counters: Arc<Counters>,
}

/// Why a policy was refused.
#[derive(Debug, thiserror::Error)]
pub(crate) enum PolicyRefused {
    #[error(transparent)]
    Signature(#[from] SignatureError),
    #[error("the policy has problems")]
    Invalid(Vec<Problem>),
    #[error("the policy is over since {0}")]
    Expired(WallTime),
    #[error("version {version} is not greater than version {stored}, which is stored")]
    NotNewer { version: u64, stored: u64 },
    #[error("the collector is going down")]
    GoingDown,
}

impl PolicyDesk {
    /// A desk that trusts `trusted`. What is stored counts only if it still verifies: keys may have been withdrawn.
    pub(crate) fn new(trusted: Vec<PublicKey>, stored: Option<PolicyRow>, counters: Arc<Counters>) -> Self {
        let desk = Self { trusted, current: RwLock::new(None), counters };
        if let Some(row) = stored {
            match desk.verify(&row.signed) {
                Ok(policy) => desk.replace(&policy, row.stored, row.signed),
                Err(error) => {
                    tracing::error!(policy.version = row.version, %error, "the stored policy is not sent to agents")
                }
            }
        }
        desk
    }

    pub(crate) fn current(&self) -> Option<Arc<CurrentPolicy>> {
        self.current.read().unwrap_or_else(PoisonError::into_inner).clone()
    }

    /// Takes one in and pushes it to all agents. Returns its version and to how many it went.
    pub(crate) async fn accept(
        &self,
        signed: Signed,
        clock: &dyn Clock,
        jobs: &mpsc::Sender<Job>,
        server: &ServerHandle,
    ) -> Result<(u64, usize), PolicyRefused> {
        let accepted = self.store(signed, clock.wall(), jobs).await;
        count(match &accepted {
            Ok(_) => &self.counters.policies_stored,
            Err(PolicyRefused::Signature(SignatureError::UntrustedKey(_))) => &self.counters.policies_untrusted,
            Err(PolicyRefused::Signature(_)) => &self.counters.policies_mismatch,
            Err(PolicyRefused::Invalid(_)) => &self.counters.policies_invalid,
            Err(PolicyRefused::Expired(_)) => &self.counters.policies_expired,
            Err(PolicyRefused::NotNewer { .. } | PolicyRefused::GoingDown) => &self.counters.policies_not_newer,
        });
        let policy = accepted.inspect_err(|error| tracing::warn!(%error, "policy refused"))?;
        let pushed = server
            .connections()
            .into_iter()
            .filter(|(connection, _)| server.send_policy(*connection, policy.signed.clone()))
            .count();
        tracing::info!(policy.version = policy.version, agents = pushed, "policy stored and sent");
        Ok((policy.version, pushed))
    }

    async fn store(
        &self,
        signed: Signed,
        now: WallTime,
        jobs: &mpsc::Sender<Job>,
    ) -> Result<Arc<CurrentPolicy>, PolicyRefused> {
        let policy = self.verify(&signed)?;
        if let Some(expires) = policy.expires.filter(|expires| *expires <= now) {
            return Err(PolicyRefused::Expired(expires));
        }
        let version = policy.version;
        match ask(jobs, Write::Policy { at: now, version, signed: signed.clone() }).await {
            Some(Written::Done) => {
                self.replace(&policy, now, signed);
                self.current().ok_or(PolicyRefused::GoingDown)
            }
            Some(Written::NotNewer { stored }) => Err(PolicyRefused::NotNewer { version, stored }),
            _ => Err(PolicyRefused::GoingDown),
        }
    }

    fn verify(&self, signed: &Signed) -> Result<Policy, PolicyRefused> {
        let bytes = signed.verify(Domain::Policy, &self.trusted)?;
        let text = std::str::from_utf8(bytes).map_err(|_| SignatureError::Mismatch)?;
        Policy::parse("policy", text).map_err(PolicyRefused::Invalid)
    }

    /// Two that were stored at the same time may come here in either order: the greater version stays.
    fn replace(&self, policy: &Policy, stored: WallTime, signed: Signed) {
        let mut current = self.current.write().unwrap_or_else(PoisonError::into_inner);
        if current.as_ref().is_none_or(|known| known.version < policy.version) {
            let (version, expires) = (policy.version, policy.expires);
            *current = Some(Arc::new(CurrentPolicy { version, expires, stored, signed }));
        }
    }
}

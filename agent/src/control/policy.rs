//! Which policy runs. A new one is a transaction: verify, check, persist, try, then confirm or roll back.
//!
//! Never fails open: whatever is wrong with a document, what ran before runs on. At start the confirmed policy is read
//! back and verified again; if that fails the built-in default runs.

use super::policy_file::{PolicyFolder, Slot, Versions};
use std::io;
use std::path::Path;
use vedette_protocol::policy::Policy;
use vedette_protocol::signature::{Domain, PublicKey, SignatureError, Signed};
use vedette_protocol::time::WallTime;

/// Healthy ticks in a row that confirm a policy.
pub const TRIAL_HEALTHY_TICKS: u32 = 5;

/// Ticks after which a policy that was not healthy for long enough is rolled back.
pub const TRIAL_TICKS_MAX: u32 = 30;

/// Why a policy was refused.
#[derive(Debug, thiserror::Error)]
pub enum PolicyRefused {
    /// Altered, or signed for another purpose.
    #[error("{0}")]
    Signature(SignatureError),
    /// Signed by a key that this agent was not told to trust.
    #[error(
        "signed by {0}, which this agent does not trust: if it is yours, add it to `trust.policy-keys` of agent.toml and restart the agent"
    )]
    UntrustedKey(PublicKey),
    /// Not a policy.
    #[error("{0}")]
    Malformed(String),
    /// Not newer than what ran or failed.
    #[error("version {version} is not above {floor}")]
    Version {
        /// Its version.
        version: u64,
        /// What it has to exceed.
        floor: u64,
    },
    /// Too old.
    #[error("expired at {0}")]
    Expired(WallTime),
    /// It made the agent unhealthy.
    #[error("rolled back: no {TRIAL_HEALTHY_TICKS} healthy ticks in a row within {TRIAL_TICKS_MAX}")]
    Unhealthy,
    /// The agent died during the trial.
    #[error("the agent died while this policy was on trial")]
    Died,
    /// It could not be persisted, so it must not be used.
    #[error("it could not be stored: {0}")]
    Storage(#[from] io::Error),
}

/// Whether `policy` has expired: it runs on, and the agent says so.
pub fn stale(policy: &Policy, now: WallTime) -> bool {
    policy.expires.is_some_and(|expires| expires <= now)
}

impl From<SignatureError> for PolicyRefused {
    fn from(error: SignatureError) -> Self {
        match error {
            SignatureError::UntrustedKey(key) => Self::UntrustedKey(key),
            other => Self::Signature(other),
        }
    }
}

/// Says once for each policy that it has expired.
#[derive(Debug, Default)]
pub struct Expiry {
    /// Version of the last one told.
    told: u64,
}

impl Expiry {
    /// Whether it is to be told now that `policy` has expired.
    pub fn is_news(&mut self, policy: &Policy, now: WallTime) -> bool {
        let news = stale(policy, now) && self.told != policy.version;
        if news {
            self.told = policy.version;
        }
        news
    }
}

/// Keeps the policy in effect and the one on trial.
pub struct PolicyKeeper {
    folder: PolicyFolder,
    trusted: Vec<PublicKey>,
    versions: Versions,
    confirmed: Policy,
    trial: Option<Trial>,
    refused_total: u64,
    last_refused: Option<(u64, String)>,
}

struct Trial {
    policy: Policy,
    ticks: u32,
    healthy_in_a_row: u32,
}

/// What a tick did to a trial.
#[derive(Debug, PartialEq)]
pub enum TrialStep {
    /// Nothing, or no trial runs.
    None,
    /// The policy on trial is confirmed.
    Confirmed,
    /// The trial failed: run this policy again.
    RolledBack(Policy),
}

impl PolicyKeeper {
    /// Reads the confirmed policy back. What cannot be trusted is refused and counted, and the default runs.
    ///
    /// # Errors
    ///
    /// If the folder cannot be made or the remembered versions cannot be read: a person has to look.
    pub fn open(data_dir: &Path, trusted: Vec<PublicKey>) -> io::Result<Self> {
        let folder = PolicyFolder::open(data_dir)?;
        let versions = folder.versions()?;
        let confirmed = Policy::default();
        let mut keeper =
            Self { folder, trusted, versions, confirmed, trial: None, refused_total: 0, last_refused: None };
        keeper.recover_current();
        keeper.recover_trial()?;
        Ok(keeper)
    }

    /// A document came in. Returns the policy to apply now, if it is one; a repetition of what runs is none.
    pub fn handle_signed(&mut self, signed: &Signed, now: WallTime) -> Option<Policy> {
        let policy = match self.verify(signed) {
            Ok(policy) if policy == *self.in_effect() => return None,
            Ok(policy) => policy,
            Err(refused) => {
                self.refuse(0, &refused);
                return None;
            }
        };
        match self.admit(&policy, now).and_then(|()| Ok(self.folder.write_trial(signed)?)) {
            Ok(()) => {
                self.trial = Some(Trial { policy: policy.clone(), ticks: 0, healthy_in_a_row: 0 });
                Some(policy)
            }
            Err(refused) => {
                self.refuse(policy.version, &refused);
                None
            }
        }
    }

    /// A tick ran; `healthy` says whether none was missed and nothing failed since the last one.
    pub fn handle_tick(&mut self, healthy: bool) -> TrialStep {
        let Some(trial) = &mut self.trial else { return TrialStep::None };
        trial.ticks += 1;
        trial.healthy_in_a_row = if healthy { trial.healthy_in_a_row + 1 } else { 0 };
        if trial.healthy_in_a_row >= TRIAL_HEALTHY_TICKS {
            self.confirm()
        } else if trial.ticks >= TRIAL_TICKS_MAX {
            self.roll_back(&PolicyRefused::Unhealthy)
        } else {
            TrialStep::None
        }
    }

    /// The agent stops in good order: a trial that was not finished says nothing against its policy.
    pub fn handle_shutdown(&mut self) {
        if self.trial.take().is_some() {
            // Left behind it would count as a death at the next start: the safe side.
            let _ = self.folder.discard_trial();
        }
    }

    /// What runs, on trial or confirmed.
    pub fn in_effect(&self) -> &Policy {
        self.trial.as_ref().map_or(&self.confirmed, |trial| &trial.policy)
    }

    /// Whether what runs is still on trial.
    pub fn on_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// Documents refused since start.
    pub fn refused_total(&self) -> u64 {
        self.refused_total
    }

    /// The last one refused: its version (0 if it cannot be known) and why.
    pub fn last_refused(&self) -> Option<&(u64, String)> {
        self.last_refused.as_ref()
    }

    fn verify(&self, signed: &Signed) -> Result<Policy, PolicyRefused> {
        let bytes = signed.verify(Domain::Policy, &self.trusted)?;
        let text = std::str::from_utf8(bytes).map_err(|error| PolicyRefused::Malformed(error.to_string()))?;
        Policy::parse("policy.toml", text).map_err(|problems| {
            let first = problems.first().map(ToString::to_string).unwrap_or_default();
            PolicyRefused::Malformed(format!("{first} ({} problems)", problems.len()))
        })
    }

    fn admit(&self, policy: &Policy, now: WallTime) -> Result<(), PolicyRefused> {
        let version = policy.version;
        let running = self.in_effect().version.max(self.versions.failed);
        if version <= running {
            return Err(PolicyRefused::Version { version, floor: running });
        }
        // Equal is fine here: the confirmed document may have been lost, and a version is signed only once.
        if version < self.versions.confirmed {
            return Err(PolicyRefused::Version { version, floor: self.versions.confirmed });
        }
        match policy.expires.filter(|expires| *expires <= now) {
            Some(expires) => Err(PolicyRefused::Expired(expires)),
            None => Ok(()),
        }
    }

    fn confirm(&mut self) -> TrialStep {
        let Some(trial) = self.trial.take() else { return TrialStep::None };
        match self.folder.confirm_trial() {
            Ok(()) => {
                self.versions.confirmed = trial.policy.version;
                if let Err(error) = self.folder.write_versions(self.versions) {
                    // The document itself is stored and guards its version as long as it is there.
                    tracing::warn!(policy.version = trial.policy.version, %error, "confirmed version not noted on disk");
                }
                self.confirmed = trial.policy;
                TrialStep::Confirmed
            }
            Err(error) => {
                self.trial = Some(trial);
                self.roll_back(&PolicyRefused::Storage(error))
            }
        }
    }

    fn roll_back(&mut self, why: &PolicyRefused) -> TrialStep {
        let Some(trial) = self.trial.take() else { return TrialStep::None };
        self.bar(trial.policy.version);
        self.refuse(trial.policy.version, why);
        TrialStep::RolledBack(self.confirmed.clone())
    }

    /// Never tries `version` again. If the disk refuses, it is at least barred until the next start.
    fn bar(&mut self, version: u64) {
        self.versions.failed = self.versions.failed.max(version);
        let stored = self.folder.write_versions(self.versions).and_then(|()| self.folder.discard_trial());
        if let Err(error) = stored {
            tracing::warn!(policy.version = version, %error, "failed policy could not be noted on disk");
        }
    }

    fn recover_current(&mut self) {
        let read = self.folder.read(Slot::Current).map_err(PolicyRefused::from);
        match read.and_then(|signed| signed.map(|signed| self.verify(&signed)).transpose()) {
            Ok(None) => {}
            // It was rolled back after its file had taken this place.
            Ok(Some(policy)) if policy.version == self.versions.failed => {
                self.refuse(policy.version, &PolicyRefused::Unhealthy);
            }
            Ok(Some(policy)) => self.confirmed = policy,
            Err(refused) => self.refuse(self.versions.confirmed, &refused),
        }
    }

    fn recover_trial(&mut self) -> io::Result<()> {
        let left = self.folder.read(Slot::Trial).ok().flatten();
        if let Some(policy) = left.and_then(|signed| self.verify(&signed).ok()) {
            self.bar(policy.version);
            self.refuse(policy.version, &PolicyRefused::Died);
        }
        self.folder.discard_trial()
    }

    fn refuse(&mut self, version: u64, why: &PolicyRefused) {
        tracing::warn!(policy.version = version, reason = %why, "policy refused");
        self.refused_total += 1;
        self.last_refused = Some((version, why.to_string()));
    }
}

#[cfg(test)]
mod tests;

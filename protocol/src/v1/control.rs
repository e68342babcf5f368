//! Messages of the control stream and of enrolment.

use super::limits::{PROBLEM_BYTES_MAX, PROBLEMS_MAX};
use crate::ids::{BootId, Digest, DirectiveId, QueueEpoch, Sequence};
use crate::signature::Signed;
use crate::time::{MonoTime, WallTime};
use serde::{Deserialize, Serialize};

/// What an agent says on the control stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromAgent {
    /// First message.
    Hello(Hello),
    /// What is in effect: after every connect and every change.
    InEffect(InEffect),
    /// Answer to [`FromCollector::TimeProbe`] and sign of life, with the agent's own counts.
    Heartbeat(Heartbeat),
}

/// Who connects and what it runs.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Hello {
    /// Version of the agent's software.
    pub software: String,
    /// `host.name`.
    pub host_name: String,
    /// Boot of the host.
    pub boot: BootId,
    /// Life of the spool.
    pub queue_epoch: QueueEpoch,
    /// Agent's monotonic time when it sent this.
    pub mono: MonoTime,
    /// Agent's wall time when it sent this.
    pub wall: WallTime,
    /// Resource attributes: `host.arch`, `os.type`, `os.version` …
    pub resource: Vec<(String, String)>,
}

/// What is in effect on an agent, as opposed to what was sent to it.
#[derive(Clone, Debug, Default, PartialEq, Serialize, Deserialize)]
pub struct InEffect {
    /// Policy version that runs; 0 for the built-in default.
    pub policy_version: u64,
    /// The policy has expired and runs on.
    pub policy_stale: bool,
    /// The last policy that was refused, and why.
    pub policy_refused: Option<(u64, String)>,
    /// Directives that raise something now.
    pub directives: Vec<DirectiveId>,
    /// The last directive that was refused, and why.
    pub directive_refused: Option<(DirectiveId, String)>,
    /// Running detector modules with their state's name.
    pub detectors: Vec<(String, Digest, String)>,
}

/// Sign of life.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Heartbeat {
    /// Agent's monotonic time when it sent this.
    pub mono: MonoTime,
    /// Agent's wall time when it sent this.
    pub wall: WallTime,
    /// Echo of the collector's probe: its token and the time it lay with the agent.
    pub echo: Option<(u64, u64)>,
    /// Batches ever made in this queue epoch.
    pub batches_made: u64,
    /// Batches shed in this queue epoch, by class in the order of `Class`.
    pub batches_shed: [u64; 3],
}

/// What a collector says on the control stream.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum FromCollector {
    /// First message, answers `Hello`.
    Welcome {
        /// Echo of `Hello::mono`.
        hello_mono: MonoTime,
        /// Collector's wall time when it received the hello.
        received: WallTime,
        /// Collector's wall time when it sent this.
        sent: WallTime,
    },
    /// What became of batches; only after the commit.
    Ack {
        /// Their queue epoch.
        queue_epoch: QueueEpoch,
        /// Sequence and fate.
        outcomes: Vec<(Sequence, Outcome)>,
    },
    /// Asks for a heartbeat at once that echoes `token`.
    TimeProbe {
        /// Opaque.
        token: u64,
    },
    /// A policy: exact bytes, signed by the targets role.
    Policy(Signed),
    /// A directive: exact bytes, signed by the collector's online key.
    Directive(Signed),
    /// Come back not before this many milliseconds, then close.
    RetryAfter {
        /// Milliseconds.
        delay_ms: u32,
    },
}

/// Fate of a batch at the collector.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Outcome {
    /// Stored now.
    Committed,
    /// Had been stored before.
    Duplicate,
    /// Kept aside unread, counted: sending it again would not help.
    Quarantined,
}

/// A host asks for its identity.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct EnrollRequest {
    /// One-time token.
    pub token: String,
    /// PKCS #10 request, DER. Its subject is ignored: the collector writes the name.
    pub csr_der: Vec<u8>,
    /// `host.name`, for people.
    pub host_name: String,
}

/// The collector's answer.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum EnrollReply {
    /// Welcome.
    Issued {
        /// Certificate chain, leaf first, DER.
        chain_der: Vec<Vec<u8>>,
        /// Certificate authorities to trust from now on, DER.
        authorities_der: Vec<Vec<u8>>,
        /// Public key (Ed25519, 32 bytes) that signs directives.
        online_key: [u8; 32],
    },
    /// Refused; the reason is for people and gives nothing away.
    Refused {
        /// Why, and what to do.
        reason: String,
    },
}

/// An agent asks on its control stream for a new certificate. Whom it is for stands in the certificate of the connection.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct RenewRequest {
    /// PKCS #10 request for a new key, DER. Its subject is ignored.
    pub csr_der: Vec<u8>,
}

/// The collector's answer on the control stream.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum RenewReply {
    /// A certificate of the same name.
    Issued {
        /// Certificate chain, leaf first, DER.
        chain_der: Vec<Vec<u8>>,
        /// Certificate authorities to trust from now on, DER.
        authorities_der: Vec<Vec<u8>>,
    },
    /// Refused: the old certificate stays; ask again later.
    Refused {
        /// For people.
        reason: String,
    },
}

/// The collector says on the control stream that a sequence of this queue epoch came with other content than before: the
/// agent's spool went back in time. What is made under sequences that were used is kept aside, so the agent begins a new
/// queue epoch. An agent that does not know this message skips it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct BeginAnew {
    /// The one to leave.
    pub queue_epoch: QueueEpoch,
}

/// What a person has to mend on the agent's host, in the agent's words: on the control stream after every connect and
/// when it changes. A collector that does not know this message skips it, and an agent that never says it is not known to
/// be well.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Health {
    /// Empty if all is well.
    pub problems: Vec<String>,
}

impl Health {
    /// The problems as far as a message holds them: of too many the first, of a long one its begin.
    pub fn told(problems: &[String]) -> Self {
        let told = problems.iter().take(PROBLEMS_MAX).map(|problem| {
            let end = problem.floor_char_boundary(PROBLEM_BYTES_MAX);
            problem[..end].to_owned()
        });
        Self { problems: told.collect() }
    }
}

//! What can be written.

use crate::engine::{Engine, Event};
use vedette_protocol::ids::{DirectiveId, HostId, QueueEpoch, Sequence};
use vedette_protocol::policy::Directive;
use vedette_protocol::signature::Signed;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::{Batch, Body, InEffect, Outcome};

/// Most bytes kept of a frame that cannot be read.
pub const QUARANTINE_RAW_BYTES_MAX: usize = 64 << 10;

/// One thing to do.
#[derive(Debug)]
pub enum Write {
    /// Store a batch and tell the engine what it says, unless its key is known. One whose key is known with other content
    /// is kept aside.
    Batch(Box<BatchWrite>),
    /// Keep a frame aside that cannot be read.
    Quarantine(QuarantineWrite),
    /// Append to the event log.
    Event {
        /// The collector's clock.
        at: WallTime,
        /// What happened.
        event: Event,
    },
    /// Store an incident's current form.
    Incident {
        /// Public id.
        id: String,
        /// Whether it is open.
        open: bool,
        /// When it was opened.
        opened: WallTime,
        /// The whole incident, as the API tells it.
        json: String,
    },
    /// Store a directive; one that is known stays as it is.
    Directive {
        /// Content.
        directive: Directive,
        /// The same, signed.
        signed: Signed,
    },
    /// An agent reported this directive in effect; logged for the engine the first time.
    DirectiveInEffect {
        /// The collector's clock.
        at: WallTime,
        /// Directive.
        directive: DirectiveId,
        /// Who reported.
        host: HostId,
    },
    /// Store a policy if its version is greater than all stored ones.
    Policy {
        /// The collector's clock.
        at: WallTime,
        /// Its version.
        version: u64,
        /// Document.
        signed: Signed,
    },
    /// Make an enrolment token.
    Token(TokenWrite),
    /// Use an enrolment token once.
    SpendToken {
        /// SHA-256 of it.
        hash: [u8; 32],
        /// The collector's clock.
        at: WallTime,
    },
    /// Something about an agent.
    Agent {
        /// Host.
        host: HostId,
        /// The collector's clock.
        at: WallTime,
        /// What.
        write: AgentWrite,
    },
    /// Store the engine's state, so that a restart replays only what follows.
    Snapshot {
        /// Last event in it.
        position: u64,
        /// Format.
        version: u32,
        /// State.
        bytes: Vec<u8>,
    },
}

/// A decoded batch.
#[derive(Debug)]
pub struct BatchWrite {
    /// From the certificate.
    pub host: HostId,
    /// Collector's clock minus the host's clock.
    pub offset_ns: i64,
    /// The collector's clock.
    pub received: WallTime,
    /// Size on the wire.
    pub wire_bytes: u32,
    /// Content.
    pub batch: Batch,
}

/// A frame that cannot be read.
#[derive(Debug)]
pub struct QuarantineWrite {
    /// From the certificate.
    pub host: HostId,
    /// Its key, if that much could be read.
    pub key: Option<(QueueEpoch, Sequence)>,
    /// The collector's clock.
    pub received: WallTime,
    /// Why.
    pub reason: String,
    /// Size on the wire.
    pub wire_bytes: u32,
    /// The frame; at most [`QUARANTINE_RAW_BYTES_MAX`] are kept.
    pub raw: Vec<u8>,
}

/// A new enrolment token; only its hash is known here.
#[derive(Debug)]
pub struct TokenWrite {
    /// SHA-256 of it.
    pub hash: [u8; 32],
    /// The collector's clock.
    pub created: WallTime,
    /// End of its life.
    pub expires: WallTime,
    /// How often it can be used.
    pub uses: u32,
}

/// Something about an agent.
#[derive(Debug)]
pub enum AgentWrite {
    /// It was given an identity.
    Enrolled {
        /// `host.name`.
        host_name: String,
    },
    /// It connected.
    Hello {
        /// `host.name`.
        host_name: String,
        /// Version of its software.
        software: String,
        /// Life of its spool.
        queue_epoch: QueueEpoch,
        /// The first sequence that its process gives; zero if it does not say.
        first_sequence: Sequence,
        /// Host's clock minus the collector's clock.
        skew_ns: i64,
    },
    /// Its clock was measured.
    Clock {
        /// Host's clock minus the collector's clock.
        skew_ns: i64,
    },
    /// What is in effect there.
    InEffect(Box<InEffect>),
    /// Its own counts.
    Heartbeat {
        /// Life of its spool.
        queue_epoch: QueueEpoch,
        /// Batches ever made.
        made: u64,
        /// Batches shed, by class.
        shed: [u64; 3],
    },
    /// It is shut out for good.
    Revoked,
}

/// What became of a write.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Written {
    /// Done.
    Done,
    /// Fate of a batch or a frame.
    Outcome(Outcome),
    /// Another batch was stored under the sequence of this one, which is kept aside: the host's spool went back in time.
    Reused {
        /// Whose it is.
        host: HostId,
    },
    /// A policy of this or a later version is stored; nothing was done.
    NotNewer {
        /// Version stored.
        stored: u64,
    },
    /// There is no such token, or it is used up or over; nothing was done.
    BadToken,
}

impl BatchWrite {
    /// What the batch says to the engine, if it is of the agent's `current` life or of an earlier one.
    pub(crate) fn events(&self, current: bool) -> Vec<Event> {
        let (host, offset_ns) = (self.host, self.offset_ns);
        let event = |finding| {
            let finding = Box::new(Engine::logged_form(finding));
            if current {
                Event::Finding { host, offset_ns, finding }
            } else {
                Event::EarlierFinding { host, offset_ns, finding }
            }
        };
        match &self.batch.body {
            Body::Findings(findings) => findings.iter().map(event).collect(),
            Body::Changes(changes) => {
                changes.iter().map(|change| Event::Change { host, offset_ns, change: change.clone() }).collect()
            }
            Body::Series(_) | Body::Features(_) | Body::Samples(_) | Body::Block(_) | Body::Logs(_) => Vec::new(),
        }
    }
}

//! What goes into the engine and what comes out of it.

use super::report::IncidentReport;
use super::setup::Setup;
use serde::{Deserialize, Serialize};
use vedette_protocol::ids::{DirectiveId, HostId};
use vedette_protocol::policy::Directive;
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::{Change, Finding};

/// One entry of the event log: the engine's state is a fold over these in the order of their positions.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct Logged {
    /// Position in the log, strictly increasing.
    pub position: u64,
    /// The collector's clock when the event was written.
    pub at: WallTime,
    /// What happened.
    pub event: Event,
}

/// Everything that the engine can learn. The log keeps the variants' numbers: new ones come last.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub enum Event {
    /// Configuration and topology from here on.
    Configured(Box<Setup>),
    /// A host's name became known or changed.
    HostSeen {
        /// Host.
        host: HostId,
        /// `host.name`.
        name: String,
    },
    /// A finding was accepted.
    Finding {
        /// From its certificate.
        host: HostId,
        /// Collector's clock minus the host's clock, measured at hello.
        offset_ns: i64,
        /// Content, without the evidence, which stays in the store.
        finding: Box<Finding>,
    },
    /// A change was accepted.
    Change {
        /// From its certificate.
        host: HostId,
        /// Collector's clock minus the host's clock.
        offset_ns: i64,
        /// Content.
        change: Change,
    },
    /// An agent reported for the first time that a directive is in effect.
    DirectiveInEffect {
        /// Directive.
        directive: DirectiveId,
    },
    /// A person acted on an incident.
    Operator {
        /// Incident.
        incident: String,
        /// What they did.
        command: OperatorCommand,
    },
    /// Time passed; written when [`super::Engine::poll_timeout`] is due.
    Tick,
    /// An agent came back without what it knew: a new queue epoch. Nobody will say of its open episodes that they are
    /// over.
    AgentRestarted {
        /// Host.
        host: HostId,
    },
    /// A finding was accepted that an agent had made before it restarted.
    EarlierFinding {
        /// From its certificate.
        host: HostId,
        /// Collector's clock minus the host's clock.
        offset_ns: i64,
        /// Content, without the evidence.
        finding: Box<Finding>,
    },
}

/// What a person can do to an incident.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OperatorCommand {
    /// Somebody looks at it.
    Acknowledge,
    /// Somebody works against it.
    Mitigate,
    /// Somebody has learnt from it.
    Review,
}

/// What the engine wants done. Doing it twice, as after a restart, changes nothing.
#[derive(Clone, Debug)]
pub enum Action {
    /// Store this as the incident's current form.
    SaveIncident(Box<IncidentReport>),
    /// Sign, store and send this.
    IssueDirective(Directive),
}

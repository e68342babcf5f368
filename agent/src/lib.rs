//! The agent: shells around `edge`'s sans-IO pipeline. Sources read the host, the worker runs detectors, the uplink
//! talks to the collector, and one loop with one-second ticks drives them.
//!
//! Two processes: the agent proper holds keys, files and network and never runs plugin code; the detector worker is
//! the same binary behind its hidden `worker` entry point.

pub mod args;
pub mod commands;
pub mod config;

pub mod files;
pub mod inventory;
pub mod source;

pub mod clock;
pub mod control;
pub mod cost;
pub mod diagnose;
pub mod diagnostics;
pub mod disk;
pub mod durable;
pub mod enroll;
pub mod hardening;
pub mod host;
pub mod identity;
pub mod lanes;
pub mod learnt;
pub mod local;
pub mod log;
pub mod memory;
pub mod metrics;
pub mod notify;
pub mod recorder;
pub mod runtime;
pub mod spool;
pub mod status;
pub mod uplink;
pub mod worker_process;

//! The names of an agent's sources, as a policy and `agent.toml` write them.
//!
//! They stand here because both ends check a policy and neither knows the other. An agent's test holds its sources to
//! this list: who adds a source adds a line.

/// Every source's name.
pub const SOURCES: &[&str] = &[
    "cpu",
    "load",
    "memory",
    "paging",
    "pressure",
    "disk",
    "network",
    "socket",
    "filesystem",
    "filesystem-remote",
    "process",
    "cgroup",
    "file-handle",
    "clock",
    "temperature",
];

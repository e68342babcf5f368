//! The collector: takes in what agents ship, keeps it, joins findings of the whole fleet into few explained incidents,
//! and sends policy and directives back.

mod api;
pub mod config;
pub mod engine;
pub mod shell;
pub mod store;
pub mod topology;

#[cfg(test)]
#[path = "../tests/harness/made.rs"]
mod made;

//! What comes down from the collector: policies and directives, and what is in effect of them.

pub mod directive;
pub mod policy;
pub mod policy_file;

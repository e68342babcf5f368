//! Drives the wire format through its public doors.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod golden;
mod halves;
mod hostile;
mod pages;
mod samples;
mod session;

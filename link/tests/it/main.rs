//! Both ends over real UDP on loopback, through a network that loses, doubles, delays and parts.

#![expect(clippy::unwrap_used, reason = "helpers of tests")]

mod delivery;
mod enrolment;
mod hostile;
mod proxy;
mod refusal;
mod renewal;
mod world;

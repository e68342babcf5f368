//! Deterministic simulation: virtual time, seeded signals and faults with labelled truth, a lossy in-memory network.
//!
//! Everything here is a pure function of a [`Seed`]: no clock, file, socket, thread or environment variable is read, and
//! transcendental functions come from a pinned `libm`, so a seed gives the same bits on every machine. A test that holds
//! a seed through [`Seed::announce`] prints it when it fails; running it again with that seed fails in the same way.
//!
//! ```
//! use std::time::Duration;
//! use vedette_sim::{Clock, Effect, Noise, Seed, Signal, SignalSpec};
//!
//! let seed = Seed(42).announce("readme");
//! let mut clock = Clock::new();
//! let mut signal = Signal::new(SignalSpec::gauge(0.2, Noise::gaussian(0.02)).within(0.0, 1.0), seed.rng("cpu"));
//! for _ in 0..3_600 {
//!     clock.advance(Duration::from_secs(1));
//!     let value = signal.sample(clock.elapsed(), Effect::NONE).expect("no gaps were asked for");
//!     assert!((0.0..=1.0).contains(&value));
//! }
//! ```

mod clock;
mod fault;
mod host;
mod log;
mod network;
mod rig;
mod rng;
pub mod scenario;
mod schedule;
mod scorer;
mod signal;
mod truth;

pub use clock::{Clock, START};
pub use fault::{Effect, Fault, FaultKind};
pub use host::{Host, HostSink, SeriesRef};
pub use log::{LineTemplate, LogLine, LogSource};
pub use network::{Delivery, Lane, Network, Quality, Side, Traffic};
pub use rig::{Rig, Sent};
pub use rng::{AnnouncedSeed, Rng, Seed};
pub use schedule::Schedule;
pub use scorer::{LevelScorer, Scorer};
pub use signal::{Bursts, Gaps, Noise, Output, Shape, Signal, SignalSpec};
pub use truth::{Judgement, Label, Truth};

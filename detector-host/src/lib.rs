//! Runs untrusted detectors: WebAssembly components, compiled ahead of time, in a confined process.
//!
//! [`artifact`] decides what may be loaded, [`engine`] how it runs, [`instance`] is one running detector, [`worker`] the
//! confined process around them, [`supervise`] the agent's side of it. There is no compiler in here.

pub mod artifact;
pub mod confine;
pub mod engine;
pub mod instance;
pub mod supervise;
pub mod wire;
pub mod worker;

//! What an agent thinks: readings, log lines and scores in, requests to detectors, batches and intervals out.
//!
//! Sans-IO: this crate knows no clock, file, socket, thread or async runtime. `now` is an argument, actions come out
//! as values. Agent, simulator, replay and the author's tool run the very same code.
//!
//! Reading order: [`metric`] says what a source reports, [`normalise`] turns readings into samples, [`registry`] names
//! series, [`features`] and [`logs`] summarise, [`calibration`], [`episodes`] and [`budget`] judge, [`recorder`] keeps, [`learnt`] outlives a
//! restart, [`pipeline`] ties it together.

pub mod metric;
pub mod normalise;
pub mod registry;

pub mod codec;
pub mod features;
pub mod logs;
pub mod mask;
pub mod multiline;
pub mod templates;

pub mod budget;
pub mod calibration;
pub mod episodes;
pub mod evidence;
mod habits;
mod judge;
pub mod learnt;
mod oddness;
mod quorum;
mod room;
mod thinning;
mod usual;

pub mod glob;
pub mod ledger;
pub mod planner;
pub mod recorder;
pub mod tap;

pub mod pipeline;

//! What spans crates: the tidy rules of the workspace, the package, and simulated systems.

mod conformance;
mod delivery;
mod fleet;
mod guide;
mod package;
mod rotations;
mod scores;
mod tidy;
mod upgrade;
mod workspace;

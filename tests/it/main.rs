//! What spans crates: the tidy rules of the workspace, the package, and simulated systems.

mod delivery;
mod fleet;
mod package;
mod tidy;
mod workspace;

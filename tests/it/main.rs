//! What spans crates: the tidy rules of the workspace, the package, and simulated systems.

mod package;
mod tidy;
mod workspace;

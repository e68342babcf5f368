//! Rules of the house that a compiler does not know. Each failure names the file and what to do.

mod contract;
mod documents;
mod edges;
mod licences;
mod rust_text;
mod sources;

/// Fails with every violation at once.
#[track_caller]
fn none(violations: &[String]) {
    assert!(violations.is_empty(), "\n  {}\n", violations.join("\n  "));
}

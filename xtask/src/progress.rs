//! What a person sees while something long runs: one line a step on standard error, with the time since the start.

use std::sync::OnceLock;
use std::time::Instant;

static START: OnceLock<Instant> = OnceLock::new();

/// Says that a step begins or what it found.
pub(crate) fn say(line: &str) {
    let elapsed = START.get_or_init(Instant::now).elapsed();
    eprintln!("[{:>4}.{}s] {line}", elapsed.as_secs(), elapsed.subsec_millis() / 100);
}

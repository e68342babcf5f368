//! A service's log file: ordinary lines all the time, and on demand errors never seen before.

use anyhow::Result;
use std::fs::File;
use std::io::Write;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

/// Writes until dropped.
pub(crate) struct Service {
    failing: Arc<AtomicBool>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Service {
    pub(crate) fn start(path: PathBuf, seed: u64) -> Result<Self> {
        let mut file = File::options().create(true).append(true).open(path)?;
        let failing = Arc::new(AtomicBool::new(false));
        let stop = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (failing, stop) = (Arc::clone(&failing), Arc::clone(&stop));
            move || {
                let mut random = Random::new(seed);
                while !stop.load(Ordering::Relaxed) {
                    let lines =
                        if failing.load(Ordering::Relaxed) { failing_lines(&mut random) } else { String::new() };
                    // A full disk is the agent's to notice; the service itself goes on.
                    let _ = file.write_all((ordinary_lines(&mut random) + &lines).as_bytes());
                    std::thread::park_timeout(Duration::from_millis(250));
                }
            }
        });
        Ok(Self { failing, stop, thread: Some(thread) })
    }

    pub(crate) fn set_failing(&self, failing: bool) {
        self.failing.store(failing, Ordering::Relaxed);
    }
}

impl Drop for Service {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

fn ordinary_lines(random: &mut Random) -> String {
    let mut lines = String::new();
    for _ in 0..random.below(4) {
        let order = random.below(100_000);
        let line = match random.below(3) {
            0 => {
                format!("INFO order {order} accepted from 192.0.2.{} in {} ms", random.below(255), 5 + random.below(40))
            }
            1 => format!("INFO cache hit for product {order}"),
            _ => format!("DEBUG session {order:08x} refreshed"),
        };
        lines += &line;
        lines.push('\n');
    }
    lines
}

fn failing_lines(random: &mut Random) -> String {
    (0..5).fold(String::new(), |lines, _| {
        let order = random.below(100_000);
        lines + &format!("ERROR order {order} failed: connection pool exhausted after {} ms\n", 2000 + random.below(50))
    })
}

/// SplitMix64 (Steele, Lea, Flood 2014).
pub(crate) struct Random(u64);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// Uniform below `bound`, which is small against 2^64.
    pub(crate) fn below(&mut self, bound: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        (z ^ (z >> 31)) % bound
    }
}

//! Rate limit of detectors' log lines.

use crate::instance::LogLine;
use std::io::Write;
use std::time::{Duration, Instant};

const BURST_LINES: u32 = 20;
const REFILL: Duration = Duration::from_secs(10);

/// One detector's way to standard error: a burst, then a line each ten seconds; the rest is counted.
pub(super) struct LogGate {
    name: String,
    lines_left: u32,
    refilled: Instant,
    dropped: u64,
}

impl LogGate {
    pub(super) fn new(name: &str) -> Self {
        Self { name: name.to_owned(), lines_left: BURST_LINES, refilled: Instant::now(), dropped: 0 }
    }

    pub(super) fn pass(&mut self, (lines, dropped): (Vec<LogLine>, u64), output: &mut impl Write) {
        self.dropped += dropped;
        if lines.is_empty() {
            return;
        }
        let refills = self.refilled.elapsed().as_secs() / REFILL.as_secs();
        if refills > 0 {
            self.lines_left =
                self.lines_left.saturating_add(u32::try_from(refills).unwrap_or(u32::MAX)).min(BURST_LINES);
            self.refilled = Instant::now();
        }
        for line in lines {
            if self.lines_left == 0 {
                self.dropped += 1;
                continue;
            }
            self.lines_left -= 1;
            let level = ["error", "warn", "info", "debug"].get(usize::from(line.level)).unwrap_or(&"info");
            let dropped = std::mem::take(&mut self.dropped);
            let note = if dropped > 0 { format!(" ({dropped} lines dropped before)") } else { String::new() };
            // Nobody is left to tell if standard error is gone.
            let _ = writeln!(output, "detector {} {level}: {}{note}", self.name, line.message);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_chatty_detector_is_cut_and_the_cut_is_counted() {
        let mut gate = LogGate::new("probe");
        let line = LogLine { level: 1, message: "again".into() };
        let mut output = Vec::new();
        gate.pass((vec![line.clone(); 30], 5), &mut output);
        let text = String::from_utf8(output).unwrap();
        assert_eq!(text.lines().count(), 20);
        assert!(text.starts_with("detector probe warn: again (5 lines dropped before)\n"));
        assert_eq!(gate.dropped, 10);
    }
}

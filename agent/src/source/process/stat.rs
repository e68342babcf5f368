//! A line of `/proc/<pid>/stat`.

use super::ExecutableName;
use crate::source::text::{fields, number};

/// Name that all threads of the kernel share: their own ones are many and change.
pub(super) const KERNEL: &[u8] = b"(kernel)";
/// Name of a process whose own is not text.
const UNNAMED: &[u8] = b"(unnamed)";

/// Bit of `flags` for threads of the kernel (`PF_KTHREAD`, include/linux/sched.h).
const KERNEL_THREAD: u64 = 0x0020_0000;

/// States of OpenTelemetry's `process.state`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum State {
    Running,
    Sleeping,
    Stopped,
    Defunct,
}

impl State {
    pub(super) const ALL: [Self; 4] = [Self::Running, Self::Sleeping, Self::Stopped, Self::Defunct];

    pub(super) const fn name(self) -> &'static str {
        match self {
            Self::Running => "running",
            Self::Sleeping => "sleeping",
            Self::Stopped => "stopped",
            Self::Defunct => "defunct",
        }
    }

    fn of(letter: &[u8]) -> Self {
        match letter {
            b"R" => Self::Running,
            b"T" | b"t" => Self::Stopped,
            b"Z" | b"X" => Self::Defunct,
            // Sleeping, waiting for a device, idle thread of the kernel, and whatever comes next.
            _ => Self::Sleeping,
        }
    }
}

/// What is used of the line.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Stat<'a> {
    name: &'a [u8],
    flags: u64,
    pub(super) state: State,
    /// User and system time.
    pub(super) ticks: u64,
    pub(super) threads: u64,
    /// Ticks after boot.
    pub(super) start: u64,
    /// Resident pages.
    pub(super) pages: u64,
}

impl Stat<'_> {
    /// The name under which the process is added up.
    pub(super) fn executable(&self) -> ExecutableName {
        let name = if self.flags & KERNEL_THREAD == 0 { self.name } else { KERNEL };
        let is_text = |name: &ExecutableName| !name.as_str().chars().any(char::is_control);
        ExecutableName::new(name)
            .filter(is_text)
            .or_else(|| ExecutableName::new(UNNAMED))
            .expect("the constant is short ASCII")
    }
}

/// proc(5): `pid (name) state ppid …`. The name may hold anything, also `) R 1`, so the last bracket ends it.
pub(super) fn parse(line: &[u8]) -> Option<Stat<'_>> {
    let open = line.iter().position(|byte| *byte == b'(')?;
    let close = line.iter().rposition(|byte| *byte == b')')?;
    let name = line.get(open + 1..close)?;
    let mut fields = fields(line.get(close + 1..)?.trim_ascii_end());
    let state = State::of(fields.next()?);
    let flags = number(fields.nth(5)?)?;
    let user = number(fields.nth(4)?)?;
    let system = number(fields.next()?)?;
    let threads = number(fields.nth(4)?)?;
    let start = number(fields.nth(1)?)?;
    let pages = number(fields.nth(1)?)?;
    // A line that was cut within a number would end with it.
    fields.next()?;
    Some(Stat { name, flags, state, ticks: user.saturating_add(system), threads, start, pages })
}

#[cfg(test)]
mod tests {
    use super::*;

    const LINE: &[u8] =
        b"77 (app (v2) R 1) S 1 77 77 0 -1 4194560 39 11 0 0 63 17 9 4 20 -5 13 0 2100 51982336 4795 1844 1 1\n";

    #[test]
    fn a_name_may_hold_brackets() {
        let stat = parse(LINE).unwrap();
        assert_eq!(stat.executable().as_str(), "app (v2) R 1");
        assert_eq!((stat.state, stat.ticks, stat.threads), (State::Sleeping, 80, 13));
        assert_eq!((stat.start, stat.pages), (2_100, 4_795));
    }

    #[test]
    fn threads_of_the_kernel_share_a_name() {
        let line = b"9 (kworker/0:1H-events_highpri) I 2 0 0 0 -1 69238880 0 0 0 0 0 5 0 0 0 -20 1 0 7 0 0 1844";
        assert_eq!(parse(line).unwrap().executable().as_bytes(), KERNEL);
    }

    #[test]
    fn a_name_that_is_no_text_is_replaced() {
        for name in [&b"\xff\xfe"[..], b"two\nlines", b"longer-than-the-kernel-has"] {
            let stat = Stat { name, flags: 0, ..parse(LINE).unwrap() };
            assert_eq!(stat.executable().as_bytes(), UNNAMED);
        }
    }

    #[test]
    fn a_torn_line_is_refused() {
        let complete = LINE.len() - b"1844 1 1\n".len();
        for length in 0..=complete {
            assert_eq!(parse(&LINE[..length]), None, "{length}");
        }
        assert_eq!(parse(&LINE[..complete + 1]), parse(LINE));
        assert_eq!(parse(b")1 (x"), None);
    }
}

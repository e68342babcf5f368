//! Lines that belong together: stack traces, panics, indented blocks, private keys. One rule for every system, and a
//! pattern where a log's own format says how an event begins.
//!
//! What tells is how a line begins and how the first one ends: white space, `at `, `Caused by:`, `... 12 more`, a
//! closing bracket; Python's traceback up to the line that names the exception; Go's and Rust's panics; a key up to its
//! end. An event is one text with line ends in it, its first line leads. Its template is made of the headline: a trace
//! is as deep as it happens to be.

/// Whether a line begins an event or goes on with the one before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Part {
    /// The first line of an event.
    Begins,
    /// One more of it.
    Continues,
}

/// What was seen of an event, so far as it matters for its next line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Shape {
    state: State,
    /// Its first line begins with white space: what comes first in a log can be the rest of an event.
    indented: bool,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
enum State {
    /// No line was seen.
    #[default]
    None,
    /// Nothing announces more lines.
    Plain,
    /// An open bracket ends the first line.
    Block,
    /// Python: frames, then the exception.
    Traceback,
    /// Python: what may come after an exception.
    AfterTraceback,
    /// Go: goroutines with their frames.
    GoPanic,
    /// Rust: the message comes next.
    RustPanic,
    /// Rust: after the message.
    AfterRustPanic,
    /// A private key up to its end.
    Key,
}

const TRACEBACK: &[u8] = b"Traceback (most recent call last):";
/// What stands between one exception of Python and the next, and the names of what leads from one cause to another.
const LINKS: [&[u8]; 2] = [b"During handling of the above", b"The above exception was"];
const CAUSES: [&[u8]; 3] = [b"Caused by", b"Suppressed:", b"... "];
/// What separates the lines of an event where one line is wanted.
const LINE_END: &str = " ⏎ ";

impl Shape {
    /// Takes the next line of a log.
    pub fn next(&mut self, line: &[u8]) -> Part {
        match self.continued(line) {
            Some(state) => {
                self.state = state;
                Part::Continues
            }
            None => {
                *self = Self::of_first(line);
                Part::Begins
            }
        }
    }

    /// Whether the event announced lines that have not come yet.
    pub fn is_open(&self) -> bool {
        !matches!(self.state, State::None | State::Plain)
    }

    fn of_first(line: &[u8]) -> Self {
        let line = line.trim_ascii_end();
        let state = match line.last() {
            Some(b':') if line.ends_with(TRACEBACK) => State::Traceback,
            Some(b':') if contains(line, b" panicked at ") => State::RustPanic,
            Some(b'{' | b'[' | b'(') => State::Block,
            Some(b'-') if line.ends_with(b"PRIVATE KEY-----") && contains(line, b"-----BEGIN") => State::Key,
            _ if line.starts_with(b"panic: ") || line.starts_with(b"fatal error: ") => State::GoPanic,
            _ => State::Plain,
        };
        Self { state, indented: line.first().is_some_and(u8::is_ascii_whitespace) }
    }

    /// What the event is with this line, if it is one of it.
    fn continued(&self, line: &[u8]) -> Option<State> {
        let first = line.first().copied().unwrap_or(b'\n');
        let blank = line.trim_ascii().is_empty();
        match self.state {
            State::None => None,
            State::Key if contains(line, b"-----END") => Some(State::Plain),
            State::Key => Some(State::Key),
            State::Traceback if blank || first.is_ascii_whitespace() => Some(State::Traceback),
            State::Traceback => Some(State::AfterTraceback),
            State::AfterTraceback if blank || LINKS.iter().any(|link| line.starts_with(link)) => Some(self.state),
            State::AfterTraceback if line.starts_with(TRACEBACK) => Some(State::Traceback),
            State::GoPanic if blank || is_goroutine(line) => Some(self.state),
            State::RustPanic => Some(State::AfterRustPanic),
            State::AfterRustPanic if line.starts_with(b"stack backtrace:") || line.starts_with(b"note: ") => {
                Some(self.state)
            }
            State::Block if matches!(first, b'}' | b']' | b')') => Some(State::Plain),
            _ if self.indented || blank => None,
            state if first == b' ' || first == b'\t' => Some(state),
            state if line.starts_with(b"at ") || CAUSES.iter().any(|cause| line.starts_with(cause)) => Some(state),
            _ => None,
        }
    }
}

/// `goroutine 1 [running]:`, a call `main.main()`, `exit status 2`.
fn is_goroutine(line: &[u8]) -> bool {
    let line = line.trim_ascii_end();
    line.starts_with(b"goroutine ")
        || line.starts_with(b"[signal ")
        || line.starts_with(b"created by ")
        || (line.ends_with(b")") && !line.contains(&b' '))
        || line[0] == b'\t'
}

fn contains(text: &[u8], wanted: &[u8]) -> bool {
    text.windows(wanted.len()).any(|window| window == wanted)
}

/// The line that an event of several lines is known by: its first one; with it the exception of a Python traceback, and
/// the last cause. `None` for an event of one line, which is its own.
pub fn headline(event: &str) -> Option<String> {
    let (first, rest) = event.split_once('\n')?;
    let last = || rest.lines().rev().find(|line| !line.starts_with([' ', '\t']) && !line.trim().is_empty());
    let why = if first.as_bytes().trim_ascii_end().ends_with(TRACEBACK) {
        last()
    } else if first.contains(" panicked at ") {
        rest.lines().next()
    } else {
        rest.lines().rev().find(|line| line.starts_with("Caused by"))
    };
    Some(match why {
        Some(why) => format!("{} {}", first.trim_end(), why.trim()),
        None => first.trim_end().to_owned(),
    })
}

/// An event as one line for people.
pub fn in_one_line(event: &str) -> String {
    event.lines().map(str::trim).filter(|line| !line.is_empty()).collect::<Vec<_>>().join(LINE_END)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Events of a text, each with its headline.
    fn events(text: &str) -> Vec<(usize, String)> {
        let (mut shape, mut events) = (Shape::default(), Vec::<String>::new());
        for line in text.lines() {
            match (shape.next(line.as_bytes()), events.last_mut()) {
                (Part::Continues, Some(event)) => *event += &format!("\n{line}"),
                _ => events.push(line.to_owned()),
            }
        }
        let told = |event: String| (event.lines().count().max(1), headline(&event).unwrap_or(event));
        events.into_iter().map(told).collect()
    }

    fn check(text: &str, expected: &[(usize, &str)]) {
        let expected: Vec<_> = expected.iter().map(|(lines, head)| (*lines, (*head).to_owned())).collect();
        assert_eq!(events(text), expected);
    }

    #[test]
    fn java_traces_are_one_event_with_their_last_cause() {
        check(
            "INFO start\nERROR order 7 failed\njava.lang.IllegalStateException: no stock\n\tat a.B.c(B.java:1)\n\tat a.B.d(B.java:2)\n\
             Caused by: java.io.IOException: closed\n\tat a.E.f(E.java:3)\n\t... 12 more\nINFO next",
            &[
                (1, "INFO start"),
                (1, "ERROR order 7 failed"),
                (6, "java.lang.IllegalStateException: no stock Caused by: java.io.IOException: closed"),
                (1, "INFO next"),
            ],
        );
        check("Error: x\nat f (a.js:1:2)\nat g (a.js:2:2)\nnext", &[(3, "Error: x"), (1, "next")]);
    }

    #[test]
    fn python_tracebacks_end_with_their_exception() {
        check(
            "ERROR in job\nTraceback (most recent call last):\n  File \"a.py\", line 1, in f\n    g()\nKeyError: 'x'\n\n\
             During handling of the above exception, another exception occurred:\n\n\
             Traceback (most recent call last):\n  File \"a.py\", line 3, in h\nValueError: bad\nnext",
            &[(1, "ERROR in job"), (10, "Traceback (most recent call last): ValueError: bad"), (1, "next")],
        );
    }

    #[test]
    fn panics_of_go_and_rust_are_one_event() {
        check(
            "panic: boom\n\ngoroutine 1 [running]:\nmain.main()\n\t/src/main.go:5 +0x1d\nexit status 2",
            &[(5, "panic: boom"), (1, "exit status 2")],
        );
        check(
            "thread 'main' panicked at src/main.rs:2:5:\nboom\nstack backtrace:\n   0: rust_begin_unwind\nnote: run with x\nnext",
            &[(5, "thread 'main' panicked at src/main.rs:2:5: boom"), (1, "next")],
        );
    }

    #[test]
    fn blocks_and_keys_end_where_they_close() {
        check("config {\n  a = 1\n}\nnext", &[(3, "config {"), (1, "next")]);
        check(
            "-----BEGIN PRIVATE KEY-----\nMIIE\nabc=\n-----END PRIVATE KEY-----\nnext",
            &[(4, "-----BEGIN PRIVATE KEY-----"), (1, "next")],
        );
    }

    #[test]
    fn log_whose_lines_are_all_indented_stays_a_log_of_lines() {
        check(
            "  one\n  two\n  three\n\n\nfour",
            &[(1, "  one"), (1, "  two"), (1, "  three"), (1, ""), (1, ""), (1, "four")],
        );
    }

    #[test]
    fn event_is_told_in_one_line() {
        assert_eq!(in_one_line("a\n\tb\n\n c"), "a ⏎ b ⏎ c");
    }
}

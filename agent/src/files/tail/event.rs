//! Lines to events: those that go on with the one before are handed over with it, in one text with line ends.

use super::{EVENT_BYTES_MAX, EVENT_LINES_MAX, EVENT_POLLS_MAX, TailCounts};
use regex::bytes::Regex;
use vedette_edge::multiline::{Part, Shape};

/// How the lines of a log become events.
#[derive(Clone, Debug, Default)]
pub enum Joining {
    /// Each line is one.
    Off,
    /// By the one rule that fits most.
    #[default]
    Auto,
    /// One begins with each line that matches.
    From(Regex),
}

impl PartialEq for Joining {
    fn eq(&self, other: &Self) -> bool {
        match (self, other) {
            (Self::From(one), Self::From(other)) => one.as_str() == other.as_str(),
            (one, other) => std::mem::discriminant(one) == std::mem::discriminant(other),
        }
    }
}

impl Eq for Joining {}

/// The event that is being read of one file. A single line waits only until it is known what comes after it, and at the
/// end of the file for nothing, unless it announces more.
#[derive(Debug)]
pub(super) struct Event {
    joining: Joining,
    shape: Shape,
    text: Vec<u8>,
    /// Of these lines; 0 if no event is open.
    lines: u32,
    /// Where the first of them begins.
    begin: u64,
    is_cut: bool,
    /// Polls that have ended within it.
    polls: u32,
}

impl Event {
    pub(super) fn new(joining: Joining) -> Self {
        Self { joining, shape: Shape::default(), text: Vec::new(), lines: 0, begin: 0, is_cut: false, polls: 0 }
    }

    /// Where reading has to begin again for the event that is not handed over yet.
    pub(super) fn begin(&self) -> Option<u64> {
        (self.lines > 0).then_some(self.begin)
    }

    /// What the next line of the file is.
    pub(super) fn part_of(&mut self, line: &[u8]) -> Part {
        match &self.joining {
            Joining::Off => Part::Begins,
            Joining::Auto => self.shape.next(line),
            Joining::From(start) if start.is_match(line) => Part::Begins,
            Joining::From(_) => Part::Continues,
        }
    }

    /// Opens an event with a line that begins at `begin` in the file. The one before has to be handed over.
    pub(super) fn open(&mut self, line: &[u8], begin: u64) {
        self.text.clear();
        self.text.extend_from_slice(line);
        (self.lines, self.begin, self.is_cut, self.polls) = (1, begin, false, 0);
    }

    /// Adds a line to the open event. Whatever makes it too long is left out of its text. Returns whether it has as many
    /// lines as an event can have.
    pub(super) fn add(&mut self, line: &[u8], counts: &mut TailCounts) -> bool {
        self.lines += 1;
        counts.lines_joined += 1;
        let room = EVENT_BYTES_MAX.saturating_sub(self.text.len() + 1);
        self.is_cut |= line.len() > room;
        if room > 0 && !self.is_cut {
            self.text.push(b'\n');
            self.text.extend_from_slice(line);
        }
        self.lines >= EVENT_LINES_MAX
    }

    /// Hands the open event over, if there is one.
    pub(super) fn end(&mut self, counts: &mut TailCounts, sink: &mut dyn FnMut(&[u8])) {
        if std::mem::take(&mut self.lines) > 0 {
            counts.lines += 1;
            counts.lines_cut += u64::from(self.is_cut);
            sink(&self.text);
            if self.text.capacity() > EVENT_BYTES_MAX {
                self.text = Vec::new();
            }
        }
    }

    /// What is open is read again, elsewhere.
    pub(super) fn forget(&mut self) {
        self.lines = 0;
    }

    /// The end of the file was reached: whether the event waits for more of it.
    pub(super) fn waits(&mut self) -> bool {
        let announced = match &self.joining {
            Joining::Off => false,
            Joining::Auto => self.shape.is_open(),
            Joining::From(_) => true,
        };
        self.polls += 1;
        self.lines > 0 && (announced || self.lines > 1) && self.polls < EVENT_POLLS_MAX
    }
}

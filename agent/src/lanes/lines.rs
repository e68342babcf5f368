//! The lane of log files and of the journal: one thread reads them all, in bounded portions, and only when asked. What
//! the pipeline has not taken yet stays in the file, so a burst of lines costs time and never memory.
//!
//! The journal's services are sources of their own, each with the journal's position as of its last line. The position of
//! the whole goes out after them: a restart reads from there and leaves out what a service has settled already.

use super::LaneState;
use super::Positions;
use crate::config::{JournaldConfig, LogConfig};
use crate::files::journal::{self, Journal, JournalCounts};
use crate::files::tail::{Tail, TailCounts};
use crate::source::Root;
use std::io;
use std::path::Path;
use std::sync::mpsc as sync_mpsc;
use std::thread;
use tokio::sync::mpsc;
use vedette_protocol::v1::Cursor;

/// No further file is read into a portion of this size; one file gives up to [`crate::files::tail::POLL_BYTES_MAX`] more.
const PORTION_BYTES: usize = 256 << 10;

/// Bytes that a portion takes at most: its text, and a place for each of its lines, which can all be empty; both double as
/// they grow.
pub(crate) const BYTES_MAX: usize = {
    let most = (PORTION_BYTES + crate::files::tail::POLL_BYTES).next_power_of_two();
    (most + most / 2) * (1 + size_of::<(u32, u32)>())
};
/// A burst's buffer is not kept.
const KEEP_BYTES_MAX: usize = 256 << 10;

const STACK_BYTES: usize = 256 << 10;

/// A portion of lines, in the order in which they were read.
#[derive(Default)]
pub struct Lines {
    text: Vec<u8>,
    /// File and end of each line: a portion is far below 4 GiB.
    ends: Vec<(u32, u32)>,
    files: Vec<FileState>,
    journal: Option<JournalState>,
    more: bool,
}

/// How far the journal was read, as of the end of a portion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalState {
    /// What was counted since start.
    pub counts: JournalCounts,
    /// Why it cannot be read.
    pub last_error: Option<String>,
    /// Where to go on; only if it has moved.
    position: Option<Vec<u8>>,
}

/// What a file is and how far it was read, as of the end of a portion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileState {
    /// Path.
    pub path: String,
    /// Declared service.
    pub service: String,
    /// Files that are followed, and those that match and wait.
    pub files: (usize, usize),
    /// What was counted since start.
    pub counts: TailCounts,
    /// Why it cannot be read.
    pub last_error: Option<String>,
    /// Where to go on; only if lines of it are in the portion.
    position: Option<Vec<u8>>,
    /// Where reading began; only if it was in this portion.
    begun: Option<Vec<u8>>,
}

/// What the thread is asked to do, in order.
enum Work {
    /// Read a portion.
    Fill(Lines),
    /// Follow these files from now on; those that it knows go on where they are.
    Follow(Vec<LogConfig>),
}

/// The loop's end of the lane.
pub struct LineLane {
    /// None as long as no file was ever followed.
    questions: Option<sync_mpsc::Sender<Work>>,
    portions: mpsc::Sender<Lines>,
    buffer: Option<Lines>,
    state: LaneState,
    files: Vec<FileState>,
    journal: Option<JournalState>,
    overruns: u64,
}

impl LineLane {
    /// Starts the lane; without log files and journal there is none. They go on from `positions`.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a thread.
    pub fn open(
        logs: &[LogConfig],
        journald: &JournaldConfig,
        root: &Root,
        positions: &Positions,
    ) -> io::Result<(Self, mpsc::Receiver<Lines>)> {
        let (portions_in, portions) = mpsc::channel(1);
        let mut lane = Self {
            questions: None,
            portions: portions_in,
            buffer: Some(Lines::default()),
            state: LaneState::Idle,
            files: logs.iter().map(FileState::new).collect(),
            journal: journald.enabled.then(JournalState::default),
            overruns: 0,
        };
        if !logs.is_empty() || journald.enabled {
            let journal = journald.enabled.then(|| JournalLane::open(root, positions));
            lane.start(logs, journal, root, positions)?;
        }
        Ok((lane, portions))
    }

    /// Sees to it that [`LineLane::follow`] will find a thread, if there is anything to follow.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a thread: nothing has changed then.
    pub fn stage(&mut self, logs: &[LogConfig], root: &Root) -> io::Result<()> {
        if self.questions.is_some() || logs.is_empty() {
            return Ok(());
        }
        self.start(&[], None, root, &Positions::new())
    }

    /// Follows these files from now on: those that were followed before from where they are, others from their end or
    /// backlog, as at a first start.
    pub fn follow(&mut self, logs: &[LogConfig]) {
        let Some(questions) = &self.questions else { return };
        // A thread that is gone has panicked: that shows as overruns.
        let _ = questions.send(Work::Follow(logs.to_vec()));
        let known = |path: &str| self.files.iter().find(|file| file.path == path).cloned();
        let file = |log: &LogConfig| {
            let new = FileState::new(log);
            FileState { service: new.service.clone(), ..known(&new.path).unwrap_or(new) }
        };
        let services = self.files.iter().filter(|file| journal::is_service(&file.path)).cloned();
        self.files = logs.iter().map(file).chain(services).collect();
    }

    fn start(
        &mut self,
        logs: &[LogConfig],
        journal: Option<JournalLane>,
        root: &Root,
        positions: &Positions,
    ) -> io::Result<()> {
        let lane = Lane::open(logs, journal, root, positions);
        let (questions, asked) = sync_mpsc::channel();
        let portions = self.portions.clone();
        let thread = thread::Builder::new().name("logs".to_owned()).stack_size(STACK_BYTES);
        thread.spawn(move || lane.run(&asked, &portions))?;
        self.questions = Some(questions);
        Ok(())
    }

    /// A tick begins and waits for a first portion, unless the last one is not back yet.
    pub fn begin_tick(&mut self) {
        if self.questions.is_none() {
            return;
        }
        let is_free = self.state == LaneState::Idle;
        if is_free {
            self.ask();
        }
        // The last portion is not back, or the thread is gone: it has panicked.
        if !is_free || self.state == LaneState::Idle {
            self.overruns += 1;
        }
    }

    /// Asks for a portion.
    pub fn ask(&mut self) {
        let Some((questions, buffer)) = self.questions.as_ref().zip(self.buffer.take()) else { return };
        if questions.send(Work::Fill(buffer)).is_ok() {
            self.state = LaneState::Asked;
        }
    }

    /// Whether a tick has to wait.
    pub fn waiting(&self) -> bool {
        self.state == LaneState::Asked
    }

    /// Whether no portion is on its way.
    pub fn idle(&self) -> bool {
        self.state == LaneState::Idle
    }

    /// The tick waits no longer.
    pub fn handle_deadline(&mut self) {
        if self.state == LaneState::Asked {
            self.state = LaneState::Late;
            self.overruns += 1;
        }
    }

    /// Takes a portion back after its lines were taken.
    pub fn handle_lines(&mut self, mut lines: Lines) {
        self.files.clone_from(&lines.files);
        self.journal.clone_from(&lines.journal);
        lines.text.clear();
        lines.text.shrink_to(KEEP_BYTES_MAX);
        lines.ends.clear();
        lines.ends.shrink_to(KEEP_BYTES_MAX / size_of::<(u32, u32)>());
        self.buffer = Some(lines);
        self.state = LaneState::Idle;
    }

    /// The journal, if it is read.
    pub fn journal(&self) -> Option<&JournalState> {
        self.journal.as_ref()
    }

    /// Every file, and every service in the journal.
    pub fn files(&self) -> &[FileState] {
        &self.files
    }

    /// Ticks in which no portion came in time.
    pub fn overruns(&self) -> u64 {
        self.overruns
    }
}

impl Lines {
    /// Hands every line to `take` with path and service.
    pub fn replay(&self, mut take: impl FnMut(&str, &str, &[u8])) {
        let mut from = 0;
        for (file, end) in &self.ends {
            let (file, end) = (&self.files[*file as usize], *end as usize);
            take(&file.path, &file.service, &self.text[from..end]);
            from = end;
        }
    }

    /// Where files stood before these lines that were not followed before.
    pub fn begun(&self) -> impl Iterator<Item = Cursor> {
        let cursor = |file: &FileState| Some(Cursor { source: file.path.clone(), position: file.begun.clone()? });
        self.files.iter().filter_map(cursor)
    }

    /// Where each file stands after these lines, then the whole journal.
    pub fn positions(&self) -> impl Iterator<Item = Cursor> {
        let files = self.files.iter().map(|file| (file.path.as_str(), &file.position));
        let journal = self.journal.iter().map(|journal| (journal::SOURCE, &journal.position));
        let cursor = |(source, position): (&str, &Option<Vec<u8>>)| {
            Some(Cursor { source: source.to_owned(), position: position.clone()? })
        };
        files.chain(journal).filter_map(cursor)
    }

    /// Whether there was more to read than a portion holds.
    pub fn more(&self) -> bool {
        self.more
    }
}

impl FileState {
    fn new(log: &LogConfig) -> Self {
        Self { path: log.path.display().to_string(), service: log.service.clone(), ..Self::default() }
    }
}

/// The thread's end.
struct Lane {
    root: Root,
    /// Of the first of `files`; those after them are services in the journal.
    tails: Vec<Tail>,
    files: Vec<FileState>,
    journal: Option<JournalLane>,
    /// File to begin with, so that a busy one does not starve the others.
    next: usize,
}

impl Lane {
    fn open(logs: &[LogConfig], journal: Option<JournalLane>, root: &Root, positions: &Positions) -> Self {
        let files: Vec<_> = logs.iter().map(FileState::new).collect();
        let tail = |(log, file): (&LogConfig, &FileState)| {
            Tail::open(&root.host(&log.path), log.joining.clone(), positions.get(&file.path).map(Vec::as_slice))
        };
        let tails = logs.iter().zip(&files).map(tail).collect();
        Self { root: root.clone(), tails, files, journal, next: 0 }
    }

    fn follow(&mut self, logs: &[LogConfig]) {
        let services = self.files.split_off(self.tails.len());
        let mut before: Vec<_> = std::mem::take(&mut self.files).into_iter().zip(self.tails.drain(..)).collect();
        for log in logs {
            let new = FileState::new(log);
            let (file, tail) = match before.iter().position(|(file, _)| file.path == new.path) {
                Some(at) => {
                    let (file, tail) = before.swap_remove(at);
                    (FileState { service: new.service, ..file }, tail.joining_as(&log.joining))
                }
                None => {
                    let tail = Tail::open(&self.root.host(&log.path), log.joining.clone(), None);
                    (new, tail)
                }
            };
            self.files.push(file);
            self.tails.push(tail);
        }
        self.files.extend(services);
        self.next = 0;
    }

    fn run(mut self, asked: &sync_mpsc::Receiver<Work>, portions: &mpsc::Sender<Lines>) {
        for work in asked {
            let mut lines = match work {
                Work::Fill(lines) => lines,
                Work::Follow(logs) => {
                    self.follow(&logs);
                    continue;
                }
            };
            self.fill(&mut lines);
            if portions.blocking_send(lines).is_err() {
                return;
            }
        }
    }

    fn fill(&mut self, lines: &mut Lines) {
        lines.more = false;
        self.files.iter_mut().for_each(|file| (file.position, file.begun) = (None, None));
        let tails = self.tails.len();
        let count = tails + usize::from(self.journal.is_some());
        let first = self.next;
        for index in (0..count).map(|offset| (first + offset) % count) {
            lines.more |= match &mut self.journal {
                Some(journal) if index == tails => journal.poll(tails, &mut self.files, lines),
                _ => self.poll(index, lines),
            };
            if lines.text.len() >= PORTION_BYTES {
                lines.more = true;
                self.next = (index + 1) % count;
                break;
            }
        }
        lines.files.clone_from(&self.files);
        lines.journal = self.journal.as_mut().map(JournalLane::take_state);
    }

    /// Returns whether the file has more.
    fn poll(&mut self, index: usize, lines: &mut Lines) -> bool {
        let (tail, file) = (&mut self.tails[index], &mut self.files[index]);
        let number = u32::try_from(index).expect("log files are few");
        let before = lines.ends.len();
        let polled = tail.poll(&mut |line| {
            lines.text.extend_from_slice(line);
            lines.ends.push((number, u32::try_from(lines.text.len()).expect("a portion is small")));
        });
        if lines.ends.len() > before {
            file.position = Some(tail.position());
        }
        file.begun = tail.take_begun();
        file.counts = tail.counts();
        file.files = (tail.followed(), tail.waiting());
        match polled {
            Ok(polled) => {
                file.last_error = None;
                polled.more
            }
            Err(error) => {
                let text = error.to_string();
                if file.last_error.as_ref() != Some(&text) {
                    tracing::warn!(path = file.path, reason = text, "log file cannot be read");
                }
                file.last_error = Some(text);
                false
            }
        }
    }
}

/// The journal as the thread has it.
struct JournalLane {
    journal: Journal,
    state: JournalState,
    /// Position of the whole that was told last.
    told: Option<Vec<u8>>,
}

impl JournalLane {
    fn open(root: &Root, positions: &Positions) -> Self {
        let own = positions.iter().filter(|(source, _)| {
            source.strip_prefix(journal::SOURCE).is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
        });
        let own = own.map(|(source, position)| (source.as_str(), position.as_slice()));
        let journal = Journal::open(&root.host(Path::new("/")), own);
        Self { journal, state: JournalState::default(), told: positions.get(journal::SOURCE).cloned() }
    }

    /// Returns whether there is more. Services are those of `files` from `first` on; new ones are added.
    fn poll(&mut self, first: usize, files: &mut Vec<FileState>, lines: &mut Lines) -> bool {
        let before = lines.ends.len();
        let polled = self.journal.poll(&mut |line| {
            let index = match files[first..].iter().position(|file| file.path == line.source) {
                Some(at) => first + at,
                None => {
                    let (path, service) = (line.source.to_owned(), line.service.to_owned());
                    files.push(FileState { path, service, ..FileState::default() });
                    files.len() - 1
                }
            };
            let counts = &mut files[index].counts;
            (counts.lines, counts.bytes) = (counts.lines + 1, counts.bytes + line.text.len() as u64);
            lines.text.extend_from_slice(line.text);
            let end = u32::try_from(lines.text.len()).expect("a portion is small");
            lines.ends.push((u32::try_from(index).expect("services are few"), end));
        });
        let position = self.journal.position();
        for (index, _) in &lines.ends[before..] {
            files[*index as usize].position.clone_from(&position);
        }
        if position != self.told {
            self.state.position.clone_from(&position);
            self.told = position;
        }
        self.state.counts = self.journal.counts();
        let error = polled
            .as_ref()
            .err()
            .map(|error| format!("{error}: the agent's user has to be in the group systemd-journal"));
        if let Some(reason) = error.as_ref().filter(|_| self.state.last_error != error) {
            tracing::warn!(reason, "journal cannot be read");
        }
        self.state.last_error = error;
        polled.unwrap_or(false)
    }

    fn take_state(&mut self) -> JournalState {
        JournalState { position: self.state.position.take(), ..self.state.clone() }
    }
}

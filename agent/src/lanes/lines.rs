//! The lane of log files: one thread reads them all, in bounded portions, and only when asked. What the pipeline has not
//! taken yet stays in the file, so a burst of lines costs time and never memory.

use super::LaneState;
use super::Positions;
use crate::config::FileConfig;
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
    more: bool,
}

/// What a file is and how far it was read, as of the end of a portion.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FileState {
    /// Path.
    pub path: String,
    /// Declared service.
    pub service: String,
    /// What was counted since start.
    pub counts: TailCounts,
    /// Why it cannot be read.
    pub last_error: Option<String>,
    /// Where to go on; only if lines of it are in the portion.
    position: Option<Vec<u8>>,
}

/// What the thread is asked to do, in order.
enum Work {
    /// Read a portion.
    Fill(Lines),
    /// Follow these files from now on; those that it knows go on where they are.
    Follow(Vec<FileConfig>),
}

/// The loop's end of the lane.
pub struct LineLane {
    /// None as long as no file was ever followed.
    questions: Option<sync_mpsc::Sender<Work>>,
    portions: mpsc::Sender<Lines>,
    buffer: Option<Lines>,
    state: LaneState,
    files: Vec<FileState>,
    overruns: u64,
}

impl LineLane {
    /// Starts the lane; without log files there is none. Files go on from `positions`.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a thread.
    pub fn open(logs: &[FileConfig], root: &Root, positions: &Positions) -> io::Result<(Self, mpsc::Receiver<Lines>)> {
        let (portions_in, portions) = mpsc::channel(1);
        let mut lane = Self {
            questions: None,
            portions: portions_in,
            buffer: Some(Lines::default()),
            state: LaneState::Idle,
            files: logs.iter().map(FileState::new).collect(),
            overruns: 0,
        };
        if !logs.is_empty() {
            lane.start(logs, root, positions)?;
        }
        Ok((lane, portions))
    }

    /// Sees to it that [`LineLane::follow`] will find a thread, if there is anything to follow.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a thread: nothing has changed then.
    pub fn stage(&mut self, logs: &[FileConfig], root: &Root) -> io::Result<()> {
        if self.questions.is_some() || logs.is_empty() {
            return Ok(());
        }
        self.start(&[], root, &Positions::new())
    }

    /// Follows these files from now on: those that were followed before from where they are, others from their end or
    /// backlog, as at a first start.
    pub fn follow(&mut self, logs: &[FileConfig]) {
        let Some(questions) = &self.questions else { return };
        // A thread that is gone has panicked: that shows as overruns.
        let _ = questions.send(Work::Follow(logs.to_vec()));
        let known = |path: &str| self.files.iter().find(|file| file.path == path).cloned();
        let file = |log: &FileConfig| {
            let new = FileState::new(log);
            FileState { service: new.service.clone(), ..known(&new.path).unwrap_or(new) }
        };
        self.files = logs.iter().map(file).collect();
    }

    fn start(&mut self, logs: &[FileConfig], root: &Root, positions: &Positions) -> io::Result<()> {
        let lane = Lane::open(logs, root, positions);
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
        lines.text.clear();
        lines.text.shrink_to(KEEP_BYTES_MAX);
        lines.ends.clear();
        lines.ends.shrink_to(KEEP_BYTES_MAX / size_of::<(u32, u32)>());
        self.buffer = Some(lines);
        self.state = LaneState::Idle;
    }

    /// Every file.
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

    /// Where each file stands after these lines.
    pub fn positions(&self) -> impl Iterator<Item = Cursor> {
        self.files
            .iter()
            .filter_map(|file| Some(Cursor { source: file.path.clone(), position: file.position.clone()? }))
    }

    /// Whether there was more to read than a portion holds.
    pub fn more(&self) -> bool {
        self.more
    }
}

impl FileState {
    fn new(log: &FileConfig) -> Self {
        Self { path: log.path.display().to_string(), service: log.service.clone(), ..Self::default() }
    }
}

/// The thread's end.
struct Lane {
    root: Root,
    tails: Vec<Tail>,
    files: Vec<FileState>,
    /// File to begin with, so that a busy one does not starve the others.
    next: usize,
}

impl Lane {
    fn open(logs: &[FileConfig], root: &Root, positions: &Positions) -> Self {
        let files: Vec<_> = logs.iter().map(FileState::new).collect();
        let tail = |file: &FileState| {
            Tail::open(&root.host(Path::new(&file.path)), positions.get(&file.path).map(Vec::as_slice))
        };
        Self { root: root.clone(), tails: files.iter().map(tail).collect(), files, next: 0 }
    }

    fn follow(&mut self, logs: &[FileConfig]) {
        let mut before: Vec<_> = std::mem::take(&mut self.files).into_iter().zip(self.tails.drain(..)).collect();
        for log in logs {
            let new = FileState::new(log);
            let (file, tail) = match before.iter().position(|(file, _)| file.path == new.path) {
                Some(at) => {
                    let (file, tail) = before.swap_remove(at);
                    (FileState { service: new.service, ..file }, tail)
                }
                None => {
                    let tail = Tail::open(&self.root.host(&log.path), None);
                    (new, tail)
                }
            };
            self.files.push(file);
            self.tails.push(tail);
        }
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
        self.files.iter_mut().for_each(|file| file.position = None);
        let count = self.tails.len();
        let first = self.next;
        for index in (0..count).map(|offset| (first + offset) % count) {
            lines.more |= self.poll(index, lines);
            if lines.text.len() >= PORTION_BYTES {
                lines.more = true;
                self.next = (index + 1) % count;
                break;
            }
        }
        lines.files.clone_from(&self.files);
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
        file.counts = tail.counts();
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

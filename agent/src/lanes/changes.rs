//! The lane of watched files: one thread looks at them once a tick.

use super::LaneState;
use super::Positions;
use crate::clock::wall_now;
use crate::config::FileConfig;
use crate::files::watch::{Watch, WatchCounts};
use crate::source::Root;
use std::io;
use std::sync::mpsc as sync_mpsc;
use std::thread;
use tokio::sync::mpsc;
use vedette_protocol::v1::Change;

const STACK_BYTES: usize = 256 << 10;

/// Name under which the state of all watched files is a cursor.
pub const SOURCE: &str = "vedette.watch";

/// What one look at all files showed.
pub struct Seen {
    /// Changes since the last look.
    pub changes: Vec<Change>,
    /// What the watch compares with from now on, after the first look and with changes.
    pub state: Option<Vec<u8>>,
    /// What was counted since start.
    pub counts: WatchCounts,
    /// Files that cannot be compared, with the reason, if these are others than at the look before.
    pub unseen: Option<Vec<(String, String)>>,
}

/// A watched file.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WatchedFile {
    /// Path.
    pub path: String,
    /// Changes seen.
    pub changes: u64,
    /// Why it cannot be compared.
    pub last_error: Option<String>,
}

/// What the thread is asked to do, in order.
enum Work {
    /// Look at every file.
    Look,
    /// Watch these files from now on; those that it knows are compared with what they were.
    Watch(Vec<FileConfig>),
}

/// The loop's end of the lane.
pub struct ChangeLane {
    /// None as long as no file was ever watched.
    questions: Option<sync_mpsc::Sender<Work>>,
    looks: mpsc::Sender<Seen>,
    state: LaneState,
    files: Vec<WatchedFile>,
    counts: WatchCounts,
    overruns: u64,
}

impl ChangeLane {
    /// Starts the lane; without watched files there is none. It compares with the state in `positions`.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a thread.
    pub fn open(
        watched: &[FileConfig],
        root: &Root,
        positions: &Positions,
    ) -> io::Result<(Self, mpsc::Receiver<Seen>)> {
        let (looks_in, looks) = mpsc::channel(1);
        let mut lane = Self {
            questions: None,
            looks: looks_in,
            state: LaneState::Idle,
            files: watched.iter().map(WatchedFile::new).collect(),
            counts: WatchCounts::default(),
            overruns: 0,
        };
        if !watched.is_empty() {
            let watch = Watch::open(watched, root);
            let watch = match positions.get(SOURCE) {
                Some(state) => watch.resume(state),
                None => watch,
            };
            lane.start(watch, root)?;
        }
        Ok((lane, looks))
    }

    /// Sees to it that [`ChangeLane::watch`] will find a thread, if there is anything to watch.
    ///
    /// # Errors
    ///
    /// If the operating system refuses a thread: nothing has changed then.
    pub fn stage(&mut self, watched: &[FileConfig], root: &Root) -> io::Result<()> {
        if self.questions.is_some() || watched.is_empty() {
            return Ok(());
        }
        self.start(Watch::open(&[], root), root)
    }

    /// Watches these files from now on: an edit of one that was watched before is seen, whenever it happened.
    pub fn watch(&mut self, watched: &[FileConfig]) {
        let Some(questions) = &self.questions else { return };
        // A thread that is gone has panicked: that shows as overruns.
        let _ = questions.send(Work::Watch(watched.to_vec()));
        let known = |path: &str| self.files.iter().find(|file| file.path == path).cloned();
        let files = watched.iter().map(WatchedFile::new);
        self.files = files.map(|file| known(&file.path).unwrap_or(file)).collect();
    }

    fn start(&mut self, watch: Watch, root: &Root) -> io::Result<()> {
        let (questions, asked) = sync_mpsc::channel();
        let (looks, root) = (self.looks.clone(), root.clone());
        let thread = thread::Builder::new().name("watch".to_owned()).stack_size(STACK_BYTES);
        thread.spawn(move || look(watch, &root, &asked, &looks))?;
        self.questions = Some(questions);
        Ok(())
    }

    /// A tick begins and waits for a look, unless the last one is not over yet.
    pub fn begin_tick(&mut self) {
        let Some(questions) = &self.questions else { return };
        if self.state == LaneState::Idle && questions.send(Work::Look).is_ok() {
            self.state = LaneState::Asked;
        } else {
            self.overruns += 1;
        }
    }

    /// Whether a tick has to wait.
    pub fn waiting(&self) -> bool {
        self.state == LaneState::Asked
    }

    /// The tick waits no longer.
    pub fn handle_deadline(&mut self) {
        if self.state == LaneState::Asked {
            self.state = LaneState::Late;
            self.overruns += 1;
        }
    }

    /// A look is over.
    pub fn handle_seen(&mut self, seen: &Seen) {
        for change in &seen.changes {
            if let Some(file) = self.files.iter_mut().find(|file| file.path == change.target) {
                file.changes += 1;
            }
        }
        if let Some(unseen) = &seen.unseen {
            for file in &mut self.files {
                let reason = unseen.iter().find(|(path, _)| *path == file.path);
                file.last_error = reason.map(|(_, reason)| reason.clone());
            }
        }
        self.counts = seen.counts;
        self.state = LaneState::Idle;
    }

    /// What was counted since start, as of the last look.
    pub fn counts(&self) -> WatchCounts {
        self.counts
    }

    /// Every watched file.
    pub fn files(&self) -> &[WatchedFile] {
        &self.files
    }

    /// Ticks in which no look was over in time.
    pub fn overruns(&self) -> u64 {
        self.overruns
    }
}

impl WatchedFile {
    fn new(file: &FileConfig) -> Self {
        Self { path: file.path.display().to_string(), ..Self::default() }
    }
}

fn look(mut watch: Watch, root: &Root, asked: &sync_mpsc::Receiver<Work>, looks: &mpsc::Sender<Seen>) {
    let mut is_first = true;
    for work in asked {
        if let Work::Watch(watched) = work {
            watch = watch.over(&watched, root);
            is_first = true;
            continue;
        }
        let mut changes = Vec::new();
        watch.poll(wall_now(), &mut |change| changes.push(change));
        let state = (is_first || !changes.is_empty()).then(|| watch.state());
        is_first = false;
        let seen = Seen { changes, state, counts: watch.counts(), unseen: watch.take_unseen() };
        if looks.blocking_send(seen).is_err() {
            return;
        }
    }
}

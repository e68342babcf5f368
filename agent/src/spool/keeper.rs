//! The thread that keeps the log. A full or slow disk blocks it and never the tick.
//!
//! What it promises of a batch that it calls written: it survives the end of the process; and a power cut, if it carries
//! cursors, because what was read of a log file must never be sent and then read again. All else is synced at least as
//! often as the spool asks for marks, every five seconds: so much a power cut may cost.

use super::Reply;
use super::books::Books;
use super::files::{Files, Folder};
use super::log::{AppendError, Claim, Entry, Log, LogConfig, Recovered};
use super::marks::Given;
use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::mpsc as sync_mpsc;
use std::thread;
use std::time::Duration;
use tokio::sync::mpsc;
use vedette_protocol::ids::{BootId, Sequence};
use vedette_protocol::v1::{Class, Cursor};

/// Requests that are carried out between two syncs.
const BURST: usize = 64;

/// A segment is followed by the next at this size: as much is shed at once, and read to find one batch.
pub const SEGMENT_BYTES: u64 = 1 << 20;

const STACK_BYTES: usize = 256 << 10;

/// How long the lock is waited for: somebody who looks has it for a moment, an agent that ends for some seconds.
const LOCK_PATIENCE: Duration = Duration::from_secs(5);

/// Positions by source, with the sequence after which they hold.
pub type Standings = BTreeMap<String, (Sequence, Vec<u8>)>;

/// What the disk is to do.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Request {
    /// Take this batch into the log.
    Append(Entry),
    /// Take down where sources stand.
    Note(Standings),
    /// These batches need not be sent again.
    Settle(Vec<(Class, Sequence)>),
    /// Read batches back.
    Load {
        /// Class.
        class: Class,
        /// The first.
        from: Sequence,
        /// About as many bytes.
        bytes_max: usize,
    },
    /// Write the marks, after all that came before.
    Mark {
        /// What became of the batches of each class.
        books: [Books; 3],
        /// What was given out so far.
        given: Given,
    },
    /// Try again after a failure.
    Resume,
    /// Write the last marks.
    Close {
        /// What became of the batches of each class.
        books: [Books; 3],
        /// What was ever given out.
        given: Given,
    },
}

/// The loop's end.
pub struct Keeper {
    requests: sync_mpsc::Sender<Request>,
}

impl Keeper {
    /// Opens the log in `directory` and starts the thread, which answers to the receiver and ends with it. Positions of
    /// sources that are not read any more are forgotten.
    ///
    /// # Errors
    ///
    /// Of the file system; [`io::ErrorKind::WouldBlock`] if another process uses the directory.
    pub fn open(
        directory: &Path,
        bytes_max: u64,
        boot: BootId,
        claim: Claim,
        is_read: impl Fn(&str) -> bool,
    ) -> io::Result<(Self, mpsc::UnboundedReceiver<Reply>, Recovered)> {
        let config = LogConfig { segment_bytes: SEGMENT_BYTES, bytes_max };
        let (mut log, mut recovered) = Log::open(Folder::open(directory, LOCK_PATIENCE)?, config, boot, claim.fresh)?;
        log.claim(&mut recovered, claim)?;
        log.retain_sources(&is_read);
        recovered.positions.retain(|source, _| is_read(source));
        let (requests, asked) = sync_mpsc::channel();
        let (replies_in, replies) = mpsc::unbounded_channel();
        let thread = thread::Builder::new().name("spool".to_owned()).stack_size(STACK_BYTES);
        thread.spawn(move || run(Worker::new(log), &asked, &replies_in))?;
        Ok((Self { requests }, replies, recovered))
    }

    /// Hands a request over. Nothing is said if the thread is gone: the spool notices that nobody answers.
    pub fn ask(&self, request: Request) {
        let _ = self.requests.send(request);
    }
}

fn run(mut worker: Worker<Folder>, asked: &sync_mpsc::Receiver<Request>, replies: &mpsc::UnboundedSender<Reply>) {
    while let Ok(first) = asked.recv() {
        let burst = std::iter::once(first).chain(std::iter::from_fn(|| asked.try_recv().ok())).take(BURST);
        for reply in worker.carry_out(burst) {
            if replies.send(reply).is_err() {
                return;
            }
        }
    }
}

/// Carries requests out. Sans-IO but for its [`Files`].
#[derive(Debug)]
pub struct Worker<F> {
    log: Log<F>,
    /// Something was refused: later batches must not overtake it.
    failed: Option<String>,
}

impl<F: Files> Worker<F> {
    /// A worker on an open log.
    pub fn new(log: Log<F>) -> Self {
        Self { log, failed: None }
    }

    /// Carries a burst out and syncs at its end if that is owed.
    pub fn carry_out(&mut self, burst: impl Iterator<Item = Request>) -> Vec<Reply> {
        let (mut replies, mut written, mut unwritten) = (Vec::new(), Vec::new(), Vec::new());
        let mut owes_sync = false;
        for request in burst {
            match request {
                Request::Append(entry) if self.failed.is_some() => unwritten.push(entry.sequence),
                Request::Append(entry) => match self.log.append(&entry) {
                    Ok(()) => {
                        owes_sync |= !entry.cursors.is_empty();
                        written.push(entry.sequence);
                    }
                    Err(AppendError::NoRoom) => replies.push(Reply::NoRoom(entry.sequence)),
                    Err(AppendError::Io(error)) => {
                        self.failed = Some(error.to_string());
                        unwritten.push(entry.sequence);
                    }
                },
                Request::Note(standings) => replies.push(Reply::Noted(self.note(standings))),
                Request::Settle(sequences) => {
                    // What could not be removed is tried again with the next.
                    let missing = self.log.settle(&sequences).unwrap_or_else(|error| {
                        tracing::debug!(%error, "a settled segment is not removed yet");
                        Vec::new()
                    });
                    replies.push(Reply::Settled { sequences, missing });
                }
                Request::Load { class, from, bytes_max } => {
                    let page = self.log.load(class, from, bytes_max);
                    if let Err(error) = &page {
                        tracing::warn!(%error, "batches cannot be read back from the spool");
                    }
                    replies.push(Reply::Page(class, page.ok()));
                }
                Request::Mark { books, given } => replies.push(Reply::Marked(self.mark(books, given, false))),
                Request::Resume => {
                    self.failed = None;
                    replies.push(Reply::Resumed);
                }
                Request::Close { books, given } => {
                    if let Err(error) = self.mark(books, given, self.failed.is_none()) {
                        tracing::warn!(error, "the spool is not closed in good order: batches may be sent twice");
                    }
                }
            }
            replies.extend(std::iter::from_fn(|| self.log.poll_gone()).map(Reply::Gone));
        }
        if owes_sync && let Err(error) = self.log.sync() {
            self.failed = Some(error.to_string());
            // They are in the log, but perhaps not on the disk: they come again, and then only the sync is left to do.
            unwritten.splice(0..0, written.drain(..));
        }
        if !written.is_empty() {
            replies.push(Reply::Written(written));
        }
        if let Some(reason) = self.failed.clone().filter(|_| owes_sync || !unwritten.is_empty()) {
            replies.push(Reply::Failed { unwritten, reason });
        }
        replies.push(Reply::Size(self.log.bytes(), self.log.segments()));
        replies
    }

    fn note(&mut self, standings: Standings) -> Result<(), (Standings, String)> {
        if let Some(reason) = &self.failed {
            return Err((standings, reason.clone()));
        }
        let list: Vec<_> = standings
            .iter()
            .map(|(source, (sequence, position))| {
                (*sequence, Cursor { source: source.clone(), position: position.clone() })
            })
            .collect();
        self.log.note(&list).map_err(|error| (standings, error.to_string()))
    }

    fn mark(&mut self, books: [Books; 3], given: Given, clean: bool) -> Result<(), String> {
        // The marks go first where the disk is full: they have their blocks.
        let synced = self.log.sync();
        let marked = self.log.mark(books, given, clean && synced.is_ok());
        synced.and(marked).map_err(|error| error.to_string())
    }
}

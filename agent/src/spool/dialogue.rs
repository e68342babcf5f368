//! The spool's talk with its disk: what it asks for next, what follows from an answer.

use super::books::Reason;
use super::keeper::Request;
use super::lane::{State, Waiting};
use super::log::{Entry, Gone, Page, class_index, stand};
use super::marks::Given;
use super::{CLASSES, Disk, Reply, Spool, cost};
use std::sync::Arc;
use std::time::Duration;
use vedette_protocol::ids::Sequence;
use vedette_protocol::time::MonoTime;
use vedette_protocol::v1::Class;

/// What is read back from the log at once.
pub(super) const PAGE_BYTES: usize = 128 << 10;

/// Requests that wait for the disk at once, and bytes of batches in them.
const REQUESTS_MAX: usize = 64;
pub(super) const HANDED_BYTES_MAX: usize = 1 << 20;

/// A disk that has not answered for this long is taken for failing.
const STALLED: Duration = Duration::from_secs(2);
/// After a failure the disk is tried again this often.
const RETRY: Duration = Duration::from_secs(5);
/// Books and settled batches are marked down this often; so often everything is synced.
const MARK: Duration = Duration::from_secs(5);

impl Spool {
    /// Time has passed: the disk may be late, or due for another try.
    pub fn handle_tick(&mut self, now: MonoTime) {
        if self.asked.is_some_and(|asked| now.since(asked) > STALLED) && !self.stalled {
            self.stalled = true;
            tracing::warn!("the spool's disk does not answer: batches wait in memory");
        }
        for lane in &mut self.lanes {
            lane.unreadable_until = lane.unreadable_until.filter(|until| *until > now);
        }
        if matches!(self.disk, Disk::Failing(_)) && self.requests == 0 && self.retry.is_none_or(|at| at <= now) {
            self.retry = Some(now + RETRY);
            self.resuming = true;
        }
        if now.since(self.marked) >= MARK && !self.is_marked {
            self.marked = now;
            self.mark_due = true;
        }
    }

    /// What the disk is to do next. Carry it out, then tell with [`Spool::handle_reply`].
    pub fn poll_request(&mut self, now: MonoTime) -> Option<Request> {
        if matches!(self.disk, Disk::Absent(_)) || self.requests >= REQUESTS_MAX {
            return None;
        }
        let request = self.next_request()?;
        self.requests += 1;
        self.asked.get_or_insert(now);
        Some(request)
    }

    /// The disk has answered a request. [`Reply::Gone`] and [`Reply::Size`] come on top.
    pub fn handle_reply(&mut self, now: MonoTime, reply: Reply) {
        self.stalled = false;
        match reply {
            Reply::Gone(gone) => self.handle_gone(gone),
            Reply::Size(bytes, segments) => {
                (self.log_bytes, self.log_segments) = (bytes, segments);
            }
            Reply::Resumed => {
                self.answered(now, 1);
                self.is_trial = true;
                if self.unwritten.is_empty() && self.unnoted.is_empty() {
                    self.handle_well();
                }
            }
            Reply::Written(sequences) => {
                self.answered(now, sequences.len());
                self.handle_well();
                sequences.into_iter().for_each(|sequence| self.handle_written(sequence));
                self.make_room();
            }
            Reply::NoRoom(sequence) => {
                self.answered(now, 1);
                self.handle_refused(sequence);
            }
            Reply::Failed { unwritten, reason } => {
                self.answered(now, unwritten.len());
                self.handle_failed(now, unwritten, reason);
            }
            Reply::Settled { sequences, missing } => {
                self.answered(now, 1);
                for (class, sequence) in sequences {
                    let is_doubtful = self.settling.remove(&sequence).is_some_and(|one| one.is_doubtful);
                    let is_unlogged = is_doubtful && missing.contains(&sequence);
                    self.lane_mut(class).books.unlogged += u64::from(is_unlogged);
                    self.mark_due |= is_unlogged;
                }
            }
            Reply::Noted(noted) => {
                self.answered(now, 1);
                match noted {
                    Ok(()) => self.handle_well(),
                    Err((standings, reason)) => {
                        for (source, (sequence, position)) in standings {
                            stand(&mut self.unnoted, sequence, &source, &position);
                        }
                        self.handle_failed(now, Vec::new(), reason);
                    }
                }
            }
            Reply::Page(class, page) => {
                self.answered(now, 1);
                self.handle_page(now, class, page);
            }
            Reply::Marked(marked) => {
                self.answered(now, 1);
                if let Err(reason) = marked {
                    self.handle_failed(now, Vec::new(), reason);
                }
            }
        }
    }

    /// The process is about to end: all that the disk is still to do. What it was not given by then is lost.
    pub fn close(&mut self) -> Vec<Request> {
        let mut last = Vec::new();
        if !matches!(self.disk, Disk::Absent(_)) {
            self.resuming |= matches!(self.disk, Disk::Failing(_));
            (self.mark_due, self.disk, self.handed_bytes) = (false, Disk::Well, 0);
            self.lanes.iter_mut().for_each(|lane| lane.is_wanted = false);
            while let Some(request) = self.next_request() {
                self.handed_bytes = 0;
                last.push(request);
            }
            last.push(Request::Close { books: self.lanes.each_ref().map(|lane| lane.books), given: self.given() });
        }
        last
    }

    fn next_request(&mut self) -> Option<Request> {
        // They have their blocks on a full disk, too; else they come after all that they are to tell of.
        if self.is_without_log()
            && let Some(mark) = self.mark()
        {
            return Some(mark);
        }
        if std::mem::take(&mut self.resuming) {
            return Some(Request::Resume);
        }
        if matches!(self.disk, Disk::Failing(_)) && !self.is_trial {
            return None;
        }
        let untold = self.settling.iter().filter(|(_, one)| !one.is_told);
        let untold: Vec<_> = untold.map(|(sequence, one)| (one.class, *sequence)).collect();
        if !untold.is_empty() {
            self.settling.values_mut().for_each(|one| one.is_told = true);
            self.is_marked = false;
            return Some(Request::Settle(untold));
        }
        if self.handed_bytes < HANDED_BYTES_MAX
            && let Some((sequence, class)) = self.unwritten.pop_first()
        {
            let waiting = self.lane_mut(class).frames.get_mut(&sequence).expect("unwritten batches are in memory");
            waiting.state = State::Handed;
            let (frame, cursors, cost_bytes) =
                (Arc::clone(&waiting.frame), waiting.cursors.clone(), waiting.cost_bytes());
            self.handed_bytes += cost_bytes;
            (self.is_trial, self.is_marked) = (false, false);
            return Some(Request::Append(Entry { class, sequence, series_next: self.series_next, cursors, frame }));
        }
        if self.unwritten.is_empty() && !self.unnoted.is_empty() {
            self.is_trial = false;
            return Some(Request::Note(std::mem::take(&mut self.unnoted)));
        }
        if let Some(mark) = self.mark() {
            return Some(mark);
        }
        let class = CLASSES.into_iter().find(|class| self.lanes[class_index(*class)].can_load())?;
        let lane = self.lane_mut(class);
        lane.loading = lane.hole;
        Some(Request::Load { class, from: lane.hole?, bytes_max: PAGE_BYTES })
    }

    fn mark(&mut self) -> Option<Request> {
        std::mem::take(&mut self.mark_due).then(|| {
            self.is_marked = true;
            Request::Mark { books: self.lanes.each_ref().map(|lane| lane.books), given: self.given() }
        })
    }

    fn given(&self) -> Given {
        Given { last: Sequence(self.next.0 - 1), series_next: self.series_next }
    }

    fn answered(&mut self, now: MonoTime, requests: usize) {
        self.requests = self.requests.saturating_sub(requests);
        self.asked = (self.requests > 0).then_some(now);
        if self.requests == 0 {
            self.handed_bytes = 0;
        }
    }

    fn handle_well(&mut self) {
        if matches!(self.disk, Disk::Failing(_)) {
            tracing::info!("the spool's disk works again");
            self.disk = Disk::Well;
            self.retry = None;
        }
    }

    fn handle_failed(&mut self, now: MonoTime, unwritten: Vec<Sequence>, reason: String) {
        for sequence in unwritten {
            let Some(class) = self.class_of(sequence) else { continue };
            if let Some(waiting) = self.lane_mut(class).frames.get_mut(&sequence) {
                (waiting.state, waiting.was_handed) = (State::Unwritten, true);
            }
            self.unwritten.insert(sequence, class);
        }
        if !matches!(&self.disk, Disk::Failing(known) if *known == reason) {
            tracing::warn!(reason, "the spool's disk fails: batches wait in memory");
        }
        if self.disk == Disk::Well {
            self.retry = Some(now + RETRY);
        }
        self.disk = Disk::Failing(reason);
        self.make_room();
    }

    fn handle_written(&mut self, sequence: Sequence) {
        let Some(class) = self.class_of(sequence) else { return };
        let lane = &mut self.lanes[class_index(class)];
        let Some(waiting) = lane.frames.get_mut(&sequence) else { return };
        let cursors = std::mem::take(&mut waiting.cursors);
        self.bytes -= cost(&waiting.frame, &cursors) - waiting.cost_bytes();
        waiting.state = State::Written;
        self.keep_safe(sequence, cursors);
        let lane = &mut self.lanes[class_index(class)];
        // What lies behind batches that only the log has is read with them, later.
        if lane.hole.is_some_and(|hole| hole <= sequence)
            && lane.unsent <= sequence
            && let Some(waiting) = lane.frames.remove(&sequence)
        {
            self.bytes -= waiting.cost_bytes();
        }
    }

    fn handle_refused(&mut self, sequence: Sequence) {
        let Some(class) = self.class_of(sequence) else { return };
        if let Some(waiting) = self.lane_mut(class).frames.remove(&sequence) {
            self.bytes -= waiting.cost_bytes();
            self.note(sequence, waiting.cursors);
            self.count_shed(class, sequence, Reason::DiskRoom, true);
        }
    }

    fn handle_page(&mut self, now: MonoTime, class: Class, page: Option<Page>) {
        let lane = &mut self.lanes[class_index(class)];
        let (from, hole) = (lane.loading.take(), lane.hole);
        lane.is_wanted = false;
        let Some(Page { frames, next }) = page else {
            lane.unreadable_until = Some(now + RETRY);
            return;
        };
        for (sequence, frame) in frames {
            if self.settling.contains_key(&sequence) || lane.frames.contains_key(&sequence) {
                continue;
            }
            let mut waiting = Waiting::new(frame, &[]);
            waiting.state = State::Written;
            self.bytes += waiting.cost_bytes();
            lane.unsent = lane.unsent.min(sequence);
            lane.frames.insert(sequence, waiting);
        }
        // What was forgotten meanwhile, as a connection began anew, lies before what was read.
        lane.hole = hole.filter(|hole| from.is_some_and(|from| *hole < from)).or(next);
    }

    fn handle_gone(&mut self, gone: Gone) {
        match gone {
            Gone::Damaged { class, frames } => {
                let lane = self.lane_mut(class);
                lane.pending = lane.pending.saturating_sub(frames);
                lane.books.shed[Reason::Damaged as usize] += frames;
            }
            Gone::Shed { class, through, frames } => {
                // What was acknowledged here, and the log had not heard of, was among them.
                let of_class = self.settling.range(..=through).filter(|(_, one)| one.class == class).count() as u64;
                let lane = &mut self.lanes[class_index(class)];
                let frames = frames.saturating_sub(of_class).min(lane.pending);
                lane.pending -= frames;
                lane.books.shed[Reason::DiskRoom as usize] += frames;
                lane.hole = lane.hole.map(|hole| hole.max(Sequence(through.0 + 1)));
                // Whatever is known of them here: the log had them, if only since this very burst.
                let in_memory: Vec<_> = lane.frames.range(..=through).map(|(sequence, _)| *sequence).collect();
                for sequence in in_memory {
                    let waiting = self.lane_mut(class).frames.remove(&sequence).expect("found just now");
                    self.bytes -= waiting.cost_bytes();
                    self.unwritten.remove(&sequence);
                    self.keep_safe(sequence, waiting.cursors);
                    self.remember_shed(class, sequence, Reason::DiskRoom);
                }
            }
        }
        self.is_marked = false;
    }
}

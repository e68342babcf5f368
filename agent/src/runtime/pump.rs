//! Carries actions out: the pipeline's to worker, spool and sources, the supervisor's to processes and pipeline.

use super::agent::Agent;
use super::meter::Stage;
use crate::clock::{mono_now, wall_now};
use crate::control::policy::stale;
use crate::cost::thread_cpu_ns;
use crate::worker_process::WorkerProcess;
use vedette_detector_host::supervise::{self, Exit, Running, WorkerId};
use vedette_edge::pipeline::{Action, DetectorSlot};
use vedette_edge::recorder::{Search, Window};
use vedette_protocol::ids::Digest;
use vedette_protocol::time::MonoTime;
use vedette_protocol::v1::limits::{IN_EFFECT_MAX, POSITION_BYTES_MAX, TEXT_BYTES_MAX};
use vedette_protocol::v1::{Batch, Body, Class, Cursor, InEffect, encode};
use vedette_protocol::worker::{WorkerReply, WorkerRequest};

impl Agent {
    /// Carries actions between pipeline, supervisor and spool until all have said everything, then sends.
    pub(super) fn pump(&mut self, now: MonoTime) {
        loop {
            if let Some(action) = self.pipeline.poll_action() {
                self.act(now, action);
            } else if let Some(action) = self.supervisor.poll_action() {
                self.supervise(now, action);
            } else {
                break;
            }
        }
        self.uplink.pump(&mut self.spool);
        self.drive_spool(now);
        self.drive_taps();
    }

    /// Tells the collector what is in effect, if that has changed.
    pub(super) fn report(&mut self) {
        let in_effect = self.in_effect();
        self.uplink.report(in_effect);
    }

    fn act(&mut self, now: MonoTime, action: Action) {
        match action {
            Action::Ask(request) => {
                if matches!(request, WorkerRequest::Observe { .. }) {
                    self.pulse.handle_asked(now);
                }
                self.supervisor.handle_request(now, request);
            }
            Action::Enqueue { class, body, cursors } => self.enqueue(now, class, body, cursors),
            Action::SetInterval { source, interval_ms } => self.lanes.set_interval(&source, interval_ms),
            Action::Search(search) => self.search(search),
            Action::Checkpointed => self.keep_learnt(now),
        }
    }

    /// The pipeline bounds how many there are at one time.
    fn search(&self, search: Search) {
        let found = self.found.clone();
        tokio::task::spawn_blocking(move || {
            // There is room for as many as there can be; an agent that ends sends no more of the past.
            let _ = found.try_send(search.run());
        });
    }

    /// A search has ended.
    pub(super) fn handle_found(&mut self, found: &[Window]) {
        let now = mono_now();
        self.pipeline.handle_found(now, found);
        self.pump(now);
    }

    fn enqueue(&mut self, now: MonoTime, class: Class, body: Body, mut cursors: Vec<Cursor>) {
        if matches!(body, Body::Changes(_)) {
            cursors.extend(self.change_cursor.take());
        }
        let (tenant, boot, queue_epoch, wall) = (self.identity.tenant, self.boot, self.spool.epoch(), wall_now());
        let (noted, began_ns) = (self.meter.note(&body), thread_cpu_ns());
        // The spool keeps them as they are: files are found again by them.
        let (kept, mut bytes) = (cursors.clone(), 0);
        let masks = self.pipeline.masks();
        cursors.iter_mut().for_each(|cursor| cursor.source = masks.masked(&cursor.source));
        cursors.iter_mut().for_each(shorten);
        self.spool.set_series_next(self.pipeline.series_next());
        self.spool.push(class, &kept, |sequence| {
            let batch = Batch { tenant, boot, queue_epoch, sequence, class, mono: now, wall, cursors, body };
            // What the collector would put aside unread is told here, where the reason can be seen.
            encode(&batch)
                .inspect(|frame| bytes = frame.len() as u64)
                .inspect_err(|error| tracing::warn!(sequence = sequence.0, %error, "batch cannot be sent"))
                .ok()
        });
        self.meter.made(&noted, bytes);
        self.meter.spent(Stage::Encode, began_ns);
    }

    fn supervise(&mut self, now: MonoTime, action: supervise::Action) {
        match action {
            supervise::Action::Spawn { worker } => self.spawn_worker(now, worker),
            supervise::Action::Send { worker, request } => {
                if let Some(process) = self.workers.get_mut(&worker) {
                    process.send(&request);
                }
                if let WorkerRequest::Observe { columns, .. } = request {
                    self.pipeline.recycle(columns);
                }
            }
            supervise::Action::Retire { worker } => {
                if let Some(process) = self.workers.get(&worker) {
                    process.retire();
                }
            }
            supervise::Action::Kill { worker } => {
                if let Some(process) = self.workers.get_mut(&worker) {
                    process.kill();
                }
            }
            supervise::Action::Detectors(running) => {
                self.pulse.handle_answered();
                self.pipeline.set_detectors(now, running.into_iter().map(slot).collect());
            }
            supervise::Action::Failed { detector, fault, reason } => {
                self.pulse.handle_answered();
                tracing::warn!(detector.id = detector, ?fault, reason, "detector failed");
                self.pipeline.handle_detector_failed(now, detector);
            }
            supervise::Action::WorkerGone => {
                self.pulse.handle_answered();
                self.pipeline.handle_worker_gone(now);
            }
            supervise::Action::Withheld { detector, tick } => self.pipeline.handle_withheld(now, detector, tick),
            supervise::Action::Reply(reply) => self.reply(now, reply),
        }
    }

    fn spawn_worker(&mut self, now: MonoTime, worker: WorkerId) {
        let (execution, buffers) = (self.shelf.execution(), self.score_buffers.clone());
        let memory_bytes = self.config.limits.detector_memory_bytes;
        match WorkerProcess::spawn(worker, execution, memory_bytes, self.worker_events.clone(), buffers) {
            Ok(process) => {
                tracing::info!(worker.id = worker.0, worker.pid = process.pid, "worker started");
                self.workers.insert(worker, process);
            }
            Err(error) => {
                tracing::warn!(%error, "worker cannot be started");
                self.supervisor.handle_exit(now, worker, Exit::default());
            }
        }
    }

    fn reply(&mut self, now: MonoTime, reply: WorkerReply) {
        match reply {
            WorkerReply::Scores { detector, tick, scores, .. } => {
                self.pulse.handle_answered();
                let began_ns = thread_cpu_ns();
                self.pipeline.handle_scores(now, detector, tick, &scores);
                self.meter.judged(detector, began_ns);
                self.score_buffers.put(scores);
            }
            WorkerReply::Explanations { detector, explanations } => {
                self.pipeline.handle_explanations(now, detector, explanations);
            }
            WorkerReply::Added { detector, declined } => self.pipeline.handle_declined(now, detector, &declined),
            WorkerReply::Snapshots { detector, states } => self.pipeline.handle_snapshots(now, detector, states),
            _ => {}
        }
    }

    fn in_effect(&self) -> InEffect {
        let detectors = self.supervisor.detectors();
        let collector_now = self.collector_now(mono_now());
        InEffect {
            policy_version: self.policy.in_effect.version,
            policy_stale: stale(&self.policy.in_effect, collector_now),
            policy_refused: self.policy.last_refused.as_ref().map(|(version, why)| (*version, clipped(why))),
            directives: self.pipeline.directives(),
            directive_refused: self.directives.last_refused().map(|(id, why)| (*id, clipped(why))),
            detectors: detectors
                .into_iter()
                .filter(|one| one.shadow_of.is_none())
                .take(IN_EFFECT_MAX)
                .map(|one| (one.name, one.digest, one.state.name().to_owned()))
                .collect(),
        }
    }
}

/// A position that is too long for a batch goes as its digest; the agent keeps the position itself.
fn shorten(cursor: &mut Cursor) {
    if cursor.position.len() > POSITION_BYTES_MAX {
        cursor.position = Digest::of(&cursor.position).0.to_vec();
    }
}

/// A reason can quote a document at any length; one that is too long would keep all that is in effect from being told.
fn clipped(why: &str) -> String {
    why[..why.floor_char_boundary(TEXT_BYTES_MAX)].to_owned()
}

fn slot(running: Running) -> DetectorSlot {
    DetectorSlot { detector: running.detector, reference: running.reference, description: running.description }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reason_of_any_length_can_be_told() {
        assert_eq!(clipped("version 3 is not above 4"), "version 3 is not above 4");
        let in_effect = InEffect { policy_refused: Some((1, clipped(&"é".repeat(9_000)))), ..InEffect::default() };
        assert!(encode(&vedette_protocol::v1::FromAgent::InEffect(in_effect)).is_ok());
    }

    #[test]
    fn position_of_any_length_fits_a_batch() {
        for (length, expected) in [(10, 10), (POSITION_BYTES_MAX, POSITION_BYTES_MAX), (POSITION_BYTES_MAX + 1, 32)] {
            let mut cursor = Cursor { source: "vedette.watch".to_owned(), position: vec![7; length] };
            shorten(&mut cursor);
            assert_eq!(cursor.position.len(), expected);
        }
    }
}

//! A thread for one source that can wait for something.

use super::Readings;
use crate::cost::thread_cpu_ns;
use crate::source::{Source, SourceError};
use std::io;
use std::sync::mpsc as sync_mpsc;
use std::thread;
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

/// Reading needs no deep stack.
const STACK_BYTES: usize = 256 << 10;

/// What a lane has to say: always exactly one per question.
pub struct Report {
    pub(super) index: usize,
    pub(super) readings: Readings,
    pub(super) result: Result<(), SourceError>,
    pub(super) took: Duration,
    pub(super) cpu_ns: u64,
}

pub(super) struct OwnLane {
    questions: sync_mpsc::Sender<Readings>,
    buffer: Option<Readings>,
}

impl OwnLane {
    pub(super) fn start(
        index: usize,
        name: &str,
        source: Box<dyn Source>,
        reports: mpsc::Sender<Report>,
    ) -> io::Result<Self> {
        let (questions, asked) = sync_mpsc::channel();
        let lane = thread::Builder::new().name(format!("source-{name}")).stack_size(STACK_BYTES);
        lane.spawn(move || answer(index, source, &asked, &reports))?;
        Ok(Self { questions, buffer: Some(Readings::default()) })
    }

    /// Asks for a reading; false if the last one is not back or the lane is gone (its source panicked).
    pub(super) fn ask(&mut self) -> bool {
        self.buffer.take().is_some_and(|buffer| self.questions.send(buffer).is_ok())
    }

    pub(super) fn put_back(&mut self, mut buffer: Readings) {
        buffer.clear();
        self.buffer = Some(buffer);
    }
}

/// Ends when the agent drops its end.
fn answer(
    index: usize,
    mut source: Box<dyn Source>,
    asked: &sync_mpsc::Receiver<Readings>,
    reports: &mpsc::Sender<Report>,
) {
    for mut readings in asked {
        let (begun, cpu_begun_ns) = (Instant::now(), thread_cpu_ns());
        let result = source.read(&mut readings);
        let cpu_ns = thread_cpu_ns().saturating_sub(cpu_begun_ns);
        let report = Report { index, readings, result, took: begun.elapsed(), cpu_ns };
        if reports.blocking_send(report).is_err() {
            return;
        }
    }
}

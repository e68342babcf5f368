//! Those who follow live: what the pipeline has kept for them goes out as lines of JSON, as fast as they read.

use super::agent::Agent;
use crate::local::OpenTap;
use crate::status::TapStatus;
use tokio::sync::mpsc;

/// Who follows.
#[derive(Default)]
pub(super) struct Readers {
    next: u32,
    open: Vec<(u32, mpsc::Sender<Vec<u8>>)>,
    /// What those who are gone have missed.
    missed: u64,
}

impl Agent {
    /// Somebody wants to follow.
    pub(super) fn handle_tap(&mut self, OpenTap { patterns, portions }: OpenTap) {
        let id = self.readers.next;
        self.readers.next = id.wrapping_add(1);
        tracing::info!(tap.id = id, ?patterns, "somebody follows");
        self.pipeline.open_tap(id, patterns);
        self.readers.open.push((id, portions));
    }

    /// Hands on what there is to those who have room for it; the others' waits, and what finds no room is counted.
    pub(super) fn drive_taps(&mut self) {
        let Self { readers, pipeline, .. } = self;
        readers.open.retain(|(id, portions)| {
            if portions.is_closed() {
                let missed = pipeline.close_tap(*id);
                tracing::info!(tap.id = id, missed, "nobody follows any more");
                readers.missed += missed;
                return false;
            }
            if let Ok(room) = portions.try_reserve() {
                let seen = pipeline.take_tapped(*id);
                if !seen.is_empty() {
                    room.send(lines(&seen));
                }
            }
            true
        });
    }

    pub(super) fn tap_status(&self) -> TapStatus {
        let (open, missed) = self.pipeline.taps();
        TapStatus { open: open as u64, missed: self.readers.missed + missed }
    }
}

fn lines(seen: &[vedette_edge::tap::Seen]) -> Vec<u8> {
    let mut lines = Vec::new();
    for one in seen {
        serde_json::to_writer(&mut lines, one).expect("numbers and texts are always JSON");
        lines.push(b'\n');
    }
    lines
}

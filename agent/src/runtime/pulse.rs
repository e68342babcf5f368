//! Whether ticks go all the way, for the supervisor's watchdog: through the loop, through the detectors, and into a link
//! that still runs. A collector that is away, or a detector that is being replaced, is no reason to be restarted.

use std::time::Duration;
use vedette_protocol::time::MonoTime;

/// A question to detectors is answered, or its detector demoted, well within this.
const UNANSWERED_MAX: Duration = Duration::from_secs(10);

/// See the module's documentation.
#[derive(Debug, Default)]
pub(super) struct Pulse {
    /// When the oldest question was asked of which nothing became yet.
    asked: Option<MonoTime>,
    beats: u64,
}

impl Pulse {
    /// Detectors were asked about a tick.
    pub(super) fn handle_asked(&mut self, now: MonoTime) {
        self.asked.get_or_insert(now);
    }

    /// A detector answered, was demoted or replaced, or the worker is gone: the supervisor does its work.
    pub(super) fn handle_answered(&mut self) {
        self.asked = None;
    }

    /// A tick has gone through the loop and its batches into the spool; `link_runs` if somebody takes them from there.
    pub(super) fn handle_tick(&mut self, now: MonoTime, link_runs: bool) {
        let answered = self.asked.is_none_or(|asked| now.since(asked) < UNANSWERED_MAX);
        self.beats += u64::from(answered && link_runs);
    }

    /// Ticks that went all the way.
    pub(super) fn beats(&self) -> u64 {
        self.beats
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Beats over twenty ticks, of which each may do something first.
    fn beats(link_runs: bool, each: impl Fn(&mut Pulse, MonoTime)) -> u64 {
        let mut pulse = Pulse::default();
        for second in 1..=20 {
            let now = MonoTime::from_ms(second * 1_000);
            each(&mut pulse, now);
            pulse.handle_tick(now, link_runs);
        }
        pulse.beats()
    }

    #[test]
    fn ticks_beat_with_and_without_detectors() {
        assert_eq!(beats(true, |_, _| {}), 20);
        let answered = |pulse: &mut Pulse, now| {
            pulse.handle_asked(now);
            pulse.handle_answered();
        };
        assert_eq!(beats(true, answered), 20);
    }

    #[test]
    fn silent_worker_that_nobody_demotes_stops_the_beat() {
        assert_eq!(beats(true, Pulse::handle_asked), 10);
    }

    #[test]
    fn ended_link_stops_the_beat() {
        assert_eq!(beats(false, |_, _| {}), 0);
    }

    #[test]
    fn beat_comes_back_with_the_answer() {
        let late = |pulse: &mut Pulse, now: MonoTime| match now.ns / 1_000_000_000 {
            1 => pulse.handle_asked(now),
            15 => pulse.handle_answered(),
            _ => {}
        };
        assert_eq!(beats(true, late), 16);
    }
}

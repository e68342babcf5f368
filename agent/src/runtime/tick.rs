//! One tick: ask and read, wait for lanes until the deadline, then let the pipeline think.

use super::agent::Agent;
use super::meter::Stage;
use crate::clock::{mono_now, wall_now};
use crate::cost::thread_cpu_ns;
use crate::lanes::{LANE_DEADLINE, TickSink, inventories};
use tokio::time::Instant;
use vedette_edge::metric::MetricSpec;
use vedette_edge::pipeline::Pipeline;
use vedette_protocol::time::MonoTime;

/// Where the present tick stands.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Phase {
    /// Waiting for the next one.
    Idle,
    /// Waiting for lanes, at most until then.
    Collecting { due: Instant, until: Instant },
}

impl Agent {
    /// When [`Agent::handle_time`] has something to do.
    pub(super) fn next_wake(&self) -> Instant {
        let tick = match self.phase {
            Phase::Idle => self.ticker.next(),
            Phase::Collecting { until, .. } => until,
        };
        let timers = [self.supervisor.poll_timeout(), self.pipeline.poll_timeout()];
        let now = (mono_now(), Instant::now());
        timers.into_iter().flatten().map(|at| now.1 + at.since(now.0)).fold(tick, Instant::min)
    }

    /// Time has passed: a tick may be due, or over, or a timer.
    pub(super) fn handle_time(&mut self, instant: Instant) {
        let now = mono_now();
        if self.supervisor.poll_timeout().is_some_and(|at| at <= now) {
            self.supervisor.handle_timeout(now);
        }
        if self.pipeline.poll_timeout().is_some_and(|at| at <= now) {
            self.pipeline.handle_timeout(now);
        }
        match self.phase {
            Phase::Idle if self.ticker.next() <= instant => self.begin_tick(now, instant),
            Phase::Collecting { until, due } if until <= instant => self.give_up_collecting(due),
            _ => self.pump(now),
        }
    }

    fn begin_tick(&mut self, now: MonoTime, instant: Instant) {
        let due = self.ticker.next();
        self.ticker.handle_tick(instant);
        let second = self.ticker.run() + self.ticker.missed() - 1;
        self.lanes.begin_tick(second, &mut PipelineSink { pipeline: &mut self.pipeline, now });
        self.line_lane.begin_tick();
        self.change_lane.begin_tick();
        self.inventory_lane.begin_tick();
        self.phase = Phase::Collecting { due, until: instant + LANE_DEADLINE };
        self.end_collecting_if_complete();
    }

    pub(super) fn end_collecting_if_complete(&mut self) {
        let Phase::Collecting { due, .. } = self.phase else { return };
        if self.lanes.waiting() == 0 && !self.line_lane.waiting() && !self.change_lane.waiting() {
            self.finish_tick(due);
        }
    }

    fn give_up_collecting(&mut self, due: Instant) {
        self.lanes.handle_deadline();
        self.line_lane.handle_deadline();
        self.change_lane.handle_deadline();
        self.finish_tick(due);
    }

    fn finish_tick(&mut self, due: Instant) {
        let (now, wall) = (mono_now(), wall_now());
        self.phase = Phase::Idle;
        self.tell_spent(now);
        let began_ns = thread_cpu_ns();
        self.pipeline.handle_tick(now, wall);
        self.meter.spent(Stage::Tick, began_ns);
        self.store_recorded();
        self.directives.handle_tick(now);
        if self.policy.on_trial {
            let healthy = self.healthy_since_last_tick();
            self.disk.handle_trial_tick(healthy);
        }
        self.spool.handle_tick(now);
        self.pump(now);
        self.settle_inventories();
        self.report();
        self.tell_expiry(now);
        self.uplink.set_counts(&self.spool);
        self.ticks_done += 1;
        self.pulse.handle_tick(now, self.uplink.runs());
        self.last_tick = now;
        self.tell_health(now);
        if self.warmed_up.is_none() && self.pipeline.warm_up_left(now).is_zero() {
            self.warmed_up = Some(now.since(self.started));
        }
        let took = Instant::now().saturating_duration_since(due);
        self.tick_ns_max = self.tick_ns_max.max(u64::try_from(took.as_nanos()).unwrap_or(u64::MAX));
    }

    fn tell_expiry(&mut self, now: MonoTime) {
        let collector_now = self.collector_now(now);
        let policy = &self.policy.in_effect;
        if self.expiry.is_news(policy, collector_now) {
            let expired = policy.expires.map(|at| at.to_string());
            tracing::warn!(
                policy.version = policy.version,
                expired,
                "policy has expired and runs on: apply a newer one"
            );
        }
    }

    fn healthy_since_last_tick(&mut self) -> bool {
        let record = (self.ticker.missed(), self.supervisor.worker().restarts);
        std::mem::replace(&mut self.healthy_before, record) == record
    }

    /// Hands sealed blocks of the flight recorder to its disk.
    pub(super) fn store_recorded(&mut self) {
        let Some(disk) = &mut self.recorder else { return };
        while let Some(recorded) = self.pipeline.poll_recorded() {
            disk.put(recorded);
        }
    }

    /// What an inventory is compared with moves on once the spool has what was told of it.
    fn settle_inventories(&mut self) {
        let safe = self.spool.take_safe_cursors();
        let inventories = safe.iter().filter(|cursor| cursor.source == inventories::SOURCE);
        inventories.for_each(|cursor| self.inventory_lane.handle_settled(&cursor.position));
    }
}

/// Hands readings to the pipeline.
pub(super) struct PipelineSink<'a> {
    pub(super) pipeline: &'a mut Pipeline,
    pub(super) now: MonoTime,
}

impl TickSink for PipelineSink<'_> {
    fn reading(
        &mut self,
        source: &'static str,
        interval_ms: u32,
        metric: &'static MetricSpec,
        attributes: &[(&str, &str)],
        value: f64,
    ) {
        self.pipeline.handle_reading(self.now, source, interval_ms, metric, attributes, value);
    }

    fn admits(&mut self, source: &'static str) -> bool {
        self.pipeline.admit(self.now, source)
    }
}

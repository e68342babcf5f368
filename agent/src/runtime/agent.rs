//! All state of the running agent. Nothing here waits; every `handle_*` ends with what follows from it done or queued.

use super::detectors::{Found, Shelf};
use super::learning::Learning;
use super::meter::{Meter, Stage};
use super::pulse::Pulse;
use super::purse::Purse;
use super::reload::Reread;
use super::spooling::{Kept, new_epoch};
use super::taps::Readers;
use super::tick::{Phase, PipelineSink};
use super::{Start, StartError};
use crate::clock::{Ticker, mono_now, wall_now};
use crate::config::{Config, RecorderLimits};
use crate::control::directive::DirectiveGate;
use crate::control::policy::Expiry;
use crate::cost::thread_cpu_ns;
use crate::disk::{Disk, PolicyEvent, PolicyView};
use crate::host;
use crate::identity::Identity;
use crate::inventory::Store;
use crate::lanes::changes::{self, ChangeLane, Seen};
use crate::lanes::inventories::{InventoryLane, Turn};
use crate::lanes::lines::{LineLane, Lines};
use crate::lanes::{Lanes, Report};
use crate::log::Log;
use crate::memory::{self, MemoryBound};
use crate::recorder::RecorderDisk;
use crate::source::Root;
use crate::spool::keeper::Keeper;
use crate::spool::log::{Begin, Claim};
use crate::spool::{Counts, Reply, Spool};
use crate::status::{RefusedStatus, ReloadStatus};
use crate::uplink::{Order, Renewed, Uplink};
use crate::worker_process::{ScoreBuffers, WorkerEvent, WorkerProcess};
use std::collections::BTreeMap;
use std::time::Duration;
use tokio::sync::mpsc;
use tokio::time::Instant;
use vedette_detector_host::supervise::{Supervisor, SupervisorConfig, WorkerId};
use vedette_edge::mask::Masks;
use vedette_edge::pipeline::{Pipeline, PipelineConfig, SEARCHES_MAX};
use vedette_edge::recorder::{RecorderConfig, Window};
use vedette_link::client::{LinkEvent, LinkTask};
use vedette_protocol::ids::BootId;
use vedette_protocol::session::agent::{AgentIdentity, FIRST_SEQUENCE};
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::{Change, Cursor};

/// Events of workers that wait for the loop; one can hold half a megabyte of states.
pub(crate) const WORKER_EVENTS: usize = 16;

/// Everything that the loop listens to.
pub(super) struct Inputs {
    pub(super) reports: mpsc::Receiver<Report>,
    pub(super) lines: mpsc::Receiver<Lines>,
    pub(super) changes: mpsc::Receiver<Seen>,
    pub(super) inventories: mpsc::Receiver<Turn>,
    pub(super) workers: mpsc::Receiver<WorkerEvent>,
    pub(super) link: mpsc::Receiver<LinkEvent>,
    pub(super) policies: mpsc::Receiver<PolicyEvent>,
    pub(super) reread: mpsc::Receiver<Reread>,
    pub(super) found: mpsc::Receiver<Vec<Window>>,
    pub(super) replies: mpsc::UnboundedReceiver<Reply>,
}

/// The running agent.
pub(super) struct Agent {
    /// In effect.
    pub(super) config: Config,
    pub(super) root: Root,
    pub(super) log: Log,
    pub(super) reload: ReloadStatus,
    pub(super) confinement: Vec<String>,
    /// What all of it takes at most.
    pub(super) memory: MemoryBound,
    pub(super) host_name: String,
    pub(super) identity: Identity,
    pub(super) boot: BootId,
    pub(super) started: MonoTime,
    pub(super) ticker: Ticker,
    pub(super) tick_ns_max: u64,
    pub(super) ticks_done: u64,
    pub(super) last_tick: MonoTime,
    /// How long the warm-up took, once it is over.
    pub(super) warmed_up: Option<Duration>,
    pub(super) pipeline: Pipeline,
    pub(super) lanes: Lanes,
    pub(super) line_lane: LineLane,
    pub(super) change_lane: ChangeLane,
    pub(super) inventory_lane: InventoryLane,
    pub(super) shelf: Shelf,
    pub(super) supervisor: Supervisor,
    pub(super) detectors_refused: Vec<RefusedStatus>,
    pub(super) score_buffers: ScoreBuffers,
    pub(super) workers: BTreeMap<WorkerId, WorkerProcess>,
    pub(super) spool: Spool,
    /// The spool's disk, if it has one.
    pub(super) keeper: Option<Keeper>,
    pub(super) uplink: Uplink,
    pub(super) policy: PolicyView,
    pub(super) expiry: Expiry,
    pub(super) directives: DirectiveGate,
    pub(super) phase: Phase,
    pub(super) disk: Disk,
    pub(super) learning: Learning,
    pub(super) recorder: Option<RecorderDisk>,
    pub(super) worker_events: mpsc::Sender<WorkerEvent>,
    pub(super) found: mpsc::Sender<Vec<Window>>,
    /// Goes out with the next change.
    pub(super) change_cursor: Option<Cursor>,
    /// What the watch compares with, as of its last look that showed something.
    watch_state: Option<Cursor>,
    pub(super) healthy_before: (u64, u64),
    pub(super) pulse: Pulse,
    pub(super) meter: Meter,
    pub(super) purse: Purse,
    pub(super) readers: Readers,
}

impl Agent {
    pub(super) fn open(
        Start { config, file, identity, confinement, log, begin }: Start,
    ) -> Result<(Self, Inputs, LinkTask), StartError> {
        let root = Root::from_variables(|name| std::env::var_os(name));
        let (host_name, boot) = (host::name(&root), host::boot(&root));
        let (now, wall) = (mono_now(), wall_now());
        let claim = Claim { host: identity.host, begin, fresh: new_epoch(wall) };
        let Kept { spool, keeper, replies, positions, series_next } = Kept::open(&config, boot, claim);
        let in_data_dir = StartError::io(config.data_dir.display().to_string());
        let (disk, policies, policy) =
            Disk::open(&config.data_dir, config.trust.policy_keys.clone()).map_err(in_data_dir)?;
        // By this the collector sees that the agent has restarted: what it knew of open episodes is gone.
        let first = (FIRST_SEQUENCE.to_owned(), spool.next_sequence().0.to_string());
        let hello = AgentIdentity {
            software: env!("CARGO_PKG_VERSION").to_owned(),
            host_name: host_name.clone(),
            boot,
            queue_epoch: spool.epoch(),
            resource: host::resource().into_iter().chain([first]).collect(),
        };
        let (uplink, link, task) = Uplink::open(&config.collector, &identity, hello, now)?;
        let threads = || StartError::io("threads");
        let (lanes, reports) = Lanes::open(&config.sources, &root).map_err(threads())?;
        let (line_lane, lines) = LineLane::open(&config.logs, &config.journald, &root, &positions).map_err(threads())?;
        let (change_lane, changes) = ChangeLane::open(&config.watch, &root, &positions).map_err(threads())?;
        let store = Store::open(&config.data_dir).map_err(StartError::io(config.data_dir.display().to_string()))?;
        let (inventory_lane, inventories) =
            InventoryLane::open(&config.inventories, &root, store, identity.host, wall).map_err(threads())?;
        let (shelf, reread) = Shelf::new(&config, file);
        let on_shelf = shelf.look();
        if on_shelf.wanted.is_empty() {
            let directory = config.detectors.directory.display().to_string();
            tracing::warn!(directory, "no detector to run: the agent measures and judges nothing");
        }
        let memory = memory::bound(&config, &on_shelf);
        tracing::info!(memory.bytes_max = memory.total_bytes, "agent and workers take no more memory than that");
        let mut supervisor = Supervisor::new(SupervisorConfig::default());
        supervisor.set_detectors(now, on_shelf.wanted);
        let (worker_events, workers) = mpsc::channel(WORKER_EVENTS);
        let (found_in, found) = mpsc::channel(SEARCHES_MAX);
        let mut pipeline = Pipeline::new(pipeline_config(&config, &identity, &policy), now, wall);
        pipeline.set_masks(Masks::new(config.masking.clone()));
        pipeline.handle_series_given(series_next);
        pipeline.set_budgets(now, config.budget.budgets());
        let learning = Learning::open(&config.data_dir, boot, &mut pipeline);
        let recorder = open_recorder(&config, &mut pipeline);
        let mut agent = Self {
            config,
            root,
            log,
            reload: ReloadStatus::default(),
            ticker: Ticker::new(Instant::now(), wall),
            directives: DirectiveGate::new(identity.host, identity.online_key),
            policy,
            expiry: Expiry::default(),
            started: now,
            last_tick: now,
            warmed_up: None,
            tick_ns_max: 0,
            ticks_done: 0,
            workers: BTreeMap::new(),
            phase: Phase::Idle,
            healthy_before: (0, 0),
            pulse: Pulse::default(),
            meter: Meter::new(series_next),
            purse: Purse::default(),
            readers: Readers::default(),
            change_cursor: None,
            watch_state: positions
                .get(changes::SOURCE)
                .map(|position| Cursor { source: changes::SOURCE.to_owned(), position: position.clone() }),
            confinement,
            memory,
            host_name,
            identity,
            boot,
            pipeline,
            lanes,
            line_lane,
            change_lane,
            inventory_lane,
            shelf,
            supervisor,
            detectors_refused: on_shelf.refused,
            score_buffers: ScoreBuffers::default(),
            spool,
            keeper,
            uplink,
            disk,
            learning,
            recorder,
            worker_events,
            found: found_in,
        };
        agent.pump(now);
        Ok((
            agent,
            Inputs { reports, lines, changes, inventories, workers, link, policies, reread, found, replies },
            task,
        ))
    }

    /// Ticks that were run to their end.
    pub(super) fn ticks_done(&self) -> u64 {
        self.ticks_done
    }

    /// Ticks that went all the way.
    pub(super) fn beats(&self) -> u64 {
        self.pulse.beats()
    }

    /// Nothing waits for the collector's word, and no lines are on their way from the last question to the log files.
    pub(super) fn all_settled(&self) -> bool {
        self.spool.totals().pending == 0 && self.line_lane.idle()
    }

    /// The collector is not there, and what waits for it waits on disk: the next start sends it.
    pub(super) fn can_rest(&self) -> bool {
        self.line_lane.idle() && self.spool.is_safe() && self.uplink.lonely_since().is_some()
    }

    /// A lane has read its source.
    pub(super) fn handle_report(&mut self, report: Report) {
        let now = mono_now();
        self.lanes.handle_report(report, &mut PipelineSink { pipeline: &mut self.pipeline, now });
        self.end_collecting_if_complete();
    }

    /// Log lines were read.
    pub(super) fn handle_lines(&mut self, lines: Lines) {
        self.take_lines(&lines);
        let more = lines.more();
        self.line_lane.handle_lines(lines);
        if more {
            self.line_lane.ask();
        }
        self.end_collecting_if_complete();
    }

    /// Log lines that were asked for before the agent was told to stop: they are read, so they are handed over.
    pub(super) fn handle_last_lines(&mut self, lines: Lines) {
        self.take_lines(&lines);
        self.line_lane.handle_lines(lines);
        let now = mono_now();
        self.pipeline.handle_drain(now);
        self.pump(now);
    }

    /// Watched files were looked at. What the watch compares with is stored once its changes are settled.
    pub(super) fn handle_changes(&mut self, seen: Seen) {
        let now = mono_now();
        self.change_lane.handle_seen(&seen);
        let Seen { mut changes, state, .. } = seen;
        let cursor = state.map(|position| Cursor { source: changes::SOURCE.to_owned(), position });
        let before = match &cursor {
            Some(_) => std::mem::replace(&mut self.watch_state, cursor.clone()),
            None => None,
        };
        let last = changes.pop();
        for change in changes {
            // Until all changes of the look are settled, the next start compares with what was before them.
            self.change_cursor.clone_from(&before);
            self.tell_change(now, change);
        }
        match (last, cursor) {
            (Some(last), cursor) => {
                self.change_cursor = cursor;
                self.tell_change(now, last);
            }
            (None, Some(cursor)) => self.spool.handle_cursor(cursor),
            (None, None) => {}
        }
        self.end_collecting_if_complete();
    }

    /// Inventories were looked at.
    pub(super) fn handle_turn(&mut self, turn: Turn) {
        let now = mono_now();
        for (change, cursor) in self.inventory_lane.handle_turn(turn) {
            self.change_cursor = Some(cursor);
            self.tell_change(now, change);
        }
    }

    /// A worker said something or ended.
    pub(super) fn handle_worker(&mut self, event: WorkerEvent) {
        let now = mono_now();
        match event {
            WorkerEvent::Reply { worker, reply } => self.supervisor.handle_reply(now, worker, reply),
            WorkerEvent::Exited { worker, exit } => {
                tracing::info!(worker.id = worker.0, reason = %exit, "worker ended");
                self.workers.remove(&worker);
                self.supervisor.handle_exit(now, worker, exit);
            }
        }
        self.pump(now);
    }

    /// Detectors were read: what has changed takes the way of every switch, through a second worker.
    pub(super) fn take_found(&mut self, now: MonoTime, found: Found) {
        tracing::info!(wanted = found.wanted.len(), refused = found.refused.len(), "detectors were read");
        self.detectors_refused = found.refused;
        // Whoever runs goes on as long as nobody knows what is there.
        if found.whole {
            self.supervisor.set_detectors(now, found.wanted);
        }
        self.pump(now);
        self.report();
    }

    /// The link said something.
    pub(super) fn handle_link(&mut self, event: LinkEvent) -> Order {
        let now = mono_now();
        let order = self.uplink.handle_event(now, wall_now(), event, &mut self.spool);
        match &order {
            Order::Policy(signed) => {
                let collector_now = self.collector_now(now);
                self.disk.handle_policy(signed.clone(), collector_now);
            }
            Order::Directive(signed) => {
                let collector_now = self.uplink.collector_time(now);
                if let Some(admitted) = self.directives.handle_signed(signed, now, collector_now) {
                    let (id, ends) = (admitted.directive.id, admitted.ends);
                    match self.pipeline.handle_directive(now, admitted.directive, ends) {
                        Ok(()) => self.directives.handle_taken(id, ends),
                        Err(refused) => self.directives.refuse(id, &refused.to_string()),
                    }
                }
            }
            Order::Renewed(renewed) => self.renewed(renewed),
            Order::None | Order::BeginAnew | Order::Drained => {}
        }
        self.pump(now);
        if matches!(order, Order::Directive(_)) {
            self.report();
        }
        order
    }

    /// The keeper has decided on a policy.
    pub(super) fn handle_policy(&mut self, event: PolicyEvent) {
        let now = mono_now();
        self.policy = event.view;
        if let Some(policy) = event.apply {
            tracing::info!(policy.version = policy.version, "policy in effect");
            self.pipeline.handle_policy(now, policy);
        }
        self.pump(now);
        self.report();
    }

    /// The agent was told to stop: no more ticks, everything half-done goes out.
    pub(super) fn handle_shutdown(&mut self) {
        let now = mono_now();
        self.line_lane.ask();
        self.pipeline.handle_drain(now);
        self.learning.handle_shutdown(now);
        self.pipeline.fetch_states();
        self.pump(now);
    }

    /// Until when the last states of the detectors are waited for; `None` once they are there.
    pub(super) fn waits_for_states(&self) -> Option<MonoTime> {
        self.learning.waits_until()
    }

    /// Since when the collector is not there; `None` if it is.
    pub(super) fn lonely_since(&self) -> Option<MonoTime> {
        self.uplink.lonely_since()
    }

    /// What became of every batch, for the log: nobody can ask any more.
    pub(super) fn last_words(&self) {
        let Counts { made, acked, shed, pending, .. } = self.spool.totals();
        if pending > 0 {
            let why = self.uplink.outage().map_or_else(|| "no acknowledgement in time".to_owned(), ToString::to_string);
            tracing::warn!(pending, why, "batches are left that the collector has not acknowledged");
        }
        tracing::info!(queue.epoch = self.spool.epoch().0, made, acked, shed, pending, "drained");
    }

    /// Everything is settled: say goodbye.
    pub(super) fn close_link(&self) {
        self.uplink.drain();
    }

    /// Ends worker and threads by closing their inputs. What the same agent would start from again.
    pub(super) fn close(mut self) -> Start {
        self.close_spool();
        self.store_recorded();
        let file = self.shelf.file().to_owned();
        Start {
            config: self.config,
            file,
            identity: self.identity,
            confinement: self.confinement,
            log: self.log,
            begin: Begin::GoOn,
        }
    }

    /// The collector's wall clock, or ours as long as it was never heard of.
    pub(super) fn collector_now(&self, now: MonoTime) -> WallTime {
        self.uplink.collector_time(now).unwrap_or_else(wall_now)
    }

    /// The link uses the new key already; a crash before it is stored costs one more renewal.
    fn renewed(&mut self, renewed: &Renewed) {
        self.identity.chain_der.clone_from(&renewed.pair.chain_der);
        self.identity.key_der.clone_from(&renewed.pair.key_der);
        if !renewed.authorities_der.is_empty() {
            self.identity.authorities_der.clone_from(&renewed.authorities_der);
        }
        let ends = self.identity.certificate_ends().map(|ends| ends.to_string());
        tracing::info!(certificate.ends = ends, "certificate renewed");
        self.disk.handle_renewal(self.identity.clone());
    }

    fn take_lines(&mut self, lines: &Lines) {
        let (now, began_ns) = (mono_now(), thread_cpu_ns());
        // Killed before the first counts are kept, the agent goes on from there, whatever the files are called by then.
        lines.begun().for_each(|cursor| self.spool.handle_cursor(cursor));
        lines.replay(|path, service, line| self.pipeline.handle_log_line(now, path, service, line));
        lines.positions().for_each(|cursor| self.pipeline.handle_cursor(cursor));
        self.meter.spent(Stage::Lines, began_ns);
    }

    fn tell_change(&mut self, now: MonoTime, change: Change) {
        tracing::info!(change.target = change.target, change.kind = ?change.kind, "change seen");
        self.pipeline.handle_change(now, change);
        self.pump(now);
    }
}

/// Has the pipeline record, unless the configuration has neither memory nor disk for it.
fn open_recorder(config: &Config, pipeline: &mut Pipeline) -> Option<RecorderDisk> {
    let RecorderLimits { memory_bytes, disk_bytes } = config.recorder;
    let disk = (disk_bytes > 0).then(|| RecorderDisk::open(&config.data_dir, disk_bytes));
    let to_disk = disk.is_some();
    if memory_bytes > 0 || to_disk {
        pipeline.set_recorder(RecorderConfig { memory_bytes, to_disk });
    }
    disk
}

fn pipeline_config(config: &Config, identity: &Identity, policy: &PolicyView) -> PipelineConfig {
    PipelineConfig {
        host: identity.host,
        policy: policy.in_effect.clone(),
        series_max: config.limits.series_max,
        templates_max: config.limits.templates_max,
        sources: config.intervals(),
    }
}

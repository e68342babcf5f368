//! The agent's state as `status` tells it.

use super::agent::Agent;
use crate::clock::mono_now;
use crate::control::policy::stale;
use crate::cost::{Bill, BudgetStatus, DetectorCost, SourceCost, children_cpu_ns, process_cpu_ns};
use crate::lanes::SourceView;
use crate::lanes::changes::WatchedFile;
use crate::lanes::inventories::InventoryView;
use crate::lanes::lines::{FileState, JournalState};
use crate::memory;
use crate::recorder::RecorderDisk;
use crate::recorder::read::{IN_MEMORY_LINE_BYTES, IN_MEMORY_MAX, Unwritten, Wanted};
use crate::status::{
    ClassCounts, DetectorStatus, DirectiveStatus, FilesStatus, HostStatus, InventoryStatus, JournaldStatus, LogStatus,
    MemoryStatus, PolicyStatus, ProcessStatus, RecorderStatus, ScoresStatus, SeriesStatus, ShedReasons, SourceStatus,
    SpoolDiskStatus, SpoolStatus, Status, TickStatus, WatchStatus, WorkerStatus,
};
use crate::uplink::remedy;
use std::collections::BTreeMap;
use std::time::Duration;
use vedette_detector_host::supervise;
use vedette_edge::mask::Masks;
use vedette_edge::pipeline::OddSeries;
use vedette_protocol::series::SeriesMeta;
use vedette_protocol::time::{MonoTime, WallTime};
use vedette_protocol::v1::Class;

/// Without a tick for this long the agent is not healthy.
const TICK_AGE_MAX: Duration = Duration::from_secs(3);

/// A certificate of which less than this share is left wants attention: it should have been renewed at a third.
const CERTIFICATE_SHARE_LEFT: i64 = 6;

/// What a person has to mend is told the collector each so many ticks, if it has changed.
const HEALTH_TICKS: u64 = 10;

/// After this long without a collector the agent is not healthy.
const LONELY_MAX: Duration = Duration::from_secs(60);

impl Agent {
    /// Everything that `status` shows.
    pub(super) fn status(&self) -> Status {
        let now = mono_now();
        let problems = self.problems(now);
        Status {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            host: HostStatus {
                id: self.identity.host.to_string(),
                name: self.host_name.clone(),
                certificate_ends: self.identity.certificate_ends().map(|ends| ends.to_string()),
            },
            uptime_ms: millis(now.since(self.started)),
            ready: self.ticks_done > 0,
            healthy: problems.is_empty(),
            problems,
            warm: self.warmed_up.is_some() && self.pipeline.warm_up_left(now).is_zero(),
            warmup_ms: millis(self.warmed_up.unwrap_or_else(|| now.since(self.started))),
            ticks: TickStatus { run: self.ticker.run(), missed: self.ticker.missed(), ns_max: self.tick_ns_max },
            series: self.series(),
            sources: self.lanes.views().map(|view| source(&view)).collect(),
            detectors: self.supervisor.detectors().iter().map(detector).collect(),
            detectors_refused: self.detectors_refused.clone(),
            worker: self.worker(),
            learnt: self.learning.status(&self.pipeline, &self.disk),
            agent: ProcessStatus { pid: std::process::id(), confinement: self.confinement.clone() },
            memory: self.memory_status(),
            taps: self.tap_status(),
            reload: self.reload.clone(),
            policy: self.policy_status(),
            directives: self.directive_status(),
            budget: self.budget(now),
            spool: self.spool_status(),
            recorder: self.recorder_status(),
            link: self.uplink.status(),
            ledger: match serde_json::to_value(self.pipeline.ledger()) {
                Ok(serde_json::Value::Object(ledger)) => ledger,
                _ => serde_json::Map::new(),
            },
            files: self.files_status(),
            journald: self.line_lane.journal().map(journald),
            logs: self.line_lane.files().iter().map(|file| log(file, self.pipeline.masks())).collect(),
            inventories: self.inventory_lane.views().map(|view| inventory(&view)).collect(),
            watch: self.change_lane.files().iter().map(|file| watched(file, self.pipeline.masks())).collect(),
        }
    }

    /// What was spent so far, and on whom.
    pub(super) fn bill(&self) -> Bill {
        let mut series: BTreeMap<&str, u64> = BTreeMap::new();
        for source in self.pipeline.series_sources() {
            *series.entry(source).or_default() += 1;
        }
        let source = |view: SourceView<'_>| {
            let (features, bytes) = self.meter.shipped(view.name);
            let series = series.get(view.name).copied().unwrap_or(0);
            let (reads, cpu_ns) = (view.record.reads, view.record.cpu_ns);
            SourceCost { name: view.name.to_owned(), reads, cpu_ns, series, features, bytes }
        };
        let detector = |one: supervise::DetectorStatus| DetectorCost {
            judge_ns: self.meter.judge_ns(one.detector),
            name: one.name,
            shadow_of: one.shadow_of,
            values: one.values,
            guest_ns: one.guest_ns,
        };
        Bill {
            uptime_ms: millis(mono_now().since(self.started)),
            agent_cpu_ns: process_cpu_ns(),
            worker_cpu_ns: children_cpu_ns(self.worker_pid()),
            sources: self.lanes.views().map(source).collect(),
            detectors: self.supervisor.detectors().into_iter().map(detector).collect(),
            stages: self.meter.stages(),
            batches: self.meter.batches(),
            udp_sent_bytes: self.uplink.status().udp_bytes_sent,
            budget: self.budget(mono_now()),
        }
    }

    fn budget(&self, now: MonoTime) -> BudgetStatus {
        BudgetStatus::new(&self.pipeline.account(now), self.pipeline.ledger())
    }

    /// The state in a line, for whoever asks the service supervisor.
    pub(super) fn in_a_line(&self) -> String {
        let series = self.pipeline.series_count().total;
        let running = self.supervisor.detectors().iter().filter(|one| one.state.name() == "running").count();
        let collector = if self.uplink.lonely_since().is_none() { "connected" } else { "not connected" };
        format!("{series} series, {running} detectors, collector {collector}")
    }

    /// Tells the collector now and then what a person has to mend here. What it sees itself it is not told.
    pub(super) fn tell_health(&mut self, now: MonoTime) {
        if self.ticks_done % HEALTH_TICKS == 1 {
            let problems = self.problems_here(now);
            self.uplink.tell_health(&problems);
        }
    }

    fn problems(&self, now: MonoTime) -> Vec<String> {
        let mut problems: Vec<_> = self.lonely_problem(now).into_iter().collect();
        let policy = &self.policy.in_effect;
        if let Some(expires) = policy.expires.filter(|_| stale(policy, self.collector_now(now))) {
            let version = policy.version;
            problems.push(format!(
                "policy {version} expired at {expires} and runs on: apply a newer one (`vedette policy apply`)"
            ));
        }
        problems.extend(self.problems_here(now));
        problems
    }

    /// All but those of which the collector knows: that it is not reached, and that its policy has expired.
    fn problems_here(&self, now: MonoTime) -> Vec<String> {
        let mut problems = Vec::new();
        if self.ticks_done == 0 {
            problems.push("no tick has run yet".to_owned());
        } else if now.since(self.last_tick) > TICK_AGE_MAX {
            problems.push(format!("no tick for {} s", now.since(self.last_tick).as_secs()));
        }
        problems.extend(self.spool_problem());
        for one in self.supervisor.detectors() {
            if matches!(one.state.name(), "backing-off" | "quarantined") {
                problems.push(format!("detector `{}` is {}", one.name, one.state.name()));
            }
        }
        for one in &self.detectors_refused {
            problems.push(format!("detector `{}` is refused: {}", one.name, one.reason));
        }
        if self.reload.refused {
            problems.push(format!("the configuration was refused ({} problems)", self.reload.problems.len()));
        }
        problems.extend(self.budget(now).problem());
        problems.extend(self.certificate_problem(self.collector_now(now)));
        if !self.pipeline.ledger().balances() {
            problems.push("the ledger does not balance".to_owned());
        }
        problems
    }

    /// What a person has to mend is told at once, what may heal by itself after a while.
    fn lonely_problem(&self, now: MonoTime) -> Option<String> {
        let lonely = now.since(self.uplink.lonely_since()?);
        let outage = self.uplink.outage();
        if lonely <= LONELY_MAX && !outage.is_some_and(|outage| outage.obstacle.needs_a_person()) {
            return None;
        }
        let why = outage.map(|outage| match remedy(outage.obstacle) {
            "" => format!(": {outage}"),
            remedy => format!(": {outage} — {remedy}"),
        });
        Some(format!("no collector for {} s{}", lonely.as_secs(), why.unwrap_or_default()))
    }

    fn certificate_problem(&self, collector_now: WallTime) -> Option<String> {
        let (begins, ends) = self.identity.certificate_life()?;
        let left_ns = ends.unix_ns.saturating_sub(collector_now.unix_ns);
        let enrol = "enrol with a new token (`vedette-agent enroll`)";
        if left_ns <= 0 {
            return Some(format!("the certificate ended at {ends}: {enrol} and restart the agent"));
        }
        let life_ns = ends.unix_ns.saturating_sub(begins.unix_ns);
        let why = self.uplink.not_renewed().unwrap_or("the collector was not there to renew it");
        (left_ns < life_ns / CERTIFICATE_SHARE_LEFT).then(|| format!("the certificate ends at {ends}: {why}"))
    }

    fn series(&self) -> SeriesStatus {
        let count = self.pipeline.series_count();
        #[expect(clippy::cast_possible_truncation, clippy::cast_sign_loss, reason = "at least 0, and saturates")]
        let oddness_milli = (self.pipeline.oddness() * 1_000.0) as u64;
        SeriesStatus { total: count.total as u64, at_1s: count.at_1s as u64, folded: count.folded, oddness_milli }
    }

    /// Of the one that answers.
    pub(super) fn worker_pid(&self) -> Option<u32> {
        self.supervisor.worker().active.and_then(|active| self.workers.get(&active))?.pid
    }

    fn worker(&self) -> WorkerStatus {
        let worker = self.supervisor.worker();
        WorkerStatus {
            pid: self.worker_pid(),
            execution: self.shelf.execution().name().to_owned(),
            confinement: worker.confinement.clone(),
            restarts: worker.restarts,
            switches: worker.switches,
            ticks_withheld: worker.ticks_withheld,
            requests_dropped: worker.requests_dropped,
            states_restored: worker.states_restored,
            restores_refused: worker.restores_refused,
        }
    }

    fn memory_status(&self) -> MemoryStatus {
        MemoryStatus {
            bound: self.memory.clone(),
            agent: memory::held(std::process::id()).unwrap_or_default(),
            workers: self.workers.values().filter_map(|worker| memory::held(worker.pid?)).collect(),
        }
    }

    /// The series that stand out most, at most so many.
    pub(super) fn oddest(&self, count: usize) -> Vec<OddSeries> {
        self.pipeline.oddest(count)
    }

    fn policy_status(&self) -> PolicyStatus {
        let collector_now = self.collector_now(mono_now());
        PolicyStatus {
            version_in_effect: self.policy.in_effect.version,
            stale: stale(&self.policy.in_effect, collector_now),
            refused: self.policy.refused_total,
            last_refused: self.policy.last_refused.as_ref().map(|(version, why)| match version {
                0 => why.clone(),
                version => format!("version {version}: {why}"),
            }),
        }
    }

    fn directive_status(&self) -> DirectiveStatus {
        DirectiveStatus {
            in_effect: self.pipeline.directives().iter().map(ToString::to_string).collect(),
            refused: self.directives.refused_total(),
            last_refused: self.directives.last_refused().map(|(id, why)| format!("{id}: {why}")),
        }
    }

    fn files_status(&self) -> FilesStatus {
        let watch = self.change_lane.counts();
        FilesStatus {
            log_overruns: self.line_lane.overruns(),
            watch_overruns: self.change_lane.overruns(),
            inventory_overruns: self.inventory_lane.overruns(),
            watch_unreadable: watch.unreadable,
            watch_unfit: watch.unfit,
        }
    }

    /// What the flight recorder holds of this that is not on disk yet, to be taken out by who asked.
    pub(super) fn unwritten(&self, wanted: &Wanted) -> Unwritten {
        let lacking_from_ms = self.recorder.as_ref().map_or(i64::MAX, RecorderDisk::lacking_from_ms);
        let span = (wanted.begin_ms, wanted.end_ms);
        let names = |meta: &SeriesMeta| wanted.names(&meta.display_name());
        let (series, search) = self.pipeline.search_unwritten(lacking_from_ms, span, names, IN_MEMORY_MAX);
        let lines = || self.pipeline.lines_unwritten(lacking_from_ms, span, IN_MEMORY_LINE_BYTES);
        let lines = wanted.lines.then(lines);
        Unwritten { series, search, lines, disk: self.recorder.as_ref().map(RecorderDisk::view) }
    }

    fn recorder_status(&self) -> Option<RecorderStatus> {
        let recorder = self.pipeline.recorder()?;
        let extent = recorder.extent();
        Some(RecorderStatus {
            memory_bytes: extent.bytes as u64,
            memory_bytes_max: self.config.recorder.memory_bytes as u64,
            memory_begin: extent.begin_ms.map(|ms| WallTime::from_unix_ms(ms).to_string()),
            counts: recorder.counts(),
            disk: self.recorder.as_ref().map(RecorderDisk::view),
            disk_bytes_max: self.config.recorder.disk_bytes,
        })
    }

    fn spool_disk_status(&self) -> SpoolDiskStatus {
        let (bytes, segments) = self.spool.log_size();
        let (state, reason) = match self.spool.disk() {
            crate::spool::Disk::Well => ("ok", String::new()),
            crate::spool::Disk::Failing(reason) => ("failing", reason),
            crate::spool::Disk::Absent(reason) => ("absent", reason),
        };
        SpoolDiskStatus { state: state.to_owned(), reason, bytes, segments }
    }

    fn spool_problem(&self) -> Option<String> {
        match self.spool.disk() {
            crate::spool::Disk::Well => None,
            crate::spool::Disk::Failing(reason) => {
                Some(format!("the spool's disk fails ({reason}): batches wait in memory until it works again"))
            }
            crate::spool::Disk::Absent(reason) => Some(format!(
                "no spool on disk ({reason}): what waits is lost when the agent ends; mend it and restart the agent"
            )),
        }
    }

    fn spool_status(&self) -> SpoolStatus {
        let totals = self.spool.totals();
        let shed = |class| self.spool.counts(class).shed;
        let [disk_room, memory_room, damaged, unsendable, left] = self.spool.shed_by_reason();
        SpoolStatus {
            queue_epoch: self.spool.epoch().0,
            made: totals.made,
            acked: totals.acked,
            shed: ClassCounts { finding: shed(Class::Finding), feature: shed(Class::Feature), log: shed(Class::Log) },
            pending: totals.pending,
            bytes: self.spool.bytes() as u64,
            duplicates: totals.duplicates,
            quarantined: totals.quarantined,
            shed_reasons: ShedReasons { disk_room, memory_room, damaged, unsendable, left },
            disk: self.spool_disk_status(),
        }
    }
}

fn source(view: &SourceView<'_>) -> SourceStatus {
    let record = view.record;
    SourceStatus {
        name: view.name.to_owned(),
        interval_ms: view.interval_ms,
        reads: record.reads,
        errors: record.errors,
        overruns: record.overruns,
        dropped: record.dropped,
        ns_last: record.ns_last,
        ns_total: record.ns_total,
        last_error: record.last_error.clone(),
    }
}

fn inventory(view: &InventoryView<'_>) -> InventoryStatus {
    InventoryStatus { name: view.name.to_owned(), interval_ms: view.interval_ms, record: view.record.clone() }
}

fn detector(one: &supervise::DetectorStatus) -> DetectorStatus {
    DetectorStatus {
        name: one.name.clone(),
        version: one.version.clone(),
        digest: one.digest.to_string(),
        state: one.state.name().to_owned(),
        reason: one.failure.as_ref().map(|(fault, text)| format!("{fault:?}: {text}")).unwrap_or_default(),
        demoted_after_ms: one.demoted_after.map(millis),
        strikes: one.strikes,
        calls: one.calls,
        values: one.values,
        guest_ns: one.guest_ns,
        series: one.series as u64,
        state_bytes: one.state_bytes as u64,
        ns_per_value: one.guest_ns.checked_div(one.values).unwrap_or(0),
        memory_bytes: one.memory_bytes,
        shadow_of: one.shadow_of.clone(),
        scores: one.scores.map(scores),
    }
}

fn scores(summary: supervise::ScoreSummary) -> ScoresStatus {
    let supervise::ScoreSummary { judged, undecided, median, p99, highest } = summary;
    ScoresStatus { judged, undecided, median, p99, highest }
}

fn journald(state: &JournalState) -> JournaldStatus {
    let counts = &state.counts;
    JournaldStatus {
        lines: counts.lines,
        files: counts.files,
        messages_cut: counts.messages_cut,
        entries_missed: counts.entries_missed,
        entries_damaged: counts.entries_damaged,
        entries_silent: counts.entries_silent,
        entries_own: counts.entries_own,
        entries_skipped: counts.entries_skipped,
        fields_skipped: counts.fields_skipped,
        files_refused: counts.files_refused,
        last_error: state.last_error.clone(),
    }
}

fn log(file: &FileState, masks: &Masks) -> LogStatus {
    let (counts, (followed, waiting)) = (&file.counts, file.files);
    LogStatus {
        path: masks.masked(&file.path),
        files: followed as u64,
        files_waiting: waiting as u64,
        lines: counts.lines,
        bytes: counts.bytes,
        rotations: counts.rotations + counts.truncations,
        lines_cut: counts.lines_cut,
        bytes_lost: counts.bytes_lost,
        bytes_skipped: counts.bytes_skipped,
        files_abandoned: counts.files_abandoned,
        files_gone: counts.files_gone,
        last_error: file.last_error.clone(),
    }
}

fn watched(file: &WatchedFile, masks: &Masks) -> WatchStatus {
    let WatchedFile { path, changes, last_error } = file.clone();
    WatchStatus { path: masks.masked(&path), changes, last_error }
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

//! The agent's own metrics as OpenMetrics text, made from what `status` tells.
//!
//! Fixed in number but for sources, which are a closed set, and detectors, of which at most [`DETECTORS_MAX`] have rows
//! of their own: no label comes from data that the agent reads.

pub mod listen;
mod page;

use crate::status::{DetectorStatus, SourceStatus, Status};
use page::{COUNTER, GAUGE, INFO, Page};

/// What the text is, for HTTP.
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";

/// Detectors with rows of their own; the others are counted in `vedette_agent_detectors_left_out`.
pub const DETECTORS_MAX: usize = 64;

/// The whole page, `# EOF` included.
pub fn render(status: &Status) -> String {
    let mut page = Page::default();
    whole(&mut page, status);
    sources(&mut page, &status.sources);
    detectors(&mut page, &status.detectors);
    worker(&mut page, status);
    learnt(&mut page, status);
    ledger(&mut page, status);
    files(&mut page, status);
    spool(&mut page, status);
    recorder(&mut page, status);
    link(&mut page, status);
    control(&mut page, status);
    budget(&mut page, status);
    page.end()
}

fn whole(page: &mut Page, status: &Status) {
    page.labelled(&INFO.named("build", "Version of the agent."), [([("version", &*status.version)], 1)]);
    page.one(&GAUGE.seconds("uptime_seconds", "Time since start."), seconds_of_ms(status.uptime_ms));
    page.one(&GAUGE.named("ready", "1 once a tick has run."), u64::from(status.ready));
    page.one(&GAUGE.named("healthy", "1 if nothing asks for a person's attention."), u64::from(status.healthy));
    page.one(&GAUGE.named("problems", "Things that ask for a person's attention."), status.problems.len());
    page.one(&GAUGE.named("warm", "1 once detectors have learnt enough to judge."), u64::from(status.warm));
    let ticks = [([("outcome", "run")], status.ticks.run), ([("outcome", "missed")], status.ticks.missed)];
    page.labelled(&COUNTER.named("ticks", "Ticks of one second; missed: the agent was late by one or more."), ticks);
    let longest = GAUGE.seconds("tick_longest_seconds", "Longest time from a tick's due moment to its end.");
    page.one(&longest, seconds_of_ns(status.ticks.ns_max));
    page.one(&GAUGE.named("taps", "Readers that follow live."), status.taps.open);
    page.one(&COUNTER.named("tap_events_missed", "What they did not read in time."), status.taps.missed);
    page.one(&GAUGE.bytes("memory_bytes", "Memory of agent and workers."), status.memory.bytes());
    let bound = GAUGE.bytes("memory_bound_bytes", "The most that it can be, by the configuration.");
    page.one(&bound, status.memory.bound.total_bytes);
    page.one(&GAUGE.named("series", "Series known."), status.series.total);
    page.one(
        &GAUGE.named("oddness_thousandths", "How odd the host is by its detectors' votes."),
        status.series.oddness_milli,
    );
    page.one(&GAUGE.named("series_each_second", "Series that are read each second."), status.series.at_1s);
}

fn sources(page: &mut Page, sources: &[SourceStatus]) {
    fn rows<T>(all: &[SourceStatus], value: fn(&SourceStatus) -> T) -> impl Iterator<Item = ([(&str, &str); 1], T)> {
        all.iter().map(move |one| ([("source", &*one.name)], value(one)))
    }
    let interval = GAUGE.seconds("source_interval_seconds", "Interval in effect.");
    page.labelled(&interval, rows(sources, |one| seconds_of_ms(u64::from(one.interval_ms))));
    page.labelled(&COUNTER.named("source_reads", "Readings begun."), rows(sources, |one| one.reads));
    page.labelled(&COUNTER.named("source_errors", "Readings that failed."), rows(sources, |one| one.errors));
    page.labelled(&COUNTER.named("source_overruns", "Readings not done in time."), rows(sources, |one| one.overruns));
    page.labelled(&COUNTER.named("source_dropped", "Things left out by a limit."), rows(sources, |one| one.dropped));
    let time = COUNTER.seconds("source_read_seconds", "Time that readings took.");
    page.labelled(&time, rows(sources, |one| seconds_of_ns(one.ns_total)));
}

fn detectors(page: &mut Page, all: &[DetectorStatus]) {
    fn rows<T>(
        all: &[DetectorStatus],
        value: fn(&DetectorStatus) -> T,
    ) -> impl Iterator<Item = ([(&str, &str); 2], T)> {
        let role = |one: &DetectorStatus| if one.shadow_of.is_some() { "shadow" } else { "judged" };
        all.iter().map(move |one| ([("detector", &*one.name), ("role", role(one))], value(one)))
    }
    let shown = &all[..all.len().min(DETECTORS_MAX)];
    page.one(&GAUGE.named("detectors_left_out", "Detectors without rows of their own."), all.len() - shown.len());
    let running = GAUGE.named("detector_running", "1 while it answers.");
    page.labelled(&running, rows(shown, |one| u64::from(one.state == "running")));
    page.labelled(&COUNTER.named("detector_calls", "Ticks answered."), rows(shown, |one| one.calls));
    page.labelled(&COUNTER.named("detector_values", "Values scored."), rows(shown, |one| one.values));
    let time = COUNTER.seconds("detector_guest_seconds", "Time inside the guest.");
    page.labelled(&time, rows(shown, |one| seconds_of_ns(one.guest_ns)));
    page.labelled(&GAUGE.named("detector_series", "Series that it knows."), rows(shown, |one| one.series));
    page.labelled(
        &GAUGE.bytes("detector_memory_bytes", "Linear memory of the guest."),
        rows(shown, |one| one.memory_bytes),
    );
    page.labelled(
        &GAUGE.bytes("detector_state_bytes", "States held for it, by the mean of the snapshots seen."),
        rows(shown, |one| one.state_bytes),
    );
    page.labelled(
        &GAUGE.named("detector_strikes", "Failures that were not forgiven."),
        rows(shown, |one| u64::from(one.strikes)),
    );
}

fn worker(page: &mut Page, status: &Status) {
    let worker = &status.worker;
    page.one(&GAUGE.named("detectors_refused", "Artifacts that are not run."), status.detectors_refused.len());
    page.one(&COUNTER.named("worker_restarts", "Workers that died or were killed."), worker.restarts);
    page.one(&COUNTER.named("worker_switches", "Switches to another worker, the first included."), worker.switches);
    let withheld = COUNTER.named("worker_ticks_withheld", "Ticks withheld from a detector that lagged.");
    page.one(&withheld, worker.ticks_withheld);
    let dropped = COUNTER.named("worker_requests_dropped", "Requests that nobody was there to answer.");
    page.one(&dropped, worker.requests_dropped);
}

fn learnt(page: &mut Page, status: &Status) {
    let learnt = &status.learnt;
    let states = &learnt.states;
    let rows = [
        ("returned", states.returned),
        ("other_module", states.other_module),
        ("unsound", states.unsound),
        ("not_back", states.not_back),
    ];
    let rows = rows.map(|(outcome, count)| ([("outcome", outcome)], count));
    page.labelled(&COUNTER.named("learnt_states", "States of an earlier life, by what became of them."), rows);
    page.one(&COUNTER.named("learnt_stored", "Times that what was learnt was stored."), learnt.stored.written);
    page.one(&GAUGE.bytes("learnt_stored_bytes", "What was stored last."), learnt.stored.bytes);
    page.one(&GAUGE.named("learnt_left_out", "States that found no room in it."), learnt.left_out);
}

/// The pipeline's books: one family, because its lines are counts of events of one life and share no sum.
fn ledger(page: &mut Page, status: &Status) {
    let rows = status.ledger.iter().filter_map(|(entry, count)| Some(([("entry", &**entry)], count.as_u64()?)));
    page.labelled(&COUNTER.named("ledger_entries", "The pipeline's books: what came in and what became of it."), rows);
}

fn files(page: &mut Page, status: &Status) {
    let sum = |of: fn(&crate::status::LogStatus) -> u64| status.logs.iter().map(of).sum::<u64>();
    page.one(&GAUGE.named("log_files", "Log files that are followed."), sum(|log| log.files));
    let waiting = GAUGE.named("log_files_waiting", "Files that match a glob and wait for room.");
    page.one(&waiting, sum(|log| log.files_waiting));
    page.one(&COUNTER.named("log_lines", "Lines read."), sum(|log| log.lines));
    page.one(&COUNTER.bytes("log_read_bytes", "Bytes read."), sum(|log| log.bytes));
    page.one(&COUNTER.named("log_rotations", "Rotations and truncations seen."), sum(|log| log.rotations));
    page.one(&COUNTER.named("log_lines_cut", "Lines of which only the begin was read."), sum(|log| log.lines_cut));
    let lost = [
        ([("reason", "truncated")], sum(|log| log.bytes_lost)),
        ([("reason", "before_backlog")], sum(|log| log.bytes_skipped)),
    ];
    page.labelled(&COUNTER.bytes("log_lost_bytes", "Bytes that were never read."), lost);
    let abandoned = COUNTER.named("log_files_abandoned", "Rotated files that were not read to their end.");
    page.one(&abandoned, sum(|log| log.files_abandoned));
    page.one(&COUNTER.named("log_files_gone", "Files that were gone after a restart."), sum(|log| log.files_gone));
    if let Some(journald) = &status.journald {
        page.one(&COUNTER.named("journald_entries_read", "Entries of the journal read as lines."), journald.lines);
        let left_out = [
            ([("reason", "missed")], journald.entries_missed),
            ([("reason", "silent")], journald.entries_silent),
            ([("reason", "own")], journald.entries_own),
            ([("reason", "before_backlog")], journald.entries_skipped),
        ];
        page.labelled(&COUNTER.named("journald_entries_left_out", "Entries of the journal not read."), left_out);
    }
    let overruns =
        [([("lane", "logs")], status.files.log_overruns), ([("lane", "watch")], status.files.watch_overruns)];
    page.labelled(&COUNTER.named("file_overruns", "Ticks that files did not answer in time."), overruns);
    let unseen = [
        ([("reason", "unreadable")], status.files.watch_unreadable),
        ([("reason", "unfit")], status.files.watch_unfit),
    ];
    page.labelled(&COUNTER.named("watch_looks_failed", "Looks at a watched file that showed nothing."), unseen);
}

fn spool(page: &mut Page, status: &Status) {
    let spool = &status.spool;
    page.one(&COUNTER.named("batches_made", "Batches given a sequence."), spool.made);
    page.one(&COUNTER.named("batches_acked", "Batches settled by the collector."), spool.acked);
    let shed = &spool.shed;
    let shed = [("finding", shed.finding), ("feature", shed.feature), ("log", shed.log)];
    let shed = shed.map(|(class, count)| ([("class", class)], count));
    page.labelled(&COUNTER.named("batches_shed", "Batches dropped for want of room."), shed);
    page.one(&COUNTER.named("batches_duplicate", "Batches that the collector had before."), spool.duplicates);
    page.one(&COUNTER.named("batches_quarantined", "Batches put aside unread."), spool.quarantined);
    page.one(&GAUGE.named("batches_pending", "Batches that wait for the collector."), spool.pending);
    page.one(&GAUGE.bytes("spool_bytes", "Memory of batches that wait."), spool.bytes);
    page.one(&GAUGE.bytes("spool_disk_bytes", "Segments of the spool on disk."), spool.disk.bytes);
    let failing = u64::from(spool.disk.state != "ok");
    page.one(&GAUGE.named("spool_disk_failing", "1 while batches wait in memory only."), failing);
}

/// Rows of zeros where the recorder, or its disk, is off.
fn recorder(page: &mut Page, status: &Status) {
    let one = status.recorder.clone().unwrap_or_default();
    let disk = one.disk.clone().unwrap_or_default();
    page.one(&GAUGE.bytes("recorder_memory_bytes", "Flight recorder in memory."), one.memory_bytes);
    page.one(&GAUGE.bytes("recorder_disk_bytes", "Flight recorder on disk."), disk.bytes);
    page.one(&COUNTER.named("recorder_samples", "Samples recorded."), one.counts.samples);
    page.one(&COUNTER.bytes("recorder_block_bytes", "Bytes that these samples came to."), one.counts.block_bytes);
    page.one(&COUNTER.named("recorder_lines", "Log lines recorded."), one.counts.lines);
    let left_out = COUNTER.named("recorder_lines_left_out", "Log lines for which a block had no room.");
    page.one(&left_out, one.counts.lines_left_out);
    let lost = [
        ("forgotten", disk.blocks_forgotten),
        ("too-large", disk.blocks_too_large),
        ("queue", one.counts.blocks_not_taken),
    ];
    let lost = lost.map(|(reason, count)| ([("reason", reason)], count));
    page.one(
        &GAUGE.named("recorder_blocks_waiting", "Sealed blocks that the disk does not have yet."),
        disk.blocks_waiting,
    );
    page.labelled(&COUNTER.named("recorder_blocks_lost", "Sealed blocks that did not get to the disk."), lost);
}

fn link(page: &mut Page, status: &Status) {
    let link = &status.link;
    page.one(&GAUGE.named("link_connected", "1 while the collector is connected."), u64::from(link.connected));
    page.one(&COUNTER.named("link_reconnects", "Connections after the first."), link.reconnects);
    page.one(&COUNTER.bytes("link_sent_bytes", "UDP payload sent, handshakes included."), link.udp_bytes_sent);
    let seconds = |ms: Option<f64>| ms.map(|ms| ms / 1e3);
    if let Some(seconds) = seconds(link.rtt_ms) {
        page.one(&GAUGE.seconds("link_round_trip_seconds", "Round trip of the last hello."), seconds);
    }
    if let Some(seconds) = seconds(link.offset_ms) {
        page.one(&GAUGE.seconds("clock_offset_seconds", "The collector's clock minus this host's."), seconds);
    }
}

fn control(page: &mut Page, status: &Status) {
    let (policy, directives) = (&status.policy, &status.directives);
    page.one(&GAUGE.named("policy_version", "Policy in effect; 0 is built in."), policy.version_in_effect);
    page.one(&GAUGE.named("policy_stale", "1 if it has expired and runs on."), u64::from(policy.stale));
    page.one(&GAUGE.named("directives", "Directives in effect."), directives.in_effect.len());
    let refused = [([("document", "policy")], policy.refused), ([("document", "directive")], directives.refused)];
    page.labelled(&COUNTER.named("documents_refused", "Signed documents that were not taken."), refused);
}

/// What is not limited has no row for its limit; what was left out stands in the ledger.
fn budget(page: &mut Page, status: &Status) {
    let budget = &status.budget;
    if let Some(ns) = budget.cpu.per_hour {
        page.one(&GAUGE.seconds("budget_cpu_hour_seconds", "CPU time that an hour may cost."), seconds_of_ns(ns));
    }
    let minute = GAUGE.seconds("spent_cpu_minute_seconds", "CPU time of the last minute.");
    page.one(&minute, seconds_of_ns(budget.cpu.minute));
    if let Some(bytes) = budget.uplink.per_hour {
        page.one(&GAUGE.bytes("budget_uplink_hour_bytes", "Bytes for the collector that an hour may cost."), bytes);
    }
    page.one(&GAUGE.bytes("spent_uplink_hour_bytes", "Bytes for the collector of the last hour."), budget.uplink.hour);
    page.one(&GAUGE.named("series_at_full_rate", "Series that detectors see at each reading."), budget.series_full);
    page.one(&GAUGE.named("series_raised", "Series that are looked at closely for a while."), budget.series_raised);
}

fn seconds_of_ms(ms: u64) -> f64 {
    ms as f64 / 1e3
}

fn seconds_of_ns(ns: u64) -> f64 {
    ns as f64 / 1e9
}

#[cfg(test)]
mod tests;

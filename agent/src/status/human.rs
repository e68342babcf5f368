//! The status as a screen for people: what matters first, one thing a line.

use super::{
    DetectorStatus, FilesStatus, LearntStatus, LogStatus, MemoryStatus, ReloadStatus, ScoresStatus, SpoolDiskStatus,
    Status, WorkerStatus,
};
use crate::memory::{MemoryHeld, mib};
use std::fmt::{self, Write as _};

/// Renders the status.
pub fn render(status: &Status) -> String {
    let mut out = String::new();
    write(&mut out, status).expect("a String takes everything");
    out
}

fn write(out: &mut String, status: &Status) -> fmt::Result {
    header(out, status)?;
    for problem in &status.problems {
        writeln!(out, "  ! {problem}")?;
    }
    collector(out, status)?;
    control(out, status)?;
    write!(out, "{}", status.budget)?;
    reload(out, &status.reload)?;
    recorder(out, status)?;
    detectors(out, status)?;
    learnt(out, &status.learnt)?;
    sources(out, status)?;
    inventories(out, status)?;
    logs(out, status)?;
    if status.taps.open + status.taps.missed > 0 {
        writeln!(out, "taps        {} open, {} things missed by slow ones", status.taps.open, status.taps.missed)?;
    }
    memory(out, &status.memory)?;
    writeln!(out, "agent       pid {}, {}", status.agent.pid, list(&status.agent.confinement))?;
    match status.worker.pid {
        Some(pid) => {
            let WorkerStatus { execution, confinement, .. } = &status.worker;
            writeln!(out, "worker      pid {pid}, {execution}, {}", list(confinement))
        }
        None => writeln!(out, "worker      none"),
    }
}

fn header(out: &mut String, status: &Status) -> fmt::Result {
    let health = if status.healthy { "healthy" } else { "NOT HEALTHY" };
    let warm = if status.warm { "warm".to_owned() } else { format!("learning for {}", age(status.warmup_ms)) };
    writeln!(out, "{} ({}) — {health}, {warm}, up {}", status.host.name, status.host.id, age(status.uptime_ms))?;
    let (ticks, series) = (&status.ticks, &status.series);
    writeln!(out, "ticks       {} run, {} missed", ticks.run, ticks.missed)?;
    let folded = if series.folded > 0 { format!(", {} FOLDED", series.folded) } else { String::new() };
    let (whole, thousandths) = (series.oddness_milli / 1_000, series.oddness_milli % 1_000);
    let odd = format!(", oddness {whole}.{thousandths:03}");
    writeln!(out, "series      {}, {} each second{folded}{odd}", series.total, series.at_1s)
}

fn collector(out: &mut String, status: &Status) -> fmt::Result {
    let link = &status.link;
    match (link.connected, &link.last_error) {
        (true, _) => {
            let (rtt, offset) = (link.rtt_ms.unwrap_or(0.0), link.offset_ms.unwrap_or(0.0));
            writeln!(out, "collector   connected, round trip {rtt:.1} ms, clock offset {offset:+.1} ms")?;
        }
        (false, Some(error)) => writeln!(out, "collector   NOT CONNECTED: {error}")?,
        (false, None) => writeln!(out, "collector   not connected yet")?,
    }
    let spool = &status.spool;
    let shed = spool.shed.finding + spool.shed.feature + spool.shed.log;
    writeln!(
        out,
        "batches     {} made, {} acknowledged, {} waiting, {shed} shed",
        spool.made, spool.acked, spool.pending
    )?;
    spool_disk(out, &spool.disk)
}

fn spool_disk(out: &mut String, disk: &SpoolDiskStatus) -> fmt::Result {
    let SpoolDiskStatus { state, reason, bytes, segments } = disk;
    match state.as_str() {
        "ok" => writeln!(out, "spool       {} KiB on disk in {segments} segments", bytes.div_ceil(1024)),
        state => writeln!(out, "spool       disk {}: {reason}", state.to_uppercase()),
    }
}

fn reload(out: &mut String, reload: &ReloadStatus) -> fmt::Result {
    let changed = |names: &[String]| if names.is_empty() { "nothing".to_owned() } else { names.join(" ") };
    if reload.count > 0 {
        writeln!(out, "configuration read anew {} times, last changed: {}", reload.count, changed(&reload.applied))?;
    }
    if !reload.restart.is_empty() {
        writeln!(out, "  takes a RESTART: {}", reload.restart.join(" "))?;
    }
    for problem in &reload.problems {
        writeln!(out, "  REFUSED: {problem}")?;
    }
    Ok(())
}

fn control(out: &mut String, status: &Status) -> fmt::Result {
    let policy = &status.policy;
    let which = match policy.version_in_effect {
        0 => "built-in default".to_owned(),
        version => format!("version {version}"),
    };
    let stale = if policy.stale { ", STALE" } else { "" };
    writeln!(out, "policy      {which}{stale}, {} refused", policy.refused)?;
    if let Some(refused) = &policy.last_refused {
        writeln!(out, "            last refused: {refused}")?;
    }
    let directives = &status.directives;
    writeln!(out, "directives  {} in effect, {} refused", directives.in_effect.len(), directives.refused)
}

fn detectors(out: &mut String, status: &Status) -> fmt::Result {
    if status.detectors.is_empty() && status.detectors_refused.is_empty() {
        return writeln!(
            out,
            "detectors   NONE: nothing is judged; `vedette-agent diagnose` says where they are looked for"
        );
    }
    writeln!(out, "detectors")?;
    let width = status.detectors.iter().map(|one| one.name.len() + one.version.len() + 1).max().unwrap_or(0).max(16);
    for one in &status.detectors {
        let name = format!("{} {}", one.name, one.version);
        writeln!(out, "  {name:<width$} {:<12} {}", one.state, cost(one))?;
        if let Some(shadowed) = &one.shadow_of {
            writeln!(out, "    shadow of {shadowed}: not judged by")?;
        }
        if let Some(scores) = &one.scores {
            let ScoresStatus { judged, median, p99, highest, .. } = scores;
            writeln!(out, "    {judged} scores: median {median:.2}, p99 {p99:.2}, highest {highest:.2}")?;
        }
        if !one.reason.is_empty() {
            writeln!(out, "    {}", one.reason)?;
        }
    }
    for one in &status.detectors_refused {
        writeln!(out, "  {:<width$} {:<12} {}", one.name, "REFUSED", one.reason)?;
    }
    Ok(())
}

fn learnt(out: &mut String, learnt: &LearntStatus) -> fmt::Result {
    let LearntStatus { age_ms, is_prior, refused, states, waiting, left_out, stored } = learnt;
    write!(out, "learnt      ")?;
    match age_ms {
        Some(ms) => {
            let lost = states.other_module + states.unsound + states.not_back;
            let lost = if lost > 0 { format!(", {lost} of no use") } else { String::new() };
            let waiting = if *waiting > 0 { format!(", {waiting} waited for") } else { String::new() };
            write!(
                out,
                "{} of {} states {}from {} before the start{lost}{waiting}; ",
                states.returned,
                states.found,
                if *is_prior { "of another host " } else { "" },
                age(*ms)
            )?;
        }
        None if refused.is_empty() => {}
        None => write!(out, "COLD START, {refused}; ")?,
    }
    write!(out, "stored {} times, {} KiB", stored.written, stored.bytes.div_ceil(1_024))?;
    if *left_out > 0 {
        write!(out, ", {left_out} states LEFT OUT")?;
    }
    match &stored.last_error {
        Some(error) => writeln!(out, ", NOT STORED: {error}"),
        None => writeln!(out),
    }
}

/// What a detector costs: time, calls, memory.
fn cost(one: &DetectorStatus) -> String {
    let (memory_kib, state_kib) = (one.memory_bytes / 1024, one.state_bytes.div_ceil(1024));
    format!(
        "{:>5} series, {} ns a value, {} calls, memory {memory_kib} KiB, states {state_kib} KiB",
        one.series, one.ns_per_value, one.calls
    )
}

fn recorder(out: &mut String, status: &Status) -> fmt::Result {
    let Some(one) = &status.recorder else { return writeln!(out, "recorder    off") };
    let since = one.memory_begin.as_ref().map(|begin| format!(" since {begin}")).unwrap_or_default();
    write!(out, "recorder    {} KiB in memory{since}", one.memory_bytes.div_ceil(1_024))?;
    match &one.disk {
        None => writeln!(out, ", none on disk")?,
        Some(disk) => {
            let lost = disk.blocks_lost();
            let lost = if lost > 0 { format!(", {lost} blocks LOST") } else { String::new() };
            let waiting = disk.blocks_waiting;
            let waiting = if waiting > 0 { format!(", {waiting} blocks wait for it") } else { String::new() };
            let trouble = disk.last_error.as_ref().map(|error| format!(", {error}")).unwrap_or_default();
            writeln!(out, ", {} KiB on disk{waiting}{lost}{trouble}", disk.bytes.div_ceil(1_024))?;
        }
    }
    Ok(())
}

fn sources(out: &mut String, status: &Status) -> fmt::Result {
    writeln!(out, "sources")?;
    for one in &status.sources {
        let mean_us = one.ns_total.checked_div(one.reads).unwrap_or(0) / 1_000;
        let every = age(u64::from(one.interval_ms));
        let trouble = match (&one.last_error, one.overruns) {
            (Some(error), _) => format!(", {error}"),
            (None, 0) => String::new(),
            (None, overruns) => format!(", {overruns} overruns"),
        };
        writeln!(out, "  {:<18} every {every:>4} {mean_us:>7} µs{trouble}", one.name)?;
    }
    Ok(())
}

fn inventories(out: &mut String, status: &Status) -> fmt::Result {
    if status.inventories.is_empty() {
        return Ok(());
    }
    writeln!(out, "inventories")?;
    for one in &status.inventories {
        let record = &one.record;
        let mean_us = record.ns_total.checked_div(record.looks).unwrap_or(0) / 1_000;
        let every = age(u64::from(one.interval_ms));
        let left_out = [(record.folded, "changes FOLDED"), (record.left_out, "things left out")];
        let left_out: String =
            left_out.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}")).collect();
        let trouble = match &record.last_error {
            Some(error) if record.unreadable > 1 => format!(", {error} and {} more", record.unreadable - 1),
            Some(error) => format!(", {error}"),
            None => String::new(),
        };
        let (items, changes) = (record.items, record.changes);
        writeln!(
            out,
            "  {:<18} every {every:>4} {mean_us:>7} µs, {items} known, {changes} changes{left_out}{trouble}",
            one.name
        )?;
    }
    match status.files.inventory_overruns {
        0 => Ok(()),
        overruns => writeln!(out, "  {overruns} ticks found the last looks not over"),
    }
}

fn logs(out: &mut String, status: &Status) -> fmt::Result {
    if let Some(journald) = &status.journald {
        let services = status.logs.iter().filter(|one| is_service(one)).count();
        let left_out = [
            (journald.entries_missed, "entries MISSED"),
            (journald.entries_skipped, "entries skipped"),
            (journald.entries_silent, "entries without a message"),
            (journald.messages_cut, "messages cut"),
            (journald.fields_skipped, "fields that cannot be read"),
            (journald.files_refused, "files REFUSED"),
        ];
        let left_out = counted(&left_out);
        let trouble = journald.last_error.as_ref().map(|error| format!(", {error}")).unwrap_or_default();
        writeln!(out, "journal     {} lines of {services} services{left_out}{trouble}", journald.lines)?;
    }
    for one in status.logs.iter().filter(|one| !is_service(one)) {
        let left_out = [
            (one.lines_cut, "lines cut"),
            (one.bytes_lost, "bytes LOST"),
            (one.bytes_skipped, "bytes skipped"),
            (one.files_abandoned, "files ABANDONED"),
            (one.files_gone, "files GONE after a restart"),
            (one.files_waiting, "files WAITING for room"),
        ];
        let left_out = counted(&left_out);
        let trouble = one.last_error.as_ref().map(|error| format!(", {error}")).unwrap_or_default();
        let files = if one.files > 1 { format!("{} files, ", one.files) } else { String::new() };
        let LogStatus { path, lines, rotations, .. } = one;
        writeln!(out, "log         {path}: {files}{lines} lines, {rotations} rotations{left_out}{trouble}")?;
    }
    let FilesStatus { watch_unreadable, watch_unfit, .. } = &status.files;
    if watch_unreadable + watch_unfit > 0 {
        writeln!(out, "watched     {watch_unreadable} looks failed, {watch_unfit} found no file that can be compared")?;
    }
    for one in &status.watch {
        let trouble = one.last_error.as_ref().map(|error| format!(", {error}")).unwrap_or_default();
        writeln!(out, "watched     {}: {} changes{trouble}", one.path, one.changes)?;
    }
    Ok(())
}

fn memory(out: &mut String, memory: &MemoryStatus) -> fmt::Result {
    let held = |held: &MemoryHeld| format!("{} {}", mib(held.bytes), held.measure);
    let workers: Vec<_> = memory.workers.iter().map(held).collect();
    let workers = if workers.is_empty() { "none".to_owned() } else { workers.join(" and ") };
    let now = mib(memory.bytes());
    writeln!(out, "memory now  {now}: agent {}, worker {workers}", held(&memory.agent))?;
    write!(out, "{}", memory.bound)
}

/// A service in the journal; the others are files, with absolute paths.
fn is_service(log: &LogStatus) -> bool {
    !log.path.starts_with('/')
}

fn counted(counts: &[(u64, &str)]) -> String {
    counts.iter().filter(|(n, _)| *n > 0).map(|(n, what)| format!(", {n} {what}")).collect()
}

fn list(names: &[String]) -> String {
    if names.is_empty() { "NOT CONFINED".to_owned() } else { names.join(" ") }
}

/// A duration as people say it: its two largest units.
fn age(ms: u64) -> String {
    let seconds = ms / 1_000;
    match (seconds / 86_400, seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60) {
        (0, 0, 0, s) => format!("{s}s"),
        (0, 0, m, s) => format!("{m}m{s:02}s"),
        (0, h, m, _) => format!("{h}h{m:02}m"),
        (d, h, _, _) => format!("{d}d{h:02}h"),
    }
}

#[cfg(test)]
mod tests {
    use super::super::*;
    use super::*;

    #[test]
    fn what_is_wrong_stands_on_top() {
        let status = Status {
            host: HostStatus { id: "00".to_owned(), name: "web-1".to_owned(), ..HostStatus::default() },
            uptime_ms: 3_723_000,
            problems: vec!["detector `level` is quarantined".to_owned()],
            link: LinkStatus { last_error: Some("timed out".to_owned()), ..LinkStatus::default() },
            ..Status::default()
        };
        let screen = render(&status);
        let mut lines = screen.lines();
        assert_eq!(lines.next(), Some("web-1 (00) — NOT HEALTHY, learning for 0s, up 1h02m"));
        assert!(screen.contains("! detector `level` is quarantined"));
        assert!(screen.contains("collector   NOT CONNECTED: timed out"));
        assert!(screen.contains("agent       pid 0, NOT CONFINED"));
    }

    #[test]
    fn what_was_left_out_of_a_log_is_told() {
        let log = LogStatus { path: "/var/log/app".to_owned(), lines: 7, bytes_lost: 12, ..LogStatus::default() };
        let files = FilesStatus { watch_unfit: 2, ..FilesStatus::default() };
        let screen = render(&Status { logs: vec![log], files, ..Status::default() });
        assert!(screen.contains("log         /var/log/app: 7 lines, 0 rotations, 12 bytes LOST\n"), "{screen}");
        let service = LogStatus { path: "journald/ssh".to_owned(), lines: 3, ..LogStatus::default() };
        let journald = JournaldStatus { lines: 3, entries_missed: 2, ..JournaldStatus::default() };
        let journal = render(&Status { logs: vec![service], journald: Some(journald), ..Status::default() });
        assert!(journal.contains("journal     3 lines of 1 services, 2 entries MISSED\n"), "{journal}");
        assert!(screen.contains("watched     0 looks failed, 2 found no file that can be compared"), "{screen}");
    }

    #[test]
    fn what_an_inventory_may_not_see_is_told() {
        let record = Record {
            looks: 2,
            items: 7,
            changes: 1,
            unreadable: 3,
            ns_total: 2_000_000,
            last_error: Some("no permission to read /var/spool/cron".to_owned()),
            ..Record::default()
        };
        let one = InventoryStatus { name: "cron".to_owned(), interval_ms: 30_000, record };
        let screen = render(&Status { inventories: vec![one], ..Status::default() });
        let line = "  cron               every  30s    1000 µs, 7 known, 1 changes, no permission to read /var/spool/cron and 2 more\n";
        assert!(screen.contains(line), "{screen}");
    }

    #[test]
    fn what_came_back_of_what_was_learnt_is_told() {
        let line = |learnt: LearntStatus| {
            let screen = render(&Status { learnt, ..Status::default() });
            screen.lines().find(|line| line.starts_with("learnt")).expect("it is told").to_owned()
        };
        let mut learnt = LearntStatus { age_ms: Some(3_000), waiting: 2, ..LearntStatus::default() };
        (learnt.states.found, learnt.states.returned, learnt.states.other_module) = (12, 7, 3);
        (learnt.stored.written, learnt.stored.bytes) = (1, 2_049);
        let told =
            "learnt      7 of 12 states from 3s before the start, 3 of no use, 2 waited for; stored 1 times, 3 KiB";
        assert_eq!(line(learnt), told);
        let refused = "it is 30 hours old".to_owned();
        let told = "learnt      COLD START, it is 30 hours old; stored 0 times, 0 KiB";
        assert_eq!(line(LearntStatus { refused, ..LearntStatus::default() }), told);
    }

    #[test]
    fn ages_are_short() {
        assert_eq!([900, 61_000, 7_260_000, 90_000_000].map(age), ["0s", "1m01s", "2h01m", "1d01h"]);
    }
}

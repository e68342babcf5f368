//! The picture of `top`: lines for a screen of any size. What matters most is above; what has no room is left out.

use super::model::{Model, Order, Snapshot};
use crate::cost::Bill;
use crate::memory::mib;
use crate::status::{DetectorStatus, SourceStatus, Status};
use ratatui::style::{Modifier, Style};
use ratatui::text::Line;

/// From this width on a line has room for the second half of what it says.
const WIDE: usize = 60;
/// A section with less than a title and a row is none.
const SECTION_MIN: usize = 2;

const HELP: [&str; 12] = [
    "q, Esc     quit",
    "s          order: oddness and CPU; surprise, interval, state; name",
    "/          show only names like this: * any text, ? one character",
    "           (Enter keeps it, Esc drops it)",
    "p, space   pause",
    "j, k       down and up in the series",
    "?, h       this page",
    "",
    "odd        share in how odd the host is; 1 is a whole new kind",
    "surpr      decades of rarity by the detector that says most",
    "cpu        share of one core, in thousandths of a percent: m%",
    "           since the last picture, at first since the start",
];

/// The picture in lines that fit the width, at most as many as the height.
pub(super) fn screen(model: &Model, width: u16, height: u16) -> Vec<Line<'static>> {
    let (width, height) = (usize::from(width), usize::from(height));
    let mut lines = head(model, width);
    let foot = foot(model, width);
    let room = height.saturating_sub(lines.len() + 1);
    match &model.now {
        _ if model.shows_help => lines.extend(HELP.iter().take(room).map(|line| plain(line, width))),
        Some(now) => lines.extend(tables(model, now, width, room)),
        None => {}
    }
    lines.truncate(height.saturating_sub(1));
    lines.resize(height.saturating_sub(1), Line::default());
    lines.push(foot);
    lines.truncate(height);
    lines
}

/// The same as text, for scripts: without the line of keys.
pub(super) fn text(model: &Model, width: u16, height: u16) -> String {
    let mut lines = screen(model, width, height.saturating_add(1));
    lines.pop();
    let text = |line: &Line<'_>| format!("{}\n", line.to_string().trim_end());
    lines.iter().map(text).collect::<String>().trim_end().to_owned() + "\n"
}

fn head(model: &Model, width: usize) -> Vec<Line<'static>> {
    let mut lines = Vec::new();
    if let Some(why) = &model.lost {
        let mut why = why.lines();
        lines.push(strong(&format!("NO AGENT, asking again: {}", why.next().unwrap_or_default()), width));
        lines.extend(why.map(|line| plain(line, width)));
    }
    let Some(now) = &model.now else {
        if lines.is_empty() {
            lines.push(plain("asking the agent …", width));
        }
        return lines;
    };
    let (status, bill) = (&now.status, &now.bill);
    let health = if status.healthy { "healthy" } else { "NOT HEALTHY" };
    let warm = if status.warm { "" } else { ", learning" };
    let paused = if model.is_paused { ", PAUSED" } else { "" };
    let name = &status.host.name;
    lines.push(strong(&format!("{name}  {health}{warm}{paused}  up {}", age(status.uptime_ms)), width));
    lines.push(plain(&budget(model, status, bill, width), width));
    lines.push(plain(&delivery(status, width), width));
    if let Some(first) = status.problems.first() {
        let more = match status.problems.len() {
            1 => String::new(),
            count => format!(" (+{})", count - 1),
        };
        lines.push(strong(&format!("!{more} {first}"), width));
    }
    lines
}

/// What is spent, beside what it may be at most.
fn budget(model: &Model, status: &Status, bill: &Bill, width: usize) -> String {
    let before = model.before.as_ref().map(|before| &before.bill);
    let spent = |of: fn(&Bill) -> u64| share(of(bill), before.map(of), elapsed_ms(model));
    let (agent, worker) = (spent(|bill| bill.agent_cpu_ns), spent(|bill| bill.worker_cpu_ns));
    let memory = &status.memory;
    let bound = memory.bound.allowed_bytes.unwrap_or(memory.bound.total_bytes);
    let short = format!("cpu {:.2}%  mem {}/{}", (agent + worker) / 1e3, whole_mib(memory.bytes()), mib(bound));
    if width < WIDE {
        return short;
    }
    let sent = before.map_or(0, |before| bill.udp_sent_bytes.saturating_sub(before.udp_sent_bytes));
    let sent_per_s = (sent * 1_000).checked_div(elapsed_ms(model)).unwrap_or(0);
    format!("{short}  (agent {:.2}%, worker {:.2}%)  sent {sent_per_s} B/s", agent / 1e3, worker / 1e3)
}

fn delivery(status: &Status, width: usize) -> String {
    let spool = &status.spool;
    let shed = spool.shed.finding + spool.shed.feature + spool.shed.log;
    let link = if status.link.connected { "link up" } else { "link DOWN" };
    let disk =
        if spool.disk.state == "ok" { String::new() } else { format!(", disk {}", spool.disk.state.to_uppercase()) };
    let short = format!("{link}  spool {} waiting, {shed} shed{disk}", spool.pending);
    if width < WIDE {
        return short;
    }
    let (series, ticks) = (&status.series, &status.ticks);
    let folded = if series.folded > 0 { format!(" ({} FOLDED)", series.folded) } else { String::new() };
    format!("{short}  series {}{folded}  ticks {} missed", series.total, ticks.missed)
}

fn foot(model: &Model, width: usize) -> Line<'static> {
    if model.is_typing {
        return strong(&format!("/{}_", model.filter), width);
    }
    let filter = if model.filter.is_empty() { String::new() } else { format!("  /{}", model.filter) };
    let keys = if width < WIDE { "q s / p ?" } else { "q quit  s sort  / filter  p pause  ? help" };
    strong(&format!("{keys}  by {}{filter}", model.order.name()), width)
}

/// Series get what sources and detectors leave, half of the room at least.
fn tables(model: &Model, now: &Snapshot, width: usize, room: usize) -> Vec<Line<'static>> {
    let detectors = detectors(model, now);
    let sources = sources(model, now);
    let quarter = room / 4;
    let for_detectors = (detectors.rows.len() + 1).min(quarter);
    let for_sources = (sources.rows.len() + 1).min(room / 2 - for_detectors.min(room / 2));
    let series = series(model, now);
    let mut lines = series.lines(width, room - for_detectors - for_sources);
    lines.extend(sources.lines(width, for_sources));
    lines.extend(detectors.lines(width, for_detectors));
    lines
}

/// A column after the first, which has what is left; from what width of the screen on it is there.
struct Column {
    title: &'static str,
    width: usize,
    from: usize,
}

const fn column(title: &'static str, width: usize, from: usize) -> Column {
    Column { title, width, from }
}

struct Table {
    title: &'static str,
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

impl Table {
    fn lines(&self, width: usize, room: usize) -> Vec<Line<'static>> {
        if room < SECTION_MIN {
            return Vec::new();
        }
        let kept: Vec<usize> = (0..self.columns.len()).filter(|at| width >= self.columns[*at].from).collect();
        let first = width.saturating_sub(kept.iter().map(|at| self.columns[*at].width + 1).sum());
        let line = |name: &str, cells: &dyn Fn(usize) -> String| {
            let mut line = padded(&fit(name, first), first);
            for at in &kept {
                let width = self.columns[*at].width;
                line.push_str(&format!(" {:>width$}", fit(&cells(*at), width)));
            }
            line
        };
        let title = match self.rows.len() {
            0 => format!("{} (none)", self.title),
            count if count + 1 > room => format!("{} ({} of {count})", self.title, room - 1),
            _ => self.title.to_owned(),
        };
        let title = line(&title, &|at| self.columns[at].title.to_owned());
        let title = Line::styled(cut(&title, width), Style::new().add_modifier(Modifier::REVERSED));
        let rows = self.rows.iter().take(room - 1).map(|row| {
            let cell = |at: usize| row.get(at + 1).cloned().unwrap_or_default();
            plain(&line(row.first().map_or("", String::as_str), &cell), width)
        });
        std::iter::once(title).chain(rows).collect()
    }
}

fn series(model: &Model, now: &Snapshot) -> Table {
    let mut shown: Vec<_> = now.oddest.iter().filter(|one| model.shows(&one.series)).collect();
    match model.order {
        Order::Weight => shown.sort_by(|a, b| b.oddness.total_cmp(&a.oddness).then(b.surprise.total_cmp(&a.surprise))),
        Order::Other => shown.sort_by(|a, b| b.surprise.total_cmp(&a.surprise)),
        Order::Name => shown.sort_by(|a, b| a.series.cmp(&b.series)),
    }
    let row = |one: &&vedette_edge::pipeline::OddSeries| {
        let value = one.value.map_or("-".to_owned(), |value| with_unit(value, &one.unit));
        vec![
            one.series.clone(),
            format!("{:.2}", one.oddness),
            format!("{:.1}", one.surprise),
            value,
            one.detector.clone(),
        ]
    };
    Table {
        title: "odd series",
        columns: vec![column("odd", 5, 0), column("surpr", 5, 30), column("value", 14, WIDE), column("says", 10, 90)],
        rows: shown.iter().skip(model.scrolled).map(row).collect(),
    }
}

fn sources(model: &Model, now: &Snapshot) -> Table {
    let cpu = |bill: &Bill, name: &str| bill.sources.iter().find(|one| one.name == name).map_or(0, |one| one.cpu_ns);
    let spent = |one: &SourceStatus| {
        let before = model.before.as_ref().map(|before| cpu(&before.bill, &one.name));
        share(cpu(&now.bill, &one.name), before, elapsed_ms(model))
    };
    let mut shown: Vec<_> =
        now.status.sources.iter().filter(|one| model.shows(&one.name)).map(|one| (spent(one), one)).collect();
    match model.order {
        Order::Weight => shown.sort_by(|a, b| b.0.total_cmp(&a.0)),
        Order::Other => shown.sort_by_key(|(_, one)| one.interval_ms),
        Order::Name => shown.sort_by(|a, b| a.1.name.cmp(&b.1.name)),
    }
    let row = |(spent, one): &(f64, &SourceStatus)| {
        let mean_us = one.ns_total.checked_div(one.reads).unwrap_or(0) / 1_000;
        let trouble = one.errors + one.overruns;
        let trouble = if trouble > 0 { trouble.to_string() } else { String::new() };
        vec![
            one.name.clone(),
            age(u64::from(one.interval_ms)),
            format!("{spent:.1}"),
            one.reads.to_string(),
            format!("{mean_us} µs"),
            trouble,
        ]
    };
    Table {
        title: "sources",
        columns: vec![
            column("every", 6, 0),
            column("m%", 6, 30),
            column("read", 8, 48),
            column("each", 10, WIDE),
            column("failed", 6, 70),
        ],
        rows: shown.iter().map(row).collect(),
    }
}

fn detectors(model: &Model, now: &Snapshot) -> Table {
    let spent = |one: &DetectorStatus| {
        let same = |other: &&DetectorStatus| (&other.name, &other.shadow_of) == (&one.name, &one.shadow_of);
        let before = model.before.as_ref().and_then(|before| before.status.detectors.iter().find(same));
        share(one.guest_ns, before.map(|before| before.guest_ns), elapsed_ms(model))
    };
    let mut shown: Vec<_> =
        now.status.detectors.iter().filter(|one| model.shows(&one.name)).map(|one| (spent(one), one)).collect();
    match model.order {
        Order::Weight => shown.sort_by(|a, b| b.0.total_cmp(&a.0)),
        Order::Other => shown.sort_by(|a, b| a.1.state.cmp(&b.1.state)),
        Order::Name => shown.sort_by(|a, b| a.1.name.cmp(&b.1.name)),
    }
    let row = |(spent, one): &(f64, &DetectorStatus)| {
        let shadow = if one.shadow_of.is_some() { " (shadow)" } else { "" };
        vec![
            format!("{}{shadow}", one.name),
            one.state.clone(),
            format!("{spent:.1}"),
            one.series.to_string(),
            format!("{} ns", one.ns_per_value),
            mib(one.memory_bytes),
        ]
    };
    Table {
        title: "detectors",
        columns: vec![
            column("state", 11, 0),
            column("m%", 6, 34),
            column("series", 6, 48),
            column("a value", 9, WIDE),
            column("memory", 9, 70),
        ],
        rows: shown.iter().map(row).collect(),
    }
}

/// Milliseconds between the two last pictures; since the start if there is only one.
fn elapsed_ms(model: &Model) -> u64 {
    match (&model.now, &model.before) {
        (Some(now), Some(before)) => {
            u64::try_from(now.at.saturating_duration_since(before.at).as_millis()).unwrap_or(u64::MAX).max(1)
        }
        (Some(now), None) => now.bill.uptime_ms.max(1),
        _ => 1,
    }
}

/// CPU time as thousandths of a percent of one core.
fn share(ns: u64, before: Option<u64>, elapsed_ms: u64) -> f64 {
    let spent_ns = ns.saturating_sub(before.unwrap_or(0));
    spent_ns as f64 / (elapsed_ms as f64 * 1e6) * 1e5
}

fn whole_mib(bytes: u64) -> String {
    format!("{:.1}", bytes as f64 / f64::from(1 << 20))
}

/// Three digits and a power of a thousand.
fn compact(value: f64) -> String {
    let (scaled, unit) = match value.abs() {
        size if size >= 1e12 => (value / 1e12, "T"),
        size if size >= 1e9 => (value / 1e9, "G"),
        size if size >= 1e6 => (value / 1e6, "M"),
        size if size >= 1e4 => (value / 1e3, "k"),
        _ => (value, ""),
    };
    match scaled.abs() {
        size if size >= 100.0 => format!("{scaled:.0}{unit}"),
        size if size >= 10.0 => format!("{scaled:.1}{unit}"),
        _ => format!("{scaled:.2}{unit}"),
    }
}

/// What UCUM has in braces says what is counted, as the name does.
pub(super) fn with_unit(value: f64, unit: &str) -> String {
    let unit = match unit.split_once('}') {
        Some((_, rest)) if unit.starts_with('{') => rest,
        _ if unit == "1" => "",
        _ => unit,
    };
    format!("{} {unit}", compact(value)).trim_end().to_owned()
}

fn age(ms: u64) -> String {
    let seconds = ms / 1_000;
    match (seconds / 86_400, seconds / 3_600, seconds / 60) {
        (0, 0, 0) => format!("{seconds}s"),
        (0, 0, minutes) => format!("{minutes}m{:02}s", seconds % 60),
        (0, hours, _) => format!("{hours}h{:02}m", seconds / 60 % 60),
        (days, _, _) => format!("{days}d{:02}h", seconds / 3_600 % 24),
    }
}

fn plain(text: &str, width: usize) -> Line<'static> {
    Line::raw(cut(text, width))
}

fn strong(text: &str, width: usize) -> Line<'static> {
    Line::styled(cut(text, width), Style::new().add_modifier(Modifier::BOLD))
}

/// The begin of a text, with a sign if there was more. Names come from elsewhere: none may speak to the terminal.
fn cut(text: &str, width: usize) -> String {
    let text = super::super::without_controls(text).replace('\n', " ");
    if text.chars().count() <= width {
        return text;
    }
    text.chars().take(width.saturating_sub(1)).chain((width > 0).then_some('…')).collect()
}

/// Begin and end of a name: attributes stand at its end.
fn fit(name: &str, width: usize) -> String {
    let count = name.chars().count();
    if count <= width {
        return name.to_owned();
    }
    if width < 8 {
        return cut(name, width);
    }
    let begin = (width - 1) / 2;
    let end = width - 1 - begin;
    name.chars().take(begin).chain(['…']).chain(name.chars().skip(count - end)).collect()
}

fn padded(text: &str, width: usize) -> String {
    format!("{text:<width$}")
}

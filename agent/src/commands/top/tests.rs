use super::model::Order;
use super::*;
use crate::cost::{Bill, SourceCost};
use crate::memory::{MemoryBound, MemoryHeld};
use crate::status::{
    DetectorStatus, HostStatus, LinkStatus, MemoryStatus, SeriesStatus, SourceStatus, SpoolDiskStatus, SpoolStatus,
    Status,
};
use ratatui::Terminal;
use ratatui::backend::TestBackend;
use ratatui::crossterm::event::{KeyCode, KeyModifiers};
use vedette_edge::pipeline::OddSeries;

fn odd(series: &str, oddness: f32, surprise: f32) -> OddSeries {
    OddSeries {
        series: series.to_owned(),
        source: "cpu".to_owned(),
        oddness,
        surprise,
        detector: "level".to_owned(),
        value: Some(12_345_678.0),
        unit: "By".to_owned(),
    }
}

fn snapshot(at: Instant, uptime_ms: u64) -> Snapshot {
    let source = |name: &str, interval_ms, ns_total| SourceStatus {
        name: name.to_owned(),
        interval_ms,
        reads: 100,
        ns_total,
        ..SourceStatus::default()
    };
    let detector = |name: &str, guest_ns| DetectorStatus {
        name: name.to_owned(),
        state: "running".to_owned(),
        series: 81,
        guest_ns,
        ns_per_value: 15,
        memory_bytes: 1 << 20,
        ..DetectorStatus::default()
    };
    let status = Status {
        host: HostStatus { name: "web-1".to_owned(), ..HostStatus::default() },
        uptime_ms,
        healthy: true,
        warm: true,
        series: SeriesStatus { total: 81, at_1s: 81, ..SeriesStatus::default() },
        sources: vec![
            source("cpu", 1_000, 1_200_000),
            source("process", 10_000, 43_800_000),
            source("load", 1_000, 400_000),
        ],
        detectors: vec![detector("level", 8_000_000), detector("novelty", 4_000_000)],
        link: LinkStatus { connected: true, ..LinkStatus::default() },
        spool: SpoolStatus {
            pending: 3,
            disk: SpoolDiskStatus { state: "ok".to_owned(), ..SpoolDiskStatus::default() },
            ..SpoolStatus::default()
        },
        memory: MemoryStatus {
            bound: MemoryBound { total_bytes: 300 << 20, ..MemoryBound::default() },
            agent: MemoryHeld { bytes: 8 << 20, measure: "pss".to_owned() },
            workers: vec![MemoryHeld { bytes: 6 << 20, measure: "rss".to_owned() }],
        },
        ..Status::default()
    };
    let cost = |name: &str, cpu_ns| SourceCost { name: name.to_owned(), cpu_ns, ..SourceCost::default() };
    let bill = Bill {
        uptime_ms,
        agent_cpu_ns: uptime_ms * 1_000,
        worker_cpu_ns: uptime_ms * 500,
        sources: vec![cost("cpu", uptime_ms * 12), cost("process", uptime_ms * 44), cost("load", uptime_ms * 4)],
        udp_sent_bytes: uptime_ms / 10,
        ..Bill::default()
    };
    let oddest = vec![
        odd("system.filesystem.utilization{system.device=\"/dev/sda1\",system.filesystem.mountpoint=\"/\"}", 1.5, 3.0),
        odd("system.cpu.utilization{cpu.mode=\"user\"}", 0.25, 8.0),
        odd("system.memory.usage{state=\"free\"}", 0.0, 0.5),
    ];
    Snapshot { at, status, bill, oddest }
}

fn model() -> Model {
    let begun = Instant::now();
    let mut model = Model::new(String::new());
    model.take(Ok(snapshot(begun, 100_000)));
    model.take(Ok(snapshot(begun + Duration::from_secs(1), 101_000)));
    model
}

/// What a terminal of this size shows.
fn seen(model: &Model, width: u16, height: u16) -> String {
    let mut terminal = Terminal::new(TestBackend::new(width, height)).unwrap();
    terminal.draw(|frame| draw(frame, model)).unwrap();
    let buffer = terminal.backend().buffer();
    let row = |y| (0..width).map(|x| buffer[(x, y)].symbol()).collect::<String>().trim_end().to_owned() + "\n";
    (0..height).map(row).collect()
}

fn press(model: &mut Model, keys: &str) {
    for key in keys.chars() {
        let code = if key == '\n' { KeyCode::Enter } else { KeyCode::Char(key) };
        assert_eq!(model.handle_key(code, KeyModifiers::NONE), Step::Stay, "{key}");
    }
}

#[test]
fn usual_terminal_shows_everything_and_the_costly_first() {
    expect_test::expect![[r#"
        web-1  healthy  up 1m41s
        cpu 0.15%  mem 14.0/300.0 MiB  (agent 0.10%, worker 0.05%)  sent 100 B/s
        link up  spool 3 waiting, 0 shed  series 81  ticks 0 missed
        odd series                                              odd surpr          value
        system.filesystem.utilizat…filesystem.mountpoint="/"}  1.50   3.0       12.3M By
        system.cpu.utilization{cpu.mode="user"}                0.25   8.0       12.3M By
        system.memory.usage{state="free"}                      0.00   0.5       12.3M By
        sources                                  every     m%     read       each failed
        process                                    10s    4.4      100     438 µs
        cpu                                         1s    1.2      100      12 µs
        load                                        1s    0.4      100       4 µs
        detectors                                state     m% series   a value    memory
        level                                  running    0.0     81     15 ns   1.0 MiB
        novelty                                running    0.0     81     15 ns   1.0 MiB









        q quit  s sort  / filter  p pause  ? help  by oddness, CPU
    "#]]
    .assert_eq(&seen(&model(), 80, 24));
}

#[test]
fn telephone_shows_the_same_in_fewer_columns() {
    expect_test::expect![[r#"
        web-1  healthy  up 1m41s
        cpu 0.15%  mem 14.0/300.0 MiB
        link up  spool 3 waiting, 0 shed
        odd series                     odd surpr
        system.filesy…ountpoint="/"}  1.50   3.0
        system.cpu.ut…u.mode="user"}  0.25   8.0
        system.memory…{state="free"}  0.00   0.5
        sources                     every     m%
        process                       10s    4.4
        cpu                            1s    1.2
        load                           1s    0.4
        detectors                   state     m%
        level                     running    0.0
        novelty                   running    0.0





        q s / p ?  by oddness, CPU
    "#]]
    .assert_eq(&seen(&model(), 40, 20));
}

#[test]
fn units_are_as_short_as_they_can_be() {
    let told = |unit| view::with_unit(1_751.5, unit);
    assert_eq!(
        [told("1"), told("{context_switch}/s"), told("By/s"), told("{thread}")],
        ["1752", "1752 /s", "1752 By/s", "1752"]
    );
}

#[test]
fn no_size_of_a_terminal_is_too_small() {
    let mut model = model();
    for typed in ["", "?", "?/x*"] {
        press(&mut model, typed);
        for (width, height) in (0..=90).step_by(3).flat_map(|width| (0..=30).map(move |height| (width, height))) {
            let lines = view::screen(&model, width, height);
            assert!(lines.len() <= usize::from(height), "{width}×{height}");
            assert!(lines.iter().all(|line| line.width() <= usize::from(width)), "{width}×{height}: {lines:?}");
        }
    }
}

#[test]
fn keys_order_filter_pause_and_quit() {
    let mut model = model();
    let first = |model: &Model| {
        let text = view::text(model, 80, 24);
        let lines: Vec<_> = text.lines().map(str::to_owned).collect();
        let at = lines.iter().position(|line| line.starts_with("odd series")).expect("there is a table");
        lines[at + 1].split(' ').next().unwrap_or_default().to_owned()
    };
    assert!(first(&model).starts_with("system.filesystem"));
    press(&mut model, "s");
    assert!(first(&model).starts_with("system.cpu"), "by surprise");
    press(&mut model, "s");
    assert_eq!(model.order, Order::Name);
    press(&mut model, "/memory\n");
    assert!(first(&model).starts_with("system.memory"), "what is typed is looked for anywhere");
    assert!(!seen(&model, 80, 24).contains("process"), "sources are filtered, too");
    press(&mut model, "/");
    assert_eq!(model.handle_key(KeyCode::Esc, KeyModifiers::NONE), Step::Stay, "it drops the filter");
    assert!(model.filter.is_empty() && first(&model).starts_with("system.cpu"));

    press(&mut model, "p");
    model.take(Ok(snapshot(Instant::now(), 999_000)));
    assert!(seen(&model, 80, 24).contains("PAUSED  up 1m41s"));
    press(&mut model, "p?");
    assert!(seen(&model, 80, 24).contains("q, Esc     quit"));
    assert_eq!(model.handle_key(KeyCode::Esc, KeyModifiers::NONE), Step::Stay, "it closes the page");
    assert_eq!(model.handle_key(KeyCode::Char('q'), KeyModifiers::NONE), Step::Quit);
    assert_eq!(model.handle_key(KeyCode::Char('c'), KeyModifiers::CONTROL), Step::Quit);
}

#[test]
fn lost_agent_says_what_to_do_and_its_last_picture_stays() {
    let mut model = Model::new(String::new());
    assert!(seen(&model, 80, 24).contains("asking the agent"));
    model.take(Err("no agent answers on /run/x: refused\nis it running? `systemctl status vedette-agent`".to_owned()));
    let text = seen(&model, 80, 24);
    assert!(text.contains("NO AGENT, asking again") && text.contains("is it running?"), "{text}");
    model.take(Ok(snapshot(Instant::now(), 5_000)));
    assert!(!seen(&model, 80, 24).contains("NO AGENT"));
    model.take(Err("gone".to_owned()));
    let text = seen(&model, 80, 24);
    assert!(text.contains("NO AGENT, asking again: gone") && text.contains("web-1"), "{text}");
}

#[test]
fn names_do_not_speak_to_the_terminal() {
    let mut model = Model::new(String::new());
    let mut hostile = snapshot(Instant::now(), 5_000);
    hostile.oddest[0].series = "x\u{1b}[2J\n{y}".to_owned();
    hostile.status.problems = vec!["\u{9b}1m".to_owned()];
    model.take(Ok(hostile));
    let text = view::text(&model, 80, 24);
    assert!(!text.chars().any(|one| one.is_control() && one != '\n'), "{text:?}");
}

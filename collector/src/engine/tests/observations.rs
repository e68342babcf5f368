//! What an episode is told by, and which of its words is the last.

use super::*;

const DISK: &str = "system.disk.io_time";

/// A word about the one episode: its value is expected from 0 to 0.0637.
fn word(event: EpisodeEvent, at_ms: i64, observed: f64, surprise: f32) -> Finding {
    let numbers = Finding { observed, surprise, expected: 0.005, ..finding(1, event, metric(DISK), at_ms) };
    Finding { lower: 0.0, upper: 0.0637, onset: at(9_000), ..numbers }
}

fn bench() -> Bench {
    let mut bench = Bench::new(Vec::new());
    bench.find(10_000, 1, word(EpisodeEvent::Open, 10_000, 0.48, 9.5));
    bench.open(11_000, 1, 2, metric("system.memory.utilization"));
    bench
}

fn told(bench: &Bench) -> (f64, f32, Option<f64>) {
    let finding = &bench.only().members[0].finding;
    (finding.observed, finding.surprise, finding.latest)
}

#[test]
fn a_finding_is_told_by_its_departure_not_by_what_came_after() {
    let mut bench = bench();
    assert_eq!(told(&bench), (0.48, 9.5, None));
    bench.find(70_000, 1, word(EpisodeEvent::Update, 70_000, 0.0, 12.15));
    assert_eq!(told(&bench), (0.48, 9.5, Some(0.0)), "a value inside its band is no evidence, however surprising");
    let text = |bench: &Bench| bench.only().members[0].finding.text.clone();
    assert_eq!(text(&bench), "system.disk.io_time at 48.0 % instead of 0.5 %, now 0.0 %");
    assert!(bench.only().title.contains("at 48.0 % instead of 0.5 %"), "{}", bench.only().title);
    bench.find(80_000, 1, word(EpisodeEvent::Update, 80_000, 0.97, 10.0));
    assert_eq!(told(&bench), (0.97, 10.0, None));
    bench.find(90_000, 1, word(EpisodeEvent::Clear, 90_000, 0.004, 20.0));
    assert_eq!(told(&bench), (0.97, 10.0, None));
    assert_eq!(text(&bench), "system.disk.io_time at 97.0 % instead of 0.5 %");
}

#[test]
fn an_end_that_arrives_first_gives_way_to_the_departure() {
    let mut bench = Bench::new(Vec::new());
    bench.open(11_000, 1, 2, metric("system.memory.utilization"));
    bench.find(12_000, 1, word(EpisodeEvent::Clear, 11_900, 0.004, 20.0));
    bench.find(12_100, 1, word(EpisodeEvent::Open, 10_000, 0.48, 9.5));
    let finding = &bench.only().members[1].finding;
    assert_eq!((finding.observed, finding.surprise, finding.open), (0.48, 9.5, false));
}

#[test]
fn an_update_after_the_end_reopens_only_as_a_further_occurrence() {
    let mut bench = bench();
    bench.find(20_000, 1, word(EpisodeEvent::Clear, 20_000, 0.004, 1.0));
    let ended = bench.only().members[0].finding.clone();
    for at_ms in [20_000, 20_500] {
        bench.find(21_000, 1, word(EpisodeEvent::Update, at_ms, 0.4, 9.0));
    }
    assert_eq!(bench.only().members[0].finding, ended);
    bench.find(22_000, 1, Finding { occurrences: 2, ..word(EpisodeEvent::Update, 22_000, 0.4, 9.0) });
    bench.find(22_100, 1, word(EpisodeEvent::Clear, 22_050, 0.004, 1.0));
    let finding = &bench.only().members[0].finding;
    assert_eq!((finding.open, finding.occurrences), (true, 2), "the end of the first occurrence is not the second's");
}

#[test]
fn an_incident_whose_members_all_cleared_is_not_called_expired() {
    let mut bench = bench();
    bench.find(20_000, 1, word(EpisodeEvent::Clear, 20_000, 0.004, 1.0));
    bench.clear(20_000, 1, 2, metric("system.memory.utilization"));
    bench.push(22_000, Event::AgentRestarted { host: host(1) });
    let late = Box::new(word(EpisodeEvent::Update, 20_500, 0.4, 9.0));
    bench.push(23_000, Event::EarlierFinding { host: host(1), offset_ns: 0, finding: late });
    bench.run_until(60_000);
    let incident = bench.only();
    assert!(incident.members.iter().all(|member| member.finding.ended == Some("cleared")));
    assert_eq!((incident.state, incident.resolution), (IncidentState::Resolved, Some(Resolution::Cleared)));
}

#[test]
fn a_value_that_is_repeated_is_said_to_stand_still() {
    let mut bench = bench();
    bench.find(20_000, 1, Finding { code: 601, expected: f64::NAN, ..word(EpisodeEvent::Update, 20_000, 0.48, 12.0) });
    assert_eq!(bench.only().members[0].finding.text, "system.disk.io_time standing still at 48.0 %");
}

#[test]
fn what_a_series_never_did_is_said_to_be_unlike_it() {
    let mut bench = bench();
    bench.find(20_000, 1, Finding { code: 501, expected: 0.47, ..word(EpisodeEvent::Update, 20_000, 0.48, 12.0) });
    assert_eq!(bench.only().members[0].finding.text, "system.disk.io_time unlike itself at 48.0 % instead of 47.0 %");
}

//! Agents that restart, and hosts that fall silent.

use super::*;

#[test]
fn a_restarted_agents_episodes_are_unknown_and_expire_if_it_does_not_tell_of_them_again() {
    let mut bench = Bench::new(Vec::new());
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.open(11_000, 1, 2, metric("system.memory.utilization"));
    let issued = bench.directives.len();
    bench.push(60_000, Event::AgentRestarted { host: host(1) });
    let incident = bench.only();
    assert_eq!(incident.state, IncidentState::Detected, "nobody said that it is over");
    for member in &incident.members {
        assert_eq!((member.finding.open, member.finding.ended), (false, Some("unknown: agent restarted")));
    }
    assert!(incident.timeline.iter().any(|entry| entry.text == "2 findings of web-1 unknown: agent restarted"));
    bench.run_until(60_000 + 599_000);
    assert_eq!(bench.only().state, IncidentState::Detected);
    assert_eq!(expired(&bench), 0, "it may still tell of them again");
    bench.run_until(60_000 + 601_000);
    let incident = bench.only();
    assert_eq!((incident.state, incident.resolution), (IncidentState::Resolved, Some(Resolution::Expired)));
    assert!(incident.timeline.iter().any(|entry| entry.text == "no member is known to go on"));
    assert_eq!(bench.directives.len(), issued, "nothing is asked of an agent that no longer knows why");
    assert!(bench.engine.conservation().holds());
    assert_eq!(bench.engine.expired_episodes().collect::<Vec<_>>(), [(End::Silent, 0), (End::AgentRestarted, 2)]);
}

#[test]
fn what_a_restarted_agent_tells_again_goes_on_in_its_incident_and_ends_clear() {
    let hour_ms = 3_600_000;
    let mut bench = Bench::new(Vec::new());
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.open(11_000, 1, 2, metric("system.memory.utilization"));
    bench.push(2 * hour_ms, Event::AgentRestarted { host: host(1) });
    bench.open(2 * hour_ms + 90_000, 1, 3, metric("system.cpu.utilization"));
    bench.open(2 * hour_ms + 120_000, 1, 4, metric("system.memory.utilization"));
    bench.run_until(3 * hour_ms);
    let incident = bench.only();
    assert_eq!((incident.state, incident.members.len()), (IncidentState::Detected, 4));
    let ends: Vec<_> = incident.members.iter().map(|member| member.finding.ended).collect();
    assert_eq!(ends, [Some("told again: agent restarted"), Some("told again: agent restarted"), None, None]);
    assert!(incident.timeline.iter().any(|entry| entry.text.contains("web-1 goes on: its restarted agent")));
    assert_eq!(incident.members[2].why.with.as_deref(), Some(episode(1).to_string().as_str()));
    bench.clear(3 * hour_ms + 1_000, 1, 3, metric("system.cpu.utilization"));
    bench.clear(3 * hour_ms + 2_000, 1, 4, metric("system.memory.utilization"));
    bench.run_until(4 * hour_ms);
    assert_eq!(bench.only().resolution, Some(Resolution::Cleared));
    assert!(bench.engine.conservation().holds());
    assert_eq!(expired(&bench), 0, "none of them did");
}

/// Episodes of restarted agents that expired.
fn expired(bench: &Bench) -> u64 {
    bench.engine.expired_episodes().find(|(how, _)| *how == End::AgentRestarted).map_or(0, |(_, count)| count)
}

#[test]
fn an_episode_that_its_restarted_agent_never_tells_again_expires_once_whatever_comes_of_its_incident() {
    let mut bench = Bench::new(Vec::new());
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.open(11_000, 1, 2, metric("system.memory.utilization"));
    bench.push(60_000, Event::AgentRestarted { host: host(1) });
    bench.open(90_000, 1, 3, metric("system.cpu.utilization"));
    assert_eq!(expired(&bench), 0);
    bench.push(600_000, Event::Tick);
    assert_eq!((expired(&bench), bench.only().state), (0, IncidentState::Detected));
    bench.push(661_000, Event::Tick);
    assert_eq!((expired(&bench), bench.only().state), (1, IncidentState::Detected), "the other one goes on");
    bench.find(700_000, 1, finding(2, EpisodeEvent::Update, metric("system.memory.utilization"), 700_000));
    assert_eq!(expired(&bench), 1, "what is known of it after all is no less of a miss");
    bench.clear(710_000, 1, 2, metric("system.memory.utilization"));
    bench.clear(711_000, 1, 3, metric("system.cpu.utilization"));
    bench.run_until(1_500_000);
    assert_eq!((expired(&bench), bench.only().state), (1, IncidentState::Resolved));
}

#[test]
fn of_two_findings_the_one_that_is_not_told_again_ends_its_incident_as_expired() {
    let mut bench = Bench::new(Vec::new());
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.open(11_000, 1, 2, metric("system.memory.utilization"));
    bench.push(60_000, Event::AgentRestarted { host: host(1) });
    bench.open(90_000, 1, 3, metric("system.cpu.utilization"));
    bench.clear(120_000, 1, 3, metric("system.cpu.utilization"));
    bench.run_until(600_000);
    assert_eq!(bench.only().state, IncidentState::Detected, "of the other it is still unknown");
    bench.run_until(700_000);
    assert_eq!(bench.only().resolution, Some(Resolution::Expired));
}

#[test]
fn a_restart_ends_the_episodes_of_its_host_only() {
    let service = Service { name: "shop".into(), hosts: vec!["web-1".into(), "web-2".into()], ..Service::default() };
    let mut bench = Bench::new(vec![service]);
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.open(11_000, 2, 2, metric("system.cpu.utilization"));
    bench.push(60_000, Event::AgentRestarted { host: host(1) });
    bench.run_until(200_000);
    let open = |incident: &IncidentReport| incident.members.iter().filter(|member| member.finding.open).count();
    assert_eq!((bench.only().state, open(bench.only())), (IncidentState::Detected, 1));
    bench.clear(210_000, 2, 2, metric("system.cpu.utilization"));
    bench.run_until(700_000);
    assert_eq!(bench.only().resolution, Some(Resolution::Expired), "of one member nobody knows");
}

#[test]
fn late_words_of_an_earlier_life_tell_what_happened_but_keep_nothing_open() {
    let earlier = |n, event, name: &str, at_ms| {
        let finding = Box::new(finding(n, event, metric(name), at_ms));
        Event::EarlierFinding { host: host(1), offset_ns: 0, finding }
    };
    let mut bench = Bench::new(Vec::new());
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.push(12_000, Event::AgentRestarted { host: host(1) });
    bench.push(13_000, earlier(2, EpisodeEvent::Open, "system.memory.utilization", 11_000));
    bench.push(13_100, earlier(1, EpisodeEvent::Update, "system.cpu.utilization", 11_500));
    bench.push(13_200, earlier(3, EpisodeEvent::Open, "system.disk.io_time", 11_600));
    bench.push(13_300, earlier(3, EpisodeEvent::Clear, "system.disk.io_time", 11_700));
    let ends: Vec<_> = bench.only().members.iter().map(|member| member.finding.ended).collect();
    assert_eq!(ends, [Some("unknown: agent restarted"), Some("unknown: agent restarted"), Some("cleared")]);
    assert!(bench.directives.is_empty());
    bench.run_until(700_000);
    assert_eq!(bench.only().state, IncidentState::Resolved);
    assert_eq!(bench.engine.conservation().incident, 5);
}

#[test]
fn a_word_of_the_current_life_revives_what_seemed_lost() {
    let mut bench = Bench::new(Vec::new());
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.open(11_000, 1, 2, metric("system.memory.utilization"));
    bench.push(60_000, Event::AgentRestarted { host: host(1) });
    bench.find(61_000, 1, finding(1, EpisodeEvent::Update, metric("system.cpu.utilization"), 61_000));
    assert_eq!(bench.only().state, IncidentState::Detected);
}

#[test]
fn a_silent_host_is_asked_ever_more_rarely_and_not_for_ever() {
    let hour_ms = 3_600_000;
    let mut bench = Bench::new(Vec::new());
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.open(11_000, 1, 2, metric("system.memory.utilization"));
    bench.run_until(23 * hour_ms);
    assert!((20..40).contains(&bench.directives.len()), "{} directives in 23 hours", bench.directives.len());
    let before = bench.directives.len();
    bench.find(23 * hour_ms, 1, finding(1, EpisodeEvent::Update, metric("system.cpu.utilization"), 23 * hour_ms));
    assert_eq!(bench.directives.len(), before + 1, "its word brings the next about");
    bench.run_until(49 * hour_ms);
    assert_eq!(bench.only().resolution, Some(Resolution::Expired));
    let issued = bench.directives.len();
    bench.run_until(500 * hour_ms);
    assert_eq!(bench.directives.len(), issued);
}

#[test]
fn a_host_that_answers_is_asked_as_long_as_it_takes() {
    let mut bench = Bench::new(Vec::new());
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.open(11_000, 1, 2, metric("system.memory.utilization"));
    while bench.directives.len() < 20 {
        let directive = bench.directives.last().unwrap();
        let (id, at_ms) = (directive.id, directive.issued.unix_ms() - START_MS + 10);
        bench.push(at_ms, Event::DirectiveInEffect { directive: id });
        bench.run_until(at_ms + 200_000);
    }
    let apart: Vec<_> =
        bench.directives.windows(2).map(|two| two[1].issued.unix_ms() - two[0].issued.unix_ms()).collect();
    assert!(apart.iter().all(|ms| (200_000..201_000).contains(ms)), "{apart:?}");
}

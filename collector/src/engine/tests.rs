//! Timelines and properties of the engine as a whole.

mod bounds;
mod causes;
mod observations;
mod properties;
mod restarts;

use super::*;
use crate::made;
use crate::topology::{Service, Topology};
use vedette_protocol::ids::{ChangeId, Digest, EpisodeId, HostId, TemplateId};
use vedette_protocol::v1::{Change, ChangeKind, EpisodeEvent, Subject};

/// 2026-11-20, in milliseconds.
const START_MS: i64 = 1_795_132_800_000;

fn at(ms: i64) -> WallTime {
    WallTime::from_unix_ms(START_MS + ms)
}

fn host(n: u8) -> HostId {
    HostId([n; 16])
}

fn episode(n: u32) -> EpisodeId {
    EpisodeId(made::id(n))
}

fn metric(name: &str) -> Subject {
    Subject::Series(made::series(name))
}

fn log(text: &str) -> Subject {
    Subject::LogTemplate {
        source: "/var/log/shop.log".to_owned(),
        service: "shop".to_owned(),
        id: TemplateId::of(text),
        text: text.to_owned(),
        exemplar: text.to_owned(),
    }
}

fn finding(n: u32, event: EpisodeEvent, subject: Subject, at_ms: i64) -> Finding {
    let made = made::finding(n, event, "", at(at_ms));
    Finding { subject, onset: at(at_ms - 1_000), expected: 0.10, lower: 0.0, upper: 0.2, ..made }
}

fn change(n: u8, target: &str, at_ms: i64) -> Change {
    Change {
        id: ChangeId([n; 16]),
        kind: ChangeKind::FileEdited,
        target: target.to_owned(),
        service: "shop".to_owned(),
        at: at(at_ms),
        before: Some(Digest([1; 32])),
        after: Some(Digest([2; 32])),
    }
}

/// An engine with its log, driven along a timeline.
struct Bench {
    engine: Engine,
    log: Vec<Logged>,
    incidents: std::collections::BTreeMap<String, IncidentReport>,
    directives: Vec<vedette_protocol::policy::Directive>,
}

impl Bench {
    fn new(services: Vec<Service>) -> Self {
        let mut bench = Self {
            engine: Engine::new(),
            log: Vec::new(),
            incidents: std::collections::BTreeMap::new(),
            directives: Vec::new(),
        };
        let setup = Setup { correlate: Correlate::default(), topology: Topology { services } };
        bench.push(0, Event::Configured(Box::new(setup)));
        for n in 1..=4 {
            bench.push(0, Event::HostSeen { host: host(n), name: format!("web-{n}") });
        }
        bench
    }

    fn push(&mut self, at_ms: i64, event: Event) {
        let logged = Logged { position: self.log.len() as u64 + 1, at: at(at_ms), event };
        self.log.push(logged.clone());
        self.engine.handle_event(logged);
        while let Some(action) = self.engine.poll_action() {
            match action {
                Action::SaveIncident(report) => _ = self.incidents.insert(report.id.clone(), *report),
                Action::IssueDirective(directive) => self.directives.push(directive),
            }
        }
        for (id, _) in self.engine.open_incidents() {
            let report = self.engine.incident(&id).unwrap();
            self.incidents.insert(id, report);
        }
    }

    fn find(&mut self, at_ms: i64, on: u8, finding: Finding) {
        self.push(at_ms, Event::Finding { host: host(on), offset_ns: 0, finding: Box::new(finding) });
    }

    fn open(&mut self, at_ms: i64, on: u8, n: u32, subject: Subject) {
        self.find(at_ms, on, finding(n, EpisodeEvent::Open, subject, at_ms));
    }

    fn clear(&mut self, at_ms: i64, on: u8, n: u32, subject: Subject) {
        self.find(at_ms, on, Finding { onset: at(0), ..finding(n, EpisodeEvent::Clear, subject, at_ms) });
    }

    fn change(&mut self, at_ms: i64, on: u8, change: Change) {
        self.push(at_ms, Event::Change { host: host(on), offset_ns: 0, change });
    }

    /// Logs ticks as they are due until `until_ms`.
    fn run_until(&mut self, until_ms: i64) {
        while let Some(due) = self.engine.poll_timeout().filter(|due| *due <= at(until_ms)) {
            self.push(due.unix_ms() - START_MS + 1, Event::Tick);
        }
    }

    fn only(&self) -> &IncidentReport {
        assert_eq!(self.incidents.len(), 1, "{:#?}", self.incidents.keys());
        self.incidents.values().next().unwrap()
    }
}

#[test]
fn one_finding_alone_never_becomes_an_incident() {
    let mut bench = Bench::new(Vec::new());
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.run_until(600_000);
    assert!(bench.incidents.is_empty());
    assert_eq!(bench.engine.candidates(10).len(), 1);
    assert_eq!(bench.engine.conservation().candidate, 1);
}

#[test]
fn a_thousand_blips_make_no_incident_and_all_are_listed() {
    let mut bench = Bench::new(Vec::new());
    for n in 0..1_000 {
        let host = HostId(episode(n).0);
        bench.push(0, Event::HostSeen { host, name: format!("h{n}") });
        let finding = finding(n, EpisodeEvent::Open, metric("system.cpu.utilization"), 1_000);
        bench.push(1_000, Event::Finding { host, offset_ns: 0, finding: Box::new(finding) });
    }
    assert!(bench.incidents.is_empty());
    assert_eq!(bench.engine.candidates(2_000).len(), 1_000);
}

#[test]
fn a_metric_and_a_log_template_make_an_explained_incident() {
    let mut bench = Bench::new(vec![Service {
        name: "shop".into(),
        tier: Some(1),
        hosts: vec!["web-1".into()],
        depends_on: vec![],
    }]);
    bench.change(5_000, 1, change(1, "/etc/shop.conf", 5_000));
    bench.open(12_000, 1, 1, metric("system.cpu.utilization"));
    bench.open(13_000, 1, 2, log("ERROR <*> refused"));
    let incident = bench.only();
    assert_eq!(incident.members.len(), 2);
    assert_eq!(incident.class, "cpu+log");
    assert_eq!(incident.severity.value, "high");
    assert_eq!(
        incident.title,
        "shop on web-1: system.cpu.utilization at 97.0 % instead of 10.0 %; “ERROR <*> refused” in /var/log/shop.log"
    );
    let why = &incident.members[1].why;
    assert!(why.terms.host == 1.0 && why.terms.change == 1.0 && why.terms.onset > 0.9, "{why:?}");
    assert_eq!(incident.causes[0].change.path, "/etc/shop.conf");
    assert_eq!(incident.causes[0].delta_ms, 6_000);
    assert_eq!(incident.cause_verdict.value, "candidate");
    assert_eq!(incident.templates[0].text, "ERROR <*> refused");
}

#[test]
fn an_incident_resolves_after_the_hold_and_directives_cease() {
    let mut bench = Bench::new(Vec::new());
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.open(11_000, 1, 2, metric("system.memory.utilization"));
    assert_eq!(bench.directives.len(), 1);
    let sources: Vec<_> = bench.directives[0].sources.iter().map(|(name, ms)| (name.as_str(), *ms)).collect();
    assert_eq!(sources, [("cpu", 1_000), ("memory", 1_000), ("process", 1_000)]);
    bench.run_until(300_000);
    assert_eq!(bench.directives.len(), 2, "renewed once after two thirds of five minutes");
    let look_back = |n: usize| bench.directives[n].look_back_ms;
    assert_eq!(look_back(0), 300_000 + 2_000, "five minutes before the first onset, which was two seconds ago");
    assert!(look_back(1) >= 300_000, "nobody reported the first in effect: it is asked for again");
    let lives = |d: &vedette_protocol::policy::Directive| d.expires.unix_ms() - d.issued.unix_ms();
    assert!(bench.directives.iter().all(|directive| lives(directive) <= 900_000));
    bench.clear(310_000, 1, 1, metric("system.cpu.utilization"));
    assert_eq!(bench.only().state, IncidentState::Detected);
    bench.clear(312_000, 1, 2, metric("system.memory.utilization"));
    assert_eq!(bench.only().state, IncidentState::Monitoring);
    bench.run_until(321_000);
    assert_eq!(bench.only().state, IncidentState::Monitoring);
    bench.run_until(1_000_000);
    let incident = bench.only();
    assert_eq!((incident.state, incident.resolution), (IncidentState::Resolved, Some(Resolution::Cleared)));
    assert_eq!(bench.directives.len(), 2);
}

#[test]
fn a_relapse_during_the_hold_keeps_the_incident_open() {
    let mut bench = Bench::new(Vec::new());
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.open(11_000, 1, 2, metric("system.memory.utilization"));
    bench.clear(20_000, 1, 1, metric("system.cpu.utilization"));
    bench.clear(20_000, 1, 2, metric("system.memory.utilization"));
    bench.find(
        25_000,
        1,
        Finding { occurrences: 2, ..finding(1, EpisodeEvent::Update, metric("system.cpu.utilization"), 25_000) },
    );
    bench.run_until(60_000);
    assert_eq!(bench.only().state, IncidentState::Detected);
}

#[test]
fn a_closed_incident_does_not_change_and_the_next_one_refers_to_it() {
    let mut bench = Bench::new(Vec::new());
    for (n, name) in [(1, "system.cpu.utilization"), (2, "system.memory.utilization")] {
        bench.open(10_000, 1, n, metric(name));
        bench.clear(20_000, 1, n, metric(name));
    }
    bench.run_until(60_000);
    let closed = bench.only().clone();
    assert_eq!(closed.state, IncidentState::Resolved);
    bench.find(61_000, 1, finding(1, EpisodeEvent::Update, metric("system.cpu.utilization"), 61_000));
    assert_eq!(bench.only(), &closed);
    assert_eq!(bench.engine.conservation().suppressed, 1);
    bench.open(90_000, 1, 3, metric("system.cpu.utilization"));
    let reopened = bench.incidents.values().find(|incident| incident.id != closed.id).unwrap();
    assert_eq!(reopened.follows.as_ref(), Some(&closed.id));
    assert_eq!(bench.incidents[&closed.id], closed);
}

#[test]
fn two_faults_in_unrelated_places_are_two_incidents() {
    let mut bench = Bench::new(Vec::new());
    for on in [1, 2] {
        bench.open(10_000, on, u32::from(on) * 10, metric("system.cpu.utilization"));
        bench.open(10_000, on, u32::from(on) * 10 + 1, log("ERROR same text everywhere"));
    }
    assert_eq!(bench.incidents.len(), 1, "the logs declare one service, so these hosts are related");
    let mut bench = Bench::new(Vec::new());
    for on in [1, 2] {
        bench.open(10_000, on, u32::from(on) * 10, metric("system.cpu.utilization"));
        bench.open(10_000, on, u32::from(on) * 10 + 1, metric("system.memory.utilization"));
    }
    assert_eq!(bench.incidents.len(), 2);
}

#[test]
fn a_fault_that_spreads_along_a_dependency_is_one_incident() {
    let service = |name: &str, host: &str, on: &[&str]| Service {
        name: name.into(),
        tier: Some(2),
        hosts: vec![host.into()],
        depends_on: on.iter().map(|name| (*name).to_owned()).collect(),
    };
    let mut bench = Bench::new(vec![service("front", "web-1", &["back"]), service("back", "web-2", &[])]);
    bench.change(1_000, 2, Change { service: "back".into(), ..change(1, "/etc/back.conf", 1_000) });
    bench.open(10_000, 2, 1, metric("system.disk.io_time"));
    bench.open(15_000, 1, 2, metric("system.cpu.utilization"));
    let incident = bench.only();
    assert_eq!(incident.members.len(), 2);
    let why = incident.members.iter().map(|member| &member.why).find(|why| why.with.is_some()).unwrap();
    assert!(why.terms.topology == 0.8 && why.terms.host == 0.0);
    assert_eq!(incident.severity.value, "high");
    assert_eq!(incident.causes[0].change.path, "/etc/back.conf");
}

#[test]
fn onsets_far_apart_do_not_join_and_the_near_miss_is_told() {
    let mut bench = Bench::new(Vec::new());
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.open(11_000, 1, 2, metric("system.memory.utilization"));
    bench.open(400_000, 1, 3, metric("system.disk.io_time"));
    let incident = bench.only();
    assert_eq!(incident.members.len(), 2);
    bench.find(401_000, 1, finding(1, EpisodeEvent::Update, metric("system.cpu.utilization"), 401_000));
    let incident = bench.only();
    assert_eq!(incident.why_not.len(), 1);
    assert_eq!(incident.why_not[0].reason, WhyNot::BelowThreshold);
}

#[test]
fn a_trickle_does_not_keep_one_incident_growing_for_ever() {
    let mut bench = Bench::new(Vec::new());
    for n in 0..120 {
        bench.open(10_000 + i64::from(n) * 60_000, 1, n, metric(&format!("system.m{n}")));
    }
    let span = |incident: &IncidentReport| {
        let onsets = || incident.members.iter().map(|member| member.finding.onset_unix_ms);
        onsets().max().unwrap() - onsets().min().unwrap()
    };
    assert!(bench.incidents.len() >= 2);
    assert!(bench.incidents.values().all(|incident| span(incident) <= 3_600_000));
}

#[test]
fn a_finding_with_a_change_before_it_is_an_incident_with_a_change_after_it_is_not() {
    let mut bench = Bench::new(Vec::new());
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.change(15_000, 1, change(1, "/etc/shop.conf", 15_000));
    assert!(bench.incidents.is_empty(), "a change after the onset is not a reason");
    bench.change(16_000, 2, change(2, "/etc/shop.conf", 16_000));
    bench.open(20_000, 2, 2, metric("system.cpu.utilization"));
    assert_eq!(bench.only().promotion, Promotion::FindingAndChange { target: "/etc/shop.conf".into() });
}

#[test]
fn an_extreme_finding_that_persists_is_an_incident() {
    let mut bench = Bench::new(Vec::new());
    bench.find(
        10_000,
        1,
        Finding { surprise: 15.0, ..finding(1, EpisodeEvent::Open, metric("system.cpu.utilization"), 10_000) },
    );
    bench.run_until(39_000);
    assert!(bench.incidents.is_empty());
    bench.run_until(60_000);
    assert_eq!(bench.only().promotion, Promotion::ExtremeAndPersistent { surprise: 15.0 });
}

#[test]
fn a_host_that_falls_silent_ends_as_expired_not_as_well() {
    let mut bench = Bench::new(Vec::new());
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.open(11_000, 1, 2, metric("system.memory.utilization"));
    bench.run_until(25 * 3_600_000);
    assert_eq!(bench.only().resolution, Some(Resolution::Expired));
}

#[test]
fn a_candidate_that_came_to_nothing_is_counted_as_expired() {
    let mut bench = Bench::new(Vec::new());
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.clear(20_000, 1, 1, metric("system.cpu.utilization"));
    bench.run_until(1_000_000);
    let conservation = bench.engine.conservation();
    assert_eq!((conservation.accepted, conservation.expired), (2, 2));
    bench.find(1_000_000, 1, finding(1, EpisodeEvent::Update, metric("system.cpu.utilization"), 1_000_000));
    assert_eq!(bench.engine.conservation().suppressed, 1);
}

#[test]
fn times_are_corrected_by_the_offset_and_a_clock_in_the_future_is_pulled_back() {
    let mut bench = Bench::new(Vec::new());
    let shifted = |n, name, by_ms: i64| {
        let mut finding = finding(n, EpisodeEvent::Open, metric(name), 10_000);
        finding.at = finding.at.offset_by(by_ms * 1_000_000);
        finding.onset = finding.onset.offset_by(by_ms * 1_000_000);
        Box::new(finding)
    };
    let hour_ms = 3_600_000;
    let event = Event::Finding {
        host: host(1),
        offset_ns: -hour_ms * 1_000_000,
        finding: shifted(1, "system.cpu.utilization", hour_ms),
    };
    bench.push(10_000, event);
    bench.push(
        10_000,
        Event::Finding { host: host(1), offset_ns: 0, finding: shifted(2, "system.memory.utilization", hour_ms) },
    );
    let onsets: Vec<_> = bench.only().members.iter().map(|member| member.finding.onset_unix_ms - START_MS).collect();
    assert_eq!(onsets, [9_000, 9_000]);
}

#[test]
fn two_incidents_that_turn_out_to_be_one_are_merged_into_the_older() {
    let mut bench = Bench::new(Vec::new());
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.open(10_000, 1, 2, metric("system.memory.utilization"));
    bench.open(170_000, 1, 3, metric("system.disk.io_time"));
    bench.open(170_000, 1, 4, metric("system.network.io"));
    assert_eq!(bench.incidents.len(), 2);
    bench.open(90_000, 1, 5, metric("system.paging.usage"));
    let open: Vec<_> = bench.incidents.values().filter(|incident| incident.state.is_open()).collect();
    let merged: Vec<_> = bench.incidents.values().filter(|incident| !incident.state.is_open()).collect();
    assert_eq!((open.len(), merged.len()), (1, 1));
    assert_eq!(open[0].members.len(), 5);
    assert_eq!(merged[0].merged_into.as_ref(), Some(&open[0].id));
    assert!(bench.engine.conservation().holds());
}

#[test]
fn people_can_acknowledge_and_review_but_only_in_order() {
    let mut bench = Bench::new(Vec::new());
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.open(11_000, 1, 2, metric("system.memory.utilization"));
    let id = bench.only().id.clone();
    assert!(bench.engine.may(&id, OperatorCommand::Review).unwrap().is_err());
    assert!(bench.engine.may("inc-none", OperatorCommand::Review).is_none());
    bench.push(12_000, Event::Operator { incident: id, command: OperatorCommand::Acknowledge });
    assert_eq!(bench.only().state, IncidentState::Triage);
    assert!(!bench.only().times["acked"].is_null());
}

#[test]
fn the_first_report_of_a_directive_in_effect_counts() {
    let mut bench = Bench::new(Vec::new());
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.open(11_000, 1, 2, metric("system.memory.utilization"));
    let directive = bench.directives[0].id;
    bench.push(11_250, Event::DirectiveInEffect { directive });
    bench.push(19_000, Event::DirectiveInEffect { directive });
    assert_eq!(bench.only().directives[0].in_effect_after_ms, Some(250));
    bench.run_until(300_000);
    assert_eq!(bench.directives[1].look_back_ms, 0, "what was before is here already");
}

#[test]
fn a_host_cannot_speak_of_another_hosts_episode() {
    let mut bench = Bench::new(Vec::new());
    bench.open(10_000, 1, 1, metric("system.cpu.utilization"));
    bench.clear(11_000, 2, 1, metric("system.cpu.utilization"));
    assert!(bench.engine.candidates(1)[0].members[0].finding.open);
    assert_eq!(bench.engine.suppressed()[2], (Suppression::Foreign, 1));
}

#[test]
fn one_host_cannot_take_the_room_of_all() {
    let mut bench = Bench::new(Vec::new());
    let most = u32::try_from(setup::limits::EPISODES_PER_HOST).unwrap();
    for n in 0..most + 5 {
        let finding = Box::new(finding(n, EpisodeEvent::Open, metric("system.cpu.utilization"), 10_000));
        let event = Event::Finding { host: host(1), offset_ns: 0, finding };
        bench.engine.handle_event(Logged { position: 100 + u64::from(n), at: at(10_000), event });
    }
    let elsewhere = Box::new(finding(most + 10, EpisodeEvent::Open, metric("system.cpu.utilization"), 10_000));
    let event = Event::Finding { host: host(2), offset_ns: 0, finding: elsewhere };
    bench.engine.handle_event(Logged { position: 100_000, at: at(10_000), event });
    let conservation = bench.engine.conservation();
    assert!(conservation.holds());
    assert_eq!(bench.engine.suppressed()[3], (Suppression::Limit, 5));
}

#[test]
fn what_shares_only_a_hub_is_not_one_incident() {
    let mut services: Vec<Service> = (1..=30)
        .map(|n| Service {
            name: format!("s{n}"),
            hosts: vec![format!("web-{n}")],
            depends_on: vec!["dns".into()],
            ..Service::default()
        })
        .collect();
    services.push(Service { name: "dns".into(), ..Service::default() });
    let mut bench = Bench::new(services);
    for on in 1..=4 {
        bench.open(10_000, on, u32::from(on), metric("system.cpu.utilization"));
    }
    assert!(bench.incidents.is_empty(), "same time, same words, same name server");
    assert_eq!(bench.engine.candidates(10).len(), 4);
}

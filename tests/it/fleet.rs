//! The collector's engine on a simulated fleet with labelled faults, in virtual time.

mod plan;

use plan::{Arrival, Fleet};
use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;
use vedette_collector::engine::{Action, Engine, Event, IncidentReport, IncidentState, Logged};
use vedette_protocol::time::WallTime;
use vedette_sim::{START, Seed};

const MINUTE: Duration = Duration::from_secs(60);

/// An engine, its event log, and the incidents in their last form.
#[derive(Default)]
struct Centre {
    engine: Engine,
    log: Vec<Logged>,
    incidents: BTreeMap<String, IncidentReport>,
}

impl Centre {
    /// Takes a fleet's configuration and what arrives from it, in order of arrival.
    fn run(fleet: &Fleet, mut arrivals: Vec<Arrival>) -> Self {
        arrivals.sort_by_key(|arrival| arrival.at);
        let mut centre = Self::default();
        for event in fleet.introduction() {
            centre.take(START, event);
        }
        for arrival in arrivals {
            centre.pass_time(arrival.at);
            centre.take(arrival.at, arrival.event);
            let books = centre.engine.conservation();
            assert!(books.holds(), "{books:?}");
        }
        centre.look();
        centre
    }

    /// Lets the engine's own deadlines come until `until`.
    fn pass_time(&mut self, until: WallTime) {
        while let Some(due) = self.engine.poll_timeout().filter(|due| *due <= until) {
            self.take(due, Event::Tick);
        }
    }

    fn take(&mut self, at: WallTime, event: Event) {
        let logged = Logged { position: self.log.len() as u64 + 1, at, event };
        self.log.push(logged.clone());
        self.engine.handle_event(logged);
        while let Some(action) = self.engine.poll_action() {
            if let Action::SaveIncident(report) = action {
                self.incidents.insert(report.id.clone(), *report);
            }
        }
    }

    /// Takes the open incidents as they are now.
    fn look(&mut self) {
        for (id, _) in self.engine.open_incidents() {
            let report = self.engine.incident(&id).expect("it is open");
            self.incidents.insert(id, report);
        }
    }
}

fn members(incident: &IncidentReport) -> BTreeSet<String> {
    incident.members.iter().map(|member| member.finding.episode.clone()).collect()
}

fn hosts(incident: &IncidentReport) -> BTreeSet<String> {
    incident.members.iter().map(|member| member.finding.host_name.clone()).collect()
}

#[test]
fn every_fault_is_one_incident_and_unrelated_places_never_mix() {
    for number in 0..8 {
        let seed = Seed(number).announce("every_fault_is_one_incident");
        let fleet = Fleet::new(seed.child(0), 12);
        let mut rng = seed.rng("faults");
        let starts: Vec<Duration> = (0..fleet.clusters()).map(|_| MINUTE.mul_f64(rng.unit() * 10.0)).collect();
        let faults: Vec<_> =
            (0..).zip(&starts).map(|(cluster, start)| fleet.fault(cluster, *start, &mut rng)).collect();
        let arrivals: Vec<Arrival> = faults.iter().flat_map(|fault| fault.arrivals.clone()).collect();
        let findings = arrivals.len();
        assert!(findings > 300, "only {findings} findings");

        let mut centre = Centre::run(&fleet, arrivals);
        let books = centre.engine.conservation();
        assert_eq!(books.accepted, findings as u64);

        let mut of_fault: BTreeMap<usize, Vec<&IncidentReport>> = BTreeMap::new();
        for incident in centre.incidents.values() {
            let touched: BTreeSet<usize> = hosts(incident).iter().map(|host| fleet.cluster_of(host)).collect();
            assert_eq!(touched.len(), 1, "{} mixes unrelated places: {:?}", incident.id, hosts(incident));
            of_fault.entry(*touched.first().expect("an incident has members")).or_default().push(incident);
        }
        for (cluster, fault) in faults.iter().enumerate() {
            let incidents = of_fault.get(&cluster).map_or(&[][..], Vec::as_slice);
            assert_eq!(incidents.len(), 1, "cluster {cluster} has {} incidents", incidents.len());
            assert_eq!(members(incidents[0]), fault.episodes, "cluster {cluster}: who belongs to the incident");
        }

        centre.pass_time(START.offset_by(3_600_000_000_000));
        let open: Vec<_> =
            centre.incidents.values().filter(|incident| incident.state != IncidentState::Resolved).collect();
        assert!(open.is_empty(), "all has cleared, but {} are open", open.len());
    }
}

#[test]
fn two_faults_two_minutes_apart_on_unrelated_hosts_are_two_incidents() {
    let seed = Seed(1).announce("two_faults_two_minutes_apart");
    let fleet = Fleet::new(*seed, 2);
    let mut rng = seed.rng("faults");
    let (first, second) = (fleet.fault(0, MINUTE, &mut rng), fleet.fault(1, MINUTE * 3, &mut rng));
    let arrivals = [first.arrivals, second.arrivals].concat();
    let centre = Centre::run(&fleet, arrivals);
    let sets: BTreeSet<_> = centre.incidents.values().map(members).collect();
    assert_eq!(sets, BTreeSet::from([first.episodes, second.episodes]));
}

#[test]
fn the_log_alone_gives_the_same_incidents() {
    let seed = Seed(2).announce("the_log_alone_gives_the_same_incidents");
    let fleet = Fleet::new(*seed, 6);
    let mut rng = seed.rng("faults");
    let arrivals = (0..6).flat_map(|cluster| fleet.fault(cluster, MINUTE, &mut rng).arrivals).collect();
    let live = Centre::run(&fleet, arrivals);

    let half = live.log.len() / 2;
    let mut replayed = Centre::default();
    for logged in &live.log[..half] {
        replayed.take(logged.at, logged.event.clone());
    }
    // A restart in the middle: what the snapshot does not hold would be missing afterwards.
    replayed.engine = Engine::from_snapshot(&replayed.engine.snapshot()).expect("its own snapshot");
    for logged in &live.log[half..] {
        replayed.take(logged.at, logged.event.clone());
    }
    replayed.look();
    assert_eq!(replayed.incidents, live.incidents);
    assert_eq!(replayed.engine.conservation(), live.engine.conservation());
    assert_eq!(replayed.engine.poll_timeout(), live.engine.poll_timeout());
}

#[test]
fn a_lone_finding_stays_a_candidate_and_is_not_lost() {
    let seed = Seed(3).announce("a_lone_finding_stays_a_candidate");
    let fleet = Fleet::new(*seed, 1);
    let mut rng = seed.rng("faults");
    let fault = fleet.fault(0, MINUTE, &mut rng);
    let lone = fault.arrivals.into_iter().take(1).collect();
    let mut centre = Centre::run(&fleet, lone);
    assert_eq!((centre.incidents.len(), centre.engine.conservation().candidate), (0, 1));
    centre.pass_time(START.offset_by(48 * 3_600_000_000_000));
    let books = centre.engine.conservation();
    assert_eq!((books.accepted, books.incident, books.candidate + books.expired), (1, 0, 1), "{books:?}");
    assert!(books.holds());
}

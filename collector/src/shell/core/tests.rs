//! The writer with a store of its own, a clock that is set, and no network.

use super::told::News;
use super::*;
use crate::engine::IncidentState;
use crate::made;
use crate::store::SqliteStore;
use std::sync::atomic::AtomicI64;
use vedette_protocol::ids::DirectiveId;
use vedette_protocol::policy::Directive;
use vedette_protocol::time::MonoTime;
use vedette_protocol::v1::EpisodeEvent;

/// Milliseconds since the epoch.
#[derive(Debug)]
struct SetClock(AtomicI64);

impl Clock for SetClock {
    fn mono(&self) -> MonoTime {
        MonoTime::default()
    }

    fn wall(&self) -> WallTime {
        WallTime::from_unix_ms(self.0.load(Ordering::Relaxed))
    }
}

#[derive(Default)]
struct NoNetwork;

impl Outbox for NoNetwork {
    fn ack(&self, _: ConnectionId, _: QueueEpoch, _: Vec<(Sequence, Outcome)>) {}

    fn directive(&self, _: HostId, _: WallTime, _: Signed) {}

    fn begin_anew(&self, _: ConnectionId, _: QueueEpoch) {}
}

const NOW_MS: i64 = 1_795_132_800_000;

fn core(directory: &std::path::Path) -> (Core, Arc<SetClock>) {
    let clock = Arc::new(SetClock(AtomicI64::new(NOW_MS)));
    let core = Core {
        store: Box::new(SqliteStore::open(&directory.join("store.db")).unwrap()),
        engine: Arc::default(),
        jobs: mpsc::channel(1).1,
        outbox: Arc::new(NoNetwork),
        online: SigningKey::from_pkcs8(&SigningKey::generate_pkcs8()).unwrap(),
        counters: Arc::default(),
        clock: Arc::clone(&clock) as Arc<dyn Clock>,
        retention: Retention::default(),
        pending: Vec::new(),
        snapshotted: (0, 0),
        told: Told::default(),
    };
    (core, clock)
}

fn finding(n: u8, metric: &str) -> Event {
    let finding = made::finding(n.into(), EpisodeEvent::Open, metric, WallTime::from_unix_ms(NOW_MS));
    Event::Finding { host: HostId([1; 16]), offset_ns: 0, finding: Box::new(finding) }
}

/// Two findings that make an incident.
fn incident(core: &mut Core) -> String {
    let at = core.clock.wall();
    for event in [finding(1, "system.cpu.utilization"), finding(2, "system.memory.utilization")] {
        core.pending.push(Write::Event { at, event });
    }
    core.commit(Vec::new()).unwrap();
    let open = lock(&core.engine).open_incidents();
    open[0].0.clone()
}

#[test]
fn an_open_incident_whose_state_is_lost_is_closed_not_left_open_for_ever() {
    let directory = tempfile::tempdir().unwrap();
    let (mut core, _clock) = core(directory.path());
    core.start(Setup::default()).unwrap();
    let known = incident(&mut core);
    let json = "{\"id\":\"inc-1\",\"state\":\"detected\",\"resolution\":null,\"times\":{},\"timeline\":[]}";
    let lost = Write::Incident { id: "inc-1".into(), open: true, opened: WallTime::default(), json: json.into() };
    core.pending.push(lost);
    core.commit(Vec::new()).unwrap();
    drop(core);
    let (mut core, _clock) = self::core(directory.path());
    core.start(Setup::default()).unwrap();
    let reader = core.store.reader().unwrap();
    assert_eq!(reader.open_incidents().unwrap(), std::slice::from_ref(&known));
    assert_eq!(lock(&core.engine).incident_state(&known), Some(IncidentState::Detected));
    let row = reader.incident("inc-1").unwrap().unwrap();
    let incident: serde_json::Value = serde_json::from_str(&row.json).unwrap();
    assert_eq!((row.open, &incident["state"], &incident["resolution"]), (false, &"resolved".into(), &"expired".into()));
    assert_eq!(incident["times"]["resolved_unix_ms"], NOW_MS);
}

#[test]
fn what_was_killed_before_its_incident_was_stored_stores_it_at_the_next_start() {
    let directory = tempfile::tempdir().unwrap();
    let (mut core, _clock) = core(directory.path());
    core.start(Setup::default()).unwrap();
    let at = core.clock.wall();
    let events = [finding(1, "system.cpu.utilization"), finding(2, "system.memory.utilization")];
    core.store.commit(&events.map(|event| Write::Event { at, event })).unwrap();
    drop(core);
    let (mut core, _clock) = self::core(directory.path());
    core.start(Setup::default()).unwrap();
    let reader = core.store.reader().unwrap();
    assert_eq!(reader.open_incidents().unwrap().len(), 1);
    assert_eq!(reader.directives(HostId([1; 16]), at).unwrap().len(), 1);
}

#[test]
fn no_directive_leaves_that_lives_longer_than_the_limit_by_this_clock() {
    let directory = tempfile::tempdir().unwrap();
    let (mut core, clock) = core(directory.path());
    let directive = || {
        let issued = WallTime::from_unix_ms(NOW_MS);
        Action::IssueDirective(Directive {
            id: DirectiveId([1; 16]),
            host: HostId([1; 16]),
            issued,
            expires: issued.offset_by(i64::from(DIRECTIVE_MS_MAX) * 1_000_000),
            incident: "inc-1".to_owned(),
            sources: Vec::new(),
            raw_metrics: Vec::new(),
            look_back_ms: 0,
        })
    };
    assert!(core.write_of(directive()).is_some());
    // Somebody sets this machine's clock back by an hour; then forward again, and on.
    for hours in [-1, 1] {
        clock.0.store(NOW_MS + hours * 3_600_000, Ordering::Relaxed);
        assert!(core.write_of(directive()).is_none());
    }
    assert_eq!(core.counters.directives_dropped.load(Ordering::Relaxed), 2);
}

#[test]
fn incident_is_told_once_when_it_opens_and_once_when_it_is_over_whatever_is_replayed() {
    let directory = tempfile::tempdir().unwrap();
    let (mut core, _clock) = core(directory.path());
    core.start(Setup::default()).unwrap();
    let id = incident(&mut core);
    let mut report = lock(&core.engine).incident(&id).unwrap();
    let mut told = Told::default();
    assert_eq!(told.news(&report, || false), News::Opened);
    assert_eq!(told.news(&report, || false), News::None);
    assert_eq!(Told::default().news(&report, || true), News::None, "of a replay");
    let mut stored = Told::stored(&*core.store.reader().unwrap()).unwrap();
    assert_eq!(stored.news(&report, || false), News::None, "told before the restart");
    report.state = IncidentState::Resolved;
    for told in [&mut told, &mut stored] {
        assert_eq!(told.news(&report, || false), News::Resolved);
        assert_eq!(told.news(&report, || true), News::None, "a review");
    }
}

//! What every store must do about lives of agents.

use super::*;

/// Commits a batch with one finding; whether it was logged as of the current life, and whether a restart was.
fn life(store: &mut dyn Store, epoch: u64, sequence: u64) -> (bool, bool) {
    let body = Body::Findings(vec![finding(u8::try_from(sequence).unwrap())]);
    let logged = store.commit(&[Write::Batch(Box::new(batch(1, epoch, sequence, body)))]).unwrap().logged;
    let has = |wanted: fn(&Event) -> bool| logged.iter().any(|logged| wanted(&logged.event));
    let current = has(|event| matches!(event, Event::Finding { .. }));
    assert_ne!(current, has(|event| matches!(event, Event::EarlierFinding { .. })));
    (current, has(|event| matches!(event, Event::AgentRestarted { .. })))
}

fn hello(store: &mut dyn Store, epoch: u64) -> Vec<Event> {
    hello_from(store, epoch, 1)
}

fn hello_from(store: &mut dyn Store, epoch: u64, first: u64) -> Vec<Event> {
    let write = AgentWrite::Hello {
        host_name: String::new(),
        software: "0.1".into(),
        queue_epoch: QueueEpoch(epoch),
        first_sequence: Sequence(first),
        skew_ns: 0,
    };
    let logged = store.commit(&[Write::Agent { host: HostId([1; 16]), at: at(3), write }]).unwrap().logged;
    logged.into_iter().map(|logged| logged.event).collect()
}

#[test]
fn a_queue_epoch_that_was_never_seen_is_a_restart_and_what_was_late_does_not_undo_it() {
    each_store(|open| {
        let mut store = open();
        let restarted = [Event::AgentRestarted { host: HostId([1; 16]) }];
        assert_eq!(hello(&mut *store, 50), [], "the first life replaces none");
        assert_eq!(life(&mut *store, 50, 1), (true, false));
        // The host's clock went back: epochs are told apart by their first sight, not by their numbers.
        assert_eq!(hello(&mut *store, 40), restarted);
        assert_eq!(hello(&mut *store, 40), []);
        assert_eq!(life(&mut *store, 50, 2), (false, false));
        assert_eq!(life(&mut *store, 40, 1), (true, false));
        assert_eq!(hello(&mut *store, 50), [], "a hello that was late on its way");
        drop(store);
        let mut store = open();
        assert_eq!(life(&mut *store, 40, 2), (true, false));
        assert_eq!(life(&mut *store, 60, 1), (true, true), "a batch without a hello begins a life as well");
        assert_eq!(life(&mut *store, 40, 3), (false, false));
    });
}

#[test]
fn a_higher_first_sequence_within_a_queue_epoch_is_a_restart() {
    each_store(|open| {
        let mut store = open();
        let restarted = [Event::AgentRestarted { host: HostId([1; 16]) }];
        assert_eq!(hello_from(&mut *store, 50, 3), []);
        assert_eq!(life(&mut *store, 50, 3), (true, false));
        assert_eq!(hello_from(&mut *store, 50, 3), [], "the same process on another connection");
        assert_eq!(hello_from(&mut *store, 50, 9), restarted);
        assert_eq!(life(&mut *store, 50, 4), (false, false), "it waited on disk");
        assert_eq!(life(&mut *store, 50, 9), (true, false));
        assert_eq!(hello_from(&mut *store, 50, 3), [], "a hello that was late on its way");
        assert_eq!(hello_from(&mut *store, 60, 1), restarted, "the spool was lost");
        assert_eq!(life(&mut *store, 60, 1), (true, false));
    });
}

#[test]
fn a_spool_that_comes_back_after_a_life_in_memory_is_the_life_that_is_on() {
    each_store(|open| {
        let mut store = open();
        let restarted = [Event::AgentRestarted { host: HostId([1; 16]) }];
        assert_eq!(hello_from(&mut *store, 50, 1), []);
        assert_eq!(life(&mut *store, 50, 1), (true, false));
        assert_eq!(hello_from(&mut *store, 70, 1), restarted, "the disk could not be opened");
        assert_eq!(life(&mut *store, 70, 1), (true, false));
        assert_eq!(hello_from(&mut *store, 50, 9), restarted, "it could again");
        drop(store);
        let mut store = open();
        assert_eq!([life(&mut *store, 50, 2), life(&mut *store, 50, 9)], [(false, false), (true, false)]);
        assert_eq!(life(&mut *store, 70, 2), (false, false));
        assert_eq!([hello_from(&mut *store, 70, 1), hello_from(&mut *store, 50, 9)], [[], []], "late on their way");
        assert_eq!(life(&mut *store, 50, 10), (true, false));
    });
}

#[test]
fn retention_forgets_closed_incidents_ended_lives_and_what_they_defined() {
    each_store(|open| {
        let mut store = open();
        hello(&mut *store, 1);
        for (sequence, body) in (1..).zip(bodies()) {
            store_batch(&mut *store, batch(1, 1, sequence, body));
        }
        hello(&mut *store, 2);
        for (sequence, body) in (1..).zip(bodies()) {
            store_batch(&mut *store, batch(1, 2, sequence, body));
        }
        let incident = |id: &str, open| Write::Incident { id: id.into(), open, opened: at(1), json: String::new() };
        store.commit(&[incident("closed", false), incident("open", true)]).unwrap();
        store.prune(at(100 * 86_400_000), &Retention::default()).unwrap();
        let reader = store.reader().unwrap();
        assert_eq!((reader.incident("closed").unwrap(), reader.incident("open").unwrap().is_some()), (None, true));
        let rows: std::collections::HashMap<_, _> = reader.rows().unwrap().into_iter().collect();
        assert_eq!((rows["batch"], rows["series"], rows["template"]), (0, 1, 1), "of the life that is on");
        assert_eq!(reader.ledger().unwrap().iter().map(|row| row.queue_epoch.as_str()).collect::<Vec<_>>(), ["2"]);
    });
}

/// SQLite only: a file of the version before.
#[test]
fn lives_are_found_in_a_file_of_the_version_before() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let mut store = SqliteStore::open(&path).unwrap();
    for (epoch, sequence) in [(9, 1), (7, 1), (7, 2)] {
        life(&mut store, epoch, sequence);
    }
    drop(store);
    let before = "DROP INDEX stream_begun; ALTER TABLE stream DROP COLUMN begun; ALTER TABLE stream DROP COLUMN first_sequence;
                  ALTER TABLE stream DROP COLUMN reused;
                  ALTER TABLE agent DROP COLUMN queue_epoch; DELETE FROM stream; DROP INDEX block_host; PRAGMA user_version = 1;";
    rusqlite::Connection::open(&path).unwrap().execute_batch(before).unwrap();
    let mut store = SqliteStore::open(&path).unwrap();
    assert_eq!(
        [life(&mut store, 7, 3), life(&mut store, 9, 2), life(&mut store, 8, 1)],
        [(true, false), (false, false), (true, true)]
    );
}

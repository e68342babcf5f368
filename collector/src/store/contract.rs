//! What every store must do. Each engine runs the whole suite.

mod lives;

use super::{AgentWrite, BatchWrite, QuarantineWrite, Retention, SqliteStore, Store, TokenWrite, Write, Written};
use crate::engine::Event;
use crate::made;
use std::path::Path;
use vedette_edge::codec;
use vedette_protocol::ids::{ChangeId, DirectiveId, HostId, QueueEpoch, Sequence, SeriesIndex, TemplateId, TenantId};
use vedette_protocol::policy::Directive;
use vedette_protocol::signature::{Domain, SigningKey};
use vedette_protocol::time::WallTime;
use vedette_protocol::v1::{
    Body, Change, ChangeKind, Class, EpisodeEvent, Feature, Finding, InEffect, LogWindow, Outcome, SampleBlock,
    SeriesDefinition, Template,
};

fn at(ms: i64) -> WallTime {
    WallTime::from_unix_ms(1_795_132_800_000 + ms)
}

fn finding(n: u8) -> Finding {
    made::finding(n.into(), EpisodeEvent::Open, "system.cpu.utilization", at(0))
}

fn bodies() -> Vec<Body> {
    let feature = Feature {
        series: SeriesIndex(0),
        end: at(1),
        window_ms: 1,
        count: 1,
        min: 0.0,
        max: 1.0,
        mean: 0.5,
        last: 1.0,
    };
    let template = Template { id: TemplateId(u64::MAX), text: "a <*>".into(), exemplar: "a b".into() };
    let window = LogWindow {
        source: "/x".into(),
        end: at(1),
        window_ms: 1,
        counts: vec![(template.id, 3)],
        templates: vec![template],
    };
    let change = Change {
        id: ChangeId([7; 16]),
        kind: ChangeKind::FileEdited,
        target: "/etc/x".into(),
        service: String::new(),
        at: at(0),
        before: None,
        after: None,
    };
    vec![
        Body::Series(vec![SeriesDefinition { index: SeriesIndex(0), meta: made::series("system.cpu.utilization") }]),
        Body::Features(vec![feature]),
        Body::Logs(window),
        Body::Findings(vec![finding(1), finding(2)]),
        Body::Changes(vec![change]),
    ]
}

fn batch(host: u8, epoch: u64, sequence: u64, body: Body) -> BatchWrite {
    let batch = made::batch(TenantId(0), QueueEpoch(epoch), Sequence(sequence), Class::Finding, body, at(0));
    BatchWrite { host: HostId([host; 16]), offset_ns: 5, received: at(10), wire_bytes: 100, batch }
}

fn store_batch(store: &mut dyn Store, write: BatchWrite) -> Written {
    store.commit(&[Write::Batch(Box::new(write))]).unwrap().written[0]
}

/// Runs `check` against a new store of every engine; `reopen` closes and opens it again.
fn each_store(check: impl Fn(&mut dyn FnMut() -> Box<dyn Store>)) {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    check(&mut || Box::new(SqliteStore::open(&path).unwrap()));
}

#[test]
fn a_batch_counts_once_whatever_is_sent_again() {
    each_store(|open| {
        let mut store = open();
        for (sequence, body) in (1..).zip(bodies()) {
            assert_eq!(
                store_batch(&mut *store, batch(1, u64::MAX, sequence, body.clone())),
                Written::Outcome(Outcome::Committed)
            );
            assert_eq!(
                store_batch(&mut *store, batch(1, u64::MAX, sequence, body)),
                Written::Outcome(Outcome::Duplicate)
            );
        }
        drop(store);
        let mut store = open();
        assert_eq!(
            store_batch(&mut *store, batch(1, u64::MAX, 1, bodies().remove(0))),
            Written::Outcome(Outcome::Duplicate)
        );
        let reader = store.reader().unwrap();
        let ledger = reader.ledger().unwrap();
        assert_eq!(ledger.len(), 1);
        assert_eq!((ledger[0].committed, ledger[0].doubled, ledger[0].duplicates_refused), (5, 0, 6));
        assert_eq!(ledger[0].queue_epoch, u64::MAX.to_string());
        assert_eq!(reader.findings(10).unwrap().len(), 2);
        assert_eq!(reader.changes(10).unwrap().len(), 1);
    });
}

#[test]
fn the_same_key_twice_in_one_group_counts_once() {
    each_store(|open| {
        let mut store = open();
        let writes: Vec<_> = (0..2).map(|_| Write::Batch(Box::new(batch(1, 1, 1, bodies().remove(3))))).collect();
        let committed = store.commit(&writes).unwrap();
        assert_eq!(committed.written, [Written::Outcome(Outcome::Committed), Written::Outcome(Outcome::Duplicate)]);
        assert_eq!(committed.logged.len(), 2);
    });
}

#[test]
fn a_sequence_that_comes_back_with_other_content_is_kept_aside_and_counted_once() {
    each_store(|open| {
        let mut store = open();
        let [first, second, third] = [1, 2, 3].map(|n| Body::Findings(vec![finding(n)]));
        assert_eq!(store_batch(&mut *store, batch(1, 1, 1, first.clone())), Written::Outcome(Outcome::Committed));
        let reused = Written::Reused { host: HostId([1; 16]) };
        for (body, written) in
            [(&second, reused), (&second, reused), (&first, Written::Outcome(Outcome::Duplicate)), (&third, reused)]
        {
            assert_eq!(store_batch(&mut *store, batch(1, 1, 1, body.clone())), written);
        }
        let reader = store.reader().unwrap();
        let row = reader.ledger().unwrap().remove(0);
        assert_eq!((row.committed, row.duplicates_refused, row.quarantined, row.reused), (1, 1, 2, 2));
        assert_eq!(reader.findings(10).unwrap().len(), 1);
    });
}

#[test]
fn hosts_epochs_and_sequences_are_kept_apart_and_gaps_are_told() {
    each_store(|open| {
        let mut store = open();
        for (host, epoch, sequence) in [(1, 1, 1), (1, 1, 2), (1, 1, 6), (1, 2, 1), (2, 1, 1)] {
            let outcome = store_batch(&mut *store, batch(host, epoch, sequence, bodies().remove(0)));
            assert_eq!(outcome, Written::Outcome(Outcome::Committed));
        }
        let ledger = store.reader().unwrap().ledger().unwrap();
        assert_eq!(ledger.iter().map(|row| row.committed).collect::<Vec<_>>(), [3, 1, 1]);
        assert_eq!(ledger[0].gaps, [(3, 5)]);
        assert_eq!((ledger[0].first_sequence, ledger[0].last_sequence), (1, 6));
        assert!(ledger.iter().all(|row| row.doubled == 0), "series definitions are told again in each epoch");
    });
}

#[test]
fn content_that_is_stored_under_two_keys_is_seen_in_the_ledger() {
    each_store(|open| {
        let mut store = open();
        store_batch(&mut *store, batch(1, 1, 1, bodies().remove(3)));
        store_batch(&mut *store, batch(1, 1, 2, bodies().remove(3)));
        store_batch(&mut *store, batch(2, 1, 1, bodies().remove(3)));
        let ledger = store.reader().unwrap().ledger().unwrap();
        assert_eq!(ledger.iter().map(|row| (row.doubled, row.doubled_content)).collect::<Vec<_>>(), [(1, 1), (0, 0)]);
    });
}

#[test]
fn events_come_back_in_order_and_survive_a_restart() {
    each_store(|open| {
        let mut store = open();
        let logged = store.commit(&[Write::Batch(Box::new(batch(1, 1, 1, bodies().remove(3))))]).unwrap().logged;
        let tick = store.commit(&[Write::Event { at: at(20), event: Event::Tick }]).unwrap().logged;
        drop(store);
        let store = open();
        let reader = store.reader().unwrap();
        let all = reader.events_after(0, 100).unwrap();
        assert_eq!(all.iter().map(|event| event.position).collect::<Vec<_>>(), [1, 2, 3]);
        assert_eq!(all[2], tick[0]);
        assert_eq!(reader.events_after(logged[1].position, 100).unwrap(), tick);
        assert_eq!(reader.events_after(0, 1).unwrap().len(), 1);
    });
}

#[test]
fn a_token_is_used_as_often_as_it_says_and_not_after_its_end() {
    each_store(|open| {
        let mut store = open();
        let token = TokenWrite { hash: [1; 32], created: at(0), expires: at(100), uses: 2 };
        store.commit(&[Write::Token(token)]).unwrap();
        let mut spend =
            |hash: u8, ms| store.commit(&[Write::SpendToken { hash: [hash; 32], at: at(ms) }]).unwrap().written[0];
        assert_eq!(spend(1, 100), Written::BadToken);
        assert_eq!(spend(2, 1), Written::BadToken);
        assert_eq!([spend(1, 1), spend(1, 99), spend(1, 99)], [Written::Done, Written::Done, Written::BadToken]);
    });
}

#[test]
fn a_policy_must_be_newer_than_all_before() {
    each_store(|open| {
        let mut store = open();
        let key = SigningKey::from_pkcs8(&SigningKey::generate_pkcs8()).unwrap();
        let mut put = |version| {
            let signed = key.sign(Domain::Policy, vec![1, 2, 3]);
            store.commit(&[Write::Policy { at: at(0), version, signed }]).unwrap().written[0]
        };
        assert_eq!([put(0), put(2)], [Written::NotNewer { stored: 0 }, Written::Done]);
        assert_eq!([put(2), put(1)], [Written::NotNewer { stored: 2 }; 2]);
        let row = store.reader().unwrap().policy().unwrap().unwrap();
        assert_eq!((row.version, row.signed.bytes), (2, vec![1, 2, 3]));
    });
}

#[test]
fn a_directive_is_in_effect_once_and_only_on_its_host() {
    each_store(|open| {
        let mut store = open();
        let key = SigningKey::from_pkcs8(&SigningKey::generate_pkcs8()).unwrap();
        let directive = Directive {
            id: DirectiveId([9; 16]),
            host: HostId([1; 16]),
            issued: at(0),
            expires: at(1_000),
            incident: "inc-1".into(),
            sources: Vec::new(),
            raw_metrics: Vec::new(),
            look_back_ms: 0,
        };
        let signed = key.sign(Domain::Directive, vec![4]);
        store.commit(&[Write::Directive { directive: directive.clone(), signed: signed.clone() }]).unwrap();
        store.commit(&[Write::Directive { directive, signed: signed.clone() }]).unwrap();
        let mut report = |host: u8| {
            let write =
                Write::DirectiveInEffect { at: at(5), directive: DirectiveId([9; 16]), host: HostId([host; 16]) };
            store.commit(&[write]).unwrap().logged.len()
        };
        assert_eq!([report(2), report(1), report(1)], [0, 1, 0]);
        let reader = store.reader().unwrap();
        assert_eq!(reader.directives(HostId([1; 16]), at(999)).unwrap(), [signed]);
        assert!(reader.directives(HostId([1; 16]), at(1_000)).unwrap().is_empty());
    });
}

#[test]
fn agents_are_remembered_with_what_they_last_said() {
    each_store(|open| {
        let mut store = open();
        let host = HostId([1; 16]);
        let mut tell = |write| store.commit(&[Write::Agent { host, at: at(3), write }]).unwrap().logged.len();
        assert_eq!(tell(AgentWrite::Enrolled { host_name: "web-1".into() }), 1);
        let hello = || AgentWrite::Hello {
            host_name: "web-1".into(),
            software: "0.1".into(),
            queue_epoch: QueueEpoch(1),
            first_sequence: Sequence(1),
            skew_ns: -7,
        };
        assert_eq!([tell(hello()), tell(hello())], [0, 0]);
        tell(AgentWrite::InEffect(Box::new(InEffect { policy_version: 4, ..InEffect::default() })));
        tell(AgentWrite::Heartbeat { queue_epoch: QueueEpoch(1), made: 9, shed: [0, 1, 2] });
        tell(AgentWrite::Revoked);
        let reader = store.reader().unwrap();
        let agents = reader.agents(10).unwrap();
        assert_eq!(agents.len(), 1);
        assert_eq!((agents[0].in_effect.policy_version, agents[0].skew_ns, agents[0].revoked), (4, -7, Some(at(3))));
        assert_eq!(reader.denied().unwrap(), [host]);
        let ledger = reader.ledger().unwrap();
        assert_eq!((ledger[0].made, ledger[0].shed), (9, [0, 1, 2]));
    });
}

#[test]
fn samples_of_a_series_come_back_by_the_collectors_clock_once_each() {
    each_store(|open| {
        let mut store = open();
        let host = HostId([1; 16]);
        let define =
            |index| SeriesDefinition { index: SeriesIndex(index), meta: made::series("system.cpu.utilization") };
        let block = |id, times_ms: &[i64], values: &[f64]| {
            let mut bytes = Vec::new();
            let times_ms: Vec<_> = times_ms.iter().map(|ms| at(*ms).unix_ms()).collect();
            let column = codec::Column { id, resolution: 0.0, times_ms: &times_ms, values };
            let other = codec::Column { id: id + 1, ..column };
            codec::encode(&[column, other], &mut bytes).unwrap();
            let [begin, end] = [times_ms[0], times_ms[times_ms.len() - 1]].map(WallTime::from_unix_ms);
            Body::Block(SampleBlock { begin, end, samples: 4, bytes })
        };
        let bodies = [
            (1, 1, Body::Series(vec![define(3)])),
            (1, 2, block(3, &[1_000, 2_000], &[0.5, 0.75])),
            // What the recorder held of the same time, and a life in which the series had another number.
            (1, 3, block(3, &[2_000, 3_000], &[0.75, 1.5])),
            (2, 1, Body::Series(vec![define(9)])),
            (2, 2, block(9, &[4_000], &[2.5])),
            (2, 3, Body::Block(SampleBlock { begin: at(0), end: at(0), samples: 1, bytes: vec![0xff; 9] })),
        ];
        for (nth, (epoch, sequence, body)) in (0..).zip(bodies) {
            let (offset_ns, received) = (7_000_000, at(60_000 + nth));
            let batch = BatchWrite { offset_ns, received, ..batch(1, epoch, sequence, body) };
            store_batch(&mut *store, batch);
        }
        let reader = store.reader().unwrap();
        let keys = std::collections::BTreeSet::from([made::series("system.cpu.utilization").key()]);
        let ever = (at(-1_000), at(60_000));
        let samples = reader.samples(host, &keys, ever, 1_000).unwrap();
        assert_eq!((samples.series.len(), samples.is_cut, samples.unreadable), (1, false, 1));
        let points = |ms: &[(i64, f64)]| ms.iter().map(|(ms, value)| (at(*ms).unix_ms(), *value)).collect::<Vec<_>>();
        assert_eq!(samples.series[0].points, points(&[(1_007, 0.5), (2_007, 0.75), (3_007, 1.5), (4_007, 2.5)]));
        let part = (at(1_500), at(3_007));
        let part = reader.samples(host, &keys, part, 1_000).unwrap();
        assert_eq!(part.series[0].points, points(&[(2_007, 0.75), (3_007, 1.5)]));
        let cut = reader.samples(host, &keys, ever, 1).unwrap();
        assert!(cut.is_cut && cut.series[0].points == points(&[(1_007, 0.5), (2_007, 0.75)]), "{cut:?}");
        assert!(reader.samples(HostId([2; 16]), &keys, ever, 9).unwrap().series.is_empty());
    });
}

#[test]
fn frames_that_cannot_be_read_are_kept_bounded_and_counted_once() {
    each_store(|open| {
        let mut store = open();
        for _ in 0..2 {
            let frame = QuarantineWrite {
                host: HostId([1; 16]),
                key: Some((QueueEpoch(1), Sequence(4))),
                received: at(0),
                reason: "truncated".into(),
                wire_bytes: 1 << 20,
                raw: vec![0; 1 << 20],
            };
            assert_eq!(
                store.commit(&[Write::Quarantine(frame)]).unwrap().written,
                [Written::Outcome(Outcome::Quarantined)]
            );
        }
        assert_eq!(store.reader().unwrap().ledger().unwrap()[0].quarantined, 1);
    });
}

#[test]
fn retention_deletes_what_is_old_and_only_events_that_a_snapshot_covers() {
    each_store(|open| {
        let mut store = open();
        for (sequence, body) in (1..).zip(bodies()) {
            store_batch(&mut *store, batch(1, 1, sequence, body));
        }
        let day_ms = 86_400_000;
        let retention = Retention { events_ms: 0, ..Retention::default() };
        store.prune(at(8 * day_ms), &retention).unwrap();
        let reader = store.reader().unwrap();
        let rows: std::collections::HashMap<_, _> = reader.rows().unwrap().into_iter().collect();
        assert_eq!((rows["block"], rows["finding"], rows["batch"], rows["event"]), (0, 2, 5, 3));
        store.commit(&[Write::Snapshot { position: 2, version: 1, bytes: vec![5] }]).unwrap();
        store.prune(at(100 * day_ms), &retention).unwrap();
        let rows: std::collections::HashMap<_, _> = reader.rows().unwrap().into_iter().collect();
        assert_eq!((rows["finding"], rows["batch"], rows["event"]), (0, 0, 1));
        assert_eq!(reader.snapshot().unwrap(), Some((1, vec![5])));
    });
}

#[test]
fn incidents_are_listed_by_state_newest_first() {
    each_store(|open| {
        let mut store = open();
        let incident =
            |id: &str, open, ms| Write::Incident { id: id.into(), open, opened: at(ms), json: format!("{id}/{open}") };
        store.commit(&[incident("a", true, 1), incident("b", true, 2), incident("c", true, 3)]).unwrap();
        store.commit(&[incident("b", false, 2)]).unwrap();
        let reader = store.reader().unwrap();
        let list = |open| {
            let rows = reader.incidents(open, 10, 100).unwrap();
            rows.into_iter().map(|row| (row.json, row.open, row.opened)).collect::<Vec<_>>()
        };
        assert_eq!(list(true), [("c/true".into(), true, at(3)), ("a/true".into(), true, at(1))]);
        let cut: Vec<_> = reader.incidents(true, 10, 7).unwrap().into_iter().map(|row| (row.id, row.json)).collect();
        assert_eq!(cut, [("c".into(), "c/true".into()), ("a".into(), String::new())]);
        assert_eq!(list(false), [("b/false".into(), false, at(2))]);
        assert_eq!(reader.incident("a").unwrap().map(|row| row.json).as_deref(), Some("a/true"));
        assert_eq!(reader.incident("z").unwrap(), None);
        assert_eq!(reader.open_incidents().unwrap(), ["a", "c"]);
    });
}

/// SQLite only: whatever code did it, rows that stand twice are seen.
#[test]
fn a_batch_that_was_applied_twice_is_seen_in_the_ledger() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    let mut store = SqliteStore::open(&path).unwrap();
    for (sequence, body) in (1..).zip(bodies()) {
        store_batch(&mut store, batch(1, 1, sequence, body));
    }
    double(&path, "INSERT INTO batch SELECT * FROM batch WHERE sequence = 1");
    for (sequence, table) in [(1, "series"), (2, "block"), (3, "template"), (4, "finding"), (5, "change")] {
        double(&path, &format!("INSERT INTO {table} SELECT * FROM {table} WHERE sequence = {sequence} LIMIT 1"));
    }
    let row = store.reader().unwrap().ledger().unwrap().remove(0);
    assert_eq!((row.doubled, row.doubled_keys, row.doubled_items, row.doubled_content), (5, 1, 5, 0));
}

fn double(path: &Path, sql: &str) {
    assert_eq!(rusqlite::Connection::open(path).unwrap().execute(sql, []).unwrap(), 1);
}

#[test]
fn a_file_of_later_software_is_refused() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("store.db");
    drop(SqliteStore::open(&path).unwrap());
    rusqlite::Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    assert!(matches!(SqliteStore::open(&path), Err(super::StoreError::TooNew { found: 99, .. })));
}

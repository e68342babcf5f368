//! Disks that refuse one thing and not another.

use super::*;

#[test]
fn disk_that_refuses_positions_is_tried_again_later_and_not_in_a_loop() {
    let mut rig = Rig::new();
    rig.disk.fail(Some(ErrorKind::Other));
    rig.spool.handle_cursor(Cursor { source: "/log".to_owned(), position: vec![1] });
    assert_eq!(rig.rounds(50), 1);
    assert!(matches!(rig.spool.disk(), Disk::Failing(_)));
    rig.disk.fail(None);
    rig.pass(SECOND * 6);
    assert_eq!(rig.spool.disk(), Disk::Well);
    assert_eq!(start(&rig.disk).2.positions["/log"], [1]);
}

#[test]
fn log_that_cannot_be_read_is_tried_again_later_and_what_is_lost_is_counted() {
    for (how, lost) in [(ErrorKind::Other, 0), (ErrorKind::NotFound, 3), (ErrorKind::PermissionDenied, 3)] {
        let mut rig = Rig::new();
        (0..3).for_each(|_| {
            rig.push(Class::Feature, 100);
        });
        rig.work();
        rig.kill();
        rig.disk.fail_reads(Some(("1-", how)));
        assert!(rig.rounds(50) <= 2, "{how:?}");
        rig.disk.fail_reads(None);
        rig.push(Class::Feature, 100);
        rig.pass(SECOND * 6);
        rig.drain();
        let totals = rig.spool.totals();
        assert_eq!((totals.shed, totals.acked, rig.missing()), (lost, 4 - lost, lost), "{how:?}");
    }
}

#[test]
fn batch_that_could_not_be_synced_is_not_called_written_until_it_is() {
    let mut rig = Rig::new();
    let at = [Cursor { source: "/log".to_owned(), position: vec![1] }];
    rig.push_with(Class::Log, 100, &[]);
    rig.work();
    rig.disk.fail_syncs(true);
    rig.push_with(Class::Log, 100, &at);
    rig.work();
    assert!(matches!(rig.spool.disk(), Disk::Failing(_)));
    assert_eq!(rig.spool.take_safe_cursors(), []);
    rig.disk.fail_syncs(false);
    rig.push_with(Class::Log, 100, &[]);
    rig.pass(SECOND * 6);
    assert_eq!((rig.spool.disk(), rig.spool.take_safe_cursors()), (Disk::Well, at.to_vec()));
    rig.pass(SECOND * 6);
    rig.disk.power_cut(|_| 0);
    rig.kill();
    assert_eq!((rig.spool.totals().pending, rig.spool.totals().made), (3, 3), "none is there twice");
    rig.drain();
    assert_eq!((rig.missing(), rig.doubled), (0, 0));
}

#[test]
fn batch_that_is_appended_and_shed_at_once_is_counted_once() {
    let mut rig = Rig::new();
    let config = LogConfig { segment_bytes: 1_000, bytes_max: 6_000 };
    let (log, _) = Log::open(rig.disk.clone(), config, BootId([1; 16]), QueueEpoch(7)).expect("the disk works");
    rig.worker = Worker::new(log);
    for _ in 0..60 {
        rig.push(Class::Log, 200);
    }
    rig.work();
    rig.assert_balances();
    rig.drain();
    rig.assert_balances();
    let totals = rig.spool.totals();
    assert!(totals.shed > 20 && totals.acked + totals.shed == 60, "{totals:?}");
    assert_eq!((rig.missing(), rig.spool.bytes()), (totals.shed, 0));
}

#[test]
fn batch_that_is_settled_while_its_sync_fails_is_counted_once_after_a_restart_as_well() {
    for is_appended in [true, false] {
        let mut rig = Rig::new();
        let at = [Cursor { source: "/log".to_owned(), position: vec![1] }];
        rig.push_with(Class::Log, 100, &[]);
        rig.work();
        match is_appended {
            true => rig.disk.fail_syncs(true),
            false => rig.disk.fail(Some(ErrorKind::Other)),
        }
        rig.push_with(Class::Log, 100, &at);
        rig.work();
        rig.send(2);
        rig.commit(2);
        rig.disk.fail_syncs(false);
        rig.disk.fail(None);
        rig.push_with(Class::Log, 100, &[]);
        rig.pass(SECOND * 6);
        rig.pass(SECOND * 6);
        rig.assert_balances();
        rig.kill();
        let Counts { made, acked, pending, .. } = rig.spool.totals();
        assert_eq!((made, acked, pending), (3, 2, 1), "appended: {is_appended}");
    }
}

#[test]
fn log_lines_wait_for_a_disk_that_is_merely_slow_as_long_as_there_is_room() {
    let mut rig = Rig::new();
    let at = [Cursor { source: "/log".to_owned(), position: vec![1] }];
    rig.push_with(Class::Log, 100, &at);
    rig.push(Class::Finding, 100);
    while rig.spool.poll_request(rig.now).is_some() {}
    rig.spool.handle_tick(rig.now + SECOND * 3);
    assert!(matches!(rig.spool.disk(), Disk::Failing(_)));
    assert!(rig.spool.poll_send(Class::Finding).is_some());
    assert_eq!(rig.spool.poll_send(Class::Log), None, "after a kill they would be read again");
    rig.push(Class::Feature, MEMORY / 2);
    assert_eq!(rig.spool.poll_send(Class::Log).map(|batch| batch.sequence), Some(Sequence(1)));
}

#[test]
fn position_of_a_whole_is_never_kept_without_those_of_its_parts() {
    let of = |source: &str| [Cursor { source: source.to_owned(), position: vec![1] }];
    let kept = |rig: &Rig| start(&rig.disk).2.positions.into_keys().collect::<Vec<_>>();
    let mut rig = Rig::new();
    rig.push_with(Class::Log, 100, &of("whole/a"));
    rig.work();
    // The disk fails, and the collector settles the whole before one of its parts.
    rig.disk.limit(Some(0));
    rig.push_with(Class::Log, 100, &of("whole/b"));
    rig.push_with(Class::Log, 100, &of("whole"));
    rig.pass(SECOND);
    rig.send(10);
    rig.in_flight.retain(|batch| batch.sequence.0 == 3);
    rig.commit(10);
    rig.pass(SECOND);
    rig.disk.limit(None);
    assert_eq!(kept(&rig), ["whole/a"]);
    rig.pass(SECOND * 6);
    rig.pass(SECOND * 6);
    assert_eq!(kept(&rig), ["whole", "whole/a", "whole/b"]);
}

use super::*;
use crate::source::tests::allocations;
use proptest::prelude::*;

const ROOMY: usize = 1 << 20;

fn spool(frames: usize, frame_bytes: usize) -> Spool {
    Spool::in_memory(QueueEpoch(7), frames * (frame_bytes + ENTRY_OVERHEAD_BYTES), "test")
}

fn push(spool: &mut Spool, class: Class, len: usize) -> u64 {
    spool.push(class, &[], |_| Some(vec![0; len])).0
}

/// What the uplink would hand to the connection next.
fn poll(spool: &mut Spool) -> Option<EncodedBatch> {
    CLASSES.iter().find_map(|class| spool.poll_send(*class))
}

fn drain(spool: &mut Spool) -> Vec<u64> {
    std::iter::from_fn(|| poll(spool)).map(|batch| batch.sequence.0).collect()
}

#[test]
fn findings_pass_features_and_features_pass_logs() {
    let mut spool = Spool::in_memory(QueueEpoch(1), ROOMY, "test");
    for class in [Class::Log, Class::Feature, Class::Finding, Class::Log, Class::Finding] {
        push(&mut spool, class, 10);
    }
    assert_eq!(drain(&mut spool), [3, 5, 2, 1, 4]);
}

#[test]
fn full_spool_drops_oldest_of_lowest_class_and_says_so() {
    let mut spool = spool(3, 100);
    let finding = push(&mut spool, Class::Finding, 100);
    let old_log = push(&mut spool, Class::Log, 100);
    let new_log = push(&mut spool, Class::Log, 100);
    let feature = push(&mut spool, Class::Feature, 100);
    assert_eq!(spool.counts(Class::Log), Counts { made: 2, shed: 1, pending: 1, ..Counts::default() });
    let waiting = drain(&mut spool);
    assert_eq!(waiting, [finding, feature, new_log]);
    assert!(!waiting.contains(&old_log));
}

#[test]
fn positions_that_wait_with_their_batches_count_as_memory() {
    let mut spool = Spool::in_memory(QueueEpoch(1), 11_000, "test");
    let watch = |n: u8| Cursor { source: "vedette.watch".to_owned(), position: vec![n; 3_000] };
    for n in 0..5 {
        spool.push(Class::Finding, &[watch(n)], |_| Some(vec![0; 100]));
        assert!(spool.bytes() <= 11_000);
    }
    assert_eq!(spool.counts(Class::Finding), Counts { made: 5, shed: 2, pending: 3, ..Counts::default() });
    (1..=5).for_each(|sequence| spool.handle_ack(Sequence(sequence), Outcome::Committed));
    assert_eq!(spool.bytes(), 0);
}

#[test]
fn spool_at_its_limit_takes_no_more_memory_than_that() {
    const BYTES_MAX: usize = 4 << 20;
    let cursors = |n: usize| [Cursor { source: "/var/log/app.log".to_owned(), position: vec![7; n % 40] }];
    // Small batches with positions are what bookkeeping costs most of.
    for (frame_bytes, with_cursors) in [(20, true), (20, false), (3_000, true), (200_000, false)] {
        let (taken, spool) = allocations::held_by(|| {
            let mut spool = Spool::in_memory(QueueEpoch(1), BYTES_MAX, "test");
            let mut n = 0;
            while spool.totals().shed < 50 {
                let cursors = cursors(n);
                let cursors = if with_cursors { &cursors[..] } else { &[] };
                spool.push(CLASSES[n % 3], cursors, |_| Some(vec![0; frame_bytes]));
                n += 1;
            }
            spool
        });
        assert!(spool.bytes() <= BYTES_MAX);
        assert!(taken <= BYTES_MAX + 2 * frame_bytes + 4_096, "{taken} bytes for frames of {frame_bytes}");
        assert!(taken >= BYTES_MAX / 3, "{taken} bytes for frames of {frame_bytes}: a limit that says too little");
    }
}

#[test]
fn newcomer_of_the_lowest_class_gives_way_to_what_outranks_it() {
    let mut spool = spool(2, 100);
    push(&mut spool, Class::Finding, 100);
    push(&mut spool, Class::Finding, 100);
    push(&mut spool, Class::Log, 100);
    assert_eq!(drain(&mut spool), [1, 2]);
    assert_eq!(spool.counts(Class::Log).shed, 1);
}

#[test]
fn batch_that_can_never_fit_sheds_only_itself() {
    let mut spool = spool(2, 100);
    push(&mut spool, Class::Log, 100);
    push(&mut spool, Class::Finding, 10_000);
    spool.push(Class::Finding, &[], |_| None);
    assert_eq!(drain(&mut spool), [1]);
    assert_eq!(spool.counts(Class::Finding), Counts { made: 2, shed: 2, ..Counts::default() });
}

#[test]
fn everything_unacked_is_sent_again_after_reconnect() {
    let mut spool = Spool::in_memory(QueueEpoch(1), ROOMY, "test");
    for _ in 0..4 {
        push(&mut spool, Class::Feature, 10);
    }
    assert_eq!(drain(&mut spool), [1, 2, 3, 4]);
    spool.handle_ack(Sequence(2), Outcome::Committed);
    spool.handle_ack(Sequence(3), Outcome::Quarantined);
    assert_eq!(drain(&mut spool), [] as [u64; 0]);
    spool.handle_reconnect();
    assert_eq!(drain(&mut spool), [1, 4]);
}

#[test]
fn batch_without_room_on_the_connection_is_next_again() {
    let mut spool = Spool::in_memory(QueueEpoch(1), ROOMY, "test");
    push(&mut spool, Class::Feature, 10);
    push(&mut spool, Class::Feature, 10);
    let first = poll(&mut spool).expect("a batch");
    spool.handle_no_room(&first);
    assert_eq!(drain(&mut spool), [1, 2]);
}

#[test]
fn batch_that_cannot_be_sent_is_shed_and_counted() {
    let mut spool = Spool::in_memory(QueueEpoch(1), ROOMY, "test");
    push(&mut spool, Class::Feature, 10);
    spool.handle_unsendable(Sequence(1));
    spool.handle_unsendable(Sequence(1));
    assert_eq!(spool.totals(), Counts { made: 1, shed: 1, ..Counts::default() });
}

#[test]
fn second_ack_of_a_batch_changes_nothing_but_its_own_count() {
    let mut spool = Spool::in_memory(QueueEpoch(1), ROOMY, "test");
    push(&mut spool, Class::Finding, 10);
    spool.handle_ack(Sequence(1), Outcome::Committed);
    spool.handle_ack(Sequence(1), Outcome::Duplicate);
    assert_eq!(spool.totals(), Counts { made: 1, acked: 1, ..Counts::default() });
    assert_eq!(spool.acks_unknown(), 1);
    assert_eq!(spool.bytes(), 0);
}

#[test]
fn batch_shed_on_its_way_that_arrives_after_all_is_not_called_shed() {
    let mut spool = spool(1, 100);
    push(&mut spool, Class::Log, 100);
    assert_eq!(drain(&mut spool), [1]);
    push(&mut spool, Class::Log, 100);
    assert_eq!(spool.totals().shed, 1);
    spool.handle_ack(Sequence(1), Outcome::Committed);
    assert_eq!(spool.totals(), Counts { made: 2, acked: 1, pending: 1, ..Counts::default() });
}

#[test]
fn batch_shed_after_a_reconnect_that_arrived_before_it_is_not_called_shed() {
    let mut spool = spool(1, 100);
    push(&mut spool, Class::Log, 100);
    assert_eq!(drain(&mut spool), [1]);
    spool.handle_reconnect();
    push(&mut spool, Class::Finding, 100);
    spool.handle_ack(Sequence(1), Outcome::Committed);
    assert_eq!(spool.totals(), Counts { made: 2, acked: 1, pending: 1, ..Counts::default() });
}

#[test]
fn source_does_not_go_back_when_batches_are_settled_out_of_order() {
    let mut spool = Spool::in_memory(QueueEpoch(1), ROOMY, "test");
    let at = |n: u8| Cursor { source: "/log".to_owned(), position: vec![n] };
    for n in 1..=2 {
        spool.push(Class::Log, &[at(n)], |_| Some(vec![0; 10]));
    }
    spool.handle_ack(Sequence(2), Outcome::Committed);
    assert_eq!(spool.take_safe_cursors(), [at(2)]);
    spool.handle_ack(Sequence(1), Outcome::Committed);
    assert_eq!(spool.take_safe_cursors(), []);
}

#[derive(Clone, Debug)]
enum Step {
    Push(usize, usize),
    Send,
    Ack(u64),
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        5 => (0..3_usize, 0..400_usize).prop_map(|(class, len)| Step::Push(class, len)),
        3 => Just(Step::Send),
        3 => (1..200_u64).prop_map(Step::Ack),
        1 => Just(Step::Reconnect),
    ]
}

proptest! {
    #[test]
    fn every_batch_made_is_acked_shed_or_pending(steps in prop::collection::vec(step(), 1..200)) {
        let mut spool = Spool::in_memory(QueueEpoch(1), 4_000, "test");
        let mut sent = std::collections::BTreeSet::new();
        for step in steps {
            match step {
                Step::Push(class, len) => {
                    spool.push(CLASSES[class], &[], |_| Some(vec![0; len]));
                }
                Step::Send => if let Some(frame) = poll(&mut spool) {
                    prop_assert!(sent.insert(frame.sequence), "sent twice on one connection");
                },
                Step::Ack(sequence) => spool.handle_ack(Sequence(sequence), Outcome::Committed),
                Step::Reconnect => {
                    spool.handle_reconnect();
                    sent.clear();
                }
            }
            for class in CLASSES {
                let counts = spool.counts(class);
                prop_assert_eq!(counts.made, counts.acked + counts.shed + counts.pending);
            }
            prop_assert!(spool.bytes() <= 4_000);
        }
        spool.handle_reconnect();
        let mut bytes = 0;
        let mut pending = 0;
        while let Some(frame) = poll(&mut spool) {
            bytes += cost(&frame.bytes, &[]);
            pending += 1;
        }
        prop_assert_eq!(pending, spool.totals().pending);
        prop_assert_eq!(bytes, spool.bytes());
    }
}

use super::*;
use proptest::prelude::*;

const HEADER: Header =
    Header { epoch: QueueEpoch(7), class: Class::Feature, first: Sequence(5), ordinal: 3, previous: Sequence(2) };

fn cursor(position: usize) -> Cursor {
    Cursor { source: "/var/log/app".to_owned(), position: vec![9; position] }
}

/// A segment of a checkpoint and frames with these payloads.
fn segment(frames: &[Vec<u8>]) -> Vec<u8> {
    let mut bytes = HEADER.encode().to_vec();
    let cursors = encode_cursors([(Sequence(4), &cursor(3))]);
    bytes.extend(encode_record(Kind::Checkpoint, Sequence(4), 17, &cursors, &[]));
    for (sequence, frame) in (5..).zip(frames) {
        bytes.extend(encode_record(Kind::Frame, Sequence(sequence), 17, &encode_cursors([]), frame));
    }
    bytes
}

fn frames(segment: &[u8]) -> Vec<(u64, Vec<u8>)> {
    let frame = |stretch| match stretch {
        Stretch::Record(record) if record.kind == Kind::Frame => Some((record.sequence.0, record.frame.to_vec())),
        _ => None,
    };
    stretches(segment).filter_map(frame).collect()
}

#[test]
fn bytes_are_those_of_version_1() {
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    expect_test::expect![
        "564454534547310a070000000000000005000000000000000300000000000000020000000000000001000000d592fbe5"
    ]
    .assert_eq(&hex(&HEADER.encode()));
    let record = encode_record(Kind::Frame, Sequence(5), 17, &encode_cursors([(Sequence(5), &cursor(1))]), b"frame");
    expect_test::expect!["5652454326000000050000000000000011000000000000008903ff9ceabaa41d1d000000010005000000000000000c002f7661722f6c6f672f61707001000000096672616d65"].assert_eq(&hex(&record));
}

#[test]
fn what_is_written_is_read() {
    assert_eq!(Header::decode(&HEADER.encode()), Some(HEADER));
    let cursors = [(Sequence(4), cursor(3)), (Sequence(9), cursor(70_000))];
    let bytes = encode_cursors(cursors.iter().map(|(sequence, cursor)| (*sequence, cursor)));
    let read: Vec<_> = decode_cursors(&bytes).expect("cursors").into_iter().map(|s| (s.sequence, s.cursor)).collect();
    assert_eq!(read, cursors);
    assert_eq!(frames(&segment(&[vec![1], vec![], vec![2; 900]])), [(5, vec![1]), (6, vec![]), (7, vec![2; 900])]);
}

#[test]
fn no_flipped_bit_alters_a_frame_or_hides_more_than_one() {
    let written = [vec![1; 20], b"VREC in the middle".to_vec(), vec![0; 30]];
    let good = segment(&written);
    for at in 0..good.len() * 8 {
        let mut bad = good.clone();
        bad[at / 8] ^= 1 << (at % 8);
        let read = frames(&bad);
        assert!(read.len() >= 2, "bit {at} costs {} of 3 frames", 3 - read.len());
        assert!(
            read.iter().all(|(sequence, frame)| written[usize::try_from(*sequence - 5).unwrap()] == *frame),
            "bit {at}"
        );
        let hidden = stretches(&bad).any(|stretch| matches!(stretch, Stretch::Bad { .. }));
        assert_eq!(hidden, at >= HEADER_BYTES * 8, "bit {at}");
        assert_eq!(Header::decode(&bad).is_none(), at < HEADER_BYTES * 8, "bit {at}");
    }
}

#[test]
fn cut_anywhere_leaves_the_frames_before_the_cut() {
    let good = segment(&[vec![1; 20], vec![2; 20]]);
    let ends: Vec<_> = stretches(&good)
        .map(|stretch| match stretch {
            Stretch::Record(record) => record.end,
            Stretch::Bad { .. } => panic!("a good segment"),
        })
        .collect();
    for cut in 0..good.len() {
        let whole = ends[1..].iter().filter(|end| **end <= cut).count();
        assert_eq!(frames(&good[..cut]).len(), whole, "cut at {cut}");
    }
}

#[test]
fn heads_that_lie_about_their_payload_are_passed_in_one_go() {
    let mut bytes = HEADER.encode().to_vec();
    let mut head = encode_record(Kind::Frame, Sequence(5), 0, &[], &vec![0; 1 << 20]);
    head.truncate(RECORD_BYTES);
    (0..30_000).for_each(|_| bytes.extend_from_slice(&head));
    let found: Vec<_> = stretches(&bytes).collect();
    assert_eq!(found, [Stretch::Bad { from: HEADER_BYTES, to: bytes.len() }]);
}

/// Segments of frames, mistreated.
fn mistreated() -> impl Strategy<Value = (Vec<Vec<u8>>, Vec<u8>)> {
    let frames = prop::collection::vec(prop::collection::vec(any::<u8>(), 0..80), 0..12);
    let blows = prop::collection::vec((any::<prop::sample::Index>(), any::<u8>(), 0..40_usize), 0..6);
    (frames, blows, any::<prop::sample::Index>(), any::<bool>()).prop_map(|(frames, blows, cut, cuts)| {
        let mut bytes = segment(&frames);
        for (at, value, run) in blows {
            let at = at.index(bytes.len());
            let end = (at + run).min(bytes.len());
            bytes[at..end].fill(value);
        }
        if cuts {
            bytes.truncate(cut.index(bytes.len()));
        }
        (frames, bytes)
    })
}

proptest! {
    #[test]
    fn whatever_happens_to_a_segment_no_frame_comes_out_altered((written, bytes) in mistreated()) {
        let mut last = 4;
        for (sequence, frame) in frames(&bytes) {
            prop_assert!(sequence > last);
            last = sequence;
            prop_assert_eq!(&written[usize::try_from(sequence - 5).unwrap()], &frame);
        }
    }

    #[test]
    fn any_bytes_are_taken_apart_without_a_panic_and_without_a_rest(bytes in prop::collection::vec(any::<u8>(), 0..600)) {
        let mut at = HEADER_BYTES.min(bytes.len());
        for stretch in stretches(&bytes) {
            at = match stretch {
                Stretch::Record(record) => record.end,
                Stretch::Bad { from, to } => { prop_assert_eq!(from, at); to }
            };
        }
        prop_assert_eq!(at, bytes.len());
        let _ = (Header::decode(&bytes), decode_cursors(&bytes));
    }
}

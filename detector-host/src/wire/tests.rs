use super::*;
use vedette_protocol::worker::Fault;

fn observe(rows: u32) -> WorkerRequest {
    let columns = Columns {
        ids: (0..rows).map(|row| row * 3).collect(),
        dt_ms: (0..rows).map(|row| row + 1_000).collect(),
        flags: (0..rows).map(|row| (row % 8).to_le_bytes()[0]).collect(),
        values: (0..rows).map(|row| f64::from(row) - 0.5).collect(),
    };
    WorkerRequest::Observe { detector: 9, tick: u64::MAX - 1, columns }
}

fn scores(scores: Vec<f32>) -> WorkerReply {
    WorkerReply::Scores { detector: 2, tick: 77, scores, guest_ns: 12_345, memory_bytes: 1 << 20 }
}

fn encoded(message: &impl Message) -> Vec<u8> {
    let mut frame = Vec::new();
    encode(message, REQUEST_BYTES_MAX, &mut frame).unwrap();
    frame
}

#[test]
fn messages_survive_and_the_end_is_seen() {
    let requests =
        [WorkerRequest::Explain { detector: 3, ids: vec![1, 2, 300] }, observe(5), observe(0), WorkerRequest::Seal];
    let (mut pipe, mut buffer) = (Vec::new(), Vec::new());
    requests.iter().for_each(|request| write(&mut pipe, request, 1_000, &mut buffer).unwrap());
    let mut input = pipe.as_slice();
    for request in requests {
        assert_eq!(read::<WorkerRequest>(&mut input, 1_000, &mut buffer).unwrap(), Some(request));
    }
    assert!(read::<WorkerRequest>(&mut input, 1_000, &mut buffer).unwrap().is_none());
}

#[test]
fn scores_keep_every_bit() {
    let given = [0.0, -0.0, f32::NAN, f32::INFINITY, f32::MIN_POSITIVE, 1.5];
    let frame = encoded(&scores(given.to_vec()));
    let reply = decode::<WorkerReply>(&frame[PREFIX_BYTES..], &mut Spare::default()).unwrap();
    let WorkerReply::Scores { detector: 2, tick: 77, scores, guest_ns: 12_345, memory_bytes: 1_048_576 } = reply else {
        panic!("{reply:?}")
    };
    assert_eq!(scores.iter().map(|one| one.to_bits()).collect::<Vec<_>>(), given.map(f32::to_bits));
    let failed = WorkerReply::Failed { detector: 1, fault: Fault::Trap, reason: "unreachable".into() };
    let frame = encoded(&failed);
    assert_eq!(decode::<WorkerReply>(&frame[PREFIX_BYTES..], &mut Spare::default()).unwrap(), failed);
}

#[test]
fn the_steady_state_decodes_into_the_same_buffers() {
    let (request, reply) = (encoded(&observe(300)), encoded(&scores(vec![1.0; 300])));
    let mut spare = Spare { columns: Columns::default(), scores: Vec::with_capacity(300) };
    let mut places = Vec::new();
    for _ in 0..3 {
        let WorkerReply::Scores { scores, .. } = decode(&reply[PREFIX_BYTES..], &mut spare).unwrap() else { panic!() };
        let WorkerRequest::Observe { columns, .. } = decode(&request[PREFIX_BYTES..], &mut spare).unwrap() else {
            panic!()
        };
        places.push((scores.as_ptr(), columns.ids.as_ptr(), columns.values.as_ptr(), columns.flags.as_ptr()));
        spare = Spare { columns, scores };
    }
    assert!(places[1..].iter().all(|place| *place == places[0]), "{places:?}");
}

#[test]
fn frames_queue_up_in_one_buffer_and_a_refused_one_leaves_it_as_it_was() {
    let mut frames = encoded(&observe(2));
    let before = frames.clone();
    assert!(matches!(append(&observe(10), 100, &mut frames), Err(WireError::TooLong { max: 100, .. })));
    let WorkerRequest::Observe { detector, tick, mut columns } = observe(3) else { panic!() };
    columns.flags.pop();
    let ragged = WorkerRequest::Observe { detector, tick, columns };
    assert!(matches!(append(&ragged, 1_000, &mut frames), Err(WireError::Malformed(_))));
    assert_eq!(frames, before);
    append(&WorkerRequest::Seal, 1_000, &mut frames).unwrap();
    assert_eq!(frames[before.len()..], encoded(&WorkerRequest::Seal));
}

#[test]
fn an_announced_giant_is_refused_before_it_is_allocated() {
    let mut buffer = Vec::new();
    let refused = read::<WorkerReply>(&mut &u32::MAX.to_le_bytes()[..], 1_000, &mut buffer);
    assert!(matches!(refused, Err(WireError::TooLong { max: 1_000, .. })));
    assert_eq!(buffer.capacity(), 0);
}

#[test]
fn whatever_was_cut_or_grew_a_tail_is_refused_or_another_message() {
    let mut buffer = Vec::new();
    assert!(matches!(read::<WorkerReply>(&mut &[5, 0, 0, 0, 1][..], 10, &mut buffer), Err(WireError::Io(_))));
    let mut seal = encoded(&WorkerRequest::Seal);
    seal.push(0);
    let tail = decode::<WorkerRequest>(&seal[PREFIX_BYTES..], &mut Spare::default());
    assert!(matches!(tail, Err(WireError::Malformed(_))));
    let (request, reply) = (encoded(&observe(4)), encoded(&scores(vec![0.5; 4])));
    for len in 0..request.len() - PREFIX_BYTES {
        let cut = decode::<WorkerRequest>(&request[PREFIX_BYTES..][..len], &mut Spare::default());
        // A whole number of rows is a shorter tick: the columns then say something else, but nothing is read beyond.
        let whole = len >= 16 && (len - 16) % ROW_BYTES == 0;
        assert_eq!(cut.is_ok(), whole, "{len} bytes");
    }
    for len in 0..reply.len() - PREFIX_BYTES {
        let cut = decode::<WorkerReply>(&reply[PREFIX_BYTES..][..len], &mut Spare::default());
        assert_eq!(cut.is_ok(), len >= 32 && (len - 32) % 4 == 0, "{len} bytes");
    }
}

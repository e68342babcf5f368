//! Bytes from a stranger: refused by name, never a panic, never more memory than the caps say.

use super::samples;
use proptest::prelude::*;
use vedette_protocol::envelope::{
    Decoder, EnvelopeError, Frame, HEADER_BYTES, Kind, OVERHEAD_BYTES, PAYLOAD_BYTES_MAX, VERSION, open, seal,
};
use vedette_protocol::ids::{QueueEpoch, Sequence};
use vedette_protocol::v1::*;

fn feed(bytes: &[u8]) -> Result<Vec<Frame>, EnvelopeError> {
    let mut decoder = Decoder::default();
    decoder.push(bytes);
    let mut frames = Vec::new();
    while let Some(frame) = decoder.next_frame()? {
        frames.push(frame);
    }
    Ok(frames)
}

fn frame_of(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = seal(Kind::Batch, payload).unwrap();
    frame[5] = kind;
    resum(frame)
}

fn resum(mut frame: Vec<u8>) -> Vec<u8> {
    let end = frame.len() - 4;
    let checksum = crc32c::crc32c(&frame[..end]);
    frame[end..].copy_from_slice(&checksum.to_le_bytes());
    frame
}

#[test]
fn unknown_kinds_are_skipped_and_counted() {
    let mut decoder = Decoder::default();
    decoder.push(&frame_of(200, b"from the future"));
    decoder.push(&seal(Kind::FromAgent, b"now").unwrap());
    let frame = decoder.next_frame().unwrap().unwrap();
    assert_eq!((frame.kind, frame.payload.as_slice()), (Kind::FromAgent, b"now".as_slice()));
    assert_eq!((decoder.next_frame(), decoder.skipped(), decoder.pending_bytes()), (Ok(None), 1, 0));
}

#[test]
fn another_version_is_refused_by_number_before_its_payload_arrives() {
    let mut frame = seal(Kind::Batch, b"x").unwrap();
    frame[4] = VERSION + 1;
    assert_eq!(feed(&frame[..HEADER_BYTES]), Err(EnvelopeError::Version { found: VERSION + 1 }));
}

#[test]
fn an_oversize_length_is_refused_before_its_payload_arrives() {
    let mut header = seal(Kind::FromAgent, b"").unwrap()[..HEADER_BYTES].to_vec();
    header[8..].copy_from_slice(&u32::MAX.to_le_bytes());
    assert!(matches!(feed(&header), Err(EnvelopeError::TooLarge { most: 65_536, .. })));
    header[5] = 250;
    assert!(matches!(feed(&header), Err(EnvelopeError::TooLarge { most: PAYLOAD_BYTES_MAX, .. })));
    assert!(seal(Kind::EnrollRequest, &vec![0; 20_000]).is_err());
}

#[test]
fn after_a_bad_frame_the_stream_stays_refused_and_holds_nothing() {
    let mut decoder = Decoder::default();
    decoder.push(b"GET / HTTP/1.1\r\n\r\n");
    assert_eq!(decoder.next_frame(), Err(EnvelopeError::Magic));
    decoder.push(&seal(Kind::FromAgent, b"good").unwrap());
    assert_eq!((decoder.next_frame(), decoder.pending_bytes()), (Err(EnvelopeError::Magic), 0));
}

#[test]
fn limits_are_checked_before_encoding_and_after_decoding() {
    let (_, mut features) = samples::batches().swap_remove(1);
    let Body::Features(list) = &mut features.body else { panic!("features") };
    list[0].mean = f64::NAN;
    assert_eq!(encode(&features), Err(EncodeError::Invalid(Invalid::Number { field: "feature" })));
    let smuggled = seal(Kind::Batch, &postcard::to_stdvec(&features).unwrap()).unwrap();
    assert_eq!(decode::<Batch>(&smuggled), Err(DecodeError::Invalid(Invalid::Number { field: "feature" })));
    let key = batch_key(&smuggled).unwrap();
    assert_eq!((key.queue_epoch, key.sequence), (QueueEpoch(0x0123_4567_89ab_cdef), Sequence(2)));
    let long = EnrollRequest { token: "x".repeat(10_000), ..samples::enroll_request() };
    assert!(matches!(encode(&long), Err(EncodeError::Invalid(Invalid::TooLong { field: "token", .. }))));
}

#[test]
fn unsorted_attributes_are_refused_because_the_series_key_depends_on_their_order() {
    let (_, mut series) = samples::batches().swap_remove(0);
    let Body::Series(list) = &mut series.body else { panic!("series") };
    list[0].meta.attributes.reverse();
    assert_eq!(encode(&series), Err(EncodeError::Invalid(Invalid::Attributes)));
}

#[test]
fn trailing_bytes_and_claims_of_huge_lists_are_refused() {
    let payload = postcard::to_stdvec(&samples::enroll_request()).unwrap();
    let frame = seal(Kind::EnrollRequest, &[payload.as_slice(), b"!"].concat()).unwrap();
    assert_eq!(decode::<EnrollRequest>(&frame), Err(DecodeError::Payload));
    let claim = seal(Kind::EnrollRequest, &[0xff; 9]).unwrap();
    assert_eq!(decode::<EnrollRequest>(&claim), Err(DecodeError::Payload));
    let mut whole = encode(&samples::enroll_request()).unwrap();
    whole.push(0);
    assert_eq!(decode::<EnrollRequest>(&whole), Err(DecodeError::Envelope(EnvelopeError::Length)));
}

proptest! {
    #[test]
    fn any_bytes_in_any_pieces_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..512), piece in 1_usize..64) {
        let mut decoder = Decoder::default();
        for chunk in bytes.chunks(piece) {
            decoder.push(chunk);
            while let Ok(Some(_)) = decoder.next_frame() {}
        }
        let _ = (open(Kind::Batch, &bytes), batch_key(&bytes));
    }

    #[test]
    fn any_payload_never_panics(bytes in proptest::collection::vec(any::<u8>(), 0..512)) {
        let framed = |kind| seal(kind, &bytes).unwrap();
        let _ = decode::<Batch>(&framed(Kind::Batch));
        let _ = decode::<FromAgent>(&framed(Kind::FromAgent));
        let _ = decode::<FromCollector>(&framed(Kind::FromCollector));
        let _ = decode::<EnrollRequest>(&framed(Kind::EnrollRequest));
        let _ = decode::<EnrollReply>(&framed(Kind::EnrollReply));
        let _ = decode::<RenewRequest>(&framed(Kind::RenewRequest));
        let _ = decode::<RenewReply>(&framed(Kind::RenewReply));
        let _ = decode::<BeginAnew>(&framed(Kind::BeginAnew));
        let _ = decode::<Health>(&framed(Kind::Health));
    }

    #[test]
    fn frames_survive_any_fragmentation(
        payloads in proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..200), 1..8),
        piece in 1_usize..300,
    ) {
        let stream: Vec<u8> = payloads.iter().flat_map(|payload| seal(Kind::FromAgent, payload).unwrap()).collect();
        let mut decoder = Decoder::default();
        let mut read = Vec::new();
        for chunk in stream.chunks(piece) {
            decoder.push(chunk);
            while let Some(frame) = decoder.next_frame().unwrap() {
                read.push(frame.payload);
            }
        }
        prop_assert_eq!(read, payloads);
    }

    #[test]
    fn a_flipped_bit_is_always_noticed(which in 0_usize..6, bit in 0_usize..8_000) {
        let mut bytes = encode(&samples::batches()[which].1).unwrap();
        let bit = bit % (bytes.len() * 8);
        bytes[bit / 8] ^= 1 << (bit % 8);
        prop_assert!(decode::<Batch>(&bytes).is_err());
    }

    #[test]
    fn damaged_payloads_with_a_fresh_checksum_never_panic(which in 0_usize..6, at in 0_usize..2_000, byte in any::<u8>()) {
        let mut bytes = encode(&samples::batches()[which].1).unwrap();
        let at = HEADER_BYTES + at % (bytes.len() - OVERHEAD_BYTES);
        bytes[at] = byte;
        let bytes = resum(bytes);
        if let Ok(batch) = decode::<Batch>(&bytes) {
            prop_assert!(encode(&batch).is_ok());
        }
    }

    #[test]
    fn numbers_round_trip(sequence in 1..=u64::MAX, value in proptest::num::f64::NORMAL, dt in any::<u32>(), text in ".{0,40}") {
        let raw = RawSamples {
            series: vedette_protocol::ids::SeriesIndex(dt),
            start: vedette_protocol::time::WallTime { unix_ns: -1 },
            samples: vec![(dt, value)],
        };
        let mut batch = samples::batch(sequence, Class::Log, Body::Samples(vec![raw]));
        batch.cursors[0].source = text;
        prop_assert_eq!(decode::<Batch>(&encode(&batch).unwrap()).unwrap(), batch);
    }
}

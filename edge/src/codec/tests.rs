use super::*;
use crate::normalise::quantise;
use proptest::prelude::*;

/// A column that owns its samples.
#[derive(Clone, Debug)]
struct Owned {
    id: u32,
    resolution: f64,
    times: Vec<i64>,
    values: Vec<f64>,
}

impl Owned {
    fn new(id: u32, times: Vec<i64>, value: impl Fn(usize) -> f64) -> Self {
        let values = (0..times.len()).map(value).collect();
        Self { id, resolution: 0.0, times, values }
    }
}

fn encoded(columns: &[Owned]) -> Vec<u8> {
    let columns: Vec<_> = columns
        .iter()
        .map(|one| Column { id: one.id, resolution: one.resolution, times_ms: &one.times, values: &one.values })
        .collect();
    let mut bytes = Vec::new();
    encode(&columns, &mut bytes).expect("it fits a block");
    bytes
}

/// Bit for bit: NaN is itself, and 0 is not −0.
fn check(columns: &[Owned]) -> usize {
    let bytes = encoded(columns);
    let block = decode(&bytes).expect("what was encoded");
    assert_eq!(block.iter().count(), columns.len());
    for ((id, times, values), column) in block.iter().zip(columns) {
        assert_eq!((id, times), (column.id, column.times.as_slice()));
        let (read, meant): (Vec<_>, Vec<_>) =
            values.iter().zip(&column.values).map(|(read, meant)| (read.to_bits(), meant.to_bits())).unzip();
        assert_eq!(read, meant, "series {id}");
    }
    bytes.len()
}

fn seconds(count: i64) -> Vec<i64> {
    (0..count).map(|n| 1_790_000_000_000 + n * 1_000).collect()
}

#[test]
fn a_minute_of_silence_costs_next_to_nothing() {
    let idle: Vec<_> = (0..200).map(|id| Owned::new(id, seconds(60), |_| f64::from(id % 7))).collect();
    let bytes = check(&idle);
    assert!(bytes < 200, "{bytes} bytes for 12,000 samples that never changed");
}

#[test]
fn strange_values_gaps_and_resets_come_back() {
    let odd = [f64::NAN, -f64::NAN, 0.0, -0.0, f64::INFINITY, f64::NEG_INFINITY, f64::MIN_POSITIVE, f64::MAX, 5e-324];
    let gaps = vec![i64::MIN, -5, 0, 3, 1_000, 90_000, 90_001, i64::MAX - 1, i64::MAX];
    check(&[
        Owned::new(u32::MAX, gaps.clone(), |n| odd[n]),
        Owned::new(0, gaps.clone(), |n| [9e15, 8e15, 1.0, 2.0, -9e15, 0.0, 1e15, 1.0, 2.0][n]),
        Owned::new(7, seconds(1), |_| 0.3),
        Owned::new(3, gaps, |n| [5.0, 6.0, 7.0, 0.0, 1.0, 2.0, 0.0, 0.0, 1e9][n]),
    ]);
}

#[test]
fn nothing_is_a_block_too() {
    assert_eq!(decode(&encoded(&[])).expect("a block").samples(), 0);
    assert_eq!(decode(&[]), Err(DecodeError::Version));
    assert_eq!(decode(&[9, 0, 0]), Err(DecodeError::Version));
}

#[test]
fn what_does_not_fit_is_refused_before_a_byte_is_written() {
    let (times, values) = (vec![0; SAMPLES_MAX + 1], vec![0.0; SAMPLES_MAX + 1]);
    let mut out = vec![7];
    let large = Column { id: 0, resolution: 0.0, times_ms: &times, values: &values };
    assert!(matches!(encode(&[large], &mut out), Err(EncodeError::TooLarge { .. })));
    let uneven = Column { values: &values[..3], times_ms: &times[..2], ..large };
    assert_eq!(encode(&[uneven], &mut out), Err(EncodeError::Uneven { id: 0, values: 3, times: 2 }));
    let empty = Column { values: &[], times_ms: &[], ..large };
    assert!(encode(&[empty], &mut out).is_err());
    assert_eq!(out, [7]);
}

#[test]
fn claimed_size_is_refused_before_it_is_allocated() {
    let mut bytes = vec![VERSION];
    let (mut encoder, mut models) = (Encoder::new(&mut bytes), Models::default());
    models.count(&mut encoder, 1);
    models.id(&mut encoder, 0);
    models.clock(&mut encoder, 0);
    models.count(&mut encoder, 1 << 50);
    encoder.finish();
    assert_eq!(decode(&bytes), Err(DecodeError::TooLarge));
    assert_eq!(decode(&vec![VERSION; BYTES_MAX + 1]), Err(DecodeError::TooLarge));
}

/// Shapes that hosts show, on grids and off them.
fn column() -> impl Strategy<Value = Owned> {
    let values = prop_oneof![
        proptest::collection::vec(any::<f64>(), 1..40),
        proptest::collection::vec((-50..50_i32).prop_map(|n| quantise(f64::from(n) * 0.37, 0.01)), 1..40),
        proptest::collection::vec((0..9_u32).prop_map(|n| f64::from(n) * 4_096.0), 1..40),
        proptest::collection::vec((0..99_u32).prop_map(|n| quantise(f64::from(n) / 7.0, 1.0 / 300.0)), 1..40),
        (1..40_usize, any::<f64>()).prop_map(|(count, value)| vec![value; count]),
    ];
    let resolution = prop_oneof![Just(0.0), Just(0.01), Just(1.0 / 300.0), Just(1_024.0), any::<f64>()];
    (any::<u32>(), resolution, values, any::<i64>(), 0..3_i64).prop_map(|(id, resolution, values, begin, jitter)| {
        let count = i64::try_from(values.len()).expect("few");
        let times = (0..count).map(|n| begin.wrapping_add(n * 1_000 + n % 3 * jitter)).collect();
        Owned { id, resolution, times, values }
    })
}

proptest! {
    #[test]
    fn any_block_comes_back_bit_for_bit(columns in proptest::collection::vec(column(), 0..12)) {
        check(&columns);
    }

    #[test]
    fn damage_is_no_panic_and_no_more_than_a_block_holds(
        columns in proptest::collection::vec(column(), 1..6),
        at: prop::sample::Index,
        bit in 0..8_u32,
        cut: prop::sample::Index,
    ) {
        let mut bytes = encoded(&columns);
        let at = at.index(bytes.len());
        bytes[at] ^= 1 << bit;
        for bytes in [&bytes[..], &bytes[..cut.index(bytes.len())]] {
            if let Ok(block) = decode(bytes) {
                prop_assert!(block.samples() <= SAMPLES_MAX);
                prop_assert!(block.iter().all(|(_, times, values)| times.len() == values.len()));
            }
        }
    }

    #[test]
    fn noise_is_no_panic(mut bytes in proptest::collection::vec(any::<u8>(), 0..600)) {
        bytes.insert(0, VERSION);
        let _ = decode(&bytes);
    }
}

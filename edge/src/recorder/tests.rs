use super::*;
use vedette_protocol::series::SeriesKind;

const EPOCH_MS: i64 = 1_790_000_000_000;

fn meta(name: &str) -> SeriesMeta {
    SeriesMeta {
        metric: name.to_owned(),
        unit: "1".to_owned(),
        kind: SeriesKind::Gauge,
        attributes: Vec::new(),
        resolution: 0.01,
        lower: f64::NAN,
        upper: f64::NAN,
    }
}

fn recorder(memory_bytes: usize, to_disk: bool) -> Recorder {
    Recorder::new(RecorderConfig { memory_bytes, to_disk })
}

fn put(recorder: &mut Recorder, place: u32, name: &str, second: i64, value: f64) {
    let meta = meta(name);
    recorder.sample((Sort::Metric, place), meta.key(), 0.01, (EPOCH_MS + second * 1_000, value), || Some(meta.clone()));
}

fn run(recorder: &mut Recorder, seconds: std::ops::Range<i64>, series: u32) {
    for second in seconds {
        for place in 0..series {
            put(recorder, place, &format!("s{place}"), second, f64::from(place) + (second % 7) as f64);
        }
        recorder.tick(EPOCH_MS + second * 1_000);
    }
}

fn window(recorder: &Recorder, places: &[u32], begin_ms: i64, samples_max: usize) -> Vec<Window> {
    let wanted = places.iter().map(|place| (place + 100, *place));
    recorder.search(Sort::Metric, wanted, begin_ms, samples_max).run()
}

#[test]
fn lines_of_a_span_are_told_sealed_or_not_and_the_newest_of_too_many() {
    let mut recorder = recorder(1 << 20, true);
    for second in 0..150 {
        recorder.line(EPOCH_MS + second * 1_000, "/log", &format!("line {second:03}"));
        recorder.tick(EPOCH_MS + second * 1_000);
    }
    let told = |begin: i64, end: i64, bytes_max| {
        let (lines, left_out) = recorder.lines((EPOCH_MS + begin * 1_000, EPOCH_MS + end * 1_000), bytes_max);
        (lines.first().map(|line| line.text.clone()), lines.len(), left_out)
    };
    assert_eq!(told(0, 149, 1 << 20), (Some("line 000".to_owned()), 150, 0));
    assert_eq!(told(50, 139, 1 << 20), (Some("line 050".to_owned()), 90, 0));
    assert_eq!(told(50, 139, 12 * 7 + 11), (Some("line 133".to_owned()), 7, 83), "12 bytes each");
    assert_eq!(told(200, 300, 1 << 20), (None, 0, 0));
}

#[test]
fn a_search_finds_what_was_there_when_it_was_asked_for() {
    let mut recorder = recorder(1 << 20, false);
    run(&mut recorder, 0..90, 2);
    let search = recorder.search(Sort::Metric, [(7, 1)].into_iter(), EPOCH_MS + 80_000, 1_000);
    run(&mut recorder, 90..400, 2);
    put(&mut recorder, 1, "another", 400, 1.0);
    let found = search.run();
    assert_eq!((found.len(), found[0].label), (1, 7));
    assert_eq!(found[0].times_ms, (80..90).map(|second| EPOCH_MS + second * 1_000).collect::<Vec<_>>());
}

#[test]
fn a_search_ends_where_it_is_told_and_counts_what_it_leaves_out() {
    let mut recorder = recorder(1 << 20, false);
    run(&mut recorder, 0..300, 1);
    let search = |samples_max| {
        let search = recorder.search(Sort::Metric, [(7, 0)].into_iter(), EPOCH_MS + 20_000, samples_max);
        search.until(EPOCH_MS + 100_000).run_counted()
    };
    let (found, left_out) = search(1_000);
    let seconds = |from| (from..=100).map(|second| EPOCH_MS + second * 1_000).collect::<Vec<_>>();
    assert_eq!((&found[0].times_ms, left_out), (&seconds(20), 0));
    let (found, left_out) = search(30);
    assert_eq!((&found[0].times_ms, left_out), (&seconds(71), 51));
}

#[test]
fn what_was_recorded_comes_back_across_blocks_and_the_one_that_fills() {
    let mut recorder = recorder(1 << 20, false);
    run(&mut recorder, 0..150, 3);
    assert_eq!((recorder.counts().samples, recorder.counts().blocks), (450, 2));
    let windows = window(&recorder, &[1, 9], EPOCH_MS + 30_000, 10_000);
    assert_eq!(windows.len(), 1, "there is no series 9");
    assert_eq!(windows[0].label, 101);
    assert_eq!(windows[0].times_ms, (30..150).map(|second| EPOCH_MS + second * 1_000).collect::<Vec<_>>());
    assert_eq!(windows[0].values[5], 1.0);
    let newest = window(&recorder, &[0, 2], EPOCH_MS, 20);
    assert!(newest.iter().all(|window| window.values.len() == 10));
    assert_eq!(newest[0].times_ms[9], EPOCH_MS + 149_000);
    assert_eq!(recorder.extent().begin_ms, Some(EPOCH_MS));
}

#[test]
fn memory_stays_within_its_bound_and_the_oldest_goes_first() {
    let mut recorder = recorder(4 << 10, false);
    run(&mut recorder, 0..2_000, 20);
    let extent = recorder.extent();
    assert!(extent.bytes <= (4 << 10) + BLOCK_SAMPLES_MIN * SAMPLE_BYTES, "{extent:?}");
    assert!(extent.begin_ms > Some(EPOCH_MS));
    assert!(recorder.poll_recorded().is_none(), "there is no disk");
    let mut none = self::recorder(0, false);
    run(&mut none, 0..200, 1);
    assert!(none.extent().begin_ms >= Some(EPOCH_MS + 120_000), "only what fills");
}

#[test]
fn disk_gets_every_block_with_the_meaning_of_its_numbers() {
    let mut recorder = recorder(1 << 20, true);
    run(&mut recorder, 0..61, 2);
    let first = recorder.poll_recorded().expect("a block");
    assert_eq!(
        first.defined.iter().map(|(id, meta)| (*id, meta.metric.as_str())).collect::<Vec<_>>(),
        [(0, "s0"), (1, "s1")]
    );
    assert_eq!((first.sealed.samples, first.sealed.begin_ms), (122, EPOCH_MS));
    // The place of s1 is taken by another series in the middle of a block: both are in it.
    put(&mut recorder, 1, "s1", 61, 5.0);
    put(&mut recorder, 1, "other", 62, 6.0);
    recorder.seal();
    let second = recorder.poll_recorded().expect("a block");
    assert_eq!((second.defined[0].0, second.ended), (2, vec![1]));
    let block = codec::decode(&second.sealed.block).expect("a block");
    let values: Vec<_> = block.iter().map(|(id, _, values)| (id, values.to_vec())).collect();
    assert_eq!(values, [(2, vec![6.0]), (1, vec![5.0])]);
    assert!(recorder.poll_recorded().is_none());
}

#[test]
fn block_that_nobody_takes_is_counted_and_its_names_are_told_with_a_later_one() {
    let mut recorder = recorder(1 << 20, true);
    run(&mut recorder, 0..60 * (OUTBOX_MAX as i64 + 2) + 1, 1);
    assert!(recorder.counts().blocks_not_taken > 0);
    let names: usize = std::iter::from_fn(|| recorder.poll_recorded()).map(|recorded| recorded.defined.len()).sum();
    assert_eq!(names, 1);
}

#[test]
fn flood_of_lines_is_cut_and_counted() {
    let mut recorder = recorder(64 << 10, false);
    (0..1_000).for_each(|n| recorder.line(EPOCH_MS, "/var/log/app.log", &format!("line {n} of many")));
    let counts = recorder.counts();
    assert_eq!(counts.lines + counts.lines_left_out, 1_000);
    assert!(counts.lines > 10 && counts.lines_left_out > 10, "{counts:?}");
    recorder.tick(EPOCH_MS + BLOCK_MS);
    assert_eq!(recorder.counts().blocks, 1, "lines alone are a block, too");
}

#[test]
fn clock_set_back_ends_the_block_and_loses_nothing() {
    let mut recorder = recorder(1 << 20, false);
    run(&mut recorder, 100..110, 1);
    run(&mut recorder, 0..10, 1);
    assert_eq!(window(&recorder, &[0], 0, 1_000)[0].values.len(), 20);
    assert!(recorder.counts().blocks >= 1);
}
